//! Good chains that engines of a fleet verify for one another.
//!
//! What is shared is that the chain of one server is without any defect, for one name. Its key is a digest over chain and name, and over
//! all that judged it: roots, intermediates, CRLs, both CAs, the library and the version. So an engine that would judge otherwise finds
//! nothing. Where staples or SCTs have a say, nothing is shared: the signer, which is not shown them, could not find out who lies. The
//! profile does not count: what has no defect has none in any, and what is not known of its revocation each engine asks its own profile
//! about.
//!
//! Nothing is shared that depends on what one engine has fetched, or has learned from other servers. What was heard is not told on. It holds
//! no longer than it would at the engine that has verified it, and only as long as that engine says so: its lease is the expiry.
//!
//! Who lies must have the fleet's key, and then saves others a verification that would have failed. Names and dates of the leaf are still
//! [looked at](super::verify::Verifier::names_and_dates_fit), the server still has to prove that it has the leaf's key, and the signer, a
//! process of its own, verifies the original for itself before it signs a copy: it refuses, and the flow ends before the client's handshake.
//! Only a copy that it has signed before is still shown.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use zeroize::Zeroizing;

use super::fleet_key::{self, FleetKey, SecretRefused, VERSION};
use super::verify::plain_name;
use crate::event::{Revocation, RevocationSource};
use crate::foreign::{Heard, MOST_ENGINES};
use crate::lock::Lock;

/// Chains of one engine that others take.
pub const MOST_CHAINS: usize = 512;
/// Chains that wait to be told. What finds no room is verified by each engine.
const WAITING: usize = 1024;
/// Longest name of a root, in bytes.
const LONGEST_ROOT: usize = 256;
/// How long a chain is taken for good on another engine's word, in seconds: as long as on one's own.
const KEEP: i64 = super::verify_cache::KEEP;
/// Key, times, revocation.
const FIXED_LEN: usize = 32 + 8 + 8 + 1;
/// In place of why, which the engine that has verified it has logged.
const UNKNOWN: &str = "nothing was known to the engine that has verified it";

/// A chain without a defect, for one name, under one configuration of trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoodChain {
    /// A digest over all of these.
    pub key: [u8; 32],
    /// From when this may be used, in seconds since the Unix epoch.
    pub from: i64,
    /// Until when, the end not included.
    pub until: i64,
    /// What is known of its revocation.
    pub revocation: Revocation,
    /// Name of the root that it leads to.
    pub root: String,
}

impl GoodChain {
    /// It is of no use any more at `now`, in seconds since the Unix epoch.
    pub fn is_over(&self, now: u64) -> bool {
        i64::try_from(now).is_ok_and(|now| now >= self.until)
    }

    /// The same for the same chain, and nothing to who has not got the key.
    pub fn name(&self, key: &FleetKey) -> [u8; 16] {
        key.blind(&self.key)
    }

    /// Seals it, as a word of this engine. None: the library has no random bytes, or it cannot be told.
    pub fn seal(&self, key: &FleetKey, fleet: &str, engine: &str) -> Option<Vec<u8>> {
        let revocation = match self.revocation {
            // 1 was a staple.
            Revocation::Good(RevocationSource::Crl) => 2,
            Revocation::Unknown(_) => 3,
            Revocation::Good(RevocationSource::Staple | RevocationSource::Ocsp) | Revocation::Revoked(_) => {
                return None;
            }
        };
        let times = [self.from.to_be_bytes(), self.until.to_be_bytes()].concat();
        let plain = [&self.key[..], &times, &[revocation], self.root.as_bytes()].concat();
        key.seal(Zeroizing::new(plain), &associated(fleet, engine))
    }

