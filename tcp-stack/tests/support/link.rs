//! One direction of a link, with everything that can go wrong on it, and qualities that change with time.

use std::collections::BTreeMap;

use tcp_stack::{Duration, Instant};

use super::Rng;
use super::frame::{self, Fate};

/// How bad a link is. Rates are per mille of frames.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    pub delay: Duration,
    /// Added to the delay at random: reorders by itself.
    pub jitter: Duration,
    pub loss: u64,
    pub burst: Option<Burst>,
    pub duplicate: u64,
    /// Frames held back by up to three times the delay.
    pub reorder: u64,
    /// Frames with one bit flipped.
    pub corrupt: u64,
    /// Further loss of frames without payload.
    pub ack_loss: u64,
    /// Frames without payload arrive at multiples of this time only: compressed ACKs.
    pub ack_every: Duration,
    /// Bytes per second; 0 is without limit.
    pub rate: u64,
    /// Longest queue in front of `rate`, bytes; more is dropped.
    pub queue: u64,
    /// Longest packet; 0 is without limit. The sender is told of longer ones, unless the link is a black hole.
    pub mtu: usize,
    pub black_hole: bool,
}

/// Loss after Gilbert and Elliott: a link that is bad for a while, and then good again.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// Per mille, at each frame: a good link becomes bad, a bad one good.
    pub begin: u64,
    pub end: u64,
    /// Loss while it is bad, per mille.
    pub loss: u64,
}

pub const CLEAN: Quality = Quality {
    delay: Duration::from_millis(5),
    jitter: Duration::ZERO,
    loss: 0,
    burst: None,
    duplicate: 0,
    reorder: 0,
    corrupt: 0,
    ack_loss: 0,
    ack_every: Duration::ZERO,
    rate: 0,
    queue: 0,
    mtu: 0,
    black_hole: false,
};

/// Qualities, and when each begins; the first at once.
pub type Schedule = Vec<(Instant, Quality)>;

#[derive(Debug)]
pub struct Link {
    name: &'static str,
    schedule: Schedule,
    rng: Rng,
    /// By arrival: when it was sent, and the frame.
    in_flight: BTreeMap<(Instant, u64), Vec<u8>>,
    sent: u64,
    bad: bool,
    last_at: Instant,
    /// When the frames sent so far will have left.
    busy_until: Instant,
    /// Too long for the link, and for which length; to be told to its sender.
    too_big: Vec<(Vec<u8>, usize)>,
    /// Longest time that a frame has been under way, those in flight included.
    pub slowest: Duration,
}

impl Link {
    pub fn new(name: &'static str, seed: u64, schedule: Schedule) -> Self {
        Link {
            name,
            schedule,
            rng: Rng::new(seed),
            in_flight: BTreeMap::new(),
            sent: 0,
            bad: false,
            last_at: Instant::ZERO,
            busy_until: Instant::ZERO,
            too_big: Vec::new(),
            slowest: Duration::ZERO,
        }
    }

    fn quality(&self, now: Instant) -> Quality {
        let begun = self.schedule.iter().rev().find(|(from, _)| *from <= now);
        begun.or(self.schedule.first()).map_or(CLEAN, |(_, quality)| *quality)
    }

    pub fn send(&mut self, now: Instant, mut frame: Vec<u8>) {
        let quality = self.quality(now);
        let fate = self.fate(now, &quality, &frame);
        let trace = frame::Traced { at: now, way: self.name, fate };
        frame::trace(&trace, &frame);
        if matches!(fate, Fate::TooBig) && !quality.black_hole {
            self.too_big.push((frame.clone(), quality.mtu));
        }
        let Fate::Arrives { at, again, corrupt } = fate else { return };
        if corrupt {
            let at = self.rng.below(frame.len() as u64) as usize;
            frame[at] ^= 1 << self.rng.below(8);
        }
        for at in std::iter::once(at).chain(again) {
            self.sent += 1;
            self.slowest = self.slowest.max(at - now);
            self.in_flight.insert((at, self.sent), frame.clone());
        }
    }

    fn fate(&mut self, now: Instant, quality: &Quality, frame: &[u8]) -> Fate {
        if quality.mtu > 0 && frame.len() > quality.mtu {
            return Fate::TooBig;
        }
        let mut leaves = now;
        if quality.rate > 0 {
            let start = if self.busy_until > now { self.busy_until } else { now };
            if (start - now).total_micros() * quality.rate / 1_000_000 > quality.queue {
                return Fate::QueueFull;
            }
            leaves = start + Duration::from_micros(frame.len() as u64 * 1_000_000 / quality.rate);
            self.busy_until = leaves;
        }
        let is_ack = !frame::has_payload(frame);
        // A burst of losses does not wait for frames.
        self.bad &= now - self.last_at < super::ms(1_000);
        self.last_at = now;
        let burst_loss = quality.burst.map_or(0, |burst| self.burst_loss(burst));
        let losses = [quality.loss, burst_loss, if is_ack { quality.ack_loss } else { 0 }];
        if losses.into_iter().any(|loss| self.rng.chance(loss)) {
            return Fate::Lost;
        }
        let at = leaves + self.delay(quality, is_ack, leaves);
        let again = self.rng.chance(quality.duplicate).then(|| leaves + self.delay(quality, is_ack, leaves));
        Fate::Arrives { at, again, corrupt: self.rng.chance(quality.corrupt) }
    }

    fn burst_loss(&mut self, burst: Burst) -> u64 {
        self.bad = if self.bad { !self.rng.chance(burst.end) } else { self.rng.chance(burst.begin) };
        if self.bad { burst.loss } else { 0 }
    }

    fn delay(&mut self, quality: &Quality, is_ack: bool, leaves: Instant) -> Duration {
        let mut delay =
            quality.delay + Duration::from_micros(self.rng.below(quality.jitter.total_micros() + 1));
        if self.rng.chance(quality.reorder) {
            delay += Duration::from_micros(self.rng.below(3 * quality.delay.total_micros() + 1));
        }
        let grid = quality.ack_every.total_micros();
        if is_ack && grid > 0 {
            let arrives = (leaves + delay).total_micros() as u64;
            delay += Duration::from_micros(arrives.next_multiple_of(grid) - arrives);
        }
        delay
    }

    /// The next frame that has arrived.
    pub fn receive(&mut self, now: Instant) -> Option<Vec<u8>> {
        let entry = self.in_flight.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// What a router says of packets that were too long: which, and what the link carries.
    pub fn take_too_big(&mut self) -> Vec<(Vec<u8>, usize)> {
        std::mem::take(&mut self.too_big)
    }

    pub fn next_arrival(&self) -> Option<Instant> {
        self.in_flight.first_key_value().map(|((at, _), _)| *at)
    }
}
