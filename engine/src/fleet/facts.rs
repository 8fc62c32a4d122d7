//! What an engine has learned, told to the others: servers that cannot be decrypted. What is told and what was heard, and what is to be done about
//! it; no store, no clock.
//!
//! The core bounds what is heard from one engine, and for how long ([`Exclusions::import`]); what is heard is never told on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wireglass_core::exclusions::{Exclusion, Exclusions};
use wireglass_core::foreign::Heard;

use super::schema::{Refused, SCHEMA, write};
use super::view::{MAX_EXCLUSIONS, View};
use crate::exclusions::ExclusionRecord;
use crate::hex::hex;

/// What one engine may have in etcd: half of what others would take, so that what is replaced has room beside what replaces it.
const MAX_TOLD: usize = MAX_EXCLUSIONS / 2;
/// Changes that are told at once: all that come in a burst wait for the next tick.
const AT_ONCE: usize = 64;
/// A new time is told if it is this much later, in seconds: who is seen all the time is not told of all the time.
const LATER: u64 = 600;

/// A server that cannot be decrypted, as etcd has it.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    schema: u32,
    exclusion: ExclusionRecord,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tell {
    /// This key has this value.
    Put(String, Vec<u8>),
    /// It is gone.
    Delete(String),
}

/// What has been told, and what was heard.
#[derive(Debug, Default)]
pub struct Facts {
    /// By the name that it has in etcd: until when it was said to hold.
    told: BTreeMap<String, u64>,
    /// Whether there may be something to tell.
    changes: Option<u64>,
    /// By engine and name: the revision that was taken, and what it said; nothing of what was not taken.
    heard: BTreeMap<String, BTreeMap<String, (i64, Option<Exclusion>)>>,
}

impl Facts {
    /// The connection to etcd is a new one, with another lease: all is told anew.
    pub fn reconnected(&mut self) {
        self.told.clear();
        self.changes = None;
    }

    /// What is to be told now.
    pub fn tell(&mut self, known: &Exclusions, now: u64) -> Vec<Tell> {
        let changes = known.changes();
        if self.changes == Some(changes) {
            return Vec::new();
        }
        let mut learned = known.learned(now);
        // The newest, where there are more than may be told.
        learned.sort_by_key(|exclusion| std::cmp::Reverse(exclusion.since));
        learned.truncate(MAX_TOLD);
        let learned: BTreeMap<_, _> = learned.iter().map(|each| (id(each), each)).collect();
        let gone = self.told.keys().filter(|id| !learned.contains_key(*id));
        let mut acts: Vec<_> = gone.cloned().map(Tell::Delete).collect();
        let is_news = |id: &String, until: u64| self.told.get(id).is_none_or(|told| until > told + LATER);
        let news = learned.iter().filter(|(id, each)| is_news(id, each.until));
        acts.extend(news.map(|(id, each)| {
            let told = Told { schema: SCHEMA, exclusion: ExclusionRecord::from(*each) };
            Tell::Put(id.clone(), write(&told))
        }));
        match acts.len() > AT_ONCE {
            true => acts.truncate(AT_ONCE),
            false => self.changes = Some(changes),
        }
        for act in &acts {
            match act {
                Tell::Delete(id) => drop(self.told.remove(id)),
                Tell::Put(id, _) => drop(self.told.insert(id.clone(), learned[id].until)),
            }
        }
        acts
    }

    /// Takes what others have told. `refused` is told of what is not taken.
    pub fn hear(
        &mut self,
        me: &str,
        view: &View,
        known: &Exclusions,
        now: u64,
        mut refused: impl FnMut(&str, Refused),
    ) {
        for (engine, told) in view.exclusions.iter().filter(|(engine, _)| *engine != me) {
            let heard = self.heard.entry(engine.clone()).or_default();
            for (id, kept) in told {
                if heard.get(id).is_some_and(|(revision, _)| *revision == kept.revision) {
                    continue;
                }
                let exclusion = read(&kept.value);
                let fault = match &exclusion {
                    Some(exclusion) => match known.import(engine, exclusion.clone(), now) {
                        Heard::TooMany | Heard::TooManyEngines => Some(Refused::TooMany),
                        _ => None,
                    },
                    None => Some(Refused::Malformed),
                };
                if let Some(fault) = fault {
                    refused(&format!("{engine}/exclusion/{id}"), fault);
                }
                // What found no room is taken when it is told anew.
                let exclusion = exclusion.filter(|_| fault.is_none());
                heard.insert(id.clone(), (kept.revision, exclusion));
            }
        }
        self.heard.retain(|engine, heard| {
            let told = view.exclusions.get(engine);
            let is_there = view.engines.contains_key(engine);
            heard.retain(|id, (_, exclusion)| {
                let stays = told.is_some_and(|told| told.contains_key(id));
                // What an engine takes back is taken back here; what it had said when it died stays until its time is up.
                if let Some(exclusion) = exclusion.as_ref().filter(|_| !stays && is_there) {
                    known.withdraw(engine, exclusion);
                }
                stays
            });
            !heard.is_empty()
        });
    }
}

fn read(value: &[u8]) -> Option<Exclusion> {
    serde_json::from_slice::<Told>(value).ok()?.exclusion.exclusion().ok()
}

/// The same for the same server, clients and cause.
fn id(exclusion: &Exclusion) -> String {
    let record = ExclusionRecord { since: 0, until: 0, ..ExclusionRecord::from(exclusion) };
    let digest = Sha256::digest(write(&record));
    hex(&digest[..16])
}
