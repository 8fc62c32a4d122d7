//! How a running engine stands with its fleet.

use std::path::Path;

use super::findings::Finding;
use crate::control::client;
use crate::fleet::status::FleetRecord;

/// Of the engine that listens at this socket; none: there is none, or it is in no fleet.
pub(super) fn of_engine(socket: &Path) -> Option<Finding> {
    client::counters(socket).ok()?.engine.fleet.as_ref().map(finding)
}

fn finding(fleet: &FleetRecord) -> Finding {
    if !fleet.connected {
        return Finding::poor(
            "fleet",
            format!("running engine: etcd does not answer: {}", fleet.disconnected),
            "it goes on with what it has, and hears of no new policy",
            "etcd's members, the way to them, and fleet.endpoints, ca, certificate and key: docs/fleet.md",
        );
    }
    if !fleet.fault.is_empty() {
        return Finding::poor(
            "fleet",
            format!(
                "running engine: cannot have generation {} of the fleet's policy: {}",
                fleet.active, fleet.fault
            ),
            "it goes by another policy than the others",
            "what the fault says, in the policy or in this engine's own file; then push it again",
        );
    }
    let FleetRecord { generation, engines, .. } = fleet;
    Finding::good(
        "fleet",
        format!("running engine: one of {engines}, generation {generation} of the fleet's policy"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::findings::Level;

    #[test]
    fn without_etcd_or_with_another_policy_it_is_poor() {
        let well =
            FleetRecord { connected: true, generation: 7, active: 7, engines: 3, ..FleetRecord::default() };
        assert_eq!(finding(&well).level, Level::Good);
        let alone = FleetRecord { connected: false, disconnected: "no answer".into(), ..well.clone() };
        assert!(finding(&alone).level == Level::Poor && finding(&alone).found.contains("no answer"));
        let faulty = FleetRecord { active: 8, fault: "policy.toml:3: no".into(), ..well };
        assert!(finding(&faulty).level == Level::Poor && finding(&faulty).found.contains("generation 8"));
    }
}
