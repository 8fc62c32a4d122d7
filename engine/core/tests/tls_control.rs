//! What ends say after their handshakes that is not data, in records made by hand: which of it is followed, and with which alert
//! the rest is refused.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/fed_relay.rs"]
#[allow(unreachable_pub, reason = "shared with others")]
mod fed_relay;
#[path = "../../fuzz/bodies/tls_peer.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "written for the fuzz targets")]
mod tls_peer;

use fed_relay::{FedRelay, Output};
use tls_peer::{ALERT, DATA, HANDSHAKE, Peer, SUITES, VERSIONS};
use wireglass_core::content::Fate;
use wireglass_core::end::{End, PerEnd};
use wireglass_core::policy::TlsVersion;
use wireglass_core::reason::Reason;
use wireglass_core::tls::{Relay, RelayError, description::*};

const CHANGE_CIPHER_SPEC: u8 = 20;
const SIDES: [End; 2] = [End::Client, End::Server];

/// Two far ends and the relay between them.
struct Pair {
    peers: [Peer; 2],
    relay: FedRelay,
    /// What each end has received, record by record.
    heard: [Vec<(u8, Vec<u8>)>; 2],
    inspected: Vec<u8>,
    closed: [bool; 2],
}

impl Pair {
    fn new(version: TlsVersion) -> Self {
        let peers = [3, 7].map(|seed| Peer::new(version, SUITES[0], seed));
        let relay = Relay::new(peers[0].leg(), peers[1].leg(), None, PerEnd::default()).unwrap();
        Self::with(peers, relay)
    }

    /// The server has asked for a client certificate.
    fn asked(version: TlsVersion) -> Self {
        let peers = [3, 7].map(|seed| Peer::new(version, SUITES[0], seed));
        let relay = Relay::new(peers[0].leg(), peers[1].leg(), None, PerEnd::default()).unwrap();
        Self::with(peers, relay.with_certificate_asked())
    }

    fn with(peers: [Peer; 2], relay: Relay) -> Self {
        let relay = FedRelay::new(relay);
        Self { peers, relay, heard: [Vec::new(), Vec::new()], inspected: Vec::new(), closed: [false; 2] }
    }

    fn deliver(&mut self, from: End, wire: &[u8]) -> Result<(), RelayError> {
        let mut out = Output::default();
        let inspected = &mut self.inspected;
        let result =
            self.relay.receive(from, wire, &mut |_, data| inspected.extend_from_slice(data), &mut out);
        for (side, mut bytes) in [(End::Client, &out.to_client[..]), (End::Server, &out.to_server)] {
            while let [_, _, _, high, low, ..] = bytes {
                let (record, rest) = bytes.split_at(5 + usize::from(u16::from_be_bytes([*high, *low])));
                let opened = self.peers[side as usize].open(record);
                self.closed[side.other() as usize] |= (opened.kind, &opened.bytes[..]) == (ALERT, &[1, 0]);
                self.heard[side as usize].push((opened.kind, opened.bytes));
                bytes = rest;
            }
        }
        result
    }

    /// One end says something in a record of its own.
    fn say(&mut self, from: End, kind: u8, bytes: &[u8]) -> Result<(), RelayError> {
        let record = self.peers[from as usize].seal(kind, bytes, 0);
        self.deliver(from, &record)
    }

    /// Data still goes by.
    fn assert_alive(&mut self, from: End) {
        self.heard = [Vec::new(), Vec::new()];
        self.say(from, DATA, b"still there").unwrap();
        assert_eq!(self.heard[from.other() as usize], [(DATA, b"still there".to_vec())]);
    }
}

fn protocol(side: End) -> RelayError {
    let reason = if side == End::Client { Reason::ClientProtocol } else { Reason::ServerProtocol };
    RelayError { reason, alert: None }
}

/// What `say` makes of a new pair is refused: that end gets the alert, the other one nothing.
fn refused(version: TlsVersion, from: End, alert: u8, say: impl Fn(&mut Pair) -> Result<(), RelayError>) {
    let mut pair = Pair::new(version);
    let context = format!("{version:?} {from:?} {alert}");
    assert_eq!(say(&mut pair), Err(protocol(from)), "{context}");
    assert_eq!(pair.heard[from as usize].last(), Some(&(ALERT, vec![2, alert])), "{context}");
    assert_eq!(pair.heard[from.other() as usize], [], "{context}");
    assert_eq!((pair.inspected.len(), pair.closed), (0, [false; 2]), "{context}");
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [.., a, b, c] = body.len().to_be_bytes();
    [&[kind, a, b, c][..], body].concat()
}

