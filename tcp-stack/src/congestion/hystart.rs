//! HyStart++ (RFC 9406): slow start ends when the round trip grows, before a queue on the way overflows.

use super::Delivery;
use crate::{Duration, Seq};

/// RFC 9406 4.3.
const MIN_RTT_THRESH: Duration = Duration::from_millis(4);
const MAX_RTT_THRESH: Duration = Duration::from_millis(16);
const MIN_RTT_DIVISOR: u32 = 8;
const N_RTT_SAMPLE: u32 = 8;
const CSS_GROWTH_DIVISOR: u32 = 4;
const CSS_ROUNDS: u32 = 5;

/// Rounds of one slow start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HyStart {
    /// windowEnd: acknowledging it ends the round.
    round_end: Option<Seq>,
    /// lastRoundMinRTT, currentRoundMinRTT, rttSampleCount
    last: Option<Duration>,
    current: Option<Duration>,
    samples: u32,
    /// Conservative slow start: cssBaselineMinRtt, and its rounds left.
    conservative: Option<(Duration, u32)>,
}

impl HyStart {
    /// Takes a delivery. Returns whether slow start is over.
    pub(super) fn on_delivery(&mut self, delivery: &Delivery) -> bool {
        let mut over = false;
        if self.round_end.is_none_or(|end| delivery.una.at_or_after(end)) {
            self.round_end = Some(delivery.nxt);
            (self.last, self.current, self.samples) = (self.current, None, 0);
            if let Some((_, rounds)) = &mut self.conservative {
                *rounds -= 1;
                over = *rounds == 0;
            }
        }
        let Some(rtt) = delivery.rtt else { return over };
        let current = self.current.map_or(rtt, |current| current.min(rtt));
        self.current = Some(current);
        self.samples += 1;
        if self.samples < N_RTT_SAMPLE {
            return over;
        }
        match (self.conservative, self.last) {
            // It was jitter: on with the usual slow start.
            (Some((baseline, _)), _) if current < baseline => self.conservative = None,
            (None, Some(last)) if current >= last + threshold(last) => {
                self.conservative = Some((current, CSS_ROUNDS));
            }
            _ => {}
        }
        over
    }

    /// What growth is divided by.
    pub(super) fn divisor(&self, initial_slow_start: bool) -> u32 {
        if initial_slow_start && self.conservative.is_some() { CSS_GROWTH_DIVISOR } else { 1 }
    }
}

fn threshold(last: Duration) -> Duration {
    (last / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH)
}
