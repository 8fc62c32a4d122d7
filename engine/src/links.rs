//! The ports' links: looked at by a thread of its own, told in the event log and in the metrics. No worker waits for a driver.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wireglass_core::event::{Event, LinkEvent, PortLink, Timestamp};
use wireglass_core::port::{PortId, PortSide};

use crate::confine::{self, Kind};
use crate::link_pass::{LinkState, SetLink, WireLinks};
use crate::log::LogSender;

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(250);
/// Likewise, at links that are passed on: two looks, and what a driver takes, are well within 50 ms.
const GLANCE: Duration = Duration::from_millis(10);

/// What was seen of all ports so far. Knows no thread and no clock.
#[derive(Debug, Default)]
pub struct Links {
    seen: Vec<(PortLink, u64)>,
}

impl Links {
    /// Takes what is there now; a port whose driver does not answer is not in it, and counts as unchanged. Returns what is new or has
    /// changed.
    pub fn observe(&mut self, now: Vec<PortLink>) -> Vec<PortLink> {
        let mut changed = Vec::new();
        for link in now {
            match self.seen.iter_mut().find(|(old, _)| old.port == link.port) {
                Some((old, _)) if *old == link => continue,
                Some((old, changes)) => {
                    *changes += u64::from(old.up != link.up);
                    *old = link.clone();
                }
                None => self.seen.push((link.clone(), 0)),
            }
            changed.push(link);
        }
        changed
    }

    /// All ports, each with the number of times that its link went up or down.
    pub fn all(&self) -> &[(PortLink, u64)] {
        &self.seen
    }
}

/// The wires that pass the loss of a link on, and the way to their ports. Dropping it gives back the links that it has taken, unless all
/// are to stay down.
pub struct Passing {
    wires: Vec<PassingWire>,
    /// Of all wires.
    ports: Vec<PortId>,
    /// All links are taken down: what is between them does not work.
    is_closed: bool,
    has_link: HasLink,
    set_link: SetPortLink,
}

struct PassingWire {
    number: u8,
    name: Arc<str>,
    links: WireLinks,
    /// A port whose link was to come back, which could not be done yet.
    owed: Option<PortSide>,
}

/// A port has a link; none: it does not say.
type HasLink = Box<dyn Fn(PortId) -> Option<bool> + Send>;
/// Takes a port's link down, or allows it to come up. An error in words.
type SetPortLink = Box<dyn Fn(PortId, bool) -> Result<(), String> + Send>;

impl Passing {
    /// Of all wires, by their names and what they do. Links that are down for no reason but an engine that died with them are allowed to
    /// come up.
    pub fn new(
        now: Instant,
        wires: impl IntoIterator<Item = (Arc<str>, LinkState)>,
        has_link: impl Fn(PortId) -> Option<bool> + Send + 'static,
        set_link: impl Fn(PortId, bool) -> Result<(), String> + Send + 'static,
    ) -> Self {
        let (mut passing, mut ports) = (Vec::new(), Vec::new());
        for (number, (name, state)) in (0..).zip(wires) {
            ports.extend(PortSide::BOTH.map(|side| PortId { wire: number, side }));
            if state == LinkState::Pass {
                passing.push(PassingWire { number, name, links: WireLinks::new(now), owed: None });
            }
        }
        for &port in &ports {
            if has_link(port) == Some(false) {
                // A driver that cannot says so when it is needed.
                let _ = set_link(port, true);
            }
        }
        let (has_link, set_link) = (Box::new(has_link), Box::new(set_link));
        Self { wires: passing, ports, is_closed: false, has_link, set_link }
    }

    /// Takes all links down, or lets them come up again. True: that is new.
    fn close(&mut self, now: Instant, is_closed: bool) -> bool {
        if is_closed == self.is_closed {
            return false;
        }
        self.is_closed = is_closed;
        for &port in &self.ports {
            if let Err(error) = (self.set_link)(port, !is_closed) {
                let (wire, side) = (port.wire, port.side.name());
                tracing::warn!(
                    wire,
                    side,
                    error,
                    "the port's link cannot be set: its neighbour does not see that the wire is broken"
                );
            }
        }
        for wire in &mut self.wires {
            (wire.links, wire.owed) = (WireLinks::new(now), None);
        }
        true
    }

