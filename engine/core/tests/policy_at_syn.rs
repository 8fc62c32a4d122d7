//! What the policy says at the SYN holds whatever the ClientHello says, and both agree with a naive reading of the rules.
#![allow(missing_docs, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use wireglass_core::policy::{
    BlockWith, Decision, FirstContact, FlowFacts, Format, HelloFacts, ListKind, Lists, ListsBuilder,
    NamePattern, Policy, Ports, Rule,
};

const WIRES: [&str; 2] = ["a", "b"];
const NETWORKS: [&str; 4] = ["10.0.0.0/8", "10.1.0.0/16", "::/0", "2001:db8::/32"];
const ADDRESSES: [&str; 4] = ["10.1.2.3", "10.9.9.9", "2001:db8::1", "::ffff:10.1.2.3"];
const PATTERNS: [&str; 4] = ["a.test", "*.test", "*.a.test", "b.a.test"];
const NAMES: [&str; 5] = ["a.test", "B.A.test.", "test", "x.b.a.test", "other"];
const ALPN: [&str; 2] = ["h2", "http/1.1"];
const JA4: [&str; 2] = ["one", "two"];

/// The last two patterns, and the last two networks.
fn lists() -> Arc<Lists> {
    let mut builder = ListsBuilder::new([3; 16]);
    let names = builder.declare("names", ListKind::Domain).unwrap();
    builder.read(names, Format::Plain, PATTERNS[2..].join("\n").as_bytes());
    let networks = builder.declare("networks", ListKind::Ip).unwrap();
    builder.read(networks, Format::Plain, NETWORKS[2..].join("\n").as_bytes());
    Arc::new(builder.build())
}

