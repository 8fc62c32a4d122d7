//! Taking in the rest of a ClientHello that got stuck.
//!
//! A client that has lost a segment repeats its first one until it is acknowledged (RFC 6298 5.4), and holding back every
//! acknowledgement would keep it from ever filling the gap. So both legs are adopted before the decision: the client leg
//! acknowledges, the server leg waits. A bypass cannot release the client's own frames any more; it relays the bytes.

use tcp_stack::{Event, Instant, Segment};

use super::effects::Effects;
use super::leg::{Leg, earlier};
use super::peeking::{Peeked, look};
use crate::end::End;
use crate::port::Frame;
use crate::reason::Reason;
use crate::tls::HelloScan;

/// A connection whose ClientHello is being taken in.
pub(super) struct Hearing<F: Frame> {
    client: Leg<F>,
    server: Leg<F>,
    deadline: Instant,
    scan: HelloScan,
}

/// What came of a call.
pub(super) enum Heard {
    /// Nothing new.
    Nothing,
    /// Of the client's stream this is known now.
    Client(Peeked),
}

impl<F: Frame> Hearing<F> {
    /// The hello must be complete at `deadline`.
    pub(super) fn new((client, server): (Leg<F>, Leg<F>), deadline: Instant) -> Self {
        Self { client, server, deadline, scan: HelloScan::default() }
    }

    /// A segment of either end.
    pub(super) fn handle_segment<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        from: End,
        segment: &Segment<'_>,
    ) -> Heard {
        let holding = self.client.waiting();
        self.leg(from).handle_segment(fx, holding, segment);
        self.listen(fx)
    }

    /// The leg towards an end.
    pub(super) fn leg(&mut self, side: End) -> &mut Leg<F> {
        match side {
            End::Client => &mut self.client,
            End::Server => &mut self.server,
        }
    }

    /// Runs what is due.
    pub(super) fn handle_timeout<E: Effects<Frame = F>>(&mut self, fx: &mut E) -> Heard {
        self.client.handle_timeout(fx.now());
        self.server.handle_timeout(fx.now());
        if self.deadline <= fx.now() {
            return Heard::Client(Peeked::Not(Reason::HelloTimeout));
        }
        self.listen(fx)
    }

    /// Bytes of memory that it holds, with its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { client, server, deadline: _, scan: _ } = self;
        size_of::<Self>() + client.memory() + server.memory()
    }

    /// When to be called next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let legs = earlier(self.client.poll_timeout(), self.server.poll_timeout());
        earlier(legs, Some(self.deadline))
    }

    /// Client's and server's.
    pub(super) fn legs(&self) -> (&Leg<F>, &Leg<F>) {
        (&self.client, &self.server)
    }

    /// Both legs, as they are.
    pub(super) fn into_legs(self) -> (Leg<F>, Leg<F>) {
        (self.client, self.server)
    }

    /// Acknowledges, and looks at what has come.
    pub(super) fn listen<E: Effects<Frame = F>>(&mut self, fx: &mut E) -> Heard {
        self.client.transmit(fx);
        self.server.transmit(fx);
        let mut closed = false;
        while let Some(event) = self.client.tcp.poll_event() {
            match event {
                Event::Reset => return not(Reason::ClientReset),
                Event::TimedOut => return not(Reason::ClientTimeout),
                Event::PeerClosed => closed = true,
                Event::Established | Event::Closed => {}
            }
        }
        while let Some(event) = self.server.tcp.poll_event() {
            match event {
                Event::Reset => return not(Reason::ServerReset),
                Event::TimedOut => return not(Reason::ServerTimeout),
                Event::PeerClosed => return not(Reason::ServerClosed),
                Event::Established | Event::Closed => {}
            }
        }
        if !self.server.tcp.recv().is_empty() {
            return not(Reason::HelloNotTls);
        }
        match look(&mut self.scan, self.client.tcp.recv(), fx.shared().limits.hello_bytes) {
            Peeked::Incomplete if closed => not(Reason::ClientClosed),
            Peeked::Incomplete => Heard::Nothing,
            peeked => Heard::Client(peeked),
        }
    }
}

fn not(reason: Reason) -> Heard {
    Heard::Client(Peeked::Not(reason))
}
