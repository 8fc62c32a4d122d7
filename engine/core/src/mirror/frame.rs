//! The frames of a mirror: how one is written, marked, and turned into a RST.

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpAddress, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};
use tcp_stack::Seq;

use super::settings::Mirror;
use crate::packet::{Checksums, Sum, Template, reseal};
use crate::port::Frame;

/// Both MAC addresses.
const MACS: usize = 12;
/// A VLAN tag.
const TAG: usize = 4;
/// 802.1Q.
const TPID: [u8; 2] = [0x81, 0x00];
/// TCP header without options.
const TCP_HEADER: usize = 20;
/// Window of both ends, and its shift: 8 MiB, so that nobody takes what is not acknowledged yet for too much.
const WINDOW: u16 = u16::MAX;
const SCALE: u8 = 7;
/// RST and ACK, SYN: bits of the TCP header's byte 13 (RFC 9293 3.1).
const RST_ACK: u8 = 0x14;
const SYN: u8 = 0x02;

/// Where IP and TCP begin in a frame that was made for a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layers {
    l3: u8,
    l4: u8,
}

/// What a segment of a conversation says.
pub(super) struct Said<'a> {
    pub(super) ports: (u16, u16),
    pub(super) control: TcpControl,
    pub(super) seq: Seq,
    pub(super) ack: Option<Seq>,
    /// Of a SYN: the largest payload that its sender takes.
    pub(super) mss: Option<u16>,
    pub(super) payload: &'a [u8],
}

/// Writes a segment into an empty frame. None: it has no room for it.
pub(super) fn write<F: Frame>(
    frame: &mut F,
    mirror: &Mirror,
    template: &mut Template,
    said: &Said<'_>,
) -> Option<Layers> {
    let (src_port, dst_port) = said.ports;
    let repr = TcpRepr {
        src_port,
        dst_port,
        control: said.control,
        seq_number: TcpSeqNumber(said.seq.0 as i32),
        ack_number: said.ack.map(|ack| TcpSeqNumber(ack.0 as i32)),
        window_len: WINDOW,
        window_scale: said.mss.map(|_| SCALE),
        max_seg_size: said.mss,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let tag = tag_len(mirror);
    let l4 = tag + template.header_len();
    let head = l4 + repr.header_len();
    let len = head + said.payload.len();
    if !frame.set_len(len) {
        return None;
    }
    let bytes = frame.data_mut().get_mut(..len)?;
    // The checksum, for which it would want the addresses, is made below.
    let nowhere = IpAddress::v4(0, 0, 0, 0);
    let mut tcp = TcpPacket::new_unchecked(&mut bytes[l4..head]);
    repr.emit(&mut tcp, &nowhere, &nowhere, &ChecksumCapabilities::ignored());
    bytes[head..].copy_from_slice(said.payload);
    let mut sum = Sum::default();
    sum.add(said.payload);
    template.seal(&mut bytes[tag..head], said.payload.len(), 1, Checksums::Made(sum));
    mark(bytes, mirror);
    Some(Layers { l3: (tag + template.ethernet_len()) as u8, l4: l4 as u8 })
}

/// Copies a flow's frame into an empty one. False: there is no room for it.
pub(super) fn copy<F: Frame>(frame: &mut F, mirror: &Mirror, bytes: &[u8]) -> bool {
    let tag = tag_len(mirror);
    if bytes.len() < MACS || !frame.set_len(tag + bytes.len()) {
        return false;
    }
    let Some(to) = frame.data_mut().get_mut(..tag + bytes.len()) else { return false };
    to[tag..].copy_from_slice(bytes);
    mark(to, mirror);
    true
}

/// Turns a frame that [`write`] has written into a RST of its sender, in its place. False: it is the first of its conversation, so
/// nobody knows of it.
pub(super) fn turn_into_reset<F: Frame>(frame: &mut F, Layers { l3, l4 }: Layers) -> bool {
    let (l3, l4) = (usize::from(l3), usize::from(l4));
    if frame.data().get(l4 + 13).is_none_or(|flags| flags & (RST_ACK | SYN) == SYN) {
        return false;
    }
    let len = l4 + TCP_HEADER;
    if !frame.set_len(len) {
        return false;
    }
    let Some(bytes) = frame.data_mut().get_mut(..len) else { return false };
    bytes[l4 + 12] = (TCP_HEADER as u8 / 4) << 4;
    bytes[l4 + 13] = RST_ACK;
    reseal(&mut bytes[l3..], l4 - l3);
    true
}

fn tag_len(mirror: &Mirror) -> usize {
    if mirror.vlan.is_some() { TAG } else { 0 }
}

/// Puts the mirror's tag and addresses into a frame, whose own begins behind the room for the tag.
fn mark(frame: &mut [u8], mirror: &Mirror) {
    if let Some(vlan) = mirror.vlan {
        frame.copy_within(TAG..TAG + MACS, 0);
        frame[MACS..MACS + 2].copy_from_slice(&TPID);
        frame[MACS + 2..MACS + TAG].copy_from_slice(&vlan.to_be_bytes());
    }
    if let Some(mac) = mirror.destination_mac {
        frame[..6].copy_from_slice(&mac);
    }
    if let Some(mac) = mirror.source_mac {
        frame[6..MACS].copy_from_slice(&mac);
    }
}
