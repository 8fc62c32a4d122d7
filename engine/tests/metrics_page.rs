//! The metrics page: valid exposition format, right numbers, and a server that nobody can hold up.

use std::collections::{HashMap, HashSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use wireglass::log::ring;
use wireglass::metrics::{Metrics, MetricsServer, PortExtra, PortSources, PortStatistics};
use wireglass_core::caches::TlsCaches;
use wireglass_core::end::End;
use wireglass_core::event::{Event, FlowEvent, FlowHead, PortLink, Timestamp, Volume};
use wireglass_core::flow_table::Class;
use wireglass_core::phase::FlowPhase;
use wireglass_core::port::PortSide;
use wireglass_core::reason::{InspectorOff, PacketDrop, Reason};
use wireglass_core::tls::RecordLibraries;
use wireglass_core::x509::Provider;

fn flow_event() -> Event {
    let end = SocketAddr::from(([192, 0, 2, 1], 1));
    let head = FlowHead {
        time: Timestamp(1),
        flow_id: 1,
        wire: "lan".into(),
        vlan: [None; 2],
        client: end,
        server: end,
        starttls: None,
    };
    let event = FlowEvent {
        start: Timestamp(0),
        end: Timestamp(1),
        to_server: Volume::default(),
        to_client: Volume::default(),
        action: None,
        phase: FlowPhase::Opening,
        reason: Reason::Idle,
        midstream: false,
        ordered: None,
        unread: None,
        learned: None,
        mirrors: Box::default(),
    };
    Event::Flow(head, Box::new(event))
}

/// Two workers, two wires (one with a name that needs escaping), ports and a log.
fn metrics() -> Arc<Metrics> {
    let metrics = Metrics::new(&["lan".into(), "d\"m\\z\n".into()], 2);
    for index in 0..2 {
        metrics.worker(index).expect("a worker").loop_idle.inc();
    }
    let worker = metrics.worker(1).expect("a worker");
    worker.port(1, PortSide::Outside).rx_packets.add(7);
    worker.drop_packet(PacketDrop::TxRingFull);
    worker.flow_ended(Reason::ServerReset);
    worker.flow_ended(Reason::ServerReset);
    worker.inspector_off(InspectorOff::Opaque);
    worker.flows(FlowPhase::Opening).inc();
    worker.flow_moved(FlowPhase::Opening, FlowPhase::Peeking);
    worker.plaintext(End::Client).add(1234);
    worker.handshakes_started.inc();
    worker.evicted(Class::Decrypted).add(2);
    worker.evicted(Class::Holding).inc();
    worker.evicted(Class::Opening).inc();
    assert_eq!(worker.evictions(), 4);
    let (sender, _receiver) = ring(1);
    sender.push(flow_event());
    sender.push(flow_event());
    metrics.set_log(sender.counters().expect("counters"));
    let caches = Arc::<TlsCaches>::default();
    caches.server_session.hit();
    caches.server_session.set_evictions(3);
    metrics.set_tls(caches);
    metrics.set_records(RecordLibraries::all(Provider::default()));
    metrics.set_ports(|| {
        vec![PortStatistics {
            port: "0000:03:00.0".into(),
            rx_missed: 9,
            rx_no_buffer: 4,
            ..Default::default()
        }]
    });
    let link = |side, up: bool| PortLink {
        port: format!("p{}", u8::from(up)),
        wire: "lan".into(),
        side,
        up,
        held: !up,
        speed_mbps: up.then_some(10_000),
        mtu: 1500,
    };
    metrics.set_port_sources(PortSources {
        links: Box::new(move || vec![(link(PortSide::Inside, true), 4), (link(PortSide::Outside, false), 1)]),
        extra: Box::new(|| vec![PortExtra { port: "p1".into(), counters: vec![("rx_q0_errors".into(), 5)] }]),
    });
    assert!(metrics.worker(2).is_none());
    Arc::new(metrics)
}

/// Reads a page as Prometheus does; fails on what the format forbids.
fn samples(page: &str) -> HashMap<String, f64> {
    let mut described = HashSet::new();
    let mut family = (String::new(), String::new());
    let mut out = HashMap::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(!help.is_empty());
            assert!(described.insert(name.to_owned()), "{name} comes twice");
            family = (name.into(), String::new());
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert_eq!(name, family.0, "TYPE follows HELP");
            assert!(["counter", "gauge"].contains(&kind));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            family.1 = kind.into();
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').map_or((series, ""), |(name, rest)| (name, rest));
        assert_eq!(name, family.0, "a sample stands under its own family");
        assert!(!family.1.is_empty(), "{name} has no TYPE");
        assert!(name.starts_with("wireglass_"));
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
        assert!(labels.is_empty() || labels.ends_with("\"}"), "{line}");
        let value: f64 = value.parse().expect("a number");
        assert!(out.insert(series.to_owned(), value).is_none(), "{series} comes twice");
    }
    assert!(page.ends_with('\n'));
    out
}

