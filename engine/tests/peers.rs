//! The hosts prove themselves against each other over a plain wire, before anything of ours stands between them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::net::SocketAddr;

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use support::Exchange;
use wireglass_testbed::{
    ClientOptions, Duration, Ending, Heading, Host, HostConfig, Identity, Impairment, Instant, Pki, PortSide,
    Report, ServerOptions, Session, SessionId, Simulation, Step, Stop, Tag, Wire, providers,
};

const NAME: &str = "www.example.com";
const LIMIT: Duration = Duration::from_secs(3_600);

/// One case of the grid.
#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    impairment: Impairment,
    mtu: usize,
    tags: Vec<Tag>,
    ipv6: bool,
}

impl Case {
    fn new(seed: u64) -> Self {
        Self { seed, impairment: Impairment::default(), mtu: 1500, tags: Vec::new(), ipv6: false }
    }

    /// Connects the two sessions and runs them to the end.
    fn run(&self, client: Session, server: Session) -> (Simulation<Wire>, SessionId, SessionId, Stop) {
        let host = |number: u8| {
            let config = HostConfig::numbered(number);
            let seed = self.seed ^ u64::from(number);
            Host::new(Instant::ZERO, HostConfig { mtu: self.mtu, tags: self.tags.clone(), seed, ..config })
        };
        let (mut inside, mut outside) = (host(1), host(2));
        let address = SocketAddr::new(outside.address(self.ipv6).unwrap(), 443);
        let server = outside.listen(443, server);
        let client = inside.connect(address, 40_000, client);
        let mut simulation = Simulation::new(inside, outside, Wire::default(), self.impairment, self.seed);
        let stop = simulation.run(LIMIT);
        (simulation, client, server, stop)
    }
}

struct Tls {
    pki: Pki,
    identity: Identity,
    provider: CryptoProvider,
    version: &'static SupportedProtocolVersion,
}

impl Tls {
    fn new(pki: Pki, provider: CryptoProvider, version: &'static SupportedProtocolVersion) -> Self {
        let identity = pki.identity(&[NAME]).unwrap();
        Self { pki, identity, provider, version }
    }

    fn sessions(&self, client: Vec<Step>, server: Vec<Step>) -> (Session, Session) {
        let mut options = ClientOptions::new(self.provider.clone(), vec![self.pki.root()]);
        options.versions = vec![self.version];
        options.alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = Session::tls_client(options.build().unwrap(), NAME, client).unwrap();

        let Identity { chain, key } = self.identity.clone();
        let mut options = ServerOptions::new(self.provider.clone(), chain, key);
        options.alpn = vec![b"http/1.1".to_vec()];
        (client, Session::tls_server(options.build().unwrap(), server).unwrap())
    }
}

fn assert_exact(exchange: &Exchange, client: &Report, server: &Report, case: &dyn std::fmt::Debug) {
    assert!(server.received == exchange.request, "request differs: {case:?}, {}", summary(server));
    assert!(client.received == exchange.response, "response differs: {case:?}, {}", summary(client));
    assert_eq!(client.end, Some(Ending::Finished), "{case:?}");
    assert_eq!(server.end, Some(Ending::Finished), "{case:?}");
}

fn summary(report: &Report) -> String {
    format!("received {} bytes, sent {}, end {:?}", report.received.len(), report.sent, report.end)
}

/// Loss, reordering and MTU, each with another seed; every other case over IPv6.
fn grid() -> impl Iterator<Item = Case> {
    let mut cases = Vec::new();
    for loss in [0.0, 0.02, 0.08] {
        for reorder in [0.0, 0.2] {
            for mtu in [200, 576, 1500, 9000] {
                let seed = cases.len() as u64;
                let impairment =
                    Impairment { loss, reorder, duplicate: reorder / 4.0, ..Impairment::default() };
                cases.push(Case { impairment, mtu, ipv6: seed % 2 == 1, ..Case::new(seed) });
            }
        }
    }
    cases.into_iter()
}

#[test]
fn plain_tcp_is_byte_exact_over_the_grid() {
    for case in grid() {
        let exchange = Exchange::new(case.seed, 20_000, 60_000);
        let (client, server) = (Session::plain(exchange.client()), Session::plain(exchange.server()));
        let (simulation, client, server, stop) = case.run(client, server);
        assert_eq!(stop, Stop::Done, "{case:?}");
        let (client, server) = (simulation.client.report(client), simulation.server.report(server));
        assert_exact(&exchange, client, server, &case);
    }
}

