//! Whether both directions of connections come through a running engine.

use std::path::Path;

use super::findings::Finding;
use crate::control::client;

/// Of the engine that listens at this socket; none: there is none.
pub(super) fn of_engine(socket: &Path) -> Option<Finding> {
    client::counters(socket).ok().map(|counters| finding(counters.engine.asymmetric_flows))
}

fn finding(flows: u64) -> Finding {
    if flows == 0 {
        return Finding::good(
            "asymmetry",
            "running engine: both directions of all connections come through it",
        );
    }
    Finding::poor(
        "asymmetry",
        format!("running engine: only one direction of {flows} connections came through it"),
        "it can decrypt none of them, and breaks them unless intercept.midstream says \"forward\"",
        "symmetric hashing on the routers or switches at both sides: docs/deploy.md, Scale-out",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::findings::Level;

    #[test]
    fn one_direction_is_poor() {
        assert_eq!(finding(0).level, Level::Good);
        let poor = finding(7);
        assert!(poor.level == Level::Poor && poor.found.contains("of 7 connections"), "{poor:?}");
    }
}
