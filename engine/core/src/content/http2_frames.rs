//! HTTP/2 frames (RFC 9113, 4 and 6), cut out of a stream that comes in any pieces.

use std::borrow::Cow;

use super::border::FrameHead;
use super::http2::MAX_BLOCK;
use crate::reason::InspectorOff;

const HEADER: usize = 9;
/// Longest frame that is held as a whole. Data and what is skipped may be longer.
const MAX_HELD: usize = MAX_BLOCK;

/// Frame types that are looked at (RFC 9113, 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameType {
    Data,
    Headers,
    ResetStream,
    Settings,
    PushPromise,
    GoAway,
    Continuation,
    WindowUpdate,
    /// PRIORITY, PING, and types that may yet be invented: nothing in them is looked at.
    Other,
}

impl FrameType {
    fn of(code: u8) -> Self {
        match code {
            0 => Self::Data,
            1 => Self::Headers,
            3 => Self::ResetStream,
            4 => Self::Settings,
            5 => Self::PushPromise,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            _ => Self::Other,
        }
    }
}

/// END_STREAM of DATA and HEADERS.
pub(super) const END_STREAM: u8 = 0x1;
/// ACK of SETTINGS.
pub(super) const ACK: u8 = 0x1;
/// END_HEADERS of HEADERS, PUSH_PROMISE and CONTINUATION.
pub(super) const END_HEADERS: u8 = 0x4;
/// PADDED of DATA, HEADERS and PUSH_PROMISE.
pub(super) const PADDED: u8 = 0x8;
/// PRIORITY of HEADERS.
pub(super) const PRIORITY: u8 = 0x20;

/// A frame's header.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameHeader {
    pub(super) kind: FrameType,
    /// The type's number.
    pub(super) code: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// Of the payload.
    length: u32,
}

impl FrameHeader {
    fn parse(bytes: [u8; HEADER]) -> Self {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = bytes;
        Self {
            kind: FrameType::of(kind),
            code: kind,
            flags,
            // The reserved bit is to be ignored.
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
            length: u32::from_be_bytes([0, l0, l1, l2]),
        }
    }

    pub(super) fn told(&self) -> FrameHead {
        let Self { kind: _, code, flags, stream, length } = *self;
        FrameHead { stream, kind: code, flags, length }
    }

