//! A client that wants to see a server's chain and nothing else: for `wireglass verify --connect`.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::handshake_signature;
use crate::lock::Lock;
use crate::x509::Provider;

/// A session with a server that keeps the chain, and takes any. Nothing may be sent in it.
pub struct ChainProbe {
    connection: ClientConnection,
    keeper: Arc<ChainKeeper>,
}

impl ChainProbe {
    /// Prepares a handshake. An address as `name` sends no SNI.
    ///
    /// # Errors
    /// The provider cannot speak TLS 1.2 and 1.3.
    pub fn new(provider: Provider, name: ServerName<'static>) -> Result<Self, rustls::Error> {
        let provider = provider.load();
        let algorithms = provider.signature_verification_algorithms;
        let keeper = Arc::new(ChainKeeper { algorithms, chain: Lock::default(), staple: Lock::default() });
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(rustls::ALL_VERSIONS)?
            .dangerous() // as rustls calls it: the chain is judged afterwards, and no data follow
            .with_custom_certificate_verifier(Arc::clone(&keeper) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        Ok(Self { connection: ClientConnection::new(Arc::new(config), name)?, keeper })
    }

    /// The session, to be driven until its handshake is over.
    pub fn connection(&mut self) -> &mut ClientConnection {
        &mut self.connection
    }

    /// The OCSP response that came with it; empty: none.
    pub fn staple(&self) -> Vec<u8> {
        self.keeper.staple.lock().clone()
    }

    /// The chain as it was presented, the server's own certificate first; empty: none was.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.keeper.chain.lock().clone()
    }
}

#[derive(Debug)]
struct ChainKeeper {
    algorithms: WebPkiSupportedAlgorithms,
    chain: Lock<Vec<CertificateDer<'static>>>,
    staple: Lock<Vec<u8>>,
}

impl ServerCertVerifier for ChainKeeper {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        staple: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let all = std::iter::once(end_entity).chain(intermediates);
        *self.chain.lock() = all.map(|der| der.clone().into_owned()).collect();
        *self.staple.lock() = staple.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        handshake_signature::verify_tls12(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        handshake_signature::verify_tls13(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
