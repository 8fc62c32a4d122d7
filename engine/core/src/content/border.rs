//! Borders of messages: where, in each direction's plaintext, the HTTP reader sees them begin and end.
//!
//! In each direction the borders come in the order of the bytes. HTTP/1:
//! ```text
//! message:    HeadBegins HeadEnds(Request | Response)  (DataBegins DataEnds)*  MessageEnds
//! 1xx:        HeadBegins HeadEnds(Interim)
//! HTTP/0.9:   the response is DataBegins DataEnds MessageEnds
//! no message: HeadBegins NoMessage; or NoMessage within a chunked body
//! ```
//! HTTP/2: after the client's preface each direction is a row of frames and header blocks without gaps. Messages of many streams mix.
//! ```text
//! header block: HeadBegins HeadEnds               MessageEnds?
//! DATA:         FrameBegins (DataBegins DataEnds)? FrameEnds MessageEnds?
//! other frames: FrameBegins FrameEnds              Reset*
//! ```
//! `Off` may come anywhere, once for each direction, and is the last.

use crate::end::{End, PerEnd};
use crate::event::HttpEvent;
use crate::fields::Field;
use crate::reason::InspectorOff;

/// A place between two bytes of a direction's plaintext, and what it divides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Border {
    /// Whose plaintext.
    pub from: End,
    /// The bytes before it, counted from the start of that plaintext.
    pub at: u64,
    /// The stream of HTTP/2; 0 is the connection itself, and all of HTTP/1.
    pub stream: u32,
    /// The exchange, as `http` events number them. HTTP/1: from `HeadEnds` to the end of the message; HTTP/2: with `HeadEnds` only, as later on
    /// the stream says whose it is. None there: an exchange that is over, or that nobody asked for.
    pub tx_id: Option<u64>,
    /// What begins or ends here.
    pub what: What,
}

/// What begins or ends at a border.
///
/// All but what begins is told in the call that brings the last byte before it. So is what begins, but for two things: the header of a
/// frame (RFC 9113, 4.1) must be complete before its frame begins, and without ALPN the client's first bytes must show the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The first byte of what may be a head. HTTP/1: of a start line (RFC 9112, 2.1), without empty lines before it (2.2). HTTP/2: of the
    /// HEADERS or PUSH_PROMISE frame that begins a header block (RFC 9113, 4.3).
    HeadBegins,
    /// After the empty line (RFC 9112, 2.1), or after the frame with END_HEADERS (RFC 9113, 6.2). The stream is the one that the
    /// head is for: of a PUSH_PROMISE, the promised one (6.6).
    HeadEnds(HeadKind),
    /// Content begins: the body, the data of a chunk (RFC 9112, 7.1), the data of a DATA frame without padding (RFC 9113, 6.1). An
    /// empty chunk or frame has none.
    DataBegins,
    /// Content ends; more of it may follow.
    DataEnds,
    /// The message is complete: after its body with last chunk and trailers (RFC 9112, 6.3 and 7.1.2), the frame or header block with
    /// END_STREAM (RFC 9113, 8.1), or the promise of a request, which has no content (8.4).
    MessageEnds,
    /// The first byte of an HTTP/2 frame that carries no header block.
    FrameBegins,
    /// After such a frame.
    FrameEnds,
    /// The stream is over in both directions: after the RST_STREAM (RFC 9113, 6.4), or the GOAWAY that excludes it (6.8).
    Reset,
    /// No HTTP/1 message goes on or begins here, though it seemed so; a line that begins one may follow. It takes a `HeadBegins` back,
    /// at the same place, or ends a message whose chunks are broken.
    NoMessage,
    /// From here on nothing is read. Both directions are told; `Opaque` is the tunnel after 101 or CONNECT (RFC 9110, 15.2.2 and 9.3.6).
    Off(InspectorOff),
}

/// What a head belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadKind {
    /// A request, also one that a server promises (RFC 9113, 8.4).
    Request,
    /// A 1xx response: another head follows (RFC 9110, 15.2). Also a 101 that the client did not ask for.
    Interim,
    /// The response.
    Response,
    /// Fields after the body, of HTTP/2 (RFC 9113, 8.1). HTTP/1's are the end of a chunked body.
    Trailers,
}

/// The header of an HTTP/2 frame (RFC 9113, 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Its stream.
    pub stream: u32,
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Bytes of its payload.
    pub length: u32,
}

/// What becomes of an exchange whose content passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// It goes on.
    GoesOn,
    /// Rules end it here.
    CutOff,
}

