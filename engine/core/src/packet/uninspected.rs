//! What the engine does not look into: one list of classes, each with what becomes of its frames unless `[passthrough]` says
//! otherwise.
//!
//! Two rules make the defaults. A frame that some host would take for IP, and that the engine cannot follow, is dropped: else
//! whoever writes IP in an unusual way is not inspected. All else is forwarded, because a network needs it: it means nothing
//! to a host, or it goes through a tunnel that both ends must have set up.

/// What becomes of frames that are not looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PassAction {
    /// They go on as they are.
    Forward,
    /// They are dropped.
    Drop,
}

impl PassAction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Forward, Self::Drop];

    /// As the configuration, the log and the metrics have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Drop => "drop",
        }
    }
}

macro_rules! classes {
    ($($variant:ident = $name:literal, $default:ident, $help:literal;)*) => {
        /// A class of frames that are not looked into.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Uninspected {
            $(#[doc = $help] $variant,)*
        }

        impl Uninspected {
            /// All of them, in declaration order: `ALL[c as usize] == c`.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Its key in `[passthrough]`, and its name in log and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// What it is, and the reason of its default.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help),* }
            }

            /// What becomes of it if nobody says otherwise.
            pub const fn default_action(self) -> PassAction {
                match self { $(Self::$variant => PassAction::$default),* }
            }
        }
    };
}

classes! {
    Arp = "arp", Forward, "ARP and RARP. Without them no IPv4 host is found.";
    Link = "link", Forward, "Protocols between two ends of a cable: LLDP, LACP, 802.1X, PTP, PAUSE, CFM. Switches need them.";
    Llc = "llc", Forward, "802.3 frames with LLC: spanning tree, CDP, IS-IS. Switches and routers need them.";
    SnapIp = "snap_ip", Drop, "IP in LLC/SNAP (RFC 1042). Some hosts take it for IP.";
    Tags = "tags", Drop, "More than two VLANs, or more than eight tags. A switch or host may take them off and find IP.";
    Mpls = "mpls", Forward, "MPLS. Only routers that have agreed on labels take it.";
    Pppoe = "pppoe", Forward, "PPPoE. Only the ends of its session take it.";
    Ethertype = "ethertype", Forward, "Any other EtherType: MACsec, PROFINET, FCoE and so on. No IP host takes it.";
    Tcp = "tcp", Forward, "TCP between ports that are not in `intercept.ports`.";
    Udp = "udp", Forward, "UDP, but for what follows.";
    Icmp = "icmp", Forward, "ICMP and ICMPv6, but for messages that are about the engine's own segments.";
    UdpTunnel = "udp_tunnel", Forward, "Tunnels over UDP, by their ports: VXLAN, Geneve, GTP-U, L2TP, Teredo. Both ends must have set them up.";
    IpInIp = "ip_in_ip", Forward, "IP in IP: 6in4, 4in6, IPIP, EtherIP, MPLS in IP. Both ends must have set it up.";
    Gre = "gre", Forward, "GRE. Both ends must have set it up.";
    Ipsec = "ipsec", Forward, "ESP, and AH over IPv4. Both ends must have agreed on keys.";
    IpProtocol = "ip_protocol", Forward, "Any other protocol over IP: IGMP, OSPF, SCTP and so on. TCP is not in it.";
    NoNextHeader = "no_next_header", Forward, "IPv6 without an upper layer (next header 59). Hosts ignore what follows (RFC 8200 4.7).";
    UnknownHeader = "unknown_header", Drop, "IPv6 next headers 253 and 254. A host may take them for extension headers before TCP (RFC 4727).";
    Jumbogram = "jumbogram", Drop, "IPv6 with a payload length of 0 and a hop-by-hop header (RFC 2675). Linux takes what follows for the packet.";
    Quic = "quic", Drop, "UDP to and from ports in `intercept.ports`, QUIC above all: `intercept.quic` is its key.";
    Dtls = "dtls", Drop, "DTLS to and from ports in `intercept.ports`: `intercept.dtls` is its key.";
}

impl Uninspected {
    /// Its action has a key in `[intercept]`, not in `[passthrough]`.
    pub const fn is_intercepted(self) -> bool {
        matches!(self, Self::Quic | Self::Dtls)
    }

    /// The class of what is behind an Ethernet header and its tags; IPv4 and IPv6 are not asked for.
    pub(super) fn of_ethertype(ethertype: u16, behind: &[u8]) -> Self {
        match ethertype {
            ..0x0600 if is_ip_in_llc(behind) => Self::SnapIp,
            ..0x0600 => Self::Llc,
            0x0806 | 0x8035 => Self::Arp,
            // PAUSE, slow protocols (LACP), EAPOL, LLDP, PTP, CFM, loopback test.
            0x8808 | 0x8809 | 0x888e | 0x88cc | 0x88f7 | 0x8902 | 0x9000 => Self::Link,
            0x8847 | 0x8848 => Self::Mpls,
            0x8863 | 0x8864 => Self::Pppoe,
            _ => Self::Ethertype,
        }
    }

