//! Whole connections over seeded links that lose, reorder, duplicate, corrupt, delay, throttle, and change while
//! the transfer runs. Every byte is checked both ways, and a watchdog fails what stalls for longer than the
//! timers explain (`support/watchdog.rs`).
//!
//! A test is a pair of ends over a kind of link: `relay/burst`. Each runs some seeds.
//! * `cargo test -p tcp-stack --test grid -- --ignored` runs many more, as `long/relay/burst`.
//! * `cargo test -p tcp-stack --test grid -- relay/burst/4711` repeats one seed alone, whichever it is. This is the line
//!   that a failure prints, with the links' schedule and the last frames.
#![allow(clippy::panic, clippy::disallowed_macros, reason = "tests fail by panic and say why")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use libtest_mimic::{Arguments, Failed, Trial};
use support::frame::{CLIENT, SERVER, clear_trace, trace_lines};
use support::host::{App, Host, Limits, Ours, Smoltcp, SmoltcpSetup};
use support::link::{Burst, CLEAN, Link, Quality, Schedule};
use support::middle::Middle;
use support::network::{Network, Wire};
use support::{Rng, ms};
use tcp_stack::{Config, Connection, Duration, Instant, IsnGenerator, Open, Seq};

/// Seeds of one test: few in every run, many in a long one.
const SEEDS: u64 = 14;
const LONG_SEEDS: u64 = 1_500;

/// Who talks to whom. `Relay` is the real use: a connection that two hosts have opened is taken over in the
/// middle.
#[derive(Clone, Copy, Debug)]
enum Pair {
    /// Ours opens to smoltcp.
    Connect,
    /// smoltcp opens to ours.
    Accept,
    /// smoltcp, our two legs, smoltcp.
    Relay,
    /// Ours opens to ours.
    Ours,
    /// Ours, our two legs, ours.
    OursRelayed,
}

const PAIRS: [(&str, Pair); 5] = [
    ("connect", Pair::Connect),
    ("accept", Pair::Accept),
    ("relay", Pair::Relay),
    ("ours", Pair::Ours),
    ("ours-relayed", Pair::OursRelayed),
];

/// Draws the schedule of one link.
type Kind = fn(&mut Rng) -> Schedule;

const KINDS: [(&str, Kind); 12] = [
    ("clean", |rng| constant(latency(rng))),
    ("loss", |rng| constant(Quality { loss: rng.below(101), ..latency(rng) })),
    ("reorder", |rng| constant(Quality { reorder: rng.below(251), jitter: jitter(rng), ..latency(rng) })),
    ("duplicate", |rng| constant(Quality { duplicate: rng.below(301), ..latency(rng) })),
    ("corrupt", |rng| constant(Quality { corrupt: rng.below(81), ..latency(rng) })),
    ("burst", |rng| constant(Quality { burst: Some(burst(rng)), ..latency(rng) })),
    ("bottleneck", |rng| constant(bottleneck(latency(rng), rng))),
    ("acks", |rng| constant(acks(latency(rng), rng))),
    ("awful", |rng| constant(awful(rng))),
    ("changing", changing),
    ("outage", outage),
    ("mtu", mtu),
];

/// Round trips from 1 to 300 ms.
fn latency(rng: &mut Rng) -> Quality {
    let most = [1_000, 5_000, 20_000, 60_000, 150_000][rng.below(5) as usize];
    Quality { delay: Duration::from_micros(500 + rng.below(most)), ..CLEAN }
}

fn jitter(rng: &mut Rng) -> Duration {
    Duration::from_micros(rng.below(8_000))
}

fn burst(rng: &mut Rng) -> Burst {
    Burst { begin: 1 + rng.below(20), end: 100 + rng.below(400), loss: 300 + rng.below(601) }
}

fn bottleneck(quality: Quality, rng: &mut Rng) -> Quality {
    let rate = [30_000, 200_000, 1_000_000, 4_000_000][rng.below(4) as usize];
    Quality { rate, queue: 4_000 + rng.below(60_000), ..quality }
}

fn acks(quality: Quality, rng: &mut Rng) -> Quality {
    Quality { ack_loss: rng.below(301), ack_every: ms(rng.below(50)), ..quality }
}

/// A bit of everything.
fn awful(rng: &mut Rng) -> Quality {
    let mut quality = latency(rng);
    if rng.chance(500) {
        quality = acks(quality, rng);
    }
    if rng.chance(500) {
        quality = bottleneck(quality, rng);
    }
    Quality {
        loss: rng.below(101),
        reorder: rng.below(251),
        duplicate: rng.below(101),
        corrupt: rng.below(31),
        jitter: jitter(rng),
        burst: rng.chance(300).then(|| burst(rng)),
        ..quality
    }
}

const START: Instant = Instant::from_millis_const(5_000);

