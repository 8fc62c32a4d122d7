//! What a worker tells the log: each event is counted; those that anybody can cause are summed up where they are many.

use std::sync::Arc;

use tcp_stack::Instant;
use wireglass_core::counters::WorkerCounters;
use wireglass_core::event::{Action, Event, Timestamp};
use wireglass_core::reason::Reason;

use super::summary::Summary;
use crate::log::LogSender;

/// A worker's way to the log.
pub(super) struct EventLog {
    log: LogSender,
    counters: Arc<WorkerCounters>,
    summary: Summary,
}

impl EventLog {
    pub(super) fn new(log: LogSender, counters: Arc<WorkerCounters>) -> Self {
        Self { log, counters, summary: Summary::new() }
    }

    /// Somebody reads the log.
    pub(super) fn is_enabled(&self) -> bool {
        self.log.is_enabled()
    }

    pub(super) fn tell(&mut self, now: Instant, event: Event) {
        self.count(&event);
        if self.summary.admits(now, &event) {
            let is_exchange = matches!(event, Event::Http(..));
            self.log.push(event);
            if is_exchange && let Some(spent) = self.log.take_back() {
                spent.give_back();
            }
        } else {
            self.counters.events_summed.inc();
        }
    }

    /// Tells what the last second held beyond what was told one by one, if it is over (`now`), or in any case (none).
    pub(super) fn end_second(&mut self, now: Option<Instant>, wall: Timestamp) {
        self.summary.end_second(now, wall, |event| self.log.push(event));
    }

    /// When that is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.summary.poll_timeout()
    }

    fn count(&self, event: &Event) {
        if let Event::Tls(_, tls) = event {
            self.counters.judged(tls.reason).inc();
        }
        match event {
            Event::Tls(_, tls) if tls.reason == Reason::PolicyDecrypt => {
                self.counters.handshakes_done.inc();
                self.counters.certificates_minted.add(tls.minted_by.is_some().into());
            }
            Event::Tls(_, tls) if tls.profile.is_some() && tls.action != Action::Bypass => {
                self.counters.handshakes_failed.inc();
            }
            Event::Tls(_, tls) if tls.reason == Reason::PolicyBlock && tls.client_leg.is_some() => {
                self.counters.pages.inc();
            }
            Event::Http(..) => self.counters.http_transactions.inc(),
            Event::Flow(_, flow) => {
                self.counters.flow_ended(flow.reason);
                self.counters.ended_after(flow.action).inc();
            }
            // Links, captures and failures are told by others.
            Event::Tls(..)
            | Event::Link(..)
            | Event::Capture(..)
            | Event::Worker(..)
            | Event::Frame(_)
            | Event::Summary(_)
            | Event::Anomaly(..)
            | Event::Asymmetric(..)
            | Event::Alert(..)
            | Event::File(..) => {}
        }
    }
}
