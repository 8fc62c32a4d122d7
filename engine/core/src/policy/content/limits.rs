//! Rules that apply late: once more content has come than they let pass, or something is found in it.

use super::ContentRuleId;
use crate::content::{SignatureId, SignatureMask};

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

    /// This rule applies: those behind it never get their turn.
    pub fn has_applied(&mut self, rule: ContentRuleId) {
        self.0.retain(|(_, other)| *other < rule);
    }

    /// Bytes of memory that it holds beside its own size.
    pub fn memory(&self) -> usize {
        self.0.capacity() * size_of::<(u64, ContentRuleId)>()
    }
}

/// Rules that apply when one of their signatures is found in the content, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignatureRules(Vec<(SignatureMask, ContentRuleId)>);

impl SignatureRules {
    /// Rules come in their order.
    pub(super) fn push(&mut self, signatures: SignatureMask, rule: ContentRuleId) {
        self.0.push((signatures, rule));
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is to be looked for.
    pub fn signatures(&self) -> SignatureMask {
        self.0.iter().fold(SignatureMask::default(), |all, (signatures, _)| all.and(*signatures))
    }

    /// This was found: the rule that applies now. One before it may apply as well, later on.
    pub fn hit(&mut self, signature: SignatureId) -> Option<ContentRuleId> {
        let (_, rule) = *self.0.iter().find(|(signatures, _)| signatures.has(signature))?;
        self.has_applied(rule);
        Some(rule)
    }

    /// This rule applies: those behind it never get their turn.
    pub fn has_applied(&mut self, rule: ContentRuleId) {
        self.0.retain(|(_, other)| *other < rule);
    }

    /// As they are asked: what is looked for, and the rule that applies then.
    pub fn iter(&self) -> impl Iterator<Item = (SignatureMask, ContentRuleId)> {
        self.0.iter().copied()
    }

    /// Bytes of memory that it holds beside its own size.
    pub fn memory(&self) -> usize {
        self.0.capacity() * size_of::<(SignatureMask, ContentRuleId)>()
    }
}
