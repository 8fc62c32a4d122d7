//! What one burst brings to a flow is relayed and acknowledged once, unless the sender has to count.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;

use smoltcp::wire::{TcpOption, TcpPacket};
use support::Exchange;
use support::frames::TcpFrame;
use support::lab::{LIMIT, Lab, Setup};
use wireglass::simulate::Engine;
use wireglass_core::port::BURST;
use wireglass_testbed::{
    Crossing, Duration, Heading, Host, HostConfig, Impairment, Instant, Middle, PortSide, Simulation, Stop,
};

/// At one instant on the outside: segments with payload that came, and acknowledgements without payload that left.
#[derive(Default)]
struct Moment {
    came: usize,
    acknowledged: Vec<u32>,
}

fn moments(recorded: &[Crossing]) -> BTreeMap<Instant, Moment> {
    let mut moments: BTreeMap<Instant, Moment> = BTreeMap::new();
    for crossing in recorded.iter().filter(|crossing| crossing.port == PortSide::Outside) {
        let Some(frame) = TcpFrame::parse(&crossing.frame) else { continue };
        let moment = moments.entry(crossing.at).or_default();
        match (crossing.heading, frame.payload().is_empty()) {
            (Heading::In, false) => moment.came += 1,
            (Heading::Out, true) if !frame.tcp().syn() => {
                moment.acknowledged.push(frame.tcp().ack_number().0 as u32);
            }
            _ => {}
        }
    }
    moments
}

#[test]
fn a_burst_is_acknowledged_once() {
    let lab = Lab::new();
    let exchange = Exchange::new(1, 1_000, 1_000_000);
    let mut run = lab.connect_tls(&Setup::default(), exchange.client(), exchange.server());
    run.simulation.record();
    let stop = run.run();
    exchange.assert_done(run.client(), run.server(), &stop);
    let moments = moments(run.simulation.recorded());
    let largest = moments.values().map(|moment| moment.came).max().unwrap();
    assert!(largest >= 20, "no burst came: {largest} segments at most");
    for (at, moment) in moments.iter().filter(|(_, moment)| moment.came > 1) {
        let most = moment.came.div_ceil(BURST);
        let acks = moment.acknowledged.len();
        assert!(acks <= most, "{acks} ACKs for {} segments at {at}", moment.came);
    }
}

/// The engine on a wire whose hosts have no SACK, and which loses one segment out of the middle of a large flight.
struct Lossy {
    engine: Engine,
    waiting: Vec<Vec<u8>>,
    lost: bool,
}

impl Middle for Lossy {
    fn receive(&mut self, now: Instant, port: PortSide, frame: Vec<u8>) {
        let frame = match TcpFrame::parse(&frame) {
            Some(tcp) if tcp.tcp().syn() => tcp.edited(forget_sack),
            _ => frame,
        };
        match port {
            PortSide::Inside => self.engine.receive(now, port, frame),
            PortSide::Outside => self.waiting.push(frame),
        }
    }

    fn poll(&mut self, now: Instant) {
        if !self.lost && self.waiting.len() >= 10 {
            self.waiting.remove(2);
            self.lost = true;
        }
        for frame in self.waiting.drain(..) {
            self.engine.receive(now, PortSide::Outside, frame);
        }
        self.engine.poll(now);
    }

    fn transmit(&mut self) -> Option<(PortSide, Vec<u8>)> {
        self.engine.transmit()
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.engine.next_timeout()
    }
}

fn forget_sack(tcp: &mut TcpPacket<&mut [u8]>) {
    let options = tcp.options_mut();
    let mut at = 0;
    while let Ok((rest, option)) = TcpOption::parse(&options[at..]) {
        let next = options.len() - rest.len();
        match option {
            TcpOption::EndOfList => return,
            TcpOption::SackPermitted => options[at..next].fill(1),
            _ => {}
        }
        at = next;
    }
}

