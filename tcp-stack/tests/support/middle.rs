//! The real use: a middle that copies packets until the client speaks, then adopts both legs and relays.

use bytes::Bytes;
use tcp_stack::{
    AdoptedTimestamps, Adoption, Config, Connection, Duration, Event, Instant, Options, Segment, Seq,
};

use super::frame::{self, CLIENT, End, SERVER};
use super::host::Limits;
use super::watchdog::{Watchdog, Wishes};
use super::{Rng, earliest, ms};

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
    closing: bool,
    closed: bool,
    watchdog: Watchdog,
    limits: Limits,
}

/// Two legs and what lies between.
pub struct Middle {
    config: Config,
    client: Seen,
    server: Seen,
    /// Client leg, server leg.
    legs: Option<[Leg; 2]>,
    /// Most bytes moved at a time, with a pause after it; 0 moves all.
    pub slow: usize,
    moves_again: Instant,
    /// How often each leg's receive limit changes.
    pub limit_changes: u32,
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
            moves_again: Instant::ZERO,
            limit_changes: 0,
            rng: Rng::new(seed),
            to_client: Vec::new(),
            to_server: Vec::new(),
        }
    }

    pub fn receive(&mut self, now: Instant, frame: Vec<u8>) {
        let Some(segment) = frame::segment_of(&frame) else { return };
        let from_client = frame::is_from(&frame, CLIENT);
        if self.legs.is_none() && from_client && !segment.payload.is_empty() {
            self.adopt(now);
        }
        if let Some(legs) = &mut self.legs {
            let leg = &mut legs[usize::from(!from_client)];
            leg.watchdog.check(now);
            leg.watchdog.delivered(now, &segment);
            leg.connection.handle_segment(now, &segment);
            leg.check();
            self.relay(now);
            self.drain(now);
            return;
        }
        let seen = if from_client { &mut self.client } else { &mut self.server };
        seen.note(now, &segment);
        if from_client { self.to_server.push(frame) } else { self.to_client.push(frame) }
    }

    fn adopt(&mut self, now: Instant) {
        let (client, server) = (self.client, self.server);
        let mut limits =
            || Limits::new(self.rng.next(), self.config.recv_limit, now + ms(1), self.limit_changes);
        let adopt = |name, limits, ends, seen| Leg::adopt((name, now), (self.config, limits), ends, seen);
        let limits = [limits(), limits()];
        let [for_client, for_server] = limits;
        let client_leg = adopt("the client's leg", for_client, (SERVER, CLIENT), (server, client));
        let server_leg = adopt("the server's leg", for_server, (CLIENT, SERVER), (client, server));
        self.legs = Some([client_leg, server_leg]);
    }

    /// Runs timers and the relay; returns frames to the client and frames to the server.
    pub fn poll(&mut self, now: Instant) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        for leg in self.legs.iter_mut().flatten() {
            leg.watchdog.check(now);
            leg.connection.handle_timeout(now);
            if let Some(limit) = leg.limits.change(now) {
                leg.connection.set_recv_limit(limit);
            }
            leg.check();
        }
        self.relay(now);
        self.drain(now);
        (std::mem::take(&mut self.to_client), std::mem::take(&mut self.to_server))
    }

    fn relay(&mut self, now: Instant) {
        let Some([client, server]) = &mut self.legs else { return };
        client.take_events();
        server.take_events();
        let mut most = usize::MAX;
        if self.slow > 0 {
            if self.moves_again > now {
                return;
            }
            most = self.rng.below(self.slow as u64) as usize;
            self.moves_again = now + ms(1 + self.rng.below(5));
        }
        client.relay_to(server, most);
        server.relay_to(client, most);
    }

    fn drain(&mut self, now: Instant) {
        let Some([client, server]) = &mut self.legs else { return };
        client.drain(now, &mut self.to_client);
        server.drain(now, &mut self.to_server);
    }

    pub fn next_poll(&self, now: Instant) -> Option<Instant> {
        let legs = self.legs.as_ref()?;
        let unread =
            legs.iter().any(|leg| !leg.connection.recv().is_empty() || leg.peer_closed && !leg.closed);
        let moves = (self.slow > 0 && unread).then_some(self.moves_again).filter(|at| *at > now);
        let timers = legs.iter().map(|leg| leg.connection.poll_timeout());
        earliest(timers.chain(legs.iter().map(|leg| leg.limits.next())).chain([moves]))
    }

    /// The longest that a frame has been under way to the client and back, and to the server.
    pub fn note_paths(&mut self, paths: [Duration; 2]) {
        for (leg, path) in self.legs.iter_mut().flatten().zip(paths) {
            leg.watchdog.note_path(path);
        }
    }

    /// A router says that a packet of a leg, the client's or the server's, was too long for a link that carries `mtu`.
    pub fn too_big(&mut self, now: Instant, leg: usize, frame: &[u8], mtu: usize) {
        let Some((legs, segment)) = self.legs.as_mut().zip(frame::segment_of(frame)) else { return };
        legs[leg].connection.handle_packet_too_big(now, segment.seq, (mtu - 40) as u16);
        legs[leg].check();
    }

    /// Both legs are over.
    pub fn is_done(&self) -> bool {
        self.legs.as_ref().is_some_and(|legs| legs.iter().all(|leg| leg.closed))
    }

    pub fn describe(&self) -> String {
        let mut text = String::new();
        for leg in self.legs.iter().flatten() {
            text += &format!("\n  {:?} {:?}", leg.connection, leg.watchdog);
        }
        text
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
    fn adopt(
        (name, now): (&'static str, Instant),
        (config, limits): (Config, Limits),
        (here, there): (End, End),
        (replaced, peer): (Seen, Seen),
    ) -> Leg {
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
        let watchdog = Watchdog::adopted(name, now, &adoption);
        let (peer_closed, closing, closed) = (false, false, false);
        Leg { connection, here, there, peer_closed, closing, closed, watchdog, limits }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::PeerClosed => self.peer_closed = true,
                Event::Closed => self.closed = true,
                // As in `Ours::take_events`.
                Event::Reset if self.peer_closed && self.closing => {}
                Event::Reset | Event::TimedOut => {
                    panic!("a leg ended early: {event:?} {:?}", self.connection)
                }
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
            other.closing = true;
        }
        self.check();
        other.check();
    }

    fn drain(&mut self, now: Instant, to: &mut Vec<Vec<u8>>) {
        while let Some(transmit) = self.connection.poll_transmit(now) {
            let frame = frame::build(self.here, self.there, &transmit);
            self.watchdog.sent(now, &frame::segment_of(&frame).expect("we have just built it"));
            to.push(frame);
            self.check();
        }
        self.take_events();
        self.watchdog.settle(now, Wishes::of(&self.connection, self.limits.current()));
    }

    fn check(&self) {
        if let Err(rule) = self.connection.check_invariants() {
            panic!("invariant broken: {rule}: {:?}", self.connection);
        }
    }
}
