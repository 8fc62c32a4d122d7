//! What is counted.

mod exchange;
mod hello;
mod packets;
mod segments;
mod tls;

/// A hot path.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What an operation is.
    pub(crate) what: &'static str,
    /// Runs it, and says how many operations were [`counted`](crate::counted).
    pub(crate) run: fn() -> usize,
}

pub(crate) const ALL: &[Case] = &[
    Case {
        name: "headers-ipv4",
        what: "a frame is classified: Ethernet, IPv4, TCP",
        run: packets::headers_ipv4,
    },
    Case {
        name: "headers-ipv6-vlan",
        what: "likewise: VLAN tag, IPv6, TCP",
        run: packets::headers_ipv6_vlan,
    },
    Case { name: "checksums", what: "both checksums of a frame with 1448 bytes", run: packets::checksums },
    Case {
        name: "flow-lookup",
        what: "headers to key, hash and flow, of 10,000 in the table",
        run: packets::flow_lookup,
    },
    Case {
        name: "segment-in",
        what: "a frame of 1448 bytes known by its headers and taken in, eight in a burst, with the burst's ACK",
        run: segments::segment_in,
    },
    Case {
        name: "segment-out",
        what: "a segment of 1448 bytes and its headers; the port sums",
        run: segments::segment_out,
    },
    Case { name: "segment-out-summed", what: "likewise, and we sum", run: segments::segment_out_summed },
    Case {
        name: "record-16k",
        what: "a TLS 1.3 record opened and sealed, AES-128-GCM of aws-lc-rs",
        run: tls::record_16k,
    },
    Case { name: "record-16k-ring", what: "likewise, of ring", run: tls::record_16k_ring },
    Case {
        name: "record-16k-chacha20",
        what: "likewise, ChaCha20-Poly1305 of aws-lc-rs",
        run: tls::record_16k_chacha20,
    },
    Case {
        name: "record-100",
        what: "a record of 100 bytes, AES-128-GCM of aws-lc-rs",
        run: tls::record_100,
    },
    Case {
        name: "client-hello",
        what: "a browser's ClientHello of 1.9 KB parsed, with JA3 and JA4",
        run: hello::client_hello,
    },
    Case {
        name: "exchange",
        what: "a request and its response of 1 KB read in the plaintext stage",
        run: exchange::read,
    },
    Case {
        name: "exchange-a-rule",
        what: "likewise, with one rule on content, about another host",
        run: exchange::with_a_rule,
    },
    Case {
        name: "exchange-rules",
        what: "likewise, with 1,000 rules on content and a list of 1,000,000 names",
        run: exchange::with_rules,
    },
    Case {
        name: "exchange-signatures",
        what: "likewise, with the response inspected for 10,000 literals",
        run: exchange::with_signatures,
    },
    Case { name: "mint", what: "a certificate copied and signed, P-256 of aws-lc-rs", run: tls::mint },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Each one does what it says, or panics.
    #[test]
    fn all_of_them_run() {
        for case in ALL {
            assert!((case.run)() > 0, "{}", case.name);
        }
    }
}
