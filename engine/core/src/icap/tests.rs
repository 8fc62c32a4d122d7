//! Scripts of servers, and each of them one byte at a time.

use super::*;

const REQUEST: &[u8] = b"GET https://a/x HTTP/1.1\r\nHost: a\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n";
const PAGE: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\n";

fn service() -> Service {
    "icap://127.0.0.1:1344/avscan".parse().unwrap()
}

fn respmod(preview: Option<usize>) -> Exchange {
    Exchange::new(&service(), Method::Respmod, [REQUEST, RESPONSE], preview)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// What comes of a whole body that goes out, where the server answers once with this: at once, and byte by byte.
#[track_caller]
fn answered(body: &[u8], answer: &str) -> Result<Option<Outcome>, IcapError> {
    let ask = |piece: usize| {
        let mut exchange = respmod(None);
        body.chunks(3).for_each(|octets| exchange.push(octets));
        exchange.end();
        exchange.take_output();
        for bytes in answer.as_bytes().chunks(piece) {
            exchange.receive(bytes)?;
        }
        Ok(exchange.outcome().cloned())
    };
    let whole = ask(answer.len().max(1));
    assert_eq!(ask(1), whole);
    whole
}

fn modified(head: &str, body: &str) -> String {
    let chunk = if body.is_empty() { String::new() } else { format!("{:x}\r\n{body}\r\n", body.len()) };
    format!(
        "ICAP/1.0 200 OK\r\nISTag: x\r\nEncapsulated: res-hdr=0, res-body={}\r\n\r\n{head}{chunk}0\r\n\r\n",
        head.len()
    )
}

#[test]
fn what_is_sent_without_a_preview() {
    let mut exchange = respmod(None);
    assert!(exchange.wants_body());
    let head = format!(
        "RESPMOD icap://127.0.0.1:1344/avscan ICAP/1.0\r\nHost: 127.0.0.1:1344\r\nUser-Agent: wireglass\r\nAllow: 204\r\nEncapsulated: req-hdr=0, res-hdr={}, res-body={}\r\n\r\n",
        REQUEST.len(),
        REQUEST.len() + RESPONSE.len()
    );
    let expected = head + std::str::from_utf8(REQUEST).unwrap() + std::str::from_utf8(RESPONSE).unwrap();
    assert_eq!(text(exchange.take_output()), expected);
    exchange.push(b"hello");
    exchange.push(&[b'x'; 20_000]);
    exchange.end();
    let sent = text(exchange.take_output());
    assert!(sent.starts_with("5\r\nhello\r\n4000\r\nxxx") && sent.ends_with("xx\r\n0\r\n\r\n"), "{sent}");
    assert!(!exchange.wants_body() && !exchange.may_reuse());
    exchange.receive(b"ICAP/1.0 204 No Content\r\nISTag: x\r\n\r\n").unwrap();
    assert_eq!(exchange.outcome(), Some(&Outcome::Unmodified));
    assert!(exchange.may_reuse());
    let request = Exchange::new(&service(), Method::Reqmod, [REQUEST, b""], None).take_output();
    assert!(text(request).contains(&format!("Encapsulated: req-hdr=0, req-body={}\r\n", REQUEST.len())));
}

#[test]
fn a_preview_that_has_it_all() {
    for body in ["", "hell", "hello"] {
        let mut exchange = respmod(Some(5));
        assert!(text(exchange.take_output()).contains("\r\nPreview: 5\r\n"));
        exchange.push(body.as_bytes());
        exchange.end();
        assert!(text(exchange.take_output()).ends_with("0; ieof\r\n\r\n"));
        exchange.receive(b"ICAP/1.0 204 OK\r\n\r\n").unwrap();
        assert!(exchange.may_reuse());
    }
}

#[test]
fn a_preview_and_the_rest() {
    let mut exchange = respmod(Some(5));
    exchange.take_output();
    exchange.push(b"hello, ");
    assert_eq!(text(exchange.take_output()), "5\r\nhello\r\n0\r\n\r\n");
    assert!(!exchange.wants_body());
    exchange.push(b"world");
    exchange.end();
    assert_eq!(exchange.take_output(), b"");
    for byte in b"ICAP/1.0 100 Continue\r\n\r\n" {
        exchange.receive(&[*byte]).unwrap();
    }
    assert_eq!(text(exchange.take_output()), "7\r\n, world\r\n0\r\n\r\n");
    assert!(!exchange.may_reuse());
    let again = b"ICAP/1.0 100 Continue\r\n\r\n";
    assert!(matches!(exchange.receive(again), Err(IcapError::Protocol(_))));
    // An answer to the preview is one to all of it.
    let mut exchange = respmod(Some(5));
    exchange.push(b"hello, world");
    exchange.take_output();
    exchange.receive(b"ICAP/1.0 204 No\r\n\r\n").unwrap();
    assert!(exchange.may_reuse() && !exchange.wants_body());
}

#[test]
fn what_servers_say() {
    let body = b"some text";
    let unmodified = Ok(Some(Outcome::Unmodified));
    let made = |threat: Option<&str>, status, bytes| {
        Ok(Some(Outcome::Modified(Modified { threat: threat.map(str::to_owned), status, bytes })))
    };
    let answered = |answer: &str| answered(body, answer);
    assert_eq!(answered("ICAP/1.0 204 No Content\r\n\r\n"), unmodified);
    // The same back again is as good, with or without a length.
    let same = std::str::from_utf8(RESPONSE).unwrap();
    assert_eq!(answered(&modified(same, "some text")), unmodified);
    assert_eq!(answered(&modified(same, "some test")), made(None, Some(200), 9));
    assert_eq!(answered(&modified(PAGE, "blocked")), made(None, Some(403), 7));
    let found = modified(PAGE, "blocked").replace(
        "ISTag: x",
        "X-Infection-Found: Type=0; Resolution=2; Threat=Eicar-Test;\r\nX-Virus-ID: other",
    );
    assert_eq!(answered(&found), made(Some("Eicar-Test"), Some(403), 7));
    // As c-icap says it.
    let folded =
        found.replace("X-Virus-ID: other", "X-Violations-Found: 1\r\n\t-\r\n\tEicar-Test\r\n\t0\r\n\t0");
    assert_eq!(answered(&folded), made(Some("Eicar-Test"), Some(403), 7));
    let named = "ICAP/1.0 204 No\r\nX-Virus-ID: Eicar\r\n\r\n";
    assert_eq!(answered(named), made(Some("Eicar"), None, 0));
    let empty = "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, null-body=19\r\n\r\nHTTP/1.1 204 No\r\n\r\n";
    assert_eq!(answered(empty), made(None, Some(204), 0));
    // Nothing yet.
    assert_eq!(answered("ICAP/1.0 204 No Content\r\n"), Ok(None));
    assert_eq!(answered("\r\n"), Ok(None));
}

/// What comes of a request that goes out, where the server answers with this.
#[track_caller]
fn about_request(body: &[u8], answer: &str) -> Result<Option<Outcome>, IcapError> {
    let ask = |piece: usize| {
        let mut exchange = Exchange::new(&service(), Method::Reqmod, [REQUEST, b""], None);
        exchange.push(body);
        exchange.end();
        assert!(text(exchange.take_output()).starts_with("REQMOD "));
        for bytes in answer.as_bytes().chunks(piece) {
            exchange.receive(bytes)?;
        }
        Ok(exchange.outcome().cloned())
    };
    let whole = ask(answer.len());
    assert_eq!(ask(1), whole);
    whole
}

#[test]
fn what_servers_say_of_requests() {
    let body = b"some text";
    let made = |status, bytes| Ok(Some(Outcome::Modified(Modified { threat: None, status, bytes })));
    let request = |head: &str, body: &str| modified(head, body).replace("res-", "req-");
    let same = std::str::from_utf8(REQUEST).unwrap();
    assert_eq!(about_request(body, "ICAP/1.0 204 No Content\r\n\r\n"), Ok(Some(Outcome::Unmodified)));
    assert_eq!(about_request(body, &request(same, "some text")), Ok(Some(Outcome::Unmodified)));
    // A request that is another one, and a page in its place.
    assert_eq!(about_request(body, &request(same, "some test")), made(None, 9));
    assert_eq!(about_request(body, &request(same, "some text and more")), made(None, 18));
    assert_eq!(about_request(body, &modified(PAGE, "blocked")), made(Some(403), 7));
    assert_eq!(about_request(body, &request(same, "some")), Err(IcapError::Short { expected: 9, got: 4 }));
}

#[test]
fn a_body_that_is_shorter_than_it_was_to_be() {
    let short = |answer: &str| answered(b"some text", answer);
    let declared = PAGE.replace("403 Forbidden", "200 OK").replace("7", "9");
    assert_eq!(short(&modified(&declared, "some")), Err(IcapError::Short { expected: 9, got: 4 }));
    let same = std::str::from_utf8(RESPONSE).unwrap();
    assert_eq!(short(&modified(same, "some")), Err(IcapError::Short { expected: 9, got: 4 }));
    assert_eq!(short(&modified(same, "")), Err(IcapError::Short { expected: 9, got: 0 }));
}

#[test]
fn what_no_server_may_say() {
    let failed = |answer: &str| answered(b"x", answer).unwrap_err();
    for answer in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "ICAP/1.0 2000 OK\r\n\r\n",
        "ICAP/1.0 204 OK\r\nnothing\r\n\r\n",
        "ICAP/1.0 204 OK\r\n\r\nmore",
        "ICAP/1.0 100 Continue\r\n\r\n",
        "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=1, res-body=5\r\n\r\n",
        "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=0\r\n\r\n",
        "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0\r\n\r\n",
        "ICAP/1.0 200 OK\r\nEncapsulated: null-body=0, res-hdr=4\r\n\r\n",
        "ICAP/1.0 200 OK\r\nEncapsulated: other=0\r\n\r\n",
        "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, req-hdr=1, res-hdr=2, null-body=3\r\n\r\n",
        "ICAP/1.0 200 OK\r\nEncapsulated: res-body=0\r\n\r\nx\r\n",
        "ICAP/1.0 200 OK\r\nEncapsulated: res-body=0\r\n\r\n1\r\nxx\r\n",
        "ICAP/1.0 200 OK\r\nEncapsulated: res-body=0\r\n\r\nfffffffffffff\r\n",
    ] {
        assert!(matches!(failed(answer), IcapError::Protocol(_)), "{answer}");
    }
    assert_eq!(failed("ICAP/1.0 404 Not Found\r\n\r\n"), IcapError::Status(404));
    for answer in [
        format!("ICAP/1.0 200 OK\r\nX: {}", "x".repeat(MAX_HEAD)),
        format!("ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, null-body={}\r\n\r\n", MAX_HEAD + 1),
        format!("ICAP/1.0 200 OK\r\nEncapsulated: res-body=0\r\n\r\n1;{}", "x".repeat(MAX_LINE)),
        format!("ICAP/1.0 200 OK\r\nEncapsulated: res-body=0\r\n\r\n0\r\n{}", "a: b\r\n".repeat(MAX_HEAD)),
    ] {
        assert_eq!(failed(&answer), IcapError::TooLong);
    }
}

