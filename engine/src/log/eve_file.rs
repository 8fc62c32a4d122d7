//! The part of a `fileinfo` line that other lines do not have.

use serde::Serialize;
use wireglass_core::event::FileEvent;

use crate::hex::hex;

/// Suricata's `fileinfo`.
#[derive(Serialize)]
pub(super) struct FileInfo<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    magic: Option<&'static str>,
    gaps: bool,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    md5: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    stored: bool,
    size: u64,
    tx_id: u64,
}

impl<'a> FileInfo<'a> {
    pub(super) fn new(event: &'a FileEvent) -> Self {
        let facts = event.facts.as_ref();
        Self {
            filename: event.file_name.as_deref(),
            magic: event.kind.map(|kind| kind.name()),
            gaps: false,
            state: if facts.is_some() { "CLOSED" } else { "TRUNCATED" },
            md5: facts.and_then(|facts| facts.md5).map(|md5| hex(&md5)),
            sha256: facts.and_then(|facts| facts.sha256).map(|sha256| hex(&sha256)),
            stored: false,
            size: facts.map_or(event.coded, |facts| facts.size),
            tx_id: event.http.tx_id,
        }
    }
}
