//! Whatever a peer sends, in whatever order: no panic, no endless output, every invariant, and never a byte
//! delivered twice, out of order or wrong.
#![allow(clippy::panic, reason = "tests fail by panic and say why")]

mod support;

use bytes::Bytes;
use proptest::prelude::*;
use support::{ms, pattern};
use tcp_stack::{
    AdoptedTimestamps, Adoption, Config, Connection, Duration, Event, Flags, Instant, KeepAlive, Open,
    Options, Segment, Seq, State, Timestamps, TooBig,
};

/// One thing that happens to a connection. Numbers are relative to where it stands, so that most of them are
/// near enough to matter.
#[derive(Clone, Debug)]
enum Step {
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
struct Arriving {
    /// From RCV.NXT.
    seq: i64,
    len: usize,
    /// From the highest sequence number sent.
    ack: Option<i64>,
    fin: bool,
    syn: bool,
    rst: bool,
    window: u16,
    timestamps: Option<(i64, u32)>,
    sack: Option<(u32, u32)>,
}

fn near() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => Just(0i64),
        6 => -3_000i64..6_000,
        2 => -70_000i64..70_000,
        1 => any::<u32>().prop_map(i64::from),
        1 => Just(1i64 << 31),
    ]
}

fn arriving() -> impl Strategy<Value = Arriving> {
    let len = prop_oneof![3 => Just(0usize), 5 => 1usize..2_000, 1 => 2_000usize..20_000];
    let rarely = || prop::bool::weighted(0.03);
    (
        (near(), len, prop::option::weighted(0.95, near())),
        (rarely(), rarely(), rarely(), any::<u16>()),
        (
            prop::option::weighted(0.3, (-5i64..200, any::<u32>())),
            prop::option::weighted(0.1, any::<(u32, u32)>()),
        ),
    )
        .prop_map(|((seq, len, ack), (fin, syn, rst, window), (timestamps, sack))| Arriving {
            seq,
            len,
            ack,
            fin,
            syn,
            rst,
            window: if window % 5 == 0 { 0 } else { window },
            timestamps,
            sack,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => arriving().prop_map(Step::Segment),
        2 => prop::collection::vec(any::<u8>(), 0..70).prop_map(Step::Raw),
        3 => (0u64..2_000).prop_map(Step::Wait),
        4 => Just(Step::NextTimer),
        4 => (1usize..20_000).prop_map(Step::Send),
        4 => (1usize..20_000).prop_map(Step::Consume),
        1 => (0usize..40_000).prop_map(Step::RecvLimit),
        2 => (near(), prop_oneof![any::<u16>(), 0u16..1_500]).prop_map(|(back, mss)| Step::TooBig(back, mss)),
        1 => (0usize..80_000).prop_map(Step::SendLimit),
        1 => Just(Step::Probe),
        1 => prop::bool::weighted(0.3).prop_map(|close| if close { Step::Close } else { Step::NextTimer }),
        1 => prop::bool::weighted(0.05).prop_map(|abort| if abort { Step::Abort } else { Step::NextTimer }),
    ]
}

#[derive(Clone, Debug)]
enum Beginning {
    Adopt { scales: (u8, u8), sack: bool, timestamps: bool, mss: u16, promised: u32, window: u32 },
    Connect { scale: Option<u8>, mss: u16 },
    Listen { scale: Option<u8>, mss: u16 },
}

fn beginning() -> impl Strategy<Value = Beginning> {
    let open = || (prop::option::of(0u8..20), any::<u16>());
    prop_oneof![
        3 => (
            (0u8..20, 0u8..20), any::<bool>(), any::<bool>(), any::<u16>(), 0u32..3_000_000, 0u32..200_000,
        ).prop_map(
            |(scales, sack, timestamps, mss, promised, window)| Beginning::Adopt {
                scales, sack, timestamps, mss, promised, window,
            }
        ),
        1 => open().prop_map(|(scale, mss)| Beginning::Connect { scale, mss }),
        1 => open().prop_map(|(scale, mss)| Beginning::Listen { scale, mss }),
    ]
}

/// Sequence numbers near both wraps, and anywhere.
fn start() -> impl Strategy<Value = u32> {
    prop_oneof![
        (0u32..4_000).prop_map(|n| u32::MAX - n),
        (0u32..4_000).prop_map(|n| (1 << 31) - n),
        any::<u32>(),
    ]
}

/// A connection with a model of both streams: the byte at each sequence number is known.
struct Subject {
    connection: Connection,
    now: Instant,
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
        keep_alive: KeepAlive { idle: Some(ms(30_000)), interval: ms(1_000), probes: 3 },
        time_wait: ms(2_000),
        ..Config::default()
    }
}

