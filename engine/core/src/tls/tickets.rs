//! Tickets for clients: their keys, and what a ticket is good for.
//!
//! A ticket says that its client has seen a copy of a certain original, by a certain CA. It is sealed with a binding as associated data, a
//! hash over these, the profile, and what the server's leg had negotiated; a flow for which any of these is different cannot open it, and has a
//! full handshake. The server's leg is up before, so no ticket spares a server its verification. Leaf key and serial number, in which the
//! copies of two engines differ, are not part of it.

use std::fmt;
use std::sync::Arc;

use aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use arc_swap::{ArcSwap, Guard};
#[cfg(feature = "aws-lc-rs")]
use aws_lc_rs::aead;
#[cfg(not(feature = "aws-lc-rs"))]
use ring::aead;
use rustls::crypto::SecureRandom;
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

use super::clock::Clock;
use super::fleet_key::{SecretRefused, derive};
use super::ticket_secret::TicketSecret;
use crate::caches::TlsCaches;
use crate::lock::Lock;

/// How long a key seals, in seconds: six hours. It opens for as long again, and is then gone for good.
pub(super) const ROTATION: u64 = 6 * 3600;
/// Rotations that a shared secret may be behind: a year. More is no secret that an engine has renewed.
const MOST_BEHIND: u64 = 4 * 366;
/// First bytes of a ticket, by which its key is found.
const NAME_LEN: usize = 8;

/// The keys of all tickets, for all threads.
///
/// Each key is made from a secret of its time, and that from the one before, which is then wiped: what is in memory opens no
/// ticket that is older than two rotations. Engines that share a secret and its time have the same keys.
pub(super) struct TicketKeys {
    keys: Lock<Keys>,
    /// What each ticket is sealed or opened with: no thread waits for another.
    in_force: ArcSwap<InForce>,
    clock: Arc<Clock>,
    random: &'static dyn SecureRandom,
    counters: Arc<TlsCaches>,
}

struct Keys {
    sealing: Chain,
    /// `sealing` is shared with other engines.
    shared: bool,
    /// The keys that sealed before, and when the last ticket of theirs has run out.
    replaced: Option<(Chain, u64)>,
}

/// The keys of a time.
struct InForce {
    /// Until when they are those, in seconds since the Unix epoch. 0: nobody has asked for them yet.
    until: u64,
    sealing: Option<Arc<Key>>,
    /// The sealing one, and those that only open.
    all: Vec<Arc<Key>>,
}

/// The keys that come of one secret.
struct Chain {
    /// Of `current`; none until the first ticket.
    rotation: Option<u64>,
    secret: Zeroizing<[u8; 32]>,
    current: Option<Arc<Key>>,
    previous: Option<Arc<Key>>,
    /// Of the rotation that comes: an engine whose clock is ahead seals with it already.
    next: Option<Arc<Key>>,
}

struct Key {
    name: [u8; NAME_LEN],
    aead: LessSafeKey,
}

impl Key {
    fn new(secret: &[u8; 32]) -> Option<Arc<Self>> {
        let key = Zeroizing::new(derive(secret, b"ticket key"));
        let mut name = [0; NAME_LEN];
        name.copy_from_slice(&derive(secret, b"ticket key's name")[..NAME_LEN]);
        let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).ok()?);
        Some(Arc::new(Self { name, aead }))
    }
}

impl Chain {
    /// From a secret of a rotation; none: of the one in which its first ticket is issued.
    fn new(secret: [u8; 32], rotation: Option<u64>) -> Self {
        let mut chain =
            Self { rotation, secret: Zeroizing::new(secret), current: None, previous: None, next: None };
        if rotation.is_some() {
            chain.current = Key::new(&chain.secret);
            chain.next = chain.key_after();
        }
        chain
    }

    /// Brings it to `now`. A clock that goes back changes nothing.
    fn advance(&mut self, now: u64) {
        let rotation = now / ROTATION;
        let Some(at) = self.rotation else {
            *self = Self::new(*self.secret, Some(rotation));
            return;
        };
        let behind = rotation.saturating_sub(at);
        if behind == 0 {
            return;
        }
        // Step by step even after a long silence, as an engine with the same secret may have issued tickets meanwhile.
        for left in (0..behind).rev() {
            *self.secret = derive(&self.secret, NEXT_SECRET);
            if left < 2 {
                self.previous = self.current.take();
                self.current = Key::new(&self.secret);
            }
        }
        self.rotation = Some(rotation);
        self.next = self.key_after();
    }

