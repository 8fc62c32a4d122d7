//! All connections of a capture as an onlooker sees them, each with what the engine has decided about it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use wireglass_core::end::{End, PerEnd};
use wireglass_core::generations::Generations;
use wireglass_core::packet::{Class, Datagram, Headers};
use wireglass_core::policy::Policy;
use wireglass_core::quic::{FromClient, InitialSuite, QuicFlow};
use wireglass_core::tls::ClientHello;
use wireglass_core::x509::Provider;

use super::conversation::{Conversation, Observed};
use super::player::Played;

/// Connections that are looked at at a time; the oldest makes room.
const OPEN: usize = 16_384;
/// Flows of QUIC of which the hello is awaited.
const QUIC_FLOWS: usize = 4096;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
/// RFC 9000 17.2: the packets that begin a connection have a long header.
const LONG_HEADER: u8 = 0x80;

/// A connection between its client and its server, in these VLANs.
type Key = ([Option<u16>; 2], SocketAddr, SocketAddr);

/// A connection that is over.
#[derive(Debug)]
pub(super) struct Ended {
    /// Microseconds since 1970.
    pub(super) began: u64,
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
    /// Its port is one that the engine looks at.
    pub(super) intercepted: bool,
    /// What the engine has decided; none: nothing, as the port is not looked at.
    pub(super) played: Option<Played>,
    pub(super) observed: Observed,
}

/// One that may go on.
struct Open {
    serial: u64,
    began: u64,
    client_isn: Option<u32>,
    conversation: Conversation,
    played: Option<Played>,
    closed: PerEnd<bool>,
}

/// Looks at each packet.
pub(super) struct Onlooker {
    policy: Arc<Policy>,
    open: BTreeMap<Key, Open>,
    /// The oldest first, with serial numbers: some have ended since.
    order: VecDeque<(u64, Key)>,
    serial: u64,
    ended: Vec<Ended>,
    initial: Option<InitialSuite>,
    quic: Generations<(SocketAddr, SocketAddr), QuicFlow>,
    quic_hellos: Vec<ClientHello>,
    /// Connections that made room before the engine had decided about them.
    evicted: u64,
}

impl Onlooker {
    pub(super) fn new(policy: Arc<Policy>, provider: Provider) -> Self {
        Self {
            policy,
            open: BTreeMap::new(),
            order: VecDeque::new(),
            serial: 0,
            ended: Vec::new(),
            initial: InitialSuite::new(provider),
            quic: Generations::new(QUIC_FLOWS),
            quic_hellos: Vec::new(),
            evicted: 0,
        }
    }

    /// A packet of the capture, in microseconds since 1970.
    pub(super) fn see(&mut self, time: u64, frame: &[u8], class: &Class) {
        match class {
            Class::Tcp(headers) => self.see_segment(time, frame, headers),
            Class::Udp(datagram) => self.see_datagram(frame, datagram),
            Class::Fragment(_) | Class::Icmp(_) | Class::Uninspected(_) | Class::Bad(_) => {}
        }
    }

    fn see_segment(&mut self, time: u64, frame: &[u8], headers: &Headers) {
        let segment = headers.segment(frame);
        let (flags, payload) =
            (headers.flag_bits(frame), &segment[segment.len() - headers.payload_len(frame)..]);
        let sequence = u32::from_be_bytes([segment[4], segment[5], segment[6], segment[7]]);
        let Headers { vlan, source, destination, .. } = *headers;
        let (from, key) = self.end_of((vlan, source, destination), flags);
        let begins = from == End::Client && flags & (SYN | ACK) == SYN;
        if begins && self.open.get(&key).is_some_and(|open| open.client_isn != Some(sequence)) {
            // The same ports again.
            self.end(&key);
        }
        if !self.open.contains_key(&key) {
            if payload.is_empty() && flags & SYN == 0 {
                return;
            }
            self.begin(time, key);
        }
        let Some(open) = self.open.get_mut(&key) else { return };
        if flags & SYN != 0 {
            open.conversation.begin(from, sequence);
            open.client_isn = open.client_isn.or(begins.then_some(sequence));
        } else {
            open.conversation.take(from, sequence, payload);
        }
        open.closed[from] |= flags & FIN != 0;
        if flags & RST != 0 {
            open.closed = PerEnd::both(true);
        }
        self.end_if_over(&key);
    }

