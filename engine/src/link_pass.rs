//! Passing the loss of a link on. Where one port of a wire has no link, the other one's is taken down: the neighbours at both ends see that
//! the wire is broken, and take another path. It comes back with the one that was lost. Knows no thread and no driver.

use std::time::{Duration, Instant};

use wireglass_core::port::PortSide;

/// How long a link may take to come up, at the start and when its port is allowed to have one again: autonegotiation takes seconds.
const GRACE: Duration = Duration::from_secs(10);
/// Each time that one takes longer, both get twice as long, up to this: two that are slow must not take each other down for ever.
const MAX_GRACE: Duration = Duration::from_secs(160);
/// A link that is lost again so soon after it came back has flapped.
const CALM: Duration = Duration::from_secs(10);
/// How long a link that has flapped must be there before it counts, the first time and at most; each time is twice as long.
const HOLD: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(32));

/// What a wire does when one of its ports loses its link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// The other port's link is taken down, and comes back with it.
    #[default]
    Pass,
    /// Nothing.
    Independent,
}

/// A port's link is to be taken down, or allowed to come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetLink {
    /// Which port.
    pub side: PortSide,
    /// Its link may come up.
    pub up: bool,
}

/// One wire's links.
#[derive(Debug)]
pub struct WireLinks {
    state: State,
    /// When a link that was lost last came back.
    restored: Option<Instant>,
    /// How long the next one must be there before it counts.
    hold: Duration,
    /// How long the next one may take to come up.
    grace: Duration,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Both ports may have a link.
    Open,
    /// The same, and this one (none: either) need not have it before then.
    Settling(Option<PortSide>, Instant),
    /// This one has lost its link, and the other one's is taken down. Since when it is there again.
    Lost(PortSide, Option<Instant>),
}

impl WireLinks {
    /// Of ports that have just been started.
    pub fn new(now: Instant) -> Self {
        Self { state: State::Settling(None, now + GRACE), restored: None, hold: Duration::ZERO, grace: GRACE }
    }

    /// The port whose link is taken down now.
    pub fn held(&self) -> Option<PortSide> {
        match self.state {
            State::Lost(lost, _) => Some(lost.other()),
            State::Open | State::Settling(..) => None,
        }
    }

    /// Takes how the links are now. Returns what is to be done; to be called again soon.
    pub fn observe(&mut self, now: Instant, is_up: impl Fn(PortSide) -> bool) -> Option<SetLink> {
        let down = |side: &PortSide| !is_up(*side);
        match self.state {
            State::Settling(side, until) => {
                let waits_for = |down: PortSide| now < until && side.is_none_or(|side| side == down);
                match PortSide::BOTH.into_iter().find(|side| down(side) && !waits_for(*side)) {
                    Some(_) => {
                        self.grace = (2 * self.grace).min(MAX_GRACE);
                        self.break_if_one(now, is_up)
                    }
                    None if PortSide::BOTH.into_iter().all(&is_up) => {
                        (self.state, self.grace) = (State::Open, GRACE);
                        None
                    }
                    None => None,
                }
            }
            State::Open => self.break_if_one(now, is_up),
            State::Lost(lost, _) if down(&lost) => {
                self.state = State::Lost(lost, None);
                None
            }
            State::Lost(lost, since) => {
                let since = since.unwrap_or(now);
                self.state = State::Lost(lost, Some(since));
                (now.saturating_duration_since(since) >= self.hold).then(|| {
                    self.restored = Some(now);
                    self.state = State::Settling(Some(lost.other()), now + self.grace);
                    SetLink { side: lost.other(), up: true }
                })
            }
        }
    }

