//! A set of networks, searched in logarithmic time.

use std::net::IpAddr;

use ipnet::IpNet;

/// An address as a number of its family; IPv4 comes first.
type Place = (bool, u128);

/// Networks as ranges of addresses that are sorted and do not overlap.
///
/// IPv4-mapped addresses (RFC 4291 section 2.5.5.2) are IPv4 addresses, in packets and in rules: `10.0.0.1` and `::ffff:10.0.0.1` are
/// the same, and neither is in `::/0`.
#[derive(Debug)]
pub(super) struct Networks {
    ranges: Vec<(Place, Place)>,
}

impl Networks {
    pub(super) fn new(networks: &[IpNet]) -> Self {
        let mut all: Vec<_> = networks.iter().map(range).collect();
        all.sort_unstable();
        let mut ranges: Vec<(Place, Place)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match ranges.last_mut() {
                Some(before) if first <= before.1 => before.1 = before.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        Self { ranges }
    }

    pub(super) fn contain(&self, address: IpAddr) -> bool {
        let address = place(address.to_canonical());
        let after = self.ranges.partition_point(|(first, _)| *first <= address);
        after > 0 && address <= self.ranges[after - 1].1
    }
}

fn range(network: &IpNet) -> (Place, Place) {
    let (first, last) = (network.network(), network.broadcast());
    // Shorter prefixes hold other addresses, too.
    let is_mapped = network.prefix_len() >= 96 && first.to_canonical().is_ipv4();
    if is_mapped {
        return (place(first.to_canonical()), place(last.to_canonical()));
    }
    (place(first), place(last))
}

fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(v4) => (false, v4.to_bits().into()),
        IpAddr::V6(v6) => (true, v6.to_bits()),
    }
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
