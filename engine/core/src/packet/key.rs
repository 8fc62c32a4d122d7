//! The key of a flow, the same for both directions, and of a packet that comes in fragments.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use siphasher::sip::SipHasher13;

use super::classify::Headers;
use super::fragment::Fragment;
use crate::port::PortId;

/// Which flow a segment belongs to: wire, VLANs and the two ends in a fixed order, whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// Addresses, each as two words, so that a key needs no alignment of 16 bytes.
    low: [u64; 2],
    high: [u64; 2],
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
        match (a, b) {
            (SocketAddr::V4(a), SocketAddr::V4(b)) => {
                let end = |of: SocketAddrV4| (of.ip().to_bits(), of.port());
                Self::between_v4(wire, vlan, end(a), end(b))
            }
            (a, b) => {
                let end = |of: SocketAddr| (bits(of.ip()), of.port());
                Self::between_v6(wire, vlan, end(a), end(b))
            }
        }
    }

    /// Likewise, of IPv4.
    fn between_v4(wire: u8, vlan: [Option<u16>; 2], a: (u32, u16), b: (u32, u16)) -> Self {
        // Address and port in one comparison.
        let [a, b] = [a, b].map(|(address, port)| u64::from(address) << 16 | u64::from(port));
        let (low, high) = (a.min(b), a.max(b));
        let ports_and_vlan = ports_and_vlan(low as u16, high as u16, vlan);
        Self { low: [low >> 16, 0], high: [high >> 16, 0], ports_and_vlan, wire, is_v6: false }
    }

    /// Likewise, of IPv6.
    fn between_v6(wire: u8, vlan: [Option<u16>; 2], a: (u128, u16), b: (u128, u16)) -> Self {
        let ((low, from), (high, to)) = if a <= b { (a, b) } else { (b, a) };
        let ports_and_vlan = ports_and_vlan(from, to, vlan);
        Self { low: halves(low), high: halves(high), ports_and_vlan, wire, is_v6: true }
    }
}

fn ports_and_vlan(from: u16, to: u16, vlan: [Option<u16>; 2]) -> u64 {
    let [outer, inner] = vlan.map(|id| u64::from(id.unwrap_or(UNTAGGED)));
    u64::from(from) << 48 | u64::from(to) << 32 | outer << 16 | inner
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The low one first.
fn halves(bits: u128) -> [u64; 2] {
    [bits as u64, (bits >> 64) as u64]
}

/// What is hashed: words in little-endian order, then the wire's byte. [`KeyHasher::flow`] takes the same in another way.
impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { low, high, ports_and_vlan, wire, is_v6 } = *self;
        let mut bytes = [0; 41];
        let mut put = |words: &[u64]| {
            words
                .iter()
                .zip(bytes.chunks_exact_mut(8))
                .for_each(|(word, to)| to.copy_from_slice(&word.to_le_bytes()));
            let len = words.len() * 8;
            bytes[len] = wire;
            len + 1
        };
        let len = match is_v6 {
            true => put(&[low[0], low[1], high[0], high[1], ports_and_vlan]),
            false => put(&[low[0] | high[0] << 32, ports_and_vlan]),
        };
        state.write(&bytes[..len]);
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
///
/// It is SipHash-1-3: who has not the secret and sees no hash can only guess. A NIC's RSS hash (Toeplitz) and CRC are linear: from a few
/// collisions, which times may show, all others follow without their key.
#[derive(Clone, Copy)]
pub struct KeyHasher {
    any: SipHasher13,
    flow: SipWords,
}

impl KeyHasher {
    /// From a random secret.
    pub fn new(secret: [u8; 16]) -> Self {
        Self { any: SipHasher13::new_with_key(&secret), flow: SipWords::new(&secret) }
    }

    /// Hash of a key.
    pub fn hash(&self, key: &impl Hash) -> u64 {
        let mut hasher = self.any;
        key.hash(&mut hasher);
        hasher.finish()
    }

    /// Hash of a flow's key: the same as [`Self::hash`], without its buffer.
    #[inline]
    pub fn flow(&self, key: &FlowKey) -> u64 {
        let FlowKey { low, high, ports_and_vlan, wire, is_v6 } = *key;
        match is_v6 {
            true => self.flow.hash([low[0], low[1], high[0], high[1], ports_and_vlan], wire),
            false => self.flow.hash([low[0] | high[0] << 32, ports_and_vlan], wire),
        }
    }

    /// Which of `workers` owns the flow.
    ///
    /// Uses the high half: the flow table's buckets use the low one, and must not see only every n-th value.
    pub fn owner(hash: u64, workers: usize) -> usize {
        (((hash >> 32) * workers as u64) >> 32) as usize
    }
}

/// SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF") of whole words and one byte: no buffer, as nothing is left
/// over between two of them.
#[derive(Clone, Copy)]
struct SipWords([u64; 4]);

impl SipWords {
    fn new(secret: &[u8; 16]) -> Self {
        let secret = u128::from_le_bytes(*secret);
        let (k0, k1) = (secret as u64, (secret >> 64) as u64);
        Self([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ])
    }

    #[inline]
    fn hash<const N: usize>(&self, words: [u64; N], byte: u8) -> u64 {
        let mut v = self.0;
        for word in words {
            absorb(&mut v, word);
        }
        // The last word has what is left of the bytes, and how many there are of all.
        absorb(&mut v, (N as u64 * 8 + 1) << 56 | u64::from(byte));
        v[2] ^= 0xff;
        round(&mut v);
        round(&mut v);
        round(&mut v);
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

#[inline(always)]
fn absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    v[0] ^= word;
}

#[inline(always)]
fn round(v: &mut [u64; 4]) {
    let [mut v0, mut v1, mut v2, mut v3] = *v;
    v0 = v0.wrapping_add(v1);
    v2 = v2.wrapping_add(v3);
    v1 = v1.rotate_left(13) ^ v0;
    v3 = v3.rotate_left(16) ^ v2;
    v0 = v0.rotate_left(32).wrapping_add(v3);
    v2 = v2.wrapping_add(v1);
    v1 = v1.rotate_left(17) ^ v2;
    v3 = v3.rotate_left(21) ^ v0;
    v2 = v2.rotate_left(32);
    *v = [v0, v1, v2, v3];
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

    proptest::proptest! {
        /// Another implementation's, and other threads hash the same keys the other way.
        #[test]
        fn a_flow_has_the_hash_of_its_key(
            secret: [u8; 16], wire: u8, vlan: [Option<u16>; 2], a: ([u8; 16], u16), b: ([u8; 16], u16), is_v6: bool,
        ) {
            let end = |(address, port): ([u8; 16], u16)| match is_v6 {
                true => SocketAddr::from((address, port)),
                false => ([address[0], address[1], address[2], address[3]], port).into(),
            };
            let hasher = KeyHasher::new(secret);
            let key = FlowKey::between(wire, vlan, end(a), end(b));
            proptest::prop_assert_eq!(hasher.flow(&key), hasher.hash(&key));
            proptest::prop_assert_eq!(key, FlowKey::between(wire, vlan, end(b), end(a)));
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
