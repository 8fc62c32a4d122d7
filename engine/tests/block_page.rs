//! Flows that a rule blocks by name, and whose clients get the page: a handshake without a server, one answer, an orderly end.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use rustls::ClientConnection;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::ServerName;
use support::lab::{Lab, NAME, Run, Setup};
use support::rules::{Action, RULE, Rules};
use wireglass_core::event::{Action as Logged, Event, MintedBy};
use wireglass_core::policy::{BlockWith, Decision, Rule};
use wireglass_core::reason::Reason;
use wireglass_core::x509::Provider;
use wireglass_testbed::{Duration, Ending, Impairment, Session, Step};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::Time;

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
    // Whatever becomes of the client, the server has heard nothing but the end of the connection.
    assert_eq!(run.server().received.len(), 0);
    if setup.impairment.loss == 0.0 {
        assert_eq!(run.server().end, Some(Ending::Reset));
    }
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
    for &provider in Provider::BUILT_IN {
        for ipv6 in [false, true] {
            let case = (provider, ipv6);
            let run = connect(&Lab::with_provider(provider), &Setup { ipv6, ..page() }, browser(REQUEST));
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
            let id = run.events().iter().find_map(|event| match event {
                Event::Tls(about, _) => Some(about.flow_id),
                _ => None,
            });
            let id = id.unwrap();
            assert!(answer.contains(&format!("<strong class=\"code\">{id}</strong>")), "{id}: {answer}");
            let [http] = run.http_events()[..] else { panic!("{:?}", run.http_events()) };
            assert_eq!((http.status, http.url.as_deref()), (Some(403), Some("/games?id=7")));
        }
    }
}

#[test]
fn on_a_bad_link_as_on_a_good_one() {
    for seed in 0..20 {
        let impairment = Impairment { loss: 0.1, reorder: 0.2, duplicate: 0.05, ..Impairment::default() };
        let setup = Setup { seed, impairment, ..page() };
        assert_page(&connect(&Lab::new(), &setup, browser(REQUEST)), &seed);
    }
}

#[test]
fn old_and_new_clients_get_it_with_what_they_offer() {
    for version in [&TLS12, &TLS13] {
        for (offer, agreed) in [
            (&[][..], None),
            (&["http/1.1"], Some("http/1.1")),
            (&["h2", "http/1.1"], Some("http/1.1")),
            (&["x", "http/1.1", "h2"], Some("http/1.1")),
        ] {
            let mut lab = Lab::new();
            lab.client.versions = vec![version];
            lab.client.alpn = offer.iter().map(|name| name.as_bytes().to_vec()).collect();
            let setup = Setup { threads: 2, workers: 2, ..page() };
            let run = connect(&lab, &setup, browser(REQUEST));
            assert_page(&run, &(version.version, offer));
            let shake = run.client().handshake.as_ref().unwrap();
            assert_eq!(shake.alpn.as_deref(), agreed.map(str::as_bytes), "{offer:?}");
        }
    }
}

/// The page comes although the client is in the middle of an upload: no RST overtakes a page that was lost on the way.
#[test]
fn an_upload_does_not_take_the_page_away() {
    for seed in 0..20 {
        let mut request =
            b"POST /upload HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 300000\r\n\r\n".to_vec();
        request.resize(300_000, b'x');
        let loss = if seed == 0 { 0.0 } else { 0.05 };
        let setup = Setup { seed, impairment: Impairment { loss, ..Impairment::default() }, ..page() };
        let script = vec![Step::Send(request), Step::Finish, Step::AwaitEnd];
        let run = connect(&Lab::new(), &setup, script);
        assert_page(&run, &seed);
        assert!(received(&run).contains("upload"));
        assert_eq!(run.flow_end(), ("blocked", Reason::PolicyBlock), "seed {seed}");
    }
}

#[test]
fn keys_may_change_before_the_request() {
    let script =
        vec![Step::UpdateKeys, Step::Send(REQUEST.to_vec()), Step::UpdateKeys, Step::AwaitEnd, Step::Finish];
    assert_page(&connect(&Lab::new(), &page(), script), &"key updates");
}

#[test]
fn a_reader_that_is_slow_gets_all_of_it() {
    let lab = Lab::new();
    let client = lab.client_session(&lab.client.build().unwrap(), browser(REQUEST));
    let mut run = lab.connect(&page(), client.slow(500, SECOND / 10), server());
    run.run();
    assert_page(&run, &"slow");
}

#[test]
fn who_asks_for_nothing_is_let_go_after_a_while() {
    let silent = vec![Step::AwaitEnd, Step::Finish];
    let run = connect(&Lab::new(), &page(), silent);
    let client = run.client();
    assert_eq!((client.received.len(), &client.end), (0, &Some(Ending::Finished)));
    assert_eq!(run.flow_end(), ("blocked", Reason::PolicyBlock));
    let flow = run.flow_events()[0];
    let lived = (flow.end.0 - flow.start.0) / 1_000_000;
    assert!(lived <= 31, "{lived} s");
}