    /// Looks at all of them once. True: a link was taken down or given back.
    fn look(&mut self, now: Instant) -> bool {
        if self.is_closed {
            return false;
        }
        let mut acted = false;
        let Self { wires, has_link, set_link, .. } = self;
        wires.retain_mut(|PassingWire { number, name, links, owed }| {
            let port = |side| PortId { wire: *number, side };
            if let Some(side) = *owed {
                let is_done = set_link(port(side), true).is_ok();
                acted |= is_done;
                *owed = owed.filter(|_| !is_done);
                return true;
            }
            // What does not answer counts as there: nothing is taken down for a driver that is silent.
            let is_up = PortSide::BOTH.map(|side| has_link(port(side)).unwrap_or(true));
            let Some(SetLink { side, up }) = links.observe(now, |side| is_up[side as usize]) else { return true };
            acted = true;
            match set_link(port(side), up) {
                Ok(()) => true,
                Err(error) if up => {
                    tracing::warn!(wire = %name, side = side.name(), error, "the port's link cannot come back yet; it is tried again and again");
                    *owed = Some(side);
                    true
                }
                Err(error) => {
                    let side = side.name();
                    tracing::warn!(
                        wire = %name, side, error,
                        "the port's link cannot be taken down: this wire does not pass the loss of a link on; `link_state = \"independent\"`"
                    );
                    false
                }
            }
        });
        acted
    }

    fn is_held(&self, link: &PortLink) -> bool {
        let held =
            |wire: &PassingWire| wire.name == link.wire && wire.links.held().or(wire.owed) == Some(link.side);
        self.wires.iter().any(held)
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if self.is_closed {
            return;
        }
        for PassingWire { number, links, owed, .. } in &self.wires {
            if let Some(side) = links.held().or(*owed) {
                let _ = (self.set_link)(PortId { wire: *number, side }, true);
            }
        }
    }
}

/// The thread that looks. Dropping it stops it.
pub struct LinkWatch {
    links: Arc<Mutex<Links>>,
    stop: Arc<AtomicBool>,
    is_closed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LinkWatch {
    /// Starts the thread, which calls `read` again and again, and passes on what is lost.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(
        read: impl Fn() -> Vec<PortLink> + Send + 'static,
        mut passing: Passing,
        log: LogSender,
    ) -> io::Result<Self> {
        let links = Arc::<Mutex<Links>>::default();
        let stop = Arc::<AtomicBool>::default();
        let is_closed = Arc::<AtomicBool>::default();
        let (shared, stopping, closing) = (Arc::clone(&links), Arc::clone(&stop), Arc::clone(&is_closed));
        let thread = thread::Builder::new().name("links".into()).spawn(move || {
            confine::enter(Kind::Links);
            let mut due = Instant::now();
            while !stopping.load(Ordering::Acquire) {
                let now = Instant::now();
                let is_new = passing.close(now, closing.load(Ordering::Acquire));
                if passing.look(now) || is_new || now >= due {
                    due = now + EVERY;
                    let mut links = read();
                    links.iter_mut().for_each(|link| link.held = !link.up && passing.is_held(link));
                    let changed = lock(&shared).observe(links);
                    for link in changed {
                        tell(&link);
                        log.push(Event::Link(wall_clock(), Box::new(LinkEvent(link))));
                    }
                }
                thread::park_timeout(if passing.wires.is_empty() { EVERY } else { GLANCE });
            }
            passing.close(Instant::now(), closing.load(Ordering::Acquire));
        })?;
        Ok(Self { links, stop, is_closed, thread: Some(thread) })
    }

