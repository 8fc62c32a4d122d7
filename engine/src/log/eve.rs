//! The log lines: Suricata's EVE JSON names where it has one, ours under `wireglass`. `docs/events.md`
//! describes every field; a test keeps the two in step.

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, SocketAddr};

use md5::{Digest as _, Md5};
use serde::{Serialize, Serializer};
use wireglass_core::capture::CaptureEvent;
use wireglass_core::event::{
    Action, AlertEvent, AnomalyEvent, CertificateInfo, ChainFinding, Event, FlowEvent, FlowHead, HelloInfo,
    LegInfo, LinkEvent, MintedBy, PortLink, Revocation, RevocationSource, SummaryEvent, Timestamp, TlsEvent,
    Unread,
};
use wireglass_core::exclusions::Cause;
use wireglass_core::order::Order;
use wireglass_core::phase::FlowPhase;
use wireglass_core::reason::{InspectorOff, PathOddity, Reason};
use wireglass_core::starttls::Protocol;

use super::community_id::community_id;
use super::eve_alert::{Alert, OwnAlert, direction};
use super::eve_file::FileInfo;
use super::eve_frame;
use super::eve_http::{Http, OwnHttp};
use super::eve_passive::Passive;
use super::eve_tcp::Tcp;
use super::eve_worker;
use crate::hex::hex;
use crate::metrics::Snapshot;

/// IANA protocol number.
const TCP: u8 = 6;
/// Longest server name that is written: four times of what the DNS has.
const MAX_SNI: usize = 1024;

/// Appends one line, with its line feed.
///
/// # Errors
/// Only what serde reports; writing to a `Vec` cannot fail. What was appended so far is taken back.
pub fn write_event(out: &mut Vec<u8>, event: &Event) -> io::Result<()> {
    let line = match event {
        Event::Tls(head, tls) => {
            let seen = tls.server.as_deref().map(Passive::new);
            let line = Line {
                tls: Some(Tls::new(tls, seen.as_ref())),
                wireglass: Some(Own::Tls(Box::new(OwnTls::new(tls, seen.as_ref())))),
                ..Line::new("tls", head)
            };
            return append(out, &line);
        }
        Event::Http(head, http) => Line {
            tx_id: Some(http.tx_id),
            http: Some(Http::new(http)),
            wireglass: OwnHttp::new(http).map(Own::Http),
            ..Line::new("http", head)
        },
        Event::Flow(head, flow) => Line {
            app_proto: flow.is_tls.then_some("tls"),
            flow: Some(Flow::new(flow)),
            tcp: Some(Tcp::new(flow, flow_state(flow) == "closed")),
            wireglass: Some(Own::Flow(OwnFlow::new(flow))),
            ..Line::new("flow", head)
        },
        Event::Anomaly(head, anomaly) => Line {
            tx_id: anomaly.tx_id,
            anomaly: Some(AnomalyFields::new(anomaly)),
            wireglass: Some(Own::Anomaly(OwnAnomaly::new(anomaly))),
            ..Line::new("anomaly", head)
        },
        Event::Asymmetric(head, seen) => Line {
            anomaly: Some(AnomalyFields::of_path(PathOddity::Asymmetric)),
            wireglass: Some(Own::Anomaly(OwnAnomaly { direction: direction(*seen), offset: None })),
            ..Line::new("anomaly", head)
        },
        Event::Alert(head, alert) => Line {
            tx_id: Some(alert.http.tx_id),
            app_proto: speaks_http(alert).then_some(if alert.stream == 0 { "http" } else { "http2" }),
            direction: Some(direction(alert.from)),
            alert: Some(Alert::new(alert)),
            http: speaks_http(alert).then(|| Http::on_stream(&alert.http, alert.stream)),
            wireglass: Some(Own::Alert(OwnAlert::new(head.flow_id, alert))),
            ..Line::new("alert", head)
        },
        Event::File(head, file) => Line {
            tx_id: Some(file.http.tx_id),
            app_proto: Some(if file.stream == 0 { "http" } else { "http2" }),
            direction: Some(direction(file.from)),
            http: Some(Http::on_stream(&file.http, file.stream)),
            fileinfo: Some(FileInfo::new(file)),
            wireglass: OwnHttp::new(&file.http).map(Own::Http),
            ..Line::new("fileinfo", head)
        },
        Event::Link(time, link) => return append(out, &Link::new(*time, link)),
        Event::Capture(time, capture) => return append(out, &Capture::new(*time, capture)),
        Event::Worker(time, worker) => return append(out, &eve_worker::Line::new(*time, *worker)),
        Event::Frame(frame) => return append(out, &eve_frame::Line::new(event.kind(), frame)),
        Event::Summary(summary) => return append(out, &Summary::new(summary)),
    };
    append(out, &line)
}

