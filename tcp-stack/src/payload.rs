//! What a connection sends: buffers of the caller's own kind.

use bytes::Bytes;

/// A buffer that can be queued for sending without copying it.
///
/// It is kept until its last byte has been acknowledged, and read again for every retransmission, so its
/// bytes must not change.
pub trait Payload {
    /// The bytes.
    fn as_slice(&self) -> &[u8];

    /// Their number.
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Payload for Bytes {
    fn as_slice(&self) -> &[u8] {
        self
    }
}
