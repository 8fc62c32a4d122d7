//! A request and its response in the plaintext stage.

use std::sync::Arc;

use tcp_stack::Instant;
use wireglass_core::content::{Fate, Filters, HttpReaders, Opened, Ready, Report, RuleFilters, Stage};
use wireglass_core::end::End;
use wireglass_core::policy::{
    ConnectionFacts, ContentAction, ContentPolicy, ContentRule, DecryptedFlow, Profile, Tallies,
};

use crate::counted;
use crate::rules::{self, Many};

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
    let config = rules::load(Many::Rules).expect("a configuration without faults");
    exchanges(&*config.compile(&Tallies::default()).filters)
}

/// With the response looked at for ten thousand literals, all in one thread.
pub(super) fn with_signatures() -> usize {
    let config = rules::load(Many::Signatures).expect("a configuration without faults");
    let mut stage = stage(&*config.compile(&Tallies::default()).filters);
    let body: Vec<u8> = (0..1024).map(|at| (at % 251) as u8).collect();
    let response = [HEAD, &body].concat();
    let mut exchange = || {
        for (from, bytes) in [(End::Client, REQUEST), (End::Server, &response)] {
            stage.begin(Instant::from_secs(1), 1 << 20, 1 << 20);
            let mut passed = match stage.plaintext(from, bytes) {
                Fate::Pass => bytes.len(),
                Fate::Keep => {
                    let block = bytes.to_vec();
                    stage.keep(from, Opened { at: 0, len: block.len(), end: block.len(), block });
                    0
                }
            };
            while let Some((question, scan)) = stage.poll_question() {
                stage.verdict(question, scan.run());
            }
            while let Some(Ready::Data(_, len)) = stage.next_ready(from, 0, |len| vec![0; len]) {
                passed += len;
            }
            assert_eq!(passed, bytes.len(), "all of it goes on");
        }
        let reports = std::iter::from_fn(|| stage.poll_report());
        let told = reports.inspect(|report| assert!(matches!(report, Report::Http(_) | Report::File(_))));
        assert_eq!(told.count(), 2, "an exchange, and a body that was looked at");
    };
    exchange();
    counted(|| (0..EXCHANGES).for_each(|_| exchange()));
    EXCHANGES
}

fn stage(filters: &dyn Filters) -> Stage<Vec<u8>> {
    let flow = DecryptedFlow {
        profile: Arc::new(Profile::default()),
        sni: Some("bench.example".into()),
        certificate_names: Vec::new(),
        client: ([192, 0, 2, 1], 1000).into(),
        server: ([192, 0, 2, 2], 443).into(),
        flow_id: 1,
        connection: ConnectionFacts::default(),
    };
    Stage::new(filters.filter(&Arc::new(flow), Some(b"http/1.1")).expect("the profile asks for one"))
}

fn exchanges(filters: &dyn Filters) -> usize {
    let mut stage = stage(filters);
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
