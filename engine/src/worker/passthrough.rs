//! Frames that are not looked into: forwarded or dropped by their class, counted, and told to the log now and then.

use std::net::SocketAddr;
use std::sync::Arc;

use tcp_stack::{Duration, Instant};
use wireglass_core::aged_map::AgedMap;
use wireglass_core::event::{Event, Fate, FrameEvent, HelloInfo};
use wireglass_core::packet::{Datagram, FlowKey, FrameInfo, PassAction, Uninspected};
use wireglass_core::policy::{Decision, FlowFacts, Verdict};
use wireglass_core::port::{Frame, Io, PortId, PortSide};
use wireglass_core::reason::PacketDrop;

use super::Worker;
use super::quic::QuicState;

/// Time between two events of one class, wire and action.
const EVENT_EVERY: Duration = Duration::from_secs(60);
/// Flows of UDP on intercepted ports that are remembered, so that each is told to the log and asks the rules once.
const DATAGRAM_FLOWS: u32 = 4096;
/// How long one may be silent before it counts as another one.
const DATAGRAM_IDLE: Duration = Duration::from_secs(120);

/// Type of a record (RFC 6347 4.1).
const DTLS_HANDSHAKE: u8 = 22;

/// What a worker remembers of frames that are not looked into.
pub(super) struct PassthroughState<F> {
    /// By wire, class and action: when the next event is due, and the frames since the last one.
    pace: Box<[[[Pace; 2]; Uninspected::COUNT]]>,
    /// UDP on intercepted ports, by the hash of key and class.
    datagrams: AgedMap<u64, DatagramFlow>,
    /// Of these, QUIC on which names decide.
    pub(super) quic: QuicState<F>,
}

#[derive(Clone, Copy, Default)]
struct Pace {
    due: Option<Instant>,
    frames: u64,
}

/// One UDP flow of one class.
struct DatagramFlow {
    last: Instant,
    decided: Decided,
    /// Number of the generation of settings that decided.
    generation: u32,
}

impl DatagramFlow {
    /// What was decided holds. After a reload connections go on, but the next one between the same ports is a new one: UDP itself has no end.
    fn holds(&self, now: Instant, generation: u32, begins: bool) -> bool {
        let goes_on = matches!(self.decided, Decided::Forward | Decided::ByHello) && !begins;
        now < self.last + DATAGRAM_IDLE && (self.generation == generation || goes_on)
    }
}

/// What is to become of a datagram on an intercepted port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Decided {
    /// By addresses, for good: a rule bypasses them, or the client is outside.
    Forward,
    /// A rule blocks these addresses.
    Block,
    /// `intercept.quic` or `intercept.dtls` decides.
    ByClass,
    /// Rules ask for the hello, if it can be read.
    ByHello,
}

impl<F> PassthroughState<F> {
    pub(super) fn new(wires: usize) -> Self {
        let pace = vec![[[Pace::default(); 2]; Uninspected::COUNT]; wires].into();
        Self { pace, datagrams: AgedMap::new(DATAGRAM_FLOWS), quic: QuicState::new() }
    }

    /// Counts a frame. Some: an event is due that stands for so many frames.
    fn pace(&mut self, now: Instant, wire: u8, class: Uninspected, action: PassAction) -> Option<u64> {
        let pace = &mut self.pace[usize::from(wire)][class as usize][action as usize];
        pace.frames += 1;
        if pace.due.is_some_and(|due| now < due) {
            return None;
        }
        pace.due = Some(now + EVENT_EVERY);
        Some(std::mem::take(&mut pace.frames))
    }
}

impl<IO: Io> Worker<IO> {
    /// A frame that is not looked into, of a class with an action.
    pub(super) fn pass_uninspected(&mut self, port: PortId, frame: IO::Frame, class: Uninspected) {
        let action = self.generations.newest().outside_tls.passthrough.action(class);
        self.cx.counters.uninspected(class, action).inc();
        if let Some(frames) = self.passthrough.pace(self.cx.now, port.wire, class, action) {
            self.tell_frame(
                port,
                &frame,
                fate(action, PacketDrop::ClassDropped),
                (Some(class), frames),
                None,
                None,
            );
        }
        match action {
            PassAction::Forward => self.cx.forward(port.opposite(), frame),
            PassAction::Drop => self.cx.counters.drop_packet(PacketDrop::ClassDropped),
        }
    }

