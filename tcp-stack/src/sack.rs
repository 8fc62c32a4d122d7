//! What the SACK option of an ACK says, as far as it can be believed (RFC 2018, RFC 2883).

use crate::options::SACK_BLOCKS;
use crate::{Options, Seq};

/// The blocks of one ACK, checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blocks {
    /// Held by the receiver, in ascending order.
    held: [Option<(Seq, Seq)>; SACK_BLOCKS],
    /// Received more than once (RFC 2883 4).
    pub(crate) duplicate: Option<(Seq, Seq)>,
    /// Blocks of bytes that were never sent, or turned around, or too old to mean anything.
    pub(crate) refused: u32,
}

impl Blocks {
    /// `una..nxt` is outstanding before this ACK; `reach` is how far below SND.UNA a duplicate may lie: the largest window
    /// ever offered, as for ACKs (RFC 5961 5.2).
    pub(crate) fn read(options: &Options, ack: Seq, (una, nxt): (Seq, Seq), reach: u32) -> Self {
        let mut blocks = Blocks::default();
        for (index, &(left, right)) in options.sack.iter().flatten().enumerate() {
            let ordered = left.before(right) && right.at_or_before(nxt);
            if ordered && index == 0 && is_duplicate((left, right), ack, options.sack[1]) {
                if left.before(una - reach) {
                    blocks.refused += 1;
                } else {
                    blocks.duplicate = Some((left, right));
                }
            } else if ordered && left.at_or_after(una) {
                // An ACK that was overtaken names bytes acknowledged since: they find no record.
                blocks.insert((left, right));
            } else if !ordered || right.after(una) {
                blocks.refused += 1;
            }
        }
        blocks
    }

    /// The ranges held by the receiver, ascending: so the order in which they are named is not taken for reordering on
    /// the way.
    pub(crate) fn held(&self) -> impl Iterator<Item = (Seq, Seq)> {
        self.held.into_iter().flatten()
    }

    fn insert(&mut self, mut block: (Seq, Seq)) {
        for slot in &mut self.held {
            match slot {
                Some(other) if other.0.at_or_before(block.0) => {}
                Some(other) => core::mem::swap(other, &mut block),
                None => {
                    *slot = Some(block);
                    return;
                }
            }
        }
    }
}

/// RFC 2883 4: the first block reports a duplicate if the ACK covers it, or the second block contains it.
fn is_duplicate((left, right): (Seq, Seq), ack: Seq, second: Option<(Seq, Seq)>) -> bool {
    let within = |(outer_left, outer_right): (Seq, Seq)| {
        outer_left.before(outer_right) && left.at_or_after(outer_left) && right.at_or_before(outer_right)
    };
    right.at_or_before(ack) || second.is_some_and(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Block = (u32, u32);

    fn read(blocks: &[Block], ack: u32, una: u32, nxt: u32) -> (Vec<Block>, Option<Block>, u32) {
        let mut options = Options::default();
        for (slot, &(left, right)) in options.sack.iter_mut().zip(blocks) {
            *slot = Some((Seq(left), Seq(right)));
        }
        let blocks = Blocks::read(&options, Seq(ack), (Seq(una), Seq(nxt)), 5_000);
        let plain = |(left, right): (Seq, Seq)| (left.0, right.0);
        (blocks.held().map(plain).collect(), blocks.duplicate.map(plain), blocks.refused)
    }

    #[test]
    fn blocks_come_out_in_order() {
        let (held, duplicate, refused) =
            read(&[(7_000, 8_000), (3_000, 4_000), (9_000, 9_500), (5_000, 5_001)], 1_000, 1_000, 10_000);
        assert_eq!(held, [(3_000, 4_000), (5_000, 5_001), (7_000, 8_000), (9_000, 9_500)]);
        assert_eq!((duplicate, refused), (None, 0));
    }

    #[test]
    fn what_was_never_sent_is_refused() {
        // Turned around, empty, beyond SND.NXT, and half below SND.UNA.
        let (held, _, refused) =
            read(&[(4_000, 3_000), (3_000, 3_000), (9_000, 10_001), (500, 2_000)], 1_000, 1_000, 10_000);
        assert_eq!((held, refused), (vec![], 4));
    }

    #[test]
    fn duplicates_are_told_below_the_ack_and_within_the_second_block() {
        assert_eq!(read(&[(1_000, 2_000)], 3_000, 1_000, 9_000).1, Some((1_000, 2_000)));
        let inner = read(&[(5_000, 6_000), (4_000, 7_000)], 1_000, 1_000, 9_000);
        assert_eq!((inner.0, inner.1), (vec![(4_000, 7_000)], Some((5_000, 6_000))));
        // Only the first block can be one, and one from long ago is none.
        assert_eq!(read(&[(4_000, 7_000), (5_000, 6_000)], 1_000, 1_000, 9_000).1, None);
        let old = read(&[(u32::MAX - 5_000, u32::MAX - 4_500)], 1_000, 1_000, 9_000);
        assert_eq!((old.1, old.2), (None, 1));
    }
}
