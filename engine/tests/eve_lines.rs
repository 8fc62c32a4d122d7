//! The event log's lines: shape, names, escaping; and that `docs/events.md` says what the code does.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use wireglass::log::community_id::community_id;
use wireglass::log::eve::{write_event, write_stats};
use wireglass::metrics::{Metrics, PortStatistics};
use wireglass_core::caches::TlsCaches;
use wireglass_core::capture::{CaptureEvent, CaptureStep};
use wireglass_core::content::{
    DataPattern, FileFacts, FileType, Hit, SignatureSet, SignatureStream, Signatures,
};
use wireglass_core::end::{End, PerEnd};
use wireglass_core::event::{
    Action, AlertEvent, Anomaly, AnomalyEvent, CertificateInfo, ChainFinding, ContentVerdict, Event,
    EventKind, FailureOutcome, Fate, FileEvent, FlowEvent, FlowHead, FrameEvent, HelloInfo, HttpEvent,
    LegInfo, LinkEvent, MintedBy, PortLink, Revocation, RevocationSource, ServerSeen, SummaryEvent,
    Timestamp, TlsEvent, Unread, Volume, WorkerEvent, WorkerFailure,
};
use wireglass_core::exclusions::Cause;
use wireglass_core::order::Order;
use wireglass_core::packet::{FrameInfo, PassAction, Uninspected};
use wireglass_core::phase::FlowPhase;
use wireglass_core::port::PortSide;
use wireglass_core::reason::{
    Ambiguity, CaptureDrop, HttpOddity, InspectorOff, MirrorDrop, PacketDrop, PathMessage, PathOddity,
    PortDrop, Reason, VerdictFate,
};
use wireglass_core::starttls::Protocol;
use wireglass_core::tls::{ServerFacts, ServerUnread};

/// 2026-11-23 20:14:05.123456 UTC.
const NOW: Timestamp = Timestamp(1_795_464_845_123_456);

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn head() -> FlowHead {
    FlowHead {
        time: NOW,
        flow_id: 1_407_374_883_553_281,
        wire: "lan".into(),
        vlan: [Some(100), None],
        client: address("192.0.2.10:51234"),
        server: address("198.51.100.7:443"),
        starttls: None,
    }
}

fn leg(version: &'static str, resumed: bool) -> LegInfo {
    LegInfo {
        version: Some(version),
        cipher: Some("TLS_AES_128_GCM_SHA256"),
        group: Some("X25519MLKEM768"),
        alpn: Some((*b"h2").into()),
        resumed,
    }
}

/// A `tls` event with everything in it.
fn tls() -> TlsEvent {
    TlsEvent {
        action: Action::Decrypt,
        reason: Reason::PolicyDecrypt,
        alert: None,
        rule: Some("all the rest".into()),
        profile: Some("default".into()),
        hello: Some(HelloInfo {
            sni: Some("www.example.com".into()),
            alpn: vec![(*b"h2").into(), (*b"http/1.1").into()],
            ja3: "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0".into(),
            ja4: "t13d1516h2_8daaf6152771_b186095e22b6".into(),
            offer: [0; 8],
            ech: true,
        }),
        client_leg: Some(leg("TLS 1.3", false)),
        server_leg: Some(leg("TLS 1.3", true)),
        certificate: Some(Arc::new(CertificateInfo {
            subject: "CN=www.example.com".into(),
            issuer: "CN=Example CA, O=Example".into(),
            serial: "0A:1B:2C".into(),
            fingerprint: "da:39:a3:ee:5e:6b:4b:0d:32:55:bf:ef:95:60:18:90:af:d8:07:09".into(),
            not_before: 1_764_547_200,
            not_after: 1_796_083_199,
            alt_names: vec!["www.example.com".into(), "example.com".into()],
            findings: vec![ChainFinding {
                reason: Reason::CertExpired,
                certificate: 1,
                subject: Some("CN=Example CA, O=Example".into()),
                found: "expired, on 2026-11-01".into(),
            }],
            root: Some("CN=Example Root, O=Example".into()),
            revocation: Some(Revocation::Good(RevocationSource::Staple)),
            verified_by: Some("edge-2".into()),
        })),
        server: None,
        defect: Some(Reason::CertExpired),
        minted_serial: Some("7F:00:11".into()),
        minted_by: Some(MintedBy::Untrusted),
        certificate_asked: true,
        learned: Some(Cause::ClientCertificate),
    }
}

