//! QUIC through the engine where rules ask for names: what is bypassed by name keeps it, all else falls back to TCP.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../core/tests/support/quic.rs"]
mod client;
mod support;

use client::{ID, SERVER_ID, SHORT, crypto, hello, initial, long, v1};
use rustls::quic::Version;
use support::fragments::fragment_of;
use support::frames::datagram;
use support::lab::{NAME, Setup};
use support::rules::{Action, RULE, Rules};
use support::wire::Wire;
use wireglass_core::event::{Fate, HelloInfo};
use wireglass_core::flow::OutsideTls;
use wireglass_core::packet::{PassAction, Uninspected};
use wireglass_core::reason::PacketDrop;
use wireglass_testbed::{Duration, PortSide};

fn wire(action: Action, quic: PassAction) -> Wire {
    let mut outside_tls = OutsideTls::default();
    outside_tls.passthrough.set(Uninspected::Quic, quic);
    Wire::new(&Setup { rules: Rules::by_name(action), outside_tls, ..Setup::default() })
}

/// Sends a datagram of the client's; returns how many come out at the server.
fn up(wire: &mut Wire, from: u16, payload: &[u8]) -> usize {
    wire.send(PortSide::Inside, datagram(true, 1, (from, 443), payload))[1].len()
}

/// Likewise of the server's.
fn down(wire: &mut Wire, to: u16, payload: &[u8]) -> usize {
    wire.send(PortSide::Outside, datagram(false, 1, (to, 443), payload))[0].len()
}

/// Rules, names and what became of them.
type Told<'a> = Vec<(Option<&'a str>, Option<String>, Fate)>;

fn told(wire: &Wire) -> Told<'_> {
    let sni = |hello: &'_ Option<Box<HelloInfo>>| hello.as_ref()?.sni.clone();
    wire.frames.iter().map(|event| (event.rule.as_deref(), sni(&event.hello), event.fate)).collect()
}

#[test]
fn what_is_bypassed_by_name_keeps_quic_and_nothing_else_does() {
    let mut wire = wire(Action::Bypass, PassAction::Drop);
    let free = hello(NAME);
    let (front, back) = free.split_at(150);
    // The hello in two datagrams, early data between them: all of it goes on together, in its order.
    let (first, early, second) = (v1(0, &crypto(150, back)), long(1, ID, b"c"), v1(1, &crypto(0, front)));
    assert_eq!((up(&mut wire, 5000, &first), up(&mut wire, 5000, &early)), (0, 0));
    let out = wire.send(PortSide::Inside, datagram(true, 1, (5000, 443), &second));
    let sent = [&first, &early, &second].map(|payload| datagram(true, 1, (5000, 443), payload));
    assert_eq!(out[1], sent);
    assert_eq!(down(&mut wire, 5000, &long(0, b"c", SERVER_ID)), 1);
    for payload in [long(2, SERVER_ID, b"c"), SHORT.to_vec()] {
        assert_eq!((up(&mut wire, 5000, &payload), down(&mut wire, 5000, SHORT)), (1, 1));
    }
    // Another name, on another flow and on this one.
    let other = v1(0, &crypto(0, &hello("other.example")));
    assert_eq!(
        (up(&mut wire, 5001, &other), up(&mut wire, 5001, SHORT), down(&mut wire, 5001, SHORT)),
        (0, 0, 0)
    );
    let again = initial(Version::V1, b"other id", 0, &crypto(0, &hello("other.example")));
    assert_eq!((up(&mut wire, 5000, &again), up(&mut wire, 5000, SHORT)), (0, 1));
    // What has no hello.
    assert_eq!((up(&mut wire, 5002, SHORT), up(&mut wire, 5002, &long(0, ID, b"c"))), (0, 0));
    let dropped = Fate::Dropped(PacketDrop::Quic);
    assert_eq!(
        told(&wire),
        [
            (Some(RULE), Some(NAME.into()), Fate::Forwarded),
            (None, Some("other.example".into()), dropped),
            (None, Some("other.example".into()), dropped),
            (None, None, dropped),
        ]
    );
    assert_eq!(wire.counted(Uninspected::Quic, PassAction::Forward), 9);
    assert_eq!(wire.dropped(PacketDrop::Quic), 6);
}

