//! Keeps bodies until they end, and has rules look at them, on the threads that look at bodies.

use std::sync::Arc;

use wireglass_core::content::{Finding, Hit, Inspector, Message, Scanner};
use wireglass_core::reason::Reason;

use super::rules::{Match, RuleSet, TimedOut};

/// A set of rules that is asked about bodies.
#[derive(Debug)]
pub struct YaraInspector {
    name: Arc<str>,
    rules: RuleSet,
    max_bytes: usize,
}

impl YaraInspector {
    /// `name`: as rules on content have it, `yara.NAME`. Of bodies of more than `max_bytes` octets it is not asked.
    pub fn new(name: Arc<str>, rules: RuleSet, max_bytes: usize) -> Self {
        Self { name, rules, max_bytes }
    }
}

impl Inspector for YaraInspector {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn scanner(&self, message: &Message<'_>) -> Box<dyn Scanner> {
        let path = message.target.split(['?', '#']).next().unwrap_or_default();
        Box::new(YaraScanner {
            name: Arc::clone(&self.name),
            rules: self.rules.clone(),
            path: path.into(),
            max_bytes: self.max_bytes,
            body: Vec::new(),
        })
    }
}

struct YaraScanner {
    name: Arc<str>,
    rules: RuleSet,
    /// Of the URL, without the query.
    path: Box<str>,
    max_bytes: usize,
    /// All of it, so far.
    body: Vec<u8>,
}

impl YaraScanner {
    /// What the buffer has when it is to hold so many octets more. It doubles, up to the most that is kept.
    fn capacity_for(&self, octets: usize) -> usize {
        let needed = self.body.len() + octets;
        if needed <= self.body.capacity() {
            return self.body.capacity();
        }
        needed.max(self.body.capacity().saturating_mul(2)).min(self.max_bytes)
    }
}

impl Scanner for YaraScanner {
    fn feed(&mut self, octets: &[u8]) -> Option<Finding> {
        if octets.len() > self.max_bytes - self.body.len() {
            self.body = Vec::new();
            // It is asked no more.
            return Some(Finding::Fails(Reason::YaraOversize));
        }
        self.body.reserve_exact(self.capacity_for(octets.len()) - self.body.len());
        self.body.extend_from_slice(octets);
        None
    }

    fn end(&mut self) -> Option<Finding> {
        let body = std::mem::take(&mut self.body);
        // Nothing is in a body that has nothing.
        if body.is_empty() {
            return None;
        }
        match self.rules.look(&body, &self.path) {
            Ok(None) => None,
            Ok(Some(Match { rule, tags })) => {
                Some(Finding::Hit(Hit { tags, ..Hit::new(Arc::clone(&self.name), &rule) }))
            }
            Err(TimedOut) => Some(Finding::Fails(Reason::YaraTimeout)),
        }
    }

    fn memory(&self) -> usize {
        self.path.len() + self.body.capacity()
    }

    fn growth(&self, octets: usize) -> usize {
        // More than is kept is not kept.
        self.capacity_for(octets.min(self.max_bytes - self.body.len())) - self.body.capacity()
    }
}