/// One that was bypassed, and broke off before its server had done with its first flight.
fn bypassed_tls() -> TlsEvent {
    let root = include_bytes!("../src/cli/replay/fixtures/root.pem");
    let root = CertificateDer::from_pem_slice(root).expect("a certificate");
    let facts = ServerFacts {
        legacy_version: 0x0303,
        version: 0x0303,
        suite: 0xc02f,
        group: Some(0x001d),
        extensions: vec![65_281, 11, 16],
        alpn: Some((*b"h2").into()),
        chain: vec![root.as_ref().into()],
        asks_for_certificate: true,
        ..ServerFacts::default()
    };
    TlsEvent {
        action: Action::Bypass,
        reason: Reason::PolicyBypass,
        rule: Some("no banking".into()),
        profile: None,
        client_leg: None,
        server_leg: None,
        certificate: None,
        server: Some(Box::new(ServerSeen { facts, unread: Some(ServerUnread::Ended) })),
        defect: None,
        minted_serial: None,
        minted_by: None,
        certificate_asked: false,
        learned: None,
        ..tls()
    }
}

fn http() -> HttpEvent {
    HttpEvent {
        tx_id: 0,
        hostname: Some("www.example.com".into()),
        url: Some("/old?q=1".into()),
        user_agent: Some("curl/8.0".into()),
        content_type: Some("text/html".into()),
        referer: Some("https://www.example.com/".into()),
        method: Some("GET".into()),
        protocol: "HTTP/2",
        status: Some(302),
        redirect: Some("/new".into()),
        length: 120,
        ..HttpEvent::default()
    }
}

/// One that readers may disagree about, and whose texts had no room.
fn odd_http() -> HttpEvent {
    let mut event = HttpEvent {
        tx_id: 130,
        protocol: "HTTP/1.1",
        status: Some(200),
        shortened: true,
        ..HttpEvent::default()
    };
    event.ambiguous.insert(Ambiguity::LengthAndCoding);
    event
}

/// One that a rule blocks.
fn judged_http() -> HttpEvent {
    HttpEvent {
        tx_id: 3,
        hostname: Some("ads.example".into()),
        url: Some("/banner".into()),
        method: Some("GET".into()),
        protocol: "HTTP/2",
        status: Some(403),
        verdict: Some(ContentVerdict::Blocked),
        rule: Some("no ads".into()),
        ..HttpEvent::default()
    }
}

/// What signatures have found in a request.
fn found() -> Hit {
    let set = SignatureSet {
        name: "cards".into(),
        literals: vec![],
        regexes: vec![],
        patterns: vec![DataPattern::CardNumber],
        threshold: 1,
    };
    let signatures = Arc::new(Signatures::compile(&[set]).expect("signatures"));
    let mut stream = SignatureStream::new(&signatures, signatures.id("cards").into_iter().collect());
    stream.push(b"4111 1111 1111 1111\n");
    // Only rules of YARA have tags; here one hit shows all that there is.
    Hit { tags: ["data".into(), "pci".into()].into(), ..stream.poll_hit().expect("it is one").1 }
}

/// The alert beside it.
fn alert() -> AlertEvent {
    AlertEvent {
        rule: Some("no ads".into()),
        reason: Reason::ContentBlocked,
        blocked: true,
        from: End::Client,
        stream: 7,
        late: true,
        found: Some(found()),
        http: HttpEvent { status: None, ..judged_http() },
    }
}

/// A body that was looked at, in the same transaction.
fn file() -> FileEvent {
    FileEvent {
        from: End::Server,
        stream: 7,
        file_name: Some("setup.exe".into()),
        kind: Some(FileType::Exe),
        facts: Some(FileFacts { size: 4711, sha256: Some([9; 32]), md5: Some([7; 16]) }),
        coded: 99,
        http: HttpEvent { status: None, ..judged_http() },
    }
}

fn anomaly() -> AnomalyEvent {
    AnomalyEvent {
        app_proto: "http",
        what: Anomaly::Odd(HttpOddity::Ambiguous),
        tx_id: Some(130),
        from: End::Client,
        offset: 4711,
    }
}

