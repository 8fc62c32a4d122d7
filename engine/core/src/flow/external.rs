//! A flow that is ended from outside: an IDS at a mirror has judged what it was shown.

use std::sync::Arc;

use super::blocked::Blocked;
use super::context::Context;
use super::{Flow, Phase};
use crate::content::StreamEnd;
use crate::end::End;
use crate::event::{AlertEvent, Event, HttpEvent};
use crate::phase::FlowPhase;
use crate::port::Io;
use crate::reason::{Reason, VerdictFate};

/// What an IDS says of a flow: it is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalVerdict {
    /// Only this stream of HTTP/2; none: all of it.
    pub stream: Option<u32>,
    /// The rule of the IDS, for the log.
    pub rule: Arc<str>,
    /// Who has sent what the rule has found.
    pub from: End,
}

/// How much of a flow has ended.
enum Ended {
    Flow,
    Stream(u32, Box<HttpEvent>),
}

impl<IO: Io> Flow<IO> {
    /// Ends the stream that is meant, or the flow where none is or single ones cannot be ended. Flows that no mirror shows are none
    /// that an IDS can mean: they stay as they are.
    pub fn end_externally(&mut self, cx: &mut Context<IO>, verdict: &ExternalVerdict) -> VerdictFate {
        let (phase, fate) = match self.take_phase(cx) {
            Phase::Adopted(mut adopted) if adopted.is_in_mirrors() => {
                match verdict.stream.map_or(StreamEnd::Unable, |stream| adopted.end_stream(stream)) {
                    StreamEnd::Over => (Phase::Adopted(adopted), VerdictFate::TooLate),
                    StreamEnd::Told(http) => {
                        self.tell_verdict(
                            cx,
                            verdict,
                            Ended::Stream(verdict.stream.unwrap_or_default(), http),
                        );
                        let next = adopted.drive(cx);
                        (self.follow(cx, next), VerdictFate::StreamEnded)
                    }
                    StreamEnd::Unable => {
                        self.tell_verdict(cx, verdict, Ended::Flow);
                        let next = adopted.deny(cx, Reason::VerdictExternal);
                        (self.follow(cx, next), VerdictFate::FlowEnded)
                    }
                }
            }
            // Its numbers are not followed: each end is reset when it speaks next.
            Phase::Bypassed(bypassed) if cx.shows_bypassed && !bypassed.is_closing() => {
                self.tell_verdict(cx, verdict, Ended::Flow);
                self.report_flow(cx, FlowPhase::Bypassed, Reason::VerdictExternal);
                (Phase::Blocked(Blocked::silent(cx)), VerdictFate::FlowEnded)
            }
            phase @ Phase::Blocked(_) => (phase, VerdictFate::TooLate),
            phase => (phase, VerdictFate::UnknownFlow),
        };
        self.phase = phase;
        fate
    }

    fn tell_verdict(&self, cx: &mut Context<IO>, verdict: &ExternalVerdict, ended: Ended) {
        let (stream, http) = match ended {
            Ended::Flow => (0, HttpEvent::default()),
            Ended::Stream(stream, http) => (stream, *http),
        };
        let alert = AlertEvent {
            rule: Some(Arc::clone(&verdict.rule)),
            reason: Reason::VerdictExternal,
            blocked: true,
            from: verdict.from,
            stream,
            // The IDS was shown what had gone on.
            late: true,
            found: None,
            http,
        };
        let head = self.head(cx.wall, &cx.shared);
        cx.events.push(Event::Alert(head, Box::new(alert)));
    }
}
