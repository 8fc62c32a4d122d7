//! Queue, cache and pace, without certificates: what bounds what others can have fetched.

use super::*;
use crate::tls::verify::revocation::Status;

fn settings() -> FetchSettings {
    FetchSettings { crls: true, ocsp: true, issuers: true, ..FetchSettings::default() }
}

fn fetcher(settings: FetchSettings) -> Fetcher {
    Fetcher::new(settings, Provider::default())
}

/// A request for something of this number, at its own host.
fn request(kind: FetchKind, number: u16) -> Fetch {
    let mut key = [0; 32];
    key[..2].copy_from_slice(&number.to_be_bytes());
    key[2] = kind as u8;
    Fetch {
        kind,
        url: HttpUrl::parse(&format!("http://{number}.test/")).unwrap(),
        body: None,
        max_bytes: 1000,
        others: Vec::new(),
        redirects: 2,
        key,
        subject: Arc::new(Subject::issuer(b"nobody")),
    }
}

fn order(fetcher: &Fetcher, fetch: Fetch, now: i64) -> Consulted {
    let mut consulted = Consulted::default();
    consulted.want(fetch);
    fetcher.order(&mut consulted, now);
    consulted
}

/// The next request after this many seconds.
fn next(fetcher: &Fetcher, seconds: u32) -> Option<Fetch> {
    fetcher.next(Instant::from_secs(seconds), seconds.into())
}

fn issuers(bytes: usize) -> Content {
    Content::Issuers(Arc::new([Arc::from(vec![0; bytes])]))
}

#[test]
fn what_is_wanted_often_is_asked_for_once() {
    let fetcher = fetcher(settings());
    let seen: Vec<_> = (0..100).map(|_| order(&fetcher, request(FetchKind::Crl, 1), 0)).collect();
    assert_eq!(fetcher.sizes(), [1, 1, 0]);
    let fetch = next(&fetcher, 0).unwrap();
    order(&fetcher, request(FetchKind::Crl, 1), 0);
    assert!(next(&fetcher, 1).is_none(), "it is on the way");
    assert!(seen.iter().all(Consulted::holds));
    fetcher.done(fetch, FetchAnswer::Failed(FetchOutcome::Timeout), 0);
    assert!(!seen.iter().any(Consulted::holds), "all that waited look again");

    let seen = order(&fetcher, request(FetchKind::Crl, 1), 1);
    assert!(!seen.holds(), "it failed after this one had looked");
    assert!(next(&fetcher, 2).is_none(), "not asked again so soon");
    order(&fetcher, request(FetchKind::Crl, 1), 300);
    assert!(next(&fetcher, 300).is_some(), "but after retry_seconds");
}

#[test]
fn a_full_queue_takes_no_more_and_counts_it() {
    let fetcher = fetcher(FetchSettings { queue: 8, ..settings() });
    let kept: Vec<_> = (0..20).map(|n| order(&fetcher, request(FetchKind::Issuer, n), 50)).collect();
    assert_eq!(fetcher.sizes()[0], 4, "issuers have half of it");
    assert_eq!(fetcher.counted(FetchKind::Issuer, FetchOutcome::QueueFull), 16);
    assert_eq!(kept[19].until(), 60, "the verdict does not hold for long");
    (0..20).for_each(|n| drop(order(&fetcher, request(FetchKind::Ocsp, n), 50)));
    assert_eq!(fetcher.sizes()[0], 8);
    assert_eq!(fetcher.counted(FetchKind::Ocsp, FetchOutcome::QueueFull), 16);
}

#[test]
fn so_many_at_a_time_and_half_of_them_for_issuers() {
    let fetcher = fetcher(FetchSettings { per_second: 1000, ..settings() });
    (0..10).for_each(|n| drop(order(&fetcher, request(FetchKind::Issuer, n), 0)));
    let mut taken: Vec<_> = (0..10).filter_map(|s| next(&fetcher, s)).collect();
    assert_eq!(taken.len(), 2);
    (0..10).for_each(|n| drop(order(&fetcher, request(FetchKind::Crl, n), 0)));
    taken.extend((10..20).filter_map(|s| next(&fetcher, s)));
    assert_eq!(taken.len(), 4);
    let back = taken.pop().unwrap();
    assert_eq!(back.kind, FetchKind::Crl);
    fetcher.done(back, FetchAnswer::Failed(FetchOutcome::Status), 0);
    assert_eq!(next(&fetcher, 30).unwrap().kind, FetchKind::Crl, "behind issuers that wait");
    assert!(next(&fetcher, 31).is_none());
}