fn flow(phase: FlowPhase, reason: Reason) -> FlowEvent {
    FlowEvent {
        start: Timestamp(NOW.0 - 61_500_000),
        end: NOW,
        to_server: Volume { packets: 12, bytes: 2345 },
        to_client: Volume { packets: 15, bytes: 67_890 },
        flags: PerEnd { client: 0x1b, server: 0xfe },
        is_tls: true,
        action: Some(Action::Decrypt),
        phase,
        reason,
        midstream: false,
        ordered: None,
        unread: Some(Unread { off: Some(InspectorOff::Opaque), to_server: 1234, to_client: 56_789 }),
        learned: None,
        mirrors: Box::default(),
    }
}

/// QUIC to an intercepted port, which a rule blocks.
fn dropped() -> FrameEvent {
    let address = |text: &str| text.parse().expect("an address");
    FrameEvent {
        time: NOW,
        wire: "lan".into(),
        side: PortSide::Inside,
        frame: FrameInfo {
            destination_mac: [2, 0, 0, 0, 0, 2],
            source_mac: [2, 0, 0, 0, 0, 1],
            ethertype: 0x0800,
            vlan: [Some(100), None],
            addresses: Some((address("192.0.2.10"), address("198.51.100.7"))),
            protocol: Some(17),
            ports: Some((51_234, 443)),
        },
        len: 1292,
        fate: Fate::Dropped(PacketDrop::PolicyBlocked),
        class: Some(Uninspected::Quic),
        rule: Some("no video".into()),
        hello: Some(Box::new(HelloInfo {
            sni: Some("video.example".into()),
            alpn: vec![(*b"h3").into()],
            ja3: String::new(),
            ja4: "q13d0310h3_55b375c5d22e_cd85d2d88918".into(),
            offer: [0; 8],
            ech: true,
        })),
        frames: 1,
    }
}

fn passed() -> FrameEvent {
    let frame =
        FrameInfo { ethertype: 0x8847, addresses: None, protocol: None, ports: None, ..dropped().frame };
    FrameEvent {
        frame,
        fate: Fate::Forwarded,
        class: Some(Uninspected::Mpls),
        rule: None,
        hello: None,
        frames: 812,
        ..dropped()
    }
}

fn summary() -> SummaryEvent {
    let network = "203.0.113.0/24".parse().expect("a network");
    let (of, reason) = (EventKind::Flow.name(), Reason::ResourceFlows.code());
    SummaryEvent { time: NOW, of, reason, network, count: 4711 }
}

fn line(event: &Event) -> Value {
    let mut out = b"before\n".to_vec();
    write_event(&mut out, event).expect("a line");
    let text = String::from_utf8(out).expect("UTF-8");
    let line =
        text.strip_prefix("before\n").and_then(|line| line.strip_suffix('\n')).expect("one whole line");
    assert!(!line.contains('\n'));
    serde_json::from_str(line).expect("JSON")
}

fn tls_line(event: TlsEvent) -> Value {
    line(&Event::Tls(head(), Box::new(event)))
}

fn flow_line(event: FlowEvent) -> Value {
    line(&Event::Flow(head(), Box::new(event)))
}

/// Of a connection that begins as SMTP.
fn mail_line() -> Value {
    let head = FlowHead { starttls: Some(Protocol::Smtp), ..head() };
    line(&Event::Flow(head, Box::new(flow(FlowPhase::Blocked, Reason::StartTlsStripped))))
}

/// Numbers that make every field of the `stats` event appear.
fn busy_metrics() -> Metrics {
    let metrics = Metrics::new(&["lan".into()], 1);
    let worker = metrics.worker(0).expect("a worker");
    worker.port(0, PortSide::Inside).rx_packets.add(1000);
    worker.port(0, PortSide::Inside).rx_bytes.add(640_000);
    worker.port(0, PortSide::Outside).tx_packets.add(998);
    worker.port(0, PortSide::Outside).tx_bytes.add(639_000);
    worker.flows_opened.add(20);
    worker.flows(FlowPhase::Decrypted).set(3);
    worker.flow_ended(Reason::Closed);
    worker.drop_packet(PacketDrop::BadTcpChecksum);
    worker.inspector_off(InspectorOff::Opaque);
    worker.path_message(PathMessage::Lowered);
    worker.uninspected(Uninspected::Arp, PassAction::Forward).add(7);
    worker.uninspected(Uninspected::Quic, PassAction::Drop).add(9);
    let caches = Arc::<TlsCaches>::default();
    caches.leaf.hit();
    caches.leaf.miss();
    metrics.set_tls(caches);
    metrics.set_ports(|| {
        vec![PortStatistics {
            port: "0000:03:00.0".into(),
            rx_packets: 1002,
            rx_missed: 2,
            ..Default::default()
        }]
    });
    metrics
}

