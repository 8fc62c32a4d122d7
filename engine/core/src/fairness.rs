//! Who gives way when a worker runs out of room, and how much of it one client may have.
//!
//! Rules and counts alone: `worker/shedding.rs` acts on them.

use hashbrown::HashTable;
use tcp_stack::Duration;

use crate::flow_table::Class;

/// Shortest idle time that a full table or full memory leaves, if `idle_time` is not shorter.
pub const LEAST_IDLE: Duration = Duration::from_secs(60);
/// A flow that has moved within this time is spared where another one can give way: a handshake takes some round trips.
pub const YOUNG: Duration = Duration::from_secs(3);
/// Each of `opening` and `undecided` has so large a part of the table for young flows.
const RESERVED: usize = 16;
/// Least that one client may have by default: a browser opens as many connections at once.
const LEAST_PER_CLIENT: u32 = 16;

/// Settings of all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fairness {
    /// Which classes give way, and in which order.
    pub shed: Shed,
    /// Most flows of one client.
    pub per_client: PerClient,
    /// What counts as one client.
    pub client_prefix: ClientPrefix,
}

/// Classes that give way to new flows, first to last. Those that are left out never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shed {
    order: [Class; Class::ALL.len()],
    len: usize,
}

impl Default for Shed {
    fn default() -> Self {
        Self { order: Class::ALL, len: Class::ALL.len() }
    }
}

impl Shed {
    /// These, in this order. One that comes twice counts where it came first.
    pub fn new(classes: &[Class]) -> Self {
        let mut shed = Self { len: 0, ..Self::default() };
        for class in classes {
            if !shed.classes().contains(class) {
                shed.order[shed.len] = *class;
                shed.len += 1;
            }
        }
        shed
    }

    /// First to last.
    pub fn classes(&self) -> &[Class] {
        &self.order[..self.len]
    }
}

/// Most flows that one client may have at a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PerClient {
    /// A quarter of the table, and at least 16.
    #[default]
    Quarter,
    /// So many.
    AtMost(u32),
    /// As many as the table has.
    NoLimit,
}

impl PerClient {
    /// As a number, where the table has so many places.
    pub fn of(self, flows: u32) -> u32 {
        match self {
            Self::Quarter => (flows / 4).max(LEAST_PER_CLIENT),
            Self::AtMost(most) => most,
            Self::NoLimit => u32::MAX,
        }
    }
}

/// How many bits of an address name a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPrefix {
    /// Of an IPv4 address.
    pub v4: u8,
    /// Of an IPv6 address. Whoever has one address of a network of 64 bits has all of them.
    pub v6: u8,
}

impl Default for ClientPrefix {
    fn default() -> Self {
        Self { v4: 32, v6: 64 }
    }
}

impl ClientPrefix {
    /// The network that stands for this client.
    pub fn of(self, address: std::net::IpAddr) -> std::net::IpAddr {
        match address {
            std::net::IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.v4.min(32))).unwrap_or(0);
                std::net::Ipv4Addr::from_bits(address.to_bits() & mask).into()
            }
            std::net::IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.v6.min(128))).unwrap_or(0);
                std::net::Ipv6Addr::from_bits(address.to_bits() & mask).into()
            }
        }
    }
}

/// How many young flows of `opening`, and of `undecided`, a table of so many places spares.
pub fn reserved(capacity: usize) -> usize {
    capacity / RESERVED
}

/// How short room is, in a table or in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pressure(u64);

impl Pressure {
    /// None at all.
    pub const NONE: Self = Self(0);
    /// As short as it gets.
    const FULL: u64 = 1024;

    /// Of a table with so many flows: from three quarters to all of it.
    pub fn of_table(flows: usize, capacity: usize) -> Self {
        Self::between(flows, capacity / 4 * 3, capacity)
    }

