//! HTTP/2 frames (RFC 9113, 4 and 6), cut out of a stream that comes in any pieces.

use std::borrow::Cow;

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
    /// PRIORITY, PING, WINDOW_UPDATE, and types that may yet be invented: nothing in them is for the log.
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
            flags,
            // The reserved bit is to be ignored.
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
            length: u32::from_be_bytes([0, l0, l1, l2]),
        }
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// What the reader found in the next bytes.
pub(super) enum Found<'a> {
    /// The input is used up.
    Nothing,
    /// A whole frame; its payload, unless it is DATA or of a type that is skipped.
    Frame(FrameHeader, Cow<'a, [u8]>),
    /// A DATA frame ended; so many bytes of it were data.
    Data(FrameHeader, u32),
}

/// Cuts one direction's stream into frames.
#[derive(Default)]
pub(super) struct FrameReader {
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
    /// The pad length of a DATA frame, once its first byte was seen.
    padding: Option<u8>,
}

impl FrameReader {
    /// Takes bytes off the front of `input` up to the end of a frame.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Found<'a>, InspectorOff> {
        let Some(mut frame) = self.frame.take().or_else(|| self.begin(input)) else {
            return Ok(Found::Nothing);
        };
        let take = input.len().min(frame.left as usize);
        let whole = take == frame.left as usize;
        match frame.header.kind {
            FrameType::Data | FrameType::Other => {
                if frame.padding.is_none() && take > 0 {
                    frame.padding = Some(input[0]);
                }
                *input = &input[take..];
                frame.left -= take as u32;
                if !whole {
                    self.frame = Some(frame);
                    return Ok(Found::Nothing);
                }
                if frame.header.kind == FrameType::Other {
                    return Ok(Found::Frame(frame.header, Cow::Borrowed(&[])));
                }
                Ok(Found::Data(frame.header, data_length(&frame)?))
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
        let Self { header: _, header_len: _, frame: _, held } = self;
        held.capacity()
    }

    fn begin(&mut self, input: &mut &[u8]) -> Option<Partial> {
        let take = input.len().min(HEADER - self.header_len);
        self.header[self.header_len..self.header_len + take].copy_from_slice(&input[..take]);
        self.header_len += take;
        *input = &input[take..];
        if self.header_len < HEADER {
            return None;
        }
        self.header_len = 0;
        let header = FrameHeader::parse(self.header);
        Some(Partial { header, left: header.length, padding: None })
    }
}

/// RFC 9113, 6.1: the pad length and the padding are no data, and must fit into the frame.
fn data_length(frame: &Partial) -> Result<u32, InspectorOff> {
    if !frame.header.has(PADDED) {
        return Ok(frame.header.length);
    }
    let padding = u32::from(frame.padding.ok_or(InspectorOff::H2Frame)?);
    frame.header.length.checked_sub(1 + padding).ok_or(InspectorOff::H2Frame)
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
