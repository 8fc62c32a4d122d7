//! Mirrors of flows that are two connections: those that begin in plain and go over to TLS, and those that are bypassed all the same.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::Exchange;
use support::lab::{Lab, Run, Setup};
use support::mirror::{Heeded, hear};
use support::rules::{Action, Rules};
use wireglass_core::mirror::Mirror;
use wireglass_core::policy::{StartTls, UnsupportedAction};
use wireglass_core::starttls::Protocol;
use wireglass_testbed::{Duration, Heading, Impairment, PortSide, Session, Step};

const LONG: Duration = Duration::from_secs(4_000);
/// What both say in plain, the server first.
const DIALOGUE: [&[u8]; 5] = [
    b"220 mail.example\r\n",
    b"EHLO me\r\n",
    b"250-mail.example\r\n250 STARTTLS\r\n",
    b"STARTTLS\r\n",
    b"220 go\r\n",
];

fn frames(run: &Run, mirror: usize) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| run.engine().cable().mirrored(mirror)).collect()
}

/// The second one shows bypassed flows as well, and would call port 443 another.
fn mirrors() -> Vec<Mirror> {
    let all = Mirror { bypassed: true, ports: vec![(443, 80), (25, 80)], ..Mirror::new("all") };
    vec![Mirror::new("ids"), all]
}

fn mail(rules: Rules) -> Setup {
    let starttls = StartTls { ports: vec![(25, Protocol::Smtp)], ..StartTls::default() };
    Setup { port: 25, rules: Rules { starttls, ..rules }, mirrors: mirrors(), ..Setup::default() }
}

/// What is said in plain by the client, and by the server.
fn plain() -> [Vec<u8>; 2] {
    [1, 0].map(|first| DIALOGUE.iter().skip(first).step_by(2).copied().flatten().copied().collect())
}

fn scripts() -> [Vec<Step>; 2] {
    [1, 0].map(|speaks| {
        let steps = DIALOGUE.iter().enumerate().map(|(n, line)| match n % 2 == speaks {
            true => Step::Send(line.to_vec()),
            false => Step::Receive(line.len()),
        });
        steps.collect()
    })
}

fn upgraded(lab: &Lab, setup: &Setup, exchange: &Exchange) -> Run {
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    let [plain_client, plain_server] = scripts();
    let mut run = lab.connect(setup, client.after(plain_client), server.after(plain_server));
    run.run();
    exchange.assert_done(run.client(), run.server(), &(setup, run.tls_events()));
    run.settle(LONG);
    assert_eq!((run.engine().flows(), run.counters().flow_bytes.value()), (0, 0), "{setup:?}");
    run
}

fn names(run: &Run) -> Vec<String> {
    let [event] = run.flow_events()[..] else { panic!("{:?}", run.events()) };
    event.mirrors.iter().map(|name| name.to_string()).collect()
}

/// Payload that has come in from an end, where nothing is lost.
fn said(run: &Run, port: PortSide) -> Vec<u8> {
    let crossings = run.simulation.recorded().iter();
    let came = crossings.filter(|c| (c.port, c.heading) == (port, Heading::In) && c.frame[12..14] == [8, 0]);
    came.flat_map(|c| hear(&c.frame).payload).collect()
}

#[test]
fn starttls_is_shown_from_its_plain_beginning_on() {
    let lab = Lab::new();
    for seed in 0..6 {
        let loss = [0.0, 0.04][seed as usize % 2];
        let impairment = Impairment { loss, reorder: loss, duplicate: loss, ..Impairment::default() };
        let setup = Setup { seed, impairment, ipv6: seed > 3, ..mail(Rules::by_name(Action::Decrypt)) };
        let exchange = Exchange::new(seed, 20_000, 40_000);
        let run = upgraded(&lab, &setup, &exchange);
        for mirror in [0, 1] {
            let frames = frames(&run, mirror);
            let heeded = Heeded::all(&frames);
            let [client, server] = plain();
            assert!(heeded.streams[0] == [client, exchange.request.clone()].concat(), "{setup:?}");
            assert!(heeded.streams[1] == [server, exchange.response.clone()].concat(), "{setup:?}");
            assert_eq!((heeded.fins.len(), heeded.reset), (2, None));
            heeded.assert_acknowledged();
            let expected = if mirror == 0 { 25 } else { 80 };
            assert_eq!(hear(&frames[0]).destination.1, expected, "what is decrypted is called as is asked");
        }
        assert_eq!(names(&run), ["ids", "all"]);
    }
}

