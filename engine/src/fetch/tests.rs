//! Against servers that answer as they please.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::AtomicUsize;

use rustls_pki_types::{CertificateDer, ServerName};
use wireglass_core::tls::{ChainVerifier, FetchSettings, Knowledge};
use wireglass_core::x509::Provider;

use super::*;

/// Fetches what is wanted, on this thread, until nothing is.
fn drain(fetcher: &Fetcher, timeout: Duration) {
    let (started, said) = (Instant::now(), Said::default());
    while fetcher.sizes()[0] > 0 {
        match next(fetcher, started) {
            Some(fetch) => run(fetcher, fetch, timeout, &said),
            None => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// A server of one kind of answer on the loopback address, which counts its connections.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn start(answer: impl Fn(&mut std::net::TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                answer(&mut stream);
            }
        });
        Self { port, connections }
    }

    fn saying(answer: String) -> Self {
        Self::start(move |stream| drop(stream.write_all(answer.as_bytes())))
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A fetcher that may ask these ports, on the loopback address if `allowed`.
fn fetcher(ports: &[u16], allowed: bool) -> Arc<Fetcher> {
    let allow = if allowed { vec!["127.0.0.1/32".parse().unwrap()] } else { Vec::new() };
    let settings = FetchSettings {
        issuers: true,
        allow,
        ports: ports.to_vec(),
        per_second: 1000,
        host_per_second: 1000,
        ..FetchSettings::default()
    };
    Arc::new(Fetcher::new(settings, Provider::default()))
}

/// Has a certificate verified whose issuer is at this address.
fn want(fetcher: &Arc<Fetcher>, url: &str) {
    let issuer = rcgen::CertificateParams::default();
    let issuer_key = rcgen::KeyPair::generate().unwrap();
    let mut leaf = rcgen::CertificateParams::new(vec!["www.example.com".into()]).unwrap();
    leaf.distinguished_name.push(rcgen::DnType::CommonName, "leaf");
    let length = u8::try_from(url.len()).unwrap();
    let mut access = vec![0x30, length + 14, 0x30, length + 12, 6, 8, 43, 6, 1, 5, 5, 7, 48, 2, 0x86, length];
    access.extend(url.bytes());
    let access = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access);
    leaf.custom_extensions.push(access);
    let key = rcgen::KeyPair::generate().unwrap();
    let der = leaf.signed_by(&key, &rcgen::Issuer::from_params(&issuer, &issuer_key)).unwrap();
    let knowledge = Knowledge { fetcher: Some(Arc::clone(fetcher)), ..Knowledge::default() };
    let verifier =
        ChainVerifier::new(Provider::default(), Some(&[]), &[], &[]).unwrap().with(&knowledge).unwrap();
    let name = ServerName::try_from("www.example.com").unwrap();
    verifier.verify(&CertificateDer::from(der.der().to_vec()), &[], &name, seconds());
    assert_eq!(fetcher.sizes()[0], 1, "{url} is wanted");
}

/// What came of the only request.
fn outcome(fetcher: &Fetcher) -> Option<FetchOutcome> {
    let mut all = FetchOutcome::ALL.into_iter().filter(|o| fetcher.counted(FetchKind::Issuer, *o) > 0);
    let last = all.next_back();
    assert!(fetcher.sizes()[0] == 0, "nothing waits");
    last
}

fn fetched(server: &Server, path: &str, timeout: Duration) -> Option<FetchOutcome> {
    let fetcher = fetcher(&[server.port], true);
    want(&fetcher, &format!("http://127.0.0.1:{}{path}", server.port));
    drain(&fetcher, timeout);
    outcome(&fetcher)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn answers_that_are_none() {
    let long = "x".repeat(100_000);
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_owned(), FetchOutcome::Rejected),
        ("HTTP/1.1 200 OK\r\n\r\n".to_owned(), FetchOutcome::Rejected),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(), FetchOutcome::Status),
        ("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_owned(), FetchOutcome::Status),
        (format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{long}"), FetchOutcome::TooLong),
        (format!("HTTP/1.1 200 OK\r\n\r\n{long}"), FetchOutcome::TooLong),
        (
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n{long}\r\n0\r\n\r\n"),
            FetchOutcome::TooLong,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nbreaks off".to_owned(), FetchOutcome::Protocol),
        (format!("HTTP/1.1 200 OK\r\nX: {long}\r\n\r\n"), FetchOutcome::Protocol),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), FetchOutcome::Protocol),
        (String::new(), FetchOutcome::Protocol),
    ] {
        let start: String = answer.chars().take(60).collect();
        let server = Server::saying(answer);
        assert_eq!(fetched(&server, "/", SECOND), Some(expected), "{start:?}");
        assert_eq!(server.connections(), 1, "asked once");
    }
}

