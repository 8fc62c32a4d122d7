//! Each condition with each action, and their order.
#![allow(missing_docs, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;

use wireglass_core::event::Action;
use wireglass_core::exclusions::Cause;
use wireglass_core::mirror::Shown;
use wireglass_core::policy::{
    Answer, BlockWith, ClientCertificateAction, ConnectionFacts, ContentAction, Decision, DecryptedFlow,
    EchAction, FlowFacts, Format, HelloFacts, Hold, Inspect, ListKind, ListsBuilder, OnUnread, Policy, Ports,
    Profile, Respond, Rule, StartTls, Tallies, Tally, UnsupportedAction, Verdict,
};
use wireglass_core::reason::Reason;
use wireglass_core::starttls::Protocol;

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

/// Those of STARTTLS are looked at, too, and no QUIC comes to them.
#[test]
fn ports_of_starttls_are_candidates() {
    let starttls = StartTls {
        ports: vec![(25, Protocol::Smtp), (443, Protocol::Imap)],
        on_stripped: UnsupportedAction::Bypass,
        on_unused: UnsupportedAction::Block,
    };
    let only = Ports::Only(vec![443]);
    let some = Policy::compile(only, &[], Decision::Bypass).with_starttls(starttls.clone());
    assert_eq!((some.ports(), some.starttls()), (&Ports::Only(vec![443, 25]), &starttls));
    assert!(some.candidate(25) && !some.candidate(80) && !some.has_all_ports());
    assert_eq!([443, 25].map(|port| some.may_be_quic(port)), [true, false]);
    let all = policy(&[]).with_starttls(starttls.clone());
    assert_eq!((all.has_all_ports(), all.may_be_quic(443)), (true, false));
    let spoken = [25, 443, 80].map(|port| starttls.protocol(port));
    assert_eq!(spoken, [Some(Protocol::Smtp), Some(Protocol::Imap), None]);
    assert_eq!(starttls.action(Reason::StartTlsStripped), UnsupportedAction::Bypass);
    assert_eq!(starttls.action(Reason::StartTlsUnused), UnsupportedAction::Block);
}

#[test]
fn a_rule_says_which_condition_does_not_hold() {
    let alpn = alpn(&["h2", "http/1.1"]);
    let hello = HelloFacts { sni: Some("www.example.com"), alpn: &alpn, ja4: JA4 };
    for (what, holds, fails) in FLOW_CONDITIONS.into_iter().chain(HELLO_CONDITIONS) {
        let explained = |change: Condition| {
            let mut rule = Rule::new("r", Decision::Bypass);
            change(&mut rule);
            let answers = policy(&[rule, Rule::new("rest", Decision::Bypass)]).explain(&flow(), &hello);
            answers.into_iter().map(|(rule, answer)| (rule.to_string(), answer)).collect::<Vec<_>>()
        };
        let key = match what {
            "any address of the other family" => "destination",
            "nothing" => "ports",
            key => key,
        };
        assert_eq!(explained(holds), [("r".to_owned(), Answer::Matches)], "{what}");
        let both = [("r".to_owned(), Answer::No(key)), ("rest".to_owned(), Answer::Matches)];
        assert_eq!(explained(fails), both, "{what}");
    }
}

#[test]
fn a_listed_name_explains_a_rule() {
    let mut builder = ListsBuilder::new([7; 16]);
    let ids = [("other", "b.test"), ("names", "a.test")].map(|(name, entry)| {
        let id = builder.declare(name, ListKind::Domain).unwrap();
        builder.read(id, Format::Plain, entry.as_bytes());
        id
    });
    let rules = ids.map(|id| Rule { sni_list: Some(id), ..Rule::new("r", Decision::Bypass) });
    let policy = Policy::compile_with_lists(Ports::Any, &rules, other(), Arc::new(builder.build()));
    let hello = HelloFacts { sni: Some("a.test"), alpn: &[], ja4: JA4 };
    let answers: Vec<_> = policy.explain(&flow(), &hello).into_iter().map(|(_, answer)| answer).collect();
    assert_eq!(answers, [Answer::No("sni"), Answer::Matches]);
}

#[test]
fn mirrors_are_those_of_the_rule_that_has_decided() {
    let rules = [
        Rule { mirror: Shown::Nowhere, ..Rule::new("nowhere", Decision::Bypass) },
        Rule { mirror: Shown::At("ids".into()), ..Rule::new("ids", Decision::Bypass) },
        Rule::new("quiet", Decision::Bypass),
    ];
    let policy = policy(&rules);
    assert_eq!(policy.shown(Some("nowhere")), &Shown::Nowhere);
    assert_eq!(policy.shown(Some("ids")), &Shown::At("ids".into()));
    for rule in [Some("quiet"), Some("unknown"), None] {
        assert_eq!(policy.shown(rule), &Shown::ByProfile);
    }
}

