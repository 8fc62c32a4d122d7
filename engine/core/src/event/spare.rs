//! Memory of transactions that have been told, for those to come: what a worker puts into the log, the writer gives back.
//!
//! Each thread has its own. Without it a request and a response would be two allocations, and as many frees by another thread.
#![expect(clippy::disallowed_types, reason = "what a thread has at hand costs it no lock")]

use std::cell::RefCell;

use super::{HttpEvent, Text};

/// Events that a thread keeps.
const EVENTS: usize = 256;
/// Texts that it keeps.
const TEXTS: usize = 512;
/// The longest text whose memory is kept, in bytes. Longer ones are rare.
const LONGEST: usize = 512;
/// Memory of texts comes in multiples of it, so that most fit where others were.
const STEP: usize = 128;
/// Bytes of a text that take no memory of their own.
const INLINE: usize = size_of::<Text>();

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare { events: Vec::new(), texts: Vec::new() }) };
}

/// All of it is empty.
struct Spare {
    #[expect(clippy::vec_box, reason = "their places in memory are what is kept")]
    events: Vec<Box<HttpEvent>>,
    texts: Vec<Text>,
}

impl HttpEvent {
    /// A transaction of which nothing is known but its protocol, in memory that was given back if there is some.
    pub(crate) fn begin(protocol: &'static str) -> Box<Self> {
        let mut event = SPARE.with_borrow_mut(|spare| spare.events.pop()).unwrap_or_default();
        event.protocol = protocol;
        event
    }

    /// Its memory is for other transactions of this thread.
    pub fn give_back(mut self: Box<Self>) {
        SPARE.with_borrow_mut(|spare| {
            self.texts_mut().into_iter().filter_map(Option::take).for_each(|text| spare.keep(text));
            if spare.events.len() < EVENTS {
                *self = Self::default();
                spare.events.push(self);
            }
        });
    }
}

impl Spare {
    fn keep(&mut self, mut text: Text) {
        if text.is_heap_allocated() && text.capacity() <= LONGEST && self.texts.len() < TEXTS {
            text.clear();
            self.texts.push(text);
        }
    }
}

/// A text, in memory that was given back if it needs some.
pub(crate) fn text(value: &str) -> Text {
    if value.len() <= INLINE {
        return value.into();
    }
    let spare = SPARE.with_borrow_mut(|spare| spare.texts.pop());
    let mut text = spare.unwrap_or_else(|| Text::with_capacity(value.len().next_multiple_of(STEP)));
    text.push_str(value);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "a text that is longer than what stands in the event itself";

    #[test]
    fn what_is_given_back_is_used_again_and_says_nothing_of_before() {
        let mut event = HttpEvent::begin("HTTP/1.1");
        (event.url, event.status, event.shortened) = (Some(text(LONG)), Some(200), true);
        let place = |event: &HttpEvent| std::ptr::from_ref(event);
        let (event_at, text_at) = (place(&event), event.url.as_deref().map(str::as_ptr));
        event.give_back();
        let mut event = HttpEvent::begin("HTTP/2");
        assert_eq!(*event, HttpEvent { protocol: "HTTP/2", ..HttpEvent::default() });
        event.referer = Some(text(&LONG[1..]));
        assert_eq!((place(&event), event.referer.as_deref().map(str::as_ptr)), (event_at, text_at));
        assert_eq!(event.referer.as_deref(), Some(&LONG[1..]));
    }

    #[test]
    fn little_is_kept() {
        let long = "x".repeat(LONGEST + 1);
        for _ in 0..2 * TEXTS {
            let events = [LONG, &long].map(|url| {
                let mut event = HttpEvent::begin("HTTP/1.1");
                event.url = Some(url.into());
                event
            });
            events.into_iter().for_each(HttpEvent::give_back);
        }
        let many: Vec<_> = (0..2 * EVENTS).map(|_| HttpEvent::begin("HTTP/1.1")).collect();
        many.into_iter().for_each(HttpEvent::give_back);
        SPARE.with_borrow(|spare| {
            assert_eq!(spare.events.len(), EVENTS);
            assert!(!spare.texts.is_empty() && spare.texts.iter().all(|text| text.capacity() <= LONGEST));
        });
    }
}
