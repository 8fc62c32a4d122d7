//! Nobody can be shut out: who gives way when the flow table or the memory is full, how flows end then, and how much of both one
//! client may have.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::Exchange;
use support::frames::TcpFrame;
use support::lab::{Lab, Run, Setup};
use support::raw::{CLIENT, RawSegment, SERVER};
use support::rules::{Action, Rules};
use wireglass::simulate::Engine;
use wireglass_core::fairness::{ClientPrefix, PerClient, Shed};
use wireglass_core::flow_table::Class;
use wireglass_core::policy::{Ports, TlsVersion};
use wireglass_core::reason::{PacketDrop, Reason};
use wireglass_testbed::{Crossing, Duration, Ending, Heading, Instant, Middle, PortSide, Session, Step};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;

/// Every port is intercepted; one client may have the whole table.
fn setup(flows: u32) -> Setup {
    let rules = Rules { ports: Ports::Any, ..Rules::default_is(Action::Decrypt) };
    let mut setup = Setup { flows, rules, ..Setup::default() };
    setup.limits.fairness.per_client = PerClient::NoLimit;
    setup
}

fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.client.groups = vec![rustls::NamedGroup::X25519];
    lab
}

/// A connection that exchanges a little, and then waits until the other end has ended it.
fn idle(lab: &Lab) -> (Session, Session) {
    let client = vec![Step::Send(b"ping".to_vec()), Step::AwaitEnd, Step::Finish];
    let server = vec![Step::Receive(4), Step::Send(b"pong".to_vec()), Step::AwaitEnd, Step::Finish];
    lab.sessions(client, server)
}

fn connect_idle(lab: &Lab, run: &mut Run, count: usize) {
    for _ in 0..count {
        let (client, server) = idle(lab);
        run.connect(client, server);
    }
}

/// Frames that left the engine through a port.
fn sent(run: &Run, port: PortSide) -> Vec<TcpFrame> {
    let out = |crossing: &&Crossing| crossing.port == port && crossing.heading == Heading::Out;
    let frames = run.simulation.recorded().iter().filter(out);
    frames.filter_map(|crossing| TcpFrame::parse(&crossing.frame)).collect()
}

fn evicted(run: &Run) -> [u64; 5] {
    Class::ALL.map(|class| run.counters().evicted(class).value())
}

/// The table is full of idle TLS connections. The next client gets in at once, and who was idle for longest is told so in order.
#[test]
fn idle_connections_shut_nobody_out() {
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let mut lab = lab();
        let mut setup = setup(64);
        if version == TlsVersion::Tls12 {
            lab.server.versions = vec![&rustls::version::TLS12];
            setup.rules.profile.max_version = version;
        }
        let mut run = lab.hosts(&setup);
        connect_idle(&lab, &mut run, 64);
        run.settle(SECOND * 30);
        assert_eq!((run.engine().flows(), run.counters().evictions()), (64, 0));
        run.simulation.record();

        let exchange = Exchange::new(1, 2_000, 20_000);
        let (client, server) = lab.sessions(exchange.client(), exchange.server());
        run.connect(client, server);
        run.settle(SECOND * 2);
        exchange.assert_done(run.client_of(64), run.server_of(64), &version);
        assert_eq!(run.counters().dropped(PacketDrop::TableFull), 0);
        assert_eq!(evicted(&run), [0, 0, 0, 0, 1], "{version:?}");
        let ended: Vec<_> = (0..64).filter(|n| run.client_of(*n).end.is_some()).collect();
        assert_eq!(ended.len(), 1);
        // close_notify, then FIN; and no RST before they have closed themselves.
        let (client, server) = (run.client_of(ended[0]), run.server_of(ended[0]));
        assert_eq!((&client.end, &server.end), (&Some(Ending::Finished), &Some(Ending::Finished)));
        assert_eq!((client.handshake.is_some(), client.received.as_slice()), (true, &b"pong"[..]));
        let port = 40_000 + ended[0] as u16;
        let first = sent(&run, PortSide::Inside).into_iter().find(|frame| frame.tcp().dst_port() == port);
        let first = first.unwrap();
        assert!(first.tcp().fin() && !first.tcp().rst() && !first.payload().is_empty());
        let reasons: Vec<_> = run.flow_events().iter().map(|flow| (flow.phase.name(), flow.reason)).collect();
        assert!(reasons.contains(&("decrypted", Reason::ResourceFlows)), "{reasons:?}");
    }
}

