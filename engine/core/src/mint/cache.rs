//! What was minted, kept for the next client, and minted once however many ask.
//!
//! ```text
//! leaves of this thread ──► those of all threads ──► whoever mints it now ──► mint it
//!        no lock              a lock's short time         waited for
//! ```
#![expect(clippy::disallowed_types, reason = "what a thread has at hand costs it no lock")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::{Leaf, LeafRequest, MintError};
use crate::caches::TlsCaches;
use crate::event::MintedBy;
use crate::generations::Generations;
use crate::lock::Lock;
use crate::reason::Reason;
use crate::shards::Shards;
use crate::x509::KeyType;

/// Leaves that all threads share: some 2 KB each.
const SHARED: usize = 16 * 1024;
/// Leaves that a thread has at hand. They are the shared ones, and cost it a pointer.
const AT_HAND: usize = 512;
/// How long a leaf is kept that was born expired, because its original is and the profile lets it pass: an hour.
const KEEP_EXPIRED: i64 = 3600;

/// Tells the leaves of one cache from those of another.
static CACHES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static THREAD_CACHE: RefCell<ThreadCache> = RefCell::new(ThreadCache { cache: u64::MAX, kept: Generations::new(AT_HAND) });
}

struct ThreadCache {
    /// Whose leaves these are.
    cache: u64,
    kept: Generations<Key, Kept>,
}

/// What makes two copies the same. Never the name that was asked for: that would give a leaf of another server, or of
/// another verdict, once the server's certificate has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// SHA-256 of the original's DER; or of the name, where there is none.
    original: [u8; 32],
    /// The certificates of the CA that signs: after a reload it may be another one.
    authority: [u8; 32],
    defect: Option<Reason>,
    by: MintedBy,
    key_type: KeyType,
    max_days: u32,
}

impl Key {
    pub(super) fn new(original: [u8; 32], authority: [u8; 32], order: &LeafRequest) -> Self {
        Self {
            original,
            authority,
            defect: order.defect,
            by: order.by,
            key_type: order.key_type,
            max_days: order.max_days,
        }
    }

    /// The same for copies of other engines that differ in leaf key, serial number and time alone.
    pub(super) fn digest(&self) -> [u8; 32] {
        let Self { original, authority, defect, by, key_type, max_days } = self;
        let defect = defect.map_or("", Reason::code);
        Sha256::new_with_prefix(original)
            .chain_update(authority)
            .chain_update([*by as u8, *key_type as u8])
            .chain_update(max_days.to_be_bytes())
            .chain_update(defect)
            .finalize()
            .into()
    }
}

#[derive(Clone)]
struct Kept {
    leaf: Arc<Leaf>,
    /// Seconds since the Unix epoch.
    fresh_until: i64,
}

impl Kept {
    fn fresh(&self, now: i64) -> Option<Arc<Leaf>> {
        (self.fresh_until > now).then(|| Arc::clone(&self.leaf))
    }
}

/// One leaf that is being minted. Whoever holds the lock mints; those who wait find the leaf, or that it is their turn.
type Minting = Arc<Lock<Option<Arc<Leaf>>>>;

struct Shared {
    kept: Generations<Key, Kept>,
    mintings: BTreeMap<Key, Minting>,
}

/// The leaves of all threads.
pub(super) struct Cache {
    id: u64,
    shared: Shards<Shared>,
    counters: Arc<TlsCaches>,
}

impl Cache {
    pub(super) fn new(counters: Arc<TlsCaches>) -> Self {
        Self {
            id: CACHES.fetch_add(1, Ordering::Relaxed),
            shared: Shards::new(SHARED, |leaves| Shared {
                kept: Generations::new(leaves),
                mintings: BTreeMap::new(),
            }),
            counters,
        }
    }

    /// The leaf of `key` that is fresh at `now`. If there is none, `mint` makes it; who asks for it meanwhile waits.
    pub(super) fn find_or(
        &self,
        key: Key,
        now: i64,
        mint: impl FnOnce() -> Result<Leaf, MintError>,
    ) -> Result<Arc<Leaf>, MintError> {
        if let Some(leaf) = self.at_hand(|kept| kept.find(&key).and_then(|kept| kept.fresh(now))) {
            self.counters.leaf.hit();
            return Ok(leaf);
        }
        let flight = {
            let mut shared = self.shared.of_digest(&key.original);
            if let Some(kept) = shared.kept.find(&key)
                && let Some(leaf) = kept.fresh(now)
            {
                let kept = kept.clone();
                drop(shared);
                self.counters.leaf.hit();
                self.at_hand(|hand| hand.insert(key, kept));
                return Ok(leaf);
            }
            Arc::clone(shared.mintings.entry(key).or_default())
        };
        let mut landed = flight.lock();
        if let Some(leaf) = &*landed {
            self.counters.leaf.hit();
            return Ok(Arc::clone(leaf));
        }
        // The first, or the first after one that failed.
        self.counters.leaf.miss();
        let began = self.counters.stopwatch();
        let minted = mint().map(Arc::new);
        if let Some(nanos) = self.counters.since(began).filter(|_| minted.is_ok()) {
            self.counters.minting_time.observe(nanos);
        }
        let mut shared = self.shared.of_digest(&key.original);
        if let Ok(leaf) = &minted {
            *landed = Some(Arc::clone(leaf));
            let expires = leaf.not_after();
            self.counters.set_leaf_not_after(expires);
            let fresh_until = if expires > now { expires } else { now.saturating_add(KEEP_EXPIRED) };
            shared.kept.insert(key, Kept { leaf: Arc::clone(leaf), fresh_until });
            self.counters.leaf.count_evictions(shared.kept.take_evicted());
        }
        if shared.mintings.get(&key).is_some_and(|known| Arc::ptr_eq(known, &flight)) {
            shared.mintings.remove(&key);
        }
        minted
    }

