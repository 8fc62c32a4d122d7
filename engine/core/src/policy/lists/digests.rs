//! All lists of hashes in one set: one look-up says on which of them a file is.

use std::hash::Hasher as _;

use super::table::{HashedTable, Key};
use super::{ListId, ListMask};

/// The lists of hashes that are asked about a file, and the hashes that events have although no list asks for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashLists {
    sha256: ListMask,
    md5: ListMask,
    forces_sha256: bool,
    forces_md5: bool,
}

impl HashLists {
    /// One more, of SHA-256 hashes.
    pub fn add_sha256(&mut self, list: ListId) {
        self.sha256.insert(list);
    }

    /// One more, of MD5 hashes.
    pub fn add_md5(&mut self, list: ListId) {
        self.md5.insert(list);
    }

    /// Events have the SHA-256 hash, whatever lists ask for.
    pub fn force_sha256(&mut self) {
        self.forces_sha256 = true;
    }

    /// Likewise the MD5 hash.
    pub fn force_md5(&mut self) {
        self.forces_md5 = true;
    }

    /// A list is among them.
    pub fn has(&self, list: ListId) -> bool {
        (self.sha256 | self.md5).has(list)
    }

    /// SHA-256 is asked for.
    pub fn want_sha256(&self) -> bool {
        self.forces_sha256 || !self.sha256.is_empty()
    }

    /// MD5 is asked for.
    pub fn want_md5(&self) -> bool {
        self.forces_md5 || !self.md5.is_empty()
    }

    pub(super) fn sha256(&self) -> ListMask {
        self.sha256
    }

    pub(super) fn md5(&self) -> ListMask {
        self.md5
    }
}

/// Hashes of files, of all lists.
#[derive(Debug)]
pub(super) struct DigestSet {
    key: Key,
    digests: HashedTable,
    /// What the numbers in `digests` stand for; 0 is "on no list".
    memberships: Vec<ListMask>,
}

impl DigestSet {
    pub(super) fn new(key: Key) -> Self {
        Self { key, digests: HashedTable::default(), memberships: vec![ListMask::default()] }
    }

    /// Returns whether the list did not have it.
    pub(super) fn insert(&mut self, digest: &[u8], list: ListId) -> bool {
        let number = self.digests.entry(self.key.hash(digest));
        let mut mask = self.memberships[*number as usize];
        if !mask.insert(list) {
            return false;
        }
        // There are few lists, and fewer that share entries.
        let known = self.memberships.iter().position(|each| *each == mask);
        *number = known.unwrap_or_else(|| {
            self.memberships.push(mask);
            self.memberships.len() - 1
        }) as u32;
        true
    }

    pub(super) fn find(&self, digest: &[u8]) -> ListMask {
        let number = self.digests.find(self.key.hash(digest)).unwrap_or(0);
        self.memberships[number as usize]
    }

    /// Texts with the same bytes and other borders between them have other hashes.
    pub(super) fn keyed_hash<'a>(&self, texts: impl Iterator<Item = &'a [u8]>) -> u64 {
        let mut hasher = self.key.hasher();
        for text in texts {
            hasher.write_u64(text.len() as u64);
            hasher.write(text);
        }
        hasher.finish()
    }

    pub(super) fn len(&self) -> usize {
        self.digests.len()
    }

    pub(super) fn shrink(&mut self) {
        self.digests.shrink();
    }
}

/// A hash of so many bytes, in hexadecimal, at the beginning of a line: what `sha256sum` writes, or the hash alone.
pub(super) fn digest(line: &str, len: usize) -> Option<Vec<u8>> {
    let word = line.split(|c: char| c.is_ascii_whitespace() || c == ',').next()?;
    if word.len() != 2 * len || !word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = word.as_bytes().as_chunks::<2>().0.iter();
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_share_a_hash_and_are_told_apart() {
        let (a, b) = (ListId::new(0).unwrap(), ListId::new(1).unwrap());
        let mut set = DigestSet::new(Key::new([7; 16]));
        assert!(set.insert(&[1; 32], a) && set.insert(&[1; 32], b) && set.insert(&[2; 16], b));
        assert!(!set.insert(&[1; 32], a));
        assert_eq!(set.find(&[1; 32]).iter().collect::<Vec<_>>(), [a, b]);
        assert_eq!(set.find(&[2; 16]).iter().collect::<Vec<_>>(), [b]);
        assert!(set.find(&[3; 32]).is_empty());
        assert_eq!(set.len(), 2);
    }

    #[test]
    fn a_line_has_a_hash_and_perhaps_a_name() {
        assert_eq!(digest("00ff10Ab", 4), Some(vec![0, 255, 16, 171]));
        assert_eq!(digest("00ff10ab  a file.exe", 4), Some(vec![0, 255, 16, 171]));
        assert_eq!(digest("00ff10ab,17", 4), Some(vec![0, 255, 16, 171]));
        for bad in ["", "00ff10", "00ff10ab0", "00ff10ag", "+0ff10ab", "a file.exe"] {
            assert_eq!(digest(bad, 4), None, "{bad}");
        }
    }
}
