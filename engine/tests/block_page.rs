//! Flows that a rule blocks by name, and whose clients get the page: a handshake without a server, one answer, an orderly end.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::lab::{Lab, NAME, Run, Setup};
use support::rules::{Action, RULE, Rules};
use wireglass_core::event::{Action as Logged, MintedBy};
use wireglass_core::flow::Limits;
use wireglass_core::reason::Reason;
use wireglass_core::x509::Provider;
use wireglass_testbed::{Duration, Ending, Impairment, Session, Step};

const SECOND: Duration = Duration::from_secs(1);
const REQUEST: &[u8] = b"GET /games?id=7 HTTP/1.1\r\nhost: www.example.com\r\n\r\n";

fn page() -> Setup {
    Setup { rules: Rules::by_name(Action::Page), ..Setup::default() }
}

/// A browser that asks this and reads to the end.
fn browser(request: &[u8]) -> Vec<Step> {
    vec![Step::Send(request.to_vec()), Step::AwaitEnd, Step::Finish]
}

/// A server that would answer at once.
fn server() -> Session {
    Session::plain(vec![Step::Receive(1), Step::Finish])
}

fn connect(lab: &Lab, setup: &Setup, script: Vec<Step>) -> Run {
    let client = lab.client_session(&lab.client.build().unwrap(), script);
    let mut run = lab.connect(setup, client, server());
    run.run();
    run.settle(SECOND * 60);
    // Whatever becomes of the client, the server has heard of a connection and of its end.
    assert!(run.server().connected.is_some());
    assert_eq!((run.server().received.len(), &run.server().end), (0, &Some(Ending::Reset)));
    assert_eq!((run.engine().flows(), run.counters().flow_bytes.value()), (0, 0));
    run
}

fn received(run: &Run) -> String {
    String::from_utf8(run.client().received.clone()).unwrap()
}

#[track_caller]
fn assert_page(run: &Run, case: &dyn std::fmt::Debug) {
    let answer = received(run);
    let (head, page) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{case:?}: {answer}"));
    assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{case:?}: {head}");
    assert!(head.contains(&format!("content-length: {}\r\n", page.len())), "{case:?}: {head}");
    assert!(page.contains(RULE) && page.contains(NAME), "{case:?}: {page}");
    assert_eq!(run.client().end, Some(Ending::Finished), "{case:?}");
}

#[test]
fn a_client_gets_the_page_over_a_leaf_of_the_trusted_ca() {
    for provider in Provider::ALL {
        for ipv6 in [false, true] {
            let case = (provider, ipv6);
            let run = connect(&Lab::with_provider(*provider), &Setup { ipv6, ..page() }, browser(REQUEST));
            assert_page(&run, &case);
            let answer = received(&run);
            assert!(answer.contains("games?id=7"), "{answer}");

            let shake = run.client().handshake.as_ref().unwrap();
            assert_eq!(shake.version, "TLSv1_3");
            let tls = run.tls_event();
            assert_eq!((tls.action, tls.reason), (Logged::Block, Reason::PolicyBlock));
            assert_eq!((tls.rule.as_deref(), &tls.profile), (Some(RULE), &None));
            assert_eq!(tls.minted_by, Some(MintedBy::Trusted));
            assert!(tls.minted_serial.is_some() && tls.client_leg.is_some() && tls.server_leg.is_none());
            assert!(tls.certificate.is_none());
            assert_eq!(run.flow_end(), ("blocked", Reason::PolicyBlock));
            let flow = run.flow_events()[0];
            assert_eq!(flow.action, Some(Logged::Block));

            // The number on the page is the one in the log, and the log has the request.
            let id = run.events()[0].head().unwrap().flow_id;
            assert!(answer.contains(&format!("<strong class=\"code\">{id}</strong>")), "{id}: {answer}");
            let [http] = run.http_events()[..] else { panic!("{:?}", run.http_events()) };
            assert_eq!((http.status, http.url.as_deref()), (Some(403), Some("/games?id=7")));
        }
    }
}

#[test]
fn on_a_bad_link_as_on_a_good_one() {
    for seed in 0..20 {
        let impairment = Impairment { loss: 0.1, reorder: 0.2, duplication: 0.05, ..Impairment::default() };
        let setup = Setup { seed, impairment, ..page() };
        assert_page(&connect(&Lab::new(), &setup, browser(REQUEST)), &seed);
    }
}
