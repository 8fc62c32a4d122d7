//! Servers that cannot be decrypted: the first connection fails and is learned from, later ones go by what the profile says.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::version::{TLS12, TLS13};
use support::Exchange;
use support::lab::{Lab, NAME, Run, Setup};
use support::rules::{Action, Rules};
use wireglass::exclusions::{ExclusionFile, load, rehearse};
use wireglass_core::event;
use wireglass_core::exclusions::{Cause, Clients, Exclusion, Exclusions, Server};
use wireglass_core::policy::{ClientCertificateAction, Profile, TlsVersion, UnsupportedAction};
use wireglass_core::reason::Reason;
use wireglass_testbed::{Duration, Ending, Session};

const OTHER: &str = "open.example.com";

/// Engines, one after the other, that know what those before have learned.
struct Line {
    lab: Lab,
    setup: Setup,
    exchange: Exchange,
}

impl Line {
    fn new(lab: Lab, profile: Profile) -> Self {
        let rules = Rules { profile, ..Rules::default_is(Action::Decrypt) };
        Self { lab, setup: Setup { rules, ..Setup::default() }, exchange: Exchange::new(1, 5_000, 5_000) }
    }

    fn connect_to(&self, name: &str) -> Run {
        let client = Session::tls_client(self.lab.client.build().unwrap(), name, self.exchange.client());
        let server = self.lab.server_session(self.exchange.server());
        let mut run = self.lab.connect(&self.setup, client.unwrap(), server);
        run.run();
        run.settle(Duration::from_secs(60));
        run
    }

    fn connect(&self) -> Run {
        self.connect_to(NAME)
    }

    fn done(&self, run: &Run) {
        self.exchange.assert_done(run.client(), run.server(), &"done");
    }
}

/// Takes the server's own certificate as well as a copy.
fn taking_both(mut lab: Lab) -> Lab {
    lab.client.roots = vec![lab.trusted.certificate(), lab.pki.root()];
    lab
}

#[track_caller]
fn assert_bypassed(run: &Run, reason: Reason, cause: Cause) {
    let event = run.tls_event();
    assert_eq!((event.action, event.reason), (event::Action::Bypass, reason));
    assert_eq!(event.profile.as_deref(), Some("default"));
    assert_eq!(run.flow_end().0, "bypassed");
    let counters = run.counters();
    assert_eq!((counters.exclusions_used(cause).value(), counters.exclusions_learned(cause).value()), (1, 0));
}

#[test]
fn a_server_without_a_common_version_is_bypassed_from_the_second_connection_on() {
    let mut lab = taking_both(Lab::new());
    lab.server.versions = vec![&TLS12];
    let profile = Profile {
        min_version: TlsVersion::Tls13,
        on_unsupported: UnsupportedAction::Bypass,
        ..Profile::default()
    };
    let mut line = Line::new(lab, profile);
    let first = line.connect();
    let event = first.tls_event();
    assert_eq!((event.reason, event.learned), (Reason::VersionUnsupportedServer, Some(Cause::Unsupported)));
    assert_eq!(first.counters().exclusions_learned(Cause::Unsupported).value(), 1);
    assert!(first.server().received.is_empty());
    for _ in 0..2 {
        let next = line.connect();
        line.done(&next);
        assert_bypassed(&next, Reason::ExcludedUnsupported, Cause::Unsupported);
    }
    // A client that is offered for otherwise has to fail by itself, and so has a profile with other limits.
    line.setup.rules.profile.max_version = TlsVersion::Tls13;
    line.setup.rules.profile.min_version = TlsVersion::Tls12;
    let decrypted = line.connect();
    line.done(&decrypted);
    assert_eq!(decrypted.tls_event().reason, Reason::PolicyDecrypt);
    line.setup.rules.profile.min_version = TlsVersion::Tls13;
    line.lab.client.versions = vec![&TLS13];
    assert_eq!(line.connect().tls_event().reason, Reason::VersionUnsupportedServer);
}

