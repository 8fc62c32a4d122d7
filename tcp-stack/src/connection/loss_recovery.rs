//! What an acknowledgement says about the segments in flight, and what follows: losses found (RFC 8985, RFC 6582), or
//! found to be none (`spurious`), and the congestion window.

use super::{Connection, timers::Timer};
use crate::congestion::{Delivery, Prr};
use crate::flight::Arrived;
use crate::rack;
use crate::recovery::Phase;
use crate::sack::Blocks;
use crate::spurious::{Episode, Frto};
use crate::timestamps::elapsed;
use crate::{Duration, Instant, Payload, Segment, Seq};

/// What one ACK says.
#[derive(Clone, Copy, Debug, Default)]
struct News {
    /// Sequence numbers by which SND.UNA has advanced.
    acked: u32,
    /// Sequence numbers newly known to have arrived.
    delivered: u32,
    blocks: Blocks,
    /// A duplicate ACK (RFC 5681 2).
    is_duplicate: bool,
    /// What it acknowledges was sent when the congestion window was what held the sender back.
    limited: bool,
    /// Round trip of a segment sent once, of those sent since the last sample.
    sample: Option<Duration>,
    /// Round trip of the segment sent once that was sent last, and when that was.
    latest: Option<(Instant, Duration)>,
    /// Segments that were sent more than once have arrived, their round trips ambiguous: when the last of them was sent.
    resent_at: Option<Instant>,
    /// One of them was indeed sent more than once, and not only taken for lost.
    resent: bool,
    /// A segment that a timeout took for lost has arrived, though it was not sent again (RFC 5682).
    original: bool,
}

impl News {
    fn take(&mut self, arrived: &Arrived, now: Instant, sample_from: Seq, recover: Seq, sack: bool) {
        self.original |= arrived.was_lost && !arrived.retransmitted && arrived.end.at_or_before(recover);
        self.resent |= arrived.retransmitted;
        // Without SACK what a timeout took for lost may have been waiting at the receiver ever since.
        if arrived.retransmitted || arrived.was_lost && !sack {
            self.resent_at = self.resent_at.max(Some(arrived.sent_at));
            return;
        }
        let rtt = elapsed(arrived.sent_at, now);
        if arrived.end.after(sample_from) {
            self.sample.get_or_insert(rtt);
        }
        if self.latest.is_none_or(|(sent_at, _)| arrived.sent_at >= sent_at) {
            self.latest = Some((arrived.sent_at, rtt));
        }
    }
}

impl<P: Payload> Connection<P> {
    /// Bytes believed to be in the network.
    pub(super) fn pipe(&self) -> u32 {
        self.flight.in_flight().saturating_sub(self.recovery.left())
    }

    /// Takes an acceptable acknowledgement, SND.UNA <= `ack` <= SND.NXT; `window` is what the segment offers.
    pub(super) fn take_acknowledgement(
        &mut self,
        now: Instant,
        segment: &Segment<'_>,
        ack: Seq,
        window: u32,
    ) {
        let before = self.snd.una;
        if ack == before && self.flight.in_flight() == 0 {
            // The answer to a probe: the peer lives, and may keep its window closed (RFC 9293 3.8.6.1).
            self.snd.retries = 0;
            self.snd.progress_at = now;
        }
        // With nothing in flight there may still be a report about what was.
        if self.flight.is_empty() && ack == before && segment.options.sack[0].is_none() {
            return;
        }
        let mut news = self.read_news(now, segment, ack, window);
        self.stats.duplicate_acks += u32::from(news.is_duplicate);
        self.stats.duplicate_sacks += u32::from(news.blocks.duplicate.is_some());
        self.stats.sacks_refused += news.blocks.refused;
        let fin_acked = news.acked > 0 && self.advance(now, ack);
        self.take_round_trip(now, segment, &news);
        self.take_duplicate_report(&news);
        if !self.sack && news.acked > 0 {
            news.delivered = self.recovery.on_progress_without_sack(news.acked, self.smss());
        }
        let undone = self.undo_if_spurious(segment, &news);
        if news.acked > 0 {
            self.path_progress(ack, undone);
        }
        let ended = !undone && self.end_recovery_if_done();
        let lost = self.find_losses(now, &mut news);
        self.stats.delivered += u64::from(news.delivered);
        self.respond(now, &news, lost, ended);
        self.step_frto(&news);
        self.restart_timers(now, news.acked > 0);
        if fin_acked {
            self.on_fin_acknowledged(now);
        }
    }

