//! The timers of a connection, and what their expiry does.

use super::{Connection, State};
use crate::{Duration, Event, Instant, Payload, timestamps::elapsed};

/// Names of the timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The tail loss probe (RFC 8985 7); before the next one, which it may be due with.
    Probe,
    /// RFC 6298 5.
    Retransmit,
    /// The reordering window (RFC 8985 6.2).
    Reorder,
    /// More may leave (see `Config::pacing`).
    Pace,
    /// RFC 9293 3.8.6.1: the window is closed, or too small to be used without a long wait.
    Persist,
    /// RFC 9293 3.8.6.3.
    DelayedAck,
    /// RFC 9293 3.8.4.
    KeepAlive,
    /// End of FIN-WAIT-2 without a segment from the peer.
    FinWait2,
    /// End of TIME-WAIT.
    TimeWait,
    /// Time to give empty buffers' memory back.
    Release,
}

const ALL: [Timer; 10] = [
    Timer::Probe,
    Timer::Retransmit,
    Timer::Reorder,
    Timer::Pace,
    Timer::Persist,
    Timer::DelayedAck,
    Timer::KeepAlive,
    Timer::FinWait2,
    Timer::TimeWait,
    Timer::Release,
];

impl Timer {
    /// As it is told; none for those that are the connection's own affair.
    fn name(self) -> Option<&'static str> {
        match self {
            Timer::Probe => Some("tail-probe"),
            Timer::Retransmit => Some("retransmit"),
            Timer::Reorder => Some("reorder"),
            Timer::Persist => Some("persist"),
            Timer::KeepAlive => Some("keep-alive"),
            Timer::FinWait2 => Some("fin-wait-2"),
            Timer::TimeWait => Some("time-wait"),
            Timer::Pace | Timer::DelayedAck | Timer::Release => None,
        }
    }
}

/// One deadline for each timer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timers([Option<Instant>; ALL.len()]);

impl Timers {
    pub(super) fn arm(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = Some(at);
    }

    pub(super) fn arm_if_idle(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize].get_or_insert(at);
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(super) fn is_armed(&self, timer: Timer) -> bool {
        self.0[timer as usize].is_some()
    }

    pub(super) fn deadline(&self, timer: Timer) -> Option<Instant> {
        self.0[timer as usize]
    }

    pub(super) fn cancel_all(&mut self) {
        *self = Timers::default();
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// The earliest of those that wait for the peer, by name.
    pub(super) fn next_named(&self) -> Option<(&'static str, Instant)> {
        let named = ALL.iter().filter_map(|timer| Some((timer.name()?, self.0[*timer as usize]?)));
        named.min_by_key(|(_, at)| *at)
    }

    fn take_expired(&mut self, timer: Timer, now: Instant) -> bool {
        self.0[timer as usize].take_if(|at| *at <= now).is_some()
    }
}

impl<P: Payload> Connection<P> {
    pub(super) fn expire_timers(&mut self, now: Instant) {
        for timer in ALL {
            if !self.timers.take_expired(timer, now) {
                continue;
            }
            match timer {
                Timer::Probe => self.on_probe_timer(now),
                Timer::Reorder => self.on_reorder_timer(now),
                Timer::Retransmit => self.on_retransmit_timer(now),
                // `poll_transmit` does it.
                Timer::Pace => {}
                Timer::Persist => self.on_persist_timer(now),
                Timer::DelayedAck => self.ack.owe_now(),
                Timer::KeepAlive => self.on_keep_alive_timer(now),
                Timer::FinWait2 => self.probe(now),
                Timer::TimeWait => self.finish(),
                Timer::Release => self.on_release_timer(now),
            }
        }
    }

    /// RFC 6298 5.4 to 5.7.
    fn on_retransmit_timer(&mut self, now: Instant) {
        self.stats.rto_events += 1;
        let is_syn = matches!(self.state, State::SynSent | State::SynReceived);
        let limit = if is_syn { self.config.max_syn_retries } else { self.config.max_retries };
        if self.exhausted(now, limit) {
            return self.give_up();
        }
        // Closed, or smaller than what is to be sent again.
        let closed = !is_syn && self.snd.wnd < self.flight.head_len();
        if !closed {
            self.rtt.back_off();
        }
        if is_syn {
            self.snd.syn_due = true;
            self.snd.syn_lost = true;
        } else {
            // A window that was closed over bytes in flight has been closed for as long as a probe has to wait (RFC
            // 9293 3.8.6.1); the probes have a back-off of their own.
            self.snd.probe_due = closed;
            self.on_loss_timeout(now);
        }
    }

    /// RFC 9293 3.8.6.1: the first probe comes after one RTO, the next ones after ever longer.
    fn on_persist_timer(&mut self, now: Instant) {
        if self.exhausted(now, self.config.max_retries) || self.window_closed_too_long(now) {
            return self.give_up();
        }
        if self.flight.in_flight() > 0 {
            // A timeout was taken back as spurious: what had waited for the window is in flight after all.
            return self.timers.arm(Timer::Retransmit, now + self.rtt.rto());
        }
        self.snd.probe_due = true;
    }

    fn window_closed_too_long(&self, now: Instant) -> bool {
        match (self.config.zero_window_timeout, self.snd.closed_since) {
            (Some(limit), Some(since)) => elapsed(since, now) >= limit,
            _ => false,
        }
    }

    /// Counts a retry. Whether there have been too many, or they have taken too long (RFC 9293 3.8.3, R2).
    fn exhausted(&mut self, now: Instant, limit: u32) -> bool {
        self.snd.retries += 1;
        let too_long = |timeout: Duration| elapsed(self.snd.progress_at, now) >= timeout;
        self.snd.retries > limit || self.config.user_timeout.is_some_and(too_long)
    }

    /// Not restarted by traffic, which would cost a write for each segment: looks when it expires.
    fn on_release_timer(&mut self, now: Instant) {
        let last = if self.last_heard > self.snd.last_sent { self.last_heard } else { self.snd.last_sent };
        let due = last + self.config.release_after;
        if due > now {
            return self.timers.arm(Timer::Release, due);
        }
        let held = [self.snd.buffer.release(), self.flight.release(), self.rcv.buffer.release()];
        if held.contains(&true) {
            self.timers.arm(Timer::Release, now + self.config.release_after);
        }
    }

    /// Sees to it that memory is given back some time after it was taken.
    pub(super) fn watch_memory(&mut self, now: Instant) {
        let has_memory =
            self.snd.buffer.has_memory() || self.flight.has_memory() || self.rcv.buffer.has_memory();
        if self.state != State::Closed && has_memory {
            self.timers.arm_if_idle(Timer::Release, now + self.config.release_after);
        }
    }

    /// The peer does not answer.
    pub(super) fn give_up(&mut self) {
        self.events.push(Event::TimedOut);
        self.finish();
    }
}
