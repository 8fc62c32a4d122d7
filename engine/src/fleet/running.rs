//! The engine that runs, as its fleet sees it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use wireglass_core::counters::WorkerCounters;
use wireglass_core::flow::Shared;
use wireglass_core::order::Order;
use wireglass_core::phase::FlowPhase;
use wireglass_core::tls::{SecretRefused, TicketSecret, TicketSharing};

use super::learning::Learned;
use super::schema::{FaultRecord, Presence};
use super::thread::Engine;
use super::tickets::SharedTickets;
use crate::control::unix_now;
use crate::metrics::Metrics;
use crate::orders::{OrderedBy, Standing};
use crate::reload::{FleetStep, ReloadHandle};

/// Shortest time over which rates are measured.
const SPAN: Duration = Duration::from_secs(1);

/// An engine with workers, and who loads its configuration.
pub struct RunningEngine {
    reloads: ReloadHandle,
    metrics: Arc<Metrics>,
    tickets: Option<TicketSharing>,
    learned: Learned,
    since: u64,
    /// When it was measured, flows opened and microseconds busy by then.
    before: (Instant, u64, u64),
    /// Flows in a second, and the share of time that workers are busy.
    rates: (u64, u64),
}

impl RunningEngine {
    /// With who loads its configuration, what counts, and what is shared of what its flows have in common.
    pub fn new(reloads: ReloadHandle, metrics: Arc<Metrics>, shared: &Shared) -> Self {
        let tls = &shared.tls;
        let learned = Learned {
            exclusions: Some(Arc::clone(&shared.exclusions)),
            costly: Some(Arc::clone(tls.costly_servers())),
            chains: tls.shared_chains().map(Arc::clone),
        };
        let tickets = tls.ticket_sharing();
        let since = unix_now();
        let before = (Instant::now(), 0, 0);
        Self { reloads, metrics, tickets, learned, since, before, rates: (0, 0) }
    }

    /// An operator has it drained, here.
    fn is_drained_here(&self) -> bool {
        let is_drain = |held: &Standing| held.order == Order::Drain && held.by == OrderedBy::Operator;
        self.metrics.orders().list(Instant::now()).iter().any(is_drain)
    }

    fn measure(&mut self) {
        let (then, opened, busy) = self.before;
        let time = then.elapsed();
        if time < SPAN {
            return;
        }
        let workers = self.metrics.workers();
        let sum = |read: fn(&WorkerCounters) -> u64| workers.iter().map(|worker| read(worker)).sum::<u64>();
        let now = (sum(|worker| worker.flows_opened.value()), sum(|worker| worker.busy_micros.value()));
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        let flows = (now.0.saturating_sub(opened)).saturating_mul(1_000_000) / micros;
        let all = micros.saturating_mul(workers.len().max(1) as u64);
        let load = now.1.saturating_sub(busy).saturating_mul(100) / all;
        self.rates = (flows, load.min(100));
        self.before = (Instant::now(), now.0, now.1);
    }
}

impl Engine for RunningEngine {
    fn load(&mut self, generation: u64) -> Option<Receiver<Result<(), FaultRecord>>> {
        self.reloads.fleet(FleetStep::Prepare, generation).ok()
    }

    fn put_in_force(&mut self, generation: u64) -> Option<Receiver<Result<(), FaultRecord>>> {
        self.reloads.fleet(FleetStep::PutInForce, generation).ok()
    }

    fn presence(&mut self) -> Presence {
        self.measure();
        let flows = |phase: &FlowPhase| self.metrics.flows_now(*phase);
        Presence {
            since: self.since,
            flows: FlowPhase::ALL.iter().map(flows).sum(),
            decrypted: self.metrics.flows_now(FlowPhase::Decrypted),
            flows_per_second: self.rates.0,
            load: Some(self.rates.1),
            operator_drains: self.is_drained_here(),
            ..Presence::default()
        }
    }

    fn drain(&mut self, is_on: bool) {
        self.metrics.orders().set_fleet_drains(is_on);
        let what = match (is_on, self.is_drained_here()) {
            (true, _) => "drained by the fleet: no new flow is decrypted",
            (false, true) => "no longer drained by the fleet; its operator's order still stands",
            (false, false) => "no longer drained by the fleet",
        };
        tracing::warn!("fleet: this engine is {what}");
    }

    fn learned(&self) -> Learned {
        self.learned.clone()
    }

    fn tickets(&self) -> Option<&dyn SharedTickets> {
        self.tickets.as_ref().map(|tickets| tickets as &dyn SharedTickets)
    }
}

impl SharedTickets for TicketSharing {
    fn share(&self, secret: &TicketSecret, now: u64) -> Result<(), SecretRefused> {
        TicketSharing::share(self, secret, now)
    }
}