/// Whoever has been told in order may acknowledge that in peace; data, though, does not pass, and is answered with a RST.
#[test]
fn an_evicted_connection_does_not_pass_later() {
    let lab = lab();
    let mut run = lab.hosts(&setup(16));
    for n in 0..16 {
        // They hear of the end, and answer later.
        let client = vec![
            Step::Send(b"ping".to_vec()),
            Step::AwaitEnd,
            Step::Pause(MINUTE),
            Step::Send(b"late".to_vec()),
        ];
        let server = vec![Step::Receive(4), Step::AwaitEnd, Step::Pause(MINUTE * 2)];
        let (client, server) = lab.sessions(client, server);
        run.connect_ports(40_000 + n, 1_000 + n, client, server);
    }
    run.settle(SECOND * 10);
    run.simulation.record();
    let exchange = Exchange::new(1, 100, 100);
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    run.connect_ports(50_000, 2_000, client, server);
    run.settle(SECOND * 20);
    exchange.assert_done(run.client_of(16), run.server_of(16), &"the newcomer");
    assert!(run.counters().dropped(PacketDrop::FlowEnded) >= 2, "both ends acknowledged the FIN");
    for port in [PortSide::Inside, PortSide::Outside] {
        assert!(sent(&run, port).iter().all(|frame| !frame.tcp().rst()), "{port:?}");
    }
    // Now the client speaks in a connection that the engine has forgotten.
    run.settle(MINUTE);
    assert!(sent(&run, PortSide::Inside).iter().any(|frame| frame.tcp().rst()));
    let late = |frame: &TcpFrame| {
        frame.tcp().dst_port() < 1_016 && !frame.payload().is_empty() && !frame.tcp().fin()
    };
    assert!(!sent(&run, PortSide::Outside).iter().any(late), "nothing of it has passed");
}

/// The idle time is up: in order too, without a RST, however long the applications take to close.
#[test]
fn silence_ends_in_order() {
    for dawdles in [Duration::ZERO, MINUTE] {
        let lab = lab();
        let mut setup = setup(64);
        setup.limits.idle_time = MINUTE * 20;
        let client = vec![Step::Send(b"ping".to_vec()), Step::AwaitEnd, Step::Pause(dawdles)];
        let server = vec![Step::Receive(4), Step::AwaitEnd, Step::Pause(dawdles)];
        let mut run = lab.connect_tls(&setup, client, server);
        run.simulation.record();
        run.settle(MINUTE * 19);
        assert_eq!(run.engine().flows(), 1);
        run.settle(SECOND * 70);
        assert_eq!(run.flow_end(), ("decrypted", Reason::Idle));
        assert_eq!(
            (&run.client().end, &run.server().end),
            (&Some(Ending::Finished), &Some(Ending::Finished))
        );
        assert_eq!(run.engine().flows(), 0);
        for port in [PortSide::Inside, PortSide::Outside] {
            assert!(sent(&run, port).iter().all(|frame| !frame.tcp().rst()), "{port:?}, {dawdles:?}");
        }
    }
}

/// Bytes that never arrived, and a direction that has ended while the other goes on: an orderly end would be a lie.
#[test]
fn what_is_not_at_rest_is_reset() {
    let mut setup = setup(64);
    setup.limits.idle_time = MINUTE * 20;
    // Half a record of the client's, and then silence.
    let lab = lab();
    let (client, server) = idle(&lab);
    let mut run = lab.connect(&setup, client, server);
    run.simulation.record();
    run.settle(SECOND);
    let from_client = |c: &&Crossing| c.port == PortSide::Inside && c.heading == Heading::In;
    let last = run.simulation.recorded().iter().rev().find(from_client).unwrap().frame.clone();
    let half = TcpFrame::parse(&last).unwrap().with_payload(0, &[23, 3, 3, 0, 99, 1, 2, 3]);
    run.simulation.inject(PortSide::Inside, half);
    run.settle(MINUTE * 21);
    assert_eq!(run.flow_end(), ("decrypted", Reason::Idle));
    assert_eq!(run.server().end, Some(Ending::Reset));

    // The client has finished, and waits for an answer that does not come.
    let client = vec![Step::Send(b"ping".to_vec()), Step::Finish, Step::AwaitEnd];
    let server = vec![Step::AwaitEnd, Step::Pause(MINUTE * 100)];
    let mut run = lab.connect_tls(&setup, client, server);
    run.settle(MINUTE * 21);
    assert_eq!((run.flow_end().1, &run.client().end), (Reason::Idle, &Some(Ending::Reset)));

    // A response whose end is the end of the connection stops in the middle.
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let response = b"HTTP/1.1 200 OK\r\n\r\nthe beginning of".to_vec();
    let client = vec![Step::Send(request), Step::AwaitEnd];
    let server = vec![Step::Receive(10), Step::Send(response), Step::Pause(MINUTE * 100)];
    let mut run = lab.connect_tls(&setup, client, server);
    run.settle(MINUTE * 21);
    assert_eq!((run.flow_end().1, &run.client().end), (Reason::Idle, &Some(Ending::Reset)));
}

/// The engine alone, and frames by hand from whatever address.
struct Wire {
    engine: Engine,
    now: Instant,
    log: wireglass::log::LogReceiver,
}

impl Wire {
    fn new(setup: &Setup) -> Self {
        let (engine, log) = Lab::new().engine(setup);
        Self { engine, now: Instant::ZERO, log }
    }