fn stats_line(metrics: &Metrics) -> Value {
    let mut out = Vec::new();
    write_stats(&mut out, NOW, &metrics.snapshot()).expect("a line");
    let mut value: Value = serde_json::from_slice(&out).expect("JSON");
    value["stats"]["uptime"] = json!(60);
    value
}

fn port_link(speed_mbps: Option<u32>) -> PortLink {
    let (port, wire) = ("0000:03:00.0".into(), "lan".into());
    let up = speed_mbps.is_some();
    PortLink { port, wire, side: PortSide::Inside, up, held: !up, speed_mbps, mtu: 1500 }
}

fn worker() -> WorkerEvent {
    WorkerEvent { worker: 1, failure: WorkerFailure::Panicked, outcome: FailureOutcome::PlainWire }
}

fn capture() -> CaptureEvent {
    CaptureEvent {
        step: CaptureStep::Started,
        configuration: "/etc/wireglass/wireglass.toml".into(),
        folder: Some("/var/lib/wireglass/captures".into()),
        keylog: Some("/var/lib/wireglass/keys".into()),
        profiles: vec!["strict".into()],
        minutes: 15,
    }
}

/// The fullest line of each kind, as in the document.
fn examples() -> Vec<Value> {
    vec![
        tls_line(TlsEvent { alert: Some(40), ..tls() }),
        tls_line(bypassed_tls()),
        line(&Event::Http(head(), Box::new(http()))),
        line(&Event::Http(head(), Box::new(odd_http()))),
        line(&Event::Http(head(), Box::new(judged_http()))),
        flow_line(FlowEvent {
            midstream: true,
            ordered: Some(Order::Bypass),
            mirrors: ["ids".into(), "recorder".into()].into(),
            ..flow(FlowPhase::Bypassed, Reason::Closed)
        }),
        mail_line(),
        line(&Event::Frame(Box::new(dropped()))),
        line(&Event::Frame(Box::new(passed()))),
        line(&Event::Summary(Box::new(summary()))),
        line(&Event::Link(NOW, Box::new(LinkEvent(port_link(Some(10_000)))))),
        line(&Event::Link(NOW, Box::new(LinkEvent(port_link(None))))),
        line(&Event::Worker(NOW, worker())),
        line(&Event::Capture(NOW, Box::new(capture()))),
        line(&Event::Anomaly(head(), Box::new(anomaly()))),
        line(&Event::Asymmetric(head(), End::Client)),
        line(&Event::Alert(head(), Box::new(alert()))),
        line(&Event::File(head(), Box::new(file()))),
        stats_line(&busy_metrics()),
    ]
}

/// What has not come to its end has no hashes, and the size is what has come.
#[test]
fn a_body_that_was_cut_short() {
    let short = FileEvent { file_name: None, kind: None, facts: None, stream: 0, ..file() };
    let value = line(&Event::File(head(), Box::new(short)));
    let expected = json!({"gaps": false, "state": "TRUNCATED", "stored": false, "size": 99, "tx_id": 3});
    assert_eq!((&value["fileinfo"], &value["app_proto"]), (&expected, &json!("http")));
}

