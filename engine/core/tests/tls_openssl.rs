//! OpenSSL at both far ends: `openssl s_client` through a handshake and a relay of ours to `openssl s_server`, on loopback.
//!
//! Skipped, with a line that says so, where there is no `openssl` command.
#![allow(clippy::unwrap_used, clippy::panic)]
#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the other end is a program of its own"
)]

mod tls_support;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tls_support::pki::{Signed, ca_files, ca_params, create_cas, leaf_params};
use tls_support::*;
use wireglass_core::end::End;
use wireglass_core::policy::Profile;
use wireglass_core::tls::{
    Destination, Failure, Handshake, HandshakeReport, Input, Outcome, Peek, RelayError, TlsContext,
    TlsSettings, peek,
};
use wireglass_core::x509::{Provider, RootFile};

const DEADLINE: Duration = Duration::from_secs(10);

/// The process ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn openssl_exists() -> bool {
    let found = Command::new("openssl").arg("version").output().is_ok();
    if !found {
        eprintln!("skipped: no openssl command");
    }
    found
}

/// One direction's reading end, without blocking.
fn read_some(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut buffer = [0; 16384];
    match stream.read(&mut buffer) {
        Ok(0) => (Vec::new(), true),
        Ok(n) => (buffer[..n].to_vec(), false),
        Err(e) if e.kind() == ErrorKind::WouldBlock => (Vec::new(), false),
        Err(_) => (Vec::new(), true),
    }
}

struct Pumped {
    report: HandshakeReport,
    failure: Option<Failure>,
    /// The relay broke: an end gave up, after both handshakes.
    broken: Option<RelayError>,
    inspected: Vec<(End, Vec<u8>)>,
}

