//! HTTP/2 (RFC 9113), both directions of one connection.

use std::collections::BTreeMap;

use super::border::{Border, Exchange, HeadKind, Teller, What};
use super::hpack::{Decoder, HpackError, Known, Wanted};
use super::http::Fault;
use super::http2_frames::{
    ACK, END_HEADERS, END_STREAM, Found, FrameHeader, FrameReader, FrameType, PRIORITY, without_padding,
};
use super::text::{MAX_METHOD, MAX_TEXT, MAX_URL, clip, hostname};
use super::transactions::{Transaction, Transactions};
use crate::end::{End, PerEnd};
use crate::event::{ContentVerdict, HttpEvent};
use crate::reason::InspectorOff;
use crate::tree_memory::tree_memory;

/// What a client sends first (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest header block that is read, as it stands in frames.
pub(super) const MAX_BLOCK: usize = 64 * 1024;
/// Open streams beyond those whose texts are kept.
const MAX_CROWD: usize = 4096;
const SETTINGS_HEADER_TABLE_SIZE: u16 = 1;

/// The reader of one connection.
pub(super) struct Http2 {
    /// All fields are told, and what breaks the rules of a connection's beginning is not read.
    keeps_fields: bool,
    halves: PerEnd<Half>,
    /// Open streams. Requests have odd numbers, pushed ones even.
    streams: BTreeMap<u32, Transaction>,
    /// Those for whose texts there was no room.
    crowd: BTreeMap<u32, Small>,
    /// The highest stream that a request opened: a header block on a lower one is no new request.
    last_request: u32,
}

/// A transaction without texts.
struct Small {
    tx_id: u64,
    length: u64,
    status: Option<u16>,
}

impl Small {
    fn event(self) -> HttpEvent {
        let Self { tx_id, length, status } = self;
        HttpEvent { tx_id, length, status, protocol: "HTTP/2", shortened: true, ..HttpEvent::default() }
    }
}

/// One direction.
struct Half {
    /// Bytes that have come up to the last whole frame, and in all.
    frame_at: u64,
    at: u64,
    /// Bytes of the preface that are missing; a server sends none.
    preface: &'static [u8],
    /// Its first frame has begun.
    greeted: bool,
    frames: FrameReader,
    hpack: Decoder,
    block: Option<Block>,
}

impl Half {
    fn memory(&self) -> usize {
        let Self { frame_at: _, at: _, preface: _, greeted: _, frames, hpack, block } = self;
        let block =
            block.as_ref().map_or(0, |Block { to: _, end_stream: _, fragments }| fragments.capacity());
        frames.memory() + hpack.memory() + block
    }
}

/// A header block that goes on in CONTINUATION frames.
struct Block {
    to: Target,
    end_stream: bool,
    fragments: Vec<u8>,
}

/// What a header block belongs to.
#[derive(Clone, Copy)]
struct Target {
    /// The stream whose frames carry it.
    carrier: u32,
    /// The stream that a PUSH_PROMISE announces.
    promised: Option<u32>,
}

impl Default for Http2 {
    fn default() -> Self {
        Self::new(Wanted::Known)
    }
}

impl Http2 {
    pub(super) fn new(wanted: Wanted) -> Self {
        let keeps_fields = wanted == Wanted::All;
        let half = |preface| Half {
            frame_at: 0,
            at: 0,
            preface,
            greeted: false,
            frames: if keeps_fields { FrameReader::with_windows() } else { FrameReader::default() },
            hpack: Decoder::new(wanted),
            block: None,
        };
        Self {
            keeps_fields,
            halves: PerEnd { client: half(PREFACE), server: half(b"") },
            streams: BTreeMap::new(),
            crowd: BTreeMap::new(),
            last_request: 0,
        }
    }

    pub(super) fn bytes(
        &mut self,
        from: End,
        mut bytes: &[u8],
        transactions: &mut Transactions,
        borders: &mut Teller<'_>,
    ) -> Result<(), Fault> {
        let half = &mut self.halves[from];
        let take = bytes.len().min(half.preface.len());
        if bytes[..take] != half.preface[..take] {
            return Err(Fault { reason: InspectorOff::H2Frame, at: 0 });
        }
        half.preface = &half.preface[take..];
        bytes = &bytes[take..];
        half.at += take as u64;
        loop {
            let (half, before) = (&mut self.halves[from], bytes.len());
            if half.frames.is_between_frames() {
                half.frame_at = half.at;
            }
            let at = half.frame_at;
            let found = half.frames.next(&mut bytes);
            half.at += (before - bytes.len()) as u64;
            let result = match found {
                Ok(Found::Nothing) => return Ok(()),
                Ok(found) => self.found(from, found, transactions, borders),
                Err(reason) => Err(reason),
            };
            result.map_err(|reason| Fault { reason, at })?;
        }
    }

