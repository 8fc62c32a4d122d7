//! Watching two hosts open a connection, so that it can be adopted later.

mod observed;
mod passing;

use tcp_stack::{AdoptedTimestamps, Adoption, Duration, Instant, Open, Options, Segment, Seq, Timestamps};

use self::observed::Observed;
pub(super) use self::passing::{opening_segment, pass_syn, show_handshake};
use super::leg::Leg;
use super::settings::Limits;
use crate::end::{End, PerEnd};
use crate::packet::{BareSegment, Headers, Template, syn_ack};
use crate::port::Io;

/// RFC 9293 3.7.1: without an MSS option, 536 (IPv4) or 1220 (IPv6).
const DEFAULT_MSS: [u16; 2] = [536, 1220];
/// Of the connections that we answer ourselves: enough for 8 MiB.
const OUR_SCALE: u8 = 7;
/// The largest window that a SYN-ACK can offer.
const OUR_WINDOW: u16 = u16::MAX;

/// The client's SYN has passed; the server's answer is awaited.
pub(super) struct Opening {
    client: Observed,
    pub(super) path: Path,
    /// The server has been heard, even if not with a SYN-ACK.
    server_heard: bool,
    pub(super) one_sided: bool,
    syn_at: Instant,
}

/// The server has answered; the first payload is awaited. Both ends' numbers, from SYN to the last segment that went by.
pub(super) struct Answered {
    client: Observed,
    server: Observed,
    /// From the SYN-ACK.
    to_client: Template,
    pub(super) path: Path,
    /// A SYN with other numbers while the connection stands. Only the server's answer says whether it counts.
    again: Option<Box<Observed>>,
    /// Ends that have sent a FIN without ever sending payload.
    fin: PerEnd<bool>,
    syn_at: Instant,
    syn_ack_at: Instant,
    client_rtt: Option<Duration>,
}

/// What we say of ourselves where we answer in the server's place.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub(super) isn: Seq,
    /// First value of the timestamp clock.
    pub(super) clock: u32,
}

/// What is below TCP in the frames of both ends.
#[derive(Clone, Copy, Default)]
pub(super) struct Path {
    /// Highest TTL or hop limit that each end has used. What we send in its name has no lower one: a segment that was
    /// made to die on its way must not lead to a RST that dies there too.
    hops: PerEnd<u8>,
    /// Where the client's first frame went: a RST that goes elsewhere would not reach the server.
    next_hop: Option<[u8; 6]>,
}

impl Path {
    /// Looks at a frame. False: the client sends it somewhere else than its SYN.
    pub(super) fn note(&mut self, from: End, frame: &[u8], headers: &Headers) -> bool {
        let known = &mut self.hops[from];
        *known = headers.hop_limit(frame).max(*known);
        let next_hop = headers.next_hop(frame);
        from == End::Server || *self.next_hop.get_or_insert(next_hop) == next_hop
    }
}

/// What a segment means while the server's answer is awaited.
pub(super) enum BeforeAnswer {
    /// Without payload: let it pass.
    Pass,
    /// A SYN: let it pass, scrubbed.
    PassSyn,
    /// The server's SYN-ACK: let it pass, scrubbed, and go on with this.
    Answered(Box<Answered>),
    /// It ends the connection: let it pass.
    Reset,
    /// The client sends data, but the server's SYN-ACK was never seen.
    OneDirection,
    /// No part of a handshake that can be followed (RFC 9293 3.5): a split handshake, or numbers that do not fit.
    Unwanted,
}

/// What a segment means when the server has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterAnswer {
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
    /// As before the answer.
    Unwanted,
}

impl Opening {
    /// From the client's SYN.
    pub(super) fn new(now: Instant, syn: &Segment<'_>) -> Self {
        let client = Observed::syn(now, syn);
        Self { client, path: Path::default(), server_heard: false, one_sided: false, syn_at: now }
    }

