//! New settings under running flows: nothing is dropped, each flow ends under those it began with, and what is old is freed.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::{Arc, Weak};

use support::Exchange;
use support::lab::{Lab, Run, Setup};
use support::rules::{Action, Rules};
use wireglass::generation::FIRST;
use wireglass_core::event::Action as Told;
use wireglass_core::flow::{Midstream, OutsideTls, Shared};
use wireglass_core::policy::{Policy, Ports, Profile};
use wireglass_core::reason::Reason;
use wireglass_testbed::{Duration, Impairment, Instant, Step, Stop};

/// Publishes the settings that `change` makes of those in force.
fn reload(run: &mut Run, change: impl FnOnce(&mut Shared)) -> u32 {
    let generations = run.simulation.middle.generations();
    let mut shared = generations.current().clone();
    change(&mut shared);
    generations.publish(shared).unwrap()
}

/// The same rules, compiled anew.
fn with_rules(run: &mut Run, rules: &Rules) -> Weak<Policy> {
    let policy = Arc::new(rules.compile());
    let weak = Arc::downgrade(&policy);
    reload(run, |shared| shared.policy = policy);
    weak
}

/// A stream of both ends that takes a second at least.
fn long(exchange: &Exchange) -> (Vec<Step>, Vec<Step>) {
    let paced = |bytes: &[u8], expected: usize| {
        let mut script = Vec::new();
        for part in bytes.chunks(bytes.len() / 10) {
            script.extend([Step::Send(part.to_vec()), Step::Pause(Duration::from_millis(100))]);
        }
        script.extend([Step::Receive(expected), Step::Finish, Step::AwaitEnd]);
        script
    };
    (paced(&exchange.request, exchange.response.len()), paced(&exchange.response, exchange.request.len()))
}

/// Ten reloads while a stream runs and others begin, over links that lose and reorder. Nobody notices; what is old goes when the last
/// flow that began under it has ended.
#[test]
fn ten_reloads_under_flows_drop_nothing_and_leave_nothing() {
    for (seed, workers, threads) in [(1, 1, 0), (2, 2, 0), (3, 2, 2)] {
        let lab = Lab::new();
        let loss = 0.01 * f64::from(seed as u8 - 1);
        let impairment = Impairment { loss, reorder: loss, ..Impairment::default() };
        let setup = Setup { seed, workers, threads, impairment, ..Setup::default() };
        let exchange = Exchange::new(seed, 400_000, 400_000);
        let (client, server) = long(&exchange);
        let mut run = lab.connect_tls(&setup, client, server);
        run.settle(Duration::from_millis(150));
        let mut policies = vec![Arc::downgrade(&run.simulation.middle.generations().current().policy)];
        for round in 0..10 {
            policies.push(with_rules(&mut run, &Rules::default_is(Action::Decrypt)));
            let short = Exchange::new(seed + round, 3_000, 3_000);
            let (client, server) = lab.sessions(short.client(), short.server());
            run.connect_ports(42_000 + round as u16, 443, client, server);
            run.settle(Duration::from_millis(70));
            let generations = run.simulation.middle.generations();
            assert!(generations.is_taken(), "seed {seed}, round {round}");
            generations.collect();
        }
        assert!(policies[0].upgrade().is_some(), "the stream still has it");
        assert_eq!(run.run(), Stop::Done, "seed {seed}");
        exchange.assert_done(run.client(), run.server(), &seed);
        for round in 0..10 {
            let short = Exchange::new(seed + round, 3_000, 3_000);
            let pair = round as usize + 1;
            short.assert_done(run.client_of(pair), run.server_of(pair), &(seed, round));
        }
        run.settle(Duration::from_secs(600));
        assert_eq!(run.engine().flows(), 0, "seed {seed}");
        let ends: Vec<_> = run.flow_events().iter().map(|flow| flow.reason).collect();
        assert_eq!(ends, [Reason::Closed; 11], "seed {seed}");
        let generations = run.simulation.middle.generations();
        assert_eq!((generations.number(), generations.collect()), (FIRST + 10, 0), "seed {seed}");
        let (newest, older) = policies.split_last().unwrap();
        assert!(newest.upgrade().is_some() && older.iter().all(|policy| policy.upgrade().is_none()));
    }
}

