//! What one burst brings to a flow is relayed and acknowledged once, unless the sender has to count.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;

use smoltcp::wire::{TcpOption, TcpPacket};
use support::Exchange;
use support::frames::TcpFrame;
use support::lab::{LIMIT, Lab, Setup};
use wireglass::driver::BURST;
use wireglass::peers::{
    Crossing, Engine, Heading, Host, HostConfig, Impairment, Instant, Middle, Port, Simulation, Stop,
};

/// At one instant on the outside: segments with payload that came, and acknowledgements without payload that left.
#[derive(Default)]
struct Moment {
    came: usize,
    acknowledged: Vec<u32>,
}

fn moments(recorded: &[Crossing]) -> BTreeMap<Instant, Moment> {
    let mut moments: BTreeMap<Instant, Moment> = BTreeMap::new();
    for crossing in recorded.iter().filter(|crossing| crossing.port == Port::Outside) {
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
    fn receive(&mut self, now: Instant, port: Port, frame: Vec<u8>) {
        let frame = match TcpFrame::parse(&frame) {
            Some(tcp) if tcp.tcp().syn() => tcp.edited(forget_sack),
            _ => frame,
        };
        match port {
            Port::Inside => self.engine.receive(now, port, frame),
            Port::Outside => self.waiting.push(frame),
        }
    }

    fn poll(&mut self, now: Instant) {
        if !self.lost && self.waiting.len() >= 10 {
            self.waiting.remove(2);
            self.lost = true;
        }
        for frame in self.waiting.drain(..) {
            self.engine.receive(now, Port::Outside, frame);
        }
        self.engine.poll(now);
    }

    fn transmit(&mut self) -> Option<(Port, Vec<u8>)> {
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
