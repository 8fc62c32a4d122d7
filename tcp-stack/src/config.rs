//! What the owner of a connection decides.

use crate::{Congestion, Duration, Instant, Seq};

/// Largest window there is, 1 GiB (RFC 7323 2.3). Limits above it mean it.
pub(crate) const MAX_WINDOW: usize = (u16::MAX as usize) << 14;

/// Limits and times of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Most bytes queued for sending, sent or not, until acknowledged. How many of them the path has use for is
    /// another question: [`crate::Connection::send_wanted`].
    pub send_limit: usize,
    /// Bytes of [`Config::recv_limit`] that may be used at the beginning. The window grows as far as the peer
    /// fills it in each round trip and the application takes what comes, and shrinks again in silence.
    pub initial_recv_limit: usize,
    /// Most bytes received and not yet consumed; the window is derived from it. The window field counts in
    /// units of 2^scale, so a limit that is not 0 means two units at least, and up to a quarter more (or two
    /// units) may be held where the window would otherwise have to be taken back.
    pub recv_limit: usize,
    /// Most bytes of a window promised by the end that was replaced which are taken over, if that is more
    /// than `recv_limit`. A promise should be kept, but it was made by a host, not by us, and two hosts may
    /// have agreed on a gigabyte.
    pub adopted_window_limit: usize,
    /// How far beyond RCV.NXT bytes are kept while something before them is missing.
    pub out_of_order_limit: usize,
    /// Most separate ranges kept out of order.
    pub out_of_order_ranges: u8,
    /// Longest delay of an ACK (RFC 9293 3.8.6.3 allows up to 500 ms).
    pub delayed_ack: Duration,
    /// Full segments that are acknowledged one by one at the beginning, and again after a silence longer than
    /// the retransmission timeout: a peer in slow start counts ACKs, and has few segments to have acknowledged.
    pub quick_acks: u32,
    /// Lowest retransmission timeout. RFC 6298 2.4 says 1 s; 200 ms is what hosts on the Internet use.
    pub rto_min: Duration,
    /// Retransmission timeout before the first sample (RFC 6298 2.1).
    pub rto_initial: Duration,
    /// Highest retransmission timeout and probe interval (RFC 6298 2.5: 60 s or more).
    pub rto_max: Duration,
    /// Retransmissions of the same byte, or probes without an answer, before giving up.
    pub max_retries: u32,
    /// Retransmissions of a SYN before giving up.
    pub max_syn_retries: u32,
    /// How long sent bytes may stay unacknowledged (RFC 5482); `None`: `max_retries` alone decides.
    pub user_timeout: Option<Duration>,
    /// How long a peer that answers may keep its window closed. RFC 9293 3.8.6.1 sets no limit; RFC 6429 lets
    /// the owner of scarce memory set one.
    pub zero_window_timeout: Option<Duration>,
    /// Length of TIME-WAIT: 2 MSL (RFC 9293 3.4.2 says 4 minutes, hosts use 1).
    pub time_wait: Duration,
    /// Silence in FIN-WAIT-2 after which the peer is probed: half-closed connections may be silent for long, but
    /// one whose peer is gone would stay for ever. `None`: never.
    pub fin_wait_2: Option<Duration>,
    /// Probing of silent peers (RFC 9293 3.8.4).
    pub keep_alive: KeepAlive,
    /// Initial congestion window in segments (RFC 6928).
    pub initial_window: u32,
    /// Challenge ACKs, and replies to segments out of the window, in one second at most, on average (RFC 5961
    /// 7). Per connection, and drawn for each second from half to one and a half of it, so that the count tells
    /// nothing.
    pub challenges_per_second: u32,
    /// Secret from which those numbers are drawn: the same for all connections of one owner, another after each
    /// start. 0 is as good as any for an owner without secrets, but then a stranger can draw them too.
    pub challenge_key: u64,
    /// After how long without traffic an empty buffer's memory is given back.
    pub release_after: Duration,
    /// Lowest segment size (as the MSS option counts it) that the path may bring us to: 512 makes the packet of 552
    /// bytes that Linux stops at. Over IPv6 it is 1220, as every link carries 1280 bytes (RFC 8200 5).
    pub path_floor: u16,
    /// Segment size that is tried first when larger segments seem to vanish (RFC 4821 7.2: 1024 bytes or less).
    pub path_base: u16,
    /// Timeouts in a row after which it is tried (RFC 8899 5.1.2: 3); 0: never.
    pub black_hole_timeouts: u8,
    /// Algorithm of the congestion window.
    pub congestion: Congestion,
    /// Most segments sent and not acknowledged. Each is remembered in 32 bytes; nothing new is sent at the limit.
    pub flight_segments: u32,
    /// Spreads what leaves over the round trip: twice the congestion window per round trip in slow start, 1.2 times after it,
    /// in bursts of a millisecond. [`crate::Connection::poll_timeout`] says when more may leave.
    pub pacing: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            send_limit: 256 * 1024,
            initial_recv_limit: 64 * 1024,
            recv_limit: 4 * 1024 * 1024,
            adopted_window_limit: 1024 * 1024,
            out_of_order_limit: 4 * 1024 * 1024,
            out_of_order_ranges: 32,
            delayed_ack: Duration::from_millis(40),
            quick_acks: 16,
            rto_min: Duration::from_millis(200),
            rto_initial: Duration::from_secs(1),
            rto_max: Duration::from_secs(60),
            max_retries: 15,
            max_syn_retries: 6,
            user_timeout: Some(Duration::from_secs(300)),
            zero_window_timeout: None,
            time_wait: Duration::from_secs(60),
            fin_wait_2: Some(Duration::from_secs(300)),
            keep_alive: KeepAlive { idle: None, interval: Duration::from_secs(15), probes: 8 },
            initial_window: 10,
            challenges_per_second: 10,
            challenge_key: 0,
            release_after: Duration::from_secs(1),
            path_floor: 512,
            path_base: 1024,
            black_hole_timeouts: 3,
            congestion: Congestion::Cubic,
            flight_segments: 8192,
            pacing: false,
        }
    }
}

