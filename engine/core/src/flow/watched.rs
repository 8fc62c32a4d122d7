//! A bypassed flow whose server's first flight is read as it goes by: what a passive sensor would tell of it.
//!
//! Only what comes in order is read, and nothing is held back for it. Once the certificate was seen, or cannot be, the `tls` event is told
//! and the flow goes by like any other.

use tcp_stack::{Segment, Seq};

use super::context::Context;
use super::{Flow, Phase};
use crate::end::End;
use crate::event::{Event, ServerSeen, TlsEvent};
use crate::port::Io;
use crate::tls::{Progress, ServerFlight, ServerUnread};

/// A `tls` event that waits for what the server says.
pub(super) struct Watched {
    event: TlsEvent,
    /// Bytes of its texts.
    event_bytes: usize,
    flight: ServerFlight,
    /// What the server sends next.
    next: Seq,
}

impl Watched {
    /// The server's stream begins behind this number of its SYN-ACK.
    pub(super) fn new(event: TlsEvent, server_isn: Seq) -> Self {
        let event_bytes = event.hello.as_ref().map_or(0, |hello| hello.text_bytes());
        Self { event, event_bytes, flight: ServerFlight::default(), next: server_isn + 1 }
    }

    /// A segment of the server's.
    fn take(&mut self, segment: &Segment<'_>) -> Progress {
        let known = self.next.since(segment.seq) as i32;
        let Ok(known) = usize::try_from(known) else { return Progress::Unread(ServerUnread::Gap) };
        let Some(new) = segment.payload.get(known..) else { return Progress::More };
        self.next += new.len() as u32;
        self.flight.take(new)
    }

    fn into_event(self, unread: Option<ServerUnread>) -> TlsEvent {
        let mut facts = self.flight.into_facts();
        // The log tells of the server's own certificate.
        facts.chain.truncate(1);
        facts.staple = None;
        // Of a server that has not said anything there is nothing to tell.
        let spoke = facts.version != 0 || unread.is_some_and(|why| why != ServerUnread::Ended);
        let server = spoke.then(|| Box::new(ServerSeen { facts, unread }));
        TlsEvent { server, ..self.event }
    }

    /// With its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { event: _, event_bytes, flight, next: _ } = self;
        size_of::<Self>() + event_bytes + flight.memory()
    }
}

impl<IO: Io> Flow<IO> {
    /// Something of a watched flow goes by.
    pub(super) fn watch(&mut self, cx: &mut Context<IO>, from: End, segment: &Segment<'_>) {
        if from == End::Client || segment.payload.is_empty() {
            return;
        }
        let Some(watched) = self.about.as_mut().and_then(|about| about.watched.as_mut()) else { return };
        match watched.take(segment) {
            Progress::More => {}
            Progress::Done => self.tell_watched(cx, None),
            Progress::Unread(why) => self.tell_watched(cx, Some(why)),
        }
    }

    /// Tells what there is to tell, if that was not done.
    pub(super) fn tell_watched(&mut self, cx: &mut Context<IO>, unread: Option<ServerUnread>) {
        if let Phase::Bypassed(bypassed) = &mut self.phase {
            bypassed.watched = false;
        }
        let Some(watched) = self.about.as_mut().and_then(|about| about.watched.take()) else { return };
        let head = self.head(cx.wall, &cx.shared);
        cx.events.push(Event::Tls(head, Box::new(watched.into_event(unread))));
    }
}
