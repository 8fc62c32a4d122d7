//! What happens in the life of an intercepted session, and from one to the next.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use smoltcp::wire::TcpSeqNumber;
use support::Exchange;
use support::frames::TcpFrame;
use support::lab::{Lab, Setup};
use wireglass_core::reason::Reason;
use wireglass_testbed::{Duration, Impairment, Link, Session, Step, Stop};

/// Keys change in the middle of the stream, by either end's wish, and both ends' at once.
#[test]
fn key_updates() {
    let lab = Lab::new();
    let exchange = Exchange::new(1, 200_000, 200_000);
    let with_updates = |bytes: &[u8], expected: usize, update: bool| {
        let mut script = Vec::new();
        for part in bytes.chunks(20_000) {
            script.push(Step::Send(part.to_vec()));
            if update {
                script.push(Step::UpdateKeys);
            }
        }
        script.extend([Step::Receive(expected), Step::Finish, Step::AwaitEnd]);
        script
    };
    let (request, response) = (&exchange.request, &exchange.response);
    for (client_updates, server_updates) in [(true, false), (false, true), (true, true)] {
        let case = (client_updates, server_updates);
        let client = with_updates(request, response.len(), client_updates);
        let server = with_updates(response, request.len(), server_updates);
        let mut run = lab.connect_tls(&Setup::default(), client, server);
        assert_eq!(run.run(), Stop::Done, "{case:?}");
        exchange.assert_done(run.client(), run.server(), &case);
    }
}

/// A client that comes back resumes its session, and the engine its own with the server.
#[test]
fn a_client_that_comes_back() {
    for version in [&TLS12, &TLS13] {
        let mut lab = Lab::new();
        lab.client.versions = vec![version];
        let exchange = Exchange::new(2, 1_000, 1_000);
        // Kept from connection to connection, as both ends keep their sessions there.
        let (config, server) = (lab.client.build().unwrap(), lab.server.build().unwrap());
        let mut run = lab.hosts(&Setup::default());
        for round in 0..3 {
            let client = lab.client_session(&config, exchange.client());
            let server = Session::tls_server(Arc::clone(&server), exchange.server()).unwrap();
            run.connect_ports(41_000 + round, 443, client, server);
            assert_eq!(run.run(), Stop::Done, "{round}");
            let (client, server) = (run.client_of(round.into()), run.server_of(round.into()));
            exchange.assert_done(client, server, &(version.version, round));
            assert_eq!(client.handshake.as_ref().unwrap().resumed, round > 0);
            assert_eq!(server.handshake.as_ref().unwrap().resumed, round > 0);
        }
        // The same certificate each time: it was minted once.
        let leaf = |n| run.client_of(n).handshake.as_ref().unwrap().chain[0].clone();
        assert_eq!(leaf(0), leaf(2));
    }
}

/// The same addresses and ports, one connection after the other.
#[test]
fn ports_that_are_used_again() {
    let lab = Lab::new();
    let mut run = lab.hosts(&Setup { flows: 2, ..Setup::default() });
    for round in 0..20 {
        let exchange = Exchange::new(round, 2_000, 2_000);
        let (client, server) = lab.sessions(exchange.client(), exchange.server());
        run.connect_ports(41_000, 443, client, server);
        assert_eq!(run.run(), Stop::Done, "{round}");
        let round = round as usize;
        exchange.assert_done(run.client_of(round), run.server_of(round), &round);
        // As long as smoltcp's own TIME-WAIT.
        run.settle(Duration::from_secs(11));
    }
    run.settle(Duration::from_secs(60));
    let ends: Vec<_> = run.flow_events().iter().map(|flow| flow.reason).collect();
    assert_eq!(ends, [Reason::Closed; 20]);
    assert_eq!(run.engine().flows(), 0);
}

/// Both streams pass the end of the sequence space, 2^32, at several places.
#[test]
fn sequence_numbers_wrap() {
    let lab = Lab::new();
    for before in [0, 1, 200, 1_700, 5_000, 40_000] {
        for loss in [0.0, 0.03] {
            let impairment = Impairment { loss, ..Impairment::default() };
            let setup = Setup { impairment, ..Setup::default() };
            let exchange = Exchange::new(3, 100_000, 100_000);
            let mut run = lab.connect_tls(&setup, exchange.client(), exchange.server());
            let simulation = &mut run.simulation;
            begin_at(&mut simulation.client_to_middle, &mut simulation.middle_to_client, before);
            begin_at(&mut simulation.server_to_middle, &mut simulation.middle_to_server, before);
            assert_eq!(run.run(), Stop::Done, "{before}");
            exchange.assert_done(run.client(), run.server(), &(before, loss));
        }
    }
}

/// Has a host's stream begin `before` bytes before the end of the sequence space, as the middle sees it.
fn begin_at(from_host: &mut Link, to_host: &mut Link, before: i32) {
    let shift = std::rc::Rc::new(std::cell::Cell::new(0_i32));
    let known = std::rc::Rc::clone(&shift);
    from_host.set_tamper(move |bytes| {
        let Some(frame) = TcpFrame::parse(&bytes) else { return vec![(Duration::ZERO, bytes)] };
        let seq = frame.tcp().seq_number().0;
        if frame.tcp().syn() {
            known.set((-before).wrapping_sub(seq));
        }
        let seq = TcpSeqNumber(seq.wrapping_add(known.get()));
        vec![(Duration::ZERO, frame.edited(|tcp| tcp.set_seq_number(seq)))]
    });
    to_host.set_tamper(move |bytes| {
        let Some(frame) = TcpFrame::parse(&bytes).filter(|frame| frame.tcp().ack()) else {
            return vec![(Duration::ZERO, bytes)];
        };
        let ack = TcpSeqNumber(frame.tcp().ack_number().0.wrapping_sub(shift.get()));
        vec![(Duration::ZERO, frame.edited(|tcp| tcp.set_ack_number(ack)))]
    });
}
