//! What a flow keeps is counted, whoever in it keeps it, and goes back to nothing.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::lab::{Lab, NAME, Run, Setup};
use support::raw::{RawSegment, hello};
use support::rules::{Action, Rules};
use wireglass::simulate::Engine;
use wireglass_core::policy::Ports;
use wireglass_core::reason::{InspectorOff, Reason};
use wireglass_core::tls::ServerUnread;
use wireglass_testbed::{Duration, Instant, Middle, PortSide, Session, Step};

const SECOND: Duration = Duration::from_secs(1);
const NEVER: Duration = Duration::from_secs(100_000);
/// What one call may add before it is counted.
const ONE_CALL: usize = 128 * 1024;

fn setup(budget: usize) -> Setup {
    let rules = Rules { ports: Ports::Any, ..Rules::default_is(Action::Decrypt) };
    Setup { rules, flow_bytes: budget, flows: 1024, ..Setup::default() }
}

fn held(run: &Run) -> usize {
    run.counters().flow_bytes.value() as usize
}

/// A client that says this and is silent, a server that reads it, says that, and is silent.
fn silent(lab: &Lab, request: &[u8], response: &[u8]) -> (Session, Session) {
    let client = vec![Step::Send(request.to_vec()), Step::Pause(NEVER)];
    let server = vec![Step::Receive(request.len()), Step::Send(response.to_vec()), Step::Pause(NEVER)];
    lab.sessions(client, server)
}

/// So many requests at once, each with 4 KB of URL and of referrer.
fn pipelined(requests: usize) -> Vec<u8> {
    let (url, referer) = ("u".repeat(4_000), "r".repeat(4_000));
    format!("GET /{url} HTTP/1.1\r\nHost: h\r\nReferer: {referer}\r\n\r\n").repeat(requests).into_bytes()
}

#[test]
fn idle_flows_with_unanswered_requests_stay_within_the_budget() {
    let lab = Lab::new();
    let request = pipelined(30);
    // With room for all of them, each is worth what its requests take.
    let mut run = lab.hosts(&setup(64 << 20));
    for number in 0..10 {
        let (client, server) = silent(&lab, &request, b"");
        run.connect_ports(41_000 + number, 2_000 + number, client, server);
    }
    run.settle(SECOND * 10);
    assert_eq!(run.counters().inspectors_off(InspectorOff::Memory), 0);
    assert!(held(&run) >= 10 * 30 * 8_000, "{} bytes counted", held(&run));

    let budget = 4 << 20;
    let mut run = lab.hosts(&setup(budget));
    let mut most = 0;
    for number in 0..240 {
        let (client, server) = silent(&lab, &request, b"");
        run.connect_ports(41_000 + number, 2_000 + number, client, server);
        run.settle(Duration::from_millis(50));
        most = most.max(held(&run));
    }
    run.settle(SECOND * 10);
    most = most.max(held(&run));
    assert!(most <= budget + ONE_CALL, "{most} bytes held");
    let refused = run.counters().ended(Reason::ResourceMemory);
    assert!(refused > 0, "as many as 240 have no room");
    assert!(run.counters().inspectors_off(InspectorOff::Memory) > 0, "readers give way to flows");
    assert!(refused < 200, "only {} flows have room", 240 - refused);
    run.settle(SECOND * 8_000);
    assert_eq!((run.engine().flows(), held(&run)), (0, 0));
}

/// What the gauge says once these have spoken, over what it says of an idle flow.
#[track_caller]
fn growth(request: &[u8], response: &[u8], more: &[u8]) -> usize {
    let lab = Lab::new();
    let gauge = |request: &[u8], response: &[u8], more: &[u8]| {
        let client = vec![
            Step::Send(request.to_vec()),
            Step::Receive(response.len()),
            Step::Send(more.to_vec()),
            Step::Pause(NEVER),
        ];
        let server = vec![Step::Receive(request.len()), Step::Send(response.to_vec()), Step::Pause(NEVER)];
        let mut run = lab.connect_tls(&setup(64 << 20), client, server);
        run.settle(SECOND * 60);
        assert_eq!(run.client().received.len(), response.len());
        held(&run)
    };
    let idle = gauge(b"", b"", b"");
    assert!(idle > 2_000, "{idle}: an established flow has sessions");
    assert!(idle < 32 * 1024, "{idle}: an idle flow is small");
    gauge(request, response, more) - idle
}

