//! Tickets for clients: their keys, and what a ticket is good for.
//!
//! A ticket says that its client has seen a certain minted leaf. It is sealed with a binding as associated data, a hash over
//! that leaf, the profile, and what the server's leg had negotiated; a flow for which any of these is different cannot open it, and has a
//! full handshake. The server's leg is up before, so no ticket spares a server its verification.

use std::fmt;
use std::sync::Arc;

use aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
#[cfg(feature = "aws-lc-rs")]
use aws_lc_rs::aead;
#[cfg(not(feature = "aws-lc-rs"))]
use ring::aead;
use rustls::crypto::SecureRandom;
use rustls::server::ProducesTickets;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::clock::Clock;
use crate::caches::TlsCaches;
use crate::lock::Lock;

/// How long a key seals, in seconds: six hours. It opens for as long again, and is then gone for good.
const ROTATION: u64 = 6 * 3600;
/// First bytes of a ticket, by which its key is found.
const NAME_LEN: usize = 8;

/// The keys of all tickets, for all threads.
///
/// Each key is made from a secret of its time, and that from the one before, which is then wiped: what is in memory opens no
/// ticket that is older than two rotations. Engines that share a secret and its time have the same keys.
pub(super) struct TicketKeys {
    keys: Lock<Keys>,
    clock: Arc<Clock>,
    random: &'static dyn SecureRandom,
    counters: Arc<TlsCaches>,
}

struct Keys {
    /// Of `current`; none until the first ticket.
    rotation: Option<u64>,
    secret: Zeroizing<[u8; 32]>,
    current: Option<Arc<Key>>,
    previous: Option<Arc<Key>>,
}

struct Key {
    name: [u8; NAME_LEN],
    aead: LessSafeKey,
}

impl Key {
    fn new(secret: &[u8; 32]) -> Option<Self> {
        let key = Zeroizing::new(derive(secret, b"ticket key"));
        let mut name = [0; NAME_LEN];
        name.copy_from_slice(&derive(secret, b"ticket key's name")[..NAME_LEN]);
        let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).ok()?);
        Some(Self { name, aead })
    }
}

/// From a secret of full entropy another that does not lead back.
fn derive(secret: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix(secret).chain_update(b"wireglass ").chain_update(purpose).finalize().into()
}

impl Keys {
    /// The current and the previous key at `now`. A clock that goes back changes nothing.
    fn at(&mut self, now: u64) -> [Option<Arc<Key>>; 2] {
        let rotation = now / ROTATION;
        let behind = self.rotation.map_or(1, |at| rotation.saturating_sub(at));
        if behind > 0 {
            // Step by step even after a long silence, as an engine with the same secret may have issued tickets meanwhile.
            for left in (0..behind).rev() {
                *self.secret = derive(&self.secret, b"next secret");
                if left < 2 {
                    self.previous = self.current.take();
                    self.current = Key::new(&self.secret).map(Arc::new);
                }
            }
            self.rotation = Some(rotation);
        }
        [self.current.clone(), self.previous.clone()]
    }
}

impl TicketKeys {
    /// Keys from `secret`, which nobody may guess.
    pub(super) fn new(
        secret: [u8; 32],
        clock: Arc<Clock>,
        random: &'static dyn SecureRandom,
        counters: Arc<TlsCaches>,
    ) -> Self {
        let keys = Keys { rotation: None, secret: Zeroizing::new(secret), current: None, previous: None };
        Self { keys: Lock::new(keys), clock, random, counters }
    }

    /// What issues and takes the tickets of one flow.
    pub(super) fn bound_to(self: &Arc<Self>, binding: [u8; 32]) -> Tickets {
        Tickets { keys: Arc::clone(self), binding }
    }

    fn now(&self) -> [Option<Arc<Key>>; 2] {
        self.keys.lock().at(self.clock.seconds())
    }
}

/// The tickets of one flow.
pub(super) struct Tickets {
    keys: Arc<TicketKeys>,
    binding: [u8; 32],
}

impl Tickets {
    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.keys.now().into_iter().flatten().find(|key| key.name == *name)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.aead.open_in_place(nonce, Aad::from(self.binding), &mut sealed).ok()?.len();
        sealed.truncate(opened);
        Some(sealed)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    /// As long as every ticket can be opened.
    fn lifetime(&self) -> u32 {
        ROTATION as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let [Some(key), _] = self.keys.now() else { return None };
        // Drawn, not counted: engines may share the key. 2^32 of one key (NIST SP 800-38D 8.3) would be 200,000 a second.
        let mut nonce = [0; NONCE_LEN];
        self.keys.random.fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let (aad, unique) = (Aad::from(self.binding), Nonce::assume_unique_for_key(nonce));
        key.aead.seal_in_place_append_tag(unique, aad, &mut sealed).ok()?;
        Some([&key.name[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let opened = self.open(ticket);
        match &opened {
            Some(_) => self.keys.counters.client_ticket.hit(),
            None => self.keys.counters.client_ticket.miss(),
        }
        opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::Provider;

    const HOUR: u64 = 3600;

    fn keys(secret: u8, now: u64) -> Arc<TicketKeys> {
        let clock = Arc::new(Clock::default());
        clock.set(now);
        let random = Provider::default().load().secure_random;
        Arc::new(TicketKeys::new([secret; 32], clock, random, Arc::default()))
    }

    #[test]
    fn a_ticket_opens_for_what_it_was_issued_for_and_nothing_else() {
        let keys = keys(1, 0);
        let tickets = keys.bound_to([1; 32]);
        let ticket = tickets.encrypt(b"a session").unwrap();
        assert!(!ticket.windows(9).any(|part| part == b"a session"));
        assert_ne!(ticket, tickets.encrypt(b"a session").unwrap());
        assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
        assert_eq!(keys.bound_to([2; 32]).decrypt(&ticket), None);
        for at in 0..ticket.len() {
            let mut other = ticket.clone();
            other[at] ^= 1;
            assert_eq!(tickets.decrypt(&other), None, "byte {at}");
            assert_eq!(tickets.decrypt(&ticket[..at]), None);
        }
        assert_eq!(self::keys(2, 0).bound_to([1; 32]).decrypt(&ticket), None, "of another engine");
        assert_eq!(self::keys(1, 0).bound_to([1; 32]).decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
    }

    #[test]
    fn keys_are_changed_every_six_hours_and_gone_after_twelve() {
        let keys = keys(1, 1000 * HOUR + 5 * HOUR);
        let tickets = keys.bound_to([1; 32]);
        let old = tickets.encrypt(b"old").unwrap();
        let sealed_with = |ticket: &[u8]| ticket[..NAME_LEN].to_vec();
        keys.clock.set(1008 * HOUR - 1); // 1008 is the next multiple of six
        assert_eq!(sealed_with(&tickets.encrypt(b"x").unwrap()), sealed_with(&old));
        keys.clock.set(1008 * HOUR);
        let new = tickets.encrypt(b"new").unwrap();
        assert_ne!(sealed_with(&new), sealed_with(&old));
        assert_eq!(tickets.decrypt(&old).as_deref(), Some(&b"old"[..]));
        keys.clock.set(1005 * HOUR);
        assert_eq!(sealed_with(&tickets.encrypt(b"x").unwrap()), sealed_with(&new), "a clock that goes back");
        keys.clock.set(1014 * HOUR);
        assert_eq!(tickets.decrypt(&old), None);
        assert_eq!(tickets.decrypt(&new).as_deref(), Some(&b"new"[..]));
        keys.clock.set(9000 * HOUR);
        assert_eq!(tickets.decrypt(&new), None, "after a long silence");
    }
}