fn ticket(len: usize) -> Vec<u8> {
    message(4, &vec![9; len])
}

const HELLO_REQUEST: &[u8] = &[0, 0, 0, 0];
const KEY_UPDATE: &[u8] = &[24, 0, 0, 1, 0];
const KEY_UPDATE_REQUESTED: &[u8] = &[24, 0, 0, 1, 1];

#[test]
fn tickets_come_whole_in_parts_and_several_at_once() {
    let mut pair = Pair::new(TlsVersion::Tls13);
    let several = [ticket(100), ticket(200), ticket(60_000)].concat();
    for cut in [several.len(), 16_384, 5_000] {
        for part in several.chunks(cut.min(16_384)) {
            pair.say(End::Server, HANDSHAKE, part).unwrap();
        }
        pair.assert_alive(End::Server);
        let idle = Pair::new(TlsVersion::Tls13).relay.held();
        assert_eq!(pair.relay.held(), idle, "something of a ticket is left");
    }
    // Byte by byte, as long as that is not too many records without data.
    for byte in ticket(20) {
        pair.say(End::Server, HANDSHAKE, &[byte]).unwrap();
    }
    pair.assert_alive(End::Server);
    pair.say(End::Server, HANDSHAKE, &ticket(20_000)[..15_000]).unwrap();
    assert!((15_000..40_000).contains(&pair.relay.held()));
}

#[test]
fn key_updates_are_followed_and_answered() {
    let mut pair = Pair::new(TlsVersion::Tls13);
    for round in 0..40 {
        for side in SIDES {
            pair.assert_alive(side);
            pair.heard = [Vec::new(), Vec::new()];
            let (update, answer) = match round % 2 {
                0 => (KEY_UPDATE, None),
                _ => (KEY_UPDATE_REQUESTED, Some((HANDSHAKE, KEY_UPDATE.to_vec()))),
            };
            pair.say(side, HANDSHAKE, update).unwrap();
            pair.peers[side as usize].renew();
            assert_eq!(
                pair.heard[side as usize],
                Vec::from_iter(answer),
                "the other way has a key of its own"
            );
            assert_eq!(pair.heard[side.other() as usize], [], "nobody else's business");
        }
    }
    // In parts, behind a ticket.
    pair.say(End::Server, HANDSHAKE, &[&ticket(30)[..], &KEY_UPDATE[..2]].concat()).unwrap();
    pair.say(End::Server, HANDSHAKE, &KEY_UPDATE[2..]).unwrap();
    pair.peers[1].renew();
    pair.assert_alive(End::Server);
}

/// A KeyUpdate that is not followed: the next record is sealed with the old key.
#[test]
fn the_old_key_opens_nothing_after_a_key_update() {
    refused(TlsVersion::Tls13, End::Client, BAD_RECORD_MAC, |pair| {
        pair.say(End::Client, HANDSHAKE, KEY_UPDATE).unwrap();
        pair.say(End::Client, DATA, b"old")
    });
}

