//! How much may be in flight.

mod newreno;

pub(crate) use newreno::NewReno;

/// A congestion controller. Loss detection is not its business (see `recovery`): it is told what happened.
pub(crate) trait Controller {
    /// Congestion window in bytes, at least one segment.
    fn window(&self) -> u32;

    /// Slow start threshold in bytes.
    fn threshold(&self) -> u32;

    /// `acked` bytes were newly acknowledged outside of recovery, or in slow start after a timeout.
    fn on_ack(&mut self, acked: u32, after_timeout: bool);

    /// A loss was found while ACKs kept coming; `flight` bytes were outstanding.
    fn on_loss(&mut self, flight: u32);

    /// The retransmission timer expired; `repeated` if it did so before for the same bytes.
    fn on_timeout(&mut self, flight: u32, repeated: bool);

    /// All bytes outstanding when the loss was found are acknowledged; `flight` bytes are outstanding now.
    fn on_recovered(&mut self, flight: u32);

    /// Nothing was sent for longer than the retransmission timeout.
    fn on_idle(&mut self);

    /// Full segments have this payload from now on; the window stays as it is, as far as it holds one.
    fn set_segment_size(&mut self, smss: u32);
}