    /// A UDP datagram. QUIC and DTLS would carry what was to be inspected around the engine.
    pub(super) fn handle_datagram(&mut self, port: PortId, frame: IO::Frame, datagram: &Datagram) {
        let payload = frame.data().get(datagram.payload..datagram.end.min(frame.len())).unwrap_or_default();
        let Some((class, ends)) = self.intercepted(port, datagram, payload) else {
            let class = Uninspected::of_ports(datagram.source.port(), datagram.destination.port());
            return self.pass_uninspected(port, frame, class);
        };
        let begins = match class {
            Uninspected::Dtls => payload.first() == Some(&DTLS_HANDSHAKE),
            _ => is_quic_long(payload),
        };
        let (decided, rule) = self.datagram_flow(port, datagram, (class, begins), ends);
        if (decided, class) == (Decided::ByHello, Uninspected::Quic) {
            return self.handle_quic(port, frame, datagram, ends, rule.is_some());
        }
        let (class, action, reason) = match (decided, class) {
            (Decided::Forward, _) => (Uninspected::Udp, PassAction::Forward, PacketDrop::Quic),
            (Decided::Block, _) => (class, PassAction::Drop, PacketDrop::PolicyBlocked),
            (Decided::ByClass | Decided::ByHello, Uninspected::Dtls) => {
                (class, self.action(class), PacketDrop::Dtls)
            }
            (Decided::ByClass | Decided::ByHello, _) => (class, self.action(class), PacketDrop::Quic),
        };
        self.cx.counters.uninspected(class, action).inc();
        if let Some(rule) = rule {
            self.tell_frame(port, &frame, fate(action, reason), (Some(class), 1), rule, None);
        }
        match action {
            PassAction::Forward => self.cx.forward(port.opposite(), frame),
            PassAction::Drop => self.cx.counters.drop_packet(reason),
        }
    }

    fn action(&self, class: Uninspected) -> PassAction {
        self.generations.newest().outside_tls.passthrough.action(class)
    }

    /// The class of a datagram on an intercepted port, and its client and server.
    fn intercepted(
        &self,
        port: PortId,
        datagram: &Datagram,
        payload: &[u8],
    ) -> Option<(Uninspected, (SocketAddr, SocketAddr))> {
        let ends = self.client_and_server(port, datagram.source, datagram.destination)?;
        match (is_dtls(payload), is_quic_long(payload)) {
            (true, _) => Some((Uninspected::Dtls, ends)),
            (_, true) => Some((Uninspected::Quic, ends)),
            // Where all ports are intercepted, so are those of DNS and NTP: without its first packets there is no QUIC.
            // Nor is UDP of a protocol that goes over to TLS in place (CLDAP).
            _ if !self.generations.newest().policy.may_be_quic(ends.1.port()) => None,
            _ => Some((Uninspected::Quic, ends)),
        }
    }

    /// What was decided of the datagram's flow. Some: it is a new one, and this rule decided. `begins`: so may a connection in it.
    fn datagram_flow(
        &mut self,
        port: PortId,
        datagram: &Datagram,
        (class, begins): (Uninspected, bool),
        (client, server): (SocketAddr, SocketAddr),
    ) -> (Decided, Option<Option<Arc<str>>>) {
        let key = FlowKey::between(port.wire, datagram.vlan, datagram.source, datagram.destination);
        let hash = self.hasher.hash(&(key, class as u8));
        let (now, generation) = (self.cx.now, self.generations.number());
        let known = &mut self.passthrough.datagrams;
        if let Some(flow) = known.get_mut(hash, &hash)
            && flow.holds(now, generation, begins)
        {
            flow.last = now;
            return (flow.decided, None);
        }
        known.remove(hash, &hash);
        let client_side = if datagram.source == client { port.side } else { port.side.other() };
        let facts = FlowFacts {
            wire: &self.generations.newest().wires[usize::from(port.wire)],
            vlan: datagram.vlan[0],
            client,
            server,
        };
        let verdict = match client_side {
            // As with TCP: there is no server key to show them.
            PortSide::Outside => Some(Verdict { rule: None, decision: Decision::Bypass }),
            PortSide::Inside => self.generations.newest().policy.at_syn(&facts),
        };
        if let Some(verdict @ Verdict { decision: Decision::Bypass | Decision::Block(_), .. }) = &verdict {
            self.generations.newest().policy.count(verdict);
        }
        let (decided, rule) = match verdict {
            Some(Verdict { decision: Decision::Bypass, rule }) => (Decided::Forward, rule),
            Some(Verdict { decision: Decision::Block(_), rule }) => (Decided::Block, rule),
            Some(Verdict { decision: Decision::Decrypt(_), .. }) => (Decided::ByClass, None),
            None => (Decided::ByHello, None),
        };
        if known.is_full() {
            known.pop_oldest();
        }
        // There is room: if it was full, the oldest has gone.
        let _ = known.insert(hash, hash, DatagramFlow { last: now, decided, generation });
        (decided, Some(rule))
    }

