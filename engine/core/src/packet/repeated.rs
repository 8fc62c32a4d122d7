//! Headers that repeat: the frames of one direction of a connection differ in few fields before their TCP sequence number, so the next
//! one is known by comparing bytes, without reading its headers again.

use super::classify::{Headers, IPV4_HEADER, IPV6_HEADER, TCP_HEADER};

/// Words of eight bytes that are compared at most: Ethernet with two VLANs, IPv6, and TCP's ports.
const WORDS: usize = 9;
/// The ports, at its beginning.
const PORTS: usize = 4;

/// What is before the sequence number of one frame, without what differs from one packet to the next.
pub struct Repeated {
    words: [u64; WORDS],
    /// Which bits count.
    masks: [u64; WORDS],
    /// How many of the words.
    len: usize,
    headers: Headers,
}

impl Repeated {
    /// Of a frame with these headers; none where IP has options or extensions, which are to be read.
    pub fn new(frame: &[u8], headers: &Headers) -> Option<Self> {
        let (l3, l4) = (headers.l3, headers.l4);
        // Length, identification and header checksum (RFC 791 3.1); payload length (RFC 8200 3).
        let (header, varies): (_, &[usize]) = match headers.source.is_ipv4() {
            true => (IPV4_HEADER, &[2, 3, 4, 5, 10, 11]),
            false => (IPV6_HEADER, &[4, 5]),
        };
        let end = l4 + PORTS;
        if l4 - l3 != header || end.div_ceil(8) > WORDS {
            return None;
        }
        let mut counts = [0; WORDS * 8];
        counts[..end].fill(0xff);
        varies.iter().for_each(|at| counts[l3 + at] = 0);
        let (masks, len) = (words(&counts), end.div_ceil(8));
        let mut repeated = Self { words: [0; WORDS], masks, len, headers: *headers };
        let here = frame.get(..len * 8)?;
        for ((word, mask), bytes) in repeated.words.iter_mut().zip(masks).zip(here.chunks_exact(8)) {
            *word = read(bytes) & mask;
        }
        Some(repeated)
    }

    /// The headers of the next frame, if it is another whole segment of the same sender that [`classify`](super::classify) takes for
    /// one of the same connection. SYNs are not among them.
    #[inline]
    pub fn next(&self, frame: &[u8]) -> Option<Headers> {
        let (l3, l4) = (self.headers.l3, self.headers.l4);
        let header = frame.get(..l4 + TCP_HEADER)?;
        // The last word may go beyond the ports, but not beyond the TCP header.
        let is_same = match self.len {
            5 => self.begins::<5>(header),
            6 => self.begins::<6>(header),
            7 => self.begins::<7>(header),
            8 => self.begins::<8>(header),
            _ => self.begins::<WORDS>(header),
        };
        if !is_same {
            return None;
        }
        let is_syn = header[l4 + 13] & 0b10 != 0;
        let end = match self.headers.source.is_ipv4() {
            true => l3 + usize::from(u16::from_be_bytes([header[l3 + 2], header[l3 + 3]])),
            false => l4 + usize::from(u16::from_be_bytes([header[l3 + 4], header[l3 + 5]])),
        };
        let tcp_header = usize::from(header[l4 + 12] >> 4) * 4;
        let is_whole = tcp_header >= TCP_HEADER && l4 + tcp_header <= end && end <= frame.len();
        if !is_whole || is_syn {
            return None;
        }
        Some(Headers { end, ..self.headers })
    }

    /// A header begins with so many words as this one. Their number is known when this is built: no loop.
    #[inline]
    fn begins<const N: usize>(&self, header: &[u8]) -> bool {
        let (chunks, _) = header.as_chunks::<8>();
        let (Some(chunks), Some(words), Some(masks)) =
            (chunks.first_chunk::<N>(), self.words.first_chunk::<N>(), self.masks.first_chunk::<N>())
        else {
            return false;
        };
        let differs = |n: usize| (u64::from_le_bytes(chunks[n]) & masks[n]) ^ words[n];
        (0..N).fold(0, |all, n| all | differs(n)) == 0
    }
}

fn words(bytes: &[u8; WORDS * 8]) -> [u64; WORDS] {
    std::array::from_fn(|at| read(&bytes[at * 8..]))
}

