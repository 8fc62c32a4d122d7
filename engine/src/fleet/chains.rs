//! Chains that one engine has verified, told to the others: sealed with the fleet key, so that who has not got it neither tells nor hears of any. What is to be
//! told and what was heard; no store, no clock.
//!
//! The core says which chains those are, and what they are good for ([`SharedChains`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wireglass_core::foreign::Heard;
use wireglass_core::tls::{FleetKey, GoodChain, MOST_CHAINS, SharedChains};
use wireglass_core::x509::Provider;

use super::facts::Tell;
use super::schema::{Refused, SCHEMA, write};
use super::view::View;
use crate::config::FleetKeys;
use crate::hex::{hex, unhex};

/// Changes that are told at once: all that come in a burst wait for the next tick.
const AT_ONCE: usize = 32;

/// A chain, as etcd has it.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    schema: u32,
    /// In hexadecimal digits.
    sealed: String,
}

/// What has been told, and what was heard.
pub struct Chains {
    fleet: String,
    keys: Vec<FleetKey>,
    /// By the name that each has in etcd.
    told: BTreeMap<String, GoodChain>,
    /// Told on an earlier connection.
    again: Vec<GoodChain>,
    /// By engine and name: the revision, and what was taken of it.
    heard: BTreeMap<String, BTreeMap<String, (i64, Option<GoodChain>)>>,
}

impl Chains {
    /// Of a fleet with these keys. None: the library of cryptography takes no such keys.
    pub fn new(fleet: &str, keys: &FleetKeys, provider: Provider) -> Option<Self> {
        let keys = keys.all().map(|key| FleetKey::new(key, provider)).collect::<Option<Vec<_>>>()?;
        let (told, again, heard) = Default::default();
        Some(Self { fleet: fleet.to_owned(), keys, told, again, heard })
    }

    /// The connection to etcd is a new one, with another lease: all is told anew.
    pub fn reconnected(&mut self) {
        self.again.extend(std::mem::take(&mut self.told).into_values());
    }

    /// There is no connection: nobody knows whose word still counts.
    pub fn disconnected(&mut self, shared: &SharedChains) {
        self.heard.clear();
        shared.forget_heard();
    }

    /// What is to be told now.
    pub fn tell(&mut self, me: &str, shared: &SharedChains, now: u64) -> Vec<Tell> {
        let over = self.told.iter().filter(|(_, chain)| chain.is_over(now)).map(|(name, _)| name.clone());
        let over: Vec<_> = over.take(AT_ONCE).collect();
        over.iter().for_each(|name| drop(self.told.remove(name)));
        let mut acts: Vec<_> = over.into_iter().map(Tell::Delete).collect();
        let room = (MOST_CHAINS - self.told.len()).min(AT_ONCE - acts.len());
        let mut news = self.again.split_off(self.again.len().saturating_sub(room));
        news.extend(shared.take_own(room - news.len()));
        if self.told.len() + news.len() >= MOST_CHAINS {
            // Nobody waits for room that comes later: others have verified it by then.
            drop(shared.take_own(usize::MAX));
        }
        let Some(key) = self.keys.first() else { return acts };
        for chain in news.into_iter().filter(|chain| !chain.is_over(now)) {
            let name = hex(&chain.name(key));
            if let Some(sealed) = chain.seal(key, &self.fleet, me) {
                acts.push(Tell::Put(name.clone(), write(&Told { schema: SCHEMA, sealed: hex(&sealed) })));
                self.told.insert(name, chain);
            }
        }
        acts
    }

    /// Takes what others have told. `refused` is told of what is not taken.
    pub fn hear(
        &mut self,
        me: &str,
        view: &View,
        shared: &SharedChains,
        now: u64,
        mut refused: impl FnMut(&str, Refused),
    ) {
        for (engine, told) in view.chains.iter().filter(|(engine, _)| *engine != me) {
            let heard = self.heard.entry(engine.clone()).or_default();
            for (name, kept) in told {
                let before = heard.get(name);
                if before.is_some_and(|(revision, _)| *revision == kept.revision) {
                    continue;
                }
                if let Some(chain) = before.and_then(|(_, chain)| chain.as_ref()) {
                    shared.withdraw(engine, chain);
                }
                let taken = read(&kept.value, &self.keys, &self.fleet, engine).and_then(|chain| match shared
                    .hear(engine, chain.clone(), now)
                {
                    Heard::TooMany | Heard::TooManyEngines => Err(Refused::TooMany),
                    _ => Ok(chain),
                });
                if let Err(fault) = taken {
                    refused(&format!("{engine}/chain/{name}"), fault);
                }
                heard.insert(name.clone(), (kept.revision, taken.ok()));
            }
        }
        self.heard.retain(|engine, heard| {
            let told = view.chains.get(engine);
            heard.retain(|name, (_, chain)| {
                let stays = told.is_some_and(|told| told.contains_key(name));
                if let Some(chain) = chain.as_ref().filter(|_| !stays) {
                    shared.withdraw(engine, chain);
                }
                stays
            });
            !heard.is_empty()
        });
    }
}

