//! Frames, before anything is known of their flow.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smoltcp::wire::{IpAddress, Ipv4Packet, TcpPacket};
use wireglass_core::flow_table::{Class as Eviction, FlowTable};
use wireglass_core::packet::{Class, FlowKey, Headers, KeyHasher, classify};

use crate::counted;

/// Payload of a full segment with timestamps, MTU 1500.
pub(super) const PAYLOAD: usize = 1448;
const ROUNDS: usize = 1000;
const FLOWS: u32 = 10_000;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Ports of the client and of the server.
pub(super) const PORTS: (u16, u16) = (40_000, 443);

/// A frame from the client to the server: a full segment with timestamps, all sums right.
pub(super) fn frame_ipv4(seq: u32) -> Vec<u8> {
    let mut frame = ethernet(&[0x08, 0x00]);
    let total = (20 + 32 + PAYLOAD) as u16;
    let mut ip = [0; 20];
    ip[..10].copy_from_slice(&[0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6]);
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    ip[12..16].copy_from_slice(&CLIENT.octets());
    ip[16..].copy_from_slice(&SERVER.octets());
    Ipv4Packet::new_unchecked(&mut ip).fill_checksum();
    frame.extend(ip);
    frame.extend(segment(seq, IpAddr::V4(CLIENT), IpAddr::V4(SERVER)));
    frame
}

fn frame_ipv6_vlan() -> Vec<u8> {
    let (client, server) =
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));
    let mut frame = ethernet(&[0x81, 0x00, 0, 7, 0x86, 0xdd]);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(((32 + PAYLOAD) as u16).to_be_bytes());
    frame.extend([6, 64]);
    frame.extend(client.octets());
    frame.extend(server.octets());
    frame.extend(segment(1, client.into(), server.into()));
    frame
}

fn ethernet(kind: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 2], &[2, 0, 0, 0, 0, 1], kind].concat()
}

fn segment(seq: u32, from: IpAddr, to: IpAddr) -> Vec<u8> {
    let mut bytes = vec![0x5a; 32 + PAYLOAD];
    let mut tcp = TcpPacket::new_unchecked(&mut bytes);
    tcp.set_src_port(PORTS.0);
    tcp.set_dst_port(PORTS.1);
    tcp.set_seq_number(smoltcp::wire::TcpSeqNumber(seq as i32));
    tcp.set_ack_number(smoltcp::wire::TcpSeqNumber(1));
    tcp.clear_flags();
    tcp.set_header_len(32);
    tcp.set_ack(true);
    tcp.set_window_len(1024);
    tcp.set_urgent_at(0);
    // Two NOPs, then timestamps (RFC 7323 appendix A).
    tcp.options_mut().copy_from_slice(&[1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 1]);
    tcp.fill_checksum(&IpAddress::from(from), &IpAddress::from(to));
    bytes
}

/// The headers of a frame that is TCP.
pub(super) fn headers(frame: &[u8]) -> Headers {
    match classify(frame) {
        Class::Tcp(headers) => headers,
        _ => unreachable!("a TCP segment was made"),
    }
}

fn classified(frame: &[u8]) -> usize {
    headers(frame);
    counted(|| (0..ROUNDS).filter(|_| matches!(classify(black_box(frame)), Class::Tcp(_))).count())
}

pub(super) fn headers_ipv4() -> usize {
    classified(&frame_ipv4(1))
}

pub(super) fn headers_ipv6_vlan() -> usize {
    classified(&frame_ipv6_vlan())
}

pub(super) fn checksums() -> usize {
    let frame = frame_ipv4(1);
    let headers = headers(&frame);
    counted(|| (0..ROUNDS).filter(|_| headers.verify_checksums(black_box(&frame)).is_ok()).count())
}

pub(super) fn flow_lookup() -> usize {
    let hasher = KeyHasher::new([7; 16]);
    let some = headers(&frame_ipv4(1));
    let of = |flow: u32| Headers {
        source: SocketAddr::new(
            Ipv4Addr::from_bits(CLIENT.to_bits() + flow / 50_000).into(),
            (flow % 50_000) as u16 + 1024,
        ),
        ..some
    };
    let mut table = FlowTable::new(2 * FLOWS);
    for flow in 0..FLOWS {
        let key = FlowKey::new(0, &of(flow));
        table.insert(hasher.hash(&key), key, Eviction::Decrypted, flow).expect("there is room");
    }
    // All over the table: a step that has no divisor in common with its size.
    let wanted: Vec<_> = (0..ROUNDS as u32).map(|n| of(n * 7919 % FLOWS)).collect();
    counted(|| {
        let found = wanted.iter().filter(|headers| {
            let key = FlowKey::new(0, headers);
            let found = table.find(hasher.hash(&key), &key);
            found.and_then(|id| table.get_mut(id)).is_some()
        });
        found.count()
    })
}