/// What was learned changes nothing where the profile does not say so.
#[test]
fn by_default_nothing_is_bypassed() {
    let mut lab = taking_both(Lab::new());
    lab.server.client_root = Some(lab.pki.root());
    lab.server.versions = vec![&TLS12];
    let line = Line::new(lab, Profile::default());
    for learned in [Some(Cause::ClientCertificate), None, None] {
        let run = line.connect();
        let event = run.tls_event();
        assert_eq!((event.reason, event.learned), (Reason::ServerRequiresClientCert, learned));
        assert_eq!(event.action, event::Action::Decrypt);
    }
    assert_eq!(line.setup.exclusions.list(0).len(), 1);
}

#[test]
fn a_server_that_insists_on_a_client_certificate_is_bypassed_next_time() {
    for version in [&TLS12, &TLS13] {
        let mut lab = taking_both(Lab::new());
        lab.server.client_root = Some(lab.pki.root());
        lab.server.versions = vec![version];
        let bypass = ClientCertificateAction::Bypass;
        let line = Line::new(lab, Profile { on_client_certificate: bypass, ..Profile::default() });
        let first = line.connect();
        let learned = Some(Cause::ClientCertificate);
        // In TLS 1.3 the server's leg is up before the server has seen that there is no certificate.
        assert_eq!(first.tls_event().learned, learned);
        assert_eq!(first.counters().exclusions_learned(Cause::ClientCertificate).value(), 1);
        assert_eq!(first.flow_end().1, Reason::ServerRequiresClientCert);
        let second = line.connect();
        // It is the client's own affair now, and this one has no certificate either.
        assert_bypassed(&second, Reason::ExcludedClientCertificate, Cause::ClientCertificate);
        assert!(matches!(second.client().end, Some(Ending::Alert(_))), "{:?}", second.client().end);
    }
}

/// Where the profile does not bypass who only asks, TLS 1.3 tells after the handshake that the server insists.
#[test]
fn what_comes_out_after_the_handshake_is_in_the_flow_event() {
    let mut lab = taking_both(Lab::new());
    lab.server.client_root = Some(lab.pki.root());
    lab.server.versions = vec![&TLS13];
    let line = Line::new(lab, Profile::default());
    let run = line.connect();
    assert_eq!(run.tls_event().learned, None);
    let flow = run.flow_events().remove(0);
    let learned = (Reason::ServerRequiresClientCert, Some(Cause::ClientCertificate));
    assert_eq!((flow.reason, flow.learned), learned);
}

