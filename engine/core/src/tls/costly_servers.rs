//! Servers that have presented a chain whose verification cost far more than others do.
//!
//! For a while the handshakes with such an address run when no others wait, and verifications of its chains may cost less. Nothing is
//! refused for it: other servers may be behind the same address, and a chain of ordinary size still passes.

use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use siphasher::sip::SipHasher13;

use super::verify::Budget;

/// Addresses that are remembered, 8 bytes each. Of two in one place the later stays.
const SLOTS: usize = 4096;
/// For how long, in seconds.
const KEEP: u64 = 600;
/// Bits of a slot that say until when, in seconds since the Unix epoch; the others are the address's hash.
const UNTIL: u64 = u32::MAX as u64;

/// A memory of addresses. All threads read and write it, without a lock.
pub(super) struct CostlyServers {
    slots: Box<[AtomicU64]>,
    key: [u8; 16],
}

impl CostlyServers {
    /// `key` decides which addresses share a place.
    pub(super) fn new(key: [u8; 16]) -> Self {
        Self { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(), key }
    }

    /// Remembers a server, at `now` in seconds since the Unix epoch.
    pub(super) fn note(&self, server: IpAddr, now: u64) {
        let (slot, hash) = self.place(server);
        slot.store(hash & !UNTIL | now.saturating_add(KEEP).min(UNTIL), Relaxed);
    }

    /// Whether a server is remembered at `now`.
    pub(super) fn contains(&self, server: IpAddr, now: u64) -> bool {
        let (slot, hash) = self.place(server);
        let kept = slot.load(Relaxed);
        kept & !UNTIL == hash & !UNTIL && now < kept & UNTIL
    }

    /// What the verification of a chain of this server may cost.
    pub(super) fn budget(&self, server: IpAddr, now: u64) -> Budget {
        if self.contains(server, now) { Budget::Reduced } else { Budget::Whole }
    }

    fn place(&self, server: IpAddr) -> (&AtomicU64, u64) {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        match server {
            IpAddr::V4(v4) => hasher.write(&v4.octets()),
            // Who has one address of a /64 has all of them.
            IpAddr::V6(v6) => hasher.write(&v6.octets()[..8]),
        }
        let hash = hasher.finish();
        (&self.slots[hash as usize % SLOTS], hash)
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
}
