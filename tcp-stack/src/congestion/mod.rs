//! How much may be in flight: slow start, and one of two algorithms of growth after it.

mod cubic;
mod hystart;
mod newreno;
mod prr;

pub(crate) use prr::Prr;

use crate::{Duration, Instant, Seq};
use cubic::Cubic;
use hystart::HyStart;
use newreno::NewReno;

/// Which algorithm a connection's congestion window follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// RFC 9438, what most hosts on the Internet use.
    #[default]
    Cubic,
    /// RFC 5681 and RFC 6582.
    NewReno,
}

/// Most that one ACK adds in slow start, in segments. RFC 3465 2.2 says 2; RFC 9406 4.2 says 8 for senders that do not
/// pace: receivers behind receive offload acknowledge many segments at once.
const SLOW_START_LIMIT: u32 = 8;

/// What has arrived, for the window to grow by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    pub(crate) now: Instant,
    /// Bytes newly known to have arrived.
    pub(crate) bytes: u32,
    /// Round trip of the segment among them that was sent last, if it is known.
    pub(crate) rtt: Option<Duration>,
    pub(crate) srtt: Duration,
    pub(crate) una: Seq,
    pub(crate) nxt: Seq,
    /// The window was what held the sender back; otherwise it must not grow (RFC 5681 3.1, RFC 7661).
    pub(crate) limited: bool,
    /// After a timeout and without SACK an ACK may cover bytes that left the network long ago (RFC 3465 2.3).
    pub(crate) stale: bool,
}

/// A connection's congestion window. Loss detection is not its business: it is told what happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Controller {
    /// Sender maximum segment size: payload of a full segment.
    smss: u32,
    /// At least one segment.
    cwnd: u32,
    ssthresh: u32,
    initial: u32,
    start: HyStart,
    algorithm: Algorithm,
}

#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Cubic(Cubic),
    NewReno(NewReno),
}

impl Controller {
    pub(crate) fn new(choice: Congestion, smss: u32, initial_segments: u32) -> Self {
        // RFC 6928 2: min(10 * MSS, max(2 * MSS, 14600)), for the usual 10.
        let initial = initial_segments
            .saturating_mul(smss)
            .min((2 * smss).max(initial_segments.saturating_mul(1460)))
            .max(smss);
        let algorithm = match choice {
            Congestion::Cubic => Algorithm::Cubic(Cubic::default()),
            Congestion::NewReno => Algorithm::NewReno(NewReno::default()),
        };
        Controller { smss, cwnd: initial, ssthresh: u32::MAX, initial, start: HyStart::default(), algorithm }
    }

    /// Congestion window in bytes.
    pub(crate) fn window(&self) -> u32 {
        self.cwnd
    }

    /// Slow start threshold in bytes.
    pub(crate) fn threshold(&self) -> u32 {
        self.ssthresh
    }

    pub(crate) fn is_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// Something has arrived outside of recovery, or in slow start after a timeout.
    pub(crate) fn on_delivery(&mut self, delivery: &Delivery) {
        let initial_slow_start = self.ssthresh == u32::MAX;
        // RFC 9406 4.3: only where no threshold is known.
        if initial_slow_start && self.start.on_delivery(delivery) {
            self.ssthresh = self.cwnd;
        }
        if !delivery.limited {
            if let Algorithm::Cubic(cubic) = &mut self.algorithm {
                cubic.on_pause(delivery.now);
            }
            return;
        }
        if self.is_slow_start() {
            let limit = if delivery.stale { 1 } else { SLOW_START_LIMIT };
            let growth = delivery.bytes.min(limit * self.smss) / self.start.divisor(initial_slow_start);
            self.cwnd = self.cwnd.saturating_add(growth).min(self.ssthresh);
            return;
        }
        self.cwnd = match &mut self.algorithm {
            Algorithm::Cubic(cubic) => cubic.grow(self.cwnd, self.smss, delivery),
            Algorithm::NewReno(newreno) => newreno.grow(self.cwnd, self.smss, delivery.bytes),
        };
    }

    /// A loss was found while ACKs kept coming: the threshold falls. The window follows as PRR says.
    pub(crate) fn on_loss(&mut self) {
        // The window and not the flight is what is reduced (RFC 9438 4.6 allows it): it has grown only while it was
        // filled, and an application that pauses in between has no part in the loss. RFC 5681 3.2 would have the
        // segments of limited transmit left out of the flight as well.
        let reduced = match &mut self.algorithm {
            Algorithm::Cubic(cubic) => cubic.on_loss(self.cwnd, self.smss),
            Algorithm::NewReno(newreno) => newreno.on_loss(self.cwnd),
        };
        self.ssthresh = reduced.max(2 * self.smss);
    }

    /// The retransmission timer expired: one segment (RFC 5681 3.1). The threshold falls once for one loss.
    pub(crate) fn on_timeout(&mut self, reduce: bool) {
        if reduce {
            self.on_loss();
        }
        self.cwnd = self.smss;
    }

    /// In recovery the window is what PRR grants.
    pub(crate) fn set_window(&mut self, bytes: u32) {
        self.cwnd = bytes.max(self.smss);
    }

    /// All that was outstanding when the loss was found has arrived (RFC 9937 6).
    pub(crate) fn on_recovered(&mut self) {
        self.cwnd = self.ssthresh;
    }

    /// The loss was none: what `prior` was holds again (RFC 4015 3.2), or what has been earned since if that is more.
    pub(crate) fn undo(&mut self, prior: &Controller) {
        let (cwnd, ssthresh) = (self.cwnd.max(prior.cwnd), self.ssthresh.max(prior.ssthresh));
        *self = Controller { cwnd, ssthresh, smss: self.smss, ..*prior };
    }

    /// Nothing was sent for `idle`, longer than the retransmission timeout (RFC 5681 4.1): half for each timeout that has
    /// passed, down to the initial window, and the threshold keeps what was known of the path (RFC 2861 2, Linux).
    pub(crate) fn on_idle(&mut self, idle: Duration, rto: Duration) {
        let restart = self.cwnd.min(self.initial);
        if self.ssthresh != u32::MAX {
            self.ssthresh = self.ssthresh.max(self.cwnd / 4 * 3);
        }
        let halvings = (idle.total_micros() / rto.total_micros().max(1)).min(31);
        self.cwnd = (self.cwnd >> halvings).max(restart);
    }

    /// Full segments have this payload from now on; the window stays as it is, as far as it holds one.
    pub(crate) fn set_segment_size(&mut self, smss: u32) {
        self.smss = smss;
        self.cwnd = self.cwnd.max(smss);
        self.initial = self.initial.max(smss);
    }

    /// Name of the algorithm, as `ss -ti` has it.
    pub(crate) fn name(&self) -> Congestion {
        match self.algorithm {
            Algorithm::Cubic(_) => Congestion::Cubic,
            Algorithm::NewReno(_) => Congestion::NewReno,
        }
    }
}

#[cfg(test)]
mod tests;