    /// Where exactly one port has no link, the other is to have none. Where both have none, their neighbours know.
    fn break_if_one(&mut self, now: Instant, is_up: impl Fn(PortSide) -> bool) -> Option<SetLink> {
        self.state = State::Open;
        let lost = match (is_up(PortSide::Inside), is_up(PortSide::Outside)) {
            (false, true) => PortSide::Inside,
            (true, false) => PortSide::Outside,
            _ => return None,
        };
        let flapped = self.restored.is_some_and(|restored| now.saturating_duration_since(restored) < CALM);
        self.hold = if flapped { (2 * self.hold).clamp(HOLD.0, HOLD.1) } else { Duration::ZERO };
        self.state = State::Lost(lost, None);
        Some(SetLink { side: lost.other(), up: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use PortSide::{Inside, Outside};

    /// A wire whose two cables are plugged or not; a port that is taken down has no link.
    struct Wire {
        links: WireLinks,
        plugged: [bool; 2],
        may: [bool; 2],
        now: Instant,
        /// What was done, with the millisecond.
        done: Vec<(u64, PortSide, bool)>,
        start: Instant,
    }

    impl Wire {
        fn new() -> Self {
            let start = Instant::now();
            let links = WireLinks::new(start);
            Self { links, plugged: [true; 2], may: [true; 2], now: start, done: Vec::new(), start }
        }

        fn run(&mut self, millis: u64) -> &mut Self {
            for _ in 0..millis / 10 {
                self.now += Duration::from_millis(10);
                let up = [0, 1].map(|port| self.plugged[port] && self.may[port]);
                let is_up = |side: PortSide| up[side as usize];
                if let Some(SetLink { side, up }) = self.links.observe(self.now, is_up) {
                    self.may[side as usize] = up;
                    self.done.push(((self.now - self.start).as_millis() as u64, side, up));
                }
                assert_eq!(
                    self.links.held(),
                    [Inside, Outside].into_iter().find(|side| !self.may[*side as usize])
                );
            }
            self
        }

        fn plug(&mut self, side: PortSide, plugged: bool) -> &mut Self {
            self.plugged[side as usize] = plugged;
            self
        }

        fn done(&mut self) -> Vec<(u64, PortSide, bool)> {
            std::mem::take(&mut self.done)
        }
    }

    #[test]
    fn a_loss_is_passed_at_once_and_so_is_its_end() {
        for (lost, other) in [(Inside, Outside), (Outside, Inside)] {
            let mut wire = Wire::new();
            wire.run(20_000).plug(lost, false).run(5_000).plug(lost, true).run(60_000);
            assert_eq!(wire.done(), [(20_010, other, false), (25_010, other, true)]);
        }
    }

    #[test]
    fn at_the_start_links_have_time() {
        let mut wire = Wire::new();
        wire.plug(Inside, false).plug(Outside, false).run(1_000).plug(Outside, true).run(3_000);
        assert_eq!(wire.done(), [], "autonegotiation");
        wire.plug(Inside, true).run(1_000).plug(Inside, false).run(1_000);
        assert_eq!(wire.done(), [(5_010, Outside, false)], "it was there, and is gone");
        let mut wire = Wire::new();
        wire.plug(Inside, false).run(20_000);
        assert_eq!(wire.done(), [(10_000, Outside, false)], "it never came");
    }

    #[test]
    fn a_link_that_flaps_has_to_stay_before_it_counts_and_loss_never_waits() {
        let mut wire = Wire::new();
        wire.run(20_000);
        let mut waited = Vec::new();
        for _ in 0..7 {
            let lost_at = (wire.now - wire.start).as_millis() as u64;
            wire.plug(Inside, false).run(100);
            assert_eq!(wire.done(), [(lost_at + 10, Outside, false)]);
            let back_at = (wire.now - wire.start).as_millis() as u64;
            wire.plug(Inside, true).run(40_000);
            let done = wire.done();
            assert_eq!(done.len(), 1, "{done:?}");
            waited.push((done[0].0 - back_at) / 1000);
            // Lost again, a second after it came back.
            let rest = done[0].0 + 1_000;
            let now = (wire.now - wire.start).as_millis() as u64;
            wire.now -= Duration::from_millis(now - rest);
        }
        assert_eq!(waited, [0, 2, 4, 8, 16, 32, 32]);
        // A link that goes away while it is waited for begins anew.
        wire.plug(Inside, false).run(100).plug(Inside, true).run(30_000).plug(Inside, false).run(10);
        wire.done();
        wire.plug(Inside, true).run(31_990);
        assert_eq!(wire.done(), []);
        wire.run(100);
        assert_eq!(wire.done().len(), 1);
        // After a calm time all is forgotten.
        wire.run(11_000).plug(Inside, false).run(1_000);
        wire.done();
        wire.plug(Inside, true).run(20);
        assert_eq!(wire.done().len(), 1);
    }

    #[test]
    fn both_lost_is_nobodys_fault() {
        let mut wire = Wire::new();
        wire.run(20_000).plug(Inside, false).plug(Outside, false).run(1_000);
        assert_eq!(wire.done(), []);
        wire.plug(Inside, true).run(1_000);
        assert_eq!(wire.done(), [(21_010, Inside, false)], "the other one is still lost");
        wire.plug(Outside, true).run(1_000);
        assert_eq!(wire.done(), [(22_010, Inside, true)]);
    }

    /// The other cable was pulled while its port was down: nobody could see that.
    #[test]
    fn what_was_lost_meanwhile_is_seen_when_its_time_is_up() {
        let mut wire = Wire::new();
        wire.run(20_000).plug(Inside, false).run(1_000).plug(Outside, false).run(1_000);
        assert_eq!(wire.done(), [(20_010, Outside, false)]);
        wire.plug(Inside, true).run(30_000);
        assert_eq!(wire.done(), [(22_010, Outside, true), (32_010, Inside, false)]);
        wire.plug(Outside, true).run(1_000);
        assert_eq!(wire.done(), [(52_010, Inside, true)]);
        assert_eq!(wire.links.held(), None);
    }

    /// Each takes longer than the first grace: they must not take each other down for ever.
    #[test]
    fn two_slow_links_come_up_in_the_end() {
        let (mut now, start) = (Instant::now(), Instant::now());
        let (mut links, mut may_since) = (WireLinks::new(start), [Some(start); 2]);
        let mut both_up = 0;
        for _ in 0..30_000 {
            now += Duration::from_millis(10);
            let slow = Duration::from_secs(12);
            let up = may_since.map(|since: Option<Instant>| since.is_some_and(|since| now >= since + slow));
            if let Some(SetLink { side, up }) = links.observe(now, |side| up[side as usize]) {
                may_since[side as usize] = up.then_some(now);
            }
            both_up += usize::from(up == [true; 2]);
        }
        assert!(both_up > 20_000, "both are up in {both_up} of 30,000 glances");
    }

    /// While the other one comes up, the first is lost again.
    #[test]
    fn a_loss_while_the_other_one_settles_is_passed_at_once() {
        let mut wire = Wire::new();
        wire.run(20_000).plug(Inside, false).run(1_000).plug(Outside, false).plug(Inside, true).run(1_000);
        wire.done();
        wire.plug(Outside, true).plug(Inside, false).run(100);
        assert_eq!(wire.done(), [(22_010, Outside, false)]);
    }
}
