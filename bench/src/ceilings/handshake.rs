//! The handshake ceiling H: one handshake as server and one as client, in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs, ring};
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, Error, NamedGroup, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use serde::Serialize;
use wireglass::peers::{ClientOptions, Pki, ServerOptions};

use crate::rig::Leaf;

const NAME: &str = "bench.example";
/// A second, in nanoseconds: no handshake takes longer.
const LONGEST: u64 = 1_000_000_000;

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
    let kind = Kind { version: supported, group: None, leaf: Leaf::Ecdsa };
    let (client, server) = configs(provider, kind).expect("both libraries speak both versions");
    let mut histogram = Histogram::<u64>::new_with_bounds(1, LONGEST, 3).expect("good bounds");
    let mut group = String::new();
    let begin = Instant::now();
    while begin.elapsed() < each {
        let ([client_time, server_time], negotiated) = shake(&client, &server);
        histogram.saturating_record((client_time + server_time).as_micros() as u64);
        group = negotiated;
    }
    let (median_us, p99_us) = (histogram.value_at_quantile(0.5), histogram.value_at_quantile(0.99));
    Handshakes { provider: provider_name, version, group, median_us, p99_us }
}

/// What a handshake is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) version: &'static SupportedProtocolVersion,
    /// Key exchange; none: as the provider prefers.
    pub(crate) group: Option<NamedGroup>,
    pub(crate) leaf: Leaf,
}

/// Connections per second: one client's end against `kind`'s leaf, and one server's end with an ECDSA leaf.
pub(crate) fn ceiling(kind: Kind, each: Duration) -> f64 {
    let (client, _) = ends(kind, each / 2);
    let (_, server) = ends(Kind { leaf: Leaf::Ecdsa, ..kind }, each / 2);
    1e9 / (client + server) as f64
}

/// Median nanoseconds of a client's and of a server's end.
fn ends(kind: Kind, each: Duration) -> (u64, u64) {
    let (client, server) =
        configs(aws_lc_rs::default_provider(), kind).expect("aws-lc-rs speaks all of them");
    let histogram = || Histogram::<u64>::new_with_bounds(1, LONGEST, 3).expect("good bounds");
    let (mut of_client, mut of_server) = (histogram(), histogram());
    let begin = Instant::now();
    while begin.elapsed() < each {
        let [c, s] = shake(&client, &server).0;
        of_client.saturating_record(c.as_nanos() as u64);
        of_server.saturating_record(s.as_nanos() as u64);
    }
    (of_client.value_at_quantile(0.5), of_server.value_at_quantile(0.5))
}

/// One handshake: the time of the client's and of the server's end, and the group.
fn shake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> ([Duration; 2], String) {
    let name = ServerName::try_from(NAME).expect("a DNS name");
    let mut time = [Duration::ZERO; 2];
    let mut timed = |end: usize, begin: Instant| time[end] += begin.elapsed();
    let begin = Instant::now();
    let mut c = ClientConnection::new(Arc::clone(client), name).expect("the configuration is complete");
    timed(0, begin);
    let begin = Instant::now();
    let mut s = ServerConnection::new(Arc::clone(server)).expect("the configuration is complete");
    timed(1, begin);
    while c.is_handshaking() || s.is_handshaking() {
        let begin = Instant::now();
        let bytes = said(|to| c.write_tls(to));
        timed(0, begin);
        let begin = Instant::now();
        heard(&bytes, |from| s.read_tls(from));
        s.process_new_packets().expect("the client speaks TLS");
        let bytes = said(|to| s.write_tls(to));
        timed(1, begin);
        let begin = Instant::now();
        heard(&bytes, |from| c.read_tls(from));
        c.process_new_packets().expect("the server speaks TLS and its certificate is trusted");
        timed(0, begin);
    }
    let group = c.negotiated_key_exchange_group().map(|g| format!("{:?}", g.name())).unwrap_or_default();
    (time, group)
}

fn configs(provider: CryptoProvider, kind: Kind) -> Result<(Arc<ClientConfig>, Arc<ServerConfig>), Error> {
    let algorithm = match kind.leaf {
        Leaf::Ecdsa => &rcgen::PKCS_ECDSA_P256_SHA256,
        Leaf::Rsa => &rcgen::PKCS_RSA_SHA256,
    };
    let pki = Pki::with_algorithm("ceiling", algorithm).expect("keys can be made");
    let identity = pki.identity(&[NAME]).expect("a DNS name");
    let mut server = ServerOptions::new(provider.clone(), identity.chain, identity.key);
    let mut client = ClientOptions::new(provider, vec![pki.root()]);
    client.versions = vec![kind.version];
    client.groups = kind.group.into_iter().collect();
    server.versions = vec![kind.version];
    let (client, server) = (client.build()?, server.build()?);
    let (mut client, mut server) = (Arc::unwrap_or_clone(client), Arc::unwrap_or_clone(server));
    client.resumption = Resumption::disabled();
    server.send_tls13_tickets = 0;
    Ok((Arc::new(client), Arc::new(server)))
}

/// What one end has to say.
fn said(mut write: impl FnMut(&mut Vec<u8>) -> std::io::Result<usize>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while write(&mut bytes).expect("memory does not fail") > 0 {}
    bytes
}

fn heard(mut bytes: &[u8], mut read: impl FnMut(&mut &[u8]) -> std::io::Result<usize>) {
    while !bytes.is_empty() {
        read(&mut bytes).expect("memory does not fail");
    }
}