    /// A header block begins with it or goes on in it (RFC 9113, 4.3).
    pub(super) fn is_of_block(&self) -> bool {
        matches!(self.kind, FrameType::Headers | FrameType::PushPromise | FrameType::Continuation)
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// What the reader found in the next bytes.
pub(super) enum Found<'a> {
    /// The input is used up.
    Nothing,
    /// A frame's header is complete.
    Begins(FrameHeader),
    /// A whole frame; its payload, unless it is of a type that is skipped.
    Frame(FrameHeader, Cow<'a, [u8]>),
    /// How much of a DATA frame is data is known.
    Padded(FrameHeader, u32),
    /// The data of a DATA frame, if there is any, begins.
    DataBegins(FrameHeader),
    /// It ends.
    DataEnds(FrameHeader),
    /// A DATA frame ended; so many bytes of it were data.
    Data(FrameHeader, u32),
}

/// Cuts one direction's stream into frames.
#[derive(Default)]
pub(super) struct FrameReader {
    /// WINDOW_UPDATE is looked into, too.
    with_windows: bool,
    header: [u8; HEADER],
    header_len: usize,
    frame: Option<Partial>,
    /// The payload of a frame that came in pieces.
    held: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Partial {
    header: FrameHeader,
    left: u32,
    /// The padding of a DATA frame, once it is known.
    padding: Option<u32>,
    /// That its data begins, if there is any, has been told.
    begun: bool,
}

impl FrameReader {
    /// One that looks into WINDOW_UPDATE, too.
    pub(super) fn with_windows() -> Self {
        Self { with_windows: true, ..Self::default() }
    }

    fn looks_into(&self, kind: FrameType) -> bool {
        kind == FrameType::WindowUpdate && self.with_windows
    }

    /// Takes bytes off the front of `input` up to the next thing to be told.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Found<'a>, InspectorOff> {
        let Some(mut frame) = self.frame.take() else { return Ok(self.begin(input)) };
        let take = input.len().min(frame.left as usize);
        let whole = take == frame.left as usize;
        match frame.header.kind {
            FrameType::Data => self.data(frame, input),
            FrameType::Other | FrameType::WindowUpdate if !self.looks_into(frame.header.kind) => {
                *input = &input[take..];
                frame.left -= take as u32;
                if !whole {
                    self.frame = Some(frame);
                    return Ok(Found::Nothing);
                }
                Ok(Found::Frame(frame.header, Cow::Borrowed(&[])))
            }
            _ if frame.header.length as usize > MAX_HELD => Err(InspectorOff::HeaderTooBig),
            _ => {
                let (payload, rest) = input.split_at(take);
                *input = rest;
                if whole && self.held.is_empty() {
                    return Ok(Found::Frame(frame.header, Cow::Borrowed(payload)));
                }
                self.held.extend_from_slice(payload);
                frame.left -= take as u32;
                if !whole {
                    self.frame = Some(frame);
                    return Ok(Found::Nothing);
                }
                Ok(Found::Frame(frame.header, Cow::Owned(std::mem::take(&mut self.held))))
            }
        }
    }

    /// A frame begins with the next byte.
    pub(super) fn is_between_frames(&self) -> bool {
        self.header_len == 0 && self.frame.is_none()
    }

    pub(super) fn memory(&self) -> usize {
        let Self { with_windows: _, header: _, header_len: _, frame: _, held } = self;
        held.capacity()
    }

    fn begin(&mut self, input: &mut &[u8]) -> Found<'static> {
        let take = input.len().min(HEADER - self.header_len);
        self.header[self.header_len..self.header_len + take].copy_from_slice(&input[..take]);
        self.header_len += take;
        *input = &input[take..];
        if self.header_len < HEADER {
            return Found::Nothing;
        }
        self.header_len = 0;
        let header = FrameHeader::parse(self.header);
        self.frame = Some(Partial { header, left: header.length, padding: None, begun: false });
        Found::Begins(header)
    }

    /// RFC 9113, 6.1: the pad length and the padding are no data, and must fit into the frame.
    fn data(&mut self, mut frame: Partial, input: &mut &[u8]) -> Result<Found<'static>, InspectorOff> {
        let header = frame.header;
        let is_news = frame.padding.is_none();
        let padding = match frame.padding {
            Some(padding) => padding,
            None if !header.has(PADDED) => 0,
            None if header.length == 0 => return Err(InspectorOff::H2Frame),
            None => {
                let Some((&padding, rest)) = input.split_first() else {
                    self.frame = Some(frame);
                    return Ok(Found::Nothing);
                };
                *input = rest;
                frame.left -= 1;
                u32::from(padding)
            }
        };
        frame.padding = Some(padding);
        let data = frame.left.checked_sub(padding);
        if is_news {
            let data = data.ok_or(InspectorOff::H2Frame)?;
            self.frame = Some(frame);
            return Ok(Found::Padded(header, data));
        }
        if !frame.begun && data > Some(0) {
            frame.begun = true;
            self.frame = Some(frame);
            return Ok(Found::DataBegins(header));
        }
        // Behind the data, the padding is left.
        let data = data.unwrap_or(0);
        let part = if data > 0 { data } else { frame.left };
        let take = input.len().min(part as usize);
        *input = &input[take..];
        frame.left -= take as u32;
        if frame.left == 0 && data == 0 {
            let beside = if header.has(PADDED) { 1 + padding } else { 0 };
            return Ok(Found::Data(header, header.length - beside));
        }
        self.frame = Some(frame);
        Ok(if data > 0 && take as u32 == data { Found::DataEnds(header) } else { Found::Nothing })
    }
}

/// The part of a HEADERS or PUSH_PROMISE payload between pad length and padding (RFC 9113, 6.2).
pub(super) fn without_padding<'a>(header: &FrameHeader, payload: &'a [u8]) -> Result<&'a [u8], InspectorOff> {
    if !header.has(PADDED) {
        return Ok(payload);
    }
    let (&padding, rest) = payload.split_first().ok_or(InspectorOff::H2Frame)?;
    let length = rest.len().checked_sub(usize::from(padding)).ok_or(InspectorOff::H2Frame)?;
    Ok(&rest[..length])
}
