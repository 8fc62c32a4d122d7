//! Clients and servers that try to talk past the engine: segments that it sees and the other end does not, resets and
//! SYNs at the wrong time, numbers that come again. Told frame by frame, as no decent TCP would do it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use smoltcp::wire::{Ipv4Packet, TcpSeqNumber};
use support::fragments::cut;
use support::frames::TcpFrame;
use support::lab::{Lab, NAME, Setup};
use support::raw::{RawSegment, hello};
use support::rules::{Action, Rules};
use wireglass::simulate::Engine;
use wireglass_core::flow::{Midstream, OutsideTls};
use wireglass_core::reason::PacketDrop;
use wireglass_testbed::{Duration, Instant, Middle, PortSide};

const CLIENT: u32 = 1_000;
const SERVER: u32 = 70_000;
const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;
const FIN: u8 = 0x11;
const RST: u8 = 0x04;
const URG: u8 = 0x30;

/// A segment to be; `..from_client()` or `..from_server()` says the rest.
#[derive(Clone)]
struct Segment {
    to_server: bool,
    ttl: u8,
    vlan: Option<u16>,
    flags: u8,
    seq: u32,
    ack: u32,
    payload: Vec<u8>,
    client_port: u16,
}

fn from_client() -> Segment {
    let (seq, ack) = (CLIENT + 1, SERVER + 1);
    Segment {
        to_server: true,
        ttl: 64,
        vlan: None,
        flags: ACK,
        seq,
        ack,
        payload: Vec::new(),
        client_port: 50_000,
    }
}

fn from_server() -> Segment {
    Segment { to_server: false, seq: SERVER + 1, ack: CLIENT + 1, ..from_client() }
}

impl Segment {
    fn port(&self) -> PortSide {
        if self.to_server { PortSide::Inside } else { PortSide::Outside }
    }

    fn frame(&self) -> Vec<u8> {
        let Self { to_server, flags, seq, ack, client_port, .. } = *self;
        let raw = RawSegment::from_client([10, 0, 0, 1], client_port);
        let mut frame =
            RawSegment { to_server, flags, seq, ack, payload: self.payload.clone(), ..raw }.frame();
        let mut ip = Ipv4Packet::new_unchecked(&mut frame[14..]);
        ip.set_hop_limit(self.ttl);
        ip.fill_checksum();
        if let Some(id) = self.vlan {
            frame.splice(12..12, [[0x81, 0], id.to_be_bytes()].concat());
        }
        frame
    }
}

/// The engine alone, and a clock.
struct Wire {
    engine: Engine,
    now: Instant,
}

impl Wire {
    fn new(setup: &Setup) -> Self {
        Self { engine: Lab::new().engine(setup).0, now: Instant::ZERO }
    }

    /// Sends one segment, and gives what leaves the engine for the server.
    fn send(&mut self, segment: Segment) -> Vec<TcpFrame> {
        self.send_both(segment).1
    }

    /// Likewise, for the client and for the server.
    fn send_both(&mut self, segment: Segment) -> (Vec<TcpFrame>, Vec<TcpFrame>) {
        self.engine.receive(self.now, segment.port(), segment.frame());
        self.wait(Duration::from_micros(100))
    }

    fn wait(&mut self, time: Duration) -> (Vec<TcpFrame>, Vec<TcpFrame>) {
        self.now += time;
        self.engine.poll(self.now);
        let out: Vec<_> = std::iter::from_fn(|| self.engine.transmit()).collect();
        let to = |port: PortSide| {
            let frames = out.iter().filter(move |(p, _)| *p == port);
            frames.map(|(_, frame)| TcpFrame::parse(frame).unwrap()).collect()
        };
        (to(PortSide::Inside), to(PortSide::Outside))
    }

    fn shake_hands(&mut self) {
        assert_eq!(self.send(Segment { flags: SYN, seq: CLIENT, ack: 0, ..from_client() }).len(), 1);
        self.send(Segment { flags: SYN_ACK, seq: SERVER, ..from_server() });
        assert_eq!(self.send(from_client()).len(), 1);
    }
}

/// None of them carries payload; it is not asked what they are otherwise.
#[track_caller]
fn assert_no_payload(frames: &[TcpFrame]) {
    assert!(frames.iter().all(|frame| frame.payload().is_empty()), "bytes of the client have left");
}

