//! Several workers: whatever queue a frame comes in, its flow's owner gets it; handshakes in the workers or on threads.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::Exchange;
use support::lab::{Lab, Setup};
use support::rules::{Action, Rules};
use wireglass::simulate::Spread;
use wireglass_core::policy::Ports;
use wireglass_core::reason::{PacketDrop, Reason};
use wireglass_testbed::{Duration, Impairment, Stop};

/// So many that each worker gets some whatever the hash makes of their ports: of 8, one in nine hashes leaves a third
/// worker without.
const FLOWS: usize = 32;

#[test]
fn frames_reach_their_flow_whatever_queue_they_come_in() {
    let lab = Lab::new();
    let rules = Rules { ports: Ports::Any, ..Rules::default_is(Action::Decrypt) };
    for workers in [1, 2, 3] {
        for spread in [Spread::Owner, Spread::Wrong, Spread::Turns] {
            for threads in [0, 2] {
                let impairment = Impairment { reorder: 0.1, ..Impairment::default() };
                let setup = Setup {
                    workers,
                    spread,
                    threads,
                    impairment,
                    mtu: 9000,
                    wire_mtu: 9000,
                    rules: rules.clone(),
                    ..Setup::default()
                };
                let mut run = lab.hosts(&setup);
                let exchanges: Vec<_> =
                    (0..FLOWS).map(|n| Exchange::new(n as u64, 10_000 + n, 50_000 + n)).collect();
                for exchange in &exchanges {
                    let (client, server) = lab.sessions(exchange.client(), exchange.server());
                    run.connect(client, server);
                }
                assert_eq!(run.run(), Stop::Done, "{setup:?}");
                for (n, exchange) in exchanges.iter().enumerate() {
                    exchange.assert_done(run.client_of(n), run.server_of(n), &(n, &setup));
                }
                assert_eq!(run.tls_events().len(), FLOWS, "{setup:?}");
                run.settle(Duration::from_secs(120));
                assert_eq!(run.engine().flows(), 0);
                assert!(run.flow_events().iter().all(|flow| flow.reason == Reason::Closed), "{setup:?}");

                let counters = run.engine().counters();
                let opened: Vec<_> = counters.iter().map(|worker| worker.flows_opened.value()).collect();
                assert_eq!(opened.iter().sum::<u64>(), FLOWS as u64, "{opened:?}");
                assert!(opened.iter().all(|flows| *flows > 0), "every worker owns some: {opened:?}");
                assert!(counters.iter().all(|worker| worker.dropped(PacketDrop::SteeringRingFull) == 0));
            }
        }
    }
}
