//! How often requests are made: evenly, in all and to each host.

use tcp_stack::{Duration, Instant};

/// When the next requests may be made. It holds no more hosts than are asked within the time between two requests to one host.
#[derive(Debug)]
pub(super) struct Pace {
    between: Duration,
    between_of_host: Duration,
    next: Instant,
    hosts: Vec<(String, Instant)>,
}

impl Pace {
    /// So many requests a second, in all and to one host.
    pub(super) fn new(per_second: u32, host_per_second: u32) -> Self {
        let between = |rate: u32| Duration::from_micros(1_000_000 / u64::from(rate.max(1)));
        Self {
            between: between(per_second),
            between_of_host: between(host_per_second),
            next: Instant::ZERO,
            hosts: Vec::new(),
        }
    }

    /// Whether any host may be asked.
    pub(super) fn allows_any(&mut self, now: Instant) -> bool {
        self.hosts.retain(|(_, next)| *next > now);
        now >= self.next
    }

    /// Whether this one may be, if [any](Self::allows_any) may.
    pub(super) fn allows(&self, host: &str) -> bool {
        self.hosts.iter().all(|(known, _)| known != host)
    }

    /// It is asked.
    pub(super) fn ask(&mut self, host: &str, now: Instant) {
        self.next = now + self.between;
        self.hosts.push((host.to_owned(), now + self.between_of_host));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evenly_in_all_and_to_each_host() {
        let mut pace = Pace::new(10, 2);
        let mut asked = [0, 0];
        for ms in 0..10_000 {
            let now = Instant::from_millis(ms);
            for (n, host) in ["a.test", "b.test"].into_iter().enumerate() {
                if pace.allows_any(now) && pace.allows(host) {
                    pace.ask(host, now);
                    asked[n] += 1;
                }
            }
        }
        assert_eq!(asked, [20, 20], "two a second each");

        let mut pace = Pace::new(10, 2);
        let mut asked = 0;
        for ms in 0..10_000 {
            let now = Instant::from_millis(ms);
            let host = format!("{ms}.test");
            if pace.allows_any(now) && pace.allows(&host) {
                pace.ask(&host, now);
                asked += 1;
                assert!(pace.hosts.len() <= 5);
            }
        }
        assert_eq!(asked, 100, "ten a second in all");
    }
}
