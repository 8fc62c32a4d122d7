//! Two hosts, four links and something in the middle, on one virtual clock.

use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;
use wireglass_core::port::PortSide;

use super::{Duration, Host, Impairment, Instant, Link};

/// What stands between the two cables.
pub trait Middle {
    /// A frame has arrived at `port`.
    fn receive(&mut self, now: Instant, port: PortSide, frame: Vec<u8>);
    /// Does all that is to be done at `now`.
    fn poll(&mut self, now: Instant);
    /// The next frame to leave, and where.
    fn transmit(&mut self) -> Option<(PortSide, Vec<u8>)>;
    /// When it wants to be polled although nothing arrives.
    fn next_timeout(&self) -> Option<Instant>;
}

/// A middle that is only a piece of wire.
#[derive(Debug, Default)]
pub struct Wire(std::collections::VecDeque<(PortSide, Vec<u8>)>);

impl Middle for Wire {
    fn receive(&mut self, _: Instant, port: PortSide, frame: Vec<u8>) {
        self.0.push_back((port.other(), frame));
    }

    fn poll(&mut self, _: Instant) {}

    fn transmit(&mut self) -> Option<(PortSide, Vec<u8>)> {
        self.0.pop_front()
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }
}

/// Into the middle, or out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Heading {
    /// The middle received the frame.
    In,
    /// The middle sent it.
    Out,
}

/// One frame at one port of the middle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// When.
    pub at: Instant,
    /// Where.
    pub port: PortSide,
    /// Which way.
    pub heading: Heading,
    /// The whole frame.
    pub frame: Vec<u8>,
}

/// Why a run stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Every session of both hosts is over.
    Done,
    /// Nothing is on the way and nobody waits for anything.
    Quiet,
    /// The time was up.
    Deadline,
}

/// Two hosts, four links and something in the middle. `M` is the middle.
pub struct Simulation<M> {
    /// The host inside.
    pub client: Host,
    /// The host outside.
    pub server: Host,
    /// What is tested.
    pub middle: M,
    /// From the client to the middle.
    pub client_to_middle: Link,
    /// From the middle to the client.
    pub middle_to_client: Link,
    /// From the server to the middle.
    pub server_to_middle: Link,
    /// From the middle to the server.
    pub middle_to_server: Link,
    now: Instant,
    trace: SipHasher13,
    recorded: Option<Vec<Crossing>>,
}

impl<M: Middle> Simulation<M> {
    /// Hosts switched on, at time zero. All four links have the same impairment and each its own accidents, which follow from `seed`.
    pub fn new(client: Host, server: Host, middle: M, impairment: Impairment, seed: u64) -> Self {
        let mut random = super::Random::new(seed);
        let mut link = || Link::new(impairment, random.next_u64());
        Self {
            client,
            server,
            middle,
            client_to_middle: link(),
            middle_to_client: link(),
            server_to_middle: link(),
            middle_to_server: link(),
            now: Instant::ZERO,
            trace: SipHasher13::new(),
            recorded: None,
        }
    }

    /// From now on keeps a copy of every frame that crosses a port of the middle.
    pub fn record(&mut self) {
        self.recorded.get_or_insert_default();
    }

    /// What was recorded, in order.
    pub fn recorded(&self) -> &[Crossing] {
        self.recorded.as_deref().unwrap_or_default()
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// A digest of every frame that has crossed a port of the middle: when, where and every byte.
    pub fn trace_digest(&self) -> u64 {
        self.trace.clone().finish()
    }

    /// Lets `frame` arrive at the middle, now, from nowhere.
    pub fn inject(&mut self, port: PortSide, frame: Vec<u8>) {
        self.enter(port, frame);
    }

    /// Runs until every session is over, or nothing happens any more, or `limit` of virtual time has passed.
    pub fn run(&mut self, limit: Duration) -> Stop {
        self.run_until(limit, |simulation| simulation.client.is_done() && simulation.server.is_done())
    }

    /// Runs on, whether the sessions are over or not.
    pub fn settle(&mut self, limit: Duration) -> Stop {
        self.run_until(limit, |_| false)
    }

    /// Runs until `done`, or nothing happens any more, or `limit` of virtual time has passed.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> Stop {
        let deadline = self.now + limit;
        loop {
            self.step();
            if done(self) {
                return Stop::Done;
            }
            match self.next_event() {
                None => return Stop::Quiet,
                Some(at) if at > deadline => {
                    self.now = deadline;
                    return Stop::Deadline;
                }
                Some(at) => self.now = at,
            }
        }
    }

    /// Does all that is to be done at this instant, in a fixed order.
    fn step(&mut self) {
        let now = self.now;
        while let Some(frame) = self.client_to_middle.receive(now) {
            self.enter(PortSide::Inside, frame);
        }
        while let Some(frame) = self.server_to_middle.receive(now) {
            self.enter(PortSide::Outside, frame);
        }
        self.middle.poll(now);
        while let Some((port, frame)) = self.middle.transmit() {
            self.note(Heading::Out, port, &frame);
            match port {
                PortSide::Inside => self.middle_to_client.send(now, frame),
                PortSide::Outside => self.middle_to_server.send(now, frame),
            }
        }
        let ends = [
            (&mut self.client, &mut self.middle_to_client, &mut self.client_to_middle),
            (&mut self.server, &mut self.middle_to_server, &mut self.server_to_middle),
        ];
        for (host, from_middle, to_middle) in ends {
            while let Some(frame) = from_middle.receive(now) {
                host.receive(&frame);
            }
            host.poll(now);
            while let Some(frame) = from_middle.next_answer() {
                to_middle.send(now, frame);
            }
            while let Some(frame) = host.transmit() {
                to_middle.send(now, frame);
            }
            while let Some(frame) = to_middle.next_answer() {
                from_middle.send(now, frame);
            }
        }
    }

    /// When the next thing happens; always later than now.
    fn next_event(&mut self) -> Option<Instant> {
        let links =
            [&self.client_to_middle, &self.middle_to_client, &self.server_to_middle, &self.middle_to_server];
        let arrival = links.into_iter().filter_map(Link::next_arrival).min();
        let timeouts = [
            self.client.next_timeout(self.now),
            self.server.next_timeout(self.now),
            self.middle.next_timeout(),
        ];
        let next = timeouts.into_iter().flatten().chain(arrival).min()?;
        // Whoever says "at once" is polled again a little later, so that the clock always moves.
        Some(next.max(self.now + Duration::from_micros(10)))
    }

    fn enter(&mut self, port: PortSide, frame: Vec<u8>) {
        self.note(Heading::In, port, &frame);
        self.middle.receive(self.now, port, frame);
    }

    fn note(&mut self, heading: Heading, port: PortSide, frame: &[u8]) {
        (self.now.total_micros(), heading, port, frame).hash(&mut self.trace);
        if let Some(recorded) = &mut self.recorded {
            recorded.push(Crossing { at: self.now, port, heading, frame: frame.to_vec() });
        }
    }
}