/// No worker ever has the last reference of what is large: it is there until it is collected.
#[test]
fn what_is_old_is_freed_by_who_collects_it_and_nobody_else() {
    let lab = Lab::new();
    let exchange = Exchange::new(1, 2_000, 2_000);
    let (client, server) = long(&exchange);
    let mut run = lab.connect_tls(&Setup::default(), client, server);
    run.settle(Duration::from_millis(150));
    let first = run.simulation.middle.generations().current().clone();
    let (policy, tls, lists) =
        (Arc::downgrade(&first.policy), Arc::downgrade(&first.tls), Arc::downgrade(first.policy.lists()));
    drop(first);
    let alive = || [policy.strong_count() > 0, tls.strong_count() > 0, lists.strong_count() > 0];
    reload(&mut run, |shared| {
        shared.policy = Arc::new(Rules::default_is(Action::Decrypt).compile());
        shared.tls = Arc::new(lab.tls(Some(&shared.tls)));
    });
    run.settle(Duration::from_millis(20));
    assert_eq!(run.simulation.middle.generations().collect(), 1, "the flow's");
    assert_eq!(alive(), [true; 3]);
    assert_eq!(run.run(), Stop::Done);
    run.settle(Duration::from_secs(600));
    assert_eq!((run.engine().flows(), alive()), (0, [true; 3]));
    assert_eq!(run.simulation.middle.generations().collect(), 0);
    assert_eq!(alive(), [false; 3]);
}

/// A SYN is answered under one policy, the hello comes under another: the flow is what the first one says.
#[test]
fn a_flow_goes_by_the_policy_that_it_began_with() {
    let lab = Lab::new();
    let exchange = Exchange::new(1, 5_000, 5_000);
    let mut run = lab.connect_tls(&Setup::default(), exchange.client(), exchange.server());
    // The SYN is on its way, no more: a link takes a few hundred microseconds.
    while run.engine().flows() == 0 {
        run.settle(Duration::from_micros(50));
    }
    with_rules(&mut run, &Rules::default_is(Action::Reset));
    assert_eq!(run.run(), Stop::Done);
    exchange.assert_done(run.client(), run.server(), &"begun before");
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    run.connect_ports(42_000, 443, client, server);
    run.settle(Duration::from_secs(5));
    let told: Vec<_> = run.flow_events().iter().filter_map(|flow| flow.action).collect();
    assert!(told.contains(&Told::Block), "{told:?}");
    assert_eq!(run.client_of(1).received.len(), 0);
}

/// A port is taken from those that are intercepted: who is decrypted there stays so, and who comes later passes untouched.
#[test]
fn a_port_that_is_left_out_keeps_its_flows_until_they_end() {
    let lab = Lab::new();
    let exchange = Exchange::new(1, 200_000, 200_000);
    let (client, server) = long(&exchange);
    let mut run = lab.connect_tls(&Setup::default(), client, server);
    run.settle(Duration::from_millis(150));
    with_rules(&mut run, &Rules { ports: Ports::Only(vec![8443]), ..Rules::default_is(Action::Decrypt) });
    run.settle(Duration::from_millis(50));
    let opened = run.counters().flows_opened.value();
    let lab = lab.trusting_the_server();
    let short = Exchange::new(2, 3_000, 3_000);
    let (client, server) = lab.sessions(short.client(), short.server());
    run.connect_ports(42_000, 443, client, server);
    assert_eq!(run.run(), Stop::Done);
    exchange.assert_done(run.client(), run.server(), &"the old one");
    short.assert_done(run.client_of(1), run.server_of(1), &"the new one");
    assert_eq!(run.counters().flows_opened.value(), opened, "nobody looked at it");
}

/// A port comes to those that are intercepted: connections that are there already have their grace time from now on.
#[test]
fn a_port_that_comes_in_resets_nobody_before_its_grace_time() {
    for grace in [600, 0] {
        let lab = Lab::new().trusting_the_server();
        let after = Duration::from_secs(grace);
        let outside_tls = OutsideTls {
            midstream: Midstream::Reset { after: tcp_stack::Duration::from_micros(after.total_micros()) },
            ..OutsideTls::default()
        };
        let rules = Rules { ports: Ports::Only(vec![8443]), ..Rules::default_is(Action::Decrypt) };
        let setup = Setup { rules, outside_tls, ..Setup::default() };
        let exchange = Exchange::new(1, 200_000, 200_000);
        let (client, server) = long(&exchange);
        let mut run = lab.hosts(&setup);
        // The engine has run for longer than that: a connection to another port has been there meanwhile.
        let pause = vec![Step::Send(b"x".to_vec()), Step::Pause(after * 2), Step::Finish, Step::AwaitEnd];
        let (waits, answers) = lab.sessions(pause, vec![Step::Receive(1), Step::AwaitEnd, Step::Finish]);
        run.connect_ports(41_000, 443, waits, answers);
        assert_eq!(run.run(), Stop::Done);
        assert!(run.simulation.now() - Instant::ZERO >= after * 2);
        let (client, server) = lab.sessions(client, server);
        run.connect_ports(42_000, 443, client, server);
        run.settle(Duration::from_millis(300));
        with_rules(&mut run, &Rules::default_is(Action::Decrypt));
        run.settle(Duration::from_secs(60));
        let (client, server) = (run.client_of(1), run.server_of(1));
        let done = client.received == exchange.response && server.received == exchange.request;
        assert_eq!(done, grace > 0, "grace {grace}");
    }
}