    /// The class of an IP protocol that is neither TCP, nor UDP, nor ICMP.
    pub(super) const fn of_protocol(protocol: u8, is_ipv6: bool) -> Self {
        match protocol {
            17 => Self::Udp,
            1 | 58 => Self::Icmp,
            // IPIP, 6in4, IP within IP, EtherIP, MPLS in IP.
            4 | 41 | 94 | 97 | 137 => Self::IpInIp,
            47 => Self::Gre,
            50 | 51 => Self::Ipsec,
            59 if is_ipv6 => Self::NoNextHeader,
            253 | 254 if is_ipv6 => Self::UnknownHeader,
            _ => Self::IpProtocol,
        }
    }

    /// The class of a datagram between these ports, if it is not of an intercepted one.
    pub const fn of_ports(source: u16, destination: u16) -> Self {
        // VXLAN (its number, and Linux' older one), Geneve, GTP-U, L2TP, Teredo.
        const fn is_tunnel(port: u16) -> bool {
            matches!(port, 4789 | 8472 | 6081 | 2152 | 1701 | 3544)
        }
        if is_tunnel(source) || is_tunnel(destination) { Self::UdpTunnel } else { Self::Udp }
    }
}

/// IP behind an LLC header: with its own service access point (RFC 948), or with SNAP's header and an EtherType that leads to IP
/// (RFC 1042), whatever organization it names.
fn is_ip_in_llc(llc: &[u8]) -> bool {
    match *llc {
        [0x06, 0x06, ..] => true,
        [0xaa, 0xaa, _, _, _, _, high, low, ..] => {
            matches!(u16::from_be_bytes([high, low]), 0x0800 | 0x86dd | 0x8100 | 0x88a8)
        }
        _ => false,
    }
}

/// What becomes of each class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passthrough([PassAction; Uninspected::COUNT]);

impl Default for Passthrough {
    fn default() -> Self {
        Self(std::array::from_fn(|n| Uninspected::ALL[n].default_action()))
    }
}

impl Passthrough {
    /// What becomes of a class.
    #[inline]
    pub const fn action(&self, class: Uninspected) -> PassAction {
        self.0[class as usize]
    }

    /// The same, but for this class.
    pub fn set(&mut self, class: Uninspected, action: PassAction) {
        self.0[class as usize] = action;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ip_behind_llc_is_told_from_other_protocols() {
        let snap = |ethertype: u16| [&[0xaa, 0xaa, 3, 0, 0, 0][..], &ethertype.to_be_bytes()].concat();
        for ethertype in [0x0800, 0x86dd, 0x8100, 0x88a8] {
            assert_eq!(Uninspected::of_ethertype(60, &snap(ethertype)), Uninspected::SnapIp);
        }
        assert_eq!(Uninspected::of_ethertype(60, &[6, 6, 3, 0x45]), Uninspected::SnapIp);
        // CDP, spanning tree, half an LLC header.
        for other in [&snap(0x2000)[..], &[0x42, 0x42, 3], &snap(0x0800)[..7], &[6]] {
            assert_eq!(Uninspected::of_ethertype(60, other), Uninspected::Llc, "{other:x?}");
        }
        // The first number that is a type, and no length.
        assert_eq!(Uninspected::of_ethertype(0x05ff, &[6, 6]), Uninspected::SnapIp);
        assert_eq!(Uninspected::of_ethertype(0x0600, &[6, 6]), Uninspected::Ethertype);
    }

    #[test]
    fn a_tunnels_port_counts_at_either_end() {
        for tunnel in [4789, 8472, 6081, 2152, 1701, 3544] {
            assert_eq!(Uninspected::of_ports(tunnel, 9), Uninspected::UdpTunnel, "{tunnel}");
            assert_eq!(Uninspected::of_ports(9, tunnel), Uninspected::UdpTunnel, "{tunnel}");
        }
        assert_eq!(Uninspected::of_ports(53, 40_000), Uninspected::Udp);
    }

    #[test]
    fn an_action_is_set_for_one_class() {
        let mut passthrough = Passthrough::default();
        passthrough.set(Uninspected::Gre, PassAction::Drop);
        for class in Uninspected::ALL {
            let action = if *class == Uninspected::Gre { PassAction::Drop } else { class.default_action() };
            assert_eq!(passthrough.action(*class), action, "{}", class.name());
            let is_intercepted = matches!(class.name(), "quic" | "dtls");
            assert_eq!(class.is_intercepted(), is_intercepted, "{}", class.name());
        }
    }
}