/// A RST among them that the other end takes: at exactly this number (RFC 5961 3.2), and alive when it arrives.
#[track_caller]
fn assert_reset(frames: &[TcpFrame], seq: u32) {
    let fits = |frame: &TcpFrame| {
        let tcp = frame.tcp();
        tcp.rst() && tcp.seq_number() == TcpSeqNumber(seq as i32) && frame.hops() >= 32
    };
    assert!(frames.iter().any(fits), "no RST at {seq} among {} frames", frames.len());
}

/// The client's hello does not reach the server. The engine's own may: then the flow is decrypted.
#[track_caller]
fn assert_client_gets_nothing_through(wire: &mut Wire) {
    assert_held_back(wire, Segment { payload: hello("secret.example.com"), ..from_client() });
}

#[track_caller]
fn assert_held_back(wire: &mut Wire, segment: Segment) {
    let out = wire.send(segment.clone());
    assert!(out.iter().all(|frame| frame.payload() != segment.payload), "the client's own bytes have left");
}

/// This handshake is of a connection that is looked at.
#[track_caller]
fn assert_begins_a_flow(wire: &mut Wire, syn: Segment, syn_ack: Segment) {
    let ack = Segment { seq: syn.seq + 1, ack: syn_ack.seq + 1, ..from_client() };
    assert_eq!(wire.send(syn).len(), 1);
    assert_eq!(wire.send_both(syn_ack).0.len(), 1);
    wire.send(ack.clone());
    assert_held_back(wire, Segment { payload: hello("secret.example.com"), ..ack });
}

#[test]
fn a_reset_that_dies_on_its_way_to_the_server() {
    let mut wire = Wire::new(&Setup::default());
    wire.shake_hands();
    let out = wire.send(Segment { flags: RST, ttl: 1, ..from_client() });
    assert_reset(&out, CLIENT + 1);
    assert_client_gets_nothing_through(&mut wire);
}

#[test]
fn a_reset_before_the_server_has_answered() {
    let mut wire = Wire::new(&Setup::default());
    wire.send(Segment { flags: SYN, seq: CLIENT, ack: 0, ..from_client() });
    wire.send(Segment { flags: RST, ttl: 1, ..from_client() });
    wire.send(Segment { flags: SYN_ACK, seq: SERVER, ..from_server() });
    wire.send(from_client());
    assert_client_gets_nothing_through(&mut wire);
}

#[test]
fn a_reset_that_dies_on_its_way_to_the_client() {
    let reset = Segment { flags: RST, ttl: 1, ..from_server() };
    let mut wire = Wire::new(&Setup::default());
    wire.shake_hands();
    assert_reset(&wire.send_both(reset.clone()).0, SERVER + 1);
    assert_client_gets_nothing_through(&mut wire);

    // While half of a hello is held.
    let hello = hello(NAME);
    let mut wire = Wire::new(&Setup::default());
    wire.shake_hands();
    wire.send(Segment { payload: hello[..100].to_vec(), ..from_client() });
    let (to_client, to_server) = wire.send_both(reset);
    assert_reset(&to_client, SERVER + 1);
    assert_reset(&to_server, CLIENT + 1);

    // Instead of a SYN-ACK, which follows.
    let mut wire = Wire::new(&Setup::default());
    wire.send(Segment { flags: SYN, seq: CLIENT, ack: 0, ..from_client() });
    wire.send(Segment { flags: RST | ACK, seq: 0, ttl: 1, ..from_server() });
    let (to_client, _) = wire.send_both(Segment { flags: SYN_ACK, seq: SERVER, ..from_server() });
    assert!(to_client.is_empty(), "a SYN-ACK after the RST");
}

/// What is refused is refused for good: the RST arrives, and whoever ignores it is told again.
#[test]
fn a_refusal_reaches_the_server_whatever_the_client_does() {
    for ttl in [64, 1] {
        let mut wire = Wire::new(&Setup::default());
        wire.shake_hands();
        assert_reset(
            &wire.send(Segment { ttl, payload: b"GET / HTTP/1.1".to_vec(), ..from_client() }),
            CLIENT + 1,
        );
        assert_client_gets_nothing_through(&mut wire);
        // The server has lost the RST, and speaks up.
        let (_, to_server) = wire.send_both(Segment { ack: CLIENT + 7, ..from_server() });
        assert_reset(&to_server, CLIENT + 7);
    }
}

