//! What is counted of the servers that are asked about bodies.

use std::sync::{Arc, PoisonError};

use wireglass_core::counters::Kind;
use wireglass_core::icap::Method;

use super::page::{Label, Metrics, Page};
use crate::icap::{Answer, Probed, Server};

/// Services of servers, by the names that rules have for them.
pub(super) type IcapServices = Vec<(Arc<str>, Arc<Server>)>;

impl Metrics {
    /// From now on these services are asked. One that was there before goes on counting where it was.
    pub fn set_icap(&self, services: IcapServices) {
        let mut current = self.icap.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, server) in &services {
            let method = server.settings().method;
            let before = current.iter().find(|(old, each)| old == name && each.settings().method == method);
            if let Some((_, before)) = before {
                server.count_in(Arc::clone(before.counters()));
            }
        }
        *current = services;
    }

    pub(super) fn icap_services(&self, page: &mut Page<'_>) {
        let services = self.icap.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if services.is_empty() {
            return;
        }
        let name = "wireglass_icap_up";
        page.family(
            name,
            "Whether an ICAP service has answered the last request; 1 before the first.",
            Kind::Gauge,
        );
        for (server, service) in &services {
            page.sample(name, &labels(server, service), u64::from(!service.is_failing()));
        }
        let name = "wireglass_icap_requests_total";
        page.family(name, "Messages for an ICAP service, by result.", Kind::Counter);
        for (server, service) in &services {
            for answer in Answer::ALL {
                let [server, which] = labels(server, service);
                let labels: [Label<'_>; 3] = [server, which, ("outcome", &answer.name())];
                page.sample(name, &labels, service.counters().answers(answer));
            }
        }
        let name = "wireglass_icap_request_duration_seconds";
        page.histogram_family(name, "How long an ICAP service kept messages waiting.");
        for (server, service) in &services {
            page.histogram(name, &labels(server, service), &service.counters().times.read());
        }
        let name = "wireglass_icap_connections";
        page.family(
            name,
            "Open connections to an ICAP service: in use, or kept for the next request.",
            Kind::Gauge,
        );
        for (server, service) in &services {
            for (state, count) in ["used", "idle"].iter().zip(service.connections()) {
                let [server, which] = labels(server, service);
                page.sample(name, &[server, which, ("state", state)], count as u64);
            }
        }
        let name = "wireglass_icap_probes_total";
        page.family(
            name,
            "Tests whether an ICAP service finds the EICAR test file, by result.",
            Kind::Counter,
        );
        for (server, service) in &services {
            for probed in Probed::ALL {
                let [server, which] = labels(server, service);
                let labels: [Label<'_>; 3] = [server, which, ("outcome", &probed.name())];
                page.sample(name, &labels, service.counters().probes(probed));
            }
        }
    }
}

fn labels<'a>(server: &'a Arc<str>, service: &Server) -> [Label<'a>; 2] {
    let which: &'static &'static str = match service.settings().method {
        Method::Reqmod => &"reqmod",
        Method::Respmod => &"respmod",
    };
    [("server", server), ("service", which)]
}
