//! The key of a flow, the same for both directions, and of a packet that comes in fragments.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use siphasher::sip::SipHasher13;

use super::classify::Headers;
use super::fragment::Fragment;
use crate::port::PortId;

/// Which flow a segment belongs to: wire, VLANs and the two ends in a fixed order, whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// Addresses.
    low: u128,
    high: u128,
    /// Their ports, likewise; then VLANs, where [`UNTAGGED`] is none.
    ports_and_vlan: u64,
    wire: u8,
    is_v6: bool,
}

/// VLAN ids have 12 bits.
const UNTAGGED: u16 = u16::MAX;

impl FlowKey {
    /// The key of the flow that a segment on `wire` belongs to.
    pub fn new(wire: u8, headers: &Headers) -> Self {
        Self::between(wire, headers.vlan, headers.source, headers.destination)
    }

    /// The key of the flow between two ends.
    pub fn between(wire: u8, vlan: [Option<u16>; 2], a: SocketAddr, b: SocketAddr) -> Self {
        let (is_v6, a, b) = (a.is_ipv6(), (bits(a.ip()), a.port()), (bits(b.ip()), b.port()));
        let ((low, from), (high, to)) = if a <= b { (a, b) } else { (b, a) };
        let [outer, inner] = vlan.map(|id| id.unwrap_or(UNTAGGED));
        let ports_and_vlan =
            [from, to, outer, inner].iter().fold(0, |all, word| all << 16 | u64::from(*word));
        Self { low, high, ports_and_vlan, wire, is_v6 }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// In one piece: each `write` costs as much as some bytes more.
impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { low, high, ports_and_vlan, wire, is_v6 } = *self;
        let rest = ports_and_vlan.to_le_bytes();
        if is_v6 {
            let mut bytes = [0; 41];
            bytes[..16].copy_from_slice(&low.to_le_bytes());
            bytes[16..32].copy_from_slice(&high.to_le_bytes());
            bytes[32..40].copy_from_slice(&rest);
            bytes[40] = wire;
            state.write(&bytes);
        } else {
            let mut bytes = [0; 17];
            bytes[..4].copy_from_slice(&(low as u32).to_le_bytes());
            bytes[4..8].copy_from_slice(&(high as u32).to_le_bytes());
            bytes[8..16].copy_from_slice(&rest);
            bytes[16] = wire;
            state.write(&bytes);
        }
    }
}

/// Which packet a fragment of TCP belongs to (RFC 791 3.2, RFC 8200 4.5), and where it came in: what meets behind the
/// engine need not have met before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    source: IpAddr,
    destination: IpAddr,
    id: u32,
    vlan: [Option<u16>; 2],
    port: PortId,
}

impl FragmentKey {
    /// The key of the packet that a fragment from `port` is a piece of.
    pub fn new(port: PortId, fragment: &Fragment) -> Self {
        let Fragment { source, destination, id, vlan, .. } = *fragment;
        Self { source, destination, id, vlan, port }
    }
}

/// Hashes keys with a secret, so that nobody can choose addresses that collide. One hash serves steering and table.
#[derive(Clone, Copy)]
pub struct KeyHasher(SipHasher13);

impl KeyHasher {
    /// From a random secret.
    pub fn new(secret: [u8; 16]) -> Self {
        Self(SipHasher13::new_with_key(&secret))
    }

    /// Hash of a key.
    pub fn hash(&self, key: &impl Hash) -> u64 {
        let mut hasher = self.0;
        key.hash(&mut hasher);
        hasher.finish()
    }

    /// Which of `workers` owns the flow.
    ///
    /// Uses the high half: the flow table's buckets use the low one, and must not see only every n-th value.
    pub fn owner(hash: u64, workers: usize) -> usize {
        (((hash >> 32) * workers as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn key(vlan: Option<u16>, a: &str, b: &str) -> FlowKey {
        FlowKey::between(0, [vlan, None], a.parse().expect("address"), b.parse().expect("address"))
    }

    #[test]
    fn both_directions_have_one_key_and_look_alikes_have_others() {
        let k = key(None, "10.0.0.1:1000", "10.0.0.2:443");
        assert_eq!(k, key(None, "10.0.0.2:443", "10.0.0.1:1000"));
        assert_ne!(k, key(None, "10.0.0.1:443", "10.0.0.2:1000"));
        assert_ne!(k, key(Some(7), "10.0.0.1:1000", "10.0.0.2:443"));
        assert_ne!(k, key(None, "[::ffff:10.0.0.1]:1000", "[::ffff:10.0.0.2]:443"));
    }

    #[test]
    fn every_part_of_a_key_counts_in_its_hash() {
        let hasher = KeyHasher::new([1; 16]);
        let hash = |wire, vlan, a: &str, b: &str| {
            hasher.hash(&FlowKey::between(
                wire,
                vlan,
                a.parse().expect("address"),
                b.parse().expect("address"),
            ))
        };
        for [a, b, c] in [["10.0.0.1", "10.0.0.2", "10.0.0.3"], ["[fd00::1]", "[fd00::2]", "[fd00:0:0:3::2]"]]
        {
            let (a, b, c) = (format!("{a}:1000"), format!("{b}:443"), format!("{c}:443"));
            let (other_port, other_server) = (a.replace("1000", "1001"), b.replace("443", "444"));
            let hashes = BTreeSet::from([
                hash(0, [None; 2], &a, &b),
                hash(1, [None; 2], &a, &b),
                hash(0, [Some(0), None], &a, &b),
                hash(0, [None, Some(0)], &a, &b),
                hash(0, [None; 2], &other_port, &b),
                hash(0, [None; 2], &a, &other_server),
                hash(0, [None; 2], &c, &b),
                hash(0, [None; 2], &a, &c),
            ]);
            assert_eq!(hashes.len(), 8, "{a}");
        }
    }

    #[test]
    fn owners_are_spread_and_depend_on_the_secret() {
        let mut per_owner = [0u32; 3];
        let mut same = 0;
        let (h1, h2) = (KeyHasher::new([1; 16]), KeyHasher::new([2; 16]));
        for port in 1..=3000u16 {
            let k = key(None, &format!("10.0.0.1:{port}"), "10.0.0.2:443");
            let owner = KeyHasher::owner(h1.hash(&k), 3);
            per_owner[owner] += 1;
            same += u32::from(owner == KeyHasher::owner(h2.hash(&k), 3));
        }
        assert!(per_owner.iter().all(|n| (850..1150).contains(n)), "{per_owner:?}");
        assert!((800..1200).contains(&same), "{same}");
    }
}
