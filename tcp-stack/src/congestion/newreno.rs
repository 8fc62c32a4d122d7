//! Congestion avoidance of RFC 5681, counting bytes (RFC 3465).

/// Additive increase, multiplicative decrease.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NewReno {
    /// Bytes that have arrived since the window grew last.
    counted: u32,
}

impl NewReno {
    /// RFC 3465 2.1: one segment for each window's worth of bytes.
    pub(super) fn grow(&mut self, cwnd: u32, smss: u32, bytes: u32) -> u32 {
        self.counted = self.counted.saturating_add(bytes);
        if self.counted < cwnd {
            return cwnd;
        }
        self.counted -= cwnd;
        cwnd.saturating_add(smss)
    }

    /// RFC 5681 (4).
    pub(super) fn on_loss(&mut self, cwnd: u32) -> u32 {
        self.counted = 0;
        cwnd / 2
    }
}