#[test]
fn without_sack_each_segment_behind_a_gap_is_acknowledged() {
    let lab = Lab::new();
    let setup = Setup::default();
    let exchange = Exchange::new(2, 1_000, 1_000_000);
    let (client, server) = lab.sessions(exchange.client(), exchange.server());
    let (engine, _log) = lab.engine(&setup);
    let host = |number| Host::new(Instant::ZERO, HostConfig { seed: 7, ..HostConfig::numbered(number) });
    let middle = Lossy { engine, waiting: Vec::new(), lost: false };
    let mut simulation = Simulation::new(host(1), host(2), middle, Impairment::default(), 1);
    simulation.record();
    let address = std::net::SocketAddr::new(simulation.server.address(false).unwrap(), setup.port);
    let server = simulation.server.listen(setup.port, server);
    let client = simulation.client.connect(address, 40_000, client);
    assert_eq!(simulation.run(LIMIT), Stop::Done);
    exchange.assert_done(simulation.client.report(client), simulation.server.report(server), &"lossy");
    assert!(simulation.middle.lost, "no flight was large enough");
    // Two segments before the gap, and all behind it: three of those ACKs make the sender repeat (RFC 5681 3.2).
    let repeated = |moment: &Moment| {
        let last = moment.acknowledged.last().copied();
        moment.acknowledged.iter().filter(|&&ack| Some(ack) == last).count()
    };
    let most = moments(simulation.recorded()).values().map(repeated).max();
    assert!(most >= Some(7), "{most:?} ACKs for the same byte at once");
}

/// The engine, which once gets no core for a while. What came meanwhile lies behind more frames than a turn takes.
struct Paused {
    engine: Engine,
    /// Frames until then.
    left: usize,
    waiting: Vec<(PortSide, Vec<u8>)>,
    until: Option<Instant>,
}

impl Paused {
    /// Longer than the least retransmission timeout.
    const PAUSE: Duration = Duration::from_millis(300);
}

impl Middle for Paused {
    fn receive(&mut self, now: Instant, port: PortSide, frame: Vec<u8>) {
        self.left = self.left.saturating_sub(1);
        // An ACK, so the timer of what it acknowledges is running.
        if self.left == 0 && port == PortSide::Inside && self.until.is_none() {
            self.until = Some(now + Self::PAUSE);
        }
        match self.until {
            Some(until) if now < until => self.waiting.push((port, frame)),
            _ => self.engine.receive(now, port, frame),
        }
    }

    fn poll(&mut self, now: Instant) {
        match self.until {
            Some(until) if now < until => return,
            Some(_) if !self.waiting.is_empty() => {
                for port in [PortSide::Inside, PortSide::Outside] {
                    // Of a protocol that is not for us.
                    (0..2 * BURST).for_each(|_| self.engine.receive(now, port, vec![0; 60]));
                }
                for (port, frame) in self.waiting.drain(..) {
                    self.engine.receive(now, port, frame);
                }
            }
            _ => {}
        }
        self.engine.poll(now);
    }

    fn transmit(&mut self) -> Option<(PortSide, Vec<u8>)> {
        self.engine.transmit()
    }

    fn next_timeout(&self) -> Option<Instant> {
        if self.waiting.is_empty() { self.engine.next_timeout() } else { self.until }
    }
}

#[test]
fn timers_wait_for_what_came_during_a_pause() {
    let (mut pauses, lab, setup) = (0, Lab::new(), Setup::default());
    let exchange = Exchange::new(3, 1_000, 60_000);
    // All of the answer is on its way in some of them, so that a probe would repeat what is there already.
    for frames in (10..100).step_by(5) {
        let (client, server) = lab.sessions(exchange.client(), exchange.server());
        let (engine, _log) = lab.engine(&setup);
        let host = |number| Host::new(Instant::ZERO, HostConfig { seed: 7, ..HostConfig::numbered(number) });
        let middle = Paused { engine, left: frames, waiting: Vec::new(), until: None };
        let mut simulation = Simulation::new(host(1), host(2), middle, Impairment::default(), 1);
        let address = std::net::SocketAddr::new(simulation.server.address(false).unwrap(), setup.port);
        let server = simulation.server.listen(setup.port, server);
        let client = simulation.client.connect(address, 40_000, client);
        assert_eq!(simulation.run(LIMIT), Stop::Done);
        exchange.assert_done(simulation.client.report(client), simulation.server.report(server), &frames);
        pauses += usize::from(simulation.middle.until.is_some());
        let counters = &simulation.middle.engine.counters()[0];
        let repeated = (counters.retransmits.value(), counters.tcp_timeouts.value());
        assert_eq!(repeated, (0, 0), "after {frames} frames");
    }
    assert!(pauses > 10, "{pauses} downloads were paused");
}