#[test]
fn the_http_reader_counts() {
    let requests = growth(&pipelined(8), b"", b"");
    assert!(requests >= 8 * 8_000, "open transactions: {requests}");
    let head = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 50_000]].concat();
    let head = growth(&head, b"", b"");
    assert!((16_000..40_000).contains(&head), "a line that is not all there, and no more of it: {head}");
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let settings = frame(4, 0, 0, &[0, 1, 0, 1, 0, 0]);
    let greeting = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat();
    // The table grows to 64 KB and takes a path of 60,000 bytes.
    let mut block = vec![0x3f, 0xe1, 0xff, 0x03, 0x44, 0x7f, 0xe1, 0xd3, 0x03];
    block.extend(vec![b'p'; 60_000]);
    let table = growth(&greeting, &settings, &frame(1, 5, 1, &block));
    assert!(table >= 60_000, "HPACK's table: {table}");
    let part = growth(&greeting, &settings, &frame(1, 5, 1, &block)[..50_000]);
    assert!(part >= 49_000, "a frame that is not all there: {part}");
    let fragments = growth(&greeting, &settings, &frame(1, 1, 1, &block[..50_000]));
    assert!(fragments >= 49_000, "a header block that is not all there: {fragments}");
}

#[test]
fn legs_count() {
    // A record that is not all there waits in the receive buffer; nothing of it can be read.
    let lab = Lab::new();
    let exchange = support::Exchange::new(1, 10, 300_000);
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    let mut run = lab.hosts(&setup(64 << 20));
    run.connect_ports(41_000, 2_000, client.slow(10_000, NEVER), server);
    run.settle(SECOND * 20);
    assert!(held(&run) > 50_000, "{}", held(&run));
}

/// One TCP segment between two hosts.
fn segment(to_server: bool, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
    let any = RawSegment::from_client([10, 0, 0, 1], 50_000);
    RawSegment { to_server, flags, seq, ack, payload: payload.to_vec(), ..any }.frame()
}

const ISN: (u32, u32) = (1_000, 70_000);
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// The engine alone, and two hosts that are played frame by frame.
struct Wire {
    engine: Engine,
    now: Instant,
}

impl Wire {
    fn open(rules: Rules) -> Self {
        let setup = Setup { rules, ..Setup::default() };
        Self { engine: Lab::new().engine(&setup).0, now: Instant::ZERO }
    }

    /// The TCP handshake is over.
    fn opened(rules: Rules) -> Self {
        let mut wire = Self::open(rules);
        wire.receive(PortSide::Inside, segment(true, SYN, ISN.0, 0, b""));
        wire.receive(PortSide::Outside, segment(false, SYN | ACK, ISN.1, ISN.0 + 1, b""));
        wire.receive(PortSide::Inside, segment(true, ACK, ISN.0 + 1, ISN.1 + 1, b""));
        wire
    }

    fn receive(&mut self, port: PortSide, frame: Vec<u8>) {
        self.engine.receive(self.now, port, frame);
        self.wait(Duration::from_micros(100));
    }