#[test]
fn a_decrypted_flow() {
    let value = tls_line(tls());
    assert_eq!(
        value,
        json!({
            "timestamp": "2026-11-23T20:14:05.123456+0000",
            "flow_id": 1_407_374_883_553_281_u64,
            "in_iface": "lan",
            "event_type": "tls",
            "vlan": [100],
            "src_ip": "192.0.2.10",
            "src_port": 51234,
            "dest_ip": "198.51.100.7",
            "dest_port": 443,
            "proto": "TCP",
            "community_id": community_id(6, head().client, head().server),
            "tls": {
                "subject": "CN=www.example.com",
                "issuerdn": "CN=Example CA, O=Example",
                "subjectaltname": ["www.example.com", "example.com"],
                "serial": "0A:1B:2C",
                "fingerprint": "da:39:a3:ee:5e:6b:4b:0d:32:55:bf:ef:95:60:18:90:af:d8:07:09",
                "sni": "www.example.com",
                "version": "TLS 1.3",
                "notbefore": "2025-12-01T00:00:00",
                "notafter": "2026-11-30T23:59:59",
                "session_resumed": true,
                "ja3": {
                    "hash": "ada70206e40642a3e4461f35503241d5",
                    "string": "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0"
                },
                "ja4": "t13d1516h2_8daaf6152771_b186095e22b6",
                "client_alpns": ["h2", "http/1.1"],
                "server_alpns": ["h2"]
            },
            "wireglass": {
                "action": "decrypt",
                "rule": "all the rest",
                "profile": "default",
                "reason": "policy.decrypt",
                "verdict": "cert.expired",
                "findings": [{
                    "reason": "cert.expired", "certificate": 1, "subject": "CN=Example CA, O=Example",
                    "found": "expired, on 2026-11-01"
                }],
                "root": "CN=Example Root, O=Example", "revocation": "good", "revocation_source": "staple",
                "verified_by": "edge-2",
                "client_leg": {
                    "version": "TLS 1.3", "cipher": "TLS_AES_128_GCM_SHA256", "group": "X25519MLKEM768",
                    "alpn": "h2", "resumed": false
                },
                "server_leg": {
                    "version": "TLS 1.3", "cipher": "TLS_AES_128_GCM_SHA256", "group": "X25519MLKEM768",
                    "alpn": "h2", "resumed": true
                },
                "minted_serial": "7F:00:11",
                "minted_by": "untrusted",
                "client_certificate": "asked",
                "ech": "offered",
                "learned": "client_certificate"
            }
        })
    );
}

#[test]
fn what_is_not_known_is_left_out() {
    let value = tls_line(TlsEvent {
        action: Action::Block,
        reason: Reason::HelloNotTls,
        alert: None,
        rule: None,
        profile: None,
        hello: None,
        client_leg: None,
        server_leg: None,
        certificate: None,
        server: None,
        defect: None,
        minted_serial: None,
        minted_by: None,
        certificate_asked: false,
        learned: None,
    });
    assert_eq!(value["tls"], json!({}));
    assert_eq!(value["wireglass"], json!({"action": "block", "reason": "hello.not_tls"}));
    let mut untagged = head();
    untagged.vlan = [None, None];
    let empty = HttpEvent { protocol: "HTTP/1.1", ..HttpEvent::default() };
    let value = line(&Event::Http(untagged, Box::new(empty)));
    assert_eq!(value["http"], json!({"protocol": "HTTP/1.1", "length": 0}));
    assert_eq!(value["tx_id"], 0);
    assert!(value.get("vlan").is_none());
}

#[test]
fn a_link_that_is_down_has_no_speed() {
    let value = line(&Event::Link(NOW, Box::new(LinkEvent(port_link(None)))));
    let own = json!({"port": "0000:03:00.0", "side": "inside", "link": "down", "held": true, "mtu": 1500});
    let common =
        json!({"timestamp": "2026-11-23T20:14:05.123456+0000", "in_iface": "lan", "event_type": "link"});
    assert_eq!(value["wireglass"], own);
    assert!(common.as_object().expect("an object").iter().all(|(key, said)| value[key] == *said), "{value}");
}

#[test]
fn what_was_read_to_the_end_says_nothing_of_it() {
    for unread in [None, Some(Unread::default())] {
        let value = flow_line(FlowEvent { unread, ..flow(FlowPhase::Decrypted, Reason::Closed) });
        let own = json!({"phase": "decrypted", "action": "decrypt", "reason": "flow.closed"});
        assert_eq!(value["wireglass"], own);
    }
    assert!(line(&Event::Http(head(), Box::new(http()))).get("wireglass").is_none());
    let off = AnomalyEvent {
        app_proto: "http2",
        what: Anomaly::Off(InspectorOff::H2Frame),
        tx_id: None,
        from: End::Server,
        offset: 0,
    };
    let value = line(&Event::Anomaly(head(), Box::new(off)));
    assert!(value.get("tx_id").is_none());
    assert_eq!(value["anomaly"]["event"], "http2.frame");
    assert_eq!(value["wireglass"], json!({"direction": "to_client", "offset": 0}));
}

