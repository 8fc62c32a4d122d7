//! What verifications have found, kept for the next flow to the same server.
//!
//! The defects are kept, not what a profile makes of them. They are those of one chain, for one name, against one trust store: a
//! cache has one verifier, and a verifier one trust store.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::cache_key::CacheKey;
use super::fetch::Consulted;
use super::verify::{Effort, Findings, Verdict, Verifier};
use crate::caches::TlsCaches;
use crate::event::{CertificateInfo, Revocation};
use crate::generations::Generations;
use crate::lock::Lock;
use crate::policy::Profile;
use crate::reason::Reason;
use crate::x509::describe_certificate;

/// Chains of which the findings are kept: some 600 bytes each if they are good.
const CAPACITY: usize = 8 * 1024;
/// The longest leaf that counts among them, in bytes, as its names are kept too. Real ones are a quarter of that.
const LONGEST: usize = 8 * 1024;
/// How long, in seconds. Nothing that is looked at here changes by itself, dates aside: this bounds how long a fault would last.
const KEEP: i64 = 3600;

/// A verified chain.
#[derive(Clone, Debug)]
pub(super) struct VerifiedChain(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    info: Option<Arc<CertificateInfo>>,
    defects: Vec<Reason>,
    revocation: Option<Revocation>,
    costly: bool,
    added: Vec<Arc<[u8]>>,
    /// From when to when this may be used again, the end not included.
    from: i64,
    until: i64,
    /// It leads to no root, as far as so many intermediates are known.
    dead_end: Option<u64>,
    /// What was fetched, or was not yet.
    consulted: Consulted,
}

impl VerifiedChain {
    /// What the log says of the leaf.
    pub(super) fn info(&self) -> Option<&Arc<CertificateInfo>> {
        self.0.info.as_ref()
    }

    /// What the profile makes of it.
    pub(super) fn verdict(&self, profile: &Profile) -> Verdict {
        Verdict::with_revocation(&self.0.defects, self.0.revocation, profile)
    }

    /// What is known of its revocation.
    pub(super) fn revocation(&self) -> Option<Revocation> {
        self.0.revocation
    }

    /// What the server forgot to present, in DER, where the chain needs it.
    pub(super) fn added(&self) -> &[Arc<[u8]>] {
        &self.0.added
    }

    /// Whether its verification cost far more than others do.
    pub(super) fn is_costly(&self) -> bool {
        self.0.costly
    }

    /// Whether they are of one verification.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether it still holds, in seconds since the Unix epoch: nothing that it goes by has ended, or was fetched since.
    pub(super) fn holds_at(&self, now: u64) -> bool {
        i64::try_from(now).is_ok_and(|now| (self.0.from..self.0.until).contains(&now))
            && self.0.consulted.holds()
    }
}

/// A verifier with a memory.
pub(super) struct VerifyCache {
    verifier: Verifier,
    kept: Lock<Generations<[u8; 32], VerifiedChain>>,
    counters: Arc<TlsCaches>,
}

impl VerifyCache {
    pub(super) fn new(verifier: Verifier, counters: Arc<TlsCaches>) -> Self {
        Self { verifier, kept: Lock::new(Generations::new(CAPACITY)), counters }
    }

    /// What was found before of the chain of a session that goes on.
    pub(super) fn again(&self, vetted: VerifiedChain) -> VerifiedChain {
        self.counters.verification.hit();
        vetted
    }

    pub(super) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    fn find(&self, key: &[u8; 32], now: u64) -> Option<VerifiedChain> {
        let revision = self.verifier.intermediates.revision();
        let vetted = self.kept.lock().find(key)?.clone();
        let holds = vetted.holds_at(now) && vetted.0.dead_end.is_none_or(|then| then == revision);
        holds.then(|| {
            self.counters.verification.hit();
            self.counters.count_revocation(vetted.revocation());
            vetted
        })
    }

    /// What is to be said of the chain that a server presented for `name`, with this OCSP response or none, at `now` in seconds since
    /// the Unix epoch. A chain that is not known yet is verified with this effort, which is given back if it pauses: then it is to be asked
    /// again.
    pub(super) fn vet(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        staple: &[u8],
        name: &ServerName<'_>,
        now: u64,
        effort: Effort,
    ) -> Result<VerifiedChain, Effort> {
        let key = || {
            let chain = CacheKey::new("verified chain").name(name).bytes(leaf).list(intermediates.iter());
            chain.bytes(staple).finish()
        };
        // One that goes on was not known when it began: to hash the chain in each step would take half as long as the step.
        if effort.is_new() {
            if let Some(vetted) = self.find(&key(), now) {
                return Ok(vetted);
            }
            if effort.is_put_off(intermediates.len()) {
                return Err(effort);
            }
            self.counters.verification.miss();
        }
        let time = UnixTime::since_unix_epoch(Duration::from_secs(now));
        let began = self.counters.stopwatch();
        let (found, mut consulted) = self.verifier.verify(leaf, intermediates, staple, name, time, &effort);
        let spent = self.counters.since(began).map(|nanos| effort.took(nanos));
        if effort.take_pause() {
            return Err(effort);
        }
        if let Some(nanos) = spent {
            self.counters.verification_time.observe(nanos);
        }
        self.verifier.order(&mut consulted, now);
        let Findings { defects, findings, root, revocation, costly, added, holds, dead_end } = found;
        self.counters.count_revocation(revocation);
        if costly {
            self.counters.count_costly_chain();
        }
        // None: for this flow alone.
        let (from, until) = holds.as_ref().map_or((0, 0), |holds| {
            let kept = i64::try_from(now).map_or(0, |now| now.saturating_add(KEEP));
            (holds.start, holds.end.min(kept).min(consulted.until()))
        });
        let info = describe_certificate(leaf)
            .map(|info| Arc::new(CertificateInfo { findings, root, revocation, ..info }));
        let inner = Inner { info, defects, revocation, costly, added, from, until, dead_end, consulted };
        let vetted = VerifiedChain(Arc::new(inner));
        if holds.is_some() && leaf.len() <= LONGEST {
            let mut kept = self.kept.lock();
            kept.insert(key(), vetted.clone());
            self.counters.verification.set_evictions(kept.evicted());
        }
        Ok(vetted)
    }
}
