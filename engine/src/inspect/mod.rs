//! Inspectors: readers of the plaintext.
mod http;
pub use http::HttpInspector;
