//! The pool of handshakes: bounded, and never more of a worker's turn than its share.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../core/tests/tls_support/mod.rs"]
mod tls_support;

use rustls_pki_types::CertificateDer;
use tls_support::pki::{Signed, ca_params, leaf_params};
use tls_support::*;
use wireglass::handshake_pool::Pool;
use wireglass_core::flow_table::{Class, FlowId, FlowTable};
use wireglass_core::job::{Job, Reply};
use wireglass_core::packet::FlowKey;
use wireglass_core::policy::Profile;
use wireglass_core::reason::Reason;
use wireglass_core::tls::{Failure, Input, Outcome};
use wireglass_core::x509::Provider;

/// Jobs that a worker may have at the pool.
const OUTSTANDING: usize = 1024;

fn job(world: &World) -> Box<Job> {
    let library = library(world.provider);
    let mut client = TlsEnd::client(client_config(&library, BOTH, &[]), HOST.try_into().unwrap());
    let handshake = Box::new(start(&world.context, &client.output(), Profile::default()));
    Box::new(Job::Handshake(handshake, Input { now: NOW, ..Input::default() }))
}

fn flow_id() -> FlowId {
    let [a, b] = ["192.0.2.1:40000", SERVER].map(|end| end.parse().unwrap());
    FlowTable::new(16).insert(0, FlowKey::between(0, [None; 2], a, b), Class::Opening, ()).unwrap()
}

#[test]
fn a_full_queue_gives_the_job_back() {
    let world = World::new(Provider::default());
    for threads in [0, 2] {
        let (pool, mut clients) = Pool::start(threads, 1).unwrap();
        let mut client = clients.remove(0);
        let id = flow_id();
        // From as many clients. One alone gets three quarters; see below.
        for n in 0..OUTSTANDING as u64 {
            assert!(client.submit(id, n, job(&world)).is_ok());
        }
        // Also when the threads have done all: until the worker has taken a reply, it has no room for another.
        assert!(client.submit(id, 9_999, job(&world)).is_err());
        let mut replies = 0;
        while replies < OUTSTANDING {
            let Some((_, reply)) = client.next_reply() else {
                std::thread::yield_now();
                continue;
            };
            replies += 1;
            let Reply::Handshake(Some((_, step))) = reply else { panic!("of a handshake") };
            assert!(matches!(step.outcome, Outcome::Pending) && !step.to_server.is_empty());
            assert_eq!(client.outstanding(), OUTSTANDING - replies);
        }
        assert!(client.next_reply().is_none() && client.submit(id, 0, job(&world)).is_ok());
        drop(client);
        drop(pool);
    }
}

/// Nor does one worker fill the queue to the threads for the others.
#[test]
fn one_client_does_not_fill_the_queue() {
    let world = World::new(Provider::default());
    let (_pool, mut clients) = Pool::start(0, 2).unwrap();
    let client = &mut clients[0];
    let id = flow_id();
    let taken = (0..OUTSTANDING).take_while(|_| client.submit(id, 1, job(&world)).is_ok()).count();
    assert_eq!(taken, OUTSTANDING * 3 / 4);
    let others = (2..50).filter(|other| client.submit(id, *other, job(&world)).is_ok()).count();
    assert_eq!(others, 48, "each of the others gets in");
    assert!(client.submit(id, 1, job(&world)).is_err());
    assert!(clients[1].submit(id, 1, job(&world)).is_ok(), "another worker's client is another queue's");
}

/// A worker that has to run them itself runs one a turn, and not when it is submitted.
#[test]
fn a_turn_takes_no_more_than_its_share() {
    let world = World::new(Provider::default());
    let (_pool, mut clients) = Pool::start(0, 1).unwrap();
    let client = &mut clients[0];
    let id = flow_id();
    for _ in 0..3 {
        client.submit(id, 0, job(&world)).ok().unwrap();
    }
    assert_eq!((client.each_turn(), client.outstanding()), (1, 3));
    assert!(client.next_reply().is_some());
    assert_eq!(client.outstanding(), 2);
    let (_pool, clients) = Pool::start(1, 1).unwrap();
    assert!(clients[0].each_turn() <= 64);
}

