//! What verifications have found, kept for the next flow to the same server.
//!
//! The defects are kept, not what a profile makes of them. They are those of one chain, for one name, against one trust store: a
//! cache has one verifier, and a verifier one trust store. Chains without any may be [shared](super::shared_chains) with other engines.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::cache_key::CacheKey;
use super::fetch::Consulted;
use super::shared_chains::{GoodChain, SharedChains, Voucher};
use super::verify::{Effort, Findings, Verdict, Verifier};
use crate::caches::TlsCaches;
use crate::event::{CertificateInfo, Revocation};
use crate::generations::Generations;
use crate::policy::Profile;
use crate::reason::Reason;
use crate::shards::Shards;
use crate::x509::describe_certificate;

/// Chains of which the findings are kept: some 600 bytes each if they are good.
const CAPACITY: usize = 8 * 1024;
/// The longest leaf that counts among them, in bytes, as its names are kept too. Real ones are a quarter of that.
const LONGEST: usize = 8 * 1024;
/// How long, in seconds. Nothing that is looked at here changes by itself, dates aside: this bounds how long a fault would last.
pub(super) const KEEP: i64 = 3600;

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
    /// Whose word it is; none: it was verified here.
    voucher: Option<Voucher>,
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
            && self.0.voucher.as_ref().is_none_or(Voucher::stands)
    }
}

/// A verifier with a memory.
pub(super) struct VerifyCache {
    verifier: Verifier,
    kept: Shards<Generations<[u8; 32], VerifiedChain>>,
    counters: Arc<TlsCaches>,
    /// With other engines, and a digest over all that judges here; none: a verdict depends on what only this engine has.
    shared: Option<(Arc<SharedChains>, [u8; 32])>,
}

impl VerifyCache {
    pub(super) fn new(
        verifier: Verifier,
        counters: Arc<TlsCaches>,
        shared: Option<(Arc<SharedChains>, [u8; 32])>,
    ) -> Self {
        Self { verifier, kept: Shards::generations(CAPACITY), counters, shared }
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
        let vetted = self.kept.of_digest(key).find(key)?.clone();
        let holds = vetted.holds_at(now) && vetted.0.dead_end.is_none_or(|then| then == revision);
        holds.then(|| {
            self.counters.verification.hit();
            self.counters.count_revocation(vetted.revocation());
            vetted
        })
    }

    /// Where chains are shared, and the key of this one there. None: they are not, or the signer is not shown all that this one is judged
    /// by, and could not find out who lies.
    fn shared(&self, key: &[u8; 32], staple: &[u8]) -> Option<(&SharedChains, [u8; 32])> {
        let (chains, trust) = self.shared.as_ref().filter(|(chains, _)| chains.is_on())?;
        if self.verifier.ct_logs.is_some() || !staple.is_empty() {
            return None;
        }
        Some((chains, CacheKey::new("shared chain").bytes(trust).bytes(key).finish()))
    }

