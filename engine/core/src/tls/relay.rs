//! Both sessions after their handshakes: each record of one leg is opened into a block, shown to the inspector there, sealed
//! there with the other leg's key, and sent as it lies.

use super::description;
use super::record::{BEHIND, Fault, Heard, KEY_UPDATE, LegKeys, MAX_PLAINTEXT, Record, RecordLayer, content};
use crate::end::{End, PerEnd};
use crate::reason::Reason;

/// Where a relay's plaintext is shown and its records go.
pub trait Outlet {
    /// Memory for a record.
    type Block: AsMut<[u8]>;

    /// A block of at least `len` bytes, at most 2^14 and 30. What it holds is undefined until written.
    fn block(&mut self, len: usize) -> Self::Block;

    /// Plaintext of an end, in order, each byte once; never nothing.
    fn inspect(&mut self, from: End, plaintext: &[u8]);

    /// The first `len` bytes of the block go to an end.
    fn send(&mut self, to: End, block: Self::Block, len: usize);

    /// What was sent to that end before waits there: small records may be joined.
    fn is_behind(&self, to: End) -> bool;

    /// The end's close_notify was read and passed on: no more data from there.
    fn closed(&mut self, from: End);
}

/// Two established sessions, ends of one flow.
///
/// Nothing is kept: what comes goes out again in the same call, but for a record that is not all there.
pub struct Relay {
    client: RecordLayer,
    server: RecordLayer,
    /// What came during the handshakes and was not part of them, or else the beginning of a record: the client's, the server's.
    carried: PerEnd<Vec<u8>>,
    alpn: Option<Box<[u8]>>,
}

/// What leaves, on the heap: an [`Outlet`] for callers that send bytes. Appended to, so that they can reuse the buffers.
#[derive(Debug, Default)]
pub struct Output {
    /// Ciphertext for the client.
    pub to_client: Vec<u8>,
    /// Ciphertext for the server.
    pub to_server: Vec<u8>,
    /// The client's close_notify was read and passed on: no more data from there.
    pub close_from_client: bool,
    /// Likewise the server's.
    pub close_from_server: bool,
}

struct Heap<'a> {
    inspect: &'a mut dyn FnMut(End, &[u8]),
    output: &'a mut Output,
}

