//! The classifier beside a parser that is as lenient as a host: what that one takes for a TCP segment, the engine sees as one
//! between the same ports, or holds it as a fragment, or drops it. It must never be something that goes by uninspected.

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};
use wireglass_core::packet::{Class, PassAction, classify};

/// What both made of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// It is no TCP for the host, whatever it is for the engine.
    NoTcp,
    /// Both see a segment between the same ports.
    Same,
    /// The engine drops it, or puts it together with other fragments first.
    Kept,
}

pub fn run(frame: &[u8]) {
    compare(frame);
}

pub fn compare(frame: &[u8]) -> Agreement {
    let Some(ports) = tcp_ports(frame) else { return Agreement::NoTcp };
    match classify(frame) {
        Class::Tcp(headers) => {
            assert_eq!(
                (headers.source.port(), headers.destination.port()),
                ports,
                "other ports than a host's"
            );
            Agreement::Same
        }
        Class::Fragment(_) | Class::Bad(_) => Agreement::Kept,
        Class::Uninspected(class) if class.default_action() == PassAction::Drop => Agreement::Kept,
        other => panic!("TCP between {ports:?} for a host goes by as {other:?}"),
    }
}

/// The ports of a frame that a host could take for TCP: it takes off tags in any number (Linux those with VLAN id 0, and others if it
/// has VLANs of these ids), and does not care for lengths that do not fit.
fn tcp_ports(frame: &[u8]) -> Option<(u16, u16)> {
    let mut at = 12;
    let ethertype = loop {
        let ethertype = u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?);
        at += 2;
        if !matches!(ethertype, 0x8100 | 0x88a8) {
            break ethertype;
        }
        at += 2;
    };
    if !matches!(ethertype, 0x0800 | 0x86dd) {
        return None;
    }
    let packet = LaxSlicedPacket::from_ether_type(EtherType(ethertype), frame.get(at..)?);
    // AH over IPv4 is taken by nobody who has not agreed on keys: class `ipsec`.
    if let Some(LaxNetSlice::Ipv4(ip)) = &packet.net
        && ip.header().protocol().0 == 51
    {
        return None;
    }
    match packet.transport? {
        TransportSlice::Tcp(tcp) => Some((tcp.source_port(), tcp.destination_port())),
        _ => None,
    }
}
