//! What good handshakes wait for costly chains of others, measured.
//!
//! `cargo test --release -p wireglass --test handshake_latency -- --ignored --nocapture`
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

#[path = "../core/tests/tls_support/mod.rs"]
mod tls_support;

use std::time::{Duration, Instant};

use rustls_pki_types::CertificateDer;
use tls_support::pki::{Signed, ca_params, leaf_params};
use tls_support::*;
use wireglass::handshake_pool::{Client, Pool};
use wireglass_core::flow_table::{Class, FlowId, FlowTable};
use wireglass_core::job::{Job, Reply};
use wireglass_core::packet::FlowKey;
use wireglass_core::policy::Profile;
use wireglass_core::tls::{Destination, Handshake, Input, Outcome, Step};
use wireglass_core::x509::Provider;

/// Good handshakes of a run, one after the other.
const GOOD: usize = 1000;
/// Hostile ones that wait at any time.
const WAITING: usize = 16;
/// Hostile ones are made before, as many as a run can take.
const HOSTILE: usize = 1500;
const PAIRS: usize = 5;

/// CAs with the root's name, each with a certificate by each other, and a leaf: as costly as a chain can be.
struct Hostile {
    chain: Vec<CertificateDer<'static>>,
    leaf: Signed,
}

impl Hostile {
    fn new() -> Self {
        let cas: Vec<_> = (0..6).map(|_| Signed::by_itself(ca_params("Public Root"))).collect();
        let leaf = Signed::by(leaf_params(&[HOST]), &cas[0]);
        let mut chain = vec![leaf.der.clone()];
        for (i, ca) in cas.iter().enumerate() {
            for (_, by) in cas.iter().enumerate().filter(|(j, _)| *j != i) {
                let key = rcgen::KeyPair::from_pem(&ca.key.serialize_pem()).unwrap();
                chain.push(Signed::with_key(ca_params("Public Root"), by, key).der);
            }
        }
        Self { chain, leaf }
    }

    /// A handshake with a server at an address of its own, which has presented it: so nobody knows it yet.
    fn job(&self, world: &World, number: u32) -> Job {
        let library = library(world.provider);
        // Another name for each: what was found of the chain for one name says nothing of another.
        let name = format!("host{number}.example.com").try_into().unwrap();
        let mut client = TlsEnd::client(client_config(&library, TLS13, &[]), name);
        let mut server = TlsEnd::server(server_config(&library, TLS13, &self.chain, self.leaf.private_key()));
        let server_address = ([10, 0, (number >> 8) as u8, number as u8], 443).into();
        let destination = Destination { server: server_address, ..destination() };
        let mut handshake =
            Box::new(start_to(&world.context, &client.output(), destination, Profile::default()));
        let step = handshake.advance(Input { now: NOW, ..Input::default() });
        server.input(&step.to_server);
        let from_server = server.output();
        Job::Handshake(handshake, Input { from_server, now: NOW, ..Input::default() })
    }
}

/// A worker's end of the pool, and hostile handshakes that wait there.
struct Bench {
    worker: Client,
    good: FlowId,
    hostile: FlowId,
    waiting: usize,
    more: Vec<Job>,
    finished: usize,
}

impl Bench {
    /// Runs a step of a good one, and keeps the number of hostile ones up meanwhile.
    fn step(&mut self, handshake: Box<Handshake>, input: Input) -> (Box<Handshake>, Step, Duration) {
        let begun = Instant::now();
        assert!(self.worker.submit(self.good, 1, Box::new(Job::Handshake(handshake, input))).is_ok());
        loop {
            self.top_up();
            let Some((flow, reply)) = self.worker.next_reply() else {
                std::thread::sleep(Duration::from_micros(10));
                continue;
            };
            let Reply::Handshake(Some((handshake, step))) = reply else { panic!("of a handshake") };
            if flow == self.good {
                return (handshake, step, begun.elapsed());
            }
            self.hostile_came_back(handshake, &step);
        }
    }

    fn hostile_came_back(&mut self, handshake: Box<Handshake>, step: &Step) {
        if handshake.goes_on() {
            let job = Job::Handshake(handshake, Input { now: NOW, ..Input::default() });
            assert!(self.worker.submit(self.hostile, 2, Box::new(job)).is_ok());
        } else {
            assert!(matches!(step.outcome, Outcome::Failed(_)));
            self.waiting -= 1;
            self.finished += 1;
        }
    }

