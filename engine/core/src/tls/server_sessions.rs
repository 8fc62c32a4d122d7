//! Sessions that servers may resume.
//!
//! rustls does not verify a server that resumes. So a session is kept under a hash over all that its verification and its offer
//! depended on (see [`Sessions::origin`]), together with what the verification found; it is given out only while that holds. The
//! handshake asks for the verdict once more when the server has resumed.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls_pki_types::ServerName;

use super::clock::Clock;
use super::verify_cache::VerifiedChain;
use crate::caches::TlsCaches;
use crate::generations::Generations;
use crate::lock::Lock;
use crate::shards::Shards;

/// Sessions of one origin. A TLS 1.3 ticket is used once (RFC 8446 C.4), and servers send two.
const EACH: usize = 4;
/// The longest certificate chain of a session that is kept, in bytes: rustls keeps it with each.
pub(super) const LONGEST_CHAIN: usize = 16 * 1024;

/// What one origin has given.
struct Kept {
    vetted: VerifiedChain,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: VecDeque<Tls13ClientSessionValue>,
}

/// The sessions of all servers.
pub(super) struct Sessions {
    capacity: usize,
    kept: Shards<Generations<[u8; 32], Kept>>,
    clock: Arc<Clock>,
    counters: Arc<TlsCaches>,
}

impl Sessions {
    /// For at most `capacity` origins.
    pub(super) fn new(capacity: usize, clock: Arc<Clock>, counters: Arc<TlsCaches>) -> Self {
        Self { capacity, kept: Shards::generations(capacity), clock, counters }
    }

    /// Origins that it is for, at most.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The view that one handshake has. `key` is a hash over server, wire, name to prove, profile, what is offered, and trust
    /// store: a handshake that differs in any of them finds nothing.
    pub(super) fn origin(self: &Arc<Self>, key: [u8; 32]) -> Origin {
        Origin {
            sessions: Arc::clone(self),
            key,
            state: Lock::new(State::Unverified(Vec::new())),
            given: Lock::new(None),
        }
    }

    /// What `take` finds in the sessions of `key`, as long as the verdict on them holds; with that.
    fn take<T>(
        &self,
        key: &[u8; 32],
        take: impl FnOnce(&mut Kept) -> Option<T>,
    ) -> Option<(T, VerifiedChain)> {
        let now = self.clock.seconds();
        let mut all = self.kept.of_digest(key);
        let kept = all.find(key)?;
        if kept.vetted.holds_at(now) {
            let vetted = kept.vetted.clone();
            return take(kept).map(|taken| (taken, vetted));
        }
        all.remove(key);
        None
    }

    fn put(&self, key: [u8; 32], vetted: &VerifiedChain, session: Session) {
        let mut all = self.kept.of_digest(&key);
        if all.find(&key).is_none_or(|kept| !kept.vetted.is(vetted)) {
            let vetted = vetted.clone();
            all.insert(key, Kept { vetted, tls12: None, tls13: VecDeque::with_capacity(EACH) });
        }
        let Some(kept) = all.find(&key) else { return };
        match session {
            Session::Tls12(session) => kept.tls12 = Some(*session),
            Session::Tls13(session) => {
                if kept.tls13.len() == EACH {
                    kept.tls13.pop_front();
                }
                kept.tls13.push_back(*session);
            }
        }
        self.counters.server_session.count_evictions(all.take_evicted());
    }
}

enum Session {
    Tls12(Box<Tls12ClientSessionValue>),
    Tls13(Box<Tls13ClientSessionValue>),
}

enum State {
    /// What has come before the handshake has its verdict.
    Unverified(Vec<Session>),
    /// What comes is kept.
    Verified(VerifiedChain),
    /// What comes is not kept.
    Refused,
}

/// The sessions of one server, as one handshake may have them. rustls asks by name, and gets what belongs to `key`.
pub(super) struct Origin {
    sessions: Arc<Sessions>,
    key: [u8; 32],
    state: Lock<State>,
    /// The verdict on the session that the server may resume now.
    given: Lock<Option<VerifiedChain>>,
}

impl Origin {
    /// The verdict is there, and allows to go on. What the server gives is kept from now on, tickets after the handshake included.
    pub(super) fn keep(&self, vetted: &VerifiedChain) {
        let before = std::mem::replace(&mut *self.state.lock(), State::Verified(vetted.clone()));
        if let State::Unverified(waiting) = before {
            for session in waiting {
                self.sessions.put(self.key, vetted, session);
            }
        }
    }

    /// Nothing is kept.
    pub(super) fn refuse(&self) {
        *self.state.lock() = State::Refused;
    }

    /// What was found of the server when the session began that was given out last. A server sends no OCSP response when it resumes.
    pub(super) fn found_before(&self) -> Option<VerifiedChain> {
        self.given.lock().clone()
    }

    fn give<T>(&self, take: impl FnOnce(&mut Kept) -> Option<T>) -> Option<T> {
        let (session, vetted) = self.sessions.take(&self.key, take)?;
        *self.given.lock() = Some(vetted);
        Some(session)
    }

    fn insert(&self, session: Session) {
        let mut state = self.state.lock();
        match &mut *state {
            State::Unverified(waiting) if waiting.len() < EACH => waiting.push(session),
            State::Verified(vetted) => {
                let vetted = vetted.clone();
                drop(state);
                self.sessions.put(self.key, &vetted, session);
            }
            State::Unverified(_) | State::Refused => {}
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Origin")
    }
}

impl ClientSessionStore for Origin {
    fn set_kx_hint(&self, _name: ServerName<'static>, _group: NamedGroup) {}

    /// The client's own order of groups decides, in a resumption too.
    fn kx_hint(&self, _name: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.insert(Session::Tls12(Box::new(session)));
    }

    fn tls12_session(&self, _name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.give(|kept| kept.tls12.clone())
    }

    fn remove_tls12_session(&self, _name: &ServerName<'_>) {
        self.sessions.take(&self.key, |kept| kept.tls12.take());
    }

    fn insert_tls13_ticket(&self, _name: ServerName<'static>, session: Tls13ClientSessionValue) {
        self.insert(Session::Tls13(Box::new(session)));
    }

    fn take_tls13_ticket(&self, _name: &ServerName<'_>) -> Option<Tls13ClientSessionValue> {
        // The youngest: the one that the server is most likely to know.
        self.give(|kept| kept.tls13.pop_back())
    }
}
