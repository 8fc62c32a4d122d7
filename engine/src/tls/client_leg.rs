//! The leg to the client: the minted certificate, and exactly what the server chose.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello as RustlsHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::CertificateDer;

use super::server_leg::Clock;
use crate::mint::Leaf;

/// Presents the one minted leaf, whatever name was asked for: policy and verification went by that name already.
struct Minted(Arc<CertifiedKey>);

impl ResolvesServerCert for Minted {
    fn resolve(&self, _hello: RustlsHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Minted")
    }
}

/// The server configuration of one handshake.
///
/// No tickets, no session ids, no early data: a client can never come back without a new verification of the server.
/// ALPN is the server's choice and nothing else; if it made none, none is answered.
pub(super) fn config(
    provider: &CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
    leaf: &Leaf,
    alpn: Option<&[u8]>,
    clock: Arc<Clock>,
) -> Result<ServerConfig, rustls::Error> {
    let chain = leaf.chain().map(|der| CertificateDer::from(der.to_vec())).collect();
    let certified = CertifiedKey::new(chain, leaf.key().signing_key());
    let mut config = ServerConfig::builder_with_details(Arc::new(provider.clone()), clock)
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Minted(Arc::new(certified))));
    config.alpn_protocols = alpn.into_iter().map(<[u8]>::to_vec).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}
