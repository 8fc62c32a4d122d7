//! What a NIC said about a packet it received, and what it shall do to one it sends.

use dpdk_sys as ffi;

use super::Mbuf;

/// A NIC's opinion of a received checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Not looked at.
    Unknown,
    /// Correct.
    Good,
    /// Wrong.
    Bad,
    /// The field is not filled in, and the data is intact all the same (between virtual machines of one host).
    NotNeeded,
}

/// Version of IP in a packet to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpVersion {
    /// IPv4, with or without its header checksum.
    V4 {
        /// The NIC fills in the header checksum.
        checksum: bool,
    },
    /// IPv6, which has none.
    V6,
}

/// Checksum of the layer above IP that a NIC shall fill in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L4Checksum {
    /// It is there already.
    None,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// TCP, and the payload is to be cut into segments of `segsz` bytes (TSO).
    TcpSegments {
        /// The maximum segment size: TCP payload bytes per packet.
        segsz: u16,
    },
}

/// Work for the NIC on a packet to be sent. The lengths are those of the headers in front of the payload, in bytes.
///
/// Ask only for what the port was started with ([`Applied::tx_offloads`](crate::Applied)): a queue drops
/// packets that ask for more, see [`TxQueue::tx`](crate::TxQueue::tx).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxRequest {
    /// Ethernet header with its VLAN tags, at most 127.
    pub l2_len: u8,
    /// IP header with its options or extension headers, at most 511.
    pub l3_len: u16,
    /// TCP or UDP header.
    pub l4_len: u8,
    /// Version of IP.
    pub ip: IpVersion,
    /// The layer above.
    pub l4: L4Checksum,
}

impl Mbuf {
    /// The IP header checksum of a received packet.
    pub fn rx_ip_checksum(&self) -> Checksum {
        match self.head().flags() & ffi::SHIM_MBUF_F_RX_IP_CKSUM_MASK {
            ffi::SHIM_MBUF_F_RX_IP_CKSUM_GOOD => Checksum::Good,
            ffi::SHIM_MBUF_F_RX_IP_CKSUM_BAD => Checksum::Bad,
            ffi::SHIM_MBUF_F_RX_IP_CKSUM_NONE => Checksum::NotNeeded,
            _ => Checksum::Unknown,
        }
    }

    /// The TCP or UDP checksum of a received packet.
    pub fn rx_l4_checksum(&self) -> Checksum {
        match self.head().flags() & ffi::SHIM_MBUF_F_RX_L4_CKSUM_MASK {
            ffi::SHIM_MBUF_F_RX_L4_CKSUM_GOOD => Checksum::Good,
            ffi::SHIM_MBUF_F_RX_L4_CKSUM_BAD => Checksum::Bad,
            ffi::SHIM_MBUF_F_RX_L4_CKSUM_NONE => Checksum::NotNeeded,
            _ => Checksum::Unknown,
        }
    }

    /// Says what a NIC says of a packet whose checksums it has found right: for whoever plays one at the end of a ring.
    pub fn mark_checksums_good(&mut self) {
        let head = self.head();
        let others = head.flags() & !(ffi::SHIM_MBUF_F_RX_IP_CKSUM_MASK | ffi::SHIM_MBUF_F_RX_L4_CKSUM_MASK);
        head.set_flags(others | ffi::SHIM_MBUF_F_RX_IP_CKSUM_GOOD | ffi::SHIM_MBUF_F_RX_L4_CKSUM_GOOD);
    }

    /// The hash that RSS chose the queue by, if the NIC gave it.
    pub fn rss_hash(&self) -> Option<u32> {
        let head = self.head();
        (head.flags() & ffi::SHIM_MBUF_F_RX_RSS_HASH != 0).then(|| head.hash())
    }

