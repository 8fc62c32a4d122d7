//! Watching two hosts open a connection, so that it can be adopted later.

use tcp_stack::{AdoptedTimestamps, Adoption, Duration, Instant, Segment, Seq};

use super::effects::Limits;
use super::leg::Leg;
use crate::packet::Template;
use crate::side::Side;

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
    /// The server speaks first.
    ServerData,
    /// The client sends data, but the server's SYN-ACK was never seen.
    OneDirection,
    /// No part of a handshake that can be followed (RFC 9293 3.5): a split handshake, or numbers that do not fit.
    Unwanted,
}

impl Opening {
    /// From the client's SYN.
    pub(super) fn new(now: Instant, syn: &Segment<'_>) -> Self {
        Self {
            client: Observed::syn(now, syn),
            server: None,
            to_client: None,
            syn_at: now,
            syn_ack_at: now,
            client_rtt: None,
        }
    }

    /// Looks at a segment before it is passed on. `template` makes the template of the frame it came in.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        from: Side,
        segment: &Segment<'_>,
        template: impl FnOnce() -> Template,
    ) -> Opened {
        match from {
            Side::Client => self.observe_client(now, segment),
            Side::Server => self.observe_server(now, segment, template),
        }
    }

    fn observe_client(&mut self, now: Instant, segment: &Segment<'_>) -> Opened {
        if segment.flags.syn {
            if segment.ack.is_some() || self.server.is_some() && segment.seq != self.client.isn {
                return Opened::Unwanted;
            }
            *self = Self::new(now, segment); // repeated, or begun anew before the server answered
            return Opened::PassSyn;
        }
        if segment.flags.rst {
            return if segment.seq.since(self.client.isn) <= 1 { Opened::Reset } else { Opened::Pass };
        }
        let Some(server) = self.server else {
            return if segment.payload.is_empty() { Opened::Pass } else { Opened::OneDirection };
        };
        if !segment.payload.is_empty() {
            return Opened::ClientData;
        }
        if segment.ack == Some(server.isn + 1) && self.client_rtt.is_none() {
            self.client_rtt = Some(now - self.syn_ack_at);
        }
        let scale = self.scale(Side::Client);
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
        if segment.flags.rst {
            let next = self.server.map_or(segment.seq, |s| s.isn + 1);
            let fits = segment.seq == next && (answers_syn || segment.ack.is_none() || self.server.is_some());
            return if fits { Opened::Reset } else { Opened::Pass };
        }
        if segment.flags.syn {
            if !answers_syn || self.server.is_some_and(|s| s.isn != segment.seq) {
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
        if self.server.is_none() {
            return Opened::Unwanted;
        }
        if !segment.payload.is_empty() {
            return Opened::ServerData;
        }
        let scale = self.scale(Side::Server);
        if let Some(server) = &mut self.server {
            server.acknowledged(now, segment, scale);
        }
        Opened::Pass
    }

    /// Where the client's stream begins.
    pub(super) fn client_start(&self) -> Seq {
        self.client.isn + 1
    }

    /// The client's first SYN had this number.
    pub(super) fn is_client_isn(&self, seq: Seq) -> bool {
        self.client.isn == seq
    }

    /// The server has answered.
    pub(super) fn is_open(&self) -> bool {
        self.server.is_some()
    }

    /// Adopts both halves, where neither has seen a byte of payload yet.
    /// `to_server` imitates the client, if one of its frames is at hand. None before the SYN-ACK.
    pub(super) fn adopt(
        &self,
        now: Instant,
        to_server: Option<Template>,
        mtu: usize,
        limits: &Limits,
    ) -> Option<(Leg, Leg)> {
        let (server, to_client) = (self.server?, self.to_client.clone()?);
        let to_server = to_server.unwrap_or_else(|| to_client.reversed());
        let room = (mtu - to_client.ip_header_len() - 20).min(u16::MAX.into()) as u16;
        let default_mss = DEFAULT_MSS[usize::from(to_client.ip_header_len() == 40)];
        let both = |a: Option<(u32, Instant)>, b: Option<(u32, Instant)>| Some((a?, b?));
        let leg = |peer: &Observed, us: &Observed, peer_is: Side| Adoption {
            snd_nxt: us.isn + 1,
            rcv_nxt: peer.isn + 1,
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
                Side::Client => self.client_rtt,
                Side::Server => Some(self.syn_ack_at - self.syn_at),
            },
        };
        let client = leg(&self.client, &server, Side::Client);
        let server = leg(&server, &self.client, Side::Server);
        Some((
            Leg::adopt(now, Side::Client, to_client, client, limits),
            Leg::adopt(now, Side::Server, to_server, server, limits),
        ))
    }

    /// Shift of the window field that an end sends: its own, if both ends offered scaling (RFC 7323 2.2).
    fn scale(&self, end: Side) -> u8 {
        match (end, self.client.scale, self.server.and_then(|s| s.scale)) {
            (Side::Client, Some(scale), Some(_)) | (Side::Server, Some(_), Some(scale)) => scale,
            _ => 0,
        }
    }
}
