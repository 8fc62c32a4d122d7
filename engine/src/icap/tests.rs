//! Servers that do as a script says, on the loopback interface.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use wireglass_core::content::{Finding, Inspector, Message};
use wireglass_core::icap::{IcapError, Method, Outcome};
use wireglass_core::reason::Reason;

use super::*;

const HEADS: [&[u8]; 2] = [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"];
const CLEAN: &str = "ICAP/1.0 204 No Content\r\nISTag: x\r\n\r\n";

/// A server whose connections are each served by the function, one after the other.
fn server(serve: impl Fn(usize, TcpStream) + Send + 'static, connections: usize) -> Arc<Server> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            serve(number, stream.unwrap());
        }
    });
    Server::new(Settings {
        service: format!("icap://{address}/avscan").parse().unwrap(),
        method: Method::Respmod,
        preview: 4,
        timeout: Duration::from_millis(400),
        connections,
    })
}

/// Reads up to this.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut all = Vec::new();
    while !all.ends_with(end.as_bytes()) {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            break;
        }
        all.push(byte[0]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn ask(server: &Arc<Server>, body: &[u8]) -> Result<Outcome, Failure> {
    let mut asking = server.ask(HEADS)?;
    for octets in body.chunks(100_000) {
        if let Some(outcome) = asking.push(octets)? {
            return Ok(outcome);
        }
    }
    asking.end()
}

#[test]
fn a_connection_is_kept_and_one_that_was_closed_is_replaced() {
    let server = server(
        |number, mut stream| {
            for _ in 0..2 {
                assert!(read_until(&mut stream, "0; ieof\r\n\r\n").contains("Preview: 4"));
                stream.write_all(CLEAN.as_bytes()).unwrap();
            }
            // The first one ends here, and the next question has another.
            assert!(number < 2);
        },
        1,
    );
    for _ in 0..4 {
        assert_eq!(ask(&server, b"abcd").unwrap(), Outcome::Unmodified);
        thread::sleep(Duration::from_millis(20));
    }
}

/// A server may close a connection that is kept just when the next question comes: with an end, or a reset.
#[test]
fn a_question_on_a_connection_that_is_closing_is_asked_again() {
    for (preview, body) in [(4, 4), (4, 200_000), (0, 20_000)] {
        let server = server(
            move |number, mut stream| {
                let end = if preview == 0 { "\r\n0\r\n\r\n" } else { "ieof\r\n\r\n" };
                read_until(&mut stream, if body > 4 && number > 0 { "0\r\n\r\n" } else { end });
                stream.write_all(CLEAN.as_bytes()).unwrap();
                // It begins to read the next question, and then goes.
                let _ = stream.read(&mut [0]);
            },
            1,
        );
        let settings = Settings { preview, ..server.settings().clone() };
        let server = Server::new(settings);
        assert_eq!(ask(&server, b"abcd").unwrap(), Outcome::Unmodified);
        assert_eq!(ask(&server, &vec![b'x'; body]).unwrap(), Outcome::Unmodified, "{preview} {body}");
    }
    // Where a new one is closed without an answer, too, it is not asked a third time.
    let server = server(
        |number, mut stream| {
            if number != 1 {
                read_until(&mut stream, "ieof\r\n\r\n");
                stream.write_all(CLEAN.as_bytes()).unwrap();
            }
            let _ = stream.read(&mut [0]);
        },
        1,
    );
    assert_eq!(ask(&server, b"abcd").unwrap(), Outcome::Unmodified);
    assert!(matches!(ask(&server, b"abcd"), Err(Failure::Down(_) | Failure::Icap(IcapError::Closed))));
}

#[test]
fn a_large_body_goes_out_while_the_answer_comes_back() {
    // An echo: whoever writes all before reading waits for ever.
    let server = server(
        |_, mut stream| {
            read_until(&mut stream, "0\r\n\r\n");
            stream.write_all(b"ICAP/1.0 100 Continue\r\n\r\n").unwrap();
            let head = "HTTP/1.1 200 OK\r\n\r\n";
            let answer =
                format!("ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body={}\r\n\r\n{head}", head.len());
            stream.write_all(answer.as_bytes()).unwrap();
            stream.write_all(b"4\r\nxxxx\r\n").unwrap();
            let mut buffer = [0; 4096];
            let mut tail = Vec::new();
            while !tail.ends_with(b"0\r\n\r\n") {
                let read = stream.read(&mut buffer).unwrap();
                stream.write_all(&buffer[..read]).unwrap();
                tail.extend_from_slice(&buffer[..read]);
                let cut = tail.len().saturating_sub(8);
                tail.drain(..cut);
            }
        },
        1,
    );
    assert_eq!(ask(&server, &vec![b'x'; 20_000_000]).unwrap(), Outcome::Unmodified);
}

#[test]
fn servers_that_do_not_answer() {
    // Silent; slow; killed in the middle; wrong.
    let silent = server(
        |_, stream| {
            drop(thread::spawn(move || {
                thread::sleep(Duration::from_secs(5));
                drop(stream)
            }))
        },
        1,
    );
    let begun = Instant::now();
    assert!(matches!(ask(&silent, b"abcd"), Err(Failure::Timeout)));
    assert!(begun.elapsed() < Duration::from_secs(3));
    let slow = server(
        |_, mut stream| {
            for byte in CLEAN.bytes() {
                thread::sleep(Duration::from_millis(100));
                if stream.write_all(&[byte]).is_err() {
                    break;
                }
            }
        },
        1,
    );
    assert!(matches!(ask(&slow, b"abcd"), Err(Failure::Timeout)));
    let killed = server(
        |_, mut stream| {
            read_until(&mut stream, "0; ieof\r\n\r\n");
            stream.write_all(&CLEAN.as_bytes()[..20]).unwrap();
        },
        1,
    );
    assert!(matches!(ask(&killed, b"abcd"), Err(Failure::Icap(IcapError::Closed) | Failure::Down(_))));
    let wrong = server(|_, mut stream| stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap(), 1);
    assert!(matches!(ask(&wrong, b"abcd"), Err(Failure::Icap(IcapError::Protocol(_)) | Failure::Down(_))));
    // Nobody is there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = silent.settings().clone();
    let service = format!("icap://{}/x", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let nobody = Server::new(Settings { service, ..settings });
    assert!(matches!(ask(&nobody, b"abcd"), Err(Failure::Down(_))));
}

#[test]
fn no_more_connections_than_may_be() {
    let server = server(
        |_, mut stream| {
            read_until(&mut stream, "ieof\r\n\r\n");
            let _ = stream.write_all(CLEAN.as_bytes());
        },
        1,
    );
    let first = server.ask(HEADS).unwrap();
    assert!(matches!(server.ask(HEADS), Err(Failure::Busy)));
    assert_eq!(first.end().unwrap(), Outcome::Unmodified);
    thread::sleep(Duration::from_millis(20));
    assert!(server.ask(HEADS).is_ok());
}

/// One client that sends its body drop by drop does not keep all others from being asked about.
#[test]
fn a_question_whose_body_does_not_come_gives_way() {
    let server = server(
        |_, mut stream| {
            read_until(&mut stream, "ieof\r\n\r\n");
            let _ = stream.write_all(CLEAN.as_bytes());
        },
        1,
    );
    let mut slow = server.ask(HEADS).unwrap();
    assert!(matches!(slow.push(b"a"), Ok(None)));
    assert!(matches!(ask(&server, b"b"), Err(Failure::Busy)));
    thread::sleep(server.settings().timeout);
    assert_eq!(ask(&server, b"b").unwrap(), Outcome::Unmodified);
    assert!(matches!(slow.push(b"cdefg"), Err(Failure::Down(_))));
}

#[test]
fn the_probe_tells_a_scanner_from_one_that_is_none() {
    const OPTIONS: &str = "ICAP/1.0 200 OK\r\nMethods: RESPMOD\r\nAllow: 204\r\nPreview: 1024\r\nEncapsulated: null-body=0\r\n\r\n";
    for (answer, found) in
        [(CLEAN.to_owned(), None), (CLEAN.replace("ISTag: x", "X-Virus-ID: Eicar"), Some("Eicar".to_owned()))]
    {
        let server = server(
            move |_, mut stream| {
                assert!(read_until(&mut stream, "\r\n\r\n").starts_with("OPTIONS "));
                stream.write_all(OPTIONS.as_bytes()).unwrap();
                let asked = read_until(&mut stream, "0\r\n\r\n");
                assert!(asked.ends_with("4\r\nX5O!\r\n0\r\n\r\n"), "{asked}");
                stream.write_all(answer.as_bytes()).unwrap();
            },
            1,
        );
        let probe = probe(&server).unwrap();
        assert_eq!((probe.options.preview, probe.found), (Some(1024), found));
    }
}

/// What an inspector says of a body, with a server that gives this answer to all of it; and what was counted.
fn inspected(answer: &'static str, body: &[u8], max_bytes: u64) -> (Option<Finding>, Vec<Answer>) {
    let server = server(
        move |_, mut stream| {
            let asked = read_until(&mut stream, "\r\n0\r\n\r\n");
            if asked.is_empty() {
                // Nothing was asked after all.
                return;
            }
            assert!(asked.contains("GET https://a.example/x?y HTTP/1.1\r\nHost: a.example\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"), "{asked}");
            let _ = stream.write_all(answer.as_bytes());
        },
        1,
    );
    let counters = Arc::clone(server.counters());
    let inspector = IcapInspector::new("icap.av".into(), None, Some(server), max_bytes);
    let message = Message {
        method: "GET",
        host: "a.example",
        target: "/x?y",
        status: Some(200),
        content_type: Some("text/\r\nplain"),
    };
    let mut scanner = inspector.scanner(&message);
    let finding = body.chunks(3).find_map(|octets| scanner.feed(octets)).or_else(|| scanner.end());
    let counted: Vec<_> = Answer::ALL.into_iter().filter(|answer| counters.answers(*answer) > 0).collect();
    // How long it took is told of those that were asked.
    let asked = counted.iter().filter(|answer| **answer != Answer::Oversize).count();
    assert_eq!(counters.times.read().total(), asked as u64, "{counted:?}");
    (finding, counted)
}

#[test]
fn an_inspector_asks_about_requests_who_is_there_for_them() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = format!("icap://{}/reqscan", listener.local_addr().unwrap()).parse().unwrap();
    let timeout = Duration::from_secs(5);
    let settings = Settings { service, method: Method::Reqmod, preview: 0, timeout, connections: 1 };
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let asked = read_until(&mut stream, "\r\n0\r\n\r\n");
        stream.write_all(b"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=26\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n2\r\nno\r\n0\r\n\r\n").unwrap();
        asked
    });
    let message = Message {
        method: "POST",
        host: "a.example",
        target: "/up",
        status: None,
        content_type: Some("text/plain"),
    };
    let inspector = IcapInspector::new("icap.av".into(), Some(Server::new(settings)), None, 100);
    let mut scanner = inspector.scanner(&message);
    let Some(Finding::Hit(hit)) = scanner.feed(b"abc").or_else(|| scanner.end()) else {
        panic!("a page is a find")
    };
    assert_eq!(&*hit.what, "changed by the server");
    let asked = serving.join().unwrap();
    assert!(asked.starts_with("REQMOD icap://127.0.0.1:"), "{asked}");
    let head = "POST https://a.example/up HTTP/1.1\r\nHost: a.example\r\nContent-Type: text/plain\r\n\r\n";
    assert!(asked.ends_with(&format!("{head}3\r\nabc\r\n0\r\n\r\n")), "{asked}");
    // Nobody is there for responses.
    let mut scanner = inspector.scanner(&Message { status: Some(200), ..message });
    assert_eq!(scanner.feed(b"abc"), Some(Finding::Fails(Reason::IcapDown)));
}

