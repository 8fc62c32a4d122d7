//! A ClientHello that got stuck is taken in over TCP.
//!
//! A client that has lost a segment repeats its first one until it is acknowledged (RFC 6298 5.4), and holding back every
//! acknowledgement would keep it from ever filling the gap. So both legs are adopted before the decision: the client leg
//! acknowledges, the server leg waits. A bypass cannot release the client's own frames any more; it relays the bytes.
//!
//! Where first contact is held, the server leg has yet to be opened: nothing is sent from it before the decision.

use tcp_stack::{Event, Instant, Segment};

use super::context::Context;
use super::leg::{Leg, earlier};
use super::peeking::{Peeked, look};
use crate::end::{End, PerEnd};
use crate::mirror::Beginning;
use crate::port::Io;
use crate::reason::{PacketDrop, Reason};
use crate::tls::HelloScan;

/// A connection whose ClientHello is being taken in.
pub(super) struct HelloOverTcp<IO: Io> {
    pub(super) legs: PerEnd<Leg<IO>>,
    deadline: Instant,
    scan: HelloScan,
    /// The ends have agreed on TLS in plain, and nothing else may follow.
    is_agreed: bool,
    /// What they said for that, if mirrors may be to see it.
    pub(super) beginning: Option<Box<Beginning>>,
}

impl<IO: Io> HelloOverTcp<IO> {
    /// The hello must be complete at `deadline`.
    pub(super) fn new(legs: PerEnd<Leg<IO>>, deadline: Instant) -> Self {
        Self { legs, deadline, scan: HelloScan::default(), is_agreed: false, beginning: None }
    }

    /// Of ends that have agreed on TLS, and have said this before.
    pub(super) fn agreed(
        legs: PerEnd<Leg<IO>>,
        deadline: Instant,
        beginning: Option<Box<Beginning>>,
    ) -> Self {
        Self { is_agreed: true, beginning, ..Self::new(legs, deadline) }
    }

    /// A segment of either end.
    pub(super) fn handle_segment(
        &mut self,
        cx: &mut Context<IO>,
        from: End,
        segment: &Segment<'_>,
    ) -> Peeked {
        if from == End::Server && self.legs.server.is_opening() {
            cx.counters.drop_packet(PacketDrop::ServerHeld);
            return Peeked::Incomplete;
        }
        let holding = self.legs.client.waiting();
        self.legs[from].handle_segment(cx, holding, segment);
        self.drive(cx)
    }

    /// Runs what is due.
    pub(super) fn handle_timeout(&mut self, cx: &mut Context<IO>) -> Peeked {
        self.legs.iter_mut().for_each(|leg| leg.handle_timeout(cx.now));
        if self.deadline <= cx.now {
            return Peeked::Not(Reason::HelloTimeout);
        }
        self.drive(cx)
    }

    /// Bytes of memory that it holds, with its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { legs, deadline: _, scan: _, is_agreed: _, beginning } = self;
        let beginning = beginning.as_ref().map_or(0, |beginning| beginning.memory());
        size_of::<Self>() + legs.iter().map(Leg::memory).sum::<usize>() + beginning
    }

    /// When to be called next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let legs = earlier(self.legs.client.poll_timeout(), self.legs.server.poll_timeout());
        earlier(legs, Some(self.deadline))
    }

    /// Acknowledges, and looks at what has come.
    pub(super) fn drive(&mut self, cx: &mut Context<IO>) -> Peeked {
        match self.listen(cx) {
            Peeked::Not(Reason::HelloNotTls) if self.is_agreed => Peeked::Not(Reason::StartTlsNoHello),
            peeked => peeked,
        }
    }

    fn listen(&mut self, cx: &mut Context<IO>) -> Peeked {
        let PerEnd { client, server } = &mut self.legs;
        client.transmit(cx);
        if !server.is_opening() {
            server.transmit(cx);
        }
        let mut closed = false;
        while let Some(event) = client.tcp.poll_event() {
            match event {
                Event::Reset => return Peeked::Not(Reason::ClientReset),
                Event::TimedOut => return Peeked::Not(Reason::ClientTimeout),
                Event::PeerClosed => closed = true,
                Event::Established | Event::Closed => {}
            }
        }
        while let Some(event) = server.tcp.poll_event() {
            match event {
                Event::Reset => return Peeked::Not(Reason::ServerReset),
                Event::TimedOut => return Peeked::Not(Reason::ServerTimeout),
                Event::PeerClosed => return Peeked::Not(Reason::ServerClosed),
                Event::Established | Event::Closed => {}
            }
        }
        if !server.tcp.recv().is_empty() {
            return Peeked::Not(Reason::HelloNotTls);
        }
        match look(&mut self.scan, client.tcp.recv(), cx.shared.limits.hello_bytes) {
            Peeked::Incomplete if closed => Peeked::Not(Reason::ClientClosed),
            peeked => peeked,
        }
    }
}
