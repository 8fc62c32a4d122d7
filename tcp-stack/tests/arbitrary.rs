//! Whatever a peer sends, in whatever order: no panic, no endless output, every invariant, and never a byte
//! delivered twice, out of order or wrong.
#![allow(clippy::panic, reason = "tests fail by panic and say why")]

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;

use bodies::subject::{Arriving, Beginning, Step, Subject};
use proptest::prelude::*;
use tcp_stack::Segment;

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
