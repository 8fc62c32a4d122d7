//! Both sessions after their handshakes: each record of one leg is opened into a block, decided on there, sealed there with the
//! other leg's key, and sent as it lies.

use super::blame::of_client_alert;
use super::description;
use super::record::{
    BEHIND, Control, Fault, KEY_UPDATE, LegKeys, MAX_PLAINTEXT, Record, RecordLayer, content,
};
use crate::content::{Fate, Opened, Ready, Stage};
use crate::end::{End, PerEnd};
use crate::reason::Reason;

/// Where a relay's plaintext is decided on and its records go.
pub trait RecordSink {
    /// Memory for a record.
    type Block: AsMut<[u8]>;

    /// A block of at least `len` bytes, at most 2^14 and 30. What it holds is undefined until written.
    fn block(&mut self, len: usize) -> Self::Block;

    /// Plaintext of an end, in order, each byte once; never nothing. It goes on if there is nobody to decide.
    fn plaintext(&mut self, from: End, plaintext: &[u8]) -> Fate;

    /// Somebody wants to see what goes on ([`Self::forwarded`]).
    fn wants_forwarded(&self) -> bool {
        false
    }

    /// Plaintext that goes on now, in order: an end's, less what was dropped of it and with what was put in its place.
    fn forwarded(&mut self, _from: End, _plaintext: &[u8]) {}

    /// Where plaintext waits that does not go on at once; none where all of it does.
    fn stage(&mut self) -> Option<&mut Stage<Self::Block>> {
        None
    }

    /// [`Stage::next_ready`], with room for a record around it in blocks of this sink.
    fn next_ready(&mut self, _from: End, _at: usize) -> Option<Ready<Self::Block>> {
        None
    }

    /// The first `len` bytes of the block go to an end.
    fn send(&mut self, to: End, block: Self::Block, len: usize);

    /// What was sent to that end before waits there: small records may be joined.
    fn is_behind(&self, to: End) -> bool;
}

/// Room that a block needs behind the plaintext that it is to have.
pub const RECORD_ROOM: usize = BEHIND;

/// Two established sessions, ends of one flow.
///
/// Nothing is kept here: what comes goes out again in the same call, or to the sink's stage, but for a record that is not all
/// there.
pub struct Relay {
    ends: PerEnd<RecordLayer>,
    /// What came during the handshakes and was not part of them, or else the beginning of a record: the client's, the server's.
    leftover: PerEnd<Vec<u8>>,
    alpn: Option<Box<[u8]>>,
}

/// Why a relay broke. The leg at fault got its alert; an alert that came from it was passed on. The other got nothing else: an
/// orderly close_notify would pass a truncation off as the end of the data, so the flow has to reset that leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayError {
    /// Who is to blame.
    pub reason: Reason,
    /// The peer's alert, if it sent one.
    pub alert: Option<u8>,
}

/// Plaintext that is to become one record.
struct PendingRecord<B> {
    block: B,
    len: usize,
    /// How much fits.
    room: usize,
}

impl Relay {
    /// Goes on where two handshakes ended: a [`Handshake`](super::Handshake)'s own, or those of a test. `early` came while
    /// they ran and was not part of them: the client's, the server's. `None`: the keys do not fit their providers.
    pub fn new(
        client: LegKeys,
        server: LegKeys,
        alpn: Option<Box<[u8]>>,
        early: PerEnd<Vec<u8>>,
    ) -> Option<Self> {
        let client = RecordLayer::new(End::Client, client)?;
        let server = RecordLayer::new(End::Server, server)?;
        Some(Self { ends: PerEnd { client, server }, leftover: early, alpn })
    }

    /// One session, and nobody at the other end: whoever decides on the client's plaintext answers it. `early` came while
    /// the handshake ran. `None`: the keys do not fit their provider.
    pub fn one_ended(client: LegKeys, alpn: Option<Box<[u8]>>, early: Vec<u8>) -> Option<Self> {
        let server = RecordLayer::nobody(End::Server, client.provider)?;
        let client = RecordLayer::new(End::Client, client)?;
        let leftover = PerEnd { client: early, server: Vec::new() };
        Some(Self { ends: PerEnd { client, server }, leftover, alpn })
    }

