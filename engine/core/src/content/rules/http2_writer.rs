//! HTTP/2 frames (RFC 9113, 4 and 6) of our own.

use crate::content::http2_frames::{END_HEADERS, END_STREAM, PRIORITY};

/// Frame types.
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY_FRAME: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// RFC 7838, 4.
pub(super) const ALTSVC: u8 = 10;

/// A payload that everybody takes (RFC 9113, 6.5.2: SETTINGS_MAX_FRAME_SIZE is never less).
pub(super) const MAX_PAYLOAD: usize = 16_384;

/// Error codes (RFC 9113, 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorCode {
    /// To a client: browsers and gRPC do not try again, as they do after REFUSED_STREAM (RFC 9113, 8.7), nor do they give up the
    /// connection. To a server: what it still does for the stream is of no use.
    Cancel = 0x8,
    EnhanceYourCalm = 0xb,
}

/// What a header block belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// HEADERS, with these priority fields.
    Headers { end_stream: bool, priority: Option<[u8; 5]> },
    /// PUSH_PROMISE of this stream.
    PushPromise(u32),
}

/// Appends any frame.
pub(super) fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

pub(super) fn rst_stream(out: &mut Vec<u8>, stream: u32, code: ErrorCode) {
    frame(out, RST_STREAM, 0, stream, &(code as u32).to_be_bytes());
}

/// Nothing, if there is nothing to credit: a frame that says 0 is an error (RFC 9113, 6.9).
pub(super) fn window_update(out: &mut Vec<u8>, stream: u32, octets: u32) {
    if octets > 0 {
        frame(out, WINDOW_UPDATE, 0, stream, &octets.to_be_bytes());
    }
}

pub(super) fn goaway(out: &mut Vec<u8>, last: u32, code: ErrorCode) {
    let mut payload = [0; 8];
    payload[..4].copy_from_slice(&last.to_be_bytes());
    payload[4..].copy_from_slice(&(code as u32).to_be_bytes());
    frame(out, GOAWAY, 0, 0, &payload);
}

pub(super) fn data(out: &mut Vec<u8>, stream: u32, data: &[u8], end_stream: bool) {
    frame(out, DATA, if end_stream { END_STREAM } else { 0 }, stream, data);
}

/// A header block in as many frames as it takes.
pub(super) fn header_block(out: &mut Vec<u8>, stream: u32, carrier: Carrier, block: &[u8]) {
    let (kind, mut flags, mut payload) = match carrier {
        Carrier::Headers { end_stream, priority } => {
            let flag = |flag, is_set| if is_set { flag } else { 0 };
            let flags = flag(END_STREAM, end_stream) | flag(PRIORITY, priority.is_some());
            (HEADERS, flags, priority.map_or(Vec::new(), |priority| priority.to_vec()))
        }
        Carrier::PushPromise(promised) => (PUSH_PROMISE, 0, promised.to_be_bytes().to_vec()),
    };
    let (first, rest) = block.split_at(block.len().min(MAX_PAYLOAD - payload.len()));
    payload.extend_from_slice(first);
    let mut rest = rest.chunks(MAX_PAYLOAD).peekable();
    let end = |is_last: bool| if is_last { END_HEADERS } else { 0 };
    flags |= end(rest.peek().is_none());
    frame(out, kind, flags, stream, &payload);
    while let Some(fragment) = rest.next() {
        frame(out, CONTINUATION, end(rest.peek().is_none()), stream, fragment);
    }
}
