//! What comes for a CRL, an OCSP response or the certificate of an issuer; the first byte says for which.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, ServerName};
use tcp_stack::Instant;
use wireglass_core::reason::Reason;
use wireglass_core::tls::{
    ChainVerifier, FetchAnswer, FetchKind, FetchOutcome, FetchSettings, Fetcher, HttpUrl, Knowledge,
};
use wireglass_core::x509::{Provider, RootFile};

const NOW: u64 = 1_800_000_000;

pub fn run(data: &[u8]) {
    let Some((&kind, body)) = data.split_first() else { return };
    let kind = FetchKind::ALL[usize::from(kind) % FetchKind::ALL.len()];
    let settings = FetchSettings {
        crls: kind == FetchKind::Crl,
        ocsp: kind == FetchKind::Ocsp,
        issuers: kind == FetchKind::Issuer,
        ..FetchSettings::default()
    };
    let fetcher = Arc::new(Fetcher::new(settings, Provider::default()));
    let root = RootFile { name: "root".into(), pem: include_bytes!("fetched/root.pem").to_vec() };
    let knowledge = Knowledge { fetcher: Some(Arc::clone(&fetcher)), ..Knowledge::default() };
    let verifier =
        ChainVerifier::new(Provider::default(), None, &[root], &[]).and_then(|v| v.with(&knowledge));
    let Ok(verifier) = verifier else { panic!("the root is one") };
    let leaf = CertificateDer::from(&include_bytes!("fetched/leaf.der")[..]);
    let issuer = [CertificateDer::from(&include_bytes!("fetched/issuer.der")[..])];
    let sent = if kind == FetchKind::Issuer { &[][..] } else { &issuer[..] };
    let Ok(name) = ServerName::try_from("www.example.com") else { panic!("it is a name") };
    verifier.verify(&leaf, sent, &name, NOW);
    let Some(fetch) = fetcher.next(Instant::ZERO, NOW) else { panic!("nothing is asked for") };
    let outcome = fetcher.done(fetch, FetchAnswer::Body(body.to_vec()), NOW);
    assert!([FetchOutcome::Stored, FetchOutcome::Rejected, FetchOutcome::TooLong].contains(&outcome));
    let found = verifier.verify(&leaf, sent, &name, NOW);
    let allowed: &[Reason] = match kind {
        FetchKind::Issuer => &[Reason::CertIncomplete, Reason::CertUntrusted],
        FetchKind::Crl | FetchKind::Ocsp => &[Reason::CertRevoked],
    };
    assert!(found.defects.iter().all(|defect| allowed.contains(defect)), "{found:?}");
    // An address, as certificates have them: what is one stays one.
    if let Some(url) = str::from_utf8(body).ok().and_then(HttpUrl::parse) {
        assert_eq!(HttpUrl::parse(&url.to_string()), Some(url));
    }
}
