//! What share of the traffic is decrypted, and what decides it.

use wireglass_core::counters::{ACTION_OR_NONE, Kind};
use wireglass_core::end::End;
use wireglass_core::event::Action;
use wireglass_core::reason::Reason;

use super::page::{Label, Metrics, Page};

/// As labels have it.
pub(super) fn action_name(action: Option<Action>) -> &'static str {
    action.map_or("none", Action::name)
}

impl Metrics {
    pub(super) fn shares(&self, page: &mut Page<'_>) {
        let name = "wireglass_connections_total";
        page.family(
            name,
            "Flows that have ended, by what the engine did with them; none: they ended before that was decided.",
            Kind::Counter,
        );
        for (worker, counters) in self.workers().iter().enumerate() {
            for action in ACTION_OR_NONE {
                let labels: [Label<'_>; 2] = [("worker", &worker), ("action", &action_name(action))];
                page.sample(name, &labels, counters.ended_after(action).value());
            }
        }
        let name = "wireglass_connection_bytes_total";
        page.family(
            name,
            "Bytes of flows' frames, by what the engine does with the flow, and by the end that sent them; none: that is not decided yet.",
            Kind::Counter,
        );
        for (worker, counters) in self.workers().iter().enumerate() {
            for action in ACTION_OR_NONE {
                for (end, from) in [(End::Client, "client"), (End::Server, "server")] {
                    let labels: [Label<'_>; 3] =
                        [("worker", &worker), ("action", &action_name(action)), ("from", &from)];
                    page.sample(name, &labels, counters.carried(action, end).value());
                }
            }
        }
        let name = "wireglass_hellos_total";
        page.family(
            name,
            "Flows whose first bytes were judged (events of type tls), by reason: policy.decrypt are those that are decrypted.",
            Kind::Counter,
        );
        self.labelled(page, name, Reason::ALL, |counters, why| counters.judged(why).value(), Reason::code);
    }
}
