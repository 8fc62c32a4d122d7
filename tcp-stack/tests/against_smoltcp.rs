//! This stack against smoltcp's sockets over a link that loses, reorders, duplicates and corrupts, both ways;
//! byte for byte, many seeds. The adopted cases are the real use: a connection between two smoltcp hosts,
//! taken over in the middle.
#![allow(clippy::panic, clippy::disallowed_macros, reason = "tests fail by panic and say why")]

mod support;

use support::frame::{CLIENT, SERVER, print_trace};
use support::host::{App, Ours, Smoltcp, SmoltcpSetup};
use support::link::{CLEAN, Link, Quality};
use support::middle::Middle;
use support::{Rng, earliest, ms};
use tcp_stack::{Config, Connection, Duration, Event, Instant, IsnGenerator, Open, Seq, State};

/// Longest virtual time that a run may take.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Prints the seed of the run that fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            print_trace();
            eprintln!("failing seed: {}", self.0);
        }
    }
}

/// Links from good to awful.
fn qualities() -> [Quality; 6] {
    [
        CLEAN,
        Quality { loss: 10, ..CLEAN },
        Quality { loss: 50, duplicate: 20, ..CLEAN },
        Quality { reorder: 100, jitter: ms(3), ..CLEAN },
        Quality { loss: 100, reorder: 50, duplicate: 50, corrupt: 30, jitter: ms(8), ..CLEAN },
        Quality { loss: 5, rate: 1_000_000, queue: 20_000, delay: ms(20), ..CLEAN },
    ]
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
        time_wait: Duration::from_secs(2),
        ..Config::default()
    }
}

fn totals(rng: &mut Rng) -> (usize, usize) {
    let mut pick = || [0, 1, 1_000, 40_000, 300_000][rng.below(5) as usize];
    (pick(), pick())
}

/// The two applications of a run; the server may wait for the client.
fn apps(rng: &mut Rng, (up, down): (usize, usize)) -> (App, App) {
    let mut client = App::new(rng.next(), (1, 2), (up, down));
    let mut server = App::new(rng.next(), (2, 1), (down, up));
    client.half_closes = rng.chance(700);
    server.half_closes = !client.half_closes || rng.chance(500);
    if rng.chance(300) {
        client.slow_read = 2_000;
    }
    if rng.chance(300) {
        server.slow_read = 2_000;
    }
    (client, server)
}

/// One host of ours and one of smoltcp's.
fn run_pair(ours: &mut Ours, peer: &mut Smoltcp, links: &mut [Link; 2], start: Instant) {
    let mut now = start;
    loop {
        while let Some(frame) = links[1].receive(now) {
            ours.receive(now, &frame);
        }
        while let Some(frame) = links[0].receive(now) {
            peer.receive(frame);
        }
        for frame in ours.poll(now) {
            links[0].send(now, frame);
        }
        for frame in peer.poll(now) {
            links[1].send(now, frame);
        }
        if ours.app.is_done() && peer.app.is_done() && ours.ended.contains(&Event::Closed) {
            return;
        }
        assert!(
            !ours.ended.contains(&Event::Reset) && !ours.ended.contains(&Event::TimedOut),
            "connection ended early: {:?} {:?} {:?}",
            ours.ended,
            ours.app,
            peer.app
        );
        // Slow readers look again every 3 ms.
        let retry = (ours.app.slow_read > 0 || peer.app.slow_read > 0).then(|| now + ms(3));
        let next = earliest([
            links[0].next_arrival(),
            links[1].next_arrival(),
            ours.connection.poll_timeout(),
            peer.next_poll(now),
            retry,
        ]);
        let next =
            next.unwrap_or_else(|| panic!("stuck: {:?} {:?} {:?}", ours.connection, ours.app, peer.app));
        now = if next > now { next } else { now + Duration::from_micros(100) };
        assert!(now < start + PATIENCE, "too slow: {:?} {:?} {:?}", ours.connection, ours.app, peer.app);
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
        sack: rng.chance(500),
        timestamps: rng.chance(500).then(|| rng.next() as u32),
    }
}

fn connect_runs(quality: Quality, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let _seed = Seed(seed);
        let mut rng = Rng::new(seed);
        let totals = totals(&mut rng);
        let (client, server) = apps(&mut rng, totals);
        let start = Instant::from_secs(5);
        let connection = Connection::connect(start, config(&mut rng), open(&mut rng));
        let mut ours = Ours::new(connection, CLIENT, SERVER, client);
        let mut peer = Smoltcp::new(seed, SERVER, setup(&mut rng), server).listen(SERVER);
        let mut links =
            [Link::new("ours -> peer", rng.next(), quality), Link::new("peer -> ours", rng.next(), quality)];
        run_pair(&mut ours, &mut peer, &mut links, start);
        assert_eq!(ours.connection.state(), State::Closed);
    }
}

