//! The ends of a connection: close, abort, the peer's FIN and RST, TIME-WAIT (RFC 9293 3.6, 3.10.4, 3.10.5,
//! 3.10.7.4).

use super::{Connection, Reset, State, timers::Timer};
use crate::flight::Flight;
use crate::{Event, Instant, Payload, Segment, Seq};

impl<P: Payload> Connection<P> {
    /// Closes our direction: a FIN follows the queued bytes, after which nothing more can be sent. Receiving
    /// goes on until the peer closes too. Again, or after the end, it does nothing.
    pub fn close(&mut self) {
        match self.state {
            State::Listen | State::SynSent => self.finish(),
            // RFC 9293 3.10.4: wait for ESTABLISHED; see `become_established`.
            State::SynReceived => self.snd.fin = true,
            State::Established => {
                self.snd.fin = true;
                self.state = State::FinWait1;
            }
            State::CloseWait => {
                self.snd.fin = true;
                self.state = State::LastAck;
            }
            State::Closed
            | State::FinWait1
            | State::FinWait2
            | State::Closing
            | State::LastAck
            | State::TimeWait => {}
        }
    }

    /// Ends the connection at once: queued bytes are dropped, the peer is told with a RST where RFC 9293
    /// 3.10.5 says so. [`Event::Closed`] follows once [`Connection::poll_transmit`] has handed out the RST.
    pub fn abort(&mut self) {
        let tell = matches!(
            self.state,
            State::SynReceived | State::Established | State::FinWait1 | State::FinWait2 | State::CloseWait
        );
        // Beyond 3.10.5: where bytes are dropped, the peer would wait for them for ever.
        let tell = tell || matches!(self.state, State::Closing | State::LastAck) && self.queued() > 0;
        if self.state == State::Closed {
            return;
        }
        if tell {
            self.queue_abort_reset();
        }
        self.finish();
    }

    /// Owes the peer a RST for this connection.
    pub(super) fn queue_abort_reset(&mut self) {
        self.reset = Some(Reset::Abort);
    }

    /// Our FIN was acknowledged.
    pub(super) fn on_fin_acknowledged(&mut self, now: Instant) {
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                self.watch_fin_wait_2(now);
            }
            State::Closing => self.enter_time_wait(now),
            State::LastAck => self.finish(),
            _ => {}
        }
    }

    /// The peer's FIN was reached in order.
    pub(super) fn on_peer_fin(&mut self, now: Instant) {
        self.events.push(Event::PeerClosed);
        match self.state {
            State::Established => self.state = State::CloseWait,
            State::FinWait1 => self.state = State::Closing,
            State::FinWait2 => self.enter_time_wait(now),
            _ => {}
        }
    }

    /// FIN-WAIT-2 lasts as long as the peer is heard now and then.
    pub(super) fn watch_fin_wait_2(&mut self, now: Instant) {
        if let (State::FinWait2, Some(limit)) = (self.state, self.config.fin_wait_2) {
            self.timers.arm(Timer::FinWait2, now + limit);
        }
    }

    /// Starts, or starts again, the wait of 2 MSL.
    pub(super) fn enter_time_wait(&mut self, now: Instant) {
        self.state = State::TimeWait;
        let release = self.timers.is_armed(Timer::Release);
        self.timers.cancel_all();
        self.timers.arm(Timer::TimeWait, now + self.config.time_wait);
        if release {
            self.watch_memory(now);
        }
    }

    /// The peer's RST was accepted. RFC 9293 3.10.7.4 does not call it a reset once both ends have closed:
    /// the peer has forgotten the connection before our last segment came. It is one if bytes of ours are
    /// lost with it.
    pub(super) fn on_reset(&mut self) {
        let both_closed = matches!(self.state, State::Closing | State::LastAck | State::TimeWait);
        if !both_closed || self.snd.buffer.len() > 0 {
            self.events.push(Event::Reset);
        }
        self.finish();
    }

    /// CLOSED. Received bytes stay readable.
    pub(super) fn finish(&mut self) {
        self.state = State::Closed;
        self.timers.cancel_all();
        self.snd.forget();
        self.flight = Flight::new(self.snd.nxt);
        self.rcv.buffer.drop_held();
        self.ack.settle();
        if self.reset.is_none() {
            self.events.push(Event::Closed);
        }
    }

    /// RFC 9293 3.10.7.1, and 3.10.7.2 and 3.10.7.3 for ACKs of nothing: answers a segment that belongs to no
    /// connection.
    pub(super) fn refuse(&mut self, now: Instant, segment: &Segment<'_>) {
        if segment.flags.rst || self.reset.is_some() || !self.may_challenge(now) {
            return;
        }
        self.reset = Some(match segment.ack {
            Some(ack) => Reset::Reply { seq: ack, ack: None },
            None => Reset::Reply { seq: Seq(0), ack: Some(segment.end()) },
        });
    }
}