#[test]
fn malformed_messages_are_refused() {
    for from in SIDES {
        let in_tls13: [(u8, &[u8]); 9] = [
            (UNEXPECTED_MESSAGE, &[]),
            (UNEXPECTED_MESSAGE, &[24, 0, 0, 1, 0, 4]), // something behind a KeyUpdate
            (UNEXPECTED_MESSAGE, &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0]),
            (UNEXPECTED_MESSAGE, HELLO_REQUEST),
            (UNEXPECTED_MESSAGE, &[1, 0, 0, 0]),
            (ILLEGAL_PARAMETER, &[24, 0, 0, 1, 2]),
            (DECODE_ERROR, &[24, 0, 0, 0]),
            (DECODE_ERROR, &[24, 0, 0, 2, 0, 0]),
            (DECODE_ERROR, &[4, 2, 0, 0]), // 128 KB are announced
        ];
        for (alert, bytes) in in_tls13 {
            refused(TlsVersion::Tls13, from, alert, |pair| pair.say(from, HANDSHAKE, bytes));
        }
        for bytes in [&[][..], KEY_UPDATE, &[4, 0, 0, 0], &[20, 0, 0, 0]] {
            refused(TlsVersion::Tls12, from, UNEXPECTED_MESSAGE, |pair| pair.say(from, HANDSHAKE, bytes));
        }
        for version in VERSIONS {
            for bytes in [&[][..], &[2], &[1, 0, 0], &[2, 40, 2, 40]] {
                refused(version, from, DECODE_ERROR, |pair| pair.say(from, ALERT, bytes));
            }
            for bytes in [[0, 0], [3, 0], [3, 40]] {
                refused(version, from, ILLEGAL_PARAMETER, |pair| pair.say(from, ALERT, &bytes));
            }
            // change_cipher_spec, heartbeat, and what is nothing at all.
            for kind in [CHANGE_CIPHER_SPEC, 24, 99] {
                refused(version, from, UNEXPECTED_MESSAGE, |pair| pair.say(from, kind, &[1]));
            }
        }
    }
    // Each is right in the other direction, or in the other version.
    refused(TlsVersion::Tls13, End::Client, UNEXPECTED_MESSAGE, |p| {
        p.say(End::Client, HANDSHAKE, &ticket(30))
    });
    refused(TlsVersion::Tls12, End::Client, UNEXPECTED_MESSAGE, |p| {
        p.say(End::Client, HANDSHAKE, HELLO_REQUEST)
    });
    refused(TlsVersion::Tls12, End::Server, UNEXPECTED_MESSAGE, |p| {
        p.say(End::Server, HANDSHAKE, &[1, 0, 0, 0])
    });
    // Shorter than a ticket can be.
    refused(TlsVersion::Tls13, End::Server, DECODE_ERROR, |p| p.say(End::Server, HANDSHAKE, &ticket(2)));
}

#[test]
fn nothing_comes_between_the_parts_of_a_message() {
    for (kind, bytes) in [(DATA, &b"data"[..]), (DATA, b""), (ALERT, &[1, 0])] {
        refused(TlsVersion::Tls13, End::Server, UNEXPECTED_MESSAGE, |pair| {
            pair.say(End::Server, HANDSHAKE, &[4, 0]).unwrap();
            pair.say(End::Server, kind, bytes)
        });
    }
}

#[test]
fn padding_is_taken_off_and_must_pad_something() {
    let mut pair = Pair::new(TlsVersion::Tls13);
    for (len, padding) in [(1, 1), (100, 16_284), (16_384, 0), (0, 16_384), (5, 255)] {
        // Zeros at the end of the data are data.
        let data = vec![0; len];
        let record = pair.peers[0].seal(DATA, &data, padding);
        pair.heard = [Vec::new(), Vec::new()];
        pair.deliver(End::Client, &record).unwrap();
        let expected = (len > 0).then_some((DATA, data));
        assert_eq!(pair.heard[1], Vec::from_iter(expected), "{len} and {padding}");
    }
    for padding in [0, 1, 1000] {
        refused(TlsVersion::Tls13, End::Client, UNEXPECTED_MESSAGE, |pair| {
            let record = pair.peers[0].seal(0, &[0; 20], padding);
            pair.deliver(End::Client, &record)
        });
    }
}

#[test]
fn what_is_too_long_is_refused_by_its_header() {
    for (version, most) in [(TlsVersion::Tls13, 16_384 + 17), (TlsVersion::Tls12, 16_384 + 24)] {
        let header = |len: usize| [23, 3, 3, (len >> 8) as u8, len as u8];
        refused(version, End::Client, RECORD_OVERFLOW, |p| p.deliver(End::Client, &header(most + 1)));
        let mut pair = Pair::new(version);
        pair.deliver(End::Client, &header(most)).unwrap();
        // Nor is anything but TLS waited for.
        for header in [*b"HTTP/", [23, 3, 1, 0, 30], [23, 2, 3, 0, 30]] {
            refused(version, End::Server, DECODE_ERROR, |p| p.deliver(End::Server, &header));
        }
        // Shorter than a tag.
        refused(version, End::Client, BAD_RECORD_MAC, |p| p.deliver(End::Client, &[23, 3, 3, 0, 2, 1, 1]));
        refused(version, End::Client, BAD_RECORD_MAC, |p| p.deliver(End::Client, &[23, 3, 3, 0, 0]));
    }
}

