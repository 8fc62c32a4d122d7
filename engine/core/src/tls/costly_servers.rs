//! Servers that have presented a chain whose verification cost far more than others do.
//!
//! For a while the handshakes with such an address run when no others wait, and verifications of its chains may cost less. Nothing is
//! refused for it: other servers may be behind the same address, and a chain of ordinary size still passes.
//!
//! What other engines of a fleet say has a table of its own, so that it pushes out nothing that this engine has seen, and does no more than have
//! handshakes wait: a chain may cost as much as ever. So a lie refuses nobody, and does not become what others have seen themselves.

use std::collections::VecDeque;
use std::hash::Hasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use siphasher::sip::SipHasher13;

use super::verify::Budget;
use crate::lock::Lock;

/// Servers that an engine tells others of: its newest.
pub const MOST_COSTLY: usize = 128;
/// Addresses that are remembered, 8 bytes each. Of two in one place the later stays.
const SLOTS: usize = 4096;
/// For how long, in seconds.
const KEEP: u64 = 600;
/// Bits of a slot that say until when, in seconds since the Unix epoch; the others are the address's hash.
const UNTIL: u64 = u32::MAX as u64;

/// A memory of addresses. All threads read it without a lock: workers do, when a handshake begins.
pub struct CostlyServers {
    seen: Slots,
    heard: Slots,
    told: Lock<Told>,
}

/// What this engine has seen itself, for others: addresses, and until when.
#[derive(Default)]
struct Told {
    newest: VecDeque<(IpAddr, u64)>,
}

impl CostlyServers {
    /// `key` decides which addresses share a place.
    pub fn new(key: [u8; 16]) -> Self {
        Self { seen: Slots::new(key), heard: Slots::new(key), told: Lock::default() }
    }

    /// Remembers a server, at `now` in seconds since the Unix epoch.
    pub fn note(&self, server: IpAddr, now: u64) {
        let until = now.saturating_add(KEEP);
        self.seen.put(server, until);
        let server = of_network(server);
        let mut told = self.told.lock();
        told.newest.retain(|(other, until)| *other != server && *until > now);
        if told.newest.len() >= MOST_COSTLY {
            told.newest.pop_front();
        }
        told.newest.push_back((server, until));
    }

    /// Whether a server is remembered at `now`.
    pub fn contains(&self, server: IpAddr, now: u64) -> bool {
        self.seen.contains(server, now) || self.heard.contains(server, now)
    }

    /// What the verification of a chain of this server may cost.
    pub(super) fn budget(&self, server: IpAddr, now: u64) -> Budget {
        if self.seen.contains(server, now) { Budget::Reduced } else { Budget::Whole }
    }

    /// What this engine has seen itself, and until when that holds, of what does at `now`.
    pub fn own(&self, now: u64) -> Vec<(IpAddr, u64)> {
        self.told.lock().newest.iter().filter(|(_, until)| *until > now).copied().collect()
    }

    /// These are all that other engines say, at `now`: each holds until then, but no longer than what is seen here.
    pub fn set_heard(&self, all: impl Iterator<Item = (IpAddr, u64)>, now: u64) {
        self.heard.replace(all.map(|(server, until)| (server, until.min(now.saturating_add(KEEP)))));
    }
}

/// Who has one address of a /64 has all of them.
fn of_network(server: IpAddr) -> IpAddr {
    match server {
        IpAddr::V4(_) => server,
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & (u128::MAX << 64)).into(),
    }
}

/// A table of hashes and times.
struct Slots {
    slots: Box<[AtomicU64]>,
    key: [u8; 16],
}

impl Slots {
    fn new(key: [u8; 16]) -> Self {
        Self { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(), key }
    }

    fn put(&self, server: IpAddr, until: u64) {
        let (place, value) = self.slot(server, until);
        self.slots[place].store(value, Relaxed);
    }

    fn contains(&self, server: IpAddr, now: u64) -> bool {
        let (place, hash) = self.slot(server, 0);
        let kept = self.slots[place].load(Relaxed);
        kept & !UNTIL == hash & !UNTIL && now < kept & UNTIL
    }

