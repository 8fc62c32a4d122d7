//! What a burst brings is taken as if its segments had come one by one, though most of them go a shorter way.
#![allow(clippy::panic, reason = "tests fail by panic and say why")]

use bytes::Bytes;
use proptest::prelude::*;
use tcp_stack::{
    AdoptedTimestamps, Adoption, Config, Connection, Duration, Flags, Info, Instant, Options, PlainSegment,
    Prediction, Segment, Seq, Stats, Timestamps,
};

const THEIRS: Seq = Seq(u32::MAX - 20_000);
const OURS: Seq = Seq(7_000);
const WINDOW: u16 = 500;

/// A segment, by what is odd about it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Odd {
    No,
    /// It begins so many bytes before or beyond the place where the last one ended.
    Elsewhere(i32),
    /// Acknowledges so many bytes more than were acknowledged.
    Acknowledges(u32),
    Window(u16),
    /// Its clock stands so many milliseconds away from where it should.
    Clock(i32),
    NoClock,
    Sack,
    Fin,
    /// A FIN that lies so many bytes beyond.
    FinBeyond(u32),
    Syn,
    Rst,
    /// This byte of its header has this value.
    Byte(usize, u8),
}

#[derive(Clone, Debug)]
enum Step {
    Segment(usize, Odd),
    /// The next burst.
    Burst,
    Transmit,
    Send(usize),
    Consume(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let odd = prop_oneof![
        (-3_000..3_000).prop_map(Odd::Elsewhere),
        (0u32..4_000).prop_map(Odd::Acknowledges),
        (0u16..600).prop_map(Odd::Window),
        (-5..5).prop_map(Odd::Clock),
        Just(Odd::NoClock),
        Just(Odd::Sack),
        Just(Odd::Syn),
        prop_oneof![6 => Just(Odd::No), 1 => Just(Odd::Fin), 1 => Just(Odd::Rst)],
        (0u32..3_000).prop_map(Odd::FinBeyond),
        (4usize..32, any::<u8>()).prop_map(|(at, value)| Odd::Byte(at, value)),
    ];
    let odd = prop_oneof![8 => Just(Odd::No), 1 => odd];
    prop_oneof![
        16 => (prop_oneof![8 => 1usize..1_449, 1 => Just(0)], odd).prop_map(|(len, odd)| Step::Segment(len, odd)),
        2 => Just(Step::Burst),
        2 => Just(Step::Transmit),
        1 => (1usize..3_000).prop_map(Step::Send),
        1 => (1usize..9_000).prop_map(Step::Consume),
    ]
}

fn connection(now: Instant, timestamps: bool) -> Connection<Bytes> {
    let timestamps = timestamps.then_some(AdoptedTimestamps { last_sent: 1, at: now, ts_recent: 100 });
    let adoption = Adoption {
        snd_nxt: OURS,
        rcv_nxt: THEIRS,
        snd_wnd: u32::from(WINDOW) << 7,
        snd_scale: 7,
        rcv_scale: 5,
        mss: 1_460,
        sack: true,
        timestamps,
        rcv_adv: THEIRS + 20_000,
        rtt_hint: Some(Duration::from_millis(5)),
    };
    Connection::adopt(now, Config { recv_limit: 40_000, ..Config::default() }, adoption)
}

/// Everything that it wants to send, but for its clock.
fn transmit(connection: &mut Connection<Bytes>, now: Instant) -> Vec<String> {
    let mut sent = Vec::new();
    while let Some(segment) = connection.poll_transmit(now) {
        let Options { sack, .. } = segment.options;
        let (seq, ack, window, len) = (segment.seq, segment.ack, segment.window, segment.payload_len());
        sent.push(format!("{seq:?} {ack:?} {window} {:?} {len} {sack:?}", segment.flags));
    }
    sent
}

/// What must not differ, as text.
fn told(info: &Info) -> String {
    let Info {
        state, snd_wnd, rcv_wnd, recv_limit, in_flight, unsent, retries, backoff, limit, timer, ..
    } = info;
    let timer = timer.map(|(name, _)| name);
    format!(
        "{state:?} {snd_wnd} {rcv_wnd} {recv_limit} {in_flight} {unsent} {retries} {backoff} {limit:?} {timer:?}"
    )
}

fn segment<'a>(at: Seq, bytes: &'a [u8], odd: Odd, acked: Seq, now: Instant) -> Segment<'a> {
    let clock = |away: i32| {
        Some(Timestamps { val: (now.total_millis() as u32 - 900).wrapping_add_signed(away), ecr: 1 })
    };
    let mut segment = Segment {
        src_port: 1,
        dst_port: 2,
        seq: at,
        ack: Some(acked),
        flags: Flags::default(),
        window: WINDOW,
        options: Options { timestamps: clock(0), ..Options::default() },
        payload: bytes,
    };
    match odd {
        Odd::No => {}
        Odd::Elsewhere(by) => segment.seq = Seq(at.0.wrapping_add_signed(by)),
        Odd::Acknowledges(more) => segment.ack = Some(acked + more),
        Odd::Window(window) => segment.window = window,
        Odd::Clock(away) => segment.options.timestamps = clock(away),
        Odd::NoClock => segment.options.timestamps = None,
        Odd::Sack => segment.options.sack[0] = Some((acked, acked + 10)),
        Odd::Fin => segment.flags.fin = true,
        Odd::FinBeyond(by) => {
            (segment.seq, segment.payload, segment.flags.fin) = (at + by, &[], true);
        }
        Odd::Syn => segment.flags.syn = true,
        Odd::Rst => segment.flags.rst = true,
        // Of what is on the wire.
        Odd::Byte(..) => {}
    }
    segment
}

