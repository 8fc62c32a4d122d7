//! No stall longer than the timers explain. A watchdog stands beside one of our endpoints and sees what a
//! capture there would show: the frames that it sends, the frames that reach it, and what its application
//! wants. From these alone it works out when the endpoint has to have sent something, and fails the test
//! when that time passes.
//!
//! What it holds the endpoint to:
//! * payload that arrives is acknowledged within the delay of ACKs (RFC 9293 3.8.6.3);
//! * what is not acknowledged is sent again within the retransmission timeout, doubled for each time that
//!   this has happened in vain (RFC 6298 5);
//! * what is queued leaves at once if nothing is in flight and the window is open, and within the timeout,
//!   doubled likewise, if the window is closed (RFC 9293 3.8.6.1);
//! * a reader that has taken everything has opened the window again (RFC 9293 3.8.6.2.2).

use std::collections::VecDeque;

use tcp_stack::{Adoption, Connection, Duration, Instant, Segment, Seq, State};

use super::ms;

/// What the configurations of these tests say.
const DELAYED_ACK: Duration = Duration::from_millis(40);
const RTO_MIN: Duration = Duration::from_millis(200);
const RTO_INITIAL: Duration = Duration::from_secs(1);
/// RFC 6298 5.7.
const RTO_AFTER_LOST_SYN: Duration = Duration::from_secs(3);
const RTO_MAX: Duration = Duration::from_secs(60);
/// Rounding of clocks.
const SLACK: Duration = Duration::from_millis(2);

/// A segment that takes sequence numbers and was sent once.
#[derive(Clone, Copy, Debug)]
struct Sent {
    start: Seq,
    end: Seq,
    at: Instant,
    /// The same, or when it was sent again.
    last: Instant,
    /// It was sent again (Karn's algorithm), or was a probe: its acknowledgement times nothing.
    tainted: bool,
    /// A SACK has told that it arrived.
    sacked: bool,
}

/// The application's side, as far as it explains silence.
#[derive(Clone, Copy, Debug)]
pub struct Wishes {
    state: State,
    queued: u32,
    readable: usize,
    limit: usize,
    /// What the connection says of itself: told if the test fails, not used.
    #[allow(dead_code, reason = "for the failure's text")]
    next_timer: Option<Instant>,
}

impl Wishes {
    pub fn of(connection: &Connection, limit: usize) -> Self {
        Wishes {
            state: connection.state(),
            queued: connection.queued() as u32,
            readable: connection.recv().len(),
            limit,
            next_timer: connection.poll_timeout(),
        }
    }
}

#[derive(Debug)]
pub struct Watchdog {
    name: &'static str,
    /// Sending: what is acknowledged, sent, and allowed, as a capture here shows it.
    una: Option<Seq>,
    nxt: Seq,
    edge: Seq,
    /// Sequence and acknowledgement number of the segment that `edge` came from.
    window_from: Option<(Seq, Seq)>,
    /// A segment less than a unit of our window beyond it: whether its window counts, a capture does not show.
    doubtful: Option<Seq>,
    largest_window: u32,
    /// Shifts of the window field that we and the peer have offered.
    our_offer: Option<u8>,
    peer_offer: Option<u8>,
    mss: Option<u32>,
    flight: VecDeque<Sent>,
    /// Longest round trip that was, or can have been, measured.
    longest: Duration,
    timed: bool,
    sample_from: Option<Seq>,
    syn_lost: bool,
    /// Both ends have offered SACK.
    sack: bool,
    /// Retransmissions that had to wait for a timer, since a round trip could be timed last.
    backoff: u32,
    /// Segments sent into a closed window, one after the other.
    probes: u32,
    /// When the retransmission timer may have been started last.
    restarted: Instant,
    /// When it was started last for certain: the oldest segment in flight became the oldest, or was sent again
    /// after that long that a timer must have done it.
    timer_from: Instant,
    /// When something arrived last.
    heard: Option<Instant>,
    /// Since when something is queued that the window does not let out.
    closed_since: Option<Instant>,
    /// Receiving: since when an acknowledgement is owed, and what was promised last.
    owed_since: Option<Instant>,
    rcv_nxt: Option<Seq>,
    /// TS.Recent.
    peer_clock: Option<u32>,
    our_edge: Option<Seq>,
    promised: u32,
    largest_payload: u32,
    peer_closed: bool,
    wishes: Option<Wishes>,
}

