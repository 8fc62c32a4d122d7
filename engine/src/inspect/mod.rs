//! Inspectors: readers of the plaintext. They look at it in passing; they never change, delay or end a flow.

mod hpack;
mod http;
mod http1;
mod http2;
mod http2_frames;
mod huffman;
mod text;
mod transactions;

pub use http::HttpInspector;

/// Longest header block that is read, per side, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// Most fields of a header block.
const MAX_FIELDS: usize = 256;