/// Headers that would lead the engine's RST astray: another next hop, and the server's address as its own.
#[test]
fn a_refusal_goes_where_the_connection_goes() {
    let garbage = Segment { payload: b"GET / HTTP/1.1".to_vec(), ..from_client() }.frame();
    let mut elsewhere = garbage.clone();
    elsewhere[5] ^= 0x40;
    let spoofed = Segment { to_server: false, payload: b"GET / HTTP/1.1".to_vec(), ..from_client() }.frame();
    for frame in [elsewhere, spoofed] {
        let mut wire = Wire::new(&Setup::default());
        wire.shake_hands();
        wire.engine.receive(wire.now, PortSide::Inside, frame);
        assert!(wire.wait(Duration::from_millis(1)).1.is_empty(), "dropped");
        wire.engine.receive(wire.now, PortSide::Inside, garbage.clone());
        let (_, to_server) = wire.wait(Duration::from_millis(1));
        assert_reset(&to_server, CLIENT + 1);
        let out = to_server.iter().find(|frame| frame.tcp().rst()).unwrap();
        assert_eq!((out.source_port(), out.next_hop()), (50_000, &garbage[..6]));
    }
}

/// A FIN that the server never gets: the numbers that the engine would go on with are not the server's.
#[test]
fn data_after_a_fin() {
    let mut wire = Wire::new(&Setup::default());
    wire.shake_hands();
    wire.send(Segment { flags: FIN, ttl: 1, ..from_client() });
    assert_client_gets_nothing_through(&mut wire);
    // The flow is watched to its end, which is the server's too.
    assert_reset(&wire.wait(Duration::from_secs(3_601)).1, CLIENT + 1);
}

/// A client that fills the table has its own silent connection thrown out of it.
#[test]
fn eviction_resets_a_connection_that_stands() {
    let mut wire = Wire::new(&Setup { flows: 4, ..Setup::default() });
    wire.shake_hands();
    let mut to_server = Vec::new();
    for n in 0..4 {
        let flood = Segment { flags: SYN, seq: 5, ack: 0, client_port: 50_001 + n, ..from_client() };
        to_server.extend(wire.send(flood));
    }
    assert_reset(&to_server, CLIENT + 1);
}

#[test]
fn silence_resets_a_connection_that_stands() {
    let mut wire = Wire::new(&Setup::default());
    wire.shake_hands();
    let (to_client, to_server) = wire.wait(Duration::from_secs(3_601));
    assert_reset(&to_server, CLIENT + 1);
    assert_reset(&to_client, SERVER + 1);
}

/// A hello with a name that is bypassed, which the server does not take, then another one at the same place.
#[test]
fn a_bypassed_hello_cannot_be_replaced() {
    let setup = Setup { rules: Rules::by_name(Action::Bypass), ..Setup::default() };
    let decoy = hello(NAME);
    for ttl in [1, 64] {
        let mut wire = Wire::new(&setup);
        wire.shake_hands();
        let decoy_segment = Segment { ttl, payload: decoy.clone(), ..from_client() };
        assert_eq!(wire.send(decoy_segment.clone()).len(), 1, "bypassed");
        assert_client_gets_nothing_through(&mut wire);
        // Nor a part of it, nor behind a few bytes that were there before, nor with the urgent pointer.
        let mut other = decoy[100..].to_vec();
        other[20] ^= 1;
        assert_no_payload(&wire.send(Segment { seq: CLIENT + 101, payload: other, ..from_client() }));
        assert_no_payload(&wire.send(Segment { seq: CLIENT, payload: vec![0, 0], ..from_client() }));
        assert_no_payload(&wire.send(Segment { flags: URG, ..decoy_segment.clone() }));
        // The same again is a repetition; and when the server has it, all goes by.
        assert_eq!(wire.send(decoy_segment).len(), 1, "repeated");
        let end = CLIENT + 1 + decoy.len() as u32;
        wire.send_both(Segment { ack: end, ..from_server() });
        assert_eq!(wire.send(Segment { seq: end, payload: vec![7; 100], ..from_client() }).len(), 1);
    }
}

/// A server's first words, which a name decides on or not: its ServerHello has this random.
fn server_hello(random: [u8; 32]) -> Vec<u8> {
    [&[22, 3, 3, 0, 58, 2, 0, 0, 54, 3, 3][..], &random, &[0; 20]].concat()
}

