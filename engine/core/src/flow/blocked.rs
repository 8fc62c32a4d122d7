//! A flow that has been ended by us, or is over: what is left to send, then a RST for whatever still comes.

use tcp_stack::{Instant, Segment};

use super::context::Context;
use super::leg::{Leg, earlier};
use super::opening::Answered;
use crate::end::{End, PerEnd};
use crate::packet::{Headers, reset_for};
use crate::port::Io;
use crate::reason::PacketDrop;

/// Most bytes of a record that is no more than a close_notify: header, explicit nonce, alert, type of content, tag.
const CLOSE_NOTIFY: usize = 5 + 8 + 2 + 1 + 16;

/// An ended flow. It stays for a while so that late packets do not pass as a flow seen from the middle.
pub(super) struct Blocked<IO: Io> {
    /// Boxed: most have nothing left to say, and are many when memory is short.
    legs: Option<Box<PerEnd<Leg<IO>>>>,
    until: Instant,
    /// Both ends have been told in order that nothing follows. Whoever has that needs no RST.
    orderly: bool,
    /// What the client still sends is not wanted, and was to be expected.
    answered: bool,
}

impl<IO: Io> Blocked<IO> {
    /// With nothing to say to either end.
    pub(super) fn silent(cx: &Context<IO>) -> Self {
        let until = cx.now + cx.shared.limits.linger_time;
        Self { legs: None, until, orderly: false, answered: false }
    }

    /// RST to both ends.
    pub(super) fn reset(cx: &mut Context<IO>, mut legs: PerEnd<Leg<IO>>) -> Self {
        for leg in legs.iter_mut() {
            leg.tcp.abort();
            leg.transmit(cx);
        }
        Self::silent(cx)
    }

    /// The bytes are each end's last (a TLS alert), then FIN; whoever does not answer in time is reset.
    pub(super) fn last_words(
        cx: &mut Context<IO>,
        mut legs: PerEnd<Leg<IO>>,
        words: PerEnd<Vec<u8>>,
    ) -> Self {
        for (leg, bytes) in legs.iter_mut().zip([words.client, words.server]) {
            // An end that cannot be told is told by the FIN.
            leg.send(bytes);
            leg.tcp.close();
            leg.transmit(cx);
        }
        Self { legs: Some(Box::new(legs)), ..Self::silent(cx) }
    }

    /// FIN behind what is queued for both ends, which is the orderly end of their sessions.
    pub(super) fn orderly(cx: &mut Context<IO>, legs: PerEnd<Leg<IO>>) -> Self {
        Self { orderly: true, ..Self::last_words(cx, legs, PerEnd::default()) }
    }

    /// Likewise, of a client that was answered in the server's place. It may be in the middle of a request, and a RST for that
    /// would take the answer from it before it has read it (RFC 9112 9.6).
    pub(super) fn answered(cx: &mut Context<IO>, legs: PerEnd<Leg<IO>>) -> Self {
        Self { answered: true, ..Self::orderly(cx, legs) }
    }

    /// Both ends have been told in order, and may still say that they have heard.
    pub(super) fn is_orderly(&self) -> bool {
        self.orderly && self.legs.is_some()
    }

    /// The flow is to be forgotten at once. An end to which the last words cannot be sent now is reset.
    pub(super) fn abandon(&mut self, cx: &mut Context<IO>) {
        let Some(legs) = &mut self.legs else { return };
        for leg in legs.iter_mut() {
            if leg.has_unsent() {
                leg.tcp.abort();
                leg.transmit(cx);
            }
        }
    }

    /// The leg towards an end, if there is still something to say.
    pub(super) fn leg(&mut self, end: End) -> Option<&mut Leg<IO>> {
        self.legs.as_deref_mut().map(|legs| &mut legs[end])
    }

    /// A late packet.
    pub(super) fn handle(&mut self, cx: &mut Context<IO>, from: End, frame: &[u8], headers: &Headers) {
        let is_lost = self.orderly && !self.answered;
        let Some(leg) = self.leg(from) else { return refuse(cx, from, frame, headers) };
        let Ok(segment) = Segment::parse(headers.segment(frame)) else { return };
        leg.handle_segment(cx, 0, &segment);
        if is_lost && leg.tcp.recv().len() > CLOSE_NOTIFY {
            // Data that nobody will read: the peer has to know that it is lost (RFC 1122 4.2.2.13).
            leg.tcp.abort();
        }
        leg.tcp.consume(leg.tcp.recv().len());
        leg.transmit(cx);
    }

    /// Runs what is due; true when it is over.
    pub(super) fn handle_timeout(&mut self, cx: &mut Context<IO>) -> bool {
        let over = self.until <= cx.now;
        if let Some(legs) = &mut self.legs {
            for leg in legs.iter_mut() {
                // What an end has acknowledged needs no RST: it would only lose what its application has not yet read.
                if over && !(self.orderly && leg.tcp.is_send_drained()) {
                    leg.tcp.abort();
                } else {
                    leg.handle_timeout(cx.now);
                }
                leg.transmit(cx);
            }
        }
        over
    }

    /// Both, if there is something left to say.
    pub(super) fn legs(&self) -> Option<&PerEnd<Leg<IO>>> {
        self.legs.as_deref()
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { legs, until: _, orderly: _, answered: _ } = self;
        legs.as_deref().map_or(0, |legs| size_of_val(legs) + legs.iter().map(Leg::memory).sum::<usize>())
    }

    /// When to be called next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let legs =
            self.legs.as_deref().and_then(|l| earlier(l.client.poll_timeout(), l.server.poll_timeout()));
        earlier(legs, Some(self.until))
    }
}

/// Whoever still speaks has missed our RST, or did not find its number right and says which one is (RFC 5961 3.2).
fn refuse<IO: Io>(cx: &mut Context<IO>, from: End, frame: &[u8], headers: &Headers) {
    let Some(reset) = reset_for(frame, headers) else { return };
    match cx.filled(reset.as_slice()) {
        Some(answer) => cx.send(from, answer),
        None => cx.counters.drop_packet(PacketDrop::NoBuffer),
    }
}

/// RST to both ends. An end takes it at the very number that it expects next (RFC 5961 3.2), and whether a FIN that has passed
/// has also arrived is not known: so both numbers are tried.
pub(super) fn reset_ends<IO: Io>(cx: &mut Context<IO>, answered: &mut Answered) -> Blocked<IO> {
    let legs = answered.adopt(cx.now, None, cx.mtu(), &cx.shared.limits);
    let blocked = Blocked::reset(cx, legs);
    if answered.forget_fins() {
        let legs = answered.adopt(cx.now, None, cx.mtu(), &cx.shared.limits);
        Blocked::reset(cx, legs);
    }
    blocked
}
