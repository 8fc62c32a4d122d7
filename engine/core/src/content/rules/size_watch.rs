//! Rules that apply when more of a message's content comes than they let pass.

use crate::event::HttpEvent;
use crate::policy::{ContentRuleId, SizeLimits};

/// Such rules, and what the log is to say of the message then.
#[derive(Default)]
pub(super) struct SizeWatch {
    limits: SizeLimits,
    /// None where there are no rules.
    head: Option<Box<HttpEvent>>,
}

impl SizeWatch {
    pub(super) fn new(limits: SizeLimits, head: &HttpEvent) -> Self {
        let head =
            limits.iter().next().map(|_| Box::new(HttpEvent { verdict: None, rule: None, ..head.clone() }));
        Self { limits, head }
    }

    /// So many bytes have come: the rule that applies now, if there is one, and the message's head. To be asked until there is none.
    pub(super) fn passed(&mut self, bytes: u64) -> Option<(ContentRuleId, HttpEvent)> {
        let rule = self.limits.passed(bytes)?;
        Some((rule, self.head.as_deref()?.clone()))
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { limits, head } = self;
        limits.memory() + head.as_ref().map_or(0, |head| size_of::<HttpEvent>() + head.text_bytes())
    }
}
