//! The handshake ceiling H: one handshake as server and one as client, in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs, ring};
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, Error, HandshakeKind, NamedGroup, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use serde::Serialize;
use wireglass_testbed::{ClientOptions, ServerOptions};

use crate::endpoints::Leaf;

const NAME: &str = "bench.example";
/// A second, in nanoseconds: no handshake takes longer.
const LONGEST: u64 = 1_000_000_000;
/// Sessions that a client keeps: there is one server.
const SESSIONS: usize = 8;

/// One library, and one kind of handshake: microseconds for one server's and one client's end, medians.
#[derive(Debug, Serialize)]
pub(crate) struct Handshakes {
    pub(crate) provider: &'static str,
    pub(crate) version: &'static str,
    pub(crate) group: String,
    /// Key of the chain that the client's end verifies; the server's end shows an ECDSA leaf, as the minted ones are.
    pub(crate) leaf: &'static str,
    /// The chain is verified.
    pub(crate) cold_us: f64,
    /// It is taken as verified, by an earlier connection.
    pub(crate) warm_us: f64,
    /// The session is resumed.
    pub(crate) resumed_us: f64,
}

impl Handshakes {
    /// Connections per second that one core can intercept at best: H, H without verification, R.
    pub(crate) fn ceilings(&self) -> [f64; 3] {
        [self.cold_us, self.warm_us, self.resumed_us].map(|micros| 1e6 / micros)
    }
}

/// What a handshake is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) version: &'static SupportedProtocolVersion,
    /// Key exchange; none: as the provider prefers.
    pub(crate) group: Option<NamedGroup>,
    pub(crate) leaf: Leaf,
    pub(crate) way: Way,
}

/// How far a handshake goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// With everything.
    Cold,
    /// Without the verification of the chain. What proves that the server has the key, is verified all the same.
    Warm,
    /// On a session of before, with a ticket for the next.
    Resumed,
}

/// Measures both libraries with every version, group and leaf that they have, `each` of them so long.
pub(crate) fn probe(each: Duration) -> Vec<Handshakes> {
    let (tls12, tls13) = (&rustls::version::TLS12, &rustls::version::TLS13);
    let (x25519, hybrid) = (NamedGroup::X25519, NamedGroup::X25519MLKEM768);
    let mut all = Vec::new();
    for (name, provider) in [("aws-lc-rs", aws_lc_rs::default_provider()), ("ring", ring::default_provider())]
    {
        for (version, label, group) in
            [(tls13, "TLS 1.3", hybrid), (tls13, "TLS 1.3", x25519), (tls12, "TLS 1.2", x25519)]
        {
            if provider.kx_groups.iter().all(|known| known.name() != group) {
                continue;
            }
            for leaf in [Leaf::Ecdsa, Leaf::Rsa] {
                let micros = |way| {
                    let kind = Kind { version, group: Some(group), leaf, way };
                    let [client, server] = both_ends(&provider, kind, each / 3);
                    (client + server) as f64 / 1e3
                };
                let [cold_us, warm_us, resumed_us] = [Way::Cold, Way::Warm, Way::Resumed].map(micros);
                let (group, leaf) = (format!("{group:?}"), leaf.name());
                all.push(Handshakes {
                    provider: name,
                    version: label,
                    group,
                    leaf,
                    cold_us,
                    warm_us,
                    resumed_us,
                });
            }
        }
    }
    all
}

/// Connections per second, with aws-lc-rs.
pub(crate) fn ceiling(kind: Kind, each: Duration) -> f64 {
    let [client, server] = both_ends(&aws_lc_rs::default_provider(), kind, each);
    1e9 / (client + server) as f64
}

/// Median nanoseconds of one client's end against `kind`'s leaf, and of one server's end with an ECDSA leaf.
fn both_ends(provider: &CryptoProvider, kind: Kind, each: Duration) -> [u64; 2] {
    let [client, _] = ends(provider, kind, each / 2);
    let [_, server] = ends(provider, Kind { leaf: Leaf::Ecdsa, ..kind }, each / 2);
    [client, server]
}

