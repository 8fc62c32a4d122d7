//! Putting workers together: the same for real ports, for the demo and for tests on a virtual clock.

use std::sync::Arc;

use wireglass_core::content::{Filters, Page};
use wireglass_core::exclusions::Exclusions;
use wireglass_core::flow::{Limits, OutsideTls, Shared};
use wireglass_core::mirror::Mirror;
use wireglass_core::policy::Policy;
use wireglass_core::tls::TlsContext;

use crate::flow_dump::DumpResponder;
use crate::generation::{GenerationInbox, Generations};
use crate::handshake_pool::{JobTimes, Pool};
use crate::log::LogSender;
use crate::metrics::Metrics;
use crate::secrets::Secrets;
use crate::verdicts::{VerdictCounters, VerdictInbox};
use crate::worker::{Parts, Steering};

/// What an engine is to do, ports and threads aside.
pub struct EngineBuilder {
    /// Which flows to decrypt.
    pub policy: Arc<Policy>,
    /// TLS: providers, trust, CAs, caches.
    pub tls: TlsContext,
    /// Limits and times of each flow.
    pub limits: Limits,
    /// What to do with what is not TLS.
    pub outside_tls: OutsideTls,
    /// What looks at the plaintext of flows.
    pub filters: Arc<dyn Filters>,
    /// What clients get instead of what is blocked.
    pub page: Arc<Page>,
    /// Servers whose flows are left alone.
    pub exclusions: Arc<Exclusions>,
    /// What is shown to others, in the order of their ports.
    pub mirrors: Vec<Mirror>,
    /// Names of the wires.
    pub wires: Vec<Arc<str>>,
    /// Threads for handshakes; 0: the workers run them.
    pub handshake_threads: usize,
    /// Threads that look at bodies; 0: the workers do.
    pub content_threads: usize,
    /// Flows that one worker may have.
    pub flows: u32,
    /// Frames that one worker may hold while ClientHellos are incomplete.
    pub held_frames: usize,
    /// Where the events go.
    pub log: LogSender,
    /// Bytes that the legs of one worker's flows may hold.
    pub flow_bytes: usize,
    /// The native VLAN of each wire, where untagged frames belong to one; wires without an entry have none.
    pub native_vlans: Vec<Option<u16>>,
    /// Random, or fixed in a simulation.
    pub secrets: Secrets,
    /// Where the flow ids begin.
    pub epoch: u64,
}

impl EngineBuilder {
    /// The parts of `workers` workers, the pool that serves them, and what gives them other settings. The pool is to be dropped after
    /// them.
    ///
    /// # Errors
    /// When a thread of the pool cannot be started.
    pub fn workers<F>(
        self,
        metrics: &Metrics,
        workers: usize,
    ) -> std::io::Result<(Pool, Vec<Parts<F>>, Generations)> {
        let (shaking, looking) = <(Arc<JobTimes>, Arc<JobTimes>)>::default();
        let (threads, times) = ((self.handshake_threads, self.content_threads), [&shaking, &looking]);
        let (pool, clients) = Pool::start_both(threads.0, threads.1, workers, times)?;
        metrics.set_job_times([("handshake", shaking), ("content", looking)]);
        metrics.set_tls(Arc::clone(self.tls.caches()));
        metrics.set_authorities_end(self.tls.authorities_end());
        metrics.set_records(self.tls.record_libraries());
        metrics.set_exclusions(Arc::clone(&self.exclusions));
        let verdicts = Arc::new(VerdictCounters::default());
        let shared = Shared {
            policy: self.policy,
            tls: Arc::new(self.tls.with_ticket_secret(self.secrets.tickets)),
            limits: Limits {
                challenge_key: self.secrets.challenges,
                isn_key: self.secrets.isns,
                ..self.limits
            },
            outside_tls: self.outside_tls,
            filters: self.filters,
            page: self.page,
            exclusions: self.exclusions,
            mirrors: self.mirrors.into(),
            wires: self.wires.into(),
        };
        let counters = (0..workers).filter_map(|worker| metrics.worker(worker));
        let parts = Steering::new(workers).into_iter().zip(clients).zip(counters).map(
            |((steering, pool), counters)| {
                counters.flows_limit.set(self.flows.into());
                counters.flow_bytes_limit.set(self.flow_bytes as u64);
                Parts {
                    // A copy for each: its references are counted without touching what others count.
                    shared: Arc::new(shared.clone()),
                    inbox: GenerationInbox::default(),
                    steering,
                    pool,
                    log: self.log.with_own_ring(),
                    counters,
                    secrets: self.secrets.clone(),
                    flows: self.flows,
                    held_frames: self.held_frames,
                    flow_bytes: self.flow_bytes,
                    native_vlans: self.native_vlans.clone(),
                    epoch: self.epoch,
                    responder: DumpResponder::default(),
                    order: Arc::clone(metrics.orders().standing()),
                    verdicts: VerdictInbox::new(Arc::clone(&verdicts)),
                }
            },
        );
        let parts: Vec<_> = parts.collect();
        let generations = Generations::new(shared, parts.iter().map(|parts| (&parts.shared, &parts.inbox)));
        Ok((pool, parts, generations))
    }
}
