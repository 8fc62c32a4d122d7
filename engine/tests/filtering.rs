//! Flows whose plaintext is decided on: held, dropped, inserted, ended, at once or late.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/filters.rs"]
mod filters;
mod support;

use std::sync::Arc;

use filters::{AtRandom, Decided, Each, Script, Scripted};
use support::lab::{Lab, Run, Setup};
use wireglass_core::content::{Ending, Verdict};
use wireglass_core::end::End;
use wireglass_core::reason::Reason;
use wireglass_testbed::{Duration, Ending as Heard, Impairment, Instant, Random, Step};

const SECOND: Duration = Duration::from_secs(1);

fn scripted(script: Script) -> Setup {
    Setup { filters: Arc::new(Each(move || Scripted::new(script))), ..Setup::default() }
}

/// A client that says this, and a server that says that; both wait for the end of the other.
fn exchange(setup: &Setup, request: &[u8], response: &[u8]) -> Run {
    let client = vec![Step::Send(request.to_vec()), Step::Finish, Step::AwaitEnd];
    let server = vec![Step::Send(response.to_vec()), Step::Finish, Step::AwaitEnd];
    Lab::new().connect_tls(setup, client, server)
}

/// Until both ends are through, and the flow is over.
fn run_to_the_end(run: &mut Run) {
    run.run();
    run.settle(SECOND * 600);
    assert_eq!((run.engine().flows(), run.counters().flow_bytes.value()), (0, 0));
}

fn bytes(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|n| ((n * 31 + salt) % 251) as u8).collect()
}

#[test]
fn what_a_filter_decides_is_what_arrives() {
    for seed in 0..24 {
        let decided = Decided::default();
        let of_flow = Arc::clone(&decided);
        let loss = if seed % 3 == 0 { 0.0 } else { 0.03 };
        let impairment = Impairment { loss, reorder: loss * 3.0, ..Impairment::default() };
        let filters = Arc::new(Each(move || AtRandom::new(seed, &of_flow)));
        let setup = Setup { seed, filters, impairment, ..Setup::default() };
        let mut run = exchange(&setup, &bytes(300_000, 1), &bytes(200_000, 2));
        run_to_the_end(&mut run);
        let decided = decided.lock().unwrap();
        assert!(run.server().received == decided[End::Client], "to the server, seed {seed}");
        assert!(run.client().received == decided[End::Server], "to the client, seed {seed}");
        assert_eq!((&run.client().end, &run.server().end), (&Some(Heard::Finished), &Some(Heard::Finished)));
        assert_eq!(run.flow_end(), ("decrypted", Reason::Closed), "seed {seed}");
    }
}

/// Ten megabytes wait with their sender: the flow holds no more than it may, and goes on where it stood.
#[test]
fn a_late_decision_holds_the_sender_back() {
    let setup = scripted(Script::Until(Instant::from_secs(20)));
    let request = bytes(10_000_000, 3);
    let mut run = exchange(&setup, &request, b"the server speaks all the same");
    run.settle(SECOND * 15);
    assert_eq!((run.server().received.len(), run.client().received.len()), (0, 30));
    let held = run.counters().flow_bytes.value();
    // Blocks, and what the leg's window was when the stage was full.
    assert!((200_000..5_000_000).contains(&held), "{held}");
    run_to_the_end(&mut run);
    assert!(run.server().received == request);
    assert_eq!(run.flow_end(), ("decrypted", Reason::Closed));
}

#[test]
fn a_verdict_comes_from_another_thread() {
    fn slow(verdict: Verdict) -> Verdict {
        std::thread::sleep(std::time::Duration::from_millis(20));
        verdict
    }
    let setup = |scan, threads| Setup { threads, ..scripted(Script::Scanned(scan)) };
    for threads in [0, 1, 2] {
        let mut run = exchange(&setup(|| slow(Verdict::Pass), threads), &bytes(400_000, 4), b"answer");
        run_to_the_end(&mut run);
        assert!(run.server().received == bytes(400_000, 4), "{threads} threads");
        assert_eq!(run.client().received, b"answer");
        let mut run =
            exchange(&setup(|| slow(Verdict::Block("EICAR".into())), threads), &bytes(1_000, 4), b"answer");
        run_to_the_end(&mut run);
        assert_eq!((run.server().received.len(), run.flow_end()), (0, ("decrypted", Reason::PolicyBlock)));
        // A scan that breaks is one that has not taken place.
        let mut run = exchange(&setup(|| panic!("a scan breaks, as it should"), threads), b"request", b"");
        run_to_the_end(&mut run);
        assert_eq!((run.server().received.len(), run.flow_end().1), (0, Reason::PolicyBlock));
    }
}

