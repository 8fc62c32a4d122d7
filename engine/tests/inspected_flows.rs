//! Bodies that threads look at, through whole flows: whatever the link and the threads do, what is on a list does not arrive, and all
//! else does as it was sent.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use support::lab::{Lab, NAME, Run, Setup};
use support::rules::{Action, Rules};
use wireglass_core::content::RuleFilters;
use wireglass_core::event::Event;
use wireglass_core::fairness::PerClient;
use wireglass_core::policy::{
    ContentAction, ContentPolicy, ContentRule, Direction, Format, HashLists, Hold, Inspect, ListKind, Lists,
    ListsBuilder, Ports,
};
use wireglass_core::reason::Reason;
use wireglass_testbed::{Duration, Ending, Impairment, Step};

const SECOND: Duration = Duration::from_secs(1);

fn body(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|n| ((n * 31 + salt) % 251) as u8).collect()
}

/// All files are looked at, and this one is on the list.
fn policy(hold: Hold, listed: &[u8]) -> ContentPolicy {
    let (rule, lists) = policy_rule(hold, listed);
    ContentPolicy::compile(&[rule], lists)
}

fn policy_rule(hold: Hold, listed: &[u8]) -> (ContentRule, Arc<Lists>) {
    let mut builder = ListsBuilder::new([3; 16]);
    let list = builder.declare("malware", ListKind::Sha256).unwrap();
    let digest: String = Sha256::digest(listed).iter().map(|byte| format!("{byte:02x}")).collect();
    builder.read(list, Format::Plain, digest.as_bytes());
    let mut hashes = HashLists::default();
    hashes.add_sha256(list);
    let inspect = Inspect { hashes, hold: Some(hold), ..Inspect::default() };
    let rule = ContentRule::new("files", ContentAction::Inspect(inspect));
    (rule, Arc::new(builder.build()))
}

fn setup(policy: ContentPolicy) -> Setup {
    Setup { filters: Arc::new(RuleFilters::new(Arc::new(policy), Arc::default())), ..Setup::default() }
}

fn request() -> Vec<u8> {
    format!("GET /file HTTP/1.1\r\nHost: {NAME}\r\n\r\n").into_bytes()
}

