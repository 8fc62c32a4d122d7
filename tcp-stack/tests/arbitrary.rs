//! Whatever a peer sends, in whatever order: no panic, no endless output, every invariant, and never a byte
//! delivered twice, out of order or wrong.
#![allow(clippy::panic, reason = "tests fail by panic and say why")]

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;

use bodies::mutate::Rng;
use bodies::subject::{Arriving, Beginning, Step, Subject};
use bytes::Bytes;
use proptest::prelude::*;
use tcp_stack::{
    AdoptedTimestamps, Adoption, Config, Connection, Duration, Flags, Instant, Options, Segment, Seq, State,
    Timestamps,
};

fn near() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => Just(0i64),
        6 => -3_000i64..6_000,
        2 => -70_000i64..70_000,
        1 => any::<u32>().prop_map(i64::from),
        1 => Just(1i64 << 31),
    ]
}

/// Mostly within what is in flight; sometimes anything.
fn blocks() -> impl Strategy<Value = Vec<(i64, u32)>> {
    let left = prop_oneof![8 => 0i64..12_000, 2 => near()];
    let len = prop_oneof![6 => 0u32..6_000, 2 => Just(1_000u32), 1 => any::<u32>()];
    prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec((left, len), 1..=4)]
}

fn arriving() -> impl Strategy<Value = Arriving> {
    let len = prop_oneof![3 => Just(0usize), 5 => 1usize..2_000, 1 => 2_000usize..20_000];
    let rarely = || prop::bool::weighted(0.03);
    (
        (near(), len, prop::option::weighted(0.95, near())),
        (rarely(), rarely(), rarely(), any::<u16>()),
        (prop::option::weighted(0.3, (-5i64..200, any::<u32>())), blocks()),
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
        subject.rest();
    }

    #[test]
    fn any_bytes_may_be_parsed(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        if let Ok(segment) = Segment::parse(&bytes) {
            prop_assert!(segment.payload.len() <= bytes.len() - 20);
        }
    }
}

const START: Instant = Instant::from_millis_const(100_000);
const OURS: Seq = Seq(u32::MAX - 1_000);
const THEIRS: Seq = Seq((1 << 31) - 1_000);
const WINDOW: u32 = 60_000;

/// One end of an open connection, with timestamps and SACK.
fn adopted(here: Seq, there: Seq) -> Connection<Bytes> {
    let adoption = Adoption {
        snd_nxt: here,
        rcv_nxt: there,
        snd_wnd: WINDOW,
        snd_scale: 0,
        rcv_scale: 0,
        mss: 1_460,
        sack: true,
        timestamps: Some(AdoptedTimestamps { last_sent: 1, at: START, ts_recent: 1 }),
        rcv_adv: there + WINDOW,
        rtt_hint: Some(Duration::from_millis(20)),
    };
    Connection::adopt(START, Config::default(), adoption)
}

/// What a stranger sends: anything.
fn forged<'a>(rng: &mut Rng, seq: Seq, payload: &'a [u8]) -> Segment<'a> {
    let bits = rng.next();
    Segment {
        src_port: 1,
        dst_port: 2,
        seq,
        ack: (bits & 7 != 0).then_some(Seq(rng.next() as u32)),
        flags: Flags {
            syn: bits & 0x38 == 0x38,
            rst: bits & 0xc0 == 0xc0,
            fin: bits & 0x300 == 0x300,
            ..Flags::default()
        },
        window: rng.next() as u16,
        options: Options {
            timestamps: (bits & 0x400 == 0)
                .then_some(Timestamps { val: rng.next() as u32, ecr: rng.next() as u32 }),
            ..Options::default()
        },
        payload,
    }
}

