//! The handshake ceiling H: one handshake as server and one as client, in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs, ring};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
};
use serde::Serialize;

/// One library and version.
#[derive(Debug, Serialize)]
pub(crate) struct Handshakes {
    pub(crate) provider: &'static str,
    pub(crate) version: &'static str,
    pub(crate) group: String,
    /// Microseconds for one server and one client handshake.
    pub(crate) median_us: u64,
    pub(crate) p99_us: u64,
}

impl Handshakes {
    /// Connections per second that one core can intercept at best.
    pub(crate) fn ceiling(&self) -> f64 {
        1e6 / self.median_us as f64
    }
}

/// Measures both libraries with both versions, `each` long.
pub(crate) fn probe(each: Duration) -> Vec<Handshakes> {
    let versions = [("TLS 1.3", &rustls::version::TLS13), ("TLS 1.2", &rustls::version::TLS12)];
    let providers = [("aws-lc-rs", aws_lc_rs::default_provider()), ("ring", ring::default_provider())];
    let mut all = Vec::new();
    for (provider_name, provider) in providers {
        for (version, supported) in versions {
            all.push(measure(each, provider_name, provider.clone(), version, supported));
        }
    }
    all
}

fn measure(
    each: Duration,
    provider_name: &'static str,
    provider: CryptoProvider,
    version: &'static str,
    supported: &'static SupportedProtocolVersion,
) -> Handshakes {
    let (client, server) = configs(Arc::new(provider), supported);
    let name = ServerName::try_from("bench.example").expect("a DNS name");
    let mut histogram = Histogram::<u64>::new(3).expect("three digits are within the range");
    let mut group = String::new();
    let begin = Instant::now();
    while begin.elapsed() < each {
        let one = Instant::now();
        let mut c =
            ClientConnection::new(Arc::clone(&client), name.clone()).expect("the configuration is complete");
        let mut s = ServerConnection::new(Arc::clone(&server)).expect("the configuration is complete");
        while c.is_handshaking() || s.is_handshaking() {
            carry(|to| c.write_tls(to), |from| s.read_tls(from));
            s.process_new_packets().expect("the client speaks TLS");
            carry(|to| s.write_tls(to), |from| c.read_tls(from));
            c.process_new_packets().expect("the server speaks TLS and its certificate is trusted");
        }
        histogram.saturating_record(one.elapsed().as_micros() as u64);
        group = c.negotiated_key_exchange_group().map(|g| format!("{:?}", g.name())).unwrap_or_default();
    }
    let (median_us, p99_us) = (histogram.value_at_quantile(0.5), histogram.value_at_quantile(0.99));
    Handshakes { provider: provider_name, version, group, median_us, p99_us }
}

fn configs(
    provider: Arc<CryptoProvider>,
    version: &'static SupportedProtocolVersion,
) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let ca_key = rcgen::KeyPair::generate().expect("a P-256 key");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).expect("a CA certificate");
    let issuer = rcgen::Issuer::new(params, ca_key);
    let key = rcgen::KeyPair::generate().expect("a P-256 key");
    let leaf = rcgen::CertificateParams::new(vec!["bench.example".into()]).expect("a DNS name");
    let leaf = leaf.signed_by(&key, &issuer).expect("a leaf certificate");
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).expect("a root that was just made");
    let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .expect("both libraries speak both versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = Resumption::disabled();
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("both libraries speak both versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .expect("the key fits the certificate");
    server.send_tls13_tickets = 0;
    (Arc::new(client), Arc::new(server))
}

/// Carries what one end has to say to the other.
fn carry(
    mut write: impl FnMut(&mut Vec<u8>) -> std::io::Result<usize>,
    mut read: impl FnMut(&mut &[u8]) -> std::io::Result<usize>,
) {
    let mut bytes = Vec::new();
    while write(&mut bytes).expect("memory does not fail") > 0 {}
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        read(&mut rest).expect("memory does not fail");
    }
}