/// It is about a message. What an IDS ends as a whole need not be HTTP.
fn speaks_http(alert: &AlertEvent) -> bool {
    alert.stream != 0 || !alert.http.protocol.is_empty()
}

/// Appends a `stats` line, with its line feed.
///
/// # Errors
/// As [`write_event`].
pub fn write_stats(out: &mut Vec<u8>, time: Timestamp, snapshot: &Snapshot) -> io::Result<()> {
    append(out, &Stats { timestamp: time, event_type: "stats", stats: snapshot })
}

fn append(out: &mut Vec<u8>, line: &impl Serialize) -> io::Result<()> {
    let before = out.len();
    let result = serde_json::to_writer(&mut *out, line);
    match result {
        Ok(()) => out.push(b'\n'),
        Err(_) => out.truncate(before),
    }
    result.map_err(io::Error::from)
}

/// RFC 3339 with microseconds and an offset without colon, in UTC, as Suricata prints it.
pub(super) fn rfc3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    let micros = i64::try_from(time.0).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX);
    serializer.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%S.%6f+0000"))
}

/// A date of a certificate: Suricata prints it without fraction and without zone.
#[derive(Clone, Copy)]
struct Date(i64);

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A certificate may name any date; beyond what a calendar holds, the nearest that it does.
        let limit = if self.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        let time = jiff::Timestamp::from_second(self.0).unwrap_or(limit);
        serializer.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%S"))
    }
}

#[derive(Serialize)]
struct Stats<'a> {
    #[serde(serialize_with = "rfc3339")]
    timestamp: Timestamp,
    event_type: &'static str,
    stats: &'a Snapshot,
}

/// Every line but `stats`.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(serialize_with = "rfc3339")]
    timestamp: Timestamp,
    flow_id: u64,
    in_iface: &'a str,
    event_type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vlan: Vec<u16>,
    src_ip: IpAddr,
    src_port: u16,
    dest_ip: IpAddr,
    dest_port: u16,
    proto: &'static str,
    community_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_proto: Option<&'static str>,
    /// What it was before STARTTLS, as Suricata says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    app_proto_orig: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<Alert<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<Http<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fileinfo: Option<FileInfo<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<Flow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<Tcp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anomaly: Option<AnomalyFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wireglass: Option<Own<'a>>,
}

impl<'a> Line<'a> {
    fn new(event_type: &'static str, head: &'a FlowHead) -> Self {
        let (client, server): (SocketAddr, SocketAddr) = (head.client, head.server);
        Self {
            timestamp: head.time,
            flow_id: head.flow_id,
            in_iface: &head.wire,
            event_type,
            vlan: head.vlan.iter().flatten().copied().collect(),
            src_ip: client.ip(),
            src_port: client.port(),
            dest_ip: server.ip(),
            dest_port: server.port(),
            proto: "TCP",
            community_id: community_id(TCP, client, server),
            tx_id: None,
            app_proto: None,
            app_proto_orig: head.starttls.map(Protocol::app_proto),
            direction: None,
            alert: None,
            tls: None,
            http: None,
            fileinfo: None,
            flow: None,
            tcp: None,
            anomaly: None,
            wireglass: None,
        }
    }
}

