//! What asking a thousand rules on content about a request costs.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use wireglass_core::fields::Fields;
use wireglass_core::policy::{
    ConnectionFacts, ContentAction, ContentPolicy, ContentRule, DecryptedFlow, Known, LastFound, Profile,
    RequestFacts,
};

const RULES: usize = 1000;
const REQUESTS: u32 = 20_000;

/// `cargo test --release -p wireglass --test content_rules_scale -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn a_request_among_a_thousand_rules() {
    let flow = DecryptedFlow {
        profile: Arc::new(Profile::default()),
        sni: None,
        certificate_names: Vec::new(),
        client: "192.0.2.1:1000".parse().unwrap(),
        server: "192.0.2.2:443".parse().unwrap(),
        flow_id: 1,
        connection: ConnectionFacts::default(),
    };
    let fields = Fields::default();
    for (count, hostless) in [(RULES, 0), (RULES, 10), (RULES, RULES), (100 * RULES, 100 * RULES)] {
        let rules: Vec<_> = (0..count)
            .map(|place| {
                let mut rule = ContentRule::new(place.to_string(), ContentAction::Alert);
                if place >= hostless {
                    rule.host = vec![format!("*.h{place}.example").parse().unwrap()];
                }
                rule.path = vec![format!("/p{place}/*").parse().unwrap()];
                rule
            })
            .collect();
        let start = Instant::now();
        let policy = ContentPolicy::compile(&rules, Arc::default());
        let compiled = start.elapsed();
        let mut last_found = LastFound::default();
        let start = Instant::now();
        for _ in 0..REQUESTS {
            let request = RequestFacts {
                host: Some("www.h999.example"),
                method: "GET",
                target: black_box("/x/y?z=1"),
                fields: &fields,
                size: Known::Bytes(0),
            };
            assert!(black_box(policy.at_request(&flow, &request, &mut last_found)).otherwise.is_none());
        }
        let each = start.elapsed() / REQUESTS;
        println!(
            "{count} rules, {hostless} of them without host: {each:?} a request; {compiled:?} to compile"
        );
    }
}
