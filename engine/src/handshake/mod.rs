//! Handshakes run on a pool of threads beside the workers.
