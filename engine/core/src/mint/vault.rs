//! The keys of both CAs, and what they may sign. Whoever asks is not believed: a copy says what its original says, the trusted CA signs
//! copies of what is in order by itself, and whatever else is asked for is bounded.

use rustls::crypto::SecureRandom;
use rustls_pki_types::{CertificateDer, DnsName, PrivateKeyDer, pem::PemObject};
use x509_cert::der::Decode;
use x509_cert::der::asn1::AnyRef;

use super::signer::{CaSigner, LeafOrder, LeafSubject, Refusal, SignError};
use super::{Authority, leaf, status};
use crate::policy::{DefectAction, Profile};
use crate::reason::Reason;
use crate::tls::{ChainVerifier, is_within_constraints};
use crate::x509::{CaFiles, CaKey, Certificate, Key, KeyStrength, Provider, PublicKey, SetupError};

/// Longest SubjectPublicKeyInfo of a leaf, in bytes: RSA with 4096 bits has 550.
const MAX_PUBLIC_KEY: usize = 1024;
/// Longest validity of a leaf with which the engine answers in a server's place, in days: it is of use for one answer, and made
/// anew when it is.
pub(crate) const ANSWER_DAYS: u32 = 7;

/// A CA and its key.
pub(crate) struct SigningCa {
    pub(super) authority: Authority,
    pub(super) key: Key,
}

impl SigningCa {
    /// Loads both and checks that they belong together. `now` is in seconds since the Unix epoch.
    pub(super) fn load(
        provider: Provider,
        files: &CaFiles,
        crl_url: Option<&str>,
        now: u64,
    ) -> Result<Self, SetupError> {
        let authority = Authority::load(files, now)?.with_crl_url(crl_url);
        let wrong = |expected: &str| SetupError::new(&files.key_name, expected);
        let not_its_own = || wrong(&format!("the key of the certificate in {}", files.cert_name));
        let key = match &files.key {
            CaKey::Pem(pem) => {
                let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| wrong("a private key in PEM"))?;
                let key = Key::load(provider, der).map_err(|_| {
                    wrong("a P-256, P-384 or RSA (2048 bits or more) key that is not encrypted")
                })?;
                if key.public_key().as_deref() != Some(authority.public_key()) {
                    return Err(not_its_own());
                }
                key
            }
            CaKey::Token(signing) => {
                let key = Key::held_by(signing.clone());
                match key.signs_for(provider, authority.public_key()) {
                    Ok(true) => key,
                    Ok(false) => return Err(not_its_own()),
                    Err(_) => return Err(wrong("a key that its token signs with")),
                }
            }
            CaKey::Elsewhere => return Err(wrong("a key that is read by whoever signs")),
        };
        key.certificate_algorithm().map_err(|_| wrong("a P-256, P-384 or RSA key"))?;
        Ok(Self { authority, key })
    }
}

/// What is known of originals, so that the trusted CA signs only for those that are in order.
pub struct OriginalCheck {
    verifier: ChainVerifier,
    /// Defects that a profile allows.
    tolerated: Vec<Reason>,
    /// The longest validity that a profile gives, in days.
    max_days: u32,
    answers: bool,
}

impl OriginalCheck {
    /// `verifier` knows roots and our own CAs; `answers`: a rule answers in a server's place.
    pub fn new<'p>(
        verifier: ChainVerifier,
        profiles: impl Iterator<Item = &'p Profile> + Clone,
        answers: bool,
    ) -> Self {
        let is_tolerated =
            |reason: &Reason| profiles.clone().any(|p| p.action(*reason) == DefectAction::Allow);
        let tolerated = Reason::ALL.iter().copied().filter(is_tolerated).collect();
        let max_days = profiles.clone().map(|profile| profile.max_days).max().unwrap_or(1);
        Self { verifier, tolerated, max_days, answers }
    }

    /// The trusted CA may sign a copy. Which names were asked for is nothing to it: the copy has those of the original, and the client
    /// looks for itself. Nor is what a server staples: that is not shown here.
    fn check(&self, original: &[u8], others: Vec<CertificateDer<'_>>, now: i64) -> Result<(), Refusal> {
        let leaf = CertificateDer::from(original);
        let now = u64::try_from(now).unwrap_or_default();
        let asked_elsewhere = |reason: &Reason| {
            matches!(reason, Reason::CertMismatch | Reason::CertNoName | Reason::CertMustStaple)
        };
        let defects = self.verifier.defects(&leaf, &others, now);
        let refused = defects.into_iter().find(|d| !asked_elsewhere(d) && !self.tolerated.contains(d));
        refused.map_or(Ok(()), |reason| Err(Refusal::Defect(reason)))
    }
}

