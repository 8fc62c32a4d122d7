//! One direction of a TCP connection in a capture, put in order as far as that is cheap.

use std::collections::BTreeMap;

/// Bytes that came early and are kept, with what each segment takes to be kept.
const MAX_EARLY: usize = 128 * 1024;
/// Bytes that a segment takes beside its own.
const ENTRY: usize = size_of::<(u64, Vec<u8>)>();

/// Puts segments in order until whoever listens has heard enough.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// What is expected next; none: nothing has come.
    next: Option<u32>,
    /// Bytes that were delivered: what is expected next is so far on.
    delivered: u64,
    /// Segments from further on, by how far.
    early: BTreeMap<u64, Vec<u8>>,
    early_bytes: usize,
    /// Nothing more is wanted.
    closed: bool,
    /// The capture lacks something in the middle.
    has_gap: bool,
}

impl Stream {
    /// A SYN has this number.
    pub(super) fn begin(&mut self, isn: u32) {
        self.next.get_or_insert(isn.wrapping_add(1));
    }

    /// A segment comes by. `each` gets what is next, in order; false: it has heard enough.
    pub(super) fn take(&mut self, sequence: u32, payload: &[u8], mut each: impl FnMut(&[u8]) -> bool) {
        if self.closed || payload.is_empty() {
            return;
        }
        let next = *self.next.get_or_insert(sequence);
        let ahead = sequence.wrapping_sub(next).cast_signed();
        if ahead <= 0 {
            return self.deliver(ahead.unsigned_abs() as usize, payload, &mut each);
        }
        let at = self.delivered + u64::from(ahead.unsigned_abs());
        if self.early.get(&at).is_some_and(|known| known.len() >= payload.len()) {
            return;
        }
        let more = ENTRY + payload.len();
        // Further on than a window, it is of another connection.
        if self.early_bytes + more > MAX_EARLY || ahead as usize > 64 * MAX_EARLY {
            self.has_gap = true;
            return self.close();
        }
        self.early_bytes += more;
        if let Some(shorter) = self.early.insert(at, payload.to_vec()) {
            self.early_bytes -= ENTRY + shorter.len();
        }
    }

    /// `known`: how many of its bytes have been delivered.
    fn deliver(&mut self, known: usize, payload: &[u8], each: &mut impl FnMut(&[u8]) -> bool) {
        self.deliver_one(known, payload, each);
        while !self.closed
            && let Some(first) = self.early.first_entry().filter(|first| *first.key() <= self.delivered)
        {
            let (at, payload) = first.remove_entry();
            self.early_bytes -= ENTRY + payload.len();
            self.deliver_one((self.delivered - at) as usize, &payload, each);
        }
    }

    fn deliver_one(&mut self, known: usize, payload: &[u8], each: &mut impl FnMut(&[u8]) -> bool) {
        let Some(new) = payload.get(known..).filter(|new| !new.is_empty()) else { return };
        self.next = self.next.map(|next| next.wrapping_add(new.len() as u32));
        self.delivered += new.len() as u64;
        if !each(new) {
            self.close();
        }
    }

    fn close(&mut self) {
        (self.closed, self.early, self.early_bytes) = (true, BTreeMap::new(), 0);
    }

    /// Something that was wanted is not in the capture.
    pub(super) fn has_gap(&self) -> bool {
        self.has_gap || !self.closed && !self.early.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(segments: &[(u32, &[u8])]) -> (String, bool) {
        let mut stream = Stream::default();
        let mut heard = Vec::new();
        stream.begin(u32::MAX - 2);
        for (sequence, payload) in segments {
            stream.take(*sequence, payload, |bytes| {
                heard.extend_from_slice(bytes);
                heard.len() < 9
            });
        }
        (String::from_utf8(heard).expect("ASCII"), stream.has_gap())
    }

    #[test]
    fn repeated_early_and_overlapping_segments() {
        let start = u32::MAX - 1;
        let after = |n: u32| start.wrapping_add(n);
        let segments: [(u32, &[u8]); 5] =
            [(start, b"abc"), (after(5), b"fg"), (start, b"abc"), (after(2), b"cde"), (after(7), b"hij")];
        assert_eq!(heard(&segments), ("abcdefghij".into(), false));
        assert_eq!(heard(&segments[..2]), ("abc".into(), true), "a hole");
        let beyond = [(start, b"abcdefghi".as_slice()), (after(9), b"not heard")];
        assert_eq!(heard(&beyond), ("abcdefghi".into(), false));
    }

    #[test]
    fn the_last_comes_first() {
        let mut stream = Stream::default();
        stream.begin(u32::MAX - 1_000);
        let mut heard = Vec::new();
        for n in (0..2_000_u32).rev() {
            let at = (u32::MAX - 1_000).wrapping_add(1 + n);
            // Some come twice, and longer or shorter than before.
            for length in [1 + n % 2, 1, 1 + n % 3] {
                let payload: Vec<u8> = (n..n + length).map(|n| n as u8).collect();
                stream.take(at, &payload, |bytes| {
                    heard.extend_from_slice(bytes);
                    true
                });
            }
        }
        let all: Vec<u8> = (0..heard.len()).map(|n| n as u8).collect();
        assert!(heard == all && heard.len() >= 2_000 && !stream.has_gap(), "{}", heard.len());
        assert_eq!((stream.early.len(), stream.early_bytes), (0, 0));
    }

    /// A capture made to cost much: each byte for itself, behind one that never comes.
    #[test]
    fn a_segment_counts_with_what_it_takes_to_be_kept() {
        let mut stream = Stream::default();
        stream.begin(0);
        let mut most = 0;
        for n in 0..20_000 {
            stream.take(100 + n * 2, &[0], |_| true);
            most = most.max(stream.early.len());
        }
        assert!(stream.has_gap() && stream.early.is_empty());
        assert!((1_000..5_000).contains(&most), "{most}");
    }

    #[test]
    fn what_never_comes_is_not_waited_for_without_end() {
        let mut stream = Stream::default();
        stream.begin(0);
        (0..1000).for_each(|n| stream.take(100 + n * 1000, &[0; 1000], |_| true));
        assert!(stream.has_gap() && stream.early.is_empty());
    }
}
