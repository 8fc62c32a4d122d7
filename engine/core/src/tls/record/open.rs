//! Opening: from the bytes that were received into a block.

use zeroize::Zeroizing;

use super::aead::{Aead, NONCE, TrafficKey, nonce};
use super::{EXPLICIT_NONCE, Fault, Form, MAX_PLAINTEXT, Record, TAG, content, tls12_aad};
use crate::tls::description;
use crate::x509::Provider;

/// What opens the records of one peer.
pub(in crate::tls) struct Opener {
    aead: Aead,
    iv: Zeroizing<[u8; NONCE]>,
    seq: u64,
    form: Form,
}

impl Opener {
    pub(super) fn new(provider: Provider, form: Form, key: &TrafficKey) -> Option<Self> {
        Some(Self { aead: key.aead(provider)?, iv: key.iv.clone(), seq: key.seq, form })
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) const fn held(&self) -> usize {
        self.aead.held()
    }

    /// The next record is the first under this key.
    pub(super) fn rekey(&mut self, provider: Provider, key: &TrafficKey) -> Result<(), Fault> {
        *self = Self::new(provider, self.form, key).ok_or(Fault::Internal)?;
        Ok(())
    }

    /// The first record of `data`; `None`: it is not all there.
    pub(in crate::tls) fn first<'a>(&self, data: &'a [u8]) -> Result<Option<Record<'a>>, Fault> {
        // RFC 8446 5.2 and 5.4: padding is no excuse for more than 2^14 + 1 bytes inside, so 2^14 + 256 are never reached.
        Record::first(data, MAX_PLAINTEXT + self.overhead())
    }

    /// What a record carries at most, whatever is inside.
    pub(in crate::tls) fn content_len(&self, record: &Record<'_>) -> usize {
        record.payload.len().saturating_sub(self.overhead())
    }

    fn overhead(&self) -> usize {
        self.form.explicit_nonce() + self.form.inner_type() + TAG
    }

    /// Opens a record into the front of `out`, which has [`content_len`](Self::content_len) and 17 bytes. Gives the type and
    /// the length of what is there. Only [`advance`](Self::advance) says that the record is done with.
    pub(in crate::tls) fn open(&self, record: &Record<'_>, out: &mut [u8]) -> Result<(u8, usize), Fault> {
        let bad_mac = Fault::Broken(description::BAD_RECORD_MAC);
        // After the handshake everything is protected, and says so (RFC 8446 5.2); nor is there any change_cipher_spec to be
        // dropped (RFC 8446 5, D.4).
        if self.form == Form::Tls13 && record.kind != content::APPLICATION_DATA {
            return Err(Fault::Broken(description::UNEXPECTED_MESSAGE));
        }
        if record.payload.len() < self.overhead() {
            return Err(bad_mac);
        }
        let len = record.payload.len() - self.form.explicit_nonce() - TAG;
        match self.form {
            Form::Tls13 => {
                let nonce = nonce(&self.iv, self.seq);
                self.aead.open(nonce, &record.header(), record.payload, out).ok_or(bad_mac)?;
                // RFC 8446 5.4: zeros behind the type of content are padding; nothing but zeros is nothing.
                let last = out[..len].iter().rposition(|byte| *byte != 0);
                last.map(|at| (out[at], at)).ok_or(Fault::Broken(description::UNEXPECTED_MESSAGE))
            }
            Form::Tls12Gcm | Form::Tls12ChaCha => {
                let (nonce, sealed) = match (self.form, record.payload.split_first_chunk()) {
                    (Form::Tls12Gcm, Some((explicit, sealed))) => (self.with_explicit(explicit), sealed),
                    _ => (nonce(&self.iv, self.seq), record.payload),
                };
                let aad = tls12_aad(self.seq, record.kind, len);
                self.aead.open(nonce, &aad, sealed, out).ok_or(bad_mac)?;
                Ok((record.kind, len))
            }
        }
    }

    /// RFC 5288 3: the peer's 8 bytes may be anything that it has not used before.
    fn with_explicit(&self, explicit: &[u8; EXPLICIT_NONCE]) -> [u8; NONCE] {
        let mut nonce = *self.iv;
        nonce[NONCE - EXPLICIT_NONCE..].copy_from_slice(explicit);
        nonce
    }

    /// What was opened last is done with. Sequence numbers do not wrap (RFC 8446 5.3, RFC 5246 6.1).
    pub(in crate::tls) fn advance(&mut self) -> Result<(), Fault> {
        self.seq = self.seq.checked_add(1).ok_or(Fault::Broken(description::UNEXPECTED_MESSAGE))?;
        Ok(())
    }
}
