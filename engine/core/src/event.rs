//! What the engine knows of flows, handshakes and frames, in plain structs: filled without formatting, told to the log.

mod file;
mod http;
mod size;
mod spare;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::capture::CaptureEvent;
use crate::content::Hit;
use crate::end::{End, PerEnd};
use crate::exclusions::Cause;
use crate::order::Order;
use crate::packet::{FrameInfo, PassAction, Uninspected};
use crate::phase::FlowPhase;
use crate::port::PortSide;
use crate::reason::{HttpOddity, InspectorOff, PacketDrop, Reason};
use crate::starttls::Protocol;
use crate::tls::{ServerFacts, ServerUnread};

pub use file::FileEvent;
pub use http::{Ambiguities, ContentVerdict, HttpEvent, Text};
pub(crate) use spare::text;
pub use worker::{FailureOutcome, WorkerEvent, WorkerFailure};

/// Microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

/// What every event of a flow starts with.
#[derive(Clone, Debug)]
pub struct FlowHead {
    /// When it happened.
    pub time: Timestamp,
    /// The same number in all events of one flow; never reused within a run.
    pub flow_id: u64,
    /// Name of the wire.
    pub wire: Arc<str>,
    /// VLAN ids, outermost first.
    pub vlan: [Option<u16>; 2],
    /// The end that sent the SYN.
    pub client: SocketAddr,
    /// The other end.
    pub server: SocketAddr,
    /// What it speaks before it goes over to TLS in place, by its port; none: TLS from the start.
    pub starttls: Option<Protocol>,
}

/// What the engine did with a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Terminated and re-encrypted.
    Decrypt,
    /// Left as it was.
    Bypass,
    /// Ended.
    Block,
}

impl Action {
    /// As configurations and events have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decrypt => "decrypt",
            Self::Bypass => "bypass",
            Self::Block => "block",
        }
    }
}

/// One leg's TLS parameters after its handshake. Names as Suricata and IANA write them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegInfo {
    /// `TLS 1.2` or `TLS 1.3`.
    pub version: Option<&'static str>,
    /// IANA name of the cipher suite.
    pub cipher: Option<&'static str>,
    /// IANA name of the key exchange group.
    pub group: Option<&'static str>,
    /// Application protocol.
    pub alpn: Option<Box<[u8]>>,
    /// The session was resumed.
    pub resumed: bool,
}

/// What the log says of the server's own leaf certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Subject, RFC 4514 style as Suricata prints it (`CN=example.com, O=Example`).
    pub subject: String,
    /// Issuer, likewise.
    pub issuer: String,
    /// Serial number, upper-case hex pairs with colons.
    pub serial: String,
    /// SHA-1 of the DER, lower-case hex pairs with colons.
    pub fingerprint: String,
    /// `notBefore`, seconds since the Unix epoch.
    pub not_before: i64,
    /// `notAfter`, likewise.
    pub not_after: i64,
    /// DNS names and addresses of the subjectAltName.
    pub alt_names: Vec<String>,
    /// All that is wrong with it and its chain; at most 16.
    pub findings: Vec<ChainFinding>,
    /// Subject of the trusted root that its chain leads to.
    pub root: Option<String>,
    /// What is known of its revocation. None: its chain leads to no root, or it is trusted for itself.
    pub revocation: Option<Revocation>,
    /// The engine of the fleet that has verified it; none: this one.
    pub verified_by: Option<Arc<str>>,
}

/// What is known of a certificate's revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// This says that it is not revoked.
    Good(RevocationSource),
    /// This says that it, or a CA above it, is revoked.
    Revoked(RevocationSource),
    /// Nothing that is at hand says anything; why, in words.
    Unknown(&'static str),
}

impl Revocation {
    /// As the log has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good(_) => "good",
            Self::Revoked(_) => "revoked",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Who says so.
    pub const fn source(self) -> Option<RevocationSource> {
        match self {
            Self::Good(source) | Self::Revoked(source) => Some(source),
            Self::Unknown(_) => None,
        }
    }
}

/// What says whether a certificate is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationSource {
    /// The OCSP response that the server sent with it.
    Staple,
    /// A list of its issuer's.
    Crl,
    /// An OCSP response that was fetched.
    Ocsp,
}

impl RevocationSource {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Staple, Self::Crl, Self::Ocsp];

    /// As the log has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Staple => "staple",
            Self::Crl => "crl",
            Self::Ocsp => "ocsp",
        }
    }

    pub(crate) const fn in_words(self) -> &'static str {
        match self {
            Self::Staple => "the OCSP response that the server sent",
            Self::Crl => "a CRL of its issuer",
            Self::Ocsp => "an OCSP response that was fetched",
        }
    }
}