fn constant(quality: Quality) -> Schedule {
    vec![(Instant::ZERO, quality)]
}

/// Another quality every now and then, from the clean to the awful.
fn changing(rng: &mut Rng) -> Schedule {
    let mut from = START;
    let mut schedule = Schedule::new();
    for _ in 0..2 + rng.below(5) {
        let quality = match rng.below(4) {
            0 => latency(rng),
            1 => bottleneck(latency(rng), rng),
            2 => Quality { burst: Some(burst(rng)), ..latency(rng) },
            _ => awful(rng),
        };
        schedule.push((from, quality));
        from += ms(20 + rng.below(1_500));
    }
    schedule
}

/// A link that is good, and then carries nothing at all for a while.
fn outage(rng: &mut Rng) -> Schedule {
    let good = latency(rng);
    let begins = START + ms(rng.below(600));
    let ends = begins + ms(rng.below(4_000));
    vec![(Instant::ZERO, good), (begins, Quality { loss: 1_000, ..good }), (ends, good)]
}

fn setup(rng: &mut Rng) -> SmoltcpSetup {
    SmoltcpSetup {
        mtu: [1500, 1500, 576, 9000, 256][rng.below(5) as usize],
        receive_buffer: [65_535, 4_096, 200_000, 700, 1_000_000][rng.below(5) as usize],
        send_buffer: [65_535, 10_000, 2_000][rng.below(3) as usize],
        timestamps: rng.chance(500),
        ack_delay: rng.chance(500).then(|| ms(10)),
    }
}

fn config(rng: &mut Rng) -> Config {
    Config {
        send_limit: [256 * 1024, 16 * 1024, 5_000][rng.below(3) as usize],
        recv_limit: [256 * 1024, 64 * 1024, 4_000][rng.below(3) as usize],
        // However bad the link is: nobody gives up.
        max_retries: u32::MAX,
        max_syn_retries: u32::MAX,
        user_timeout: None,
        fin_wait_2: None,
        ..Config::default()
    }
}

fn open(rng: &mut Rng) -> Open {
    Open {
        isn: match rng.below(4) {
            0 => Seq(0),
            1 => Seq(u32::MAX - 1_000),
            2 => Seq((1 << 31) - 1_000),
            _ => {
                let [here, there] = [CLIENT, SERVER].map(|end| (end.address, end.port).into());
                IsnGenerator::new([rng.next() as u8; 16]).generate(Instant::from_secs(5), here, there)
            }
        },
        mss: [1_460, 536, 216, 8_960][rng.below(4) as usize],
        window_scale: rng.chance(700).then(|| rng.below(15) as u8),
        sack: rng.chance(600),
        timestamps: rng.chance(500).then(|| rng.next() as u32),
    }
}

/// Bytes up and down.
fn totals(rng: &mut Rng) -> (usize, usize) {
    let mut pick = || [0, 1, 1_000, 40_000, 300_000][rng.below(5) as usize];
    (pick(), pick())
}

/// The two applications of a run.
fn apps(rng: &mut Rng, (up, down): (usize, usize)) -> (App, App) {
    let mut client = App::new(rng.next(), (1, 2), (up, down));
    let mut server = App::new(rng.next(), (2, 1), (down, up));
    client.half_closes = rng.chance(700);
    server.half_closes = !client.half_closes || rng.chance(500);
    for app in [&mut client, &mut server] {
        if rng.chance(300) {
            app.slow_read = [300, 2_000, 9_000][rng.below(3) as usize];
            app.pause = ms([2, 6, 40][rng.below(3) as usize]);
        }
    }
    (client, server)
}

/// A host of ours.
fn ours(rng: &mut Rng, app: App, opens: bool) -> Box<dyn Host> {
    let config = config(rng);
    let changes = if rng.chance(300) { 15 } else { 0 };
    let limits = Limits::new(rng.next(), config.recv_limit, START, changes);
    let (connection, ends) = if opens {
        (Connection::connect(START, config, open(rng)), (CLIENT, SERVER))
    } else {
        (Connection::listen(START, config, open(rng)), (SERVER, CLIENT))
    };
    Box::new(Ours::new(START, connection, ends, app, limits))
}

fn smoltcp(rng: &mut Rng, app: App, opens: bool) -> Box<dyn Host> {
    let here = if opens { CLIENT } else { SERVER };
    let host = Smoltcp::new(rng.next(), here, setup(rng), app);
    Box::new(if opens { host.connect(CLIENT, SERVER) } else { host.listen(SERVER) })
}

/// A path that changes to another MTU, and tells of it or not; a little is lost besides.
fn mtu(rng: &mut Rng) -> Schedule {
    let mut from = Instant::ZERO;
    let mut schedule = Schedule::new();
    for _ in 0..1 + rng.below(4) {
        let mtu = [9_000, 1_500, 1_280, 1_006, 576][rng.below(5) as usize];
        let black_hole = rng.chance(200);
        schedule.push((from, Quality { mtu, black_hole, loss: rng.below(20), ..latency(rng) }));
        from = from.max(START) + ms(rng.below(600));
    }
    schedule
}

