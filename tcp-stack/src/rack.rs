//! Loss detection by time (RFC 8985): a segment is lost if one that was sent later has arrived, and it has had time to
//! arrive as well. And the tail loss probe, which makes the receiver say something where it has no reason to.

use crate::flight::{Arrived, Flight};
use crate::timestamps::elapsed;
use crate::{Duration, Instant, Seq};

/// Segments sacked that mean a loss as long as no reordering was seen (RFC 8985 6.2, RFC 5681 3.2).
pub(crate) const DUPLICATE_THRESHOLD: u32 = 3;

/// Recoveries for which a wider reordering window is kept (RFC 8985 6.2, step 4).
const PERSIST: u32 = 16;

/// Longest delay of an ACK that a probe of a single segment allows for (RFC 8985 7.2). Hosts delay for 40 to 200 ms.
const MOST_ACK_DELAY: Duration = Duration::from_millis(200);

/// What is added when more than one segment is in flight. Round trips below a millisecond would else have probes sent that
/// a late wake-up at either end alone explains, or an ACK delayed by a host that counts time in hundredths of a second.
/// Linux adds two ticks of its clock, 2 to 20 ms.
const PROBE_SLACK: Duration = Duration::from_millis(12);

/// RFC 8985 7.2: before the first sample.
const FIRST_PROBE: Duration = Duration::from_secs(1);

/// Recent acknowledgement: state of RFC 8985 5.2 and 5.3.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rack {
    /// RACK.xmit_ts and RACK.end_seq: of all that has arrived, what was sent last.
    latest: Option<(Instant, Seq)>,
    /// RACK.rtt
    rtt: Duration,
    /// RACK.fack, the highest sequence number that has arrived.
    highest: Seq,
    /// RACK.reordering_seen
    reordering: bool,
    /// RACK.reo_wnd_mult and RACK.reo_wnd_persist
    multiplier: u32,
    persist: u32,
    /// RACK.dsack_round
    round: Option<Seq>,
}

impl Rack {
    pub(crate) fn new(start: Seq) -> Self {
        Rack {
            latest: None,
            rtt: Duration::ZERO,
            highest: start,
            reordering: false,
            multiplier: 1,
            persist: 0,
            round: None,
        }
    }

    /// Segments were seen to arrive in another order than they were sent in.
    pub(crate) fn has_seen_reordering(&self) -> bool {
        self.reordering
    }

    /// RFC 8985 6.2, steps 2 and 3, for a segment that has arrived. `ambiguous` says that it was sent more than once and
    /// its first sending may be what has arrived.
    pub(crate) fn on_arrival(&mut self, now: Instant, arrived: &Arrived, ambiguous: bool) {
        if arrived.end.after(self.highest) {
            self.highest = arrived.end;
        } else if arrived.end.before(self.highest) && !arrived.retransmitted {
            self.reordering = true;
        }
        let sent = (arrived.sent_at, arrived.end);
        if !ambiguous && self.latest.is_none_or(|latest| is_sent_after(sent, latest)) {
            self.latest = Some(sent);
            self.rtt = elapsed(arrived.sent_at, now);
        }
    }

    /// What was taken for lost was only late.
    pub(crate) fn on_reordering(&mut self) {
        self.reordering = true;
    }

    /// RFC 8985 6.2, step 4: the receiver has got something twice that we have sent twice.
    pub(crate) fn on_duplicate(&mut self, una: Seq, nxt: Seq) {
        if self.round.is_none_or(|round| una.at_or_after(round)) {
            self.round = Some(nxt);
            self.multiplier = self.multiplier.saturating_add(1);
            self.persist = PERSIST;
        }
    }

