//! QUIC to intercepted ports, where rules by name may let it pass: the same rules as for TLS, asked of the hello in its first packets.
//!
//! Datagrams wait until the hello is complete, as the client's first flight does over TCP. What rules would decrypt does not pass: clients
//! take TCP then. `intercept.quic = "forward"` lets that pass, and what cannot be read; rules that block hold all the same.

use std::net::SocketAddr;

use tcp_stack::{Duration, Instant};
use wireglass_core::aged_map::AgedMap;
use wireglass_core::event::{Fate, HelloInfo};
use wireglass_core::packet::{Datagram, FlowKey, PassAction, Uninspected};
use wireglass_core::policy::{Decision, FlowFacts, HelloFacts, Verdict};
use wireglass_core::port::{Frame, Io, PortId};
use wireglass_core::quic::{FromClient, InitialSuite, QuicFlow};
use wireglass_core::reason::PacketDrop;
use wireglass_core::tls::ClientHello;
use wireglass_core::x509::Provider;

use super::Worker;

/// Flows whose connections have passed. More, and the oldest is one that cannot be read.
const PASSING: u32 = 4096;
/// Flows whose hello is not complete.
const OPENING: u32 = 512;
/// Datagrams that wait for a hello to be complete: of one flow, and of all.
const HELD_OF_FLOW: usize = 8;
const HELD: usize = 256;
/// Bytes of hellos that are kept.
const MEMORY: usize = 8 << 20;
/// How long a flow may be silent, and a hello incomplete.
const IDLE: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(5);

/// The flows that a worker follows.
pub(super) struct QuicState<F> {
    suite: Option<InitialSuite>,
    passing: AgedMap<u64, Followed<F>>,
    opening: AgedMap<u64, Followed<F>>,
    /// Datagrams that wait, and bytes that flows hold.
    held: usize,
    memory: usize,
    /// Datagrams that have waited in vain, and are not counted yet.
    lost: usize,
}

struct Followed<F> {
    last: Instant,
    flow: QuicFlow,
    held: Vec<F>,
    /// Bytes of the flow when they were counted.
    memory: usize,
}

impl<F> QuicState<F> {
    pub(super) fn new() -> Self {
        Self {
            suite: InitialSuite::new(Provider::default()),
            passing: AgedMap::new(PASSING),
            opening: AgedMap::new(OPENING),
            held: 0,
            memory: 0,
            lost: 0,
        }
    }

    /// The flow, if it is not over. It is put back with [`Self::keep`].
    fn take(&mut self, now: Instant, hash: u64) -> Option<Followed<F>> {
        let followed = self.passing.remove(hash, &hash).or_else(|| self.opening.remove(hash, &hash))?;
        self.forget(&followed);
        let limit = if followed.flow.passes() { IDLE } else { PATIENCE };
        if now < followed.last + limit {
            return Some(followed);
        }
        self.lost += followed.held.len();
        None
    }

    /// As the youngest.
    fn keep(&mut self, now: Instant, hash: u64, mut followed: Followed<F>) {
        (followed.last, followed.memory) = (now, followed.flow.memory());
        while self.memory + followed.memory > MEMORY
            && let Some(old) = self.opening.pop_oldest().or_else(|| self.passing.pop_oldest())
        {
            self.lose(&old);
        }
        let flows = if followed.flow.passes() { &mut self.passing } else { &mut self.opening };
        let gives_way = if flows.is_full() { flows.pop_oldest() } else { None };
        self.memory += followed.memory;
        self.held += followed.held.len();
        // There is room: if it was full, the oldest has gone.
        let _ = flows.insert(hash, hash, followed);
        if let Some(old) = gives_way {
            self.lose(&old);
        }
    }

    /// It gives way to another one.
    fn lose(&mut self, followed: &Followed<F>) {
        self.forget(followed);
        self.lost += followed.held.len();
    }

    fn forget(&mut self, followed: &Followed<F>) {
        self.memory -= followed.memory;
        self.held -= followed.held.len();
    }
}

/// What becomes of a datagram, and why.
enum Becomes {
    Forward,
    Drop(PacketDrop),
    Wait,
}