#[test]
fn a_name_that_is_blocked_has_no_quic_although_all_else_has() {
    let mut wire = wire(Action::Alert, PassAction::Forward);
    let shut = v1(0, &crypto(0, &hello(NAME)));
    assert_eq!((up(&mut wire, 5000, &shut), up(&mut wire, 5000, &long(1, ID, b"c"))), (0, 0));
    let other = v1(0, &crypto(0, &hello("other.example")));
    assert_eq!((up(&mut wire, 5001, &other), up(&mut wire, 5001, SHORT)), (1, 1));
    assert_eq!(up(&mut wire, 5002, SHORT), 1);
    let blocked = Fate::Dropped(PacketDrop::PolicyBlocked);
    assert_eq!(
        told(&wire),
        [
            (Some(RULE), Some(NAME.into()), blocked),
            (None, Some("other.example".into()), Fate::Forwarded),
            (None, None, Fate::Forwarded),
        ]
    );
}

/// A connection that has passed lets no hello pass in the fragments of a datagram, of which the first may hold nothing of it.
#[test]
fn fragments_bring_no_hello_along() {
    let mut wire = wire(Action::Bypass, PassAction::Drop);
    assert_eq!(up(&mut wire, 5000, &v1(0, &crypto(0, &hello(NAME)))), 1);
    let other = initial(Version::V1, b"other id", 0, &crypto(0, &hello("other.example")));
    let whole = datagram(true, 1, (5000, 443), &other);
    let first = &whole[34..42];
    assert_eq!(
        wire.send(PortSide::Inside, fragment_of(&whole[..34], (14, true), 7, 0, first, true))[1].len(),
        0
    );
    assert_eq!(wire.dropped(PacketDrop::Quic), 1);
    assert_eq!(up(&mut wire, 5000, SHORT), 1);
}

/// What was held for one hello does not go on with another one, in however many pieces it comes.
#[test]
fn a_hello_that_passes_takes_no_other_along() {
    let mut wire = wire(Action::Bypass, PassAction::Drop);
    let (free, other) = (hello(NAME), hello("other.example"));
    let (front, back) = other.split_at(100);
    for (n, piece) in [crypto(0, front), crypto(100, back)].into_iter().enumerate() {
        let held = initial(Version::V1, b"other id", n as u64, &piece);
        assert_eq!(up(&mut wire, 5000, &held), 0);
        let good = initial(Version::V1, &[n as u8; 8], 0, &crypto(0, &free));
        let out = wire.send(PortSide::Inside, datagram(true, 1, (5000, 443), &good));
        assert_eq!(out[1], [datagram(true, 1, (5000, 443), &good)]);
    }
    assert_eq!(wire.dropped(PacketDrop::Quic), 2);
}

/// Whoever begins hellos and does not end them takes nothing from others, and what waits is given up.
#[test]
fn hellos_that_never_end_are_bounded() {
    let mut wire = wire(Action::Bypass, PassAction::Drop);
    let free = hello(NAME);
    assert_eq!(up(&mut wire, 4000, &v1(0, &crypto(0, &free))), 1);
    for port in 10_000..11_000 {
        for number in 0..3 {
            assert_eq!(up(&mut wire, port, &v1(number, &crypto(0, &free[..100]))), 0);
        }
    }
    // 256 wait; all others are gone, and counted.
    assert_eq!(wire.dropped(PacketDrop::Quic), 3_000 - 256);
    assert_eq!(up(&mut wire, 4000, SHORT), 1);
    // Their time is over: the rest of a hello comes too late.
    wire.wait(Duration::from_secs(6));
    assert_eq!(up(&mut wire, 10_999, &v1(9, &crypto(100, &free[100..]))), 0);
}