fn response(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn download(lab: &Lab, setup: &Setup, file: &[u8]) -> Run {
    let client = vec![Step::Send(request()), Step::AwaitEnd, Step::Finish];
    let server =
        vec![Step::Receive(request().len()), Step::Send(response(file)), Step::Finish, Step::AwaitEnd];
    let mut run = lab.connect_tls(setup, client, server);
    run.settle(SECOND * 2_000);
    assert_eq!((run.engine().flows(), run.counters().flow_bytes.value()), (0, 0), "seed {}", setup.seed);
    assert_eq!(run.counters().content_bytes.value(), 0, "seed {}", setup.seed);
    run
}

#[test]
fn files_through_a_bad_link() {
    let lab = Lab::new();
    let (listed, other) = (body(200_000, 1), body(200_000, 2));
    for seed in 0..24 {
        let hold = [Hold::None, Hold::Tail, Hold::All][seed as usize % 3];
        let loss = [0.0, 0.03][seed as usize / 3 % 2];
        let impairment = Impairment { loss, reorder: loss * 3.0, duplicate: loss, ..Impairment::default() };
        let threads = seed as usize / 6 % 3;
        let buffer = [65_536, 3_000][seed as usize / 12];
        let setup = Setup { seed, impairment, threads, buffer, ..setup(policy(hold, &listed)) };
        let run = download(&lab, &setup, &other);
        assert!(run.client().received == response(&other), "seed {seed}");
        assert_eq!(run.flow_end(), ("decrypted", Reason::Closed), "seed {seed}");
        let files = |run: &Run| run.events().iter().filter(|event| matches!(event, Event::File(..))).count();
        assert_eq!(files(&run), 1, "seed {seed}");
        let run = download(&lab, &setup, &listed);
        let received = &run.client().received;
        match hold {
            Hold::All => {
                assert!(received.starts_with(b"HTTP/1.1 403 "), "seed {seed}");
                assert_eq!(run.client().end, Some(Ending::Finished), "seed {seed}");
                assert_eq!(run.flow_end(), ("decrypted", Reason::ContentBlocked), "seed {seed}");
            }
            Hold::Tail => {
                let whole = response(&listed);
                assert!(whole.starts_with(received) && received.len() < whole.len() - 16_000, "seed {seed}");
                assert_ne!(run.client().end, Some(Ending::Finished), "seed {seed}: it must not seem whole");
                assert_eq!(run.flow_end(), ("decrypted", Reason::ContentLate), "seed {seed}");
            }
            // What has all gone on cannot be cut off, and the connection may go on.
            Hold::None => {
                let end = run.flow_end().1;
                assert!([Reason::ContentLate, Reason::Closed].contains(&end), "seed {seed}: {end:?}");
                let is_late = |event: &&Event| matches!(event, Event::Alert(_, alert) if alert.reason == Reason::ContentLate);
                assert_eq!(run.events().iter().filter(is_late).count(), 1, "seed {seed}");
            }
        }
    }
}

/// Uploads through a bad link: what is on the list never comes to its end at the server, and the client gets the page.
#[test]
fn uploads_through_a_bad_link() {
    let lab = Lab::new();
    let (listed, other) = (body(200_000, 1), body(200_000, 2));
    let post = |file: &[u8]| {
        let head = format!("POST /up HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {}\r\n\r\n", file.len());
        [head.as_bytes(), file].concat()
    };
    for seed in 0..12 {
        let hold = [Hold::Tail, Hold::All][seed as usize % 2];
        let loss = [0.0, 0.03][seed as usize / 2 % 2];
        let impairment = Impairment { loss, reorder: loss * 3.0, duplicate: loss, ..Impairment::default() };
        let threads = seed as usize / 4;
        let mut rule = policy_rule(hold, &listed);
        rule.0.direction = Some(Direction::Request);
        let policy = ContentPolicy::compile(&[rule.0], rule.1);
        let setup = Setup { seed, impairment, threads, ..setup(policy) };
        let upload = |file: &[u8]| {
            let client = vec![Step::Send(post(file)), Step::AwaitEnd, Step::Finish];
            let server = vec![
                Step::Receive(post(file).len()),
                Step::Send(response(b"thanks")),
                Step::Finish,
                Step::AwaitEnd,
            ];
            let mut run = lab.connect_tls(&setup, client, server);
            run.settle(SECOND * 2_000);
            assert_eq!((run.engine().flows(), run.counters().flow_bytes.value()), (0, 0), "seed {seed}");
            assert_eq!(run.counters().content_bytes.value(), 0, "seed {seed}");
            run
        };
        let run = upload(&other);
        assert!(run.server().received == post(&other), "seed {seed}");
        assert!(run.client().received == response(b"thanks"), "seed {seed}");
        assert_eq!(run.flow_end(), ("decrypted", Reason::Closed), "seed {seed}");
        let run = upload(&listed);
        assert!(run.client().received.starts_with(b"HTTP/1.1 403 "), "seed {seed}");
        assert_eq!(run.client().end, Some(Ending::Finished), "seed {seed}");
        let received = &run.server().received;
        match hold {
            Hold::Tail => {
                assert!(received.len() < post(&listed).len() - 16_000 && !received.is_empty(), "seed {seed}");
                assert_ne!(run.server().end, Some(Ending::Finished), "seed {seed}: it must not seem whole");
                assert_eq!(run.flow_end(), ("decrypted", Reason::ContentLate), "seed {seed}");
            }
            _ => {
                assert!(received.is_empty(), "seed {seed}");
                assert_eq!(run.flow_end(), ("decrypted", Reason::ContentBlocked), "seed {seed}");
            }
        }
    }
}

/// A thousand downloads at once, of more than the worker may hold: it never holds more, and those for which there is no room are
/// blocked, not let through.
#[test]
fn a_thousand_downloads_are_held_within_bounds() {
    const DOWNLOADS: u16 = 1_000;
    const MOST: usize = 8 << 20;
    let lab = Lab::new();
    let (listed, file) = (body(40_000, 1), body(40_000, 2));
    let mut setup = Setup { flows: 8_192, flow_bytes: 1 << 30, ..setup(policy(Hold::All, &listed)) };
    setup.rules = Rules { ports: Ports::Any, ..Rules::default_is(Action::Decrypt) };
    setup.limits.content_bytes = MOST;
    setup.limits.fairness.per_client = PerClient::NoLimit;
    let mut run = lab.hosts(&setup);
    let answer = response(&file);
    for number in 0..DOWNLOADS {
        // Most of the file comes, the rest when all are under way.
        let server = vec![
            Step::Receive(request().len()),
            Step::Send(answer[..36_000].to_vec()),
            Step::Pause(SECOND * 60),
            Step::Send(answer[36_000..].to_vec()),
            Step::Finish,
            Step::AwaitEnd,
        ];
        let client = vec![Step::Send(request()), Step::AwaitEnd, Step::Finish];
        let (client, server) = lab.sessions(client, server);
        run.connect_ports(10_000 + number, 2_000 + number, client, server);
    }
    let mut most = 0;
    for _ in 0..600 {
        run.settle(Duration::from_millis(5));
        most = most.max(run.counters().content_bytes.value() as usize);
    }
    // They are of one client, for which three quarters are the most.
    assert!(most > MOST * 5 / 8, "{most}: no pressure at all");
    // One record of one body is counted when it has come.
    assert!(most <= MOST + 256 * 1024, "{most}");
    run.settle(SECOND * 4_000);
    let (mut whole, mut refused) = (0, 0);
    for number in 0..usize::from(DOWNLOADS) {
        let received = &run.client_of(number).received;
        whole += usize::from(*received == answer);
        refused += usize::from(received.starts_with(b"HTTP/1.1 403 "));
    }
    assert_eq!(whole + refused, usize::from(DOWNLOADS));
    assert!(whole > 100 && refused > 100, "{whole} whole, {refused} refused");
    assert_eq!(run.counters().ended(Reason::ContentClientBytes) as usize, refused);
    assert_eq!((run.engine().flows(), run.counters().content_bytes.value()), (0, 0));
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// An upload, the place where it stops for a while, and its answer.
fn upload(is_http2: bool, file: &[u8]) -> (Vec<u8>, usize, Vec<u8>) {
    const STOP: usize = 36_000;
    if !is_http2 {
        let head = format!("POST /up HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {}\r\n\r\n", file.len());
        return ([head.as_bytes(), file].concat(), STOP, response(b"thanks"));
    }
    let (data, headers, settings) = (0, 1, 4);
    let mut asks = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    asks.extend(frame(settings, 0, 0, b""));
    // POST, https, /, and an authority.
    let authority = [&[0x41, NAME.len() as u8], NAME.as_bytes()].concat();
    asks.extend(frame(headers, 4, 1, &[b"\x83\x87\x84", &authority[..]].concat()));
    let mut pieces = file.chunks(12_000).peekable();
    while let Some(piece) = pieces.next() {
        asks.extend(frame(data, u8::from(pieces.peek().is_none()), 1, piece));
    }
    // 200, and no content.
    (asks, STOP, [frame(settings, 0, 0, b""), frame(headers, 5, 1, b"\x88")].concat())
}

/// One client's uploads wait for verdicts until it has its share. What it sends beyond that is blocked, and another client's uploads
/// are looked at as if it were not there.
#[test]
fn a_client_with_its_share_of_held_bodies_leaves_room_for_others() {
    const MOST: usize = 4 << 20;
    const GREEDY: u16 = 120;
    const OTHERS: u16 = 5;
    let lab = Lab::new();
    let (listed, file) = (body(40_000, 1), body(40_000, 2));
    for is_http2 in [false, true] {
        let (mut rule, lists) = policy_rule(Hold::All, &listed);
        rule.direction = Some(Direction::Request);
        let mut setup = setup(ContentPolicy::compile(&[rule], lists));
        (setup.flows, setup.flow_bytes) = (1_024, 1 << 30);
        setup.rules = Rules { ports: Ports::Any, ..Rules::default_is(Action::Decrypt) };
        setup.limits.content_bytes = MOST;
        setup.limits.fairness.per_client = PerClient::NoLimit;
        let mut run = lab.hosts(&setup);
        let (asks, stop, answer) = upload(is_http2, &file);
        let connect = |run: &mut Run, number: u16, pause: Option<Duration>| {
            let server =
                vec![Step::Receive(asks.len()), Step::Send(answer.clone()), Step::Finish, Step::AwaitEnd];
            let (first, rest) = asks.split_at(stop);
            let mut client = vec![Step::Send(first.to_vec()), Step::Send(rest.to_vec())];
            client.extend([Step::Receive(answer.len()), Step::Finish, Step::AwaitEnd]);
            if let Some(pause) = pause {
                client.insert(1, Step::Pause(pause));
            }
            let (client, server) = lab.sessions(client, server);
            run.connect_over(pause.is_none(), (10_000 + number, 2_000 + number), client, server);
        };
        let told = |run: &Run, reason| {
            let is_it = |event: &&Event| matches!(event, Event::Alert(_, alert) if alert.reason == reason);
            run.events().iter().filter(is_it).count()
        };
        (0..GREEDY).for_each(|number| connect(&mut run, number, Some(SECOND * 60)));
        run.settle(SECOND * 30);
        let held = run.counters().content_bytes.value() as usize;
        assert!((MOST / 2..=MOST * 3 / 4 + 256 * 1024).contains(&held), "{is_http2}: {held}");
        let refused = told(&run, Reason::ContentClientBytes);
        assert!((20..usize::from(GREEDY) - 20).contains(&refused), "{is_http2}: {refused}");
        (GREEDY..GREEDY + OTHERS).for_each(|number| connect(&mut run, number, None));
        run.settle(SECOND * 5);
        let arrived = |run: &Run, number: u16| {
            let received = &run.server_of(usize::from(number)).received;
            received.len() >= file.len()
                && run.client_of(usize::from(number)).received.ends_with(&answer[answer.len() - 6..])
        };
        assert!((GREEDY..GREEDY + OTHERS).all(|number| arrived(&run, number)), "{is_http2}");
        run.settle(SECOND * 1_000);
        assert_eq!(
            (0..GREEDY).filter(|number| arrived(&run, *number)).count() + refused,
            usize::from(GREEDY)
        );
        assert_eq!(
            (told(&run, Reason::ContentClientBytes), told(&run, Reason::ContentOverload)),
            (refused, 0)
        );
        assert_eq!(run.counters().content_bytes.value(), 0, "{is_http2}");
    }
}