#[test]
fn what_is_not_protected_is_refused() {
    for plain in
        [&[ALERT, 3, 3, 0, 2, 1, 0][..], &[ALERT, 3, 3, 0, 2, 2, 40], &[CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1]]
    {
        for from in SIDES {
            refused(TlsVersion::Tls13, from, UNEXPECTED_MESSAGE, |pair| pair.deliver(from, plain));
            refused(TlsVersion::Tls12, from, BAD_RECORD_MAC, |pair| pair.deliver(from, plain));
        }
    }
}

#[test]
fn records_replayed_left_out_or_turned_round_are_refused() {
    for version in VERSIONS {
        for order in [&[0, 0][..], &[1], &[0, 2], &[0, 1, 0]] {
            let mut pair = Pair::new(version);
            let records: Vec<_> = (0..3u8).map(|n| pair.peers[0].seal(DATA, &[n], 0)).collect();
            let (last, good) = order.split_last().unwrap();
            for &at in good {
                pair.deliver(End::Client, &records[at]).unwrap();
            }
            assert_eq!(pair.deliver(End::Client, &records[*last]), Err(protocol(End::Client)), "{order:?}");
            assert_eq!(pair.inspected.len(), good.len());
        }
        // What one end was told, told back to the engine.
        let mut pair = Pair::new(version);
        let record = pair.peers[0].seal(DATA, b"mine", 0);
        assert_eq!(pair.deliver(End::Server, &record), Err(protocol(End::Server)));
    }
}

#[test]
fn renegotiation_is_declined_and_not_for_ever() {
    for (from, asks) in [(End::Server, HELLO_REQUEST.to_vec()), (End::Client, message(1, &[5; 300]))] {
        let mut pair = Pair::new(TlsVersion::Tls12);
        for _ in 0..3 {
            pair.say(from, HANDSHAKE, &asks).unwrap();
            assert_eq!(pair.heard[from as usize], [(ALERT, vec![1, NO_RENEGOTIATION])]);
            assert_eq!(pair.heard[from.other() as usize], [], "nobody else's business");
            pair.assert_alive(from);
            pair.assert_alive(from.other());
            pair.heard = [Vec::new(), Vec::new()];
        }
        let refused = (0..40).find_map(|n| pair.say(from, HANDSHAKE, &asks).err().map(|error| (n, error)));
        assert_eq!(refused, Some((32, protocol(from))));
    }
}

/// An alert of the server is about the certificate that it has not got if it has asked for one, or for the renegotiation by which
/// TLS 1.2 does, and has sent no data since; and certificate_required always is.
#[test]
fn servers_that_miss_a_client_certificate() {
    let misses = |pair: &mut Pair, number: u8| {
        let error = pair.say(End::Server, ALERT, &[2, number]).unwrap_err();
        assert_eq!(error.alert, Some(number));
        match error.reason {
            Reason::ServerRequiresClientCert => true,
            Reason::ServerAlert => false,
            other => panic!("{other:?}"),
        }
    };
    for version in VERSIONS {
        for number in [HANDSHAKE_FAILURE, BAD_CERTIFICATE, ACCESS_DENIED, CERTIFICATE_REQUIRED] {
            assert!(misses(&mut Pair::asked(version), number), "{version:?} {number}");
            assert_eq!(misses(&mut Pair::new(version), number), number == CERTIFICATE_REQUIRED);
            let mut served = Pair::asked(version);
            served.say(End::Server, DATA, b"welcome").unwrap();
            assert_eq!(misses(&mut served, number), number == CERTIFICATE_REQUIRED);
        }
        assert!(!misses(&mut Pair::asked(version), INTERNAL_ERROR));
        // Clients ask for none.
        let error = Pair::new(version).say(End::Client, ALERT, &[2, CERTIFICATE_REQUIRED]).unwrap_err();
        assert_eq!(error.reason, Reason::ClientAlert);
    }
    let mut renegotiating = Pair::new(TlsVersion::Tls12);
    renegotiating.say(End::Server, HANDSHAKE, HELLO_REQUEST).unwrap();
    assert!(misses(&mut renegotiating, HANDSHAKE_FAILURE));
    let mut content = Pair::new(TlsVersion::Tls12);
    content.say(End::Server, HANDSHAKE, HELLO_REQUEST).unwrap();
    content.say(End::Server, DATA, b"never mind").unwrap();
    assert!(!misses(&mut content, HANDSHAKE_FAILURE));
}

