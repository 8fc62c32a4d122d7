//! How much is signed in a second.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A bucket that a second's worth fits into.
#[derive(Debug)]
pub struct Limiter {
    per_second: f64,
    bucket: Mutex<(f64, Instant)>,
}

impl Limiter {
    /// Full at `now`.
    pub fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, bucket: Mutex::new((per_second, now)) }
    }

    /// One more is within it.
    pub fn take(&self, now: Instant) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = *bucket;
        let gained = now.saturating_duration_since(since).as_secs_f64() * self.per_second;
        let left = (left + gained).min(self.per_second);
        let is_within = left >= 1.0;
        *bucket = (if is_within { left - 1.0 } else { left }, since.max(now));
        is_within
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_seconds_worth_at_once_and_no_more() {
        let start = Instant::now();
        let limiter = Limiter::new(3, start);
        assert_eq!([0; 4].map(|_| limiter.take(start)), [true, true, true, false]);
        let third = start + Duration::from_millis(334);
        assert_eq!([0; 2].map(|_| limiter.take(third)), [true, false]);
        // A clock that goes back gives nothing.
        assert!(!limiter.take(start));
        let later = start + Duration::from_secs(60);
        assert_eq!([0; 4].map(|_| limiter.take(later)), [true, true, true, false]);
    }
}
