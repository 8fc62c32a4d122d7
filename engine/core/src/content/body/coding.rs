//! Content codings (RFC 9110, 8.4.1), and why a body cannot be read through them.

use crate::fields::Fields;
use crate::reason::Reason;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, and what many send instead: RFC 1951.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// By its name (RFC 9110, 8.4.1: in any case); `Ok(None)` is no coding at all.
    fn named(name: &[u8]) -> Result<Option<Self>, Undecodable> {
        let names: [(&[u8], Option<Self>); 7] = [
            (b"gzip", Some(Self::Gzip)),
            (b"x-gzip", Some(Self::Gzip)),
            (b"deflate", Some(Self::Deflate)),
            (b"br", Some(Self::Brotli)),
            (b"zstd", Some(Self::Zstd)),
            (b"identity", None),
            (b"", None),
        ];
        let found = names.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        found.map(|(_, coding)| *coding).ok_or(Undecodable::Unknown)
    }
}

/// The codings of a body, in the order in which they were applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codings([Option<Coding>; 2]);

impl Codings {
    /// One.
    pub fn one(coding: Coding) -> Self {
        Self([Some(coding), None])
    }

    /// What a head says of them, codings of the transfer included (RFC 9112, 7: they come last); its chunks are no coding of the content.
    ///
    /// # Errors
    /// One that is not known, or more than two.
    pub fn of(fields: &Fields) -> Result<Self, Undecodable> {
        let transfer = fields.values("transfer-encoding");
        let names = fields
            .values("content-encoding")
            .chain(transfer)
            .flat_map(|value| value.split(|byte| *byte == b','));
        let mut codings = Self::default();
        for name in names.map(<[u8]>::trim_ascii).filter(|name| !name.eq_ignore_ascii_case(b"chunked")) {
            let Some(coding) = Coding::named(name)? else { continue };
            let free = codings.0.iter_mut().find(|place| place.is_none()).ok_or(Undecodable::Unknown)?;
            *free = Some(coding);
        }
        Ok(codings)
    }

    /// In the order in which they are undone.
    pub(super) fn outermost_first(&self) -> impl Iterator<Item = Coding> {
        self.0.iter().rev().flatten().copied()
    }

    /// Its decoder keeps back what it has decoded: of zstd, as much as a window, which may be all of it.
    pub fn keep_back(&self) -> bool {
        self.0.contains(&Some(Coding::Zstd))
    }

    /// The body is as it is.
    pub fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }
}

/// Why what is in a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecodable {
    /// A coding that is not known, or more than two.
    Unknown,
    /// It is not what its coding says.
    Broken,
    /// It ends too early.
    Truncated,
    /// It asks for more memory than a decoder may take.
    Window,
    /// It unfolds into more than is unfolded.
    Bomb,
}

impl Undecodable {
    /// As the log says it.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Bomb => Reason::ContentBomb,
            Self::Unknown | Self::Broken | Self::Truncated | Self::Window => Reason::ContentEncoding,
        }
    }
}