/// One thing that is wrong with a server's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainFinding {
    /// Under what it is known.
    pub reason: Reason,
    /// Which certificate: 0 is the server's own, 1 its issuer's, and so on, up to the root.
    pub certificate: u8,
    /// Subject of that certificate, at most 128 bytes of printable text.
    pub subject: Option<String>,
    /// What was found.
    pub found: String,
}

impl ChainFinding {
    fn text_bytes(&self) -> usize {
        self.subject.as_ref().map_or(0, String::capacity) + self.found.capacity() + size_of::<Self>()
    }
}

impl CertificateInfo {
    /// Bytes of its texts.
    pub(crate) fn text_bytes(&self) -> usize {
        let Self {
            subject,
            issuer,
            serial,
            fingerprint,
            not_before: _,
            not_after: _,
            alt_names,
            findings,
            revocation: _,
            root,
            // Of what has vouched for it.
            verified_by: _,
        } = self;
        let names: usize = alt_names.iter().map(|name| name.capacity() + size_of::<String>()).sum();
        let findings: usize = findings.iter().map(ChainFinding::text_bytes).sum();
        let root = root.as_ref().map_or(0, String::capacity);
        let texts = [subject, issuer, serial, fingerprint].map(String::capacity);
        texts.iter().sum::<usize>() + names + findings + root
    }
}

/// What is known of a ClientHello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelloInfo {
    /// Server name indication.
    pub sni: Option<String>,
    /// Offered application protocols.
    pub alpn: Vec<Box<[u8]>>,
    /// JA3 string (its MD5 is computed by the writer).
    pub ja3: String,
    /// JA4 fingerprint.
    pub ja4: String,
    /// Digest of versions, suites, groups and signature schemes, whatever their order.
    pub offer: [u8; 8],
    /// ECH is offered, real or GREASE; then the name above is the outer one.
    pub ech: bool,
}

impl HelloInfo {
    /// Bytes of its texts.
    pub(crate) fn text_bytes(&self) -> usize {
        let Self { sni, alpn, ja3, ja4, offer: _, ech: _ } = self;
        let protocols: usize = alpn.iter().map(|name| name.len() + size_of::<Box<[u8]>>()).sum();
        sni.as_ref().map_or(0, String::capacity) + protocols + ja3.capacity() + ja4.capacity()
    }
}

/// Which CA signed a minted leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MintedBy {
    /// The CA that the clients trust.
    Trusted,
    /// The CA that nobody trusts, so that browsers warn.
    Untrusted,
}

impl MintedBy {
    /// As events and metrics have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Untrusted => "untrusted",
        }
    }
}

/// A server's first flight, as it went by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSeen {
    /// What it says. Of the chain, the server's own certificate alone.
    pub facts: ServerFacts,
    /// Why it was not read to its end.
    pub unread: Option<ServerUnread>,
}

/// One ClientHello and what became of it.
#[derive(Clone, Debug)]
pub struct TlsEvent {
    /// What was done.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// TLS alert number behind the reason, where there was one.
    pub alert: Option<u8>,
    /// Name of the rule that matched; none: the default.
    pub rule: Option<Arc<str>>,
    /// Name of the profile of a decrypted flow.
    pub profile: Option<Arc<str>>,
    /// From the ClientHello; absent when there was none.
    pub hello: Option<HelloInfo>,
    /// Leg to the client.
    pub client_leg: Option<LegInfo>,
    /// Leg to the server.
    pub server_leg: Option<LegInfo>,
    /// The server's certificate, when one was seen.
    pub certificate: Option<Arc<CertificateInfo>>,
    /// Of a bypassed flow: what its server has said in plain. Nothing of it was verified.
    pub server: Option<Box<ServerSeen>>,
    /// Verdict over it: none is "ok", when `certificate` is present.
    pub defect: Option<Reason>,
    /// Serial of the minted leaf, as hex pairs with colons.
    pub minted_serial: Option<Arc<str>>,
    /// Who signed it.
    pub minted_by: Option<MintedBy>,
    /// The server asked for a client certificate.
    pub certificate_asked: bool,
    /// Why its server is known from now on as one that cannot be decrypted.
    pub learned: Option<Cause>,
}