    /// Sends frames in one turn. Gives what leaves for the client and for the server.
    fn send(&mut self, segments: impl IntoIterator<Item = RawSegment>) -> [Vec<TcpFrame>; 2] {
        for segment in segments {
            self.engine.receive(self.now, segment.port(), segment.frame());
        }
        self.wait(Duration::from_micros(100))
    }

    fn wait(&mut self, time: Duration) -> [Vec<TcpFrame>; 2] {
        self.now += time;
        self.engine.poll(self.now);
        let mut out = [Vec::new(), Vec::new()];
        while let Some((port, frame)) = self.engine.transmit() {
            out[usize::from(port == PortSide::Outside)].extend(TcpFrame::parse(&frame));
        }
        out
    }

    /// A SYN alone. Whether it has passed.
    fn syn(&mut self, client: [u8; 4], port: u16) -> bool {
        let syn = RawSegment { flags: SYN, seq: CLIENT, ack: 0, ..RawSegment::from_client(client, port) };
        self.send([syn])[1].iter().any(|frame| frame.tcp().syn())
    }

    /// Three segments, each in its turn. Whether it stands.
    fn shake_hands(&mut self, client: [u8; 4], port: u16) -> bool {
        self.syn(client, port) && {
            self.send([RawSegment { flags: SYN_ACK, seq: SERVER, ..RawSegment::from_server(client, port) }]);
            let out = self.send([RawSegment { flags: ACK, ..RawSegment::from_client(client, port) }]);
            out[1].iter().all(|frame| !(frame.tcp().rst() && frame.source_port() == port))
        }
    }

    fn dropped(&self, why: PacketDrop) -> u64 {
        self.engine.counters()[0].dropped(why)
    }

    fn ended(&self, why: Reason) -> u64 {
        self.engine.counters()[0].ended(why)
    }

    fn evicted(&self) -> [u64; 5] {
        Class::ALL.map(|class| self.engine.counters()[0].evicted(class).value())
    }
}

fn client(n: u32) -> [u8; 4] {
    let [_, a, b, c] = n.to_be_bytes();
    [11, a, b, c]
}

const HALF_A_HELLO: [u8; 11] = [22, 3, 1, 0x0f, 0, 1, 0, 0x0e, 0xfc, 3, 3];

/// Ten thousand hostile clients at a table of 4,096, each as far as it likes. A good client gets in, again and again, and keeps
/// what it has.
#[test]
fn ten_thousand_hostile_clients_shut_nobody_out() {
    const TABLE: u32 = 4_096;
    let lab = lab();
    let mut setup = setup(TABLE);
    setup.limits.fairness.per_client = PerClient::Quarter;
    let mut run = lab.hosts(&setup);
    // One has been there from the beginning.
    let (client_end, server_end) = lab.sessions(
        vec![
            Step::Send(vec![1; 100]),
            Step::Pause(SECOND * 8),
            Step::Send(vec![2; 100]),
            Step::Receive(200),
            Step::Finish,
        ],
        vec![Step::Receive(200), Step::Send(vec![3; 200]), Step::AwaitEnd, Step::Finish],
    );
    run.connect(client_end, server_end);
    connect_idle(&lab, &mut run, 30);
    run.settle(SECOND);
    // A third of them each: a SYN, a handshake, and half a hello.
    let hostile = |n: u32| {
        let (who, port) = (client(n), 1_024 + (n % 60_000) as u16);
        let half = RawSegment { payload: HALF_A_HELLO.to_vec(), ..RawSegment::from_client(who, port) };
        let as_far = [1, 3, 4][n as usize % 3];
        handshake(who, port).into_iter().chain([half]).take(as_far).collect::<Vec<_>>()
    };
    drop_strangers_frames(&mut run);
    let mut sent = 0;
    let mut good = Vec::new();
    for round in 0..4 {
        let exchange = Exchange::new(round, 1_000, 10_000);
        let (client, server) = lab.sessions(exchange.client(), exchange.server());
        let pair = 31 + good.len();
        run.connect(client, server);
        good.push(exchange);
        for _ in 0..100 {
            let burst: Vec<_> = (sent..sent + 40).map(hostile).collect();
            sent += 40;
            for step in 0..4 {
                for segment in burst.iter().filter_map(|segments| segments.get(step)) {
                    run.simulation.inject(segment.port(), segment.frame());
                }
                run.settle(Duration::from_micros(2_500));
            }
        }
        good[round as usize].assert_done(run.client_of(pair), run.server_of(pair), &round);
    }
    assert!(sent >= 16_000 && run.engine().flows() as u32 >= TABLE - 100, "{}", run.engine().flows());
    let [opening, _, undecided, bypassed, _] = evicted(&run);
    assert!(opening > 5_000 && undecided > 100 && bypassed == 0, "{:?}", evicted(&run));
    assert_eq!(run.counters().dropped(PacketDrop::TableFull), 0);
    // It was idle for eight seconds of the flood, and is still served.
    run.settle(SECOND * 10);
    assert_eq!((run.client_of(0).received.len(), &run.client_of(0).end), (200, &Some(Ending::Finished)));
}

