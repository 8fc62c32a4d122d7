//! wireglass: transparent TLS inspection at packet level.
#![forbid(unsafe_code)]
