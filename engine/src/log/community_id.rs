//! Community ID, version 1, seed 0: the same short name for a flow in every tool that sees it.

use std::net::{IpAddr, SocketAddr};

use base64ct::{Base64, Encoding as _};
use sha1::{Digest as _, Sha1};

/// Seed of deployments that want names of their own; everybody uses 0.
const SEED: u16 = 0;

/// The Community ID of a flow of TCP or UDP (`protocol`: its IANA number), the same from both ends.
pub fn community_id(protocol: u8, a: SocketAddr, b: SocketAddr) -> String {
    // The specification orders by address bytes, then by port, so that direction does not matter.
    let (low, high) = if (octets(&a), a.port()) <= (octets(&b), b.port()) { (a, b) } else { (b, a) };
    let mut hash = Sha1::new();
    hash.update(SEED.to_be_bytes());
    hash.update(octets(&low).as_slice());
    hash.update(octets(&high).as_slice());
    hash.update([protocol, 0]);
    hash.update(low.port().to_be_bytes());
    hash.update(high.port().to_be_bytes());
    let mut text = [0u8; 28];
    // 20 bytes make exactly 28 characters of base64, so the buffer always suffices.
    let encoded = Base64::encode(&hash.finalize(), &mut text).unwrap_or_default();
    format!("1:{encoded}")
}

fn octets(end: &SocketAddr) -> Octets {
    match end.ip() {
        IpAddr::V4(ip) => Octets { bytes: padded(&ip.octets()), len: 4 },
        IpAddr::V6(ip) => Octets { bytes: ip.octets(), len: 16 },
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Octets {
    bytes: [u8; 16],
    len: usize,
}

impl Octets {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn padded(octets: &[u8; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(octets);
    bytes
}
