//! The plaintext stage by itself: whatever a filter decides, in whatever pieces, is what leaves it, in order.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../tests/support/filters.rs"]
#[allow(clippy::disallowed_types, reason = "shared with the engine's tests")]
mod filters;
#[path = "../../testbed/src/random.rs"]
#[allow(dead_code, unreachable_pub, reason = "of the testbed")]
mod random;

use filters::{AtRandom, Decided, Script, Scripted};
use proptest::prelude::*;
use random::Random;
use tcp_stack::Instant;
use wireglass_core::content::{Fate, Opened, Ready, Stage};
use wireglass_core::end::End;
use wireglass_core::reason::Reason;

/// Where plaintext begins in the blocks of each direction: header, explicit nonce.
const AT: [usize; 2] = [5, 13];
/// Most memory of one direction, and a block more.
const BOUND: usize = 256 * 1024 + 17 * 1024;

struct Driven {
    stage: Stage<Vec<u8>>,
    /// What has left it, by who has sent it.
    left: [Vec<u8>; 2],
    closed: [bool; 2],
    /// Blocks that were made for what left.
    copies: usize,
}

impl Driven {
    fn new(stage: Stage<Vec<u8>>) -> Self {
        Self { stage, left: [Vec::new(), Vec::new()], closed: [false; 2], copies: 0 }
    }

    /// As a relay does with an opened record.
    fn give(&mut self, from: End, bytes: &[u8]) {
        let at = AT[from as usize];
        match self.stage.plaintext(from, bytes) {
            Fate::Pass => self.left[from as usize].extend_from_slice(bytes),
            Fate::Keep => {
                let room = Stage::<Vec<u8>>::room_for(bytes.len());
                let mut block = vec![0xee; at + room + 17];
                block[at..at + bytes.len()].copy_from_slice(bytes);
                self.stage.keep(from, Opened { block, at, len: bytes.len(), end: at + room });
            }
        }
        self.release();
    }

