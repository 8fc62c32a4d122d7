//! Protocols that go over to TLS in place: inspected from there by the same rules, or ended by name before.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::Exchange;
use support::lab::{Lab, Run, Setup};
use support::rules::{Action, Rules};
use wireglass_core::event;
use wireglass_core::policy::{StartTls, UnsupportedAction};
use wireglass_core::reason::Reason;
use wireglass_core::starttls::Protocol;
use wireglass_testbed::{Duration, Ending, Impairment, Session, Step, Stop};

const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];
const LDAP_START: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
const LDAP_YES: &[u8] = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";

/// What both say in plain, the server first where it is not empty: server, client, server, and so on.
fn dialogue(protocol: Protocol) -> Vec<&'static [u8]> {
    match protocol {
        Protocol::Smtp => vec![
            b"220 mail.example\r\n",
            b"EHLO me\r\n",
            b"250-mail.example\r\n250 STARTTLS\r\n",
            b"STARTTLS\r\n",
            b"220 go\r\n",
        ],
        Protocol::Imap => {
            vec![b"* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", b"a STARTTLS\r\n", b"a OK\r\n"]
        }
        Protocol::Pop3 => vec![b"+OK\r\n", b"STLS\r\n", b"+OK\r\n"],
        Protocol::Postgres => vec![b"", SSL_REQUEST, b"S"],
        Protocol::Ldap => vec![b"", LDAP_START, LDAP_YES],
    }
}

/// Each end's part of it, the first of which is the server's.
fn scripts(lines: &[&[u8]]) -> (Vec<Step>, Vec<Step>) {
    let step = |n: usize, line: &&[u8], speaks: usize| match line.len() {
        0 => None,
        _ if n % 2 == speaks => Some(Step::Send(line.to_vec())),
        len => Some(Step::Receive(len)),
    };
    let of = |speaks| lines.iter().enumerate().filter_map(|(n, line)| step(n, line, speaks)).collect();
    (of(1), of(0))
}

fn setup(protocol: Protocol, rules: Rules) -> Setup {
    let starttls = StartTls { ports: vec![(25, protocol)], ..StartTls::default() };
    Setup { port: 25, rules: Rules { starttls, ..rules }, ..Setup::default() }
}

fn upgraded(lab: &Lab, setup: &Setup, protocol: Protocol, exchange: &Exchange) -> Run {
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    let (plain_client, plain_server) = scripts(&dialogue(protocol));
    lab.connect(setup, client.after(plain_client), server.after(plain_server))
}

#[test]
fn what_follows_the_agreement_is_inspected_by_the_same_rules() {
    let lab = Lab::new();
    for &protocol in Protocol::ALL {
        let bad = Impairment { loss: 0.03, reorder: 0.1, duplicate: 0.03, ..Impairment::default() };
        let base = setup(protocol, Rules::by_name(Action::Decrypt));
        let mut setups =
            vec![base.clone(), Setup { ipv6: true, ..base.clone() }, Setup { mtu: 400, ..base.clone() }];
        setups.extend((0..8).map(|seed| Setup { seed, impairment: bad, ..base.clone() }));
        for setup in setups {
            let exchange = Exchange::new(1, 20_000, 40_000);
            let mut run = upgraded(&lab, &setup, protocol, &exchange);
            assert_eq!(run.run(), Stop::Done, "{protocol:?} {setup:?} {:?}", run.events());
            exchange.assert_done(run.client(), run.server(), &(protocol, &setup, run.tls_events()));
            let event = run.tls_event();
            assert_eq!((event.action, event.reason), (event::Action::Decrypt, Reason::PolicyDecrypt));
            let told = run.events().iter().filter_map(|e| match e {
                event::Event::Tls(head, _) => Some(head.starttls),
                _ => None,
            });
            assert_eq!(told.collect::<Vec<_>>(), [Some(protocol)]);
            run.settle(Duration::from_secs(4_000));
            assert_eq!(run.engine().flows(), 0);
        }
    }
}

#[test]
fn rules_by_name_hold() {
    for &protocol in Protocol::ALL {
        let lab = Lab::new().trusting_the_server();
        let exchange = Exchange::new(2, 5_000, 5_000);
        let mut run = upgraded(&lab, &setup(protocol, Rules::by_name(Action::Bypass)), protocol, &exchange);
        run.run();
        exchange.assert_done(run.client(), run.server(), &(protocol, run.tls_events()));
        assert_eq!(run.client().handshake.as_ref().unwrap().chain, lab.server.chain);
        assert_eq!(run.tls_event().reason, Reason::PolicyBypass);
        for action in [Action::Alert, Action::Page, Action::Reset] {
            let mut run = upgraded(&lab, &setup(protocol, Rules::by_name(action)), protocol, &exchange);
            run.settle(Duration::from_secs(60));
            assert_eq!(run.tls_event().reason, Reason::PolicyBlock, "{protocol:?}");
            let expected = if action == Action::Reset { Ending::Reset } else { Ending::Alert(49) };
            assert_eq!(run.client().end, Some(expected), "{protocol:?} {action:?}");
            assert!(run.server().received.is_empty(), "{protocol:?}");
        }
    }
}

