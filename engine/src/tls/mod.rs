//! TLS: everything that touches rustls.
