//! The filter that reads HTTP for the log, and lets everything pass.

use std::sync::Arc;

use tcp_stack::Instant;

use super::HttpInspector;
use super::filter::{Decisions, Filter, Filters, Report, Verdict};
use crate::end::End;
use crate::event::Unread;
use crate::policy::DecryptedFlow;
use crate::reason::InspectorOff;

/// Reads HTTP where a flow's profile says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpReaders;

impl Filters for HttpReaders {
    fn filter(&self, flow: &Arc<DecryptedFlow>, alpn: Option<&[u8]>) -> Option<Box<dyn Filter>> {
        flow.profile.http.then(|| Box::new(HttpReader::new(HttpInspector::new(alpn))) as Box<dyn Filter>)
    }
}

/// The HTTP reader of a flow. It stays when it is off, to count what it does not read.
pub(super) struct HttpReader {
    pub(super) inspector: HttpInspector,
    /// That it is off has been reported.
    is_off_reported: bool,
    /// Not yet fetched.
    unread: Option<Unread>,
}

impl HttpReader {
    fn new(inspector: HttpInspector) -> Self {
        Self { inspector, is_off_reported: false, unread: None }
    }

    /// For those who ask rules.
    pub(super) fn keeping_fields(alpn: Option<&[u8]>) -> Self {
        Self::new(HttpInspector::keeping_fields(alpn))
    }
}

impl Filter for HttpReader {
    fn plaintext(&mut self, from: End, bytes: &[u8], decisions: &mut Decisions) {
        self.inspector.bytes(from, bytes);
        decisions.pass(from, bytes.len());
    }

    fn ended(&mut self, _: End, _: &mut Decisions) {}

    fn full(&mut self, _: End, _: &mut Decisions) {}

    fn verdict(&mut self, _: u64, _: Verdict, _: &mut Decisions) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: Instant, _: &mut Decisions) {}

    fn out_of_memory(&mut self, from: End, _: &mut Decisions) {
        self.inspector.turn_off(InspectorOff::Memory, from);
    }

    fn memory(&self) -> usize {
        self.inspector.memory()
    }

    fn awaits_end(&self) -> bool {
        self.inspector.awaits_end()
    }

    fn finish(&mut self) {
        let inspector = &mut self.inspector;
        inspector.finish();
        let (to_server, to_client) = (inspector.unread(End::Client), inspector.unread(End::Server));
        self.unread = Some(Unread { off: inspector.off_reason(), to_server, to_client });
    }

    fn poll_report(&mut self) -> Option<Report> {
        if let Some(reason) = self.inspector.off_reason()
            && !std::mem::replace(&mut self.is_off_reported, true)
        {
            return Some(Report::Off(reason));
        }
        if let Some(http) = self.inspector.poll_transaction() {
            return Some(Report::Http(http));
        }
        if let Some(anomaly) = self.inspector.poll_anomaly() {
            return Some(Report::Anomaly(anomaly));
        }
        self.unread.take().map(Report::Unread)
    }
}
