//! What a connection tells its owner.

/// Something that happened; each kind at most once in a connection's life, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is over. Not told for adopted connections, which start there.
    Established,
    /// The peer's FIN has been reached in order: nothing follows the bytes in [`crate::Connection::recv`].
    PeerClosed,
    /// The peer's RST was accepted.
    Reset,
    /// The peer did not answer for longer than the configuration allows.
    TimedOut,
    /// Fully done: nothing is left to send or to wait for, and the connection may be dropped.
    Closed,
}

/// Events not told yet: a bit each, as none repeats and their order is fixed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Events {
    pending: u8,
    told: u8,
}

const ORDER: [Event; 5] =
    [Event::Established, Event::PeerClosed, Event::Reset, Event::TimedOut, Event::Closed];

impl Events {
    pub(crate) fn push(&mut self, event: Event) {
        let bit = 1 << event as u8;
        if self.told & bit == 0 {
            self.pending |= bit;
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        let event = ORDER.into_iter().find(|&event| self.pending & (1 << event as u8) != 0)?;
        let bit = 1 << event as u8;
        self.pending &= !bit;
        self.told |= bit;
        Some(event)
    }
}