/// The engine's part of a flow, over two sockets: peek, handshake, relay, until either end has closed.
fn pump(context: &std::sync::Arc<TlsContext>, mut client: TcpStream, mut server: TcpStream) -> Pumped {
    let started = Instant::now();
    let mut first = Vec::new();
    let mut buffer = [0; 1]; // byte by byte: the ClientHello is incomplete two thousand times
    let (hello, flight_len) = loop {
        let n = client.read(&mut buffer).unwrap();
        first.extend_from_slice(&buffer[..n]);
        match peek(&first, 65536) {
            Peek::Incomplete => assert!(started.elapsed() < DEADLINE && n > 0),
            Peek::Complete { hello, flight_len } => break (hello, flight_len),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(flight_len, first.len());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let address = server.peer_addr().unwrap();
    let destination = Destination { server: address, ..destination() };
    let mut handshake = Handshake::new(context.clone(), hello, first, destination, Profile::default().into());
    let mut relay: Option<FedRelay> = None;
    let (report, inspected) = (HandshakeReport::default(), Vec::new());
    let mut pumped = Pumped { report, failure: None, broken: None, inspected };
    for stream in [&client, &server] {
        stream.set_nonblocking(true).unwrap();
    }
    let (mut from_client, mut from_server) = ((Vec::new(), false), (Vec::new(), false));
    loop {
        assert!(started.elapsed() < DEADLINE, "{:?}", pumped.report);
        let mut out = Output::default();
        let inspected = &mut pumped.inspected;
        let mut inspect = |side, data: &[u8]| inspected.push((side, data.to_vec()));
        match &mut relay {
            Some(relay) => {
                let client = relay.receive(End::Client, &from_client.0, &mut inspect, &mut out);
                let both =
                    client.and_then(|()| relay.receive(End::Server, &from_server.0, &mut inspect, &mut out));
                pumped.broken = both.err();
            }
            None => {
                let step = handshake.advance(Input {
                    from_client: from_client.0,
                    from_server: from_server.0,
                    client_closed: from_client.1,
                    server_closed: from_server.1,
                    now,
                });
                (out.to_client, out.to_server) = (step.to_client, step.to_server);
                pumped.report = handshake.report();
                match step.outcome {
                    Outcome::Pending => {}
                    Outcome::Failed(failure) => pumped.failure = Some(failure),
                    Outcome::Established(up) => {
                        let mut up = FedRelay::new(*up);
                        pumped.broken = up.receive(End::Server, b"", &mut inspect, &mut out).err();
                        relay = Some(up);
                    }
                }
            }
        }
        for (stream, bytes) in [(&mut client, out.to_client), (&mut server, out.to_server)] {
            stream.set_nonblocking(false).unwrap();
            let _ = stream.write_all(&bytes); // an end that has gone is seen when it is read from
            stream.set_nonblocking(true).unwrap();
        }
        if pumped.failure.is_some() || pumped.broken.is_some() || from_client.1 || from_server.1 {
            return pumped;
        }
        std::thread::sleep(Duration::from_millis(1));
        (from_client, from_server) = (read_some(&mut client), read_some(&mut server));
    }
}

struct Lab {
    dir: tempfile::TempDir,
    context: std::sync::Arc<TlsContext>,
}

impl Lab {
    /// A PKI that is valid by the machine's own clock, which OpenSSL goes by.
    fn new(provider: Provider) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let now_days = (now as i64 - NOW as i64) / pki::DAY as i64;
        let mut params = ca_params("Public Root");
        pki::dates(&mut params, now_days - 2, now_days + 2);
        let root = Signed::by_itself(params);
        let mut params = leaf_params(&[HOST]);
        pki::dates(&mut params, now_days - 2, now_days + 2);
        let leaf = Signed::by(params, &root);
        std::fs::write(dir.path().join("leaf.pem"), pki::pem(&leaf.der)).unwrap();
        std::fs::write(dir.path().join("leaf.key"), leaf.key.serialize_pem()).unwrap();
        create_cas(dir.path(), provider, 10, now);
        let settings = TlsSettings {
            provider,
            trusted: ca_files(dir.path(), "trusted"),
            untrusted: ca_files(dir.path(), "untrusted"),
            crl_url: None,
            knowledge: Default::default(),
            system_roots: None,
            roots: vec![RootFile { name: "root".into(), pem: pki::pem(&root.der) }],
            now,
        };
        Self { context: TlsContext::new(settings).unwrap().with_ticket_secret([7; 32]).into(), dir }
    }

    /// Runs `openssl s_client` against `openssl s_server`; says what the client printed, and how the engine saw it.
    fn run(&self, server_args: &[&str], client_args: &[&str]) -> (String, Pumped) {
        let (_server, address) = self.serve(server_args);
        self.fetch(&address, client_args)
    }

    /// Starts `openssl s_server`; says where it listens.
    fn serve(&self, server_args: &[&str]) -> (Running, String) {
        let mut server = Command::new("openssl");
        server.current_dir(self.dir.path());
        server.args(["s_server", "-www", "-cert", "leaf.pem", "-key", "leaf.key", "-accept", "127.0.0.1:0"]);
        server.args(server_args).stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
        let mut server = Running(server.spawn().unwrap());
        let mut said = BufReader::new(server.0.stdout.take().unwrap()).lines();
        let address = loop {
            let line = said.next().expect("s_server says where it listens").unwrap();
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.to_owned();
            }
        };
        (server, address)
    }

    /// Both ends with their standard input open: `openssl` takes commands from it.
    fn talk(&self) -> (Terminal, Terminal, std::thread::JoinHandle<Pumped>) {
        let end = |arguments: &[&str]| {
            let mut command = Command::new("openssl");
            command.current_dir(self.dir.path()).args(arguments).args(["-tls1_3", "-msg"]);
            Terminal::new(command)
        };
        let server = end(&["s_server", "-cert", "leaf.pem", "-key", "leaf.key", "-accept", "127.0.0.1:0"]);
        let said = server.wait_for("ACCEPT ", 1);
        let address = said.lines().find_map(|line| line.strip_prefix("ACCEPT ")).unwrap();
        let upstream = TcpStream::connect(address).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let client = end(&["s_client", "-connect", &address, "-servername", HOST, "-CAfile", "trusted.pem"]);
        let (downstream, _) = listener.accept().unwrap();
        let context = self.context.clone();
        (client, server, std::thread::spawn(move || pump(&context, downstream, upstream)))
    }

    /// One request of `openssl s_client`.
    fn fetch(&self, address: &str, client_args: &[&str]) -> (String, Pumped) {
        let upstream = TcpStream::connect(address).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut client = Command::new("openssl");
        client.current_dir(self.dir.path());
        client.args(["s_client", "-connect", &address, "-servername", HOST, "-verify_hostname", HOST]);
        client.args(["-CAfile", "trusted.pem", "-verify_return_error", "-ign_eof"]).args(client_args);
        let mut client = Running(
            client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(),
        );
        client.0.stdin.take().unwrap().write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let (downstream, _) = listener.accept().unwrap();
        let pumped = pump(&self.context, downstream, upstream);
        let mut text = String::new();
        client.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        client.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (text, pumped)
    }
}

/// A process that is spoken to, and what it has said.
struct Terminal {
    process: Running,
    said: Arc<Mutex<String>>,
}

impl Terminal {
    fn new(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Running(command.spawn().unwrap());
        let said = Arc::new(Mutex::new(String::new()));
        let (mut stdout, heard) = (process.0.stdout.take().unwrap(), said.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stdout.read(&mut buffer) {
                heard.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        });
        Self { process, said }
    }

