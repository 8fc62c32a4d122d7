//! The leg to the client: the minted certificate, and exactly what the server chose.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello as RustlsHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::clock::Clock;
use super::tickets::Tickets;
use crate::x509::Certified;

/// Tickets for each handshake: browsers open several connections, and use none twice (RFC 8446 C.4).
const TICKETS: usize = 2;

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
/// `tickets` are for those who come back; without them each handshake is a full one. No session ids, which would have to be kept,
/// and no early data, which would have to wait for the server. ALPN is the server's choice and nothing else; if it made none,
/// none is answered.
pub(super) fn config(
    provider: &Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    leaf: &Certified,
    alpn: Option<&[u8]>,
    clock: Arc<Clock>,
    tickets: Option<Tickets>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_details(Arc::clone(provider), clock)
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Minted(Arc::clone(&leaf.0))));
    config.alpn_protocols = alpn.into_iter().map(<[u8]>::to_vec).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    if let Some(tickets) = tickets {
        config.ticketer = Arc::new(tickets);
        config.send_tls13_tickets = TICKETS;
    }
    config.max_early_data_size = 0;
    // The record layer is ours once the handshake is over.
    config.enable_secret_extraction = true;
    Ok(config)
}
