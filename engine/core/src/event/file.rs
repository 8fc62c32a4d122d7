//! The event of a body.

use super::HttpEvent;
use crate::content::{FileFacts, FileType};
use crate::end::End;

/// A body that a rule had looked at, when it has ended or something was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEvent {
    /// Whose message it is in.
    pub from: End,
    /// Its stream of HTTP/2; 0 in HTTP/1.
    pub stream: u32,
    /// Under which a client would save it; none: it has none.
    pub file_name: Option<Box<str>>,
    /// Its type; none: too little of it has come.
    pub kind: Option<FileType>,
    /// What is known of it as a whole; none: it has not come to its end.
    pub facts: Option<FileFacts>,
    /// Octets that have come, as they were sent.
    pub coded: u64,
    /// Its transaction as far as it has come.
    pub http: HttpEvent,
}
