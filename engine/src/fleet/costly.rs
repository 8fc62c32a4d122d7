//! Servers whose chains were costly to verify, as engines tell each other of them: one value of each engine, with its newest. No store, no clock.
//!
//! What others say has handshakes wait for those of other servers, for ten minutes at most, and refuses nobody ([`CostlyServers`]).

use std::collections::BTreeMap;
use std::net::IpAddr;

use wireglass_core::tls::{CostlyServers, MOST_COSTLY};

use super::schema::{CostlyRecord, CostlyServer, SCHEMA, write};
use super::view::View;

/// A new time is told if it is this much later, in seconds: who is visited all the time is not told of all the time.
const LATER: u64 = 60;
/// Seconds between two values: an attacker with many addresses must not fill etcd's history.
const EVERY: u64 = 1;
/// Likewise, once a value is as long as it may be: of more servers, others do not learn all.
const EVERY_FULL: u64 = 10;

/// What has been told, and what was heard.
#[derive(Debug, Default)]
pub struct Costly {
    told: BTreeMap<IpAddr, u64>,
    /// Not before.
    next: u64,
    /// The revisions of all engines' values.
    heard: BTreeMap<String, i64>,
}

impl Costly {
    /// The connection to etcd is a new one, with another lease: all is told anew.
    pub fn reconnected(&mut self) {
        self.told.clear();
        self.next = 0;
    }

    /// The value that this engine's key is to have, or none; nothing: as it is.
    pub fn tell(&mut self, servers: &CostlyServers, now: u64) -> Option<Option<Vec<u8>>> {
        let own: BTreeMap<_, _> = servers.own(now).into_iter().collect();
        let is_told = |(server, until): (&IpAddr, &u64)| {
            self.told.get(server).is_some_and(|told| *until <= told + LATER)
        };
        if own.len() == self.told.len() && own.iter().all(is_told) {
            return None;
        }
        if now < self.next {
            return None;
        }
        let every = if own.len() < MOST_COSTLY { EVERY } else { EVERY_FULL };
        (self.told, self.next) = (own, now.saturating_add(every));
        let entry = |(address, until): (&IpAddr, &u64)| CostlyServer { address: *address, until: *until };
        let record = CostlyRecord { schema: SCHEMA, servers: self.told.iter().map(entry).collect() };
        Some((!record.servers.is_empty()).then(|| write(&record)))
    }

    /// Takes what others have told.
    pub fn hear(&mut self, me: &str, view: &View, servers: &CostlyServers, now: u64) {
        let others = || view.costly.iter().filter(|(engine, _)| *engine != me);
        let is_known = |(engine, kept): (&String, &super::view::Kept<CostlyRecord>)| {
            self.heard.get(engine) == Some(&kept.revision)
        };
        if others().count() == self.heard.len() && others().all(is_known) {
            return;
        }
        self.heard = others().map(|(engine, kept)| (engine.clone(), kept.revision)).collect();
        let all = others().flat_map(|(_, kept)| &kept.value.servers);
        servers.set_heard(all.map(|server| (server.address, server.until)), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::keys::Place;

    const NOW: u64 = 1_800_000_000;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn what_was_costly_for_one_is_known_to_others_as_long_as_it_says_so() {
        let [a, b] = [1, 2].map(|key| CostlyServers::new([key; 16]));
        let (mut of_a, mut of_b, mut view) = (Costly::default(), Costly::default(), View::default());
        assert_eq!(of_a.tell(&a, NOW), None);
        a.note(address(1), NOW);
        let value = of_a.tell(&a, NOW).unwrap();
        assert_eq!(of_a.tell(&a, NOW), None, "once");
        a.note(address(1), NOW + LATER);
        assert_eq!(of_a.tell(&a, NOW + LATER), None, "not each time that it is visited");
        view.hear(&Place::Costly("a".into()), value.as_deref(), 1);
        of_b.hear("b", &view, &b, NOW);
        assert!(b.contains(address(1), NOW) && !b.contains(address(2), NOW));
        assert_eq!(of_b.tell(&b, NOW), None, "it is not told on");
        let own = CostlyServers::new([3; 16]);
        Costly::default().hear("a", &view, &own, NOW);
        assert!(!own.contains(address(1), NOW), "its own word");
        // A new one, and another connection.
        a.note(address(2), NOW + LATER);
        let both = of_a.tell(&a, NOW + LATER).unwrap();
        of_a.reconnected();
        assert_eq!(of_a.tell(&a, NOW + LATER), Some(both.clone()));
        view.hear(&Place::Costly("a".into()), both.as_deref(), 2);
        of_b.hear("b", &view, &b, NOW + LATER);
        assert!(b.contains(address(1), NOW + LATER) && b.contains(address(2), NOW + LATER));
        // One with many addresses is told of in turns.
        for (after, told) in [(1, true), (1, false), (2, true)] {
            a.note(address(2 + after * 2 + u8::from(told)), NOW + LATER);
            assert_eq!(of_a.tell(&a, NOW + LATER + u64::from(after)).is_some(), told, "{after} s later");
        }
        // Its time is up: it takes them back. Its lease ends.
        assert_eq!(of_a.tell(&a, NOW + LATER + 600), Some(None));
        view.hear(&Place::Costly("a".into()), None, 3);
        of_b.hear("b", &view, &b, NOW + LATER);
        assert!(!b.contains(address(1), NOW + LATER));
    }
}
