//! Servers whose connections are left alone: learned from failures, or named by an operator.
//!
//! ```text
//! flow (decision)  ── find ──► filter: one load ──► nothing, nearly always
//!                                 └────────────────► entries, behind a lock
//! flow (end)       ── learn ─► entries
//! control, file    ── list, add, remove
//! other engines    ◄─ learned ── entries;  import ──► words of others, beside them
//! ```
//! All workers share it. A flow asks once, before it is adopted. What follows is its profile's: by default nothing, as a server, or a
//! client, must not talk itself out of inspection.

mod accepted;
mod entry;
mod imported;
mod witnesses;

use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed};

use self::accepted::Accepted;
use self::entry::Parts;
pub use self::entry::{Cause, Client, Clients, Contact, Exclusion, MAX_NAME, Offer, Place, Server};
use self::witnesses::{Testimony, Witnesses};
use crate::aged_map::AgedMap;
use crate::foreign::{Foreign, MOST_ENGINES};
use crate::packet::KeyHasher;
use crate::shards::{SHARDS, Shards};

/// How long a server is remembered unless asked otherwise, in seconds: half a day.
pub const DEFAULT_LIFETIME: u64 = 12 * 3600;
/// How long failures are counted that are not enough yet, in seconds.
const SUSPICION: u64 = 3600;
/// Entries of this engine's own in all; the oldest of a shard gives way. What one shard has is little to list.
pub const CAPACITY: usize = 4096;
/// Words of one other engine in a shard; in all, it has some 16 times as many.
const EACH_ENGINE: usize = 64;
/// Most that [`Exclusions::list`] has: this engine's own, and those of all others.
pub const MOST_LISTED: usize = CAPACITY + SHARDS * EACH_ENGINE * MOST_ENGINES;
/// Places of the filter. With all of its own, an engine looks up one of 64 other servers for nothing; with all of all others', two of five.
const FILTER: usize = 64 * CAPACITY;

/// What an entry is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    cause: Cause,
    server: Server,
    clients: Clients,
}

struct Entry {
    /// Of its server.
    hash: u64,
    witnesses: Witnesses,
    since: u64,
    until: u64,
}

impl Entry {
    /// It is more than a suspicion, and has not run out.
    fn holds(&self, now: u64) -> bool {
        self.until > now && self.witnesses.are_enough()
    }
}

type Own = AgedMap<Key, Entry>;

struct Shard {
    own: Own,
    /// What other engines have learned.
    foreign: Foreign<Key>,
}

/// What has come of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// The server is known from now on.
    Now,
    /// It was known already, and is for longer now.
    Before,
    /// It takes other clients that say so, too.
    NotYet,
    /// Nothing can be learned from it: the client has not accepted our CA anywhere else, or the name is too long.
    Nothing,
}

/// The exclusions of an engine.
pub struct Exclusions {
    hasher: KeyHasher,
    /// Entries by the hash of their server. No worker takes a lock for a server that is not in it.
    filter: Box<[AtomicU16]>,
    shards: Shards<Shard>,
    accepted: Accepted,
    entries: AtomicUsize,
    evicted: AtomicU64,
    changes: AtomicU64,
    lifetime: AtomicU64,
}

impl std::fmt::Debug for Exclusions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exclusions").field("entries", &self.len()).finish_non_exhaustive()
    }
}

impl Exclusions {
    /// None yet. `secret`: key of the hashes over names and addresses, which peers choose.
    pub fn new(secret: [u8; 16]) -> Self {
        Self {
            hasher: KeyHasher::new(secret),
            filter: std::iter::repeat_with(AtomicU16::default).take(FILTER).collect(),
            shards: Shards::new(CAPACITY, |entries| Shard {
                own: AgedMap::new(entries as u32),
                foreign: Foreign::new(EACH_ENGINE),
            }),
            accepted: Accepted::default(),
            entries: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            lifetime: AtomicU64::new(DEFAULT_LIFETIME),
        }
    }

    /// Says how long what is learned from now on is remembered, in seconds.
    pub fn set_lifetime(&self, seconds: u64) {
        self.lifetime.store(seconds, Relaxed);
    }