/// Is told borders while the plaintext is read.
pub trait Borders {
    /// At `HeadEnds`, `head` has the fields of this head alone: of a request, the content type is its own. A reader that keeps all fields
    /// adds to a response what is known of its request. A verdict that is noted in it goes to the log with the transaction.
    fn border(&mut self, border: &Border, head: Option<&mut HttpEvent>);

    /// A field of the head that has begun on this stream, in their order, before its `HeadEnds`. Only told by readers that
    /// [keep all fields](super::HttpInspector::keeping_fields).
    fn field(&mut self, _from: End, _stream: u32, _field: Field<'_>) {}

    /// The last field goes on in a folded line, behind a space, if it has had anything. HTTP/1 only.
    fn folded(&mut self, _from: End, _more: &[u8]) {}

    /// No border of this end is wanted any more: its bytes are to be passed over. HTTP/1 only; asked between the lines of heads and chunks.
    fn has_stopped(&self, _from: End) -> bool {
        false
    }

    /// The byte at this place makes a body ambiguous that has begun, of this exchange; its marks say how. Only told by readers that keep all
    /// fields.
    fn ambiguous(&mut self, _from: End, _at: u64, _exchange: &mut HttpEvent) {}

    /// The header of an HTTP/2 frame, after its `HeadBegins` or `FrameBegins`. Like all below, only told by readers that keep all fields.
    fn frame_begins(&mut self, _from: End, _frame: &FrameHead) {}

    /// What is in an HTTP/2 frame that is not DATA: before its `FrameEnds` the payload, if the type is SETTINGS, RST_STREAM, GOAWAY or
    /// WINDOW_UPDATE, else nothing; of HEADERS the priority fields (RFC 9113, 6.2), if there are any, before the fields of its block; of
    /// PUSH_PROMISE the promised stream (6.6).
    fn frame(&mut self, _from: End, _frame: &FrameHead, _payload: &[u8]) {}

    /// So much of a DATA frame is data, without padding; before its `DataBegins`. A reader takes an exchange that is cut off for over.
    fn data(&mut self, _from: End, _frame: &FrameHead, _data: u32) -> Exchange {
        Exchange::GoesOn
    }
}

/// Tells the borders of one call's plaintext.
pub(super) struct Teller<'a> {
    /// None: nobody wants them, which is the common case and costs next to nothing.
    to: Option<&'a mut dyn Borders>,
    /// The last border of each direction.
    last: PerEnd<u64>,
}

impl<'a> Teller<'a> {
    pub(super) fn new(to: Option<&'a mut dyn Borders>) -> Self {
        Self { to, last: PerEnd::both(0) }
    }

    #[inline]
    pub(super) fn tell(&mut self, border: &Border) {
        if let Some(to) = &mut self.to {
            self.last[border.from] = border.at;
            to.border(border, None);
        }
    }

    #[inline]
    pub(super) fn head_ends(&mut self, border: &Border, head: &mut HttpEvent) {
        if let Some(to) = &mut self.to {
            self.last[border.from] = border.at;
            to.border(border, Some(head));
        }
    }

    pub(super) fn field(&mut self, from: End, stream: u32, field: Field<'_>) {
        if let Some(to) = &mut self.to {
            to.field(from, stream, field);
        }
    }

    pub(super) fn folded(&mut self, from: End, more: &[u8]) {
        if let Some(to) = &mut self.to {
            to.folded(from, more);
        }
    }

    #[inline]
    pub(super) fn has_stopped(&self, from: End) -> bool {
        self.to.as_ref().is_some_and(|to| to.has_stopped(from))
    }

    pub(super) fn ambiguous(&mut self, from: End, at: u64, exchange: &mut HttpEvent) {
        if let Some(to) = &mut self.to {
            self.last[from] = at;
            to.ambiguous(from, at, exchange);
        }
    }

    pub(super) fn frame_begins(&mut self, from: End, frame: &FrameHead) {
        if let Some(to) = &mut self.to {
            to.frame_begins(from, frame);
        }
    }

    pub(super) fn frame(&mut self, from: End, frame: &FrameHead, payload: &[u8]) {
        if let Some(to) = &mut self.to {
            to.frame(from, frame, payload);
        }
    }

    pub(super) fn data(&mut self, from: End, frame: &FrameHead, data: u32) -> Exchange {
        self.to.as_mut().map_or(Exchange::GoesOn, |to| to.data(from, frame, data))
    }

    /// A fault is found where a message or frame begins, also if borders in it have been told: these stand.
    pub(super) fn off(&mut self, reason: InspectorOff, from: End, at: u64) {
        let at = at.max(self.last[from]);
        self.tell(&Border { from, at, stream: 0, tx_id: None, what: What::Off(reason) });
    }
}