#[derive(Serialize)]
struct Tls<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuerdn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subjectaltname: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notbefore: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notafter: Option<Date>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    session_resumed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ja3: Option<Ja3<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ja3s: Option<Ja3<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ja4: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    client_alpns: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    server_alpns: Vec<Cow<'a, str>>,
}

impl<'a> Tls<'a> {
    /// `seen`: what went by of a bypassed flow.
    fn new(event: &'a TlsEvent, seen: Option<&'a Passive>) -> Self {
        let hello = event.hello.as_ref();
        let certificate = event.certificate.as_deref().or(seen.and_then(|seen| seen.certificate.as_ref()));
        let server_leg = event.server_leg.as_ref().or(seen.map(|seen| &seen.leg));
        let text = |field: fn(&CertificateInfo) -> &str| certificate.map(field).and_then(present);
        let server_alpn = server_leg.and_then(|leg| leg.alpn.as_deref());
        Self {
            subject: text(|c| &c.subject),
            issuerdn: text(|c| &c.issuer),
            subjectaltname: certificate.map(|c| c.alt_names.as_slice()).filter(|names| !names.is_empty()),
            serial: text(|c| &c.serial),
            fingerprint: text(|c| &c.fingerprint),
            sni: hello.and_then(|h| h.sni.as_deref()).map(|name| &name[..name.floor_char_boundary(MAX_SNI)]),
            version: server_leg.or(event.client_leg.as_ref()).and_then(|leg| leg.version),
            notbefore: certificate.map(|c| Date(c.not_before)),
            notafter: certificate.map(|c| Date(c.not_after)),
            session_resumed: server_leg.is_some_and(|leg| leg.resumed),
            ja3: hello.and_then(Ja3::new),
            ja3s: seen.and_then(|seen| seen.ja3s.as_deref()).map(Ja3::of_string),
            ja4: hello.and_then(|h| present(&h.ja4)),
            client_alpns: hello.map_or_else(Vec::new, |h| h.alpn.iter().map(|name| alpn(name)).collect()),
            server_alpns: server_alpn.map(alpn).into_iter().collect(),
        }
    }
}

#[derive(Serialize)]
struct Ja3<'a> {
    hash: String,
    string: &'a str,
}

impl<'a> Ja3<'a> {
    fn new(hello: &'a HelloInfo) -> Option<Self> {
        present(&hello.ja3).map(Self::of_string)
    }

    fn of_string(string: &'a str) -> Self {
        Self { hash: hex(&Md5::digest(string)), string }
    }
}

fn present(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// ALPN names are bytes. Text stays text; anything else becomes `0x` and hex digits, so that no two names
/// look the same.
fn alpn(name: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(name) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(format!("0x{}", hex(name))),
    }
}

#[derive(Serialize)]
struct Link<'a> {
    #[serde(serialize_with = "rfc3339")]
    timestamp: Timestamp,
    in_iface: &'a str,
    event_type: &'static str,
    wireglass: OwnLink<'a>,
}

#[derive(Serialize)]
struct OwnLink<'a> {
    port: &'a str,
    side: &'static str,
    link: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    held: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed_mbps: Option<u32>,
    mtu: u16,
}

impl<'a> Link<'a> {
    fn new(timestamp: Timestamp, event: &'a LinkEvent) -> Self {
        let PortLink { port, wire, side, up, held, speed_mbps, mtu } = &event.0;
        let link = if *up { "up" } else { "down" };
        let (side, held, speed_mbps, mtu) = (side.name(), *held, *speed_mbps, *mtu);
        let wireglass = OwnLink { port, side, link, held, speed_mbps, mtu };
        Self { timestamp, in_iface: wire, event_type: "link", wireglass }
    }
}

#[derive(Serialize)]
struct Capture<'a> {
    #[serde(serialize_with = "rfc3339")]
    timestamp: Timestamp,
    event_type: &'static str,
    wireglass: OwnCapture<'a>,
}

#[derive(Serialize)]
struct OwnCapture<'a> {
    capture: &'static str,
    configuration: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keylog: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    profiles: &'a [String],
    minutes: u64,
}

