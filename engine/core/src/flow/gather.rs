//! Frames that ask for nothing but themselves to be taken in: nearly all. What follows from them is done once for all that a burst
//! brings of a flow, and so is all that a worker does after a call.

use tcp_stack::{PlainSegment, Prediction, Segment};

use super::{Context, Flow, Phase};
use crate::end::End;
use crate::packet::Headers;
use crate::port::{Frame, Io};
use crate::reason::PacketDrop;

/// What became of a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Gathered<F> {
    /// It goes by: its flow is bypassed, and there is nothing to look at.
    GoesBy(F),
    /// It was taken in, with so many bytes of payload. [`Flow::settle`] follows, which can wait until the burst's other frames are here.
    Taken(usize),
    /// It was taken in, and [`Flow::settle`] is to follow at once: something begins or ends with it.
    Urgent,
    /// It was dropped, and counted.
    Dropped,
    /// Nothing was done: it is [`Flow::handle_frame`]'s.
    Not(F),
}

impl<IO: Io> Flow<IO> {
    /// A frame of the flow, whose headers are sound. `from`: the end whose port it came in. Of the context, only what all flows of a
    /// generation share has to be set.
    pub fn gather(
        &mut self,
        cx: &Context<IO>,
        from: End,
        frame: IO::Frame,
        headers: &Headers,
    ) -> Gathered<IO::Frame> {
        match &mut self.phase {
            Phase::Bypassed(bypassed) => {
                if !bypassed.goes_on(cx.now, cx.shared.limits.idle_time, headers.flags(frame.data())) {
                    return Gathered::Not(frame);
                }
                self.note(cx, from, &frame, headers);
                Gathered::GoesBy(frame)
            }
            Phase::Adopted(_) => self.take_in(cx, from, &frame, headers),
            _ => Gathered::Not(frame),
        }
    }

    /// A segment of a flow with legs.
    fn take_in(
        &mut self,
        cx: &Context<IO>,
        from: End,
        frame: &IO::Frame,
        headers: &Headers,
    ) -> Gathered<IO::Frame> {
        let active_before = self.note(cx, from, frame, headers);
        let drop = |reason| {
            cx.counters.drop_packet(reason);
            Gathered::Dropped
        };
        if let Err(reason) = self.accepts(from, frame, headers) {
            return drop(reason);
        }
        let bytes = headers.segment(frame.data());
        let Phase::Adopted(adopted) = &mut self.phase else { return drop(PacketDrop::FlowEnded) }; // cannot be: the caller has looked
        // Nearly all of a transfer: payload that goes on where it has ended. Without room it may have to be lost.
        let tcp = &mut adopted.legs[from].tcp;
        if let Some(plain) = PlainSegment::read(bytes)
            && cx.budget.has_room()
            && tcp.handle_plain(cx.now, &plain) == Prediction::Right
        {
            let is_urgent = tcp.wants_each_ack();
            self.unsettled = true;
            return if is_urgent { Gathered::Urgent } else { Gathered::Taken(plain.payload_len()) };
        }
        let Ok(segment) = Segment::parse(bytes) else { return drop(PacketDrop::BadTcpHeader) };
        // The flow has not spoken: we have asked.
        if adopted.is_answer(from, &segment) {
            self.active = active_before;
        }
        self.unsettled = true;
        let urgent = adopted.handle_segment(cx, from, &segment);
        if urgent { Gathered::Urgent } else { Gathered::Taken(segment.payload.len()) }
    }
}
