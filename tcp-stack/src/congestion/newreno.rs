//! Slow start and congestion avoidance (RFC 5681) with byte counting (RFC 3465).

use super::Controller;

/// Most that one ACK adds in slow start, in segments. RFC 3465 2.2 says 2; RFC 9406 4.2 says 8 for senders
/// that do not pace: receivers behind receive offload acknowledge many segments at once.
const SLOW_START_LIMIT: u32 = 8;

/// NewReno's window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewReno {
    /// Sender maximum segment size: payload of a full segment.
    smss: u32,
    /// `smss <= cwnd`
    cwnd: u32,
    ssthresh: u32,
    initial: u32,
    /// Bytes acknowledged in congestion avoidance since the window grew last.
    counted: u32,
}

impl NewReno {
    pub(crate) fn new(smss: u32, initial_segments: u32) -> Self {
        // RFC 6928 2: min(10 * MSS, max(2 * MSS, 14600)), for the usual 10.
        let initial = initial_segments
            .saturating_mul(smss)
            .min((2 * smss).max(initial_segments.saturating_mul(1460)))
            .max(smss);
        NewReno { smss, cwnd: initial, ssthresh: u32::MAX, initial, counted: 0 }
    }
}

impl Controller for NewReno {
    fn window(&self) -> u32 {
        self.cwnd
    }

    fn threshold(&self) -> u32 {
        self.ssthresh
    }

    fn on_ack(&mut self, acked: u32, after_timeout: bool) {
        if self.cwnd < self.ssthresh {
            // RFC 3465 2.3: after a timeout an ACK may cover bytes that left the network long ago.
            let limit = if after_timeout { 1 } else { SLOW_START_LIMIT };
            self.cwnd = self.cwnd.saturating_add(acked.min(limit * self.smss)).min(self.ssthresh);
        } else {
            // RFC 3465 2.1: one segment for each window's worth of acknowledged bytes.
            self.counted = self.counted.saturating_add(acked);
            if self.counted >= self.cwnd {
                self.counted -= self.cwnd;
                self.cwnd = self.cwnd.saturating_add(self.smss);
            }
        }
    }

    fn on_loss(&mut self, flight: u32) {
        self.ssthresh = (flight / 2).max(2 * self.smss); // RFC 5681 (4)
        self.cwnd = self.ssthresh;
        self.counted = 0;
    }

    fn on_timeout(&mut self, flight: u32, repeated: bool) {
        if !repeated {
            self.ssthresh = (flight / 2).max(2 * self.smss); // RFC 5681 (4)
        }
        self.cwnd = self.smss; // RFC 5681 3.1: loss window
        self.counted = 0;
    }

    fn on_recovered(&mut self, flight: u32) {
        // RFC 6582 3.2 (3), the first of two ways: no burst when little is left in flight.
        self.cwnd = self.ssthresh.min(flight.max(self.smss) + self.smss);
        self.counted = 0;
    }

    fn on_idle(&mut self) {
        self.cwnd = self.cwnd.min(self.initial); // RFC 5681 4.1
    }

    fn set_segment_size(&mut self, smss: u32) {
        self.smss = smss;
        self.cwnd = self.cwnd.max(smss);
        self.initial = self.initial.max(smss);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initial_window_follows_rfc_6928() {
        assert_eq!(NewReno::new(1460, 10).window(), 14_600);
        assert_eq!(NewReno::new(536, 10).window(), 5_360);
        assert_eq!(NewReno::new(8_960, 10).window(), 17_920);
        assert_eq!(NewReno::new(1460, 1).window(), 1_460);
    }

    #[test]
    fn slow_start_then_one_segment_per_window() {
        let mut newreno = NewReno::new(1000, 10);
        newreno.on_ack(2_000, false);
        assert_eq!(newreno.window(), 12_000);
        newreno.on_ack(100_000, false);
        assert_eq!(newreno.window(), 20_000);
        newreno.on_loss(20_000);
        assert_eq!((newreno.window(), newreno.threshold()), (10_000, 10_000));
        for _ in 0..9 {
            newreno.on_ack(1_000, false);
        }
        assert_eq!(newreno.window(), 10_000);
        newreno.on_ack(1_000, false);
        assert_eq!(newreno.window(), 11_000);
    }

    #[test]
    fn a_timeout_restarts_from_one_segment_and_halves_once() {
        let mut newreno = NewReno::new(1000, 10);
        newreno.on_timeout(10_000, false);
        assert_eq!((newreno.window(), newreno.threshold()), (1_000, 5_000));
        newreno.on_timeout(1_000, true);
        assert_eq!((newreno.window(), newreno.threshold()), (1_000, 5_000));
        newreno.on_ack(4_000, true);
        assert_eq!(newreno.window(), 2_000);
    }
}