#[test]
fn the_page_is_valid_and_right() {
    let mut page = String::new();
    metrics().render_prometheus(&mut page);
    let samples = samples(&page);
    for (series, value) in [
        ("wireglass_rx_packets_total{worker=\"1\",wire=\"d\\\"m\\\\z\\n\",side=\"outside\"}", 7.0),
        ("wireglass_rx_packets_total{worker=\"0\",wire=\"lan\",side=\"inside\"}", 0.0),
        ("wireglass_packets_dropped_total{worker=\"1\",reason=\"packet.tx_ring_full\"}", 1.0),
        ("wireglass_flows_ended_total{worker=\"1\",reason=\"srv.rst\"}", 2.0),
        ("wireglass_flows_ended_total{worker=\"0\",reason=\"srv.rst\"}", 0.0),
        ("wireglass_tls_cache_hits_total{cache=\"server_session\"}", 1.0),
        ("wireglass_tls_cache_evictions_total{cache=\"server_session\"}", 3.0),
        ("wireglass_tls_cache_misses_total{cache=\"leaf\"}", 0.0),
        ("wireglass_http_inspectors_off_total{worker=\"1\",reason=\"http.opaque\"}", 1.0),
        ("wireglass_flows{worker=\"1\",phase=\"opening\"}", 0.0),
        ("wireglass_evictions_total{worker=\"1\",class=\"decrypted\"}", 3.0),
        ("wireglass_evictions_total{worker=\"1\",class=\"opening\"}", 1.0),
        ("wireglass_evictions_total{worker=\"0\",class=\"bypassed\"}", 0.0),
        ("wireglass_flows{worker=\"1\",phase=\"peeking\"}", 1.0),
        ("wireglass_plaintext_bytes_total{worker=\"1\",from=\"client\"}", 1234.0),
        ("wireglass_handshakes_started_total{worker=\"1\"}", 1.0),
        ("wireglass_log_dropped_total{kind=\"flow\"}", 1.0),
        ("wireglass_port_dropped_total{port=\"0000:03:00.0\",reason=\"port.rx_missed\"}", 9.0),
        ("wireglass_port_dropped_total{port=\"0000:03:00.0\",reason=\"port.rx_nombuf\"}", 4.0),
        ("wireglass_port_link_up{port=\"p1\",wire=\"lan\",side=\"inside\"}", 1.0),
        ("wireglass_port_link_up{port=\"p0\",wire=\"lan\",side=\"outside\"}", 0.0),
        ("wireglass_port_link_changes_total{port=\"p1\",wire=\"lan\",side=\"inside\"}", 4.0),
        ("wireglass_port_speed_mbps{port=\"p1\",wire=\"lan\",side=\"inside\"}", 10_000.0),
        ("wireglass_port_mtu_bytes{port=\"p0\",wire=\"lan\",side=\"outside\"}", 1500.0),
        ("wireglass_port_driver{port=\"p1\",counter=\"rx_q0_errors\"}", 5.0),
        (concat!("wireglass_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series}");
    }
    assert!(samples["wireglass_start_time_seconds"] > 1.7e9);
    for reason in Reason::ALL {
        assert!(page.contains(&format!("{{reason=\"{reason}\",help=\"{}\"}} 1\n", reason.help())));
    }
}

fn server() -> MetricsServer {
    MetricsServer::start(SocketAddr::from(([127, 0, 0, 1], 0)), metrics()).expect("a server")
}

fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.write_all(request).expect("sent");
    let mut answer = String::new();
    // A server that closes with unread bytes before it resets the connection; what came, came.
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn health_waits_for_the_first_turn_of_every_worker() {
    let metrics = Arc::new(Metrics::new(&["lan".into()], 2));
    let server = MetricsServer::start(SocketAddr::from(([127, 0, 0, 1], 0)), Arc::clone(&metrics));
    let server = server.expect("a server");
    for index in 0..2 {
        let answer = ask(server.address(), b"GET /health HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\nstarting\n"), "{answer}");
        metrics.worker(index).expect("a worker").loop_busy.inc();
    }
    assert!(ask(server.address(), b"GET /health HTTP/1.1\r\n\r\n").ends_with("\r\n\r\nok\n"));
}

