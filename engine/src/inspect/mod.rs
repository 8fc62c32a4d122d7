//! Inspectors: readers of the plaintext.
