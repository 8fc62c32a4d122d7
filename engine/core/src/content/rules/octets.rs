//! Octets of a body that wait for the thread that looks at them.

/// Octets up to this are put together into a piece.
const PIECE: usize = 16 * 1024;

/// Octets of a body, in pieces, so that none is moved when more come.
#[derive(Default)]
pub(super) struct Octets {
    pub(super) pieces: Vec<Vec<u8>>,
    pub(super) len: usize,
    /// Bytes of memory that the pieces take.
    pub(super) memory: usize,
}

impl Octets {
    pub(super) fn push(&mut self, octets: &[u8]) {
        self.len += octets.len();
        match self.pieces.last_mut() {
            Some(last) if last.len() + octets.len() <= PIECE => {
                let before = last.capacity();
                last.extend_from_slice(octets);
                self.memory += last.capacity() - before;
            }
            _ => {
                self.pieces.push(octets.to_vec());
                self.memory += size_of::<Vec<u8>>() + octets.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_are_there_and_their_memory_is_counted(sizes in prop::collection::vec(1..2 * PIECE, 0..20), small in 1..50usize) {
            let (mut octets, mut all) = (Octets::default(), Vec::new());
            for (n, size) in sizes.into_iter().chain(vec![small; 100]).enumerate() {
                let more = vec![n as u8; size];
                octets.push(&more);
                all.extend(more);
            }
            prop_assert_eq!(octets.len, all.len());
            prop_assert_eq!(octets.pieces.concat(), all);
            let pieces: usize = octets.pieces.iter().map(|piece| piece.capacity() + size_of::<Vec<u8>>()).sum();
            prop_assert_eq!(octets.memory, pieces);
        }
    }
}
