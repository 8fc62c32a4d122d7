//! Minting: the copies of server certificates that clients see.