/// Older generations are bounded: beyond that, the flows of the oldest go by the next one, and none is lost.
#[test]
fn generations_are_bounded_and_flows_are_not_lost_with_them() {
    let lab = Lab::new();
    let mut run = lab.hosts(&Setup::default());
    let silent = || vec![Step::Send(b"x".to_vec()), Step::Pause(Duration::from_secs(300)), Step::Finish];
    let mut policies = Vec::new();
    for round in 0..40 {
        let (client, server) = lab.sessions(silent(), vec![Step::Receive(1), Step::AwaitEnd, Step::Finish]);
        run.connect_ports(42_000 + round, 443, client, server);
        run.settle(Duration::from_secs(1));
        policies.push(with_rules(&mut run, &Rules::default_is(Action::Decrypt)));
        run.settle(Duration::from_millis(1));
        run.simulation.middle.generations().collect();
    }
    run.settle(Duration::from_secs(1));
    assert!(run.simulation.middle.generations().collect() <= 16);
    let alive = policies.iter().filter(|policy| policy.strong_count() > 0).count();
    assert_eq!((run.engine().flows(), alive), (40, 17), "16 older ones and the newest");
    run.settle(Duration::from_secs(1200));
    assert_eq!(run.engine().flows(), 0);
    assert!(run.flow_events().iter().all(|flow| flow.reason == Reason::Closed));
    assert_eq!(run.simulation.middle.generations().collect(), 0);
}

/// What is resumed was verified under the same roots and by the same profile; leaves stay while their CA does.
#[test]
fn sessions_outlive_a_reload_of_the_same_and_no_other() {
    let lab = Lab::new();
    let exchange = Exchange::new(1, 1_000, 1_000);
    let (config, server) = (lab.client.build().unwrap(), lab.server.build().unwrap());
    let mut run = lab.hosts(&Setup::default());
    let mut round = 0;
    let mut flow = |run: &mut Run| {
        let client = lab.client_session(&config, exchange.client());
        let server = wireglass_testbed::Session::tls_server(Arc::clone(&server), exchange.server()).unwrap();
        run.connect_ports(41_000 + round, 443, client, server);
        run.settle(Duration::from_secs(5));
        let (client, server) = (run.client_of(round.into()).clone(), run.server_of(round.into()));
        round += 1;
        let resumed = |handshake: &Option<wireglass_testbed::HandshakeInfo>| {
            handshake.as_ref().map(|handshake| handshake.resumed)
        };
        let leaf = client.handshake.as_ref().map(|handshake| handshake.chain[0].clone());
        (resumed(&client.handshake), resumed(&server.handshake), leaf)
    };
    let (_, _, leaf) = flow(&mut run);
    assert_eq!(flow(&mut run), (Some(true), Some(true), leaf.clone()));
    // All of it anew, from the same files.
    reload(&mut run, |shared| {
        shared.policy = Arc::new(Rules::default_is(Action::Decrypt).compile());
        shared.tls = Arc::new(lab.tls(Some(&shared.tls)));
    });
    assert_eq!(flow(&mut run), (Some(true), Some(true), leaf.clone()), "the same roots, CA and profile");
    // A profile that is stricter in something.
    let strict = Profile { max_days: 30, ..Profile::default() };
    with_rules(&mut run, &Rules { profile: strict, ..Rules::default_is(Action::Decrypt) });
    let (client, server, other) = flow(&mut run);
    assert_eq!((client, server), (Some(false), Some(false)), "another profile");
    assert_ne!(other, leaf);
    assert_eq!(flow(&mut run).0, Some(true), "and then under that one");
    // Another root: the verdict over the server is none that a cache may give.
    let stranger = Lab::new();
    reload(&mut run, |shared| shared.tls = Arc::new(lab.tls_trusting(&stranger.pki, Some(&shared.tls))));
    assert_eq!(flow(&mut run), (None, None, None));
    assert!(run.flow_events().iter().any(|flow| flow.reason == Reason::CertUntrusted));
    // Back, with the same leaf: its CA is the same.
    reload(&mut run, |shared| {
        shared.tls = Arc::new(lab.tls(Some(&shared.tls)));
        shared.policy = Arc::new(Rules::default_is(Action::Decrypt).compile());
    });
    let (client, server, again) = flow(&mut run);
    assert_eq!((client, server, again), (Some(false), Some(false), leaf.clone()), "verified anew");
    // Another CA of ours: no leaf of the one before is shown, so this client, which does not know it, refuses.
    reload(&mut run, |shared| shared.tls = Arc::new(stranger.tls_trusting(&lab.pki, Some(&shared.tls))));
    assert_eq!(flow(&mut run).0, None);
    assert!(run.flow_events().iter().any(|flow| flow.reason == Reason::ClientAlert));
}
