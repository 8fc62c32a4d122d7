//! rustls configurations for the hosts' sessions.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, Error, NamedGroup, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// The crypto providers built in, by the names that the configuration uses.
pub fn providers() -> Vec<(&'static str, CryptoProvider)> {
    vec![
        #[cfg(feature = "aws-lc-rs")]
        ("aws-lc-rs", rustls::crypto::aws_lc_rs::default_provider()),
        #[cfg(feature = "ring")]
        ("ring", rustls::crypto::ring::default_provider()),
    ]
}

/// How a client speaks TLS.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Where the algorithms come from.
    pub provider: CryptoProvider,
    /// Versions offered.
    pub versions: Vec<&'static SupportedProtocolVersion>,
    /// Groups offered, first the one with a key share; empty: the provider's own choice.
    pub groups: Vec<NamedGroup>,
    /// Application protocols offered.
    pub alpn: Vec<Vec<u8>>,
    /// Certificates that a server's chain may end at.
    pub roots: Vec<CertificateDer<'static>>,
    /// Names the server in the ClientHello.
    pub sni: bool,
    /// Longest record, in bytes with its header, at least 32; longer messages are spread over several.
    pub record: Option<usize>,
}

impl ClientOptions {
    /// TLS 1.2 and 1.3, no ALPN, with SNI.
    pub fn new(provider: CryptoProvider, roots: Vec<CertificateDer<'static>>) -> Self {
        let versions = rustls::ALL_VERSIONS.to_vec();
        Self { provider, versions, groups: Vec::new(), alpn: Vec::new(), roots, sni: true, record: None }
    }

    /// The configuration; sessions that share it resume each other's TLS sessions.
    ///
    /// # Errors
    /// When the provider lacks the versions or groups, or a root is no certificate.
    pub fn build(&self) -> Result<Arc<ClientConfig>, Error> {
        let mut roots = RootCertStore::empty();
        for root in &self.roots {
            roots.add(root.clone())?;
        }
        let provider = with_groups(&self.provider, &self.groups);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols.clone_from(&self.alpn);
        config.enable_sni = self.sni;
        config.max_fragment_size = self.record;
        Ok(Arc::new(config))
    }
}

/// How a server speaks TLS.
#[derive(Debug)]
pub struct ServerOptions {
    /// Where the algorithms come from.
    pub provider: CryptoProvider,
    /// Versions accepted.
    pub versions: Vec<&'static SupportedProtocolVersion>,
    /// Groups accepted; empty: the provider's own choice.
    pub groups: Vec<NamedGroup>,
    /// Application protocols, the preferred one first.
    pub alpn: Vec<Vec<u8>>,
    /// Certificates sent, the leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Key of the leaf.
    pub key: PrivateKeyDer<'static>,
    /// Asks the client for a certificate below this root.
    pub client_root: Option<CertificateDer<'static>>,
    /// Takes no client without one.
    pub insists: bool,
}

impl ServerOptions {
    /// TLS 1.2 and 1.3, no ALPN.
    pub fn new(
        provider: CryptoProvider,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        let versions = rustls::ALL_VERSIONS.to_vec();
        Self {
            provider,
            versions,
            groups: Vec::new(),
            alpn: Vec::new(),
            chain,
            key,
            client_root: None,
            insists: true,
        }
    }

    /// The configuration.
    ///
    /// # Errors
    /// When the provider lacks the versions or groups, or chain and key do not fit.
    pub fn build(&self) -> Result<Arc<ServerConfig>, Error> {
        let provider = with_groups(&self.provider, &self.groups);
        let clients = match &self.client_root {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(root) => {
                let mut roots = RootCertStore::empty();
                roots.add(root.clone())?;
                let clients =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
                if self.insists { clients } else { clients.allow_unauthenticated() }
                    .build()
                    .map_err(|error| Error::General(error.to_string()))?
            }
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)?
            .with_client_cert_verifier(clients)
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(Arc::new(config))
    }
}

/// The provider with just these groups, in this order.
fn with_groups(provider: &CryptoProvider, groups: &[NamedGroup]) -> Arc<CryptoProvider> {
    let mut provider = provider.clone();
    if !groups.is_empty() {
        let known = std::mem::take(&mut provider.kx_groups);
        let named = |name: &NamedGroup| known.iter().find(|group| group.name() == *name).copied();
        provider.kx_groups = groups.iter().filter_map(named).collect();
    }
    Arc::new(provider)
}
