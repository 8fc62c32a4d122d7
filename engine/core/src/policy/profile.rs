//! Decryption profiles: how strict a decrypted flow is handled. Rules say who, profiles say how.

use crate::exclusions::Cause;
use crate::reason::Reason;

/// TLS versions that both legs can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
pub enum TlsVersion {
    /// RFC 5246 with ECDHE and AEAD suites only.
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    Tls13,
}

/// What to do with a server whose certificate has a defect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DefectAction {
    /// Go on as if the certificate were compliant: minted by the trusted CA.
    Allow,
    /// Go on with a copy signed by the untrusted CA, so that the user's browser warns.
    UntrustedCa,
    /// End the connection; nothing is minted and the server gets no byte of the client's data.
    #[default]
    Block,
}

/// What to do with a flow that cannot be decrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnsupportedAction {
    /// End the connection.
    #[default]
    Block,
    /// Release the flow uninspected: this one, if it has not been adopted yet, or else the next ones.
    Bypass,
}

/// What to do with a server that asks for a client certificate, which the engine has none of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificateAction {
    /// Answer with an empty certificate list (RFC 8446 4.4.2, RFC 5246 7.4.6) and go on: the server decides.
    #[default]
    Empty,
    /// Likewise, and leave its connections alone from the next one on.
    Bypass,
    /// End the connection.
    Block,
}

/// What to do with a hello that has another one inside, encrypted for the server (ECH, RFC 9849), once clients have said that such hellos
/// for this name are real. Those made to look so (GREASE) never say that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EchAction {
    /// Decrypt it as what it says outside. Who needs the inner hello gives up, and comes back without ECH.
    #[default]
    Inspect,
    /// End the connection.
    Block,
    /// Release it uninspected.
    Bypass,
}

/// What to do when a client asks for no name (it sends no SNI) and the server's certificate does not name the address either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoNameAction {
    /// Go on. The chain is verified, and the copy has the server's names and no others: the client decides on them.
    #[default]
    ServerNames,
    /// End the connection.
    Block,
}

/// How strict a decrypted flow is handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// As named in the configuration.
    pub name: String,
    /// Lowest version on either leg.
    pub min_version: TlsVersion,
    /// Highest version on either leg.
    pub max_version: TlsVersion,
    /// Chain ends at no trusted root.
    pub on_untrusted: DefectAction,
    /// Leaf signed by its own key.
    pub on_self_signed: DefectAction,
    /// Past `notAfter`.
    pub on_expired: DefectAction,
    /// Before `notBefore`.
    pub on_not_yet_valid: DefectAction,
    /// Leaf does not name the SNI.
    pub on_name_mismatch: DefectAction,
    /// The client asked for no name, and the leaf does not name the address.
    pub on_no_name: NoNameAction,
    /// A certificate of the chain may not be used like this.
    pub on_usage: DefectAction,
    /// A certificate of the chain has something that cannot be judged.
    pub on_unsupported_certificate: DefectAction,
    /// A certificate of the chain has been revoked.
    pub on_revoked: DefectAction,
    /// Nothing at hand says whether the leaf has been revoked.
    pub on_revocation_unknown: DefectAction,
    /// The leaf demands a stapled OCSP response, and no good one came.
    pub on_must_staple: DefectAction,
    /// Too few known CT logs have promised to publish the leaf. Nobody asks for it where no logs are known.
    pub on_no_sct: DefectAction,
    /// One end offers nothing that is supported.
    pub on_unsupported: UnsupportedAction,
    /// The server asks for a client certificate.
    pub on_client_certificate: ClientCertificateAction,
    /// Clients that accept the CA elsewhere do not accept it for the server.
    pub on_pinned: UnsupportedAction,
    /// The client hides the name that it asks for.
    pub on_ech: EchAction,
    /// Parse HTTP in the plaintext for the log.
    pub http: bool,
    /// Resume sessions, on both legs.
    pub resumption: bool,
    /// Longest validity of a minted leaf, in days.
    pub max_days: u32,
}