    /// Of memory: from three quarters to seven eighths of it, where new flows are refused.
    pub fn of_memory(held: usize, total: usize) -> Self {
        Self::between(held, total / 4 * 3, total / 8 * 7)
    }

    fn between(used: usize, from: usize, to: usize) -> Self {
        if used <= from {
            return Self::NONE;
        }
        Self((used.min(to) - from) as u64 * Self::FULL / (to - from).max(1) as u64)
    }

    /// What it leaves of an idle time: less and less in a straight line, down to [`LEAST_IDLE`].
    pub fn shrink(self, idle: Duration) -> Duration {
        let (idle, least) = (idle.total_micros(), LEAST_IDLE.min(idle).total_micros());
        Duration::from_micros(idle - (idle - least) / Self::FULL * self.0)
    }
}

/// How many of something each client has, by the keyed hash of its network. Nobody without the key finds two that share one.
///
/// Holds the clients that have any: never more than there are things.
#[derive(Default)]
pub struct Shares {
    counts: HashTable<(u64, u32)>,
    total: usize,
}

impl Shares {
    /// What a client has.
    pub fn of(&self, client: u64) -> u32 {
        self.counts.find(client, |(known, _)| *known == client).map_or(0, |(_, count)| *count)
    }

    /// What all have together.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Clients that have any.
    pub fn clients(&self) -> usize {
        self.counts.len()
    }

    /// One more.
    pub fn add(&mut self, client: u64) {
        self.total += 1;
        match self.counts.find_mut(client, |(known, _)| *known == client) {
            Some((_, count)) => *count += 1,
            None => {
                self.counts.insert_unique(client, (client, 1), |(known, _)| *known);
            }
        }
    }

    /// So many less, of those that were added.
    pub fn remove(&mut self, client: u64, many: u32) {
        let Ok(mut found) = self.counts.find_entry(client, |(known, _)| *known == client) else { return };
        let count = &mut found.get_mut().1;
        let gone = many.min(*count);
        *count -= gone;
        self.total -= gone as usize;
        if *count == 0 {
            found.remove();
        }
    }

    /// A client may have one more of `most` things.
    pub(crate) fn may_add(&self, client: u64, most: usize) -> bool {
        self.room(client, most) > 0
    }

    /// How many more of `most` things a client may have.
    pub fn room(&self, client: u64, most: usize) -> usize {
        room(|| self.of(client) as usize, most.saturating_sub(self.total), most)
    }
}

