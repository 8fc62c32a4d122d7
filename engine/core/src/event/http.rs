//! The event of an HTTP transaction.

use std::sync::Arc;

use compact_str::CompactString;

use crate::reason::Ambiguity;

/// A text of an event. Short ones, as most methods, hosts and types are, take no memory of their own.
pub type Text = CompactString;

/// One HTTP request with its response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpEvent {
    /// Number of the transaction in its flow, from 0.
    pub tx_id: u64,
    /// `Host` or `:authority`.
    pub hostname: Option<Text>,
    /// Request target.
    pub url: Option<Text>,
    /// `User-Agent`.
    pub user_agent: Option<Text>,
    /// `Content-Type` of the response.
    pub content_type: Option<Text>,
    /// `Referer`.
    pub referer: Option<Text>,
    /// Request method.
    pub method: Option<Text>,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'static str,
    /// Response status; none: the flow ended before a response.
    pub status: Option<u16>,
    /// `Location` of a redirect.
    pub redirect: Option<Text>,
    /// Body bytes of the response.
    pub length: u64,
    /// What readers may disagree about in its messages.
    pub ambiguous: Ambiguities,
    /// What the rules on content say; none: no rule matched.
    pub verdict: Option<ContentVerdict>,
    /// Name of the rule that matched.
    pub rule: Option<Arc<str>>,
    /// Texts were left out: too many transactions were open, or too much was held.
    pub shortened: bool,
}

impl HttpEvent {
    /// Bytes of its texts.
    pub(crate) fn text_bytes(&self) -> usize {
        let Self {
            tx_id: _,
            hostname,
            url,
            user_agent,
            content_type,
            referer,
            method,
            protocol: _,
            status: _,
            redirect,
            length: _,
            ambiguous: _,
            verdict: _,
            rule: _,
            shortened: _,
        } = self;
        let texts = [hostname, url, user_agent, content_type, referer, method, redirect];
        let held = |text: &Option<Text>| {
            text.as_ref().filter(|text| text.is_heap_allocated()).map_or(0, Text::capacity)
        };
        texts.iter().map(|text| held(text)).sum()
    }

    pub(super) fn texts_mut(&mut self) -> [&mut Option<Text>; 7] {
        let Self { hostname, url, user_agent, content_type, referer, method, redirect, .. } = self;
        [hostname, url, user_agent, content_type, referer, method, redirect]
    }

    /// Lends a response what is known of this request, and takes it back.
    pub(crate) fn swap_request(&mut self, response: &mut Self) {
        let swap = std::mem::swap;
        swap(&mut self.hostname, &mut response.hostname);
        swap(&mut self.url, &mut response.url);
        swap(&mut self.user_agent, &mut response.user_agent);
        swap(&mut self.referer, &mut response.referer);
        swap(&mut self.method, &mut response.method);
    }

    /// Leaves its texts out.
    pub(crate) fn shorten(&mut self) {
        let Self { tx_id, protocol, status, length, ambiguous, verdict, .. } = *self;
        let rule = self.rule.take();
        *self = Self {
            tx_id,
            protocol,
            status,
            length,
            ambiguous,
            verdict,
            rule,
            shortened: true,
            ..Self::default()
        };
    }
}

/// What rules on content say of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentVerdict {
    /// A rule lets it pass.
    Allowed,
    /// A rule lets it pass, and tells.
    Alerted,
    /// It did not pass.
    Blocked,
}

impl ContentVerdict {
    /// As the log has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allow",
            Self::Alerted => "alert",
            Self::Blocked => "block",
        }
    }
}

/// A set of ambiguities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ambiguities(u32);

impl Ambiguities {
    /// Adds one.
    pub fn insert(&mut self, ambiguity: Ambiguity) {
        self.0 |= 1 << ambiguity as u8;
    }

    /// There are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// All that are in `self` or in `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// In the order of the list in `reason.rs`.
    pub fn iter(self) -> impl Iterator<Item = Ambiguity> {
        Ambiguity::ALL.iter().copied().filter(move |&ambiguity| self.0 & 1 << ambiguity as u8 != 0)
    }
}