#[test]
fn tls_from_the_first_byte() {
    let lab = Lab::new();
    let exchange = Exchange::new(3, 5_000, 5_000);
    let setup = setup(Protocol::Postgres, Rules::by_name(Action::Decrypt));
    let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
    run.run();
    exchange.assert_done(run.client(), run.server(), &run.tls_events());
    assert_eq!(run.tls_event().reason, Reason::PolicyDecrypt);
}

/// A plain conversation under these actions; what the ends have heard.
fn converse(protocol: Protocol, lines: &[&[u8]], action: UnsupportedAction) -> Run {
    let mut setup = setup(protocol, Rules::by_name(Action::Decrypt));
    (setup.rules.starttls.on_stripped, setup.rules.starttls.on_unused) = (action, action);
    let end = || vec![Step::Finish, Step::AwaitEnd];
    let mut heard = [0, 0];
    let of = |speaks: usize, heard: &mut usize| {
        let mut steps = Vec::new();
        for (n, line) in lines.iter().enumerate() {
            if n % 2 == speaks {
                steps.push(Step::Send(line.to_vec()));
            } else {
                *heard += line.len();
                steps.push(Step::Receive(*heard));
            }
        }
        steps
    };
    let client = Session::plain([of(1, &mut heard[0]), end()].concat());
    let server = Session::plain([of(0, &mut heard[1]), end()].concat());
    let mut run = Lab::new().connect(&setup, client, server);
    run.settle(Duration::from_secs(400));
    run
}

#[test]
fn a_downgrade_is_noticed() {
    use UnsupportedAction::{Block, Bypass};
    let stripped: &[&[u8]] =
        &[b"220 hi\r\n", b"EHLO me\r\n", b"250 hi\r\n", b"MAIL FROM:<a@b>\r\n", b"250 ok\r\n"];
    let offered: &[&[u8]] =
        &[b"220 hi\r\n", b"EHLO me\r\n", b"250 STARTTLS\r\n", b"MAIL FROM:<a@b>\r\n", b"250 ok\r\n"];
    for (lines, reason) in [(stripped, Reason::StartTlsStripped), (offered, Reason::StartTlsUnused)] {
        let run = converse(Protocol::Smtp, lines, Block);
        assert_eq!(run.server().received, b"EHLO me\r\n", "the mail has not passed");
        assert_eq!(
            (run.client().end.clone(), run.server().end.clone()),
            (Some(Ending::Reset), Some(Ending::Reset))
        );
        assert_eq!((run.tls_event().action, run.tls_event().reason), (event::Action::Block, reason));
        assert_eq!(run.flow_end(), ("blocked", reason));

        let run = converse(Protocol::Smtp, lines, Bypass);
        assert_eq!(run.server().received, [lines[1], lines[3]].concat());
        assert_eq!(run.client().received, [lines[0], lines[2], lines[4]].concat());
        assert_eq!((run.tls_event().action, run.tls_event().reason), (event::Action::Bypass, reason));
        assert_eq!(run.flow_end(), ("bypassed", Reason::Closed));
    }
}

#[test]
fn plain_bytes_never_become_part_of_the_session() {
    // Behind the command; behind the answer; where the ClientHello should be.
    let injected: &[&[u8]] = &[b"220 hi\r\n", b"STARTTLS\r\nRSET\r\n", b"220 go\r\n"];
    let answered: &[&[u8]] = &[b"220 hi\r\n", b"STARTTLS\r\n", b"220 go\r\n250 injected\r\n"];
    let ignored: &[&[u8]] = &[b"220 hi\r\n", b"STARTTLS\r\n", b"220 go\r\n", b"MAIL FROM:<a@b>\r\n", b""];
    for (lines, reason, heard) in [
        (injected, Reason::StartTlsPipelined, &b""[..]),
        (answered, Reason::StartTlsPipelined, b"STARTTLS\r\n"),
        (ignored, Reason::StartTlsNoHello, b"STARTTLS\r\n"),
    ] {
        for action in [UnsupportedAction::Block, UnsupportedAction::Bypass] {
            let run = converse(Protocol::Smtp, lines, action);
            assert_eq!(run.flow_end(), ("blocked", reason));
            assert_eq!(run.server().received, heard, "{reason}");
            let greeting = run.client().received.strip_prefix(b"220 hi\r\n").unwrap();
            assert_eq!(greeting, if reason == Reason::StartTlsNoHello { &b"220 go\r\n"[..] } else { b"" });
        }
    }
}

#[test]
fn who_does_not_agree_in_time_is_ended() {
    let setup = setup(Protocol::Imap, Rules::by_name(Action::Decrypt));
    let quiet = || vec![Step::Pause(Duration::from_secs(600)), Step::Finish];
    let server = Session::plain([vec![Step::Send(b"* OK hi\r\n".to_vec())], quiet()].concat());
    let mut run = Lab::new().connect(&setup, Session::plain(quiet()), server);
    run.settle(Duration::from_secs(290));
    assert_eq!(run.flow_events().len(), 0);
    run.settle(Duration::from_secs(30));
    assert_eq!(run.flow_end(), ("blocked", Reason::StartTlsTimeout));
    // One that leaves in order is no fault.
    let lines: &[&[u8]] = &[b"* OK hi\r\n", b"a LOGOUT\r\n", b"* BYE\r\na OK\r\n"];
    let run = converse(Protocol::Imap, lines, UnsupportedAction::Block);
    assert_eq!(run.flow_end().1, Reason::Closed);
}