/// Complete TLS connections of many clients, all idle, beyond what the table holds: those that were idle for longest go.
#[test]
fn whole_connections_of_many_clients_shut_nobody_out() {
    let lab = lab();
    let mut run = lab.hosts(&setup(128));
    for n in 0..400 {
        let (client, server) = idle(&lab);
        run.connect_ports(10_000 + n, 1_000 + n, client, server);
        if n % 40 == 39 {
            run.settle(SECOND);
            let exchange = Exchange::new(n.into(), 1_000, 10_000);
            let (client, server) = lab.sessions(exchange.client(), exchange.server());
            run.connect_ports(30_000 + n, 3_000 + n, client, server);
            run.settle(SECOND * 5);
            let pair = usize::from(n + 1 + n / 40);
            exchange.assert_done(run.client_of(pair), run.server_of(pair), &n);
        }
    }
    assert_eq!((run.engine().flows(), run.counters().dropped(PacketDrop::TableFull)), (128, 0));
    let reset = (0..400).filter(|n| run.client_of(*n).end == Some(Ending::Reset)).count();
    assert_eq!(reset, 0, "all of them have ended in order");
}

#[test]
fn a_client_stops_at_its_limit_and_others_do_not_notice() {
    let mut setup = setup(1_024);
    setup.limits.fairness.per_client = PerClient::AtMost(100);
    let mut wire = Wire::new(&setup);
    let others: Vec<_> = (0..50).map(client).collect();
    assert!(others.iter().all(|who| wire.shake_hands(*who, 1)));
    let hog = client(777);
    let stood = (0..5_000u16).filter(|n| wire.shake_hands(hog, 1_024 + n)).count();
    assert_eq!(stood, 100);
    assert_eq!(wire.dropped(PacketDrop::ClientFlows), 4_900);
    assert_eq!((wire.ended(Reason::ResourceClientFlows), wire.engine.flows()), (4_900, 150));
    assert_eq!(wire.evicted(), [0; 5]);
    let events = std::iter::from_fn(|| wire.log.pop()).count() as u64;
    let summed = wire.engine.counters()[0].events_summed.value();
    assert_eq!(events + summed, 4_900, "each refused SYN has its event, or is counted in one");
    assert!(wire.shake_hands(client(778), 1), "another client gets in");
    // All at once: SYNs first, so that none counts yet. What is too much is reset when it is established.
    let hasty = client(999);
    assert!((0..200).all(|n| wire.syn(hasty, 1_024 + n)));
    for n in 0..200 {
        wire.send([RawSegment { flags: SYN_ACK, seq: SERVER, ..RawSegment::from_server(hasty, 1_024 + n) }]);
        wire.send([RawSegment { flags: ACK, ..RawSegment::from_client(hasty, 1_024 + n) }]);
    }
    assert_eq!((wire.ended(Reason::ResourceClientFlows), wire.engine.flows()), (5_000, 251));
    // A neighbour in the same network is somebody else, unless networks count.
    setup.limits.fairness.client_prefix = ClientPrefix { v4: 24, v6: 64 };
    let mut wire = Wire::new(&setup);
    let stood = (0..150).filter(|n| wire.shake_hands(client(*n), 1)).count();
    assert_eq!(stood, 100);
}

/// At its limit a client's own connection that has been idle for long gives way, but not to a mere SYN: anyone can send that.
#[test]
fn a_clients_own_idle_connection_gives_way_to_its_next() {
    let mut setup = setup(64);
    setup.limits.fairness.per_client = PerClient::AtMost(4);
    setup.rules = Rules { ports: Ports::Any, ..Rules::default_is(Action::Bypass) };
    let mut wire = Wire::new(&setup);
    let who = client(5);
    assert!((1..5).all(|n| wire.shake_hands(who, n)));
    assert!(!wire.syn(who, 5), "none has been idle for a minute");
    wire.wait(MINUTE);
    assert!(wire.syn(who, 6));
    assert_eq!(wire.engine.flows(), 5);
    wire.send([RawSegment { flags: SYN_ACK, seq: SERVER, ..RawSegment::from_server(who, 6) }]);
    assert_eq!(wire.evicted(), [0; 5]);
    wire.send([RawSegment { flags: ACK, ..RawSegment::from_client(who, 6) }]);
    assert_eq!((wire.evicted(), wire.engine.flows()), ([0, 0, 0, 1, 0], 4));
}