fn read(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::{Class, classify};

    /// A segment of 20 bytes of payload, over IPv4 or IPv6, with so many VLANs.
    fn frame(is_v4: bool, tags: usize) -> Vec<u8> {
        let mut frame = vec![2; 12];
        for id in 0..tags {
            frame.extend([0x81, 0, 0, id as u8 + 5]);
        }
        if is_v4 {
            frame.extend([8, 0, 0x45, 0, 0, 60, 1, 2, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        } else {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 40, 6, 64]);
            frame.extend([0x20; 16]);
            frame.extend([0x21; 16]);
        }
        frame.extend([0x12, 0x34, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
        frame.extend([7; 20]);
        frame
    }

    fn headers(frame: &[u8]) -> Headers {
        let Class::Tcp(headers) = classify(frame) else { panic!("a segment") };
        headers
    }

    #[test]
    fn the_next_segment_is_known() {
        for (is_v4, tags) in [(true, 0), (true, 2), (false, 0), (false, 1), (false, 2)] {
            let first = frame(is_v4, tags);
            let repeated = Repeated::new(&first, &headers(&first)).expect("no options");
            let (mut next, l3, l4) = (first.clone(), headers(&first).l3, headers(&first).l4);
            // Another sequence number and acknowledgement, flags, window; ten bytes more.
            next[l4 + 4..l4 + 12].fill(0x77);
            next[l4 + 13..l4 + 18].copy_from_slice(&[0x18, 9, 9, 9, 9]);
            next.extend([8; 10]);
            next[l3 + if is_v4 { 3 } else { 5 }] += 10;
            if is_v4 {
                next[l3 + 4..l3 + 6].fill(0x33);
                next[l3 + 10..l3 + 12].fill(0x44);
            }
            assert_eq!(repeated.next(&next), Some(headers(&next)), "{is_v4} {tags}");
            next[l4 + 13] |= 2;
            assert_eq!(repeated.next(&next), None, "a SYN");
        }
    }

    /// Of IPv4 identification and header checksum are the packet's own; lengths are looked at.
    #[test]
    fn each_byte_before_the_sequence_number_counts() {
        for (is_v4, tags) in [(true, 0), (true, 1), (true, 2), (false, 0), (false, 1), (false, 2)] {
            let first = frame(is_v4, tags);
            let known = headers(&first);
            let repeated = Repeated::new(&first, &known).expect("no options");
            let (own, lengths): (&[usize], std::ops::Range<usize>) =
                if is_v4 { (&[4, 5, 10, 11], 2..4) } else { (&[], 4..6) };
            for at in 0..known.l4 + PORTS {
                let of_ip = at.checked_sub(known.l3);
                if of_ip.is_some_and(|at| lengths.contains(&at)) {
                    continue;
                }
                let mut next = first.clone();
                next[at] ^= 1;
                let is_own = of_ip.is_some_and(|at| own.contains(&at));
                assert_eq!(repeated.next(&next).is_some(), is_own, "{is_v4} {tags} {at}");
            }
        }
    }

    #[test]
    fn options_of_ip_are_read() {
        let mut first = frame(true, 0);
        first.splice(34..34, [1, 1, 1, 0]);
        (first[14], first[17]) = (0x46, 64);
        assert!(Repeated::new(&first, &headers(&first)).is_none());
    }

    proptest! {
        /// Whatever is taken for the next segment is one of the same connection for those who read headers, too.
        #[test]
        fn agrees_with_classify(
            is_v4: bool,
            tags in 0usize..3,
            changes in prop::collection::vec((0usize..90, any::<u8>()), 0..4),
            cut in prop_oneof![Just(0), 1usize..60],
        ) {
            let first = frame(is_v4, tags);
            let known = headers(&first);
            let repeated = Repeated::new(&first, &known).expect("no options");
            let mut next = first;
            for (at, byte) in changes {
                if let Some(place) = next.get_mut(at) {
                    *place = byte;
                }
            }
            next.truncate(next.len() - cut.min(next.len()));
            if let Some(found) = repeated.next(&next) {
                prop_assert_eq!(classify(&next), Class::Tcp(found));
                prop_assert_eq!(Headers { end: known.end, ..found }, known);
            } else if classify(&next) == Class::Tcp(known) {
                // Missed: only where a field has changed that does not change between segments, or a SYN came.
                let (l3, l4) = (known.l3, known.l4);
                // Of IPv4 the length and the identification, of IPv6 the length alone.
                let varies = l3 + if is_v4 { 2 } else { 4 };
                let same = frame(is_v4, tags)[..varies] == next[..varies]
                    && frame(is_v4, tags)[l3 + 6..l4] == next[l3 + 6..l4];
                prop_assert!(!same || next[l4 + 13] & 2 != 0);
            }
        }
    }
}
