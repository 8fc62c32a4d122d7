//! What engines learn of servers, told and heard: which cannot be decrypted, which were costly to verify, which chains are good. What is to be written,
//! and what is made of what is there; no store, no clock.

use std::sync::Arc;

use wireglass_core::exclusions::Exclusions;
use wireglass_core::tls::{CostlyServers, SharedChains};
use wireglass_core::x509::Provider;

use super::chains::Chains;
use super::costly::Costly;
use super::facts::{Facts, Tell};
use super::keys::Place;
use super::schema::Refused;
use super::view::View;
use crate::config::{Fleet, Share};

/// Where an engine has what it learns. None: it does not, or it is not to be shared.
#[derive(Clone, Default)]
pub struct Learned {
    /// Servers that cannot be decrypted.
    pub exclusions: Option<Arc<Exclusions>>,
    /// Servers whose chains were costly to verify.
    pub costly: Option<Arc<CostlyServers>>,
    /// Chains that were verified.
    pub chains: Option<Arc<SharedChains>>,
}

/// What has been told of it, and what was heard.
pub struct Learning {
    me: String,
    learned: Learned,
    facts: Facts,
    costly: Costly,
    chains: Option<Chains>,
}

impl Drop for Learning {
    /// Nobody hears any more when a word is taken back.
    fn drop(&mut self) {
        self.disconnected();
    }
}

impl Learning {
    /// Of an engine, as far as its configuration shares it.
    pub fn new(fleet: &Fleet, provider: Provider, learned: Learned) -> Self {
        let keys = fleet.keys.as_ref().filter(|_| fleet.shares(Share::VerifiedChains));
        let chains = keys.and_then(|keys| Chains::new(&fleet.fleet, keys, provider));
        let Learned { exclusions, costly, chains: shared } = learned;
        if chains.is_some() && shared.is_none() {
            tracing::warn!(
                "fleet: no verified chains are shared: with [fetch], what is known of a certificate is each engine's own"
            );
        }
        let learned = Learned {
            exclusions: exclusions.filter(|_| fleet.shares(Share::Exclusions)),
            costly: costly.filter(|_| fleet.shares(Share::CostlyServers)),
            chains: shared.filter(|_| chains.is_some()),
        };
        if let Some(shared) = &learned.chains {
            shared.turn_on();
        }
        let (facts, costly) = Default::default();
        Self { me: fleet.name.clone(), learned, facts, costly, chains }
    }

    /// The connection to etcd is a new one, with another lease: all is told anew.
    pub fn reconnected(&mut self) {
        self.facts.reconnected();
        self.costly.reconnected();
        if let Some(chains) = &mut self.chains {
            chains.reconnected();
        }
    }

    /// There is no connection.
    pub fn disconnected(&mut self) {
        if let (Some(chains), Some(shared)) = (&mut self.chains, &self.learned.chains) {
            chains.disconnected(shared);
        }
    }

    /// Takes what others tell, and says what is to be written: a value with the lease, or none for what is to go. Fewer than etcd takes at once.
    /// `refused` is told of what is not taken.
    pub fn exchange(
        &mut self,
        view: &View,
        now: u64,
        mut refused: impl FnMut(&str, Refused),
    ) -> Vec<(Place, Option<Vec<u8>>)> {
        let me = self.me.clone();
        let mut changes = Vec::new();
        if let Some(exclusions) = &self.learned.exclusions {
            self.facts.hear(&me, view, exclusions, now, &mut refused);
            changes.extend(self.facts.tell(exclusions, now).into_iter().map(|told| match told {
                Tell::Put(id, value) => (Place::Exclusion(me.clone(), id), Some(value)),
                Tell::Delete(id) => (Place::Exclusion(me.clone(), id), None),
            }));
        }
        if let Some(servers) = &self.learned.costly {
            self.costly.hear(&me, view, servers, now);
            changes.extend(self.costly.tell(servers, now).map(|value| (Place::Costly(me.clone()), value)));
        }
        if let (Some(chains), Some(shared)) = (&mut self.chains, &self.learned.chains) {
            chains.hear(&me, view, shared, now, &mut refused);
            changes.extend(chains.tell(&me, shared, now).into_iter().map(|told| match told {
                Tell::Put(name, value) => (Place::Chain(me.clone(), name), Some(value)),
                Tell::Delete(name) => (Place::Chain(me.clone(), name), None),
            }));
        }
        changes
    }

    /// Chains that others have told, and verifications that they have spared this engine.
    pub fn chains(&self) -> (usize, u64) {
        self.learned.chains.as_ref().map_or((0, 0), |shared| (shared.heard(), shared.used()))
    }
}
