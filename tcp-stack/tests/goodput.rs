//! How much a sender gets through a path that loses: two connections of this stack with a link in memory between them, a
//! bulk transfer, virtual time. The floors are shares of what the path and the law of the congestion window allow.
#![allow(clippy::panic, clippy::disallowed_macros, reason = "tests fail by panic and say why")]

mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use support::{Rng, earliest, ms};
use tcp_stack::{
    AdoptedTimestamps, Adoption, Config, Congestion, Connection, Duration, Flags, Info, Instant, Options,
    Segment, Seq, Stats,
};

const MSS: u16 = 1460;
/// Bytes on the wire around a segment's payload: Ethernet, IPv4, TCP.
const OVERHEAD: u64 = 14 + 20 + 20;

/// A path and what is sent over it.
#[derive(Clone, Copy)]
struct Path {
    rtt: Duration,
    /// Lost segments with payload, of 10 000.
    loss: u64,
    /// Lost ACKs, of 10 000.
    ack_loss: u64,
    /// Bytes per second.
    rate: u64,
    /// Segments held back by a quarter of the round trip, of 10 000.
    reorder: u64,
    sack: bool,
    timestamps: bool,
    congestion: Congestion,
    /// Timers fire at whole milliseconds, as the engine's do.
    coarse: bool,
    pacing: bool,
    seconds: u64,
}

const PATH: Path = Path {
    rtt: Duration::from_millis(20),
    loss: 0,
    ack_loss: 0,
    rate: 125_000_000,
    reorder: 0,
    sack: true,
    timestamps: false,
    congestion: Congestion::Cubic,
    coarse: true,
    pacing: false,
    seconds: 20,
};

/// A segment on its way.
struct Packet {
    seq: Seq,
    ack: Option<Seq>,
    flags: Flags,
    window: u16,
    options: Options,
    payload: Vec<u8>,
}

/// One direction.
struct Way {
    packets: BTreeMap<(Instant, u64), Packet>,
    count: u64,
    /// When the packets sent so far will have left, in nanoseconds.
    busy_until: u64,
}

impl Way {
    fn new() -> Self {
        Way { packets: BTreeMap::new(), count: 0, busy_until: 0 }
    }

    fn next(&self) -> Option<Instant> {
        self.packets.first_key_value().map(|((at, _), _)| *at)
    }

    fn receive(&mut self, now: Instant) -> Option<Packet> {
        let entry = self.packets.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}

struct Run {
    path: Path,
    rng: Rng,
    sender: Connection,
    receiver: Connection,
    there: Way,
    back: Way,
    /// The stream: 64 KiB - 15 again and again.
    stream: Bytes,
    queued: usize,
    received: usize,
}

fn adoption(snd: u32, rcv: u32, path: &Path, now: Instant) -> Adoption {
    Adoption {
        snd_nxt: Seq(snd),
        rcv_nxt: Seq(rcv),
        snd_wnd: 65_535 << 8,
        snd_scale: 8,
        rcv_scale: 8,
        mss: MSS,
        sack: path.sack,
        timestamps: path.timestamps.then_some(AdoptedTimestamps { last_sent: 7, at: now, ts_recent: 7 }),
        rcv_adv: Seq(rcv) + (65_535 << 8),
        rtt_hint: None,
    }
}

impl Run {
    fn new(path: Path, seed: u64) -> Self {
        let now = Instant::from_secs(1);
        let config = Config {
            send_limit: 8 << 20,
            recv_limit: 16 << 20,
            adopted_window_limit: 16 << 20,
            out_of_order_limit: 16 << 20,
            out_of_order_ranges: 250,
            congestion: path.congestion,
            pacing: path.pacing,
            ..Config::default()
        };
        let stream: Vec<u8> = (0..65_521).map(|at| support::pattern(5, at)).collect();
        Run {
            path,
            rng: Rng::new(seed),
            sender: Connection::adopt(now, config, adoption(u32::MAX - 100_000, 1, &path, now)),
            receiver: Connection::adopt(now, config, adoption(1, u32::MAX - 100_000, &path, now)),
            there: Way::new(),
            back: Way::new(),
            stream: Bytes::from(stream),
            queued: 0,
            received: 0,
        }
    }

    /// Runs for as long as the path says; returns payload bytes received in order, per second.
    fn goodput(mut self) -> (f64, Info) {
        let start = Instant::from_secs(1);
        let end = start + Duration::from_secs(self.path.seconds);
        let mut now = start;
        while now < end {
            while let Some(packet) = self.there.receive(now) {
                handle(&mut self.receiver, now, &packet);
                if self.receiver.wants_each_ack() {
                    self.acknowledge(now);
                }
            }
            while let Some(packet) = self.back.receive(now) {
                handle(&mut self.sender, now, &packet);
            }
            self.sender.handle_timeout(now);
            self.receiver.handle_timeout(now);
            self.read();
            self.write();
            self.transmit(now);
            let timer = earliest([self.sender.poll_timeout(), self.receiver.poll_timeout()]);
            let round = if self.path.coarse { 1_000 } else { 1 };
            let timer = timer.map(|at| Instant::from_micros((at.total_micros() + round - 1) / round * round));
            let next = earliest([timer, self.there.next(), self.back.next()]);
            let next = next.unwrap_or_else(|| panic!("stuck: {:?}", self.sender));
            now = if next > now { next } else { now + Duration::from_micros(50) };
        }
        (self.received as f64 / self.path.seconds as f64, self.sender.info(now))
    }