#[test]
fn what_an_inspector_says() {
    const SHORT: &str = "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    const FOUND: &str = "ICAP/1.0 204 No\r\nX-Virus-ID: Eicar\r\n\r\n";
    let body = b"a body of more than the preview";
    assert_eq!(inspected(CLEAN, body, 100), (None, vec![Answer::Unmodified]));
    let (Some(Finding::Hit(hit)), counted) = inspected(FOUND, body, 100) else {
        panic!("it has found something")
    };
    assert_eq!((&*hit.by, &*hit.what, counted), ("icap.av", "Eicar", vec![Answer::Modified]));
    for (answer, max_bytes, reason, counted) in [
        ("ICAP/1.0 404 No\r\n\r\n", 100, Reason::IcapProtocol, Answer::Protocol),
        ("", 100, Reason::IcapDown, Answer::Down),
        (CLEAN, 2, Reason::IcapOversize, Answer::Oversize),
        (SHORT, 100, Reason::IcapShort, Answer::Short),
    ] {
        let expected = (Some(Finding::Fails(reason)), vec![counted]);
        assert_eq!(inspected(answer, body, max_bytes), expected, "{answer}");
    }
    // Nobody is asked about nothing.
    assert_eq!(inspected("", b"", 100), (None, vec![]));
}