impl Profile {
    /// The action for one defect; every defect without a setting of its own blocks.
    pub fn action(&self, defect: Reason) -> DefectAction {
        match defect {
            Reason::CertUntrusted | Reason::CertIncomplete => self.on_untrusted,
            Reason::CertRevoked => self.on_revoked,
            Reason::CertRevocationUnknown => self.on_revocation_unknown,
            Reason::CertMustStaple => self.on_must_staple,
            Reason::CertNoSct => self.on_no_sct,
            Reason::CertSelfSigned => self.on_self_signed,
            Reason::CertExpired => self.on_expired,
            Reason::CertNotYet => self.on_not_yet_valid,
            Reason::CertMismatch => self.on_name_mismatch,
            Reason::CertNoName => match self.on_no_name {
                NoNameAction::ServerNames => DefectAction::Allow,
                NoNameAction::Block => DefectAction::Block,
            },
            Reason::CertUsage => self.on_usage,
            Reason::CertUnsupported => self.on_unsupported_certificate,
            _ => DefectAction::Block,
        }
    }

    /// A flow for which this cause is known is not decrypted.
    pub fn bypasses(&self, cause: Cause) -> bool {
        match cause {
            Cause::ClientCertificate => self.on_client_certificate == ClientCertificateAction::Bypass,
            Cause::Unsupported => self.on_unsupported == UnsupportedAction::Bypass,
            Cause::Pinned => self.on_pinned == UnsupportedAction::Bypass,
            Cause::Ech => self.on_ech == EchAction::Bypass,
            Cause::Manual => true,
        }
    }

    /// It bypasses servers for something that is learned, not only those that an operator has named.
    pub fn bypasses_learned(&self) -> bool {
        [Cause::ClientCertificate, Cause::Unsupported, Cause::Pinned, Cause::Ech]
            .into_iter()
            .any(|cause| self.bypasses(cause))
    }
}

/// The key of a profile that decides about a defect; none: it always blocks.
pub fn key_of_defect(defect: Reason) -> Option<&'static str> {
    Some(match defect {
        Reason::CertUntrusted | Reason::CertIncomplete => "on_untrusted",
        Reason::CertRevoked => "on_revoked",
        Reason::CertRevocationUnknown => "on_revocation_unknown",
        Reason::CertMustStaple => "on_must_staple",
        Reason::CertNoSct => "on_no_sct",
        Reason::CertSelfSigned => "on_self_signed",
        Reason::CertExpired => "on_expired",
        Reason::CertNotYet => "on_not_yet_valid",
        Reason::CertMismatch => "on_name_mismatch",
        Reason::CertNoName => "on_no_name",
        Reason::CertUsage => "on_usage",
        Reason::CertUnsupported => "on_unsupported_certificate",
        _ => return None,
    })
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            name: "default".into(),
            min_version: TlsVersion::Tls12,
            max_version: TlsVersion::Tls13,
            on_untrusted: DefectAction::Block,
            on_self_signed: DefectAction::Block,
            on_expired: DefectAction::Block,
            on_not_yet_valid: DefectAction::Block,
            on_name_mismatch: DefectAction::Block,
            on_no_name: NoNameAction::ServerNames,
            on_usage: DefectAction::Block,
            on_unsupported_certificate: DefectAction::Block,
            on_revoked: DefectAction::Block,
            on_revocation_unknown: DefectAction::Allow,
            on_must_staple: DefectAction::Block,
            on_no_sct: DefectAction::Allow,
            on_unsupported: UnsupportedAction::Block,
            on_client_certificate: ClientCertificateAction::Empty,
            on_pinned: UnsupportedAction::Block,
            on_ech: EchAction::Inspect,
            http: true,
            resumption: true,
            max_days: 90,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What blocks under the most lenient profile has no key, and nothing else has none.
    #[test]
    fn defects_with_a_key_are_those_that_a_profile_may_allow() {
        let lenient = Profile {
            on_untrusted: DefectAction::Allow,
            on_self_signed: DefectAction::Allow,
            on_expired: DefectAction::Allow,
            on_not_yet_valid: DefectAction::Allow,
            on_name_mismatch: DefectAction::Allow,
            on_usage: DefectAction::Allow,
            on_unsupported_certificate: DefectAction::Allow,
            on_revoked: DefectAction::Allow,
            on_must_staple: DefectAction::Allow,
            ..Profile::default()
        };
        for reason in Reason::ALL {
            let allowed = lenient.action(*reason) == DefectAction::Allow;
            assert_eq!(key_of_defect(*reason).is_some(), allowed, "{reason}");
        }
    }
}