    /// What another engine has found of this chain, which is not known here. It does not enter the cache: it holds as long as that engine says so.
    fn vouched_for(
        &self,
        (leaf, staple): (&CertificateDer<'_>, &[u8]),
        name: &ServerName<'_>,
        key: &[u8; 32],
        now: u64,
    ) -> Option<VerifiedChain> {
        let (chains, key) = self.shared(key, staple)?;
        let (GoodChain { from, until, revocation, root, .. }, voucher) = chains.find(&key, now)?;
        if !self.verifier.names_and_dates_fit(leaf, name, now) {
            return None;
        }
        chains.count_use();
        self.counters.count_revocation(Some(revocation));
        let info = describe_certificate(leaf).map(|info| {
            Arc::new(CertificateInfo {
                root: Some(root),
                revocation: Some(revocation),
                verified_by: Some(Arc::clone(&voucher.engine)),
                ..info
            })
        });
        Some(VerifiedChain(Arc::new(Inner {
            info,
            defects: Vec::new(),
            revocation: Some(revocation),
            costly: false,
            added: Vec::new(),
            from,
            until,
            dead_end: None,
            consulted: Consulted::default(),
            voucher: Some(voucher),
        })))
    }

    /// Has other engines told of a chain that was verified here, if it is one that any with the same trust would find good.
    fn tell(&self, key: &[u8; 32], staple: &[u8], vetted: &VerifiedChain) {
        let Some((chains, key)) = self.shared(key, staple) else { return };
        let Inner { info, defects, revocation, costly, added, from, until, dead_end, consulted, voucher } =
            &*vetted.0;
        let is_good = defects.is_empty() && !costly && dead_end.is_none() && voucher.is_none();
        // Neither what the server forgot to send nor what was fetched is at hand everywhere.
        let is_whole = added.is_empty() && consulted.saw_nothing();
        let root = info.as_ref().and_then(|info| info.root.clone());
        if let (true, true, Some(revocation), Some(root)) = (is_good, is_whole, *revocation, root) {
            chains.tell(GoodChain { key, from: *from, until: *until, revocation, root });
        }
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
            let key = key();
            let vouched_for = || self.vouched_for((leaf, staple), name, &key, now);
            if let Some(vetted) = self.find(&key, now).or_else(vouched_for) {
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
        let voucher = None;
        let inner =
            Inner { info, defects, revocation, costly, added, from, until, dead_end, consulted, voucher };
        let vetted = VerifiedChain(Arc::new(inner));
        if holds.is_some() && leaf.len() <= LONGEST {
            let key = key();
            self.tell(&key, staple, &vetted);
            let mut kept = self.kept.of_digest(&key);
            kept.insert(key, vetted.clone());
            self.counters.verification.count_evictions(kept.take_evicted());
        }
        Ok(vetted)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;
    use crate::tls::trust::TrustStore;
    use crate::tls::verify::OwnCa;
    use crate::tls::verify::crl::Crls;
    use crate::tls::verify::intermediates::Intermediates;
    use crate::tls::verify::root_signatures::RootSignatures;
    use crate::x509::Provider;

    /// 2027-01-15.
    const NOW: u64 = 1_800_000_000;
    const HOST: &str = "www.example.com";

    /// One that trusts nobody, where others' words count.
    fn cache(own: Vec<OwnCa>) -> VerifyCache {
        let chains = SharedChains::default();
        chains.turn_on();
        let verifier = Verifier {
            trust: TrustStore::load(None, &[]).unwrap(),
            intermediates: Intermediates::load(&[]).unwrap(),
            crls: Crls::load(&[]).unwrap(),
            ct_logs: None,
            fetcher: None,
            algorithms: Provider::default().load().signature_verification_algorithms.all,
            own,
            root_signatures: RootSignatures::none(),
        };
        VerifyCache::new(verifier, Arc::default(), Some((Arc::new(chains), [7; 32])))
    }

    /// Signed by itself, for this name, until this year.
    fn leaf(name: &str, until: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Mine");
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    /// Somebody who has the fleet's key says that this leaf is good for [`HOST`].
    fn lie(cache: &VerifyCache, leaf: &CertificateDer<'_>) {
        let name = ServerName::try_from(HOST).unwrap();
        let nothing: [&[u8]; 0] = [];
        let key = CacheKey::new("verified chain").name(&name).bytes(leaf).list(nothing.iter()).bytes(&[]);
        let (chains, key) = cache.shared(&key.finish(), &[]).unwrap();
        let revocation = Revocation::Unknown("");
        chains.hear(
            "liar",
            GoodChain { key, from: 0, until: i64::MAX, revocation, root: "Root".into() },
            NOW,
        );
    }

    fn defects(cache: &VerifyCache, leaf: &CertificateDer<'_>) -> Vec<Reason> {
        let name = ServerName::try_from(HOST).unwrap();
        let effort = Effort::within(crate::tls::verify::Budget::Whole);
        cache.vet(leaf, &[], &[], &name, NOW, effort).unwrap().0.defects.clone()
    }

    #[test]
    fn who_lies_with_the_key_of_the_fleet_spares_a_verification_and_no_more() {
        let untrusted = cache(Vec::new());
        let good_to_look_at = leaf(HOST, 2028);
        assert_eq!(defects(&untrusted, &good_to_look_at), [Reason::CertSelfSigned]);
        let believed = cache(Vec::new());
        lie(&believed, &good_to_look_at);
        assert_eq!(defects(&believed, &good_to_look_at), [], "the signer finds out");
        for (other, reason) in
            [(leaf("bank.example", 2028), Reason::CertMismatch), (leaf(HOST, 2027), Reason::CertExpired)]
        {
            lie(&believed, &other);
            assert!(defects(&believed, &other).contains(&reason), "{reason:?}");
        }
        let own = leaf(HOST, 2028);
        let engine = cache(OwnCa::of_certificate(&own).into_iter().collect());
        lie(&engine, &own);
        assert_eq!(defects(&engine, &own), [Reason::CertOwnCa]);
    }
}
