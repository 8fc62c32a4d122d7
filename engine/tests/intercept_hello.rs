//! ClientHellos as they may come: in pieces, out of order, repeated, in many records, and too clever by half.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use rustls::NamedGroup;
use support::Exchange;
use support::frames::TcpFrame;
use support::lab::{Lab, Run, Setup};
use support::rules::Rules;
use wireglass_core::event::Action;
use wireglass_core::policy::NoNameAction;
use wireglass_core::reason::Reason;
use wireglass_testbed::{Duration, Ending, Session, Step};

/// A piece of the hello: where in the stream, which bytes, and how much later than the first.
type Piece = (usize, Vec<u8>, Duration);

const AT_ONCE: Duration = Duration::ZERO;

/// Runs one exchange in which the client's first segment with payload is replaced by these pieces of it.
fn run_with_pieces(lab: &Lab, exchange: &Exchange, cut: impl Fn(&[u8]) -> Vec<Piece> + 'static) -> Run {
    let setup = Setup { mtu: 9000, wire_mtu: 9000, held_frames: 4_096, ..Setup::default() };
    let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
    let mut done = false;
    run.simulation.client_to_middle.set_tamper(move |bytes| {
        let frame = TcpFrame::parse(&bytes).filter(|frame| !done && !frame.payload().is_empty());
        let Some(frame) = frame else { return vec![(AT_ONCE, bytes)] };
        done = true;
        let pieces = cut(frame.payload()).into_iter();
        pieces.map(|(at, bytes, later)| (later, frame.with_payload(at as u32, &bytes))).collect()
    });
    run.run();
    run
}

#[track_caller]
fn assert_decrypted(run: &Run, exchange: &Exchange, case: &dyn std::fmt::Debug) {
    exchange.assert_done(run.client(), run.server(), &(case, run.tls_events()));
    assert_eq!(run.tls_event().action, Action::Decrypt, "{case:?}");
}

/// Ends of a hello of pieces of at most `size` bytes.
#[cfg(feature = "aws-lc-rs")]
fn chunks(hello: &[u8], size: usize) -> Vec<Piece> {
    let chunk = |(n, bytes): (usize, &[u8])| (n * size, bytes.to_vec(), AT_ONCE);
    hello.chunks(size).enumerate().map(chunk).collect()
}

/// A lab whose client sends a small hello: one classical group.
fn small_hello() -> Lab {
    let mut lab = Lab::new();
    lab.client.groups = vec![NamedGroup::X25519];
    lab
}

#[test]
fn split_at_every_byte() {
    let lab = small_hello();
    let exchange = Exchange::new(1, 100, 100);
    let mut length = 0;
    for cut in 1.. {
        if cut > 1 && cut >= length {
            break;
        }
        let seen = std::rc::Rc::new(std::cell::Cell::new(0));
        let note = std::rc::Rc::clone(&seen);
        let run = run_with_pieces(&lab, &exchange, move |hello| {
            note.set(hello.len());
            vec![(0, hello[..cut].to_vec(), AT_ONCE), (cut, hello[cut..].to_vec(), AT_ONCE)]
        });
        length = seen.get();
        assert_decrypted(&run, &exchange, &cut);
    }
    assert!(length > 150, "the hello had {length} bytes");
}

#[cfg(feature = "aws-lc-rs")]
#[test]
fn a_post_quantum_hello_split_and_shuffled() {
    let mut lab = Lab::new();
    lab.client.groups = vec![NamedGroup::X25519MLKEM768, NamedGroup::X25519];
    let exchange = Exchange::new(2, 100, 100);
    for size in [1, 3, 7, 64, 500, 1_000, 1_400] {
        // A sender has no more than so many pieces in flight, and no more are kept apart.
        if size >= 64 {
            let run = run_with_pieces(&lab, &exchange, move |hello| {
                assert!(hello.len() > 1_200, "no post-quantum hello: {} bytes", hello.len());
                chunks(hello, size).into_iter().rev().collect()
            });
            assert_decrypted(&run, &exchange, &(size, "backwards"));
        }
        let run = run_with_pieces(&lab, &exchange, move |hello| chunks(hello, size));
        assert_decrypted(&run, &exchange, &size);
        for seen in [run.client(), run.server()] {
            let group = seen.handshake.as_ref().unwrap().group.clone();
            assert_eq!(group.as_deref(), Some("X25519MLKEM768"));
        }
    }
}

#[test]
fn repeated_and_overlapping_with_the_same_bytes() {
    let lab = small_hello();
    let exchange = Exchange::new(3, 1_000, 1_000);
    let run = run_with_pieces(&lab, &exchange, |hello| {
        let piece = |from: usize, to: usize| (from, hello[from..to].to_vec(), AT_ONCE);
        let end = hello.len();
        vec![piece(0, 60), piece(0, 60), piece(40, 100), piece(90, 95), piece(20, 150), piece(100, end)]
    });
    assert_decrypted(&run, &exchange, &"overlapping");
}