const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// A bypassed flow whose server has answered with this random, and where the client goes on.
fn answered(random: [u8; 32]) -> (Wire, u32) {
    let mut wire = Wire::new(&Setup { rules: Rules::by_name(Action::Bypass), ..Setup::default() });
    wire.shake_hands();
    let first = hello(NAME);
    assert_eq!(wire.send(Segment { payload: first.clone(), ..from_client() }).len(), 1, "bypassed");
    let next = CLIENT + 1 + first.len() as u32;
    let answer = Segment { ack: next, payload: server_hello(random), ..from_server() };
    assert_eq!(wire.send_both(answer).0.len(), 1);
    (wire, next)
}

/// A server that asks for a second hello goes by the name in that: OpenSSL's do.
#[test]
fn a_second_hello_with_another_name() {
    const CCS: [u8; 6] = [20, 3, 3, 0, 1, 1];
    let other = hello("secret.example.com");
    let say = |wire: &mut Wire, seq, payload: &[u8]| {
        wire.send(Segment { seq, payload: payload.to_vec(), ..from_client() }).len()
    };
    for before in [&[][..], &CCS, &[22, 3, 3, 0, 0]] {
        let (mut wire, next) = answered(RETRY);
        let all = [before, &other].concat();
        assert_eq!(say(&mut wire, next, &all), 0, "{before:?}");
        // In pieces, of which a later one comes first: never all of it.
        let (mut wire, next) = answered(RETRY);
        assert_eq!(say(&mut wire, next + 100, &all[100..]), 0, "behind a gap");
        let passed: usize =
            all.chunks(50).enumerate().map(|(n, piece)| say(&mut wire, next + 50 * n as u32, piece)).sum();
        assert!(passed < all.chunks(50).count(), "{passed}");
        assert_eq!(say(&mut wire, next, &all), 0);
    }
    // With the first one, and where its end was there before it.
    let first = hello(NAME);
    let both = [&first[..], &other].concat();
    let tail = both.len() - 100;
    for cut in [0, first.len(), first.len() + 20] {
        let mut wire = Wire::new(&Setup { rules: Rules::by_name(Action::Bypass), ..Setup::default() });
        wire.shake_hands();
        let mut passed = 0;
        for piece in [tail..both.len(), 0..cut, cut..tail].into_iter().filter(|piece| !piece.is_empty()) {
            let (seq, payload) = (CLIENT + 1 + piece.start as u32, both[piece].to_vec());
            let sent = wire.send(Segment { seq, payload, ..from_client() });
            passed += sent.iter().map(|frame| frame.payload().len()).sum::<usize>();
        }
        assert!(passed <= tail, "{cut}: {passed}");
    }
    // The same again; what is no hello; a server that wants none.
    let (mut wire, next) = answered(RETRY);
    let same = [&CCS[..], &hello(NAME)].concat();
    assert_eq!((say(&mut wire, next, &same), say(&mut wire, next + same.len() as u32, &[23; 40])), (1, 1));
    let (mut wire, next) = answered(RETRY);
    assert_eq!(say(&mut wire, next, &[23, 3, 3, 0, 1, 0]), 1);
    let (mut wire, next) = answered([7; 32]);
    assert_eq!((say(&mut wire, next + 500, &[23; 40]), say(&mut wire, next, &[22; 40])), (1, 1));
}

/// Where the bytes are relayed, as the client's frames could not be released, neither.
#[test]
fn a_second_hello_over_tcp() {
    for name in ["secret.example.com", NAME] {
        let mut wire = Wire::new(&Setup { rules: Rules::by_name(Action::Bypass), ..Setup::default() });
        wire.shake_hands();
        let (first, second) = (hello(NAME), hello(name));
        let begin = Segment { payload: first[..100].to_vec(), ..from_client() };
        wire.send(begin.clone());
        wire.send(begin);
        let rest = Segment { seq: CLIENT + 101, payload: first[100..].to_vec(), ..from_client() };
        let mut out = wire.send(rest);
        let next = CLIENT + 1 + first.len() as u32;
        wire.send_both(Segment { ack: next, payload: server_hello(RETRY), ..from_server() });
        let ack = SERVER + 1 + server_hello(RETRY).len() as u32;
        out.extend(wire.send(Segment { seq: next, ack, payload: second.clone(), ..from_client() }));
        let bytes: usize = out.iter().map(|frame| frame.payload().len()).sum();
        let expected = if name == NAME { first.len() + second.len() } else { first.len() };
        assert_eq!(bytes, expected, "{name}");
    }
}