    /// The outermost VLAN tag's TCI, if the NIC took the tag out of the packet.
    pub fn vlan_stripped(&self) -> Option<u16> {
        let head = self.head();
        (head.flags() & ffi::SHIM_MBUF_F_RX_VLAN_STRIPPED != 0).then(|| head.vlan_tci())
    }

    /// Asks the NIC for work on this packet, in place of what was asked before. `None`, and nothing changes, if a
    /// length does not fit, or the headers are not all in the first segment.
    pub fn request_tx(&mut self, request: &TxRequest) -> Option<()> {
        const MAX_L2_LEN: u8 = 127;
        const MAX_L3_LEN: u16 = 511;
        let headers = usize::from(request.l2_len) + usize::from(request.l3_len) + usize::from(request.l4_len);
        if request.l2_len > MAX_L2_LEN || request.l3_len > MAX_L3_LEN || headers > self.data().len() {
            return None;
        }
        let ip = match request.ip {
            IpVersion::V4 { checksum: true } => ffi::SHIM_MBUF_F_TX_IPV4 | ffi::SHIM_MBUF_F_TX_IP_CKSUM,
            IpVersion::V4 { checksum: false } => ffi::SHIM_MBUF_F_TX_IPV4,
            IpVersion::V6 => ffi::SHIM_MBUF_F_TX_IPV6,
        };
        let (l4, segsz) = match request.l4 {
            L4Checksum::None => (0, 0),
            L4Checksum::Tcp => (ffi::SHIM_MBUF_F_TX_TCP_CKSUM, 0),
            L4Checksum::Udp => (ffi::SHIM_MBUF_F_TX_UDP_CKSUM, 0),
            L4Checksum::TcpSegments { segsz: 0 } => return None,
            L4Checksum::TcpSegments { segsz } => {
                (ffi::SHIM_MBUF_F_TX_TCP_SEG | ffi::SHIM_MBUF_F_TX_TCP_CKSUM, segsz)
            }
        };
        self.clear_tx_request();
        let head = self.head();
        head.set_flags(head.flags() | ip | l4);
        // SAFETY: owned, and borrowed by `&mut`; each length fits its bits.
        unsafe {
            ffi::shim_set_tx_offload(
                head.as_ptr(),
                request.l2_len.into(),
                request.l3_len.into(),
                request.l4_len.into(),
                segsz.into(),
            );
        }
        Some(())
    }

    /// Asks the NIC to put a VLAN tag with this TCI in front of the EtherType.
    pub fn request_vlan(&mut self, tci: u16) {
        let head = self.head();
        head.set_vlan_tci(tci);
        head.set_flags(head.flags() | ffi::SHIM_MBUF_F_TX_VLAN);
    }

    /// Takes back what [`request_tx`](Self::request_tx) and [`request_vlan`](Self::request_vlan) asked for.
    pub fn clear_tx_request(&mut self) {
        let head = self.head();
        head.set_flags(head.flags() & !ffi::SHIM_MBUF_F_TX_OFFLOAD_MASK);
    }

    /// The requests as flags of DPDK.
    pub(crate) fn tx_flags(&self) -> u64 {
        self.head().flags() & ffi::SHIM_MBUF_F_TX_OFFLOAD_MASK
    }

    /// Does what was asked of the NIC to an IPv4 header: its checksum is there afterwards, and not asked for. `None`, and nothing
    /// changes, if the header cannot be written to.
    pub(crate) fn fill_ip_checksum(&mut self) -> Option<()> {
        let len = self.tx_header_len();
        self.data_mut().filter(|data| len <= data.len())?;
        // SAFETY: exclusive, borrowed by `&mut`, and all headers are in the first segment.
        unsafe { ffi::shim_fill_ipv4_cksum(self.head().as_ptr()) };
        Some(())
    }

    /// Length of the headers that a request describes.
    pub(crate) fn tx_header_len(&self) -> usize {
        // SAFETY: owned, so it can be read.
        unsafe { ffi::shim_tx_header_len(self.head().as_ptr()) as usize }
    }
}
