//! Watching two hosts open a connection, so that it can be adopted later.

use tcp_stack::{AdoptedTimestamps, Adoption, Duration, Instant, Segment, Seq};

use super::effects::Limits;
use super::leg::Leg;
use crate::end::{End, PerEnd};
use crate::packet::Template;
use crate::port::Frame;

/// RFC 9293 3.7.1: without an MSS option, 536 (IPv4) or 1220 (IPv6).
const DEFAULT_MSS: [u16; 2] = [536, 1220];
/// RFC 7323 2.3: a larger shift counts as this.
const MAX_SCALE: u8 = 14;

/// Both ends' numbers, from SYN to the last segment that went by.
pub(super) struct Opening {
    client: Observed,
    /// None until the SYN-ACK.
    server: Option<Observed>,
    /// From the SYN-ACK.
    to_client: Option<Template>,
    /// A SYN with other numbers while the connection stands. Only the server's answer says whether it counts.
    again: Option<Observed>,
    /// Ends that have sent a FIN without ever sending payload.
    fin: PerEnd<bool>,
    /// Highest TTL or hop limit that each end has used. What we send in its name has no lower one: a segment that was
    /// made to die on its way must not lead to a RST that dies there too.
    hops: PerEnd<u8>,
    /// Where the client's first frame went: a RST that goes elsewhere would not reach the server.
    next_hop: Option<[u8; 6]>,
    /// The server has been heard, even if not with a SYN-ACK.
    server_heard: bool,
    syn_at: Instant,
    syn_ack_at: Instant,
    client_rtt: Option<Duration>,
}

/// One end, as it has shown itself to the other.
#[derive(Clone, Copy)]
struct Observed {
    isn: Seq,
    mss: Option<u16>,
    scale: Option<u8>,
    sack: bool,
    /// Last TSval, and when it went by; none without the option in the SYN.
    timestamps: Option<(u32, Instant)>,
    /// The end's window as the field said last, and the right edge that it promised: ACK + window.
    window: u32,
    edge: Seq,
}

impl Observed {
    fn syn(now: Instant, segment: &Segment<'_>) -> Self {
        let window = u32::from(segment.window); // never scaled in a SYN (RFC 7323 2.2)
        Self {
            isn: segment.seq,
            mss: segment.options.mss,
            scale: segment.options.window_scale.map(|s| s.min(MAX_SCALE)),
            sack: segment.options.sack_permitted,
            timestamps: segment.options.timestamps.map(|t| (t.val, now)),
            window,
            edge: segment.ack.unwrap_or_default() + window,
        }
    }

    /// An acknowledgement of this end has passed on to the other.
    fn acknowledged(&mut self, now: Instant, segment: &Segment<'_>, scale: u8) {
        let Some(ack) = segment.ack else { return };
        self.window = u32::from(segment.window) << scale;
        self.edge = self.edge.later(ack + self.window);
        if let (Some(known), Some(t)) = (&mut self.timestamps, segment.options.timestamps) {
            *known = (t.val, now);
        }
    }
}

/// What a segment means for a connection that is being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// Part of the handshake, or without payload: let it pass.
    Pass,
    /// A SYN or SYN-ACK: let it pass, scrubbed.
    PassSyn,
    /// It ends the connection: let it pass.
    Reset,
    /// The client's first payload.
    ClientData,
    /// The server speaks first, or has closed before the client speaks: not TLS.
    ServerData,
    /// The client sends data, but the server's SYN-ACK was never seen.
    OneDirection,
    /// No part of a handshake that can be followed (RFC 9293 3.5): a split handshake, or numbers that do not fit.
    Unwanted,
}

impl Opening {
    /// From the client's SYN.
    pub(super) fn new(now: Instant, syn: &Segment<'_>) -> Self {
        Self::from_syn(now, Observed::syn(now, syn))
    }

