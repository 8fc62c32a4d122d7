//! Proportional rate reduction (RFC 9937): during recovery what leaves follows what arrives, so that the window comes
//! down to the threshold within a round trip, neither in one step nor in a burst.

/// State of one recovery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prr {
    /// RecoverFS: what was in flight when the loss was found.
    flight: u64,
    /// prr_delivered
    delivered: u64,
    /// prr_out
    out: u64,
}

impl Prr {
    pub(crate) fn new(flight: u32) -> Self {
        Prr { flight: u64::from(flight.max(1)), delivered: 0, out: 0 }
    }

    /// `bytes` leave.
    pub(crate) fn on_sent(&mut self, bytes: u32) {
        self.out += u64::from(bytes);
    }

    /// Bytes that may be sent now, after an ACK that told of `delivered` bytes while `pipe` are in flight. `safe`: SND.UNA
    /// has advanced and no further loss was found (SafeACK of RFC 9937 6.2).
    pub(crate) fn on_ack(&mut self, delivered: u32, pipe: u32, ssthresh: u32, smss: u32, safe: bool) -> u32 {
        self.delivered += u64::from(delivered);
        let (threshold, smss) = (u64::from(ssthresh), u64::from(smss));
        let mut may_send = if pipe > ssthresh {
            (self.delivered * threshold).div_ceil(self.flight).saturating_sub(self.out)
        } else {
            let banked = self.delivered.saturating_sub(self.out).max(delivered.into());
            let limit = if safe { banked + smss } else { banked };
            limit.min(threshold - u64::from(pipe))
        };
        // The first retransmission is not held up.
        if self.out == 0 && may_send < smss {
            may_send = smss;
        }
        u32::try_from(may_send).unwrap_or(u32::MAX)
    }
}
