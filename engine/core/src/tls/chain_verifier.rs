//! The verification of a chain by itself, without a handshake: for `wireglass verify`, and for tests.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::context::Knowledge;
use super::trust::{NoRoot, TrustStore};
use super::verify::crl::Crls;
use super::verify::intermediates::Intermediates;
use super::verify::root_signatures::RootSignatures;
use super::verify::sct::CtLogs;
use super::verify::{Budget, Effort, Findings, OwnCa, Verifier};
use crate::reason::Reason;
use crate::x509::{Provider, RootFile, SetupError};

/// Verifies chains as handshakes have theirs verified.
pub struct ChainVerifier(Verifier);

impl ChainVerifier {
    /// Loads a trust store: the roots of the operating system, if they are to be trusted (none of them: Mozilla's), and further ones.
    /// `own` are the certificates of our CAs in DER, whose keys are not needed.
    ///
    /// # Errors
    /// The file at fault, and what was expected of it.
    pub fn new(
        provider: Provider,
        system_roots: Option<&[CertificateDer<'_>]>,
        roots: &[RootFile],
        own: &[CertificateDer<'_>],
    ) -> Result<Self, SetupError> {
        let trust = TrustStore::load(system_roots, roots)?;
        let algorithms = provider.load().signature_verification_algorithms.all;
        let own = own.iter().filter_map(OwnCa::of_certificate).collect();
        let (intermediates, crls) = (Intermediates::none(), Crls::default());
        let root_signatures = RootSignatures::none();
        Ok(Self(Verifier {
            trust,
            intermediates,
            crls,
            ct_logs: None,
            fetcher: None,
            algorithms,
            own,
            root_signatures,
        }))
    }

    /// Has it know intermediates that servers forget, lists of revoked certificates, and logs; and what is fetched.
    ///
    /// # Errors
    /// The file at fault, and what was expected of it.
    pub fn with(mut self, knowledge: &Knowledge) -> Result<Self, SetupError> {
        self.0.intermediates = Intermediates::load(&knowledge.intermediates)?;
        self.0.crls = Crls::load(&knowledge.crls)?;
        self.0.ct_logs = knowledge.ct_logs.as_deref().map(CtLogs::new);
        self.0.fetcher.clone_from(&knowledge.fetcher);
        Ok(self)
    }

    /// What is found of a chain, the server's own certificate first, that was presented for `name` without an OCSP response, at `now` in
    /// seconds since the Unix epoch. An address is what a client asks for that sends no name.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: u64,
    ) -> Findings {
        self.verify_stapled(leaf, others, &[], name, now)
    }

    /// Likewise, with the OCSP response that the server stapled; empty: none.
    pub fn verify_stapled(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        staple: &[u8],
        name: &ServerName<'_>,
        now: u64,
    ) -> Findings {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(now));
        let effort = Effort::within(Budget::Whole);
        let (findings, mut consulted) = self.0.verify(leaf, others, staple, name, time, &effort);
        self.0.order(&mut consulted, now);
        findings
    }

    /// Defects of a chain that was presented, whichever name was asked for: a name that the certificate does not have is one of them.
    pub(crate) fn defects(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: u64,
    ) -> Vec<Reason> {
        let nobody = ServerName::from(IpAddr::from(Ipv4Addr::UNSPECIFIED));
        self.verify(leaf, others, &nobody, now).defects
    }

    /// Certificates of the files of roots that are none.
    pub fn no_roots(&self) -> &[NoRoot] {
        self.0.trust.no_roots()
    }
}
