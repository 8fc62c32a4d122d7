//! A set of networks, searched in logarithmic time.

use std::net::IpAddr;

use ipnet::IpNet;

/// Networks as ranges of addresses that are sorted and do not overlap.
///
/// IPv4-mapped addresses (RFC 4291 section 2.5.5.2) are IPv4 addresses, in packets and in rules: `10.0.0.1` and `::ffff:10.0.0.1` are
/// the same, and neither is in `::/0`.
#[derive(Debug)]
pub(super) struct Networks {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Networks {
    pub(super) fn new(networks: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => match (net.network().to_ipv4_mapped(), net.broadcast().to_ipv4_mapped()) {
                    (Some(first), Some(last)) => v4.push((first.to_bits(), last.to_bits())),
                    // Shorter prefixes hold other addresses, too.
                    _ => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
                },
            }
        }
        Self { v4: disjoint(v4), v6: disjoint(v6) }
    }

    pub(super) fn contain(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => is_inside(&self.v4, address.to_bits()),
            IpAddr::V6(address) => is_inside(&self.v6, address.to_bits()),
        }
    }
}

fn disjoint<A: Copy + Ord>(mut all: Vec<(A, A)>) -> Box<[(A, A)]> {
    all.sort_unstable();
    all.dedup_by(|next, before| {
        let overlaps = next.0 <= before.1;
        if overlaps {
            before.1 = before.1.max(next.1);
        }
        overlaps
    });
    all.into_boxed_slice()
}

fn is_inside<A: Copy + Ord>(ranges: &[(A, A)], address: A) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after > 0 && address <= ranges[after - 1].1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn networks(list: &[&str]) -> Networks {
        Networks::new(&list.iter().map(|n| n.parse().expect("a network")).collect::<Vec<_>>())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn first_and_last_address_are_inside_and_their_neighbours_are_not() {
        let set = networks(&["10.1.0.0/16", "2001:db8::/32"]);
        for inside in ["10.1.0.0", "10.1.255.255", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"] {
            assert!(set.contain(ip(inside)), "{inside}");
        }
        for outside in ["10.0.255.255", "10.2.0.0", "2001:db7:ffff::", "2001:db9::"] {
            assert!(!set.contain(ip(outside)), "{outside}");
        }
    }

    #[test]
    fn mapped_addresses_are_ipv4_addresses_on_both_sides() {
        assert!(networks(&["10.0.0.0/8"]).contain(ip("::ffff:10.9.9.9")));
        assert!(networks(&["::ffff:10.0.0.0/104"]).contain(ip("10.9.9.9")));
        assert!(!networks(&["10.0.0.0/8"]).contain(ip("::10.9.9.9")));
    }

    #[test]
    fn zero_prefixes_cover_their_family() {
        assert!(networks(&["0.0.0.0/0"]).contain(ip("255.255.255.255")));
        assert!(!networks(&["0.0.0.0/0"]).contain(ip("2001:db8::1")));
        assert!(networks(&["::/0"]).contain(ip("2001:db8::1")));
        assert!(!networks(&["::/0"]).contain(ip("10.0.0.1")));
        assert!(!networks(&["::/0", "::ffff:0:0/90"]).contain(ip("::ffff:10.0.0.1")));
        assert!(networks(&["0.0.0.0/0", "::/0"]).contain(ip("::ffff:10.0.0.1")));
    }

    proptest! {
        #[test]
        fn agrees_with_a_walk_over_the_list(
            list in prop::collection::vec((0u32..1 << 16, 16u8..=32), 1..20),
            address in 0u32..1 << 16,
        ) {
            let list: Vec<IpNet> = list
                .into_iter()
                .map(|(bits, len)| IpNet::new(IpAddr::V4(bits.into()), len).expect("at most 32"))
                .collect();
            let address = IpAddr::V4(address.into());
            prop_assert_eq!(Networks::new(&list).contain(address), list.iter().any(|n| n.contains(&address)));
        }
    }
}
