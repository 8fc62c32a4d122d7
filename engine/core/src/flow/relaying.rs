//! Application data on its way: opened from one leg, decided on, sealed for the other.

use tcp_stack::Instant;

use super::adopted::Told;
use super::effects::Effects;
use super::leg::Leg;
use crate::content::{Ending, Fate, Filter, Ready, Stage, Verdict};
use crate::end::End;
use crate::job::Job;
use crate::port::{Block, Frame};
use crate::reason::Reason;
use crate::tls::{RECORD_ROOM, RecordSink, Relay, RelayError};

/// The sessions of a flow after their handshakes, and what decides on what they say.
pub(super) struct Relaying<F: Frame> {
    relay: Relay,
    stage: Option<Stage<F::Block>>,
}

/// Where the records of one direction go.
struct RelayOutput<'a, F: Frame, E: Effects<Frame = F>> {
    fx: &'a mut E,
    from: End,
    sink: &'a mut Leg<F>,
    stage: &'a mut Option<Stage<F::Block>>,
    told: &'a mut Told,
    /// Bytes of what waits in the stage that the sink may still take.
    room: usize,
    /// What goes back to the source: an answer to what was no data.
    back: Vec<F::Slice>,
    /// The sink did not take something.
    refused: bool,
}

impl<F: Frame, E: Effects<Frame = F>> RecordSink for RelayOutput<'_, F, E> {
    type Block = F::Block;

    fn block(&mut self, len: usize) -> F::Block {
        self.fx.block(len)
    }

    fn plaintext(&mut self, from: End, plaintext: &[u8]) -> Fate {
        self.fx.counters().plaintext(from).add(plaintext.len() as u64);
        let Some(stage) = self.stage else { return Fate::Pass };
        let fate = stage.plaintext(from, plaintext);
        self.told.read(self.fx, stage);
        fate
    }

    fn stage(&mut self) -> Option<&mut Stage<F::Block>> {
        self.stage.as_mut()
    }

    fn next_ready(&mut self, from: End, at: usize) -> Option<Ready<F::Block>> {
        let (stage, fx) = (self.stage.as_mut()?, &mut *self.fx);
        if self.room == 0 && stage.is_ready(from) {
            return None;
        }
        let ready = stage.next_ready(from, at, |len| fx.block(at + len + RECORD_ROOM));
        if let Some(Ready::Data(_, len)) = &ready {
            self.room = self.room.saturating_sub(*len);
        }
        ready
    }

    fn send(&mut self, to: End, block: F::Block, len: usize) {
        let slice = block.freeze(len);
        if to == self.from {
            self.back.push(slice);
        } else {
            self.refused |= !self.sink.queue(slice);
        }
    }

    fn is_behind(&self, to: End) -> bool {
        to != self.from && self.sink.has_unsent()
    }
}

impl<F: Frame> Relaying<F> {
    pub(super) fn new(relay: Relay, filter: Option<Box<dyn Filter>>) -> Self {
        Self { relay, stage: filter.map(Stage::new) }
    }