/// A server takes no segment without ACK, or with one of something that it has not said: neither does the engine.
#[test]
fn a_hello_that_no_server_would_take() {
    let setup = Setup { rules: Rules::by_name(Action::Bypass), ..Setup::default() };
    let mut wire = Wire::new(&setup);
    wire.shake_hands();
    let decoy = Segment { payload: hello(NAME), ..from_client() };
    assert_no_payload(&wire.send(Segment { flags: 0, ..decoy.clone() }));
    assert_no_payload(&wire.send(Segment { ack: SERVER + 2, ..decoy.clone() }));
    assert_eq!(wire.send(decoy).len(), 1, "bypassed");
}

/// A byte that the urgent pointer takes out of the stream makes two hellos of one.
#[test]
fn urgent_bytes_in_a_hello() {
    let mut wire = Wire::new(&Setup { rules: Rules::by_name(Action::Bypass), ..Setup::default() });
    wire.shake_hands();
    assert_no_payload(&wire.send(Segment { flags: URG, payload: hello(NAME), ..from_client() }));
}

/// A second connection between the same ports does not inherit the first one's bypass.
#[test]
fn a_bypass_ends_with_its_connection() {
    let mut wire = Wire::new(&Setup { rules: Rules::by_name(Action::Bypass), ..Setup::default() });
    wire.shake_hands();
    assert_eq!(wire.send(Segment { payload: hello(NAME), ..from_client() }).len(), 1, "bypassed");
    // The server has forgotten the connection, and the engine has not seen it.
    let syn = Segment { flags: SYN, seq: 9_000, ack: 0, ..from_client() };
    let syn_ack = Segment { flags: SYN_ACK, seq: 40, ack: 9_001, ..from_server() };
    wire.send(syn.clone());
    assert!(
        wire.send_both(syn_ack.clone()).0.is_empty(),
        "the first answer only shows that there is a new one"
    );
    assert_begins_a_flow(&mut wire, syn, syn_ack);
}

/// With `not_tls = "bypass"`: what OpenSSL, GnuTLS or Go would find a hello in is TLS, however it begins.
#[test]
fn a_hello_that_does_not_look_like_one() {
    let outside_tls = OutsideTls { bypass_not_tls: true, ..OutsideTls::default() };
    let setup = Setup { outside_tls, ..Setup::default() };
    let good = hello("secret.example.com");
    let ssl_2 = vec![0x80, 0x2e, 1, 3, 3, 0, 3];
    let behind = |record: &[u8]| [record, &good].concat();
    let odd_version = [&[22, 2, 0][..], &good[3..]].concat();
    let warned = behind(&[21, 3, 1, 0, 2, 1, 100]);
    for payload in [behind(&[22, 3, 1, 0, 0]), behind(&[20, 3, 3, 0, 1, 1]), warned, ssl_2, odd_version] {
        let mut wire = Wire::new(&setup);
        wire.shake_hands();
        assert_no_payload(&wire.send(Segment { payload: payload.clone(), ..from_client() }));
        // Nor where its first byte comes alone.
        let mut wire = Wire::new(&setup);
        wire.shake_hands();
        assert_no_payload(&wire.send(Segment { payload: payload[..1].to_vec(), ..from_client() }));
        let rest = Segment { seq: CLIENT + 2, payload: payload[1..].to_vec(), ..from_client() };
        assert_no_payload(&wire.send(rest));
    }
    let mut wire = Wire::new(&setup);
    wire.shake_hands();
    assert_eq!(wire.send(Segment { payload: b"GET / HTTP/1.1\r\n".to_vec(), ..from_client() }).len(), 1);
}