    fn top_up(&mut self) {
        while self.waiting < WAITING
            && let Some(job) = self.more.pop()
        {
            assert!(self.worker.submit(self.hostile, 2, Box::new(job)).is_ok());
            self.waiting += 1;
        }
    }

    /// The time that a good handshake takes at the pool.
    fn good(&mut self, world: &World) -> Duration {
        let library = library(world.provider);
        let mut client = TlsEnd::client(
            client_config(&library, TLS13, std::slice::from_ref(&world.trusted)),
            HOST.try_into().unwrap(),
        );
        let chain = std::slice::from_ref(&world.leaf.der);
        let mut server = TlsEnd::server(server_config(&library, TLS13, chain, world.leaf.private_key()));
        let mut handshake = Box::new(start(
            &world.context,
            &client.output(),
            Profile { resumption: false, ..Profile::default() },
        ));
        let (mut input, mut took) = (Input { now: NOW, ..Input::default() }, Duration::ZERO);
        loop {
            let (back, step, time) = self.step(handshake, input);
            took += time;
            handshake = back;
            match step.outcome {
                Outcome::Established(_) => return took,
                Outcome::Failed(failure) => panic!("{failure:?}"),
                Outcome::Pending => {
                    client.input(&step.to_client);
                    server.input(&step.to_server);
                }
            }
            let (from_client, from_server) = (client.output(), server.output());
            input = Input { from_client, from_server, now: NOW, ..Input::default() };
        }
    }
}

/// Median and 99th percentile of good handshakes, and how many hostile ones have ended meanwhile.
fn measure(threads: usize, hostile: Vec<Job>) -> (Duration, Duration, usize) {
    let world = World::new(Provider::default());
    let (pool, mut workers) = Pool::start(threads, 1).unwrap();
    let ids = |n: u16| {
        let [a, b] = [format!("192.0.2.1:{}", 40_000 + n), SERVER.to_owned()].map(|end| end.parse().unwrap());
        FlowKey::between(0, [None; 2], a, b)
    };
    let mut table = FlowTable::new(16);
    let [good, hostile_id] = [1, 2].map(|n| table.insert(n.into(), ids(n), Class::Opening, ()).unwrap());
    let mut bench = Bench {
        worker: workers.remove(0),
        good,
        hostile: hostile_id,
        waiting: 0,
        more: hostile,
        finished: 0,
    };
    let mut times: Vec<_> = (0..GOOD).map(|_| bench.good(&world)).collect();
    times.sort_unstable();
    let finished = bench.finished;
    assert!(bench.more.is_empty() == (finished == 0), "there were hostile ones to the end: {finished}");
    drop(bench);
    drop(pool);
    (times[GOOD / 2], times[GOOD * 99 / 100], finished)
}

/// The 99th percentile of good handshakes beside hostile ones is to be at most twice what it is without: with two cores and nothing else on
/// them it is 1.1 to 1.7 times, beside other programs up to 2.5 times.
#[test]
#[ignore = "measures time: to be run alone, in release"]
fn good_handshakes_beside_costly_chains() {
    let (hostile, world) = (Hostile::new(), World::new(Provider::default()));
    for threads in [1, 2] {
        let mut ratios: Vec<f64> = Vec::new();
        for pair in 0..PAIRS {
            let alone = measure(threads, Vec::new());
            // A world of its own: no address is known.
            let jobs =
                (0..HOSTILE as u32).map(|n| hostile.job(&world, n + (pair * HOSTILE) as u32)).collect();
            let beside = measure(threads, jobs);
            println!(
                "{threads} thread(s): alone p50 {:?} p99 {:?}; beside {} hostile p50 {:?} p99 {:?}",
                alone.0, alone.1, beside.2, beside.0, beside.1
            );
            ratios.push(beside.1.as_secs_f64() / alone.1.as_secs_f64());
        }
        ratios.sort_unstable_by(f64::total_cmp);
        println!(
            "{threads} thread(s): p99 beside / alone, median of {PAIRS} pairs: {:.2}",
            ratios[PAIRS / 2]
        );
        assert!(ratios[PAIRS / 2] <= 2.0, "{threads} thread(s): {ratios:?}");
    }
}