impl<IO: Io> Worker<IO> {
    /// A datagram of a flow on which names decide. `is_new`: nothing has been told of it yet.
    pub(super) fn handle_quic(
        &mut self,
        port: PortId,
        frame: IO::Frame,
        datagram: &Datagram,
        (client, server): (SocketAddr, SocketAddr),
        is_new: bool,
    ) {
        let key = FlowKey::between(port.wire, datagram.vlan, datagram.source, datagram.destination);
        let hash = self.hasher.flow(&key);
        let Some(frame) = self.steer(port, frame, hash) else { return };
        let now = self.cx.now;
        let payload = frame.data().get(datagram.payload..datagram.end.min(frame.len())).unwrap_or_default();
        let unread = || match self.generations.newest().outside_tls.passthrough.action(Uninspected::Quic) {
            PassAction::Forward => Becomes::Forward,
            PassAction::Drop => Becomes::Drop(PacketDrop::Quic),
        };
        let mut followed = self.passthrough.quic.take(now, hash).unwrap_or_else(|| Followed {
            last: now,
            flow: QuicFlow::default(),
            held: Vec::new(),
            memory: 0,
        });
        let (mut told, mut is_decided) = (None, false);
        let begun = followed.flow.begun();
        let becomes = if datagram.source != client {
            if followed.flow.from_server(payload) { Becomes::Forward } else { unread() }
        } else {
            // QUIC is never sent in fragments (RFC 9000, 14); what the others bring cannot be known here.
            let suite = self.passthrough.quic.suite.filter(|_| !datagram.is_fragment);
            match suite.map(|suite| followed.flow.from_client(suite, payload)) {
                Some(FromClient::Pass) => Becomes::Forward,
                Some(FromClient::Refused) => Becomes::Drop(PacketDrop::PolicyBlocked),
                Some(FromClient::Hold) => Becomes::Wait,
                Some(FromClient::Unread) | None => unread(),
                Some(FromClient::Hello(hello)) => {
                    let (becomes, verdict, info) = self.judge_quic(port, datagram, (client, server), &hello);
                    followed.flow.decide(matches!(becomes, Becomes::Forward));
                    is_decided = true;
                    told = Some((verdict.rule, Some(info)));
                    becomes
                }
            }
        };
        if followed.flow.begun() != begun {
            self.passthrough.quic.lost += followed.held.drain(..).count();
        }
        if is_new && told.is_none() && !matches!(becomes, Becomes::Wait) {
            told = Some((None, None));
        }
        if let Some((rule, hello)) = told {
            let fate = match becomes {
                Becomes::Drop(reason) => Fate::Dropped(reason),
                Becomes::Forward | Becomes::Wait => Fate::Forwarded,
            };
            self.tell_frame(port, &frame, fate, (Some(Uninspected::Quic), 1), rule, hello);
        }
        match becomes {
            Becomes::Wait
                if followed.held.len() < HELD_OF_FLOW
                    && followed.held.len() + self.passthrough.quic.held < HELD =>
            {
                followed.held.push(frame);
            }
            Becomes::Wait => self.drop_datagram(PacketDrop::Quic),
            Becomes::Forward => {
                followed.held.drain(..).chain([frame]).for_each(|frame| self.forward_datagram(port, frame));
            }
            Becomes::Drop(reason) => {
                self.drop_datagram(reason);
                if is_decided {
                    self.passthrough.quic.lost += followed.held.drain(..).count();
                }
            }
        }
        if followed.flow.memory() > 0 {
            self.passthrough.quic.keep(now, hash, followed);
        }
        for _ in 0..std::mem::take(&mut self.passthrough.quic.lost) {
            self.drop_datagram(PacketDrop::Quic);
        }
    }

    fn judge_quic(
        &self,
        port: PortId,
        datagram: &Datagram,
        (client, server): (SocketAddr, SocketAddr),
        hello: &ClientHello,
    ) -> (Becomes, Verdict, Box<HelloInfo>) {
        let shared = self.generations.newest();
        let info = Box::new(hello.quic_info());
        let facts =
            FlowFacts { wire: &shared.wires[usize::from(port.wire)], vlan: datagram.vlan[0], client, server };
        let asks = HelloFacts { sni: info.sni.as_deref(), alpn: &info.alpn, ja4: &info.ja4 };
        let verdict = shared.policy.at_hello(&facts, &asks);
        shared.policy.count(&verdict);
        let becomes = match (&verdict.decision, shared.outside_tls.passthrough.action(Uninspected::Quic)) {
            (Decision::Bypass, _) | (Decision::Decrypt(_), PassAction::Forward) => Becomes::Forward,
            (Decision::Decrypt(_), PassAction::Drop) => Becomes::Drop(PacketDrop::Quic),
            (Decision::Block(_), _) => Becomes::Drop(PacketDrop::PolicyBlocked),
        };
        (becomes, verdict, info)
    }

    fn forward_datagram(&mut self, port: PortId, frame: IO::Frame) {
        self.cx.counters.uninspected(Uninspected::Quic, PassAction::Forward).inc();
        self.cx.forward(port.opposite(), frame);
    }

    fn drop_datagram(&mut self, reason: PacketDrop) {
        self.cx.counters.uninspected(Uninspected::Quic, PassAction::Drop).inc();
        self.cx.counters.drop_packet(reason);
    }
}