impl Outlet for Heap<'_> {
    type Block = Vec<u8>;

    fn block(&mut self, len: usize) -> Vec<u8> {
        vec![0; len]
    }

    fn inspect(&mut self, from: End, plaintext: &[u8]) {
        (self.inspect)(from, plaintext);
    }

    fn send(&mut self, to: End, block: Vec<u8>, len: usize) {
        let out = match to {
            End::Client => &mut self.output.to_client,
            End::Server => &mut self.output.to_server,
        };
        out.extend_from_slice(&block[..len]);
    }

    fn is_behind(&self, _: End) -> bool {
        false
    }

    fn closed(&mut self, from: End) {
        match from {
            End::Client => self.output.close_from_client = true,
            End::Server => self.output.close_from_server = true,
        }
    }
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
struct Open<B> {
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
        let (client, server) =
            (RecordLayer::new(End::Client, client)?, RecordLayer::new(End::Server, server)?);
        Some(Self { client, server, carried: early, alpn })
    }

    /// Application protocol of both legs.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// Lets the keys with which we seal protect no more than so many records: to see what happens at the end of that.
    #[doc(hidden)]
    pub fn limit_keys(&mut self, records: u64) {
        self.client.sealer.limit_key(records);
        self.server.sealer.limit_key(records);
    }

    /// Takes ciphertext from one end, all of it. Its plaintext is shown to `inspect` and leaves encrypted for the other end. What
    /// both ends sent while the handshakes ran goes first.
    ///
    /// # Errors
    /// As [`relay`](Self::relay).
    pub fn receive(
        &mut self,
        from: End,
        ciphertext: &[u8],
        inspect: &mut dyn FnMut(End, &[u8]),
        output: &mut Output,
    ) -> Result<(), RelayError> {
        let mut heap = Heap { inspect, output };
        self.relay_carried(End::Server, &mut heap)?;
        self.relay_carried(End::Client, &mut heap)?;
        self.carried[from].extend_from_slice(ciphertext);
        self.relay_carried(from, &mut heap)
    }

    /// Relays the whole records of `data` that begin within its first `budget` bytes, and before them what this end sent while
    /// the handshakes ran: so call it for both ends as soon as there is an inspector, as a server may speak first. Returns how
    /// many bytes were taken; the rest is to be given again, with what comes after it.
    ///
    /// # Errors
    /// The peer sent a fatal alert or broke the protocol. The relay is finished then.
    pub fn relay<O: Outlet>(
        &mut self,
        from: End,
        data: &[u8],
        budget: usize,
        out: &mut O,
    ) -> Result<usize, RelayError> {
        let mut taken = 0;
        // What is carried may end with the beginning of a record, which goes as soon as it is whole.
        while !self.carried[from].is_empty() {
            self.relay_carried(from, out)?;
            match self.complete_carried(from, &data[taken..]) {
                0 => break,
                n => taken += n,
            }
        }
        if !self.carried[from].is_empty() {
            return Ok(taken);
        }
        let budget = budget.saturating_sub(taken);
        Ok(taken + self.pump(from, &data[taken..], budget, out)?)
    }

    /// Nothing waits here for more, and neither end has ended its direction.
    pub fn is_at_rest(&self) -> bool {
        let ends = [&self.client, &self.server];
        self.carried.iter().all(Vec::is_empty)
            && ends.iter().all(|end| end.has_whole_messages() && !end.has_closed && !end.peer_has_closed)
    }

    /// Says to both ends that nothing more follows.
    ///
    /// # Errors
    /// A key has protected as many records as it may: that end could not be told.
    pub fn close<O: Outlet>(&mut self, out: &mut O) -> Result<(), RelayError> {
        for (end, to) in [(&mut self.client, End::Client), (&mut self.server, End::Server)] {
            if !end.has_closed {
                let bytes = [WARNING, description::CLOSE_NOTIFY];
                seal_into(end, to, content::ALERT, &bytes, out)
                    .map_err(|_| RelayError { reason: Reason::KeysUsedUp, alert: None })?;
                end.has_closed = true;
            }
        }
        Ok(())
    }

    /// Bytes of memory that it holds beside its own size: messages and records that are not all there, keys, and what they come from.
    pub fn held(&self) -> usize {
        let Self { client, server, carried: PerEnd { client: from_client, server: from_server }, alpn } =
            self;
        let alpn = alpn.as_ref().map_or(0, |name| name.len());
        from_client.capacity() + from_server.capacity() + client.held() + server.held() + alpn
    }

    /// Adds as much of `data` as the record that is carried in part still needs.
    fn complete_carried(&mut self, from: End, data: &[u8]) -> usize {
        let carried = &mut self.carried[from];
        let mut taken = 0;
        while !carried.is_empty() && taken < data.len() {
            let needed = Record::missing(carried);
            if needed == 0 {
                break;
            }
            let n = needed.min(data.len() - taken);
            carried.extend_from_slice(&data[taken..taken + n]);
            taken += n;
        }
        taken
    }

    fn relay_carried<O: Outlet>(&mut self, from: End, out: &mut O) -> Result<(), RelayError> {
        let mut carried = std::mem::take(&mut self.carried[from]);
        if carried.is_empty() {
            return Ok(());
        }
        let taken = self.pump(from, &carried, usize::MAX, out)?;
        carried.drain(..taken);
        if !carried.is_empty() {
            self.carried[from] = carried;
        }
        Ok(())
    }

    fn pump<O: Outlet>(
        &mut self,
        from: End,
        data: &[u8],
        budget: usize,
        out: &mut O,
    ) -> Result<usize, RelayError> {
        let (source, sink) = match from {
            End::Client => (&mut self.client, &mut self.server),
            End::Server => (&mut self.server, &mut self.client),
        };
        let mut way = Way { from, source, sink, joins: out.is_behind(from.other()), open: None };
        let mut taken = 0;
        let mut result = way.run(data, budget, &mut taken, out);
        // Data that came before a fault is the other end's to have.
        if let Err(fault) = way.seal_open(out) {
            result = result.and(Err(fault));
        }
        match result {
            Ok(()) => Ok(taken),
            Err(fault) => Err(way.give_up(fault, out)),
        }
    }
}

/// From one end to the other, for one call.
struct Way<'a, B> {
    from: End,
    source: &'a mut RecordLayer,
    sink: &'a mut RecordLayer,
    /// Records may be joined.
    joins: bool,
    open: Option<Open<B>>,
}

