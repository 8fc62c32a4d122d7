//! A long path: the receive window has to reach what the path holds, and no more is promised to a peer that does not
//! fill it. The sender is smoltcp's, which fills whatever window it is given.
#![allow(clippy::panic, dead_code, reason = "tests fail by panic and say why")]

mod support;

use support::frame::{CLIENT, SERVER, segment_of};
use support::host::{App, Host, Smoltcp, SmoltcpSetup};
use support::link::{CLEAN, Link, Quality};
use support::{earliest, ms, pattern};
use tcp_stack::{Config, Connection, Duration, Info, Instant, Open, Seq};

const START: Instant = Instant::from_millis_const(5_000);
const TOTAL: usize = 8_000_000;
/// Bytes per second.
const RATE: u64 = 8_000_000;
/// One way.
const DELAY: Duration = Duration::from_millis(50);

/// Receives `TOTAL` bytes from smoltcp. How long that took, from the first byte on, and the receiver's numbers then.
fn receive(config: Config, timestamps: bool) -> (Duration, Info) {
    let setup = SmoltcpSetup {
        mtu: 1500,
        receive_buffer: 65_535,
        send_buffer: 4_000_000,
        timestamps,
        ack_delay: None,
    };
    let mut sender = Smoltcp::new(1, CLIENT, setup, App::new(1, (1, 2), (TOTAL, 0))).connect(CLIENT, SERVER);
    let quality = Quality { delay: DELAY, rate: RATE, queue: 16_000_000, ..CLEAN };
    let mut up = Link::new("up", 1, vec![(Instant::ZERO, quality)]);
    let mut down = Link::new("down", 2, vec![(Instant::ZERO, quality)]);
    let open = Open {
        isn: Seq(77),
        mss: 1460,
        window_scale: Some(8),
        sack: true,
        timestamps: timestamps.then_some(u32::MAX - 100),
    };
    let mut ours: Connection = Connection::listen(START, config, open);
    let (mut now, mut received, mut first) = (START, 0, None);
    while received < TOTAL {
        while let Some(frame) = up.receive(now) {
            ours.handle_segment(now, &segment_of(&frame).expect("a clean link"));
            let bytes = ours.recv().len();
            assert!(ours.recv().iter().enumerate().all(|(i, &byte)| byte == pattern(1, received + i)));
            received += bytes;
            ours.consume(bytes);
            if bytes > 0 {
                first.get_or_insert(now);
            }
            send(&mut ours, &mut down, now);
        }
        ours.handle_timeout(now);
        send(&mut ours, &mut down, now);
        while let Some(frame) = down.receive(now) {
            sender.receive(now, frame);
        }
        for frame in sender.poll(now) {
            up.send(now, frame);
        }
        let next = [up.next_arrival(), down.next_arrival(), ours.poll_timeout(), sender.next_poll(now)];
        let next = earliest(next).unwrap_or_else(|| panic!("stuck at {received}: {ours:?}"));
        now = if next > now { next } else { now + ms(1) };
        assert!(now < START + Duration::from_secs(600), "too slow: {received} {ours:?}");
    }
    (now - first.expect("bytes came"), ours.info(now))
}

fn send(ours: &mut Connection, down: &mut Link, now: Instant) {
    while let Some(transmit) = ours.poll_transmit(now) {
        down.send(now, support::frame::build(SERVER, CLIENT, &transmit));
    }
}

/// One second of the link, and the round trips that the window takes to grow.
#[test]
fn the_window_reaches_what_the_path_holds() {
    for timestamps in [true, false] {
        let (took, info) = receive(Config::default(), timestamps);
        let (round_trip, at_best) = (DELAY * 2, Duration::from_millis(1_000));
        assert!(took < at_best + round_trip * 12, "timestamps {timestamps}: {took} with {}", info.recv_limit);
        // Twice what the path holds, and what growing has brought too much.
        let path = 800_000;
        assert!((path..=Config::default().recv_limit).contains(&info.recv_limit), "{}", info.recv_limit);
    }
}

/// The same without tuning: a window for each round trip.
#[test]
fn a_window_that_stays_small_is_all_there_is() {
    let config = Config { recv_limit: 64 * 1024, ..Config::default() };
    let (took, info) = receive(config, true);
    assert!(took > Duration::from_secs(10), "{took}");
    assert_eq!(info.recv_limit, 64 * 1024);
}
