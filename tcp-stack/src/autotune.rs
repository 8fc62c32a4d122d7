//! How large the receive window may become: dynamic right-sizing, as hosts do it.
//!
//! A sender can have at most one window in flight for each round trip. So a window that the peer fills in a round trip, and
//! whose bytes the application has taken by then, was perhaps too small: the next one may be twice as large. A peer that
//! sends little, and an application that takes little, never get a large one.

use crate::config::MAX_WINDOW;
use crate::timestamps::elapsed;
use crate::{Duration, Instant, Seq};

/// Segments that the first measurement has to exceed: what a peer sends in its first round trip (RFC 6928).
const FIRST_SEGMENTS: usize = 10;
/// Room for bursts beside the two windows' worth.
const SPARE_SEGMENTS: usize = 16;
/// Below this a round-trip time by timestamps, which count milliseconds, means little.
const COARSE: Duration = Duration::from_millis(2);

/// Measures what is taken in a round trip, and sets the limit by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Autotune {
    initial: usize,
    /// Bytes that may be held now, as far as the path is concerned.
    limit: usize,
    /// Round-trip time as a receiver sees it: never less than the true one, by much.
    rtt: Option<Duration>,
    /// A window's worth that is being timed: its end, and since when.
    timed: Option<(Seq, Instant)>,
    /// Bytes taken since `since`, and most bytes ever taken in one round trip.
    taken: usize,
    since: Instant,
    most_taken: usize,
    last_arrival: Instant,
}

