//! The `wireglass` command.
fn main() {}
