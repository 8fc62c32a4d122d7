//! Sealing: in the block where the plaintext lies.

use zeroize::Zeroizing;

use super::aead::{Aead, NONCE, TrafficKey, nonce};
use super::{EXPLICIT_NONCE, Fault, Form, HEADER, MAX_PLAINTEXT, TAG, content, header, tls12_aad};
use crate::x509::Provider;

/// What seals the records for one peer.
pub(in crate::tls) struct Sealer {
    aead: Aead,
    iv: Zeroizing<[u8; NONCE]>,
    seq: u64,
    /// Records that one key may protect.
    limit: u64,
    form: Form,
}

impl Sealer {
    pub(super) fn new(provider: Provider, form: Form, key: &TrafficKey) -> Option<Self> {
        let limit = key.suite().max_records();
        Some(Self { aead: key.aead(provider)?, iv: key.iv.clone(), seq: key.seq, limit, form })
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) const fn held(&self) -> usize {
        self.aead.held()
    }

    /// The next record is the first under this key.
    pub(super) fn rekey(&mut self, provider: Provider, key: &TrafficKey) -> Result<(), Fault> {
        let limit = self.limit;
        *self = Self { limit, ..Self::new(provider, self.form, key).ok_or(Fault::Internal)? };
        Ok(())
    }

    /// See [`crate::tls::Relay::limit_keys`].
    pub(in crate::tls) fn limit_key(&mut self, records: u64) {
        self.limit = self.limit.min(records);
    }

    /// The key has one record left: that is for what ends its use.
    pub(in crate::tls) fn is_used_up(&self) -> bool {
        self.seq.saturating_add(1) >= self.limit
    }

    /// Where in a block the plaintext has to be.
    pub(in crate::tls) fn plaintext_at(&self) -> usize {
        HEADER + self.form.explicit_nonce()
    }

    /// Makes a record of the `len` bytes of plaintext in a block, which has 17 bytes more behind them. Gives the length of the
    /// record, which begins with the block.
    pub(in crate::tls) fn seal(&mut self, kind: u8, block: &mut [u8], len: usize) -> Result<usize, Fault> {
        if len > MAX_PLAINTEXT || self.seq >= self.limit {
            return Err(Fault::Internal);
        }
        let nonce = nonce(&self.iv, self.seq);
        let at = self.plaintext_at();
        let inner = len + self.form.inner_type();
        let end = at + inner + TAG;
        let (tag, head) = match self.form {
            Form::Tls13 => {
                block[at + len] = kind;
                let head = header(content::APPLICATION_DATA, inner + TAG);
                (self.aead.seal(nonce, &head, &mut block[at..at + inner]), head)
            }
            Form::Tls12Gcm | Form::Tls12ChaCha => {
                // An explicit nonce is the static one's last bytes, counted on: never the same twice under one key.
                block[HEADER..at].copy_from_slice(&nonce[NONCE - EXPLICIT_NONCE..][..at - HEADER]);
                let aad = tls12_aad(self.seq, kind, len);
                (self.aead.seal(nonce, &aad, &mut block[at..at + inner]), header(kind, end - HEADER))
            }
        };
        block[at + inner..end].copy_from_slice(&tag.ok_or(Fault::Internal)?);
        block[..HEADER].copy_from_slice(&head);
        self.seq += 1;
        Ok(end)
    }
}