/// Median nanoseconds of a client's and of a server's end.
fn ends(provider: &CryptoProvider, kind: Kind, each: Duration) -> [u64; 2] {
    let (client, server) =
        configs(provider.clone(), kind).expect("only what the library speaks is asked for");
    let histogram = || Histogram::<u64>::new_with_bounds(1, LONGEST, 3).expect("good bounds");
    let mut medians = [histogram(), histogram()];
    let begin = Instant::now();
    // The first one has no session to resume.
    let mut first = true;
    while begin.elapsed() < each || medians[0].is_empty() {
        let (time, resumed) = shake(&client, &server);
        if !std::mem::take(&mut first) {
            assert_eq!(resumed, kind.way == Way::Resumed, "the handshake that was to be measured");
            medians.iter_mut().zip(time).for_each(|(to, t)| to.saturating_record(t.as_nanos() as u64));
        }
    }
    medians.map(|histogram| histogram.value_at_quantile(0.5))
}

/// One handshake, and the tickets after it: the time of the client's and of the server's end, and whether it was resumed.
fn shake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> ([Duration; 2], bool) {
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
    let begin = Instant::now();
    let tickets = said(|to| s.write_tls(to));
    timed(1, begin);
    let begin = Instant::now();
    heard(&tickets, |from| c.read_tls(from));
    c.process_new_packets().expect("tickets that the server has made");
    timed(0, begin);
    (time, c.handshake_kind() == Some(HandshakeKind::Resumed))
}

fn configs(provider: CryptoProvider, kind: Kind) -> Result<(Arc<ClientConfig>, Arc<ServerConfig>), Error> {
    let pki = kind.leaf.pki("ceiling").expect("keys can be made");
    let identity = pki.identity(&[NAME]).expect("a DNS name");
    let ticketer = match is_ring(&provider) {
        true => ring::Ticketer::new(),
        false => aws_lc_rs::Ticketer::new(),
    };
    let mut server = ServerOptions::new(provider.clone(), identity.chain, identity.key);
    let mut client = ClientOptions::new(provider, vec![pki.root()]);
    client.versions = vec![kind.version];
    client.groups = kind.group.into_iter().collect();
    // Its chain is taken as verified.
    client.takes_any = kind.way == Way::Warm;
    server.versions = vec![kind.version];
    let (client, server) = (client.build()?, server.build()?);
    let (mut client, mut server) = (Arc::unwrap_or_clone(client), Arc::unwrap_or_clone(server));
    if kind.way == Way::Resumed {
        client.resumption = Resumption::in_memory_sessions(SESSIONS);
        server.ticketer = ticketer?;
        server.send_tls13_tickets = 1;
    } else {
        client.resumption = Resumption::disabled();
        server.send_tls13_tickets = 0;
    }
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

/// The two libraries are told apart by what only one of them has.
fn is_ring(provider: &CryptoProvider) -> bool {
    provider.kx_groups.iter().all(|group| group.name() != NamedGroup::X25519MLKEM768)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each step that is left out makes a handshake cheaper; a way that measured another would not. The ways take turns, and the
    /// best turn of each counts: other programs make some slower, but none faster.
    #[test]
    fn verification_costs_and_resumption_saves() {
        const TURNS: usize = 8;
        let provider = aws_lc_rs::default_provider();
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let mut best = [u64::MAX; 3];
            for _ in 0..TURNS {
                for (best, way) in best.iter_mut().zip([Way::Cold, Way::Warm, Way::Resumed]) {
                    let kind = Kind { version, group: Some(NamedGroup::X25519), leaf: Leaf::Ecdsa, way };
                    let time = ends(&provider, kind, Duration::from_millis(30)).iter().sum();
                    *best = (*best).min(time);
                }
            }
            let [cold, warm, resumed] = best;
            assert!(cold > warm && warm > resumed, "{version:?}: {cold}, {warm}, {resumed} ns");
        }
    }
}