fn read(value: &[u8], keys: &[FleetKey], fleet: &str, engine: &str) -> Result<GoodChain, Refused> {
    let told = serde_json::from_slice::<Told>(value).map_err(|_| Refused::Malformed)?;
    let sealed = unhex(&told.sealed).ok_or(Refused::Malformed)?;
    GoodChain::open(&sealed, keys, fleet, engine).map_err(|_| Refused::Unsealed)
}

#[cfg(test)]
mod tests {
    use wireglass_core::event::{Revocation, RevocationSource};
    use zeroize::Zeroizing;

    use super::*;
    use crate::fleet::keys::Place;

    const NOW: u64 = 1_800_000_000;

    fn chains(key: u8) -> Chains {
        let keys = FleetKeys::of(vec![Zeroizing::new([key; 32])]);
        Chains::new("north", &keys, Provider::default()).unwrap()
    }

    fn shared() -> SharedChains {
        let shared = SharedChains::default();
        shared.turn_on();
        shared
    }

    fn chain(number: u16, until: u64) -> GoodChain {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&number.to_be_bytes());
        let revocation = Revocation::Good(RevocationSource::Crl);
        GoodChain { key, from: 0, until: until as i64, revocation, root: "CN=Root".into() }
    }

    /// Has a view hear of what an engine tells. Returns how much that is.
    fn write_to(view: &mut View, engine: &str, acts: &[Tell], revision: i64) -> usize {
        for act in acts {
            let (name, value) = match act {
                Tell::Put(name, value) => (name, Some(&value[..])),
                Tell::Delete(name) => (name, None),
            };
            view.hear(&Place::Chain(engine.into(), name.clone()), value, revision);
        }
        acts.len()
    }

    #[test]
    fn what_one_tells_another_hears_as_long_as_it_is_there() {
        let (a, b, mut of_a, mut of_b, mut view) =
            (shared(), shared(), chains(1), chains(1), View::default());
        a.tell(chain(1, NOW + 60));
        a.tell(chain(2, NOW));
        let told = of_a.tell("a", &a, NOW);
        assert_eq!(write_to(&mut view, "a", &told, 1), 1, "not what is over");
        let hear = |of: &mut Chains, shared: &SharedChains, view: &View, me| {
            let mut refused = Vec::new();
            of.hear(me, view, shared, NOW, |_, why| refused.push(why));
            (shared.heard(), refused)
        };
        assert_eq!(hear(&mut of_b, &b, &view, "b"), (1, vec![]));
        assert_eq!(hear(&mut of_a, &a, &view, "a"), (0, vec![]), "its own word");
        assert_eq!(of_b.tell("b", &b, NOW), [], "it is not told on");
        // Who has not got the key, and who repeats another one's word as their own.
        assert_eq!(hear(&mut chains(2), &shared(), &view, "b"), (0, vec![Refused::Unsealed]));
        let Tell::Put(name, value) = &told[0] else { panic!("{told:?}") };
        view.hear(&Place::Chain("liar".into(), name.clone()), Some(value), 2);
        assert_eq!(hear(&mut of_b, &b, &view, "b"), (1, vec![Refused::Unsealed]));
        assert_eq!(hear(&mut of_b, &b, &view, "b"), (1, vec![]), "once");
        // Its lease ends.
        view.hear(&Place::Chain("a".into(), name.clone()), None, 3);
        assert_eq!(hear(&mut of_b, &b, &view, "b"), (0, vec![]));
        // On the next connection it is told again; when its time is up, it is taken back.
        of_a.reconnected();
        let again = of_a.tell("a", &a, NOW);
        assert_eq!(write_to(&mut view, "a", &again, 4), 1);
        assert_eq!(hear(&mut of_b, &b, &view, "b"), (1, vec![]));
        of_b.disconnected(&b);
        assert_eq!(b.heard(), 0, "nobody knows whether it is still there");
        assert_eq!(of_a.tell("a", &a, NOW + 60), [Tell::Delete(name.clone())]);
    }

    #[test]
    fn an_engine_tells_no_more_than_others_take_and_little_at_once() {
        let (a, mut of_a, mut told) = (shared(), chains(1), 0);
        for round in 0..100 {
            (0..50).for_each(|number| a.tell(chain(round * 50 + number, NOW + 60)));
            let acts = of_a.tell("a", &a, NOW);
            assert!(acts.len() <= AT_ONCE);
            told += acts.len();
        }
        assert_eq!(told, MOST_CHAINS);
        // What has run out makes room.
        let mut deleted = 0;
        for _ in 0..100 {
            a.tell(chain(9999, NOW + 120));
            deleted +=
                of_a.tell("a", &a, NOW + 60).iter().filter(|act| matches!(act, Tell::Delete(_))).count();
        }
        assert_eq!((deleted, of_a.told.len()), (MOST_CHAINS, 1));
    }
}