    /// Brings the flight up to date.
    fn read_news(&mut self, now: Instant, segment: &Segment<'_>, ack: Seq, window: u32) -> News {
        let (una, nxt) = (self.snd.una, self.snd.nxt);
        let blocks = if self.sack {
            Blocks::read(&segment.options, ack, (una, nxt), self.snd.max_wnd)
        } else {
            Blocks::default()
        };
        // RFC 5681 2: a duplicate ACK carries nothing and changes nothing. With SACK it may change the window (RFC 6675
        // 2): receivers that tune their buffer do so for bytes ahead of a gap as well.
        let bare = ack == una && segment.payload.is_empty() && !segment.flags.fin;
        let selective = blocks.held().next().is_some();
        let mut news = News {
            acked: ack.since(una),
            blocks,
            limited: una.before(self.snd.limited_until),
            is_duplicate: bare && self.flight.in_flight() > 0 && (window == self.snd.wnd || selective),
            ..News::default()
        };
        let (rack, clock, least) = (&mut self.rack, self.clock, self.rtt.least());
        let (sample_from, recover) = (self.snd.sample_from, self.recovery.recover);
        let (echo, sack) = (clock.zip(segment.options.timestamps), self.sack);
        let mut arrived = |news: &mut News, record: Arrived| {
            // RFC 8985 6.2, step 2: which of several sendings has arrived?
            let too_soon = least.is_some_and(|least| elapsed(record.sent_at, now) < least);
            let older = echo.is_some_and(|(clock, peer)| clock.is_before(peer.ecr, record.sent_at));
            rack.on_arrival(now, &record, record.retransmitted && (too_soon || older));
            news.take(&record, now, sample_from, recover, sack);
        };
        let mut delivered = self.flight.acknowledge(ack, |record| arrived(&mut news, record));
        if let Some(resent_at) = news.resent_at {
            // What was sent before has waited at the receiver for what was sent again.
            news.latest = news.latest.filter(|(sent_at, _)| *sent_at >= resent_at);
            news.sample = news.sample.and(news.latest).map(|(_, rtt)| rtt);
            // Without SACK it cannot be told whether it has come late or had been waiting.
            news.original &= sack || !news.resent;
        }
        for (left, right) in blocks.held() {
            delivered += self.flight.sack(left, right, |record| arrived(&mut news, record));
        }
        news.delivered = delivered;
        news
    }

    /// SND.UNA advances to `ack`. Returns whether our FIN is acknowledged.
    fn advance(&mut self, now: Instant, ack: Seq) -> bool {
        let acked = ack.since(self.snd.una);
        let acked_bytes = (ack.since_or_zero(self.snd.start) as usize).min(self.snd.buffer.len());
        let fin_acked = self.snd.fin && ack == self.queue_end() + 1;
        self.snd.una = ack;
        self.snd.buffer.acknowledge(acked_bytes);
        self.snd.start += acked_bytes as u32;
        if fin_acked {
            self.snd.start = ack;
        }
        self.snd.wnd = self.snd.wnd.saturating_sub(acked);
        self.snd.retries = 0;
        self.rtt.on_progress();
        self.snd.progress_at = now;
        self.snd.sample_from = self.snd.sample_from.later(ack);
        self.snd.limited_until = self.snd.limited_until.later(ack);
        self.rack.on_progress(ack);
        if self.recovery.is_open() {
            self.recovery.follow(ack);
        }
        fin_acked
    }

