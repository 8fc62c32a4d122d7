//! The internet checksum (RFC 1071) over bytes that lie in several places.

use multiversion::multiversion;

/// So many bytes that sums of their 16-bit words fit into 32 bits.
const AT_A_TIME: usize = 1 << 16;

/// From so many bytes on it pays to ask what the processor has.
const WORTH_A_CALL: usize = 64;

/// A ones' complement sum, byte by byte in the order of the packet.
///
/// Sums in the machine's byte order: the result is the same but for its own order (RFC 1071 2 (B)), so nothing is swapped
/// on the way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    sum: u64,
    /// An odd number of bytes came so far: the next one is the second of its word.
    odd: bool,
}

impl Sum {
    /// Adds what follows in the packet; less than 16 GiB in all.
    pub fn add(&mut self, bytes: &[u8]) {
        let sum = if bytes.len() < WORTH_A_CALL {
            add_up(bytes)
        } else {
            bytes.chunks(AT_A_TIME).map(add_up_wide).sum::<u64>()
        };
        self.sum += if self.odd { u64::from(fold(sum).swap_bytes()) } else { sum };
        self.odd ^= bytes.len() % 2 == 1;
    }

    /// The sum as it stands in a packet, not complemented: for a pseudo header that a NIC goes on with.
    pub fn bytes(self) -> [u8; 2] {
        fold(self.sum).to_ne_bytes()
    }

    /// What was summed up has its checksum in it, and that is right.
    pub(crate) fn is_right(self) -> bool {
        fold(self.sum) == u16::MAX
    }

    /// The checksum field.
    pub fn checksum(self) -> [u8; 2] {
        (!fold(self.sum)).to_ne_bytes()
    }
}

/// The same with what the processor has: twice as many words at once.
#[multiversion(targets("x86_64+avx2"))]
fn add_up_wide(bytes: &[u8]) -> u64 {
    add_up(bytes)
}

/// Sum of at most [`AT_A_TIME`] bytes. Both halves of a word are added up by themselves, in 32 bits: a processor does that with
/// four words at once, which for sums of 64 bits costs it twice the time.
#[inline(always)]
fn add_up(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let halves = |word: u32| (word & 0xffff, word >> 16);
    let (mut low, mut high) = halves(u32::from_ne_bytes(last));
    for word in words {
        let (l, h) = halves(u32::from_ne_bytes(*word));
        (low, high) = (low + l, high + h);
    }
    u64::from(low) + u64::from(high)
}

pub(super) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, word by word in network order.
    fn plain(bytes: &[u8]) -> [u8; 2] {
        let mut sum: u32 = 0;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_be_bytes()
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let mut sum = Sum::default();
        sum.add(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.bytes(), [0xdd, 0xf2]);
    }

    proptest::proptest! {
        #[test]
        fn pieces_sum_up_to_the_whole(pieces in proptest::collection::vec(proptest::collection::vec(0u8.., 0..70), 0..6)) {
            let mut sum = Sum::default();
            pieces.iter().for_each(|piece| sum.add(piece));
            proptest::prop_assert_eq!(sum.checksum(), plain(&pieces.concat()));
        }
    }
}
