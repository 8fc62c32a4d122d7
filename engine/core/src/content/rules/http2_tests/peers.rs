//! Two `h2` peers.
