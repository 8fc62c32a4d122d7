//! What is in etcd, as an engine has heard of it: bounded, whatever is there.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use wireglass_core::tls::{MOST_CHAINS, MOST_COSTLY};

use super::keys::Place;
use super::schema::{Ack, Active, CostlyRecord, Drain, Manifest, Presence, Refused, Rollout, read};

/// Most engines of a fleet. A step of a roll-out compares a key of each, and etcd takes 128 comparisons.
pub const MAX_ENGINES: usize = wireglass_core::foreign::MOST_ENGINES;
/// Most generations that are kept.
pub const MAX_GENERATIONS: usize = 100;
/// Most exclusions of one engine.
pub const MAX_EXCLUSIONS: usize = 1024;

/// A value, and the revision of etcd's that has written it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept<T> {
    /// The value.
    pub value: T,
    /// `mod_revision`.
    pub revision: i64,
}

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Engines that are there.
    pub engines: BTreeMap<String, Kept<Presence>>,
    /// What they make of a generation.
    pub acks: BTreeMap<String, Kept<Ack>>,
    /// Generations of policy.
    pub generations: BTreeMap<u64, Kept<Manifest>>,
    /// Of the files of each of them.
    digests: BTreeMap<u64, String>,
    /// The last roll-out.
    pub rollout: Option<Kept<Rollout>>,
    /// The revision of its key, also where the value is none; 0: there is no such key.
    pub rollout_revision: i64,
    /// The generation in force.
    pub active: Option<Kept<Active>>,
    /// Engines that are to be drained.
    pub drains: BTreeSet<String>,
    /// The secret of tickets, sealed.
    pub tickets: Option<Kept<Vec<u8>>>,
    /// Likewise of its key.
    pub tickets_revision: i64,
    /// Servers that each engine cannot decrypt, as it is written.
    pub exclusions: OfEach,
    /// Chains that each engine has verified, sealed.
    pub chains: OfEach,
    /// Servers whose chains were costly to verify for each engine.
    pub costly: BTreeMap<String, Kept<CostlyRecord>>,
    /// The newest revision that was heard of.
    revision: i64,
}

/// Whether a value was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It was, or was known.
    Taken,
    /// It was not: what was there before is gone, too.
    Refused(Refused),
}

impl View {
    /// A key has this value now, or, without one, is gone. `revision`: that of the change. One that is older than what is known changes nothing.
    pub fn hear(&mut self, place: &Place, value: Option<&[u8]>, revision: i64) -> Heard {
        if revision < self.revision {
            return Heard::Taken;
        }
        self.revision = revision;
        let of_key = if value.is_some() { revision } else { 0 };
        match place {
            Place::Rollout => self.rollout_revision = of_key,
            Place::Tickets => self.tickets_revision = of_key,
            _ => {}
        }
        let Some(value) = value else {
            self.forget(place);
            return Heard::Taken;
        };
        match self.take(place, value, revision) {
            Ok(()) => Heard::Taken,
            Err(why) => {
                // What it replaces no longer holds.
                self.forget(place);
                Heard::Refused(why)
            }
        }
    }

