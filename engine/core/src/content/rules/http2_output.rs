//! What waits to be inserted: for a place between two frames, and data also for windows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Buf as _, Bytes, BytesMut};

use super::http2_encoder::{field, size_update};
use super::http2_streams::Streams;
use super::http2_windows::Windows;
use super::http2_writer::{
    Carrier, ErrorCode, MAX_PAYLOAD, data, goaway, header_block, rst_stream, window_update,
};
use crate::fields::{Field, Fields};
use crate::tree_memory::tree_memory;

/// Frames for one end that need no window.
#[derive(Default)]
pub(super) struct Outbox {
    frames: Vec<u8>,
    /// To be credited to it: octets that it has sent and that were swallowed.
    connection: u32,
    streams: BTreeMap<u32, u32>,
}

impl Outbox {
    pub(super) fn reset(&mut self, stream: u32) {
        self.streams.remove(&stream);
        rst_stream(&mut self.frames, stream, ErrorCode::Cancel);
    }

    pub(super) fn goaway(&mut self, last: u32) {
        goaway(&mut self.frames, last, ErrorCode::EnhanceYourCalm);
    }

    pub(super) fn credit_connection(&mut self, octets: u32) {
        self.connection = self.connection.saturating_add(octets);
    }

    pub(super) fn credit_stream(&mut self, stream: u32, octets: u32) {
        let credit = self.streams.entry(stream).or_default();
        *credit = credit.saturating_add(octets);
    }

    /// The stream needs no credit any more.
    pub(super) fn forget(&mut self, stream: u32) {
        self.streams.remove(&stream);
    }

    pub(super) fn write(&mut self, out: &mut Vec<u8>) {
        out.append(&mut std::mem::take(&mut self.frames));
        window_update(out, 0, std::mem::take(&mut self.connection));
        for (stream, octets) in std::mem::take(&mut self.streams) {
            window_update(out, stream, octets);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.connection == 0 && self.streams.is_empty()
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.frames.len() + self.streams.len() * size_of::<(u32, u32)>()
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { frames, connection: _, streams } = self;
        // A tree's nodes are half full at least.
        frames.capacity() + streams.len() * 2 * size_of::<(u32, u32)>()
    }
}

/// How header blocks of one direction are encoded.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Encoding {
    /// A block was left out or changed: from there on the receiver's table is not what the sender thinks it is, so no block goes on as
    /// it is.
    pub(super) has_diverged: bool,
    /// The receiver is still to empty its table.
    resets: bool,
}

impl Encoding {
    pub(super) fn diverge(&mut self) {
        self.resets |= !self.has_diverged;
        self.has_diverged = true;
    }

    /// Empties the table, once.
    pub(super) fn begin_block(&mut self, block: &mut Vec<u8>) {
        if std::mem::take(&mut self.resets) {
            size_update(block, 0);
        }
    }

    /// A whole block.
    pub(super) fn encode(&mut self, fields: &Fields) -> Vec<u8> {
        let mut block = Vec::with_capacity(fields.bytes() + 4 * fields.len() + 1);
        self.begin_block(&mut block);
        fields.iter().for_each(|each| field(&mut block, each));
        block
    }
}

/// What waits for the client, in order within each stream.
#[derive(Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    /// Something can have changed about what may go.
    is_due: bool,
    /// How many of them each stream has.
    counts: BTreeMap<u32, usize>,
    /// Streams of which nothing goes, or no more than so many octets.
    holds: BTreeMap<u32, u64>,
}

struct Item {
    stream: u32,
    what: Waiting,
    end_stream: bool,
}

enum Waiting {
    /// A header block that touches no table.
    Head(Vec<u8>),
    /// Data of an answer.
    Inserted(Bytes),
    /// Data of the server's.
    Held(BytesMut),
    /// A whole frame of the server's.
    Frame(Vec<u8>),
}

