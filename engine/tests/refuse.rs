//! Every refusal: the server gets no byte of the client's data, nothing is minted, the client is told, the log says why.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::version::{TLS12, TLS13};
use support::Exchange;
use support::lab::{Lab, NAME, Run, Setup};
use support::rules::{Action, RULE, Rules};
use wireglass_core::event::{self, MintedBy};
use wireglass_core::policy::{ClientCertificateAction, DefectAction, Profile, TlsVersion, UnsupportedAction};
use wireglass_core::reason::Reason;
use wireglass_testbed::{Duration, Ending, Identity, Pki, Report, Session, Step};

/// TLS alerts (RFC 8446 6.2).
const PROTOCOL_VERSION: u8 = 70;
const ACCESS_DENIED: u8 = 49;

fn exchange() -> Exchange {
    Exchange::new(1, 5_000, 5_000)
}

fn run(lab: &Lab, rules: Rules) -> Run {
    let exchange = exchange();
    let setup = Setup { rules, ..Setup::default() };
    let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
    run.run();
    run.settle(Duration::from_secs(60));
    run
}

/// Nothing of either end has reached the other, and nothing was minted.
#[track_caller]
fn assert_refused(run: &Run, reason: Reason) {
    let (client, server) = (run.client(), run.server());
    assert!(server.received.is_empty() && client.received.is_empty(), "{reason:?}");
    assert!(client.handshake.is_none() && client.sent == 0, "{reason:?}");
    assert!(told(client), "{reason:?}: {:?}", client.end);
    assert!(server.end.is_some(), "{reason:?}");
    let event = run.tls_event();
    assert_eq!((event.action, event.reason), (event::Action::Block, reason));
    assert_eq!((&event.minted_serial, event.minted_by), (&None, None), "{reason:?}");
    assert_eq!(run.counters().certificates_minted.value(), 0, "{reason:?}");
    assert_eq!(run.flow_end(), ("blocked", reason));
    assert_eq!(run.engine().flows(), 0);
}

fn told(client: &Report) -> bool {
    matches!(client.end, Some(Ending::Alert(_) | Ending::Reset))
}

/// An identity with a defect, and the reason that goes with it.
fn defective(pki: &Pki, own: &Identity) -> Vec<(Reason, Identity)> {
    let with = |change: fn(&mut CertificateParams)| pki.identity_with(&[NAME], change).unwrap();
    vec![
        (Reason::CertExpired, with(|p| p.not_after = date_time_ymd(2025, 1, 1))),
        (Reason::CertNotYet, with(|p| p.not_before = date_time_ymd(2070, 1, 1))),
        (Reason::CertUntrusted, Pki::new("Stranger").unwrap().identity(&[NAME]).unwrap()),
        (Reason::CertSelfSigned, Identity::self_signed(&[NAME]).unwrap()),
        (Reason::CertMismatch, pki.identity(&["other.example.com"]).unwrap()),
        (Reason::CertMismatch, pki.identity(&["example.com"]).unwrap()),
        (Reason::CertMismatch, pki.identity(&["*.www.example.com"]).unwrap()),
        (
            Reason::CertMismatch,
            with(|p| {
                // The name in the subject does not count.
                p.subject_alt_names.clear();
                p.distinguished_name.push(DnType::CommonName, NAME);
            }),
        ),
        (Reason::CertUsage, with(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth])),
        (Reason::CertOwnCa, own.clone()),
    ]
}

#[test]
fn a_certificate_with_a_defect_is_refused() {
    for version in [&TLS12, &TLS13] {
        let mut lab = Lab::new();
        lab.server.versions = vec![version];
        for (reason, identity) in defective(&lab.pki, &lab.trusted.identity(&[NAME]).unwrap()) {
            lab = lab.with_identity(identity);
            let run = run(&lab, Rules::default_is(Action::Decrypt));
            assert_refused(&run, reason);
            assert!(matches!(run.client().end, Some(Ending::Alert(_))), "{:?}", run.client().end);
            let event = run.tls_event();
            assert_eq!(event.defect, Some(reason));
            assert!(event.certificate.is_some(), "{reason:?}");
        }
    }
}

