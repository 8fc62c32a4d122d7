//! The path's say in the size of segments (see `path_mtu`).

use super::{Connection, timers::Timer};
use crate::path_mtu::{MIN_MSS, TooBig, Trial};
use crate::spurious::Frto;
use crate::{Instant, Payload, Seq};

impl<P: Payload> Connection<P> {
    /// Takes in what a router says of a segment of ours that it could not forward (ICMP "fragmentation needed", RFC
    /// 1191; ICMPv6 "packet too big", RFC 8201). `seq` is the number of that segment; `mss` is what the link carries,
    /// less IP and TCP headers without options.
    ///
    /// It never raises the size, and makes it no lower than [`crate::Config::path_floor`]. Whether the message is about
    /// this connection's addresses and ports was the caller's to look at.
    pub fn handle_packet_too_big(&mut self, now: Instant, seq: Seq, mss: u16) -> TooBig {
        let flight = self.snd.nxt.since(self.snd.una);
        if !self.state.may_transmit() || !seq.in_window(self.snd.una, flight) {
            return TooBig::OutOfWindow;
        }
        let (verdict, size) = self.path.on_too_big(mss, self.snd.mss, (self.snd.una, self.snd.nxt));
        if verdict == TooBig::Lowered {
            self.stats.too_big += 1;
            self.set_segment_size(size);
            self.send_larger_again(now);
        }
        verdict
    }

    /// The retransmission timer has expired for what lies at SND.UNA.
    pub(super) fn suspect_black_hole(&mut self) {
        let options = u32::from(self.snd.mss) - self.smss();
        let size = self.path.on_timeout(self.snd.una, self.flight.head_len() + options, self.snd.mss);
        self.set_segment_size(size);
    }

    /// Everything before `ack` has arrived; `late`: and what was taken for lost was not.
    pub(super) fn path_progress(&mut self, ack: Seq, late: bool) {
        match self.path.on_progress(ack, late) {
            Some(Trial::Proven) => self.stats.black_holes += 1,
            Some(Trial::Undone(size)) => self.set_segment_size(size),
            None => {}
        }
    }

    fn set_segment_size(&mut self, mss: u16) {
        if mss != self.snd.mss {
            self.snd.mss = mss.max(MIN_MSS);
            self.congestion.set_segment_size(self.smss());
        }
    }

    /// What was sent larger than segments are now is lost. That says nothing of congestion, so the window stays (RFC 1191
    /// 6.5; RFC 8201 5.4), and losses that show until all of it is repaired are not held against it either.
    fn send_larger_again(&mut self, now: Instant) {
        if !self.flight.lose_larger(self.smss()) {
            return;
        }
        // As after a timeout, but for F-RTO: it is known that these are lost.
        self.recovery.on_timeout(self.snd.nxt);
        (self.recovery.frto, self.recovery.episode) = (Frto::Off, None);
        self.tail_probe.reset();
        self.timers.cancel(Timer::Probe);
        self.timers.arm(Timer::Retransmit, now + self.rtt.rto());
    }
}
