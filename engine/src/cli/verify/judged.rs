//! What is to be said of a chain, as text and as JSON.

use std::fmt::{self, Display};
use std::process::ExitCode;

use rustls_pki_types::{CertificateDer, ServerName};
use serde::Serialize;
use wireglass_core::event::{ChainFinding, Revocation, RevocationSource};
use wireglass_core::policy::{DefectAction, Profile, key_of_defect};
use wireglass_core::reason::Reason;
use wireglass_core::tls::Findings;
use wireglass_core::x509::{describe_certificate, describe_date as date};

use crate::cli::plain::Plain;

/// Certificates that are shown; the others are counted.
const SHOWN: usize = 10;

/// What becomes of a flow whose server presents this chain.
#[derive(Debug, Serialize)]
pub(super) struct Judged {
    name: String,
    /// Seconds since the Unix epoch.
    at: u64,
    profile: String,
    decision: Decision,
    /// The code of what decided.
    reason: Option<&'static str>,
    /// Subject of the trusted root.
    root: Option<String>,
    /// "good", "revoked" or "unknown"; none: there is no root, or the certificate is trusted for itself.
    revocation: Option<&'static str>,
    /// Who says so: "staple" or "crl".
    revocation_source: Option<&'static str>,
    /// Why nobody says anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_unknown: Option<&'static str>,
    findings: Vec<Found>,
    presented: Vec<Presented>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Decision {
    Decrypt,
    UntrustedCa,
    Block,
}

impl From<DefectAction> for Decision {
    fn from(action: DefectAction) -> Self {
        match action {
            DefectAction::Allow => Self::Decrypt,
            DefectAction::UntrustedCa => Self::UntrustedCa,
            DefectAction::Block => Self::Block,
        }
    }
}

/// A finding, and what the profile says of it.
#[derive(Debug, Serialize)]
struct Found {
    reason: &'static str,
    certificate: u8,
    subject: Option<String>,
    found: String,
    decision: Decision,
    /// The key that decides; none: nothing but a bypass lets it pass.
    key: Option<&'static str>,
    /// What to do.
    advice: &'static str,
}

/// A certificate as it was presented.
#[derive(Debug, Serialize)]
struct Presented {
    subject: String,
    issuer: String,
    not_before: i64,
    not_after: i64,
    fingerprint: String,
}

impl Judged {
    pub(super) fn new(
        name: &ServerName<'_>,
        at: u64,
        profile: &Profile,
        presented: &[CertificateDer<'_>],
        mut findings: Findings,
    ) -> Self {
        let verdict = findings.verdict(profile);
        if let (Some(Reason::CertRevocationUnknown), Some(Revocation::Unknown(why))) =
            (verdict.defect, findings.revocation)
        {
            findings.findings.push(ChainFinding {
                reason: Reason::CertRevocationUnknown,
                certificate: 0,
                subject: presented.first().and_then(|der| describe_certificate(der)).map(|leaf| leaf.subject),
                found: why.into(),
            });
        }
        let found = |finding: ChainFinding| Found {
            reason: finding.reason.code(),
            certificate: finding.certificate,
            subject: finding.subject,
            found: finding.found,
            decision: profile.action(finding.reason).into(),
            key: key_of_defect(finding.reason),
            advice: advice(finding.reason),
        };
        Self {
            name: name.to_str().into_owned(),
            at,
            profile: profile.name.clone(),
            decision: verdict.action.into(),
            reason: verdict.defect.map(Reason::code),
            root: findings.root,
            revocation: findings.revocation.map(Revocation::name),
            revocation_source: findings.revocation.and_then(Revocation::source).map(RevocationSource::name),
            revocation_unknown: match findings.revocation {
                Some(Revocation::Unknown(why)) => Some(why),
                _ => None,
            },
            findings: findings.findings.into_iter().map(found).collect(),
            presented: presented.iter().take(SHOWN).map(|der| described(der)).collect(),
        }
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.decision as u8)
    }
}

fn described(der: &[u8]) -> Presented {
    match describe_certificate(der) {
        Some(info) => Presented {
            subject: info.subject,
            issuer: info.issuer,
            not_before: info.not_before,
            not_after: info.not_after,
            fingerprint: info.fingerprint,
        },
        None => Presented {
            subject: "not a certificate".into(),
            issuer: String::new(),
            not_before: 0,
            not_after: 0,
            fingerprint: String::new(),
        },
    }
}

/// What the one who looks after the server, or after the configuration, can do.
fn advice(reason: Reason) -> &'static str {
    match reason {
        Reason::CertExpired => "have the certificate renewed; check this machine's clock",
        Reason::CertNotYet => "check this machine's clock, and the server's dates",
        Reason::CertUntrusted => {
            "put the root that it leads to in trust.roots, or have the server present the certificates between"
        }
        Reason::CertIncomplete => {
            "have the server present the certificates between, or put them in trust.intermediates"
        }
        Reason::CertRevoked => "have the certificate replaced; do not trust who uses it now",
        Reason::CertRevocationUnknown => {
            "have the server staple an OCSP response, or put its issuer's CRL in trust.crls"
        }
        Reason::CertNoSct => {
            "have its CA make one with the timestamps that browsers want; is the log list fresh?"
        }
        Reason::CertMustStaple => "have the server staple a fresh OCSP response",
        Reason::CertSelfSigned => "put this certificate in trust.roots, if it is the right one",
        Reason::CertMismatch => "ask for a name that it has, or have that name put in its subjectAltName",
        Reason::CertNoName => "have the client send a name (SNI), or the address put in its subjectAltName",
        Reason::CertUsage => "have its CA make one that is for this use",
        Reason::CertUnsupported => "compare it with the CA's own documents before you allow it",
        Reason::CertWeak => "have it made with RSA of 2048 bits or P-256, and SHA-256",
        Reason::CertMalformed => "have its CA make a new one",
        Reason::CertTooComplex => "have the server present its own path only",
        Reason::CertOwnCa => {
            "find out how a certificate of this engine's CA gets there: another engine, or a stolen key"
        }
        _ => "report it",
    }
}