/// With `not_tls = "bypass"`: a hello that is broken off is still no reason to let the rest of it pass.
#[test]
fn a_hello_that_is_broken_off_by_a_fin() {
    let outside_tls = OutsideTls { bypass_not_tls: true, ..OutsideTls::default() };
    let mut wire = Wire::new(&Setup { outside_tls, ..Setup::default() });
    wire.shake_hands();
    let hello = hello(NAME);
    assert_no_payload(&wire.send(Segment { flags: FIN, payload: hello[..50].to_vec(), ..from_client() }));
    let rest = Segment { seq: CLIENT + 51, payload: hello[50..].to_vec(), ..from_client() };
    assert_no_payload(&wire.send(rest));

    // A server's FIN that the client never gets.
    let mut wire = Wire::new(&Setup { outside_tls, ..Setup::default() });
    wire.shake_hands();
    wire.send(Segment { flags: FIN, ttl: 1, ..from_server() });
    assert_no_payload(&wire.send(Segment { payload: hello, ..from_client() }));
}

/// VLAN 0 is no VLAN, only a priority: hosts take such frames for untagged ones.
#[test]
fn a_priority_tag_is_no_other_wire() {
    let mut wire = Wire::new(&Setup::default());
    wire.shake_hands();
    for id in [0, 0xe000] {
        assert_held_back(&mut wire, Segment { vlan: Some(id), payload: hello(NAME), ..from_client() });
    }
}

/// A server that opens a connection "from outside" first has not made the client's own connection one of those.
#[test]
fn a_syn_from_outside_does_not_bypass_the_clients_connection() {
    let mut wire = Wire::new(&Setup::default());
    wire.send(Segment { flags: SYN, seq: 5, ack: 0, ..from_server() });
    wire.shake_hands();
    assert_client_gets_nothing_through(&mut wire);
}

/// A server that still has an old connection says so (RFC 5961 4.2), and the client can only help it if it hears it.
#[test]
fn a_challenge_ack_passes_and_opens_no_way() {
    let mut wire = Wire::new(&Setup::default());
    wire.send(Segment { flags: SYN, seq: 500, ack: 0, ..from_client() });
    assert_eq!(wire.send_both(from_server()).0.len(), 1, "the challenge");
    assert_no_payload(&wire.send(Segment { payload: hello(NAME), ..from_client() }));
    assert_eq!(wire.send(Segment { flags: RST, ..from_client() }).len(), 1, "the old connection ends");
    wire.shake_hands();
}

/// SYNs from other ports: with a table for few flows, others have to go.
fn flood(wire: &mut Wire, syns: u16) {
    for n in 0..syns {
        wire.send(Segment { flags: SYN, seq: 5, ack: 0, client_port: 51_000 + n, ..from_client() });
    }
}

/// A client that has its own flow thrown out of the table before the server has answered.
#[test]
fn eviction_before_the_server_has_answered() {
    let mut wire = Wire::new(&Setup { flows: 4, ..Setup::default() });
    wire.send(Segment { flags: SYN, seq: CLIENT, ack: 0, ..from_client() });
    flood(&mut wire, 4);
    let (to_client, to_server) = wire.send_both(Segment { flags: SYN_ACK, seq: SERVER, ..from_server() });
    assert!(to_client.is_empty(), "the SYN-ACK of a flow that nobody follows");
    assert_reset(&to_server, CLIENT + 1);
    assert_no_payload(&wire.send(from_client()));
    assert_client_gets_nothing_through(&mut wire);
    // The client may begin anew.
    wire.shake_hands();
}

/// A server that waits until the client's flow is thrown out, and then begins itself: the client, whose SYN is out, takes
/// that for both opening at once (RFC 9293 3.5).
#[test]
fn a_server_does_not_open_what_it_has_not_answered() {
    let mut wire = Wire::new(&Setup { flows: 4, ..Setup::default() });
    wire.send(Segment { flags: SYN, seq: CLIENT, ack: 0, ..from_client() });
    flood(&mut wire, 4);
    let (to_client, to_server) = wire.send_both(Segment { flags: SYN, seq: SERVER, ack: 0, ..from_server() });
    assert!(to_client.is_empty(), "a SYN that would make it a connection from outside");
    assert!(to_server.iter().any(|frame| frame.tcp().rst()));
    assert!(
        wire.send(Segment { flags: SYN_ACK, seq: CLIENT, ..from_client() }).iter().all(|f| f.tcp().rst())
    );
    wire.send(from_server());
    assert_client_gets_nothing_through(&mut wire);
    wire.shake_hands();
}

