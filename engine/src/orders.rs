//! What an operator has ordered over policy, and for how long. Each order ends by itself; bypass comes before drain.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wireglass_core::order::{Order, StandingOrder};

/// When an order ends; none: when it is taken back.
type Until = Option<Instant>;

/// The orders that stand. Written by whoever commands, read by those that report; workers read [`StandingOrder`].
#[derive(Debug, Default)]
pub struct Orders {
    standing: Arc<StandingOrder>,
    held: Mutex<[Option<Until>; Order::ALL.len()]>,
}

impl Orders {
    /// What the workers go by.
    pub fn standing(&self) -> &Arc<StandingOrder> {
        &self.standing
    }

    /// This one stands from now on, in place of an earlier one of its kind.
    pub fn begin(&self, order: Order, until: Until) {
        let mut held = self.lock();
        held[place(order)] = Some(until);
        self.publish(&held);
    }

    /// Takes it back. False: it did not stand.
    pub fn end(&self, order: Order) -> bool {
        let mut held = self.lock();
        let stood = held[place(order)].take().is_some();
        self.publish(&held);
        stood
    }

    /// Ends those whose time is up, and returns them. To be called all the time.
    pub fn end_due(&self, now: Instant) -> Vec<Order> {
        let mut held = self.lock();
        let is_due = |order: &Order| held[place(*order)].flatten().is_some_and(|until| until <= now);
        let due: Vec<_> = Order::ALL.into_iter().filter(is_due).collect();
        due.iter().for_each(|order| held[place(*order)] = None);
        self.publish(&held);
        due
    }

    /// Those that stand, each with the time that it has left, if it ends by itself.
    pub fn list(&self, now: Instant) -> Vec<(Order, Option<Duration>)> {
        let held = self.lock();
        let left = |until: Until| until.map(|until| until.saturating_duration_since(now));
        Order::ALL.into_iter().filter_map(|order| Some((order, left(held[place(order)]?)))).collect()
    }

    /// A panic of another thread leaves a list that is whole.
    fn lock(&self) -> MutexGuard<'_, [Option<Until>; Order::ALL.len()]> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, held: &[Option<Until>; Order::ALL.len()]) {
        let stands = |order: &Order| held[place(*order)].is_some();
        self.standing.set([Order::Bypass, Order::Drain].into_iter().find(stands));
    }
}

fn place(order: Order) -> usize {
    order as usize - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_ends_by_itself_and_bypass_comes_first() {
        let (orders, start) = (Orders::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        orders.begin(Order::Drain, None);
        assert_eq!(orders.standing().get(), Some(Order::Drain));
        orders.begin(Order::Bypass, Some(at(900)));
        assert_eq!(orders.standing().get(), Some(Order::Bypass));
        let left = Some(Duration::from_secs(890));
        assert_eq!(orders.list(at(10)), [(Order::Drain, None), (Order::Bypass, left)]);
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
}