#[test]
fn whoever_drips_or_is_silent_is_left() {
    let drip = Server::start(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    let drip_head = Server::start(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    let silent = Server::start(|_| thread::sleep(Duration::from_secs(5)));
    for server in [drip, drip_head, silent] {
        let begun = Instant::now();
        assert_eq!(fetched(&server, "/", Duration::from_millis(400)), Some(FetchOutcome::Timeout));
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}

#[test]
fn nobody_listens() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let fetcher = fetcher(&[port], true);
    want(&fetcher, &format!("http://127.0.0.1:{port}/"));
    drain(&fetcher, SECOND);
    assert_eq!(outcome(&fetcher), Some(FetchOutcome::Unreachable));
}

#[test]
fn a_name_without_address() {
    let fetcher = fetcher(&[80], true);
    want(&fetcher, "http://nobody.invalid/");
    drain(&fetcher, SECOND);
    assert_eq!(outcome(&fetcher), Some(FetchOutcome::Unresolved));
}

/// By its address, in other spellings that resolvers take, by a name, and by redirection.
#[test]
fn private_addresses_are_not_connected_to() {
    let victim = Server::saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into());
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "0",
        "localhost",
        "[::ffff:127.0.0.1]",
        "[::1]",
    ] {
        let fetcher = fetcher(&[victim.port], false);
        want(&fetcher, &format!("http://{host}:{}/", victim.port));
        drain(&fetcher, SECOND);
        let outcome = outcome(&fetcher);
        assert!(
            matches!(outcome, Some(FetchOutcome::Forbidden | FetchOutcome::Unresolved)),
            "{host}: {outcome:?}"
        );
        if host == "127.0.0.1" || host == "localhost" {
            assert_eq!(outcome, Some(FetchOutcome::Forbidden), "{host}");
        }
    }
    // Allowed: 127.0.0.1. What it redirects to is judged like what a certificate says.
    let port = victim.port;
    for target in [format!("http://127.0.0.2:{port}/"), format!("http://[::1]:{port}/")] {
        let redirecting = Server::saying(format!(
            "HTTP/1.1 301 Moved Permanently\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
        ));
        let fetcher = fetcher(&[port, redirecting.port], true);
        want(&fetcher, &format!("http://127.0.0.1:{}/", redirecting.port));
        drain(&fetcher, SECOND);
        assert_eq!(fetcher.counted(FetchKind::Issuer, FetchOutcome::Redirected), 1);
        assert_eq!(outcome(&fetcher), Some(FetchOutcome::Forbidden), "{target}");
    }
    assert_eq!(victim.connections(), 0);
}

#[test]
fn redirections_end() {
    let around = Server::saying("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".into());
    assert_eq!(fetched(&around, "/", SECOND), Some(FetchOutcome::Status));
    assert_eq!(around.connections(), 3);
}

#[test]
fn the_threads_fetch_and_stop_soon() {
    let silent = Server::start(|_| thread::sleep(Duration::from_secs(5)));
    let fetcher = fetcher(&[silent.port], true);
    let threads = FetchThreads::start(&fetcher, Duration::from_secs(5)).unwrap();
    want(&fetcher, &format!("http://127.0.0.1:{}/", silent.port));
    let deadline = Instant::now() + Duration::from_secs(5);
    while silent.connections() == 0 {
        assert!(Instant::now() < deadline, "nothing is fetched");
        thread::sleep(Duration::from_millis(10));
    }
    let begun = Instant::now();
    threads.stop();
    assert!(begun.elapsed() < Duration::from_secs(2));
}
