//! Requests for several hosts on one connection: rules on connections hold for each of them.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/rules.rs"]
mod rules;

use std::sync::Arc;

use rules::{Outcome, Setup, Talk, talk_with};
use wireglass_core::end::End;
use wireglass_core::policy::{BlockWith, Decision, Policy, Ports, Profile, Rule};
use wireglass_core::reason::{Ambiguity, Reason};

const NAMES: &[&str] = &["a", "b.example", "*.c.example"];

fn profile(name: &str) -> Decision {
    Decision::Decrypt(Arc::new(Profile { name: name.into(), ..Profile::default() }))
}

/// A rule about one name; all else is decrypted as the flow is.
fn rule(sni: &str, decision: Decision) -> Policy {
    let rule = Rule { sni: vec![sni.parse().unwrap()], ..Rule::new("other", decision) };
    Policy::compile(Ports::Any, &[rule], profile(&Profile::default().name))
}

fn ask(host: &str, is_nameless: bool, connections: Policy) -> Outcome {
    let setup = Setup {
        is_nameless,
        certificate_names: NAMES,
        connections: Some(Arc::new(connections)),
        ..Setup::default()
    };
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let said = [Talk::says(End::Client, &request), Talk::ends(End::Client)];
    let outcome = talk_with(&setup, &said, |_| usize::MAX);
    if outcome.alerts.is_empty() {
        assert_eq!(outcome.to_server, request);
    } else {
        assert_eq!(outcome.to_server, "");
        assert!(outcome.to_client.starts_with("HTTP/1.1 421 "), "{}", outcome.to_client);
        assert_eq!(outcome.alerts[0].reason, Reason::ContentUnparsed);
        assert!(outcome.alerts[0].http.ambiguous.iter().any(|it| it == Ambiguity::Fronting));
    }
    outcome
}

fn passes(host: &str, connections: Policy) -> bool {
    ask(host, false, connections).alerts.is_empty()
}

#[test]
fn a_host_that_a_rule_treats_in_another_way_has_a_connection_of_its_own() {
    let others = || [Decision::Bypass, Decision::Block(BlockWith::Alert), profile("strict")];
    for decision in others() {
        let rule = |sni| rule(sni, decision.clone());
        assert!(!passes("b.example", rule("b.example")), "{decision:?}");
        assert!(!passes("B.Example.", rule("b.example")), "{decision:?}");
        assert!(!passes("d.c.example", rule("*.c.example")), "{decision:?}");
        assert!(!passes("d.c.example", rule("d.c.example")), "{decision:?}");
        // It is about another one.
        assert!(passes("e.c.example", rule("d.c.example")), "{decision:?}");
        assert!(passes("b.example", rule("*.b.example")), "{decision:?}");
        // The connection is one of this name.
        assert!(passes("a", rule("a")), "{decision:?}");
        // Without a name in the hello, any may follow that no rule is about.
        assert!(!ask("b.example", true, rule("b.example")).alerts.is_empty(), "{decision:?}");
        assert!(ask("d.c.example", true, rule("b.example")).alerts.is_empty(), "{decision:?}");
    }
}

#[test]
fn a_host_that_is_treated_alike_shares_it() {
    let same = || profile(&Profile::default().name);
    assert!(passes("b.example", rule("b.example", same())));
    assert!(passes("d.c.example", rule("b.example", Decision::Bypass)));
    // The certificate is for neither.
    assert!(!passes("e.example", rule("b.example", same())));
    assert!(!passes("e.d.c.example", rule("b.example", same())));
}
