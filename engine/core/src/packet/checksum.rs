//! The internet checksum (RFC 1071) over bytes that lie in several places.

use multiversion::multiversion;

/// So many bytes that sums of their 16-bit words fit into 32 bits.
const AT_A_TIME: usize = 1 << 16;

/// From so many bytes on it pays to ask what the processor has.
const WORTH_A_CALL: usize = 64;

/// Bytes that are added up in one step where there are many.
const STRIDE: usize = 128;

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
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        let sum = if bytes.len() < WORTH_A_CALL {
            add_few(bytes)
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

/// Sum of at most [`AT_A_TIME`] bytes. Words of 32 bits are added up as they are, as far as 32 bits hold that, and their upper halves by
/// themselves: what the lower halves add up to is the difference. A processor does both with eight words at once, and sums of 64 bits
/// would cost it twice the time.
#[inline(always)]
fn add_up(bytes: &[u8]) -> u64 {
    let (strides, rest) = bytes.as_chunks::<STRIDE>();
    let (words, _) = strides.as_flattened().as_chunks::<4>();
    let (mut all, mut upper) = (0u32, 0u32);
    for word in words {
        let word = u32::from_ne_bytes(*word);
        (all, upper) = (all.wrapping_add(word), upper + (word >> 16));
    }
    u64::from(all.wrapping_sub(upper << 16)) + u64::from(upper) + add_few(rest)
}

/// Likewise, of few bytes.
#[inline(always)]
fn add_few(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let halves = |word: u64| (word & 0xffff_ffff) + (word >> 32);
    let mut sum: u64 = words.iter().map(|word| halves(u64::from_ne_bytes(*word))).sum();
    let (words, rest) = rest.as_chunks::<4>();
    sum += words.first().map_or(0, |word| u32::from_ne_bytes(*word).into());
    let (words, rest) = rest.as_chunks::<2>();
    sum += words.first().map_or(0, |word| u16::from_ne_bytes(*word).into());
    sum + rest.first().map_or(0, |byte| u16::from_ne_bytes([*byte, 0]).into())
}

#[inline]
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

    #[test]
    fn the_largest_packet_does_not_overflow() {
        let bytes = vec![0xff; 3 * AT_A_TIME + 77];
        let mut sum = Sum::default();
        sum.add(&bytes);
        assert_eq!(sum.checksum(), plain(&bytes));
    }

    proptest::proptest! {
        #[test]
        fn pieces_sum_up_to_the_whole(pieces in proptest::collection::vec(proptest::collection::vec(0u8.., 0..70), 0..6)) {
            let mut sum = Sum::default();
            pieces.iter().for_each(|piece| sum.add(piece));
            proptest::prop_assert_eq!(sum.checksum(), plain(&pieces.concat()));
        }

        /// Of any length, and of bytes that make every sum as large as it can be.
        #[test]
        fn long_pieces_are_summed_up(len in 0usize..4 * STRIDE, byte: u8, large: bool) {
            let bytes: Vec<u8> = (0..len).map(|at| if large { 0xff } else { byte.wrapping_mul(at as u8) }).collect();
            let mut sum = Sum::default();
            sum.add(&bytes);
            proptest::prop_assert_eq!(sum.checksum(), plain(&bytes));
        }
    }
}