impl Watchdog {
    pub fn new(name: &'static str, now: Instant) -> Self {
        Watchdog {
            name,
            una: None,
            nxt: Seq(0),
            edge: Seq(0),
            window_from: None,
            doubtful: None,
            largest_window: 0,
            our_offer: None,
            peer_offer: None,
            mss: None,
            flight: VecDeque::new(),
            longest: Duration::ZERO,
            timed: false,
            sample_from: None,
            syn_lost: false,
            sack: true,
            backoff: 0,
            probes: 0,
            restarted: now,
            timer_from: now,
            heard: None,
            closed_since: None,
            owed_since: None,
            rcv_nxt: None,
            peer_clock: None,
            our_edge: None,
            promised: u32::MAX,
            largest_payload: 536,
            peer_closed: false,
            wishes: None,
        }
    }

    /// Beside a leg, from its adoption on.
    pub fn adopted(name: &'static str, now: Instant, adoption: &Adoption) -> Self {
        Watchdog {
            una: Some(adoption.snd_nxt),
            nxt: adoption.snd_nxt,
            edge: adoption.snd_nxt + adoption.snd_wnd,
            window_from: Some((adoption.rcv_nxt, adoption.snd_nxt)),
            largest_window: adoption.snd_wnd,
            our_offer: Some(adoption.rcv_scale),
            peer_offer: Some(adoption.snd_scale),
            mss: Some(u32::from(adoption.mss)),
            sack: adoption.sack,
            rcv_nxt: Some(adoption.rcv_nxt),
            our_edge: Some(adoption.rcv_adv),
            ..Watchdog::new(name, now)
        }
    }

    /// The longest that a frame has been under way, to the peer and back.
    pub fn note_path(&mut self, round_trip: Duration) {
        // The peer may take its time to acknowledge, too.
        self.longest = self.longest.max(round_trip + DELAYED_ACK);
    }

    /// A frame leaves the endpoint.
    pub fn sent(&mut self, now: Instant, segment: &Segment<'_>) {
        if segment.flags.rst {
            return;
        }
        if let Some(ack) = segment.ack {
            self.owed_since = None;
            self.rcv_nxt = Some(self.rcv_nxt.map_or(ack, |nxt| nxt.later(ack)));
            let scale = if segment.flags.syn { 0 } else { self.scales().0 };
            self.promised = u32::from(segment.window) << scale;
            let edge = ack + self.promised;
            self.our_edge = Some(self.our_edge.map_or(edge, |old| old.later(edge)));
        }
        if segment.flags.syn && self.una.is_none() {
            (self.una, self.nxt) = (Some(segment.seq), segment.seq);
            self.our_offer = segment.options.window_scale;
            self.note_syn(segment);
        }
        let Some(una) = self.una.filter(|_| segment.seq_len() > 0) else { return };
        let probe = !segment.flags.syn && segment.end().after(self.edge);
        self.probes = if probe { self.probes + 1 } else { 0 };
        let again = segment.seq.before(self.nxt);
        if again {
            self.syn_lost |= segment.flags.syn;
            let (from, to) = (segment.seq, segment.end());
            let sent_again = |sent: &&mut Sent| sent.end.after(from) && sent.start.before(to);
            self.flight
                .iter_mut()
                .filter(sent_again)
                .for_each(|sent| (sent.tainted, sent.last) = (true, now));
        }
        if segment.seq.at_or_before(una) {
            // Nothing has arrived that could be the cause, or a timer must have been due.
            let by_timer = self.heard != Some(now) || now - self.timer_from + SLACK >= RTO_MIN;
            if !again || by_timer {
                self.timer_from = now;
            }
            let timeout = again && !probe && by_timer;
            self.backoff += u32::from(timeout);
            // Without SACK nobody can tell what has been waiting at the receiver since before the timeout.
            if timeout && !self.sack {
                self.flight.iter_mut().for_each(|sent| sent.tainted = true);
            }
        }
        if segment.end().after(self.nxt) {
            let (start, tainted) = (self.nxt, again || probe);
            self.nxt = segment.end();
            self.flight.push_back(Sent { start, end: self.nxt, at: now, last: now, tainted, sacked: false });
        }
        self.restarted = now;
        self.closed_since = None;
    }