    /// The client wants no more plaintext than this in a record; none: as much as there may be.
    #[must_use]
    pub fn with_record_limit(mut self, most: Option<usize>) -> Self {
        self.ends.client.most = most.unwrap_or(MAX_PLAINTEXT).clamp(1, MAX_PLAINTEXT);
        self
    }

    /// The server has asked for a client certificate in its handshake, and got none. TLS 1.3 says only afterwards what it makes of that.
    #[must_use]
    pub fn with_certificate_asked(mut self) -> Self {
        self.ends.server.certificate_asked = true;
        self
    }

    /// The server has asked for a client certificate, and has sent no data since.
    pub(crate) fn awaits_certificate(&self) -> bool {
        self.ends.server.certificate_asked
    }

    /// Application protocol of both legs.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// Lets the keys with which we seal protect no more than so many records: to see what happens at the end of that.
    #[doc(hidden)]
    pub fn limit_keys(&mut self, records: u64) {
        self.ends.iter_mut().for_each(|end| end.sealer.limit_key(records));
    }

    /// Relays the whole records of `data` that begin within its first `budget` bytes, and before them what this end sent while
    /// the handshakes ran: so call it for both ends as soon as there is a sink, as a server may speak first. What this end sent
    /// before, and what has been decided to pass of it, goes first. Returns how many bytes were taken; the rest is to be given
    /// again, with what comes after it.
    ///
    /// # Errors
    /// The peer sent a fatal alert or broke the protocol. The relay is finished then.
    pub fn relay<O: RecordSink>(
        &mut self,
        from: End,
        data: &[u8],
        budget: usize,
        out: &mut O,
    ) -> Result<usize, RelayError> {
        let mut taken = 0;
        // What is left over may end with the beginning of a record, which goes as soon as it is whole.
        while !self.leftover[from].is_empty() {
            self.relay_leftover(from, out)?;
            match self.complete_leftover(from, &data[taken..]) {
                0 => break,
                n => taken += n,
            }
        }
        if !self.leftover[from].is_empty() {
            return Ok(taken);
        }
        let budget = budget.saturating_sub(taken);
        Ok(taken + self.pump(from, &data[taken..], budget, out)?)
    }

    /// Something that this end has sent waits here: it came during the handshakes, or its record is not all there.
    pub(crate) fn has_leftover(&self, from: End) -> bool {
        !self.leftover[from].is_empty()
    }

    /// Nothing waits here for more, and neither end has ended its direction.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.leftover.iter().all(Vec::is_empty)
            && self.ends.iter().all(|end| end.has_whole_messages() && !end.has_closed && !end.peer_has_closed)
    }

    /// Says to both ends that nothing more follows.
    ///
    /// # Errors
    /// A key has protected as many records as it may: that end could not be told.
    pub fn close<O: RecordSink>(&mut self, out: &mut O) -> Result<(), RelayError> {
        self.last_word([WARNING, description::CLOSE_NOTIFY], out)
    }

    /// Says to both ends that it must not go on (RFC 8446 6.2: access_denied).
    ///
    /// # Errors
    /// As [`Self::close`].
    pub fn deny<O: RecordSink>(&mut self, out: &mut O) -> Result<(), RelayError> {
        self.last_word([FATAL, description::ACCESS_DENIED], out)
    }

    fn last_word<O: RecordSink>(&mut self, alert: [u8; 2], out: &mut O) -> Result<(), RelayError> {
        for to in End::BOTH {
            let end = &mut self.ends[to];
            if !end.has_closed {
                seal_into(end, to, content::ALERT, &alert, out)
                    .map_err(|_| RelayError { reason: Reason::KeysUsedUp, alert: None })?;
                end.has_closed = true;
            }
        }
        Ok(())
    }

    /// Bytes of memory that it holds beside its own size: messages and records that are not all there, keys, and what they come from.
    pub fn held(&self) -> usize {
        let Self { ends, leftover, alpn } = self;
        let alpn = alpn.as_ref().map_or(0, |name| name.len());
        let leftover: usize = leftover.iter().map(Vec::capacity).sum();
        leftover + ends.iter().map(RecordLayer::held).sum::<usize>() + alpn
    }

    /// Adds as much of `data` as the record that is left over in part still needs.
    fn complete_leftover(&mut self, from: End, data: &[u8]) -> usize {
        let leftover = &mut self.leftover[from];
        let mut taken = 0;
        while !leftover.is_empty() && taken < data.len() {
            let needed = Record::missing(leftover);
            if needed == 0 {
                break;
            }
            let n = needed.min(data.len() - taken);
            leftover.extend_from_slice(&data[taken..taken + n]);
            taken += n;
        }
        taken
    }

    fn relay_leftover<O: RecordSink>(&mut self, from: End, out: &mut O) -> Result<(), RelayError> {
        let mut leftover = std::mem::take(&mut self.leftover[from]);
        if leftover.is_empty() {
            return Ok(());
        }
        let taken = self.pump(from, &leftover, usize::MAX, out)?;
        leftover.drain(..taken);
        if !leftover.is_empty() {
            self.leftover[from] = leftover;
        }
        Ok(())
    }

    fn pump<O: RecordSink>(
        &mut self,
        from: End,
        data: &[u8],
        budget: usize,
        out: &mut O,
    ) -> Result<usize, RelayError> {
        let (source, sink) = self.ends.split_mut(from);
        let mut direction = Direction { from, source, sink, joins: out.is_behind(from.other()), open: None };
        let mut taken = 0;
        let mut result = direction.release(out);
        // Once more where what filled the stage has gone on.
        while result.is_ok() {
            let before = taken;
            result = direction.run(data, budget, &mut taken, out);
            // Data that came before a fault is the other end's to have.
            for sealed in [direction.seal_pending(out), direction.release(out)] {
                result = result.and(sealed);
            }
            if taken == before || out.stage().is_none_or(|stage| stage.is_full(from)) {
                break;
            }
        }
        match result {
            Ok(()) => Ok(taken),
            Err(fault) => Err(direction.give_up(fault, out)),
        }
    }
}

