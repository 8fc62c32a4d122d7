//! What an IDS makes of a mirror: frames in, connections with both streams out. Reads with smoltcp, and takes nothing on trust.
#![allow(dead_code)] // each test binary uses its own part

use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpAddress, Ipv4Packet, Ipv6Packet, TcpPacket, TcpSeqNumber,
};

/// VLAN tag behind the MAC addresses, its ids, and what it announces.
const TAGS: [u16; 2] = [0x8100, 0x88a8];

/// One frame.
pub(crate) struct Heard {
    pub(crate) macs: ([u8; 6], [u8; 6]),
    pub(crate) vlans: Vec<u16>,
    pub(crate) source: (IpAddress, u16),
    pub(crate) destination: (IpAddress, u16),
    pub(crate) seq: TcpSeqNumber,
    pub(crate) ack: Option<TcpSeqNumber>,
    /// In the order S, F, R, P.
    pub(crate) flags: String,
    pub(crate) window: u32,
    pub(crate) mss: Option<u16>,
    pub(crate) payload: Vec<u8>,
    /// Of the IP packet.
    pub(crate) len: usize,
}

/// Reads a frame; both checksums must be right.
#[track_caller]
pub(crate) fn hear(frame: &[u8]) -> Heard {
    let ethernet = EthernetFrame::new_checked(frame).unwrap();
    let macs = (ethernet.src_addr().0, ethernet.dst_addr().0);
    let (mut at, mut vlans) = (12, Vec::new());
    let be16 = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    while TAGS.contains(&be16(at)) {
        vlans.push(be16(at + 2) & 0xfff);
        at += 4;
    }
    let packet = &frame[at + 2..];
    let (source, destination, segment) = match EthernetProtocol::from(be16(at)) {
        EthernetProtocol::Ipv4 => {
            let ip = Ipv4Packet::new_checked(packet).unwrap();
            assert!(ip.verify_checksum(), "IPv4 checksum");
            assert_eq!(usize::from(ip.total_len()), packet.len());
            let (source, destination) = (ip.src_addr().into(), ip.dst_addr().into());
            (source, destination, ip.payload())
        }
        EthernetProtocol::Ipv6 => {
            let ip = Ipv6Packet::new_checked(packet).unwrap();
            assert_eq!(ip.total_len(), packet.len());
            let (source, destination) = (ip.src_addr().into(), ip.dst_addr().into());
            (source, destination, ip.payload())
        }
        other => panic!("{other}"),
    };
    let tcp = TcpPacket::new_checked(segment).unwrap();
    assert!(tcp.verify_checksum(&source, &destination), "TCP checksum");
    let mut mss = None;
    let mut options = tcp.options();
    while let Ok((rest, option)) = smoltcp::wire::TcpOption::parse(options) {
        if let smoltcp::wire::TcpOption::MaxSegmentSize(size) = option {
            mss = Some(size);
        }
        options = rest;
        if options.is_empty() {
            break;
        }
    }
    let flags = [(tcp.syn(), 'S'), (tcp.fin(), 'F'), (tcp.rst(), 'R'), (tcp.psh(), 'P')];
    Heard {
        macs,
        vlans,
        source: (source, tcp.src_port()),
        destination: (destination, tcp.dst_port()),
        seq: tcp.seq_number(),
        ack: tcp.ack().then(|| tcp.ack_number()),
        flags: flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag).collect(),
        window: tcp.window_len().into(),
        mss,
        payload: tcp.payload().to_vec(),
        len: packet.len(),
    }
}

/// One connection, whose segments all came in order, once, and acknowledged as an IDS wants it.
#[derive(Default)]
pub(crate) struct Heeded {
    /// The client's stream, the server's.
    pub(crate) streams: [Vec<u8>; 2],
    /// Who sent a FIN, in order: 0 is the client.
    pub(crate) fins: Vec<usize>,
    /// Who sent a RST.
    pub(crate) reset: Option<usize>,
    /// ISNs.
    pub(crate) isns: [u32; 2],
    next: [TcpSeqNumber; 2],
    acknowledged: [TcpSeqNumber; 2],
    unacknowledged: [usize; 2],
    client: Option<(IpAddress, u16)>,
    segments: usize,
}

impl Heeded {
    /// Takes the next frame of the connection.
    #[track_caller]
    pub(crate) fn heed(&mut self, heard: &Heard) {
        assert_eq!(self.reset, None, "something after a RST");
        let client = *self.client.get_or_insert(heard.source);
        let from = usize::from(heard.source != client);
        assert_eq!(if from == 0 { heard.source } else { heard.destination }, client);
        let n = self.segments;
        self.segments += 1;
        if n < 2 {
            assert_eq!((from, heard.flags.as_str(), heard.payload.len()), (n, "S", 0), "a handshake first");
            assert!(heard.mss.is_some());
            assert_eq!(heard.ack, (n == 1).then(|| self.next[0]));
            self.isns[from] = heard.seq.0 as u32;
            self.next[from] = heard.seq + 1;
            self.acknowledged[from] = heard.seq + 1;
            return;
        }
        assert!(n > 2 || (from == 0 && heard.payload.is_empty() && heard.flags.is_empty()), "then an ACK");
        let to = 1 - from;
        assert_eq!(heard.seq, self.next[from], "a gap, or again");
        assert_eq!(heard.ack, Some(self.next[to]), "acknowledges what was said, all of it");
        let is_news = n == 2 || self.acknowledged[to] != self.next[to];
        self.acknowledged[to] = self.next[to];
        self.unacknowledged[to] = 0;
        if heard.flags.contains('R') {
            self.reset = Some(from);
            return;
        }
        assert!(is_news || !heard.payload.is_empty() || heard.flags == "F", "an ACK for nothing");
        assert!(!self.fins.contains(&from) || heard.payload.is_empty(), "data after a FIN");
        self.streams[from].extend(&heard.payload);
        self.next[from] += heard.payload.len();
        if !heard.payload.is_empty() {
            self.unacknowledged[from] += 1;
            assert!(self.unacknowledged[from] <= 2, "an ACK for every second segment");
        }
        if heard.flags.contains('F') {
            self.fins.push(from);
            self.next[from] += 1;
        }
    }

    /// Nothing waits to be acknowledged.
    #[track_caller]
    pub(crate) fn assert_acknowledged(&self) {
        assert_eq!(self.acknowledged, self.next);
    }

    /// All of a mirror, which shows one connection.
    #[track_caller]
    pub(crate) fn all(frames: &[Vec<u8>]) -> Self {
        let mut heeded = Self::default();
        frames.iter().for_each(|frame| heeded.heed(&hear(frame)));
        heeded
    }
}