/// The keys of both CAs.
pub struct CaVault {
    trusted: SigningCa,
    untrusted: SigningCa,
    random: &'static dyn SecureRandom,
    /// None: whoever asks has verified the original, and is in this process.
    check: Option<OriginalCheck>,
}

impl CaVault {
    /// Loads both CAs. `now` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// The file at fault, and what was expected of it.
    pub fn load(
        provider: Provider,
        (trusted, untrusted): (&CaFiles, &CaFiles),
        crl_url: Option<&str>,
        now: u64,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            trusted: SigningCa::load(provider, trusted, crl_url, now)?,
            untrusted: SigningCa::load(provider, untrusted, None, now)?,
            random: provider.load().secure_random,
            check: None,
        })
    }

    /// Has it believe nobody who asks.
    pub fn checking(mut self, check: OriginalCheck) -> Self {
        self.check = Some(check);
        self
    }

    /// By what orders call the trusted and the untrusted CA: SHA-256 over their certificates, and what else leaves of theirs have.
    pub fn fingerprints(&self) -> [[u8; 32]; 2] {
        [&self.trusted, &self.untrusted].map(|ca| ca.authority.fingerprint())
    }

    pub(crate) fn authorities(&self) -> [&Authority; 2] {
        [&self.trusted.authority, &self.untrusted.authority]
    }

    fn find(&self, ca: [u8; 32]) -> Result<&SigningCa, SignError> {
        let cas = [&self.trusted, &self.untrusted];
        let found = cas.into_iter().find(|own| own.authority.fingerprint() == ca);
        found.ok_or(SignError::Refused(Refusal::OtherCa))
    }

    /// The key may be a leaf's.
    fn check_key(&self, public_key: &[u8]) -> Result<(), Refusal> {
        let is_own = self.authorities().iter().any(|own| own.public_key() == public_key);
        let is_good = public_key.len() <= MAX_PUBLIC_KEY
            && AnyRef::from_der(public_key).ok().and_then(PublicKey::parse).map(|key| key.strength())
                == Some(KeyStrength::Good);
        if is_good && !is_own { Ok(()) } else { Err(Refusal::Key) }
    }
}

impl CaSigner for CaVault {
    fn leaf(&self, order: &LeafOrder<'_>) -> Result<Vec<u8>, SignError> {
        let ca = self.find(order.ca)?;
        self.check_key(order.public_key).map_err(SignError::Refused)?;
        let is_trusted = std::ptr::eq(ca, &self.trusted);
        let longest = self.check.as_ref().map_or(u32::MAX, |check| check.max_days);
        let order = LeafOrder { max_days: order.max_days.min(longest), ..*order };
        let der = match order.subject {
            LeafSubject::Copy { original, others, added } => {
                let parsed = Certificate::parse(original).map_err(|_| SignError::Original)?;
                if let Some(check) = self.check.as_ref().filter(|_| is_trusted) {
                    let others = others.iter().map(|der| CertificateDer::from(&der[..]));
                    let chain = others.chain(added.iter().map(|der| CertificateDer::from(&der[..])));
                    check.check(original, chain.collect(), order.now).map_err(SignError::Refused)?;
                }
                leaf::copy(ca, &parsed, &order, self.random)?
            }
            LeafSubject::Name(name) => {
                if !is_trusted || self.check.as_ref().is_some_and(|check| !check.answers) {
                    return Err(SignError::Refused(Refusal::Answer));
                }
                DnsName::try_from(name).map_err(|_| SignError::Original)?;
                let order = LeafOrder { max_days: order.max_days.min(ANSWER_DAYS), ..order };
                leaf::named(ca, name, &order, self.random)?
            }
        };
        let leaf = Certificate::parse(&der).map_err(|_| SignError::Original)?;
        if is_within_constraints(&leaf, ca.authority.certificates()) {
            Ok(der)
        } else {
            Err(SignError::Refused(Refusal::Constraints))
        }
    }

    fn status(&self, ca: [u8; 32], serial: &[u8], now: i64) -> Result<Vec<u8>, SignError> {
        let ca = self.find(ca)?;
        // Nobody staples for the other one, and other things that the CA may have signed are not the engine's to vouch for: most of those
        // have serial numbers of another length.
        if !std::ptr::eq(ca, &self.trusted) {
            return Err(SignError::Refused(Refusal::OtherCa));
        }
        if serial.len() != leaf::SERIAL_LEN {
            return Err(SignError::Refused(Refusal::Size));
        }
        status::staple(ca, serial, now).ok_or(SignError::Crypto)
    }
}
