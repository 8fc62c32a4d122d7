//! What the legs may hold, in all: many who do not read take no more than the budget, and the others go on.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::Exchange;
use support::lab::{Lab, Run, Setup};
use support::rules::{Action, Rules};
use wireglass_core::policy::Ports;
use wireglass_core::reason::{PacketDrop, Reason};
use wireglass_testbed::{Duration, Session, Step, Stop};

const BUDGET: usize = 4 << 20;
/// What one call may add before it is counted: a record for each end, and its growth.
const ONE_CALL: usize = 128 * 1024;
const SECOND: Duration = Duration::from_secs(1);
const NEVER: Duration = Duration::from_secs(100_000);

fn setup() -> Setup {
    let rules = Rules { ports: Ports::Any, ..Rules::default_is(Action::Decrypt) };
    Setup { rules, flow_bytes: BUDGET, ..Setup::default() }
}

/// A client that asks for a megabyte and then reads nothing: its window closes for good.
fn stuck(lab: &Lab, run: &mut Run, number: u16) {
    let exchange = Exchange::new(number.into(), 10, 1_000_000);
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    run.connect_ports(41_000 + number, 2_000 + number, client.slow(20_000, NEVER), server);
}

fn held(run: &Run) -> usize {
    run.counters().flow_bytes.value() as usize
}

/// Ends with this reason.
fn ended(run: &Run, reason: Reason) -> u64 {
    run.counters().ended(reason)
}

#[test]
fn many_who_do_not_read_take_no_more_than_the_budget() {
    let lab = Lab::new();
    let setup = setup();
    // Established before, quiet, then a request and a response while the memory is gone.
    let good = Exchange::new(1, 100_000, 400_000);
    let first = good.request[..1_000].to_vec();
    let rest = good.request[1_000..].to_vec();
    let client = vec![
        Step::Send(first),
        Step::Pause(SECOND * 8),
        Step::Send(rest),
        Step::Receive(good.response.len()),
        Step::Finish,
    ];
    let mut run = lab.connect_tls(&setup, client, good.server());
    run.settle(SECOND);
    assert!(run.server().received.len() == 1_000, "established before the others come");

    let mut most = 0;
    for number in 0..60 {
        stuck(&lab, &mut run, number);
        run.settle(Duration::from_millis(50));
        most = most.max(held(&run));
    }
    for _ in 0..80 {
        run.settle(Duration::from_millis(100));
        most = most.max(held(&run));
    }
    assert!(most <= BUDGET + ONE_CALL, "{most} bytes held");
    assert!(most > BUDGET * 3 / 4, "{most} bytes held: no pressure at all");
    assert!(run.counters().leg_limits.value() > 0);
    assert!(ended(&run, Reason::ResourceMemory) > 0, "some were refused");
    assert!(ended(&run, Reason::ResourceMemory) < 55, "and some were not");
    good.assert_done(run.client(), run.server(), &"the one that was there before");

    // They give way in time: a new one finds room.
    run.settle(SECOND * 60);
    assert!(held(&run) < BUDGET * 7 / 8, "{} bytes held", held(&run));
    let late = Exchange::new(2, 5_000, 50_000);
    let (client, server) = lab.sessions(late.client(), late.server());
    run.connect_ports(50_000, 3_000, client, server);
    run.settle(SECOND * 5);
    late.assert_done(run.client_of(61), run.server_of(61), &"one that comes later");
    // What is counted is what is there: nothing, in the end.
    run.settle(SECOND * 8_000);
    assert_eq!((run.engine().flows(), held(&run)), (0, 0));
}

/// One who does not read takes the whole of its own limit, and nobody notices.
#[test]
fn a_single_one_takes_its_limit_and_no_more() {
    let lab = Lab::new();
    let mut setup = setup();
    setup.limits.buffer_bytes = 128 * 1024;
    let mut run = lab.hosts(&setup);
    stuck(&lab, &mut run, 0);
    run.settle(SECOND * 20);
    let most = held(&run);
    // A queue of at most the limit, and as much received, whose buffer may be two and a half times as large.
    assert!((128 * 1024..=128 * 1024 * 7 / 2 + ONE_CALL).contains(&most), "{most}");
    assert_eq!(run.counters().leg_limits.value(), 0);
    assert_eq!(run.counters().dropped(PacketDrop::MemoryFull), 0);
    assert_eq!(ended(&run, Reason::ResourceMemory), 0);
}

/// With less memory than the flows need at once, all of them still come to their end.
#[test]
fn what_is_dropped_for_lack_of_memory_comes_again() {
    let lab = Lab::new();
    // The beginnings of records that cannot be passed on yet are part of it.
    let budget = BUDGET + 30 * 2 * 17 * 1024;
    let setup = Setup { flow_bytes: budget, ..setup() };
    let exchanges: Vec<Exchange> = (0..30).map(|n| Exchange::new(n, 200_000, 200_000)).collect();
    let mut run = lab.hosts(&setup);
    for (number, exchange) in exchanges.iter().enumerate() {
        // Both send before they read, and read slowly: everything is in the middle at once.
        let client =
            vec![Step::Send(exchange.request.clone()), Step::Receive(exchange.response.len()), Step::Finish];
        let server = vec![
            Step::Send(exchange.response.clone()),
            Step::Receive(exchange.request.len()),
            Step::AwaitEnd,
            Step::Finish,
        ];
        let (client, server) = lab.sessions(client, server);
        let pace = |session: Session| session.slow(8_192, Duration::from_millis(400));
        let number = number as u16;
        run.connect_ports(41_000 + number, 2_000 + number, pace(client), pace(server));
    }
    let mut most = 0;
    for _ in 0..100 {
        run.settle(SECOND);
        most = most.max(held(&run));
    }
    assert!(most <= budget + ONE_CALL, "{most} bytes held");
    assert_eq!(run.run(), Stop::Done);
    for (number, exchange) in exchanges.iter().enumerate() {
        exchange.assert_done(run.client_of(number), run.server_of(number), &number);
    }
}