#[test]
fn alerts_have_suricatas_names() {
    let value = line(&Event::Alert(head(), Box::new(alert())));
    assert_eq!(
        (&value["app_proto"], &value["direction"], &value["tx_id"]),
        (&json!("http2"), &json!("to_server"), &json!(3))
    );
    assert_eq!(
        (&value["alert"]["action"], &value["alert"]["signature"]),
        (&json!("blocked"), &json!("no ads"))
    );
    assert_eq!(value["http"]["http2"], json!({"stream_id": 7}));
    assert_eq!(value["wireglass"]["event"], "1407374883553281-3");

    // Nobody learns the number from the log.
    let found = json!({"by": "cards", "what": "signature", "count": 1, "sample": "4111**********11", "tags": ["data", "pci"]});
    assert_eq!(value["wireglass"]["found"], found);
    // What no rule names goes by its reason; in HTTP/1 there are no streams.
    let unread = AlertEvent {
        rule: None,
        reason: Reason::ContentUnparsed,
        from: End::Server,
        stream: 0,
        found: None,
        late: false,
        ..alert()
    };
    let other = line(&Event::Alert(head(), Box::new(AlertEvent { blocked: false, ..unread })));
    assert_eq!((&other["app_proto"], &other["direction"]), (&json!("http"), &json!("to_client")));
    assert_eq!(
        (&other["alert"]["action"], &other["alert"]["signature"]),
        (&json!("allowed"), &json!("content.unparsed"))
    );
    assert!(other["http"].get("http2").is_none() && other["wireglass"].get("rule").is_none());
    assert_ne!(value["alert"]["signature_id"], other["alert"]["signature_id"]);
}

#[test]
fn a_defect_is_the_verdict() {
    let value = tls_line(TlsEvent { defect: Some(Reason::CertExpired), alert: Some(45), ..tls() });
    assert_eq!(value["wireglass"]["verdict"], "cert.expired");
    assert_eq!(value["wireglass"]["alert"], 45);
}

#[test]
fn hostile_names_stay_one_line_of_json() {
    let sni = "a\"b\\c\n\r\t\u{0}\u{1b}\u{2028}é\u{1f600}";
    let mut event = tls();
    if let Some(hello) = &mut event.hello {
        hello.sni = Some(sni.into());
        hello.alpn = vec![(*b"\xff\x00h2").into(), (*b"q\"").into(), Box::default(), (*b"\x0a\x0a").into()];
    }
    if let Some(certificate) = event.certificate.as_mut().and_then(Arc::get_mut) {
        certificate.subject = "CN=\"},\n{\"event_type\":\"fake\"".into();
        certificate.not_before = i64::MIN;
        certificate.not_after = i64::MAX;
    }
    let value = tls_line(event);
    assert_eq!(value["tls"]["sni"], sni);
    assert_eq!(value["tls"]["client_alpns"], json!(["0xff006832", "q\"", "", "\n\n"]));
    assert_eq!(value["tls"]["subject"], "CN=\"},\n{\"event_type\":\"fake\"");
    assert_eq!(value["tls"]["notafter"], "9999-12-30T22:00:00");
    let mut event = http();
    event.url = Some("/\u{7f}\u{0}\"".into());
    let mut outside = head();
    outside.time = Timestamp(u64::MAX);
    assert_eq!(line(&Event::Http(outside, Box::new(event)))["http"]["url"], "/\u{7f}\u{0}\"");
}

