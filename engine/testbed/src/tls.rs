//! rustls configurations for the hosts' sessions.

use std::sync::Arc;

use rustls::client::EchMode;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, NamedGroup, RootCertStore, ServerConfig,
    SupportedProtocolVersion,
};

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
    /// Takes any certificate, as a user does who clicks all warnings away.
    pub takes_any: bool,
    /// Names the server in the ClientHello.
    pub sni: bool,
    /// Longest record, in bytes with its header, at least 32; longer messages are spread over several.
    pub record: Option<usize>,
    /// Encrypts its hello, or pretends to; then it speaks TLS 1.3 alone.
    pub ech: Option<EchMode>,
}

impl ClientOptions {
    /// TLS 1.2 and 1.3, no ALPN, with SNI.
    pub fn new(provider: CryptoProvider, roots: Vec<CertificateDer<'static>>) -> Self {
        let versions = rustls::ALL_VERSIONS.to_vec();
        Self {
            provider,
            versions,
            groups: Vec::new(),
            alpn: Vec::new(),
            roots,
            takes_any: false,
            sni: true,
            record: None,
            ech: None,
        }
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
        let algorithms = provider.signature_verification_algorithms;
        let config = ClientConfig::builder_with_provider(provider);
        let config = match &self.ech {
            None => config.with_protocol_versions(&self.versions)?,
            Some(mode) => config.with_ech(mode.clone())?,
        };
        let config = if self.takes_any {
            config.dangerous().with_custom_certificate_verifier(Arc::new(TakesAny(algorithms)))
        } else {
            config.with_root_certificates(roots)
        };
        let mut config = config.with_no_client_auth();
        config.alpn_protocols.clone_from(&self.alpn);
        config.enable_sni = self.sni;
        config.max_fragment_size = self.record;
        Ok(Arc::new(config))
    }
}

/// Whoever shows a certificate must have its key; that is all.
#[derive(Debug)]
struct TakesAny(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for TakesAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_schemes()
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
    /// Key of the leaf; a bad server's may be another one.
    pub key: PrivateKeyDer<'static>,
    /// OCSP response that it staples; empty: none.
    pub staple: Vec<u8>,
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
            staple: Vec::new(),
            client_root: None,
            insists: true,
        }
    }

    /// The configuration.
    ///
    /// # Errors
    /// When the provider lacks the versions or groups, or cannot use the key.
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
        let key = provider.key_provider.load_private_key(self.key.clone_key())?;
        let mut certified = CertifiedKey::new(self.chain.clone(), key);
        certified.ocsp = Some(self.staple.clone()).filter(|staple| !staple.is_empty());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
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