impl<B: AsMut<[u8]>> Way<'_, B> {
    fn run<O: Outlet<Block = B>>(
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
            if *taken >= budget {
                return Ok(());
            }
            let rest = &data[*taken..];
            let Some(record) = self.source.opener.first(rest)? else { return Ok(()) };
            let left = budget - *taken;
            *taken += record.len();
            self.take(&record, rest, left, out)?;
        }
    }

    /// Most plaintext of the records that begin within the budget and fit one record together. No more than that is asked for:
    /// a block stays until its last byte is acknowledged. Looks at each of them, so it is for a new block alone.
    fn joined_len(&self, data: &[u8], budget: usize) -> usize {
        let (mut sum, mut at) = (0, 0);
        while at < budget
            && let Ok(Some(record)) = self.source.opener.first(&data[at..])
        {
            let more = sum + self.source.opener.content_len(&record);
            if more > MAX_PLAINTEXT {
                break;
            }
            (sum, at) = (more, at + record.len());
        }
        sum
    }

    /// One record, the first of `rest`, of which `left` bytes are within the budget.
    fn take<O: Outlet<Block = B>>(
        &mut self,
        record: &Record<'_>,
        rest: &[u8],
        left: usize,
        out: &mut O,
    ) -> Result<(), Fault> {
        let (at, most) = (self.sink.sealer.plaintext_at(), self.source.opener.content_len(record));
        if self.open.as_ref().is_some_and(|open| open.len + most > open.room) {
            self.seal_open(out)?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                // The record itself may be longer than the budget.
                let room = if self.joins { self.joined_len(rest, left).max(most) } else { most };
                Open { block: out.block(at + room + BEHIND), len: 0, room }
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
                out.inspect(self.from, &place[..len]);
                open.len += len;
            }
            self.open = (open.len > 0).then_some(open);
            taken?;
            return if self.joins { Ok(()) } else { self.seal_open(out) };
        }
        // Not data: rare, and short.
        let message = place[..len].to_vec();
        self.open = (open.len > 0).then_some(open);
        let heard = self.source.take_control(kind, &message)?;
        self.answer(heard, out)
    }

    fn answer<O: Outlet<Block = B>>(&mut self, heard: Heard, out: &mut O) -> Result<(), Fault> {
        match heard {
            Heard::Nothing => Ok(()),
            Heard::Close => {
                self.seal_open(out)?;
                if !self.sink.has_closed {
                    // Nothing follows it, so it may be the last record of its key.
                    let bytes = [WARNING, description::CLOSE_NOTIFY];
                    seal_into(self.sink, self.from.other(), content::ALERT, &bytes, out)?;
                    self.sink.has_closed = true;
                    out.closed(self.from);
                }
                Ok(())
            }
            Heard::WantsKeyUpdate if !self.source.has_closed => {
                say(self.source, self.from, content::HANDSHAKE, &KEY_UPDATE, out)?;
                self.source.update_sealing_key()
            }
            Heard::WantsRenegotiation if !self.source.has_closed => {
                say(self.source, self.from, content::ALERT, &[WARNING, description::NO_RENEGOTIATION], out)
            }
            Heard::WantsKeyUpdate | Heard::WantsRenegotiation => Ok(()),
        }
    }

    /// Sends what is open.
    fn seal_open<O: Outlet<Block = B>>(&mut self, out: &mut O) -> Result<(), Fault> {
        let Some(Open { mut block, len, .. }) = self.open.take() else { return Ok(()) };
        // Nothing follows a close_notify.
        if self.sink.has_closed {
            return Err(Fault::Internal);
        }
        let to = self.from.other();
        renew_key(self.sink, to, out)?;
        let len = self.sink.sealer.seal(content::APPLICATION_DATA, block.as_mut(), len)?;
        out.send(to, block, len);
        Ok(())
    }

    /// The last words, and whose fault it is.
    fn give_up<O: Outlet<Block = B>>(&mut self, fault: Fault, out: &mut O) -> RelayError {
        let (alert_reason, protocol_reason) = match self.from {
            End::Client => (Reason::ClientAlert, Reason::ClientProtocol),
            End::Server => (Reason::ServerAlert, Reason::ServerProtocol),
        };
        let (to_source, to_sink, reason) = match fault {
            Fault::Broken(number) => (Some(number), None, protocol_reason),
            // An alert for an alert.
            Fault::Alert(number) => (None, Some(number), alert_reason),
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
fn say<O: Outlet>(end: &mut RecordLayer, to: End, kind: u8, bytes: &[u8], out: &mut O) -> Result<(), Fault> {
    renew_key(end, to, out)?;
    seal_into(end, to, kind, bytes, out)
}

/// Sees to it that the key with which we seal may protect one more record (RFC 8446 5.5).
fn renew_key<O: Outlet>(end: &mut RecordLayer, to: End, out: &mut O) -> Result<(), Fault> {
    if !end.sealer.is_used_up() {
        return Ok(());
    }
    if !end.is_tls13() {
        return Err(Fault::KeysUsedUp);
    }
    seal_into(end, to, content::HANDSHAKE, &KEY_UPDATE, out)?;
    end.update_sealing_key()
}

fn seal_into<O: Outlet>(
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