    /// Has these and no others. Who looks meanwhile finds each as it was or as it is to be.
    fn replace(&self, all: impl Iterator<Item = (IpAddr, u64)>) {
        let mut new = vec![0; SLOTS];
        for (place, value) in all.map(|(server, until)| self.slot(server, until)) {
            new[place] = value;
        }
        self.slots.iter().zip(new).for_each(|(slot, value)| slot.store(value, Relaxed));
    }

    /// Where this server has its place, and what that says.
    fn slot(&self, server: IpAddr, until: u64) -> (usize, u64) {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        match of_network(server) {
            IpAddr::V4(v4) => hasher.write(&v4.octets()),
            IpAddr::V6(v6) => hasher.write(&v6.octets()[..8]),
        }
        let hash = hasher.finish();
        (hash as usize % SLOTS, hash & !UNTIL | until.min(UNTIL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_server_is_remembered_for_a_while() {
        let servers = CostlyServers::new([7; 16]);
        let one = address("192.0.2.1");
        assert!(!servers.contains(one, 0) && !servers.contains(one, NOW));
        servers.note(one, NOW);
        assert!(servers.contains(one, NOW) && servers.contains(one, NOW + KEEP - 1));
        assert!(!servers.contains(one, NOW + KEEP));
        assert_eq!(servers.budget(one, NOW), Budget::Reduced);
        assert_eq!(servers.budget(address("192.0.2.2"), NOW), Budget::Whole);
        servers.note(address("2001:db8::1"), NOW);
        assert!(servers.contains(address("2001:db8::ffff:1"), NOW));
        assert!(!servers.contains(address("2001:db8:0:1::1"), NOW));
    }

    #[test]
    fn they_are_bounded_and_one_in_anothers_place_is_another() {
        let servers = CostlyServers::new([7; 16]);
        let all = || (0..100_000_u32).map(|n| IpAddr::from(n.to_be_bytes()));
        all().for_each(|server| servers.note(server, NOW));
        let kept = all().filter(|server| servers.contains(*server, NOW)).count();
        assert!(kept <= SLOTS && kept > SLOTS / 2, "{kept}");
    }

    #[test]
    fn what_others_say_counts_as_long_and_pushes_out_nothing_that_was_seen() {
        let servers = CostlyServers::new([7; 16]);
        let (own, other) = (address("192.0.2.1"), address("192.0.2.2"));
        servers.note(own, NOW);
        servers.set_heard([(other, u64::MAX), (address("2001:db8::1"), NOW + 5)].into_iter(), NOW);
        assert!(servers.contains(other, NOW + KEEP - 1) && !servers.contains(other, NOW + KEEP));
        assert_eq!(servers.budget(other, NOW), Budget::Whole, "it only waits for others");
        assert!(
            servers.contains(address("2001:db8::2"), NOW + 4)
                && !servers.contains(address("2001:db8::2"), NOW + 5)
        );
        servers.set_heard((0..100_000_u32).map(|n| (IpAddr::from(n.to_be_bytes()), u64::MAX)), NOW);
        assert!(servers.contains(own, NOW), "whatever they say");
        servers.set_heard(std::iter::empty(), NOW);
        assert!(!servers.contains(other, NOW), "it was taken back");
    }

    #[test]
    fn what_is_told_is_what_was_seen_here_last() {
        let servers = CostlyServers::new([7; 16]);
        servers.set_heard([(address("192.0.2.2"), NOW + 60)].into_iter(), NOW);
        assert_eq!(servers.own(NOW), vec![], "nothing is told on");
        servers.note(address("2001:db8::1"), NOW);
        servers.note(address("2001:db8::2"), NOW + 1);
        assert_eq!(servers.own(NOW), [(address("2001:db8::"), NOW + 1 + KEEP)], "one network, once");
        assert_eq!(servers.own(NOW + 1 + KEEP), vec![]);
        (0..1000_u32).for_each(|n| servers.note(IpAddr::from(n.to_be_bytes()), NOW));
        let own = servers.own(NOW);
        assert_eq!(
            (own.len(), own.last()),
            (MOST_COSTLY, Some(&(IpAddr::from(999_u32.to_be_bytes()), NOW + KEEP)))
        );
    }
}
