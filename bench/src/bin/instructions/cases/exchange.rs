//! A request and its response in the plaintext stage.

use std::sync::Arc;

use wireglass_core::content::{Fate, Filters, HttpReaders, Report, RuleFilters, Stage};
use wireglass_core::end::End;
use wireglass_core::policy::{
    ConnectionFacts, ContentAction, ContentPolicy, ContentRule, DecryptedFlow, Profile, Tallies,
};

use crate::{counted, rules};

const EXCHANGES: usize = 64;

// What the bench's generator sends.
const REQUEST: &[u8] =
    b"GET /object/1024 HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: wireglass-bench\r\nAccept: */*\r\n\r\n";
const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: wireglass-bench\r\nContent-Type: application/octet-stream\r\n\
    Content-Length: 1024\r\n\r\n";

/// The reader alone.
pub(super) fn read() -> usize {
    exchanges(&HttpReaders)
}

/// With one rule, about another host.
pub(super) fn with_a_rule() -> usize {
    let mut rule = ContentRule::new("another", ContentAction::Alert);
    rule.host = vec!["another.example".parse().expect("a name")];
    exchanges(&RuleFilters::new(Arc::new(ContentPolicy::compile(&[rule], Arc::default())), Arc::default()))
}

/// With a thousand rules and a list of a million names.
pub(super) fn with_rules() -> usize {
    let config = rules::load().expect("a configuration without faults");
    exchanges(&*config.compile(&Tallies::default()).filters)
}

fn exchanges(filters: &dyn Filters) -> usize {
    let flow = DecryptedFlow {
        profile: Arc::new(Profile::default()),
        sni: Some("bench.example".into()),
        certificate_names: Vec::new(),
        client: ([192, 0, 2, 1], 1000).into(),
        server: ([192, 0, 2, 2], 443).into(),
        flow_id: 1,
        connection: ConnectionFacts::default(),
    };
    let filter = filters.filter(&Arc::new(flow), Some(b"http/1.1")).expect("the profile asks for one");
    let mut stage: Stage<Vec<u8>> = Stage::new(filter);
    let response = [HEAD, &[b'x'; 1024]].concat();
    let mut exchange = || {
        for (from, bytes) in [(End::Client, REQUEST), (End::Server, &response)] {
            assert_eq!(stage.plaintext(from, bytes), Fate::Pass);
        }
        let mut told = 0;
        while let Some(report) = stage.poll_report() {
            assert!(matches!(report, Report::Http(_)), "nothing but what was exchanged");
            told += 1;
        }
        assert_eq!(told, 1);
    };
    // What is said first on a connection is not the common case.
    exchange();
    counted(|| (0..EXCHANGES).for_each(|_| exchange()));
    EXCHANGES
}
