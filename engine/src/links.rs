//! The ports' links: looked at by a thread of its own, told in the event log and in the metrics. No worker waits for a driver.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wireglass_core::event::{Event, LinkEvent, PortLink, Timestamp};

use crate::log::LogSender;

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(250);

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

/// The thread that looks. Dropping it stops it.
pub struct LinkWatch {
    links: Arc<Mutex<Links>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LinkWatch {
    /// Starts the thread, which calls `read` again and again.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(read: impl Fn() -> Vec<PortLink> + Send + 'static, log: LogSender) -> io::Result<Self> {
        let links = Arc::<Mutex<Links>>::default();
        let stop = Arc::<AtomicBool>::default();
        let (shared, stopping) = (Arc::clone(&links), Arc::clone(&stop));
        let thread = thread::Builder::new().name("links".into()).spawn(move || {
            while !stopping.load(Ordering::Acquire) {
                let now = read();
                let changed = lock(&shared).observe(now);
                for link in changed {
                    tell(&link);
                    log.push(Event::Link(wall_clock(), Box::new(LinkEvent(link))));
                }
                thread::park_timeout(EVERY);
            }
        })?;
        Ok(Self { links, stop, thread: Some(thread) })
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
    let PortLink { port, wire, side, up, speed_mbps, mtu } = link;
    let side = side.name();
    if *up {
        tracing::info!(%wire, side, port, speed_mbps, mtu, "link is up");
    } else {
        tracing::warn!(%wire, side, port, "link is down: nothing passes this wire; look at the cable and the other end");
    }
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// What to tell an operator whose two ports have different MTUs; none: they have the same.
pub fn mtu_mismatch(inside: (&str, usize), outside: (&str, usize)) -> Option<String> {
    let ((inside, a), (outside, b)) = (inside, outside);
    let (small, smaller) = if a < b { (inside, a) } else { (outside, b) };
    (a != b).then(|| {
        format!(
            "the ports have different MTUs: {a} on {inside}, {b} on {outside}; the wire uses {smaller}, and longer packets of flows \
             that are not decrypted are lost at {small}: give both the same, by `mtu` of the [[wire]] or at the devices"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wireglass_core::port::PortSide;

    fn link(port: &str, up: bool) -> PortLink {
        let (wire, side) = ("lan".into(), PortSide::Inside);
        PortLink { port: port.into(), wire, side, up, speed_mbps: up.then_some(10_000), mtu: 1500 }
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
    fn different_mtus_are_named_with_what_becomes_of_them() {
        assert_eq!(mtu_mismatch(("p0", 1500), ("p1", 1500)), None);
        let words = mtu_mismatch(("p0", 9000), ("p1", 1500)).unwrap_or_default();
        assert!(
            words.contains("9000 on p0, 1500 on p1; the wire uses 1500") && words.contains("lost at p1"),
            "{words}"
        );
        let words = mtu_mismatch(("p0", 1400), ("p1", 1500)).unwrap_or_default();
        assert!(words.contains("the wire uses 1400") && words.contains("lost at p0"), "{words}");
    }

    #[test]
    fn the_thread_tells_the_log_and_the_metrics() {
        let (log, events) = crate::log::ring(16);
        let up = Arc::new(AtomicBool::new(true));
        let state = Arc::clone(&up);
        let watch =
            LinkWatch::start(move || vec![link("p0", state.load(Ordering::Relaxed))], log).expect("a thread");
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
}
