//! A far end of a relay: makes and reads TLS records by the book, with ring and nothing of the engine.

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use wireglass_core::policy::TlsVersion;
use wireglass_core::tls::{KeySource, LegKeys, Suite, TrafficKey};
use wireglass_core::x509::Provider;

pub const ALERT: u8 = 21;
pub const HANDSHAKE: u8 = 22;
pub const DATA: u8 = 23;

pub const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls13, TlsVersion::Tls12];
pub const SUITES: [Suite; 3] = [Suite::Aes128Gcm, Suite::Aes256Gcm, Suite::ChaCha20Poly1305];

/// One direction's secrets. The next key differs in every byte; how it really comes about is the handshake's business.
#[derive(Clone)]
pub struct Secret {
    suite: Suite,
    key: [u8; 32],
    iv: [u8; 12],
    seq: u64,
}

impl Secret {
    pub fn new(suite: Suite, seed: u8) -> Self {
        Self { suite, key: [seed; 32], iv: [seed ^ 0xff; 12], seq: 0 }
    }

    fn next(&mut self) {
        self.key = self.key.map(|byte| byte.wrapping_add(1));
        self.iv = self.iv.map(|byte| byte.wrapping_add(1));
        self.seq = 0;
    }

    fn traffic_key(&self) -> TrafficKey {
        TrafficKey::new(self.suite, &self.key[..self.suite.key_len()], &self.iv, self.seq).unwrap()
    }

    fn aead(&self) -> LessSafeKey {
        let algorithm = match self.suite {
            Suite::Aes128Gcm => &aead::AES_128_GCM,
            Suite::Aes256Gcm => &aead::AES_256_GCM,
            Suite::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        };
        LessSafeKey::new(UnboundKey::new(algorithm, &self.key[..self.suite.key_len()]).unwrap())
    }

    /// The static IV with the number in it.
    fn nonce(&self) -> [u8; 12] {
        let number = u128::from(self.seq).to_be_bytes();
        std::array::from_fn(|at| self.iv[at] ^ number[at + 4])
    }
}

struct Keys {
    opens: Secret,
    seals: Secret,
}

impl KeySource for Keys {
    fn held(&self) -> usize {
        0
    }

    fn next_to_open(&mut self) -> Option<TrafficKey> {
        self.opens.next();
        Some(self.opens.traffic_key())
    }

    fn next_to_seal(&mut self) -> Option<TrafficKey> {
        self.seals.next();
        Some(self.seals.traffic_key())
    }

    fn ticket(&mut self, body: &[u8]) -> bool {
        // Anything but a well-formed one: what rustls makes of it is not the question here.
        body.len() > 8
    }
}

/// What is in a record.
pub struct Opened {
    pub kind: u8,
    pub bytes: Vec<u8>,
}

pub struct Peer {
    pub version: TlsVersion,
    suite: Suite,
    seals: Secret,
    opens: Secret,
    explicit_before: Option<[u8; 8]>,
}

impl Peer {
    pub fn new(version: TlsVersion, suite: Suite, seed: u8) -> Self {
        Self {
            version,
            suite,
            seals: Secret::new(suite, seed),
            opens: Secret::new(suite, seed ^ 0x55),
            explicit_before: None,
        }
    }

    /// The engine's half of the same connection.
    pub fn leg(&self) -> LegKeys {
        let (opens, seals) = (self.seals.clone(), self.opens.clone());
        LegKeys {
            provider: Provider::default(),
            version: self.version,
            opens: opens.traffic_key(),
            seals: seals.traffic_key(),
            source: (self.version == TlsVersion::Tls13).then(|| Box::new(Keys { opens, seals }) as _),
        }
    }

    /// The number of the first record that this end seals.
    pub fn begin_at(&mut self, seq: u64) {
        self.seals.seq = seq;
    }

    /// The number of the first record that the engine seals for this end.
    pub fn hear_from(&mut self, seq: u64) {
        self.opens.seq = seq;
    }

    fn has_explicit_nonce(&self) -> bool {
        self.version == TlsVersion::Tls12 && self.suite != Suite::ChaCha20Poly1305
    }

    /// A record with these contents and, in TLS 1.3, so many bytes of padding.
    pub fn seal(&mut self, kind: u8, bytes: &[u8], padding: usize) -> Vec<u8> {
        let mut inner = bytes.to_vec();
        let mut nonce = self.seals.nonce();
        let mut explicit = Vec::new();
        let (outer, aad) = if self.version == TlsVersion::Tls13 {
            inner.push(kind);
            inner.extend(std::iter::repeat_n(0, padding));
            (DATA, [&[DATA, 3, 3][..], &length(inner.len() + 16)].concat())
        } else {
            if self.has_explicit_nonce() {
                // Any eight bytes that were not there before: those of another counter than the engine's.
                explicit = self.seals.seq.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec();
                nonce[..4].copy_from_slice(&self.seals.iv[..4]);
                nonce[4..].copy_from_slice(&explicit);
            }
            let number = self.seals.seq.to_be_bytes();
            (kind, [&number[..], &[kind, 3, 3], &length(bytes.len())].concat())
        };
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.seals.aead().seal_in_place_append_tag(nonce, Aad::from(aad), &mut inner).unwrap();
        self.seals.seq = self.seals.seq.wrapping_add(1);
        [&[outer, 3, 3][..], &length(explicit.len() + inner.len()), &explicit, &inner].concat()
    }

    /// Seals with the next key from now on.
    pub fn renew(&mut self) {
        self.seals.next();
    }

    /// Opens one whole record of the engine's.
    pub fn open(&mut self, record: &[u8]) -> Opened {
        let (header, payload) = record.split_at(5);
        assert_eq!(header[1..3], [3, 3]);
        assert_eq!(header[3..], length(payload.len()), "one record at a time");
        let mut nonce = self.opens.nonce();
        let mut sealed = payload.to_vec();
        let aad = if self.version == TlsVersion::Tls13 {
            assert_eq!(header[0], DATA);
            header.to_vec()
        } else {
            if self.has_explicit_nonce() {
                let explicit: [u8; 8] = sealed.drain(..8).collect::<Vec<_>>().try_into().unwrap();
                assert_ne!(self.explicit_before, Some(explicit), "a nonce twice");
                self.explicit_before = Some(explicit);
                nonce[..4].copy_from_slice(&self.opens.iv[..4]);
                nonce[4..].copy_from_slice(&explicit);
            }
            let number = self.opens.seq.to_be_bytes();
            [&number[..], &header[..3], &length(sealed.len() - 16)].concat()
        };
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = self.opens.aead().open_in_place(nonce, Aad::from(aad), &mut sealed);
        let mut bytes = opened.expect("what the engine seals").to_vec();
        self.opens.seq += 1;
        let kind = if self.version == TlsVersion::Tls13 { bytes.pop().unwrap() } else { header[0] };
        assert!(bytes.len() <= 1 << 14, "{} bytes in a record", bytes.len());
        if (kind, bytes.as_slice()) == (HANDSHAKE, &[24, 0, 0, 1, 0]) {
            self.opens.next();
        }
        Opened { kind, bytes }
    }
}

fn length(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap().to_be_bytes()
}