    fn release(&mut self) {
        for from in End::BOTH {
            let at = AT[from as usize];
            let (copies, was_ready) = (&mut self.copies, self.stage.is_ready(from));
            let mut block = |len: usize| {
                *copies += 1;
                vec![0xdd; at + len + 17]
            };
            while let Some(ready) = self.stage.next_ready(from, at, &mut block) {
                assert!(was_ready && !self.closed[from as usize], "unannounced, or after the end");
                match ready {
                    Ready::Data(block, len) => {
                        assert!(len > 0 && len <= 1 << 14 && at + len + 17 <= block.len());
                        self.left[from as usize].extend_from_slice(&block[at..at + len]);
                    }
                    Ready::Close => self.closed[from as usize] = true,
                }
            }
            assert!(!self.stage.is_ready(from), "there is nothing left");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_decided_leaves_in_order(seed in any::<u64>(), sizes in prop::collection::vec(1usize..16_385, 1..60)) {
        let decided = Decided::default();
        let mut driven = Driven::new(Stage::new(Box::new(AtRandom::new(seed, &decided))));
        let mut random = Random::new(seed ^ 1);
        for (n, size) in sizes.iter().enumerate() {
            let from = if random.below(3) == 0 { End::Server } else { End::Client };
            // Small ones are the most usual, and are gathered.
            let size = if random.below(2) == 0 { size % 700 + 1 } else { *size };
            driven.give(from, &vec![n as u8; size]);
            let memory = driven.stage.memory() - driven.stage.held();
            prop_assert!(memory <= 2 * BOUND, "{memory}");
            let decided = decided.lock().unwrap();
            for end in End::BOTH {
                prop_assert!(driven.left[end as usize] == decided[end]);
            }
        }
        for end in End::BOTH {
            let passes = driven.stage.announce_close(end);
            driven.release();
            prop_assert!(passes || driven.closed[end as usize]);
            prop_assert!(driven.left[end as usize] == decided.lock().unwrap()[end]);
            prop_assert!(driven.stage.is_empty(end));
        }
        prop_assert_eq!(driven.stage.ending(), None);
    }
}

#[test]
fn a_block_that_passes_or_is_released_as_a_whole_is_not_copied() {
    let at = Instant::from_secs(5);
    for script in [Script::Until(at), Script::HeldUntil(at)] {
        let mut driven = Driven::new(Stage::new(Box::new(Scripted::new(script))));
        let sent: Vec<Vec<u8>> = (0..4u8).map(|n| vec![n; 9_000]).collect();
        let mut blocks = Vec::new();
        for bytes in &sent {
            assert_eq!(driven.stage.plaintext(End::Client, bytes), Fate::Keep);
            let block = [&[0; 5][..], bytes, &[0; 17]].concat();
            blocks.push(block.as_ptr());
            driven.stage.keep(End::Client, Opened { block, at: 5, len: 9_000, end: 9_005 });
            assert_eq!(driven.stage.next_ready(End::Client, 5, |_| unreachable!()), None, "not to go on yet");
        }
        driven.stage.handle_timeout(at);
        for place in blocks {
            let Some(Ready::Data(block, 9_000)) = driven.stage.next_ready(End::Client, 5, |_| unreachable!())
            else {
                panic!("a block");
            };
            assert_eq!(block.as_ptr(), place);
        }
        assert_eq!(driven.stage.plaintext(End::Client, b"later"), Fate::Pass, "as if there were no stage");
        assert_eq!(driven.stage.held(), 0);
    }
}

/// They are all flows', and a body may be held for long.
#[test]
fn what_is_held_leaves_others_their_blocks() {
    let mut driven =
        Driven::new(Stage::new(Box::new(Scripted::new(Script::HeldUntil(Instant::from_secs(5))))));
    (0..100).for_each(|n| driven.give(End::Client, &[n; 16_000]));
    assert_eq!(driven.stage.held(), 1_600_000);
    assert!((1_600_000..1_620_000).contains(&driven.stage.memory()), "{}", driven.stage.memory());
    let copies = driven.copies;
    driven.stage.handle_timeout(Instant::from_secs(5));
    driven.release();
    assert!(driven.left[0] == (0..100).flat_map(|n| [n; 16_000]).collect::<Vec<u8>>());
    assert!((90..95).contains(&(driven.copies - copies)), "{} blocks were copied", driven.copies - copies);
}

/// Blocks are as large as a record may be, however little is in one, and all flows share them.
#[test]
fn what_is_held_in_small_records_takes_no_blocks() {
    let mut driven =
        Driven::new(Stage::new(Box::new(Scripted::new(Script::HeldUntil(Instant::from_secs(5))))));
    (0..500).for_each(|n| driven.give(End::Client, &[n as u8; 2_100]));
    let beside = driven.stage.memory() - driven.stage.held();
    assert!(beside < 40_000, "{beside} bytes beside what is held");
    let copies = driven.copies;
    driven.stage.handle_timeout(Instant::from_secs(5));
    driven.release();
    assert!(driven.left[0] == (0..500).flat_map(|n| [n as u8; 2_100]).collect::<Vec<u8>>());
    assert_eq!(driven.copies - copies, (500 * 2_100_usize).div_ceil(1 << 14), "full records of copies");
}

#[test]
fn records_of_a_byte_do_not_take_a_block_each() {
    let mut driven = Driven::new(Stage::new(Box::new(Scripted::new(Script::Never))));
    (0..20_000).for_each(|_| driven.give(End::Client, b"x"));
    assert!(driven.stage.memory() < 30_000, "{} bytes for 20,000", driven.stage.memory());
}

#[test]
fn who_does_not_decide_ends_the_flow() {
    let undecided = |stage: &Stage<Vec<u8>>| stage.ending().map(|ending| (ending.reason, ending.orderly));
    let never = || Driven::new(Stage::new(Box::new(Scripted::new(Script::Never))));
    let stuck = Some((Reason::ContentUndecided, false));
    // Full.
    let mut driven = never();
    while !driven.stage.is_full(End::Client) {
        assert_eq!(undecided(&driven.stage), None);
        driven.give(End::Client, &[0; 10_000]);
    }
    assert_eq!(undecided(&driven.stage), stuck);
    assert!(driven.stage.memory() <= BOUND);
    // With less memory it is full sooner.
    let mut driven = never();
    driven.stage.begin(Instant::ZERO, 10_000, usize::MAX);
    driven.give(End::Client, &[0; 10_000]);
    assert_eq!(undecided(&driven.stage), stuck);
    // Over, in order or not; what the other end says has nothing to do with it.
    for announced in [true, false] {
        let mut driven = never();
        driven.give(End::Client, b"hold");
        driven.stage.end(End::Server);
        assert_eq!(undecided(&driven.stage), None);
        let over =
            if announced { driven.stage.announce_close(End::Client) } else { driven.stage.end(End::Client) };
        assert_eq!((over, undecided(&driven.stage)), (!announced, stuck));
        assert!(driven.left.iter().all(Vec::is_empty));
    }
    // But not while it waits for something.
    let mut driven = Driven::new(Stage::new(Box::new(Scripted::new(Script::Until(Instant::from_secs(9))))));
    driven.give(End::Client, b"hold");
    assert!(!driven.stage.announce_close(End::Client));
    assert_eq!(undecided(&driven.stage), None);
    driven.stage.handle_timeout(Instant::from_secs(9));
    driven.release();
    assert_eq!((&driven.left[0][..], driven.closed), (&b"hold"[..], [true, false]));
}