/// From one end to the other, for one call.
struct Direction<'a, B> {
    from: End,
    source: &'a mut RecordLayer,
    sink: &'a mut RecordLayer,
    /// Records may be joined.
    joins: bool,
    open: Option<PendingRecord<B>>,
}

impl<B: AsMut<[u8]>> Direction<'_, B> {
    fn run<O: RecordSink<Block = B>>(
        &mut self,
        data: &[u8],
        budget: usize,
        taken: &mut usize,
        out: &mut O,
    ) -> Result<(), Fault> {
        loop {
            if self.source.peer_has_closed {
                // Nothing after a close_notify counts.
                *taken = data.len();
                return Ok(());
            }
            if *taken >= budget || out.stage().is_some_and(|stage| stage.is_full(self.from)) {
                return Ok(());
            }
            let rest = &data[*taken..];
            let Some(record) = self.source.opener.first(rest)? else { return Ok(()) };
            let left = budget - *taken;
            *taken += record.len();
            self.take(&record, rest, left, out)?;
        }
    }

    /// Most plaintext of the records that begin within the budget and fit one record together, which is no longer than the source's own
    /// have been, and than the sink wants. No more than that is asked for: a block stays until its last byte is acknowledged. Looks at
    /// each of them, so it is for a new block alone.
    fn joined_len(&self, data: &[u8], budget: usize) -> usize {
        let (mut sum, mut at, mut longest) = (0, 0, self.source.longest);
        while at < budget
            && let Ok(Some(record)) = self.source.opener.first(&data[at..])
        {
            let len = self.source.opener.content_len(&record);
            longest = longest.max(len).min(self.sink.most);
            let more = sum + len;
            if more > longest {
                break;
            }
            (sum, at) = (more, at + record.len());
        }
        sum
    }

    /// One record, the first of `rest`, of which `left` bytes are within the budget.
    fn take<O: RecordSink<Block = B>>(
        &mut self,
        record: &Record<'_>,
        rest: &[u8],
        left: usize,
        out: &mut O,
    ) -> Result<(), Fault> {
        let (at, most) = (self.sink.sealer.plaintext_at(), self.source.opener.content_len(record));
        if self.open.as_ref().is_some_and(|open| open.len + most > open.room) {
            self.seal_pending(out)?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                // The record itself may be longer than the budget.
                let room = if self.joins { self.joined_len(rest, left).max(most) } else { most };
                PendingRecord { block: out.block(at + room + BEHIND), len: 0, room }
            }
        };
        let place = &mut open.block.as_mut()[at + open.len..];
        let (kind, len) = match self.source.opener.open(record, place) {
            Ok(opened) => opened,
            Err(fault) => {
                self.open = (open.len > 0).then_some(open);
                return Err(fault);
            }
        };
        if kind == content::APPLICATION_DATA {
            let taken = self.source.take_data(len);
            if taken.is_ok() && len > 0 {
                match out.plaintext(self.from, &place[..len]) {
                    Fate::Pass => open.len += len,
                    Fate::Keep => {
                        self.open = self.keep(open, at, len, out);
                        return Ok(());
                    }
                }
            }
            self.open = (open.len > 0).then_some(open);
            taken?;
            return if self.joins { Ok(()) } else { self.seal_pending(out) };
        }
        // Not data: rare, and short.
        let message = place[..len].to_vec();
        self.open = (open.len > 0).then_some(open);
        let control = self.source.take_control(kind, &message)?;
        self.answer(control, out)
    }

    /// Hands the last `len` bytes of the block to the stage. Gives the block back if it has others before them.
    fn keep<O: RecordSink<Block = B>>(
        &mut self,
        mut open: PendingRecord<B>,
        at: usize,
        len: usize,
        out: &mut O,
    ) -> Option<PendingRecord<B>> {
        let (opened, rest) = if open.len > 0 || len < Stage::<B>::room_for(len) {
            let (begin, room) = (at + open.len, Stage::<B>::room_for(len));
            let mut block = out.block(at + room + BEHIND);
            block.as_mut()[at..at + len].copy_from_slice(&open.block.as_mut()[begin..begin + len]);
            (Opened { block, at, len, end: at + room }, (open.len > 0).then_some(open))
        } else {
            (Opened { block: open.block, at, len, end: at + open.room }, None)
        };
        if let Some(stage) = out.stage() {
            stage.keep(self.from, opened);
        }
        rest
    }

    /// Seals what waited in the stage and has been decided to pass.
    fn release<O: RecordSink<Block = B>>(&mut self, out: &mut O) -> Result<(), Fault> {
        while let Some(ready) = out.next_ready(self.from, self.sink.sealer.plaintext_at()) {
            match ready {
                // What a filter would still say goes nowhere.
                Ready::Data(..) if self.sink.has_closed => {}
                Ready::Data(block, len) => self.seal(block, len, out)?,
                Ready::Close => self.pass_close(out)?,
            }
        }
        Ok(())
    }

    fn pass_close<O: RecordSink<Block = B>>(&mut self, out: &mut O) -> Result<(), Fault> {
        if !self.sink.has_closed {
            // Nothing follows it, so it may be the last record of its key.
            let bytes = [WARNING, description::CLOSE_NOTIFY];
            seal_into(self.sink, self.from.other(), content::ALERT, &bytes, out)?;
            self.sink.has_closed = true;
        }
        Ok(())
    }

    fn answer<O: RecordSink<Block = B>>(&mut self, control: Control, out: &mut O) -> Result<(), Fault> {
        match control {
            Control::Nothing => Ok(()),
            Control::Close => {
                self.seal_pending(out)?;
                let passes = out.stage().is_none_or(|stage| stage.announce_close(self.from));
                if passes { self.pass_close(out) } else { Ok(()) }
            }
            Control::WantsKeyUpdate if !self.source.has_closed => {
                say(self.source, self.from, content::HANDSHAKE, &KEY_UPDATE, out)?;
                self.source.update_sealing_key()
            }
            Control::WantsRenegotiation if !self.source.has_closed => {
                say(self.source, self.from, content::ALERT, &[WARNING, description::NO_RENEGOTIATION], out)
            }
            Control::WantsKeyUpdate | Control::WantsRenegotiation => Ok(()),
        }
    }

    /// Sends what is open.
    fn seal_pending<O: RecordSink<Block = B>>(&mut self, out: &mut O) -> Result<(), Fault> {
        let Some(PendingRecord { block, len, .. }) = self.open.take() else { return Ok(()) };
        // Nothing follows a close_notify.
        if self.sink.has_closed {
            return Err(Fault::Internal);
        }
        self.seal(block, len, out)
    }

    fn seal<O: RecordSink<Block = B>>(&mut self, mut block: B, len: usize, out: &mut O) -> Result<(), Fault> {
        let (to, most) = (self.from.other(), self.sink.most);
        if out.wants_forwarded() {
            out.forwarded(self.from, &block.as_mut()[self.sink.sealer.plaintext_at()..][..len]);
        }
        if len > most {
            return self.seal_in_pieces(&block.as_mut()[self.sink.sealer.plaintext_at()..][..len], most, out);
        }
        renew_key(self.sink, to, out)?;
        let len = self.sink.sealer.seal(content::APPLICATION_DATA, block.as_mut(), len)?;
        out.send(to, block, len);
        Ok(())
    }

    /// More than the sink wants in one record: each piece is copied into a block of its own.
    fn seal_in_pieces<O: RecordSink<Block = B>>(
        &mut self,
        plaintext: &[u8],
        most: usize,
        out: &mut O,
    ) -> Result<(), Fault> {
        for piece in plaintext.chunks(most) {
            let to = self.from.other();
            renew_key(self.sink, to, out)?;
            seal_into(self.sink, to, content::APPLICATION_DATA, piece, out)?;
        }
        Ok(())
    }

    /// The last words, and whose fault it is.
    fn give_up<O: RecordSink<Block = B>>(&mut self, fault: Fault, out: &mut O) -> RelayError {
        let (alert_reason, protocol_reason) = match self.from {
            End::Client => (Reason::ClientAlert, Reason::ClientProtocol),
            End::Server => (Reason::ServerAlert, Reason::ServerProtocol),
        };
        let (to_source, to_sink, reason) = match fault {
            Fault::Broken(number) => (Some(number), None, protocol_reason),
            // An alert for an alert.
            Fault::Alert(number) if self.source.misses_certificate(number) => {
                (None, Some(number), Reason::ServerRequiresClientCert)
            }
            // The server has no part in it.
            Fault::Alert(number @ description::ECH_REQUIRED) if self.from == End::Client => {
                (None, Some(description::USER_CANCELED), of_client_alert(number))
            }
            Fault::Alert(number) => (None, Some(number), alert_reason),
            Fault::CertificateDemanded => {
                (Some(description::UNEXPECTED_MESSAGE), None, Reason::ServerRequiresClientCert)
            }
            Fault::KeysUsedUp => {
                (Some(description::INTERNAL_ERROR), Some(description::INTERNAL_ERROR), Reason::KeysUsedUp)
            }
            Fault::Internal => (Some(description::INTERNAL_ERROR), None, Reason::Internal),
        };
        let ends = [(&mut *self.source, self.from, to_source), (&mut *self.sink, self.from.other(), to_sink)];
        for (end, to, words) in ends {
            if let Some(number) = words
                && !end.has_closed
            {
                // The last record of a key is for this. If even that fails there is nothing left to say.
                let _ = seal_into(end, to, content::ALERT, &[FATAL, number], out);
                end.has_closed = true;
            }
        }
        let alert = if let Fault::Alert(number) = fault { Some(number) } else { None };
        RelayError { reason, alert }
    }
}

