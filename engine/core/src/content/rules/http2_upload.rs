//! What waits of one request of HTTP/2: its octets, and its end.

use bytes::{Buf as _, BytesMut};

use super::http2_output::Encoding;
use super::http2_server_windows::ServerWindows;
use super::http2_writer::{Carrier, MAX_PAYLOAD, data, header_block};
use super::inspection::Inspection;
use crate::fields::Fields;

/// A request's content on its way to the server.
#[derive(Default)]
pub(super) struct Upload {
    /// None: it has been looked at, or waits for the server's windows alone.
    pub(super) inspection: Option<Box<Inspection>>,
    /// Octets that have not gone on.
    waiting: BytesMut,
    /// Octets before them that are gone and still take memory.
    consumed: usize,
    end: Option<End>,
    /// Octets that have been credited to the client in the server's place, on the stream.
    advanced: u64,
}

/// How a request ends, behind what waits.
enum End {
    Data,
    /// A header block that touches no table.
    Trailers(Vec<u8>),
}

impl Upload {
    pub(super) fn new(inspection: Box<Inspection>) -> Self {
        Self { inspection: Some(inspection), ..Self::default() }
    }

    /// What comes next has to wait, even if the server takes it.
    pub(super) fn is_busy(&self) -> bool {
        let waits = self.inspection.as_ref().is_some_and(|inspection| !inspection.waits_for_nothing());
        waits || self.is_waiting()
    }

    /// Something waits.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || self.end.is_some()
    }

    pub(super) fn push(&mut self, octets: &[u8]) {
        self.waiting.extend_from_slice(octets);
    }

    pub(super) fn push_end(&mut self) {
        self.end.get_or_insert(End::Data);
    }

    pub(super) fn push_trailers(&mut self, fields: &Fields) {
        self.end = Some(End::Trailers(Encoding::default().encode(fields)));
    }

    /// Octets that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Octets of these that may go.
    fn may_go(&self) -> usize {
        let Some(inspection) = &self.inspection else { return self.waiting.len() };
        let all = inspection.may_go().min(inspection.body());
        // What has come and does not wait has gone.
        let gone = inspection.body().saturating_sub(self.waiting.len() as u64);
        let more = all.saturating_sub(gone);
        usize::try_from(more).unwrap_or(usize::MAX).min(self.waiting.len())
    }

    /// What the client is to be credited, so that it can send what is to be looked at: of what waits for a verdict, no more than `most`.
    pub(super) fn to_be_advanced(&mut self, most: usize) -> u32 {
        let waits = (self.waiting.len() - self.may_go()).min(most) as u64;
        let more = u32::try_from(waits.saturating_sub(self.advanced)).unwrap_or(0);
        self.advanced += u64::from(more);
        more
    }

    /// What the client thinks the server takes beyond the stream's window.
    pub(super) fn beyond(&self) -> u64 {
        self.advanced.saturating_sub(self.waiting.len() as u64)
    }

    /// The server credits the stream. Returns what the client is to know of it.
    pub(super) fn credited(&mut self, octets: u32) -> u32 {
        let paid = u64::from(octets).min(self.beyond());
        self.advanced -= paid;
        octets - paid as u32
    }

    /// What the client is to be credited where nothing that waits goes on: less than nothing if it has had more.
    pub(super) fn uncredited(&self) -> i64 {
        self.waiting.len() as i64 - self.advanced as i64
    }

    /// Writes what may go, of which the server takes so much on the stream. Returns how much that was, and whether it was the end.
    pub(super) fn write(
        &mut self,
        out: &mut Vec<u8>,
        stream: u32,
        mut window: i64,
        windows: &mut ServerWindows,
        encoding: &mut Encoding,
    ) -> (usize, bool) {
        let mut gone = 0;
        loop {
            let takes = usize::try_from(window).unwrap_or(0).min(windows.available());
            let len = self.may_go().min(takes).min(MAX_PAYLOAD);
            if len == 0 {
                break;
            }
            data(out, stream, &self.waiting[..len], false);
            self.consume(len);
            windows.released(len);
            (gone, window) = (gone + len, window - len as i64);
        }
        if gone > 0
            && let Some(inspection) = &mut self.inspection
        {
            inspection.has_begun = true;
        }
        let may_end = self.inspection.as_ref().is_none_or(|inspection| inspection.waits_for_nothing());
        if !self.waiting.is_empty() || !may_end {
            return (gone, false);
        }
        match self.end.take() {
            None => return (gone, false),
            Some(End::Data) => data(out, stream, b"", true),
            Some(End::Trailers(fields)) => {
                let mut block = Vec::new();
                encoding.begin_block(&mut block);
                block.extend(fields);
                header_block(out, stream, Carrier::Headers { end_stream: true, priority: None }, &block);
            }
        }
        (gone, true)
    }

    fn consume(&mut self, octets: usize) {
        self.waiting.advance(octets);
        self.consumed += octets;
        if self.consumed > self.waiting.len() {
            (self.waiting, self.consumed) = (BytesMut::from(&self.waiting[..]), 0);
        }
    }

    /// Bytes of memory that count as held bodies.
    pub(super) fn held(&self) -> usize {
        self.waiting.capacity()
            + self.consumed
            + self.inspection.as_ref().map_or(0, |inspection| inspection.held())
    }

    /// Bytes of memory that it holds, with its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { inspection, waiting, consumed, end, advanced: _ } = self;
        let end = if let Some(End::Trailers(fields)) = end { fields.capacity() } else { 0 };
        let inspection =
            inspection.as_ref().map_or(0, |inspection| size_of::<Inspection>() + inspection.memory());
        size_of::<Self>() + waiting.capacity() + consumed + end + inspection
    }
}
