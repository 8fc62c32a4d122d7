//! Retransmissions that were not needed: how they are found out, and what is kept to take their consequences back.
//!
//! Three witnesses: the echo of a timestamp from before the first retransmission (Eifel, RFC 3522), bytes that arrive
//! though they were taken for lost and never sent again (F-RTO, RFC 5682), and a receiver that says of everything that was
//! sent again that it came twice (RFC 2883, RFC 3708). The response is the one of RFC 4015: congestion window and
//! threshold are what they were.

use crate::Seq;
use crate::congestion::Controller;

/// What was known when a recovery began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Episode {
    prior: Controller,
    /// `from..to` was outstanding.
    from: Seq,
    to: Seq,
    /// Payload bytes sent again, and not reported as duplicates.
    unexplained: u32,
    resent: bool,
    /// Our clock (TSval) at the first retransmission.
    first_clock: Option<u32>,
}

impl Episode {
    pub(crate) fn new(prior: Controller, from: Seq, to: Seq) -> Self {
        Episode { prior, from, to, unexplained: 0, resent: false, first_clock: None }
    }

    /// `bytes` of payload leave again, with the timestamp `clock` if there is one.
    pub(crate) fn on_resent(&mut self, bytes: u32, clock: Option<u32>) {
        self.unexplained = self.unexplained.saturating_add(bytes);
        if !self.resent {
            self.first_clock = clock;
        }
        self.resent = true;
    }

    /// The receiver got `block` twice. Whether that can be our doing: the network duplicates as well.
    pub(crate) fn on_duplicate(&mut self, block: (Seq, Seq)) -> bool {
        let ours = self.resent && block.0.at_or_after(self.from) && block.1.at_or_before(self.to);
        if ours {
            self.unexplained = self.unexplained.saturating_sub(block.1.since(block.0));
        }
        ours
    }

    /// RFC 3708 3: all that was sent again had arrived before.
    pub(crate) fn all_came_twice(&self) -> bool {
        self.resent && self.unexplained == 0
    }

    /// RFC 3522 3.2: an ACK of new data answers a segment sent before the first retransmission.
    pub(crate) fn answers_original(&self, echo: u32) -> bool {
        self.first_clock.is_some_and(|first| Seq(echo).before(Seq(first)))
    }

    pub(crate) fn prior(&self) -> &Controller {
        &self.prior
    }

    /// Nothing that still comes can be about this: it lies further below SND.UNA than any ACK may.
    pub(crate) fn is_past(&self, una: Seq, reach: u32) -> bool {
        una.after(self.to) && una.since(self.to) > reach
    }
}

/// Where F-RTO stands (RFC 5682 2.1, 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Frto {
    /// The timeout is believed, or there was none.
    #[default]
    Off,
    /// Step 1: only the first segment has been sent again.
    Head,
    /// Step 2b: new segments have been let out instead of sending more again.
    New,
}
