//! One direction of a cable, with everything that can go wrong on it.

use std::collections::{BTreeMap, VecDeque};

use super::{Duration, Instant, Random, Router};

/// What a link does to the frames on it.
#[derive(Clone, Copy, Debug)]
pub struct Impairment {
    /// Time on the way of a frame that nothing else happens to.
    pub delay: Duration,
    /// Probability that a frame is lost.
    pub loss: f64,
    /// Probability that a frame takes up to four times longer, and so arrives after later ones.
    pub reorder: f64,
    /// Probability that a frame arrives twice.
    pub duplicate: f64,
    /// Longest frame that passes, in bytes with the Ethernet header; longer ones are lost without a word.
    pub max_frame: usize,
}

impl Default for Impairment {
    /// A good cable of one millisecond.
    fn default() -> Self {
        Self { delay: Duration::from_millis(1), loss: 0.0, reorder: 0.0, duplicate: 0.0, max_frame: 9_100 }
    }
}

/// What has happened on a link, in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Handed to the link.
    pub sent: u64,
    /// Arrived, with the duplicates.
    pub delivered: u64,
    /// Lost by chance or because the cable was cut.
    pub lost: u64,
    /// Lost because of their length, here or at the router.
    pub oversize: u64,
}

/// Takes a frame from its sender and says what goes onto the cable instead: pieces, copies, another order. Each frame
/// with its extra delay.
pub type Tamper = Box<dyn FnMut(Vec<u8>) -> Vec<(Duration, Vec<u8>)>>;

/// One direction of a cable.
pub struct Link {
    impairment: Impairment,
    random: Random,
    tamper: Option<Tamper>,
    router: Option<Router>,
    answers: VecDeque<Vec<u8>>,
    cut: bool,
    /// By arrival; the number keeps frames of one instant in order.
    in_flight: BTreeMap<(Instant, u64), Vec<u8>>,
    next_number: u64,
    stats: LinkStats,
}

impl Link {
    /// A cable whose accidents all follow from `seed`.
    pub fn new(impairment: Impairment, seed: u64) -> Self {
        Self {
            impairment,
            random: Random::new(seed),
            tamper: None,
            router: None,
            answers: VecDeque::new(),
            cut: false,
            in_flight: BTreeMap::new(),
            next_number: 0,
            stats: LinkStats::default(),
        }
    }

    /// Puts `tamper` between the sender and the cable.
    pub fn set_tamper(&mut self, tamper: impl FnMut(Vec<u8>) -> Vec<(Duration, Vec<u8>)> + 'static) {
        self.tamper = Some(Box::new(tamper));
    }

    /// Puts a router at the end of the cable; none: takes it away.
    pub fn set_router(&mut self, router: impl Into<Option<Router>>) {
        self.router = router.into();
    }

    /// What the router says to the sender of something too long; it goes back over the other direction's link.
    pub fn next_answer(&mut self) -> Option<Vec<u8>> {
        self.answers.pop_front()
    }

    /// Cuts the cable: from now on nothing arrives, not even what is on the way.
    pub fn cut(&mut self) {
        self.cut = true;
        self.stats.lost += self.in_flight.len() as u64;
        self.in_flight.clear();
    }

    /// Puts a frame onto the cable.
    pub fn send(&mut self, now: Instant, frame: Vec<u8>) {
        match self.tamper.as_mut().map(|tamper| tamper(frame.clone())) {
            None => self.put(now, frame),
            Some(frames) => frames.into_iter().for_each(|(extra, frame)| self.put(now + extra, frame)),
        }
    }

    /// The next frame that has arrived by `now`.
    pub fn receive(&mut self, now: Instant) -> Option<Vec<u8>> {
        let first = self.in_flight.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        self.stats.delivered += 1;
        Some(first.remove())
    }

