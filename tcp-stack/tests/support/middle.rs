//! The real use: a middle that copies packets until the client speaks, then adopts both legs and relays.

use bytes::Bytes;
use tcp_stack::{
    AdoptedTimestamps, Adoption, Config, Connection, Event, Instant, Options, Segment, Seq, State,
};

use super::Rng;
use super::frame::{self, CLIENT, End, SERVER};

/// What has been seen of one end before the adoption.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    isn: Option<Seq>,
    syn: Options,
    window: u32,
    /// Right edge promised to the other end.
    edge: Option<Seq>,
    timestamp: Option<(u32, Instant)>,
}

/// One adopted leg: towards the client it is the server, and the other way round.
pub struct Leg {
    pub connection: Connection,
    here: End,
    there: End,
    peer_closed: bool,
    pub reset: bool,
    pub closed: bool,
    pub timed_out: bool,
}

/// Two legs and what lies between.
pub struct Middle {
    config: Config,
    client: Seen,
    server: Seen,
    /// Client leg, server leg.
    pub legs: Option<[Leg; 2]>,
    /// Most bytes moved at a time; 0 moves all.
    pub slow: usize,
    rng: Rng,
    to_client: Vec<Vec<u8>>,
    to_server: Vec<Vec<u8>>,
}

impl Middle {
    pub fn new(seed: u64, config: Config) -> Self {
        Middle {
            config,
            client: Seen::default(),
            server: Seen::default(),
            legs: None,
            slow: 0,
            rng: Rng::new(seed),
            to_client: Vec::new(),
            to_server: Vec::new(),
        }
    }

    pub fn receive(&mut self, now: Instant, frame: Vec<u8>) {
        let Some(tcp) = frame::tcp_of(&frame) else { return };
        let segment = Segment::parse(tcp).expect("its checksum is right");
        let from_client = frame::is_from(&frame, CLIENT);
        if self.legs.is_none() && from_client && !segment.payload.is_empty() {
            self.adopt(now);
        }
        if let Some(legs) = &mut self.legs {
            let leg = &mut legs[usize::from(!from_client)];
            leg.connection.handle_segment(now, &segment);
            leg.check();
            self.relay();
            self.drain(now);
            return;
        }
        let seen = if from_client { &mut self.client } else { &mut self.server };
        seen.note(now, &segment);
        if from_client { self.to_server.push(frame) } else { self.to_client.push(frame) }
    }

    fn adopt(&mut self, now: Instant) {
        let (client, server) = (self.client, self.server);
        let client_leg = Leg::adopt(now, self.config, (SERVER, CLIENT), (server, client));
        let server_leg = Leg::adopt(now, self.config, (CLIENT, SERVER), (client, server));
        self.legs = Some([client_leg, server_leg]);
    }

    /// Runs timers and the relay; returns frames to the client and frames to the server.
    pub fn poll(&mut self, now: Instant) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        for leg in self.legs.iter_mut().flatten() {
            leg.connection.handle_timeout(now);
            leg.check();
        }
        self.relay();
        self.drain(now);
        (std::mem::take(&mut self.to_client), std::mem::take(&mut self.to_server))
    }

    fn relay(&mut self) {
        let Some([client, server]) = &mut self.legs else { return };
        client.take_events();
        server.take_events();
        let most = if self.slow == 0 { usize::MAX } else { self.rng.below(self.slow as u64) as usize };
        client.relay_to(server, most);
        server.relay_to(client, most);
    }

    fn drain(&mut self, now: Instant) {
        let Some([client, server]) = &mut self.legs else { return };
        client.drain(now, &mut self.to_client);
        server.drain(now, &mut self.to_server);
    }

    pub fn next_poll(&self) -> Option<Instant> {
        let legs = self.legs.as_ref()?;
        super::earliest(legs.iter().map(|leg| leg.connection.poll_timeout()))
    }
}

impl Seen {
    fn note(&mut self, now: Instant, segment: &Segment<'_>) {
        let mut scale = 0;
        if segment.flags.syn {
            self.isn = Some(segment.seq);
            self.syn = segment.options;
        } else {
            scale = self.syn.window_scale.unwrap_or(0);
        }
        self.window = u32::from(segment.window) << scale;
        if let Some(ack) = segment.ack {
            let edge = ack + self.window;
            self.edge = Some(self.edge.map_or(edge, |old| old.later(edge)));
        }
        if let Some(timestamps) = segment.options.timestamps {
            self.timestamp = Some((timestamps.val, now));
        }
    }
}

impl Leg {
    /// `here` is replaced, `there` is the peer.
    fn adopt(now: Instant, config: Config, (here, there): (End, End), (replaced, peer): (Seen, Seen)) -> Leg {
        let isn = replaced.isn.expect("handshake was seen");
        let peer_isn = peer.isn.expect("handshake was seen");
        let scaling = replaced.syn.window_scale.is_some() && peer.syn.window_scale.is_some();
        let scale = |seen: Seen| if scaling { seen.syn.window_scale.unwrap_or(0) } else { 0 };
        let timestamps = replaced
            .timestamp
            .zip(peer.timestamp)
            .map(|((last_sent, at), (recent, _))| AdoptedTimestamps { last_sent, at, ts_recent: recent });
        let adoption = Adoption {
            snd_nxt: isn + 1,
            rcv_nxt: peer_isn + 1,
            snd_wnd: peer.window,
            snd_scale: scale(peer),
            rcv_scale: scale(replaced),
            mss: peer.syn.mss.unwrap_or(536),
            sack: replaced.syn.sack_permitted && peer.syn.sack_permitted,
            timestamps,
            rcv_adv: replaced.edge.unwrap_or(peer_isn + 1),
            rtt_hint: None,
        };
        let connection = Connection::adopt(now, config, adoption);
        Leg { connection, here, there, peer_closed: false, reset: false, closed: false, timed_out: false }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::PeerClosed => self.peer_closed = true,
                Event::Reset => self.reset = true,
                Event::Closed => self.closed = true,
                Event::TimedOut => self.timed_out = true,
                Event::Established => panic!("an adopted connection is established from the start"),
            }
        }
    }

    fn relay_to(&mut self, other: &mut Leg, most: usize) {
        let readable = self.connection.recv();
        let len = readable.len().min(other.connection.send_space()).min(most);
        if len > 0 {
            let bytes = Bytes::copy_from_slice(&readable[..len]);
            other.connection.send(bytes).expect("within send_space");
            self.connection.consume(len);
        }
        if self.peer_closed && self.connection.recv().is_empty() {
            other.connection.close();
        }
        if self.reset && other.connection.state() != State::Closed {
            other.connection.abort();
        }
        self.check();
        other.check();
    }

    fn drain(&mut self, now: Instant, to: &mut Vec<Vec<u8>>) {
        while let Some(transmit) = self.connection.poll_transmit(now) {
            to.push(frame::build(self.here, self.there, &transmit));
            self.check();
        }
        self.take_events();
    }

    fn check(&self) {
        if let Err(rule) = self.connection.check_invariants() {
            panic!("invariant broken: {rule}: {:?}", self.connection);
        }
    }
}
