//! The transactions of a flow that are open or not yet fetched, and the bounds on both.

use std::collections::VecDeque;

use crate::log::event::HttpEvent;
use crate::reason::InspectorOff;

/// Transactions of one flow that are followed at once.
pub(super) const MAX_OPEN: usize = 128;
/// Complete ones that wait to be fetched. The caller fetches after every piece of plaintext, so this is only
/// reached by responses that nobody asked for.
const MAX_DONE: usize = 256;
/// Bytes of text in all transactions that are open or wait.
const MAX_TEXT_HELD: usize = 256 * 1024;

/// Numbers transactions and counts what they hold.
#[derive(Default)]
pub(super) struct Transactions {
    next_id: u64,
    open: usize,
    held: usize,
    done: VecDeque<Box<HttpEvent>>,
}

/// An open transaction.
pub(super) struct Transaction {
    pub(super) event: Box<HttpEvent>,
    held: usize,
}

impl Transactions {
    /// A request began, as far as `event` says; its number is set here.
    pub(super) fn open(&mut self, mut event: HttpEvent) -> Result<Transaction, InspectorOff> {
        if self.open >= MAX_OPEN {
            return Err(InspectorOff::TooManyOpen);
        }
        event.tx_id = self.next_id;
        self.next_id += 1;
        self.open += 1;
        let mut transaction = Transaction { event: Box::new(event), held: 0 };
        self.changed(&mut transaction)?;
        Ok(transaction)
    }

    /// Text was added to an open transaction.
    pub(super) fn changed(&mut self, transaction: &mut Transaction) -> Result<(), InspectorOff> {
        let now = text_bytes(&transaction.event);
        self.held = self.held + now - transaction.held;
        transaction.held = now;
        if self.held > MAX_TEXT_HELD { Err(InspectorOff::TooManyOpen) } else { Ok(()) }
    }

    /// It ended; beyond the bound on what waits, it is not reported.
    pub(super) fn close(&mut self, transaction: Transaction) -> Result<(), InspectorOff> {
        self.open -= 1;
        if self.done.len() >= MAX_DONE + MAX_OPEN {
            return Err(InspectorOff::TooManyOpen);
        }
        self.done.push_back(transaction.event);
        // The last places are for those that are open when the reader turns itself off.
        if self.done.len() > MAX_DONE { Err(InspectorOff::TooManyOpen) } else { Ok(()) }
    }

    pub(super) fn fetch(&mut self) -> Option<Box<HttpEvent>> {
        let event = self.done.pop_front();
        if self.done.is_empty() {
            // An idle flow holds no queue.
            self.done = VecDeque::new();
        }
        self.held -= event.as_ref().map_or(0, |event| text_bytes(event));
        event
    }

    /// Bytes of memory that the transactions take, beside the reader's own lists of them.
    pub(super) fn memory(&self) -> usize {
        let Self { next_id: _, open, held, done } = self;
        let events = (open + done.len()) * size_of::<HttpEvent>();
        held + events + done.capacity() * size_of::<Box<HttpEvent>>()
    }
}

fn text_bytes(event: &HttpEvent) -> usize {
    let texts = [
        &event.hostname,
        &event.url,
        &event.user_agent,
        &event.content_type,
        &event.referer,
        &event.method,
        &event.redirect,
    ];
    texts.into_iter().flatten().map(String::capacity).sum()
}