/// What `Config::recv_limit` says: two units at least, and a quarter or two units more where needed.
fn bound(limit: usize, scale: u8) -> usize {
    limit.max(2 << scale) + (limit / 4).max(2 << scale)
}

impl Subject {
    fn new(beginning: &Beginning, ours: u32, theirs: u32) -> Self {
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
                    rtt_hint: Some(ms(20)),
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

    fn step(&mut self, step: &Step) {
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
                let bytes: Vec<u8> =
                    (0..len).map(|i| pattern(OUT, (self.write_at + i as u32).0 as usize)).collect();
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
        self.connection.handle_timeout(self.now); // brings the gauges up to date
        let before = *self.connection.stats();
        let seq = self.highest - back as u32;
        let verdict = self.connection.handle_packet_too_big(self.now, seq, told);
        let after = *self.connection.stats();
        let floor = u32::from(config().path_floor);
        match verdict {
            TooBig::Lowered => {
                assert!(
                    after.mss < before.mss && after.mss == u32::from(told).max(floor),
                    "{told}: {after:?}"
                );
                assert_eq!(after.too_big, before.too_big + 1);
            }
            TooBig::Known | TooBig::OutOfWindow | TooBig::TooOften => {
                assert_eq!(after, before, "{verdict:?}")
            }
        }
        assert_eq!(
            (after.cwnd.max(after.mss), after.ssthresh),
            (before.cwnd.max(after.mss), before.ssthresh)
        );
    }

    fn wait_until(&mut self, at: Instant) {
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
        let payload: Vec<u8> = (0..arriving.len).map(|i| pattern(IN, (seq + i as u32).0 as usize)).collect();
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
                sack: [arriving.sack.map(|(left, right)| (Seq(left), Seq(right))), None, None, None],
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

    fn consume(&mut self, most: usize) {
        let readable = self.connection.recv();
        let len = readable.len().min(most);
        let mut at = self.read_at.unwrap_or_default();
        for &byte in &readable[..len] {
            assert_eq!(byte, pattern(IN, at.0 as usize), "byte at {at:?}");
            at += 1;
        }
        if len > 0 {
            self.read_at = Some(at);
        }
        self.connection.consume(len);
    }

    fn settle(&mut self) {
        self.check();
        let received = self.connection.recv().len();
        assert!(received <= self.bound, "{received} bytes held of {}", self.bound);
        let mut count = 0;
        let mss = self.connection.stats().mss as usize;
        while let Some(transmit) = self.connection.poll_transmit(self.now) {
            count += 1;
            assert!(count < 2_000, "it never stops sending");
            let with_options = transmit.payload_len() + transmit.header_len() - 20;
            assert!(transmit.flags.syn || with_options <= mss, "{with_options} bytes over {mss}");
            let mut at = transmit.seq;
            let reset = transmit.flags.rst;
            for slice in transmit.slices() {
                for &byte in slice {
                    assert_eq!(byte, pattern(OUT, at.0 as usize), "byte sent at {at:?}");
                    at += 1;
                }
            }
            at += u32::from(transmit.flags.syn) + u32::from(transmit.flags.fin);
            let probe = 1;
            assert!(reset || at.at_or_before(self.offered + probe), "sent beyond the window: {at:?}");
            let mut header = vec![0; transmit.header_len()];
            transmit.emit_header(3, 4, &mut header);
            let parsed = Segment::parse(&header).expect("our own header");
            assert_eq!((parsed.seq, parsed.ack, parsed.flags), (transmit.seq, transmit.ack, transmit.flags));
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
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anything_may_happen(
        beginning in beginning(),
        ours in start(),
        theirs in start(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut subject = Subject::new(&beginning, ours, theirs);
        subject.settle();
        for step in &steps {
            subject.step(step);
        }
        subject.consume(usize::MAX);
        subject.settle();
        // Left alone, it comes to rest: timers may not fire for ever at one instant.
        for _ in 0..200 {
            let Some(at) = subject.connection.poll_timeout() else { break };
            let before = subject.now;
            subject.wait_until(at);
            subject.settle();
            if let Some(next) = subject.connection.poll_timeout() {
                prop_assert!(next > before, "a timer that never advances");
            }
        }
    }

    #[test]
    fn any_bytes_may_be_parsed(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        if let Ok(segment) = Segment::parse(&bytes) {
            prop_assert!(segment.payload.len() <= bytes.len() - 20);
        }
    }
}