    fn take(&mut self, place: &Place, value: &[u8], revision: i64) -> Result<(), Refused> {
        match place {
            Place::Generation(number) => {
                let kept = kept::<Manifest>(place, value, revision)?;
                if !kept.value.is_sound() {
                    return Err(Refused::Malformed);
                }
                let digest = kept.value.digest();
                insert(&mut self.generations, *number, kept, MAX_GENERATIONS)?;
                self.digests.insert(*number, digest);
                Ok(())
            }
            Place::Rollout => {
                let kept = kept::<Rollout>(place, value, revision)?;
                if kept.value.engines.len() > MAX_ENGINES {
                    return Err(Refused::TooMany);
                }
                self.rollout = Some(kept);
                Ok(())
            }
            Place::Active => {
                self.active = Some(kept(place, value, revision)?);
                Ok(())
            }
            Place::Drain(name) => {
                read::<Drain>(place, value)?;
                if self.drains.len() >= MAX_ENGINES && !self.drains.contains(name) {
                    return Err(Refused::TooMany);
                }
                self.drains.insert(name.clone());
                Ok(())
            }
            Place::Presence(name) => {
                let kept = kept(place, value, revision)?;
                insert(&mut self.engines, name.clone(), kept, MAX_ENGINES)
            }
            Place::Ack(name) => {
                let kept = kept(place, value, revision)?;
                insert(&mut self.acks, name.clone(), kept, MAX_ENGINES)
            }
            Place::Tickets => {
                self.tickets = Some(raw(place, value, revision)?);
                Ok(())
            }
            Place::Exclusion(name, id) => {
                let kept = raw(place, value, revision)?;
                insert_of(&mut self.exclusions, (name, id), kept, MAX_EXCLUSIONS)
            }
            Place::Chain(name, id) => {
                let kept = raw(place, value, revision)?;
                insert_of(&mut self.chains, (name, id), kept, MOST_CHAINS)
            }
            Place::Costly(name) => {
                let kept = kept::<CostlyRecord>(place, value, revision)?;
                if kept.value.servers.len() > MOST_COSTLY {
                    return Err(Refused::TooMany);
                }
                insert(&mut self.costly, name.clone(), kept, MAX_ENGINES)
            }
        }
    }

    fn forget(&mut self, place: &Place) {
        match place {
            Place::Generation(number) => {
                self.generations.remove(number);
                self.digests.remove(number);
            }
            Place::Rollout => self.rollout = None,
            Place::Active => self.active = None,
            Place::Drain(name) => drop(self.drains.remove(name)),
            Place::Presence(name) => drop(self.engines.remove(name)),
            Place::Ack(name) => drop(self.acks.remove(name)),
            Place::Tickets => self.tickets = None,
            Place::Exclusion(name, id) => forget_of(&mut self.exclusions, name, id),
            Place::Chain(name, id) => forget_of(&mut self.chains, name, id),
            Place::Costly(name) => drop(self.costly.remove(name)),
        }
    }

    /// What this engine makes of this generation.
    pub fn ack(&self, engine: &str, generation: u64) -> Option<&Kept<Ack>> {
        let kept = self.acks.get(engine).filter(|ack| ack.value.generation == generation)?;
        self.is_of(generation, &kept.value.digest).then_some(kept)
    }

    /// Of the files of a generation; empty: it is not known.
    pub fn digest(&self, generation: u64) -> &str {
        self.digests.get(&generation).map_or("", String::as_str)
    }

    /// The files with this digest are, as far as is known, those of this generation.
    pub fn is_of(&self, generation: u64, digest: &str) -> bool {
        self.digests.get(&generation).is_none_or(|known| known == digest)
    }
}

fn kept<T: DeserializeOwned>(place: &Place, value: &[u8], revision: i64) -> Result<Kept<T>, Refused> {
    Ok(Kept { value: read(place, value)?, revision })
}

/// As it is, but of this schema.
fn raw(place: &Place, value: &[u8], revision: i64) -> Result<Kept<Vec<u8>>, Refused> {
    read::<serde::de::IgnoredAny>(place, value)?;
    Ok(Kept { value: value.to_vec(), revision })
}

fn insert<K: Ord, V>(into: &mut BTreeMap<K, V>, key: K, value: V, most: usize) -> Result<(), Refused> {
    if into.len() >= most && !into.contains_key(&key) {
        return Err(Refused::TooMany);
    }
    into.insert(key, value);
    Ok(())
}

/// What engines have several of each.
type OfEach = BTreeMap<String, BTreeMap<String, Kept<Vec<u8>>>>;

fn insert_of(
    into: &mut OfEach,
    (engine, id): (&str, &str),
    kept: Kept<Vec<u8>>,
    most: usize,
) -> Result<(), Refused> {
    if !into.contains_key(engine) && into.len() >= MAX_ENGINES {
        return Err(Refused::TooMany);
    }
    insert(into.entry(engine.to_owned()).or_default(), id.to_owned(), kept, most)
}