#[test]
fn the_pace_holds_for_each_host() {
    let fetcher = fetcher(FetchSettings { parallel: 100, queue: 1000, ..settings() });
    for n in 0..50 {
        let url = HttpUrl::parse("http://one.test/").unwrap();
        order(&fetcher, Fetch { url, ..request(FetchKind::Crl, n) }, 0);
    }
    let sent = (0..2000).filter(|ms| fetcher.next(Instant::from_millis(*ms), 0).is_some()).count();
    assert_eq!(sent, 10, "five a second");
}

#[test]
fn the_next_address_is_asked_when_one_fails() {
    let fetcher = fetcher(settings());
    let others = vec![HttpUrl::parse("http://second.test/").unwrap()];
    let seen = order(&fetcher, Fetch { others, ..request(FetchKind::Crl, 1) }, 0);
    let first = next(&fetcher, 0).unwrap();
    fetcher.done(first, FetchAnswer::Failed(FetchOutcome::Unresolved), 0);
    assert!(seen.holds());
    let second = next(&fetcher, 1).unwrap();
    assert_eq!(second.url.host, "second.test");
    fetcher.done(second, FetchAnswer::Body(b"no certificate".to_vec()), 0);
    assert!(!seen.holds());
    assert_eq!(fetcher.counted(FetchKind::Crl, FetchOutcome::Unresolved), 1);
    assert_eq!(fetcher.counted(FetchKind::Crl, FetchOutcome::Rejected), 1);
}

#[test]
fn redirections_are_followed_a_few_times_and_at_the_pace() {
    let fetcher = fetcher(settings());
    order(&fetcher, request(FetchKind::Crl, 1), 0);
    for hop in 0..2 {
        let fetch = next(&fetcher, hop).unwrap();
        let answer = FetchAnswer::Redirect(format!("http://hop{hop}.test/"));
        assert_eq!(fetcher.done(fetch, answer, 0), FetchOutcome::Redirected);
        assert!(next(&fetcher, hop).is_none(), "a redirection is a request like others");
    }
    let fetch = next(&fetcher, 5).unwrap();
    assert_eq!(fetch.url.host, "hop1.test");
    assert_eq!(fetcher.done(fetch, FetchAnswer::Redirect("/again".into()), 0), FetchOutcome::Status);
    assert_eq!(fetcher.sizes()[0], 0);
}

#[test]
fn a_long_answer_is_not_taken() {
    let fetcher = fetcher(settings());
    order(&fetcher, request(FetchKind::Issuer, 1), 0);
    let fetch = next(&fetcher, 0).unwrap();
    assert_eq!(fetcher.done(fetch, FetchAnswer::Body(vec![0; 1001]), 0), FetchOutcome::TooLong);
}

#[test]
fn the_cache_is_bounded_and_what_is_not_looked_at_goes_first() {
    let fetcher =
        fetcher(FetchSettings { entries: 8, bytes: 1000, queue: 1000, parallel: 100, ..settings() });
    let mut store = fetcher.store.lock();
    let mut put = |kind, number, content| {
        let mut consulted = Consulted::default();
        let key = request(kind, number).key;
        store.order(request(kind, number), 0, &mut consulted).unwrap();
        // Its place in the queue is of no interest here.
        store.put(request(kind, number), content, 0);
        (store.sizes(), store.look(&key, 0, &mut consulted).0)
    };
    let good = |until| Content::Ocsp(Answer { status: Status::Good, until });
    let revoked = Content::Ocsp(Answer { status: Status::Revoked(None), until: i64::MAX });
    put(FetchKind::Ocsp, 1000, revoked);
    for number in 0..50 {
        let ([_, entries, bytes], _) = put(FetchKind::Ocsp, number, good(100));
        assert!(entries <= 8 && bytes == 0);
    }
    for number in 0..50 {
        let ([_, entries, bytes], found) = put(FetchKind::Issuer, number, issuers(200));
        assert!(entries <= 8 && bytes <= 1000, "{entries} entries, {bytes} bytes");
        assert!(matches!(found, Look::Known(_)), "the newest is there");
    }
    let known = |store: &mut Store, kind, number| {
        let (found, _) = store.look(&request(kind, number).key, 0, &mut Consulted::default());
        matches!(found, Look::Known(_))
    };
    let of_issuers = (0..50).filter(|n| known(&mut store, FetchKind::Issuer, *n)).count();
    assert_eq!(of_issuers, 2, "a quarter of the entries");
    assert!(known(&mut store, FetchKind::Ocsp, 1000), "what is revoked is kept");
    assert!(known(&mut store, FetchKind::Ocsp, 49) && !known(&mut store, FetchKind::Ocsp, 0));
}