/// Nobody has told the server that it may (RFC 8446 4.6.2).
#[test]
fn post_handshake_authentication_is_refused_by_name() {
    let mut pair = Pair::new(TlsVersion::Tls13);
    let demand = message(13, &[1, 7, 0, 6, 0, 13, 0, 4, 0, 2, 4, 3]);
    let error = RelayError { reason: Reason::ServerRequiresClientCert, alert: None };
    assert_eq!(pair.say(End::Server, HANDSHAKE, &demand), Err(error));
    assert_eq!(pair.heard, [vec![], vec![(ALERT, vec![2, UNEXPECTED_MESSAGE])]]);
    // From a client, and in TLS 1.2, it is a message as wrong as any.
    assert_eq!(Pair::new(TlsVersion::Tls13).say(End::Client, HANDSHAKE, &demand), Err(protocol(End::Client)));
    assert_eq!(Pair::new(TlsVersion::Tls12).say(End::Server, HANDSHAKE, &demand), Err(protocol(End::Server)));
}

/// Each kind of record without data is bounded, and so are all of them together.
#[test]
fn records_without_data_end_somewhere() {
    for (version, kind, bytes) in [
        (TlsVersion::Tls13, DATA, &b""[..]),
        (TlsVersion::Tls12, DATA, b""),
        (TlsVersion::Tls13, ALERT, &[1, USER_CANCELED]),
        (TlsVersion::Tls12, ALERT, &[1, NO_RENEGOTIATION]),
        (TlsVersion::Tls13, HANDSHAKE, KEY_UPDATE),
        (TlsVersion::Tls13, HANDSHAKE, KEY_UPDATE_REQUESTED),
    ] {
        let mut pair = Pair::new(version);
        let say = |pair: &mut Pair| {
            let result = pair.say(End::Server, kind, bytes);
            if bytes.first() == Some(&24) {
                pair.peers[1].renew();
            }
            result
        };
        for _ in 0..32 {
            say(&mut pair).unwrap();
        }
        pair.assert_alive(End::Server);
        let refused = (0..40).find_map(|n| say(&mut pair).err().map(|error| (n, error)));
        assert_eq!(refused, Some((32, protocol(End::Server))), "{kind} {bytes:?}");
    }
}

#[test]
fn half_closed_both_ways_and_nothing_after_it_counts() {
    for (version, first) in VERSIONS.into_iter().flat_map(|version| SIDES.map(|side| (version, side))) {
        let mut pair = Pair::new(version);
        let second = first.other();
        pair.say(first, DATA, b"all").unwrap();
        pair.say(first, ALERT, &[1, 0]).unwrap();
        assert_eq!(pair.heard[second as usize], [(DATA, b"all".to_vec()), (ALERT, vec![1, 0])]);
        assert!(pair.closed[first as usize] && !pair.closed[second as usize]);
        pair.assert_alive(second);
        pair.heard = [Vec::new(), Vec::new()];
        pair.say(first, DATA, b"more").unwrap();
        pair.deliver(first, b"not even a record").unwrap();
        assert_eq!(pair.heard[second as usize], []);
        pair.say(second, ALERT, &[1, 0]).unwrap();
        assert_eq!(pair.heard[first as usize], [(ALERT, vec![1, 0])]);
        assert_eq!((pair.closed, pair.inspected.as_slice()), ([true; 2], &b"allstill there"[..]));
    }
}

/// Who has been told that nothing more comes gets no KeyUpdate either.
#[test]
fn nothing_follows_a_close_notify_of_ours() {
    let mut pair = Pair::new(TlsVersion::Tls13);
    pair.say(End::Client, ALERT, &[1, 0]).unwrap();
    pair.heard = [Vec::new(), Vec::new()];
    pair.say(End::Server, HANDSHAKE, KEY_UPDATE_REQUESTED).unwrap();
    pair.peers[1].renew();
    assert_eq!(pair.heard[1], []);
    pair.assert_alive(End::Server);
    assert_eq!(pair.say(End::Server, DATA, &[]), Ok(()));
    let garbage = [23, 3, 3, 0, 30].into_iter().chain([0; 30]).collect::<Vec<u8>>();
    pair.heard = [Vec::new(), Vec::new()];
    assert_eq!(pair.deliver(End::Server, &garbage), Err(protocol(End::Server)));
    assert_eq!(pair.heard[1], [], "an alert behind a close_notify");
}