    fn read(&mut self) {
        let bytes = self.receiver.recv();
        let len = bytes.len();
        let mut rest = bytes;
        let mut at = self.received % self.stream.len();
        while !rest.is_empty() {
            let part = rest.len().min(self.stream.len() - at);
            assert!(rest[..part] == self.stream[at..at + part], "wrong bytes after {}", self.received);
            (rest, at) = (&rest[part..], 0);
        }
        self.received += len;
        self.receiver.consume(len);
    }

    /// Keeps the queue filled with records of 16 KiB, as a relay of TLS has them.
    fn write(&mut self) {
        while self.sender.send_space() >= 16_384 {
            let at = self.queued % self.stream.len();
            let chunk = self.stream.slice(at..(at + 16_384).min(self.stream.len()));
            self.queued += chunk.len();
            self.sender.send(chunk).expect("there is space");
        }
    }

    fn transmit(&mut self, now: Instant) {
        let path = self.path;
        while let Some(packet) = next_packet(&mut self.sender, now) {
            // A queue of one bandwidth-delay product, and 100 kB.
            let queue = path.rate * path.rtt.total_micros() / 1_000_000 + 100_000;
            let now_ns = now.total_micros() as u64 * 1_000;
            let starts = self.there.busy_until.max(now_ns);
            if (starts - now_ns) * path.rate / 1_000_000_000 > queue {
                continue;
            }
            let bytes = packet.payload.len() as u64 + OVERHEAD;
            self.there.busy_until = starts + bytes * 1_000_000_000 / path.rate;
            let leaves = Instant::from_micros(self.there.busy_until as i64 / 1_000);
            if self.rng.below(10_000) < path.loss {
                continue;
            }
            let late = if self.rng.below(10_000) < path.reorder { path.rtt / 4 } else { Duration::ZERO };
            self.there.count += 1;
            self.there.packets.insert((leaves + path.rtt / 2 + late, self.there.count), packet);
        }
        self.acknowledge(now);
    }

