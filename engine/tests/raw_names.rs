//! Server names that no certificate could have: they are names to rules and log, and nobody is reset for them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::lab::{Lab, Run, Setup};
use support::raw::hello;
use support::rules::{Action, Rules};
use wireglass_core::event;
use wireglass_core::policy::{Decision, Rule, UnsupportedAction};
use wireglass_core::reason::Reason;
use wireglass_testbed::{Ending, Session, Step};

/// As long as one that is right.
const RIGHT: &str = "foo0.lab.test";
const NAMES: [&str; 5] =
    ["foo-.lab.test", "-foo.lab.test", "lab.test:8443", "1.2.3.4.5.6.7", "foo .lab.test"];

/// The hello of a client that asks for this name.
fn asking_for(name: &str) -> Vec<u8> {
    let mut bytes = hello(RIGHT);
    let at = bytes.windows(RIGHT.len()).position(|window| window == RIGHT.as_bytes()).unwrap();
    bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
    bytes
}

fn run(rules: Rules, bytes: Vec<u8>) -> Run {
    let client = Session::plain(vec![Step::Send(bytes.clone()), Step::AwaitEnd, Step::Finish]);
    let server = Session::plain(vec![Step::Receive(bytes.len()), Step::Finish, Step::AwaitEnd]);
    let mut run = Lab::new().connect(&Setup { rules, ..Setup::default() }, client, server);
    run.run();
    run
}

#[track_caller]
fn assert_passed(run: &Run, bytes: &[u8], name: &str) {
    assert_eq!((run.server().received.as_slice(), &run.client().end), (bytes, &Some(Ending::Finished)));
    let event = run.tls_event();
    assert_eq!(
        (event.action, event.hello.as_ref().unwrap().sni.as_deref()),
        (event::Action::Bypass, Some(name))
    );
}

/// One rule about another name, so that the hello is looked at.
fn about_another(default: Action) -> Rules {
    let rule = Rule { sni: vec!["other.test".parse().unwrap()], ..Rule::new("other", Decision::Bypass) };
    Rules { first: vec![rule], ..Rules::default_is(default) }
}

#[test]
fn bypass_stays_bypass() {
    for name in NAMES {
        let bytes = asking_for(name);
        let run = run(about_another(Action::Bypass), bytes.clone());
        assert_passed(&run, &bytes, name);
        assert_eq!(run.tls_event().reason, Reason::PolicyBypass);
    }
}

#[test]
fn rules_are_asked_about_them() {
    for (pattern, names) in
        [("*.lab.test", &[NAMES[0], NAMES[1], NAMES[4]][..]), ("foo-.lab.test", &NAMES[..1])]
    {
        let rule = Rule { sni: vec![pattern.parse().unwrap()], ..Rule::new("raw", Decision::Bypass) };
        let rules = Rules { first: vec![rule], ..Rules::default_is(Action::Decrypt) };
        for name in names {
            let bytes = asking_for(name);
            let run = run(rules.clone(), bytes.clone());
            assert_passed(&run, &bytes, name);
            assert_eq!(run.tls_event().rule.as_deref(), Some("raw"));
        }
    }
}

#[test]
fn decryption_refuses_them_by_name_or_lets_them_go() {
    for name in NAMES {
        let mut rules = Rules::default_is(Action::Decrypt);
        let refused = run(rules.clone(), asking_for(name));
        assert!(refused.server().received.is_empty());
        assert_eq!(refused.client().received, [21, 3, 3, 0, 2, 2, 112]);
        let event = refused.tls_event();
        assert_eq!((event.action, event.reason), (event::Action::Block, Reason::HelloName));
        assert_eq!(event.hello.as_ref().unwrap().sni.as_deref(), Some(name));

        rules.profile.on_unsupported = UnsupportedAction::Bypass;
        let bytes = asking_for(name);
        let passed = run(rules, bytes.clone());
        assert_passed(&passed, &bytes, name);
        assert_eq!(passed.tls_event().reason, Reason::HelloName);
    }
}

/// What other servers refuse, whatever policy says: two readers may see two names.
#[test]
fn a_name_with_a_zero_byte_is_malformed_and_the_client_is_told() {
    let run = run(about_another(Action::Bypass), asking_for("foo0\0lab.test"));
    assert_eq!(run.client().received, [21, 3, 3, 0, 2, 2, 50]);
    assert!(run.server().received.is_empty());
    assert_eq!(run.tls_event().reason, Reason::HelloMalformed);
}
