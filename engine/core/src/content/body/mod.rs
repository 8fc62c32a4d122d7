//! What is inside the bodies of messages: their codings undone, and the type of the file that they are.

mod brotli;
mod coding;
mod decoder;
mod file_type;
mod first;
mod inflate;
#[cfg(test)]
mod tests;
mod zip;
mod zstd;

pub use coding::{Coding, Codings, Undecodable};
pub use decoder::{DecodeLimits, Decoder};
pub use file_type::FileType;
pub use first::{First, MAX_CODED, first_type};
