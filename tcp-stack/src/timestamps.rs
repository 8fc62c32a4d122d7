//! The timestamp clock of a connection, and PAWS (RFC 7323).

use crate::{AdoptedTimestamps, Duration, Instant, Seq, Timestamps};

/// RFC 7323 5.5: TS.Recent says nothing about a peer that has been silent for 24 days.
const RECENT_VALID: Duration = Duration::from_secs(24 * 24 * 3600);

/// Both ends' clocks. Ours ticks in milliseconds from where the peer has last seen it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: u32,
    started_at: Instant,
    /// TS.Recent and when it was taken.
    recent: u32,
    recent_at: Option<Instant>,
}

impl Clock {
    pub(crate) fn new(now: Instant, start: u32) -> Self {
        Clock { start, started_at: now, recent: 0, recent_at: None }
    }

    /// Goes on with the clock of the end that is replaced: whatever its rate was, ours never goes back.
    pub(crate) fn adopt(now: Instant, adopted: AdoptedTimestamps) -> Self {
        Clock {
            start: adopted.last_sent,
            started_at: adopted.at,
            recent: adopted.ts_recent,
            recent_at: Some(now),
        }
    }

    pub(crate) fn option(&self, now: Instant) -> Timestamps {
        Timestamps { val: self.value(now), ecr: self.recent }
    }

    /// RFC 7323 5.3, R1: whether a segment is older than one already taken.
    pub(crate) fn is_old(&self, now: Instant, val: u32) -> bool {
        self.recent_at.is_some_and(|at| Seq(val).before(Seq(self.recent)) && elapsed(at, now) < RECENT_VALID)
    }

    /// Takes TS.Recent; the caller has checked that the segment covers Last.ACK.sent (RFC 7323 4.3).
    pub(crate) fn take(&mut self, now: Instant, val: u32) {
        self.recent = val;
        self.recent_at = Some(now);
    }

    /// Round-trip time from an echo, if it echoes this clock and not the one before the adoption, or
    /// nonsense.
    pub(crate) fn round_trip(&self, now: Instant, ecr: u32) -> Option<Duration> {
        let value = self.value(now);
        let possible = Seq(ecr).after(Seq(self.start)) && Seq(ecr).at_or_before(Seq(value));
        possible.then(|| Duration::from_millis(u64::from(value.wrapping_sub(ecr))))
    }

    /// Whether an echo is of a segment sent before `at`.
    pub(crate) fn is_before(&self, ecr: u32, at: Instant) -> bool {
        Seq(ecr).before(Seq(self.value(at)))
    }

    /// Our clock, TSval.
    pub(crate) fn value(&self, now: Instant) -> u32 {
        // The clock wraps after 49 days, as every timestamp clock does.
        self.start.wrapping_add(elapsed(self.started_at, now).total_millis() as u32)
    }
}

/// `now - since`, or zero where a caller's times run backwards (`Instant` would give the absolute
/// difference).
pub(crate) fn elapsed(since: Instant, now: Instant) -> Duration {
    if now > since { now - since } else { Duration::ZERO }
}
