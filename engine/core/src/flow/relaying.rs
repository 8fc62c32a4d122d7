//! Application data on its way: opened from one leg, decided on, sealed for the other.

use tcp_stack::Instant;

use super::context::Context;
use super::held_bodies::HeldBodies;
use super::leg::Leg;
use crate::content::{Ending, Fate, Filter, Ready, Stage, StreamEnd, Verdict};
use crate::end::{End, PerEnd};
use crate::job::Job;
use crate::mirror::{Audience, Beginning, Conversations, Start, When};
use crate::port::{Block, Frame, Io};
use crate::reason::Reason;
use crate::tls::{RECORD_ROOM, RecordSink, Relay, RelayError};

/// The sessions of a flow after their handshakes, and what decides on what they say.
pub(super) struct Relaying<IO: Io> {
    relay: Relay,
    stage: Option<Stage<<IO::Frame as Frame>::Block>>,
    /// What mirrors are shown of it; none: it is in none.
    mirrored: Option<Box<Conversations>>,
    /// Bytes of bodies that the stage holds; none: it has never held any.
    held: Option<Box<HeldBodies>>,
}

/// What both ends are told when the flow is over for a reason of our own.
#[derive(Clone, Copy)]
enum LastWord {
    Close,
    Deny,
}

/// Where the records of one direction go.
struct RelayOutput<'a, IO: Io> {
    cx: &'a mut Context<IO>,
    from: End,
    sink: &'a mut Leg<IO>,
    stage: &'a mut Option<Stage<<IO::Frame as Frame>::Block>>,
    mirrored: &'a mut Option<Box<Conversations>>,
    /// Bytes of what waits in the stage that the sink may still take.
    room: usize,
    /// What goes back to the source: an answer to what was no data.
    back: Vec<<IO::Frame as Frame>::Slice>,
    /// The sink did not take something.
    refused: bool,
}

