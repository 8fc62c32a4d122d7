//! The crypto providers: aws-lc-rs and ring, as built in, picked at run time.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{ALL_VERSIONS, SupportedProtocolVersion};

use super::ClientHello;
use crate::policy::{Profile, TlsVersion};
use crate::reason::Reason;

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("wireglass needs a crypto provider: feature `aws-lc-rs` or `ring`");

/// Which library does the cryptography.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// AWS-LC: fastest, and the only one with X25519MLKEM768.
    #[cfg(feature = "aws-lc-rs")]
    AwsLcRs,
    /// ring: a smaller build; no post-quantum groups, and RSA leaf keys only where aws-lc-rs is built in too.
    #[cfg(feature = "ring")]
    Ring,
}

impl Provider {
    /// All that are built in, the default first.
    pub const BUILT_IN: &'static [Self] = &[
        #[cfg(feature = "aws-lc-rs")]
        Self::AwsLcRs,
        #[cfg(feature = "ring")]
        Self::Ring,
    ];

    /// The one with this name in the configuration; `None`: unknown or not built in.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::BUILT_IN.iter().copied().find(|p| p.name() == name)
    }

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLcRs => "aws-lc-rs",
            #[cfg(feature = "ring")]
            Self::Ring => "ring",
        }
    }

    pub(super) fn load(self) -> CryptoProvider {
        match self {
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLcRs => rustls::crypto::aws_lc_rs::default_provider(),
            #[cfg(feature = "ring")]
            Self::Ring => rustls::crypto::ring::default_provider(),
        }
    }
}

impl Default for Provider {
    fn default() -> Self {
        Self::BUILT_IN[0]
    }
}

/// What a leg may negotiate.
pub(super) struct Offer {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
}

/// What the server's leg offers: the client's own versions, suites and groups, in the client's order of preference, as far
/// as the profile and the provider have them. Never more, so that the server cannot choose what the client would not have.
pub(super) fn offer_to_server(
    base: &CryptoProvider,
    hello: &ClientHello,
    profile: &Profile,
) -> Result<Offer, Reason> {
    let mut versions = allowed_versions(profile.min_version, profile.max_version);
    versions.retain(|v| match tls_version(v) {
        TlsVersion::Tls12 => hello.offers_tls12(),
        TlsVersion::Tls13 => hello.offers_tls13(),
    });
    if versions.is_empty() {
        return Err(Reason::VersionUnsupportedClient);
    }
    let mut provider = base.clone();
    provider.cipher_suites = in_order_of(&hello.cipher_suites, &base.cipher_suites, |s| s.suite().into());
    provider.kx_groups = if hello.groups.is_empty() {
        // RFC 8422 §4: without the extension the server may pick any curve; the hybrids are for TLS 1.3 alone.
        base.kx_groups.iter().copied().filter(|g| u16::from(g.name()) < 0x0100).collect()
    } else {
        in_order_of(&hello.groups, &base.kx_groups, |g| g.name().into())
    };
    versions.retain(|v| provider.cipher_suites.iter().any(|s| s.version() == *v));
    if versions.is_empty() || provider.kx_groups.is_empty() {
        return Err(Reason::CipherNoneClient);
    }
    Ok(Offer { provider: Arc::new(provider), versions })
}

/// What the client's leg accepts: the profile's versions up to the one that the server's leg got, so that a client never
/// believes in a newer TLS than its data has on the way to the server.
pub(super) fn versions_for_client(
    profile: &Profile,
    server_leg: TlsVersion,
) -> Vec<&'static SupportedProtocolVersion> {
    allowed_versions(profile.min_version, profile.max_version.min(server_leg))
}

fn allowed_versions(min: TlsVersion, max: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    ALL_VERSIONS.iter().copied().filter(|v| (min..=max).contains(&tls_version(v))).collect()
}

fn tls_version(version: &SupportedProtocolVersion) -> TlsVersion {
    if version.version == rustls::ProtocolVersion::TLSv1_3 { TlsVersion::Tls13 } else { TlsVersion::Tls12 }
}

/// The members of `ours` that `theirs` lists, in their order, each once.
fn in_order_of<T: Copy>(theirs: &[u16], ours: &[T], id: impl Fn(&T) -> u16) -> Vec<T> {
    let mut out: Vec<T> = Vec::with_capacity(ours.len());
    for wanted in theirs {
        if let Some(found) = ours.iter().find(|o| id(o) == *wanted)
            && !out.iter().any(|o| id(o) == *wanted)
        {
            out.push(*found);
        }
    }
    out
}