#[test]
fn warnings_are_for_nobody_and_fatal_alerts_for_the_other_end() {
    for version in VERSIONS {
        let warning = if version == TlsVersion::Tls13 { USER_CANCELED } else { NO_RENEGOTIATION };
        for from in SIDES {
            let mut pair = Pair::new(version);
            pair.say(from, ALERT, &[1, warning]).unwrap();
            assert_eq!(pair.heard, [[], []]);
            pair.assert_alive(from);
            let reason = if from == End::Client { Reason::ClientAlert } else { Reason::ServerAlert };
            let error = RelayError { reason, alert: Some(HANDSHAKE_FAILURE) };
            // In TLS 1.3 the level says nothing (RFC 8446 6).
            let level = if version == TlsVersion::Tls13 { 1 } else { 2 };
            assert_eq!(pair.say(from, ALERT, &[level, HANDSHAKE_FAILURE]), Err(error));
            assert_eq!(pair.heard[from.other() as usize][1..], [(ALERT, vec![2, HANDSHAKE_FAILURE])]);
            assert_eq!((&pair.heard[from as usize][..], pair.closed), (&[][..], [false; 2]));
        }
    }
}

/// OpenSSL takes any number of tickets; no client could ask for more than 255 (RFC 9149). Each may come in some pieces.
#[test]
fn many_tickets_in_a_row_are_taken() {
    for pieces in [1, 3] {
        let mut pair = Pair::new(TlsVersion::Tls13);
        let say = |pair: &mut Pair| {
            let ticket = ticket(60);
            ticket
                .chunks(ticket.len().div_ceil(pieces))
                .try_for_each(|part| pair.say(End::Server, HANDSHAKE, part))
        };
        for _ in 0..2 {
            (0..255).for_each(|_| say(&mut pair).unwrap());
            pair.assert_alive(End::Server);
        }
        let refused = (0..300).find_map(|n| say(&mut pair).err().map(|error| (n, error)));
        assert_eq!(refused, Some((255, protocol(End::Server))));
    }
    // Tickets do not make room for anything else.
    let mut pair = Pair::new(TlsVersion::Tls13);
    let refused = (0..100).find_map(|n| {
        let warned = pair.say(End::Server, ALERT, &[1, USER_CANCELED]);
        warned.and_then(|()| pair.say(End::Server, HANDSHAKE, &ticket(60))).err().map(|error| (n, error))
    });
    assert_eq!(refused, Some((31, protocol(End::Server))));
    // Nor do many in one record.
    let several: Vec<u8> = (0..100).flat_map(|_| ticket(60)).collect();
    let mut pair = Pair::new(TlsVersion::Tls13);
    assert_eq!((0..2).try_for_each(|_| pair.say(End::Server, HANDSHAKE, &several)), Ok(()));
    assert_eq!(pair.say(End::Server, HANDSHAKE, &several), Err(protocol(End::Server)));
}

/// RFC 8446 5.3, RFC 5246 6.1: a number is never used again.
#[test]
fn sequence_numbers_do_not_wrap() {
    for version in VERSIONS {
        let mut peer = Peer::new(version, SUITES[2], 3);
        peer.begin_at(u64::MAX - 1);
        let other = Peer::new(version, SUITES[2], 7);
        let relay = FedRelay::new(Relay::new(peer.leg(), other.leg(), None, PerEnd::default()).unwrap());
        let mut pair = Pair { peers: [peer, other], relay, ..Pair::new(version) };
        pair.say(End::Client, DATA, b"last but one").unwrap();
        pair.say(End::Client, DATA, b"last").map(drop).unwrap_err();
        assert_eq!(pair.inspected, b"last but one");
        // Our own end before that: with another key, or not at all.
        let mut peer = Peer::new(version, SUITES[2], 3);
        peer.hear_from(u64::MAX - 3);
        let other = Peer::new(version, SUITES[2], 7);
        let relay = FedRelay::new(Relay::new(peer.leg(), other.leg(), None, PerEnd::default()).unwrap());
        let mut pair = Pair { peers: [peer, other], relay, ..Pair::new(version) };
        let error = (0..8).find_map(|_| pair.say(End::Server, DATA, b"x").err());
        let used_up = RelayError { reason: Reason::KeysUsedUp, alert: None };
        assert_eq!(error, (version == TlsVersion::Tls12).then_some(used_up));
        let (kind, bytes) =
            if version == TlsVersion::Tls13 { (HANDSHAKE, KEY_UPDATE) } else { (ALERT, &[2, 80][..]) };
        assert!(pair.heard[0].contains(&(kind, bytes.to_vec())));
    }
}

