//! CUBIC (RFC 9438). Windows are in segments here, times in seconds, as in the RFC's formulas; the floating point is plain
//! arithmetic only, which gives the same on every machine.

use super::Delivery;
use crate::Instant;
use crate::timestamps::elapsed;

/// RFC 9438 4.6 and 5.1.
const BETA: f64 = 0.7;
const C: f64 = 0.4;
/// RFC 9438 4.3: as many segments per round trip as Reno gets with this beta.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// State of RFC 9438 4.1.2.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cubic {
    /// W_max, where the window was reduced last; 0 before.
    max: f64,
    /// cwnd_prior
    prior: f64,
    epoch: Option<Epoch>,
    /// Part of a byte that growth has earned.
    fraction: f64,
    /// Since when the window has not been what limits.
    paused: Option<Instant>,
}

/// A stage of congestion avoidance.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    start: Instant,
    /// K
    k: f64,
    /// The plateau: W_max, or the window at the start if that is higher.
    origin: f64,
    /// W_est
    reno: f64,
}

impl Cubic {
    pub(super) fn grow(&mut self, cwnd: u32, smss: u32, delivery: &Delivery) -> u32 {
        let segment = f64::from(smss);
        let window = f64::from(cwnd) / segment;
        let delivered = f64::from(delivery.bytes) / segment;
        let paused = self.paused.take();
        let max = self.max;
        let epoch = self.epoch.get_or_insert_with(|| Epoch::new(delivery.now, window, max));
        if let Some(since) = paused {
            // RFC 9438 5.8: time in which the window was not used is not counted.
            epoch.start += elapsed(since, delivery.now);
        }
        // RFC 9438 4.3: once the window is as large as before the loss, it is Reno's that is followed.
        let alpha = if epoch.reno >= self.prior { 1.0 } else { ALPHA };
        epoch.reno += alpha * delivered / window;
        let t = seconds(elapsed(epoch.start, delivery.now));
        let grown = if epoch.at(t) < epoch.reno {
            window.max(epoch.reno)
        } else {
            let target = epoch.at(t + seconds(delivery.srtt)).clamp(window, 1.5 * window);
            window + (target - window) / window * delivered
        };
        let bytes = grown * segment + self.fraction;
        let whole = bytes.min(f64::from(u32::MAX)) as u32;
        self.fraction = bytes - f64::from(whole);
        whole.max(cwnd)
    }

    /// RFC 9438 4.6 and 4.7.
    pub(super) fn on_loss(&mut self, cwnd: u32, smss: u32) -> u32 {
        let window = f64::from(cwnd) / f64::from(smss);
        // Fast convergence: a window that has not come back to where it was makes room.
        self.max = if window < self.max { window * (1.0 + BETA) / 2.0 } else { window };
        self.prior = window;
        (self.epoch, self.fraction, self.paused) = (None, 0.0, None);
        (f64::from(cwnd) * BETA) as u32
    }

    /// Something arrived while the window was not filled.
    pub(super) fn on_pause(&mut self, now: Instant) {
        if self.epoch.is_some() {
            self.paused.get_or_insert(now);
        }
    }
}

impl Epoch {
    /// RFC 9438 4.2, 4.8 and 4.10.
    fn new(now: Instant, window: f64, max: f64) -> Self {
        let below = (max - window).max(0.0);
        Epoch { start: now, k: cube_root(below / C), origin: max.max(window), reno: window }
    }

    /// W_cubic(t).
    fn at(&self, t: f64) -> f64 {
        let d = t - self.k;
        C * d * d * d + self.origin
    }
}

fn seconds(duration: crate::Duration) -> f64 {
    duration.total_micros() as f64 / 1e6
}

/// Newton's method; `f64::cbrt` may differ between machines.
fn cube_root(x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let mut root = x.max(1.0);
    // From above it converges: by a third each time, then quadratically. Windows are below 2^31 segments.
    for _ in 0..48 {
        root = (2.0 * root + x / (root * root)) / 3.0;
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cube_roots() {
        for x in [1e-9, 0.001, 1.0, 2.0, 27.0, 1e3, 12_345.678, 5e9] {
            let root = cube_root(x);
            assert!((root * root * root / x - 1.0).abs() < 1e-9, "{x}: {root}");
        }
        assert_eq!(cube_root(0.0), 0.0);
    }
}
