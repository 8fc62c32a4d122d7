//! Which connection a flow is.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// What stays the same in all of a flow's life.
#[derive(Clone, Copy)]
pub struct Identity {
    /// Unique in a run.
    pub flow_id: u64,
    /// Index of the wire.
    pub wire: u8,
    /// VLAN ids, outermost first.
    pub vlan: [Option<u16>; 2],
    /// The end that sent the SYN.
    pub client: SocketAddr,
    /// The other end.
    pub server: SocketAddr,
    /// A connection between them was refused, and one of them may still have it.
    pub refused_before: bool,
}

/// The same in half of the space: a table has one for each flow.
#[derive(Clone, Copy)]
pub(super) struct PackedIdentity {
    flow_id: u64,
    client: Address,
    server: Address,
    client_port: u16,
    server_port: u16,
    /// VLAN ids have 12 bits: this is none.
    vlan: [u16; 2],
    wire: u8,
    is_v6: bool,
    refused_before: bool,
}

/// Of IPv4 the first four.
type Address = [u8; 16];

const UNTAGGED: u16 = u16::MAX;

impl PackedIdentity {
    pub(super) fn new(identity: &Identity) -> Self {
        let Identity { flow_id, wire, vlan, client, server, refused_before } = *identity;
        Self {
            flow_id,
            client: pack(client),
            server: pack(server),
            client_port: client.port(),
            server_port: server.port(),
            vlan: vlan.map(|id| id.unwrap_or(UNTAGGED)),
            wire,
            is_v6: client.is_ipv6(),
            refused_before,
        }
    }

    pub(super) fn unpack(&self) -> Identity {
        Identity {
            flow_id: self.flow_id,
            wire: self.wire,
            vlan: self.vlan(),
            client: self.client(),
            server: self.server(),
            refused_before: self.refused_before,
        }
    }

    pub(super) fn flow_id(&self) -> u64 {
        self.flow_id
    }

    pub(super) fn wire(&self) -> usize {
        self.wire.into()
    }

    pub(super) fn vlan(&self) -> [Option<u16>; 2] {
        self.vlan.map(|id| (id != UNTAGGED).then_some(id))
    }

    pub(super) fn refused_before(&self) -> bool {
        self.refused_before
    }

    pub(super) fn client(&self) -> SocketAddr {
        unpack(self.is_v6, self.client, self.client_port)
    }

    pub(super) fn server(&self) -> SocketAddr {
        unpack(self.is_v6, self.server, self.server_port)
    }
}

fn pack(end: SocketAddr) -> Address {
    match end {
        SocketAddr::V4(end) => {
            let [a, b, c, d] = end.ip().octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        SocketAddr::V6(end) => end.ip().octets(),
    }
}

fn unpack(is_v6: bool, address: Address, port: u16) -> SocketAddr {
    match is_v6 {
        true => (Ipv6Addr::from(address), port).into(),
        false => {
            let [a, b, c, d, ..] = address;
            (Ipv4Addr::new(a, b, c, d), port).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn nothing_is_lost(
            flow_id: u64, wire: u8, refused_before: bool, is_v6: bool, ends: [([u8; 16], u16); 2], ids: [Option<u8>; 2],
        ) {
            let [client, server] = ends.map(|(address, port)| unpack(is_v6, address, port));
            let vlan = ids.map(|id| id.map(u16::from));
            let identity = Identity { flow_id, wire, vlan, client, server, refused_before };
            let again = PackedIdentity::new(&identity).unpack();
            proptest::prop_assert_eq!((again.flow_id, again.wire, again.vlan), (flow_id, wire, vlan));
            proptest::prop_assert_eq!((again.client, again.server), (client, server));
            proptest::prop_assert_eq!(again.refused_before, refused_before);
        }
    }
}
