//! What stands between the data of a chunked body (RFC 9112, 7.1), byte by byte.

/// Where in a chunked body (RFC 9112, 7.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    /// Any number of zeros may lead.
    Size {
        size: u64,
        begun: bool,
    },
    /// After the size: extensions of any length, up to the line feed.
    Extension {
        size: u64,
    },
    Data(u64),
    /// The CR LF after the data.
    DataEnd {
        cr: bool,
    },
    /// A trailer's line, empty so far or not. Any number of them, of any length: nothing in them is looked at.
    Trailer {
        empty: bool,
    },
}

/// What a byte between the data of chunks leads to.
pub(super) enum Step {
    To(Chunk),
    /// The body has ended.
    End,
    /// No chunked body has this here.
    Broken,
}

impl Chunk {
    /// One byte further in what stands between the data.
    pub(super) fn step(self, byte: u8) -> Step {
        Step::To(match (self, byte) {
            (Self::Size { size, .. }, _) if byte.is_ascii_hexdigit() => {
                // Nobody sends a chunk that large.
                if size >> 56 != 0 {
                    return Step::Broken;
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                Self::Size { size: size << 4 | u64::from(digit), begun: true }
            }
            (Self::Size { begun: false, .. }, _) => return Step::Broken,
            (Self::Size { size, .. } | Self::Extension { size }, b'\n') => match size {
                0 => Self::Trailer { empty: true },
                size => Self::Data(size),
            },
            (Self::Size { size, .. }, b'\r' | b';' | b' ' | b'\t') => Self::Extension { size },
            (Self::Extension { .. }, _) => self,
            (Self::DataEnd { cr: false }, b'\r') => Self::DataEnd { cr: true },
            (Self::DataEnd { .. }, b'\n') => Self::Size { size: 0, begun: false },
            (Self::Trailer { empty: true }, b'\n') => return Step::End,
            (Self::Trailer { .. }, b'\n') => Self::Trailer { empty: true },
            // The CR of an empty line.
            (Self::Trailer { .. }, b'\r') => self,
            (Self::Trailer { .. }, _) => Self::Trailer { empty: false },
            _ => return Step::Broken,
        })
    }
}
