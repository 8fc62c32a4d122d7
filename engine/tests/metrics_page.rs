//! The metrics page: valid exposition format, right numbers, and a server that nobody can hold up.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use wireglass::fleet::status::FleetStatus;
use wireglass::handshake_pool::JobTimes;
use wireglass::icap::{Server, Settings};
use wireglass::log::ring;
use wireglass::metrics::{
    Access, Metrics, MetricsServer, PoolStatistics, PortExtra, PortSources, PortStatistics,
};
use wireglass::verdicts::VerdictCounters;
use wireglass_core::caches::TlsCaches;
use wireglass_core::end::{End, PerEnd};
use wireglass_core::event::{Action, Event, FlowEvent, FlowHead, MintedBy, PortLink, Timestamp, Volume};
use wireglass_core::exclusions::Exclusions;
use wireglass_core::flow_table::Class;
use wireglass_core::icap::Method;
use wireglass_core::phase::FlowPhase;
use wireglass_core::policy::{Tallies, Tally};
use wireglass_core::port::PortSide;
use wireglass_core::reason::{InspectorOff, PacketDrop, Reason};
use wireglass_core::tls::{FetchSettings, Fetcher, RecordLibraries};
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
        flags: PerEnd::default(),
        is_tls: false,
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
    worker.judged(Reason::PolicyDecrypt).add(3);
    worker.ended_after(Some(Action::Decrypt)).add(2);
    worker.ended_after(None).inc();
    worker.carried(Some(Action::Decrypt), End::Server).add(9000);
    worker.carried(None, End::Client).add(60);
    worker.busy_micros.add(1_500_000);
    worker.handshake_time().observe(3_000_000);
    worker.handshake_time().observe(20_000_000_000);
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
    caches.server_session.count_evictions(3);
    caches.verification_time.observe(80_000);
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
    metrics.set_pools(|| vec![PoolStatistics { worker: 1, pool: "frames", in_use: 3, size: 8 }]);
    metrics.set_mirrors(vec!["ids".into()]);
    metrics.set_exclusions(Arc::new(Exclusions::new([0; 16])));
    metrics.set_signer(Arc::default());
    let scanner = |method| {
        let service = "icap://127.0.0.1:1344/avscan".parse().expect("a service");
        let settings =
            Settings { service, method, preview: 0, timeout: Duration::from_secs(1), connections: 1 };
        ("icap.av".into(), Server::new(settings))
    };
    metrics.set_icap(vec![scanner(Method::Reqmod), scanner(Method::Respmod)]);
    metrics.set_fetcher(Arc::new(Fetcher::new(FetchSettings::default(), Provider::default())));
    metrics.set_verdicts(Arc::new(VerdictCounters::default()));
    metrics.set_fleet(Arc::new(FleetStatus::default()));
    let times = Arc::<JobTimes>::default();
    times.waited.observe(1_000);
    metrics.set_job_times([("handshake", times), ("content", Arc::default())]);
    metrics.set_authorities_end([(MintedBy::Trusted, 2_000_000_000), (MintedBy::Untrusted, 2_000_000_001)]);
    let tally = |names: &[(&str, &'static str)]| {
        let named = names.iter().map(|(name, action)| (Arc::from(*name), *action));
        Arc::new(Tally::new(named, ["decrypt"], &Tally::default()))
    };
    metrics.set_tallies(Tallies {
        connections: tally(&[("no <b>banking</b>", "bypass")]),
        profiles: tally(&[("default", "decrypt")]),
        messages: tally(&[("no ads", "block")]),
        unread: tally(&[("content.unparsed", "block")]),
    });
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
            assert!(["counter", "gauge", "histogram"].contains(&kind));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            family.1 = kind.into();
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').map_or((series, ""), |(name, rest)| (name, rest));
        let own = matches!(
            (name.strip_prefix(family.0.as_str()), family.1.as_str()),
            (Some("_bucket" | "_sum" | "_count"), "histogram") | (Some(""), "counter" | "gauge")
        );
        assert!(own, "{name} stands under {}", family.0);
        assert!(!family.1.is_empty(), "{name} has no TYPE");
        assert!(name.starts_with("wireglass_") || name.starts_with("process_"));
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
        ("wireglass_log_dropped_total{kind=\"flow\",full_of=\"events\"}", 1.0),
        ("wireglass_log_dropped_total{kind=\"flow\",full_of=\"bytes\"}", 0.0),
        ("wireglass_port_dropped_total{port=\"0000:03:00.0\",reason=\"port.rx_missed\"}", 9.0),
        ("wireglass_port_dropped_total{port=\"0000:03:00.0\",reason=\"port.rx_nombuf\"}", 4.0),
        ("wireglass_port_link_up{port=\"p1\",wire=\"lan\",side=\"inside\"}", 1.0),
        ("wireglass_port_link_up{port=\"p0\",wire=\"lan\",side=\"outside\"}", 0.0),
        ("wireglass_port_link_changes_total{port=\"p1\",wire=\"lan\",side=\"inside\"}", 4.0),
        ("wireglass_port_speed_bytes{port=\"p1\",wire=\"lan\",side=\"inside\"}", 1_250_000_000.0),
        ("wireglass_hellos_total{worker=\"1\",reason=\"policy.decrypt\"}", 3.0),
        ("wireglass_connections_total{worker=\"1\",action=\"decrypt\"}", 2.0),
        ("wireglass_connections_total{worker=\"1\",action=\"none\"}", 1.0),
        ("wireglass_connection_bytes_total{worker=\"1\",action=\"decrypt\",from=\"server\"}", 9000.0),
        ("wireglass_connection_bytes_total{worker=\"1\",action=\"none\",from=\"client\"}", 60.0),
        ("wireglass_worker_busy_seconds_total{worker=\"1\"}", 1.5),
        ("wireglass_handshake_duration_seconds_bucket{le=\"0.0025\"}", 0.0),
        ("wireglass_handshake_duration_seconds_bucket{le=\"0.005\"}", 1.0),
        ("wireglass_handshake_duration_seconds_bucket{le=\"10\"}", 1.0),
        ("wireglass_handshake_duration_seconds_bucket{le=\"+Inf\"}", 2.0),
        ("wireglass_handshake_duration_seconds_sum", 20.003),
        ("wireglass_handshake_duration_seconds_count", 2.0),
        ("wireglass_verification_duration_seconds_bucket{le=\"0.0001\"}", 1.0),
        ("wireglass_job_wait_duration_seconds_count{kind=\"handshake\"}", 1.0),
        ("wireglass_job_run_duration_seconds_count{kind=\"content\"}", 0.0),
        ("wireglass_ca_not_after_seconds{ca=\"trusted\"}", 2_000_000_000.0),
        ("wireglass_ca_not_after_seconds{ca=\"untrusted\"}", 2_000_000_001.0),
        ("wireglass_profile_hellos_total{profile=\"default\",action=\"decrypt\"}", 0.0),
        ("wireglass_rule_connections_total{rule=\"no <b>banking</b>\",action=\"bypass\"}", 0.0),
        ("wireglass_port_mtu_bytes{port=\"p0\",wire=\"lan\",side=\"outside\"}", 1500.0),
        ("wireglass_port_driver{port=\"p1\",counter=\"rx_q0_errors\"}", 5.0),
        (concat!("wireglass_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series}");
    }
    assert!(samples["process_start_time_seconds"] > 1.7e9);
    assert!(samples["process_cpu_seconds_total"] >= 0.0);
    // This one reads its own folder, so that three are standard streams at the least.
    assert!(samples["process_open_fds"] >= 3.0 && samples["process_open_fds"] < samples["process_max_fds"]);
    assert!(samples["process_threads"] >= 2.0);
    let resident = samples["process_resident_memory_bytes"];
    assert!(resident > 1e6 && resident < samples["process_virtual_memory_bytes"], "{resident}");
    for reason in Reason::ALL {
        assert!(page.contains(&format!("{{reason=\"{reason}\",help=\"{}\"}} 1\n", reason.help())));
    }
}

