//! How often a doubtful segment is answered (RFC 5961 7).
//!
//! A count that all connections share tells a stranger about any of them, and a count that is known exactly tells one who
//! uses it up how many true segments were answered meanwhile (CVE-2016-5696). So each connection counts for itself, and
//! how many answers an interval has is drawn anew for each, by a keyed hash.

use core::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::timestamps::elapsed;
use crate::{Duration, Instant, Seq};

/// RFC 5961 7 and hosts count in seconds.
const INTERVAL: Duration = Duration::from_secs(1);

/// Counts the answers of one connection.
#[derive(Clone, Copy)]
pub(crate) struct Challenges {
    /// The owner's secret, and what tells its connections apart.
    key: (u64, u64),
    /// Answers in an interval, on average.
    average: u32,
    intervals: u64,
    since: Option<Instant>,
    left: u32,
}

impl Challenges {
    /// For the connection that begins with these numbers.
    pub(crate) fn new(secret: u64, average: u32, (snd, rcv): (Seq, Seq)) -> Self {
        let connection = u64::from(snd.0) << 32 | u64::from(rcv.0);
        Challenges { key: (secret, connection), average, intervals: 0, since: None, left: 0 }
    }

    /// Takes one answer out of the interval's, if there is one left. An interval begins with the first segment after the
    /// end of the one before.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| elapsed(since, now) >= INTERVAL) {
            self.since = Some(now);
            self.intervals += 1;
            self.left = self.drawn();
        }
        let may = self.left > 0;
        self.left -= u32::from(may);
        may
    }

    /// From half of the average to one and a half of it, each as likely. One at least, as a true peer needs an answer.
    fn drawn(&self) -> u32 {
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        hasher.write_u64(self.intervals);
        let spread = hasher.finish() % (u64::from(self.average) + 1);
        let drawn = (self.average / 2).saturating_add(spread as u32);
        drawn.max(1).min(self.average.saturating_mul(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers in each of 1000 intervals.
    fn counts(secret: u64, average: u32, snd: u32) -> Vec<u32> {
        let mut challenges = Challenges::new(secret, average, (Seq(snd), Seq(7)));
        let count = |second| {
            let now = Instant::from_secs(second);
            (0..100).map(|_| u32::from(challenges.take(now))).sum()
        };
        (0..1000).map(count).collect()
    }

    #[test]
    #[cfg_attr(miri, ignore = "counts thousands of hashes, a minute when interpreted")]
    fn each_interval_has_another_number_of_answers() {
        let found = counts(1, 10, 5);
        for expected in 5..=15 {
            let times = found.iter().filter(|&&count| count == expected).count();
            assert!((50..150).contains(&times), "{expected} answers in {times} of 1000 intervals");
        }
        assert!(found.iter().all(|count| (5..=15).contains(count)));
    }

    #[test]
    #[cfg_attr(miri, ignore = "counts thousands of hashes, a minute when interpreted")]
    fn neither_another_connection_nor_another_secret_has_the_same() {
        let found = counts(1, 10, 5);
        for other in [counts(1, 10, 6), counts(2, 10, 5)] {
            let same = found.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!((50..150).contains(&same), "{same} of 1000 intervals are alike");
        }
        assert_eq!(found, counts(1, 10, 5));
    }

    #[test]
    #[cfg_attr(miri, ignore = "counts thousands of hashes, a minute when interpreted")]
    fn an_average_of_one_still_answers_and_of_none_does_not() {
        assert!(counts(9, 1, 5).iter().all(|count| (1..=2).contains(count)));
        assert!(counts(9, 0, 5).iter().all(|&count| count == 0));
    }

    #[test]
    #[cfg_attr(miri, ignore = "counts thousands of hashes, a minute when interpreted")]
    fn the_largest_average_still_answers() {
        assert!(counts(9, u32::MAX, 5).iter().all(|&count| count == 100));
    }
}