/// When and how a silent peer is probed.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    /// Silence before the first probe; `None`: idle connections are probed only where
    /// [`crate::Connection::probe`] says so.
    pub idle: Option<Duration>,
    /// Time between probes.
    pub interval: Duration,
    /// Probes without an answer before giving up.
    pub probes: u32,
}

/// Numbers of a live connection that is taken over from the end it belonged to.
///
/// "Peer" is the end that stays; the end that is replaced is the one whose numbers these are.
#[derive(Clone, Copy, Debug)]
pub struct Adoption {
    /// The next sequence number to send; all before it is acknowledged.
    pub snd_nxt: Seq,
    /// The next sequence number expected from the peer.
    pub rcv_nxt: Seq,
    /// Window that the peer offers, in bytes (scaled already).
    pub snd_wnd: u32,
    /// Shift of the window field in what the peer sends; 0 if window scaling was not agreed on by both.
    pub snd_scale: u8,
    /// Shift of the window field in what the peer is sent; 0 if window scaling was not agreed on by both.
    pub rcv_scale: u8,
    /// Largest payload that the peer accepts, options not counted (the MSS option of its SYN, or what the
    /// path allows).
    pub mss: u16,
    /// Whether both ends sent SACK-permitted.
    pub sack: bool,
    /// Timestamps, if both ends sent them.
    pub timestamps: Option<AdoptedTimestamps>,
    /// Right edge of the window that the replaced end has already promised to the peer.
    pub rcv_adv: Seq,
    /// A round-trip time to the peer, if one was seen (for example SYN-ACK to ACK).
    pub rtt_hint: Option<Duration>,
}

/// The timestamp clocks of an adopted connection.
#[derive(Clone, Copy, Debug)]
pub struct AdoptedTimestamps {
    /// Last TSval that the peer has seen from the end that is replaced.
    pub last_sent: u32,
    /// When it was sent.
    pub at: Instant,
    /// Last TSval received from the peer (TS.Recent).
    pub ts_recent: u32,
}

/// What an end says in its own SYN.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// Initial sequence number: unpredictable (RFC 6528), as of an [`crate::IsnGenerator`].
    pub isn: Seq,
    /// Largest payload that this end accepts; it sends no larger ones either.
    pub mss: u16,
    /// Shift of the window field that this end offers, 0 to 14; `None` offers no window scaling.
    pub window_scale: Option<u8>,
    /// Whether to offer SACK.
    pub sack: bool,
    /// First value of the timestamp clock (RFC 7323 7.1: random per connection); `None` offers no timestamps.
    pub timestamps: Option<u32>,
}
