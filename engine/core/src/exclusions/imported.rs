//! What engines of a fleet tell each other: what one has learned counts at all.
//!
//! An engine may say for others what a flow of its own would have taught it, and no more: no operator's word, for no longer than this engine
//! remembers what it learns itself, and so much that no other's is pushed out ([`crate::foreign`]). A lie costs the inspection of the
//! servers that it names, where the profile bypasses for its cause; by default, none does. Nothing that was heard is told on.

use super::{Cause, Exclusion, Exclusions, Key};
use crate::foreign::{Heard, Known};

impl Exclusions {
    /// What this engine itself has learned, and holds at `now` in seconds since the Unix epoch: what it may tell others.
    pub fn learned(&self, now: u64) -> Vec<Exclusion> {
        let mut all = self.own(now);
        all.retain(|exclusion| exclusion.cause != Cause::Manual);
        all
    }

    /// Takes what another engine has learned.
    pub fn import(&self, engine: &str, exclusion: Exclusion, now: u64) -> Heard {
        let Exclusion { cause, server, clients, since, until, engine: _ } = exclusion;
        // What is learned is learned of one server on one wire; a word without would count for many.
        if cause == Cause::Manual || server.place.is_none() || server.address.is_none() {
            return Heard::Nothing;
        }
        let longest = now.saturating_add(self.lifetime.load(super::Relaxed));
        let (since, until) = (since.min(now), until.min(longest));
        let hash = self.hasher.hash(&server.parts());
        let key = Key { cause, server, clients };
        let inner = self.hash_of(hash, &key);
        let mut shard = self.shard(hash);
        let foreign = &mut shard.foreign;
        let before = foreign.len();
        let mut dropped = 0;
        let heard = foreign.hear(engine, (inner, key), (since, until), now, |key| {
            dropped += 1;
            self.dropped_key(key);
        });
        if foreign.len() + dropped > before {
            self.entered(hash);
        }
        heard
    }

    /// Another engine takes back what it has learned.
    pub fn withdraw(&self, engine: &str, exclusion: &Exclusion) {
        let hash = self.hasher.hash(&exclusion.server.parts());
        let Exclusion { cause, server, clients, .. } = exclusion.clone();
        let key = Key { cause, server, clients };
        let inner = self.hash_of(hash, &key);
        self.shard(hash).foreign.withdraw(engine, inner, &key, |key| self.dropped_key(key));
    }

    fn dropped_key(&self, key: &Key) {
        self.dropped(self.hasher.hash(&key.server.parts()));
    }
}

pub(super) fn exclusion(known: &Known<'_, Key>) -> Exclusion {
    let Key { cause, server, clients } = known.key.clone();
    let (since, until) = (known.since, known.until);
    Exclusion { cause, server, clients, since, until, engine: Some(known.engine.clone()) }
}