/// Mostly empty, so that rules match now and then.
fn some_of<const N: usize>(all: [&'static str; N]) -> impl Strategy<Value = Vec<&'static str>> {
    prop_oneof![2 => Just(Vec::new()), 1 => subsequence(all.to_vec(), 1..=N)]
}

fn decision() -> impl Strategy<Value = Decision> {
    select(vec![Decision::Bypass, Decision::Block(BlockWith::Alert), Decision::Block(BlockWith::Reset)])
}

prop_compose! {
    fn rule()(
        wire in prop::option::weighted(0.3, select(WIRES.to_vec())),
        vlan in prop::option::weighted(0.2, 1u16..3),
        source in some_of(NETWORKS),
        destination in some_of(NETWORKS),
        ports in prop_oneof![2 => Just(vec![]), 1 => prop::collection::vec(1u16..4, 1..3)],
        sni in some_of(PATTERNS),
        (listed_names, listed_source) in (prop::bool::weighted(0.2), prop::bool::weighted(0.1)),
        alpn in some_of(ALPN),
        ja4 in some_of(JA4),
        decision in decision(),
    ) -> Rule {
        Rule {
            wire: wire.map(Into::into),
            vlan,
            source: source.iter().map(|n| n.parse().unwrap()).collect(),
            destination: destination.iter().map(|n| n.parse().unwrap()).collect(),
            ports,
            sni: sni.iter().map(|n| n.parse().unwrap()).collect(),
            sni_list: listed_names.then(|| lists().id("names").unwrap()),
            source_list: listed_source.then(|| lists().id("networks").unwrap()),
            alpn: alpn.iter().map(|p| p.as_bytes().to_vec()).collect(),
            ja4: ja4.into_iter().map(Into::into).collect(),
            ..Rule::new("", decision)
        }
    }
}

prop_compose! {
    fn flow()(
        wire in select(WIRES.to_vec()),
        vlan in prop::option::of(1u16..3),
        client in select(ADDRESSES.to_vec()),
        server in select(ADDRESSES.to_vec()),
        port in 1u16..4,
    ) -> FlowFacts<'static> {
        FlowFacts {
            wire,
            vlan,
            client: SocketAddr::new(client.parse().unwrap(), 50_000),
            server: SocketAddr::new(server.parse().unwrap(), port),
        }
    }
}

type Hello = (Option<&'static str>, Vec<Box<[u8]>>, &'static str);

fn hello() -> impl Strategy<Value = Hello> {
    let sni = prop::option::weighted(0.8, select(NAMES.to_vec()));
    let alpn = some_of(ALPN).prop_map(|list| list.iter().map(|p| p.as_bytes().into()).collect());
    (sni, alpn, select(vec![JA4[0], JA4[1], "three"]))
}

/// The rules as the document describes them, without sets and shortcuts.
fn naive(rules: &[Rule], flow: &FlowFacts<'_>, (sni, alpn, ja4): &Hello) -> Option<usize> {
    let inside = |networks: &[IpNet], is_listed: bool, address: SocketAddr| {
        let listed = if is_listed { &NETWORKS[2..] } else { &[] };
        let mut all = networks.iter().copied().chain(listed.iter().map(|network| network.parse().unwrap()));
        all.any(|n| n.contains(&address.ip().to_canonical()))
    };
    let sni_of = |rule: &Rule| {
        let listed = if rule.sni_list.is_some() { &PATTERNS[2..] } else { &[] };
        let listed = listed.iter().map(|pattern| pattern.parse::<NamePattern>().unwrap());
        rule.sni.iter().cloned().chain(listed).collect::<Vec<_>>()
    };
    rules.iter().position(|rule| {
        let named = |pattern: &NamePattern| {
            let name = sni.unwrap_or_default().trim_end_matches('.').to_lowercase();
            match pattern {
                NamePattern::Exact(exact) => name == *exact,
                NamePattern::Below(suffix) => name.ends_with(&format!(".{suffix}")),
            }
        };
        rule.wire.as_ref().is_none_or(|wire| wire == flow.wire)
            && (rule.vlan.is_none() || rule.vlan == flow.vlan)
            && (rule.source.is_empty() && rule.source_list.is_none()
                || inside(&rule.source, rule.source_list.is_some(), flow.client))
            && (rule.destination.is_empty() || inside(&rule.destination, false, flow.server))
            && (rule.ports.is_empty() || rule.ports.contains(&flow.server.port()))
            && (rule.sni.is_empty() && rule.sni_list.is_none() || sni_of(rule).iter().any(named))
            && (rule.alpn.is_empty() || rule.alpn.iter().any(|p| alpn.iter().any(|offered| **offered == **p)))
            && (rule.ja4.is_empty() || rule.ja4.iter().any(|known| known == ja4))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_verdict_at_the_syn_is_the_verdict_at_every_hello(
        mut rules in prop::collection::vec(rule(), 0..8),
        flow in flow(),
        hellos in prop::collection::vec(hello(), 1..20),
    ) {
        for (i, rule) in rules.iter_mut().enumerate() {
            rule.name = i.to_string();
        }
        let policy = Policy::compile_with_lists(Ports::Any, &rules, Decision::Bypass, lists());
        let at_syn = policy.at_syn(&flow);
        for hello in &hellos {
            let verdict = policy.at_hello(&flow, &HelloFacts { sni: hello.0, alpn: &hello.1, ja4: hello.2 });
            let expected = naive(&rules, &flow, hello);
            prop_assert_eq!(verdict.rule.as_deref().map(str::to_owned), expected.map(|i| i.to_string()));
            prop_assert_eq!(&verdict.decision, expected.map_or(&Decision::Bypass, |i| &rules[i].decision));
            if let Some(at_syn) = &at_syn {
                prop_assert_eq!(at_syn, &verdict);
            }
        }
        // And it is not late: if no rule that could match asks about the hello, the SYN is enough.
        if rules.iter().all(|rule| rule.sni.is_empty() && rule.sni_list.is_none() && rule.alpn.is_empty() && rule.ja4.is_empty()) {
            prop_assert!(at_syn.is_some());
        }
    }
}

/// A flow is held if a rule says so that may still decide it; those behind the first that needs no ClientHello cannot.
#[test]
fn a_flow_is_held_if_a_rule_that_may_decide_it_says_so() {
    let named = |contact| Rule { sni: vec!["a.test".parse().unwrap()], contact, ..Rule::new("named", BLOCK) };
    let (hold, first) = (FirstContact::Hold, FirstContact::ServerFirst);
    let elsewhere = Rule { ports: vec![7], ..named(hold) };
    let settles = |contact| Rule { contact, ..Rule::new("all", Decision::Bypass) };
    let flow = FlowFacts { wire: "a", vlan: None, client: address(1), server: address(443) };
    for (rules, default, expected) in [
        (vec![], first, false),
        (vec![], hold, true),
        (vec![named(hold)], first, true),
        (vec![named(first)], hold, true),
        (vec![elsewhere.clone()], first, false),
        (vec![named(first), named(hold)], first, true),
        (vec![named(hold), settles(first)], first, true),
        (vec![settles(first), named(hold)], hold, false),
        (vec![named(first), settles(hold)], first, true),
    ] {
        let policy = Policy::compile(Ports::Any, &rules, Decision::Bypass).with_contact(default);
        assert_eq!(policy.holds(&flow), expected, "{rules:?}, otherwise {default:?}");
        assert!(!policy.without_hold().holds(&flow));
    }
}

const BLOCK: Decision = Decision::Block(BlockWith::Alert);

fn address(port: u16) -> SocketAddr {
    ([10, 1, 2, 3], port).into()
}