impl Waiting {
    fn len(&self) -> usize {
        match self {
            Self::Head(bytes) | Self::Frame(bytes) => bytes.len(),
            Self::Inserted(bytes) => bytes.len(),
            Self::Held(bytes) => bytes.len(),
        }
    }
}

impl Queue {
    fn push(&mut self, stream: u32, what: Waiting, end_stream: bool) {
        self.bytes += what.len();
        self.items.push_back(Item { stream, what, end_stream });
        *self.counts.entry(stream).or_default() += 1;
        // Of what is held and may not go, nothing goes by looking again.
        self.is_due |= self.holds.get(&stream) != Some(&0);
    }

    /// A response of ours.
    pub(super) fn push_answer(&mut self, stream: u32, fields: &[(&str, &str)], body: Bytes) {
        let mut block = Vec::new();
        for (name, value) in fields {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            field(&mut block, Field { name, value, never_indexed: false });
        }
        self.push(stream, Waiting::Head(block), body.is_empty());
        if !body.is_empty() {
            self.push(stream, Waiting::Inserted(body), true);
        }
    }

    /// A header block of the server's, behind what is held of the stream.
    pub(super) fn push_head(&mut self, stream: u32, fields: &Fields, end_stream: bool) {
        self.push(stream, Waiting::Head(Encoding::default().encode(fields)), end_stream);
    }

    pub(super) fn push_held(&mut self, stream: u32, octets: &[u8]) {
        // It may come octet by octet.
        if let Some(Item { stream: last, what: Waiting::Held(held), end_stream: false }) =
            self.items.back_mut()
            && *last == stream
        {
            held.extend_from_slice(octets);
            self.bytes += octets.len();
            return;
        }
        self.push(stream, Waiting::Held(BytesMut::from(octets)), false);
    }

    /// The server's data of a stream ends, behind what is held of it.
    pub(super) fn push_end(&mut self, stream: u32) {
        self.push(stream, Waiting::Held(BytesMut::new()), true);
    }

    pub(super) fn push_frame(&mut self, stream: u32, frame: Vec<u8>) {
        self.push(stream, Waiting::Frame(frame), false);
    }

    /// Something of this stream waits.
    pub(super) fn has(&self, stream: u32) -> bool {
        self.counts.contains_key(&stream)
    }

    /// What waits of a stream goes nowhere. Returns the octets of the server's among it.
    pub(super) fn discard(&mut self, stream: u32) -> usize {
        self.holds.remove(&stream);
        if self.counts.remove(&stream).is_none() {
            return 0;
        }
        let (mut held, bytes) = (0, &mut self.bytes);
        self.items.retain(|item| {
            let stays = item.stream != stream;
            if !stays {
                *bytes -= item.what.len();
                held += if let Waiting::Held(octets) = &item.what { octets.len() } else { 0 };
            }
            stays
        });
        held
    }

    /// Nothing of this stream goes, until it is [released](Self::release).
    pub(super) fn hold(&mut self, stream: u32) {
        self.holds.insert(stream, 0);
    }

    /// So many more octets of a stream that is held may go, with the head before them.
    pub(super) fn allow(&mut self, stream: u32, octets: u64) {
        if octets > 0
            && let Some(may_go) = self.holds.get_mut(&stream)
        {
            *may_go += octets;
            self.wake();
        }
    }

    /// What waits of a stream may go.
    pub(super) fn release(&mut self, stream: u32) {
        self.holds.remove(&stream);
        self.wake();
    }

    /// Nothing of this stream goes.
    pub(super) fn is_held(&self, stream: u32) -> bool {
        self.holds.contains_key(&stream)
    }

    /// Those of which nothing goes.
    pub(super) fn held_streams(&self) -> Vec<u32> {
        self.holds.keys().copied().collect()
    }