#[test]
fn flows_end_in_suricatas_words_and_ours() {
    let value = flow_line(flow(FlowPhase::Decrypted, Reason::Closed));
    assert_eq!(
        value["flow"],
        json!({
            "pkts_toserver": 12, "pkts_toclient": 15, "bytes_toserver": 2345, "bytes_toclient": 67_890,
            "start": "2026-11-23T20:13:03.623456+0000", "end": "2026-11-23T20:14:05.123456+0000",
            "age": 61, "state": "closed", "reason": "timeout"
        })
    );
    let own = json!({
        "phase": "decrypted", "action": "decrypt", "reason": "flow.closed",
        "http_off": "http.opaque", "unread_toserver": 1234, "unread_toclient": 56_789
    });
    assert_eq!(value["wireglass"], own);
    for (phase, reason, state, word) in [
        (FlowPhase::Opening, Reason::Idle, "new", "timeout"),
        (FlowPhase::Opening, Reason::ServerReset, "closed", "timeout"),
        (FlowPhase::Peeking, Reason::HelloTimeout, "established", "timeout"),
        (FlowPhase::Bypassed, Reason::Closed, "bypassed", "timeout"),
        (FlowPhase::Blocked, Reason::PolicyBlock, "closed", "timeout"),
        (FlowPhase::Decrypted, Reason::Shutdown, "established", "shutdown"),
        (FlowPhase::Decrypted, Reason::ResourceFlows, "established", "forced"),
    ] {
        let value = flow_line(flow(phase, reason));
        assert_eq!((&value["flow"]["state"], &value["flow"]["reason"]), (&json!(state), &json!(word)));
    }
}