/// Alert levels (RFC 8446 6).
const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// Sends a record that is not data.
fn say<O: RecordSink>(
    end: &mut RecordLayer,
    to: End,
    kind: u8,
    bytes: &[u8],
    out: &mut O,
) -> Result<(), Fault> {
    renew_key(end, to, out)?;
    seal_into(end, to, kind, bytes, out)
}

/// Sees to it that the key with which we seal may protect one more record (RFC 8446 5.5).
fn renew_key<O: RecordSink>(end: &mut RecordLayer, to: End, out: &mut O) -> Result<(), Fault> {
    if !end.sealer.is_used_up() {
        return Ok(());
    }
    if !end.is_tls13() {
        return Err(Fault::KeysUsedUp);
    }
    seal_into(end, to, content::HANDSHAKE, &KEY_UPDATE, out)?;
    end.update_sealing_key()
}

fn seal_into<O: RecordSink>(
    end: &mut RecordLayer,
    to: End,
    kind: u8,
    bytes: &[u8],
    out: &mut O,
) -> Result<(), Fault> {
    let at = end.sealer.plaintext_at();
    let mut block = out.block(at + bytes.len() + BEHIND);
    block.as_mut()[at..at + bytes.len()].copy_from_slice(bytes);
    let len = end.sealer.seal(kind, block.as_mut(), bytes.len())?;
    out.send(to, block, len);
    Ok(())
}