    fn found(
        &mut self,
        from: End,
        found: Found<'_>,
        transactions: &mut Transactions,
        borders: &mut Teller<'_>,
    ) -> Result<(), InspectorOff> {
        match found {
            Found::Nothing => {}
            Found::Begins(header) => self.frame_begins(from, &header, borders)?,
            Found::Padded(header, data) => {
                if self.keeps_fields && borders.data(from, &header.told(), data) == Exchange::CutOff {
                    return self.cut_off(header.stream, transactions);
                }
            }
            Found::DataBegins(header) => self.tell(from, header.stream, What::DataBegins, borders),
            Found::DataEnds(header) => self.tell(from, header.stream, What::DataEnds, borders),
            Found::Data(header, length) => {
                self.tell(from, header.stream, What::FrameEnds, borders);
                if header.has(END_STREAM) {
                    self.tell(from, header.stream, What::MessageEnds, borders);
                }
                return self.data(from, &header, length, transactions);
            }
            Found::Frame(header, payload) if header.is_of_block() => {
                return self.block_frame(from, &header, &payload, transactions, borders);
            }
            Found::Frame(header, payload) => {
                return self.control_frame(from, &header, &payload, transactions, borders);
            }
        }
        Ok(())
    }

    /// The connection ended: everything is reported as it is. There is nobody left to turn off, so the bound on
    /// what waits is not looked at.
    pub(super) fn finish(self, transactions: &mut Transactions) {
        let mut open: Vec<_> = self.streams.into_values().collect();
        open.sort_unstable_by_key(|transaction| transaction.event.tx_id);
        for transaction in open {
            let _ = transactions.close(transaction);
        }
        let mut crowd: Vec<_> = self.crowd.into_values().collect();
        crowd.sort_unstable_by_key(|small| small.tx_id);
        let _ = crowd.into_iter().try_for_each(|small| transactions.report(small.event()));
    }

