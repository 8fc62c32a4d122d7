//! One connection to which anything happens, with a model of both streams: no panic, no endless output, every
//! invariant, and never a byte delivered twice, out of order or wrong.

use bytes::Bytes;
use tcp_stack::{
    AdoptedTimestamps, Adoption, Config, Connection, Duration, Event, Flags, Info, Instant, KeepAlive, Open,
    Options, Segment, Seq, State, Timestamps, TooBig,
};

use super::pattern;

/// One thing that happens to a connection. Numbers are relative to where it stands, so that most of them are
/// near enough to matter.
#[derive(Clone, Debug)]
pub enum Step {
    Segment(Arriving),
    /// A segment as raw bytes with these header bytes after the ports.
    Raw(Vec<u8>),
    Wait(u64),
    NextTimer,
    Send(usize),
    Consume(usize),
    RecvLimit(usize),
    /// A router's message: how far from the highest number sent back, and the size it tells.
    TooBig(i64, u16),
    SendLimit(usize),
    Probe,
    Close,
    Abort,
}

#[derive(Clone, Debug)]
pub struct Arriving {
    /// From RCV.NXT.
    pub seq: i64,
    pub len: usize,
    /// From the highest sequence number sent.
    pub ack: Option<i64>,
    pub fin: bool,
    pub syn: bool,
    pub rst: bool,
    pub window: u16,
    pub timestamps: Option<(i64, u32)>,
    /// Blocks: left edge back from the highest sequence number sent, and length.
    pub sack: Vec<(i64, u32)>,
}

#[derive(Clone, Debug)]
pub enum Beginning {
    Adopt { scales: (u8, u8), sack: bool, timestamps: bool, mss: u16, promised: u32, window: u32 },
    Connect { scale: Option<u8>, mss: u16 },
    Listen { scale: Option<u8>, mss: u16 },
}

/// A connection with a model of both streams: the byte at each sequence number is known.
pub struct Subject {
    pub connection: Connection,
    pub now: Instant,
    /// Sequence numbers of the next byte to read, and to write; and the highest number sent.
    read_at: Option<Seq>,
    write_at: Seq,
    highest: Seq,
    peer_start: Seq,
    /// Highest right edge that was offered to us: nothing may be sent beyond it, but a probe's byte.
    offered: Seq,
    scale_out: u8,
    scaled: bool,
    /// Most bytes that may be held, with those promised.
    bound: usize,
    ended: Vec<Event>,
}

const OUT: u64 = 1;
const IN: u64 = 2;

fn config() -> Config {
    Config {
        initial_recv_limit: 6_000,
        recv_limit: 30_000,
        send_limit: 50_000,
        out_of_order_ranges: 4,
        max_retries: 6,
        flight_segments: 40,
        keep_alive: KeepAlive {
            idle: Some(Duration::from_millis(30_000)),
            interval: Duration::from_millis(1_000),
            probes: 3,
        },
        time_wait: Duration::from_millis(2_000),
        ..Config::default()
    }
}

/// What `Config::recv_limit` says: two units at least, and a quarter or two units more where needed.
fn bound(limit: usize, scale: u8) -> usize {
    limit.max(2 << scale) + (limit / 4).max(2 << scale)
}

impl Subject {
    pub fn new(beginning: &Beginning, ours: u32, theirs: u32) -> Self {
        let now = Instant::from_secs(1_000);
        let open = |scale: Option<u8>, mss| Open {
            isn: Seq(ours) - 1,
            mss,
            window_scale: scale,
            sack: true,
            timestamps: Some(u32::MAX - 50),
        };
        let mut offered = Seq(ours);
        let scale_out;
        let mut most_promised = 0;
        let connection = match *beginning {
            Beginning::Adopt { scales, sack, timestamps, mss, promised, window } => {
                offered = Seq(ours) + window;
                scale_out = scales.1.min(14);
                most_promised = (promised as usize).min(Config::default().adopted_window_limit);
                let adoption = Adoption {
                    snd_nxt: Seq(ours),
                    rcv_nxt: Seq(theirs),
                    snd_wnd: window,
                    snd_scale: scales.0,
                    rcv_scale: scales.1,
                    mss,
                    sack,
                    timestamps: timestamps.then_some(AdoptedTimestamps {
                        last_sent: u32::MAX - 100,
                        at: now,
                        ts_recent: u32::MAX - 10,
                    }),
                    rcv_adv: Seq(theirs) + promised,
                    rtt_hint: Some(Duration::from_millis(20)),
                };
                Connection::adopt(now, config(), adoption)
            }
            Beginning::Connect { scale, mss } => {
                scale_out = scale.unwrap_or(0).min(14);
                Connection::connect(now, config(), open(scale, mss))
            }
            Beginning::Listen { scale, mss } => {
                scale_out = scale.unwrap_or(0).min(14);
                Connection::listen(now, config(), open(scale, mss))
            }
        };
        let adopted = matches!(beginning, Beginning::Adopt { .. });
        Subject {
            connection,
            now,
            read_at: adopted.then_some(Seq(theirs)),
            write_at: Seq(ours),
            highest: Seq(ours),
            peer_start: Seq(theirs),
            offered,
            scale_out,
            scaled: adopted,
            bound: bound(config().recv_limit, scale_out).max(most_promised),
            ended: Vec::new(),
        }
    }

