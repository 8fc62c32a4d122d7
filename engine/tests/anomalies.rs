//! What the HTTP reader of a decrypted flow did not read, or read in one of two ways, is in the flow's events.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::lab::{Lab, Run, Setup};
use wireglass_core::end::End;
use wireglass_core::event::{Event, Unread};
use wireglass_core::reason::{Ambiguity, InspectorOff};
use wireglass_testbed::{Step, Stop};

/// Runs a flow in which the client says the one and the server the other.
fn talk(request: &[u8], response: &[u8], after: &[u8]) -> Run {
    let client = vec![
        Step::Send(request.to_vec()),
        Step::Receive(response.len()),
        Step::Send(after.to_vec()),
        Step::Finish,
        Step::AwaitEnd,
    ];
    let server = vec![
        Step::Receive(request.len()),
        Step::Send(response.to_vec()),
        Step::Receive(request.len() + after.len()),
        Step::AwaitEnd,
        Step::Finish,
    ];
    let mut run = Lab::new().connect_tls(&Setup::default(), client, server);
    assert_eq!(run.run(), Stop::Done);
    run.settle(wireglass_testbed::Duration::from_secs(20));
    run
}

/// Code, transaction, side and place of each anomaly.
fn anomalies(run: &Run) -> Vec<(&'static str, Option<u64>, End, u64)> {
    let of = |event: &Event| match event {
        Event::Anomaly(_, anomaly) => {
            Some((anomaly.what.code(), anomaly.tx_id, anomaly.from, anomaly.offset))
        }
        _ => None,
    };
    run.events().iter().filter_map(of).collect()
}

#[track_caller]
fn unread(run: &Run) -> Unread {
    let flows = run.flow_events();
    assert_eq!(flows.len(), 1);
    flows[0].unread.expect("it had a reader")
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn what_is_read_to_the_end_leaves_nothing() {
    let run = talk(GET, OK, GET);
    assert_eq!(unread(&run), Unread::default());
    assert_eq!(anomalies(&run), []);
    assert_eq!(run.http_events().len(), 2);
}

#[test]
fn a_tunnel_that_was_asked_for_is_no_anomaly() {
    let asks = b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let switches = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello";
    for (request, response) in [
        (&asks[..], &switches[..]),
        (b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n\x81\x05hello"),
    ] {
        let run = talk(request, response, &[7; 50_000]);
        let off = Some(InspectorOff::Opaque);
        assert_eq!(unread(&run), Unread { off, to_server: 50_000, to_client: 7 });
        assert_eq!(anomalies(&run), []);
        assert_eq!(run.http_events().len(), 1);
        assert_eq!(run.counters().inspectors_off(InspectorOff::Opaque), 1);
    }
}

#[test]
fn what_is_no_message_is_counted_and_told() {
    let run = talk(GET, OK, &[&b"\x16\x03\x01 what is this?\n"[..], GET].concat());
    assert_eq!(unread(&run), Unread { off: None, to_server: 18, to_client: 0 });
    assert_eq!(anomalies(&run), [("http.malformed", None, End::Client, GET.len() as u64)]);
    assert_eq!(run.http_events().len(), 2);
}

#[test]
fn a_reader_that_gives_up_says_where() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    // CONTINUATION of nothing.
    let request = [&preface[..], b"\0\0\x01\x09\x04\0\0\0\x01\x82", &[0; 100]].concat();
    let run = talk(&request, b"hello", b"later");
    let off = Some(InspectorOff::H2Frame);
    assert_eq!(unread(&run), Unread { off, to_server: 110 + 5, to_client: 5 });
    assert_eq!(anomalies(&run), [("http2.frame", None, End::Client, 24)]);
    assert_eq!(run.counters().inspectors_off(InspectorOff::H2Frame), 1);
    let run = talk(b"SSH-2.0-x\r\n", b"SSH-2.0-y\r\n", b"");
    let off = Some(InspectorOff::NotHttp);
    assert_eq!(unread(&run), Unread { off, to_server: 11, to_client: 11 });
    assert_eq!(anomalies(&run), [("http.not_http", None, End::Client, 0)]);
}

#[test]
fn an_ambiguous_transaction_is_marked_and_told_once() {
    let smuggles =
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx";
    let run = talk(&[GET, smuggles].concat(), &[OK, answer].concat(), b"");
    assert_eq!(anomalies(&run), [("http.ambiguous", Some(1), End::Client, GET.len() as u64)]);
    let marks: Vec<_> =
        run.http_events().iter().map(|event| event.ambiguous.iter().collect::<Vec<_>>()).collect();
    assert_eq!(marks, [vec![], vec![Ambiguity::LengthAndCoding, Ambiguity::LengthsDiffer]]);
    assert_eq!(unread(&run), Unread::default());
}

#[test]
fn a_flow_tells_eight_at_most() {
    let unasked = OK.repeat(100);
    let run = talk(b"", &unasked, b"");
    assert_eq!(anomalies(&run).len(), 8);
    assert_eq!(run.http_events().len(), 100);
}