    /// A frame reaches the endpoint unharmed.
    pub fn delivered(&mut self, now: Instant, segment: &Segment<'_>) {
        self.heard = Some(now);
        if segment.flags.rst {
            return;
        }
        let acceptable = self.is_acceptable(segment);
        if segment.flags.syn {
            if self.window_from.is_none() {
                self.peer_offer = segment.options.window_scale;
                self.note_syn(segment);
                self.largest_window = self.largest_window.max(u32::from(segment.window));
            }
        } else if segment.seq_len() > 0 && self.is_possible(segment.ack) {
            self.owed_since.get_or_insert(now);
            self.largest_payload = self.largest_payload.max(segment.payload.len() as u32);
            self.peer_closed |= segment.flags.fin;
        }
        if !acceptable {
            return;
        }
        let rcv_nxt = self.rcv_nxt.unwrap_or(segment.seq);
        let beyond = self.our_edge.map_or(0, |edge| segment.end().since_or_zero(edge.later(rcv_nxt)));
        if segment.seq_len() > 0 && beyond > 0 && beyond <= 1 << self.scales().0 {
            self.doubtful = Some(segment.end());
        }
        if segment.seq.at_or_before(rcv_nxt) {
            // What lies beyond the window was taken only if our next ACK says so.
            let taken = self.our_edge.map_or(segment.end(), |edge| segment.end().earlier(edge));
            self.rcv_nxt = Some(rcv_nxt.later(taken));
        }
        if let (Some(ack), Some(una)) = (segment.ack, self.una) {
            self.acknowledged(now, segment, ack, una);
        }
    }

    /// Whether a segment's acknowledgement counts: it is neither older than one that came (RFC 7323 5.3) nor
    /// outside the window (RFC 9293 3.10.7.4).
    fn is_acceptable(&mut self, segment: &Segment<'_>) -> bool {
        if let Some(timestamps) = segment.options.timestamps {
            if self.peer_clock.is_some_and(|recent| Seq(timestamps.val).before(Seq(recent))) {
                return false;
            }
            if self.rcv_nxt.is_none_or(|nxt| segment.seq.at_or_before(nxt)) && !segment.flags.syn {
                self.peer_clock = Some(timestamps.val);
            }
        }
        let Some(nxt) = self.rcv_nxt else { return true };
        let is_old =
            if segment.seq_len() > 0 { segment.end().at_or_before(nxt) } else { segment.seq.before(nxt) };
        let Some(edge) = self.our_edge.filter(|_| !is_old) else { return !is_old };
        let beyond = segment.seq.since_or_zero(edge.later(nxt));
        if beyond > 0 && beyond <= 1 << self.scales().0 {
            self.doubtful = Some(segment.seq);
        }
        beyond == 0
    }

    /// RFC 5961 5.2: the answer to a segment with another ACK is limited.
    fn is_possible(&self, ack: Option<Seq>) -> bool {
        let possible =
            |una: Seq, ack: Seq| ack.at_or_after(una - self.largest_window) && ack.at_or_before(self.nxt);
        self.una.zip(ack).is_none_or(|(una, ack)| possible(una, ack))
    }

    fn acknowledged(&mut self, now: Instant, segment: &Segment<'_>, ack: Seq, una: Seq) {
        if ack.before(una) || ack.after(self.nxt) {
            return;
        }
        if ack.after(una) {
            self.una = Some(ack);
            self.restarted = now;
            self.timer_from = now;
            let arrived = self.flight.iter().take_while(|sent| sent.end.at_or_before(ack)).count();
            // What was sent once may have waited at the receiver for what was sent again. A part of a segment times nothing.
            let once = arrived > 0 && !self.flight.range(..arrived).any(|sent| sent.tainted);
            // RFC 6298 3: one sample for each round trip is enough.
            let new = self.sample_from.is_none_or(|from| ack.after(from));
            if once && new {
                self.sample_from = Some(self.nxt);
                let first = self.flight.front().map_or(now, |sent| sent.at);
                self.longest = self.longest.max(now - first);
                (self.timed, self.backoff) = (true, 0);
            }
            // With SACK, what was sent after the last of what was sent again has not waited for it.
            if !once && self.sack {
                let arrived = self.flight.range(..arrived);
                let resent = arrived.clone().filter(|sent| sent.tainted).map(|sent| sent.last).max();
                let first =
                    arrived.filter(|sent| !sent.tainted && Some(sent.at) >= resent).map(|sent| sent.at).min();
                self.longest = self.longest.max(first.map_or(Duration::ZERO, |first| now - first));
            }
            // The peer's echo tells which of them it answers, so that timestamps time what was sent again (RFC 7323 4.1).
            if !once && segment.options.timestamps.is_some() {
                let first = self.flight.range(..arrived).map(|sent| sent.last).min();
                self.longest = self.longest.max(first.map_or(Duration::ZERO, |first| now - first));
            }
            self.flight.drain(..arrived);
            self.longest_of_sacks(now, segment);
        } else if segment.options.sack[0].is_some() {
            // RFC 8985 7.2: probes and timer are scheduled again when something is newly SACKed.
            self.restarted = now;
            self.longest_of_sacks(now, segment);
        }
        let is_older =
            |(seq, last): (Seq, Seq)| seq.after(segment.seq) || (seq == segment.seq && last.after(ack));
        if !self.window_from.is_some_and(is_older) {
            let scale = if segment.flags.syn { 0 } else { self.scales().1 };
            let window = u32::from(segment.window) << scale;
            self.window_from = Some((segment.seq, ack));
            self.doubtful = self.doubtful.filter(|seq| seq.after(segment.seq));
            self.edge = ack + window;
            self.largest_window = self.largest_window.max(window);
        }
    }

