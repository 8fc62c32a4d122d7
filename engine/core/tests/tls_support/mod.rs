//! Other people's ends for the tests: a test PKI (rcgen), rustls clients and servers, and a wire without loss.
#![allow(dead_code)] // each test binary uses its own part
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)]
#![allow(clippy::disallowed_methods, reason = "the CAs lie in files, as other programs want them")]

#[path = "../support/fed_relay.rs"]
pub mod fed_relay;
pub mod pki;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use self::fed_relay::{FedRelay, Output};
use rustls::crypto::CryptoProvider;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use wireglass_core::end::End;
use wireglass_core::policy::Profile;
use wireglass_core::tls::{
    Destination, Failure, Handshake, HandshakeReport, Input, Outcome, Peek, RelayError, Step, TlsContext,
    peek,
};
use wireglass_core::x509::Provider;

pub use pki::{NOW, World};

pub const HOST: &str = "www.example.com";
pub const SERVER: &str = "192.0.2.80:443";

#[derive(Debug)]
pub struct Fixed;

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(NOW)))
    }
}

/// A provider's library by name, for the far ends.
pub fn library(provider: Provider) -> CryptoProvider {
    match provider.name() {
        #[cfg(feature = "aws-lc-rs")]
        "aws-lc-rs" => rustls::crypto::aws_lc_rs::default_provider(),
        #[cfg(feature = "ring")]
        "ring" => rustls::crypto::ring::default_provider(),
        other => panic!("{other}"),
    }
}

pub type Versions = &'static [&'static rustls::SupportedProtocolVersion];
pub const TLS12: Versions = &[&rustls::version::TLS12];
pub const TLS13: Versions = &[&rustls::version::TLS13];
pub const BOTH: Versions = rustls::ALL_VERSIONS;

/// A client that trusts only `roots`.
pub fn client_config(
    provider: &CryptoProvider,
    versions: Versions,
    roots: &[CertificateDer<'static>],
) -> ClientConfig {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).unwrap();
    }
    ClientConfig::builder_with_details(Arc::new(provider.clone()), Arc::new(Fixed))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth()
}

/// A server with one certificate. The key need not fit: some certificates are never got as far as to be signed with.
pub fn server_config(
    provider: &CryptoProvider,
    versions: Versions,
    chain: &[CertificateDer<'static>],
    key: PrivateKeyDer<'static>,
) -> ServerConfig {
    let key = provider.key_provider.load_private_key(key).unwrap();
    let certified = rustls::sign::CertifiedKey::new(chain.to_vec(), key);
    ServerConfig::builder_with_details(Arc::new(provider.clone()), Arc::new(Fixed))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)))
}

pub fn alpn(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|n| n.as_bytes().to_vec()).collect()
}

/// What a far end has seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub data: Vec<u8>,
    pub error: Option<rustls::Error>,
    pub closed: bool,
}

/// One far end.
pub struct TlsEnd {
    pub connection: Connection,
    pub seen: Seen,
}

impl TlsEnd {
    pub fn client(config: ClientConfig, name: ServerName<'static>) -> Self {
        Self {
            connection: ClientConnection::new(Arc::new(config), name).unwrap().into(),
            seen: Seen::default(),
        }
    }

    pub fn server(config: ServerConfig) -> Self {
        Self { connection: ServerConnection::new(Arc::new(config)).unwrap().into(), seen: Seen::default() }
    }

    pub fn send(&mut self, data: &[u8]) {
        self.connection.writer().write_all(data).unwrap();
    }

    pub fn output(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut out).unwrap();
        }
        out
    }

    pub fn input(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.seen.error.is_none() {
            if self.connection.read_tls(&mut bytes).unwrap() == 0 {
                break;
            }
            match self.connection.process_new_packets() {
                Ok(state) => self.seen.closed |= state.peer_has_closed(),
                Err(error) => self.seen.error = Some(error),
            }
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = self.connection.reader().read(&mut buffer) {
                self.seen.data.extend_from_slice(&buffer[..n]);
            }
        }
    }
}

/// How an interception went.
pub struct Flow {
    pub client: TlsEnd,
    pub server: TlsEnd,
    pub relay: Option<FedRelay>,
    pub failure: Option<Failure>,
    /// The relay broke over what came with the handshakes.
    pub broken: Option<RelayError>,
    pub report: HandshakeReport,
    /// All that went to the client, and to the server, before the relay.
    pub to_client: Vec<u8>,
    pub to_server: Vec<u8>,
    /// Plaintext that the inspector saw.
    pub inspected: Vec<(End, Vec<u8>)>,
}

/// What one end says first, and how finely its bytes are cut.
pub struct Plan {
    pub host: Option<&'static str>,
    pub profile: Profile,
    pub client_says: &'static [u8],
    pub server_says: &'static [u8],
    pub cut: usize,
    /// The relay may break over what comes with the handshakes.
    pub may_break: bool,
    /// The engine's time.
    pub now: u64,
    pub destination: Destination,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            host: Some(HOST),
            profile: Profile::default(),
            client_says: b"",
            server_says: b"",
            cut: usize::MAX,
            may_break: false,
            now: NOW,
            destination: destination(),
        }
    }
}

/// Where flows go.
pub fn destination() -> Destination {
    Destination { wire: 0, vlan: [None; 2], server: SERVER.parse().unwrap() }
}

/// Reads a flight with `peek` as a flow would, and starts a handshake with it.
pub fn start(context: &Arc<TlsContext>, flight: &[u8], profile: Profile) -> Handshake {
    start_to(context, flight, destination(), profile)
}

