//! What can be seen of a connection at one moment: why it is as fast or slow as it is.

use crate::timestamps::elapsed;
use crate::{Congestion, Duration, Instant, State, Stats};

/// One connection in numbers, as Linux's `tcp_info` has them. All windows and queues are in bytes.
///
/// ```text
///   SND.UNA            send point          end of queue        RCV.NXT                 RCV.ADV
///      |<--- in_flight --->|<---- unsent ---->|                   |<------ rcv_wnd ------>|
///      |<------------ send_queue ------------>|    recv_queue --->|
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// Where it stands.
    pub state: State,
    /// Payload of a full segment to the peer, options taken off.
    pub mss: u32,
    /// The same as the MSS option counts it, options not taken off.
    pub segment_size: u32,
    /// Largest payload that the peer has sent in one segment.
    pub rcv_mss: u32,
    /// Shift of the windows that the peer offers.
    pub snd_scale: u8,
    /// Shift of the windows that the peer is offered.
    pub rcv_scale: u8,
    /// Both ends speak SACK.
    pub sack: bool,
    /// Both ends speak timestamps.
    pub timestamps: bool,

    /// Algorithm of the congestion window.
    pub congestion: Congestion,
    /// Congestion window.
    pub cwnd: u32,
    /// Slow start threshold; none before the first loss.
    pub ssthresh: Option<u32>,
    /// Bytes per second that pacing lets out; none without pacing, or before a round trip was measured.
    pub pacing_rate: Option<u64>,
    /// What is being repaired.
    pub repair: Repair,
    /// Of what is in flight, bytes that the peer holds ahead of a gap.
    pub sacked: u32,
    /// Likewise, bytes taken for lost and to be sent again.
    pub lost: u32,
    /// Likewise, bytes in the network that were sent more than once.
    pub in_flight_again: u32,
    /// Whether the path was seen to reorder (RFC 8985).
    pub reordering: bool,
    /// Window that the peer offers, from SND.UNA.
    pub snd_wnd: u32,
    /// Sent and not acknowledged, FIN included.
    pub in_flight: u32,
    /// Queued behind that.
    pub unsent: u32,
    /// Queued in all: `ss` calls it Send-Q.
    pub send_queue: usize,

    /// Window that the peer is offered, from RCV.NXT.
    pub rcv_wnd: u32,
    /// The same as the peer computes it from the last segment: less by what the field's unit cuts off.
    pub rcv_wnd_told: u32,
    /// Bytes that may be held for the application now: what the window is tuned to, within the owner's limit.
    pub recv_limit: usize,
    /// Received in order and not consumed: `ss` calls it Recv-Q.
    pub recv_queue: usize,
    /// How far beyond RCV.NXT bytes are held; zero: nothing is missing.
    pub held_ahead: u32,

    /// Smoothed round-trip time and its variation (RFC 6298); none before the first sample.
    pub rtt: Option<(Duration, Duration)>,
    /// Shortest round-trip time of the last minutes.
    pub min_rtt: Option<Duration>,
    /// Retransmission timeout, doublings included.
    pub rto: Duration,
    /// Doublings of it since the last sample.
    pub backoff: u32,
    /// Expiries of timers since something was acknowledged last.
    pub retries: u32,
    /// The next timer that waits for the peer, and how long from now; zero when it is due.
    pub timer: Option<(&'static str, Duration)>,

    /// Payload bytes that the peer has acknowledged.
    pub bytes_acked: u64,
    /// Since payload or a FIN was sent last.
    pub since_sent: Duration,
    /// Since payload was received last.
    pub since_received: Duration,
    /// Since any segment was received last that was acceptable.
    pub since_heard: Duration,

    /// What keeps it from sending more.
    pub limit: Limit,
    /// For how long each of [`Limit::ALL`] has kept it so, since the start.
    pub limited: [Duration; Limit::ALL.len()],

    /// Counters.
    pub stats: Stats,
}

/// What a sender is repairing; the states that `ss -ti` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repair {
    /// Nothing.
    #[default]
    Open,
    /// Something arrived out of order; it may be a loss.
    Disorder,
    /// A loss that ACKs have shown.
    Recovery,
    /// What was in flight when the retransmission timer expired.
    Loss,
}

/// What keeps a connection from sending more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Nothing: all that was queued has been sent.
    Application,
    /// The congestion window, or another limit of our own.
    Congestion,
    /// The window that the peer offers.
    Receiver,
}

impl Limit {
    /// All of them, in declaration order.
    pub const ALL: [Self; 3] = [Self::Application, Self::Congestion, Self::Receiver];
}

/// Adds up how long each [`Limit`] has held. Costs two writes when nothing more can be sent; reads no clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitClock {
    limit: Limit,
    since: Instant,
    total: [Duration; Limit::ALL.len()],
}

impl LimitClock {
    pub(crate) fn new(now: Instant) -> Self {
        LimitClock { limit: Limit::Application, since: now, total: [Duration::ZERO; Limit::ALL.len()] }
    }

    /// From now on it is this one.
    pub(crate) fn note(&mut self, now: Instant, limit: Limit) {
        if limit != self.limit {
            *self = LimitClock { limit, since: now, total: self.totals(now) };
        }
    }

    pub(crate) fn limit(&self) -> Limit {
        self.limit
    }

    pub(crate) fn totals(&self, now: Instant) -> [Duration; Limit::ALL.len()] {
        let mut total = self.total;
        total[self.limit as usize] += elapsed(self.since, now);
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_gets_its_own_time() {
        let at = Instant::from_millis;
        let mut clock = LimitClock::new(at(0));
        clock.note(at(10), Limit::Receiver);
        clock.note(at(20), Limit::Receiver);
        clock.note(at(50), Limit::Congestion);
        assert_eq!(clock.limit(), Limit::Congestion);
        assert_eq!(clock.totals(at(55)), [10, 5, 40].map(Duration::from_millis));
        clock.note(at(60), Limit::Application);
        assert_eq!(clock.totals(at(100)), [50, 10, 40].map(Duration::from_millis));
    }
}
