//! Is a silent peer still there? (RFC 9293 3.8.4)
//!
//! A probe is a segment without payload one before SND.NXT: a peer that lives has to answer it, one that has forgotten the
//! connection resets it, and one that is gone says nothing.

use super::{Connection, State, timers::Timer};
use crate::timestamps::elapsed;
use crate::{Duration, Instant, Payload, Segment};

/// A peer that was heard within this time is there: whoever asks again and again gets no probe for each question.
const HEARD_LATELY: Duration = Duration::from_secs(1);

impl<P: Payload> Connection<P> {
    /// Probes the peer now and, until it is heard, again and again, with the times of [`crate::Config::keep_alive`]. If it
    /// never is, the connection ends ([`crate::Event::TimedOut`]). For owners who see elsewhere that somebody wants to
    /// know. It does nothing if the peer was heard a moment ago, nor while bytes are in flight: these have timers of their
    /// own that find out.
    pub fn probe(&mut self, now: Instant) {
        let heard = elapsed(self.last_heard, now) < HEARD_LATELY;
        if !heard && self.may_probe() && !self.is_probing() {
            self.probe_again(now);
        }
    }

    /// The peer has been probed, and not been heard since.
    pub fn is_probing(&self) -> bool {
        self.keep_alive_probes > 0
    }

    /// Sees to it that the peer is probed after a silence.
    pub(super) fn watch_idle(&mut self, now: Instant) {
        if let Some(idle) = self.config.keep_alive.idle {
            self.timers.arm(Timer::KeepAlive, now + idle);
        }
    }

    /// Not restarted by traffic, which would cost a write for each segment: looks when it expires.
    pub(super) fn on_keep_alive_timer(&mut self, now: Instant) {
        let silent_until = self.config.keep_alive.idle.map(|idle| self.last_heard + idle);
        match (self.keep_alive_probes, silent_until) {
            // Heard again, and nobody asks for more.
            (0, None) => {}
            (0, Some(until)) if until > now => self.timers.arm(Timer::KeepAlive, until),
            _ if self.may_probe() => self.probe_again(now),
            _ => self.timers.arm(Timer::KeepAlive, now + self.config.keep_alive.interval),
        }
    }

    fn may_probe(&self) -> bool {
        let open = self.state.is_synchronized() && self.state != State::TimeWait;
        open && self.snd.una == self.snd.nxt && !self.timers.is_armed(Timer::Persist)
    }

    fn probe_again(&mut self, now: Instant) {
        let keep_alive = self.config.keep_alive;
        if self.keep_alive_probes >= keep_alive.probes {
            // The peer may still be there and would wait for ever: tell it.
            self.queue_abort_reset();
            return self.give_up();
        }
        self.keep_alive_probes += 1;
        self.snd.keep_alive_due = true;
        self.timers.arm(Timer::KeepAlive, now + keep_alive.interval);
    }

    /// Counts a probe of the peer's. It is answered as any segment before the window.
    pub(super) fn note_keep_alive(&mut self, segment: &Segment<'_>) {
        let bare = !(segment.flags.syn || segment.flags.fin || segment.flags.rst);
        if bare && segment.seq + 1 == self.rcv.nxt && segment.payload.len() <= 1 {
            self.stats.keep_alives += 1;
        }
    }
}