pub fn start_to(
    context: &Arc<TlsContext>,
    flight: &[u8],
    destination: Destination,
    profile: Profile,
) -> Handshake {
    let Peek::Complete { hello, flight_len } = peek(flight, 65536) else { panic!("no ClientHello") };
    assert_eq!(flight_len, flight.len());
    Handshake::new(Arc::clone(context), hello, flight.to_vec(), destination, Arc::new(profile))
}

impl Flow {
    /// Runs both handshakes to their end.
    pub fn run(world: &World, client: ClientConfig, server: ServerConfig, plan: Plan) -> Self {
        let name = plan.host.map_or_else(
            || ServerName::from(SERVER.parse::<SocketAddr>().unwrap().ip()),
            |h| ServerName::try_from(h).unwrap(),
        );
        let mut flow = Self {
            client: TlsEnd::client(client, name),
            server: TlsEnd::server(server),
            relay: None,
            failure: None,
            broken: None,
            report: HandshakeReport::default(),
            to_client: Vec::new(),
            to_server: Vec::new(),
            inspected: Vec::new(),
        };
        let flight = flow.client.output();
        let mut handshake = start_to(&world.context, &flight, plan.destination, plan.profile);
        // Early words: rustls keeps them until the handshake is over.
        flow.client.send(plan.client_says);
        flow.server.send(plan.server_says);
        let mut step = handshake.advance(Input { now: plan.now, ..Input::default() });
        loop {
            flow.report = handshake.report();
            if flow.take(step) {
                assert!(flow.broken.is_none() || plan.may_break, "{:?}", flow.broken);
                return flow;
            }
            let (from_client, from_server) = (flow.client.output(), flow.server.output());
            assert!(!from_client.is_empty() || !from_server.is_empty(), "stuck: {:?}", flow.report);
            step = flow.feed(&mut handshake, &from_client, &from_server, (plan.cut, plan.now));
        }
    }

    /// Feeds bytes in pieces, and joins what comes of it.
    fn feed(
        &mut self,
        handshake: &mut Handshake,
        from_client: &[u8],
        from_server: &[u8],
        (cut, now): (usize, u64),
    ) -> Step {
        let mut all = Step { to_client: Vec::new(), to_server: Vec::new(), outcome: Outcome::Pending };
        let pieces = from_client.chunks(cut).map(|c| (End::Client, c));
        for (side, piece) in pieces.chain(from_server.chunks(cut).map(|c| (End::Server, c))) {
            if matches!(all.outcome, Outcome::Failed(_)) || self.broken.is_some() {
                break;
            }
            if let Some(relay) = &mut self.relay {
                let mut out = Output::default();
                let mut inspect = |s, data: &[u8]| self.inspected.push((s, data.to_vec()));
                self.broken = relay.receive(side, piece, &mut inspect, &mut out).err();
                all.to_client.extend(out.to_client);
                all.to_server.extend(out.to_server);
                continue;
            }
            let mut input = Input { now, ..Input::default() };
            match side {
                End::Client => input.from_client = piece.to_vec(),
                End::Server => input.from_server = piece.to_vec(),
            }
            let mut step = handshake.advance(input);
            while handshake.goes_on() {
                let more = handshake.advance(Input { now, ..Input::default() });
                step.to_client.extend(more.to_client);
                step.to_server.extend(more.to_server);
                step.outcome = more.outcome;
            }
            all.to_client.extend(step.to_client);
            all.to_server.extend(step.to_server);
            all.outcome = match step.outcome {
                Outcome::Established(relay) => {
                    self.relay = Some(FedRelay::new(*relay));
                    Outcome::Pending
                }
                outcome => outcome,
            };
        }
        all
    }

    fn take(&mut self, step: Step) -> bool {
        self.to_client.extend_from_slice(&step.to_client);
        self.to_server.extend_from_slice(&step.to_server);
        self.client.input(&step.to_client);
        self.server.input(&step.to_server);
        match step.outcome {
            Outcome::Pending if self.relay.is_none() => false,
            Outcome::Failed(failure) => {
                self.failure = Some(failure);
                true
            }
            Outcome::Pending | Outcome::Established(_) => {
                if self.broken.is_none() {
                    self.broken = self.relay_bytes(End::Server, b"").err();
                }
                true
            }
        }
    }

    /// Carries bytes both ways until nothing moves.
    pub fn settle(&mut self) -> Result<(), RelayError> {
        loop {
            let (from_client, from_server) = (self.client.output(), self.server.output());
            if from_client.is_empty() && from_server.is_empty() {
                return Ok(());
            }
            for (side, bytes) in [(End::Client, from_client), (End::Server, from_server)] {
                self.relay_bytes(side, &bytes)?;
            }
        }
    }

    /// Hands the relay some ciphertext and the ends what comes of it.
    pub fn relay_bytes(&mut self, side: End, bytes: &[u8]) -> Result<Output, RelayError> {
        let mut out = Output::default();
        let inspected = &mut self.inspected;
        let relay = self.relay.as_mut().expect("established");
        let result = relay.receive(side, bytes, &mut |s, data| inspected.push((s, data.to_vec())), &mut out);
        self.client.input(&out.to_client);
        self.server.input(&out.to_server);
        result.map(|()| out)
    }

    /// What the inspector saw of one end.
    pub fn inspected_from(&self, side: End) -> Vec<u8> {
        self.inspected.iter().filter(|(s, _)| *s == side).flat_map(|(_, d)| d.clone()).collect()
    }

    pub fn presented(&self) -> &[CertificateDer<'static>] {
        self.client.connection.peer_certificates().unwrap()
    }
}

/// Takes whatever it is shown.
#[derive(Debug)]
pub struct AnyCertificate;

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256, rustls::SignatureScheme::RSA_PSS_SHA256]
    }
}