#[test]
fn an_answer_of_the_filters_own_and_an_end_in_order() {
    let orderly = Ending { reason: Reason::PolicyBlock, orderly: true, resets_server: false };
    let mut run = exchange(&scripted(Script::Answer(b"HTTP/1.1 403 No\r\n\r\n", orderly)), b"GET /", b"");
    run_to_the_end(&mut run);
    assert_eq!(run.client().received, b"HTTP/1.1 403 No\r\n\r\n");
    assert_eq!((&run.client().end, &run.server().end), (&Some(Heard::Finished), &Some(Heard::Finished)));
    assert_eq!((run.server().received.len(), run.flow_end()), (0, ("decrypted", Reason::PolicyBlock)));

    let reset = Ending { reason: Reason::PolicyBlock, orderly: false, resets_server: false };
    let mut run = exchange(&scripted(Script::Answer(b"", reset)), b"GET /", b"");
    run_to_the_end(&mut run);
    assert_eq!((&run.client().end, &run.server().end), (&Some(Heard::Reset), &Some(Heard::Reset)));
    assert_eq!((run.server().received.len(), run.flow_end()), (0, ("decrypted", Reason::PolicyBlock)));
}

/// The server has ended its direction already, so the client can be told nothing more in its name.
#[test]
fn an_answer_to_whom_nothing_more_can_be_said_goes_nowhere() {
    let orderly = Ending { reason: Reason::PolicyBlock, orderly: true, resets_server: false };
    for ends in [Step::Finish, Step::Truncate] {
        let client = vec![Step::AwaitEnd, Step::Send(b"GET /".to_vec()), Step::AwaitEnd];
        let server = vec![Step::Send(b"bye".to_vec()), ends, Step::AwaitEnd];
        let mut run = Lab::new().connect_tls(&scripted(Script::Answer(b"no", orderly)), client, server);
        run.settle(SECOND * 30);
        assert_eq!(run.client().received, b"bye");
        assert_eq!((run.server().received.len(), run.flow_end()), (0, ("decrypted", Reason::PolicyBlock)));
    }
}

/// More questions than the pool takes: the filter learns of the first that finds no room.
#[test]
fn a_full_pool_is_a_scan_that_has_not_taken_place() {
    let setup = scripted(Script::ScannedOften(5_000));
    let mut run = exchange(&setup, b"request", b"");
    run_to_the_end(&mut run);
    assert_eq!((run.server().received.len(), run.flow_end().1), (0, Reason::PolicyBlock));
}

/// Nobody reads on, and nothing that was not decided has gone anywhere.
#[test]
fn a_filter_that_does_not_decide_ends_the_flow() {
    for request in [bytes(100, 5), bytes(2_000_000, 5)] {
        let mut run = exchange(&scripted(Script::Never), &request, b"");
        run_to_the_end(&mut run);
        assert_eq!(run.flow_end(), ("decrypted", Reason::ContentUndecided), "{} bytes", request.len());
        assert_eq!((run.server().received.len(), &run.server().end), (0, &Some(Heard::Reset)));
    }
}

#[test]
fn what_is_dropped_is_gone_and_the_rest_goes_on() {
    let mut run = exchange(&scripted(Script::Swallow), &bytes(2_000_000, 6), &bytes(50_000, 7));
    run_to_the_end(&mut run);
    assert_eq!(run.server().received.len(), 0);
    assert!(run.client().received == bytes(50_000, 7));
    assert_eq!((&run.server().end, run.flow_end()), (&Some(Heard::Finished), ("decrypted", Reason::Closed)));
}
