//! What an operator of this engine has ordered over policy, and for how long, and whether its fleet drains it. Each of both ends only its own; bypass
//! comes before drain.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wireglass_core::order::{Order, StandingOrder};

/// When an order ends; none: when it is taken back.
type Until = Option<Instant>;

/// Whose order it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderedBy {
    /// An operator's, at this engine.
    Operator,
    /// The fleet's: an operator's, through etcd.
    Fleet,
}

impl OrderedBy {
    /// As commands and messages call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Fleet => "fleet",
        }
    }
}

/// An order that stands, and the time that it has left, if it ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The order.
    pub order: Order,
    /// Whose it is.
    pub by: OrderedBy,
    /// None: it does not end by itself.
    pub left: Option<Duration>,
}

impl Standing {
    /// The order, and whose it is if it is not an operator's at this engine.
    pub const fn name(&self) -> &'static str {
        match (self.by, self.order) {
            (OrderedBy::Operator, order) => order.name(),
            (OrderedBy::Fleet, Order::Drain) => "drain (fleet)",
            (OrderedBy::Fleet, Order::Bypass) => "bypass (fleet)",
        }
    }
}

/// The orders that stand. Written by whoever commands, read by those that report; workers read [`StandingOrder`].
#[derive(Debug, Default)]
pub struct Orders {
    standing: Arc<StandingOrder>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    of_operator: [Option<Until>; Order::ALL.len()],
    fleet_drains: bool,
}

impl Orders {
    /// What the workers go by.
    pub fn standing(&self) -> &Arc<StandingOrder> {
        &self.standing
    }

    /// An operator's order stands from now on, in place of an earlier one of its kind.
    pub fn begin(&self, order: Order, until: Until) {
        let mut held = self.lock();
        held.of_operator[place(order)] = Some(until);
        self.publish(&held);
    }

    /// An operator takes it back. False: no operator's stood.
    pub fn end(&self, order: Order) -> bool {
        let mut held = self.lock();
        let stood = held.of_operator[place(order)].take().is_some();
        self.publish(&held);
        stood
    }

    /// The fleet drains this engine, or no longer.
    pub fn set_fleet_drains(&self, drains: bool) {
        let mut held = self.lock();
        held.fleet_drains = drains;
        self.publish(&held);
    }

    /// Ends those of an operator whose time is up, and returns them. To be called all the time.
    pub fn end_due(&self, now: Instant) -> Vec<Order> {
        let mut held = self.lock();
        let is_due =
            |order: &Order| held.of_operator[place(*order)].flatten().is_some_and(|until| until <= now);
        let due: Vec<_> = Order::ALL.into_iter().filter(is_due).collect();
        due.iter().for_each(|order| held.of_operator[place(*order)] = None);
        self.publish(&held);
        due
    }

    /// Those that stand, the fleet's after the operator's.
    pub fn list(&self, now: Instant) -> Vec<Standing> {
        let held = self.lock();
        let left = |until: Until| until.map(|until| until.saturating_duration_since(now));
        let of_operator = Order::ALL.into_iter().filter_map(|order| {
            let until = held.of_operator[place(order)]?;
            Some(Standing { order, by: OrderedBy::Operator, left: left(until) })
        });
        let of_fleet = Standing { order: Order::Drain, by: OrderedBy::Fleet, left: None };
        of_operator.chain(held.fleet_drains.then_some(of_fleet)).collect()
    }

    /// A panic of another thread leaves a list that is whole.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, held: &Held) {
        let stands = |order: &Order| {
            held.of_operator[place(*order)].is_some() || *order == Order::Drain && held.fleet_drains
        };
        self.standing.set([Order::Bypass, Order::Drain].into_iter().find(stands));
    }
}

fn place(order: Order) -> usize {
    order as usize - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_operator(order: Order, left: Option<Duration>) -> Standing {
        Standing { order, by: OrderedBy::Operator, left }
    }

    #[test]
    fn an_order_ends_by_itself_and_bypass_comes_first() {
        let (orders, start) = (Orders::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        orders.begin(Order::Drain, None);
        assert_eq!(orders.standing().get(), Some(Order::Drain));
        orders.begin(Order::Bypass, Some(at(900)));
        assert_eq!(orders.standing().get(), Some(Order::Bypass));
        let left = Some(Duration::from_secs(890));
        let both = [of_operator(Order::Drain, None), of_operator(Order::Bypass, left)];
        assert_eq!(orders.list(at(10)), both);
        assert_eq!(orders.end_due(at(899)), []);
        assert_eq!(orders.standing().get(), Some(Order::Bypass));
        assert_eq!(orders.end_due(at(900)), [Order::Bypass]);
        assert_eq!(orders.standing().get(), Some(Order::Drain), "what stood before still stands");
        assert_eq!(orders.end_due(at(1_000_000)), []);
        assert!(orders.end(Order::Drain) && !orders.end(Order::Drain));
        assert_eq!((orders.standing().get(), orders.list(start)), (None, vec![]));
    }

    #[test]
    fn the_same_order_again_counts_from_then() {
        let (orders, start) = (Orders::default(), Instant::now());
        orders.begin(Order::Bypass, Some(start));
        orders.begin(Order::Bypass, Some(start + Duration::from_secs(60)));
        assert_eq!(orders.end_due(start + Duration::from_secs(59)), []);
        assert_eq!(orders.end_due(start + Duration::from_secs(60)), [Order::Bypass]);
    }

    #[test]
    fn operator_and_fleet_end_each_its_own_drain() {
        let (orders, start) = (Orders::default(), Instant::now());
        let of_fleet = Standing { order: Order::Drain, by: OrderedBy::Fleet, left: None };
        orders.set_fleet_drains(true);
        assert!(!orders.end(Order::Drain), "no operator's stands");
        assert_eq!((orders.standing().get(), orders.list(start)), (Some(Order::Drain), vec![of_fleet]));
        orders.begin(Order::Drain, Some(start));
        assert_eq!(orders.list(start), [of_operator(Order::Drain, Some(Duration::ZERO)), of_fleet]);
        assert_eq!(orders.end_due(start), [Order::Drain]);
        assert_eq!(orders.standing().get(), Some(Order::Drain), "the fleet's still stands");
        orders.begin(Order::Drain, None);
        orders.set_fleet_drains(false);
        assert_eq!(orders.standing().get(), Some(Order::Drain), "the operator's still stands");
        assert!(orders.end(Order::Drain));
        assert_eq!(orders.standing().get(), None);
    }
}
