//! A flow as the control channel tells it: the names here are those of `wireglass flows --json`, and `docs/flows.md`
//! explains them.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tcp_stack::{Congestion, Duration, Info, Limit, Repair, State};
use wireglass_core::end::{End, PerEnd};
use wireglass_core::flow::{FlowSnapshot, LegSnapshot, TlsSnapshot};
use wireglass_core::phase::FlowPhase;

/// A word of a fixed list, or a name.
type Word = Cow<'static, str>;

/// One flow. What is not known is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// As in events.
    pub flow_id: u64,
    /// Name of the wire.
    pub wire: String,
    /// VLAN ids, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vlan: Vec<u16>,
    /// The client.
    pub src_ip: IpAddr,
    /// The client's port.
    pub src_port: u16,
    /// The server.
    pub dest_ip: IpAddr,
    /// The server's port.
    pub dest_port: u16,
    /// The phase.
    pub phase: FlowPhase,
    /// The TLS handshakes are under way.
    pub handshaking: bool,
    /// Rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Profile of a flow that is decrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Server name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// Since the first packet.
    pub age_ms: u64,
    /// Since the last packet.
    pub idle_ms: u64,
    /// Frames from the client.
    pub pkts_toserver: u64,
    /// Bytes of those.
    pub bytes_toserver: u64,
    /// Frames from the server.
    pub pkts_toclient: u64,
    /// Bytes of those.
    pub bytes_toclient: u64,
    /// Between the client and the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_leg: Option<LegRecord>,
    /// Between the engine and the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_leg: Option<LegRecord>,
}

/// One leg.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegRecord {
    /// Once both handshakes are complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsRecord>,
    /// TCP.
    pub tcp: TcpRecord,
}

/// TLS of a leg; names as in `tls` events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TlsRecord {
    /// `TLS 1.2` or `TLS 1.3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Word>,
    /// IANA name of the cipher suite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cipher: Option<Word>,
    /// IANA name of the key exchange group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Word>,
    /// Application protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpn: Option<String>,
    /// The session was resumed.
    pub resumed: bool,
}

/// TCP of a leg, seen from the engine: it is the one that sends into `cwnd`. Bytes, unless the name says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TcpRecord {
    /// RFC 9293's state, in lower case with hyphens.
    pub state: Word,
    /// What keeps the engine from sending more: `application`, `congestion` or `receiver`.
    pub limited_by: Word,
    /// For how long each has, since the leg began.
    pub application_limited_ms: u64,
    /// Likewise.
    pub congestion_limited_ms: u64,
    /// Likewise.
    pub receiver_limited_ms: u64,
    /// Payload of a full segment to the peer.
    pub mss: u32,
    /// Largest payload of a segment from the peer.
    pub rcv_mss: u32,
    /// Window scale of the peer.
    pub snd_wscale: u8,
    /// Window scale of the engine.
    pub rcv_wscale: u8,
    /// Both speak SACK.
    pub sack: bool,
    /// Both speak timestamps.
    pub timestamps: bool,
    /// Congestion window.
    pub cwnd: u32,
    /// Slow start threshold, after a first loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssthresh: Option<u32>,
    /// Algorithm of the congestion window: `cubic` or `newreno`.
    pub algorithm: Word,
    /// What is being repaired: `open` (nothing), `disorder`, `recovery` or `loss`.
    pub repair: Word,
    /// Of the bytes in flight, those that the peer holds ahead of a gap.
    pub sacked: u32,
    /// Of the bytes in flight, those taken for lost.
    pub lost: u32,
    /// Of the bytes in flight, those in the network that were sent more than once.
    pub in_flight_again: u32,
    /// The path was seen to reorder.
    pub reordering: bool,
    /// Tail loss probes sent.
    pub tail_probes: u32,
    /// Recoveries that turned out not to be needed.
    pub spurious_recoveries: u32,
    /// Window that the peer offers.
    pub snd_wnd: u32,
    /// Sent and not acknowledged.
    pub in_flight: u32,
    /// Queued behind that.
    pub unsent: u32,
    /// Both together.
    pub send_queue: u64,
    /// Window that the peer is offered.
    pub rcv_wnd: u32,
    /// Received in order, not taken on.
    pub recv_queue: u64,
    /// How far bytes reach that are held behind a gap.
    pub held_ahead: u32,
    /// Smoothed round-trip time, after a first sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srtt_us: Option<u64>,
    /// Its variation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rttvar_us: Option<u64>,
    /// Shortest of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_rtt_us: Option<u64>,
    /// Retransmission timeout.
    pub rto_us: u64,
    /// Doublings in it.
    pub backoff: u32,
    /// Timers that fired since something was acknowledged.
    pub retries: u32,
    /// The next timer that waits for the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer: Option<TimerRecord>,
    /// Segments sent again since the start.
    pub retransmits: u32,
    /// Bytes of those.
    pub retransmitted_bytes: u64,
    /// Fast retransmits begun.
    pub fast_retransmits: u32,
    /// Retransmission timers that fired.
    pub timeouts: u32,
    /// Probes into a closed window.
    pub window_probes: u32,
    /// Duplicate ACKs received.
    pub duplicate_acks: u32,
    /// Segments received ahead of a gap.
    pub out_of_order: u32,
    /// Segments received whose payload was known.
    pub duplicate_segments: u32,
    /// Segments received.
    pub segments_in: u64,
    /// Segments sent.
    pub segments_out: u64,
    /// Payload received in order.
    pub bytes_received: u64,
    /// Payload sent for the first time.
    pub bytes_sent: u64,
    /// Payload that the peer has acknowledged.
    pub bytes_acked: u64,
    /// Since payload was sent.
    pub last_sent_ms: u64,
    /// Since payload was received.
    pub last_received_ms: u64,
    /// Since any segment was received.
    pub last_heard_ms: u64,
}