    /// Entries, with those that are only suspected or have run out and have not been asked for since.
    pub fn len(&self) -> usize {
        self.entries.load(Relaxed)
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries that have given way since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    /// Grows with each change of what [`Self::own`] says, other than that time passes.
    pub fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// Which causes hold for a flow, at `now` in seconds since the Unix epoch: an operator's first.
    pub fn find(&self, contact: &Contact<'_>, client: &Client<'_>, now: u64) -> impl Iterator<Item = Cause> {
        let mut found = [None; 5];
        if !self.is_empty() {
            found[0] = self.is_named(contact, now).then_some(Cause::Manual);
            let hash = self.hasher.hash(&contact.parts());
            if self.may_have(hash)
                && let Some(server) = contact.server()
            {
                let mut shard = self.shard(hash);
                let causes = [Cause::ClientCertificate, Cause::Unsupported, Cause::Pinned, Cause::Ech];
                for (place, cause) in found[1..].iter_mut().zip(causes) {
                    let clients = clients_of(cause, client);
                    let key = Key { cause, server: server.clone(), clients };
                    *place = self.holds(&mut shard, hash, &key, now).then_some(cause);
                }
            }
        }
        found.into_iter().flatten()
    }

    /// A flow has failed for this cause.
    pub fn learn(&self, cause: Cause, contact: &Contact<'_>, client: &Client<'_>, now: u64) -> Learned {
        let hash = self.hasher.hash(&contact.parts());
        let Some(server) = contact.server() else { return Learned::Nothing };
        if cause == Cause::Pinned && !self.accepted.elsewhere(&self.hasher, client, hash) {
            return Learned::Nothing;
        }
        let key = Key { cause, server, clients: clients_of(cause, client) };
        let until = now.saturating_add(self.lifetime.load(Relaxed));
        let mut shard = self.shard(hash);
        let shard = &mut shard.own;
        let inner = self.hash_of(hash, &key);
        if shard.get_mut(inner, &key).is_none() {
            let entry = Entry { hash, witnesses: Witnesses::default(), since: now, until: 0 };
            self.insert(shard, hash, key.clone(), entry);
        }
        let Some(entry) = shard.get_mut(inner, &key) else { return Learned::Nothing };
        if entry.until <= now {
            entry.witnesses = Witnesses::default();
        }
        match entry.witnesses.hear(self.hasher.hash(&client.network()), cause.quorum()) {
            Testimony::Known => Learned::NotYet,
            Testimony::New => {
                entry.until = now.saturating_add(SUSPICION);
                Learned::NotYet
            }
            Testimony::Enough => {
                (entry.since, entry.until) = (now, until);
                self.changes.fetch_add(1, Relaxed);
                Learned::Now
            }
            Testimony::Unneeded => {
                entry.until = until;
                Learned::Before
            }
        }
    }

    /// A client has accepted a certificate of our CA from a server.
    pub fn note_accepted(&self, contact: &Contact<'_>, client: &Client<'_>) {
        self.accepted.note(&self.hasher, client, self.hasher.hash(&contact.parts()));
    }

    /// Takes one that was learned before, or that an operator names. It replaces the same one.
    pub fn add(&self, exclusion: Exclusion) {
        let Exclusion { cause, server, clients, since, until, engine: _ } = exclusion;
        let hash = self.hasher.hash(&server.parts());
        let key = Key { cause, server, clients };
        let mut shard = self.shard(hash);
        self.take_out(&mut shard.own, hash, &key);
        let entry = Entry { hash, witnesses: Witnesses::enough(), since, until };
        self.insert(&mut shard.own, hash, key, entry);
        self.changes.fetch_add(1, Relaxed);
    }

    /// Forgets those that `is_meant`, at `now` in seconds since the Unix epoch. What other engines have learned does not come back before it
    /// would have run out. Returns how many.
    pub fn remove(&self, now: u64, is_meant: impl Fn(&Exclusion) -> bool) -> usize {
        let (mut own, mut foreign) = (0, 0);
        for mut shard in self.shards.iter() {
            let meant: Vec<_> = shard
                .own
                .iter()
                .filter(|(key, entry)| is_meant(&exclusion(key, entry)))
                .map(|(key, entry)| (key.clone(), entry.hash))
                .collect();
            own += meant.len();
            meant.iter().for_each(|(key, hash)| self.take_out(&mut shard.own, *hash, key));
            foreign += shard.foreign.dismiss(now, |known| is_meant(&imported::exclusion(known)));
        }
        if own > 0 {
            self.changes.fetch_add(1, Relaxed);
        }
        own + foreign
    }

    /// Those of this engine that hold at `now`, in seconds since the Unix epoch.
    pub fn own(&self, now: u64) -> Vec<Exclusion> {
        let mut all = Vec::new();
        for shard in self.shards.iter() {
            let holding = shard.own.iter().filter(|(_, entry)| entry.holds(now));
            all.extend(holding.map(|(key, entry)| exclusion(key, entry)));
        }
        all
    }

    /// Those, and what other engines have learned. What both have learned is in it for each of both.
    pub fn list(&self, now: u64) -> Vec<Exclusion> {
        let mut all = self.own(now);
        for shard in self.shards.iter() {
            all.extend(shard.foreign.list(now).map(|known| imported::exclusion(&known)));
        }
        all
    }

    /// How many [`Self::list`] has.
    pub fn holding(&self, now: u64) -> usize {
        self.shards
            .iter()
            .map(|shard| {
                let own = shard.own.iter().filter(|(_, entry)| entry.holds(now)).count();
                own + shard.foreign.list(now).count()
            })
            .sum()
    }

    /// Whether an operator has named the server of a flow, at `now` in seconds since the Unix epoch.
    pub fn is_named(&self, contact: &Contact<'_>, now: u64) -> bool {
        contact.named().any(|parts| self.has_named(&parts, now))
    }

    fn has_named(&self, parts: &Parts<'_>, now: u64) -> bool {
        let hash = self.hasher.hash(parts);
        self.may_have(hash)
            && Server::named(parts.name, parts.address, parts.port).is_some_and(|server| {
                let key = Key { cause: Cause::Manual, server, clients: Clients::Any };
                self.holds(&mut self.shard(hash), hash, &key, now)
            })
    }

    fn may_have(&self, hash: u64) -> bool {
        self.filter_place(hash).load(Relaxed) > 0
    }

    fn filter_place(&self, hash: u64) -> &AtomicU16 {
        &self.filter[hash as usize % FILTER]
    }

    fn shard(&self, hash: u64) -> impl std::ops::DerefMut<Target = Shard> {
        self.shards.of(hash >> 32)
    }

    /// Within a shard: many clients of one server are many entries.
    fn hash_of(&self, server: u64, key: &Key) -> u64 {
        self.hasher.hash(&(server, key.cause, &key.clients))
    }

    fn holds(&self, shard: &mut Shard, hash: u64, key: &Key, now: u64) -> bool {
        let inner = self.hash_of(hash, key);
        let own = match shard.own.get_mut(inner, key) {
            Some(entry) if entry.until > now => entry.witnesses.are_enough(),
            Some(_) => {
                self.take_out(&mut shard.own, hash, key);
                false
            }
            None => false,
        };
        own || shard.foreign.find(inner, key, now).is_some()
    }

    fn insert(&self, shard: &mut Own, hash: u64, key: Key, entry: Entry) {
        if shard.is_full()
            && let Some(oldest) = shard.pop_oldest()
        {
            self.dropped(oldest.hash);
            self.evicted.fetch_add(1, Relaxed);
            self.changes.fetch_add(1, Relaxed);
        }
        // There is room, and no other with this key: the callers have looked.
        if shard.insert(self.hash_of(hash, &key), key, entry).is_ok() {
            self.entered(hash);
        }
    }

    fn entered(&self, hash: u64) {
        self.filter_place(hash).fetch_add(1, Relaxed);
        self.entries.fetch_add(1, Relaxed);
    }

    fn take_out(&self, shard: &mut Own, hash: u64, key: &Key) {
        if shard.remove(self.hash_of(hash, key), key).is_some() {
            self.dropped(hash);
        }
    }

    fn dropped(&self, hash: u64) {
        self.filter_place(hash).fetch_sub(1, Relaxed);
        self.entries.fetch_sub(1, Relaxed);
    }
}

/// For which clients a cause holds that this one has shown.
fn clients_of(cause: Cause, client: &Client<'_>) -> Clients {
    match cause {
        Cause::ClientCertificate | Cause::Ech | Cause::Manual => Clients::Any,
        Cause::Unsupported => Clients::Offering(client.offer),
        Cause::Pinned => Clients::Ja4(client.ja4.into()),
    }
}

fn exclusion(key: &Key, entry: &Entry) -> Exclusion {
    Exclusion {
        cause: key.cause,
        server: key.server.clone(),
        clients: key.clients.clone(),
        since: entry.since,
        until: entry.until,
        engine: None,
    }
}
