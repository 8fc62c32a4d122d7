//! Receive-side scaling with a key that treats both directions of a flow alike.

use dpdk_sys as ffi;

/// Toeplitz keys that are 16 bits repeated hash (a, b) and (b, a) alike (Woo and Park, 2012). All common NICs'
/// hash is Toeplitz by default.
const SYMMETRIC: [u8; 2] = [0x6d, 0x5a];

/// Key length of drivers that do not say theirs; `rte_eth_rss_conf` names it as the default.
const DEFAULT_KEY_LEN: u8 = 40;

/// What RSS a port was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rss {
    /// Length of the key in bytes, as the driver wants it.
    pub key_len: u8,
    /// Packet types that are hashed, as DPDK's `RTE_ETH_RSS_*` bits: of IP, TCP and UDP what the driver offers.
    pub hash_types: u64,
}

impl Rss {
    /// What to ask of a driver; `None` if it offers none, or there is but one queue to choose.
    pub(crate) fn offered_by(info: &ffi::rte_eth_dev_info, rx_queues: u16) -> Option<Self> {
        let hash_types = info.flow_type_rss_offloads & ffi::SHIM_RSS_TCP_UDP_IP;
        if hash_types == 0 || rx_queues < 2 {
            return None;
        }
        let key_len = if info.hash_key_size == 0 { DEFAULT_KEY_LEN } else { info.hash_key_size };
        Some(Self { key_len, hash_types })
    }

    pub(crate) fn key(&self) -> Vec<u8> {
        symmetric_key(usize::from(self.key_len))
    }
}

fn symmetric_key(len: usize) -> Vec<u8> {
    SYMMETRIC.into_iter().cycle().take(len).collect()
}

#[cfg(test)]
mod tests {
    use super::symmetric_key;

    /// The Toeplitz hash, bit by bit as Microsoft's RSS specification defines it.
    fn toeplitz(key: &[u8], input: &[u8]) -> u32 {
        let bit = |bytes: &[u8], i: usize| bytes[i / 8] >> (7 - i % 8) & 1;
        let window = |i: usize| (i..i + 32).fold(0_u32, |w, i| w << 1 | u32::from(bit(key, i)));
        (0..input.len() * 8).filter(|&i| bit(input, i) == 1).fold(0, |hash, i| hash ^ window(i))
    }

    #[test]
    fn both_directions_hash_alike_with_every_key_length() {
        let client = [[10, 1, 2, 3], [192, 0, 2, 77]].concat();
        let server = [[192, 0, 2, 77], [10, 1, 2, 3]].concat();
        let there = [client.as_slice(), &50123_u16.to_be_bytes(), &443_u16.to_be_bytes()].concat();
        let back = [server.as_slice(), &443_u16.to_be_bytes(), &50123_u16.to_be_bytes()].concat();
        for len in [40, 52] {
            let key = symmetric_key(len);
            assert_eq!(key.len(), len);
            assert_eq!(toeplitz(&key, &there), toeplitz(&key, &back));
            assert_ne!(toeplitz(&key, &there), toeplitz(&key, &client), "the ports are hashed too");
        }
    }

    #[test]
    fn the_reference_hash_is_toeplitz() {
        // Verification suite of Microsoft's RSS specification, first IPv4 row with ports.
        let key = [
            0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
            0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
            0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
        ];
        let input = [66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6];
        assert_eq!(toeplitz(&key, &input), 0x51cc_c178);
    }
}
