//! Ceiling probes and reports for wireglass.
#![forbid(unsafe_code)]
fn main() {}
