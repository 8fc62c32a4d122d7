//! Each end's way to end is mirrored to the other, and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::Exchange;
use support::lab::{Lab, Run, Setup};
use wireglass_core::event::Action;
use wireglass_core::flow::Limits;
use wireglass_core::reason::Reason;
use wireglass_testbed::{Duration, Ending, Impairment, Session, Step, Stop};

const MINUTE: Duration = Duration::from_secs(60);

/// Runs these scripts inside TLS to their end, and until the engine has forgotten the flow.
fn run(client: Vec<Step>, server: Vec<Step>) -> Run {
    let mut run = Lab::new().connect_tls(&Setup::default(), client, server);
    run.run();
    run.settle(MINUTE * 2);
    assert_eq!(run.engine().flows(), 0);
    run
}

#[test]
fn the_client_closes_first_or_the_server() {
    let exchange = Exchange::new(1, 20_000, 100_000);
    let client_last = vec![Step::Send(exchange.request.clone()), Step::AwaitEnd, Step::Finish];
    let server_first =
        vec![Step::Receive(exchange.request.len()), Step::Send(exchange.response.clone()), Step::Finish];
    for (client, server) in [(exchange.client(), exchange.server()), (client_last, server_first)] {
        let run = run(client, server);
        exchange.assert_done(run.client(), run.server(), &"closing");
        assert_eq!(run.flow_end(), ("decrypted", Reason::Closed));
    }
}

#[test]
fn half_close_leaves_the_other_direction_open() {
    let exchange = Exchange::new(2, 50_000, 200_000);
    let early = |bytes: &Vec<u8>| vec![Step::Send(bytes.clone()), Step::Finish, Step::AwaitEnd];
    let late = |bytes: &Vec<u8>| vec![Step::AwaitEnd, Step::Send(bytes.clone()), Step::Finish];
    let (request, response) = (&exchange.request, &exchange.response);
    for (client, server) in [(early(request), late(response)), (late(request), early(response))] {
        let run = run(client, server);
        exchange.assert_done(run.client(), run.server(), &"half-close");
        assert_eq!(run.flow_end(), ("decrypted", Reason::Closed));
    }
}

#[test]
fn a_stream_cut_short_stays_cut_short() {
    let exchange = Exchange::new(3, 5_000, 50_000);
    let client = vec![Step::Send(exchange.request.clone()), Step::AwaitEnd, Step::Finish];
    let server =
        vec![Step::Receive(exchange.request.len()), Step::Send(exchange.response.clone()), Step::Truncate];
    let run = run(client, server);
    assert!(run.client().received == exchange.response && run.server().received == exchange.request);
    assert_eq!(run.client().end, Some(Ending::Truncated), "no close_notify is made up");
    assert_eq!(run.server().end, Some(Ending::Finished));
}

#[test]
fn a_reset_of_either_end_is_a_reset_for_the_other() {
    let bytes = || Step::Send(vec![5; 100_000]);
    let patient = || vec![bytes(), Step::AwaitEnd];
    let hasty = |after| vec![Step::Receive(after), Step::Reset];
    for after in [1, 30_000, 99_000] {
        let from_server = run(patient(), hasty(after));
        assert_eq!(from_server.client().end, Some(Ending::Reset), "{after}");
        assert_eq!(from_server.flow_end().1, Reason::ServerReset, "{after}");

        let from_client = run(hasty(after), patient());
        assert_eq!(from_client.server().end, Some(Ending::Reset), "{after}");
        assert_eq!(from_client.flow_end().1, Reason::ClientReset, "{after}");
    }
}

/// In TLS 1.3 a server sees after its handshake that there is no client certificate, and some say no more than RST.
#[test]
fn a_reset_for_want_of_a_client_certificate() {
    let cases = [
        (true, vec![Step::Receive(1), Step::Reset], Reason::ServerRequiresClientCert),
        (
            true,
            vec![Step::Receive(1), Step::Send(vec![1; 9]), Step::Receive(200), Step::Reset],
            Reason::ServerReset,
        ),
        (false, vec![Step::Receive(1), Step::Reset], Reason::ServerReset),
    ];
    for (asks, server, reason) in cases {
        let mut lab = Lab::new();
        if asks {
            (lab.server.client_root, lab.server.insists) = (Some(lab.pki.root()), false);
        }
        let client =
            vec![Step::Send(vec![1; 100]), Step::Receive(9), Step::Send(vec![1; 100]), Step::AwaitEnd];
        let mut run = lab.connect_tls(&Setup::default(), client, server);
        run.run();
        run.settle(MINUTE * 2);
        assert_eq!((run.client().end.clone(), run.flow_end().1), (Some(Ending::Reset), reason));
    }
}

/// A server that does not speak TLS at all, or hangs up before it has said anything.
#[test]
fn a_server_that_fails_during_the_handshake() {
    let cases = [
        (vec![Step::Receive(1), Step::Reset], Reason::ServerReset),
        (vec![Step::Receive(1), Step::Finish], Reason::ServerClosed),
        (
            vec![Step::Receive(1), Step::Send(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())],
            Reason::ServerProtocol,
        ),
        (
            vec![Step::Receive(1), Step::Send(vec![21, 3, 3, 0, 2, 2, 80]), Step::AwaitEnd],
            Reason::ServerAlert,
        ),
    ];
    let lab = Lab::new();
    let config = lab.client.build().unwrap();
    for (script, reason) in cases {
        let client = lab.client_session(&config, vec![Step::Send(vec![1; 100]), Step::AwaitEnd]);
        let mut run = lab.connect(&Setup::default(), client, Session::plain(script));
        run.run();
        assert!(run.client().handshake.is_none() && run.client().sent == 0, "{reason:?}");
        let end = run.client().end.clone().unwrap();
        match reason {
            Reason::ServerReset => assert_eq!(end, Ending::Reset),
            Reason::ServerAlert => assert_eq!(end, Ending::Alert(80)), // internal_error, as the server said
            _ => assert!(end != Ending::Finished, "{reason:?}: {end:?}"),
        }
        assert_eq!(run.tls_event().reason, reason);
        assert_eq!(run.tls_event().minted_serial, None);
        run.settle(MINUTE * 2);
        assert_eq!(run.flow_end().1, reason);
        assert_eq!(run.engine().flows(), 0);
    }
}

