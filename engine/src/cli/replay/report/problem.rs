//! What would break, or change, once a connection is decrypted: found in what the capture shows of it.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use serde::Serialize;
use sha2::{Digest, Sha256};
use wireglass_core::event::Action;
use wireglass_core::exclusions::Cause;
use wireglass_core::generations::Generations;
use wireglass_core::policy::{ClientCertificateAction, DefectAction, Profile, TlsVersion};
use wireglass_core::reason::Reason;
use wireglass_core::tls::{ChainVerifier, ServerFacts, Verdict, description, name_to_prove};
use wireglass_core::x509::SetupError;

use crate::cli::pinned::pinned_by;
use crate::cli::replay::onlooker::Ended;
use crate::config::Verification;

/// Chains of which the verdict is kept.
const CHAINS: usize = 4096;
const TLS12: u16 = 0x0303;

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Impact {
    /// The connection fails.
    Breaks,
    /// It fails, unless the other end has something that the capture does not show.
    MayBreak,
    /// Browsers warn: the copy is signed by the CA that nobody trusts.
    Warns,
    /// The profile lets it pass uninspected, from the second connection on at the latest.
    Bypassed,
}

impl Impact {
    pub(super) const ALL: [Self; 4] = [Self::Breaks, Self::MayBreak, Self::Warns, Self::Bypassed];

    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::Breaks => "breaks",
            Self::MayBreak => "may break",
            Self::Warns => "warns",
            Self::Bypassed => "bypassed",
        }
    }
}

/// Something that was found of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) impact: Impact,
    /// As the engine's log would have it; `pinned` and `client.alert` are known from captures alone.
    pub(super) code: &'static str,
    /// It is about the kind of client, not about the server.
    pub(super) of_client: bool,
    pub(super) found: String,
    pub(super) advice: &'static str,
}

/// A server's certificate, as far as a capture shows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Presented {
    pub(super) issuer: Option<String>,
    pub(super) not_after: Option<i64>,
    /// What verification says of it.
    pub(super) verdict: Option<&'static str>,
}

/// Finds them.
pub(in crate::cli::replay) struct Judge {
    verification: Verification,
    verifier: ChainVerifier,
    chains: Generations<[u8; 32], Vec<Reason>>,
}

impl Judge {
    pub(in crate::cli::replay) fn new(verification: Verification) -> Result<Self, SetupError> {
        let verifier = verification.verifier()?;
        Ok(Self { verification, verifier, chains: Generations::new(CHAINS) })
    }

    /// The profile that would have decrypted it.
    fn profile(&self, ended: &Ended) -> Option<Arc<Profile>> {
        let name = ended.played.as_ref()?.profile.as_deref()?;
        self.verification.profile(Some(name)).ok()
    }

    /// What there is to say about the server's chain, whatever is decided.
    pub(super) fn presented(&mut self, ended: &Ended, name: Option<&str>) -> Option<Presented> {
        let facts = &ended.observed.server;
        let leaf = facts.chain.first()?;
        let info = wireglass_core::x509::describe_certificate(leaf);
        let defects = self.defects(ended, name);
        let profile = self.profile(ended).unwrap_or_else(|| Arc::clone(&self.verification.profile));
        let verdict = Verdict::of(&defects, &profile).defect.or(defects.first().copied());
        Some(Presented {
            issuer: info.as_ref().map(|info| info.issuer.clone()),
            not_after: info.map(|info| info.not_after),
            verdict: Some(verdict.map_or("ok", Reason::code)),
        })
    }

    /// Defects of the chain for this name at the time of the capture.
    fn defects(&mut self, ended: &Ended, name: Option<&str>) -> Vec<Reason> {
        let facts = &ended.observed.server;
        let name = name_to_prove(name, ended.server.ip());
        let mut digest = Sha256::new();
        digest.update(name.to_str().as_bytes());
        facts.chain.iter().for_each(|der| digest.update(Sha256::digest(der)));
        let key = digest.finalize().into();
        if let Some(defects) = self.chains.find(&key) {
            return defects.clone();
        }
        let chain: Vec<_> = facts.chain.iter().map(|der| CertificateDer::from(&**der)).collect();
        let staple = facts.staple.as_deref().unwrap_or_default();
        let defects = match chain.split_first() {
            Some((leaf, others)) => {
                let findings =
                    self.verifier.verify_stapled(leaf, others, staple, &name, ended.began / 1_000_000);
                findings.defects
            }
            None => Vec::new(),
        };
        self.chains.insert(key, defects.clone());
        defects
    }

