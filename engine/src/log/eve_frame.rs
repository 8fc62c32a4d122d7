//! The log lines of frames that belong to no flow: `drop`, by Suricata's name, and `passthrough`.

use std::net::{IpAddr, SocketAddr};

use serde::{Serialize, Serializer};
use wireglass_core::event::{EventKind, Fate, FrameEvent, Timestamp};

use super::community_id::community_id;

/// IANA protocol numbers that have ports here.
const TCP: u8 = 6;
const UDP: u8 = 17;

#[derive(Serialize)]
pub(super) struct Line<'a> {
    #[serde(serialize_with = "super::eve::rfc3339")]
    timestamp: Timestamp,
    in_iface: &'a str,
    event_type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vlan: Vec<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proto: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    community_id: Option<String>,
    ether: Ether,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_proto: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quic: Option<Quic<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drop: Option<Drop>,
    wireglass: Own<'a>,
}

#[derive(Serialize)]
struct Ether {
    src_mac: Mac,
    dest_mac: Mac,
}

#[derive(Serialize)]
struct Drop {
    len: u32,
    reason: &'static str,
}

/// The hello, as Suricata has it.
#[derive(Serialize)]
struct Quic<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<&'a str>,
    ja4: &'a str,
}

#[derive(Serialize)]
struct Own<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'static str>,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    side: &'static str,
    ether_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ech: Option<&'static str>,
    frames: u64,
}

/// Hexadecimal pairs with colons, as Suricata prints it.
struct Mac([u8; 6]);

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [a, b, c, d, e, f] = self.0;
        serializer.collect_str(&format_args!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"))
    }
}

impl<'a> Line<'a> {
    pub(super) fn new(kind: EventKind, event: &'a FrameEvent) -> Self {
        let FrameEvent { time, wire, side, frame, len, fate, class, rule, hello, frames } = event;
        let (source, destination) = frame.addresses.unzip();
        let (source_port, destination_port) = frame.ports.unzip();
        let ends = source.zip(source_port).zip(destination.zip(destination_port));
        Self {
            timestamp: *time,
            in_iface: wire,
            event_type: kind.name(),
            vlan: frame.vlan.iter().flatten().copied().collect(),
            src_ip: source,
            src_port: source_port,
            dest_ip: destination,
            dest_port: destination_port,
            proto: frame.protocol.map(protocol),
            community_id: ends.zip(frame.protocol).map(|((from, to), protocol)| {
                community_id(protocol, SocketAddr::from(from), SocketAddr::from(to))
            }),
            ether: Ether { src_mac: Mac(frame.source_mac), dest_mac: Mac(frame.destination_mac) },
            app_proto: hello.as_ref().map(|_| "quic"),
            quic: hello.as_ref().map(|hello| Quic { sni: hello.sni.as_deref(), ja4: &hello.ja4 }),
            drop: match fate {
                Fate::Dropped(reason) => Some(Drop { len: *len, reason: reason.code() }),
                Fate::Forwarded => None,
            },
            wireglass: Own {
                class: class.map(|class| class.name()),
                action: fate.action().name(),
                rule: rule.as_deref(),
                side: side.name(),
                ether_type: format!("0x{:04x}", frame.ethertype),
                // Nobody says of QUIC whether it was GREASE.
                ech: hello.as_ref().filter(|hello| hello.ech).map(|_| "offered"),
                frames: *frames,
            },
        }
    }
}

/// Suricata's names; it prints three digits of those that it has no name for.
fn protocol(number: u8) -> String {
    match number {
        1 => "ICMP".into(),
        TCP => "TCP".into(),
        UDP => "UDP".into(),
        47 => "GRE".into(),
        50 => "ESP".into(),
        58 => "IPv6-ICMP".into(),
        132 => "SCTP".into(),
        other => format!("{other:03}"),
    }
}