/// A timer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimerRecord {
    /// `retransmit`, `persist`, `keep-alive`, `fin-wait-2` or `time-wait`.
    pub name: Word,
    /// When it fires, from now on.
    pub in_ms: u64,
}

impl FlowRecord {
    /// Copies a snapshot into texts.
    pub fn new(flow: &FlowSnapshot) -> Self {
        let FlowSnapshot { identity, volume: PerEnd { client, server }, .. } = flow;
        let leg = |end: End| flow.legs.as_ref().map(|legs| LegRecord::new(&legs[end]));
        Self {
            flow_id: identity.flow_id,
            wire: flow.wire.to_string(),
            vlan: identity.vlan.into_iter().flatten().collect(),
            src_ip: identity.client.ip(),
            src_port: identity.client.port(),
            dest_ip: identity.server.ip(),
            dest_port: identity.server.port(),
            phase: flow.phase,
            handshaking: flow.handshaking,
            rule: flow.rule.as_deref().map(str::to_owned),
            profile: flow.profile.as_ref().map(|profile| profile.name.clone()),
            sni: flow.sni.as_ref().map(|name| text(name.as_bytes())),
            age_ms: flow.age / 1000,
            idle_ms: flow.idle / 1000,
            pkts_toserver: client.packets,
            bytes_toserver: client.bytes,
            pkts_toclient: server.packets,
            bytes_toclient: server.bytes,
            client_leg: leg(End::Client),
            server_leg: leg(End::Server),
        }
    }
}

impl LegRecord {
    fn new(leg: &LegSnapshot) -> Self {
        Self { tls: leg.tls.as_ref().map(TlsRecord::new), tcp: TcpRecord::new(&leg.tcp) }
    }
}

impl TlsRecord {
    fn new(tls: &TlsSnapshot) -> Self {
        Self {
            version: tls.version.map(Word::from),
            cipher: tls.cipher.map(Word::from),
            group: tls.group.map(Word::from),
            alpn: tls.alpn.as_ref().map(|name| text(name.as_bytes())),
            resumed: tls.resumed,
        }
    }
}

impl TcpRecord {
    fn new(tcp: &Info) -> Self {
        let limited = |limit: Limit| tcp.limited[limit as usize].total_millis();
        let (stats, micros) = (&tcp.stats, Duration::total_micros as fn(&Duration) -> u64);
        Self {
            state: state(tcp.state).into(),
            limited_by: match tcp.limit {
                Limit::Application => "application",
                Limit::Congestion => "congestion",
                Limit::Receiver => "receiver",
            }
            .into(),
            application_limited_ms: limited(Limit::Application),
            congestion_limited_ms: limited(Limit::Congestion),
            receiver_limited_ms: limited(Limit::Receiver),
            mss: tcp.mss,
            rcv_mss: tcp.rcv_mss,
            snd_wscale: tcp.snd_scale,
            rcv_wscale: tcp.rcv_scale,
            sack: tcp.sack,
            timestamps: tcp.timestamps,
            cwnd: tcp.cwnd,
            ssthresh: tcp.ssthresh,
            algorithm: match tcp.congestion {
                Congestion::Cubic => "cubic",
                Congestion::NewReno => "newreno",
            }
            .into(),
            repair: match tcp.repair {
                Repair::Open => "open",
                Repair::Disorder => "disorder",
                Repair::Recovery => "recovery",
                Repair::Loss => "loss",
            }
            .into(),
            sacked: tcp.sacked,
            lost: tcp.lost,
            in_flight_again: tcp.in_flight_again,
            reordering: tcp.reordering,
            tail_probes: stats.tail_probes,
            spurious_recoveries: stats.spurious_recoveries,
            snd_wnd: tcp.snd_wnd,
            in_flight: tcp.in_flight,
            unsent: tcp.unsent,
            send_queue: tcp.send_queue as u64,
            rcv_wnd: tcp.rcv_wnd,
            recv_queue: tcp.recv_queue as u64,
            held_ahead: tcp.held_ahead,
            srtt_us: tcp.rtt.map(|(srtt, _)| srtt.total_micros()),
            rttvar_us: tcp.rtt.map(|(_, rttvar)| rttvar.total_micros()),
            min_rtt_us: tcp.min_rtt.as_ref().map(micros),
            rto_us: tcp.rto.total_micros(),
            backoff: tcp.backoff,
            retries: tcp.retries,
            timer: tcp
                .timer
                .map(|(name, wait)| TimerRecord { name: name.into(), in_ms: wait.total_millis() }),
            retransmits: stats.retransmits,
            retransmitted_bytes: stats.retransmitted_bytes,
            fast_retransmits: stats.fast_retransmits,
            timeouts: stats.rto_events,
            window_probes: stats.window_probes,
            duplicate_acks: stats.duplicate_acks,
            out_of_order: stats.out_of_order,
            duplicate_segments: stats.duplicate_segments,
            segments_in: stats.segments_in,
            segments_out: stats.segments_out,
            bytes_received: stats.bytes_in,
            bytes_sent: stats.bytes_out,
            bytes_acked: tcp.bytes_acked,
            last_sent_ms: tcp.since_sent.total_millis(),
            last_received_ms: tcp.since_received.total_millis(),
            last_heard_ms: tcp.since_heard.total_millis(),
        }
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Closed => "closed",
        State::Listen => "listen",
        State::SynSent => "syn-sent",
        State::SynReceived => "syn-received",
        State::Established => "established",
        State::FinWait1 => "fin-wait-1",
        State::FinWait2 => "fin-wait-2",
        State::CloseWait => "close-wait",
        State::Closing => "closing",
        State::LastAck => "last-ack",
        State::TimeWait => "time-wait",
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
