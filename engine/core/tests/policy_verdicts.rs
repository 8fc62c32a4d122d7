//! Each condition with each action, and their order.
#![allow(missing_docs, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;

use wireglass_core::policy::{
    BlockWith, Decision, FlowFacts, HelloFacts, Policy, Ports, Profile, Rule, Verdict,
};

const JA4: &str = "t13d1516h2_8daaf6152771_e5627efa2ab1";

fn flow() -> FlowFacts<'static> {
    FlowFacts {
        wire: "lan",
        vlan: Some(7),
        client: address("10.0.0.1:50000"),
        server: address("[2001:db8::1]:443"),
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn alpn(protocols: &[&str]) -> Vec<Box<[u8]>> {
    protocols.iter().map(|p| p.as_bytes().into()).collect()
}

fn decisions() -> [Decision; 4] {
    [
        Decision::Decrypt(Arc::new(Profile::default())),
        Decision::Bypass,
        Decision::Block(BlockWith::Alert),
        Decision::Block(BlockWith::Reset),
    ]
}

/// A default that no rule of these tests has.
fn other() -> Decision {
    Decision::Decrypt(Arc::new(Profile { name: "other".into(), ..Profile::default() }))
}

fn policy(rules: &[Rule]) -> Policy {
    Policy::compile(Ports::Any, rules, other())
}

fn verdict(rule: &str, decision: &Decision) -> Verdict {
    Verdict { rule: Some(rule.into()), decision: decision.clone() }
}

fn default() -> Verdict {
    Verdict { rule: None, decision: other() }
}

/// Something that sets one condition of a rule.
type Condition = fn(&mut Rule);

const FLOW_CONDITIONS: [(&str, Condition, Condition); 7] = [
    ("wire", |r| r.wire = Some("lan".into()), |r| r.wire = Some("LAN".into())),
    ("vlan", |r| r.vlan = Some(7), |r| r.vlan = Some(8)),
    (
        "source",
        |r| r.source = vec!["192.0.2.0/24".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
        |r| {
            r.source = vec!["2001:db8::/32".parse().unwrap()];
        },
    ),
    (
        "destination",
        |r| r.destination = vec!["2001:db8::/32".parse().unwrap()],
        |r| {
            r.destination = vec!["10.0.0.0/8".parse().unwrap()];
        },
    ),
    (
        "any address of the other family",
        |r| r.destination = vec!["::/0".parse().unwrap()],
        |r| {
            r.destination = vec!["0.0.0.0/0".parse().unwrap()];
        },
    ),
    ("ports", |r| r.ports = vec![8443, 443], |r| r.ports = vec![50000]),
    ("nothing", |_| (), |r| r.ports = vec![1]),
];

const HELLO_CONDITIONS: [(&str, Condition, Condition); 3] = [
    (
        "sni",
        |r| r.sni = vec!["x.test".parse().unwrap(), "*.example.com".parse().unwrap()],
        |r| {
            r.sni = vec!["example.com".parse().unwrap(), "*.www.example.com".parse().unwrap()];
        },
    ),
    ("alpn", |r| r.alpn = vec![b"imap".to_vec(), b"http/1.1".to_vec()], |r| r.alpn = vec![b"H2".to_vec()]),
    ("ja4", |r| r.ja4 = vec![JA4.into()], |r| r.ja4 = vec![JA4.replace("t13", "t12")]),
];

#[test]
fn conditions_on_the_flow_with_each_action() {
    let hello = HelloFacts { sni: None, alpn: &[], ja4: JA4 };
    for (what, holds, fails) in FLOW_CONDITIONS {
        for decision in decisions() {
            let mut rule = Rule::new("r", decision.clone());
            holds(&mut rule);
            let matching = policy(std::slice::from_ref(&rule));
            assert_eq!(matching.at_syn(&flow()), Some(verdict("r", &decision)), "{what}");
            assert_eq!(matching.at_hello(&flow(), &hello), verdict("r", &decision), "{what}");
            fails(&mut rule);
            let other = policy(&[rule]);
            assert_eq!(other.at_syn(&flow()), Some(default()), "not {what}");
            assert_eq!(other.at_hello(&flow(), &hello), default(), "not {what}");
        }
    }
}

#[test]
fn conditions_on_the_hello_with_each_action() {
    let alpn = alpn(&["h2", "http/1.1"]);
    let hello = HelloFacts { sni: Some("www.Example.com"), alpn: &alpn, ja4: JA4 };
    for (what, holds, fails) in HELLO_CONDITIONS {
        for decision in decisions() {
            let mut rule = Rule::new("r", decision.clone());
            holds(&mut rule);
            let matching = policy(std::slice::from_ref(&rule));
            assert_eq!(matching.at_syn(&flow()), None, "{what}: only the hello can tell");
            assert_eq!(matching.at_hello(&flow(), &hello), verdict("r", &decision), "{what}");
            fails(&mut rule);
            assert_eq!(policy(&[rule]).at_hello(&flow(), &hello), default(), "not {what}");
        }
    }
}

#[test]
fn all_conditions_must_hold() {
    let alpn = alpn(&["http/1.1"]);
    let hello = HelloFacts { sni: Some("a.example.com"), alpn: &alpn, ja4: JA4 };
    let conditions: Vec<_> = FLOW_CONDITIONS.into_iter().chain(HELLO_CONDITIONS).collect();
    let mut all = Rule::new("all", Decision::Bypass);
    conditions.iter().for_each(|(_, holds, _)| holds(&mut all));
    assert_eq!(
        policy(std::slice::from_ref(&all)).at_hello(&flow(), &hello),
        verdict("all", &Decision::Bypass)
    );
    for (what, _, fails) in conditions {
        let mut one_fails = all.clone();
        fails(&mut one_fails);
        assert_eq!(policy(&[one_fails]).at_hello(&flow(), &hello), default(), "without {what}");
    }
}

#[test]
fn a_hello_without_a_name_matches_no_name() {
    let mut rule = Rule::new("r", Decision::Bypass);
    rule.sni = vec!["*.com".parse().unwrap(), "a.test".parse().unwrap()];
    let policy = policy(&[rule]);
    for sni in [None, Some(""), Some(".")] {
        assert_eq!(policy.at_hello(&flow(), &HelloFacts { sni, alpn: &[], ja4: JA4 }), default(), "{sni:?}");
    }
}

#[test]
fn an_untagged_flow_matches_no_vlan_and_mapped_addresses_are_ipv4() {
    let mut rule = Rule::new("r", Decision::Bypass);
    rule.vlan = Some(1);
    assert_eq!(policy(&[rule]).at_syn(&FlowFacts { vlan: None, ..flow() }), Some(default()));
    let mut rule = Rule::new("r", Decision::Bypass);
    rule.source = vec!["10.0.0.0/8".parse().unwrap()];
    let mapped = FlowFacts { client: address("[::ffff:10.2.3.4]:1"), ..flow() };
    assert_eq!(policy(&[rule]).at_syn(&mapped), Some(verdict("r", &Decision::Bypass)));
}

#[test]
fn the_first_matching_rule_wins() {
    let rules = [
        Rule { ports: vec![1], ..Rule::new("other port", Decision::Bypass) },
        Rule { sni: vec!["*.example.com".parse().unwrap()], ..Rule::new("name", Decision::Bypass) },
        Rule { ports: vec![443], ..Rule::new("port", Decision::Block(BlockWith::Reset)) },
        Rule::new("rest", Decision::Bypass),
    ];
    let policy = policy(&rules);
    let hello = |sni| HelloFacts { sni, alpn: &[], ja4: JA4 };
    assert_eq!(policy.at_syn(&flow()), None, "the rule about names may still win over the one about ports");
    assert_eq!(policy.at_hello(&flow(), &hello(Some("a.example.com"))), verdict("name", &Decision::Bypass));
    assert_eq!(policy.at_hello(&flow(), &hello(None)), verdict("port", &rules[2].decision));
    let elsewhere = FlowFacts { server: address("192.0.2.1:2"), ..flow() };
    assert_eq!(policy.at_hello(&elsewhere, &hello(None)), verdict("rest", &Decision::Bypass));
    let first = FlowFacts { server: address("192.0.2.1:1"), ..flow() };
    assert_eq!(policy.at_syn(&first), Some(verdict("other port", &Decision::Bypass)));
}

#[test]
fn a_rule_about_names_of_another_network_does_not_delay_the_flow() {
    let rules = [
        Rule {
            sni: vec!["a.test".parse().unwrap()],
            destination: vec!["192.0.2.0/24".parse().unwrap()],
            ..Rule::new("names there", Decision::Bypass)
        },
        Rule::new("rest", Decision::Block(BlockWith::Alert)),
    ];
    assert_eq!(policy(&rules).at_syn(&flow()), Some(verdict("rest", &rules[1].decision)));
}

#[test]
fn only_flows_to_intercepted_ports_are_candidates() {
    let some = Policy::compile(Ports::Only(vec![443, 8443]), &[], Decision::Bypass);
    assert!(some.candidate(443) && some.candidate(8443) && !some.candidate(80) && !some.candidate(0));
    assert!(policy(&[]).candidate(80));
}

#[test]
fn a_policy_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    shared(&policy(&[]));
}