/// Prometheus' own opinion of the page: units, names, help.
#[test]
fn promtool_has_nothing_to_say() {
    let mut page = String::new();
    metrics().render_prometheus(&mut page);
    let promtool = Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).spawn();
    let mut promtool = match promtool {
        Ok(promtool) => promtool,
        Err(error) => return eprintln!("not tested: promtool cannot be run: {error}"),
    };
    promtool.stdin.take().expect("a pipe").write_all(page.as_bytes()).expect("written");
    assert!(promtool.wait().expect("an end").success(), "what it says stands above");
}

/// What the document says of each family, in the order of the page.
#[test]
fn the_document_lists_what_the_page_has() {
    let mut page = String::new();
    metrics().render_prometheus(&mut page);
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let document = fs::read_to_string(document).expect("the document");
    let rows: Vec<_> = document.lines().filter(|line| line.starts_with("| `")).collect();
    let families = page.split("# HELP ").skip(1).map(documented);
    let missing: Vec<_> = families.filter(|row| !rows.contains(&row.as_str())).collect();
    assert!(missing.is_empty(), "docs/metrics.md lacks\n{}", missing.join("\n"));
    for row in rows {
        let name = row.split('`').nth(1).expect("a name");
        // What only a running engine has.
        let is_of_run = name.starts_with("wireglass_capture_") || name == "wireglass_confinement_info";
        assert!(is_of_run || page.contains(&format!("# TYPE {name} ")), "the page has no {name}");
    }
}