    pub fn step(&mut self, step: &Step) {
        match step {
            Step::Segment(arriving) => self.segment(arriving),
            Step::Raw(tail) => {
                let bytes: Vec<u8> = [&[0u8; 4][..], tail].concat();
                if let Ok(segment) = Segment::parse(&bytes) {
                    // Its payload is no part of the model: only the header's numbers are of interest.
                    let segment = Segment { payload: &[], ..segment };
                    self.connection.handle_segment(self.now, &segment);
                }
            }
            Step::Wait(millis) => self.wait_until(self.now + Duration::from_millis(*millis)),
            Step::NextTimer => {
                if let Some(at) = self.connection.poll_timeout() {
                    self.wait_until(at);
                }
            }
            Step::Send(len) => {
                assert!(self.connection.send_wanted() <= self.connection.send_space());
                let len = (*len).min(self.connection.send_space());
                let bytes: Vec<u8> = (0..len).map(|i| pattern(OUT, (self.write_at + i as u32).0)).collect();
                if self.connection.send(Bytes::from(bytes)).is_ok() {
                    self.write_at += len as u32;
                }
            }
            Step::Consume(most) => self.consume(*most),
            Step::RecvLimit(bytes) => {
                self.bound = self.bound.max(bound(*bytes, self.scale_out));
                self.connection.set_recv_limit(*bytes);
            }
            Step::TooBig(back, mss) => self.too_big(*back, *mss),
            Step::SendLimit(bytes) => self.connection.set_send_limit(*bytes),
            Step::Probe => self.connection.probe(self.now),
            Step::Close => self.connection.close(),
            Step::Abort => self.connection.abort(),
        }
        self.settle();
    }

    /// It lowers the size or does nothing; its verdict says which.
    fn too_big(&mut self, back: i64, told: u16) {
        let before = self.connection.info(self.now);
        let seq = self.highest - back as u32;
        let verdict = self.connection.handle_packet_too_big(self.now, seq, told);
        let after = self.connection.info(self.now);
        let floor = u32::from(config().path_floor);
        match verdict {
            TooBig::Lowered => {
                assert!(
                    after.segment_size < before.segment_size
                        && after.segment_size == u32::from(told).max(floor),
                    "{told}: {after:?}"
                );
                assert_eq!(after.stats.too_big, before.stats.too_big + 1);
            }
            TooBig::Known | TooBig::OutOfWindow | TooBig::TooOften => {
                let size = |info: &Info| (info.stats, info.segment_size);
                assert_eq!(size(&after), size(&before), "{verdict:?}")
            }
        }
        assert_eq!(
            (after.cwnd.max(after.mss), after.ssthresh),
            (before.cwnd.max(after.mss), before.ssthresh),
        );
    }

    pub fn wait_until(&mut self, at: Instant) {
        self.now = if at > self.now { at } else { self.now };
        self.connection.handle_timeout(self.now);
    }