    fn type_line(&mut self, line: &str) {
        self.process.0.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Waits until `text` has been said so many times. All that was said.
    fn wait_for(&self, text: &str, times: usize) -> String {
        let started = Instant::now();
        loop {
            let said = self.said.lock().unwrap().clone();
            if said.matches(text).count() >= times {
                return said;
            }
            assert!(started.elapsed() < DEADLINE, "{times} times {text:?} in {said}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// `k`: a KeyUpdate; `K`: one that asks for another. Either end, in turn, and data each way after each.
#[test]
fn openssl_renews_its_keys() {
    if !openssl_exists() {
        return;
    }
    const SENT: &str = ">>> TLS 1.3, Handshake [length 0005], KeyUpdate";
    const RECEIVED: &str = "<<< TLS 1.3, Handshake [length 0005], KeyUpdate";
    for &provider in Provider::BUILT_IN {
        let lab = Lab::new(provider);
        let (mut client, mut server, pumped) = lab.talk();
        let (mut sent, mut received, mut line) = ([0; 2], [0; 2], 0);
        for command in ["", "k", "K", "K", "k"] {
            for side in 0..2 {
                if !command.is_empty() {
                    let end = if side == 0 { &mut client } else { &mut server };
                    end.type_line(command);
                    sent[side] += 1;
                    end.wait_for(SENT, sent[side]);
                    // Only we can have answered: the other end sent none.
                    received[side] += usize::from(command == "K");
                    end.wait_for(RECEIVED, received[side]);
                }
                line += 1;
                client.type_line(&format!("up {line}."));
                server.wait_for(&format!("up {line}."), 1);
                server.type_line(&format!("down {line}."));
                client.wait_for(&format!("down {line}."), 1);
            }
        }
        client.type_line("Q");
        let inspected = pumped.join().unwrap().inspected;
        let up: Vec<u8> =
            inspected.iter().filter(|(s, _)| *s == End::Client).flat_map(|(_, d)| d.clone()).collect();
        let expected: String = (1..=line).map(|n| format!("up {n}.\n")).collect();
        assert_eq!(String::from_utf8(up).unwrap(), expected);
        assert_eq!(received, [2, 2]);
    }
}

#[test]
fn openssl_at_both_ends() {
    if !openssl_exists() {
        return;
    }
    for &provider in Provider::BUILT_IN {
        let lab = Lab::new(provider);
        for (server, client, version) in [
            (&[][..], &[][..], "TLS 1.3"),
            (&["-tls1_2"], &[], "TLS 1.2"),
            (&[], &["-tls1_2"], "TLS 1.2"),
            (&["-groups", "P-384"], &[], "TLS 1.3"), // a HelloRetryRequest upstream
            (&[], &["-groups", "P-384:X25519"], "TLS 1.3"),
            (&[], &["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"], "TLS 1.3"),
            (&["-alpn", "http/1.1"], &["-alpn", "h2,http/1.1"], "TLS 1.3"),
        ] {
            let (text, pumped) = lab.run(server, client);
            assert_eq!((pumped.failure, pumped.broken), (None, None), "{server:?} {client:?} {text}");
            assert!(
                text.contains("Verify return code: 0 (ok)") && text.contains("HTTP/1.0 200 ok"),
                "{text}"
            );
            assert!(text.contains("wireglass trusted CA"), "{text}");
            assert_eq!(pumped.report.client_leg.unwrap().version, Some(version));
            assert_eq!(pumped.report.server_leg.unwrap().version, Some(version));
            let request: Vec<u8> = pumped
                .inspected
                .iter()
                .filter(|(s, _)| *s == End::Client)
                .flat_map(|(_, d)| d.clone())
                .collect();
            assert_eq!(request, b"GET / HTTP/1.0\r\n\r\n");
            if client.contains(&"-alpn") {
                assert!(text.contains("ALPN protocol: http/1.1"), "{text}");
            }
        }
        assert_eq!(lab.context.minted(), 1);
    }
}

/// OpenSSL takes our tickets, and takes its own back from us: each end says so itself.
#[test]
fn openssl_comes_back() {
    if !openssl_exists() {
        return;
    }
    for &provider in Provider::BUILT_IN {
        for version in ["-tls1_2", "-tls1_3"] {
            let lab = Lab::new(provider);
            let (_server, address) = lab.serve(&[version]);
            let (text, pumped) = lab.fetch(&address, &["-sess_out", "session.pem"]);
            assert!(text.contains("New, TLSv1.") && text.contains("HTTP/1.0 200 ok"), "{text}");
            let first = pumped.report;
            let (text, pumped) = lab.fetch(&address, &["-sess_in", "session.pem"]);
            assert!(text.contains("Reused, TLSv1."), "{version} {text}");
            assert!(text.contains("HTTP/1.0 200 ok") && text.contains("Reused, TLSv1."), "{text}");
            let report = pumped.report;
            assert!(report.client_leg.unwrap().resumed && report.server_leg.unwrap().resumed, "{version}");
            assert_eq!(report.minted_serial, first.minted_serial);
            assert_eq!(report.certificate.unwrap().fingerprint, first.certificate.unwrap().fingerprint);
            // To another server of the same name: neither its session nor, as its certificate is another, the client's.
            let other = Lab::new(provider);
            let (_other, address) = other.serve(&[version]);
            std::fs::copy(lab.dir.path().join("session.pem"), other.dir.path().join("session.pem")).unwrap();
            let (text, pumped) = other.fetch(&address, &["-sess_in", "session.pem"]);
            assert!(text.contains("New, TLSv1."), "{version} {text}");
            let report = pumped.report;
            assert!(!report.client_leg.unwrap().resumed && !report.server_leg.unwrap().resumed);
        }
    }
}

/// Clients that verify one kind of signature, as CNSA 1.0 has it: the leaf's key is of that kind.
#[test]
fn openssl_gets_a_key_that_it_can_verify() {
    if !openssl_exists() {
        return;
    }
    use wireglass_core::reason::Reason;
    for &provider in Provider::BUILT_IN {
        let lab = Lab::new(provider);
        let has_p521 = provider.name() == "aws-lc-rs";
        let has_rsa = Provider::BUILT_IN.iter().any(|provider| provider.name() == "aws-lc-rs");
        for (client, key) in [
            (&["-sigalgs", "ECDSA+SHA384"][..], Some("384")),
            (&["-tls1_2", "-sigalgs", "ECDSA+SHA384", "-curves", "P-384:P-256"], Some("384")),
            (&["-sigalgs", "ECDSA+SHA512"], has_p521.then_some("521")),
            (&["-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"], has_rsa.then_some("2048")),
            (&["-sigalgs", "ECDSA+SHA384:ECDSA+SHA256"], Some("256")),
            (&["-sigalgs", "ed25519"], None),
            // In TLS 1.2 there is no curve for it.
            (&["-tls1_2", "-sigalgs", "ECDSA+SHA384", "-curves", "P-256"], None),
        ] {
            let (text, pumped) = lab.run(&[], client);
            match key {
                Some(bits) => assert!(
                    text.contains(&format!("Server public key is {bits} bit")),
                    "{provider:?} {client:?}\n{text}"
                ),
                None => {
                    let failure = Failure { reason: Reason::CipherNoneClient, alert: Some(40) };
                    assert_eq!(pumped.failure, Some(failure), "{provider:?} {client:?}\n{text}");
                }
            }
        }
    }
}

#[test]
fn what_openssl_ends_that_cannot_be_served_are_told() {
    if !openssl_exists() {
        return;
    }
    use wireglass_core::reason::Reason;
    let lab = Lab::new(Provider::default());
    // The server has only CBC suites; it refuses with handshake_failure, and so does the client hear.
    let (text, pumped) = lab.run(&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"], &["-tls1_2"]);
    assert_eq!(pumped.failure, Some(Failure { reason: Reason::CipherNoneServer, alert: Some(40) }));
    assert!(text.contains("alert handshake failure"), "{text}");
    // A client without a suite of ours: the server hears nothing.
    let (text, pumped) = lab.run(&[], &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"]);
    assert_eq!(pumped.failure, Some(Failure { reason: Reason::CipherNoneClient, alert: Some(40) }));
    assert!(text.contains("alert handshake failure"), "{text}");
    // The server insists on a client certificate, in its handshake or after it.
    let (text, pumped) = lab.run(&["-Verify", "1", "-tls1_2"], &[]);
    assert_eq!(pumped.failure, Some(Failure { reason: Reason::ServerRequiresClientCert, alert: Some(40) }));
    assert!(text.contains("alert handshake failure"), "{text}");
    assert_eq!(lab.context.minted(), 0);
    // Where the request is there before the server closes, its RST may throw the alert away that came before: that is the kernel's.
    let pumped =
        (0..5).map(|_| lab.run(&["-Verify", "1", "-tls1_3"], &[]).1).find(|run| run.broken.is_some());
    let pumped = pumped.expect("the alert arrives once in five times");
    let required = RelayError { reason: Reason::ServerRequiresClientCert, alert: Some(116) };
    assert_eq!((pumped.failure, pumped.broken), (None, Some(required)));
    // The server only asks.
    for version in ["-tls1_2", "-tls1_3"] {
        let (text, pumped) = lab.run(&["-verify", "1", version], &[]);
        assert_eq!((pumped.failure, pumped.broken), (None, None));
        assert!(pumped.report.certificate_asked && text.contains("HTTP/1.0 200 ok"), "{text}");
    }
}