    /// Round-trip times: of a segment that was sent once (RFC 6298 3, Karn's algorithm), exact to the microsecond; else
    /// from the peer's echo of our clock (RFC 7323 4), which tells retransmissions apart.
    fn take_round_trip(&mut self, now: Instant, segment: &Segment<'_>, news: &News) {
        if let Some((_, rtt)) = news.latest {
            self.rtt.observe(now, rtt);
            self.tail_probe.on_round_trip();
        }
        let sample = match (news.sample, news.resent_at) {
            (None, Some(resent_at)) if news.acked > 0 => self.echoed_round_trip(now, segment, resent_at),
            (sample, _) => sample,
        };
        if let Some(sample) = sample {
            self.rtt.sample(sample);
            self.snd.sample_from = self.snd.nxt;
        }
    }

    /// Not if the echo is older than what it might answer: a receiver whose ACKs are lost answers what it has already with the
    /// clock of long ago (RFC 7323 5.3, R2 before R3).
    fn echoed_round_trip(&self, now: Instant, segment: &Segment<'_>, resent_at: Instant) -> Option<Duration> {
        let (clock, peer) = self.clock.zip(segment.options.timestamps)?;
        if clock.is_before(peer.ecr, resent_at) { None } else { clock.round_trip(now, peer.ecr) }
    }

    /// RFC 2883: the receiver got something twice.
    fn take_duplicate_report(&mut self, news: &News) {
        let Some(block) = news.blocks.duplicate else { return };
        let episode = self.recovery.episode.as_mut();
        if episode.is_some_and(|episode| episode.on_duplicate(block)) {
            self.rack.on_duplicate(self.snd.una, self.snd.nxt);
        }
    }

    /// RFC 4015: takes back what was done about a loss that was none.
    fn undo_if_spurious(&mut self, segment: &Segment<'_>, news: &News) -> bool {
        let Some(episode) = &self.recovery.episode else { return false };
        let open = self.recovery.is_open();
        let echo = segment.options.timestamps.filter(|_| self.clock.is_some() && news.acked > 0 && !open);
        let by_echo = echo.is_some_and(|peer| episode.answers_original(peer.ecr));
        let by_reports = news.blocks.duplicate.is_some() && episode.all_came_twice();
        let by_original = news.original && self.recovery.frto != Frto::Off;
        if !(by_echo || by_reports || by_original) {
            if open && episode.is_past(self.snd.una, self.snd.max_wnd) {
                self.recovery.episode = None;
            }
            return false;
        }
        self.congestion.undo(episode.prior());
        if matches!(self.recovery.phase, Phase::Fast(_)) {
            // The same evidence as a report of a duplicate, which will find no episode any more.
            self.rack.on_reordering();
            self.rack.on_duplicate(self.snd.una, self.snd.nxt);
        }
        if !open {
            self.flight.regain_lost();
            self.recovery.end(self.snd.una);
        }
        self.recovery.episode = None;
        self.stats.spurious_recoveries += 1;
        true
    }

    /// All that was outstanding when the loss was found is acknowledged.
    fn end_recovery_if_done(&mut self) -> bool {
        if self.recovery.is_open() || self.snd.una.before(self.recovery.recover) {
            return false;
        }
        let again = self.recovery.again;
        if let Phase::Fast(_) = self.recovery.phase {
            self.congestion.on_recovered();
        }
        self.rack.on_recovered();
        self.recovery.end(self.snd.una);
        if again {
            self.begin_recovery(0);
        }
        true
    }

    /// Marks what is lost; returns the highest first sequence number of that.
    fn find_losses(&mut self, now: Instant, news: &mut News) -> Option<Seq> {
        if self.sack {
            return self.find_losses_by_time(now);
        }
        let una = self.snd.una;
        if news.is_duplicate {
            let most = self.snd.nxt.since(una).saturating_sub(self.flight.head_len());
            let (left, begins) = self.recovery.on_duplicate(una, self.smss(), most);
            news.delivered += left;
            return (begins && self.flight.lose_head()).then_some(una);
        }
        // RFC 6582 3.2 (3): a partial ACK shows the next loss.
        let partial = news.acked > 0 && matches!(self.recovery.phase, Phase::Fast(_));
        (partial && self.flight.lose_head()).then_some(una)
    }

