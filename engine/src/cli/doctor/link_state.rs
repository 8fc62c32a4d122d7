//! Whether a wire can pass the loss of a link on, where it is to.

use super::findings::{Finding, Question};
use super::plan::{PlannedPort, PlannedWire};
use crate::link_pass::LinkState;

impl Question<'_> {
    /// Nothing of a wire that does not pass it on, or whose ports were not opened and are no interfaces.
    pub(super) fn link_state(&self, wire: &PlannedWire) -> Option<Finding> {
        if wire.link_state != LinkState::Pass {
            return None;
        }
        // The kernel takes each of its interfaces down.
        let can = |port: &PlannedPort| {
            port.kernel.is_some() || self.opened(port).is_some_and(|it| it.link_settable)
        };
        let known = |port: &PlannedPort| port.kernel.is_some() || self.opened(port).is_some();
        if !wire.ports.iter().all(known) {
            return None;
        }
        Some(match wire.ports.iter().find(|port| !can(port)) {
            None => Finding::good("link state", format!("{}: the loss of a link is passed on", wire.name)),
            Some(port) => Finding::note(
                "link state",
                format!("{}: the driver of {} cannot take its link down", wire.name, port.name),
                "neighbours of that port do not see that the wire is broken: let them probe through it, or say link_state = \"independent\"",
            ),
        })
    }
}