    /// A recovery is over.
    pub(crate) fn on_recovered(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.multiplier = 1;
        }
    }

    /// RACK.highest and RACK.dsack_round follow SND.UNA, so that they never get 2^31 old.
    pub(crate) fn on_progress(&mut self, una: Seq) {
        self.highest = self.highest.later(una);
        self.round = self.round.filter(|&round| una.before(round));
    }

    /// How long a segment may be overtaken before it is lost: RACK.reo_wnd.
    pub(crate) fn reordering_window(
        &self,
        recovering: bool,
        sacked: u32,
        min_rtt: Duration,
        srtt: Duration,
    ) -> Duration {
        if !self.reordering && (recovering || sacked >= DUPLICATE_THRESHOLD) {
            return Duration::ZERO;
        }
        (min_rtt / 4 * self.multiplier).min(srtt)
    }

    /// RFC 8985 6.2, step 5: marks what is lost, and tells its highest first sequence number, if anything is. Also when
    /// the next segment will have had its time, if nothing else arrives.
    pub(crate) fn detect(
        &self,
        flight: &mut Flight,
        now: Instant,
        window: Duration,
    ) -> (Option<Seq>, Option<Instant>) {
        let mut lost: Option<Seq> = None;
        let Some(latest) = self.latest else { return (None, None) };
        while let Some(oldest) = flight.oldest().filter(|&oldest| is_sent_after(latest, oldest)) {
            let due = oldest.0 + self.rtt + window;
            if due > now {
                return (lost, Some(due));
            }
            let Some(seq) = flight.lose_oldest() else { break };
            lost = Some(lost.map_or(seq, |before| before.later(seq)));
        }
        (lost, None)
    }

    /// The latest time of sending that is lost when the retransmission timer expires (RFC 8985 6.3).
    pub(crate) fn lost_until(&self, now: Instant, window: Duration) -> Instant {
        now - (self.rtt + window).min(elapsed(Instant::ZERO, now))
    }
}

/// RACK_sent_after() of RFC 8985 6.2.
fn is_sent_after(a: (Instant, Seq), b: (Instant, Seq)) -> bool {
    a.0 > b.0 || a.0 == b.0 && a.1.after(b.1)
}

/// The probe of RFC 8985 7.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    /// TLP.end_seq and TLP.is_retrans of the probe whose answer is awaited; and what it has repeated.
    sent: Option<Sent>,
    /// A round trip was measured since the last probe.
    measured: bool,
    /// The timer has expired: a probe is to be sent.
    pub(crate) due: bool,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    end: Seq,
    repeated: Option<(Seq, Seq)>,
}

impl Probe {
    pub(crate) fn new() -> Self {
        Probe { sent: None, measured: true, due: false }
    }

    pub(crate) fn on_round_trip(&mut self) {
        self.measured = true;
    }

    /// Whether a probe may be scheduled and sent (RFC 8985 7.3).
    pub(crate) fn may_be_sent(&self) -> bool {
        self.sent.is_none() && self.measured
    }

    /// A probe leaves: new bytes, or `repeated` ones; SND.NXT is `nxt` then.
    pub(crate) fn on_sent(&mut self, nxt: Seq, repeated: Option<(Seq, Seq)>) {
        *self = Probe { sent: Some(Sent { end: nxt, repeated }), measured: false, due: false };
    }

    /// Recovery begins: it has its own means.
    pub(crate) fn reset(&mut self) {
        (self.sent, self.due) = (None, false);
    }

    /// TLP_process_ack() of RFC 8985 7.4.2. Returns whether the probe has repaired a loss, which nothing but this shows:
    /// congestion control has to hear of it.
    pub(crate) fn on_ack(&mut self, ack: Seq, duplicate: Option<(Seq, Seq)>, is_bare_repeat: bool) -> bool {
        let Some(sent) = self.sent.filter(|sent| ack.at_or_after(sent.end)) else { return false };
        let Some((left, right)) = sent.repeated else {
            self.sent = None;
            return false;
        };
        let arrived_twice =
            duplicate.is_some_and(|(from, to)| from.at_or_before(left) && to.at_or_after(right));
        let repaired = !arrived_twice && ack.after(sent.end);
        if arrived_twice || repaired || is_bare_repeat {
            self.sent = None;
        }
        repaired
    }
}

/// TLP_calc_PTO() of RFC 8985 7.2, without the bound by the retransmission timer.
pub(crate) fn probe_timeout(srtt: Option<Duration>, single: bool) -> Duration {
    let slack = if single { MOST_ACK_DELAY } else { PROBE_SLACK };
    srtt.map_or(FIRST_PROBE, |srtt| srtt * 2 + slack)
}