fn forget_of(of: &mut OfEach, engine: &str, id: &str) {
    if let Some(all) = of.get_mut(engine) {
        all.remove(id);
        if all.is_empty() {
            of.remove(engine);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fleet::schema::{SCHEMA, write};

    fn active(generation: u64) -> Vec<u8> {
        write(&Active { schema: SCHEMA, generation, before: None })
    }

    #[test]
    fn what_is_older_changes_nothing_and_what_comes_twice_nothing_more() {
        let mut view = View::default();
        assert_eq!(view.hear(&Place::Active, Some(&active(7)), 20), Heard::Taken);
        let then = view.clone();
        assert_eq!(view.hear(&Place::Active, Some(&active(7)), 20), Heard::Taken);
        assert_eq!(view.hear(&Place::Active, Some(&active(6)), 19), Heard::Taken);
        assert_eq!(view.hear(&Place::Active, None, 18), Heard::Taken);
        assert_eq!(view, then);
        view.hear(&Place::Active, None, 21);
        assert_eq!(view.active, None);
    }

    #[test]
    fn a_key_whose_value_is_rubbish_has_none() {
        let mut view = View::default();
        view.hear(&Place::Active, Some(&active(7)), 1);
        assert_eq!(view.hear(&Place::Active, Some(b"\0"), 2), Heard::Refused(Refused::Malformed));
        assert_eq!(view.active, None);
    }

    #[test]
    fn there_are_no_more_than_there_may_be() {
        let mut view = View::default();
        let value = write(&serde_json::json!({"schema": SCHEMA}));
        for n in 0..2 * MAX_EXCLUSIONS {
            let heard = view.hear(&Place::Exclusion("a".into(), n.to_string()), Some(&value), 1);
            let taken = if n < MAX_EXCLUSIONS { Heard::Taken } else { Heard::Refused(Refused::TooMany) };
            assert_eq!(heard, taken, "{n}");
        }
        for n in 0..2 * MOST_CHAINS {
            let heard = view.hear(&Place::Chain("a".into(), n.to_string()), Some(&value), 1);
            let taken = if n < MOST_CHAINS { Heard::Taken } else { Heard::Refused(Refused::TooMany) };
            assert_eq!(heard, taken, "{n}");
        }
        let servers = |n| vec![serde_json::json!({"address": "192.0.2.1", "until": 1}); n];
        for (n, expected) in
            [(MOST_COSTLY, Heard::Taken), (MOST_COSTLY + 1, Heard::Refused(Refused::TooMany))]
        {
            let value = write(&serde_json::json!({"schema": SCHEMA, "servers": servers(n)}));
            assert_eq!(view.hear(&Place::Costly("a".into()), Some(&value), 1), expected);
        }
        assert_eq!(view.costly.len(), 0, "what was there before is gone");
        let other = Place::Exclusion("b".into(), "0".into());
        assert_eq!(view.hear(&other, Some(&value), 1), Heard::Taken, "one engine keeps no other one out");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_taken_or_refused(
            values in proptest::collection::vec((0..10u8, proptest::collection::vec(any::<u8>(), 0..64), any::<bool>()), 0..50)
        ) {
            let mut view = View::default();
            for (revision, (kind, bytes, gone)) in values.into_iter().enumerate() {
                let name = "a".to_owned();
                let place = match kind {
                    0 => Place::Generation(1),
                    1 => Place::Rollout,
                    2 => Place::Active,
                    3 => Place::Drain(name),
                    4 => Place::Tickets,
                    5 => Place::Presence(name),
                    6 => Place::Ack(name),
                    7 => Place::Chain(name.clone(), name),
                    8 => Place::Costly(name),
                    _ => Place::Exclusion(name.clone(), name),
                };
                view.hear(&place, (!gone).then_some(&bytes), revision as i64);
            }
        }
    }
}