/// smoltcp knows nothing of path MTUs: its links take all.
fn without_mtu(schedule: Schedule) -> Schedule {
    schedule.into_iter().map(|(from, quality)| (from, Quality { mtu: 0, ..quality })).collect()
}

/// The network of one seed.
fn network(pair: Pair, kind: Kind, seed: u64) -> (Network, Vec<Schedule>) {
    let mut rng = Rng::new(seed);
    let relayed = matches!(pair, Pair::Relay | Pair::OursRelayed);
    let (up, down) = totals(&mut rng);
    // The middle adopts when the client speaks.
    let (client, mut server) = apps(&mut rng, if relayed { (up.max(1), down) } else { (up, down) });
    server.speaks_second = relayed;
    let rng = &mut rng;
    let client = match pair {
        Pair::Connect | Pair::Ours | Pair::OursRelayed => ours(rng, client, true),
        Pair::Accept | Pair::Relay => smoltcp(rng, client, true),
    };
    let server = match pair {
        Pair::Accept | Pair::Ours | Pair::OursRelayed => ours(rng, server, false),
        Pair::Connect | Pair::Relay => smoltcp(rng, server, false),
    };
    let mut schedules = Vec::new();
    let by_smoltcp = |name: &str| match pair {
        Pair::Connect => name.starts_with("server"),
        Pair::Accept => name.starts_with("client"),
        Pair::Relay => !name.starts_with("middle"),
        Pair::Ours | Pair::OursRelayed => false,
    };
    let mut link = |rng: &mut Rng, name| {
        let schedule = kind(rng);
        schedules.push(if by_smoltcp(name) { without_mtu(schedule) } else { schedule });
        Link::new(name, rng.next(), schedules.last().cloned().unwrap_or_default())
    };
    let wire = if relayed {
        let mut middle = Middle::new(rng.next(), config(rng));
        middle.slow = if rng.chance(300) { 4_000 } else { 0 };
        middle.limit_changes = if rng.chance(300) { 15 } else { 0 };
        let ways = ["client > middle", "middle > client", "middle > server", "server > middle"];
        Wire::Through(Box::new(middle), Box::new(ways.map(|way| link(rng, way))))
    } else {
        Wire::Direct(Box::new(["client > server", "server > client"].map(|way| link(rng, way))))
    };
    (Network { client, server, wire }, schedules)
}

/// Runs seeds; the error of one says how to repeat it.
fn run(name: &str, pair: Pair, kind: Kind, seeds: impl Iterator<Item = u64>) -> Result<(), Failed> {
    for seed in seeds {
        clear_trace();
        let (mut network, schedules) = network(pair, kind, seed);
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| network.run(START))) else { continue };
        let why = panic.downcast_ref::<String>().cloned();
        let why = why.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        let mut text = trace_lines().join("\n") + "\n";
        for link in schedules {
            for (from, quality) in link {
                text += &format!("from {} ms: {quality:?}\n", from.total_millis());
            }
            text += "\n";
        }
        return Err(format!("{text}{why}\ncargo test -p tcp-stack --test grid -- {name}/{seed}").into());
    }
    Ok(())
}

fn main() {
    let arguments = Arguments::from_args();
    // What a panic says is part of the report.
    std::panic::set_hook(Box::new(|_| {}));
    let mut trials = vec![Trial::test("watchdog", || {
        support::watchdog::a_watchdog_barks();
        Ok(())
    })];
    for (p, (pair_name, pair)) in PAIRS.into_iter().enumerate() {
        for (k, (kind_name, kind)) in KINDS.into_iter().enumerate() {
            let name = format!("{pair_name}/{kind_name}");
            // Eleven, however many kinds there are: the seeds of a cell stay the same.
            let first = ((p * 11 + k) as u64) << 32;
            let asked =
                arguments.filter.as_deref().and_then(|filter| filter.strip_prefix(&name)?.strip_prefix('/'));
            if let Some(seed) = asked.and_then(|seed| seed.parse().ok()) {
                let title = format!("{name}/{seed}");
                trials.push(Trial::test(title, move || run(&name, pair, kind, std::iter::once(seed))));
                continue;
            }
            let (title, long) = (name.clone(), name.clone());
            trials.push(Trial::test(title, move || run(&name, pair, kind, first..first + SEEDS)));
            let title = format!("long/{long}");
            let seeds = first + SEEDS..first + SEEDS + LONG_SEEDS;
            trials.push(Trial::test(title, move || run(&long, pair, kind, seeds)).with_ignored_flag(true));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}
