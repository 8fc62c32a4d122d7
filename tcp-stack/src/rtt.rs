//! Round-trip time and retransmission timeout (RFC 6298).

use crate::timestamps::elapsed;
use crate::{Config, Duration, Instant};

/// Granularity of the clock, G: the one of timestamps, the coarser source of samples.
const GRANULARITY: Duration = Duration::from_millis(1);

/// RFC 6298 5.7: timeout when data transmission begins after a SYN had to be sent again.
const AFTER_LOST_SYN: Duration = Duration::from_secs(3);

/// How long the least round trip is remembered; after that the path may be another.
const MIN_RTT_WINDOW: Duration = Duration::from_secs(150);

/// SRTT, RTTVAR and RTO.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rtt {
    /// SRTT and RTTVAR after the first sample.
    smoothed: Option<(Duration, Duration)>,
    /// RTO without back-off; `min <= base <= max` once sampled.
    base: Duration,
    /// Doublings since the last sample.
    backoff: u32,
    min: Duration,
    max: Duration,
    /// The least round trip since `window_start`, and in the window before that.
    least: [Option<Duration>; 2],
    window_start: Instant,
}

impl Rtt {
    pub(crate) fn new(config: &Config) -> Self {
        Rtt {
            smoothed: None,
            base: config.rto_initial,
            backoff: 0,
            min: config.rto_min,
            max: config.rto_max,
            least: [None; 2],
            window_start: Instant::ZERO,
        }
    }

    /// A round trip was measured exactly; unlike [`Self::sample`], every one counts.
    pub(crate) fn observe(&mut self, now: Instant, rtt: Duration) {
        if elapsed(self.window_start, now) >= MIN_RTT_WINDOW {
            self.least = [None, self.least[0]];
            self.window_start = now;
        }
        self.least[0] = Some(self.least[0].map_or(rtt, |least| least.min(rtt)));
    }

    /// The least round trip of the last minutes.
    pub(crate) fn least(&self) -> Option<Duration> {
        self.least.iter().flatten().min().copied()
    }

    /// Takes a sample, which ends any back-off (RFC 6298 2.2, 2.3 and the note at the end of 5). Meant for one in a round
    /// trip: with more of them RTTVAR would forget faster than RFC 6298 means it to (RFC 7323, appendix G).
    pub(crate) fn sample(&mut self, rtt: Duration) {
        let (srtt, rttvar) = match self.smoothed {
            None => (rtt, rtt / 2),
            Some((srtt, rttvar)) => {
                let (srtt, rttvar, rtt) = (srtt.total_micros(), rttvar.total_micros(), rtt.total_micros());
                let rttvar = (3 * rttvar + srtt.abs_diff(rtt)) / 4;
                (Duration::from_micros((7 * srtt + rtt) / 8), Duration::from_micros(rttvar))
            }
        };
        self.smoothed = Some((srtt, rttvar));
        self.base = (srtt + GRANULARITY.max(rttvar * 4)).clamp(self.min, self.max.max(self.min));
        self.backoff = 0;
    }

    /// RFC 6298 5.5.
    pub(crate) fn back_off(&mut self) {
        self.backoff = (self.backoff + 1).min(16);
    }

    pub(crate) fn syn_was_lost(&mut self) {
        if self.smoothed.is_none() {
            self.base = self.base.max(AFTER_LOST_SYN);
            self.backoff = 0;
        }
    }

    pub(crate) fn rto(&self) -> Duration {
        self.backed_off(0)
    }

    /// The RTO doubled `more` times, within its maximum.
    pub(crate) fn backed_off(&self, more: u32) -> Duration {
        let doublings = (self.backoff + more).min(20);
        Duration::from_micros(self.base.total_micros().saturating_mul(1 << doublings)).min(self.max)
    }

    pub(crate) fn srtt(&self) -> Option<Duration> {
        self.smoothed.map(|(srtt, _)| srtt)
    }

    pub(crate) fn rttvar(&self) -> Option<Duration> {
        self.smoothed.map(|(_, rttvar)| rttvar)
    }

    pub(crate) fn doublings(&self) -> u32 {
        self.backoff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_rfc_6298() {
        let config = Config { rto_min: Duration::from_millis(1), ..Config::default() };
        let mut rtt = Rtt::new(&config);
        assert_eq!(rtt.rto(), Duration::from_secs(1));
        rtt.sample(Duration::from_millis(100));
        assert_eq!(rtt.srtt(), Some(Duration::from_millis(100)));
        assert_eq!(rtt.rto(), Duration::from_millis(300));
        // RTTVAR = 3/4 * 50 + 1/4 * |100 - 180| = 57.5; SRTT = 7/8 * 100 + 1/8 * 180 = 110.
        rtt.sample(Duration::from_millis(180));
        assert_eq!(rtt.srtt(), Some(Duration::from_millis(110)));
        assert_eq!(rtt.rto(), Duration::from_millis(340));
        assert_eq!(rtt.rttvar(), Some(Duration::from_micros(57_500)));
    }

    #[test]
    fn backs_off_within_bounds_until_a_sample() {
        let mut rtt = Rtt::new(&Config::default());
        rtt.sample(Duration::from_micros(50));
        assert_eq!(rtt.rto(), Duration::from_millis(200));
        rtt.back_off();
        assert_eq!(rtt.rto(), Duration::from_millis(400));
        for _ in 0..100 {
            rtt.back_off();
        }
        assert_eq!(rtt.rto(), Duration::from_secs(60));
        rtt.sample(Duration::from_micros(50));
        assert_eq!(rtt.rto(), Duration::from_millis(200));
    }
}