/// Everything that `from` has to say goes to `to`; returns how many segments that were.
fn pass(now: Instant, from: &mut Connection<Bytes>, to: &mut Connection<Bytes>) -> usize {
    let mut count = 0;
    while let Some(transmit) = from.poll_transmit(now) {
        let mut bytes = vec![0; transmit.header_len() + transmit.payload_len()];
        transmit.emit_header(1, 2, &mut bytes);
        transmit.copy_payload(&mut bytes[transmit.header_len()..]);
        to.handle_segment(now, &Segment::parse(&bytes).expect("our own segment"));
        count += 1;
    }
    count
}

/// RFC 5961: 2^16 segments from a stranger who has not guessed a number in the window neither end the connection nor
/// leave a trace in it, and each costs one answer at most.
#[test]
fn a_blind_stranger_changes_nothing() {
    for seed in 0..4 {
        let mut rng = Rng(seed);
        let (mut victim, mut peer) = (adopted(OURS, THEIRS), adopted(THEIRS, OURS));
        let (mut now, junk) = (START, [0x55; 1_460]);
        for round in 0..1u32 << 16 {
            let len = if rng.below(2) == 0 { 0 } else { 1 + rng.below(1_459) };
            // Neither its first nor its last number lies in the window.
            let gap = 1u64 << 32;
            let outside = gap - u64::from(WINDOW) - 2 * junk.len() as u64 - 8;
            let seq = THEIRS + WINDOW + 4 + (rng.next() % outside) as u32;
            victim.handle_segment(now, &forged(&mut rng, seq, &junk[..len]));
            let mut answers = 0;
            while let Some(answer) = victim.poll_transmit(now) {
                assert_eq!(
                    (answer.seq, answer.ack, answer.payload_len()),
                    (OURS, Some(THEIRS), 0),
                    "seed {seed}"
                );
                answers += 1;
            }
            assert!(answers <= 1, "seed {seed}, segment {round}: {answers} answers");
            now += Duration::from_micros(rng.next() % 100);
        }
        assert_eq!((victim.state(), victim.recv().len(), victim.poll_event()), (State::Established, 0, None));
        victim.check_invariants().expect("invariants");
        // Both directions go on as if nothing had been.
        victim.send(Bytes::from_static(b"still")).expect("room");
        peer.send(Bytes::from_static(b"here")).expect("room");
        pass(now, &mut victim, &mut peer);
        pass(now, &mut peer, &mut victim);
        assert_eq!((victim.recv(), peer.recv()), (&b"here"[..], &b"still"[..]), "seed {seed}");
    }
}

/// Two ends that find each other's segments odd do not go on telling each other so.
#[test]
fn two_ends_fall_silent() {
    for seed in 0..2_000 {
        let mut rng = Rng(seed);
        let (mut one, mut other) = (adopted(OURS, THEIRS), adopted(THEIRS, OURS));
        let mut now = START;
        let junk = [0x55; 1_460];
        let injected = 1 + rng.below(20);
        for _ in 0..injected {
            let len = rng.below(junk.len());
            let near = (rng.next() % 4_000) as u32;
            let (at, victim) = if rng.below(2) == 0 { (THEIRS, &mut one) } else { (OURS, &mut other) };
            let mut segment = forged(&mut rng, at + near - 1_000, &junk[..len]);
            segment.ack = segment.ack.map(|ack| if at == THEIRS { OURS } else { THEIRS } + ack.0 % 3);
            victim.handle_segment(now, &segment);
        }
        let mut segments = 0;
        loop {
            let passed = pass(now, &mut one, &mut other) + pass(now, &mut other, &mut one);
            segments += passed;
            assert!(segments < 40 + 4 * injected, "seed {seed}: {segments} segments after {injected}");
            if passed == 0 {
                let next = [one.poll_timeout(), other.poll_timeout()].into_iter().flatten().min();
                let Some(next) = next.filter(|at| *at < START + Duration::from_secs(60)) else { break };
                now = if next > now { next } else { now };
                one.handle_timeout(now);
                other.handle_timeout(now);
            }
        }
    }
}