#[test]
fn an_answer_is_asked_for_anew_before_it_ends_and_stays_meanwhile() {
    let fetcher = fetcher(FetchSettings { refresh: 1000, ..settings() });
    let key = request(FetchKind::Ocsp, 1).key;
    let look = |now| {
        let mut consulted = Consulted::default();
        let (found, is_due) = fetcher.store.lock().look(&key, now, &mut consulted);
        (matches!(found, Look::Known(_)), is_due, consulted)
    };
    let answer = |until| Content::Ocsp(Answer { status: Status::Good, until });
    order(&fetcher, request(FetchKind::Ocsp, 1), 0);
    let fetch = next(&fetcher, 0).unwrap();
    fetcher.store.lock().put(fetch, answer(400), 0);
    let (known, is_due, seen) = look(299);
    assert!(known && !is_due && seen.until() == 300, "its last quarter begins then");
    let (known, is_due, _) = look(300);
    assert!(known && is_due);
    order(&fetcher, request(FetchKind::Ocsp, 1), 300);
    let (known, is_due, seen) = look(301);
    assert!(known && !is_due, "it is under way");
    let fetch = next(&fetcher, 301).unwrap();
    fetcher.done(fetch, FetchAnswer::Failed(FetchOutcome::Unreachable), 301);
    assert!(!seen.holds());
    let (known, is_due, seen) = look(302);
    assert!(known && !is_due && seen.until() == 601, "it is tried again later");
    order(&fetcher, request(FetchKind::Ocsp, 1), 601);
    let fetch = next(&fetcher, 601).unwrap();
    fetcher.store.lock().put(fetch, answer(100_000), 601);
    assert_eq!(look(602).2.until(), 1601, "after refresh_seconds at the latest");
}

#[test]
fn private_hosts_are_for_those_whom_the_operator_names() {
    let own = ["198.51.99.7".parse().unwrap()];
    let default = fetcher(settings());
    for (address, may) in [
        ("127.0.0.1", false),
        ("10.1.2.3", false),
        ("::ffff:10.1.2.3", false),
        ("198.51.99.7", false),
        ("::ffff:198.51.99.7", false),
        ("198.51.99.8", true),
        ("2606:4700::1111", true),
    ] {
        assert_eq!(default.may_connect(address.parse().unwrap(), &own), may, "{address}");
    }
    let allow = vec!["10.1.0.0/16".parse().unwrap(), "198.51.99.7/32".parse().unwrap()];
    let named = fetcher(FetchSettings { allow, ..settings() });
    for (address, may) in
        [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("10.2.0.1", false), ("198.51.99.7", true)]
    {
        assert_eq!(named.may_connect(address.parse().unwrap(), &own), may, "{address}");
    }
}

#[test]
fn other_ports_are_not_asked() {
    let fetcher = fetcher(settings());
    let url = HttpUrl::parse("http://a.test:22/").unwrap();
    let seen = order(&fetcher, Fetch { url, ..request(FetchKind::Issuer, 1) }, 0);
    assert!(next(&fetcher, 0).is_none());
    assert!(!seen.holds(), "it has failed");
    assert_eq!(fetcher.counted(FetchKind::Issuer, FetchOutcome::Forbidden), 1);
    order(&fetcher, request(FetchKind::Issuer, 2), 0);
    let fetch = next(&fetcher, 1).unwrap();
    fetcher.done(fetch, FetchAnswer::Redirect("http://a.test:6379/".into()), 0);
    assert!(next(&fetcher, 2).is_none());
    assert_eq!(fetcher.counted(FetchKind::Issuer, FetchOutcome::Forbidden), 2);
}