    /// With its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { keeps_fields: _, halves, streams, crowd, last_request: _ } = self;
        let tables = tree_memory(streams) + tree_memory(crowd);
        size_of::<Self>() + halves.iter().map(Half::memory).sum::<usize>() + tables
    }

    /// Here, which is behind all that has been read.
    fn tell(&self, from: End, stream: u32, what: What, borders: &mut Teller<'_>) {
        let half = &self.halves[from];
        borders.tell(&Border { from, at: half.at, stream, tx_id: None, what });
    }

    /// Nothing comes between the fragments of a header block (RFC 9113, 4.3). SETTINGS should come first (3.4), but nginx does not
    /// ask for it; who inserts frames does, as none may come before it.
    fn frame_begins(
        &mut self,
        from: End,
        header: &FrameHeader,
        borders: &mut Teller<'_>,
    ) -> Result<(), InspectorOff> {
        let half = &mut self.halves[from];
        let (at, stream) = (half.frame_at, header.stream);
        let greets = std::mem::replace(&mut half.greeted, true);
        if self.keeps_fields && !greets && (header.kind != FrameType::Settings || header.has(ACK)) {
            return Err(InspectorOff::H2Frame);
        }
        let what = match (&half.block, header.kind) {
            (Some(block), FrameType::Continuation) if stream == block.to.carrier => return Ok(()),
            (Some(_), _) | (None, FrameType::Continuation) => return Err(InspectorOff::H2Frame),
            (None, FrameType::Data) if stream == 0 => return Err(InspectorOff::H2Frame),
            (None, FrameType::Headers | FrameType::PushPromise) => What::HeadBegins,
            (None, _) => What::FrameBegins,
        };
        borders.tell(&Border { from, at, stream, tx_id: None, what });
        if self.keeps_fields {
            borders.frame_begins(from, &header.told());
        }
        Ok(())
    }

    /// A frame of a header block.
    fn block_frame(
        &mut self,
        from: End,
        header: &FrameHeader,
        payload: &[u8],
        transactions: &mut Transactions,
        borders: &mut Teller<'_>,
    ) -> Result<(), InspectorOff> {
        if header.kind == FrameType::Continuation {
            return self.continuation(from, header, payload, transactions, borders);
        }
        if header.stream == 0 {
            return Err(InspectorOff::H2Frame);
        }
        let mut fragment = without_padding(header, payload)?;
        let (mut promised, whole) = (None, fragment);
        if header.kind == FrameType::PushPromise {
            if from == End::Client {
                return Err(InspectorOff::H2Frame);
            }
            let (stream, rest) = fragment.split_first_chunk().ok_or(InspectorOff::H2Frame)?;
            let stream = u32::from_be_bytes(*stream) & 0x7fff_ffff;
            if stream == 0 {
                return Err(InspectorOff::H2Frame);
            }
            promised = Some(stream);
            fragment = rest;
        } else if header.has(PRIORITY) {
            fragment = fragment.get(5..).ok_or(InspectorOff::H2Frame)?;
        }
        if self.keeps_fields {
            borders.frame(from, &header.told(), &whole[..whole.len() - fragment.len()]);
        }
        let to = Target { carrier: header.stream, promised };
        self.fragment(from, header, to, fragment, transactions, borders)
    }

    /// A frame of no message. One that breaks rules does not end.
    fn control_frame(
        &mut self,
        from: End,
        header: &FrameHeader,
        payload: &[u8],
        transactions: &mut Transactions,
        borders: &mut Teller<'_>,
    ) -> Result<(), InspectorOff> {
        let mut refused = Vec::new();
        match (header.kind, header.stream) {
            (FrameType::Settings, 0) => self.settings(from, header, payload)?,
            (FrameType::GoAway, 0) => refused = self.refused(from, payload)?,
            (FrameType::ResetStream, 1..) | (FrameType::WindowUpdate | FrameType::Other, _) => {}
            _ => return Err(InspectorOff::H2Frame),
        }
        if self.keeps_fields {
            // RFC 9113, 6.4 and 6.9: of another length, they are connection errors.
            if matches!(header.kind, FrameType::ResetStream | FrameType::WindowUpdate) && payload.len() != 4 {
                return Err(InspectorOff::H2Frame);
            }
            borders.frame(from, &header.told(), payload);
        }
        self.tell(from, header.stream, What::FrameEnds, borders);
        let reset = (header.kind == FrameType::ResetStream).then_some(header.stream);
        for stream in reset.into_iter().chain(refused) {
            self.tell(from, stream, What::Reset, borders);
            self.stream_ended(stream, transactions)?;
        }
        Ok(())
    }

    /// The beginning of a header block; all of it, mostly.
    fn fragment(
        &mut self,
        from: End,
        header: &FrameHeader,
        to: Target,
        fragment: &[u8],
        transactions: &mut Transactions,
        borders: &mut Teller<'_>,
    ) -> Result<(), InspectorOff> {
        // In a PUSH_PROMISE the flag means nothing.
        let end_stream = to.promised.is_none() && header.has(END_STREAM);
        if header.has(END_HEADERS) {
            return self.block(from, to, end_stream, fragment, transactions, borders);
        }
        self.halves[from].block = Some(Block { to, end_stream, fragments: fragment.to_vec() });
        Ok(())
    }

    fn continuation(
        &mut self,
        from: End,
        header: &FrameHeader,
        payload: &[u8],
        transactions: &mut Transactions,
        borders: &mut Teller<'_>,
    ) -> Result<(), InspectorOff> {
        let mut block = self.halves[from].block.take().ok_or(InspectorOff::H2Frame)?;
        // Each frame counts as a byte at least, or empty ones could come for ever.
        if block.fragments.len() + payload.len().max(1) > MAX_BLOCK {
            return Err(InspectorOff::HeaderTooBig);
        }
        block.fragments.extend_from_slice(payload);
        if header.has(END_HEADERS) {
            let Block { to, end_stream, fragments } = block;
            return self.block(from, to, end_stream, &fragments, transactions, borders);
        }
        self.halves[from].block = Some(block);
        Ok(())
    }

    /// A complete header block.
    fn block(
        &mut self,
        from: End,
        to: Target,
        end_stream: bool,
        block: &[u8],
        transactions: &mut Transactions,
        borders: &mut Teller<'_>,
    ) -> Result<(), InspectorOff> {
        // Read in any case, for the sake of the compression state.
        let stream = to.promised.unwrap_or(to.carrier);
        let mut event = self.decode(from, stream, block, borders)?;
        let request = match from {
            End::Client => stream > self.last_request,
            End::Server => to.promised.is_some() && self.tx_id(stream).is_none(),
        };
        if request {
            return self.request(from, stream, end_stream, event, transactions, borders);
        }
        // What is left: a response, trailers of either side, or a promise that is repeated.
        let interim = event.status.is_some_and(|status| (100..200).contains(&status));
        let kind = match event.status {
            _ if to.promised.is_some() => HeadKind::Request,
            _ if from == End::Client => HeadKind::Trailers,
            Some(_) if interim => HeadKind::Interim,
            Some(_) => HeadKind::Response,
            // RFC 9113, 8.1: trailers have no pseudo-fields.
            None => HeadKind::Trailers,
        };
        let tx_id = self.tx_id(stream);
        event.tx_id = tx_id.unwrap_or_default();
        let responds = kind == HeadKind::Response;
        let with_request = self.keeps_fields && responds;
        if with_request && let Some(Transaction { event: request, .. }) = self.streams.get_mut(&stream) {
            request.swap_request(&mut event);
            (event.verdict, event.rule) = (request.verdict, request.rule.clone());
            event.shortened = request.shortened;
        }
        self.head_ends(from, stream, kind, tx_id, &mut event, borders);
        if with_request && let Some(Transaction { event: request, .. }) = self.streams.get_mut(&stream) {
            request.swap_request(&mut event);
        }
        if end_stream || to.promised.is_some() {
            self.tell(from, stream, What::MessageEnds, borders);
        }
        let (verdict, rule) = (event.verdict, event.rule.take());
        if responds
            && let Some(transaction) = self.streams.get_mut(&stream)
            && transaction.event.status.is_none()
        {
            transaction.event.status = event.status;
            if !transaction.event.shortened {
                transaction.event.content_type = event.content_type.take();
                let redirects = event.status.is_some_and(|status| (300..400).contains(&status));
                transaction.event.redirect = event.redirect.take_if(|_| redirects);
            }
            transactions.changed(transaction);
        } else if responds && let Some(small) = self.crowd.get_mut(&stream) {
            small.status = small.status.or(event.status);
        }
        if verdict.is_some()
            && let Some(transaction) = self.streams.get_mut(&stream)
        {
            (transaction.event.verdict, transaction.event.rule) = (verdict, rule);
            event.ambiguous.iter().for_each(|what| transaction.event.ambiguous.insert(what));
        }
        event.give_back();
        let is_over = verdict == Some(ContentVerdict::Blocked) || end_stream && from == End::Server;
        if is_over { self.stream_ended(stream, transactions) } else { Ok(()) }
    }

    /// A request, or the promise of one.
    fn request(
        &mut self,
        from: End,
        stream: u32,
        end_stream: bool,
        mut event: Box<HttpEvent>,
        transactions: &mut Transactions,
        borders: &mut Teller<'_>,
    ) -> Result<(), InspectorOff> {
        // RFC 9113, 5.1.1: a client's streams are odd, a server's even.
        if (stream % 2 == 1) != (from == End::Client) {
            return Err(InspectorOff::H2Frame);
        }
        if from == End::Client {
            self.last_request = stream;
        }
        event.tx_id = transactions.number();
        let crowded = transactions.is_full();
        if crowded && self.crowd.len() >= MAX_CROWD {
            return Err(InspectorOff::TooManyOpen);
        }
        self.head_ends(from, stream, HeadKind::Request, Some(event.tx_id), &mut event, borders);
        // RFC 9113, 8.4: a request that is promised has no content.
        if end_stream || from == End::Server {
            self.tell(from, stream, What::MessageEnds, borders);
        }
        if event.verdict == Some(ContentVerdict::Blocked) {
            // It is over before it has begun.
            let transaction = transactions.open(event);
            return transactions.close(transaction);
        }
        if crowded {
            self.crowd.insert(stream, Small { tx_id: event.tx_id, length: 0, status: None });
            return Ok(());
        }
        if from == End::Client {
            // A request's own content type and the like are not what the log means by these.
            (event.content_type, event.redirect, event.status) = (None, None, None);
        }
        self.streams.insert(stream, transactions.open(event));
        Ok(())
    }

    fn head_ends(
        &self,
        from: End,
        stream: u32,
        kind: HeadKind,
        tx_id: Option<u64>,
        head: &mut HttpEvent,
        borders: &mut Teller<'_>,
    ) {
        let half = &self.halves[from];
        let border = Border { from, at: half.at, stream, tx_id, what: What::HeadEnds(kind) };
        borders.head_ends(&border, head);
    }

    /// The fields of a header block that the log asks for.
    fn decode(
        &mut self,
        from: End,
        stream: u32,
        block: &[u8],
        borders: &mut Teller<'_>,
    ) -> Result<Box<HttpEvent>, InspectorOff> {
        let mut event = HttpEvent::begin("HTTP/2");
        let (mut host, keeps_fields) = (None, self.keeps_fields);
        let result = self.halves[from].hpack.decode(block, |known, field| {
            let value = field.value;
            match known {
                Known::Authority => event.hostname = Some(hostname(value)),
                Known::Host => host = Some(hostname(value)),
                Known::Method => event.method = Some(clip(value, MAX_METHOD)),
                Known::Path => event.url = Some(clip(value, MAX_URL)),
                Known::UserAgent => event.user_agent = Some(clip(value, MAX_TEXT)),
                Known::Referer => event.referer = Some(clip(value, MAX_URL)),
                Known::ContentType => event.content_type = Some(clip(value, MAX_TEXT)),
                Known::Location => event.redirect = Some(clip(value, MAX_URL)),
                Known::Status => {
                    event.status = std::str::from_utf8(value).ok().and_then(|code| code.parse().ok());
                }
                Known::Other => {}
            }
            if keeps_fields {
                borders.field(from, stream, field);
            }
        });
        result.map_err(|error| match error {
            HpackError::Invalid => InspectorOff::H2Compression,
            HpackError::TableTooBig => InspectorOff::H2TableSize,
            HpackError::BlockTooBig => InspectorOff::HeaderTooBig,
        })?;
        // RFC 9113, 8.3.1: the pseudo-field wins.
        event.hostname = event.hostname.take().or(host);
        Ok(event)
    }

    fn data(
        &mut self,
        from: End,
        header: &FrameHeader,
        length: u32,
        transactions: &mut Transactions,
    ) -> Result<(), InspectorOff> {
        if from == End::Client {
            return Ok(());
        }
        if let Some(transaction) = self.streams.get_mut(&header.stream) {
            transaction.event.length += u64::from(length);
        } else if let Some(small) = self.crowd.get_mut(&header.stream) {
            small.length += u64::from(length);
        }
        if header.has(END_STREAM) { self.stream_ended(header.stream, transactions) } else { Ok(()) }
    }

    /// An exchange that is open on a stream, if one is.
    pub(super) fn exchange(&self, stream: u32) -> Option<&HttpEvent> {
        self.streams.get(&stream).map(|transaction| &*transaction.event)
    }

    /// Rules end an exchange in the middle.
    pub(super) fn cut_off(
        &mut self,
        stream: u32,
        transactions: &mut Transactions,
    ) -> Result<(), InspectorOff> {
        if let Some(transaction) = self.streams.get_mut(&stream) {
            transaction.event.verdict = Some(ContentVerdict::Blocked);
        }
        self.stream_ended(stream, transactions)
    }

    /// The exchange that is open on a stream.
    fn tx_id(&self, stream: u32) -> Option<u64> {
        let whole = self.streams.get(&stream).map(|transaction| transaction.event.tx_id);
        whole.or_else(|| self.crowd.get(&stream).map(|small| small.tx_id))
    }

    fn stream_ended(&mut self, stream: u32, transactions: &mut Transactions) -> Result<(), InspectorOff> {
        let result = if let Some(transaction) = self.streams.remove(&stream) {
            transactions.close(transaction)
        } else if let Some(small) = self.crowd.remove(&stream) {
            transactions.report(small.event())
        } else {
            return Ok(());
        };
        // An idle connection holds no tables.
        if self.crowd.is_empty() {
            self.crowd = BTreeMap::new();
        }
        if self.streams.is_empty() {
            self.streams = BTreeMap::new();
        }
        result
    }

    /// RFC 9113, 6.5.
    fn settings(&mut self, from: End, header: &FrameHeader, payload: &[u8]) -> Result<(), InspectorOff> {
        let (settings, []) = payload.as_chunks::<6>() else { return Err(InspectorOff::H2Frame) };
        if header.has(ACK) {
            return Ok(());
        }
        for &[id0, id1, v0, v1, v2, v3] in settings {
            if u16::from_be_bytes([id0, id1]) == SETTINGS_HEADER_TABLE_SIZE {
                // Who announces a table decodes with it, so it binds what the other end encodes.
                self.halves[from.other()].hpack.allow_table(u32::from_be_bytes([v0, v1, v2, v3]));
            }
        }
        Ok(())
    }

    /// RFC 9113, 6.8: streams beyond the last one were not and will not be processed.
    fn refused(&self, from: End, payload: &[u8]) -> Result<Vec<u32>, InspectorOff> {
        let Some((last, _)) = payload.split_first_chunk() else { return Err(InspectorOff::H2Frame) };
        let last = u32::from_be_bytes(*last) & 0x7fff_ffff;
        // The other end's streams: a client's are odd.
        let parity = u32::from(from == End::Server);
        let streams = self.streams.keys().chain(self.crowd.keys()).copied();
        let mut refused: Vec<_> = streams.filter(|stream| *stream > last && stream % 2 == parity).collect();
        refused.sort_unstable();
        Ok(refused)
    }
}