    /// Looks at a segment before it is passed on. `template` makes the template of the frame it came in.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        from: End,
        segment: &Segment<'_>,
        template: impl FnOnce() -> Template,
    ) -> BeforeAnswer {
        match from {
            End::Client => self.observe_client(now, segment),
            End::Server => self.observe_server(now, segment, template),
        }
    }

    fn observe_client(&mut self, now: Instant, segment: &Segment<'_>) -> BeforeAnswer {
        if segment.flags.syn {
            if segment.ack.is_some() {
                return BeforeAnswer::Unwanted;
            }
            // Repeated, or begun anew before the server answered.
            (self.client, self.syn_at) = (Observed::syn(now, segment), now);
            return BeforeAnswer::PassSyn;
        }
        // Its ACK, or what it says, is for a SYN-ACK that has come by another way. A RST is for nothing.
        self.one_sided |= !self.server_heard && !segment.flags.rst;
        // There is nothing to reset yet: a RST may answer a challenge ACK, or never arrive.
        match (segment.flags.rst || segment.payload.is_empty(), self.server_heard) {
            (true, _) => BeforeAnswer::Pass,
            (false, false) => BeforeAnswer::OneDirection,
            (false, true) => BeforeAnswer::Unwanted,
        }
    }

    fn observe_server(
        &mut self,
        now: Instant,
        segment: &Segment<'_>,
        template: impl FnOnce() -> Template,
    ) -> BeforeAnswer {
        let answers_syn = segment.ack == Some(self.client.isn + 1);
        self.server_heard = true;
        if segment.flags.rst {
            // Only one that acknowledges the SYN counts (RFC 9293 3.10.7.3).
            return if answers_syn { BeforeAnswer::Reset } else { BeforeAnswer::Pass };
        }
        if segment.flags.syn && answers_syn {
            return BeforeAnswer::Answered(Box::new(self.answered(now, segment, template())));
        }
        // A challenge ACK (RFC 5961 4.2) of a connection that the client has forgotten: its RST will end that.
        let challenge = !segment.flags.syn && segment.ack.is_some() && !answers_syn && segment.seq_len() == 0;
        if challenge { BeforeAnswer::Pass } else { BeforeAnswer::Unwanted }
    }

    fn answered(&self, now: Instant, syn_ack: &Segment<'_>, to_client: Template) -> Answered {
        let Self { mut client, path, server_heard: _, one_sided: _, syn_at } = *self;
        // Now the client's SYN window has a place to begin.
        client.edge = syn_ack.seq + 1 + client.window;
        let server = Observed::syn(now, syn_ack);
        let (again, fin) = (None, PerEnd::both(false));
        Answered { client, server, to_client, path, again, fin, syn_at, syn_ack_at: now, client_rtt: None }
    }

    /// The server's answer, which we give in its place with what the client has offered, numbers of our own, and segments of at
    /// most `mss` bytes.
    pub(super) fn answer(&self, now: Instant, to_client: Template, our: Numbers, mss: u16) -> Answered {
        let Self { mut client, path, server_heard: _, one_sided: _, syn_at } = *self;
        client.edge = our.isn + 1 + client.window;
        let server = Observed {
            isn: our.isn,
            mss: Some(mss),
            scale: client.scale.map(|_| OUR_SCALE),
            sack: client.sack,
            has_timestamps: client.has_timestamps,
            tsval: our.clock,
            tsval_at: now,
            window: OUR_WINDOW.into(),
            edge: client.isn + 1 + u32::from(OUR_WINDOW),
        };
        let (again, fin) = (None, PerEnd::both(false));
        Answered { client, server, to_client, path, again, fin, syn_at, syn_ack_at: now, client_rtt: None }
    }

    /// Bytes of memory that it holds: nothing beside its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { client: _, path: _, server_heard: _, one_sided: _, syn_at: _ } = self;
        size_of::<Self>()
    }
}