#[test]
fn signed_by_the_untrusted_ca_is_refused_as_well() {
    let lab = Lab::new();
    let identity = lab.untrusted.identity(&[NAME]).unwrap();
    assert_refused(&run(&lab.with_identity(identity), Rules::default_is(Action::Decrypt)), Reason::CertOwnCa);
}

/// With `untrusted-ca` the flow goes on, with a certificate that the client does not trust.
#[test]
fn a_defect_may_be_passed_on_to_the_client() {
    for (reason, set) in settings() {
        let lab = Lab::new();
        let own = lab.trusted.identity(&[NAME]).unwrap();
        let (_, identity) = defective(&lab.pki, &own).into_iter().find(|(r, _)| *r == reason).unwrap();
        let mut lab = lab.with_identity(identity);
        let mut rules = Rules::default_is(Action::Decrypt);
        set(&mut rules.profile, DefectAction::UntrustedCa);

        // A client that does not trust it warns its user, and sends nothing.
        let refused = run(&lab, rules.clone());
        assert!(matches!(refused.client().end, Some(Ending::Refused(_))), "{:?}", refused.client().end);
        assert!(refused.server().received.is_empty());
        assert_eq!(refused.tls_event().reason, Reason::ClientAlert);

        // Its user says "go on".
        lab.client.roots = vec![lab.untrusted.certificate()];
        let accepted = run(&lab, rules);
        // The copy says of itself what the original says; rustls as the client has the last word.
        let event = accepted.tls_event();
        assert_eq!((event.defect, event.minted_by), (Some(reason), Some(MintedBy::Untrusted)));
        if matches!(reason, Reason::CertUntrusted | Reason::CertSelfSigned) {
            exchange().assert_done(accepted.client(), accepted.server(), &reason);
            let chain = &accepted.client().handshake.as_ref().unwrap().chain;
            assert_eq!(chain[1..], [lab.untrusted.certificate()]);
        }
    }
}

#[test]
fn a_defect_may_be_allowed() {
    for (reason, set) in settings() {
        let lab = Lab::new();
        let own = lab.trusted.identity(&[NAME]).unwrap();
        let (_, identity) = defective(&lab.pki, &own).into_iter().find(|(r, _)| *r == reason).unwrap();
        let lab = lab.with_identity(identity);
        let mut rules = Rules::default_is(Action::Decrypt);
        set(&mut rules.profile, DefectAction::Allow);
        let run = run(&lab, rules);
        let event = run.tls_event();
        assert_eq!((event.defect, event.minted_by), (Some(reason), Some(MintedBy::Trusted)));
        if matches!(reason, Reason::CertUntrusted | Reason::CertSelfSigned) {
            exchange().assert_done(run.client(), run.server(), &reason);
        }
    }
}

type Setting = fn(&mut Profile, DefectAction);

fn settings() -> [(Reason, Setting); 5] {
    [
        (Reason::CertExpired, |profile, action| profile.on_expired = action),
        (Reason::CertNotYet, |profile, action| profile.on_not_yet_valid = action),
        (Reason::CertUntrusted, |profile, action| profile.on_untrusted = action),
        (Reason::CertSelfSigned, |profile, action| profile.on_self_signed = action),
        (Reason::CertMismatch, |profile, action| profile.on_name_mismatch = action),
    ]
}

#[test]
fn a_rule_blocks_with_an_alert_or_a_reset() {
    for (action, end) in [(Action::Alert, Ending::Alert(ACCESS_DENIED)), (Action::Reset, Ending::Reset)] {
        let run = run(&Lab::new(), Rules::by_name(action));
        assert_refused(&run, Reason::PolicyBlock);
        assert_eq!(run.client().end, Some(end));
        assert_eq!(run.server().end, Some(Ending::Reset));
        assert_eq!(run.tls_event().rule.as_deref(), Some(RULE));
    }
}

