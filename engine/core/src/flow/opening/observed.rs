//! What one end has shown of itself while a connection opened.

use tcp_stack::{Instant, Segment, Seq};

/// RFC 7323 2.3: a larger shift counts as this.
const MAX_SCALE: u8 = 14;

/// One end, as it has shown itself to the other.
#[derive(Clone, Copy)]
pub(super) struct Observed {
    pub(super) isn: Seq,
    pub(super) mss: Option<u16>,
    pub(super) scale: Option<u8>,
    pub(super) sack: bool,
    /// The option was in the SYN.
    pub(super) has_timestamps: bool,
    /// Last TSval, and when it went by.
    pub(super) tsval: u32,
    pub(super) tsval_at: Instant,
    /// The end's window as the field said last, and the right edge that it promised: ACK + window.
    pub(super) window: u32,
    pub(super) edge: Seq,
}

impl Observed {
    pub(super) fn syn(now: Instant, segment: &Segment<'_>) -> Self {
        let window = u32::from(segment.window); // never scaled in a SYN (RFC 7323 2.2)
        Self {
            isn: segment.seq,
            mss: segment.options.mss,
            scale: segment.options.window_scale.map(|s| s.min(MAX_SCALE)),
            sack: segment.options.sack_permitted,
            has_timestamps: segment.options.timestamps.is_some(),
            tsval: segment.options.timestamps.map_or(0, |t| t.val),
            tsval_at: now,
            window,
            edge: segment.ack.unwrap_or_default() + window,
        }
    }

    /// An acknowledgement of this end has passed on to the other.
    pub(super) fn acknowledged(&mut self, now: Instant, segment: &Segment<'_>, scale: u8) {
        let Some(ack) = segment.ack else { return };
        self.window = u32::from(segment.window) << scale;
        self.edge = self.edge.later(ack + self.window);
        if let Some(t) = segment.options.timestamps {
            (self.tsval, self.tsval_at) = (t.val, now);
        }
    }

    /// Last TSval, and when it went by.
    pub(super) fn timestamps(&self) -> Option<(u32, Instant)> {
        self.has_timestamps.then_some((self.tsval, self.tsval_at))
    }
}