    fn segment(&mut self, arriving: &Arriving) {
        let state = self.connection.state();
        let base = self.read_at.unwrap_or(self.peer_start);
        let received = self.connection.recv().len() as u32;
        // The handshake has to succeed now and then.
        let opening = matches!(state, State::SynSent | State::Listen);
        let seq = if opening { self.peer_start - 1 } else { base + received + arriving.seq as u32 };
        let ack = arriving.ack.map(|ack| self.highest - ack as u32);
        let ack = if state == State::Listen { None } else { ack };
        let payload: Vec<u8> = (0..arriving.len).map(|i| pattern(IN, (seq + i as u32).0)).collect();
        let mut sack = Options::default().sack;
        for (slot, &(back, len)) in sack.iter_mut().zip(&arriving.sack) {
            let left = self.highest - back as u32;
            *slot = Some((left, left + len));
        }
        let segment = Segment {
            src_port: 1,
            dst_port: 2,
            seq,
            ack,
            flags: Flags {
                syn: arriving.syn || opening,
                fin: arriving.fin,
                rst: arriving.rst,
                ..Flags::default()
            },
            window: arriving.window,
            options: Options {
                timestamps: arriving
                    .timestamps
                    .map(|(val, ecr)| Timestamps { val: (u32::MAX - 10).wrapping_add(val as u32), ecr }),
                sack,
                mss: opening.then_some(arriving.window),
                window_scale: (opening && arriving.window.is_multiple_of(2)).then_some(arriving.len as u8),
                sack_permitted: opening,
            },
            payload: if opening { &[] } else { &payload },
        };
        // An ACK counts up to SND.NXT, and if it is no older than the largest window there is; the window
        // counts with the largest scale at most.
        let counts = ack.is_none_or(|ack| self.highest.since(ack) <= 1 << 30);
        if counts {
            self.offered =
                self.offered.later(ack.unwrap_or(self.highest) + (u32::from(arriving.window) << 14));
        }
        self.connection.handle_segment(self.now, &segment);
        if opening && self.connection.state() != state {
            self.read_at = Some(self.peer_start);
            self.scaled = segment.options.window_scale.is_some();
        }
    }

    pub fn consume(&mut self, most: usize) {
        let readable = self.connection.recv();
        let len = readable.len().min(most);
        let mut at = self.read_at.unwrap_or_default();
        for &byte in &readable[..len] {
            assert_eq!(byte, pattern(IN, at.0), "byte at {at:?}");
            at += 1;
        }
        if len > 0 {
            self.read_at = Some(at);
        }
        self.connection.consume(len);
    }

    pub fn settle(&mut self) {
        self.check();
        let received = self.connection.recv().len();
        assert!(received <= self.bound, "{received} bytes held of {}", self.bound);
        let mut count = 0;
        let mss = self.connection.info(self.now).segment_size as usize;
        while let Some(run) = self.connection.poll_transmit_run(self.now, usize::MAX) {
            for transmit in run.segments().map(|segment| run.alone(&segment)) {
                count += 1;
                assert!(count < 2_000, "it never stops sending");
                let with_options = transmit.payload_len() + transmit.header_len() - 20;
                assert!(transmit.flags.syn || with_options <= mss, "{with_options} bytes over {mss}");
                let mut at = transmit.seq;
                let reset = transmit.flags.rst;
                for slice in transmit.slices() {
                    for &byte in slice {
                        assert_eq!(byte, pattern(OUT, at.0), "byte sent at {at:?}");
                        at += 1;
                    }
                }
                at += u32::from(transmit.flags.syn) + u32::from(transmit.flags.fin);
                let probe = 1;
                assert!(reset || at.at_or_before(self.offered + probe), "sent beyond the window: {at:?}");
                let mut header = vec![0; transmit.header_len()];
                transmit.emit_header(3, 4, &mut header);
                let parsed = Segment::parse(&header).expect("our own header");
                assert_eq!(
                    (parsed.seq, parsed.ack, parsed.flags),
                    (transmit.seq, transmit.ack, transmit.flags)
                );
                assert_eq!((parsed.window, parsed.options), (transmit.window, transmit.options));
                if !reset {
                    self.highest = self.highest.later(at);
                }
                // The window of a SYN is not scaled, and none is if the peer's SYN did not offer it.
                let scale = if transmit.flags.syn || !self.scaled { 0 } else { self.scale_out };
                let promised = usize::from(transmit.window) << scale;
                assert!(
                    received + promised <= self.bound,
                    "promised {promised} with {received} of {}",
                    self.bound
                );
            }
        }
        self.check();
        while let Some(event) = self.connection.poll_event() {
            assert!(!self.ended.contains(&event), "{event:?} told twice");
            assert!(!self.ended.contains(&Event::Closed), "{event:?} told after the end");
            self.ended.push(event);
        }
        if let Some(at) = self.connection.poll_timeout() {
            assert!(at > self.now || self.connection.state() != State::Closed);
        }
    }

    fn check(&self) {
        if let Err(rule) = self.connection.check_invariants() {
            panic!("invariant broken: {rule}: {:?}", self.connection);
        }
    }

    /// Left alone, it comes to rest: timers may not fire for ever at one instant.
    pub fn rest(&mut self) {
        self.consume(usize::MAX);
        self.settle();
        for _ in 0..200 {
            let Some(at) = self.connection.poll_timeout() else { return };
            let before = self.now;
            self.wait_until(at);
            self.settle();
            if let Some(next) = self.connection.poll_timeout() {
                assert!(next > before, "a timer that never advances");
            }
        }
    }
}