    /// Windows have changed.
    pub(super) fn wake(&mut self) {
        self.is_due = !self.items.is_empty();
    }

    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// All that may go.
    pub(super) fn write(
        &mut self,
        out: &mut Vec<u8>,
        windows: &mut Windows,
        streams: &mut Streams,
        encoding: &mut Encoding,
    ) {
        self.is_due = false;
        // Streams of which something stays, so that what follows does, too.
        let held = self.holds.iter().filter(|(_, may_go)| **may_go == 0);
        let mut stalled: BTreeSet<u32> = held.map(|(stream, _)| *stream).collect();
        let mut stays = VecDeque::new();
        for mut item in std::mem::take(&mut self.items) {
            if !stalled.contains(&item.stream) {
                let before = item.what.len();
                let may_go = self.holds.get_mut(&item.stream);
                let gone = write_item(out, &mut item, may_go, windows, streams, encoding);
                self.bytes -= before - if gone { 0 } else { item.what.len() };
                if gone {
                    if let Some(count) = self.counts.get_mut(&item.stream) {
                        *count -= 1;
                        if *count == 0 {
                            self.counts.remove(&item.stream);
                        }
                    }
                    continue;
                }
                stalled.insert(item.stream);
            }
            stays.push_back(item);
        }
        self.items = stays;
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { items, bytes, is_due: _, counts, holds } = self;
        items.capacity() * size_of::<Item>() + bytes + tree_memory(counts) + tree_memory(holds)
    }
}

/// Writes as much of an item as may go; true: all of it. `may_go`: octets of a stream that is held.
fn write_item(
    out: &mut Vec<u8>,
    item: &mut Item,
    mut may_go: Option<&mut u64>,
    windows: &mut Windows,
    streams: &mut Streams,
    encoding: &mut Encoding,
) -> bool {
    let Item { stream, what, end_stream } = item;
    match what {
        Waiting::Frame(frame) => out.append(frame),
        // Trailers: the end waits for the verdict.
        Waiting::Head(_) if may_go.is_some() && *end_stream => return false,
        Waiting::Head(fields) => {
            let mut block = Vec::new();
            encoding.begin_block(&mut block);
            // RFC 7541, 4.2. In a table that is empty and stays so, there is nothing to shrink.
            if let Some(size) = windows.take_shrunk_table()
                && !encoding.has_diverged
            {
                size_update(&mut block, size);
            }
            block.append(fields);
            let carrier = Carrier::Headers { end_stream: *end_stream, priority: None };
            header_block(out, *stream, carrier, &block);
        }
        Waiting::Held(octets) => {
            while !octets.is_empty() {
                let allowed = may_go
                    .as_deref()
                    .map_or(usize::MAX, |may_go| usize::try_from(*may_go).unwrap_or(usize::MAX));
                let len = octets.len().min(MAX_PAYLOAD).min(windows.available()).min(allowed);
                if len == 0 {
                    return false;
                }
                data(out, *stream, &octets[..len], false);
                windows.released(len);
                octets.advance(len);
                if let Some(may_go) = &mut may_go {
                    **may_go -= len as u64;
                }
            }
            // Its end waits for the verdict, and so does what may still come before that.
            if may_go.is_some() && *end_stream {
                return false;
            }
            if *end_stream {
                data(out, *stream, b"", true);
            }
        }
        Waiting::Inserted(octets) => {
            while !octets.is_empty() {
                let Some(entry) = streams.get_mut(*stream) else { return true };
                let window = usize::try_from(windows.initial() + entry.credit).unwrap_or(0);
                let len = octets.len().min(MAX_PAYLOAD).min(windows.available()).min(window);
                if len == 0 {
                    return false;
                }
                data(out, *stream, &octets[..len], len == octets.len());
                windows.inserted(len);
                entry.credit -= len as i64;
                octets.advance(len);
            }
        }
    }
    if *end_stream
        && let Some(entry) = streams.get_mut(*stream)
        && entry.is_blocked
    {
        entry.ended.server = true;
        if entry.ended.client {
            streams.remove(*stream);
        }
    }
    true
}