/// Nor does it make a connection from outside of one that was refused, and whose RST it has not heard.
#[test]
fn a_refusal_is_not_undone_by_a_syn_of_the_server() {
    let mut wire = Wire::new(&Setup::default());
    wire.shake_hands();
    wire.send(Segment { payload: b"GET / HTTP/1.1".to_vec(), ..from_client() });
    wire.wait(Duration::from_secs(10));
    assert_eq!(wire.engine.flows(), 0);
    wire.send(Segment { flags: SYN, seq: 500, ack: 0, ttl: 1, ..from_server() });
    assert_client_gets_nothing_through(&mut wire);
}

/// The server has lost every RST, and the client waits until the engine has forgotten the flow.
#[test]
fn a_refusal_is_remembered_for_as_long_as_a_connection_may_be_silent() {
    let mut wire = Wire::new(&Setup::default());
    wire.shake_hands();
    wire.send(Segment { payload: b"GET / HTTP/1.1".to_vec(), ..from_client() });
    for seconds in [10, 3_590, 3_590, 3_590] {
        wire.wait(Duration::from_secs(seconds));
        assert_eq!(wire.engine.flows(), 0);
        assert_client_gets_nothing_through(&mut wire);
        let (to_client, to_server) = wire.send_both(Segment { payload: vec![7; 10], ..from_server() });
        assert!(to_client.is_empty());
        assert_reset(&to_server, CLIENT + 1);
    }
    assert!(wire.engine.counters()[0].dropped(PacketDrop::FlowEnded) >= 8);
}

/// A SYN that dies on its way makes a new flow of what was refused, and the server is silent.
#[test]
fn a_refusal_is_not_undone_by_a_syn() {
    let mut wire = Wire::new(&Setup::default());
    wire.shake_hands();
    wire.send(Segment { payload: b"GET / HTTP/1.1".to_vec(), ..from_client() });
    wire.wait(Duration::from_secs(10));
    wire.send(Segment { flags: SYN, seq: 500, ack: 0, ttl: 1, ..from_client() });
    assert_client_gets_nothing_through(&mut wire);
    // Nor when that flow is thrown out, or has ended by itself.
    wire.wait(Duration::from_secs(3_601));
    assert_eq!(wire.engine.flows(), 0);
    assert_client_gets_nothing_through(&mut wire);
}

/// A flow that was released for its first bytes is held to them even when there is no room for it any more.
#[test]
fn eviction_does_not_free_a_bypassed_flow_of_its_hello() {
    let setup = Setup { rules: Rules::by_name(Action::Bypass), flows: 1, ..Setup::default() };
    let decoy = Segment { ttl: 1, payload: hello(NAME), ..from_client() };
    let mut wire = Wire::new(&setup);
    wire.shake_hands();
    assert_eq!(wire.send(decoy.clone()).len(), 1, "bypassed");
    flood(&mut wire, 1);
    assert_client_gets_nothing_through(&mut wire);

    // When the server has taken and answered them, there is nothing to hold it to.
    let mut wire = Wire::new(&setup);
    wire.shake_hands();
    let end = CLIENT + 1 + decoy.payload.len() as u32;
    wire.send(decoy);
    wire.send_both(Segment { ack: end, payload: server_hello([7; 32]), ..from_server() });
    flood(&mut wire, 1);
    assert_eq!(wire.send(Segment { seq: end, payload: vec![7; 100], ..from_client() }).len(), 1);
}

/// The server has opened another connection where one was bypassed, and its SYN-ACK comes until the engine has forgotten that.
#[test]
fn another_connection_does_not_outwait_the_bypass() {
    let mut wire = Wire::new(&Setup { rules: Rules::by_name(Action::Bypass), ..Setup::default() });
    wire.shake_hands();
    let hello_segment = Segment { payload: hello(NAME), ..from_client() };
    let end = CLIENT + 1 + hello_segment.payload.len() as u32;
    assert_eq!(wire.send(hello_segment).len(), 1, "bypassed");
    wire.send_both(Segment { ack: end, ..from_server() });
    wire.send(Segment { flags: SYN, seq: 9_000, ack: 0, ..from_client() });
    let syn_ack = Segment { flags: SYN_ACK, seq: 40, ack: 9_001, ..from_server() };
    for seconds in [0, 1, 2, 4, 8, 16, 32] {
        wire.wait(Duration::from_secs(seconds));
        assert!(wire.send_both(syn_ack.clone()).0.is_empty(), "after {seconds} s");
    }
    let ack = Segment { seq: 9_001, ack: 41, ..from_client() };
    assert_held_back(&mut wire, Segment { payload: hello("secret.example.com"), ..ack });
}