/// How many more of `most` things a client may have that has `own`, where so many are `free`. Three quarters are for whoever comes first;
/// of the last quarter nobody who has as many as are free gets any, so something is left for the next.
pub(crate) fn room(own: impl FnOnce() -> usize, free: usize, most: usize) -> usize {
    // Whatever it has: half of what is free is no more than this.
    if free >= most / 2 {
        return free - most / 4;
    }
    free.saturating_sub(most / 4).max(free.saturating_sub(own()).div_ceil(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_what_was_said_each_class_once() {
        let shed = Shed::new(&[Class::Bypassed, Class::Opening, Class::Bypassed]);
        assert_eq!(shed.classes(), [Class::Bypassed, Class::Opening]);
        assert_eq!(Shed::new(&[]).classes(), []);
        assert_eq!(Shed::new(&Class::ALL), Shed::default());
    }

    #[test]
    fn idle_time_falls_from_three_quarters_on() {
        let left = |pressure: Pressure| pressure.shrink(Duration::from_secs(3_600)).total_millis() / 1_000;
        let table = [0, 3_000, 3_500, 4_000, 5_000].map(|flows| left(Pressure::of_table(flows, 4_000)));
        assert_eq!(table, [3_600, 3_600, 1_830, 60, 60]);
        let memory = [0, 600, 650, 700, 800, 900].map(|held| left(Pressure::of_memory(held, 800)));
        assert_eq!(memory, [3_600, 3_600, 1_830, 60, 60, 60]);
        assert_eq!(
            (Pressure::of_table(3_000, 4_000), Pressure::of_memory(600, 800)),
            (Pressure::NONE, Pressure::NONE)
        );
        // A time that is shorter already stays, and nothing divides by zero.
        assert_eq!(Pressure::of_table(4, 4).shrink(Duration::from_secs(30)), Duration::from_secs(30));
        assert_eq!([Pressure::of_table(0, 0), Pressure::of_memory(0, 0)], [Pressure::NONE; 2]);
        assert!(Pressure::of_table(1, 0) >= Pressure::NONE && Pressure::of_memory(1, 0) >= Pressure::NONE);
    }

    #[test]
    fn a_client_is_a_network() {
        let prefix = ClientPrefix { v4: 24, v6: 64 };
        let of = |address: &str| prefix.of(address.parse().expect("an address")).to_string();
        assert_eq!([of("192.0.2.77"), of("2001:db8:1:2:3::4")], ["192.0.2.0", "2001:db8:1:2::"]);
        let all = ClientPrefix { v4: 32, v6: 128 };
        assert_eq!(all.of([192, 0, 2, 7].into()).to_string(), "192.0.2.7");
        let none = ClientPrefix { v4: 0, v6: 0 };
        assert_eq!(none.of([192, 0, 2, 7].into()).to_string(), "0.0.0.0");
    }

    #[test]
    fn nothing_is_added_to_what_is_full() {
        let mut shares = Shares::default();
        for client in 0..8 {
            assert!(shares.may_add(client, 8));
            shares.add(client);
        }
        assert!(!shares.may_add(99, 8) && !shares.may_add(99, 0) && !Shares::default().may_add(1, 0));
    }

    /// Against the rule that stands there, one thing at a time.
    #[test]
    fn room_is_as_many_as_may_be_added() {
        for (others, own, most) in (0..40).flat_map(|o| (0..20).map(move |c| (o, c, 32))) {
            let mut shares = Shares::default();
            (0..others).for_each(|other| shares.add(1_000 + other));
            (0..own).for_each(|_| shares.add(1));
            let room = shares.room(1, most);
            let may = |shares: &Shares| {
                let free = most.saturating_sub(shares.total());
                free > most / 4 || (shares.of(1) as usize) < free
            };
            (0..room).for_each(|_| {
                assert!(may(&shares), "{others} {own}");
                shares.add(1);
            });
            assert!(!may(&shares), "{others} {own}");
        }
    }

    #[test]
    fn hogs_leave_something() {
        for hogs in 1..20 {
            let mut shares = Shares::default();
            for _ in 0..1_000 {
                for hog in (0..hogs).filter(|hog| shares.may_add(*hog, 1_000)).collect::<Vec<_>>() {
                    shares.add(hog);
                }
            }
            let left = 1_000 - shares.total();
            assert!(left >= (1_000 / (hogs as usize + 1)).min(250) - hogs as usize, "{hogs}: {left}");
            assert!(shares.may_add(99, 1_000));
        }
    }

    proptest::proptest! {
        #[test]
        fn counts_like_a_map(ops in proptest::collection::vec((0u8..3, 0u64..20, 1u32..4), 0..300)) {
            let (mut shares, mut model) = (Shares::default(), std::collections::BTreeMap::<u64, u32>::new());
            for (op, client, many) in ops {
                if op < 2 {
                    shares.add(client);
                    *model.entry(client).or_default() += 1;
                } else {
                    shares.remove(client, many);
                    if let Some(count) = model.get_mut(&client) {
                        *count = count.saturating_sub(many);
                    }
                    model.retain(|_, count| *count > 0);
                }
                proptest::prop_assert_eq!(shares.of(client), model.get(&client).copied().unwrap_or(0));
                proptest::prop_assert_eq!(shares.total(), model.values().sum::<u32>() as usize);
                proptest::prop_assert_eq!(shares.clients(), model.len());
            }
        }
    }
}