    /// Which end has sent it. Of a connection that had begun before the capture, the server is who has the port that is looked at, or the
    /// lower one.
    fn end_of(&self, sent: Key, flags: u8) -> (End, Key) {
        let (vlan, source, destination) = sent;
        let answered = (vlan, destination, source);
        let is_client = match (flags & (SYN | ACK), self.open.contains_key(&sent)) {
            (SYN, _) | (_, true) => true,
            (flags, false) if flags == SYN | ACK || self.open.contains_key(&answered) => false,
            _ => {
                let looked_at = |end: SocketAddr| self.policy.candidate(end.port());
                match (looked_at(destination), looked_at(source)) {
                    // Who speaks first, as when it is played.
                    (true, _) => true,
                    (false, true) => false,
                    (false, false) => destination.port() < source.port(),
                }
            }
        };
        if is_client { (End::Client, sent) } else { (End::Server, answered) }
    }

    fn begin(&mut self, began: u64, key: Key) {
        while self.open.len() >= OPEN
            && let Some((serial, oldest)) = self.order.pop_front()
        {
            if self.open.get(&oldest).is_some_and(|open| open.serial == serial) {
                self.end(&oldest);
            }
        }
        self.serial += 1;
        // Most of what stands in it has ended long ago.
        if self.order.len() >= 4 * OPEN {
            self.order.retain(|(serial, key)| self.open.get(key).is_some_and(|open| open.serial == *serial));
        }
        self.order.push_back((self.serial, key));
        let (serial, conversation) = (self.serial, Conversation::default());
        let closed = PerEnd::both(false);
        self.open.insert(key, Open { serial, began, client_isn: None, conversation, played: None, closed });
    }

    /// The engine has done with a flow.
    pub(super) fn decided(&mut self, played: Played) {
        let key = (played.vlan, played.client, played.server);
        match self.open.get_mut(&key) {
            Some(open) if open.played.is_none() => {
                open.played = Some(played);
                self.end_if_over(&key);
            }
            _ => self.ended.push(Ended {
                began: 0,
                client: played.client,
                server: played.server,
                intercepted: true,
                played: Some(played),
                observed: Observed::default(),
            }),
        }
    }

    /// Nothing more is to be learned: it is closed, and the engine has decided, or does not look at it.
    fn end_if_over(&mut self, key: &Key) {
        let Some(open) = self.open.get(key) else { return };
        let is_decided = open.played.is_some() || !self.policy.candidate(key.2.port());
        if is_decided && open.closed == PerEnd::both(true) {
            self.end(key);
        }
    }

    fn end(&mut self, key: &Key) {
        let Some(open) = self.open.remove(key) else { return };
        let (_, client, server) = *key;
        let intercepted = self.policy.candidate(server.port());
        if intercepted && open.played.is_none() {
            // The engine will tell of it; what was seen is lost.
            self.evicted += 1;
            return;
        }
        let (began, played, observed) = (open.began, open.played, open.conversation.finish());
        self.ended.push(Ended { began, client, server, intercepted, played, observed });
    }

    fn see_datagram(&mut self, frame: &[u8], datagram: &Datagram) {
        let payload = &frame[datagram.payload..datagram.end];
        let is_to_server = self.policy.candidate(datagram.destination.port())
            && !self.policy.candidate(datagram.source.port());
        let (Some(suite), true) = (self.initial, is_to_server) else { return };
        if payload.first().is_none_or(|first| first & LONG_HEADER == 0) {
            return;
        }
        let key = (datagram.source, datagram.destination);
        if self.quic.find(&key).is_none() {
            self.quic.insert(key, QuicFlow::default());
        }
        let Some(flow) = self.quic.find(&key) else { return };
        if let FromClient::Hello(hello) = flow.from_client(suite, payload) {
            flow.decide(true);
            self.quic_hellos.push(*hello);
        }
    }

    /// Connections that have ended since the last call.
    pub(super) fn ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// Hellos over QUIC since the last call.
    pub(super) fn quic_hellos(&mut self) -> Vec<ClientHello> {
        std::mem::take(&mut self.quic_hellos)
    }

    /// Connections of which less is known, as too many went on at a time.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Ends what is left, once the capture is through and the engine has decided about all.
    pub(super) fn finish(&mut self) {
        let keys: Vec<_> = self.open.keys().copied().collect();
        keys.iter().for_each(|key| self.end(key));
    }
}