    fn key_after(&self) -> Option<Arc<Key>> {
        Key::new(&Zeroizing::new(derive(&self.secret, NEXT_SECRET)))
    }

    fn keys(&self) -> impl Iterator<Item = Arc<Key>> {
        [&self.current, &self.previous, &self.next].into_iter().flatten().cloned()
    }

    /// When it is to be advanced.
    fn until(&self) -> u64 {
        self.rotation.map_or(0, |rotation| rotation.saturating_add(1).saturating_mul(ROTATION))
    }
}

const NEXT_SECRET: &[u8] = b"next secret";

impl Keys {
    /// Brings all to `now`, and forgets what has run out.
    fn advance(&mut self, now: u64) {
        self.sealing.advance(now);
        if self.replaced.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.replaced = None;
        }
        if let Some((chain, _)) = &mut self.replaced {
            chain.advance(now);
        }
    }

    /// As they are until they are to be advanced again.
    fn in_force(&self) -> InForce {
        let replaced = self.replaced.as_ref();
        let until = replaced.map_or(u64::MAX, |(chain, until)| chain.until().min(*until));
        InForce {
            until: self.sealing.until().min(until),
            sealing: self.sealing.current.clone(),
            all: self
                .sealing
                .keys()
                .chain(replaced.into_iter().flat_map(|(chain, _)| chain.keys()))
                .collect(),
        }
    }
}

/// The keys of an engine's tickets, for whoever shares them with other engines.
#[derive(Clone)]
pub struct TicketSharing(pub(super) Arc<TicketKeys>);

impl TicketSharing {
    /// Gives clients tickets that all engines with this secret take, at `now` in seconds since the Unix epoch. Tickets of the secret before
    /// stay good until they run out; those of the one before that do not.
    ///
    /// # Errors
    /// The secret is of another time.
    pub fn share(&self, secret: &TicketSecret, now: u64) -> Result<(), SecretRefused> {
        self.0.share(secret, now)
    }

    /// The secret that is shared, as of `now`: those before are gone, and it leads to none of them. None: none is shared.
    pub fn shared(&self, now: u64) -> Option<TicketSecret> {
        self.0.shared(now)
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
        let keys = Keys { sealing: Chain::new(secret, None), shared: false, replaced: None };
        let in_force = ArcSwap::from_pointee(InForce { until: 0, sealing: None, all: Vec::new() });
        Self { keys: Lock::new(keys), in_force, clock, random, counters }
    }

    /// Seals with the keys of this secret from now on. Tickets of the keys before open until they run out.
    pub(super) fn share(&self, secret: &TicketSecret, now: u64) -> Result<(), SecretRefused> {
        let rotation = now / ROTATION;
        if secret.rotation() > rotation + 1 {
            return Err(SecretRefused::Ahead);
        }
        if rotation.saturating_sub(secret.rotation()) > MOST_BEHIND {
            return Err(SecretRefused::TooOld);
        }
        let mut chain = Chain::new(*secret.bytes(), Some(secret.rotation()));
        chain.advance(now);
        let mut keys = self.keys.lock();
        keys.advance(now);
        if chain.secret == keys.sealing.secret {
            keys.shared = true;
            return Ok(());
        }
        let before = std::mem::replace(&mut keys.sealing, chain);
        keys.replaced = Some((before, now.saturating_add(2 * ROTATION)));
        keys.shared = true;
        self.in_force.store(Arc::new(keys.in_force()));
        Ok(())
    }

    /// The secret that is shared, as of now; none: there is none.
    pub(super) fn shared(&self, now: u64) -> Option<TicketSecret> {
        let mut keys = self.keys.lock();
        keys.advance(now);
        let rotation = keys.sealing.rotation.filter(|_| keys.shared)?;
        Some(TicketSecret::of_rotation(*keys.sealing.secret, rotation))
    }

    /// What issues and takes the tickets of one flow.
    pub(super) fn bound_to(self: &Arc<Self>, binding: [u8; 32]) -> Tickets {
        Tickets { keys: Arc::clone(self), binding }
    }