    /// Opens what this engine of this fleet has sealed.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn open(sealed: &[u8], keys: &[FleetKey], fleet: &str, engine: &str) -> Result<Self, SecretRefused> {
        let malformed = SecretRefused::Malformed;
        let plain = fleet_key::open(sealed, keys, &associated(fleet, engine))?;
        if plain.len() > FIXED_LEN + LONGEST_ROOT {
            return Err(malformed);
        }
        let (key, rest) = plain.split_first_chunk::<32>().ok_or(malformed)?;
        let (from, rest) = rest.split_first_chunk::<8>().ok_or(malformed)?;
        let (until, rest) = rest.split_first_chunk::<8>().ok_or(malformed)?;
        let (revocation, root) = match rest.split_first().ok_or(malformed)? {
            (2, root) => (Revocation::Good(RevocationSource::Crl), root),
            (3, root) => (Revocation::Unknown(UNKNOWN), root),
            _ => return Err(malformed),
        };
        let root = plain_name(std::str::from_utf8(root).map_err(|_| malformed)?.to_owned());
        let [from, until] = [from, until].map(|time| i64::from_be_bytes(*time));
        Ok(Self { key: *key, from, until, revocation, root })
    }
}

fn associated(fleet: &str, engine: &str) -> Vec<u8> {
    // No name has a slash in it.
    [b"wireglass fleet chain ", &[VERSION][..], fleet.as_bytes(), b"/", engine.as_bytes()].concat()
}

/// Another engine's word for a chain.
#[derive(Clone, Debug)]
pub(super) struct Voucher {
    pub(super) engine: Arc<str>,
    /// It has not taken it back, and is there.
    stands: Arc<AtomicBool>,
}

impl Voucher {
    pub(super) fn stands(&self) -> bool {
        self.stands.load(Relaxed)
    }
}

/// Of one engine, by key.
type Words = BTreeMap<[u8; 32], Word>;

struct Word {
    chain: GoodChain,
    stands: Arc<AtomicBool>,
}

impl Drop for Word {
    /// What goes by it hears of it.
    fn drop(&mut self) {
        self.stands.store(false, Relaxed);
    }
}

/// What this engine has to tell, and what others have told. A chain is looked for here once in a verification that would have to be made.
#[derive(Default)]
pub struct SharedChains {
    is_on: AtomicBool,
    own: Lock<VecDeque<GoodChain>>,
    heard: Lock<BTreeMap<Arc<str>, Words>>,
    /// Verifications that were spared.
    used: AtomicU64,
}

impl SharedChains {
    /// Has it keep what is to be told, and look into what was heard.
    pub fn turn_on(&self) {
        self.is_on.store(true, Relaxed);
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }

    /// A verification of this engine's own has found this.
    pub fn tell(&self, chain: GoodChain) {
        let mut own = self.own.lock();
        if chain.root.len() <= LONGEST_ROOT && own.len() < WAITING {
            own.push_back(chain);
        }
    }

    /// Takes at most so many of what is to be told, the oldest first.
    pub fn take_own(&self, most: usize) -> Vec<GoodChain> {
        let mut own = self.own.lock();
        let most = most.min(own.len());
        own.drain(..most).collect()
    }

    /// Another engine says so, at `now` in seconds since the Unix epoch.
    pub fn hear(&self, engine: &str, mut chain: GoodChain, now: u64) -> Heard {
        let seconds = i64::try_from(now).unwrap_or(i64::MAX);
        chain.until = chain.until.min(seconds.saturating_add(KEEP));
        if chain.is_over(now) || !self.is_on() {
            return Heard::Nothing;
        }
        let mut heard = self.heard.lock();
        if !heard.contains_key(engine) && heard.len() >= MOST_ENGINES {
            return Heard::TooManyEngines;
        }
        let of_engine = heard.entry(engine.into()).or_default();
        if let Some(word) = of_engine.get_mut(&chain.key) {
            word.chain = chain;
            return Heard::Before;
        }
        if of_engine.len() >= MOST_CHAINS {
            of_engine.retain(|_, word| !word.chain.is_over(now));
        }
        if of_engine.len() >= MOST_CHAINS {
            return Heard::TooMany;
        }
        of_engine.insert(chain.key, Word { chain, stands: Arc::new(AtomicBool::new(true)) });
        Heard::Now
    }