    /// Takes the links of all ports down, so that neighbours see that nothing passes; or lets them come up. They stay as they are when
    /// this watch ends.
    pub fn close(&self, is_closed: bool) {
        self.is_closed.store(is_closed, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// What it sees, for the metrics.
    pub fn source(&self) -> impl Fn() -> Vec<(PortLink, u64)> + Send + Sync + use<> {
        let links = Arc::clone(&self.links);
        move || lock(&links).all().to_vec()
    }
}

impl Drop for LinkWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// A panic of the other side leaves a list that is whole.
fn lock(links: &Mutex<Links>) -> MutexGuard<'_, Links> {
    links.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell(link: &PortLink) {
    let PortLink { port, wire, side, up, held, speed_mbps, mtu } = link;
    let side = side.name();
    if *held {
        tracing::warn!(%wire, side, port, "link is taken down, as the wire's other port has none");
    } else if *up {
        tracing::info!(%wire, side, port, speed_mbps, mtu, "link is up");
    } else {
        tracing::warn!(%wire, side, port, "link is down: nothing passes this wire; look at the cable and the other end");
    }
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_wires() -> Passing {
        Passing::new(Instant::now(), [], |_| None, |_, _| Ok(()))
    }

    fn link(port: &str, up: bool) -> PortLink {
        let (wire, side) = ("lan".into(), PortSide::Inside);
        let speed_mbps = up.then_some(10_000);
        PortLink { port: port.into(), wire, side, up, held: false, speed_mbps, mtu: 1500 }
    }

    #[test]
    fn each_change_is_told_once_and_counted() {
        let mut links = Links::default();
        let both = || vec![link("p0", true), link("p1", false)];
        assert_eq!(links.observe(both()), both(), "how it stands at the start");
        assert_eq!(links.observe(both()), []);
        assert_eq!(links.observe(vec![link("p0", false)]), [link("p0", false)], "p1 did not answer");
        assert_eq!(links.observe(both()), [link("p0", true)]);
        let slower = PortLink { speed_mbps: Some(1000), ..link("p0", true) };
        assert_eq!(
            links.observe(vec![slower.clone()]),
            [slower],
            "another speed is told, and no change of the link"
        );
        let changes: Vec<_> =
            links.all().iter().map(|(link, changes)| (link.port.as_str(), *changes)).collect();
        assert_eq!(changes, [("p0", 2), ("p1", 0)]);
    }

    #[test]
    fn the_thread_tells_the_log_and_the_metrics() {
        let (log, events) = crate::log::ring(16);
        let up = Arc::new(AtomicBool::new(true));
        let state = Arc::clone(&up);
        let watch =
            LinkWatch::start(move || vec![link("p0", state.load(Ordering::Relaxed))], no_wires(), log)
                .expect("a thread");
        let next = || loop {
            match events.pop() {
                Some(Event::Link(_, link)) => return link.0.up,
                Some(other) => unreachable!("{other:?}"),
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        assert!(next());
        up.store(false, Ordering::Relaxed);
        assert!(!next());
        let source = watch.source();
        assert_eq!(source().iter().map(|(link, n)| (link.up, *n)).collect::<Vec<_>>(), [(false, 1)]);
        drop(watch);
        assert!(events.pop().is_none());
    }

    /// Two ports whose links are looked at and set; `able`: the driver can.
    fn two_ports(able: bool) -> (Arc<Mutex<[bool; 2]>>, Passing) {
        let plugged = Arc::new(Mutex::new([true; 2]));
        let may = Arc::new(Mutex::new([true; 2]));
        let lock = |ports: &Mutex<[bool; 2]>| *ports.lock().expect("whole");
        let (cables, allowed) = (Arc::clone(&plugged), Arc::clone(&may));
        let has_link = move |port: PortId| {
            let side = port.side as usize;
            (port.wire == 1).then(|| lock(&cables)[side] && lock(&allowed)[side])
        };
        let set_link = move |port: PortId, up: bool| {
            assert_eq!(port.wire, 1);
            if !able {
                return Err("not supported".into());
            }
            may.lock().expect("whole")[port.side as usize] = up;
            Ok(())
        };
        let wires = [("other".into(), LinkState::Independent), ("lan".into(), LinkState::Pass)];
        (plugged, Passing::new(Instant::now(), wires, has_link, set_link))
    }

    #[test]
    fn a_link_that_is_lost_takes_the_other_one_down_and_gives_it_back() {
        let (plugged, mut passing) = two_ports(true);
        let start = Instant::now();
        assert!(!passing.look(start));
        plugged.lock().expect("whole")[0] = false;
        assert!(passing.look(start + GLANCE));
        let of = |side, wire: &str| PortLink { side, wire: wire.into(), ..link("p", false) };
        assert!(passing.is_held(&of(PortSide::Outside, "lan")));
        assert!(
            !passing.is_held(&of(PortSide::Inside, "lan"))
                && !passing.is_held(&of(PortSide::Outside, "other"))
        );
        let outside = PortId { wire: 1, side: PortSide::Outside };
        assert_eq!((passing.has_link)(outside), Some(false));
        assert!(!passing.look(start + 2 * GLANCE));
        plugged.lock().expect("whole")[0] = true;
        assert!(passing.look(start + 3 * GLANCE));
        assert_eq!((passing.has_link)(outside), Some(true));
    }

    #[test]
    fn whoever_ends_gives_back_what_was_taken() {
        let given = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&given);
        let has_link = |port: PortId| Some(port.side == PortSide::Inside);
        let set_link = move |port: PortId, up: bool| {
            told.lock().expect("whole").push((port.side, up));
            Ok(())
        };
        let start = Instant::now();
        let mut passing = Passing::new(start, [("lan".into(), LinkState::Pass)], has_link, set_link);
        assert!(passing.look(start + Duration::from_secs(20)));
        drop(passing);
        let (inside, outside) = (PortSide::Inside, PortSide::Outside);
        // At the start the one without a link, as an engine that died may have left it so.
        assert_eq!(*given.lock().expect("whole"), [(outside, true), (inside, false), (inside, true)]);
    }

    #[test]
    fn a_wire_that_does_not_work_has_no_links_whatever_it_does_with_a_loss_and_its_end_does_not_bring_them_back()
     {
        let set = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&set);
        let set_link = move |port: PortId, up: bool| {
            told.lock().expect("whole").push((port.index(), up));
            Ok(())
        };
        let wires = [("lan".into(), LinkState::Pass), ("dmz".into(), LinkState::Independent)];
        let (log, _events) = crate::log::ring(16);
        let passing = Passing::new(Instant::now(), wires, |_| Some(true), set_link);
        let watch = LinkWatch::start(Vec::new, passing, log).expect("a thread");
        let wait_for = |count: usize| {
            while set.lock().expect("whole").len() < count {
                thread::sleep(Duration::from_millis(1));
            }
            std::mem::take(&mut *set.lock().expect("whole"))
        };
        watch.close(true);
        assert_eq!(wait_for(4), [0, 1, 2, 3].map(|port| (port, false)));
        watch.close(false);
        assert_eq!(wait_for(4), [0, 1, 2, 3].map(|port| (port, true)));
        watch.close(true);
        drop(watch);
        assert_eq!(*set.lock().expect("whole"), [0, 1, 2, 3].map(|port| (port, false)));
    }

    #[test]
    fn a_link_that_cannot_come_back_is_tried_again() {
        let (up, able) = (Arc::new(Mutex::new([true; 2])), Arc::new(AtomicBool::new(true)));
        let (seen, may) = (Arc::clone(&up), Arc::clone(&able));
        let has_link = move |port: PortId| Some(seen.lock().expect("whole")[port.side as usize]);
        let set_link = move |_: PortId, up: bool| match !up || may.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err("too many open files".into()),
        };
        let start = Instant::now();
        let mut passing = Passing::new(start, [("lan".into(), LinkState::Pass)], has_link, set_link);
        assert!(!passing.look(start));
        up.lock().expect("whole")[0] = false;
        assert!(passing.look(start + GLANCE));
        able.store(false, Ordering::Relaxed);
        up.lock().expect("whole")[0] = true;
        let outside = PortLink { side: PortSide::Outside, wire: "lan".into(), ..link("p", false) };
        passing.look(start + 2 * GLANCE);
        assert!(!passing.look(start + 3 * GLANCE) && passing.is_held(&outside));
        able.store(true, Ordering::Relaxed);
        assert!(passing.look(start + 4 * GLANCE) && !passing.is_held(&outside));
        assert_eq!(passing.wires.len(), 1);
    }

    #[test]
    fn a_port_that_cannot_is_asked_once() {
        let (plugged, mut passing) = two_ports(false);
        plugged.lock().expect("whole")[1] = false;
        assert!(passing.look(Instant::now() + Duration::from_secs(20)));
        assert!(passing.wires.is_empty());
        assert!(!passing.look(Instant::now() + Duration::from_secs(40)));
    }
}