impl<'a> Capture<'a> {
    fn new(timestamp: Timestamp, event: &'a CaptureEvent) -> Self {
        let CaptureEvent { step, configuration, folder, keylog, profiles, minutes } = event;
        let wireglass = OwnCapture {
            capture: step.name(),
            configuration,
            folder: folder.as_deref(),
            keylog: keylog.as_deref(),
            profiles,
            minutes: *minutes,
        };
        Self { timestamp, event_type: "capture", wireglass }
    }
}

#[derive(Serialize)]
struct Summary<'a> {
    #[serde(serialize_with = "rfc3339")]
    timestamp: Timestamp,
    event_type: &'static str,
    wireglass: OwnSummary<'a>,
}

#[derive(Serialize)]
struct OwnSummary<'a> {
    of: &'a str,
    reason: &'a str,
    network: String,
    count: u64,
}

impl<'a> Summary<'a> {
    fn new(event: &'a SummaryEvent) -> Self {
        let SummaryEvent { time, of, reason, network, count } = event;
        let wireglass = OwnSummary { of, reason, network: network.to_string(), count: *count };
        Self { timestamp: *time, event_type: "summary", wireglass }
    }
}

#[derive(Serialize)]
struct Flow {
    pkts_toserver: u64,
    pkts_toclient: u64,
    bytes_toserver: u64,
    bytes_toclient: u64,
    #[serde(serialize_with = "rfc3339")]
    start: Timestamp,
    #[serde(serialize_with = "rfc3339")]
    end: Timestamp,
    /// Seconds.
    age: u64,
    state: &'static str,
    reason: &'static str,
}

impl Flow {
    fn new(event: &FlowEvent) -> Self {
        Self {
            pkts_toserver: event.to_server.packets,
            pkts_toclient: event.to_client.packets,
            bytes_toserver: event.to_server.bytes,
            bytes_toclient: event.to_client.bytes,
            start: event.start,
            end: event.end,
            age: event.end.0.saturating_sub(event.start.0) / 1_000_000,
            state: flow_state(event),
            reason: flow_reason(event.reason),
        }
    }
}

/// Suricata's four states, as near as ours come to them.
fn flow_state(event: &FlowEvent) -> &'static str {
    match (event.phase, event.reason) {
        (FlowPhase::Bypassed, _) => "bypassed",
        (_, Reason::Closed | Reason::ClientReset | Reason::ServerReset) => "closed",
        (FlowPhase::Opening, _) => "new",
        (FlowPhase::Blocked, _) => "closed",
        _ => "established",
    }
}