#[test]
fn clients_that_pin_are_bypassed_once_three_that_take_the_ca_elsewhere_have_refused() {
    let mut lab = Lab::new();
    let identity = lab.pki.identity(&[NAME, OTHER]).unwrap();
    lab = lab.with_identity(identity);
    let profile = Profile { on_pinned: UnsupportedAction::Bypass, ..Profile::default() };
    let mut line = Line::new(lab, profile);
    let (ours, own) = (line.lab.client.roots.clone(), vec![line.lab.pki.root()]);
    let refuse = |line: &mut Line| {
        line.lab.client.roots = own.clone();
        let run = line.connect();
        assert_eq!((run.tls_event().reason, run.tls_event().alert), (Reason::ClientAlert, Some(48)));
        run.tls_event().learned
    };
    // It knows nothing of our CA.
    assert_eq!([(); 4].map(|()| refuse(&mut line)), [None; 4]);
    for (client, learned) in [(1, None), (3, None), (4, Some(Cause::Pinned))] {
        line.setup.client = client;
        line.lab.client.roots = ours.clone();
        let other = line.connect_to(OTHER);
        line.done(&other);
        assert_eq!(refuse(&mut line), learned, "client {client}");
        if learned.is_none() {
            assert_eq!([(); 4].map(|()| refuse(&mut line)), [None; 4], "one client alone");
        }
    }
    let pinned = line.connect();
    line.done(&pinned);
    assert_bypassed(&pinned, Reason::ExcludedPinned, Cause::Pinned);
    // Elsewhere it is decrypted as before.
    line.lab.client.roots = vec![line.lab.trusted.certificate()];
    let other = line.connect_to(OTHER);
    assert_eq!(other.tls_event().reason, Reason::PolicyDecrypt);
    // And where the profile does not say so, nothing has changed.
    line.setup.rules.profile.on_pinned = UnsupportedAction::Block;
    assert_eq!(refuse(&mut line), None);
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn by_hand(name: &str, until: u64) -> Exclusion {
    let server = Server::named(Some(name), None, 443).unwrap();
    Exclusion { cause: Cause::Manual, server, clients: Clients::Any, since: 1, until, engine: None }
}

#[test]
fn what_an_operator_names_is_bypassed_until_its_time_is_up() {
    let line = Line::new(taking_both(Lab::new()), Profile::default());
    let exclusions = &line.setup.exclusions;
    exclusions.add(by_hand(NAME, now() + 3600));
    let bypassed = line.connect();
    line.done(&bypassed);
    assert_bypassed(&bypassed, Reason::ExcludedManual, Cause::Manual);
    exclusions.add(by_hand(NAME, now()));
    let decrypted = line.connect();
    line.done(&decrypted);
    assert_eq!(decrypted.tls_event().reason, Reason::PolicyDecrypt);
    assert!(exclusions.is_empty());
}

/// What is blocked stays blocked: an exclusion is from decryption.
#[test]
fn rules_come_first() {
    let mut line = Line::new(Lab::new(), Profile::default());
    line.setup.exclusions.add(by_hand(NAME, now() + 3600));
    line.setup.rules = Rules::by_name(Action::Alert);
    assert_eq!(line.connect().tls_event().reason, Reason::PolicyBlock);
}

#[test]
fn the_file_keeps_them_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exclusions.json");
    let kept = Arc::new(Exclusions::new([7; 16]));
    assert_eq!(load(&path, &kept).unwrap(), (0, vec![]));
    let file = ExclusionFile::start(path.clone(), Arc::clone(&kept)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
    kept.add(by_hand("a.example", now() + 3600));
    kept.add(by_hand("over.example", now()));
    // The end writes what the clock has not.
    file.stop();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    rehearse(&path).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    let again = Exclusions::new([7; 16]);
    assert_eq!(load(&path, &again).unwrap(), (1, vec![]));
    assert_eq!(again.list(now()), kept.list(now()));
    // A file that somebody has spoilt loses the lines that are spoilt.
    fs::write(&path, format!("{{\"cause\":\"boredom\"}}\n{text}nonsense\n")).unwrap();
    let spoilt = Exclusions::new([7; 16]);
    let (added, wrong) = load(&path, &spoilt).unwrap();
    assert_eq!((added, wrong.len(), spoilt.len()), (1, 2, 1));
    assert!(wrong[0].contains("exclusions.json:1: ") && wrong[1].contains(":3: "), "{wrong:?}");
    // A line that never ends is not waited for.
    fs::write(&path, vec![b'x'; 20 << 20]).unwrap();
    assert_eq!(load(&path, &Exclusions::new([7; 16])).unwrap().1.len(), 1);
    let nowhere = folder.path().join("no/such/folder");
    assert!(rehearse(&nowhere).is_err() && ExclusionFile::start(nowhere, kept).is_err());
}

#[test]
fn the_file_is_written_while_the_engine_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exclusions.json");
    let kept = Arc::new(Exclusions::new([7; 16]));
    let file = ExclusionFile::start(path.clone(), Arc::clone(&kept)).unwrap();
    kept.add(by_hand("a.example", now() + 3600));
    let written = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        fs::read_to_string(&path).unwrap().contains("a.example")
    });
    assert!(written);
    file.stop();
}