/// The vectors of the Community ID specification's repository (seed 0).
#[test]
fn community_ids_as_published() {
    for (a, b, id) in [
        ("128.232.110.120:34855", "66.35.250.204:80", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        (
            "[2001:470:e5bf:dead:4957:2174:e82c:4887]:63943",
            "[2607:f8b0:400c:c03::1a]:25",
            "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
        ),
    ] {
        assert_eq!(community_id(6, address(a), address(b)), id);
        assert_eq!(community_id(6, address(b), address(a)), id);
    }
    let same = community_id(6, address("10.0.0.1:2"), address("10.0.0.1:1"));
    assert_eq!(same, community_id(6, address("10.0.0.1:1"), address("10.0.0.1:2")));
}

#[test]
fn stats_have_suricatas_names_and_ours() {
    let value = stats_line(&busy_metrics());
    assert_eq!(value["event_type"], "stats");
    let stats = &value["stats"];
    assert_eq!(stats["capture"], json!({"kernel_packets": 1002, "kernel_drops": 2}));
    assert_eq!(stats["decoder"], json!({"pkts": 1000, "bytes": 640_000}));
    assert_eq!(stats["flow"], json!({"total": 20, "active": 3}));
    assert_eq!(stats["wireglass"]["ended"], json!({"flow.closed": 1}));
    assert_eq!(stats["wireglass"]["dropped"], json!({"packet.bad_tcp_checksum": 1, "port.rx_missed": 2}));
    assert_eq!(stats["wireglass"]["tls_cache_misses"], json!({"leaf": 1}));
    assert_eq!(stats["wireglass"]["http_off"], json!({"http.opaque": 1}));
    assert_eq!(
        stats["wireglass"]["passthrough"],
        json!({"arp": 7}),
        "what went on; the rest is in `dropped`"
    );
    let quiet = Metrics::new(&[Arc::from("lan")], 1);
    assert!(stats_line(&quiet)["stats"].get("capture").is_none());
}

/// Fields that Suricata's own schema has (its `etc/schema.json`, August 2026), as far as they are written here.
#[rustfmt::skip]
const SURICATA: &[&str] = &[
    "alert.action", "alert.category", "alert.gid", "alert.rev",
    "alert.severity", "alert.signature", "alert.signature_id", "anomaly.app_proto",
    "anomaly.event", "anomaly.layer", "anomaly.type", "app_proto", "app_proto_orig",
    "community_id", "dest_ip", "dest_port", "direction",
    "drop.len", "drop.reason", "ether.dest_mac", "ether.src_mac",
    "event_type", "fileinfo.filename", "fileinfo.gaps", "fileinfo.magic", "fileinfo.md5",
    "fileinfo.sha256", "fileinfo.size", "fileinfo.state", "fileinfo.stored", "fileinfo.tx_id", "flow.age", "flow.bytes_toclient", "flow.bytes_toserver",
    "flow.end", "flow.pkts_toclient", "flow.pkts_toserver", "flow.reason",
    "flow.start", "flow.state", "flow_id", "http.hostname",
    "http.http2.stream_id", "http.http_content_type", "http.http_method", "http.http_refer",
    "http.http_user_agent", "http.length", "http.protocol", "http.redirect",
    "http.status", "http.url", "in_iface", "proto", "quic.ja4", "quic.sni",
    "src_ip", "src_port", "stats.capture.kernel_drops", "stats.capture.kernel_packets",
    "stats.decoder.bytes", "stats.decoder.pkts", "stats.flow.active", "stats.flow.total",
    "stats.uptime", "tcp.ack", "tcp.cwr", "tcp.ecn",
    "tcp.fin", "tcp.psh", "tcp.rst", "tcp.state",
    "tcp.syn", "tcp.tcp_flags", "tcp.tcp_flags_tc", "tcp.tcp_flags_ts",
    "tcp.urg", "timestamp", "tls.client_alpns", "tls.fingerprint",
    "tls.issuerdn", "tls.ja3.hash", "tls.ja3.string", "tls.ja3s.hash", "tls.ja3s.string", "tls.ja4",
    "tls.notafter", "tls.notbefore", "tls.serial", "tls.server_alpns",
    "tls.session_resumed", "tls.sni", "tls.subject", "tls.subjectaltname",
    "tls.version", "tx_id", "vlan",
];

#[test]
fn fields_are_suricatas_or_under_our_name() {
    let mut written = BTreeSet::new();
    examples().iter().for_each(|value| paths(value, "", &mut written));
    let ours = |path: &&String| path.starts_with("wireglass.") || path.starts_with("stats.wireglass.");
    let (_, rest): (Vec<_>, Vec<_>) = written.iter().partition(ours);
    assert_eq!(rest, SURICATA.iter().collect::<Vec<_>>());
}

/// Paths of all fields, as the document writes them: `tls.ja3.hash`, `vlan[]`.
fn paths(value: &Value, prefix: &str, out: &mut BTreeSet<String>) {
    match value {
        // Maps from codes to numbers: the codes are not fields.
        Value::Object(_) if prefix.ends_with(".ended") || prefix.ends_with(".dropped") => {
            out.insert(prefix.into());
        }
        Value::Object(_) if prefix.ends_with(".passthrough") => {
            out.insert(prefix.into());
        }
        Value::Object(_) if prefix.ends_with(".http_off") || prefix.ends_with(".too_big") => {
            out.insert(prefix.into());
        }
        Value::Object(_) if prefix.contains(".tls_cache_") || prefix == "stats.wireglass.flows" => {
            out.insert(prefix.into());
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                paths(value, &path, out);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            out.insert(prefix.into());
            list.iter().for_each(|value| paths(value, prefix, out));
        }
        _ => {
            out.insert(prefix.into());
        }
    }
}

#[test]
fn the_document_is_in_step() {
    let document = include_str!("../../docs/events.md");
    let in_document: Vec<Value> = document
        .split("```json\n")
        .skip(1)
        .map(|block| serde_json::from_str(block.split("```").next().unwrap_or_default()).expect("an example"))
        .collect();
    assert_eq!(in_document, examples(), "the examples are what the code writes");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let documented: BTreeSet<String> = rows.map(String::from).collect();
    let mut written = BTreeSet::new();
    examples().iter().for_each(|value| paths(value, "", &mut written));
    assert_eq!(documented, written, "each field has a row, each row a field");
    let reasons = Reason::ALL.iter().map(|r| (r.code(), r.help()));
    let drops = PacketDrop::ALL.iter().map(|r| (r.code(), r.help()));
    let lost = PortDrop::ALL.iter().map(|r| (r.code(), r.help()));
    let offs = InspectorOff::ALL.iter().map(|r| (r.code(), r.help()));
    let path = PathMessage::ALL.iter().map(|r| (r.code(), r.help()));
    let ways = PathOddity::ALL.iter().map(|r| (r.code(), r.help()));
    let oddities = HttpOddity::ALL.iter().map(|r| (r.code(), r.help()));
    let marks = Ambiguity::ALL.iter().map(|r| (r.code(), r.help()));
    let http = offs.chain(oddities).chain(marks).chain(ways);
    let mirror = MirrorDrop::ALL.iter().map(|r| (r.code(), r.help()));
    let verdicts = VerdictFate::ALL.iter().map(|r| (r.code(), r.help()));
    let captures = CaptureDrop::ALL.iter().map(|r| (r.code(), r.help()));
    let mirror = mirror.chain(verdicts).chain(captures);
    for (code, help) in reasons.chain(drops).chain(lost).chain(http).chain(path).chain(mirror) {
        assert!(document.contains(&format!("| {help} | `{code}` |\n")), "{code} is not explained");
    }
}
