//! How large a segment the path carries: what routers say (RFC 1191, RFC 8201), and what silence says (RFC 4821 7.7,
//! RFC 8899 4.3).
//!
//! Sizes are those of the MSS option: payload of a segment without TCP options.
//!
//! ```text
//!    MIN_MSS     floor          base                             the peer's MSS
//!  -----|----------|--------------|----------------------------------|-------->
//!                  |<--- lowered by a router, to what it says -------|
//!                  o<-------------o<------- on trial, after timeouts-|
//! ```

use crate::{Config, Seq};

/// Least segment size that is believed. A peer that claims less (CVE-2019-11479) would have each byte cost a
/// header; and 40 bytes of options must leave room for payload.
pub(crate) const MIN_MSS: u16 = 88;

/// Most times that routers may lower the size of one flight: a path of ever narrower links does, and so would
/// somebody who wants everything to be sent again and again.
const LOWERINGS_PER_FLIGHT: u8 = 4;

/// Timeouts after which a size on trial is given up.
const TRIAL_TIMEOUTS: u8 = 2;

/// What became of a message that a segment was too big for the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooBig {
    /// Segments are smaller from now on; what was sent larger is sent again.
    Lowered,
    /// Segments are as small as that already, or as small as they may get.
    Known,
    /// The number is not one of a segment in flight (RFC 5927 4.1): the message is old, or a stranger's.
    OutOfWindow,
    /// The size of this flight has been lowered as often as may be.
    TooOften,
}

/// How a trial of a smaller size ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trial {
    /// The smaller segments arrive: the path swallows larger ones.
    Proven,
    /// The larger ones have arrived after all; their size is this.
    Undone(u16),
}

/// What is known of the path. The size in use is the connection's to keep.
///
/// `MIN_MSS <= floor`; on trial: `present < untried`
#[derive(Clone, Copy, Debug)]
pub(crate) struct PathMtu {
    floor: u16,
    base: u16,
    /// The size to go back to if the one on trial does not help.
    untried: Option<u16>,
    /// Timeouts in a row that make a black hole likely; 0: it is not looked for.
    patience: u8,
    /// Timeouts since the last progress or change of size, for a segment that could be smaller.
    timeouts: u8,
    /// How often routers have lowered the size of the flight that ends at `flight_end`.
    lowered: u8,
    flight_end: Seq,
    /// The end of what was sent in the size on trial.
    trial_end: Seq,
}

impl PathMtu {
    pub(crate) fn new(config: &Config) -> Self {
        let floor = config.path_floor.max(MIN_MSS);
        PathMtu {
            floor,
            base: config.path_base.max(floor),
            untried: None,
            patience: config.black_hole_timeouts,
            timeouts: 0,
            lowered: 0,
            flight_end: Seq(0),
            trial_end: Seq(0),
        }
    }

    /// A router says that `told` is the largest size, while `una..nxt` is in flight and `present` is the size in use.
    /// Returns what comes of it, and the size from now on.
    pub(crate) fn on_too_big(&mut self, told: u16, present: u16, (una, nxt): (Seq, Seq)) -> (TooBig, u16) {
        let told = told.max(self.floor);
        if told >= present {
            self.untried = self.untried.map(|size| size.min(told)).filter(|&size| size > present);
            return (TooBig::Known, present);
        }
        if self.lowered == 0 {
            self.flight_end = nxt;
        }
        if self.lowered >= LOWERINGS_PER_FLIGHT && una.before(self.flight_end) {
            return (TooBig::TooOften, present);
        }
        self.lowered += 1;
        self.timeouts = 0;
        self.untried = None;
        (TooBig::Lowered, told)
    }

    /// The retransmission timer expired for a segment at `una`, which was of the size `lost`. Returns the size from now on;
    /// `present` is that of now.
    pub(crate) fn on_timeout(&mut self, una: Seq, lost: u32, present: u16) -> u16 {
        let lost = lost.min(present.into());
        let smaller = [self.base, self.floor].into_iter().find(|&size| u32::from(size) < lost);
        if smaller.is_none() && self.untried.is_none() {
            // So small that it is not for its size that it was lost.
            self.timeouts = 0;
            return present;
        }
        self.timeouts = self.timeouts.saturating_add(1);
        let limit = if self.untried.is_some() { TRIAL_TIMEOUTS } else { self.patience };
        if self.patience == 0 || self.timeouts < limit {
            return present;
        }
        self.timeouts = 0;
        match smaller {
            Some(size) => {
                if self.untried.is_none() {
                    (self.untried, self.trial_end) = (Some(present), una);
                }
                size
            }
            // It was not the size, or it is one that we do not try: all begins anew.
            None => self.untried.take().unwrap_or(present),
        }
    }

    /// A segment was sent that ends at `end`.
    pub(crate) fn on_sent(&mut self, end: Seq) {
        if self.untried.is_some() {
            self.trial_end = self.trial_end.later(end);
        }
    }

    /// Something new was acknowledged, up to `ack`; `late`: what was taken for lost was not. Returns how the trial ended,
    /// if there was one.
    pub(crate) fn on_progress(&mut self, ack: Seq, late: bool) -> Option<Trial> {
        self.timeouts = 0;
        if self.lowered > 0 && ack.at_or_after(self.flight_end) {
            self.lowered = 0;
        }
        let size = self.untried.take()?;
        // What was acknowledged beyond the trial was sent before it, and large: it was only late.
        Some(if late || ack.after(self.trial_end) { Trial::Undone(size) } else { Trial::Proven })
    }
}
