//! How much memory an event takes while it waits, and when it happened.

use super::{AlertEvent, Event, FileEvent, FrameEvent, HelloInfo, LegInfo, ServerSeen, Timestamp, TlsEvent};
use crate::content::Hit;

impl Event {
    /// When it happened.
    pub fn time(&self) -> Timestamp {
        match self {
            Self::Tls(head, _)
            | Self::Http(head, _)
            | Self::Alert(head, _)
            | Self::File(head, _)
            | Self::Flow(head, _)
            | Self::Anomaly(head, _)
            | Self::Asymmetric(head, _) => head.time,
            Self::Link(time, _) | Self::Capture(time, _) | Self::Worker(time, _) => *time,
            Self::Frame(event) => event.time,
            Self::Summary(event) => event.time,
        }
    }

    /// Bytes of memory that it holds beside its own size: all that a peer can make long. A certificate that others hold, too, counts in full: when they let go of it is not known.
    pub fn memory(&self) -> usize {
        match self {
            Self::Tls(_, event) => size_of_val(&**event) + event.text_bytes(),
            Self::Http(_, event) => size_of_val(&**event) + event.text_bytes(),
            Self::Alert(_, event) => size_of_val(&**event) + event.text_bytes(),
            Self::File(_, event) => size_of_val(&**event) + event.text_bytes(),
            Self::Flow(_, event) => size_of_val(&**event) + size_of_val(&*event.mirrors),
            Self::Frame(event) => size_of_val(&**event) + event.text_bytes(),
            Self::Link(_, event) => size_of_val(&**event),
            Self::Capture(_, event) => size_of_val(&**event),
            Self::Summary(event) => size_of_val(&**event),
            Self::Anomaly(_, event) => size_of_val(&**event),
            Self::Asymmetric(..) | Self::Worker(..) => 0,
        }
    }
}

impl TlsEvent {
    fn text_bytes(&self) -> usize {
        let legs = [&self.client_leg, &self.server_leg].into_iter().flatten();
        let alpn: usize = legs.filter_map(|leg: &LegInfo| leg.alpn.as_ref()).map(|name| name.len()).sum();
        self.hello.as_ref().map_or(0, HelloInfo::text_bytes)
            + self.certificate.as_ref().map_or(0, |certificate| certificate.text_bytes())
            + self.minted_serial.as_ref().map_or(0, |serial| serial.len())
            + self.server.as_ref().map_or(0, |seen| size_of::<ServerSeen>() + seen.facts.memory())
            + alpn
    }
}

impl AlertEvent {
    fn text_bytes(&self) -> usize {
        let found = self.found.as_ref().map_or(0, |Hit { what, tags, .. }| {
            what.len() + size_of_val(&**tags) + tags.iter().map(|tag| tag.len()).sum::<usize>()
        });
        found + self.http.text_bytes()
    }
}

impl FileEvent {
    fn text_bytes(&self) -> usize {
        self.file_name.as_ref().map_or(0, |name| name.len()) + self.http.text_bytes()
    }
}

impl FrameEvent {
    fn text_bytes(&self) -> usize {
        self.hello.as_ref().map_or(0, |hello| size_of::<HelloInfo>() + hello.text_bytes())
    }
}
