//! Whether a client goes on as if its server had answered, and that answer was never seen: it has come by another way.

/// Told once for each flow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum OneSided {
    #[default]
    No,
    Found,
    Told,
}

impl OneSided {
    /// Notes a segment that acknowledges what was not seen, or does not.
    pub(super) fn note(&mut self, acknowledges: bool) {
        if acknowledges && matches!(self, Self::No) {
            *self = Self::Found;
        }
    }

    /// Whether it is to be told now.
    pub(super) fn is_news(&mut self) -> bool {
        let found = matches!(self, Self::Found);
        if found {
            *self = Self::Told;
        }
        found
    }
}