    fn find_losses_by_time(&mut self, now: Instant) -> Option<Seq> {
        let window = self.reordering_window();
        let (lost, due) = self.rack.detect(&mut self.flight, now, window);
        match due {
            Some(due) => self.timers.arm(Timer::Reorder, due),
            None => self.timers.cancel(Timer::Reorder),
        }
        lost
    }

    fn reordering_window(&self) -> Duration {
        let least = self.rtt.least().unwrap_or_default();
        let srtt = self.rtt.srtt().unwrap_or_default();
        let recovering = !self.recovery.is_open();
        self.rack.reordering_window(recovering, self.flight.sacked_records(), least, srtt)
    }

    /// Congestion control's part, after losses were looked for.
    fn respond(&mut self, now: Instant, news: &News, lost: Option<Seq>, ended: bool) {
        let repeat = news.is_duplicate && news.blocks == Blocks::default();
        if self.tail_probe.on_ack(self.snd.una, news.blocks.duplicate, repeat) && self.recovery.is_open() {
            // RFC 8985 7.4.2: repaired so quickly that no recovery was needed; the loss was one all the same.
            self.stats.tail_losses += 1;
            self.congestion.on_loss();
            self.congestion.on_recovered();
        }
        self.note_losses(lost, news.delivered);
        let (pipe, smss, delivered) = (self.pipe(), self.smss(), news.delivered);
        match &mut self.recovery.phase {
            Phase::Fast(prr) => {
                let safe = news.acked > 0 && lost.is_none();
                let more = prr.on_ack(delivered, pipe, self.congestion.threshold(), smss, safe);
                self.congestion.set_window(pipe.saturating_add(more));
            }
            // RFC 5681 3.2 (1): the window does not grow by what arrives out of order, but by what closes the gap.
            Phase::Open | Phase::Timeout if news.acked == 0 || ended => {}
            phase => {
                let timeout = matches!(phase, Phase::Timeout);
                self.congestion.on_delivery(&Delivery {
                    now,
                    bytes: delivered,
                    rtt: news.latest.map(|(_, rtt)| rtt),
                    srtt: self.rtt.srtt().unwrap_or_default(),
                    una: self.snd.una,
                    nxt: self.snd.nxt,
                    limited: timeout || news.limited,
                    stale: timeout && !self.sack,
                });
            }
        }
    }

    /// Losses were found: another loss event begins, unless they belong to one that is being repaired.
    fn note_losses(&mut self, lost: Option<Seq>, delivered: u32) {
        let Some(highest) = lost else { return };
        match self.recovery.phase {
            Phase::Open => self.begin_recovery(delivered),
            Phase::Fast(_) => self.recovery.again |= highest.at_or_after(self.recovery.recover),
            Phase::Timeout => {}
        }
    }

    /// Fast recovery begins; `delivered` bytes arrived with the ACK that has shown the loss.
    fn begin_recovery(&mut self, delivered: u32) {
        self.recovery.episode = Some(Episode::new(self.congestion, self.snd.una, self.snd.nxt));
        self.congestion.on_loss();
        let flight = self.pipe().saturating_add(self.flight.lost()).saturating_add(delivered);
        self.recovery.begin(Phase::Fast(Prr::new(flight)), self.snd.nxt);
        self.tail_probe.reset();
        self.stats.fast_retransmits += 1;
    }

