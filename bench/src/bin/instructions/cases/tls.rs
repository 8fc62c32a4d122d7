//! Records and certificates.

use std::time::{SystemTime, UNIX_EPOCH};

use wireglass_core::content::Fate;
use wireglass_core::end::{End, PerEnd};
use wireglass_core::policy::TlsVersion;
use wireglass_core::tls::{RecordSink, Relay, Suite, TlsContext, TlsSettings};
use wireglass_core::x509::Provider;
use wireglass_testbed::{EngineCa, Pki};

use self::tls_peer::{DATA, Peer};
use crate::counted;

// Makes records by the book, for the fuzz targets too.
#[allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a panic is what a test wants, and each uses its part"
)]
#[path = "../../../../../engine/fuzz/bodies/tls_peer.rs"]
mod tls_peer;

const RECORDS: usize = 16;
const MINTED: usize = 16;

/// Blocks as a pool gives them: made before, and taken back when sent.
struct Blocks {
    free: Vec<Vec<u8>>,
    sent: usize,
    inspected: usize,
}

impl RecordSink for Blocks {
    type Block = Vec<u8>;

    fn block(&mut self, _: usize) -> Vec<u8> {
        self.free.pop().expect("as many as are needed")
    }

    fn plaintext(&mut self, _: End, plaintext: &[u8]) -> Fate {
        self.inspected += plaintext.len();
        Fate::Pass
    }

    fn send(&mut self, _: End, block: Vec<u8>, _: usize) {
        self.free.push(block);
        self.sent += 1;
    }

    fn is_behind(&self, _: End) -> bool {
        false
    }
}

pub(super) fn record_16k() -> usize {
    relayed(Provider::AwsLcRs, Suite::Aes128Gcm, 1 << 14)
}

pub(super) fn record_16k_ring() -> usize {
    relayed(Provider::Ring, Suite::Aes128Gcm, 1 << 14)
}

pub(super) fn record_16k_chacha20() -> usize {
    relayed(Provider::AwsLcRs, Suite::ChaCha20Poly1305, 1 << 14)
}

pub(super) fn record_100() -> usize {
    relayed(Provider::AwsLcRs, Suite::Aes128Gcm, 100)
}

/// Records of `len` bytes from the server to the client.
fn relayed(provider: Provider, suite: Suite, len: usize) -> usize {
    let [client, mut server] = [0x11, 0x22].map(|seed| Peer::new(TlsVersion::Tls13, suite, seed));
    let [client_leg, server_leg] = [&client, &server].map(|peer| {
        let mut leg = peer.leg();
        leg.provider = provider;
        leg
    });
    let mut relay = Relay::new(client_leg, server_leg, None, PerEnd::default()).expect("keys that fit");
    let mut blocks = Blocks { free: vec![vec![0; (1 << 14) + 64]; 2], sent: 0, inspected: 0 };
    let mut flight =
        |records| (0..records).flat_map(|_| server.seal(DATA, &vec![0x5a; len], 0)).collect::<Vec<_>>();
    // The first one finds out what the processor can.
    let (first, rest) = (flight(1), flight(RECORDS));
    relay.relay(End::Server, &first, usize::MAX, &mut blocks).expect("a sound record");
    counted(|| relay.relay(End::Server, &rest, usize::MAX, &mut blocks)).expect("sound records");
    assert_eq!(
        (blocks.sent, blocks.inspected),
        (1 + RECORDS, (1 + RECORDS) * len),
        "each is opened and sealed"
    );
    RECORDS
}

pub(super) fn mint() -> usize {
    let pki = Pki::new("origin").expect("keys can be made");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let [trusted, untrusted] =
        ["trusted", "untrusted"].map(|name| EngineCa::new(name).expect("keys can be made").files());
    let settings = TlsSettings {
        provider: Provider::AwsLcRs,
        trusted,
        untrusted,
        crl_url: None,
        knowledge: Default::default(),
        system_roots: None,
        roots: Vec::new(),
        now,
    };
    let context = TlsContext::new(settings).expect("a sound setup");
    let originals: Vec<_> = (0..=MINTED)
        .map(|_| pki.identity(&["www.example.com", "example.com"]).expect("a name").chain.swap_remove(0))
        .collect();
    let copy = |original: &[u8]| context.mint_copy(original, now as i64).is_some();
    // The leaf's key is made with the first one.
    let (first, rest) = originals.split_first().expect("one more than that");
    assert!(copy(first));
    assert!(counted(|| rest.iter().all(|original| copy(original))));
    assert_eq!(context.minted(), 1 + MINTED as u64, "none out of the cache");
    MINTED
}