#[test]
fn who_leaves_without_a_word_is_let_go_at_once() {
    for leave in [Step::Finish, Step::Truncate] {
        let run = connect(&Lab::new(), &page(), vec![Step::Pause(SECOND), leave, Step::AwaitEnd]);
        let client = run.client();
        assert_eq!((client.received.len(), &client.end), (0, &Some(Ending::Finished)));
        assert_eq!(run.flow_end(), ("blocked", Reason::PolicyBlock));
    }
    let run = connect(&Lab::new(), &page(), vec![Step::Pause(SECOND), Step::Reset]);
    assert_eq!(run.flow_end(), ("blocked", Reason::ClientReset));
}

/// Its handshake stops after the hello: it is waited for as long as any client is.
#[test]
fn who_stops_in_the_handshake_is_reset() {
    let lab = Lab::new();
    let name = ServerName::try_from(NAME).unwrap();
    let mut rustls = ClientConnection::new(lab.client.build().unwrap(), name).unwrap();
    let mut hello = Vec::new();
    rustls.write_tls(&mut hello).unwrap();
    let client = Session::plain(vec![Step::Send(hello), Step::AwaitEnd]);
    let mut run = lab.connect(&page(), client, server());
    run.run();
    run.settle(SECOND * 60);
    assert_eq!((&run.client().end, &run.server().end), (&Some(Ending::Reset), &Some(Ending::Reset)));
    let tls = run.tls_event();
    assert_eq!((tls.action, tls.reason), (Logged::Block, Reason::ClientTimeout));
    assert_eq!(run.flow_end(), ("blocked", Reason::ClientTimeout));
    assert_eq!((run.engine().flows(), run.counters().flow_bytes.value()), (0, 0));
}

/// It does not trust the CA, and says so: the block is a block all the same.
#[test]
fn a_client_that_does_not_trust_the_leaf() {
    let run = connect(&Lab::new().trusting_the_server(), &page(), browser(REQUEST));
    assert!(run.client().handshake.is_none() && run.client().received.is_empty());
    let tls = run.tls_event();
    assert_eq!(
        (tls.action, tls.reason, tls.rule.as_deref()),
        (Logged::Block, Reason::ClientAlert, Some(RULE))
    );
    assert!(tls.minted_serial.is_some());
    assert_eq!(run.flow_end(), ("blocked", Reason::ClientAlert));
}

/// No name to be for, no HTTP/1.1, no cipher suite: an alert, as where no page is asked for, and nothing is minted.
#[test]
fn who_cannot_be_answered_gets_the_alert() {
    let with = |change: fn(&mut Lab)| {
        let mut lab = Lab::new();
        change(&mut lab);
        lab
    };
    let by_default = Setup {
        rules: Rules {
            first: vec![Rule {
                alpn: vec![b"h2".to_vec()],
                ..Rule::new(RULE, Decision::Block(BlockWith::Page))
            }],
            ..Rules::default_is(Action::Decrypt)
        },
        ..Setup::default()
    };
    for (lab, setup) in [
        (with(|lab| lab.client.alpn = vec![b"h2".to_vec()]), page()),
        (
            with(|lab| {
                lab.client.sni = false;
                lab.client.alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            }),
            by_default,
        ),
    ] {
        let run = connect(&lab, &setup, browser(REQUEST));
        assert_eq!(run.client().end, Some(Ending::Alert(49)));
        assert_eq!((run.tls_event().reason, &run.tls_event().minted_serial), (Reason::PolicyBlock, &None));
        assert_eq!(run.flow_end(), ("blocked", Reason::PolicyBlock));
    }
}

/// The leaf is for this name alone, for a week at most, and made once.
#[test]
fn the_leaf_says_one_name_and_is_made_once() {
    let lab = Lab::new();
    let mut run = lab.hosts(&page());
    for _ in 0..3 {
        run.connect_ports(
            40_000 + run.tls_events().len() as u16,
            443,
            lab.client_session(&lab.client.build().unwrap(), browser(REQUEST)),
            server(),
        );
        run.run();
    }
    let serials: Vec<_> = run.tls_events().iter().map(|tls| tls.minted_serial.clone().unwrap()).collect();
    assert_eq!(serials, vec![serials[0].clone(); 3]);
    let counters = run.counters();
    assert_eq!((counters.pages.value(), counters.handshakes_started.value()), (3, 0));
    let shake = run.client_of(0).handshake.as_ref().unwrap();
    let leaf = Certificate::from_der(&shake.chain[0]).unwrap();
    let tbs = leaf.tbs_certificate();
    let (_, names) = tbs.get_extension::<SubjectAltName>().unwrap().unwrap();
    let [GeneralName::DnsName(name)] = &names.0[..] else { panic!("{names:?}") };
    assert_eq!(name.as_str(), NAME);
    let days = |time: Time| time.to_unix_duration().as_secs() / 86_400;
    assert_eq!(days(tbs.validity().not_after) - days(tbs.validity().not_before), 7);
    assert!(tbs.subject().is_empty());
}
