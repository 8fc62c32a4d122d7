//! Many rules of one name each: how long they take to load, and what a look-up among them costs.
#![allow(missing_docs, clippy::unwrap_used)]

mod config_support;

use std::fmt::Write;
use std::hint::black_box;
use std::time::Duration;

use config_support::{Folder, GOOD, cpu_time};
use wireglass_core::policy::{FlowFacts, HelloFacts};

const RULES: usize = 100_000;
/// Many, as the clock goes in steps of milliseconds.
const LOOKUPS: usize = 200_000;

/// `cargo test -p wireglass --test config_many_rules -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn a_hundred_thousand_rules_load_in_a_second_and_cost_a_lookup_nothing() {
    let folder = Folder::new();
    let mut text = GOOD.to_owned();
    for i in 0..RULES {
        write!(text, "[[rule]]\nname = \"r{i}\"\nsni = [\"host{i}.example.com\"]\naction = \"bypass\"\n")
            .unwrap();
    }
    let start = cpu_time();
    let config = folder.load(&text).unwrap_or_else(|faults| panic!("{faults}"));
    let policy = config.compile_policy();
    let loaded = cpu_time() - start;
    println!("{RULES} rules: {loaded:?} to load");

    let flow = FlowFacts {
        wire: "lan",
        vlan: None,
        client: "10.0.0.1:50000".parse().unwrap(),
        server: "192.0.2.1:443".parse().unwrap(),
    };
    let names: Vec<_> = (0..1000).map(|i| format!("host{}.example.com", i * 199)).collect();
    let start = cpu_time();
    for name in names.iter().cycle().take(LOOKUPS) {
        black_box(policy.at_hello(&flow, &HelloFacts { sni: Some(name), alpn: &[], ja4: "" }));
    }
    let each = (cpu_time() - start) / LOOKUPS as u32;
    println!("{each:?} a look-up");
    let last = HelloFacts { sni: Some("host99999.example.com"), alpn: &[], ja4: "" };
    assert_eq!(policy.at_hello(&flow, &last).rule.as_deref(), Some("r99999"));
    assert!(loaded < Duration::from_secs(1), "{loaded:?}");
    assert!(each < Duration::from_micros(2), "{each:?}");
}