    /// All that was found. What policy bypasses or blocks by itself has no problems.
    pub(super) fn problems(&mut self, ended: &Ended, name: Option<&str>) -> Vec<Problem> {
        let Some(played) = &ended.played else { return Vec::new() };
        let profile = self.profile(ended);
        match (played.decision, &profile) {
            (Some(Action::Decrypt), Some(profile)) => {
                let mut problems: Vec<_> = of_server(&ended.observed.server, profile).into_iter().collect();
                problems.extend(of_client_certificate(ended, profile));
                problems.extend(of_name(name, profile));
                problems.extend(self.of_chain(ended, name, profile));
                problems.extend(of_client_alert(ended));
                problems
            }
            (Some(Action::Block), _) => played
                .reason
                .filter(|reason| is_own(*reason))
                .map(|reason| refused(ended, reason))
                .into_iter()
                .collect(),
            (Some(Action::Bypass), Some(_)) => {
                let unsupported = played.reason.filter(|reason| is_own(*reason));
                unsupported
                    .map(|reason| Problem { impact: Impact::Bypassed, ..refused(ended, reason) })
                    .into_iter()
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    fn of_chain(&mut self, ended: &Ended, name: Option<&str>, profile: &Profile) -> Option<Problem> {
        let defects = self.defects(ended, name);
        let verdict = Verdict::of(&defects, profile);
        let impact = match verdict.action {
            DefectAction::Block => Impact::Breaks,
            DefectAction::UntrustedCa => Impact::Warns,
            DefectAction::Allow => return None,
        };
        let reason = verdict.defect?;
        Some(Problem {
            impact,
            code: reason.code(),
            of_client: false,
            found: help(reason),
            advice: match reason {
                Reason::CertOwnCa => {
                    "the capture is of the clients' side of an engine: take one of the servers' side"
                }
                _ => {
                    "wireglass verify says what is wrong and which key decides; for a CA of your own: trust.roots"
                }
            },
        })
    }
}

/// The engine itself would refuse it, not policy.
fn is_own(reason: Reason) -> bool {
    ["hello.", "ver.", "cipher."].iter().any(|class| reason.code().starts_with(class))
}

fn refused(ended: &Ended, reason: Reason) -> Problem {
    let of_client = matches!(reason, Reason::VersionUnsupportedClient | Reason::CipherNoneClient);
    let advice = match reason {
        Reason::HelloNotTls if ended.observed.plain > 0 => {
            "TLS begins behind another protocol: name the port in [starttls], or take it out of intercept.ports"
        }
        Reason::HelloNotTls => "bypass the server by its address, or intercept.not_tls = \"bypass\"",
        _ => {
            "update the clients, or bypass them by address or JA4; on_unsupported = \"bypass\" does it for all"
        }
    };
    Problem { impact: Impact::Breaks, code: reason.code(), of_client, found: help(reason), advice }
}

/// Without the full stop: more of the sentence follows.
fn help(reason: Reason) -> String {
    reason.help().trim_end_matches('.').to_owned()
}

/// Version and suite that the server has chosen.
fn of_server(facts: &ServerFacts, profile: &Profile) -> Option<Problem> {
    const ADVICE: &str = "bypass the server, or on_unsupported = \"bypass\" in the profile";
    let leg = facts.leg();
    let lowest = if profile.min_version == TlsVersion::Tls13 { 0x0304 } else { TLS12 };
    let bypassed = profile.bypasses(Cause::Unsupported);
    let problem = |impact: Impact, reason: Reason, found: String| Problem {
        impact: if bypassed { Impact::Bypassed } else { impact },
        code: reason.code(),
        of_client: false,
        found,
        advice: ADVICE,
    };
    if facts.version == 0 {
        return None;
    }
    if facts.version < lowest {
        let version = leg.version.unwrap_or("an unknown version");
        return Some(problem(
            Impact::Breaks,
            Reason::VersionUnsupportedServer,
            format!("The server chose {version}"),
        ));
    }
    let suite = || leg.cipher.map_or_else(|| format!("suite 0x{:04x}", facts.suite), str::to_owned);
    let group = facts.group.filter(|_| leg.group.is_none());
    match (facts.is_supported_suite(), group) {
        (false, _) => Some(problem(
            Impact::MayBreak,
            Reason::CipherNoneServer,
            format!("The server chose {}, which the engine does not have; it may have others", suite()),
        )),
        (true, Some(group)) => Some(problem(
            Impact::MayBreak,
            Reason::CipherNoneServer,
            format!(
                "The server chose group 0x{group:04x}, which the engine does not have; it may have others"
            ),
        )),
        (true, None) => None,
    }
}

fn of_client_certificate(ended: &Ended, profile: &Profile) -> Option<Problem> {
    let observed = &ended.observed;
    let (impact, reason, found) = match (observed.client_certificate, profile.on_client_certificate) {
        (Some(true), ClientCertificateAction::Bypass) => (
            Impact::Bypassed,
            Reason::ServerRequiresClientCert,
            "The client showed a certificate, which the engine cannot do in its place",
        ),
        (Some(true), _) => (
            Impact::Breaks,
            Reason::ServerRequiresClientCert,
            "The client showed a certificate, which the engine cannot do in its place",
        ),
        (_, ClientCertificateAction::Block) if observed.server.asks_for_certificate => {
            (Impact::Breaks, Reason::ServerWantsClientCert, "The server asks for a client certificate")
        }
        _ => return None,
    };
    Some(Problem {
        impact,
        code: reason.code(),
        of_client: false,
        found: found.to_owned(),
        advice: "bypass the server, or on_client_certificate = \"bypass\" in the profile",
    })
}

fn of_name(name: Option<&str>, profile: &Profile) -> Option<Problem> {
    let group = pinned_by(name?)?;
    Some(Problem {
        impact: if profile.bypasses(Cause::Pinned) { Impact::Bypassed } else { Impact::Breaks },
        code: "pinned",
        of_client: false,
        found: format!("{group}: its clients accept no other certificate, says their maker"),
        advice: "a rule that bypasses these names, as `wireglass init` writes them",
    })
}

/// The client refuses the server's own certificate, without an engine.
fn of_client_alert(ended: &Ended) -> Option<Problem> {
    let alert = ended.observed.client_alert?;
    let is_about_certificate = (description::BAD_CERTIFICATE..=description::CERTIFICATE_UNKNOWN)
        .contains(&alert)
        || alert == description::UNKNOWN_CA;
    is_about_certificate.then(|| Problem {
        impact: Impact::MayBreak,
        code: "client.alert",
        of_client: false,
        found: format!(
            "A client refused the server's certificate (alert {alert}) without an engine between them"
        ),
        advice: "a client that pins, or that lacks a root: find out which before you decrypt",
    })
}