#[test]
fn a_server_that_does_not_answer_the_hello() {
    let lab = Lab::new();
    let config = lab.client.build().unwrap();
    let client = lab.client_session(&config, vec![Step::Send(vec![1; 100]), Step::AwaitEnd]);
    let mut run = lab.connect(&Setup::default(), client, Session::plain(vec![Step::AwaitEnd]));
    run.settle(MINUTE * 2);
    assert!(run.client().end.is_some() && run.server().end.is_some());
    assert_eq!(run.tls_event().reason, Reason::ServerTimeout);
    assert_eq!(run.engine().flows(), 0);
}

/// Either cable is cut in the middle of a transfer: the other end learns of it, and everything is let go.
#[test]
fn silence_frees_everything() {
    let exchange = Exchange::new(4, 1_000, 3_000_000);
    for server_side in [false, true] {
        let lab = Lab::new();
        let mut run = lab.connect_tls(&Setup::default(), exchange.client(), exchange.server());
        let client = run.client_id();
        run.simulation.run_until(MINUTE, |s| s.client.report(client).received.len() > 500_000);
        let links = &mut run.simulation;
        if server_side {
            links.server_to_middle.cut();
            links.middle_to_server.cut();
        } else {
            links.client_to_middle.cut();
            links.middle_to_client.cut();
        }
        run.settle(MINUTE * 75);
        assert_eq!(run.engine().flows(), 0, "server side {server_side}");
        let reason = run.flow_end().1;
        if server_side {
            assert!(matches!(reason, Reason::ServerTimeout | Reason::Idle), "{reason:?}");
            assert_eq!(run.client().end, Some(Ending::Reset));
        } else {
            assert_eq!(reason, Reason::ClientTimeout);
            assert_eq!(run.server().end, Some(Ending::Reset));
        }
    }
}

#[test]
fn an_idle_connection_is_given_up() {
    let lab = Lab::new();
    let limits = Limits { idle_time: MINUTE * 10, ..Limits::default() };
    let setup = Setup { limits, ..Setup::default() };
    let idle = |before: Duration| vec![Step::Send(vec![1; 10]), Step::Receive(10), Step::Pause(before)];
    let (client, server) = lab.sessions(idle(MINUTE * 100), idle(MINUTE * 100));
    let mut run = lab.connect(&setup, client, server);
    run.settle(MINUTE * 9);
    assert_eq!(run.engine().flows(), 1);
    run.settle(MINUTE * 2);
    assert_eq!(run.flow_end(), ("decrypted", Reason::Idle));
    run.settle(Duration::from_secs(5));
    assert_eq!((&run.client().end, &run.server().end), (&Some(Ending::Finished), &Some(Ending::Finished)));
    assert_eq!(run.engine().flows(), 0);
}

#[test]
fn resets_get_through_bad_links() {
    let lab = Lab::new();
    for seed in 0..10 {
        let impairment = Impairment { loss: 0.05, reorder: 0.2, ..Impairment::default() };
        let setup = Setup { seed, impairment, mtu: 9000, wire_mtu: 9000, ..Setup::default() };
        let client = vec![Step::Send(vec![5; 200_000]), Step::AwaitEnd];
        let mut run = lab.connect_tls(&setup, client, vec![Step::Receive(100_000), Step::Reset]);
        run.run();
        // One RST may be lost; what the client then sends is answered by another, or by silence that ends.
        run.settle(MINUTE * 75);
        assert_eq!(run.engine().flows(), 0, "{setup:?}");
    }
}

/// The engine stops: both ends are told at once, and the log has the flow's end.
#[test]
fn the_engine_stops() {
    let lab = Lab::new();
    let exchange = Exchange::new(5, 1_000, 3_000_000);
    let mut run = lab.connect_tls(&Setup::default(), exchange.client(), exchange.server());
    let client = run.client_id();
    run.simulation.run_until(MINUTE, |s| s.client.report(client).received.len() > 500_000);
    let now = run.simulation.now();
    run.simulation.middle.shut_down(now);
    assert_eq!(run.run(), Stop::Done);
    assert_eq!((&run.client().end, &run.server().end), (&Some(Ending::Reset), &Some(Ending::Reset)));
    assert_eq!(run.flow_end().1, Reason::Shutdown);
    assert_eq!(run.tls_event().action, Action::Decrypt);
    assert_eq!(run.engine().flows(), 0);
}

/// A server that speaks and hangs up while the client's handshake still runs: what it said has been taken in pieces that end
/// anywhere, and its FIN comes in the middle of that.
#[test]
fn a_server_that_speaks_first_and_hangs_up_is_heard_to_the_end() {
    for len in (1..40).map(|n| n * 1_777) {
        let exchange = Exchange::new(5, 10, len);
        let server = vec![Step::Send(exchange.response.clone()), Step::Finish, Step::AwaitEnd];
        let run = run(vec![Step::AwaitEnd, Step::Finish], server);
        assert!(run.client().received == exchange.response, "{len}: {} bytes", run.client().received.len());
        assert_eq!(run.client().end, Some(Ending::Finished), "{len}");
    }
}
