//! Early data that a client sends with a ticket of somebody else's: it is skipped (RFC 8446 4.2.10).
//!
//! ```text
//! ClientHello | early data ... | Finished
//!               └ opens with no key of ours: dropped, until a record opens
//! ```
//! rustls does that for 16,384 bytes, but keeps what it drops in front of what comes next, and counts it again each time. So what it has
//! not opened is taken away here.

use super::record::{HEADER, TAG, content};

/// Bytes of payload of a record with all of it.
const FINISHED_PAYLOAD: usize = FINISHED + 1 + TAG;
/// Of what rustls drops, so much is for records that may be one.
const RESERVED: usize = MAX_DROPPED / 2;
/// Most that is skipped, in bytes. The true limit is in a ticket that only the client and the server know.
const MAX_SKIPPED: usize = 1 << 20;
/// What rustls drops before it takes a record for damaged, in bytes of payload.
const MAX_DROPPED: usize = 1 << 14;
/// Longest message that a client sends after it: a Finished, with SHA-384. Less of it than that may be the beginning of one.
const FINISHED: usize = 4 + 48;

/// How much may still be skipped.
pub(super) struct EarlyData {
    left: usize,
    /// Of that, by rustls.
    droppable: usize,
}

impl Default for EarlyData {
    fn default() -> Self {
        Self { left: MAX_SKIPPED, droppable: MAX_DROPPED }
    }
}

impl EarlyData {
    /// Decides over the next record: one that is too long for a Finished is not shown to rustls if that would not drop it any more.
    pub(super) fn skips(&mut self, record: &[u8]) -> bool {
        let most = self.droppable.saturating_sub(RESERVED).max(FINISHED_PAYLOAD);
        let skips = payload(record).is_some_and(|len| len > most && len <= self.left);
        if skips {
            self.left -= record.len().min(self.left);
        }
        skips
    }

    /// rustls has been shown these records, and nothing has come of the last one. Says how many bytes in front are none of the
    /// handshake's.
    pub(super) fn drop_unopened(&mut self, shown: &[u8]) -> usize {
        let tried: usize = records(shown).filter_map(payload).sum();
        self.droppable = self.droppable.saturating_sub(tried);
        let mut dropped = 0;
        for record in records(shown) {
            let rest: usize =
                records(&shown[dropped..]).map(|rest| rest.len().saturating_sub(HEADER + 1 + TAG)).sum();
            if rest <= FINISHED || payload(record).is_none() {
                break;
            }
            dropped += record.len();
        }
        self.left = self.left.saturating_sub(dropped);
        dropped
    }
}

/// Bytes of payload of a record that may be early data.
fn payload(record: &[u8]) -> Option<usize> {
    (record.first() == Some(&content::APPLICATION_DATA)).then(|| record.len().saturating_sub(HEADER))
}

/// Whole records.
fn records(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let &[.., high, low] = bytes.first_chunk::<HEADER>()?;
        let (record, rest) = bytes.split_at_checked(HEADER + usize::from(u16::from_be_bytes([high, low])))?;
        bytes = rest;
        Some(record)
    })
}
