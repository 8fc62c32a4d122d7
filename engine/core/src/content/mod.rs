//! Inspectors: readers of the plaintext. They look at it in passing; they never change, delay or end a flow.

mod hpack;
mod http;
mod http1;
mod http1_head;
mod http2;
mod http2_frames;
mod huffman;
mod text;
mod transactions;

pub use http::HttpInspector;
