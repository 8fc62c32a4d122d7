//! Rules that apply late, by the content of a message: more of it comes than they let pass, or something is found in it.

use std::sync::Arc;

use crate::content::inspect::Hit;
use crate::content::signatures::{SignatureStream, Signatures};
use crate::event::HttpEvent;
use crate::policy::{ContentRuleId, SignatureRules, SizeLimits};

/// Such rules, and what the log is to say of the message then.
#[derive(Default)]
pub(super) struct ContentWatch {
    limits: SizeLimits,
    search: Option<Box<Search>>,
    /// None where there are no rules.
    head: Option<Box<HttpEvent>>,
}

struct Search {
    rules: SignatureRules,
    stream: SignatureStream,
}

/// A rule that applies now.
pub(super) struct Applies {
    pub(super) rule: ContentRuleId,
    pub(super) head: HttpEvent,
    /// What was found; none: it is the size.
    pub(super) hit: Option<Hit>,
}

impl ContentWatch {
    pub(super) fn new(
        limits: SizeLimits,
        rules: SignatureRules,
        signatures: &Arc<Signatures>,
        head: &HttpEvent,
    ) -> Self {
        let search = (!rules.is_empty()).then(|| {
            let stream = SignatureStream::new(signatures, rules.signatures());
            Box::new(Search { rules, stream })
        });
        let is_needed = limits.iter().next().is_some() || search.is_some();
        let head = is_needed.then(|| Box::new(HttpEvent { verdict: None, rule: None, ..head.clone() }));
        Self { limits, search, head }
    }

    /// There are no rules.
    pub(super) fn is_idle(&self) -> bool {
        self.head.is_none()
    }

    /// So many bytes have come: the rule that applies now, if there is one. To be asked until there is none.
    pub(super) fn passed(&mut self, bytes: u64) -> Option<Applies> {
        let rule = self.limits.passed(bytes)?;
        if let Some(search) = &mut self.search {
            search.rules.has_applied(rule);
        }
        Some(Applies { rule, head: self.head.as_deref()?.clone(), hit: None })
    }

    /// Something is looked for.
    pub(super) fn searches(&self) -> bool {
        self.search.is_some()
    }

    /// More of the content has come. [`found`](Self::found) follows.
    pub(super) fn push(&mut self, octets: &[u8]) {
        if let Some(search) = &mut self.search {
            search.stream.push(octets);
        }
    }

    /// No more of it comes. [`found`](Self::found) follows.
    pub(super) fn end(&mut self) {
        if let Some(search) = &mut self.search {
            search.stream.end();
        }
    }

    /// The rule that applies now because of what was found, if there is one. To be asked until there is none.
    pub(super) fn found(&mut self) -> Option<Applies> {
        let Search { rules, stream } = self.search.as_deref_mut()?;
        while let Some((id, hit)) = stream.poll_hit() {
            if let Some(rule) = rules.hit(id) {
                self.limits.has_applied(rule);
                return Some(Applies { rule, head: self.head.as_deref()?.clone(), hit: Some(hit) });
            }
        }
        if stream.is_over() || rules.is_empty() {
            self.search = None;
        }
        None
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { limits, search, head } = self;
        let search = search.as_ref().map_or(0, |search| {
            let Search { rules, stream } = &**search;
            size_of::<Search>() + rules.memory() + stream.memory()
        });
        limits.memory() + search + head.as_ref().map_or(0, |head| size_of::<HttpEvent>() + head.text_bytes())
    }
}