    /// When the next frame arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.in_flight.first_key_value().map(|((at, _), _)| *at)
    }

    /// What has happened so far.
    pub fn stats(&self) -> LinkStats {
        self.stats
    }

    fn put(&mut self, now: Instant, frame: Vec<u8>) {
        let Impairment { delay, loss, reorder, duplicate, max_frame } = self.impairment;
        self.stats.sent += 1;
        if frame.len() > max_frame {
            self.stats.oversize += 1;
            return;
        }
        if let Some(router) = self.router.filter(|router| router.stops(&frame)) {
            self.stats.oversize += 1;
            self.answers.extend(router.answer(&frame));
            return;
        }
        // Every frame draws the same number of times, so that one frame's fate does not shift the next one's.
        let lost = self.random.chance(loss);
        let late = self.random.chance(reorder);
        let lateness = self.random.below(3 * delay.total_micros());
        let twice = self.random.chance(duplicate);
        if lost || self.cut {
            self.stats.lost += 1;
            return;
        }
        let extra = Duration::from_micros(if late { lateness } else { 0 });
        if twice {
            self.arrive(now + delay, frame.clone());
        }
        self.arrive(now + delay + extra, frame);
    }

    fn arrive(&mut self, at: Instant, frame: Vec<u8>) {
        self.in_flight.insert((at, self.next_number), frame);
        self.next_number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(impairment: Impairment, seed: u64) -> (Vec<Vec<u8>>, LinkStats) {
        let mut link = Link::new(impairment, seed);
        for n in 0..200u64 {
            link.send(Instant::from_millis(n as i64), n.to_be_bytes().to_vec());
        }
        let arrived = std::iter::from_fn(|| link.receive(Instant::from_secs(10))).collect();
        (arrived, link.stats())
    }

    #[test]
    fn a_good_cable_keeps_order_and_time() {
        let (arrived, stats) = arrivals(Impairment::default(), 1);
        assert_eq!(arrived, (0..200u64).map(|n| n.to_be_bytes().to_vec()).collect::<Vec<_>>());
        assert_eq!(stats, LinkStats { sent: 200, delivered: 200, lost: 0, oversize: 0 });

        let mut link = Link::new(Impairment::default(), 1);
        link.send(Instant::from_millis(5), vec![1]);
        assert_eq!(link.next_arrival(), Some(Instant::from_millis(6)));
        assert_eq!(link.receive(Instant::from_micros(5_999)), None);
        assert_eq!(link.receive(Instant::from_millis(6)), Some(vec![1]));
    }

    #[test]
    fn accidents_happen_and_repeat_by_seed() {
        let bad = Impairment { loss: 0.1, reorder: 0.3, duplicate: 0.1, ..Impairment::default() };
        let (arrived, stats) = arrivals(bad, 42);
        assert!(stats.lost > 5 && stats.delivered > 200 - stats.lost, "{stats:?}");
        assert!(!arrived.is_sorted());
        assert_eq!(arrivals(bad, 42), (arrived.clone(), stats));
        assert_ne!(arrivals(bad, 43).0, arrived);
    }

    #[test]
    fn long_frames_and_frames_after_the_cut_are_lost() {
        let mut link = Link::new(Impairment { max_frame: 10, ..Impairment::default() }, 1);
        link.send(Instant::ZERO, vec![0; 11]);
        assert_eq!(link.stats().oversize, 1);
        link.send(Instant::ZERO, vec![0; 10]);
        link.cut();
        link.send(Instant::ZERO, vec![0; 10]);
        assert_eq!(link.receive(Instant::from_secs(1)), None);
        assert_eq!(link.stats().lost, 2);
    }

    #[test]
    fn a_tamper_replaces_the_frame() {
        let mut link = Link::new(Impairment::default(), 1);
        link.set_tamper(|frame| {
            vec![(Duration::from_millis(1), frame[..1].to_vec()), (Duration::ZERO, frame[1..].to_vec())]
        });
        link.send(Instant::ZERO, vec![1, 2, 3]);
        let arrived: Vec<_> = std::iter::from_fn(|| link.receive(Instant::from_secs(1))).collect();
        assert_eq!(arrived, [vec![2, 3], vec![1]]);
    }
}