/// A connection that was decrypted may carry requests for other hosts.
#[test]
fn another_host_is_treated_alike_under_the_same_profile() {
    let profile = |name: &str| Arc::new(Profile { name: name.into(), ..Profile::default() });
    let decrypt = |name: &str| Decision::Decrypt(profile(name));
    let named = |name: &str, decision| Rule { sni: vec![name.parse().unwrap()], ..Rule::new(name, decision) };
    let rules = [
        named("bank.test", Decision::Bypass),
        named("strict.test", decrypt("strict")),
        Rule { wire: Some("lan".into()), ..named("wired.test", Decision::Bypass) },
    ];
    let policy = Policy::compile(Ports::Any, &rules, decrypt("same"));
    let FlowFacts { client, server, .. } = flow();
    let connection = ConnectionFacts { wire: "lan".into(), ..ConnectionFacts::default() };
    let decrypted = DecryptedFlow {
        profile: profile("same"),
        sni: None,
        certificate_names: Vec::new(),
        client,
        server,
        flow_id: 1,
        connection,
    };
    let alike = ["a.test", "wired.test", "bank.test", "strict.test"]
        .map(|host| policy.treats_alike(&decrypted, host));
    assert_eq!(alike, [true, false, false, false]);
}

#[test]
fn verdicts_and_profiles_are_counted() {
    let tally = |name: &str, actions: [&'static str; 2]| {
        let named = [(name.into(), actions[0])];
        Arc::new(Tally::new(named, [actions[1]], &Tally::default()))
    };
    let tallies = Tallies {
        connections: tally("r", ["bypass", "decrypt"]),
        profiles: tally("strict", ["block", "bypass"]),
        ..Tallies::default()
    };
    let policy = policy(&[Rule::new("r", Decision::Bypass)]).counted_in(&tallies);
    policy.count(&verdict("r", &Decision::Bypass));
    policy.count(&verdict("r", &Decision::Bypass));
    policy.count(&default());
    policy.count_profile("strict", Action::Block);
    let counted: Vec<_> = tallies.connections.iter().collect();
    assert_eq!(counted, [("", "decrypt", 1), ("r", "bypass", 2)]);
    let counted: Vec<_> = tallies.profiles.iter().collect();
    assert_eq!(counted, [("", "bypass", 0), ("strict", "block", 1)]);
}

#[test]
fn a_profile_bypasses_what_it_says() {
    let strict = Profile::default();
    let with = [
        (
            Cause::ClientCertificate,
            Profile { on_client_certificate: ClientCertificateAction::Bypass, ..strict.clone() },
        ),
        (Cause::Unsupported, Profile { on_unsupported: UnsupportedAction::Bypass, ..strict.clone() }),
        (Cause::Pinned, Profile { on_pinned: UnsupportedAction::Bypass, ..strict.clone() }),
        (Cause::Ech, Profile { on_ech: EchAction::Bypass, ..strict.clone() }),
    ];
    assert!(!strict.bypasses_learned() && strict.bypasses(Cause::Manual));
    for (cause, profile) in with {
        assert!(profile.bypasses_learned(), "{cause:?}");
        for other in Cause::ALL {
            let expected = other == cause || other == Cause::Manual;
            assert_eq!(profile.bypasses(other), expected, "{cause:?} {other:?}");
        }
    }
}

/// What configurations, events and metrics have.
#[test]
fn names_are_stable() {
    assert_eq!(decisions().map(|decision| decision.name()), ["decrypt", "bypass", "block", "block"]);
    assert_eq!([OnUnread::Block, OnUnread::Allow].map(OnUnread::name), ["block", "allow"]);
    assert_eq!([Hold::None, Hold::Tail, Hold::All].map(Hold::name), ["none", "tail", "all"]);
    let actions = [
        ContentAction::Allow,
        ContentAction::Alert,
        ContentAction::Block(Respond::Page),
        ContentAction::Inspect(Inspect::default()),
    ];
    assert_eq!(actions.each_ref().map(ContentAction::name), ["allow", "alert", "block", "inspect"]);
    use ListKind::{Domain, Ip, Md5, Sha256, Url};
    for (kind, name, entries, is_of_hashes) in [
        (Domain, "domain", "names", false),
        (Url, "url", "URLs", false),
        (Ip, "ip", "networks", false),
        (Sha256, "sha256", "hashes", true),
        (Md5, "md5", "hashes", true),
    ] {
        assert_eq!((kind.name(), kind.entries(), kind.is_of_hashes()), (name, entries, is_of_hashes));
    }
    for (format, name, kinds) in [
        (Format::Plain, "plain", &[Domain, Url, Ip, Sha256, Md5][..]),
        (Format::Hosts, "hosts", &[Domain]),
        (Format::Ut1, "ut1", &[Domain, Url, Ip]),
        (Format::Rpz, "rpz", &[Domain, Ip]),
        (Format::Suricata, "suricata", &[Domain, Url, Ip, Sha256, Md5]),
    ] {
        assert_eq!(format.name(), name);
        let held = [Domain, Url, Ip, Sha256, Md5].into_iter().filter(|kind| format.has(*kind));
        assert_eq!(held.collect::<Vec<_>>(), kinds, "{name}");
    }
}

#[test]
fn a_policy_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    shared(&policy(&[]));
}
