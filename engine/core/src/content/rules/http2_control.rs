//! Frames of HTTP/2 that carry no message: what rules on messages make of them.

use super::http2::{Fate, Relay};
use super::http2_streams::{State, Stream};
use super::http2_writer::{RST_STREAM, frame as write_frame};
use crate::content::border::FrameHead;
use crate::content::http2_frames::ACK;
use crate::end::End;
use crate::reason::InspectorOff;

impl Relay<'_> {
    pub(super) fn settings(&mut self, from: End, frame: &FrameHead, payload: &[u8]) -> Fate {
        match (from, frame.flags & ACK != 0) {
            (End::Client, false) => {
                if self.rules.windows.settings(payload).is_err() {
                    self.off(from, InspectorOff::H2Frame);
                    return Fate::Held;
                }
                self.rules.queue.wake();
            }
            (End::Server, true) => {
                self.rules.windows.acknowledged();
                self.rules.queue.wake();
            }
            (End::Server, false) => {
                if self.rules.server_windows.settings(payload).is_err() {
                    self.off(from, InspectorOff::H2Frame);
                    return Fate::Held;
                }
                self.rules.due_uploads.all();
            }
            (End::Client, true) => {
                // One that acknowledges nothing changes nothing.
                if self.rules.server_windows.acknowledged() {
                    self.rules.due_uploads.all();
                }
            }
        }
        Fate::Pass
    }

    pub(super) fn reset(&mut self, from: End, frame: &FrameHead, payload: &[u8]) -> Fate {
        let (rules, stream) = (&mut *self.rules, frame.stream);
        let state = rules.streams.state(stream);
        if from == End::Client {
            let held = rules.queue.discard(stream);
            let credit = rules.windows.discarded(held);
            rules.outboxes[End::Server].credit_connection(credit);
            rules.outboxes[End::Client].forget(stream);
        }
        match (from, state) {
            (_, State::LetGo) => Fate::Pass,
            (End::Client, State::Blocked) => {
                rules.streams.remove(stream);
                Fate::Drop
            }
            (End::Client, State::Open) => {
                rules.streams.close(stream);
                Fate::Pass
            }
            (End::Client, State::Unknown) if rules.streams.is_idle_at_server(stream) => Fate::Drop,
            (End::Client, State::Unknown) => Fate::Pass,
            (End::Server, State::Blocked) => Fate::Drop,
            (End::Server, State::Open) => {
                let is_whole = |open: &mut Stream| open.ended.server && open.inspection.is_some();
                let is_early = payload == [0; 4] && rules.streams.get_mut(stream).is_some_and(is_whole);
                if is_early && rules.queue.is_held(stream) {
                    // It does not overtake the response, which waits for its verdict. The request is not looked at any more.
                    rules.streams.discard_upload(stream);
                    rules.streams.change(stream, |open| open.is_answered_early = true);
                } else {
                    if rules.queue.is_held(stream) {
                        // Nothing of it has gone on, and nothing will.
                        let held = rules.queue.discard(stream);
                        let credit = rules.windows.discarded(held);
                        rules.outboxes[End::Server].credit_connection(credit);
                    }
                    rules.streams.close(stream);
                    if !rules.queue.has(stream) {
                        return Fate::Pass;
                    }
                }
                let mut whole = Vec::new();
                write_frame(&mut whole, RST_STREAM, frame.flags, stream, payload);
                rules.queue.push_frame(stream, whole);
                Fate::Drop
            }
            // The client does not know what it was not promised.
            (End::Server, State::Unknown) if stream % 2 == 0 => Fate::Drop,
            (End::Server, State::Unknown) => Fate::Pass,
        }
    }

    pub(super) fn window_update(&mut self, from: End, frame: &FrameHead, payload: &[u8]) -> Fate {
        let (rules, stream) = (&mut *self.rules, frame.stream);
        let octets = payload.first_chunk().map_or(0, |octets| u32::from_be_bytes(*octets) & 0x7fff_ffff);
        if from == End::Client && stream == 0 {
            let passes = rules.windows.credited(octets);
            rules.queue.wake();
            if passes == octets {
                return Fate::Pass;
            }
            // What is left of it takes its place, as soon as there is one.
            rules.outboxes[End::Server].credit_connection(passes);
            return Fate::Drop;
        }
        if from == End::Server && stream == 0 {
            let passes = rules.server_windows.credited(octets);
            rules.due_uploads.all();
            if passes == octets {
                return Fate::Pass;
            }
            rules.outboxes[End::Client].credit_connection(passes);
            return Fate::Drop;
        }
        let state = rules.streams.state(stream);
        let mut for_client = octets;
        match (from, rules.streams.get_mut(stream)) {
            (End::Client, Some(known)) => {
                known.credit = known.credit.saturating_add(i64::from(octets));
                rules.queue.wake();
            }
            (End::Server, Some(known)) => {
                known.uncredited -= i64::from(octets);
                if let Some(upload) = &mut known.upload {
                    for_client = upload.credited(octets);
                    rules.due_uploads.one(stream);
                }
            }
            (_, None) => {}
        }
        let is_idle = match from {
            End::Client => rules.streams.is_idle_at_server(stream),
            End::Server => stream != 0 && stream % 2 == 0,
        };
        match state {
            State::Blocked => Fate::Drop,
            State::Unknown if is_idle => Fate::Drop,
            State::Open if for_client < octets => {
                rules.outboxes[End::Client].credit_stream(stream, for_client);
                Fate::Drop
            }
            _ => Fate::Pass,
        }
    }

    /// RFC 9113, 6.8: streams above the last one are over, for both ends.
    pub(super) fn goaway(&mut self, from: End, payload: &[u8]) -> Fate {
        if from == End::Server
            && let Some(last) = payload.first_chunk()
        {
            let last = u32::from_be_bytes(*last) & 0x7fff_ffff;
            for stream in self.rules.streams.blocked_above(last) {
                self.rules.queue.discard(stream);
                self.rules.outboxes[End::Client].forget(stream);
                self.rules.streams.remove(stream);
            }
        }
        Fate::Pass
    }
}
