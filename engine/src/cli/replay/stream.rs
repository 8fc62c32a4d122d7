//! One direction of a TCP connection in a capture, put in order as far as that is cheap.

/// Bytes that came early and are kept.
const MAX_EARLY: usize = 128 * 1024;

/// Puts segments in order until whoever listens has heard enough.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// What is expected next; none: nothing has come.
    next: Option<u32>,
    /// Segments from further on.
    early: Vec<(u32, Vec<u8>)>,
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
        let Some(ahead) = ahead(next, sequence) else {
            return self.deliver(sequence, payload, &mut each);
        };
        // Further on than a window, it is of another connection.
        if self.early_bytes + payload.len() > MAX_EARLY || ahead as usize > 64 * MAX_EARLY {
            self.has_gap = true;
            return self.close();
        }
        self.early_bytes += payload.len();
        self.early.push((sequence, payload.to_vec()));
    }

    fn deliver(&mut self, sequence: u32, payload: &[u8], each: &mut impl FnMut(&[u8]) -> bool) {
        self.deliver_one(sequence, payload, each);
        while let Some(next) = self.next
            && !self.closed
            && let Some(n) = self.early.iter().position(|(sequence, _)| ahead(next, *sequence).is_none())
        {
            let (sequence, payload) = self.early.swap_remove(n);
            self.early_bytes -= payload.len();
            self.deliver_one(sequence, &payload, each);
        }
    }

    fn deliver_one(&mut self, sequence: u32, payload: &[u8], each: &mut impl FnMut(&[u8]) -> bool) {
        let Some(next) = self.next else { return };
        let known = next.wrapping_sub(sequence) as usize;
        let Some(new) = payload.get(known..).filter(|new| !new.is_empty()) else { return };
        self.next = Some(next.wrapping_add(new.len() as u32));
        if !each(new) {
            self.close();
        }
    }

    fn close(&mut self) {
        (self.closed, self.early, self.early_bytes) = (true, Vec::new(), 0);
    }

    /// Something that was wanted is not in the capture.
    pub(super) fn has_gap(&self) -> bool {
        self.has_gap || !self.closed && !self.early.is_empty()
    }
}

/// How far a number is ahead of what is expected; none: it is not.
fn ahead(next: u32, sequence: u32) -> Option<u32> {
    let distance = sequence.wrapping_sub(next);
    (distance.cast_signed() > 0).then_some(distance)
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
    fn what_never_comes_is_not_waited_for_without_end() {
        let mut stream = Stream::default();
        stream.begin(0);
        (0..1000).for_each(|n| stream.take(100 + n * 1000, &[0; 1000], |_| true));
        assert!(stream.has_gap() && stream.early.is_empty());
    }
}