    fn in_force(&self) -> Guard<Arc<InForce>> {
        let now = self.clock.seconds();
        let in_force = self.in_force.load();
        if now < in_force.until {
            return in_force;
        }
        let mut keys = self.keys.lock();
        keys.advance(now);
        self.in_force.store(Arc::new(keys.in_force()));
        self.in_force.load()
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
        let in_force = self.keys.in_force();
        let key = in_force.all.iter().find(|key| key.name == *name)?;
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
        let in_force = self.keys.in_force();
        let key = in_force.sealing.as_ref()?;
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

    fn shared(secret: u8, hours: u64) -> TicketSecret {
        TicketSecret::new([secret; 32], hours * HOUR)
    }

    #[test]
    fn engines_that_share_a_secret_take_each_others_tickets() {
        let now = 1000 * HOUR;
        let [a, b] = [1, 2].map(|local| keys(local, now));
        let local = a.bound_to([1; 32]).encrypt(b"local").unwrap();
        a.share(&shared(9, 990), now).unwrap();
        b.share(&shared(9, 990), now).unwrap();
        let ticket = a.bound_to([1; 32]).encrypt(b"shared").unwrap();
        assert_eq!(b.bound_to([1; 32]).decrypt(&ticket).as_deref(), Some(&b"shared"[..]));
        assert_eq!(b.bound_to([2; 32]).decrypt(&ticket), None, "for something else");
        assert_eq!(b.bound_to([1; 32]).decrypt(&local), None, "from before");
        // The same secret again, as of another time, changes nothing.
        b.share(&a.shared(now).unwrap(), now).unwrap();
        assert!(a.bound_to([1; 32]).decrypt(&local).is_some(), "at the engine that has issued it");
        a.share(&b.shared(now).unwrap(), now).unwrap();
        assert!(a.bound_to([1; 32]).decrypt(&local).is_some());
        // One whose clock is ahead.
        a.clock.set(now + 6 * HOUR);
        let ahead = a.bound_to([1; 32]).encrypt(b"ahead").unwrap();
        assert!(b.bound_to([1; 32]).decrypt(&ahead).is_some());
        a.clock.set(now + 12 * HOUR);
        assert_eq!(a.bound_to([1; 32]).decrypt(&local), None, "it has run out");
    }

    #[test]
    fn a_secret_that_replaces_another_leaves_its_tickets_as_they_are() {
        let now = 1000 * HOUR;
        let engine = keys(1, now);
        let tickets = engine.bound_to([1; 32]);
        engine.share(&shared(8, 1000), now).unwrap();
        let old = tickets.encrypt(b"old").unwrap();
        engine.share(&shared(9, 1000), now).unwrap();
        assert_ne!(old[..NAME_LEN], tickets.encrypt(b"new").unwrap()[..NAME_LEN]);
        for (hours, opens) in [(0, true), (5, true), (7, true), (8, false)] {
            engine.clock.set(now + hours * HOUR);
            assert_eq!(tickets.decrypt(&old).is_some(), opens, "after {hours} h");
        }
    }

    #[test]
    fn what_is_told_of_a_shared_secret_leads_to_no_older_key() {
        let now = 1000 * HOUR;
        let (a, b) = (keys(1, now), keys(2, now));
        assert!(a.shared(now).is_none(), "the engine's own stays with it");
        a.share(&shared(9, 1000), now).unwrap();
        let old = a.bound_to([1; 32]).encrypt(b"old").unwrap();
        let later = a.shared(now + 13 * HOUR).unwrap();
        b.clock.set(now + 13 * HOUR);
        b.share(&later, now + 13 * HOUR).unwrap();
        assert_eq!(b.bound_to([1; 32]).decrypt(&old), None);
        a.clock.set(now + 13 * HOUR);
        let new = a.bound_to([1; 32]).encrypt(b"new").unwrap();
        assert!(b.bound_to([1; 32]).decrypt(&new).is_some());
    }

    #[test]
    fn a_secret_of_another_time_is_refused() {
        let now = 20_000 * HOUR;
        let engine = keys(1, now);
        assert_eq!(engine.share(&shared(9, 20_012), now), Err(SecretRefused::Ahead));
        assert_eq!(engine.share(&shared(9, 20_000 - 6 * 1465), now), Err(SecretRefused::TooOld));
        assert_eq!(engine.share(&shared(9, 20_006), now), Ok(()), "a clock that is ahead");
        assert_eq!(engine.share(&shared(9, 20_000 - 6 * 1464), now), Ok(()));
        assert_eq!(
            engine.share(&TicketSecret::of_rotation([9; 32], u64::MAX), now),
            Err(SecretRefused::Ahead)
        );
    }
}
