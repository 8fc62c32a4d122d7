//! What an operator has ordered over policy, for the flows that are not decided yet. A worker looks once a turn; a flow asks when it
//! begins and when its hello is known, never for a packet in between.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// An order that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Order {
    /// What policy would decrypt is bypassed; what it blocks is blocked.
    Drain = 1,
    /// All flows are bypassed, from their SYN on, whatever policy says.
    Bypass,
}

impl Order {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Drain, Self::Bypass];

    /// As commands, events and metrics call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Bypass => "bypass",
        }
    }
}

/// Where the order stands that all workers go by.
#[derive(Debug, Default)]
pub struct StandingOrder(AtomicU8);

impl StandingOrder {
    /// The order; none: policy alone decides. One load.
    pub fn get(&self) -> Option<Order> {
        let held = self.0.load(Relaxed);
        Order::ALL.into_iter().find(|order| *order as u8 == held)
    }

    /// This one stands from now on.
    pub fn set(&self, order: Option<Order>) {
        self.0.store(order.map_or(0, |order| order as u8), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_ordered_stands() {
        let standing = StandingOrder::default();
        assert_eq!(standing.get(), None);
        for order in [Some(Order::Drain), Some(Order::Bypass), None] {
            standing.set(order);
            assert_eq!(standing.get(), order);
        }
    }
}