/// Whoever sends SYNs, and even data, in a client's name does not use up what the client may have.
#[test]
fn spoofed_syns_do_not_shut_their_victim_out() {
    for rules in [Action::Decrypt, Action::Bypass] {
        let mut setup = setup(1_024);
        setup.limits.fairness.per_client = PerClient::AtMost(20);
        setup.rules.default = rules;
        let mut wire = Wire::new(&setup);
        let victim = client(1);
        for n in 0..2_000 {
            assert!(wire.syn(victim, 1_024 + n));
            // The server answers, which the sender of the SYN does not see: it has to guess what to acknowledge.
            wire.send([RawSegment {
                flags: SYN_ACK,
                seq: SERVER,
                ..RawSegment::from_server(victim, 1_024 + n)
            }]);
            let guess = RawSegment { ack: SERVER + 77, ..RawSegment::from_client(victim, 1_024 + n) };
            let payload = HALF_A_HELLO.to_vec();
            wire.send([RawSegment { flags: ACK, ..guess.clone() }, RawSegment { payload, ..guess }]);
        }
        assert!((0..20).all(|n| wire.shake_hands(victim, 30_000 + n)), "{rules:?}");
        assert_eq!(wire.dropped(PacketDrop::ClientFlows), 0);
        assert!(!wire.syn(victim, 40_000), "and no more than it may have");
        assert_eq!(wire.evicted()[1..], [0; 4], "{rules:?}");
    }
}

/// Frames to hosts that are none of the two are lost, so that nobody answers them.
fn drop_strangers_frames(run: &mut Run) {
    let known = |frame: &[u8]| TcpFrame::parse(frame).is_none_or(|frame| frame.bytes()[26] == 10);
    run.simulation
        .middle_to_server
        .set_tamper(move |frame| if known(&frame) { vec![(Duration::ZERO, frame)] } else { Vec::new() });
}

fn inject(run: &mut Run, segments: impl IntoIterator<Item = RawSegment>) {
    // A turn takes what lies at the inside port before what lies at the outside port: so each has its own.
    for segment in segments {
        run.simulation.inject(segment.port(), segment.frame());
        run.settle(Duration::from_micros(20));
    }
}

/// SYN, SYN-ACK, ACK.
fn handshake(who: [u8; 4], port: u16) -> [RawSegment; 3] {
    let (from_client, from_server) = (RawSegment::from_client(who, port), RawSegment::from_server(who, port));
    let syn = RawSegment { flags: SYN, seq: CLIENT, ack: 0, ..from_client.clone() };
    [syn, RawSegment { flags: SYN_ACK, seq: SERVER, ..from_server }, from_client]
}

/// Two flows of each class in a table of ten, none of them young.
fn two_of_each(setup: &Setup) -> Run {
    let lab = lab();
    let mut run = lab.hosts(setup);
    drop_strangers_frames(&mut run);
    connect_idle(&lab, &mut run, 2);
    run.settle(SECOND);
    for n in 0..2 {
        let [opening, blocked, undecided, bypassed] = [0, 1, 2, 3].map(|k| client(10 * n + k));
        inject(&mut run, handshake(opening, 1));
        for (who, payload) in [(blocked, &b"GET / HTTP/1.1"[..]), (undecided, &HALF_A_HELLO)] {
            inject(&mut run, handshake(who, 1));
            inject(&mut run, [RawSegment { payload: payload.to_vec(), ..RawSegment::from_client(who, 1) }]);
        }
        // From outside: bypassed, whatever the rules say.
        inject(&mut run, handshake(bypassed, 1).map(|segment| RawSegment { from_outside: true, ..segment }));
    }
    run.settle(SECOND * 4);
    assert_eq!(run.engine().flows(), 10);
    run
}

#[test]
fn classes_give_way_in_the_order_of_the_policy() {
    use Class::{Blocked, Bypassed, Decrypted, Opening, Undecided};
    // What leaves, SYN by SYN, until there is nothing that may.
    let orders: [(&[Class], &[Class]); 5] = [
        (&Class::ALL, &[Opening; 9]),
        (
            &[Blocked, Undecided, Bypassed, Decrypted],
            &[Blocked, Blocked, Undecided, Undecided, Bypassed, Bypassed, Decrypted, Decrypted],
        ),
        (
            &[Decrypted, Bypassed, Undecided, Blocked],
            &[Decrypted, Decrypted, Bypassed, Bypassed, Undecided, Undecided, Blocked, Blocked],
        ),
        (&[Bypassed, Blocked], &[Bypassed, Bypassed, Blocked, Blocked]),
        (&[], &[]),
    ];
    for (order, expected) in orders {
        let mut setup = setup(10);
        setup.limits.fairness.shed = Shed::new(order);
        let mut run = two_of_each(&setup);
        let mut gone = Vec::new();
        for n in 0..9 {
            let before = evicted(&run);
            inject(&mut run, handshake(client(900), 100 + n).into_iter().take(1));
            let after = evicted(&run);
            gone.extend(
                Class::ALL.into_iter().filter(|class| after[*class as usize] != before[*class as usize]),
            );
        }
        assert_eq!(gone, expected, "{order:?}");
        let refused = 9 - expected.len() as u64;
        assert_eq!(run.counters().dropped(PacketDrop::TableFull), refused, "{order:?}");
        // A refused SYN has its event.
        let events = run.flow_events();
        let refusals =
            events.iter().filter(|flow| flow.reason == Reason::ResourceFlows && flow.start == flow.end);
        let refusals =
            refusals.filter(|flow| flow.to_server.packets == 1 && flow.phase.name() == "opening").count();
        assert!(refusals as u64 >= refused, "{order:?}: {events:?}");
    }
}