/// Why Suricata would say that it let go of the flow; our own reason is under `wireglass`.
fn flow_reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Shutdown => "shutdown",
        Reason::ResourceFlows
        | Reason::ResourceClientFlows
        | Reason::ResourceIdle
        | Reason::ResourceMemory
        | Reason::OperatorKilled => "forced",
        _ => "timeout",
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Own<'a> {
    Tls(Box<OwnTls<'a>>),
    Flow(OwnFlow<'a>),
    Http(OwnHttp<'a>),
    Anomaly(OwnAnomaly),
    Alert(OwnAlert<'a>),
}

/// Suricata's `anomaly`, of its types `applayer` and `stream`.
#[derive(Serialize)]
struct AnomalyFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    app_proto: Option<&'static str>,
    #[serde(rename = "type")]
    kind: &'static str,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<&'static str>,
}

impl AnomalyFields {
    fn new(event: &AnomalyEvent) -> Self {
        Self {
            app_proto: Some(event.app_proto),
            kind: "applayer",
            event: event.what.code(),
            layer: Some("proto_parser"),
        }
    }

    fn of_path(what: PathOddity) -> Self {
        Self { app_proto: None, kind: "stream", event: what.code(), layer: None }
    }
}

#[derive(Serialize)]
struct OwnAnomaly {
    direction: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
}

impl OwnAnomaly {
    fn new(event: &AnomalyEvent) -> Self {
        Self { direction: direction(event.from), offset: Some(event.offset) }
    }
}

#[derive(Serialize)]
struct OwnTls<'a> {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a str>,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Finding<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_leg: Option<Leg<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_leg: Option<Leg<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_unread: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minted_serial: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minted_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_certificate: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ech: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    learned: Option<&'static str>,
}

impl<'a> OwnTls<'a> {
    fn new(event: &'a TlsEvent, seen: Option<&'a Passive>) -> Self {
        // A verdict is about a certificate; without one there is none, unless it could not even be read.
        let verdict = match (event.defect, &event.certificate) {
            (Some(defect), _) => Some(defect.code()),
            (None, Some(_)) => Some("ok"),
            (None, None) => None,
        };
        let revocation = event.certificate.as_ref().and_then(|certificate| certificate.revocation);
        Self {
            action: event.action.name(),
            rule: event.rule.as_deref(),
            profile: event.profile.as_deref(),
            reason: event.reason.code(),
            alert: event.alert,
            verdict,
            findings: event.certificate.iter().flat_map(|c| &c.findings).map(Finding::new).collect(),
            root: event.certificate.as_ref().and_then(|c| c.root.as_deref()),
            revocation: revocation.map(Revocation::name),
            revocation_source: revocation.and_then(Revocation::source).map(RevocationSource::name),
            verified_by: event.certificate.as_ref().and_then(|c| c.verified_by.as_deref()),
            client_leg: event.client_leg.as_ref().map(Leg::new),
            server_leg: event.server_leg.as_ref().or(seen.map(|seen| &seen.leg)).map(Leg::new),
            server_unread: seen.and_then(|seen| seen.unread),
            minted_serial: event.minted_serial.as_deref(),
            minted_by: event.minted_by.map(MintedBy::name),
            client_certificate: (event.certificate_asked
                || seen.is_some_and(|seen| seen.asks_for_certificate))
            .then_some("asked"),
            ech: event.hello.as_ref().filter(|hello| hello.ech).map(|_| match event.reason {
                Reason::ClientEch | Reason::ExcludedEch | Reason::EchBlocked => "real",
                _ => "offered",
            }),
            learned: event.learned.map(Cause::name),
        }
    }
}

/// One thing that is wrong with a server's chain, for events and for `wireglass verify --json`.
#[derive(Serialize)]
pub(crate) struct Finding<'a> {
    reason: &'static str,
    certificate: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    found: &'a str,
}

impl<'a> Finding<'a> {
    pub(crate) fn new(finding: &'a ChainFinding) -> Self {
        Self {
            reason: finding.reason.code(),
            certificate: finding.certificate,
            subject: finding.subject.as_deref(),
            found: &finding.found,
        }
    }
}

#[derive(Serialize)]
struct Leg<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cipher: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alpn: Option<Cow<'a, str>>,
    resumed: bool,
}

impl<'a> Leg<'a> {
    fn new(leg: &'a LegInfo) -> Self {
        Self {
            version: leg.version,
            cipher: leg.cipher,
            group: leg.group,
            alpn: leg.alpn.as_deref().map(alpn),
            resumed: leg.resumed,
        }
    }
}

#[derive(Serialize)]
struct OwnFlow<'a> {
    phase: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    reason: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    midstream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_off: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unread_toserver: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unread_toclient: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    learned: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mirror: Vec<&'a str>,
}

impl<'a> OwnFlow<'a> {
    fn new(event: &'a FlowEvent) -> Self {
        let Unread { off, to_server, to_client } = event.unread.unwrap_or_default();
        Self {
            phase: event.phase.name(),
            action: event.action.map(Action::name),
            reason: event.reason.code(),
            midstream: event.midstream,
            order: event.ordered.map(Order::name),
            http_off: off.map(InspectorOff::code),
            unread_toserver: Some(to_server).filter(|&bytes| bytes > 0),
            unread_toclient: Some(to_client).filter(|&bytes| bytes > 0),
            learned: event.learned.map(Cause::name),
            mirror: event.mirrors.iter().map(|name| &**name).collect(),
        }
    }
}