    /// Bytes of memory that it holds, with its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { relay, stage } = self;
        size_of::<Self>() + relay.held() + stage.as_ref().map_or(0, Stage::memory)
    }

    /// Moves the records that begin in the first `room` bytes of what `source` has received, and what waits in the stage and is
    /// decided, as far as `sink` has room. `closed`: the source's connection has ended.
    pub(super) fn relay<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        (from, closed): (End, bool),
        source: &mut Leg<F>,
        sink: &mut Leg<F>,
        room: usize,
        told: &mut Told,
    ) -> Result<(), RelayError> {
        if let Some(stage) = &mut self.stage {
            stage.set_limit(fx.budget().reader_limit());
        }
        let taken = self.pump(fx, from, source, sink, room, told)?;
        if closed && taken < room && self.stage.as_ref().is_none_or(|stage| !stage.is_full(from)) {
            // The beginning of a record whose end never comes. The FIN says to the other end what it said to us.
            source.tcp.consume(source.tcp.recv().len());
        }
        if closed
            && source.tcp.recv().is_empty()
            && let Some(stage) = &mut self.stage
            && stage.end(from)
        {
            told.read(fx, stage);
            self.pump(fx, from, source, sink, room - taken, told)?;
        }
        Ok(())
    }

    /// Returns how many bytes were taken.
    fn pump<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        from: End,
        source: &mut Leg<F>,
        sink: &mut Leg<F>,
        room: usize,
        told: &mut Told,
    ) -> Result<usize, RelayError> {
        let Self { relay, stage } = self;
        let back = Vec::new();
        let mut output = RelayOutput { fx, from, sink, stage, told, room, back, refused: false };
        let result = relay.relay(from, source.tcp.recv(), room, &mut output);
        let RelayOutput { back, mut refused, .. } = output;
        for slice in back {
            refused |= !source.queue(slice);
        }
        let taken = result?;
        source.tcp.consume(taken);
        if refused {
            return Err(RelayError { reason: Reason::ResourceMemory, alert: None });
        }
        Ok(taken)
    }

    /// Says to both ends that nothing more follows. False: one could not be told.
    pub(super) fn close<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        client: &mut Leg<F>,
        server: &mut Leg<F>,
        told: &mut Told,
    ) -> bool {
        let (from, sink, stage) = (End::Client, server, &mut None);
        let back = Vec::new();
        let mut output = RelayOutput { fx, from, sink, stage, told, room: 0, back, refused: false };
        let closed = self.relay.close(&mut output).is_ok();
        let RelayOutput { back, refused, .. } = output;
        let told_client = back.into_iter().all(|slice| client.queue(slice));
        closed && !refused && told_client
    }

    /// Something that an end has sent is decided, and not yet on its way.
    pub(super) fn is_ready(&self, from: End) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.is_ready(from))
    }

    /// Nothing that an end has sent waits here.
    pub(super) fn is_empty(&self, from: End) -> bool {
        self.stage.as_ref().is_none_or(|stage| stage.is_empty(from))
    }

    /// Nothing is under way whose end the end of the connection would be taken for.
    pub(super) fn is_at_rest(&self) -> bool {
        let awaits_end = self.stage.as_ref().is_some_and(Stage::awaits_end);
        self.relay.is_at_rest() && !awaits_end && End::BOTH.into_iter().all(|end| self.is_empty(end))
    }

    /// How the filter ends the flow, if it is time: in order when all that is to go before that has gone.
    pub(super) fn ending(&self) -> Option<Ending> {
        let is_on_its_way = || End::BOTH.into_iter().any(|from| self.is_ready(from));
        self.stage.as_ref()?.ending().filter(|ending| !ending.orderly || !is_on_its_way())
    }

    /// Hands on what the filter asks. True: the pool is full, and the filter knows that it will get no answer.
    pub(super) fn ask<E: Effects<Frame = F>>(&mut self, fx: &mut E, told: &mut Told) -> bool {
        let Some(stage) = &mut self.stage else { return false };
        while let Some((question, scan)) = stage.poll_question() {
            if fx.request(Box::new(Job::Scan(question, scan))).is_err() {
                self.verdict(fx, question, Verdict::Failed, told);
                return true;
            }
        }
        false
    }

    /// The answer to a question of the filter.
    pub(super) fn verdict<E: Effects<Frame = F>>(
        &mut self,
        fx: &E,
        question: u64,
        verdict: Verdict,
        told: &mut Told,
    ) {
        if let Some(stage) = &mut self.stage {
            stage.verdict(question, verdict);
            told.read(fx, stage);
        }
    }

    /// When the filter is to be called next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.stage.as_ref()?.poll_timeout()
    }

    /// Runs what is due in the filter.
    pub(super) fn handle_timeout<E: Effects<Frame = F>>(&mut self, fx: &E, told: &mut Told) {
        if let Some(stage) = &mut self.stage {
            stage.handle_timeout(fx.now());
            told.read(fx, stage);
        }
    }

    /// The flow is over: what the filter has left to report.
    pub(super) fn finish<E: Effects<Frame = F>>(&mut self, fx: &E, told: &mut Told) {
        if let Some(stage) = &mut self.stage {
            stage.finish();
            told.read(fx, stage);
        }
    }
}
