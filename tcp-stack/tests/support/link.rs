//! One direction of a link, with everything that can go wrong on it.

use std::collections::BTreeMap;

use tcp_stack::{Duration, Instant};

use super::Rng;

/// How bad a link is. Rates are per mille of frames.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    pub delay: Duration,
    /// Added to the delay at random: reorders by itself.
    pub jitter: Duration,
    pub loss: u64,
    pub duplicate: u64,
    /// Frames held back by three times the delay.
    pub reorder: u64,
    /// Frames with one bit flipped.
    pub corrupt: u64,
    /// Bytes per second; 0 is without limit.
    pub rate: u64,
    /// Longest queue in front of `rate`, bytes; more is dropped.
    pub queue: u64,
}

pub const CLEAN: Quality = Quality {
    delay: Duration::from_millis(5),
    jitter: Duration::ZERO,
    loss: 0,
    duplicate: 0,
    reorder: 0,
    corrupt: 0,
    rate: 0,
    queue: 0,
};

#[derive(Debug)]
pub struct Link {
    name: &'static str,
    quality: Quality,
    rng: Rng,
    in_flight: BTreeMap<(Instant, u64), Vec<u8>>,
    sent: u64,
    /// When the frames sent so far will have left.
    busy_until: Instant,
}

impl Link {
    pub fn new(name: &'static str, seed: u64, quality: Quality) -> Self {
        Link {
            name,
            quality,
            rng: Rng::new(seed),
            in_flight: BTreeMap::new(),
            sent: 0,
            busy_until: Instant::ZERO,
        }
    }

    pub fn send(&mut self, now: Instant, mut frame: Vec<u8>) {
        super::frame::trace(now, self.name, &frame);
        let quality = self.quality;
        let mut leaves = now;
        if quality.rate > 0 {
            let start = if self.busy_until > now { self.busy_until } else { now };
            if (start - now).total_micros() * quality.rate / 1_000_000 > quality.queue {
                return;
            }
            leaves = start + Duration::from_micros(frame.len() as u64 * 1_000_000 / quality.rate);
            self.busy_until = leaves;
        }
        if self.rng.chance(quality.loss) {
            return;
        }
        let copies = if self.rng.chance(quality.duplicate) { 2 } else { 1 };
        if self.rng.chance(quality.corrupt) {
            let at = self.rng.below(frame.len() as u64) as usize;
            frame[at] ^= 1 << self.rng.below(8);
        }
        for _ in 0..copies {
            let mut delay =
                quality.delay + Duration::from_micros(self.rng.below(quality.jitter.total_micros() + 1));
            if self.rng.chance(quality.reorder) {
                delay += quality.delay * 2;
            }
            self.sent += 1;
            self.in_flight.insert((leaves + delay, self.sent), frame.clone());
        }
    }

    /// The next frame that has arrived.
    pub fn receive(&mut self, now: Instant) -> Option<Vec<u8>> {
        let entry = self.in_flight.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    pub fn next_arrival(&self) -> Option<Instant> {
        self.in_flight.first_key_value().map(|((at, _), _)| *at)
    }
}