    /// The first SACK of a segment that was sent once times it, and may come late: with the answer to another, if its own ACK
    /// was lost.
    fn longest_of_sacks(&mut self, now: Instant, segment: &Segment<'_>) {
        for &(left, right) in segment.options.sack.iter().flatten() {
            let told = self.flight.iter_mut().filter(|sent| !sent.sacked);
            for sent in told.filter(|sent| sent.start.at_or_after(left) && sent.end.at_or_before(right)) {
                sent.sacked = true;
                if !sent.tainted {
                    self.longest = self.longest.max(now - sent.at);
                }
            }
        }
    }

    /// After the endpoint was polled: what its application wants now.
    pub fn settle(&mut self, now: Instant, wishes: Wishes) {
        self.wishes = Some(wishes);
        let pending = self.pending();
        if pending == 0 || !self.is_idle() {
            self.closed_since = None;
        } else if self.window() >= self.worthwhile().min(pending) && self.doubtful.is_none() {
            self.fail(now, "bytes are queued, nothing is in flight, the window is open");
        } else {
            self.closed_since.get_or_insert(now);
        }
        self.check_window(now, &wishes);
    }

    /// Before the endpoint is told the time: nothing it owes may be overdue.
    pub fn check(&self, now: Instant) {
        let rules = [
            ("payload was not acknowledged", self.owed_since.map(|since| since + DELAYED_ACK)),
            (
                "nothing was sent again",
                (!self.is_idle()).then(|| self.restarted + self.timeout() + self.reordering()),
            ),
            ("a closed window was not probed", self.closed_since.map(|since| since + self.timeout())),
        ];
        // A connection that is over owes nothing, one in TIME-WAIT only ACKs.
        let rules = match self.wishes.map(|wishes| wishes.state) {
            None | Some(State::Closed | State::Listen) => &rules[..0],
            Some(State::TimeWait) => &rules[..1],
            _ => &rules[..],
        };
        for (what, deadline) in rules {
            if deadline.is_some_and(|deadline| now > deadline + SLACK) {
                self.fail(now, what);
            }
        }
    }

    /// The window that the peer was told: opened again once its bytes are consumed.
    fn check_window(&self, now: Instant, wishes: &Wishes) {
        let receiving = matches!(wishes.state, State::Established | State::FinWait1 | State::FinWait2);
        if !receiving || self.peer_closed || wishes.readable > 0 || wishes.limit == 0 {
            return;
        }
        let unit = 1 << self.scales().0;
        let wanted = self.largest_payload.min(wishes.limit as u32 / 2);
        if self.promised.saturating_add(unit) < wanted {
            self.fail(now, "everything was read, and the peer was not told");
        }
    }

    /// Shifts of our window field and of the peer's: both have to offer it (RFC 7323 2.2).
    fn scales(&self) -> (u8, u8) {
        self.our_offer.zip(self.peer_offer).map_or((0, 0), |(ours, peers)| (ours.min(14), peers.min(14)))
    }

    fn note_syn(&mut self, syn: &Segment<'_>) {
        self.sack &= syn.options.sack_permitted;
        let offered = u32::from(syn.options.mss.unwrap_or(536));
        self.mss = Some(self.mss.map_or(offered, |mss| mss.min(offered)));
    }

    fn is_idle(&self) -> bool {
        self.una.is_none_or(|una| una == self.nxt)
    }

    /// Sequence numbers queued and never sent.
    fn pending(&self) -> u32 {
        let (Some(wishes), Some(una)) = (self.wishes, self.una) else { return 0 };
        let closing = match wishes.state {
            State::FinWait1 | State::Closing | State::LastAck => 1,
            State::Established | State::CloseWait => 0,
            _ => return 0,
        };
        (una + wishes.queued + closing).since_or_zero(self.nxt)
    }

    fn window(&self) -> u32 {
        self.edge.since_or_zero(self.nxt)
    }

