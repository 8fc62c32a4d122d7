//! What is being repaired: recovery after a loss that was found by ACKs, or after a timeout.

use crate::Seq;
use crate::congestion::Prr;
use crate::rack::DUPLICATE_THRESHOLD;
use crate::spurious::{Episode, Frto};

/// What is being repaired.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Phase {
    /// Nothing.
    Open,
    /// A loss that ACKs have shown, until `recover` is acknowledged: fast recovery (RFC 5681 3.2).
    Fast(Prr),
    /// What was outstanding at a timeout, until `recover` is acknowledged.
    Timeout,
}

/// Where repair stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovery {
    pub(crate) phase: Phase,
    /// SND.NXT when the last loss was found: one loss event ends where it is acknowledged. Follows SND.UNA when nothing
    /// is being repaired, so that it never gets 2^31 old.
    pub(crate) recover: Seq,
    /// Something beyond `recover` was lost as well: another loss event.
    pub(crate) again: bool,
    /// Duplicate ACKs in a row, without SACK.
    duplicates: u32,
    /// What these stand for: bytes that have left the network (RFC 5681 3.2's inflation, turned around).
    left: u32,
    pub(crate) frto: Frto,
    /// Of the last loss event, until it cannot have been a mistake any more.
    pub(crate) episode: Option<Episode>,
}

impl Recovery {
    /// `start` is SND.NXT.
    pub(crate) fn new(start: Seq) -> Self {
        Recovery {
            phase: Phase::Open,
            recover: start - 1,
            again: false,
            duplicates: 0,
            left: 0,
            frto: Frto::Off,
            episode: None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// A loss event begins: `phase` until `recover` is acknowledged.
    pub(crate) fn begin(&mut self, phase: Phase, recover: Seq) {
        (self.phase, self.recover, self.again, self.frto) = (phase, recover, false, Frto::Off);
    }

    /// The retransmission timer expired. RFC 5682 1: it may have been too early.
    pub(crate) fn on_timeout(&mut self, nxt: Seq) {
        self.begin(Phase::Timeout, nxt);
        (self.duplicates, self.left, self.frto) = (0, 0, Frto::Head);
    }

    /// It is over, or was none. After a timeout `recover` stays: duplicates of ACKs up to it are no new loss (RFC 6582 3.2).
    pub(crate) fn end(&mut self, una: Seq) {
        let recover = if matches!(self.phase, Phase::Timeout) { self.recover } else { una - 1 };
        self.begin(Phase::Open, recover);
        (self.duplicates, self.left) = (0, 0);
    }

    /// SND.UNA has advanced while nothing is being repaired.
    pub(crate) fn follow(&mut self, una: Seq) {
        if una.after(self.recover) {
            self.recover = una - 1;
        }
    }

    /// Bytes that have left the network though no SACK says which.
    pub(crate) fn left(&self) -> u32 {
        self.left
    }

    pub(crate) fn duplicates(&self) -> u32 {
        self.duplicates
    }

    /// A duplicate ACK without SACK; at most `most` bytes can have left. Returns how many more have, and whether fast
    /// retransmit begins.
    pub(crate) fn on_duplicate(&mut self, una: Seq, smss: u32, most: u32) -> (u32, bool) {
        self.duplicates = self.duplicates.saturating_add(1);
        let begins = self.is_open()
            && self.duplicates == DUPLICATE_THRESHOLD
            // RFC 6582 3.2 (2): duplicates caused by what was sent again after a timeout are no new loss.
            && una.after(self.recover);
        // Before fast recovery RFC 3042 lets two segments out; after a timeout nothing is known to have left.
        let bound = match self.phase {
            Phase::Open if !begins => most.min((DUPLICATE_THRESHOLD - 1) * smss),
            Phase::Open | Phase::Fast(_) => most,
            Phase::Timeout => 0,
        };
        let before = self.left;
        self.left = self.left.saturating_add(smss).min(bound);
        (self.left.saturating_sub(before), begins)
    }

    /// An ACK of `acked` bytes, without SACK. Returns how many bytes arrived with it that no duplicate has stood for: in
    /// recovery one segment was missing, and the others had been told.
    pub(crate) fn on_progress_without_sack(&mut self, acked: u32, smss: u32) -> u32 {
        self.duplicates = 0;
        let told = match self.phase {
            Phase::Fast(_) => self.left.min(acked.saturating_sub(smss)),
            Phase::Open | Phase::Timeout => self.left.min(acked),
        };
        self.left = if let Phase::Fast(_) = self.phase { self.left - told } else { 0 };
        acked - told
    }
}