fn accept_runs(quality: Quality, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let _seed = Seed(seed);
        let mut rng = Rng::new(seed);
        let totals = totals(&mut rng);
        let (client, server) = apps(&mut rng, totals);
        let start = Instant::from_secs(5);
        let connection = Connection::listen(start, config(&mut rng), open(&mut rng));
        let mut ours = Ours::new(connection, SERVER, CLIENT, server);
        let mut peer = Smoltcp::new(seed, CLIENT, setup(&mut rng), client).connect(CLIENT, SERVER);
        let mut links =
            [Link::new("ours -> peer", rng.next(), quality), Link::new("peer -> ours", rng.next(), quality)];
        run_pair(&mut ours, &mut peer, &mut links, start);
    }
}

/// Client and server are smoltcp's; the middle is ours.
fn relay_runs(quality: Quality, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let _seed = Seed(seed);
        relay_run(quality, seed);
    }
}

fn relay_run(quality: Quality, seed: u64) {
    let mut rng = Rng::new(seed);
    let (up, down) = totals(&mut rng);
    // The middle adopts when the client speaks.
    let (client, mut server) = apps(&mut rng, (up.max(1), down));
    server.speaks_second = true;
    let mut client = Smoltcp::new(rng.next(), CLIENT, setup(&mut rng), client).connect(CLIENT, SERVER);
    let mut server = Smoltcp::new(rng.next(), SERVER, setup(&mut rng), server).listen(SERVER);
    let mut middle = Middle::new(rng.next(), config(&mut rng));
    if rng.chance(300) {
        middle.slow = 4_000;
    }
    let ways = ["client -> middle", "middle -> server", "server -> middle", "middle -> client"];
    let mut links = ways.map(|way| Link::new(way, rng.next(), quality));
    let mut now = Instant::from_secs(5);
    let end = now + PATIENCE;
    loop {
        for link in [0, 2] {
            while let Some(frame) = links[link].receive(now) {
                middle.receive(now, frame);
            }
        }
        while let Some(frame) = links[1].receive(now) {
            server.receive(frame);
        }
        while let Some(frame) = links[3].receive(now) {
            client.receive(frame);
        }
        client.poll(now).into_iter().for_each(|frame| links[0].send(now, frame));
        server.poll(now).into_iter().for_each(|frame| links[2].send(now, frame));
        let (to_client, to_server) = middle.poll(now);
        to_client.into_iter().for_each(|frame| links[3].send(now, frame));
        to_server.into_iter().for_each(|frame| links[1].send(now, frame));
        let legs_closed = middle.legs.as_ref().is_some_and(|legs| legs.iter().all(|leg| leg.closed));
        if client.app.is_done() && server.app.is_done() && legs_closed {
            return;
        }
        for leg in middle.legs.iter().flatten() {
            assert!(!leg.reset && !leg.timed_out, "a leg ended early: {:?}", leg.connection);
        }
        let retry = client.app.slow_read > 0 || server.app.slow_read > 0 || middle.slow > 0;
        let next = earliest(links.iter().map(Link::next_arrival).chain([
            middle.next_poll(),
            client.next_poll(now),
            server.next_poll(now),
            retry.then(|| now + ms(3)),
        ]));
        let next = next.unwrap_or_else(|| panic!("stuck: {:?} {:?}", client.app, server.app));
        now = if next > now { next } else { now + Duration::from_micros(100) };
        assert!(now < end, "too slow: {:?} {:?}", client.app, server.app);
    }
}

macro_rules! grid {
    ($($name:ident: $run:ident($quality:expr, $seeds:expr);)*) => {
        $(
            #[test]
            fn $name() {
                $run(qualities()[$quality], $seeds);
            }
        )*
    };
}

grid! {
    connect_over_a_clean_link: connect_runs(0, 0..240);
    connect_with_little_loss: connect_runs(1, 1000..1160);
    connect_with_loss_and_duplicates: connect_runs(2, 2000..2120);
    connect_with_reordering: connect_runs(3, 3000..3120);
    connect_over_an_awful_link: connect_runs(4, 4000..4080);
    connect_through_a_bottleneck: connect_runs(5, 5000..5080);
    accept_over_a_clean_link: accept_runs(0, 6000..6240);
    accept_with_little_loss: accept_runs(1, 7000..7160);
    accept_with_loss_and_duplicates: accept_runs(2, 8000..8120);
    accept_with_reordering: accept_runs(3, 9000..9120);
    accept_over_an_awful_link: accept_runs(4, 10000..10080);
    accept_through_a_bottleneck: accept_runs(5, 11000..11080);
    relay_over_a_clean_link: relay_runs(0, 12000..12240);
    relay_with_little_loss: relay_runs(1, 13000..13160);
    relay_with_loss_and_duplicates: relay_runs(2, 14000..14120);
    relay_with_reordering: relay_runs(3, 15000..15120);
    relay_over_an_awful_link: relay_runs(4, 16000..16080);
    relay_through_a_bottleneck: relay_runs(5, 17000..17080);
}