#[test]
fn the_server_answers() {
    let server = server();
    let answer = ask(server.address(), b"GET /metrics?x=1 HTTP/1.1\r\nHost: h\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a response");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(head.contains("Content-Type: text/plain; version=0.0.4"));
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    assert!(samples(body).len() > 200);
    for (request, answer) in [
        (&b"GET /health HTTP/1.1\r\n\r\n"[..], "HTTP/1.1 200 OK"),
        (b"HEAD /health HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK"),
        (b"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
        (b"\x16\x03\x01\x00\x00\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        (&[b'A'; 8192], "HTTP/1.1 431 Request Header Fields Too Large"),
    ] {
        let text = ask(server.address(), request);
        assert!(text.starts_with(answer), "{text}");
    }
    assert!(ask(server.address(), b"HEAD /health HTTP/1.0\r\n\r\n").ends_with("\r\n\r\n"));
    let pieces = thread::spawn({
        let address = server.address();
        move || {
            let mut stream = TcpStream::connect(address).expect("connected");
            for byte in b"GET /health HTTP/1.1\r\n\r\n" {
                stream.write_all(&[*byte]).expect("sent");
                thread::sleep(Duration::from_millis(1));
            }
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            answer
        }
    });
    assert!(pieces.join().expect("no panic").ends_with("\r\n\r\nok\n"));
    server.stop();
}

#[test]
fn a_silent_client_holds_it_up_for_two_seconds_at_most() {
    let server = server();
    let silent = TcpStream::connect(server.address()).expect("connected");
    let mut gone = TcpStream::connect(server.address()).expect("connected");
    gone.write_all(b"GET /met").expect("sent");
    drop(gone);
    let start = Instant::now();
    assert!(ask(server.address(), b"GET /health HTTP/1.1\r\n\r\n").ends_with("ok\n"));
    let waited = start.elapsed();
    assert!(waited > Duration::from_millis(1500) && waited < Duration::from_secs(4), "{waited:?}");
    drop(silent);
    server.stop();
}

#[test]
fn a_stop_is_quick_and_frees_the_address() {
    let first = server();
    let address = first.address();
    let start = Instant::now();
    drop(first);
    assert!(start.elapsed() < Duration::from_secs(1));
    let again = MetricsServer::start(address, metrics()).expect("the address is free again");
    assert!(MetricsServer::start(address, metrics()).is_err(), "and now it is taken");
    again.stop();
}

#[test]
fn curl_reads_it() {
    let server = server();
    let url = format!("http://{}/metrics", server.address());
    match Command::new("curl").args(["-sS", "--max-time", "5", "-w", "%{http_code}", &url]).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(text.ends_with("200"), "{text} {}", String::from_utf8_lossy(&output.stderr));
            samples(text.trim_end_matches("200"));
        }
        Err(error) => eprintln!("not tested: curl cannot be run: {error}"),
    }
    server.stop();
}