/// Both ends are told that it was not their fault, with the last record of each key; and an end in order still fits.
#[test]
fn used_up_keys_of_tls12_leave_room_for_the_last_words() {
    let mut pair = Pair::new(TlsVersion::Tls12);
    pair.relay.limit_keys(3);
    pair.say(End::Client, DATA, b"1").unwrap();
    pair.say(End::Client, DATA, b"2").unwrap();
    let error = pair.say(End::Client, DATA, b"3");
    assert_eq!(error, Err(RelayError { reason: Reason::KeysUsedUp, alert: None }));
    assert_eq!(
        pair.heard.each_ref().map(|heard| heard.last().unwrap().clone()),
        [(); 2].map(|()| (ALERT, vec![2, INTERNAL_ERROR]))
    );
    let mut pair = Pair::new(TlsVersion::Tls12);
    pair.relay.limit_keys(3);
    pair.say(End::Client, DATA, b"1").unwrap();
    pair.say(End::Client, DATA, b"2").unwrap();
    pair.say(End::Client, ALERT, &[1, 0]).unwrap();
    assert_eq!(pair.heard[1].last().unwrap(), &(ALERT, vec![1, 0]));
}

/// What came during the handshakes ends within a record, and the rest of that comes later: nothing waits for a further call.
#[test]
fn what_came_early_goes_on_with_what_comes() {
    for version in VERSIONS {
        for cut in [0, 1, 4, 5, 6, 60, 61, 150, 200, 295] {
            let (mut client, mut server) =
                (Peer::new(version, SUITES[0], 3), Peer::new(version, SUITES[1], 7));
            let legs = (client.leg(), server.leg());
            let wire: Vec<u8> = (0..4u8).flat_map(|n| server.seal(DATA, &[n; 40], 0)).collect();
            let (early, rest) = wire.split_at(cut.min(wire.len()));
            let mut relay =
                Relay::new(legs.0, legs.1, None, PerEnd { client: Vec::new(), server: early.to_vec() })
                    .unwrap();
            let mut out = Collected::default();
            assert_eq!(relay.relay(End::Server, rest, usize::MAX, &mut out), Ok(rest.len()), "{cut}");
            let said: Vec<u8> = (0..4).flat_map(|n| [n; 40]).collect();
            let heard: Vec<u8> = out.0.iter().flat_map(|record| client.open(record).bytes).collect();
            let legs = (client.leg(), server.leg());
            let idle = Relay::new(legs.0, legs.1, None, PerEnd::default()).unwrap();
            assert_eq!((heard, relay.held()), (said, idle.held()), "{cut}");
        }
    }
}

/// Records, as they leave.
#[derive(Default)]
struct Collected(Vec<Vec<u8>>);

impl wireglass_core::tls::RecordSink for Collected {
    type Block = Vec<u8>;

    fn block(&mut self, len: usize) -> Vec<u8> {
        vec![0xee; len]
    }

    fn plaintext(&mut self, _: End, _: &[u8]) -> Fate {
        Fate::Pass
    }

    fn send(&mut self, to: End, block: Vec<u8>, len: usize) {
        assert_eq!(to, End::Client);
        self.0.push(block[..len].to_vec());
    }

    fn is_behind(&self, _: End) -> bool {
        false
    }
}

/// What came early is held until the first call, and a message in part until the rest comes.
#[test]
fn what_is_held_counts() {
    for version in VERSIONS {
        let (client, server) = (Peer::new(version, SUITES[0], 3), Peer::new(version, SUITES[1], 7));
        let idle = Relay::new(client.leg(), server.leg(), None, PerEnd::default()).unwrap().held();
        let early = PerEnd { client: vec![0; 3_000], server: vec![0; 20_000] };
        let relay = Relay::new(client.leg(), server.leg(), Some(vec![b'h'; 100].into()), early).unwrap();
        assert!(relay.held() >= idle + 23_100, "{} after {idle}", relay.held());
    }
    let mut pair = Pair::new(TlsVersion::Tls13);
    let before = pair.relay.held();
    // A ticket of 1,000 bytes, of which half is here.
    pair.say(End::Server, HANDSHAKE, &[&[4, 0, 0x03, 0xe8][..], &[0; 500]].concat()).unwrap();
    assert!(pair.relay.held() >= before + 504, "{} after {before}", pair.relay.held());
}
