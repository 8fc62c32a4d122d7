//! What verifications find of what was fetched: with CRLs, OCSP responses and files of certificates that openssl has made.
#![allow(clippy::unwrap_used, clippy::panic)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "openssl works with files, and goes by the machine's clock"
)]

mod revocation_support;

use std::cell::Cell;
use std::fs;
use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SerialNumber};
use revocation_support::*;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, ServerName};
use tcp_stack::Instant;
use wireglass_core::event::{Revocation, RevocationSource};
use wireglass_core::reason::Reason;
use wireglass_core::tls::{
    ChainVerifier, Fetch, FetchAnswer, FetchKind, FetchOutcome, FetchSettings, Fetcher, Findings, Knowledge,
};
use wireglass_core::x509::Provider;

const CRL: &str = "http://crl.example.com/issuer.crl";
const OCSP: &str = "http://ocsp.example.com/";
const ISSUER: &str = "http://ca.example.com/issuer.cer";
const FETCHED: Option<Revocation> = Some(Revocation::Good(RevocationSource::Ocsp));

/// A world whose verifier has what this fetches.
struct Fetching {
    world: World,
    fetcher: Arc<Fetcher>,
    verifier: ChainVerifier,
    asked: Cell<i64>,
}

impl Fetching {
    fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
        Self::with(
            FetchSettings { crls: true, ocsp: true, issuers: true, ..FetchSettings::default() },
            change,
        )
    }

    fn with(settings: FetchSettings, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let world = World::new(change);
        let fetcher = Arc::new(Fetcher::new(settings, Provider::default()));
        let knowledge = Knowledge { fetcher: Some(Arc::clone(&fetcher)), ..Knowledge::default() };
        let verifier = world.verifier(&[]).with(&knowledge).unwrap();
        Self { world, fetcher, verifier, asked: Cell::new(0) }
    }

    /// The next request, some seconds after the one before.
    fn next(&self) -> Option<Fetch> {
        self.asked.set(self.asked.get() + 10);
        self.fetcher.next(Instant::from_secs(self.asked.get()), now())
    }

    fn verify(&self, now: u64) -> Findings {
        self.world.found(&self.verifier, &[], now)
    }

    fn verify_chain(&self, leaf: &Identity, others: &[CertificateDer<'_>]) -> Vec<Reason> {
        let name = ServerName::try_from(HOST).unwrap();
        self.verifier.verify(&leaf.der, others, &name, now()).defects
    }

    /// Answers the next request, which is to be this one.
    fn answer(&self, kind: FetchKind, url: &str, body: Vec<u8>) -> FetchOutcome {
        let fetch = self.next().unwrap();
        assert_eq!((fetch.kind, fetch.url.to_string().as_str()), (kind, url));
        self.fetcher.done(fetch, FetchAnswer::Body(body), now())
    }

    fn why(&self, now: u64) -> &'static str {
        match self.verify(now).revocation {
            Some(Revocation::Unknown(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

const REVOKED: &str = "R\t490101000000Z\t260101000000Z,keyCompromise";

#[test]
fn a_crl_is_there_for_the_next() {
    let test = Fetching::new(|params| addresses(params, CRL, OCSP, ""));
    assert_eq!(test.why(now()), "its CRL is being fetched");
    assert_eq!(test.why(now()), "its CRL is being fetched");
    let crl = test.world.crl("issuer", "-crldays 10");
    assert_eq!(test.answer(FetchKind::Crl, CRL, crl), FetchOutcome::Stored);
    assert!(test.next().is_none(), "asked once, and no OCSP responder");
    let found = test.verify(now());
    assert_eq!((found.defects, found.revocation), (vec![], LISTED));
    // Six hours later there is another one. Until it is here, what there is counts.
    let later = now() + 6 * 3600;
    assert_eq!(test.verify(later).revocation, LISTED);
    test.world.index(REVOKED);
    let fetch = test.next().unwrap();
    let old = test.world.crl("issuer", "-crldays 10");
    test.fetcher.done(fetch, FetchAnswer::Body(old), later);
    assert_eq!(test.verify(later).defects, [Reason::CertRevoked]);
    assert_eq!(test.verify(later + 30 * 86_400).defects, [Reason::CertRevoked], "revoked is revoked");
}

#[test]
fn an_older_crl_takes_nobodys_place() {
    let test = Fetching::new(|params| addresses(params, CRL, "", ""));
    let old = test.world.crl("issuer", "-crl_lastupdate 20260101000000Z -crl_nextupdate 20490101000000Z");
    test.world.index(REVOKED);
    let new = test.world.crl("issuer", "-crldays 10");
    test.verify(now());
    assert_eq!(test.answer(FetchKind::Crl, CRL, new), FetchOutcome::Stored);
    let later = now() + 6 * 3600;
    assert_eq!(test.verify(later).defects, [Reason::CertRevoked]);
    test.fetcher.done(test.next().unwrap(), FetchAnswer::Body(old), later);
    assert_eq!(test.verify(later).defects, [Reason::CertRevoked]);
}

#[test]
fn hostile_crls_are_no_crls() {
    let test = Fetching::new(|params| addresses(params, CRL, "", ""));
    let (other, pem) = (World::new(|_| {}), test.world.crl("issuer", "-crldays 10"));
    let good = CertificateRevocationListDer::from_pem_slice(&pem).unwrap().to_vec();
    let mut bent = good.clone();
    *bent.last_mut().unwrap() ^= 1;
    let mut later = now();
    for (body, what) in [
        (vec![], "empty"),
        (b"<html>".to_vec(), "a page"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n".to_vec(), "broken PEM"),
        (vec![0x30; 100_000], "DER without end"),
        (good[..good.len() - 1].to_vec(), "cut off"),
        (bent, "another signature"),
        (other.crl("issuer", "-crldays 10"), "by another CA of the name"),
        (test.world.crl("root", "-crldays 10"), "by the CA above"),
        (test.world.crl("issuer", "-crl_lastupdate 20200101000000Z -crl_nextupdate 20200201000000Z"), "old"),
        (test.world.crl("issuer", "-crl_lastupdate 20480101000000Z -crl_nextupdate 20490201000000Z"), "new"),
        (test.world.crl("issuer", "-crldays 10 -crlexts partial"), "of another address"),
        (test.world.issuer.der.to_vec(), "a certificate"),
    ] {
        assert_eq!(test.verify(later).revocation, Some(Revocation::Unknown("its CRL is being fetched")));
        let fetch = test.next().unwrap();
        let outcome = test.fetcher.done(fetch, FetchAnswer::Body(body), later);
        assert_eq!(outcome, FetchOutcome::Rejected, "{what}");
        assert_eq!(test.why(later), "its CRL could not be fetched", "{what}");
        assert!(test.next().is_none(), "not again at once");
        later += 300;
    }
    test.verify(later);
    assert_eq!(test.answer(FetchKind::Crl, CRL, good), FetchOutcome::Stored);
    test.verify(later + 6 * 3600);
    assert_eq!(test.answer(FetchKind::Crl, CRL, pem), FetchOutcome::Stored, "DER, and PEM");
}

#[test]
fn openssl_answers_our_ocsp_requests() {
    let test = Fetching::new(|params| addresses(params, "", OCSP, ""));
    assert_eq!(test.why(now()), "an OCSP response about it is being fetched");
    let fetch = test.next().unwrap();
    assert_eq!((fetch.kind, fetch.url.to_string().as_str()), (FetchKind::Ocsp, OCSP));
    let response = test.world.ocsp(fetch.body.as_deref().unwrap(), "issuer", "-ndays 4");
    assert_eq!(test.fetcher.done(fetch, FetchAnswer::Body(response), now()), FetchOutcome::Stored);
    let found = test.verify(now());
    assert_eq!((found.defects, found.revocation), (vec![], FETCHED));
    // Out of date: asked anew, and unknown until then.
    let later = now() + 5 * 86_400;
    assert_eq!(test.why(later), "an OCSP response that is out of date");
    test.world.index(REVOKED);
    let fetch = test.next().unwrap();
    let response = test.world.ocsp(fetch.body.as_deref().unwrap(), "issuer", "-ndays 4");
    test.fetcher.done(fetch, FetchAnswer::Body(response), later);
    let found = test.verify(later);
    assert_eq!(found.defects, [Reason::CertRevoked]);
    assert_eq!(found.findings[0].found, "revoked on 2026-01-01, says an OCSP response that was fetched");
}

#[test]
fn hostile_ocsp_responses_say_nothing() {
    let test = Fetching::new(|params| addresses(params, "", OCSP, ""));
    let other = World::new(|params| params.serial_number = Some(SerialNumber::from(vec![0x12; 8])));
    let mut bent = test.world.staple("issuer", "-ndays 1 -resp_no_certs");
    *bent.last_mut().unwrap() ^= 1;
    Identity::leaf(&test.world.issuer, |_| {}).write(test.world.dir.path(), "server");
    Identity::leaf(&other.issuer, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    })
    .write(test.world.dir.path(), "stranger");
    let mut later = now();
    for (body, what) in [
        (vec![], "empty"),
        (b"<html>".to_vec(), "a page"),
        (vec![0; 20_000], "too long"),
        (vec![0x30, 3, 10, 1, 6], "unauthorized"),
        (bent, "another signature"),
        (other.staple("issuer", "-ndays 1"), "of another CA's certificate"),
        (test.world.staple("server", "-ndays 1"), "by a server"),
        (test.world.staple("stranger", "-ndays 1"), "by a stranger"),
    ] {
        test.verify(later);
        let fetch = test.next().unwrap();
        let outcome = test.fetcher.done(fetch, FetchAnswer::Body(body), later);
        assert_eq!(outcome, FetchOutcome::Rejected, "{what}");
        assert_eq!(test.why(later), "no OCSP response about it could be fetched", "{what}");
        later += 300;
    }
}

#[test]
fn the_responder_is_asked_where_there_is_no_crl() {
    let test = Fetching::new(|params| addresses(params, CRL, OCSP, ""));
    test.verify(now());
    let fetch = test.next().unwrap();
    test.fetcher.done(fetch, FetchAnswer::Failed(FetchOutcome::Status), now());
    test.verify(now());
    let staple = test.world.staple("issuer", "-ndays 1");
    assert_eq!(test.answer(FetchKind::Ocsp, OCSP, staple), FetchOutcome::Stored);
    assert_eq!(test.verify(now()).revocation, FETCHED);
}

#[test]
fn nothing_is_fetched_that_is_not_lacked_or_not_to_be() {
    // A good staple.
    let test = Fetching::new(|params| addresses(params, CRL, OCSP, ""));
    let staple = test.world.staple("issuer", "-ndays 1");
    assert_eq!(test.world.found(&test.verifier, &staple, now()).revocation, GOOD);
    assert!(test.next().is_none());
    // No root has vouched for the addresses.
    let stranger = Identity::ca("Stranger", None);
    let leaf = Identity::leaf(&stranger, |params| addresses(params, CRL, OCSP, ""));
    assert_eq!(test.verify_chain(&leaf, std::slice::from_ref(&stranger.der)), [Reason::CertUntrusted]);
    assert!(test.next().is_none());
    // Nor for those below a certificate that a root has vouched for, but not as a CA's.
    let server = Identity::leaf(&test.world.issuer, |_| {});
    let double = Identity::ca("Server's CA", Some(&server));
    let below = Identity::new(
        {
            let mut params = Identity::ca("Server's Issuer", Some(&double)).params;
            addresses(&mut params, CRL, "", "");
            params
        },
        Some(&double),
    );
    let leaf = Identity::leaf(&below, |params| addresses(params, CRL, OCSP, ""));
    let chain = [below.der, double.der, server.der, test.world.issuer.der.clone()];
    assert_eq!(test.verify_chain(&leaf, &chain), [Reason::CertUsage]);
    assert!(test.next().is_none());
    // Kinds that are off.
    let test = Fetching::with(FetchSettings::default(), |params| addresses(params, CRL, OCSP, ISSUER));
    assert_eq!(test.verify_chain(&test.world.leaf, &[]), [Reason::CertIncomplete]);
    assert_eq!(test.why(now()), "no stapled OCSP response, and no CRL of its issuer");
    assert!(test.next().is_none());
    // Addresses that nobody asks.
    let test = Fetching::new(|params| {
        addresses(params, "ldap://crl.example.com/x", "https://ocsp.example.com/", "http://a b/");
    });
    assert_eq!(test.verify_chain(&test.world.leaf, &[]), [Reason::CertIncomplete]);
    assert_eq!(test.why(now()), "no stapled OCSP response, and no CRL of its issuer");
    assert!(test.next().is_none());
}

#[test]
fn what_demands_a_staple_is_no_better_for_a_fetched_response() {
    let test = Fetching::new(|params| {
        must_staple(params);
        addresses(params, "", OCSP, "");
    });
    assert_eq!(test.verify(now()).defects, [Reason::CertMustStaple]);
    let staple = test.world.staple("issuer", "-ndays 1");
    test.answer(FetchKind::Ocsp, OCSP, staple);
    let found = test.verify(now());
    assert_eq!((found.defects, found.revocation), (vec![Reason::CertMustStaple], FETCHED));
}

#[test]
fn a_ca_that_its_issuer_has_revoked() {
    let test = Fetching::new(|_| {});
    let mut params = Identity::ca("Public Issuer 2", Some(&test.world.root)).params;
    addresses(&mut params, CRL, OCSP, "");
    let issuer = Identity::new(params, Some(&test.world.root));
    let leaf = Identity::leaf(&issuer, |_| {});
    let chain = std::slice::from_ref(&issuer.der);
    assert_eq!(test.verify_chain(&leaf, chain), []);
    test.world.index(REVOKED);
    let crl = test.world.crl("root", "-crldays 10");
    assert_eq!(test.answer(FetchKind::Crl, CRL, crl), FetchOutcome::Stored);
    assert_eq!(test.verify_chain(&leaf, chain), [Reason::CertRevoked]);
    assert!(test.next().is_none(), "no responder is asked about a CA");
}

#[test]
fn a_missing_issuer_in_der_pem_or_cms() {
    for form in ["der", "pem", "p7c"] {
        let test = Fetching::new(|params| addresses(params, "", "", ISSUER));
        assert_eq!(test.verify_chain(&test.world.leaf, &[]), [Reason::CertIncomplete]);
        let path = test.world.dir.path();
        test.world
            .openssl("crl2pkcs7 -nocrl -certfile issuer.pem -certfile root.pem -outform DER -out issuer.p7c");
        let body = match form {
            "der" => test.world.issuer.der.to_vec(),
            form => fs::read(path.join(format!("issuer.{form}"))).unwrap(),
        };
        assert_eq!(test.answer(FetchKind::Issuer, ISSUER, body), FetchOutcome::Stored, "{form}");
        assert_eq!(test.verify_chain(&test.world.leaf, &[]), [], "{form}");
    }
}

#[test]
fn two_issuers_are_missing() {
    const FIRST: &str = "http://ca.example.com/first.cer";
    let test = Fetching::new(|_| {});
    let mut params = Identity::ca("Public Issuer 2", Some(&test.world.issuer)).params;
    addresses(&mut params, "", "", ISSUER);
    let below = Identity::new(params, Some(&test.world.issuer));
    let leaf = Identity::leaf(&below, |params| addresses(params, "", "", FIRST));
    assert_eq!(test.verify_chain(&leaf, &[]), [Reason::CertIncomplete]);
    test.answer(FetchKind::Issuer, FIRST, below.der.to_vec());
    assert_eq!(test.verify_chain(&leaf, &[]), [Reason::CertIncomplete]);
    test.answer(FetchKind::Issuer, ISSUER, test.world.issuer.der.to_vec());
    assert_eq!(test.verify_chain(&leaf, &[]), []);
    // Seen in a good chain: known for good, as if a server had sent it.
    let other = Identity::leaf(&test.world.issuer, |_| {});
    assert_eq!(test.verify_chain(&other, &[]), []);
}

/// It fills a gap, and is no reason to trust anything.
#[test]
fn a_fetched_issuer_is_not_trusted() {
    let test = Fetching::new(|_| {});
    let stranger = Identity::ca("Stranger", None);
    let below = Identity::ca("Stranger's Issuer", Some(&stranger));
    let leaf = Identity::leaf(&below, |params| addresses(params, "", "", ISSUER));
    assert_eq!(test.verify_chain(&leaf, &[]), [Reason::CertIncomplete]);
    test.answer(FetchKind::Issuer, ISSUER, below.der.to_vec());
    assert_eq!(test.verify_chain(&leaf, &[]), [Reason::CertUntrusted]);
    // One with the name of a CA that has not signed the leaf: neither that leaf nor those of the real CA are any the worse.
    let test = Fetching::new(|params| addresses(params, "", "", ISSUER));
    let double = Identity::ca("Public Issuer", Some(&stranger));
    let false_leaf = Identity::leaf(&double, |params| addresses(params, "", "", "http://evil.example/"));
    assert_eq!(test.verify_chain(&false_leaf, &[]), [Reason::CertIncomplete]);
    test.answer(FetchKind::Issuer, "http://evil.example/", double.der.to_vec());
    assert_ne!(test.verify_chain(&false_leaf, &[]), []);
    assert_eq!(test.verify_chain(&test.world.leaf, &[]), [Reason::CertIncomplete]);
    test.answer(FetchKind::Issuer, ISSUER, test.world.issuer.der.to_vec());
    assert_eq!(test.verify_chain(&test.world.leaf, &[]), []);
}

#[test]
fn hostile_files_of_issuers() {
    let test = Fetching::new(|params| addresses(params, "", "", ISSUER));
    let mut big = Identity::ca("Public Issuer", Some(&test.world.root)).params;
    big.subject_alt_names =
        (0..300).map(|n| rcgen::SanType::DnsName(format!("{n}.example.com").try_into().unwrap())).collect();
    let big = Identity::new(big, Some(&test.world.root));
    let mut later = now();
    for (body, what) in [
        (vec![], "empty"),
        (b"<html>".to_vec(), "a page"),
        (vec![0x30; 60_000], "DER without end"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(), "broken PEM"),
        (test.world.root.der.to_vec(), "another CA"),
        (big.der.to_vec(), "too long a certificate"),
    ] {
        let name = ServerName::try_from(HOST).unwrap();
        let verify = |now| test.verifier.verify(&test.world.leaf.der, &[], &name, now).defects;
        assert_eq!(verify(later), [Reason::CertIncomplete]);
        let fetch = test.next().unwrap();
        let outcome = test.fetcher.done(fetch, FetchAnswer::Body(body), later);
        assert_eq!(outcome, FetchOutcome::Rejected, "{what}");
        assert_eq!(verify(later), [Reason::CertIncomplete]);
        assert!(test.next().is_none(), "not again at once");
        later += 300;
    }
}
