//! The memory that the flows of one worker may take.
//!
//! ```text
//!  0                         held                              NEARLY            total
//!  |---------- taken -----------|------------- free -------------|----------------|
//!                               a leg: an eighth of what is free   no new legs,     nothing but
//!                                                                  no more for      what completes
//!                                                                  those that hold  a record
//! ```
//! How much one leg may take follows from what is free ("dynamic thresholds", as switches share their buffers): where few
//! legs are stuck each may hold much, where many are each may hold little, and something is always left for those that move.
//! One sum for each worker, brought up to date after each call for a flow: no list of flows is ever walked.

use crate::fairness::Pressure;

/// Part of what is free that one leg may take, in each direction.
const SHARE: usize = 8;
/// Least that a leg may take, if `buffer_bytes` allows: two TLS records and some segments.
const FLOOR: usize = 64 * 1024;
/// Eighths of the budget at which new legs are refused.
const NEARLY: usize = 7;
/// Least that a leg may take when the budget is nearly used up: a whole record, as it cannot be opened in part.
const LAST_FLOOR: usize = 17 * 1024;
/// What a flow's HTTP reader may take then: a few transactions.
const READER_CRUMBS: usize = 4 * 1024;
/// What a flow may hold then before it is closed to payload: the window that it was promised before.
const CRUMBS: usize = 64 * 1024;

/// What one worker's flows hold, and how much that may be.
#[derive(Debug)]
pub struct Budget {
    total: usize,
    held: usize,
}

impl Budget {
    /// So many bytes.
    pub fn new(total: usize) -> Self {
        Self { total, held: 0 }
    }

    /// Bytes that all flows may hold.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Bytes held by all flows.
    pub fn held(&self) -> usize {
        self.held
    }

    /// A flow that held `before` bytes holds `after` now.
    pub fn changed(&mut self, before: usize, after: usize) {
        self.held = (self.held + after).saturating_sub(before);
    }

    /// Bytes that a leg may hold in each direction, if `most` is its own limit.
    pub(crate) fn leg_limit(&self, most: usize) -> usize {
        let free = self.total.saturating_sub(self.held);
        let floor = if self.has_room() { FLOOR } else { LAST_FLOOR };
        (free / SHARE).max(floor).min(most)
    }

    /// Bytes that a flow's HTTP reader may take. What it has taken beyond that does not come back before its flow goes on, so
    /// it is turned off.
    pub(crate) fn reader_limit(&self) -> usize {
        if self.has_room() { self.leg_limit(usize::MAX) } else { READER_CRUMBS }
    }

    /// There is memory for the legs of one more flow.
    pub fn has_room(&self) -> bool {
        self.held < self.total / 8 * NEARLY
    }

    /// There is memory for what makes a log fuller, and no flow needs: only while flows do not have to hurry for lack of it.
    pub fn may_watch(&self) -> bool {
        Pressure::of_memory(self.held, self.total) == Pressure::NONE
    }

    /// Bytes that may be taken before the budget is nearly used up.
    pub(crate) fn spare(&self) -> usize {
        (self.total / 8 * NEARLY).saturating_sub(self.held)
    }

    /// A flow that holds so much may not take in more now. Less than a record each way can always be added to: an incomplete
    /// record cannot be passed on, so flows that all hold the beginning of one would wait for each other for ever.
    pub(crate) fn is_closed_to(&self, holding: usize) -> bool {
        let most = match (self.held >= self.total, self.has_room()) {
            (true, _) => 2 * LAST_FLOOR,
            (false, false) => CRUMBS,
            (false, true) => return false,
        };
        holding >= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn a_legs_share_falls_with_what_is_free() {
        let mut budget = Budget::new(64 * MIB);
        assert_eq!(budget.leg_limit(4 * MIB), 4 * MIB);
        budget.changed(0, 48 * MIB);
        assert_eq!(budget.leg_limit(4 * MIB), 2 * MIB);
        budget.changed(0, 15 * MIB);
        assert_eq!(budget.leg_limit(4 * MIB), MIB / 8);
        budget.changed(0, MIB);
        assert_eq!((budget.leg_limit(4 * MIB), budget.leg_limit(1000)), (LAST_FLOOR, 1000));
        budget.changed(64 * MIB, 0);
        assert_eq!((budget.held(), budget.leg_limit(4 * MIB)), (0, 4 * MIB));
    }

    /// Legs that take all they may and give nothing back: the more there are the less each gets, and something is left.
    #[test]
    fn hogs_leave_something() {
        for hogs in [1, 10, 100, 500] {
            let mut budget = Budget::new(64 * MIB);
            let mut holds = vec![0; hogs];
            for _ in 0..1000 {
                for held in &mut holds {
                    let grown = budget.leg_limit(usize::MAX).max(*held).min(*held + 1460);
                    budget.changed(*held, grown);
                    *held = grown;
                }
            }
            let left = 64 * MIB - budget.held();
            assert!(left + 1460 * hogs >= 64 * MIB * SHARE / (SHARE + hogs), "{hogs}: {left}");
            assert!(budget.has_room() || hogs > 7 * SHARE, "{hogs}");
        }
    }

    #[test]
    fn at_the_end_those_who_hold_little_go_on_longest() {
        let mut budget = Budget::new(64 * MIB);
        budget.changed(0, 56 * MIB - 1);
        assert!(budget.has_room() && !budget.is_closed_to(MIB));
        budget.changed(0, 1);
        assert!(!budget.has_room() && budget.is_closed_to(CRUMBS) && !budget.is_closed_to(CRUMBS - 1));
        budget.changed(0, 8 * MIB);
        assert!(budget.is_closed_to(2 * LAST_FLOOR) && !budget.is_closed_to(2 * LAST_FLOOR - 1));
    }
}