#[test]
fn tls_is_byte_exact_over_the_grid_with_both_providers_and_versions() {
    for (name, provider) in providers() {
        for version in [&TLS12, &TLS13] {
            let tls = Tls::new(Pki::new("Test").unwrap(), provider.clone(), version);
            for case in grid() {
                let what = (name, version.version, &case);
                let exchange = Exchange::new(case.seed, 5_000, 40_000);
                let (client, server) = tls.sessions(exchange.client(), exchange.server());
                let (simulation, client, server, stop) = case.run(client, server);
                assert_eq!(stop, Stop::Done, "{what:?}");
                let (client, server) = (simulation.client.report(client), simulation.server.report(server));
                assert_exact(&exchange, client, server, &what);

                let seen = client.handshake.as_ref().unwrap();
                assert_eq!(seen.version, format!("{:?}", version.version));
                assert_eq!(seen.alpn.as_deref(), Some(&b"http/1.1"[..]));
                assert_eq!(seen.chain, tls.identity.chain);
                assert_eq!(server.handshake.as_ref().unwrap().sni.as_deref(), Some(NAME));
            }
        }
    }
}

#[test]
fn vlan_and_qinq_frames_carry_the_tags() {
    for tags in [vec![(0x8100, 7)], vec![(0x88a8, 100), (0x8100, 7)]] {
        let tags: Vec<_> = tags.into_iter().map(|(ethertype, control)| Tag { ethertype, control }).collect();
        let case = Case { tags: tags.clone(), ..Case::new(3) };
        let exchange = Exchange::new(3, 3_000, 3_000);
        let (client, server) = (Session::plain(exchange.client()), Session::plain(exchange.server()));
        let (simulation, client, server, _) = case.run(client, server);
        assert_exact(&exchange, simulation.client.report(client), simulation.server.report(server), &case);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let impairment = Impairment { loss: 0.05, reorder: 0.2, duplicate: 0.05, ..Impairment::default() };
    let digest = |seed| {
        let exchange = Exchange::new(seed, 30_000, 30_000);
        let case = Case { impairment, ..Case::new(seed) };
        let (simulation, ..) = case.run(Session::plain(exchange.client()), Session::plain(exchange.server()));
        simulation.trace_digest()
    };
    assert_eq!(digest(11), digest(11));
    assert_ne!(digest(11), digest(12));
}

/// TLS draws its keys from the operating system, so frames differ in content; with signatures of a fixed length
/// (Ed25519) they agree in time, place and length.
#[test]
fn the_same_seed_gives_the_same_shape_under_tls() {
    let shape = |seed| {
        let pki = Pki::with_algorithm("Test", &rcgen::PKCS_ED25519).unwrap();
        let tls = Tls::new(pki, providers().remove(0).1, &TLS13);
        let exchange = Exchange::new(seed, 10_000, 30_000);
        let (client, server) = tls.sessions(exchange.client(), exchange.server());
        let impairment = Impairment { loss: 0.05, reorder: 0.2, ..Impairment::default() };
        let (inside, outside) = (HostConfig::numbered(1), HostConfig::numbered(2));
        let mut inside = Host::new(Instant::ZERO, inside);
        let mut outside = Host::new(Instant::ZERO, outside);
        let address = SocketAddr::new(outside.address(false).unwrap(), 443);
        outside.listen(443, server);
        inside.connect(address, 40_000, client);
        let mut simulation = Simulation::new(inside, outside, Wire::default(), impairment, seed);
        simulation.record();
        assert_eq!(simulation.run(LIMIT), Stop::Done);
        let crossings = simulation.recorded().iter();
        crossings.map(|c| (c.at, c.port, c.heading, c.frame.len())).collect::<Vec<_>>()
    };
    assert_eq!(shape(5), shape(5));
    assert_ne!(shape(5), shape(6));
}

#[test]
fn a_wire_delivers_every_frame_as_it_came() {
    let exchange = Exchange::new(1, 10_000, 10_000);
    let (mut inside, mut outside) = (
        Host::new(Instant::ZERO, HostConfig::numbered(1)),
        Host::new(Instant::ZERO, HostConfig::numbered(2)),
    );
    let address = SocketAddr::new(outside.address(false).unwrap(), 80);
    outside.listen(80, Session::plain(exchange.server()));
    inside.connect(address, 40_000, Session::plain(exchange.client()));
    let mut simulation = Simulation::new(inside, outside, Wire::default(), Impairment::default(), 1);
    simulation.record();
    assert_eq!(simulation.run(LIMIT), Stop::Done);

    for port in [PortSide::Inside, PortSide::Outside] {
        let frames = |port, heading| {
            let crossings = simulation.recorded().iter();
            let here = crossings.filter(move |c| c.port == port && c.heading == heading);
            here.map(|c| &c.frame).collect::<Vec<_>>()
        };
        let entered = frames(port, Heading::In);
        assert!(entered.len() > 10);
        assert_eq!(entered, frames(port.other(), Heading::Out));
    }
}

/// How each way to end looks from the other side.
#[test]
fn the_ways_to_end_are_told_apart() {
    let tls = Tls::new(Pki::new("Test").unwrap(), providers().remove(0).1, &TLS13);
    let ends = |last: Step, secure: bool| {
        let bytes = vec![7; 3_000];
        let client = vec![Step::Send(bytes.clone()), Step::AwaitEnd, Step::Finish];
        let server =
            vec![Step::Receive(3_000), Step::Send(bytes), Step::Pause(Duration::from_millis(50)), last];
        let (client, server) = match secure {
            true => tls.sessions(client, server),
            false => (Session::plain(client), Session::plain(server)),
        };
        let (simulation, client, _, stop) = Case::new(1).run(client, server);
        assert_eq!(stop, Stop::Done);
        let report = simulation.client.report(client);
        assert_eq!(report.received.len(), 3_000);
        report.end.clone().unwrap()
    };
    assert_eq!(ends(Step::Finish, true), Ending::Finished);
    assert_eq!(ends(Step::Truncate, true), Ending::Truncated);
    assert_eq!(ends(Step::Reset, true), Ending::Reset);
    assert_eq!(ends(Step::Finish, false), Ending::Finished);
    assert_eq!(ends(Step::Reset, false), Ending::Reset);
}

#[test]
fn half_close_leaves_the_other_direction_open() {
    let tls = Tls::new(Pki::new("Test").unwrap(), providers().remove(0).1, &TLS13);
    let exchange = Exchange::new(1, 5_000, 50_000);
    let client = vec![Step::Send(exchange.request.clone()), Step::Finish, Step::AwaitEnd];
    let server = vec![Step::AwaitEnd, Step::Send(exchange.response.clone()), Step::Finish];
    let (client, server) = tls.sessions(client, server);
    let (simulation, client, server, stop) = Case::new(1).run(client, server);
    assert_eq!(stop, Stop::Done);
    assert_exact(
        &exchange,
        simulation.client.report(client),
        simulation.server.report(server),
        &"half-close",
    );
}

#[test]
fn an_untrusted_server_is_refused_with_an_alert() {
    let tls = Tls::new(Pki::new("Test").unwrap(), providers().remove(0).1, &TLS13);
    let stranger = Tls::new(Pki::new("Stranger").unwrap(), providers().remove(0).1, &TLS13);
    let (client, _) = tls.sessions(vec![Step::Send(vec![1; 100])], Vec::new());
    let (_, server) = stranger.sessions(Vec::new(), vec![Step::AwaitEnd, Step::Finish]);
    let (simulation, client, server, _) = Case::new(1).run(client, server);
    let end = simulation.client.report(client).end.clone();
    assert!(matches!(end, Some(Ending::Refused(rustls::Error::InvalidCertificate(_)))), "{end:?}");
    let server = simulation.server.report(server);
    assert!(matches!(server.end, Some(Ending::Alert(48))), "{:?}", server.end); // unknown_ca
    assert!(server.received.is_empty());
}

#[test]
fn a_slow_reader_slows_the_sender() {
    let exchange = Exchange::new(1, 10, 1_000_000);
    let slow = Session::plain(exchange.client()).slow(10_000, Duration::from_millis(100));
    let (simulation, client, server, stop) = Case::new(1).run(slow, Session::plain(exchange.server()));
    assert_eq!(stop, Stop::Done);
    assert_exact(
        &exchange,
        simulation.client.report(client),
        simulation.server.report(server),
        &"slow reader",
    );
    assert!(simulation.now() > Instant::from_secs(9), "{}", simulation.now());
}

#[test]
fn a_cut_cable_is_silence() {
    let exchange = Exchange::new(1, 10, 1_000_000);
    let mut inside = Host::new(Instant::ZERO, HostConfig::numbered(1));
    let mut outside = Host::new(Instant::ZERO, HostConfig::numbered(2));
    let address = SocketAddr::new(outside.address(false).unwrap(), 80);
    outside.listen(80, Session::plain(exchange.server()));
    let client = inside.connect(address, 40_000, Session::plain(exchange.client()));
    let mut simulation = Simulation::new(inside, outside, Wire::default(), Impairment::default(), 1);
    simulation.run_until(LIMIT, |s| s.client.report(client).received.len() > 100_000);
    simulation.server_to_middle.cut();
    assert_ne!(simulation.run(Duration::from_secs(100)), Stop::Done);
    assert_eq!(simulation.client.report(client).end, None);
}