impl Answered {
    /// Looks at a segment before it is passed on. `template` makes the template of the frame it came in.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        from: End,
        segment: &Segment<'_>,
        template: impl FnOnce() -> Template,
    ) -> AfterAnswer {
        match from {
            End::Client => self.observe_client(now, segment),
            End::Server => self.observe_server(now, segment, template),
        }
    }

    fn observe_client(&mut self, now: Instant, segment: &Segment<'_>) -> AfterAnswer {
        if segment.flags.syn {
            if segment.ack.is_some() {
                return AfterAnswer::Unwanted;
            }
            if segment.seq != self.client.isn {
                self.again = Some(Box::new(Observed::syn(now, segment)));
            }
            return AfterAnswer::PassSyn;
        }
        if segment.flags.rst {
            let fits = segment.seq.since(self.client.isn) <= 1;
            return if fits { AfterAnswer::Reset } else { AfterAnswer::Pass };
        }
        // Bytes before the stream are a keep-alive probe (RFC 9293 3.8.4).
        if !segment.payload.is_empty() && segment.end().after(self.client_start()) {
            if self.fin[End::Client] {
                return AfterAnswer::Unwanted; // nothing follows a FIN: one of the two is not meant for the server
            }
            self.again = None;
            // A server that has sent its FIN already will not answer a ClientHello.
            return if self.server_has_closed() { AfterAnswer::ServerData } else { AfterAnswer::ClientData };
        }
        self.fin[End::Client] |= segment.flags.fin && segment.seq == self.client_start();
        if self.is_acknowledged_by(segment) && self.client_rtt.is_none() {
            self.client_rtt = Some(now - self.syn_ack_at);
        }
        let scale = self.scale(End::Client);
        self.client.acknowledged(now, segment, scale);
        AfterAnswer::Pass
    }

    fn observe_server(
        &mut self,
        now: Instant,
        segment: &Segment<'_>,
        template: impl FnOnce() -> Template,
    ) -> AfterAnswer {
        let isn = self.server.isn;
        if segment.flags.rst {
            return if segment.seq == isn + 1 { AfterAnswer::Reset } else { AfterAnswer::Pass };
        }
        if segment.flags.syn {
            let again = self.again.as_deref().copied();
            if let Some(client) = again.filter(|again| segment.ack == Some(again.isn + 1)) {
                // The server has forgotten the old connection and opens a new one.
                let path = self.path;
                let opening = Opening { client, path, server_heard: true, one_sided: false, syn_at: now };
                *self = opening.answered(now, segment, template());
            } else if segment.ack != Some(self.client_start()) || isn != segment.seq {
                return AfterAnswer::Unwanted;
            }
            return AfterAnswer::PassSyn;
        }
        if !segment.payload.is_empty() && segment.end().after(isn + 1) {
            return AfterAnswer::ServerData;
        }
        self.fin[End::Server] |= segment.flags.fin && segment.seq == isn + 1;
        let scale = self.scale(End::Server);
        self.server.acknowledged(now, segment, scale);
        AfterAnswer::Pass
    }

    /// Bytes of memory that it holds, with its own size, which a template is a large part of.
    pub(super) fn memory(&self) -> usize {
        let Self {
            client: _,
            server: _,
            to_client: _,
            path: _,
            again,
            fin: _,
            syn_at: _,
            syn_ack_at: _,
            client_rtt: _,
        } = self;
        size_of::<Self>() + again.as_ref().map_or(0, |_| size_of::<Observed>())
    }

    /// The SYN-ACK that we have given.
    pub(super) fn syn_ack(&self) -> BareSegment {
        let Observed { isn, mss, scale, sack, .. } = self.server;
        let echo = self.client.timestamps().map_or(0, |(val, _)| val);
        let timestamps = self.server.timestamps().map(|(val, _)| Timestamps { val, ecr: echo });
        let options =
            Options { mss, window_scale: scale, sack_permitted: sack, timestamps, ..Options::default() };
        syn_ack(self.to_client.clone(), isn, self.client_start(), OUR_WINDOW, &options)
    }

    /// Adopts the client's half; the server's is to be opened, with what the client has offered.
    pub(super) fn adopt_unheard<IO: Io>(
        &self,
        now: Instant,
        to_server: Template,
        mtu: usize,
        limits: &Limits,
    ) -> PerEnd<Leg<IO>> {
        let mut legs = self.adopt(now, Some(to_server.clone()), mtu, limits);
        let room = (mtu - to_server.ip_header_len() - 20).min(u16::MAX.into()) as u16;
        let Observed { isn, mss, scale, sack, .. } = self.client;
        let default_mss = DEFAULT_MSS[usize::from(to_server.ip_header_len() == 40)];
        let open = Open {
            isn,
            mss: mss.unwrap_or(default_mss).min(room),
            window_scale: scale,
            sack,
            timestamps: self.client.timestamps().map(|(val, _)| val),
        };
        let mut to_server = to_server;
        to_server.raise_hop_limit(self.path.hops[End::Client]);
        legs.server = Leg::connect(now, End::Server, to_server, open, limits);
        legs
    }

    /// The number of the client's SYN.
    pub(super) fn client_isn(&self) -> Seq {
        self.client.isn
    }

    /// The number of the SYN-ACK.
    pub(super) fn server_isn(&self) -> Seq {
        self.server.isn
    }

    /// Where the client's stream begins.
    pub(super) fn client_start(&self) -> Seq {
        self.client.isn + 1
    }

    /// The segment acknowledges just the SYN-ACK, as every one must that a server takes before it has said anything
    /// (RFC 9293 3.10.7.4).
    pub(super) fn is_acknowledged_by(&self, segment: &Segment<'_>) -> bool {
        segment.ack == Some(self.server.isn + 1)
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
    /// `to_server` imitates the client, if one of its frames is at hand.
    pub(super) fn adopt<IO: Io>(
        &self,
        now: Instant,
        to_server: Option<Template>,
        mtu: usize,
        limits: &Limits,
    ) -> PerEnd<Leg<IO>> {
        let (server, mut to_client) = (self.server, self.to_client.clone());
        let mut to_server = to_server.unwrap_or_else(|| to_client.reversed());
        to_server.raise_hop_limit(self.path.hops[End::Client]);
        to_client.raise_hop_limit(self.path.hops[End::Server]);
        let room = (mtu - to_client.ip_header_len() - 20).min(u16::MAX.into()) as u16;
        let default_mss = DEFAULT_MSS[usize::from(to_client.ip_header_len() == 40)];
        let both = |a: Option<(u32, Instant)>, b: Option<(u32, Instant)>| Some((a?, b?));
        // A FIN that has passed has taken a number (RFC 9293 3.4).
        let next = |seen: &Observed, end: End| seen.isn + 1 + u32::from(self.fin[end]);
        let leg = |peer: &Observed, us: &Observed, peer_is: End| Adoption {
            snd_nxt: next(us, peer_is.other()),
            rcv_nxt: next(peer, peer_is),
            snd_wnd: peer.window,
            snd_scale: self.scale(peer_is),
            rcv_scale: self.scale(peer_is.other()),
            mss: peer.mss.unwrap_or(default_mss).min(room),
            sack: self.client.sack && server.sack,
            timestamps: both(us.timestamps(), peer.timestamps()).map(|(us, peer)| AdoptedTimestamps {
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
        PerEnd {
            client: Leg::adopt(now, End::Client, to_client, client, limits),
            server: Leg::adopt(now, End::Server, to_server, server, limits),
        }
    }

    /// Shift of the window field that an end sends: its own, if both ends offered scaling (RFC 7323 2.2).
    fn scale(&self, end: End) -> u8 {
        match (end, self.client.scale, self.server.scale) {
            (End::Client, Some(scale), Some(_)) | (End::Server, Some(_), Some(scale)) => scale,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use tcp_stack::{Flags, Options, Timestamps};

    use super::*;
    use crate::memory_port::MemoryIo;
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
    fn opened() -> Answered {
        let syn = with(options(Some(7), 100), segment("S", ISN_C, None, b""));
        let mut o = answered(&syn, options(Some(3), 900));
        let mut ack = segment("", ISN_C + 1, Some(ISN_S + 1), b"");
        ack.options.timestamps = Some(Timestamps { val: 132, ecr: 900 });
        assert_eq!(o.observe(at(32), End::Client, &ack, template), AfterAnswer::Pass);
        o
    }

    /// To the SYN-ACK.
    fn answered(syn: &Segment<'_>, theirs: Options) -> Answered {
        let mut o = Opening::new(at(0), syn);
        let syn_ack = with(theirs, segment("S", ISN_S, Some(ISN_C + 1), b""));
        match o.observe(at(30), End::Server, &syn_ack, template) {
            BeforeAnswer::Answered(answered) => *answered,
            _ => panic!("a SYN-ACK"),
        }
    }

    fn see_before(o: &mut Opening, from: End, s: &Segment<'_>) -> BeforeAnswer {
        o.observe(at(50), from, s, template)
    }

    fn see(o: &mut Answered, from: End, s: &Segment<'_>) -> AfterAnswer {
        o.observe(at(50), from, s, template)
    }

    #[test]
    fn an_adopted_pair_goes_on_with_the_numbers_that_both_ends_know() {
        let mut o = opened();
        let hello = segment("", ISN_C + 1, Some(ISN_S + 1), b"hello");
        assert_eq!(see(&mut o, End::Client, &hello), AfterAnswer::ClientData);
        let PerEnd { mut client, mut server } = o.adopt::<MemoryIo>(at(50), None, 1500, &Limits::default());
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
        let o = answered(&with(options(Some(7), 1), segment("S", ISN_C, None, b"")), options(None, 1));
        assert_eq!((o.scale(End::Client), o.scale(End::Server)), (0, 0));
    }

    #[test]
    fn a_repeated_syn_changes_nothing() {
        let mut o = opened();
        assert_eq!(see(&mut o, End::Client, &segment("S", ISN_C, None, b"")), AfterAnswer::PassSyn);
        assert_eq!(
            see(&mut o, End::Client, &segment("", ISN_C + 1, Some(ISN_S + 1), b"x")),
            AfterAnswer::ClientData
        );
    }

    #[test]
    fn another_syn_counts_only_when_the_server_answers_it() {
        // A client that would talk itself out of being watched: the server stays with the old connection.
        let mut o = opened();
        assert_eq!(see(&mut o, End::Client, &segment("S", Seq(5), None, b"")), AfterAnswer::PassSyn);
        let challenge = segment("", ISN_S + 1, Some(ISN_C + 1), b"");
        assert_eq!(see(&mut o, End::Server, &challenge), AfterAnswer::Pass);
        assert_eq!(o.client_start(), ISN_C + 1);
        assert_eq!(
            see(&mut o, End::Client, &segment("", ISN_C + 1, Some(ISN_S + 1), b"x")),
            AfterAnswer::ClientData
        );
        // A server that has restarted.
        let mut o = opened();
        see(&mut o, End::Client, &segment("S", Seq(5), None, b""));
        assert_eq!(see(&mut o, End::Server, &segment("S", Seq(77), Some(Seq(6)), b"")), AfterAnswer::PassSyn);
        assert_eq!(o.client_start(), Seq(6));
    }

    #[test]
    fn split_handshakes_and_forged_answers_are_unwanted() {
        let mut o = Opening::new(at(0), &segment("S", ISN_C, None, b""));
        for (from, unwanted) in [
            (End::Server, segment("S", ISN_S, None, b"")),
            (End::Server, segment("S", ISN_S, Some(Seq(3)), b"")),
            (End::Server, segment("", ISN_S, Some(ISN_C + 1), b"")),
            (End::Client, segment("S", ISN_C, Some(ISN_S), b"")),
        ] {
            assert!(matches!(see_before(&mut o, from, &unwanted), BeforeAnswer::Unwanted), "{unwanted:?}");
        }
        let mut o = opened();
        let other = segment("S", Seq(9), Some(ISN_C + 1), b"");
        assert_eq!(see(&mut o, End::Server, &other), AfterAnswer::Unwanted);
        assert_eq!(see(&mut o, End::Client, &segment("S", ISN_C, Some(ISN_S), b"")), AfterAnswer::Unwanted);
    }

    #[test]
    fn resets_count_where_the_ends_would_take_them() {
        let mut o = Opening::new(at(0), &segment("S", ISN_C, None, b""));
        let (stray, answer) = (segment("R", Seq(0), None, b""), segment("R", Seq(0), Some(ISN_C + 1), b""));
        assert!(matches!(see_before(&mut o, End::Server, &stray), BeforeAnswer::Pass));
        assert!(matches!(see_before(&mut o, End::Server, &answer), BeforeAnswer::Reset));
        assert!(matches!(
            see_before(&mut o, End::Client, &segment("R", ISN_C + 1, None, b"")),
            BeforeAnswer::Pass
        ));
        let mut o = opened();
        assert_eq!(see(&mut o, End::Server, &segment("R", ISN_S + 2, None, b"")), AfterAnswer::Pass);
        assert_eq!(see(&mut o, End::Server, &segment("R", ISN_S + 1, None, b"")), AfterAnswer::Reset);
        assert_eq!(see(&mut o, End::Client, &segment("R", ISN_C + 9, None, b"")), AfterAnswer::Pass);
        assert_eq!(see(&mut o, End::Client, &segment("R", ISN_C + 1, None, b"")), AfterAnswer::Reset);
    }

    #[test]
    fn keep_alives_are_no_data_and_fins_no_way_out() {
        let mut o = opened();
        assert_eq!(see(&mut o, End::Client, &segment("", ISN_C, Some(ISN_S + 1), b"\0")), AfterAnswer::Pass);
        assert_eq!(see(&mut o, End::Server, &segment("", ISN_S, Some(ISN_C + 1), b"\0")), AfterAnswer::Pass);
        // A FIN that the server would not take, then data: still watched.
        assert_eq!(
            see(&mut o, End::Client, &segment("F", ISN_C + 9, Some(ISN_S + 1), b"")),
            AfterAnswer::Pass
        );
        assert_eq!(
            see(&mut o, End::Client, &segment("", ISN_C + 1, Some(ISN_S + 1), b"x")),
            AfterAnswer::ClientData
        );
        assert_eq!(
            see(&mut o, End::Server, &segment("F", ISN_S + 1, Some(ISN_C + 1), b"")),
            AfterAnswer::Pass
        );
        assert!(!o.is_closing());
        assert_eq!(
            see(&mut o, End::Client, &segment("F", ISN_C + 1, Some(ISN_S + 1), b"")),
            AfterAnswer::Pass
        );
        assert!(o.is_closing());
    }

    #[test]
    fn a_server_that_closes_first_will_not_speak_tls() {
        let mut o = opened();
        assert_eq!(
            see(&mut o, End::Server, &segment("F", ISN_S + 1, Some(ISN_C + 1), b"")),
            AfterAnswer::Pass
        );
        let late = segment("", ISN_C + 1, Some(ISN_S + 2), b"x");
        assert_eq!(see(&mut o, End::Client, &late), AfterAnswer::ServerData);
        let mut client = o.adopt::<MemoryIo>(at(50), None, 1500, &Limits::default()).client;
        client.tcp.abort();
        let reset = client.tcp.poll_transmit(at(50)).map(|s| (s.flags.rst, s.seq));
        assert_eq!(reset, Some((true, ISN_S + 2)), "where the client expects the next byte");
    }

    #[test]
    fn who_speaks_first() {
        let mut o = opened();
        assert_eq!(
            see(&mut o, End::Server, &segment("", ISN_S + 1, Some(ISN_C + 1), b"220")),
            AfterAnswer::ServerData
        );
        let mut o = Opening::new(at(0), &segment("S", ISN_C, None, b""));
        let data = segment("", ISN_C + 1, Some(Seq(1)), b"x");
        assert!(matches!(see_before(&mut o, End::Client, &data), BeforeAnswer::OneDirection));
        // It has said something, though not what answers a SYN.
        see_before(&mut o, End::Server, &segment("", ISN_S, Some(Seq(7)), b""));
        assert!(matches!(see_before(&mut o, End::Client, &data), BeforeAnswer::Unwanted));
    }
}