#[test]
fn an_end_before_the_answer() {
    let mut exchange = respmod(None);
    assert_eq!(exchange.closed(), Err(IcapError::Closed));
    exchange.push(b"x");
    exchange.take_output();
    // What has come is enough for the server: it is not for another exchange.
    exchange.receive(b"ICAP/1.0 204 No\r\n\r\n").unwrap();
    assert!(!exchange.may_reuse() && exchange.closed().is_ok());
    let mut exchange = respmod(None);
    exchange.end();
    exchange.take_output();
    exchange.receive(b"ICAP/1.0 204 No\r\nConnection: close\r\n\r\n").unwrap();
    assert!(!exchange.may_reuse());
}

#[test]
fn options() {
    let (mut query, request) = OptionsQuery::new(&service());
    assert!(
        text(request)
            .starts_with("OPTIONS icap://127.0.0.1:1344/avscan ICAP/1.0\r\nHost: 127.0.0.1:1344\r\n")
    );
    let answer = "ICAP/1.0 200 OK\r\nMethods: RESPMOD, REQMOD\r\nService: C-ICAP/0.5.10 server\r\nMax-Connections: 20\r\nAllow: 204, 206\r\nPreview: 1024\r\nEncapsulated: null-body=0\r\n\r\n";
    let mut said = None;
    for byte in answer.as_bytes() {
        said = said.or(query.receive(&[*byte]).unwrap());
    }
    let expected = ServiceOptions {
        respmod: true,
        reqmod: true,
        preview: Some(1024),
        allows_204: true,
        max_connections: Some(20),
        name: Some("C-ICAP/0.5.10 server".into()),
    };
    assert_eq!(said, Some(expected));
    let (mut query, _) = OptionsQuery::new(&service());
    assert_eq!(query.receive(b"ICAP/1.0 404 No\r\n\r\n"), Err(IcapError::Status(404)));
}

#[test]
fn names_of_services() {
    for (text, host, port, path) in [
        ("icap://127.0.0.1:1344/avscan", "127.0.0.1", 1344, "/avscan"),
        ("icap://av.example/a/b?x=1", "av.example", 1344, "/a/b?x=1"),
        ("icap://[::1]/x", "[::1]", 1344, "/x"),
        ("icap://[::1]:99/", "[::1]", 99, "/"),
    ] {
        let service: Service = text.parse().unwrap();
        assert_eq!((&*service.host, service.port, &*service.path), (host, port, path));
        assert_eq!(service.to_string().parse(), Ok(service));
    }
    for text in [
        "http://a/x",
        "icap://a",
        "icap:///x",
        "icap://a:0/x",
        "icap://a:x/x",
        "icap://a b/x",
        "icap://[x]/x",
        "icap://u@a/x",
    ] {
        assert_eq!(text.parse::<Service>(), Err(ServiceError), "{text}");
    }
}