impl Autotune {
    /// Begins with `initial` bytes.
    pub(crate) fn new(now: Instant, initial: usize) -> Self {
        let initial = initial.min(MAX_WINDOW);
        Autotune {
            initial,
            limit: initial,
            rtt: None,
            timed: None,
            taken: 0,
            since: now,
            most_taken: 0,
            last_arrival: now,
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The application has taken bytes.
    pub(crate) fn on_taken(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    /// Payload has arrived. `echo` is the round-trip time by its timestamps, if it has some; `window` is what the peer has
    /// been promised beyond `nxt`.
    pub(crate) fn time_round_trip(
        &mut self,
        now: Instant,
        echo: Option<Duration>,
        (nxt, window): (Seq, u32),
    ) {
        if let Some(sample) = echo {
            // A pause of the peer's application counts as well, so one sample must not say much.
            self.rtt = Some(self.rtt.map_or(sample, |rtt| (rtt * 7 + sample) / 8));
            return;
        }
        match self.timed {
            Some((end, _)) if nxt.before(end) => return,
            // A peer takes a round trip at least to fill a window, and longer if it has less to say.
            Some((_, since)) => {
                let sample = elapsed(since, now);
                self.rtt = Some(self.rtt.map_or(sample, |rtt| rtt.min(sample)));
            }
            None => {}
        }
        self.timed = Some((nxt + window.max(1), now));
    }

    /// Ends the measurement if it has lasted a round trip. `srtt` is the round-trip time as the sender's half knows it,
    /// `segment` the size of a full segment, `idle` the silence after which the limit is halved.
    pub(crate) fn adjust(&mut self, now: Instant, srtt: Option<Duration>, segment: usize, idle: Duration) {
        let silence = elapsed(core::mem::replace(&mut self.last_arrival, now), now);
        if silence >= idle {
            // What a busy time needed says less and less about the next one.
            let halvings = silence.total_micros() / idle.total_micros().max(1);
            self.limit = (self.limit >> halvings.min(31)).max(self.initial);
            (self.taken, self.since, self.most_taken, self.timed) = (0, now, 0, None);
            return;
        }
        let known = match (self.rtt, srtt) {
            (Some(rtt), Some(srtt)) if rtt <= COARSE || self.timed.is_some() => Some(rtt.min(srtt)),
            (rtt, srtt) => rtt.or(srtt),
        };
        if known.is_none_or(|rtt| elapsed(self.since, now) < rtt) {
            return;
        }
        let taken = core::mem::replace(&mut self.taken, 0);
        self.since = now;
        let before = self.most_taken.max(FIRST_SEGMENTS * segment);
        if taken <= before {
            return;
        }
        self.most_taken = taken;
        // Twice what one round trip has brought; and while that grows, as in slow start, as much more as it has grown, since
        // the next measurement ends a round trip from now.
        let twice = 2 * taken + SPARE_SEGMENTS * segment;
        let growth = (twice as u64 * (taken - before) as u64 / before as u64).min(twice as u64);
        self.limit = self.limit.max(twice + growth as usize).min(MAX_WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);
    const IDLE: Duration = Duration::from_secs(1);

    /// A peer that sends a window's worth, at most `most`, in each round trip, and an application that takes `share` percent
    /// of it. The limit after each.
    fn run(tuner: &mut Autotune, start: Instant, trips: u32, most: usize, share: usize) -> Vec<usize> {
        let mut nxt = Seq(u32::MAX - 5);
        let trip = |n| {
            let now = start + RTT * (n + 1);
            let bytes = tuner.limit().min(most);
            tuner.on_taken(bytes * share / 100);
            tuner.time_round_trip(now, Some(RTT), (nxt, bytes as u32));
            tuner.adjust(now, None, 1460, IDLE);
            nxt += bytes as u32;
            tuner.limit()
        };
        (0..trips).map(trip).collect()
    }

    #[test]
    fn grows_as_fast_as_slow_start_and_stops_with_the_peer() {
        let start = Instant::from_secs(9);
        let mut tuner = Autotune::new(start, 65_536);
        let limits = run(&mut tuner, start, 12, 3_000_000, 100);
        assert!(limits.windows(2).take(3).all(|pair| pair[1] >= 2 * pair[0]), "{limits:?}");
        let last = *limits.last().expect("twelve");
        assert!((6_000_000..12_100_000).contains(&last), "{limits:?}");
        assert_eq!(limits[8], last, "{limits:?}");
    }

    #[test]
    fn who_sends_or_takes_little_gets_little() {
        let start = Instant::from_secs(9);
        for (most, share) in [(14_000, 100), (3_000_000, 20)] {
            let mut tuner = Autotune::new(start, 65_536);
            let limits = run(&mut tuner, start, 50, most, share);
            assert!(limits.iter().all(|&limit| limit == 65_536), "{limits:?}");
        }
    }

    #[test]
    fn silence_halves_the_limit_for_each_second_down_to_the_first() {
        let start = Instant::from_secs(9);
        let mut tuner = Autotune::new(start, 65_536);
        run(&mut tuner, start, 12, 3_000_000, 100);
        let busy = tuner.limit();
        let mut now = tuner.last_arrival;
        for (seconds, expected) in [(1, busy / 2), (2, busy / 8), (3600, 65_536)] {
            now += Duration::from_secs(seconds);
            tuner.adjust(now, None, 1460, IDLE);
            assert_eq!(tuner.limit(), expected);
        }
        assert!(run(&mut tuner, now, 12, 3_000_000, 100).last() >= Some(&6_000_000), "it grows again");
    }

    #[test]
    fn without_timestamps_the_fastest_window_is_the_round_trip() {
        let mut now = Instant::from_secs(9);
        let mut tuner = Autotune::new(now, 65_536);
        let mut nxt = Seq(0);
        for millis in [0, 300, 80, 500] {
            now += Duration::from_millis(millis);
            tuner.time_round_trip(now, None, (nxt, 1000));
            nxt += 1000;
        }
        assert_eq!(tuner.rtt, Some(Duration::from_millis(80)));
        // Half of a window is none.
        tuner.time_round_trip(now + Duration::from_millis(10), None, (nxt - 500, 1000));
        assert_eq!(tuner.rtt, Some(Duration::from_millis(80)));
    }
}