/// Something that a rule on content names, or that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertEvent {
    /// The rule that matched; none: the reason says it.
    pub rule: Option<Arc<str>>,
    /// Why.
    pub reason: Reason,
    /// It did not pass.
    pub blocked: bool,
    /// Whose message it is about.
    pub from: End,
    /// Its stream of HTTP/2; 0 in HTTP/1.
    pub stream: u32,
    /// Some of the message had gone on before.
    pub late: bool,
    /// What was found in it.
    pub found: Option<Hit>,
    /// The transaction as far as it has come.
    pub http: HttpEvent,
}

impl AlertEvent {
    /// What the block page shows, so that whoever is asked finds the event: flow and transaction.
    pub fn id(&self, flow_id: u64) -> String {
        Self::id_of(flow_id, self.http.tx_id)
    }

    /// Of this flow and transaction.
    pub fn id_of(flow_id: u64, tx_id: u64) -> String {
        format!("{flow_id}-{tx_id}")
    }
}

/// Something about a flow's plaintext that was not read, or may be read in two ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnomalyEvent {
    /// `http` or `http2`, as Suricata has it.
    pub app_proto: &'static str,
    /// What.
    pub what: Anomaly,
    /// The transaction, if it is about one.
    pub tx_id: Option<u64>,
    /// Whose bytes.
    pub from: End,
    /// Where in that end's plaintext.
    pub offset: u64,
}

/// What an [`AnomalyEvent`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// The reader has turned itself off.
    Off(InspectorOff),
    /// It goes on.
    Odd(HttpOddity),
}

impl Anomaly {
    /// As logs have it.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Off(reason) => reason.code(),
            Self::Odd(oddity) => oddity.code(),
        }
    }
}

/// Packets and bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Frames received.
    pub packets: u64,
    /// Bytes of those frames.
    pub bytes: u64,
}

/// How a flow ended.
#[derive(Clone, Debug)]
pub struct FlowEvent {
    /// First packet.
    pub start: Timestamp,
    /// Last packet.
    pub end: Timestamp,
    /// Client to server.
    pub to_server: Volume,
    /// Server to client.
    pub to_client: Volume,
    /// Control bits of all segments that each end has sent, as in a TCP header.
    pub flags: PerEnd<u8>,
    /// A ClientHello was read.
    pub is_tls: bool,
    /// What was done with it; none: it ended before that was decided.
    pub action: Option<Action>,
    /// Phase it ended in.
    pub phase: FlowPhase,
    /// Why it ended.
    pub reason: Reason,
    /// Its beginning, or one direction of it, was not seen.
    pub midstream: bool,
    /// It was bypassed as an operator has ordered so.
    pub ordered: Option<Order>,
    /// What its HTTP reader has left unread; none: it had no reader.
    pub unread: Option<Unread>,
    /// Why its server is known from now on as one that cannot be decrypted.
    pub learned: Option<Cause>,
    /// Names of the mirrors that it was shown at.
    pub mirrors: Box<[Arc<str>]>,
}

/// What an HTTP reader has not read of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Why it turned itself off; none: it read to the end.
    pub off: Option<InspectorOff>,
    /// Plaintext of the client, in bytes.
    pub to_server: u64,
    /// Plaintext of the server.
    pub to_client: u64,
}

/// A frame that belongs to no flow, and what became of it and of others like it.
#[derive(Clone, Debug)]
pub struct FrameEvent {
    /// When.
    pub time: Timestamp,
    /// Name of the wire.
    pub wire: Arc<str>,
    /// The port that it came in, as `PortId` has it.
    pub side: PortSide,
    /// Its Ethernet header, VLANs and addresses.
    pub frame: FrameInfo,
    /// Length in bytes.
    pub len: u32,
    /// What became of it.
    pub fate: Fate,
    /// Its class; none: a TCP segment of an intercepted port.
    pub class: Option<Uninspected>,
    /// The rule that decided.
    pub rule: Option<Arc<str>>,
    /// The hello of QUIC that it was asked about.
    pub hello: Option<Box<HelloInfo>>,
    /// Frames of the class, on this wire, that came to the same since the last such event. This one included.
    pub frames: u64,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It went on as it came.
    Forwarded,
    /// It was dropped, for this reason.
    Dropped(PacketDrop),
}

impl Fate {
    /// In the word of `[passthrough]`.
    pub const fn action(self) -> PassAction {
        match self {
            Self::Forwarded => PassAction::Forward,
            Self::Dropped(_) => PassAction::Drop,
        }
    }
}

