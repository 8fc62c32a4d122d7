//! One timer wheel per worker: hierarchical, 1 ms ticks, O(1) to set and to fire.
//!
//! A flow keeps its own deadline and an [`Alarm`], which tells the wheel only when the deadline comes *earlier* than what
//! the wheel holds; when an entry fires too early, the alarm is simply set again. So a packet that pushes a timeout back
//! costs nothing.

use tcp_stack::{Duration, Instant};

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// 64^4 ms: four and a half hours. A later deadline waits in the top level and is placed again when its slot comes.
const LEVELS: usize = 4;

/// Longest time that an entry stays in the wheel. An entry cannot be taken out, so what ended flows leave behind is
/// bounded by this; a flow that waits for longer wakes up for nothing once in this time.
const LONGEST: Duration = Duration::from_secs(64);
/// No tick.
const NEVER: u64 = u64::MAX;

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

/// One flow's place in a wheel: fires at its deadline or before.
///
/// A flow that swings between a near deadline and a far one would leave an entry behind at every swing. So the alarm
/// remembers the one that it left behind, and takes it up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The tick for which it is set.
    set: u64,
    /// A tick, later than that, for which the wheel has an entry too.
    behind: u64,
}

impl Alarm {
    /// Not set.
    pub const fn new() -> Self {
        Self { set: NEVER, behind: NEVER }
    }

    /// Sees to it that `wheel` fires for `what` at `at`, or before.
    pub fn set<T: Copy>(&mut self, wheel: &mut TimerWheel<T>, at: Instant, what: T) {
        let at = at.min(Instant::from_millis(wheel.now as i64) + LONGEST);
        let due = tick(at).max(wheel.now + 1);
        if due >= self.set {
            return;
        }
        let is_behind = self.behind != NEVER && self.behind > wheel.now;
        if is_behind && self.behind <= due {
            return std::mem::swap(&mut self.set, &mut self.behind);
        }
        let left = std::mem::replace(&mut self.set, wheel.set(at, what));
        if left != NEVER && !(is_behind && self.behind > left) {
            self.behind = left;
        }
    }

    /// An entry of the flow has fired. False: it was left behind, and nothing is due.
    pub fn fire(&mut self, tick: u64) -> bool {
        let fires = self.set == tick;
        if fires {
            self.set = NEVER;
        }
        fires
    }
}

impl Default for Alarm {
    fn default() -> Self {
        Self::new()
    }
}

/// The tick of a time, rounded up so that a timer never fires before it.
fn tick(at: Instant) -> u64 {
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

    /// A flow whose deadline is an hour away, but for 200 ms after each of its packets.
    #[test]
    fn an_alarm_that_swings_leaves_nothing_behind() {
        let mut wheel = TimerWheel::new(ms(0));
        let (mut alarm, mut fired) = (Alarm::new(), Vec::new());
        let mut now = 0;
        for packet in 0..20_000 {
            let near = now + [200, 40, 1_000][packet % 3];
            alarm.set(&mut wheel, ms(near), ());
            while now < near {
                now += 10;
                wheel.advance(ms(now), &mut fired);
                for (tick, ()) in fired.drain(..) {
                    if alarm.fire(tick) {
                        alarm.set(&mut wheel, ms(if now < near { near } else { now + 3_600_000 }), ());
                    }
                }
            }
            assert!(wheel.len() <= 4, "{} entries after {packet} packets", wheel.len());
        }
    }

    proptest::proptest! {
        #[test]
        fn an_alarm_never_fires_late(steps in proptest::collection::vec((0u64..100_000, 1u64..5_000), 1..200)) {
            let mut wheel = TimerWheel::new(ms(7));
            let (mut alarm, mut fired) = (Alarm::new(), Vec::new());
            let (mut now, mut deadline) = (7, u64::MAX);
            for (after, step) in steps {
                deadline = deadline.min(now + after).max(now + 1);
                alarm.set(&mut wheel, ms(deadline), ());
                for _ in 0..step {
                    now += 1;
                    wheel.advance(ms(now), &mut fired);
                    let mut rang = false;
                    for (tick, ()) in fired.drain(..) {
                        rang |= alarm.fire(tick);
                    }
                    proptest::prop_assert!(rang || now < deadline);
                    match (rang, now >= deadline) {
                        (true, true) => deadline = u64::MAX,
                        (true, false) => alarm.set(&mut wheel, ms(deadline), ()),
                        _ => {}
                    }
                    if deadline == u64::MAX {
                        break;
                    }
                }
            }
        }

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