#[test]
fn a_rule_that_holds_at_the_syn_refuses_the_connection() {
    let run = run(&Lab::new(), Rules::default_is(Action::Reset));
    assert_eq!(run.client().end, Some(Ending::Reset));
    assert_eq!((run.client().connected, run.server().connected), (None, None));
    assert_eq!(run.flow_end().1, Reason::PolicyBlock);
}

#[test]
fn versions_that_the_profile_does_not_allow() {
    let mut rules = Rules::default_is(Action::Decrypt);
    rules.profile.min_version = TlsVersion::Tls13;

    let mut old_client = Lab::new();
    old_client.client.versions = vec![&TLS12];
    let refused = run(&old_client, rules.clone());
    assert_refused(&refused, Reason::VersionUnsupportedClient);
    assert_eq!(refused.client().end, Some(Ending::Alert(PROTOCOL_VERSION)));

    let mut old_server = Lab::new();
    old_server.server.versions = vec![&TLS12];
    let refused = run(&old_server, rules.clone());
    assert_refused(&refused, Reason::VersionUnsupportedServer);

    // The client's hello is released when the profile says so.
    rules.profile.on_unsupported = UnsupportedAction::Bypass;
    let old_client = old_client.trusting_the_server();
    let bypassed = run(&old_client, rules);
    exchange().assert_done(bypassed.client(), bypassed.server(), &"bypassed");
    let event = bypassed.tls_event();
    assert_eq!((event.action, event.reason), (event::Action::Bypass, Reason::VersionUnsupportedClient));
}

/// A client that does not trust the engine's CA says so, and the server gets nothing.
#[test]
fn a_client_without_our_ca() {
    for version in [&TLS12, &TLS13] {
        let mut lab = Lab::new().trusting_the_server();
        lab.client.versions = vec![version];
        let run = run(&lab, Rules::default_is(Action::Decrypt));
        assert!(matches!(run.client().end, Some(Ending::Refused(_))), "{:?}", run.client().end);
        assert!(run.server().received.is_empty());
        let event = run.tls_event();
        assert_eq!((event.reason, event.alert), (Reason::ClientAlert, Some(48))); // unknown_ca
        assert_eq!(run.engine().flows(), 0);
    }
}

/// The engine has no certificate of the client's to show. The server of the testbed insists on one.
#[test]
fn a_server_that_asks_for_a_client_certificate() {
    for version in [&TLS12, &TLS13] {
        let mut lab = Lab::new();
        lab.server.client_root = Some(lab.pki.root());
        lab.server.versions = vec![version];
        let mut rules = Rules::default_is(Action::Decrypt);
        let insisting = run(&lab, rules.clone());
        assert!(insisting.server().received.is_empty());
        assert_eq!(insisting.flow_end().1, Reason::ServerRequiresClientCert);
        assert!(insisting.tls_event().certificate_asked);
        assert_eq!(insisting.counters().ended(Reason::ServerRequiresClientCert), 1);
        rules.profile.on_client_certificate = ClientCertificateAction::Block;
        assert_refused(&run(&lab, rules), Reason::ServerWantsClientCert);
    }
}

/// A hello of twenty years ago: TLS 1.0 and two suites, without extensions.
#[test]
fn a_client_that_is_too_old() {
    let mut hello = vec![1, 0, 0, 43, 3, 1];
    hello.extend([7; 32]);
    hello.extend([0, 0, 4, 0, 0x2f, 0, 0x35, 1, 0]);
    let record = [&[22, 3, 1, 0, hello.len() as u8][..], &hello].concat();
    let lab = Lab::new();
    let client = Session::plain(vec![Step::Send(record), Step::AwaitEnd, Step::Finish]);
    let mut run = lab.connect(&Setup::default(), client, Session::plain(vec![Step::AwaitEnd, Step::Finish]));
    run.run();
    assert_eq!(run.client().received, [21, 3, 3, 0, 2, 2, PROTOCOL_VERSION]);
    assert!(run.server().received.is_empty());
    assert_eq!(run.tls_event().reason, Reason::VersionUnsupportedClient);
}
