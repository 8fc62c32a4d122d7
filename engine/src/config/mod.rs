//! Configuration: typed TOML, every fault with file, line and key.