/// What has never been refused is not: connections that began before the engine did, and such as ended in order.
#[test]
fn connections_from_before_pass() {
    let mut wire = Wire::new(&Setup::default());
    assert_eq!(wire.send(Segment { payload: vec![7; 100], ..from_client() }).len(), 1);
    assert_eq!(wire.send_both(Segment { payload: vec![7; 100], ..from_server() }).0.len(), 1);

    let setup = Setup { rules: Rules::default_is(Action::Bypass), flows: 1, ..Setup::default() };
    let mut wire = Wire::new(&setup);
    wire.shake_hands();
    flood(&mut wire, 1);
    assert_eq!(wire.send(Segment { payload: vec![7; 100], ..from_client() }).len(), 1);
}

/// What goes by as older than the engine makes no way for a younger one between the same ports, not even in its SYN; and a SYN that anyone may
/// have sent does not end it.
#[test]
fn a_connection_from_before_takes_no_other_along() {
    let mut wire = Wire::new(&Setup::default());
    let old = Segment { payload: vec![7; 100], ..from_client() };
    assert_eq!(wire.send(old.clone()).len(), 1);
    let syn = Segment { flags: SYN, seq: 9_000, ack: 0, ..from_client() };
    let syn_ack = Segment { flags: SYN_ACK, seq: 40, ack: 9_001, ..from_server() };
    assert_no_payload(&wire.send(Segment { payload: hello("secret.example.com"), ..syn.clone() }));
    assert_eq!(wire.send(syn.clone()).len(), 1);
    // A server that has the old connection says so, and it goes on.
    assert_eq!(wire.send_both(from_server()).0.len(), 1);
    assert_eq!(wire.send(old).len(), 1);
    assert!(wire.send_both(syn_ack.clone()).0.is_empty(), "another one");
    assert_begins_a_flow(&mut wire, syn, syn_ack);
}

/// Where only the server's half is seen, its answers to SYNs that went another way pass.
#[test]
fn the_servers_half_goes_on_with_another_connection() {
    let outside_tls = OutsideTls { midstream: Midstream::Forward, ..OutsideTls::default() };
    let mut wire = Wire::new(&Setup { outside_tls, ..Setup::default() });
    let data = Segment { payload: vec![7; 100], ..from_server() };
    assert_eq!(wire.send_both(data.clone()).0.len(), 1);
    let again = Segment { flags: SYN_ACK, seq: 500_000, ack: 9_001, ..from_server() };
    assert_eq!(wire.send_both(again).0.len(), 1);
    assert_eq!(wire.send_both(Segment { seq: 500_001, ack: 9_001, ..data }).0.len(), 1);
}

/// A hello in fragments is a hello, and none of them leaves: not before the last one has come, and not after a refusal.
#[test]
fn fragments_are_no_way_around() {
    let frame = Segment { payload: hello("secret.example.com"), ..from_client() }.frame();
    for (size, backwards) in [(24, false), (24, true), (400, false), (400, true)] {
        for refused in [false, true] {
            let mut wire = Wire::new(&Setup::default());
            wire.shake_hands();
            if refused {
                wire.send(Segment { payload: b"GET / HTTP/1.1".to_vec(), ..from_client() });
                wire.wait(Duration::from_secs(10));
            }
            let mut pieces = cut(&frame, 7, size);
            if backwards {
                pieces.reverse();
            }
            let n = pieces.len();
            let mut decrypts = false;
            for (at, piece) in pieces.into_iter().enumerate() {
                wire.engine.receive(wire.now, PortSide::Inside, piece);
                // Every frame that leaves is a whole segment, or this would panic.
                let (_, to_server) = wire.wait(Duration::from_micros(100));
                let data = to_server.iter().any(|frame| !frame.payload().is_empty());
                assert!(!data || (at + 1 == n && !refused), "{size}, piece {at}");
                assert!(to_server.iter().all(|f| !frame.ends_with(f.payload()) || f.payload().is_empty()));
                decrypts |= data;
            }
            // The engine's own hello, to the server of the name. In more pieces than are put together, nothing.
            assert_eq!(decrypts, !refused && n <= 64, "{size}, {n} pieces");
        }
    }
}