#[test]
fn overlapping_with_other_bytes_is_reset() {
    let lab = small_hello();
    let exchange = Exchange::new(4, 1_000, 1_000);
    for place in [0, 10, 50, 99] {
        let mut run = run_with_pieces(&lab, &exchange, move |hello| {
            let mut other = hello[..100].to_vec();
            other[place] ^= 1;
            vec![
                (0, hello[..100].to_vec(), AT_ONCE),
                (0, other, Duration::from_millis(1)),
                (100, hello[100..].to_vec(), Duration::from_millis(2)),
            ]
        });
        assert_eq!(run.client().end, Some(Ending::Reset), "{place}");
        assert_eq!(run.server().end, Some(Ending::Reset), "{place}");
        assert!(run.server().received.is_empty());
        let event = run.tls_event();
        assert_eq!((event.action, event.reason), (Action::Block, Reason::HelloAmbiguous));
        run.settle(Duration::from_secs(60));
        assert_eq!(run.flow_end(), ("blocked", Reason::HelloAmbiguous));
    }
}

#[test]
fn in_many_records() {
    let mut lab = Lab::new();
    for record in [32, 100, 600] {
        lab.client.record = Some(record);
        let exchange = Exchange::new(5, 5_000, 5_000);
        let mut run = lab.connect_tls(&Setup::default(), exchange.client(), exchange.server());
        run.run();
        assert_decrypted(&run, &exchange, &record);
    }
}

#[test]
fn without_a_host_name_the_client_decides_on_the_names_of_the_server() {
    let mut lab = Lab::new();
    lab.client.sni = false;
    let exchange = Exchange::new(6, 100, 100);
    let mut run = lab.connect_tls(&Setup::default(), exchange.client(), exchange.server());
    run.run();
    let event = run.tls_event();
    assert_eq!((event.reason, event.defect), (Reason::PolicyDecrypt, Some(Reason::CertNoName)));
    exchange.assert_done(run.client(), run.server(), &"without SNI");
}

#[test]
fn without_a_host_name_a_profile_may_want_the_address_certified() {
    let mut rules = Rules::default_is(support::rules::Action::Decrypt);
    rules.profile.on_no_name = NoNameAction::Block;
    let setup = Setup { rules, ..Setup::default() };
    let mut lab = Lab::new();
    lab.client.sni = false;
    let exchange = Exchange::new(6, 100, 100);
    let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
    run.run();
    assert_eq!(run.tls_event().reason, Reason::CertNoName);
    assert!(run.server().received.is_empty());
}

#[test]
fn a_hello_that_does_not_end_is_given_up_after_five_seconds() {
    let lab = Lab::new();
    let head = [22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let client = Session::plain(vec![Step::Send(head.to_vec()), Step::AwaitEnd]);
    let server = Session::plain(vec![Step::AwaitEnd, Step::Finish]);
    let mut run = lab.connect(&Setup::default(), client, server);
    run.simulation.settle(Duration::from_millis(4_900));
    assert_eq!((&run.client().end, &run.server().end), (&None, &None));
    run.settle(Duration::from_millis(300));
    assert_eq!((&run.client().end, &run.server().end), (&Some(Ending::Reset), &Some(Ending::Reset)));
    assert!(run.server().received.is_empty());
    assert_eq!(run.tls_event().reason, Reason::HelloTimeout);
    run.settle(Duration::from_secs(60));
    assert_eq!(run.engine().flows(), 0);
}

#[test]
fn a_hello_without_end_is_given_up_at_its_limit() {
    // Handshake records that promise a ClientHello of 16 MB.
    let lab = Lab::new();
    let mut bytes = Vec::new();
    let mut body = vec![1, 0xff, 0xff, 0xff];
    for _ in 0..20 {
        body.resize(16_000, 0);
        bytes.extend([22, 3, 1]);
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.append(&mut body);
    }
    let client = Session::plain(vec![Step::Send(bytes), Step::AwaitEnd]);
    let server = Session::plain(vec![Step::AwaitEnd, Step::Finish]);
    let mut run = lab.connect(&Setup::default(), client, server);
    run.run();
    assert_eq!((&run.client().end, &run.server().end), (&Some(Ending::Reset), &Some(Ending::Reset)));
    assert!(run.server().received.is_empty());
    assert_eq!(run.tls_event().reason, Reason::HelloTooBig);
}

#[test]
fn a_malformed_hello_is_blocked() {
    let lab = Lab::new();
    let bytes = vec![22, 3, 1, 0, 8, 1, 0, 0, 4, 9, 9, 9, 9];
    let client = Session::plain(vec![Step::Send(bytes), Step::AwaitEnd]);
    let server = Session::plain(vec![Step::AwaitEnd, Step::Finish]);
    let mut run = lab.connect(&Setup::default(), client, server);
    run.run();
    // decode_error
    assert_eq!(run.client().received, [21, 3, 3, 0, 2, 2, 50]);
    assert!(run.server().received.is_empty());
    assert_eq!(run.tls_event().reason, Reason::HelloMalformed);
}