/// A segment as it is on the wire.
fn wire(segment: &Segment<'_>) -> Vec<u8> {
    let Segment { src_port, dst_port, seq, ack, flags, window, options, payload } = *segment;
    let mut field = Vec::new();
    if let Some(Timestamps { val, ecr }) = options.timestamps {
        field.extend([&[1, 1, 8, 10], &val.to_be_bytes(), &ecr.to_be_bytes()[..]].concat());
    }
    if let Some((left, right)) = options.sack[0] {
        field.extend([&[1, 1, 5, 10], &left.0.to_be_bytes(), &right.0.to_be_bytes()[..]].concat());
    }
    let bits = [flags.fin, flags.syn, flags.rst, flags.psh, ack.is_some(), flags.urg];
    let bits = bits.iter().rev().fold(0, |all, bit| all << 1 | u8::from(*bit));
    let ports = [src_port.to_be_bytes(), dst_port.to_be_bytes()].concat();
    let numbers = [seq.0.to_be_bytes(), ack.unwrap_or_default().0.to_be_bytes()].concat();
    let rest = [&[(5 + field.len() as u8 / 4) << 4, bits], &window.to_be_bytes(), &[0; 4][..]].concat();
    [&ports, &numbers, &rest, &field, payload].concat()
}

/// As it is handled by those who read no more of it than is needed.
fn handle(connection: &mut Connection<Bytes>, now: Instant, bytes: &[u8]) -> Prediction {
    let plain = PlainSegment::read(bytes);
    let prediction = plain.map_or(Prediction::Wrong, |plain| connection.handle_plain(now, &plain));
    if prediction == Prediction::Wrong {
        connection.handle_segment(now, &Segment::parse(bytes).expect("a sound segment"));
    }
    prediction
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// One connection sees all of a burst at the same time, the other each segment a microsecond after the one before it.
    #[test]
    fn is_taken_as_its_segments_one_by_one(steps in prop::collection::vec(step(), 1..120), timestamps: bool) {
        let mut burst_at = Instant::from_millis(1_000);
        let [mut ours, mut plain] = [(); 2].map(|()| connection(burst_at, timestamps));
        let (mut at, mut acked) = (THEIRS, OURS);
        for (n, step) in steps.iter().enumerate() {
            let apart = burst_at + Duration::from_micros(1 + n as u64);
            match *step {
                Step::Burst => burst_at += Duration::from_millis(1),
                Step::Segment(len, odd) => {
                    let bytes: Vec<u8> = (0..len).map(|i| (at.0 as usize + i) as u8).collect();
                    let segment = segment(at, &bytes, odd, acked, burst_at);
                    let mut wire = wire(&segment);
                    if let Odd::Byte(place, value) = odd && let Some(byte) = wire.get_mut(place) {
                        *byte = value;
                    }
                    if let Ok(segment) = Segment::parse(&wire) {
                        let _ = handle(&mut ours, burst_at, &wire);
                        // Urgent data is not predicted, and not treated otherwise.
                        plain.handle_segment(apart, &Segment { flags: Flags { urg: true, ..segment.flags }, ..segment });
                    }
                    if !matches!(odd, Odd::Elsewhere(_) | Odd::FinBeyond(_) | Odd::Byte(4..8, _)) {
                        at += len as u32;
                    }
                }
                Step::Transmit => prop_assert_eq!(transmit(&mut ours, burst_at), transmit(&mut plain, apart)),
                Step::Send(len) => {
                    let bytes = Bytes::from(vec![1; len]);
                    prop_assert_eq!(ours.send(bytes.clone()), plain.send(bytes));
                }
                Step::Consume(bytes) => [&mut ours, &mut plain].iter_mut().for_each(|c| c.consume(bytes)),
            }
            let (a, b) = (ours.info(burst_at), plain.info(apart));
            // What was acknowledged decides what acknowledges nothing new.
            acked = OURS + b.bytes_acked as u32;
            prop_assert_eq!(b.stats.merged, 0);
            prop_assert_eq!(Stats { merged: 0, ..a.stats }, b.stats, "after {:?}", step);
            prop_assert_eq!(told(&a), told(&b), "after {:?}", step);
            prop_assert_eq!(ours.recv(), plain.recv());
            prop_assert!(ours.check_invariants().is_ok(), "{:?}", ours.check_invariants());
        }
        prop_assert_eq!(transmit(&mut ours, burst_at), transmit(&mut plain, burst_at + Duration::from_micros(900)));
    }
}

