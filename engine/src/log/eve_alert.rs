//! The parts of an `alert` line that other lines do not have.

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use wireglass_core::content::Hit;
use wireglass_core::end::End;
use wireglass_core::event::AlertEvent;

/// What Suricata calls a generator: its own rules are 1.
const GENERATOR: u32 = 1000;

/// Suricata's `alert`.
#[derive(Serialize)]
pub(super) struct Alert<'a> {
    action: &'static str,
    gid: u32,
    signature_id: u32,
    rev: u32,
    signature: &'a str,
    category: &'static str,
    severity: u8,
}

impl<'a> Alert<'a> {
    pub(super) fn new(event: &'a AlertEvent) -> Self {
        let signature = event.rule.as_deref().unwrap_or(event.reason.code());
        Self {
            action: if event.blocked { "blocked" } else { "allowed" },
            gid: GENERATOR,
            signature_id: signature_id(signature),
            rev: 1,
            signature,
            category: if event.rule.is_some() { "Policy Violation" } else { "Protocol Anomaly" },
            severity: if event.blocked { 2 } else { 3 },
        }
    }
}

/// The same for a name in every run and on every machine. Never 0, and within the 31 bits that databases take.
fn signature_id(name: &str) -> u32 {
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(name));
    (u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff).max(1)
}

/// What we have beside it.
#[derive(Serialize)]
pub(super) struct OwnAlert<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    reason: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    late: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<Found<'a>>,
    event: String,
}

/// What was found in the content. Of texts there is nothing but a masked number.
#[derive(Serialize)]
struct Found<'a> {
    by: &'a str,
    what: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'a [Box<str>],
}

impl<'a> Found<'a> {
    fn new(hit: &'a Hit) -> Self {
        let Hit { by, what, count, sample, tags } = hit;
        Self { by, what, count: *count, sample: sample.map(|sample| sample.to_string()), tags }
    }
}

impl<'a> OwnAlert<'a> {
    pub(super) fn new(flow_id: u64, event: &'a AlertEvent) -> Self {
        Self {
            rule: event.rule.as_deref(),
            reason: event.reason.code(),
            late: event.late,
            found: event.found.as_ref().map(Found::new),
            event: event.id(flow_id),
        }
    }
}

/// `to_server` or `to_client`.
pub(super) const fn direction(from: End) -> &'static str {
    match from {
        End::Client => "to_server",
        End::Server => "to_client",
    }
}
