//! Rules that apply once more content has come than they let pass.

use super::ContentRuleId;

/// Bytes of content beyond which rules apply that had not matched at the head.
///
/// In the order of the rules, so that their bytes fall: a rule behind another one that fewer bytes bring in never gets its turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SizeLimits(Vec<(u64, ContentRuleId)>);

impl SizeLimits {
    /// Rules come in their order.
    pub(super) fn push(&mut self, bytes: u64, rule: ContentRuleId) {
        if self.0.last().is_none_or(|(lowest, _)| bytes < *lowest) {
            self.0.push((bytes, rule));
        }
    }

    /// So many bytes have come: the rule that applies now. To be asked until there is none; one before it may apply as well.
    pub fn passed(&mut self, bytes: u64) -> Option<ContentRuleId> {
        self.0.pop_if(|(limit, _)| bytes > *limit).map(|(_, rule)| rule)
    }

    /// As they will apply: bytes, and the rule that applies beyond.
    pub fn iter(&self) -> impl Iterator<Item = (u64, ContentRuleId)> {
        self.0.iter().rev().copied()
    }

    /// Bytes of memory that it holds beside its own size.
    pub fn memory(&self) -> usize {
        self.0.capacity() * size_of::<(u64, ContentRuleId)>()
    }
}
