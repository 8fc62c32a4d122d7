//! Sets of offloads: what a port offers, what is asked for, what was granted.

use std::fmt;
use std::ops::{BitAnd, BitOr};

use dpdk_sys as ffi;

macro_rules! offloads {
    ($(#[$doc:meta])* $name:ident { $($(#[$flag_doc:meta])* $flag:ident = $value:ident, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq)]
        pub struct $name(u64);

        impl $name {
            /// No offload.
            pub const NONE: Self = Self(0);
            $($(#[$flag_doc])* pub const $flag: Self = Self(ffi::$value);)*
            const NAMES: &'static [(Self, &'static str)] = &[$((Self::$flag, $text)),*];

            pub(crate) const fn from_bits(bits: u64) -> Self {
                Self(bits)
            }

            pub(crate) const fn bits(self) -> u64 {
                self.0
            }

            /// This set less those in `other`.
            pub const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }

            /// Those in either set.
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// All of `other` are in this set.
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }
        }

        impl BitOr for $name {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl BitAnd for $name {
            type Output = Self;

            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }

        impl fmt::Display for $name {
            /// The names of those that this crate knows, or `none`.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let names: Vec<_> =
                    Self::NAMES.iter().filter(|(flag, _)| self.contains(*flag)).map(|(_, name)| *name).collect();
                f.write_str(if names.is_empty() { "none".into() } else { names.join(" ") }.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

offloads! {
    /// Receive offloads.
    RxOffloads {
        /// Looks at the IPv4 header checksum.
        IPV4_CKSUM = SHIM_RX_IPV4_CKSUM, "ipv4-cksum";
        /// Looks at the TCP checksum.
        TCP_CKSUM = SHIM_RX_TCP_CKSUM, "tcp-cksum";
        /// Looks at the UDP checksum.
        UDP_CKSUM = SHIM_RX_UDP_CKSUM, "udp-cksum";
        /// Gives the RSS hash with each packet.
        RSS_HASH = SHIM_RX_RSS_HASH, "rss-hash";
        /// Spreads a packet that is larger than an mbuf over a chain.
        SCATTER = SHIM_RX_SCATTER, "scatter";
        /// Takes the outermost VLAN tag out of the packet.
        VLAN_STRIP = SHIM_RX_VLAN_STRIP, "vlan-strip";
    }
}

offloads! {
    /// Transmit offloads. `MBUF_FAST_FREE` is left out on purpose: it frees mbufs without looking at their reference
    /// counts, and [`SharedMbuf`](crate::SharedMbuf) relies on them.
    TxOffloads {
        /// Fills in the IPv4 header checksum.
        IPV4_CKSUM = SHIM_TX_IPV4_CKSUM, "ipv4-cksum";
        /// Fills in the TCP checksum.
        TCP_CKSUM = SHIM_TX_TCP_CKSUM, "tcp-cksum";
        /// Fills in the UDP checksum.
        UDP_CKSUM = SHIM_TX_UDP_CKSUM, "udp-cksum";
        /// Cuts TCP payload into segments (TSO).
        TCP_TSO = SHIM_TX_TCP_TSO, "tcp-tso";
        /// Sends chains of mbufs.
        MULTI_SEGS = SHIM_TX_MULTI_SEGS, "multi-segs";
        /// Puts a VLAN tag into the packet.
        VLAN_INSERT = SHIM_TX_VLAN_INSERT, "vlan-insert";
    }
}