/// A family as a row of the document: name, type, labels, help.
fn documented(family: &str) -> String {
    let mut lines = family.lines();
    let (name, help) = lines.next().and_then(|line| line.split_once(' ')).expect("help");
    let kind = lines.next().and_then(|line| line.rsplit(' ').next()).expect("a type");
    let labels = lines.next().and_then(|sample| sample.split_once('{')).map_or("", |(_, labels)| labels);
    let labels = labels.split("\",").filter_map(|label| Some(label.split_once("=\"")?.0));
    let labels: Vec<_> = labels.filter(|label| *label != "le").map(|label| format!("`{label}`")).collect();
    format!("| `{name}` | {kind} | {} | {help} |", labels.join(" "))
}

fn server() -> MetricsServer {
    MetricsServer::start(SocketAddr::from(([127, 0, 0, 1], 0)), Access::default(), metrics())
        .expect("a server")
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
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = MetricsServer::start(listen, Access::default(), Arc::clone(&metrics));
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
    let answer = ask(server.address(), b"GET /metrics?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
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

fn with_page(listen: [u8; 4], hosts: &[&str]) -> MetricsServer {
    let access = Access { page: true, hosts: hosts.iter().map(|host| (*host).to_owned()).collect() };
    MetricsServer::start(SocketAddr::from((listen, 0)), access, metrics()).expect("a server")
}

fn get(server: &MetricsServer, path: &str, host: &str) -> String {
    let address = SocketAddr::from(([127, 0, 0, 1], server.address().port()));
    ask(address, format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
}

/// A name of a page from elsewhere that leads here gets nothing.
#[test]
fn only_names_of_this_server_are_answered() {
    let server = with_page([127, 0, 0, 1], &["wire.example"]);
    for host in ["127.0.0.1:9464", "localhost", "[::1]:1", "wire.example:9464"] {
        for path in ["/", "/status.js", "/status.css", "/status.json", "/metrics"] {
            assert!(get(&server, path, host).starts_with("HTTP/1.1 200 OK\r\n"), "{host}{path}");
        }
    }
    for host in ["evil.example", "wire.example.evil.example", "127.0.0.1\r\nHost: evil.example"] {
        for path in ["/", "/status.js", "/status.css", "/status.json", "/metrics", "/else"] {
            assert!(get(&server, path, host).starts_with("HTTP/1.1 421 "), "{host}{path}");
        }
    }
    assert!(get(&server, "/health", "evil.example").ends_with("\r\n\r\nok\n"));
    // Whoever reaches another address may call it what they like, but their browser may not.
    let open = with_page([0, 0, 0, 0], &[]);
    assert!(get(&open, "/metrics", "wireglass.monitoring.svc:9464").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(get(&open, "/status.json", "wireglass.monitoring.svc:9464").starts_with("HTTP/1.1 421 "));
    assert!(get(&open, "/status.json", "192.0.2.1:9464").starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn the_status_page_is_there_only_where_it_is_wanted() {
    let without = server();
    for path in ["/", "/status.js", "/status.css", "/status.json"] {
        assert!(get(&without, path, "localhost").starts_with("HTTP/1.1 404 "), "{path}");
    }
    let server = with_page([127, 0, 0, 1], &[]);
    let page = get(&server, "/", "localhost");
    let (head, body) = page.split_once("\r\n\r\n").expect("a response");
    for restriction in [
        "Content-Security-Policy: default-src 'none'; script-src 'self';",
        "frame-ancestors 'none'",
        "X-Content-Type-Options: nosniff",
        "Cross-Origin-Resource-Policy: same-origin",
        "Cache-Control: no-store",
    ] {
        assert!(head.contains(restriction), "{head}");
    }
    // Nothing from elsewhere, and nothing that the policy above would keep from running.
    let tags: Vec<_> = body.split('<').skip(1).filter_map(|tag| tag.split('>').next()).collect();
    assert!(tags.iter().all(|tag| !tag.contains("://") && !tag.contains("style=") && !tag.contains(" on")));
    assert!(tags.iter().all(|tag| !tag.starts_with("style")));
    let scripts: Vec<_> = tags.iter().filter(|tag| tag.starts_with("script")).collect();
    assert_eq!(scripts, [&"script src=\"status.js\" defer"]);
    let script = get(&server, "/status.js", "localhost");
    assert!(script.contains("Content-Type: text/javascript") && !script.contains("innerHTML"));
    assert!(get(&server, "/status.css", "localhost").contains("Content-Type: text/css"));
}

#[test]
fn the_status_page_has_the_figures_of_the_metrics() {
    let server = with_page([127, 0, 0, 1], &[]);
    let answer = get(&server, "/status.json", "localhost");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a response");
    assert!(head.contains("Content-Type: application/json"));
    let status: serde_json::Value = serde_json::from_str(body).expect("JSON");
    for (at, value) in [
        ("/health", "ok".into()),
        ("/wires/1/from_outside/packets", 7.into()),
        ("/flows/peeking", 1.into()),
        ("/connections/decrypt", 2.into()),
        ("/connection_bytes/decrypt", 9000.into()),
        ("/connection_bytes/none", 60.into()),
        ("/hellos/policy.decrypt", 3.into()),
        ("/ended/srv.rst", 2.into()),
        ("/dropped/packet.tx_ring_full", 1.into()),
        ("/dropped/port.rx_missed", 9.into()),
        ("/handshakes/counts/6", 1.into()),
        ("/handshakes/counts/17", 1.into()),
        ("/certificates/trusted", 2_000_000_000.into()),
        ("/memory/buffers", 8.into()),
        ("/log/dropped", 1.into()),
        ("/exclusions", 0.into()),
    ] as [(&str, serde_json::Value); 16]
    {
        assert_eq!(status.pointer(at), Some(&value), "{at} of {body}");
    }
    // No rule has decided yet.
    assert_eq!(status["rules"], serde_json::json!([]));
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
    let again =
        MetricsServer::start(address, Access::default(), metrics()).expect("the address is free again");
    assert!(MetricsServer::start(address, Access::default(), metrics()).is_err(), "and now it is taken");
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
