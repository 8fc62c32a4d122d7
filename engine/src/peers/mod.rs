//! Hosts made of other people's code (smoltcp and rustls) for the demo and the tests.