    /// The ends of what goes to or from an intercepted port, client first. Where both ports are, the client is inside.
    pub(super) fn client_and_server(
        &self,
        port: PortId,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Option<(SocketAddr, SocketAddr)> {
        let policy = &self.generations.newest().policy;
        match (policy.candidate(source.port()), policy.candidate(destination.port())) {
            (false, false) => None,
            (false, true) => Some((source, destination)),
            (true, false) => Some((destination, source)),
            (true, true) if port.side == PortSide::Inside => Some((source, destination)),
            (true, true) => Some((destination, source)),
        }
    }

    /// Tells the log of a frame of no flow.
    pub(super) fn tell_frame(
        &mut self,
        port: PortId,
        frame: &IO::Frame,
        fate: Fate,
        (class, frames): (Option<Uninspected>, u64),
        rule: Option<Arc<str>>,
        hello: Option<Box<HelloInfo>>,
    ) {
        if !self.events.is_enabled() {
            return;
        }
        let event = FrameEvent {
            time: self.cx.wall,
            wire: Arc::clone(&self.generations.newest().wires[usize::from(port.wire)]),
            side: port.side,
            frame: FrameInfo::of(frame.data()),
            len: frame.len() as u32,
            fate,
            class,
            rule,
            hello,
            frames,
        };
        self.events.tell(self.cx.now, Event::Frame(Box::new(event)));
    }
}

fn fate(action: PassAction, reason: PacketDrop) -> Fate {
    match action {
        PassAction::Forward => Fate::Forwarded,
        PassAction::Drop => Fate::Dropped(reason),
    }
}

/// A record of DTLS 1.0 or 1.2, as every handshake begins with one (RFC 6347 4.1, RFC 9147 4).
fn is_dtls(payload: &[u8]) -> bool {
    matches!(payload, [20..=26, 0xfe, 0xfd..=0xff, ..] | [20..=26, 0x01, 0x00, ..])
}

/// A QUIC packet with a long header: both its first bits are set (RFC 9000 17.2), and a version follows that is in use, is being
/// negotiated (0), or is meant to be refused (RFC 9000 15).
fn is_quic_long(payload: &[u8]) -> bool {
    let [0xc0..=0xff, version @ ..] = payload else { return false };
    let Some(version) = version.first_chunk().map(|v| u32::from_be_bytes(*v)) else { return false };
    // Versions 1 and 2 (RFC 9369), drafts, Google's own, Meta's.
    matches!(version, 0 | 1 | 0x6b33_43cf | 0xff00_0000..=0xff00_00ff)
        || matches!(version.to_be_bytes(), [b'Q' | b'T', b'0', ..] | [0xfa, 0xce, b'b', _])
        || version & 0x0f0f_0f0f == 0x0a0a_0a0a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_packets_are_told_from_others() {
        for version in [0u32, 1, 0x6b33_43cf, 0xff00_001d, 0x1a2a_3a4a, 0x5130_3530] {
            let packet = [&[0xc3][..], &version.to_be_bytes(), &[8, 1, 2, 3]].concat();
            assert!(is_quic_long(&packet) && !is_dtls(&packet), "{version:x}");
        }
        let dns = [0xc0, 0x12, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        let ntp = [0xe3, 0, 6, 0xec, 0, 0, 0, 0];
        let stun = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        for other in [&dns[..], &ntp, &stun, &[0x40, 1, 2, 3, 4], &[0xc0], b""] {
            assert!(!is_quic_long(other) && !is_dtls(other), "{other:x?}");
        }
        assert!(is_dtls(&[22, 0xfe, 0xfd, 0, 0]) && is_dtls(&[22, 0xfe, 0xff, 0]));
        assert!(!is_dtls(&[22, 3, 3, 0]) && !is_dtls(&[22]));
    }
}