impl Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = date(i64::try_from(self.at).unwrap_or(i64::MAX));
        let (name, profile) = (Plain(&self.name), Plain(&self.profile));
        let decision = match self.decision {
            Decision::Decrypt => "decrypted, and its copy is signed by the trusted CA",
            Decision::UntrustedCa => "decrypted, and its copy is signed by the untrusted CA: browsers warn",
            Decision::Block => "blocked",
        };
        write!(f, "{name}, with profile {profile} on {day}: {decision}")?;
        match self.reason {
            Some(reason) => writeln!(f, " ({reason})")?,
            None => writeln!(f)?,
        }
        writeln!(f, "\npresented")?;
        for (place, certificate) in self.presented.iter().enumerate() {
            let Presented { subject, issuer, not_before, not_after, fingerprint } = certificate;
            writeln!(f, "  {place}  {}", Plain(subject))?;
            if !fingerprint.is_empty() {
                writeln!(f, "     by {}", Plain(issuer))?;
                writeln!(f, "     {} to {}, SHA-1 {fingerprint}", date(*not_before), date(*not_after))?;
            }
        }
        match &self.root {
            Some(root) => writeln!(f, "leads to the root\n     {}", Plain(root))?,
            None if self.findings.is_empty() => writeln!(f, "trusted as itself: it is in trust.roots")?,
            None => writeln!(f, "leads to no trusted root")?,
        }
        match (self.revocation, self.revocation_source, self.revocation_unknown) {
            (Some(status), Some(source), _) => writeln!(f, "revocation: {status}, says the {source}")?,
            (Some(status), None, Some(why)) => writeln!(f, "revocation: {status} ({why})")?,
            _ => {}
        }
        if self.findings.is_empty() {
            return writeln!(f, "\nnothing is wrong with it");
        }
        writeln!(f, "\nfindings")?;
        self.findings.iter().try_for_each(|found| found.fmt(f))
    }
}

impl Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.subject.as_deref().unwrap_or("(no name)");
        let which = match self.certificate {
            0 => "the server's own certificate".to_owned(),
            1 => "the certificate of its issuer".to_owned(),
            n => format!("the certificate {n} above it"),
        };
        writeln!(f, "  {} in {which}, {subject}: {}", self.reason, self.found)?;
        writeln!(f, "     {}", self.advice)?;
        match (self.key, self.decision) {
            (Some(key), Decision::Block) => {
                writeln!(f, "     blocked by {key}; {} lets it pass", lets_pass(key))
            }
            (Some(key), Decision::UntrustedCa) => writeln!(f, "     {key} has the untrusted CA sign"),
            (Some(key), Decision::Decrypt) => writeln!(f, "     {key} lets it pass"),
            (None, _) => writeln!(f, "     no key of a profile lets it pass; a rule may bypass the server"),
        }
    }
}

/// The values of a key that do not block.
fn lets_pass(key: &str) -> &'static str {
    if key == "on_no_name" { "\"server_names\"" } else { "\"untrusted-ca\" or \"allow\"" }
}