    /// Another engine takes its word back.
    pub fn withdraw(&self, engine: &str, chain: &GoodChain) {
        let mut heard = self.heard.lock();
        if let Some(of_engine) = heard.get_mut(engine) {
            of_engine.remove(&chain.key);
            if of_engine.is_empty() {
                heard.remove(engine);
            }
        }
    }

    /// Nobody's word counts any more: it is not known who is still there.
    pub fn forget_heard(&self) {
        // Freed when the lock is: handshakes wait for it.
        let heard = std::mem::take(&mut *self.heard.lock());
        drop(heard);
    }

    /// Chains that others have told.
    pub fn heard(&self) -> usize {
        self.heard.lock().values().map(BTreeMap::len).sum()
    }

    /// Verifications that another engine has spared this one, since the start.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    pub(super) fn count_use(&self) {
        self.used.fetch_add(1, Relaxed);
    }

    /// What another engine has said of this chain that may be used at `now`.
    pub(super) fn find(&self, key: &[u8; 32], now: u64) -> Option<(GoodChain, Voucher)> {
        let now = i64::try_from(now).ok()?;
        let heard = self.heard.lock();
        let mut words = heard.iter().filter_map(|(engine, words)| Some((engine, words.get(key)?)));
        let (engine, word) = words.find(|(_, word)| (word.chain.from..word.chain.until).contains(&now))?;
        let voucher = Voucher { engine: Arc::clone(engine), stands: Arc::clone(&word.stands) };
        Some((word.chain.clone(), voucher))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::x509::Provider;

    const NOW: u64 = 1_800_000_000;

    fn fleet_key(secret: u8) -> FleetKey {
        FleetKey::new(&[secret; 32], Provider::default()).unwrap()
    }

    fn chain(number: u16, from: i64, until: i64) -> GoodChain {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&number.to_be_bytes());
        let revocation = Revocation::Good(RevocationSource::Crl);
        GoodChain { key, from, until, revocation, root: "CN=Root".into() }
    }

    fn holding(number: u16) -> GoodChain {
        chain(number, 0, NOW as i64 + 60)
    }

    fn shared() -> SharedChains {
        let chains = SharedChains::default();
        chains.turn_on();
        chains
    }

    #[test]
    fn what_an_engine_seals_is_its_word_alone() {
        let one = holding(7);
        let sealed = one.seal(&fleet_key(1), "north", "a").unwrap();
        let open = |keys: &[FleetKey], fleet, engine| GoodChain::open(&sealed, keys, fleet, engine);
        assert_eq!(open(&[fleet_key(2), fleet_key(1)], "north", "a"), Ok(one.clone()));
        assert_eq!(open(&[fleet_key(1)], "north", "b"), Err(SecretRefused::Forged));
        assert_eq!(open(&[fleet_key(1)], "south", "a"), Err(SecretRefused::Forged));
        assert_eq!(open(&[fleet_key(2)], "north", "a"), Err(SecretRefused::UnknownKey));
        for at in 0..sealed.len() {
            let mut other = sealed.clone();
            other[at] ^= 1;
            assert!(GoodChain::open(&other, &[fleet_key(1)], "north", "a").is_err(), "byte {at}");
            assert!(GoodChain::open(&sealed[..at], &[fleet_key(1)], "north", "a").is_err());
        }
        let tickets = super::super::TicketSecret::new([7; 32], NOW).seal(&fleet_key(1), "north").unwrap();
        assert!(GoodChain::open(&tickets, &[fleet_key(1)], "north", "a").is_err(), "for another purpose");
        assert_ne!(one.name(&fleet_key(1)), one.name(&fleet_key(2)));
        assert_eq!(one.name(&fleet_key(1)), chain(7, 1, 2).name(&fleet_key(1)));
    }

    #[test]
    fn what_depends_on_one_engine_is_not_sealed() {
        for revocation in [
            Revocation::Good(RevocationSource::Ocsp),
            Revocation::Good(RevocationSource::Staple),
            Revocation::Revoked(RevocationSource::Crl),
        ] {
            let one = GoodChain { revocation, ..holding(1) };
            assert_eq!(one.seal(&fleet_key(1), "north", "a"), None, "{revocation:?}");
        }
        let unknown = GoodChain { revocation: Revocation::Unknown("here"), ..holding(1) };
        let sealed = unknown.seal(&fleet_key(1), "north", "a").unwrap();
        let opened = GoodChain::open(&sealed, &[fleet_key(1)], "north", "a").unwrap();
        assert_eq!(opened.revocation, Revocation::Unknown(UNKNOWN));
    }

    #[test]
    fn a_word_counts_until_it_is_taken_back_or_runs_out() {
        let chains = shared();
        assert_eq!(chains.hear("a", holding(1), NOW), Heard::Now);
        assert_eq!(chains.hear("a", holding(1), NOW), Heard::Before);
        assert_eq!(chains.hear("a", chain(2, 0, NOW as i64), NOW), Heard::Nothing);
        let (found, voucher) = chains.find(&holding(1).key, NOW).unwrap();
        assert_eq!((found, &*voucher.engine, voucher.stands()), (holding(1), "a", true));
        assert!(chains.find(&holding(1).key, NOW + 60).is_none(), "it has run out");
        assert!(chains.find(&holding(2).key, NOW).is_none());
        chains.withdraw("b", &holding(1));
        assert!(voucher.stands(), "another engine's word");
        chains.withdraw("a", &holding(1));
        assert!(!voucher.stands() && chains.find(&holding(1).key, NOW).is_none());
        chains.hear("a", holding(3), NOW);
        let (_, voucher) = chains.find(&holding(3).key, NOW).unwrap();
        chains.forget_heard();
        assert!(!voucher.stands() && chains.heard() == 0);
        // No longer than on one's own word, whatever is said; not before its time.
        chains.hear("a", chain(4, 0, i64::MAX), NOW);
        assert!(chains.find(&holding(4).key, NOW + KEEP as u64 - 1).is_some());
        assert!(chains.find(&holding(4).key, NOW + KEEP as u64).is_none());
        chains.hear("a", chain(5, NOW as i64 + 1, i64::MAX), NOW);
        assert!(chains.find(&holding(5).key, NOW).is_none());
    }

    #[test]
    fn what_waits_to_be_told_is_bounded_and_nothing_counts_that_is_off() {
        let chains = shared();
        for number in 0..2 * WAITING as u16 {
            chains.tell(holding(number));
        }
        chains.tell(GoodChain { root: "x".repeat(LONGEST_ROOT + 1), ..holding(9) });
        assert_eq!((chains.take_own(2).len(), chains.take_own(usize::MAX).len()), (2, WAITING - 2));
        let off = SharedChains::default();
        assert_eq!(off.hear("a", holding(1), NOW), Heard::Nothing);
    }

    proptest! {
        /// No engine takes the room of another one, whatever it says and takes back.
        #[test]
        fn each_has_its_own_room(said in proptest::collection::vec((0..3u8, 0..700u16, any::<bool>()), 0..3000)) {
            let chains = shared();
            chains.hear("quiet", holding(9999), NOW);
            let mut known = std::collections::BTreeSet::new();
            for (engine, number, takes_back) in said {
                let name = engine.to_string();
                if takes_back {
                    chains.withdraw(&name, &holding(number));
                    known.remove(&(engine, number));
                } else if matches!(chains.hear(&name, holding(number), NOW), Heard::Now | Heard::Before) {
                    known.insert((engine, number));
                }
                prop_assert!(known.range((engine, 0)..(engine, u16::MAX)).count() <= MOST_CHAINS);
            }
            prop_assert_eq!(chains.heard(), known.len() + 1);
            let quiet = chains.find(&holding(9999).key, NOW);
            prop_assert!(quiet.is_some());
        }
    }
}