    fn from_syn(now: Instant, client: Observed) -> Self {
        Self {
            client,
            server: None,
            to_client: None,
            again: None,
            fin: PerEnd::both(false),
            hops: PerEnd::both(0),
            next_hop: None,
            server_heard: false,
            syn_at: now,
            syn_ack_at: now,
            client_rtt: None,
        }
    }

    /// Looks at what is below TCP in a frame: the TTL or hop limit, and the MAC address it goes to. False: the client
    /// sends it somewhere else than its SYN.
    pub(super) fn note(&mut self, from: End, hops: u8, next_hop: [u8; 6]) -> bool {
        let known = &mut self.hops[from];
        *known = hops.max(*known);
        from == End::Server || *self.next_hop.get_or_insert(next_hop) == next_hop
    }

    /// Looks at a segment before it is passed on. `template` makes the template of the frame it came in.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        from: End,
        segment: &Segment<'_>,
        template: impl FnOnce() -> Template,
    ) -> Opened {
        match from {
            End::Client => self.observe_client(now, segment),
            End::Server => self.observe_server(now, segment, template),
        }
    }

    fn observe_client(&mut self, now: Instant, segment: &Segment<'_>) -> Opened {
        if segment.flags.syn {
            if segment.ack.is_some() {
                return Opened::Unwanted;
            }
            if self.server.is_none() {
                // Repeated, or begun anew before the server answered.
                let Self { hops, next_hop, server_heard, .. } = *self;
                *self = Self { hops, next_hop, server_heard, ..Self::new(now, segment) };
            } else if segment.seq != self.client.isn {
                self.again = Some(Observed::syn(now, segment));
            }
            return Opened::PassSyn;
        }
        if segment.flags.rst {
            // Before the SYN-ACK there is nothing to reset: it may answer a challenge ACK, or never arrive.
            let fits = segment.seq.since(self.client.isn) <= 1 && self.server.is_some();
            return if fits { Opened::Reset } else { Opened::Pass };
        }
        let Some(server) = self.server else {
            return match (segment.payload.is_empty(), self.server_heard) {
                (true, _) => Opened::Pass,
                (false, false) => Opened::OneDirection,
                (false, true) => Opened::Unwanted,
            };
        };
        // Bytes before the stream are a keep-alive probe (RFC 9293 3.8.4).
        if !segment.payload.is_empty() && segment.end().after(self.client_start()) {
            if self.fin[End::Client] {
                return Opened::Unwanted; // nothing follows a FIN: one of the two is not meant for the server
            }
            self.again = None;
            // A server that has sent its FIN already will not answer a ClientHello.
            return if self.server_has_closed() { Opened::ServerData } else { Opened::ClientData };
        }
        self.fin[End::Client] |= segment.flags.fin && segment.seq == self.client_start();
        if segment.ack == Some(server.isn + 1) && self.client_rtt.is_none() {
            self.client_rtt = Some(now - self.syn_ack_at);
        }
        let scale = self.scale(End::Client);
        self.client.acknowledged(now, segment, scale);
        Opened::Pass
    }

    fn observe_server(
        &mut self,
        now: Instant,
        segment: &Segment<'_>,
        template: impl FnOnce() -> Template,
    ) -> Opened {
        let answers_syn = segment.ack == Some(self.client.isn + 1);
        self.server_heard = true;
        if segment.flags.rst {
            let next = self.server.map_or(segment.seq, |s| s.isn + 1);
            // Before the SYN-ACK only a RST that acknowledges the SYN counts (RFC 9293 3.10.7.3).
            let fits = segment.seq == next && (answers_syn || self.server.is_some());
            return if fits { Opened::Reset } else { Opened::Pass };
        }
        if segment.flags.syn {
            if let Some(again) = self.again.filter(|again| segment.ack == Some(again.isn + 1)) {
                // The server has forgotten the old connection and opens a new one.
                let Self { hops, next_hop, server_heard, .. } = *self;
                *self = Self { hops, next_hop, server_heard, ..Self::from_syn(now, again) };
            } else if !answers_syn || self.server.is_some_and(|s| s.isn != segment.seq) {
                return Opened::Unwanted;
            }
            if self.server.is_none() {
                self.server = Some(Observed::syn(now, segment));
                // Now the client's SYN window has a place to begin.
                self.client.edge = segment.seq + 1 + self.client.window;
                self.to_client = Some(template());
                self.syn_ack_at = now;
            }
            return Opened::PassSyn;
        }
        let Some(Observed { isn, .. }) = self.server else {
            // A challenge ACK (RFC 5961 4.2) of a connection that the client has forgotten: its RST will end that.
            let challenge = segment.ack.is_some() && !answers_syn && segment.seq_len() == 0;
            return if challenge { Opened::Pass } else { Opened::Unwanted };
        };
        if !segment.payload.is_empty() && segment.end().after(isn + 1) {
            return Opened::ServerData;
        }
        self.fin[End::Server] |= segment.flags.fin && segment.seq == isn + 1;
        let scale = self.scale(End::Server);
        if let Some(server) = &mut self.server {
            server.acknowledged(now, segment, scale);
        }
        Opened::Pass
    }

    /// Bytes of memory that it holds: nothing beside its own size, which a template is a large part of.
    pub(super) fn memory(&self) -> usize {
        let Self {
            client: _,
            server: _,
            to_client: _,
            again: _,
            fin: _,
            hops: _,
            next_hop: _,
            server_heard: _,
            syn_at: _,
            syn_ack_at: _,
            client_rtt: _,
        } = self;
        size_of::<Self>()
    }

    /// The number of the SYN-ACK.
    pub(super) fn server_isn(&self) -> Option<Seq> {
        self.server.map(|server| server.isn)
    }

    /// Where the client's stream begins.
    pub(super) fn client_start(&self) -> Seq {
        self.client.isn + 1
    }

    /// The segment acknowledges just the SYN-ACK, as every one must that a server takes before it has said anything
    /// (RFC 9293 3.10.7.4).
    pub(super) fn is_acknowledged_by(&self, segment: &Segment<'_>) -> bool {
        self.server.is_some_and(|server| segment.ack == Some(server.isn + 1))
    }

    /// The server has answered.
    pub(super) fn is_open(&self) -> bool {
        self.server.is_some()
    }

    /// The client has acknowledged the server's answer: it is where it says it is.
    pub(super) fn is_established(&self) -> bool {
        self.client_rtt.is_some()
    }

    /// The server's FIN has passed, before it sent anything.
    pub(super) fn server_has_closed(&self) -> bool {
        self.fin[End::Server]
    }

    /// From now on as if no FIN had passed. False: none has.
    pub(super) fn forget_fins(&mut self) -> bool {
        std::mem::take(&mut self.fin) != PerEnd::both(false)
    }

    /// Both ends have closed without a byte of payload.
    pub(super) fn is_closing(&self) -> bool {
        self.fin == PerEnd::both(true)
    }

    /// Adopts both halves, where neither has seen a byte of payload yet.
    /// `to_server` imitates the client, if one of its frames is at hand. None before the SYN-ACK.
    pub(super) fn adopt<F: Frame>(
        &self,
        now: Instant,
        to_server: Option<Template>,
        mtu: usize,
        limits: &Limits,
    ) -> Option<(Leg<F>, Leg<F>)> {
        let (server, mut to_client) = (self.server?, self.to_client.clone()?);
        let mut to_server = to_server.unwrap_or_else(|| to_client.reversed());
        to_server.raise_hop_limit(self.hops[End::Client]);
        to_client.raise_hop_limit(self.hops[End::Server]);
        let room = (mtu - to_client.ip_header_len() - 20).min(u16::MAX.into()) as u16;
        let default_mss = DEFAULT_MSS[usize::from(to_client.ip_header_len() == 40)];
        let both = |a: Option<(u32, Instant)>, b: Option<(u32, Instant)>| Some((a?, b?));
        // A FIN that has passed has taken a number (RFC 9293 3.4).
        let next = |end: &Observed, side: End| end.isn + 1 + u32::from(self.fin[side]);
        let leg = |peer: &Observed, us: &Observed, peer_is: End| Adoption {
            snd_nxt: next(us, peer_is.other()),
            rcv_nxt: next(peer, peer_is),
            snd_wnd: peer.window,
            snd_scale: self.scale(peer_is),
            rcv_scale: self.scale(peer_is.other()),
            mss: peer.mss.unwrap_or(default_mss).min(room),
            sack: self.client.sack && server.sack,
            timestamps: both(us.timestamps, peer.timestamps).map(|(us, peer)| AdoptedTimestamps {
                last_sent: us.0,
                at: us.1,
                ts_recent: peer.0,
            }),
            rcv_adv: us.edge,
            rtt_hint: match peer_is {
                End::Client => self.client_rtt,
                End::Server => Some(self.syn_ack_at - self.syn_at),
            },
        };
        let client = leg(&self.client, &server, End::Client);
        let server = leg(&server, &self.client, End::Server);
        Some((
            Leg::adopt(now, End::Client, to_client, client, limits),
            Leg::adopt(now, End::Server, to_server, server, limits),
        ))
    }

    /// Shift of the window field that an end sends: its own, if both ends offered scaling (RFC 7323 2.2).
    fn scale(&self, end: End) -> u8 {
        match (end, self.client.scale, self.server.and_then(|s| s.scale)) {
            (End::Client, Some(scale), Some(_)) | (End::Server, Some(_), Some(scale)) => scale,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use tcp_stack::{Flags, Options, Timestamps};

    use super::*;
    use crate::memory_port::MemoryFrame;
    use crate::packet::{Class, classify};

    const ISN_C: Seq = Seq(1000);
    const ISN_S: Seq = Seq(0xffff_fff0);

    fn at(ms: i64) -> Instant {
        Instant::from_millis(ms)
    }

    fn segment<'a>(flags: &str, seq: Seq, ack: Option<Seq>, payload: &'a [u8]) -> Segment<'a> {
        Segment {
            src_port: 1,
            dst_port: 2,
            seq,
            ack,
            flags: Flags {
                syn: flags.contains('S'),
                fin: flags.contains('F'),
                rst: flags.contains('R'),
                ..Flags::default()
            },
            window: 500,
            options: Options::default(),
            payload,
        }
    }

    fn template() -> Template {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        frame.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1]);
        frame.extend([1, 187, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x12, 0, 0, 0, 0, 0, 0]);
        let Class::Tcp(headers) = classify(&frame) else { panic!("a segment") };
        Template::of(&frame, &headers)
    }

    fn with(options: Options, segment: Segment<'_>) -> Segment<'_> {
        Segment { options, ..segment }
    }

    fn options(scale: Option<u8>, tsval: u32) -> Options {
        Options {
            mss: Some(1400),
            window_scale: scale,
            sack_permitted: true,
            timestamps: Some(Timestamps { val: tsval, ecr: 0 }),
            ..Options::default()
        }
    }

    /// SYN at 0 ms, SYN-ACK at 30 ms, ACK at 32 ms.
    fn opened() -> Opening {
        let mut o = Opening::new(at(0), &with(options(Some(7), 100), segment("S", ISN_C, None, b"")));
        let syn_ack = with(options(Some(3), 900), segment("S", ISN_S, Some(ISN_C + 1), b""));
        assert_eq!(o.observe(at(30), End::Server, &syn_ack, template), Opened::PassSyn);
        let mut ack = segment("", ISN_C + 1, Some(ISN_S + 1), b"");
        ack.options.timestamps = Some(Timestamps { val: 132, ecr: 900 });
        assert_eq!(o.observe(at(32), End::Client, &ack, template), Opened::Pass);
        o
    }

    fn see(o: &mut Opening, from: End, s: &Segment<'_>) -> Opened {
        o.observe(at(50), from, s, template)
    }

    #[test]
    fn an_adopted_pair_goes_on_with_the_numbers_that_both_ends_know() {
        let mut o = opened();
        let hello = segment("", ISN_C + 1, Some(ISN_S + 1), b"hello");
        assert_eq!(see(&mut o, End::Client, &hello), Opened::ClientData);
        let (mut client, mut server) =
            o.adopt::<MemoryFrame>(at(50), None, 1500, &Limits::default()).expect("the server answered");
        client.tcp.handle_segment(at(50), &hello);
        assert_eq!(client.take(), b"hello");
        assert!(client.send(b"to the client".to_vec()) && server.send(b"to the server".to_vec()));
        let sent = client.tcp.poll_transmit(at(60)).expect("data");
        assert_eq!((sent.seq, sent.ack), (ISN_S + 1, Some(ISN_C + 6)));
        assert_eq!(
            sent.options.timestamps.map(|t| t.val),
            Some(930),
            "the server's clock, 30 ms after the SYN-ACK"
        );
        let sent = server.tcp.poll_transmit(at(60)).expect("data");
        assert_eq!((sent.seq, sent.ack), (ISN_C + 1, Some(ISN_S + 1)));
        assert_eq!(sent.options.timestamps.map(|t| (t.val, t.ecr)), Some((160, 900)));
    }

    #[test]
    fn scaling_counts_only_if_both_offer_it() {
        let o = opened();
        assert_eq!((o.scale(End::Client), o.scale(End::Server)), (7, 3));
        let mut o = Opening::new(at(0), &with(options(Some(7), 1), segment("S", ISN_C, None, b"")));
        let syn_ack = with(options(None, 1), segment("S", ISN_S, Some(ISN_C + 1), b""));
        see(&mut o, End::Server, &syn_ack);
        assert_eq!((o.scale(End::Client), o.scale(End::Server)), (0, 0));
    }

    #[test]
    fn a_repeated_syn_changes_nothing() {
        let mut o = opened();
        assert_eq!(see(&mut o, End::Client, &segment("S", ISN_C, None, b"")), Opened::PassSyn);
        assert!(o.is_open());
        assert_eq!(
            see(&mut o, End::Client, &segment("", ISN_C + 1, Some(ISN_S + 1), b"x")),
            Opened::ClientData
        );
    }

    #[test]
    fn another_syn_counts_only_when_the_server_answers_it() {
        // A client that would talk itself out of being watched: the server stays with the old connection.
        let mut o = opened();
        assert_eq!(see(&mut o, End::Client, &segment("S", Seq(5), None, b"")), Opened::PassSyn);
        let challenge = segment("", ISN_S + 1, Some(ISN_C + 1), b"");
        assert_eq!(see(&mut o, End::Server, &challenge), Opened::Pass);
        assert_eq!(o.client_start(), ISN_C + 1);
        assert_eq!(
            see(&mut o, End::Client, &segment("", ISN_C + 1, Some(ISN_S + 1), b"x")),
            Opened::ClientData
        );
        // A server that has restarted.
        let mut o = opened();
        see(&mut o, End::Client, &segment("S", Seq(5), None, b""));
        assert_eq!(see(&mut o, End::Server, &segment("S", Seq(77), Some(Seq(6)), b"")), Opened::PassSyn);
        assert_eq!(o.client_start(), Seq(6));
    }

    #[test]
    fn split_handshakes_and_forged_answers_are_unwanted() {
        let mut o = Opening::new(at(0), &segment("S", ISN_C, None, b""));
        assert_eq!(see(&mut o, End::Server, &segment("S", ISN_S, None, b"")), Opened::Unwanted);
        assert_eq!(see(&mut o, End::Server, &segment("S", ISN_S, Some(Seq(3)), b"")), Opened::Unwanted);
        assert_eq!(see(&mut o, End::Server, &segment("", ISN_S, Some(ISN_C + 1), b"")), Opened::Unwanted);
        assert_eq!(see(&mut o, End::Client, &segment("S", ISN_C, Some(ISN_S), b"")), Opened::Unwanted);
        assert!(!o.is_open());
        let mut o = opened();
        assert_eq!(see(&mut o, End::Server, &segment("S", Seq(9), Some(ISN_C + 1), b"")), Opened::Unwanted);
    }

    #[test]
    fn resets_count_where_the_ends_would_take_them() {
        let mut o = Opening::new(at(0), &segment("S", ISN_C, None, b""));
        assert_eq!(see(&mut o, End::Server, &segment("R", Seq(0), None, b"")), Opened::Pass);
        assert_eq!(see(&mut o, End::Server, &segment("R", Seq(0), Some(ISN_C + 1), b"")), Opened::Reset);
        let mut o = opened();
        assert_eq!(see(&mut o, End::Server, &segment("R", ISN_S + 2, None, b"")), Opened::Pass);
        assert_eq!(see(&mut o, End::Server, &segment("R", ISN_S + 1, None, b"")), Opened::Reset);
        assert_eq!(see(&mut o, End::Client, &segment("R", ISN_C + 9, None, b"")), Opened::Pass);
        assert_eq!(see(&mut o, End::Client, &segment("R", ISN_C + 1, None, b"")), Opened::Reset);
    }

    #[test]
    fn keep_alives_are_no_data_and_fins_no_way_out() {
        let mut o = opened();
        assert_eq!(see(&mut o, End::Client, &segment("", ISN_C, Some(ISN_S + 1), b"\0")), Opened::Pass);
        assert_eq!(see(&mut o, End::Server, &segment("", ISN_S, Some(ISN_C + 1), b"\0")), Opened::Pass);
        // A FIN that the server would not take, then data: still watched.
        assert_eq!(see(&mut o, End::Client, &segment("F", ISN_C + 9, Some(ISN_S + 1), b"")), Opened::Pass);
        assert_eq!(
            see(&mut o, End::Client, &segment("", ISN_C + 1, Some(ISN_S + 1), b"x")),
            Opened::ClientData
        );
        assert_eq!(see(&mut o, End::Server, &segment("F", ISN_S + 1, Some(ISN_C + 1), b"")), Opened::Pass);
        assert!(!o.is_closing());
        assert_eq!(see(&mut o, End::Client, &segment("F", ISN_C + 1, Some(ISN_S + 1), b"")), Opened::Pass);
        assert!(o.is_closing());
    }

    #[test]
    fn a_server_that_closes_first_will_not_speak_tls() {
        let mut o = opened();
        assert_eq!(see(&mut o, End::Server, &segment("F", ISN_S + 1, Some(ISN_C + 1), b"")), Opened::Pass);
        let late = segment("", ISN_C + 1, Some(ISN_S + 2), b"x");
        assert_eq!(see(&mut o, End::Client, &late), Opened::ServerData);
        let (mut client, _) =
            o.adopt::<MemoryFrame>(at(50), None, 1500, &Limits::default()).expect("the server answered");
        client.tcp.abort();
        let reset = client.tcp.poll_transmit(at(50)).map(|s| (s.flags.rst, s.seq));
        assert_eq!(reset, Some((true, ISN_S + 2)), "where the client expects the next byte");
    }

    #[test]
    fn who_speaks_first() {
        let mut o = opened();
        assert_eq!(
            see(&mut o, End::Server, &segment("", ISN_S + 1, Some(ISN_C + 1), b"220")),
            Opened::ServerData
        );
        let mut o = Opening::new(at(0), &segment("S", ISN_C, None, b""));
        assert_eq!(
            see(&mut o, End::Client, &segment("", ISN_C + 1, Some(Seq(1)), b"x")),
            Opened::OneDirection
        );
        assert!(o.adopt::<MemoryFrame>(at(0), None, 1500, &Limits::default()).is_none());
    }
}
