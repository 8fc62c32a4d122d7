//! The transactions of a flow that are open or not yet fetched, what was odd about them, and the bounds on all of it.

use std::collections::VecDeque;

use crate::event::{AnomalyEvent, HttpEvent};
use crate::reason::InspectorOff;

/// Transactions of one flow whose texts are kept at once. Of further ones only the framing is followed.
pub(super) const MAX_OPEN: usize = 128;
/// Complete ones that wait to be fetched. The caller fetches after every record, which has no room for more responses.
const MAX_DONE: usize = 1280;
/// Places for complete ones that an idle flow keeps: those of whoever sends one at a time.
const MAX_KEPT_DONE: usize = 4;
/// Bytes of text in all transactions that are open or wait.
const MAX_TEXT_HELD: usize = 256 * 1024;
/// Anomalies of one flow that are told.
const MAX_ANOMALIES: u8 = 8;

/// Numbers transactions and counts what they hold.
#[derive(Default)]
pub(super) struct Transactions {
    next_id: u64,
    open: usize,
    held: usize,
    done: VecDeque<Transaction>,
    anomalies: VecDeque<Box<AnomalyEvent>>,
    told: u8,
}

/// An open transaction, or a complete one that nobody has fetched.
pub(super) struct Transaction {
    pub(super) event: Box<HttpEvent>,
    /// Bytes of its texts that are counted.
    held: usize,
}

impl Transactions {
    /// There is room for the texts of no further one.
    pub(super) fn is_full(&self) -> bool {
        self.open >= MAX_OPEN
    }

    /// The next transaction's number.
    pub(super) fn number(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// The number that the next one will have.
    pub(super) fn next_number(&self) -> u64 {
        self.next_id
    }

    /// A transaction begins, as far as `event` says, which has its number.
    pub(super) fn open(&mut self, event: Box<HttpEvent>) -> Transaction {
        self.open += 1;
        let mut transaction = Transaction { event, held: 0 };
        self.changed(&mut transaction);
        transaction
    }

    /// Text was added to an open transaction. Where too much is held, it loses all that it has.
    pub(super) fn changed(&mut self, transaction: &mut Transaction) {
        let mut now = transaction.event.text_bytes();
        if self.held + now - transaction.held > MAX_TEXT_HELD {
            transaction.event.shorten();
            now = 0;
        }
        self.held = self.held + now - transaction.held;
        transaction.held = now;
    }

    /// It ended; beyond the bound on what waits, it is not reported.
    pub(super) fn close(&mut self, transaction: Transaction) -> Result<(), InspectorOff> {
        self.open -= 1;
        self.push(transaction)
    }

    /// One ended of which no text was kept.
    pub(super) fn report(&mut self, event: HttpEvent) -> Result<(), InspectorOff> {
        self.push(Transaction { event: Box::new(event), held: 0 })
    }

    fn push(&mut self, transaction: Transaction) -> Result<(), InspectorOff> {
        if self.done.len() >= MAX_DONE + MAX_OPEN {
            self.held -= transaction.held;
            return Err(InspectorOff::TooManyOpen);
        }
        self.done.push_back(transaction);
        // The last places are for those that are open when the reader turns itself off.
        if self.done.len() > MAX_DONE { Err(InspectorOff::TooManyOpen) } else { Ok(()) }
    }

    /// No more than what is open can still be reported.
    pub(super) fn is_full_of_done(&self) -> bool {
        self.done.len() >= MAX_DONE
    }

    pub(super) fn fetch(&mut self) -> Option<Box<HttpEvent>> {
        let Transaction { event, held } = self.done.pop_front()?;
        if self.done.is_empty() && self.done.capacity() > MAX_KEPT_DONE {
            self.done = VecDeque::new();
        }
        self.held -= held;
        Some(event)
    }

    /// Something is odd. Only the first ones of a flow are told.
    pub(super) fn raise(&mut self, anomaly: AnomalyEvent) {
        if self.told < MAX_ANOMALIES {
            self.told += 1;
            self.anomalies.push_back(Box::new(anomaly));
        }
    }

    pub(super) fn fetch_anomaly(&mut self) -> Option<Box<AnomalyEvent>> {
        let anomaly = self.anomalies.pop_front()?;
        if self.anomalies.is_empty() {
            self.anomalies = VecDeque::new();
        }
        Some(anomaly)
    }

    /// Bytes of memory that the transactions take, beside the reader's own lists of them.
    pub(super) fn memory(&self) -> usize {
        let Self { next_id: _, open, held, done, anomalies, told: _ } = self;
        let events = (open + done.len()) * size_of::<HttpEvent>();
        let odd = anomalies.capacity() * (size_of::<Box<AnomalyEvent>>() + size_of::<AnomalyEvent>());
        held + events + done.capacity() * size_of::<Transaction>() + odd
    }
}
