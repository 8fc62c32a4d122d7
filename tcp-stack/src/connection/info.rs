//! Looking at a connection: everything that explains it, at once.

use super::Connection;
use crate::recovery::Phase;
use crate::timestamps::elapsed;
use crate::{Duration, Info, Instant, Payload, Repair};

impl<P: Payload> Connection<P> {
    /// How it stands at `now`. Changes nothing; costs about as much as handling one segment.
    pub fn info(&self, now: Instant) -> Info {
        let (snd, rcv) = (&self.snd, &self.rcv);
        let point = self.flight.end();
        let outstanding = snd.nxt.since(snd.una).min(snd.buffer.len() as u32);
        Info {
            state: self.state,
            mss: self.smss(),
            segment_size: u32::from(snd.mss),
            rcv_mss: rcv.segment_size,
            snd_scale: snd.scale,
            rcv_scale: rcv.scale,
            sack: self.sack,
            timestamps: self.clock.is_some(),
            congestion: self.congestion.name(),
            cwnd: self.congestion.window(),
            ssthresh: Some(self.congestion.threshold()).filter(|threshold| *threshold != u32::MAX),
            pacing_rate: self.pacing_rate(),
            repair: self.repair(),
            sacked: self.flight.sacked(),
            lost: self.flight.lost(),
            in_flight_again: self.flight.in_flight_again(),
            reordering: self.rack.has_seen_reordering(),
            snd_wnd: snd.wnd,
            in_flight: point.since(snd.una),
            unsent: self.queue_end().since_or_zero(point),
            send_queue: snd.buffer.len(),
            rcv_wnd: rcv.adv.since(rcv.nxt),
            rcv_wnd_told: rcv.told.since_or_zero(rcv.nxt),
            recv_limit: rcv.limit(),
            recv_queue: rcv.buffer.len(),
            held_ahead: rcv.buffer.held_end().unwrap_or_default(),
            rtt: self.rtt.srtt().zip(self.rtt.rttvar()),
            min_rtt: self.rtt.least(),
            rto: self.rtt.rto(),
            backoff: self.rtt.doublings(),
            retries: snd.retries,
            timer: self
                .timers
                .next_named()
                .map(|(name, at)| (name, if at > now { at - now } else { Duration::ZERO })),
            bytes_acked: self.stats.bytes_out.saturating_sub(u64::from(outstanding)),
            since_sent: elapsed(snd.last_sent, now),
            since_received: elapsed(rcv.data_at, now),
            since_heard: elapsed(self.last_heard, now),
            limit: self.limits.limit(),
            limited: self.limits.totals(now),
            stats: self.stats,
        }
    }

    fn repair(&self) -> Repair {
        match self.recovery.phase {
            Phase::Timeout => Repair::Loss,
            Phase::Fast(_) => Repair::Recovery,
            Phase::Open if self.flight.sacked() > 0 || self.recovery.duplicates() > 0 => Repair::Disorder,
            Phase::Open => Repair::Open,
        }
    }
}
