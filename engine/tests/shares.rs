//! What is counted says what share is decrypted, why, and how long that took; and a flow's end says how far its TCP had come.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::Exchange;
use support::lab::{Lab, Run, Setup};
use support::rules::{Action, Rules};
use wireglass_core::counters::ACTION_OR_NONE;
use wireglass_core::end::End;
use wireglass_core::event::{self, FlowEvent};
use wireglass_core::reason::Reason;
use wireglass_testbed::Duration;

/// Bytes that were counted by action, those of undecided flows last; both ends' together.
fn carried(run: &Run) -> [u64; 4] {
    ACTION_OR_NONE.map(|action| {
        let counters = run.counters();
        [End::Client, End::Server].map(|end| counters.carried(action, end).value()).iter().sum()
    })
}

fn ended(run: &Run) -> [u64; 4] {
    ACTION_OR_NONE.map(|action| run.counters().ended_after(action).value())
}

fn flow(run: &Run) -> FlowEvent {
    let events = run.flow_events();
    assert_eq!(events.len(), 1);
    events[0].clone()
}

/// Runs one connection to its end. Each byte of its frames was counted once.
fn run(lab: &Lab, setup: &Setup, exchange: &Exchange) -> Run {
    let mut run = lab.connect_tls(setup, exchange.client(), exchange.server());
    run.run();
    run.settle(Duration::from_secs(120));
    let end = flow(&run);
    // The end of one that is refused is told before its last frames come.
    let (counted, told) = (carried(&run).iter().sum::<u64>(), end.to_server.bytes + end.to_client.bytes);
    let late = if end.action == Some(event::Action::Block) { 500 } else { 0 };
    assert!((told..=told + late).contains(&counted), "{counted} counted, {told} told");
    run
}

const SYN_FIN_PSH_ACK: u8 = 0x1b;

#[test]
fn a_flow_that_is_decrypted() {
    let run = run(&Lab::new(), &Setup::default(), &Exchange::new(1, 10_000, 100_000));
    let [decrypt, bypass, block, none] = carried(&run);
    assert!(decrypt > 100_000 && none > 100 && none < 5_000, "{decrypt} {none}");
    assert_eq!((bypass, block), (0, 0));
    assert_eq!(ended(&run), [1, 0, 0, 0]);
    assert_eq!(run.counters().judged(Reason::PolicyDecrypt).value(), 1);
    // On the virtual clock: four flights over a link of some milliseconds.
    let took = run.counters().handshake_time().read();
    assert_eq!(took.total(), 1);
    assert!(took.nanos > 0 && took.nanos < 2_000_000_000, "{took:?}");
    let end = flow(&run);
    assert!(end.is_tls);
    assert_eq!((end.flags.client & SYN_FIN_PSH_ACK, end.flags.server & SYN_FIN_PSH_ACK), (0x1b, 0x1b));
}

#[test]
fn a_flow_that_is_bypassed_by_its_name() {
    let lab = Lab::new().trusting_the_server();
    let setup = Setup { rules: Rules::by_name(Action::Bypass), ..Setup::default() };
    let run = run(&lab, &setup, &Exchange::new(2, 10_000, 100_000));
    let [decrypt, bypass, block, none] = carried(&run);
    assert!(bypass > 100_000 && none > 100 && none < 5_000, "{bypass} {none}");
    assert_eq!((decrypt, block), (0, 0));
    assert_eq!(ended(&run), [0, 1, 0, 0]);
    assert_eq!(run.counters().judged(Reason::PolicyBypass).value(), 1);
    assert_eq!(run.counters().handshake_time().read().total(), 0);
    assert!(flow(&run).is_tls);
    assert_eq!(flow(&run).flags.server & SYN_FIN_PSH_ACK, SYN_FIN_PSH_ACK);
}

/// Nobody has looked at its first bytes, so nobody says that it is TLS.
#[test]
fn a_flow_that_is_bypassed_by_its_addresses() {
    let lab = Lab::new().trusting_the_server();
    let setup = Setup { rules: Rules::default_is(Action::Bypass), ..Setup::default() };
    let run = run(&lab, &setup, &Exchange::new(3, 10_000, 10_000));
    let [_, bypass, _, none] = carried(&run);
    assert!(bypass > 20_000 && none == 0, "{bypass} {none}");
    assert_eq!(ended(&run), [0, 1, 0, 0]);
    assert!(!flow(&run).is_tls);
}

/// What the engine refuses is no share of what is decrypted: a server that nobody vouches for.
#[test]
fn a_flow_that_is_refused() {
    let stranger = Lab::new();
    let identity = wireglass_testbed::Pki::new("Nobody").unwrap().identity(&[support::lab::NAME]).unwrap();
    let lab = stranger.with_identity(identity);
    let run = run(&lab, &Setup::default(), &Exchange::new(4, 1_000, 1_000));
    assert_eq!(ended(&run), [0, 0, 1, 0]);
    assert_eq!(run.counters().judged(Reason::CertUntrusted).value(), 1);
    assert_eq!(run.counters().judged(Reason::PolicyDecrypt).value(), 0);
    assert_eq!(run.counters().handshake_time().read().total(), 0);
    assert_eq!(flow(&run).action, Some(event::Action::Block));
}