/// Events that were not written one by one, because there were too many of them in a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryEvent {
    /// The end of the second.
    pub time: Timestamp,
    /// The `event_type` that they would have had.
    pub of: &'static str,
    /// The reason that they would have named.
    pub reason: &'static str,
    /// Where they came from; a prefix of length 0: from more networks than are told apart.
    pub network: IpNet,
    /// How many they are.
    pub count: u64,
}

/// A port and its link at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortLink {
    /// The device, as DPDK names it.
    pub port: String,
    /// The wire that it belongs to.
    pub wire: Arc<str>,
    /// Which end of the wire: the client's is the inside.
    pub side: PortSide,
    /// There is a link.
    pub up: bool,
    /// The engine has taken it down, as the wire's other port has none.
    pub held: bool,
    /// Mbit/s; none: unknown.
    pub speed_mbps: Option<u32>,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
}

/// A port and its link.
#[derive(Clone, Debug)]
pub struct LinkEvent(pub PortLink);

/// One line of the log to be.
#[derive(Clone, Debug)]
pub enum Event {
    /// A TLS handshake's outcome.
    Tls(FlowHead, Box<TlsEvent>),
    /// An HTTP transaction.
    Http(FlowHead, Box<HttpEvent>),
    /// Something that a rule on content names, or that could not be read.
    Alert(FlowHead, Box<AlertEvent>),
    /// A body that rules had looked at.
    File(FlowHead, Box<FileEvent>),
    /// The end of a flow.
    Flow(FlowHead, Box<FlowEvent>),
    /// A port's link, at the start and when it changes.
    Link(Timestamp, Box<LinkEvent>),
    /// A frame of no flow.
    Frame(Box<FrameEvent>),
    /// Events that are only counted.
    Summary(Box<SummaryEvent>),
    /// Plaintext that was not read, or may be read in two ways.
    Anomaly(FlowHead, Box<AnomalyEvent>),
    /// Only this end of a connection is seen ([`PathOddity::Asymmetric`](crate::reason::PathOddity::Asymmetric)).
    Asymmetric(FlowHead, End),
    /// Decrypted flows are captured, or no more.
    Capture(Timestamp, Box<CaptureEvent>),
    /// A worker has failed.
    Worker(Timestamp, WorkerEvent),
}

/// The kinds of events that come over the ring, as counted when the ring is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// A TLS handshake's outcome.
    Tls,
    /// An HTTP transaction.
    Http,
    /// The end of a flow.
    Flow,
    /// A port's link.
    Link,
    /// A frame that was dropped.
    Drop,
    /// A frame that went on uninspected.
    Passthrough,
    /// Events that are only counted.
    Summary,
    /// Something odd in a flow's plaintext, or about its way.
    Anomaly,
    /// Something that a rule on content names.
    Alert,
    /// Decrypted flows are captured, or no more.
    Capture,
    /// A body that rules had looked at.
    FileInfo,
    /// A worker has failed.
    Worker,
}

impl EventKind {
    /// All of them, in declaration order.
    pub const ALL: &'static [Self] = &[
        Self::Tls,
        Self::Http,
        Self::Flow,
        Self::Link,
        Self::Drop,
        Self::Passthrough,
        Self::Summary,
        Self::Anomaly,
        Self::Alert,
        Self::Capture,
        Self::FileInfo,
        Self::Worker,
    ];

    /// The `event_type` of the log line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Flow => "flow",
            Self::Link => "link",
            Self::Drop => "drop",
            Self::Passthrough => "passthrough",
            Self::Summary => "summary",
            Self::Anomaly => "anomaly",
            Self::Alert => "alert",
            Self::Capture => "capture",
            Self::FileInfo => "fileinfo",
            Self::Worker => "worker",
        }
    }
}

impl Event {
    /// Which kind this is.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Tls(..) => EventKind::Tls,
            Self::Http(..) => EventKind::Http,
            Self::Flow(..) => EventKind::Flow,
            Self::Link(..) => EventKind::Link,
            Self::Frame(event) => match event.fate.action() {
                PassAction::Drop => EventKind::Drop,
                PassAction::Forward => EventKind::Passthrough,
            },
            Self::Summary(_) => EventKind::Summary,
            Self::Anomaly(..) | Self::Asymmetric(..) => EventKind::Anomaly,
            Self::Alert(..) => EventKind::Alert,
            Self::Capture(..) => EventKind::Capture,
            Self::File(..) => EventKind::FileInfo,
            Self::Worker(..) => EventKind::Worker,
        }
    }
}
