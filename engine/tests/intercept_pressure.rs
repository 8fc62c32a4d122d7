//! A slow reader slows its sender down: the engine in between holds no more than it may.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::Exchange;
use support::lab::{Lab, Setup};
use wireglass_core::flow::Limits;
use wireglass_testbed::{Duration, Step, Stop};

/// What the ends themselves hold: rustls 64 KB, socket buffers 64 KB on either side, and records in the making.
const IN_THE_ENDS: usize = 4 * 65_536;

#[test]
fn a_slow_client_or_server_bounds_what_is_in_the_middle() {
    for buffer_bytes in [32 * 1024, 256 * 1024] {
        for slow_client in [true, false] {
            let lab = Lab::new();
            let limits = Limits { buffer_bytes, ..Limits::default() };
            let setup = Setup { limits, ..Setup::default() };
            let big = 4_000_000;
            let exchange = if slow_client { Exchange::new(1, 10, big) } else { Exchange::new(1, big, 10) };
            let (mut client, mut server) = lab.sessions(exchange.client(), exchange.server());
            let pace = |session: wireglass_testbed::Session| session.slow(16_384, Duration::from_millis(100));
            if slow_client {
                client = pace(client);
            } else {
                server = pace(server);
            }
            let mut run = lab.connect(&setup, client, server);
            // Each leg may hold what it has received and what it is to send.
            let bound = IN_THE_ENDS + 2 * buffer_bytes + 65_536;
            let mut most = 0;
            for _ in 0..100 {
                run.settle(Duration::from_millis(200));
                let (from, to) = match slow_client {
                    true => (run.server(), run.client()),
                    false => (run.client(), run.server()),
                };
                most = most.max(from.sent - to.received.len());
            }
            assert!(most <= bound, "{most} bytes on the way, at most {bound}: slow client {slow_client}");
            assert!(most > buffer_bytes / 2, "{most} bytes on the way: no pressure at all");
            assert_eq!(run.run(), Stop::Done);
            exchange.assert_done(run.client(), run.server(), &(buffer_bytes, slow_client));
        }
    }
}

/// Both ends send without reading until they have sent all: neither direction may wait for the other.
#[test]
fn two_talkers_do_not_lock_each_other_up() {
    let lab = Lab::new();
    let exchange = Exchange::new(2, 2_000_000, 2_000_000);
    let both = |bytes: &Vec<u8>, expected: usize| {
        vec![Step::Send(bytes.clone()), Step::Receive(expected), Step::Finish, Step::AwaitEnd]
    };
    let client = both(&exchange.request, exchange.response.len());
    let server = both(&exchange.response, exchange.request.len());
    let mut run = lab.connect_tls(&Setup::default(), client, server);
    assert_eq!(run.run(), Stop::Done);
    exchange.assert_done(run.client(), run.server(), &"both talk");
}

/// A reader that stops for minutes: the window closes, is probed, and opens again.
#[test]
fn a_reader_that_stops_for_a_while() {
    let lab = Lab::new();
    let exchange = Exchange::new(3, 10, 1_000_000);
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    let client = client.slow(200_000, Duration::from_secs(30));
    let mut run = lab.connect(&Setup::default(), client, server);
    assert_eq!(run.run(), Stop::Done);
    exchange.assert_done(run.client(), run.server(), &"stops for a while");
}