    /// What is lost behind a closed window is probed for, an RTO after it was found lost: when it has had its time to be overtaken, a round trip
    /// at most (RFC 8985 6.2). In an open window it is sent again then.
    fn reordering(&self) -> Duration {
        let is_closed = self.una.is_none_or(|una| self.edge.at_or_before(una));
        if is_closed { self.longest } else { Duration::ZERO }
    }

    /// RFC 9293 3.8.6.2.1: a full segment, or half of the largest window.
    fn worthwhile(&self) -> u32 {
        self.mss.unwrap_or(536).max(88).min(self.largest_window.div_ceil(2)).max(1)
    }

    /// Longest that the retransmission timer can run. No sample exceeds `longest`; SRTT + 4 RTTVAR comes to 3.52
    /// times as much at most, after that longest sample and two that are next to nothing (RFC 6298 2).
    fn timeout(&self) -> Duration {
        let first = if self.syn_lost { RTO_AFTER_LOST_SYN } else { RTO_INITIAL };
        let base = (self.longest * 18 / 5).max(if self.timed { RTO_MIN } else { first });
        Duration::from_micros(base.total_micros().saturating_mul(1 << (self.backoff + self.probes).min(20)))
            .min(RTO_MAX)
    }

    fn fail(&self, now: Instant, what: &str) {
        let at = now.total_micros() as f64 / 1e3;
        panic!("watchdog of {} at {at:.3} ms: {what}: {self:#?}", self.name);
    }
}

/// The watchdog's own test.
pub fn a_watchdog_barks() {
    let start = Instant::from_secs(1);
    let adoption = Adoption {
        snd_nxt: Seq(1000),
        rcv_nxt: Seq(5000),
        snd_wnd: 10_000,
        snd_scale: 0,
        rcv_scale: 0,
        mss: 1000,
        sack: false,
        timestamps: None,
        rcv_adv: Seq(15_000),
        rtt_hint: None,
    };
    let idle = Wishes { state: State::Established, queued: 0, readable: 0, limit: 10_000, next_timer: None };
    let segment = |seq, ack, payload| Segment {
        src_port: 1,
        dst_port: 2,
        seq: Seq(seq),
        ack: Some(Seq(ack)),
        flags: tcp_stack::Flags::default(),
        window: 10_000,
        options: tcp_stack::Options::default(),
        payload,
    };
    let barks = |act: &mut dyn FnMut(&mut Watchdog)| {
        let mut dog = Watchdog::adopted("test", start, &adoption);
        dog.settle(start, idle);
        let act = std::panic::AssertUnwindSafe(|| act(&mut dog));
        std::panic::catch_unwind(act).is_err()
    };
    // An ACK after 30 ms is right, one after 50 is not.
    assert!(!barks(&mut |dog| {
        dog.delivered(start, &segment(5000, 1000, b"x"));
        dog.check(start + ms(30));
        dog.sent(start + ms(30), &segment(1000, 5001, b""));
        dog.check(start + ms(5_000));
    }));
    assert!(barks(&mut |dog| {
        dog.delivered(start, &segment(5000, 1000, b"x"));
        dog.check(start + ms(50));
    }));
    // A round trip of 10 ms leaves 200 ms, then 400.
    let fly = |dog: &mut Watchdog| {
        dog.sent(start, &segment(1000, 5000, b"x"));
        dog.delivered(start + ms(10), &segment(5000, 1001, b""));
        dog.sent(start + ms(10), &segment(1001, 5000, b"x"));
        dog.check(start + ms(210));
    };
    assert!(barks(&mut |dog| {
        fly(dog);
        dog.check(start + ms(220));
    }));
    let again = |dog: &mut Watchdog| {
        fly(dog);
        dog.sent(start + ms(210), &segment(1001, 5000, b"x"));
        dog.check(start + ms(600));
    };
    assert!(!barks(&mut |dog| again(dog)));
    assert!(barks(&mut |dog| {
        again(dog);
        dog.check(start + ms(620));
    }));
    // Queued bytes leave at once.
    assert!(barks(&mut |dog| dog.settle(start, Wishes { queued: 1, ..idle })));
    // A closed window is probed within the first timeout, and opened by its reader.
    assert!(barks(&mut |dog| {
        dog.delivered(start, &Segment { window: 0, ..segment(5000, 1000, b"") });
        dog.settle(start, Wishes { queued: 1, ..idle });
        dog.check(start + ms(1_010));
    }));
    assert!(barks(&mut |dog| {
        dog.sent(start, &Segment { window: 0, ..segment(1000, 5000, b"") });
        dog.settle(start, idle);
    }));
}
