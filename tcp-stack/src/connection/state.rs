//! The eleven states of RFC 9293 3.3.2.

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing is left. Whatever arrives is answered with a RST.
    Closed,
    /// Waiting for a SYN.
    Listen,
    /// SYN sent, waiting for its answer.
    SynSent,
    /// SYN received and answered, waiting for the acknowledgement of ours.
    SynReceived,
    /// Open both ways.
    Established,
    /// We have closed; our FIN is not acknowledged. The peer may go on sending.
    FinWait1,
    /// We have closed, our FIN is acknowledged. The peer may go on sending.
    FinWait2,
    /// The peer has closed; we may go on sending.
    CloseWait,
    /// Both have closed at the same time; our FIN is not acknowledged.
    Closing,
    /// Both have closed, the peer first; our FIN is not acknowledged.
    LastAck,
    /// Both have closed and know it; waiting until no old segment can be left.
    TimeWait,
}

impl State {
    /// Whether both SYNs are acknowledged (RFC 9293 3.10: "synchronized states").
    pub fn is_synchronized(self) -> bool {
        !matches!(self, State::Closed | State::Listen | State::SynSent | State::SynReceived)
    }

    /// Whether the peer may still send payload.
    pub fn may_receive(self) -> bool {
        matches!(self, State::Established | State::FinWait1 | State::FinWait2)
    }

    /// Whether segments of payload or FIN may leave: the handshake is over and our FIN not acknowledged.
    pub(crate) fn may_transmit(self) -> bool {
        matches!(
            self,
            State::Established | State::FinWait1 | State::CloseWait | State::Closing | State::LastAck
        )
    }
}