#[test]
fn starttls_that_is_bypassed_is_shown_as_it_is() {
    let lab = Lab::new().trusting_the_server();
    let exchange = Exchange::new(7, 20_000, 40_000);
    let setup = mail(Rules::by_name(Action::Bypass));
    let run = upgraded(&lab, &setup, &exchange);
    assert_eq!(frames(&run, 0).len(), 0, "not to the one that did not ask");
    let frames = frames(&run, 1);
    let heeded = Heeded::all(&frames);
    for (stream, plain) in heeded.streams.iter().zip(plain()) {
        assert_eq!(&stream[..plain.len()], plain);
        assert_eq!(stream[plain.len()..][..2], [0x16, 3], "a handshake of TLS follows");
        assert!(stream.len() > 20_000 + plain.len());
    }
    assert_eq!(hear(&frames[0]).destination.1, 25);
    assert_eq!(names(&run), ["all"]);
}

/// They could have gone over to TLS, and do not.
#[test]
fn a_mail_in_plain_is_shown_whole() {
    let mut setup = mail(Rules::by_name(Action::Decrypt));
    setup.rules.starttls.on_stripped = UnsupportedAction::Bypass;
    setup.rules.starttls.on_unused = UnsupportedAction::Bypass;
    let lines: [&[u8]; 6] = [
        b"220 mail.example\r\n",
        b"EHLO me\r\n",
        b"250 mail.example\r\n",
        b"MAIL FROM:<a@b>\r\n",
        b"250 ok\r\n",
        b"QUIT\r\n",
    ];
    let script = |speaks: usize| {
        let mut heard = 0;
        let steps = lines.iter().enumerate().map(|(n, line)| match n % 2 == speaks {
            true => Step::Send(line.to_vec()),
            false => {
                heard += line.len();
                Step::Receive(heard)
            }
        });
        Session::plain(steps.chain([Step::Finish, Step::AwaitEnd]).collect::<Vec<_>>())
    };
    let mut run = Lab::new().connect(&setup, script(1), script(0));
    run.settle(LONG);
    let heeded = Heeded::all(&frames(&run, 1));
    for (stream, first) in heeded.streams.iter().zip([1, 0]) {
        let expected: Vec<u8> = lines.iter().skip(first).step_by(2).copied().flatten().copied().collect();
        assert_eq!(String::from_utf8_lossy(stream), String::from_utf8_lossy(&expected));
    }
    assert_eq!((heeded.fins.len(), names(&run)), (2, vec!["all".to_owned()]));
}

#[test]
fn what_is_bypassed_over_two_connections_is_shown_byte_for_byte() {
    let lab = Lab::new().trusting_the_server();
    let exchange = Exchange::new(8, 30_000, 60_000);
    let rules = Rules { hold: true, ..Rules::by_name(Action::Bypass) };
    for ipv6 in [false, true] {
        let setup = Setup { rules: rules.clone(), mirrors: mirrors(), ipv6, ..Setup::default() };
        let (client, server) = lab.sessions(exchange.client(), exchange.server());
        let mut run = lab.connect(&setup, client, server);
        run.simulation.record();
        run.run();
        exchange.assert_done(run.client(), run.server(), &"bypassed");
        run.settle(LONG);
        assert_eq!(run.counters().flow_bytes.value(), 0);
        assert_eq!(frames(&run, 0).len(), 0);
        let shown = frames(&run, 1);
        let heeded = Heeded::all(&shown);
        if !ipv6 {
            assert!(heeded.streams[0] == said(&run, PortSide::Inside), "what the client said");
            assert!(heeded.streams[1] == said(&run, PortSide::Outside), "what the server said");
        }
        assert!(heeded.streams[0].len() > 30_000 && heeded.streams[0][..2] == [0x16, 3]);
        assert_eq!((heeded.fins.len(), heeded.reset), (2, None));
        heeded.assert_acknowledged();
        assert_eq!(hear(&shown[0]).destination.1, 443, "`ports` is about what is decrypted");
        assert_eq!(names(&run), ["all"]);
    }
}

#[test]
fn one_that_is_reset_ends_so() {
    let lab = Lab::new().trusting_the_server();
    let rules = Rules { hold: true, ..Rules::by_name(Action::Bypass) };
    let setup = Setup { rules, mirrors: mirrors(), ..Setup::default() };
    let client = vec![Step::Send(vec![1; 100]), Step::Pause(Duration::from_secs(1)), Step::Reset];
    let (client, server) = lab.sessions(client, vec![Step::Receive(100), Step::AwaitEnd]);
    let mut run = lab.connect(&setup, client, server);
    run.settle(LONG);
    assert_eq!(Heeded::all(&frames(&run, 1)).reset, Some(0));
}