/// A flow that has just moved is spared where another can give way, but a flood of such flows only has its part of the table.
#[test]
fn newcomers_have_a_part_of_the_table_and_no_more() {
    let lab = lab();
    let mut run = lab.hosts(&setup(64));
    drop_strangers_frames(&mut run);
    connect_idle(&lab, &mut run, 64);
    run.settle(SECOND * 30);
    // Four of 64 places are for opening flows, four for undecided ones.
    for n in 0..500 {
        inject(&mut run, handshake(client(n), 1));
        let payload = HALF_A_HELLO.to_vec();
        inject(&mut run, [RawSegment { payload, ..RawSegment::from_client(client(n), 1) }]);
        inject(&mut run, handshake(client(1_000 + n), 1));
    }
    let [opening, _, undecided, _, decrypted] = evicted(&run);
    assert!(decrypted <= 10 && opening > 450 && undecided > 300, "{:?}", evicted(&run));
    // And while nobody who is through has been silent, none of them gives way at all.
    let mut run = lab.hosts(&setup(16));
    drop_strangers_frames(&mut run);
    for n in 0..15 {
        let chat = |first: bool| {
            let turn = [Step::Send(b"chat".to_vec()), Step::Pause(SECOND)];
            let turns = (0..20).flat_map(|_| turn.clone());
            if first { turns.collect() } else { vec![Step::AwaitEnd] }
        };
        let (client, server) = lab.sessions(chat(true), chat(false));
        run.connect_ports(40_000 + n, 500 + n, client, server);
    }
    run.settle(SECOND * 3);
    for n in 0..300 {
        inject(&mut run, handshake(client(n), 1).into_iter().take(1));
    }
    assert_eq!(evicted(&run), [299, 0, 0, 0, 0]);
}

/// Full idle time up to three quarters, a minute when the table is full, and all of it again afterwards.
#[test]
fn idle_time_shrinks_as_the_table_fills_and_recovers() {
    let lab = lab();
    let mut run = lab.hosts(&setup(64));
    connect_idle(&lab, &mut run, 48);
    run.settle(MINUTE * 30);
    assert_eq!(run.engine().flows(), 48, "three quarters: nobody is hurried");
    // Seven eighths: half an hour and half a minute.
    connect_idle(&lab, &mut run, 8);
    run.settle(SECOND * 25);
    assert_eq!(run.engine().flows(), 56);
    run.settle(SECOND * 20);
    let ended: Vec<_> = run.flow_events().iter().map(|flow| flow.reason).collect();
    assert!(!ended.is_empty() && ended.iter().all(|reason| *reason == Reason::ResourceIdle), "{ended:?}");
    assert!((0..48).any(|n| run.client_of(n).end == Some(Ending::Finished)), "they end in order");
    assert!((0..56).all(|n| run.client_of(n).end.as_ref().is_none_or(|end| *end == Ending::Finished)));
    assert_eq!((evicted(&run), run.counters().dropped(PacketDrop::TableFull)), ([0; 5], 0));
    // As soon as that has made room, the others have their hour.
    let left = run.engine().flows();
    assert!((48..56).contains(&left), "{left}");
    run.settle(MINUTE * 20);
    assert!(run.engine().flows() >= 48, "{}", run.engine().flows());
    // A full table: a minute, but not for a class that does not give way.
    for (shed, left) in [(Shed::default(), 48..64), (Shed::new(&[Class::Opening]), 64..65)] {
        let mut setup = setup(64);
        setup.limits.fairness.shed = shed;
        let mut run = lab.hosts(&setup);
        connect_idle(&lab, &mut run, 64);
        run.settle(SECOND * 50);
        assert_eq!(run.engine().flows(), 64);
        run.settle(SECOND * 30);
        assert!(left.contains(&run.engine().flows()), "{}", run.engine().flows());
    }
}

/// So many connections, each with 15 KB of a record whose rest never comes; worker_bytes is 4 MB.
fn hoarders(lab: &Lab, setup: &Setup, count: usize) -> Run {
    let mut run = lab.hosts(setup);
    run.simulation.record();
    // Not all at once: handshakes take more memory than what becomes of them.
    for batch in (0..count).step_by(25) {
        connect_idle(lab, &mut run, (count - batch).min(25));
        run.settle(Duration::from_millis(500));
    }
    // Each sends the beginning of a record, and waits.
    let mut last = std::collections::BTreeMap::new();
    for crossing in run.simulation.recorded() {
        if (crossing.port, crossing.heading) == (PortSide::Inside, Heading::In)
            && let Some(frame) = TcpFrame::parse(&crossing.frame)
        {
            last.insert(frame.source_port(), frame);
        }
    }
    for frame in last.values().filter(|frame| frame.payload().is_empty()) {
        let mut start = vec![23, 3, 3, 0x40, 0];
        start.resize(1_400, 7);
        for n in 0..11 {
            let bytes = if n == 0 { start.clone() } else { vec![7; 1_400] };
            run.simulation.inject(PortSide::Inside, frame.with_payload(n * 1_400, &bytes));
        }
        run.settle(Duration::from_millis(1));
    }
    run
}

