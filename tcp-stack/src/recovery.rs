//! Finding losses and repairing them: fast retransmit and NewReno (RFC 5681 3.2, RFC 6582), limited transmit
//! (RFC 3042).

use crate::{Repair, Seq, congestion::Controller};

/// Duplicate ACKs that mean a loss (RFC 5681 3.2).
const DUPLICATE_THRESHOLD: u32 = 3;

/// What is being repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing.
    Open,
    /// Fast recovery, until `recover` is acknowledged.
    Fast {
        /// No partial ACK was seen yet.
        first_partial: bool,
        /// RFC 6582's temporary addition to the congestion window: bytes known to have left the network.
        inflation: u32,
    },
    /// After a timeout, until `recover` is acknowledged.
    Timeout,
}

/// Loss detection by duplicate ACKs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovery {
    phase: Phase,
    duplicates: u32,
    /// SND.NXT when the last loss was found: one loss event ends where it is acknowledged, and duplicates of
    /// ACKs up to it start no new one. Follows SND.UNA when nothing is being repaired, so that it never gets
    /// 2^31 old.
    recover: Seq,
    /// The segment at SND.UNA is to be sent again.
    retransmit: bool,
}

/// What a new ACK means for the retransmission timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimerRule {
    Restart,
    /// RFC 6582 3.2 (3): later partial ACKs let the timer run, so that many losses in one window end in slow
    /// start.
    LeaveRunning,
}

impl Recovery {
    /// `start` is SND.NXT.
    pub(crate) fn new(start: Seq) -> Self {
        Recovery { phase: Phase::Open, duplicates: 0, recover: start - 1, retransmit: false }
    }

    /// A duplicate ACK of `una` arrived while `una..nxt` was outstanding. Returns whether fast retransmit
    /// begins.
    pub(crate) fn on_duplicate(
        &mut self,
        una: Seq,
        nxt: Seq,
        smss: u32,
        congestion: &mut impl Controller,
    ) -> bool {
        self.duplicates = self.duplicates.saturating_add(1);
        match &mut self.phase {
            Phase::Fast { inflation, .. } => {
                // Bounded by what can have left the network.
                *inflation = inflation.saturating_add(smss).min(nxt.since(una).saturating_add(smss));
                false
            }
            // RFC 6582 3.2 (2): duplicates caused by go-back-N after a timeout are no new loss.
            Phase::Open if self.duplicates == DUPLICATE_THRESHOLD && una.after(self.recover) => {
                congestion.on_loss(nxt.since(una));
                self.recover = nxt;
                self.retransmit = true;
                self.phase = Phase::Fast { first_partial: true, inflation: DUPLICATE_THRESHOLD * smss };
                true
            }
            Phase::Open | Phase::Timeout => false,
        }
    }

    /// `acked` bytes were newly acknowledged; `una..nxt` is outstanding now. `limited` says that the
    /// congestion window was what held the sender back: otherwise it must not grow (RFC 5681 3.1, RFC 7661).
    pub(crate) fn on_ack(
        &mut self,
        acked: u32,
        (una, nxt): (Seq, Seq),
        smss: u32,
        limited: bool,
        congestion: &mut impl Controller,
    ) -> TimerRule {
        self.duplicates = 0;
        self.retransmit = false;
        let full = una.at_or_after(self.recover);
        match &mut self.phase {
            Phase::Fast { .. } if full => {
                congestion.on_recovered(nxt.since(una));
                self.phase = Phase::Open;
                self.recover = una - 1;
                TimerRule::Restart
            }
            Phase::Fast { first_partial, inflation } => {
                *inflation = inflation.saturating_sub(acked) + if acked >= smss { smss } else { 0 };
                self.retransmit = true;
                let first = core::mem::replace(first_partial, false);
                if first { TimerRule::Restart } else { TimerRule::LeaveRunning }
            }
            Phase::Timeout => {
                congestion.on_ack(acked, true);
                if full {
                    self.phase = Phase::Open;
                }
                TimerRule::Restart
            }
            Phase::Open => {
                if una.after(self.recover) {
                    self.recover = una - 1;
                }
                if limited {
                    congestion.on_ack(acked, false);
                }
                TimerRule::Restart
            }
        }
    }

    /// The retransmission timer expired; everything up to `nxt` will be sent again.
    pub(crate) fn on_timeout(&mut self, nxt: Seq) {
        *self = Recovery { phase: Phase::Timeout, duplicates: 0, recover: nxt, retransmit: false };
    }

    /// What may be in flight beyond the congestion window: inflation, or limited transmit's two segments (RFC
    /// 3042).
    pub(crate) fn allowance(&self, smss: u32) -> u32 {
        match self.phase {
            Phase::Fast { inflation, .. } => inflation,
            Phase::Open => self.duplicates.min(DUPLICATE_THRESHOLD - 1) * smss,
            Phase::Timeout => 0,
        }
    }

    /// Whether the segment at SND.UNA is to be sent again, now.
    pub(crate) fn wants_retransmit(&self) -> bool {
        self.retransmit
    }

    /// What is being repaired, by name.
    pub(crate) fn repair(&self) -> Repair {
        match self.phase {
            Phase::Open => Repair::Nothing,
            Phase::Fast { .. } => Repair::Fast,
            Phase::Timeout => Repair::Timeout,
        }
    }

    pub(crate) fn retransmitted(&mut self) {
        self.retransmit = false;
    }
}
