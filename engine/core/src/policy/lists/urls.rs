//! All URL lists in one set.

use hashbrown::HashMap;
use std::hash::Hasher;

use super::domains::Reach;
use super::table::{HashedTable, Key};
use super::{ListId, ListMask};
use crate::policy::glob;
use crate::policy::names::HostName;

/// Places in a path at which an entry may end.
const MAX_PIECES: usize = 64;

/// All URL lists. An entry is a host and the beginning of a path, up to a whole piece: `/ads` is `/ads`, `/ads/1` and `/ads?x=1`, not
/// `/adserver`. With a `*` in it, it is the whole of path and query.
#[derive(Debug)]
pub(super) struct UrlSet {
    key: Key,
    /// Beginnings of URLs, and the lists that have them.
    prefixes: HashedTable,
    lists: Vec<ListMask>,
    /// Hosts that have entries: the numbers of their globs.
    hosts: HashMap<Box<[u8]>, Vec<usize>>,
    globs: Vec<Glob>,
    labels: usize,
}

#[derive(Debug)]
struct Glob {
    pattern: Box<str>,
    /// Lists that have it for this host itself, and for hosts below.
    exact: ListMask,
    below: ListMask,
}

/// Which part of a prefix's key says whether the host is the whole one: no host has such a byte.
const EXACT: u8 = 0;
const BELOW: u8 = 1;

impl UrlSet {
    pub(super) fn new(key: Key) -> Self {
        Self {
            key,
            prefixes: HashedTable::default(),
            lists: vec![ListMask::default()],
            hosts: HashMap::new(),
            globs: Vec::new(),
            labels: 0,
        }
    }

    /// Adds a URL: its host in lower case, and its path with what follows, empty or from the slash on. Returns whether the list did not
    /// have it.
    pub(super) fn insert(&mut self, host: &str, reach: Reach, path: &str, list: ListId) -> bool {
        if reach.is_below() {
            self.labels = self.labels.max(1 + host.bytes().filter(|byte| *byte == b'.').count());
        }
        let globs = self.hosts.entry(host.as_bytes().into()).or_default();
        if path.contains('*') {
            let known = globs.iter().copied().find(|glob| &*self.globs[*glob].pattern == path);
            let glob = known.unwrap_or_else(|| {
                let none = ListMask::default();
                self.globs.push(Glob { pattern: path.into(), exact: none, below: none });
                globs.push(self.globs.len() - 1);
                self.globs.len() - 1
            });
            let Glob { exact, below, .. } = &mut self.globs[glob];
            let before = (*exact, *below);
            if reach.is_exact() {
                exact.insert(list);
            }
            if reach.is_below() {
                below.insert(list);
            }
            return before != (*exact, *below);
        }
        let mut is_new = false;
        for (tag, applies) in [(EXACT, reach.is_exact()), (BELOW, reach.is_below())] {
            if applies {
                let mut hasher = self.key.hasher();
                for piece in [host.as_bytes(), &[tag], path.trim_end_matches('/').as_bytes()] {
                    hasher.write(piece);
                }
                let number = self.prefixes.entry(hasher.finish());
                if *number == 0 {
                    *number = self.lists.len() as u32;
                    self.lists.push(ListMask::default());
                }
                is_new |= self.lists[*number as usize].insert(list);
            }
        }
        is_new
    }

    /// The lists that a URL is on, by its host, and its path and query from the slash on.
    pub(super) fn find(&self, host: &HostName, target: &str) -> ListMask {
        let mut on = self.of_host(host.as_bytes(), EXACT, target);
        for suffix in host.suffixes(self.labels) {
            on = on | self.of_host(suffix, BELOW, target);
        }
        on
    }

    fn of_host(&self, host: &[u8], tag: u8, target: &str) -> ListMask {
        let mut on = ListMask::default();
        let Some(globs) = self.hosts.get(host) else { return on };
        let mut hasher = self.key.hasher();
        hasher.write(host);
        hasher.write(&[tag]);
        let mut hashed = 0;
        let ends = target.match_indices(['/', '?', '&']).map(|(at, _)| at);
        for end in ends.take(MAX_PIECES).chain([target.len()]) {
            hasher.write(&target.as_bytes()[hashed..end]);
            hashed = end;
            if let Some(number) = self.prefixes.find(hasher.finish()) {
                on = on | self.lists[number as usize];
            }
        }
        for entry in globs.iter().map(|place| &self.globs[*place]) {
            let listed = if tag == EXACT { entry.exact } else { entry.below };
            if !listed.is_empty() && glob::matches(&entry.pattern, target, None) {
                on = on | listed;
            }
        }
        on
    }

    pub(super) fn len(&self) -> usize {
        self.prefixes.len() + self.globs.len()
    }
}

/// Whether an entry without `*` ends where a look-up asks.
pub(super) fn can_be_found(path: &str) -> bool {
    path.contains('*') || path.matches(['/', '?', '&']).count() <= MAX_PIECES
}