/// A mesh of CAs with the root's name: a leaf and all certificates of each by each other.
fn costly_chain() -> (Vec<CertificateDer<'static>>, Signed) {
    let cas: Vec<_> = (0..6).map(|_| Signed::by_itself(ca_params("Public Root"))).collect();
    let leaf = Signed::by(leaf_params(&[HOST]), &cas[0]);
    let mut chain = vec![leaf.der.clone()];
    for (i, ca) in cas.iter().enumerate() {
        let others = cas.iter().enumerate().filter(|(j, _)| *j != i);
        chain.extend(others.map(|(_, by)| {
            let key = rcgen::KeyPair::from_pem(&ca.key.serialize_pem()).unwrap();
            Signed::with_key(ca_params("Public Root"), by, key).der
        }));
    }
    (chain, leaf)
}

/// A handshake that has the server's first flight before it: the next step verifies the chain.
fn verifying(world: &World, chain: &[CertificateDer<'static>], key: &Signed) -> Box<Job> {
    let library = library(world.provider);
    let mut client = TlsEnd::client(client_config(&library, TLS13, &[]), HOST.try_into().unwrap());
    let mut server = TlsEnd::server(server_config(&library, TLS13, chain, key.private_key()));
    let mut handshake = Box::new(start(&world.context, &client.output(), Profile::default()));
    let step = handshake.advance(Input { now: NOW, ..Input::default() });
    server.input(&step.to_server);
    let input = Input { from_server: server.output(), now: NOW, ..Input::default() };
    Box::new(Job::Handshake(handshake, input))
}

/// Runs a handshake until it has failed: in how many steps, and how.
fn run_to_the_end(mut job: Job) -> (usize, Failure) {
    for steps in 1.. {
        let Reply::Handshake(Some((handshake, step))) = job.run() else { panic!("of a handshake") };
        if let Outcome::Failed(failure) = step.outcome {
            assert_eq!(step.to_server, [21, 3, 3, 0, 2, 2, 48], "an alert in the clear: unknown_ca");
            return (steps, failure);
        }
        assert!(step.to_server.is_empty(), "what is not verified gets nothing: {:?}", step.to_server);
        assert!(handshake.goes_on() && handshake.waits_for_others());
        job = Job::Handshake(handshake, Input { now: NOW, ..Input::default() });
    }
    unreachable!()
}

/// Who has presented a costly chain comes last: whatever number of its handshakes wait, another one waits for no more than one.
#[test]
fn others_do_not_wait_for_servers_that_were_costly() {
    let (world, other) = (World::new(Provider::default()), World::new(Provider::default()));
    let (chain, leaf) = costly_chain();
    let good = || verifying(&other, std::slice::from_ref(&other.leaf.der), &other.leaf);
    let first = verifying(&world, &chain, &leaf);
    assert!(!first.waits_for_others());
    let (steps, failure) = run_to_the_end(*first);
    assert!((9..=17).contains(&steps), "{steps} steps");
    assert_eq!(failure.reason, Reason::CertTooComplex);
    assert_eq!(world.context.caches().costly_chains(), 1);
    for threads in [0, 1] {
        let (pool, mut clients) = Pool::start(threads, 1).unwrap();
        let mut client = clients.remove(0);
        let id = flow_id();
        let hostile: Vec<_> = (0..100).map(|_| verifying(&world, &chain, &leaf)).collect();
        for (n, job) in hostile.into_iter().enumerate() {
            assert!(job.waits_for_others());
            assert!(client.submit(id, n as u64, job).is_ok());
        }
        assert!(client.submit(id, 1000, good()).is_ok());
        let (mut before, mut done) = (0, false);
        while client.outstanding() > 0 {
            let Some((_, Reply::Handshake(Some((_, step))))) = client.next_reply() else {
                std::thread::yield_now();
                continue;
            };
            match step.outcome {
                Outcome::Failed(_) if !done => before += 1,
                Outcome::Failed(_) => {}
                _ => done = true,
            }
        }
        // The thread has run some while the good one was being made.
        assert!(done && before < 100, "{before} of 100 came first, with {threads} thread(s)");
        assert!(threads > 0 || before == 0, "{before}");
        drop(client);
        drop(pool);
    }
}