fn short_of_memory() -> Setup {
    let mut setup = setup(1_024);
    setup.limits.buffer_bytes = 65_536;
    setup.flow_bytes = 4 << 20;
    setup
}

/// Memory is nearly used up by connections that say nothing more: soon a new one is decrypted all the same.
#[test]
fn whoever_hoards_memory_gives_way() {
    let lab = lab();
    for gives_way in [true, false] {
        let mut setup = short_of_memory();
        if !gives_way {
            setup.limits.fairness.shed = Shed::new(&Class::ALL[..4]);
        }
        let mut run = hoarders(&lab, &setup, 200);
        let held = run.counters().flow_bytes.value();
        assert!(held >= (4 << 20) / 8 * 7, "{held}");
        run.settle(SECOND * 12);
        let exchange = Exchange::new(1, 1_000, 10_000);
        let (client, server) = lab.sessions(exchange.client(), exchange.server());
        run.connect(client, server);
        run.settle(SECOND * 2);
        let ended = run.counters().ended(Reason::ResourceMemory);
        if gives_way {
            exchange.assert_done(run.client_of(200), run.server_of(200), &setup);
            // No more than it takes.
            let needed = (held - (4 << 20) / 8 * 7) / (held / 200);
            assert!((needed..needed + 5).contains(&ended), "{ended} of {held}, {needed} would do");
            assert_eq!(evicted(&run), [0, 0, 0, 0, ended]);
        } else {
            assert_eq!((&run.client_of(200).end, ended), (&Some(Ending::Reset), 1));
        }
    }
}

/// Memory that idle flows hold shortens the idle time as well.
#[test]
fn idle_time_shrinks_as_memory_fills() {
    let mut setup = short_of_memory();
    setup.limits.idle_time = MINUTE * 10;
    let mut run = hoarders(&lab(), &setup, 110);
    let held = run.counters().flow_bytes.value();
    assert!(held > 3 << 20, "{held}");
    run.settle(SECOND * 570);
    let held = run.counters().flow_bytes.value();
    assert!(held <= (3 << 20) + 100_000, "{held}");
    assert!(run.counters().ended(Reason::ResourceIdle) > 0);
    let reasons: Vec<_> = run.flow_events().iter().map(|flow| flow.reason).collect();
    assert!(reasons.iter().all(|reason| *reason == Reason::ResourceIdle), "{reasons:?}");
}

/// Connections that are over linger for some seconds, and are no part of their client's share: it may open the next ones as fast
/// as it likes.
#[test]
fn connections_that_are_over_do_not_count() {
    let lab = lab();
    let mut setup = setup(256);
    setup.limits.fairness.per_client = PerClient::AtMost(4);
    let mut run = lab.hosts(&setup);
    for n in 0..40 {
        let exchange = Exchange::new(n, 500, 500);
        let (client, server) = lab.sessions(exchange.client(), exchange.server());
        run.connect(client, server);
        run.settle(Duration::from_millis(50));
        exchange.assert_done(run.client_of(n as usize), run.server_of(n as usize), &n);
    }
    assert_eq!((run.engine().flows(), run.counters().dropped(PacketDrop::ClientFlows)), (40, 0));
}

type HowEnded = fn(&mut Wire, RawSegment);

/// Counts are exact after every kind of end: when all flows are gone, the client may have as many as at first.
#[test]
fn counts_are_exact_after_every_kind_of_end() {
    let mut setup = setup(256);
    setup.limits.fairness.per_client = PerClient::AtMost(12);
    setup.limits.idle_time = MINUTE * 2;
    let mut wire = Wire::new(&setup);
    let who = client(3);
    let from = |n| RawSegment::from_client(who, n);
    // What ends it, and whether it counts afterwards: while it lingers it does not.
    let ends: [(HowEnded, bool); 7] = [
        (|wire, from| drop(wire.send([RawSegment { flags: 0x04, ..from }])), false),
        (
            |wire, from| {
                drop(wire.send([RawSegment { flags: 0x04, to_server: false, seq: SERVER + 1, ..from }]));
            },
            false,
        ),
        (
            |wire, from| {
                let fin = RawSegment { flags: 0x11, ..from };
                wire.send([
                    fin.clone(),
                    RawSegment { to_server: false, seq: SERVER + 1, ack: CLIENT + 2, ..fin },
                ]);
            },
            false,
        ),
        (|wire, from| drop(wire.send([RawSegment { payload: b"GET / HTTP".to_vec(), ..from }])), false),
        (|wire, from| drop(wire.send([RawSegment { payload: HALF_A_HELLO.to_vec(), ..from }])), true),
        (
            |wire, from| {
                let payload = HALF_A_HELLO.to_vec();
                let other = RawSegment { payload: vec![9; 50], ..from.clone() };
                wire.send([RawSegment { payload, ..from }, other]);
            },
            false,
        ),
        (|_, _| {}, true),
    ];
    let mut port = 0;
    for round in 0..3 {
        for (end, counts) in ends {
            for _ in 0..12 {
                port += 1;
                assert!(wire.shake_hands(who, port), "{round}: {port}");
                end(&mut wire, from(port));
            }
            assert_eq!(wire.syn(who, 60_000), !counts, "{round}: {port}");
            wire.wait(MINUTE * 3);
            assert_eq!(wire.engine.flows(), 0, "{round}");
        }
    }
    // Ended to make room for others.
    setup.flows = 16;
    let mut wire = Wire::new(&setup);
    for n in 1..13 {
        assert!(wire.shake_hands(who, n));
    }
    wire.wait(SECOND * 5);
    assert!((0..16).all(|n| wire.shake_hands(client(100 + n), 1)));
    assert_eq!(wire.evicted(), [12, 0, 0, 0, 0]);
    wire.wait(SECOND * 5);
    assert!((20..32).all(|n| wire.shake_hands(who, n)));
    assert!(!wire.syn(who, 60_000));
}

