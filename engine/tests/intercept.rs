//! Whole interceptions: byte-exact both ways, with the server's choices mirrored and its certificate verified, over
//! every kind of link.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use rustls::version::{TLS12, TLS13};
use support::Exchange;
use support::lab::{Lab, NAME, Run, Setup};
use wireglass_core::event::{Action, MintedBy};
use wireglass_core::reason::Reason;
use wireglass_core::x509::Provider;
use wireglass_testbed::{Duration, Impairment, Stop, Tag};

/// The exchange went through, over a minted certificate, and the log says so.
#[track_caller]
fn assert_intercepted(lab: &Lab, run: &mut Run, exchange: &Exchange, case: &dyn std::fmt::Debug) {
    let stop = run.run();
    exchange.assert_done(run.client(), run.server(), &(case, stop, run.tls_events(), run.flow_events()));
    assert_eq!(stop, Stop::Done, "{case:?}");

    let seen = run.client().handshake.clone().unwrap();
    assert_ne!(seen.chain[0], lab.server.chain[0], "the client saw the server's own certificate: {case:?}");
    assert_eq!(seen.chain[1..], [lab.trusted.certificate()], "{case:?}");
    let asked = run.server().handshake.clone().unwrap();
    assert_eq!(seen.alpn, asked.alpn, "{case:?}");
    assert_eq!(seen.version, asked.version, "{case:?}");
    assert_eq!(asked.sni.as_deref(), Some(NAME), "{case:?}");

    let event = run.tls_event();
    assert_eq!((event.action, event.reason), (Action::Decrypt, Reason::PolicyDecrypt), "{case:?}");
    assert_eq!((event.defect, event.minted_by), (None, Some(MintedBy::Trusted)), "{case:?}");
    run.settle(Duration::from_secs(120));
    assert_eq!(run.flow_end(), ("decrypted", Reason::Closed), "{case:?}");
    assert_eq!(run.engine().flows(), 0, "{case:?}");
}

#[test]
fn one_flow() {
    let lab = Lab::new();
    let exchange = Exchange::new(1, 10_000, 100_000);
    let mut run = lab.connect_tls(&Setup::default(), exchange.client(), exchange.server());
    assert_intercepted(&lab, &mut run, &exchange, &"one flow");
}

/// Runs all cases, and then says which of them failed.
fn each<T: std::fmt::Debug>(cases: impl IntoIterator<Item = T>, run: impl Fn(&T)) {
    let mut failed = Vec::new();
    for case in cases {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&case))).is_err() {
            failed.push(case);
        }
    }
    assert!(failed.is_empty(), "{} cases failed: {failed:#?}", failed.len());
}

#[test]
fn byte_exact_over_loss_reordering_and_mtu() {
    let lab = Lab::new();
    let mut cases = Vec::new();
    for loss in [0.0, 0.02, 0.08] {
        for reorder in [0.0, 0.2] {
            for mtu in [400, 576, 1500, 9000] {
                for version in [&TLS12, &TLS13] {
                    let seed = cases.len() as u64;
                    let impairment =
                        Impairment { loss, reorder, duplicate: reorder / 4.0, ..Impairment::default() };
                    let ipv6 = seed % 4 > 1;
                    cases.push((
                        version,
                        Setup { seed, impairment, mtu, wire_mtu: 9000, ipv6, ..Setup::default() },
                    ));
                }
            }
        }
    }
    each(cases, |(version, setup)| {
        let exchange = Exchange::new(setup.seed, 20_000, 60_000);
        let mut options = lab.client.clone();
        options.versions = vec![version];
        let client = lab.client_session(&options.build().unwrap(), exchange.client());
        let mut run = lab.connect(setup, client, lab.server_session(exchange.server()));
        assert_intercepted(&lab, &mut run, &exchange, &(version.version, setup));
    });
}

#[test]
fn over_ipv6_and_vlans() {
    let lab = Lab::new();
    let vlan = Tag { ethertype: 0x8100, control: 7 };
    let service = Tag { ethertype: 0x88a8, control: 100 };
    for tags in [vec![], vec![vlan], vec![service, vlan]] {
        for ipv6 in [false, true] {
            for timestamps in [false, true] {
                let setup = Setup { tags: tags.clone(), ipv6, timestamps, ..Setup::default() };
                let exchange = Exchange::new(9, 5_000, 50_000);
                let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
                assert_intercepted(&lab, &mut run, &exchange, &setup);
            }
        }
    }
}

#[test]
fn with_every_provider() {
    for provider in Provider::BUILT_IN {
        for version in [&TLS12, &TLS13] {
            let mut lab = Lab::with_provider(*provider);
            lab.server.versions = vec![version];
            let exchange = Exchange::new(2, 50_000, 50_000);
            let mut run = lab.connect_tls(&Setup::default(), exchange.client(), exchange.server());
            assert_intercepted(&lab, &mut run, &exchange, &(provider, version.version));
        }
    }
}

#[test]
fn the_servers_choice_of_application_protocol_is_mirrored() {
    let protocols = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>();
    for (offered, served, chosen) in [
        (&["h2", "http/1.1"][..], &["h2"][..], Some("h2")),
        (&["h2", "http/1.1"], &["http/1.1", "h2"], Some("http/1.1")),
        (&["h2", "http/1.1"], &[], None),
        (&[], &["h2"], None),
    ] {
        let mut lab = Lab::new();
        (lab.client.alpn, lab.server.alpn) = (protocols(offered), protocols(served));
        let exchange = Exchange::new(3, 1_000, 1_000);
        let mut run = lab.connect_tls(&Setup::default(), exchange.client(), exchange.server());
        assert_intercepted(&lab, &mut run, &exchange, &(offered, served));
        let alpn = run.client().handshake.as_ref().unwrap().alpn.clone();
        assert_eq!(alpn.as_deref(), chosen.map(str::as_bytes));
    }
}

/// The hosts could send jumbo frames to each other, the wire cannot carry them.
#[test]
fn a_wire_smaller_than_its_ends() {
    let lab = Lab::new();
    for ipv6 in [false, true] {
        let setup = Setup { mtu: 9000, wire_mtu: 1500, ipv6, ..Setup::default() };
        let exchange = Exchange::new(4, 50_000, 50_000);
        let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
        run.simulation.record();
        assert_intercepted(&lab, &mut run, &exchange, &setup);
        let longest = run.simulation.recorded().iter().map(|crossing| crossing.frame.len()).max();
        assert_eq!(longest, Some(1514), "full frames, and no longer ones");
    }
}