    /// The client's stream, at this place.
    fn client_says(&mut self, at: usize, bytes: &[u8]) {
        for (n, piece) in bytes.chunks(1_400).enumerate() {
            let seq = ISN.0 + 1 + (at + n * 1_400) as u32;
            self.receive(PortSide::Inside, segment(true, ACK, seq, ISN.1 + 1, piece));
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.engine.poll(self.now);
        while self.engine.transmit().is_some() {}
    }

    fn held(&self) -> usize {
        self.engine.counters()[0].flow_bytes.value() as usize
    }
}

#[test]
fn each_phase_counts_what_it_holds() {
    let decrypt = || Rules::default_is(Action::Decrypt);
    let hello = hello(NAME);

    let mut wire = Wire::open(decrypt());
    wire.receive(PortSide::Inside, segment(true, SYN, ISN.0, 0, b""));
    let opening = wire.held();
    assert!((50..1_000).contains(&opening), "opening: {opening}");
    let answered = Wire::opened(decrypt()).held();
    assert!((opening + 100..1_000).contains(&answered), "answered: {answered}");

    // Peeking: the frames, and the stream that they make.
    let mut wire = Wire::opened(decrypt());
    let incomplete = [&[22, 3, 1, 0x3f, 0, 1, 0, 0x3e, 0xfc, 3, 3][..], &[0; 10_000]].concat();
    wire.client_says(0, &incomplete);
    let peeking = wire.held();
    assert!(peeking >= 2 * incomplete.len(), "peeking: {peeking}");

    // Over TCP: the client repeats itself, so it is taken in as bytes.
    wire.client_says(0, &incomplete[..1_400]);
    let over_tcp = wire.held();
    assert!((incomplete.len()..peeking).contains(&over_tcp), "over TCP: {over_tcp}");

    // The handshake: the server is silent; what the client says already waits for its turn.
    let mut wire = Wire::opened(decrypt());
    wire.client_says(0, &hello);
    let handshake = wire.held();
    assert!(handshake >= hello.len() + 16 * 1024, "handshake: {handshake}");
    wire.client_says(hello.len(), &[23; 40_000]);
    let more = wire.held();
    assert!(more >= handshake + 40_000, "what the client says early: {handshake}, then {more}");

    // Bypassed: held to its first bytes until the server has acknowledged and answered them.
    let mut wire = Wire::opened(Rules::by_name(Action::Bypass));
    wire.client_says(0, &hello);
    let released = wire.held();
    assert!(released >= hello.len(), "released: {released}");
    let server_hello = [&[22, 3, 3, 0, 58, 2, 0, 0, 54, 3, 3][..], &[7; 52]].concat();
    let ack = ISN.0 + 1 + hello.len() as u32;
    wire.receive(PortSide::Outside, segment(false, ACK, ISN.1 + 1, ack, &server_hello));
    let bypassed = wire.held();
    assert!(bypassed <= released - hello.len(), "acknowledged: {bypassed}");

    // Blocked: an alert that the client has not acknowledged, and two legs.
    let mut wire = Wire::opened(Rules::by_name(Action::Alert));
    wire.client_says(0, &hello);
    let blocked = wire.held();
    assert!(blocked > 1_000, "blocked: {blocked}");

    // A RST ends it, and everything is given back.
    wire.wait(SECOND * 100);
    wire.wait(SECOND * 100);
    assert_eq!((wire.engine.flows(), wire.held()), (0, 0));
}

/// A hello that is never complete, from as many clients as the worker has room for and more.
#[test]
fn prefixes_stay_within_the_budget() {
    let rules = Rules::default_is(Action::Decrypt);
    let budget = 4 << 20;
    let setup = Setup { rules, flow_bytes: budget, flows: 1024, held_frames: 100_000, ..Setup::default() };
    let mut wire = Wire { engine: Lab::new().engine(&setup).0, now: Instant::ZERO };
    let port = |mut frame: Vec<u8>, to_server: bool, port: u16| {
        // The client's port; the checksum changes by as much.
        let at = if to_server { 34 } else { 36 };
        let before = u16::from_be_bytes([frame[at], frame[at + 1]]);
        frame[at..at + 2].copy_from_slice(&port.to_be_bytes());
        let sum =
            u32::from(!u16::from_be_bytes([frame[50], frame[51]])) + u32::from(!before) + u32::from(port);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        frame[50..52].copy_from_slice(&sum.to_be_bytes());
        frame
    };
    let mut most = 0;
    for client in 1_000..1_400 {
        for (to_server, flags, seq, ack, payload) in [
            (true, SYN, ISN.0, 0, &b""[..]),
            (false, SYN | ACK, ISN.1, ISN.0 + 1, b""),
            (true, ACK, ISN.0 + 1, ISN.1 + 1, b""),
            // The far end of what may be held, alone.
            (true, ACK, ISN.0 + 1 + 60_000, ISN.1 + 1, &[1; 1_000]),
        ] {
            let from = if to_server { PortSide::Inside } else { PortSide::Outside };
            wire.receive(from, port(segment(to_server, flags, seq, ack, payload), to_server, client));
            most = most.max(wire.held());
        }
    }
    assert!(most > budget / 2, "{most} bytes held: no pressure at all");
    assert!(most <= budget + ONE_CALL, "{most} bytes held");
    assert!(wire.engine.counters()[0].ended(Reason::ResourceMemory) > 0);
}

/// Bypasses all but the server's name, once the name is known.
fn bypassing(budget: usize) -> Setup {
    let rules =
        Rules { ports: Ports::Any, by_name: Some(Action::Decrypt), ..Rules::default_is(Action::Bypass) };
    Setup { rules, ..setup(budget) }
}

/// What a server of TLS 1.2 says: nearly all of a long certificate; and what it says later.
fn long_flight() -> (Vec<u8>, Vec<u8>) {
    let record = |body: &[u8]| [[22, 3, 3].as_slice(), &(body.len() as u16).to_be_bytes(), body].concat();
    let hello = [[2, 0, 0, 38, 3, 3].as_slice(), &[7; 32], &[0, 0xc0, 0x2f, 0]].concat();
    let certificate = [[11].as_slice(), &45_000_u32.to_be_bytes()[1..], &[0; 44_990]].concat();
    let flight = std::iter::once(&hello[..]).chain(certificate.chunks(16_000)).flat_map(record).collect();
    (flight, record(&[0; 10]))
}

/// A bypassed flow whose server stops in the middle of its certificate. Returns how much it says in the end.
fn stalling(run: &mut Run, hello: &[u8], number: u16, pause: Duration) -> usize {
    let (flight, rest) = long_flight();
    let all = flight.len() + rest.len();
    let client = vec![Step::Send(hello.to_vec()), Step::Receive(all), Step::Pause(NEVER)];
    let server = vec![
        Step::Receive(hello.len()),
        Step::Send(flight),
        Step::Pause(pause),
        Step::Send(rest),
        Step::Pause(NEVER),
    ];
    run.connect_ports(41_000 + number, 2_000 + number, Session::plain(client), Session::plain(server));
    all
}

/// Why servers of bypassed flows were not read to the end.
fn unread(run: &Run) -> Vec<&'static str> {
    let seen = run.tls_events().into_iter().filter_map(|tls| tls.server.as_ref());
    seen.map(|server| server.unread.map_or("read", ServerUnread::name)).collect()
}

