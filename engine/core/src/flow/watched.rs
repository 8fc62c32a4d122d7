//! A bypassed flow whose server's first flight is read as it goes by: what a passive sensor would tell of it.
//!
//! Only what comes in order is read, and nothing is held back for it. Once the certificate was seen, or cannot be, the `tls` event is told
//! and the flow goes by like any other. It is told early where the server is slow, or memory is short.

use tcp_stack::{Duration, Instant, Segment, Seq};

use super::context::Context;
use super::{Flow, Phase, verify};
use crate::end::End;
use crate::event::{Event, ServerSeen, TlsEvent};
use crate::packet::Headers;
use crate::port::Io;
use crate::tls::{Progress, ServerFacts, ServerFlight, ServerUnread};

/// How long a `tls` event waits for the server.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest certificate that an event carries: many events wait for the log at once. Real ones have some 2 KB.
const MAX_CERTIFICATE: usize = 16 * 1024;

/// A `tls` event that waits for what the server says.
pub(super) struct Watched {
    event: TlsEvent,
    /// Bytes of its texts.
    event_bytes: usize,
    flight: ServerFlight,
    /// What the server sends next.
    next: Seq,
    /// The event waits no longer.
    until: Instant,
}

impl Watched {
    /// The server's stream begins behind this number of its SYN-ACK.
    pub(super) fn new(now: Instant, event: TlsEvent, server_isn: Seq) -> Self {
        let event_bytes = event.hello.as_ref().map_or(0, |hello| hello.text_bytes());
        let (flight, next) = (ServerFlight::default(), server_isn + 1);
        Self { event, event_bytes, flight, next, until: now + PATIENCE }
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
        let facts = self.flight.into_facts();
        // Of a server that has not said anything there is nothing to tell.
        let spoke = facts.version != 0 || unread.is_some_and(|why| why != ServerUnread::Ended);
        let server = spoke.then(|| Box::new(seen(facts, unread)));
        TlsEvent { server, ..self.event }
    }

    /// With its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { event: _, event_bytes, flight, next: _, until: _ } = self;
        size_of::<Self>() + event_bytes + flight.memory()
    }
}

impl<IO: Io> Flow<IO> {
    /// Something of a watched flow goes by.
    pub(super) fn watch(
        &mut self,
        cx: &mut Context<IO>,
        from: End,
        segment: &Segment<'_>,
        (frame, headers): (&IO::Frame, &Headers),
    ) {
        let ends = segment.flags.fin || segment.flags.rst;
        // Only what is read is worth a checksum.
        let says_something = from == End::Server && (ends || !segment.payload.is_empty());
        if !says_something || verify(frame, headers).is_err() {
            return;
        }
        if !cx.budget.may_watch() {
            return self.tell_watched(cx, Some(ServerUnread::Memory));
        }
        let Some(watched) = self.about.as_mut().and_then(|about| about.watched.as_mut()) else { return };
        match watched.take(segment) {
            Progress::More if ends => self.tell_watched(cx, Some(ServerUnread::Ended)),
            Progress::More => {}
            Progress::Done => self.tell_watched(cx, None),
            Progress::Unread(why) => self.tell_watched(cx, Some(why)),
        }
    }

    /// When the server has been waited for long enough; none: it is not watched.
    pub(super) fn watched_until(&self) -> Option<Instant> {
        self.about.as_ref()?.watched.as_ref().map(|watched| watched.until)
    }

    /// Tells what there is when the server takes too long.
    pub(super) fn time_out_watched(&mut self, cx: &mut Context<IO>) {
        if self.watched_until().is_some_and(|until| until <= cx.now) {
            self.tell_watched(cx, Some(ServerUnread::Timeout));
        }
    }

    /// Memory is short: tells what there is of a bypassed flow's server, and holds nothing more of it.
    pub fn stop_watching(&mut self, cx: &mut Context<IO>) {
        self.tell_watched(cx, Some(ServerUnread::Memory));
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

/// As much of it as an event may carry.
fn seen(mut facts: ServerFacts, mut unread: Option<ServerUnread>) -> ServerSeen {
    // The log tells of the server's own certificate.
    facts.chain.truncate(1);
    facts.staple = None;
    if facts.chain.first().is_some_and(|der| der.len() > MAX_CERTIFICATE) {
        facts.chain = Vec::new();
        unread = Some(ServerUnread::CertificateTooLong);
    }
    ServerSeen { facts, unread }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the log's ring may hold is what one event carries, times its places.
    #[test]
    fn an_event_carries_no_longer_certificate_than_real_ones() {
        let of = |length: usize| {
            let chain = vec![vec![7; length].into(), [8; 30_000].into()];
            let staple = Some([9; 30_000].into());
            seen(ServerFacts { chain, staple, ..ServerFacts::default() }, None)
        };
        let whole = of(MAX_CERTIFICATE);
        assert_eq!((whole.facts.chain.len(), &whole.facts.staple, whole.unread), (1, &None, None));
        let without = of(MAX_CERTIFICATE + 1);
        assert_eq!(without.facts, ServerFacts::default());
        assert_eq!(without.unread.map(ServerUnread::name), Some("certificate_too_long"));
    }
}
