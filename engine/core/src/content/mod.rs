//! The plaintext between the two sessions of a flow: what decides on it, and where it waits for that.

mod body;
mod border;
mod filter;
mod hpack;
mod hpack_static;
mod http;
mod http1;
mod http1_chunk;
mod http1_head;
mod http1_strict;
mod http2;
mod http2_frames;
mod http_reader;
mod huffman;
mod inspect;
mod page;
mod page_answer;
mod rules;
mod set_aside;
mod signatures;
mod stage;
mod text;
mod transactions;

pub use body::{Coding, Codings, DecodeLimits, Decoder, FileType, First, MAX_CODED, Undecodable, first_type};
pub use border::{Border, Borders, Exchange, FrameHead, HeadKind, What};
pub use filter::{Decisions, Ending, Filter, Filters, Report, Room, Scan, StreamEnd, Verdict};
pub use http::HttpInspector;
pub use http_reader::HttpReaders;
pub use inspect::{
    Asked, BodyJob, BodyScan, FileFacts, Finding, Found, Hit, Inspector, Looked, Message, Scanner,
};
pub use page::{Page, PageError, PageFacts};
pub use page_answer::BlockedFlow;
pub use rules::RuleFilters;
pub use signatures::{
    DataPattern, LiteralError, MAX_LITERAL, MAX_LITERALS, MAX_SETS, MIN_LITERAL, Masked, RegexError,
    SignatureError, SignatureId, SignatureMask, SignatureSet, SignatureStream, Signatures, check_regex,
    parse_literal,
};
pub use stage::{Fate, Opened, Ready, Stage};
