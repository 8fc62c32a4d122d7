//! Fragments in any order and of any packets: never more is held than may be.

use tcp_stack::{Duration, Instant};
use wireglass_core::counters::WorkerCounters;
use wireglass_core::memory_port::MemoryFrame;
use wireglass_core::packet::{Class, FragmentKey, KeyHasher, classify};
use wireglass_core::port::{PortId, PortSide};
use wireglass_core::reassembly::{Limits, Reassembler, Taken};

const LIMITS: Limits = Limits { packets: 4, frames: 20, time: Duration::from_secs(5) };

/// A byte of time in quarters of a second, two of length, and a frame of that length; again and again.
pub fn run(data: &[u8]) {
    let mut reassembler = Reassembler::new(LIMITS);
    let counters = WorkerCounters::new(1);
    let (mut now, mut rest) = (Instant::ZERO, data);
    while let [quarters, high, low, after @ ..] = rest {
        now += Duration::from_millis(u64::from(*quarters) * 250);
        reassembler.expire(now, &counters);
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
        let (frame, after) = after.split_at(len);
        rest = after;
        let Class::Fragment(fragment) = classify(frame) else { continue };
        let key = FragmentKey::new(PortId { wire: 0, side: PortSide::Inside }, &fragment);
        let hash = KeyHasher::new([1; 16]).hash(&key);
        let owned = MemoryFrame(frame.to_vec());
        match reassembler.take(now, (hash, key), &fragment, owned, true, &counters) {
            Taken::Forward(pieces) => reassembler.recycle(pieces),
            Taken::Whole(whole) => reassembler.recycle(whole.into_pieces()),
            Taken::Nothing => {}
        }
        assert!(reassembler.held() <= LIMITS.frames && reassembler.packets() <= LIMITS.packets as usize);
        assert!(reassembler.packets() == 0 || reassembler.poll_timeout().is_some());
    }
    reassembler.expire(now + LIMITS.time, &counters);
    assert_eq!((reassembler.held(), reassembler.packets()), (0, 0), "held for ever");
}