    fn at_hand<T>(&self, f: impl FnOnce(&mut Generations<Key, Kept>) -> T) -> T {
        THREAD_CACHE.with_borrow_mut(|hand| {
            if hand.cache != self.id {
                *hand = ThreadCache { cache: self.id, kept: Generations::new(AT_HAND) };
            }
            f(&mut hand.kept)
        })
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "what all threads share is tried by threads")]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::x509;
    use crate::x509::Provider;

    const ORDER: LeafRequest =
        LeafRequest { by: MintedBy::Trusted, defect: None, key_type: KeyType::P256, max_days: 90, now: 0 };

    fn key(original: u8) -> Key {
        Key::new([original; 32], [0; 32], &ORDER)
    }

    fn leaf(not_after: i64) -> Leaf {
        let key = x509::Key::generate(Provider::default(), KeyType::P256).unwrap();
        Leaf::new(vec![1], &[], &key, &[1], not_after, [0; 32])
    }

    fn cache() -> Cache {
        Cache::new(Arc::default())
    }

    #[test]
    fn what_has_expired_is_minted_anew() {
        let cache = cache();
        let first = cache.find_or(key(1), 0, || Ok(leaf(10))).unwrap();
        let again = cache.find_or(key(1), 9, || Err(MintError::Leaf)).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let other = cache.find_or(key(1), 10, || Ok(leaf(20))).unwrap();
        assert_eq!((other.not_after(), cache.counters.leaf.values()), (20, [1, 2, 0]));
        // In another thread, that has none at hand.
        let shared = thread::scope(|s| s.spawn(|| cache.find_or(key(1), 19, || Err(MintError::Leaf))).join());
        assert!(Arc::ptr_eq(&shared.unwrap().unwrap(), &other));
    }

    #[test]
    fn leaves_at_hand_are_the_caches_own() {
        let (one, other) = (cache(), cache());
        one.find_or(key(1), 0, || Ok(leaf(10))).unwrap();
        assert_eq!(other.find_or(key(1), 0, || Err(MintError::Leaf)).err(), Some(MintError::Leaf));
        assert_eq!(one.find_or(key(1), 0, || Err(MintError::Leaf)).unwrap().not_after(), 10);
        // Now this thread has the first one's at hand.
        assert_eq!(other.find_or(key(1), 0, || Err(MintError::Leaf)).err(), Some(MintError::Leaf));
    }

    #[test]
    fn one_mints_for_all_who_ask_at_once() {
        let (cache, minted, start) = (cache(), AtomicUsize::new(0), Barrier::new(8));
        thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| {
                    start.wait();
                    let leaf = cache.find_or(key(1), 0, || {
                        thread::sleep(Duration::from_millis(50));
                        minted.fetch_add(1, Ordering::Relaxed);
                        Ok(leaf(10))
                    });
                    assert_eq!(leaf.unwrap().not_after(), 10);
                });
            }
        });
        assert_eq!(minted.load(Ordering::Relaxed), 1);
        assert_eq!(cache.counters.leaf.values(), [7, 1, 0]);
        assert!(cache.shared.iter().all(|shared| shared.mintings.is_empty()));
    }

    #[test]
    fn after_one_that_fails_the_next_tries() {
        let (cache, tries, start) = (cache(), AtomicUsize::new(0), Barrier::new(4));
        let results: Vec<_> = thread::scope(|s| {
            let ask = || {
                start.wait();
                let mint = || match tries.fetch_add(1, Ordering::Relaxed) {
                    0 => {
                        thread::sleep(Duration::from_millis(50));
                        Err(MintError::Leaf)
                    }
                    _ => Ok(leaf(10)),
                };
                cache.find_or(key(1), 0, mint).is_ok()
            };
            let threads: Vec<_> = (0..4).map(|_| s.spawn(ask)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|ok| !**ok).count(), 1, "only the first: {results:?}");
        assert_eq!(tries.load(Ordering::Relaxed), 2);
        assert!(cache.shared.iter().all(|shared| shared.mintings.is_empty()));
    }

    #[test]
    fn everything_that_makes_a_leaf_another_is_in_the_key() {
        let order = ORDER;
        let others = [
            LeafRequest { by: MintedBy::Untrusted, ..order },
            LeafRequest { defect: Some(Reason::CertExpired), ..order },
            LeafRequest { key_type: KeyType::Rsa2048, ..order },
            LeafRequest { max_days: 7, ..order },
        ];
        for other in &others {
            assert_ne!(Key::new([0; 32], [0; 32], &order), Key::new([0; 32], [0; 32], other));
        }
        let key = Key::new([0; 32], [0; 32], &order);
        assert!(key != Key::new([1; 32], [0; 32], &order) && key != Key::new([0; 32], [1; 32], &order));
        assert_eq!(key, Key::new([0; 32], [0; 32], &LeafRequest { now: 5, ..order }));
    }
}