    fn acknowledge(&mut self, now: Instant) {
        let path = self.path;
        while let Some(packet) = next_packet(&mut self.receiver, now) {
            if self.rng.below(10_000) >= path.ack_loss {
                self.back.count += 1;
                self.back.packets.insert((now + path.rtt / 2, self.back.count), packet);
            }
        }
    }
}

fn handle(connection: &mut Connection, now: Instant, packet: &Packet) {
    let segment = Segment {
        src_port: 1,
        dst_port: 2,
        seq: packet.seq,
        ack: packet.ack,
        flags: packet.flags,
        window: packet.window,
        options: packet.options,
        payload: &packet.payload,
    };
    connection.handle_segment(now, &segment);
}

fn next_packet(connection: &mut Connection, now: Instant) -> Option<Packet> {
    let transmit = connection.poll_transmit(now)?;
    let mut payload = vec![0; transmit.payload_len()];
    transmit.copy_payload(&mut payload);
    let (seq, ack, flags) = (transmit.seq, transmit.ack, transmit.flags);
    Some(Packet { seq, ack, flags, window: transmit.window, options: transmit.options, payload })
}

/// What the law allows for: the Reno formula of RFC 3649 and RFC 9438 5.2 (CUBIC is never below), within the path's rate.
fn model(path: &Path) -> f64 {
    let rate = path.rate as f64 * f64::from(MSS) / (f64::from(MSS) + OVERHEAD as f64);
    if path.loss == 0 {
        return rate;
    }
    let window = (1.5 / (path.loss as f64 / 10_000.0)).sqrt();
    let rtt = path.rtt.total_micros() as f64 / 1e6;
    (window * f64::from(MSS) / rtt).min(rate)
}

/// Runs a few seeds and asserts that each gets its share of the model.
fn expect_share(path: Path, share: f64) -> Vec<Stats> {
    let run = |seed| {
        let (goodput, Info { stats, .. }) = Run::new(path, seed).goodput();
        let found = goodput / model(&path);
        assert!(found >= share, "seed {seed}: {found:.2} of the model, {share:.2} is the floor: {stats:?}");
        stats
    };
    (1..=3).map(run).collect()
}

/// With SACK an isolated loss, and a retransmission that is lost as well, are repaired without the timer.
fn expect_no_timeout(path: Path, share: f64) {
    for stats in expect_share(path, share) {
        assert_eq!(stats.rto_events, 0, "{stats:?}");
    }
}

macro_rules! floors {
    ($($name:ident: $check:ident($path:expr, $share:expr);)*) => {
        $(
            #[test]
            fn $name() {
                let _ = $check($path, $share);
            }
        )*
    };
}

floors! {
    cubic_1_ms_clean: expect_no_timeout(Path { rtt: ms(1), seconds: 2, ..PATH }, 0.95);
    cubic_20_ms_clean: expect_no_timeout(Path { rtt: ms(20), seconds: 4, ..PATH }, 0.85);
    cubic_1_ms_one_per_mille: expect_no_timeout(Path { rtt: ms(1), loss: 10, seconds: 3, ..PATH }, 0.9);
    cubic_1_ms_one_percent: expect_no_timeout(Path { rtt: ms(1), loss: 100, seconds: 5, ..PATH }, 0.85);
    cubic_1_ms_three_percent: expect_no_timeout(Path { rtt: ms(1), loss: 300, seconds: 5, ..PATH }, 0.75);
    cubic_20_ms_one_per_mille: expect_no_timeout(Path { rtt: ms(20), loss: 10, seconds: 60, ..PATH }, 0.9);
    cubic_20_ms_one_percent: expect_no_timeout(Path { rtt: ms(20), loss: 100, seconds: 60, ..PATH }, 0.9);
    cubic_20_ms_three_percent: expect_no_timeout(Path { rtt: ms(20), loss: 300, seconds: 60, ..PATH }, 0.8);
    cubic_100_ms_one_per_mille: expect_no_timeout(Path { rtt: ms(100), loss: 10, seconds: 120, ..PATH }, 0.9);
    cubic_100_ms_one_percent: expect_no_timeout(Path { rtt: ms(100), loss: 100, seconds: 120, ..PATH }, 0.9);
    reordering_is_no_loss: expect_no_timeout(Path { rtt: ms(20), reorder: 2_000, rate: 12_500_000, seconds: 10, ..PATH }, 0.85);
    // What was overtaken by a retransmission with a newer clock is dropped by PAWS (RFC 7323 5.3): lost indeed.
    reordering_is_no_loss_with_timestamps: expect_no_timeout(Path { rtt: ms(20), reorder: 2_000, rate: 12_500_000, timestamps: true, seconds: 10, ..PATH }, 0.7);
    lost_acks_cost_little: expect_no_timeout(Path { rtt: ms(20), ack_loss: 2_000, rate: 12_500_000, seconds: 10, ..PATH }, 0.85);
    timestamps_cost_their_bytes: expect_no_timeout(Path { rtt: ms(20), loss: 100, timestamps: true, seconds: 60, ..PATH }, 0.9);
    without_sack_one_percent: expect_share(Path { rtt: ms(20), loss: 100, sack: false, seconds: 60, ..PATH }, 0.7);
    newreno_20_ms_one_percent: expect_no_timeout(Path { rtt: ms(20), loss: 100, congestion: Congestion::NewReno, seconds: 60, ..PATH }, 0.75);
    ten_percent_at_100_ms: expect_share(Path { rtt: ms(100), loss: 1_000, ack_loss: 500, seconds: 60, ..PATH }, 0.6);
    pacing_costs_nothing: expect_no_timeout(Path { rtt: ms(20), loss: 100, pacing: true, seconds: 60, ..PATH }, 0.85);
    pacing_fills_a_clean_path: expect_no_timeout(Path { rtt: ms(20), rate: 12_500_000, pacing: true, seconds: 5, ..PATH }, 0.85);
    exact_timers_change_nothing: expect_no_timeout(Path { rtt: ms(1), loss: 100, coarse: false, seconds: 5, ..PATH }, 0.85);
    cubic_100_ms_three_percent: expect_no_timeout(Path { rtt: ms(100), loss: 300, seconds: 120, ..PATH }, 0.85);
}

#[test]
#[ignore = "prints the table"]
fn table() {
    for congestion in [Congestion::Cubic, Congestion::NewReno] {
        for rtt in [1, 20, 100, 300] {
            for loss in [0, 10, 100, 300, 1000] {
                let path = Path { rtt: ms(rtt), loss, ack_loss: loss / 2, congestion, ..PATH };
                let (goodput, info) = Run::new(path, 7).goodput();
                let stats = info.stats;
                println!(
                    "{congestion:?} rtt {rtt:3} loss {:5.2}% goodput {:7.2} Mbit/s {:5.2} of model; rto {} recoveries {} spurious {} probes {} tail {} retransmits {} cwnd {} srtt {}",
                    loss as f64 / 100.0,
                    goodput * 8e-6,
                    goodput / model(&path),
                    stats.rto_events,
                    stats.fast_retransmits,
                    stats.spurious_recoveries,
                    stats.tail_probes,
                    stats.tail_losses,
                    stats.retransmits,
                    info.cwnd,
                    info.rtt.map_or(Duration::ZERO, |(srtt, _)| srtt),
                );
            }
        }
    }
}
