//! `[mirror.NAME]`: what is shown to others, at which port.

use std::collections::BTreeSet;

use wireglass_core::mirror::{MAX_MIRRORS, Mirror, When};

use super::ports::{MAX_MTU, Wire, is_port, plain_name};
use super::{Dpdk, Profiles};
use crate::config::reader::{Table, Value};
use crate::interfaces::KernelPort;

const WHENS: &[(&str, When)] = &[("seen", When::Seen), ("forwarded", When::Forwarded)];
/// What every link carries (RFC 8200 5).
const MIN_MTU: u16 = 1280;
const DEFAULT_MTU: u16 = 1500;

/// `[mirror.NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorPort {
    /// The port: a DPDK device name or PCI address.
    pub port: String,
    /// The interface of the kernel that was named, if one was. Its device is made for it.
    pub kernel_port: Option<KernelPort>,
    /// What goes there.
    pub mirror: Mirror,
}

impl MirrorPort {
    /// All mirrors, by name. Those with faults are left out.
    pub(in crate::config) fn read_all(
        document: &Table<'_>,
        dpdk: &Dpdk,
        wires: &[Wire],
        profiles: &Profiles,
    ) -> Vec<Self> {
        let table = document.table("mirror");
        let tables = table.named_tables();
        if tables.len() > MAX_MIRRORS {
            table.say(format!("expected at most {MAX_MIRRORS} mirrors, found {}", tables.len()));
        }
        let kernel = wires.iter().flat_map(|wire| &wire.kernel_ports).map(interface_name);
        let of_wires = wires.iter().flat_map(|wire| [&wire.inside, &wire.outside]);
        let mut taken: BTreeSet<String> = of_wires.map(|port| plain_name(port)).chain(kernel).collect();
        let read = |(name, table)| Self::read(name, table, dpdk, profiles, &mut taken);
        tables.into_iter().filter_map(read).collect()
    }

    fn read(
        name: &str,
        table: Table<'_>,
        dpdk: &Dpdk,
        profiles: &Profiles,
        taken: &mut BTreeSet<String>,
    ) -> Option<Self> {
        let port = table.required(
            "port",
            "the port to send to: `xdp:INTERFACE`, `af_packet:INTERFACE`, a PCI address or a DPDK device name",
        );
        let port = port.and_then(|value| {
            let port = value.text()?;
            let kernel_port = KernelPort::parse(port);
            if kernel_port.is_none() && !is_port(port, dpdk, &value) {
                return None;
            }
            let known_as = kernel_port.as_ref().map_or_else(|| plain_name(port), interface_name);
            if !taken.insert(known_as) {
                value.expected("a port that no wire and no other mirror has");
                return None;
            }
            let device = kernel_port.as_ref().map_or_else(|| port.to_owned(), KernelPort::device);
            Some((device, kernel_port))
        });
        let mac = |key| table.value(key, "none").and_then(|value| mac(&value));
        let mirror = Mirror {
            when: table.choice("when", WHENS, When::Seen),
            destination_mac: mac("destination_mac"),
            source_mac: mac("source_mac"),
            vlan: table.value("vlan", "none").and_then(|value| value.integer(1..=4094)),
            ports: table.value("ports", "none").map(|value| ports(&value)).unwrap_or_default(),
            profiles: table
                .any_of("profile", |value| profiles.named_by(Some(&value)).map(|found| found.name.clone())),
            bypassed: table.boolean("bypassed", false),
            mtu: table.integer("mtu", MIN_MTU..=MAX_MTU, DEFAULT_MTU),
            ..Mirror::new(name)
        };
        table.finish();
        let (port, kernel_port) = port?;
        Some(Self { port, kernel_port, mirror })
    }
}

/// One interface is one port, whatever its frames go through.
fn interface_name(port: &KernelPort) -> String {
    format!("{}:", port.interface)
}

fn mac(value: &Value<'_>) -> Option<[u8; 6]> {
    let text = value.text()?;
    let byte = |word: &str| (word.len() == 2).then(|| u8::from_str_radix(word, 16).ok())?;
    let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
    let mac = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
    if mac.is_none() {
        value.expected("a MAC address (`02:00:00:00:00:99`)");
    }
    mac
}

/// `{ 443 = 80 }`
fn ports(value: &Value<'_>) -> Vec<(u16, u16)> {
    let Some(table) = value.table() else { return Vec::new() };
    let read = |(name, value): (&str, Value<'_>)| {
        let Ok(server @ 1..) = name.parse::<u16>() else {
            value.expected("ports on both sides (`{ 443 = 80 }`)");
            return None;
        };
        Some((server, value.integer(1..=u16::MAX)?))
    };
    table.named_values().into_iter().filter_map(read).collect()
}