    /// F-RTO, steps 2 and 3 (RFC 5682 2.1 and 3.1).
    fn step_frto(&mut self, news: &News) {
        if self.recovery.frto == Frto::New && news.acked == 0 {
            // RFC 5682 2.1, step 3a: room for a retransmission beside the two new segments.
            self.congestion.set_window(self.congestion.window().max(3 * self.smss()));
        }
        self.recovery.frto = match self.recovery.frto {
            // No progress: something was lost after all. A segment that only brings payload may look like that as well; then
            // no more is missed than the test.
            Frto::Head | Frto::New if news.acked == 0 => Frto::Off,
            Frto::Head if news.acked > 0 && self.has_more_to_send() => Frto::New,
            Frto::Head if news.acked > 0 => Frto::Off,
            frto => frto,
        };
    }

    /// RFC 6298 5.2 and 5.3.
    fn restart_timers(&mut self, now: Instant, progress: bool) {
        if self.flight.is_empty() {
            for timer in [Timer::Retransmit, Timer::Reorder, Timer::Probe] {
                self.timers.cancel(timer);
            }
            return;
        }
        if progress {
            self.timers.arm(Timer::Retransmit, now + self.rtt.rto());
        } else if self.flight.in_flight() > 0 || self.flight.lost() == 0 {
            // What waited for the window without this timer is in flight after all, if a timeout was taken back as spurious; or the peer
            // says that it holds all of it, and acknowledges none: then the timer finds out that it has dropped it.
            self.timers.arm_if_idle(Timer::Retransmit, now + self.rtt.rto());
        }
        self.schedule_probe(now);
    }

    /// RFC 8985 7.2: a probe follows if nothing is heard.
    pub(super) fn schedule_probe(&mut self, now: Instant) {
        if !self.may_probe_tail() {
            return self.timers.cancel(Timer::Probe);
        }
        let due = now + rack::probe_timeout(self.rtt.srtt(), self.flight.len() == 1);
        let due = self.timers.deadline(Timer::Retransmit).map_or(due, |timeout| due.min(timeout));
        self.timers.arm(Timer::Probe, due);
    }

    /// Whether a tail loss probe makes sense: elsewhere recovery, the reordering timer or F-RTO do its work.
    fn may_probe_tail(&self) -> bool {
        self.sack
            && self.recovery.is_open()
            && self.flight.sacked_records() == 0
            && self.flight.in_flight() > 0
            && self.tail_probe.may_be_sent()
    }

    pub(super) fn on_probe_timer(&mut self, now: Instant) {
        // Only a probe that leaves puts the timer off: else every segment that asks for a new probe would.
        if self.may_probe_tail() && self.tail_piece(self.payload_limit()).is_some() {
            self.tail_probe.due = true;
            self.timers.arm(Timer::Retransmit, now + self.rtt.rto());
        }
    }

    /// The segments that others have overtaken have had their time.
    pub(super) fn on_reorder_timer(&mut self, now: Instant) {
        let lost = self.find_losses_by_time(now);
        if lost.is_some() {
            self.respond(now, &News::default(), lost, false);
        }
    }

    /// The retransmission timer has expired (RFC 6298 5, RFC 8985 6.3).
    pub(super) fn on_loss_timeout(&mut self, now: Instant) {
        if self.flight.head_is_sacked() {
            // RFC 2018 8: the receiver has dropped what it had reported.
            self.stats.sacks_reneged += 1;
            self.flight.forget_sacks();
        }
        self.suspect_black_hole();
        // Once for a loss event, and again if the timer expires again after some progress.
        let first = match self.recovery.phase {
            Phase::Open => true,
            Phase::Fast(_) => false,
            Phase::Timeout => self.snd.retries == 1,
        };
        if first {
            self.recovery.episode = Some(Episode::new(self.congestion, self.snd.una, self.snd.nxt));
        }
        self.congestion.on_timeout(first);
        let until = if self.sack { self.rack.lost_until(now, self.reordering_window()) } else { now };
        self.flight.lose_sent_until(until);
        self.recovery.on_timeout(self.snd.nxt);
        self.tail_probe.reset();
        self.timers.cancel(Timer::Probe);
        self.timers.cancel(Timer::Reorder);
        self.timers.arm(Timer::Retransmit, now + self.rtt.rto());
    }
}