/// Of a burst as downloads bring it, all but the first are merged.
#[test]
fn of_an_ordinary_burst_all_but_the_first_are_merged() {
    let mut now = Instant::from_millis(1_000);
    let mut connection = connection(now, true);
    let mut at = THEIRS;
    for _ in 0..10 {
        now += Duration::from_millis(1);
        for _ in 0..8 {
            let bytes = wire(&segment(at, &[7; 1_448], Odd::No, OURS, now));
            assert_eq!(handle(&mut connection, now, &bytes), Prediction::Right);
            at += 1_448;
        }
        connection.consume(8 * 1_448);
        assert_eq!(transmit(&mut connection, now).len(), 1, "one ACK");
    }
    assert_eq!((connection.stats().segments_in, connection.stats().merged), (80, 70));
}

/// What is read of a plain segment is what is parsed; others are none.
#[test]
fn plain_segments_are_told_from_others() {
    let now = Instant::from_millis(1_000);
    let plain = segment(THEIRS, b"payload", Odd::No, OURS, now);
    for (timestamps, psh) in [(true, false), (true, true), (false, true)] {
        let options =
            Options { timestamps: plain.options.timestamps.filter(|_| timestamps), ..plain.options };
        let bytes = wire(&Segment { flags: Flags { psh, ..plain.flags }, options, ..plain });
        assert_eq!(PlainSegment::read(&bytes).map(|segment| segment.payload_len()), Some(7));
        for (len, is_whole) in [(bytes.len() - 7, true), (bytes.len() - 8, false), (0, false)] {
            assert_eq!(PlainSegment::read(&bytes[..len]).is_some(), is_whole, "{len}");
        }
        for bit in [0, 1, 2, 4, 5, 6, 7] {
            let mut other = bytes.clone();
            other[13] ^= 1 << bit;
            assert!(PlainSegment::read(&other).is_none(), "flag {bit}");
        }
        for offset in (0..16).filter(|offset| *offset != bytes[12] >> 4) {
            let mut other = bytes.clone();
            other[12] = offset << 4;
            let is_plain = PlainSegment::read(&other).is_some();
            assert_eq!(is_plain, offset == 5, "all of an option is payload where the header says so");
        }
    }
    assert!(PlainSegment::read(&wire(&segment(THEIRS, b"", Odd::Sack, OURS, now))).is_none());
}
