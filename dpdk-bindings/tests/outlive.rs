//! A packet that outlives everything else keeps its memory.

mod support;

use dpdk::Eal;
use support::{EAL_ARGS, frame, pool};

#[test]
fn a_packet_outlives_its_pool_and_eal() {
    let eal = Eal::init(&EAL_ARGS).expect("starts");
    let pool = pool(&eal, "outlived", 15);
    let mut packet = frame(&pool, 0, 100);
    let shared = frame(&pool, 0, 100).share().expect("one segment");
    drop((pool, eal));
    packet.extend_from_slice(b"still there").expect("room");
    assert_eq!(packet.data()[100..], *b"still there");
    assert_eq!(shared.data()[99], 99);
    drop((packet, shared));
}