#[test]
fn a_server_that_stalls_is_waited_for_ten_seconds() {
    let mut run = Lab::new().hosts(&bypassing(64 << 20));
    let all = stalling(&mut run, &hello("stalled.example"), 0, SECOND * 20);
    run.settle(SECOND * 9);
    assert!(run.tls_events().is_empty() && held(&run) > 45_000, "{} bytes held", held(&run));
    run.settle(SECOND * 2);
    assert_eq!(unread(&run), ["timeout"]);
    assert!(held(&run) < 4_000, "{} bytes held", held(&run));
    assert!(run.client().received.len() < all);
    run.settle(SECOND * 12);
    assert_eq!((run.client().received.len(), run.tls_events().len()), (all, 1), "the flow goes on");
}

#[test]
fn servers_that_stall_leave_the_memory_to_others() {
    let (lab, budget, hello) = (Lab::new(), 4 << 20, hello("stalled.example"));
    let mut run = lab.hosts(&bypassing(budget));
    let (mut most, mut all) = (0, 0);
    for number in 0..120 {
        all = stalling(&mut run, &hello, number, SECOND * 20);
        run.settle(Duration::from_millis(10));
        most = most.max(held(&run));
    }
    run.settle(SECOND * 2);
    most = most.max(held(&run));
    assert!(most > budget / 2 && most <= budget / 4 * 3 + ONE_CALL, "{most} bytes held");
    let told = unread(&run).len();
    assert!((10..110).contains(&told), "{told} of 120 were told of for lack of memory");

    // Who needs memory gets what was held of the others.
    for number in 200..208 {
        let exchange = support::Exchange::new(number.into(), 10, 1_000_000);
        let (client, server) = lab.sessions(exchange.client(), exchange.server());
        run.connect_ports(41_000 + number, 2_000 + number, client.slow(20_000, NEVER), server);
    }
    run.settle(SECOND * 3);
    assert!(unread(&run).len() > told, "{told} as before");
    assert!(unread(&run).iter().all(|why| *why == "memory"), "{:?}", unread(&run));
    assert_eq!(run.counters().ended(Reason::ResourceMemory), 0);
    run.settle(SECOND * 20);
    assert!(run.flow_events().is_empty() && run.engine().flows() == 128);
    assert!((0..120).all(|number| run.client_of(number).received.len() == all), "bypassed flows go on");
}