impl<IO: Io> RecordSink for RelayOutput<'_, IO> {
    type Block = <IO::Frame as Frame>::Block;

    fn block(&mut self, len: usize) -> <IO::Frame as Frame>::Block {
        self.cx.block(len)
    }

    fn plaintext(&mut self, from: End, plaintext: &[u8]) -> Fate {
        self.cx.counters.plaintext(from).add(plaintext.len() as u64);
        if let Some(mirrored) = self.mirrored {
            mirrored.say(self.cx, from, plaintext, When::Seen);
        }
        let Some(stage) = self.stage else { return Fate::Pass };
        let fate = stage.plaintext(from, plaintext);
        self.cx.read_reports(stage);
        fate
    }

    fn wants_forwarded(&self) -> bool {
        self.mirrored.is_some()
    }

    fn forwarded(&mut self, from: End, plaintext: &[u8]) {
        if let Some(mirrored) = self.mirrored {
            mirrored.say(self.cx, from, plaintext, When::Forwarded);
        }
    }

    fn stage(&mut self) -> Option<&mut Stage<<IO::Frame as Frame>::Block>> {
        self.stage.as_mut()
    }

    fn next_ready(&mut self, from: End, at: usize) -> Option<Ready<<IO::Frame as Frame>::Block>> {
        let (stage, cx) = (self.stage.as_mut()?, &mut *self.cx);
        // To an end that has had our FIN nothing more can be said, whatever a filter would still say.
        let is_over = self.sink.has_closed();
        if self.room == 0 && !is_over && stage.is_ready(from) {
            return None;
        }
        let mut next = || stage.next_ready(from, at, |len| cx.block(at + len + RECORD_ROOM));
        let mut ready = next();
        while is_over && matches!(ready, Some(Ready::Data(..))) {
            ready = next();
        }
        if let Some(Ready::Data(_, len)) = &ready {
            self.room = self.room.saturating_sub(*len);
        }
        ready
    }

    fn send(&mut self, to: End, block: <IO::Frame as Frame>::Block, len: usize) {
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

/// Begins to show a flow with these legs to those who are to see it; none: there is nobody. `beginning`: what the ends have said in
/// plain.
pub(super) fn begin_to_show<IO: Io>(
    cx: &mut Context<IO>,
    legs: &PerEnd<Leg<IO>>,
    audience: Audience<'_>,
    beginning: Option<&Beginning>,
) -> Option<Box<Conversations>> {
    if cx.mirrors.is_empty() && cx.capture.is_none() {
        return None;
    }
    let (server, client) = legs.client.isns();
    let from = PerEnd { client: legs.server.template().clone(), server: legs.client.template().clone() };
    let start = Start { from, isn: PerEnd { client, server } };
    let begun = Conversations::begin(cx, start, audience, beginning);
    cx.reports.mirrors |= begun.as_ref().map_or(0, |conversations| conversations.mirrors());
    begun
}

impl<IO: Io> Relaying<IO> {
    pub(super) fn new(relay: Relay, filter: Option<Box<dyn Filter>>) -> Self {
        Self { relay, stage: filter.map(Stage::new), mirrored: None, held: None }
    }

    /// From here on mirrors are shown what it says.
    pub(super) fn show(&mut self, conversations: Option<Box<Conversations>>) {
        self.mirrored = conversations;
    }

    /// What mirrors are shown of it.
    pub(super) fn mirrored(&mut self) -> Option<&mut Conversations> {
        self.mirrored.as_deref_mut()
    }

    /// With a filter that answers in the server's place.
    pub(super) fn one_ended(relay: Relay, filter: Box<dyn Filter>) -> Self {
        Self { relay, stage: Some(Stage::one_ended(filter)), mirrored: None, held: None }
    }

    /// Mirrors are shown it.
    pub(super) fn is_in_mirrors(&self) -> bool {
        self.mirrored.as_ref().is_some_and(|mirrored| mirrored.is_in_mirrors())
    }

    /// A stream of HTTP/2 is to end, and nothing else.
    pub(super) fn end_stream(&mut self, stream: u32) -> StreamEnd {
        self.stage.as_mut().map_or(StreamEnd::Unable, |stage| stage.end_stream(stream))
    }

    /// The server has asked for a client certificate, and has sent no data since.
    pub(super) fn awaits_certificate(&self) -> bool {
        self.relay.awaits_certificate()
    }

    /// Bytes of memory that it holds, with its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { relay, stage, mirrored, held } = self;
        let mirrored = mirrored.as_ref().map_or(0, |mirrored| mirrored.memory());
        let held = held.as_ref().map_or(0, |held| size_of_val(&**held));
        size_of::<Self>() + relay.held() + stage.as_ref().map_or(0, Stage::memory) + mirrored + held
    }

    /// What the stage is about to be called with.
    fn begin(&mut self, cx: &Context<IO>) {
        if let Some(stage) = &mut self.stage {
            stage.begin(cx.now, cx.budget.reader_limit(), cx.content_room());
        }
    }

    /// The stage holds more or less than before.
    fn count_held(&mut self, cx: &mut Context<IO>) {
        let bytes = self.stage.as_ref().map_or(0, Stage::held);
        if bytes > 0 || self.held.is_some() {
            let new = || Box::new(HeldBodies::new(cx));
            self.held.get_or_insert_with(new).set(bytes);
        }
    }

    /// Moves the records that begin in the first `room` bytes of what `source` has received, and what waits in the stage and is
    /// decided, as far as `sink` has room. `closed`: the source's connection has ended.
    pub(super) fn relay(
        &mut self,
        cx: &mut Context<IO>,
        (from, closed): (End, bool),
        source: &mut Leg<IO>,
        sink: &mut Leg<IO>,
        room: usize,
    ) -> Result<(), RelayError> {
        // Both ends are asked in each turn, and most turns are one end's.
        let is_silent = source.tcp.recv().is_empty() && !closed && !self.relay.has_leftover(from);
        if is_silent && !self.is_ready(from) {
            return Ok(());
        }
        self.begin(cx);
        let taken = self.pump(cx, from, source, sink, room)?;
        if closed && taken < room && self.stage.as_ref().is_none_or(|stage| !stage.is_full(from)) {
            // The beginning of a record whose end never comes. The FIN says to the other end what it said to us.
            source.tcp.consume(source.tcp.recv().len());
        }
        if closed
            && source.tcp.recv().is_empty()
            && let Some(stage) = &mut self.stage
            && stage.end(from)
        {
            cx.read_reports(stage);
            self.pump(cx, from, source, sink, room - taken)?;
        }
        self.count_held(cx);
        Ok(())
    }

    /// Returns how many bytes were taken.
    fn pump(
        &mut self,
        cx: &mut Context<IO>,
        from: End,
        source: &mut Leg<IO>,
        sink: &mut Leg<IO>,
        room: usize,
    ) -> Result<usize, RelayError> {
        let Self { relay, stage, mirrored, held: _ } = self;
        let back = Vec::new();
        let mut output = RelayOutput { cx, from, sink, stage, mirrored, room, back, refused: false };
        let result = relay.relay(from, source.tcp.recv(), room, &mut output);
        let RelayOutput { back, mut refused, cx, mirrored, .. } = output;
        if let Some(mirrored) = mirrored {
            mirrored.pause(cx, from);
        }
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
    pub(super) fn close(&mut self, cx: &mut Context<IO>, legs: &mut PerEnd<Leg<IO>>) -> bool {
        self.last_word(cx, legs, LastWord::Close)
    }

    /// Says to both ends that it must not go on, where that can be said.
    pub(super) fn deny(&mut self, cx: &mut Context<IO>, legs: &mut PerEnd<Leg<IO>>) -> bool {
        self.last_word(cx, legs, LastWord::Deny)
    }

    fn last_word(
        &mut self,
        cx: &mut Context<IO>,
        PerEnd { client, server }: &mut PerEnd<Leg<IO>>,
        word: LastWord,
    ) -> bool {
        let (from, sink, stage, mirrored) = (End::Client, server, &mut None, &mut None);
        let back = Vec::new();
        let mut output = RelayOutput { cx, from, sink, stage, mirrored, room: 0, back, refused: false };
        let said = match word {
            LastWord::Close => self.relay.close(&mut output),
            LastWord::Deny => self.relay.deny(&mut output),
        };
        let RelayOutput { back, refused, .. } = output;
        let told_client = back.into_iter().all(|slice| client.queue(slice));
        said.is_ok() && !refused && told_client
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

    /// What ends have sent will go on, or not, when a verdict has come.
    pub(super) fn awaits_verdict(&self) -> bool {
        self.stage.as_ref().is_some_and(Stage::is_holding)
    }

    /// How the filter ends the flow, if it is time: in order when all that is to go before that has gone.
    pub(super) fn ending(&self) -> Option<Ending> {
        let is_on_its_way = || End::BOTH.into_iter().any(|from| self.is_ready(from));
        self.stage.as_ref()?.ending().filter(|ending| !ending.orderly || !is_on_its_way())
    }

    /// Hands on what the filter asks. True: the pool is full, and the filter knows that it will get no answer.
    pub(super) fn ask(&mut self, cx: &mut Context<IO>) -> bool {
        let Some(stage) = &mut self.stage else { return false };
        while let Some((question, scan)) = stage.poll_question() {
            if cx.submit(Job::Scan(question, scan)).is_err() {
                self.verdict(cx, question, Verdict::Refused);
                return true;
            }
        }
        false
    }

    /// The answer to a question of the filter.
    pub(super) fn verdict(&mut self, cx: &mut Context<IO>, question: u64, verdict: Verdict) {
        self.begin(cx);
        if let Some(stage) = &mut self.stage {
            stage.verdict(question, verdict);
            cx.read_reports(stage);
        }
        self.count_held(cx);
    }

    /// When the filter is to be called next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.stage.as_ref()?.poll_timeout()
    }

    /// Runs what is due in the filter.
    pub(super) fn handle_timeout(&mut self, cx: &mut Context<IO>) {
        self.begin(cx);
        if let Some(stage) = &mut self.stage {
            stage.handle_timeout(cx.now);
            cx.read_reports(stage);
        }
        self.count_held(cx);
    }

    /// The flow is over: what the filter has left to report.
    pub(super) fn finish(&mut self, cx: &mut Context<IO>) {
        if let Some(stage) = &mut self.stage {
            stage.finish();
            cx.read_reports(stage);
        }
    }
}
