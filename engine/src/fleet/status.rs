//! How an engine stands with its fleet: for metrics, the control channel and the log.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::schema::Refused;

/// What a fleet's thread keeps up to date.
#[derive(Debug, Default)]
pub struct FleetStatus {
    is_connected: AtomicBool,
    connections: AtomicU64,
    failures: AtomicU64,
    generation: AtomicU64,
    active: AtomicU64,
    engines: AtomicU64,
    is_draining: AtomicBool,
    chains: AtomicU64,
    chains_used: AtomicU64,
    costly: AtomicU64,
    refused: [AtomicU64; Refused::ALL.len()],
    /// Why there is no connection; why a generation is not had.
    words: Mutex<[String; 2]>,
}

/// A copy of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FleetRecord {
    /// etcd answers.
    pub connected: bool,
    /// Connections that were made since the start.
    pub connections: u64,
    /// Tries that have failed, and connections that were lost.
    pub failures: u64,
    /// The generation of policy in force; 0: the engine's own file.
    pub generation: u64,
    /// The one that all engines are to have; 0: none.
    pub active: u64,
    /// Engines that are there, this one with them.
    pub engines: u64,
    /// This one is drained.
    pub draining: bool,
    /// Chains that others have verified, and that count here.
    pub chains: u64,
    /// Verifications that they have spared this engine.
    pub chains_used: u64,
    /// Servers whose chains were costly to verify for others.
    pub costly_servers: u64,
    /// Why there is no connection; empty: there is one.
    pub disconnected: String,
    /// Why the generation that all are to have is not in force; empty: it is.
    pub fault: String,
}

impl FleetStatus {
    /// A copy.
    pub fn read(&self) -> FleetRecord {
        let [disconnected, fault] = self.words.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FleetRecord {
            connected: self.is_connected.load(Ordering::Relaxed),
            connections: load(&self.connections),
            failures: load(&self.failures),
            generation: load(&self.generation),
            active: load(&self.active),
            engines: load(&self.engines),
            draining: self.is_draining.load(Ordering::Relaxed),
            chains: load(&self.chains),
            chains_used: load(&self.chains_used),
            costly_servers: load(&self.costly),
            disconnected,
            fault,
        }
    }

    /// Values that were not taken, by why.
    pub fn refused(&self) -> [(&'static str, u64); Refused::ALL.len()] {
        Refused::ALL.map(|why| (why.name(), self.refused[why as usize].load(Ordering::Relaxed)))
    }

    /// There is a connection. True: there was none.
    pub fn connect(&self) -> bool {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.lock()[0].clear();
        !self.is_connected.swap(true, Ordering::Relaxed)
    }

    /// There is none. True: that is news.
    pub fn disconnect(&self, why: &str) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.engines.store(0, Ordering::Relaxed);
        self.chains.store(0, Ordering::Relaxed);
        let was_there = self.is_connected.swap(false, Ordering::Relaxed);
        let mut words = self.lock();
        let is_news = was_there || words[0] != why;
        words[0] = why.to_owned();
        is_news
    }

    /// What the engine goes by, what all are to, and why it does not.
    pub fn set_generation(&self, in_force: u64, active: u64, fault: Option<String>) {
        self.generation.store(in_force, Ordering::Relaxed);
        self.active.store(active, Ordering::Relaxed);
        self.lock()[1] = fault.unwrap_or_default();
    }

    /// So many engines are there.
    pub fn set_engines(&self, engines: usize) {
        self.engines.store(engines as u64, Ordering::Relaxed);
    }

    /// This engine is drained, or no longer.
    pub fn set_draining(&self, is_draining: bool) {
        self.is_draining.store(is_draining, Ordering::Relaxed);
    }

    /// Others have told of so many chains, which have spared so many verifications, and of so many servers that were costly.
    pub fn set_learned(&self, (chains, used): (usize, u64), costly: usize) {
        self.chains.store(chains as u64, Ordering::Relaxed);
        self.chains_used.store(used, Ordering::Relaxed);
        self.costly.store(costly as u64, Ordering::Relaxed);
    }

    /// A value was not taken. Returns how many were not for this reason.
    pub fn refuse(&self, why: Refused) -> u64 {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed) + 1
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, [String; 2]> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
