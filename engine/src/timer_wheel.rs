//! One timer wheel per worker: hierarchical, 1 ms ticks, O(1) to set and to fire.
//!
//! A flow keeps its own deadline and tells the wheel only when the deadline comes *earlier* than what the wheel holds;
//! when an entry fires too early, the flow is simply set again. So a packet that pushes a timeout back costs nothing.

use tcp_stack::Instant;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// 64^4 ms: four and a half hours. A later deadline waits in the top level and is placed again when its slot comes.
const LEVELS: usize = 4;

/// The wheel; `T` names what the timer is for.
pub struct TimerWheel<T> {
    /// The tick up to which everything has fired.
    now: u64,
    levels: [[Vec<(u64, T)>; SLOTS]; LEVELS],
    /// Entries in all levels.
    len: usize,
    scratch: Vec<(u64, T)>,
}

impl<T: Copy> TimerWheel<T> {
    /// An empty wheel that starts at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            now: tick(now),
            levels: std::array::from_fn(|_| std::array::from_fn(|_| Vec::new())),
            len: 0,
            scratch: Vec::new(),
        }
    }

    /// Sets a timer. Returns the tick at which it fires: the first not before `at`, and not before the next one.
    pub fn set(&mut self, at: Instant, what: T) -> u64 {
        let due = tick(at).max(self.now + 1);
        self.place(due, what);
        self.len += 1;
        due
    }

    /// Timers set and not yet fired.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No timer is set.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Moves to `now` and pushes what is due to `fired`, with the tick that [`Self::set`] returned for it.
    pub fn advance(&mut self, now: Instant, fired: &mut Vec<(u64, T)>) {
        let to = now.total_micros().max(0) as u64 / 1000;
        if self.len == 0 {
            self.now = self.now.max(to);
            return;
        }
        while self.now < to {
            self.now += 1;
            self.cascade();
            let slot = &mut self.levels[0][self.now as usize % SLOTS];
            self.len -= slot.len();
            fired.append(slot);
        }
    }

    /// When the next entry may fire, at the latest that; for sleeping. Looks at 64 slots of the lowest level.
    pub fn next(&self) -> Option<Instant> {
        if self.len == 0 {
            return None;
        }
        let ahead = (1..=SLOTS as u64).find(|d| {
            !self.levels[0][(self.now + d) as usize % SLOTS].is_empty()
                || (self.now + d).is_multiple_of(SLOTS as u64)
        })?;
        Some(Instant::from_micros(((self.now + ahead) * 1000) as i64))
    }

    fn place(&mut self, due: u64, what: T) {
        let ahead = due - self.now;
        let level = (0..LEVELS).find(|l| ahead < 1 << (SLOT_BITS * (*l as u32 + 1)));
        let (level, at) = match level {
            Some(level) => (level, due),
            // Beyond the horizon: as late as the top level reaches.
            None => (LEVELS - 1, self.now + (1 << (SLOT_BITS * LEVELS as u32)) - 1),
        };
        self.levels[level][(at >> (SLOT_BITS * level as u32)) as usize % SLOTS].push((due, what));
    }

    /// Where a higher level's slot begins at this tick, its entries move down.
    fn cascade(&mut self) {
        for level in 1..LEVELS {
            if !self.now.is_multiple_of(1 << (SLOT_BITS * level as u32)) {
                return;
            }
            let slot = (self.now >> (SLOT_BITS * level as u32)) as usize % SLOTS;
            std::mem::swap(&mut self.scratch, &mut self.levels[level][slot]);
            let mut moving = std::mem::take(&mut self.scratch);
            for (due, what) in moving.drain(..) {
                if due <= self.now {
                    self.levels[0][self.now as usize % SLOTS].push((due, what));
                } else {
                    self.place(due, what);
                }
            }
            self.scratch = moving;
        }
    }
}

/// The tick of a time, rounded up so that a timer never fires before it.
pub(crate) fn tick(at: Instant) -> u64 {
    (at.total_micros().max(0) as u64).div_ceil(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Instant {
        Instant::from_millis(ms as i64)
    }

    #[test]
    fn fires_at_its_tick_over_all_levels() {
        let mut wheel = TimerWheel::new(ms(12_345));
        let delays = [1, 2, 63, 64, 65, 4_095, 4_096, 5_000, 262_143, 262_144, 300_000, 16_777_215];
        for delay in delays {
            wheel.set(ms(12_345 + delay), delay);
        }
        let mut fired = Vec::new();
        for step in 1..=16_777_215 {
            let before = fired.len();
            wheel.advance(ms(12_345 + step), &mut fired);
            for (due, delay) in &fired[before..] {
                assert_eq!((*delay, *due), (step, 12_345 + step));
            }
        }
        assert_eq!(fired.len(), delays.len());
        assert!(wheel.is_empty());
    }

    #[test]
    fn beyond_the_horizon_is_kept_too() {
        let mut wheel = TimerWheel::new(ms(0));
        let far = 40_000_000;
        wheel.set(ms(far), ());
        let mut fired = Vec::new();
        wheel.advance(ms(far - 1), &mut fired);
        assert!(fired.is_empty());
        wheel.advance(ms(far), &mut fired);
        assert_eq!(fired, [(far, ())]);
    }

    proptest::proptest! {
        #[test]
        fn none_is_lost_none_is_early(
            start in 0u64..1_000_000,
            delays in proptest::collection::vec(0u64..300_000, 1..50),
            steps in proptest::collection::vec(1u64..20_000, 1..100),
        ) {
            let mut wheel = TimerWheel::new(ms(start));
            let mut waiting: Vec<_> = delays.iter().map(|d| wheel.set(ms(start + d), ())).collect();
            let mut now = start;
            let mut fired = Vec::new();
            for step in steps.into_iter().chain([400_000]) {
                if let Some(next) = wheel.next() {
                    let first = *waiting.iter().min().expect("not empty");
                    proptest::prop_assert!(next.total_millis() as u64 <= first);
                }
                now += step;
                wheel.advance(ms(now), &mut fired);
                for (due, ()) in fired.drain(..) {
                    proptest::prop_assert!(due <= now);
                    let at = waiting.iter().position(|w| *w == due);
                    proptest::prop_assert!(at.is_some());
                    waiting.swap_remove(at.expect("just checked"));
                }
                proptest::prop_assert!(waiting.iter().all(|w| *w > now));
                proptest::prop_assert_eq!(wheel.len(), waiting.len());
            }
        }
    }
}
