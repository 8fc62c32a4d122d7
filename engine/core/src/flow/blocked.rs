//! A flow that has been ended by us, or is over: what is left to send, then a RST for whatever still comes.

use tcp_stack::{Instant, Segment};

use super::effects::Effects;
use super::leg::{Leg, earlier};
use crate::end::End;
use crate::packet::{Headers, reset_for};
use crate::port::Frame;
use crate::reason::PacketDrop;

/// Most bytes of a record that is no more than a close_notify: header, explicit nonce, alert, type of content, tag.
const CLOSE_NOTIFY: usize = 5 + 8 + 2 + 1 + 16;

/// An ended flow. It stays for a while so that late packets do not pass as a flow seen from the middle.
pub(super) struct Blocked<F: Frame> {
    /// Boxed: most have nothing left to say, and are many when memory is short.
    legs: Option<Box<(Leg<F>, Leg<F>)>>,
    until: Instant,
    /// Both ends have been told in order that nothing follows. Whoever has that needs no RST.
    orderly: bool,
}

impl<F: Frame> Blocked<F> {
    /// With nothing to say to either end.
    pub(super) fn silent(until: Instant) -> Self {
        Self { legs: None, until, orderly: false }
    }

    /// RST to both ends.
    pub(super) fn reset<E: Effects<Frame = F>>(fx: &mut E, legs: Option<(Leg<F>, Leg<F>)>) -> Self {
        let until = fx.now() + fx.shared().limits.linger_time;
        if let Some((mut client, mut server)) = legs {
            for leg in [&mut client, &mut server] {
                leg.tcp.abort();
                leg.transmit(fx);
            }
        }
        Self::silent(until)
    }

    /// The bytes are each end's last (a TLS alert), then FIN; whoever does not answer in time is reset.
    pub(super) fn last_words<E: Effects<Frame = F>>(
        fx: &mut E,
        (mut client, mut server): (Leg<F>, Leg<F>),
        to_client: Vec<u8>,
        to_server: Vec<u8>,
    ) -> Self {
        for (leg, bytes) in [(&mut client, to_client), (&mut server, to_server)] {
            // An end that cannot be told is told by the FIN.
            leg.send(bytes);
            leg.tcp.close();
            leg.transmit(fx);
        }
        let until = fx.now() + fx.shared().limits.linger_time;
        Self { legs: Some(Box::new((client, server))), until, orderly: false }
    }

    /// FIN behind what is queued for both ends, which is the orderly end of their sessions.
    pub(super) fn orderly<E: Effects<Frame = F>>(fx: &mut E, legs: (Leg<F>, Leg<F>)) -> Self {
        Self { orderly: true, ..Self::last_words(fx, legs, Vec::new(), Vec::new()) }
    }

    /// Both ends have been told in order, and may still say that they have heard.
    pub(super) fn is_orderly(&self) -> bool {
        self.orderly && self.legs.is_some()
    }

    /// The flow is to be forgotten at once. An end to which the last words cannot be sent now is reset.
    pub(super) fn abandon<E: Effects<Frame = F>>(&mut self, fx: &mut E) {
        let Some(legs) = &mut self.legs else { return };
        let (client, server) = &mut **legs;
        for leg in [client, server] {
            if leg.has_unsent() {
                leg.tcp.abort();
                leg.transmit(fx);
            }
        }
    }

    /// The leg towards an end, if there is still something to say.
    pub(super) fn leg(&mut self, side: End) -> Option<&mut Leg<F>> {
        let (client, server) = self.legs.as_deref_mut()?;
        Some(if side == End::Client { client } else { server })
    }

    /// A late packet.
    pub(super) fn handle<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        from: End,
        frame: &[u8],
        headers: &Headers,
    ) {
        let orderly = self.orderly;
        let Some(leg) = self.leg(from) else { return refuse(fx, from, frame, headers) };
        let Ok(segment) = Segment::parse(headers.segment(frame)) else { return };
        leg.handle_segment(fx, 0, &segment);
        if orderly && leg.tcp.recv().len() > CLOSE_NOTIFY {
            // Data that nobody will read: the peer has to know that it is lost (RFC 1122 4.2.2.13).
            leg.tcp.abort();
        }
        leg.tcp.consume(leg.tcp.recv().len());
        leg.transmit(fx);
    }

    /// Runs what is due; true when it is over.
    pub(super) fn handle_timeout<E: Effects<Frame = F>>(&mut self, fx: &mut E) -> bool {
        let over = self.until <= fx.now();
        if let Some((client, server)) = self.legs.as_deref_mut() {
            for leg in [client, server] {
                // What an end has acknowledged needs no RST: it would only lose what its application has not yet read.
                if over && !(self.orderly && leg.tcp.is_send_drained()) {
                    leg.tcp.abort();
                } else {
                    leg.handle_timeout(fx.now());
                }
                leg.transmit(fx);
            }
        }
        over
    }

    /// Client's and server's, if there is something left to say.
    pub(super) fn legs(&self) -> Option<(&Leg<F>, &Leg<F>)> {
        self.legs.as_deref().map(|(client, server)| (client, server))
    }

    /// Bytes of memory that it holds, with its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { legs, until: _, orderly: _ } = self;
        let legs = legs.as_deref().map_or(0, |legs| size_of_val(legs) + legs.0.memory() + legs.1.memory());
        size_of::<Self>() + legs
    }

    /// When to be called next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let legs = self.legs.as_deref().and_then(|(c, s)| earlier(c.poll_timeout(), s.poll_timeout()));
        earlier(legs, Some(self.until))
    }
}

/// Whoever still speaks has missed our RST, or did not find its number right and says which one is (RFC 5961 3.2).
fn refuse<E: Effects>(fx: &mut E, from: End, frame: &[u8], headers: &Headers) {
    let Some(reset) = reset_for(frame, headers) else { return };
    match fx.allocate().and_then(|mut frame| frame.set_len(reset.len()).then_some(frame)) {
        Some(mut answer) => {
            answer.data_mut().copy_from_slice(reset.as_slice());
            fx.send(from, answer);
        }
        None => fx.counters().drop_packet(PacketDrop::NoBuffer),
    }
}
