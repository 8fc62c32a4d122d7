//! Encrypted hellos (ECH) through the engine: the outer name decides, and once three clients have said that theirs were real, the profile.
#![allow(clippy::unwrap_used, clippy::panic)]
#![cfg(feature = "aws-lc-rs")]

mod support;

use std::sync::Arc;

use rustls::client::EchMode;
use rustls::{ClientConfig, RootCertStore};
use support::Exchange;
use support::lab::{Lab, NAME, Run, Setup};
use support::rules::{Action, Rules};
use wireglass_core::event;
use wireglass_core::exclusions::Cause;
use wireglass_core::policy::{EchAction, Profile};
use wireglass_core::reason::Reason;
use wireglass_testbed::ech::{grease, real};
use wireglass_testbed::{Duration, Session};

struct Line {
    lab: Lab,
    setup: Setup,
}

impl Line {
    fn new(on_ech: EchAction) -> Self {
        let rules =
            Rules { profile: Profile { on_ech, ..Profile::default() }, ..Rules::default_is(Action::Decrypt) };
        Self { lab: Lab::new(), setup: Setup { rules, ..Setup::default() } }
    }

    /// A connection of a client that takes our CA and the server's own.
    fn connect(&self, mode: EchMode, name: &str) -> (Run, Exchange) {
        let mut roots = RootCertStore::empty();
        roots.add(self.lab.trusted.certificate()).unwrap();
        roots.add(self.lab.pki.root()).unwrap();
        let config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_ech(mode)
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        let exchange = Exchange::new(1, 5_000, 5_000);
        let client = Session::tls_client(Arc::new(config), name, exchange.client()).unwrap();
        let server = self.lab.server_session(exchange.server());
        let mut run = self.lab.connect(&self.setup, client, server);
        run.run();
        run.settle(Duration::from_secs(60));
        (run, exchange)
    }

    /// Three clients whose hellos are real.
    fn three(&mut self) {
        for (client, learned) in [(1, None), (3, None), (4, Some(Cause::Ech))] {
            self.setup.client = client;
            let (run, _) = self.connect(real(NAME).unwrap(), "hidden.example.net");
            let hello = run.tls_event().hello.clone().unwrap();
            assert!(hello.ech && hello.sni.as_deref() == Some(NAME), "{hello:?}");
            let flow = run.flow_events()[0];
            assert_eq!((flow.reason, flow.learned), (Reason::ClientEch, learned));
        }
    }

    fn grease_goes_on(&self) {
        let (run, exchange) = self.connect(grease().unwrap(), NAME);
        exchange.assert_done(run.client(), run.server(), &"GREASE");
        assert_eq!(run.tls_event().reason, Reason::PolicyDecrypt);
    }
}

#[test]
fn inspected_by_default_whatever_clients_say() {
    let mut line = Line::new(EchAction::Inspect);
    line.three();
    line.grease_goes_on();
    let (run, _) = line.connect(real(NAME).unwrap(), "hidden.example.net");
    assert_eq!(run.flow_events()[0].reason, Reason::ClientEch);
}

/// Only what is known to be real, and only where the hello has it.
#[test]
fn bypassed_where_the_profile_says_so() {
    let mut line = Line::new(EchAction::Bypass);
    line.grease_goes_on();
    line.three();
    let (run, _) = line.connect(real(NAME).unwrap(), "hidden.example.net");
    assert_eq!(
        (run.tls_event().action, run.tls_event().reason),
        (event::Action::Bypass, Reason::ExcludedEch)
    );
}

#[test]
fn blocked_where_the_profile_says_so() {
    let mut line = Line::new(EchAction::Block);
    line.grease_goes_on();
    line.three();
    let (run, _) = line.connect(real(NAME).unwrap(), "hidden.example.net");
    assert_eq!((run.tls_event().action, run.tls_event().reason), (event::Action::Block, Reason::EchBlocked));
}