/// A client whose hellos never end does not take all the frames that may be held: others still have theirs held whole.
#[test]
fn held_frames_are_left_for_others() {
    let mut setup = setup(256);
    setup.held_frames = 64;
    setup.limits.hello_frames = 16;
    let mut wire = Wire::new(&setup);
    let hog = client(1);
    for port in 1..11 {
        assert!(wire.shake_hands(hog, port));
        for n in 0..8u32 {
            let (seq, payload) = (CLIENT + 1 + 11 * n, HALF_A_HELLO.to_vec());
            wire.send([RawSegment { seq, payload, ..RawSegment::from_client(hog, port) }]);
        }
    }
    let refused = wire.dropped(PacketDrop::HoldFull);
    assert!(refused > 0);
    // Of the 16 that are left none goes to who has 48, and eight to the next.
    let good = client(2);
    assert!(wire.shake_hands(good, 1));
    for n in 0..8u32 {
        let (seq, payload) = (CLIENT + 1 + 11 * n, HALF_A_HELLO.to_vec());
        wire.send([RawSegment { seq, payload, ..RawSegment::from_client(good, 1) }]);
    }
    assert_eq!(wire.dropped(PacketDrop::HoldFull), refused);
    // What was held is given back to whom it was held for.
    wire.wait(MINUTE);
    assert!(wire.shake_hands(hog, 100));
    for n in 0..12u32 {
        let (seq, payload) = (CLIENT + 1 + 11 * n, HALF_A_HELLO.to_vec());
        wire.send([RawSegment { seq, payload, ..RawSegment::from_client(hog, 100) }]);
    }
    assert_eq!(wire.dropped(PacketDrop::HoldFull), refused);
}

/// Nor does what ended flows leave behind pile up: a flood at a small table, faster than any of its timers.
#[test]
fn a_flood_leaves_no_timers_behind() {
    let setup = setup(64);
    let mut wire = Wire::new(&setup);
    for n in 0..30_000 {
        assert!(wire.syn(client(n), 1));
        if n % 3 == 0 {
            let syn_ack = RawSegment { flags: SYN_ACK, seq: SERVER, ..RawSegment::from_server(client(n), 1) };
            wire.send([syn_ack, RawSegment::from_client(client(n), 1)]);
        }
    }
    assert!(wire.engine.timers() <= 4 * 64, "{}", wire.engine.timers());
    // And timers still fire: whoever is left is forgotten in time.
    wire.wait(MINUTE * 61);
    wire.wait(MINUTE);
    assert_eq!((wire.engine.flows(), wire.engine.timers()), (0, 0));
}

/// SYNs that anyone can send fill the table, for long. They hurry nobody who is through.
#[test]
fn a_flood_of_syns_does_not_shorten_the_idle_time_of_others() {
    let lab = lab();
    let mut run = lab.hosts(&setup(64));
    drop_strangers_frames(&mut run);
    connect_idle(&lab, &mut run, 32);
    run.settle(SECOND);
    for n in 0..1_200 {
        inject(&mut run, handshake(client(n), 1).into_iter().take(1 + n as usize % 2));
        run.settle(Duration::from_millis(500));
    }
    assert_eq!(run.engine().flows(), 64);
    assert!((0..32).all(|n| run.client_of(n).end.is_none()), "after ten minutes");
    assert_eq!(evicted(&run)[1..], [0; 4]);
}

/// A connection that has not been answered is no connection of its client's; one that has been, is.
#[test]
fn a_repeated_syn_does_not_make_two_of_one() {
    let mut setup = setup(64);
    setup.limits.fairness.per_client = PerClient::AtMost(2);
    let mut wire = Wire::new(&setup);
    let who = client(4);
    for _ in 0..5 {
        assert!(wire.shake_hands(who, 7));
    }
    assert!(wire.shake_hands(who, 8) && !wire.syn(who, 9));
}
