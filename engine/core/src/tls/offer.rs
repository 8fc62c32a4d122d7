//! What each leg offers or accepts: never more than the other end of the flow would.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{ALL_VERSIONS, SupportedProtocolVersion};

use super::ClientHello;
use crate::policy::{Profile, TlsVersion};
use crate::reason::Reason;

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

pub(super) fn tls_version(version: &SupportedProtocolVersion) -> TlsVersion {
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
