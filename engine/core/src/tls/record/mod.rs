//! TLS records after the handshakes: opened from where they lie into a block, and sealed in that block.
//!
//! ```text
//!  received:   header | explicit nonce | ciphertext                  | tag
//!                                        │ one pass (open.rs)
//!  block:      header | explicit nonce | plaintext | type of content | tag
//!                                        └─ one pass in place (seal.rs) ──► leaves as it is
//! ```
//! The explicit nonce is that of AES-GCM in TLS 1.2; the type of content stands behind the plaintext in TLS 1.3. The two
//! legs may differ in both. TLS 1.3: RFC 8446 5. TLS 1.2: RFC 5246 6.2, RFC 5288, RFC 7905.

mod aead;
mod layer;
mod libraries;
mod message;
mod open;
mod seal;

pub use aead::{Suite, TrafficKey};
pub(super) use layer::{Control, KEY_UPDATE, RecordLayer};
pub use layer::{KeySource, LegKeys};
pub use libraries::{RecordLibraries, RecordTrial};

use super::description;

/// Bytes of a record's header.
pub(super) const HEADER: usize = 5;
/// Most plaintext that a record holds (RFC 8446 5.1).
pub(super) const MAX_PLAINTEXT: usize = 1 << 14;
/// Bytes of a tag, whatever the suite.
pub(super) const TAG: usize = 16;
/// Bytes of the explicit nonce of AES-GCM in TLS 1.2 (RFC 5288 3).
pub(super) const EXPLICIT_NONCE: usize = 8;
/// What a block has behind the plaintext at most: the type of content and the tag. An opened record needs no more.
pub(super) const BEHIND: usize = 1 + TAG;

/// Types of content (RFC 8446 5.1).
pub(super) mod content {
    pub(in crate::tls) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(in crate::tls) const ALERT: u8 = 21;
    pub(in crate::tls) const HANDSHAKE: u8 = 22;
    pub(in crate::tls) const APPLICATION_DATA: u8 = 23;
}

/// Why nothing more can be relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The peer broke the protocol. It is told by this alert.
    Broken(u8),
    /// The peer gave up, with this alert.
    Alert(u8),
    /// A server asks for a client certificate after its handshake, which nobody has offered it (RFC 8446 4.6.2).
    CertificateDemanded,
    /// The keys of a leg have protected as many records as they may, and TLS 1.2 has no way to others.
    KeysUsedUp,
    /// A fault of ours.
    Internal,
}

/// How records of a leg are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// TLS 1.3, whatever the suite.
    Tls13,
    /// AES-GCM in TLS 1.2.
    Tls12Gcm,
    /// ChaCha20-Poly1305 in TLS 1.2.
    Tls12ChaCha,
}

impl Form {
    /// Bytes between header and ciphertext.
    pub(super) fn explicit_nonce(self) -> usize {
        if self == Self::Tls12Gcm { EXPLICIT_NONCE } else { 0 }
    }

    /// Bytes of the type of content that stands behind the plaintext.
    pub(super) fn inner_type(self) -> usize {
        usize::from(self == Self::Tls13)
    }
}

/// A whole record, as it was received.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    /// Type of content that the header names.
    pub(super) kind: u8,
    /// What follows the header.
    pub(super) payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// The first record of `data`; `None`: it is not all there. One with more than `most` bytes of payload is refused as soon
    /// as its header is there.
    pub(super) fn first(data: &'a [u8], most: usize) -> Result<Option<Self>, Fault> {
        let Some((header, rest)) = data.split_first_chunk::<HEADER>() else { return Ok(None) };
        // Both versions say 0x0303 in each record after the first ClientHello.
        let &[kind, 3, 3, high, low] = header else { return Err(Fault::Broken(description::DECODE_ERROR)) };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len > most {
            return Err(Fault::Broken(description::RECORD_OVERFLOW));
        }
        Ok(rest.get(..len).map(|payload| Self { kind, payload }))
    }

    /// How many bytes more tell how long the first record of `data` is, or complete it; 0: it is whole.
    pub(super) fn missing(data: &[u8]) -> usize {
        match data.first_chunk::<HEADER>() {
            None => HEADER - data.len(),
            Some(&[.., high, low]) => {
                (HEADER + usize::from(u16::from_be_bytes([high, low]))).saturating_sub(data.len())
            }
        }
    }

    /// Bytes of it, with its header.
    pub(super) fn len(&self) -> usize {
        HEADER + self.payload.len()
    }

    /// Its header, once more.
    pub(super) fn header(&self) -> [u8; HEADER] {
        header(self.kind, self.payload.len())
    }
}

/// A header for a payload of less than 2^16 bytes.
pub(super) fn header(kind: u8, len: usize) -> [u8; HEADER] {
    let [.., high, low] = len.to_be_bytes();
    [kind, 3, 3, high, low]
}

/// What TLS 1.2 authenticates besides the plaintext (RFC 5246 6.2.3.3).
fn tls12_aad(seq: u64, kind: u8, len: usize) -> [u8; 13] {
    let mut aad = [0; 13];
    aad[..8].copy_from_slice(&seq.to_be_bytes());
    aad[8..].copy_from_slice(&header(kind, len));
    aad
}
