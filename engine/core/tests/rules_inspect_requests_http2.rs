//! Requests of HTTP/2 that threads look at: their content waits, and neither their heads nor other streams do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

#[path = "support/inspecting.rs"]
#[allow(dead_code, reason = "some of it is for HTTP/1 alone")]
mod inspecting;

#[path = "support/http2_frames.rs"]
#[allow(dead_code, reason = "some of them are for requests alone")]
mod http2_frames;

use http2_frames::*;
use inspecting::{Threads, World, lists};
use proptest::prelude::*;
use wireglass_core::content::FileType;
use wireglass_core::end::End::{Client, Server};
use wireglass_core::policy::{
    ContentAction, ContentPolicy, ContentRule, Direction, Hold, Inspect, OnUnread, Respond,
};

const HOLDS: [Option<Hold>; 4] = [None, Some(Hold::None), Some(Hold::Tail), Some(Hold::All)];
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// :method POST, :scheme https, :path /, :authority a.
const POST: &[u8] = b"\x83\x87\x84\x01\x01a";
const GET: &[u8] = b"\x82\x87\x84\x01\x01a";

fn of_requests(name: &str, action: ContentAction) -> ContentRule {
    ContentRule { direction: Some(Direction::Request), ..ContentRule::new(name, action) }
}

fn policy(hold: Option<Hold>, listed: &[&[u8]]) -> ContentPolicy {
    let (lists, hashes) = lists(listed, &[]);
    let inspect = Inspect { hashes, hold, ..Inspect::default() };
    ContentPolicy::compile(&[of_requests("uploads", ContentAction::Inspect(inspect))], lists)
}

/// What of a stream has come: data, whether it has ended, and whether it was reset.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    data: Vec<u8>,
    ends: bool,
    is_reset: bool,
}

fn seen(bytes: &[u8], wanted: u32) -> Seen {
    let mut all = Seen::default();
    for (kind, flags, stream, payload) in frames(bytes) {
        if stream == wanted {
            all.ends |= kind < 2 && flags & END_STREAM != 0;
            all.is_reset |= kind == RST_STREAM;
            if kind == DATA {
                all.data.extend_from_slice(&payload);
            }
        }
    }
    all
}

/// Both ends, which keep to windows and check that the other does.
struct Ends {
    world: World,
    /// What the client may send: by stream, 0 is the connection.
    client: BTreeMap<u32, i64>,
    /// What the server takes, likewise.
    server: BTreeMap<u32, i64>,
    /// Of a stream.
    initial: i64,
    /// Octets of its input that each has read.
    read: [usize; 2],
    /// The server credits what it gets.
    credits: bool,
}

impl Ends {
    fn new(policy: &Arc<ContentPolicy>, threads: Threads, window: u32, pieces: usize) -> Self {
        let mut world = World::new(policy, Some(b"h2"), threads);
        world.pieces = pieces;
        world.says(Client, &[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        let initial = [&[0, 4][..], &window.to_be_bytes()].concat();
        world.says(Server, &[frame(SETTINGS, 0, 0, &initial), frame(SETTINGS, 1, 0, &[])].concat());
        world.says(Client, &frame(SETTINGS, 1, 0, &[]));
        let (client, server) = (BTreeMap::from([(0, 65_535)]), BTreeMap::from([(0, 65_535)]));
        Self { world, client, server, initial: i64::from(window), read: [24, 0], credits: true }
    }

    fn posts(&mut self, stream: u32) {
        self.world.says(Client, &frame(HEADERS, 4, stream, POST));
        self.client.insert(stream, self.initial);
        self.server.insert(stream, self.initial);
        self.goes_round();
    }

    /// The client sends this, as far as it is let. Returns how much that was.
    fn sends(&mut self, stream: u32, octets: &[u8], each: usize, ends: bool) -> usize {
        let mut sent = 0;
        while sent < octets.len() {
            self.goes_round();
            let window = self.client[&0].min(self.client[&stream]);
            let len = usize::try_from(window).unwrap_or(0).min(each).min(octets.len() - sent);
            if len == 0 {
                break;
            }
            let flags = if ends && sent + len == octets.len() { END_STREAM } else { 0 };
            for of in [0, stream] {
                *self.client.get_mut(&of).unwrap() -= len as i64;
            }
            self.world.says(Client, &frame(DATA, flags, stream, &octets[sent..sent + len]));
            sent += len;
        }
        self.goes_round();
        sent
    }

    /// Each end reads what has come: the client its credits, the server data, which it credits.
    fn goes_round(&mut self) {
        let mut credits = Vec::new();
        for (kind, _, stream, payload) in frames(&self.world.to_server[self.read[0]..]) {
            if kind == DATA {
                for of in [0, stream] {
                    let window = self.server.get_mut(&of).unwrap();
                    *window -= payload.len() as i64;
                    assert!(*window >= 0, "the server was sent more than it takes");
                    if self.credits && !payload.is_empty() {
                        *window += payload.len() as i64;
                        credits.extend(frame(WINDOW_UPDATE, 0, of, &(payload.len() as u32).to_be_bytes()));
                    }
                }
            }
        }
        self.read[0] = self.world.to_server.len();
        if !credits.is_empty() {
            self.world.says(Server, &credits);
        }
        for (kind, _, stream, payload) in frames(&self.world.to_client[self.read[1]..]) {
            if kind == WINDOW_UPDATE {
                let octets = u32::from_be_bytes(payload.try_into().unwrap());
                assert!(octets > 0);
                *self.client.entry(stream).or_default() += i64::from(octets);
            }
        }
        self.read[1] = self.world.to_client.len();
        if self.read[0] < self.world.to_server.len() {
            self.goes_round();
        }
    }

    fn runs_out(&mut self) {
        self.world.runs_out();
        self.goes_round();
        self.world.runs_out();
    }

    fn at_server(&self, stream: u32) -> Seen {
        seen(&self.world.to_server[24..], stream)
    }

    fn at_client(&self, stream: u32) -> Seen {
        seen(&self.world.to_client, stream)
    }

    fn answers(&mut self, stream: u32) {
        let answer = [frame(HEADERS, 4, stream, b"\x88"), frame(DATA, END_STREAM, stream, b"ok")].concat();
        self.world.says(Server, &answer);
    }
}

/// RFC 9113, 8.1: it wants no more of the request, and its answer is held. Nothing of the connection's windows is lost.
#[test]
fn a_server_that_answers_early_gives_the_window_back() {
    let (lists, hashes) = lists(&[b"another"], &[]);
    let inspect = |hold| ContentAction::Inspect(Inspect { hashes, hold: Some(hold), ..Inspect::default() });
    let rules = [of_requests("uploads", inspect(Hold::Tail)), ContentRule::new("files", inspect(Hold::All))];
    let policy = Arc::new(ContentPolicy::compile(&rules, lists));
    let mut ends = Ends::new(&policy, Threads::Last, 65_535, 16_384);
    ends.posts(1);
    ends.posts(3);
    let sent = ends.sends(1, &body(8_000_000), 9_000, false);
    assert!(sent < 8_000_000 && ends.client[&0] == 0, "threads lag, and the client has to wait: {sent}");
    ends.answers(1);
    ends.world.says(Server, &frame(RST_STREAM, 0, 1, &[0; 4]));
    assert_eq!(ends.at_client(1), Seen::default(), "it waits for its verdict");
    ends.world.answer_all();
    ends.runs_out();
    assert!(ends.at_client(1) == Seen { data: b"ok".to_vec(), ends: true, is_reset: true });
    assert_eq!((ends.client[&0], ends.server[&0]), (65_535, 65_535));
    assert_eq!(ends.sends(3, &body(200_000), 16_000, true), 200_000);
    ends.world.answer_all();
    ends.runs_out();
    assert!(ends.at_server(3) == Seen { data: body(200_000), ends: true, is_reset: false });
    assert_eq!((ends.world.ending, ends.world.stage.held()), (None, 0));
}

/// More than both windows, held as a whole.
#[test]
fn a_listed_upload_gets_the_page_and_other_streams_go_on() {
    let listed = body(300_000);
    let policy = Arc::new(policy(Some(Hold::All), &[&listed]));
    for (threads, pieces) in [(Threads::AtOnce, 16_384), (Threads::Last, 16_384), (Threads::AtOnce, 999)] {
        let mut ends = Ends::new(&policy, threads, 65_535, pieces);
        ends.posts(1);
        assert!(frames(&ends.world.to_server[24..]).iter().any(|frame| frame.0 == HEADERS), "the head goes");
        ends.posts(3);
        assert_eq!(ends.sends(1, &listed, 9_000, true), 300_000, "the client is let send it");
        assert_eq!(ends.sends(3, &body(200_000), 16_000, true), 200_000);
        ends.runs_out();
        assert_eq!(ends.at_server(1), Seen { data: vec![], ends: false, is_reset: true });
        let page = ends.at_client(1);
        let text = String::from_utf8(page.data).unwrap();
        assert!(
            text.contains("</html>") && text.contains("uploads") && page.ends && !page.is_reset,
            "{text}"
        );
        assert!(ends.at_server(3) == Seen { data: body(200_000), ends: true, is_reset: false });
        assert_eq!((ends.world.ending, ends.world.told()), (None, vec![("content.blocked", true, false)]));
        assert_eq!(ends.world.files.len(), 2);
        assert_eq!(ends.world.stage.held(), 0);
        // Nothing of the connection's window is lost.
        assert_eq!((ends.client[&0], ends.server[&0]), (65_535, 65_535));
        ends.answers(3);
        assert!(ends.at_client(3) == Seen { data: b"ok".to_vec(), ends: true, is_reset: false });
    }
}

#[test]
fn what_is_on_no_list_goes_on() {
    for (hold, len) in HOLDS.into_iter().flat_map(|hold| [0, 1, 5_000, 300_000].map(|len| (hold, len))) {
        for (threads, pieces) in [(Threads::AtOnce, 16_384), (Threads::Last, 3_000), (Threads::AtOnce, 17)] {
            if pieces == 17 && len > 5_000 {
                continue;
            }
            let name = format!("{hold:?} {len} {threads:?} {pieces}");
            let mut ends = Ends::new(&Arc::new(policy(hold, &[b"another"])), threads, 65_535, pieces);
            ends.posts(1);
            let mut sent = 0;
            while sent < len {
                let more = ends.sends(1, &body(len)[sent..], 16_384, false);
                ends.world.answer_all();
                assert!(more > 0, "{name}: stuck at {sent}");
                sent += more;
            }
            ends.world.says(Client, &frame(DATA, END_STREAM, 1, b""));
            ends.runs_out();
            assert!(ends.at_server(1) == Seen { data: body(len), ends: true, is_reset: false }, "{name}");
            assert_eq!((ends.world.ending, ends.world.told()), (None, vec![]), "{name}");
            assert_eq!(ends.world.stage.held(), 0, "{name}");
            assert_eq!((ends.client[&0], ends.server[&0]), (65_535, 65_535), "{name}");
            ends.answers(1);
            assert_eq!(ends.at_client(1).data, b"ok");
            // The next one fares likewise.
            ends.posts(3);
            assert_eq!(ends.sends(3, &body(40_000), 16_384, true), 40_000, "{name}");
            ends.runs_out();
            assert!(ends.at_server(3).data == body(40_000), "{name}");
        }
    }
}

#[test]
fn with_tail_the_server_never_sees_the_end() {
    let listed = body(200_000);
    let policy = Arc::new(policy(Some(Hold::Tail), &[&listed]));
    let mut ends = Ends::new(&policy, Threads::AtOnce, 65_535, 16_384);
    ends.posts(1);
    assert_eq!(ends.sends(1, &listed, 16_000, true), 200_000);
    ends.runs_out();
    let at_server = ends.at_server(1);
    assert!(listed.starts_with(&at_server.data) && !at_server.ends && at_server.is_reset);
    let len = at_server.data.len();
    assert!(len > 100_000 && len <= 200_000 - 16_384, "{len}");
    // The client has had no answer yet.
    assert!(String::from_utf8(ends.at_client(1).data).unwrap().contains("</html>"));
    assert_eq!((ends.world.ending, ends.world.told()), (None, vec![("content.late", true, true)]));
    assert_eq!((ends.client[&0], ends.server[&0]), (65_535, 65_535));
}

/// No more is credited than may be held, nor while threads lag.
#[test]
fn a_client_is_let_send_what_is_held_and_no_more() {
    for (action, hold) in
        [(OnUnread::Block, Hold::All), (OnUnread::Allow, Hold::All), (OnUnread::Allow, Hold::Tail)]
    {
        let mut policy = policy(Some(hold), &[b"another"]);
        (policy.inspection.hold_bytes, policy.inspection.on_oversize) = (100_000, action);
        let mut ends = Ends::new(&Arc::new(policy), Threads::Last, 65_535, 16_384);
        ends.posts(1);
        let sent = ends.sends(1, &body(2_000_000), 16_384, true);
        if action == OnUnread::Block {
            assert_eq!(ends.world.told(), [("content.oversize", true, false)]);
            assert!(ends.at_client(1).ends && ends.at_server(1).data.is_empty());
            continue;
        }
        assert!((150_000..600_000).contains(&sent), "{hold:?} {sent}");
        assert!(ends.world.most_held < 1_500_000, "{hold:?} {}", ends.world.most_held);
    }
}

/// What nobody looks at any more waits for the server alone: only windows bound it.
#[test]
fn a_client_that_ignores_windows_is_held_for_no_more_than_they_allow() {
    for of_stream in [true, false] {
        let mut policy = policy(Some(Hold::All), &[b"another"]);
        (policy.inspection.hold_bytes, policy.inspection.on_oversize) = (100_000, OnUnread::Allow);
        let mut ends = Ends::new(&Arc::new(policy), Threads::Last, 65_535, 16_384);
        ends.credits = false;
        ends.posts(1);
        if of_stream {
            let wide = frame(WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes());
            ends.world.says(Server, &wide);
        }
        // What is more than may be held goes on, and waits for the server's windows.
        ends.sends(1, &body(300_000), 16_384, false);
        ends.world.answer_all();
        ends.goes_round();
        assert_eq!(ends.world.ending, None);
        let before = ends.world.stage.held();
        let stream = if of_stream { 1 } else { 3 };
        ends.posts(3);
        let data = frame(DATA, 0, stream, &body(16_000));
        for _ in 0..200 {
            ends.world.says(Client, &data);
            ends.world.answer_all();
        }
        assert_eq!(
            ends.world.ending.map(|ending| ending.reason.code()),
            Some("content.unparsed"),
            "{of_stream}"
        );
        assert!(ends.world.most_held < before + 600_000, "{of_stream} {}", ends.world.most_held);
    }
}

/// One record full of small frames costs what its frames do, however many requests wait.
#[test]
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a ratio of times, of which the best counts"
)]
fn small_frames_do_not_cost_what_all_requests_do() {
    let took = |streams: u32| {
        let policy = Arc::new(policy(Some(Hold::All), &[b"another"]));
        let mut ends = Ends::new(&policy, Threads::Never, 65_535, 16_384);
        for n in 0..streams {
            ends.posts(2 * n + 1);
            assert_eq!(ends.sends(2 * n + 1, b"abc", 9, false), 3);
        }
        let record = frame(DATA, 0, 1, b"a").repeat(1_600);
        let begin = std::time::Instant::now();
        for _ in 0..8 {
            ends.world.says(Client, &record);
        }
        assert_eq!(ends.world.ending, None);
        begin.elapsed()
    };
    let best = |streams| (0..3).map(|_| took(streams)).min().unwrap();
    let (few, many) = (best(2), best(250));
    assert!(many < 8 * few, "{many:?} {few:?}");
}

/// Requests of POST are held, and those of PUT are not: the first of them has filled the server's windows, which it does not credit, and
/// the client has been credited in its place.
fn beyond_the_server(of_puts: Option<&[u8]>) -> Ends {
    let (lists, hashes) = lists(&[of_puts.unwrap_or(b"another")], &[]);
    let rule = |name: &str, method: &str, hold| {
        let inspect = Inspect { hashes, hold: Some(hold), ..Inspect::default() };
        let action = ContentAction::Inspect(inspect);
        ContentRule { method: vec![method.to_owned()], ..of_requests(name, action) }
    };
    let mut rules = vec![rule("posts", "POST", Hold::All)];
    rules.extend(of_puts.map(|_| rule("puts", "PUT", Hold::None)));
    let policy = Arc::new(ContentPolicy::compile(&rules, lists));
    let mut ends = Ends::new(&policy, Threads::Last, 65_535, 16_384);
    ends.credits = false;
    ends.posts(1);
    assert_eq!(ends.sends(1, &body(150_000), 16_384, true), 150_000);
    ends.world.answer_all();
    ends.goes_round();
    assert_eq!((ends.at_server(1).data.len(), ends.server[&0]), (65_535, 0));
    ends.world.says(Client, &frame(HEADERS, 4, 3, b"\x02\x03PUT\x87\x84\x01\x01a"));
    ends.client.insert(3, 65_535);
    ends.server.insert(3, 65_535);
    ends
}

#[test]
fn what_waited_for_windows_alone_is_looked_at_to_its_end() {
    let listed = body(20_000);
    let mut ends = beyond_the_server(Some(&listed));
    assert_eq!(ends.sends(3, &listed, 16_384, true), 20_000);
    assert!(ends.at_server(3).data.is_empty());
    for _ in 0..300 {
        for of in [0, 1, 3] {
            *ends.server.get_mut(&of).unwrap() += 1_000;
            ends.world.says(Server, &frame(WINDOW_UPDATE, 0, of, &1_000u32.to_be_bytes()));
        }
        ends.goes_round();
    }
    assert!(ends.at_server(3) == Seen { data: listed, ends: true, is_reset: false });
    assert_eq!((ends.world.told(), ends.world.files.len()), (vec![], 1), "threads have not answered");
    ends.runs_out();
    assert_eq!((ends.world.alerts.len(), ends.world.files.len()), (1, 2), "{:?}", ends.world.told());
    ends.answers(3);
    assert_eq!((ends.at_client(3).data, ends.world.ending), (b"ok".to_vec(), None));
}

/// Likewise of a request that no rule looks at: it waits for the server's windows, too.
#[test]
fn a_request_that_is_not_looked_at_waits_for_no_more_than_windows_allow() {
    let mut ends = beyond_the_server(None);
    let allowed = ends.sends(3, &body(1_000_000), 16_000, false);
    assert!((20_000..=65_535).contains(&allowed), "{allowed}");
    assert!(ends.at_server(3).data.is_empty() && ends.world.ending.is_none());
    // No octet is left, but a frame without any may come.
    ends.world.says(Client, &frame(DATA, 0, 3, b""));
    assert_eq!(ends.world.ending, None);
    ends.world.says(Client, &frame(DATA, 0, 3, b"a"));
    assert_eq!(ends.world.ending.map(|ending| ending.reason.code()), Some("content.unparsed"));
}

#[test]
fn what_is_on_its_way_on_a_reset_stream_keeps_to_the_servers_window() {
    let mut ends = beyond_the_server(None);
    ends.world.says(Server, &frame(RST_STREAM, 0, 3, &[0, 0, 0, 8]));
    assert!(ends.at_client(3).is_reset);
    let before = ends.client[&0];
    assert_eq!(ends.sends(3, &body(20_000), 10_000, false), 20_000);
    assert!(ends.at_server(3).data.is_empty());
    assert_eq!((ends.client[&0], ends.world.ending), (before, None));
}

/// The server takes little, and slowly: what was held goes on as it is let, and the client is let no more meanwhile.
#[test]
fn what_was_held_keeps_to_the_servers_windows() {
    let whole = body(150_000);
    for window in [1_000, 20_000, 65_535] {
        let mut ends =
            Ends::new(&Arc::new(policy(Some(Hold::All), &[b"another"])), Threads::Last, window, 16_384);
        ends.credits = false;
        ends.posts(1);
        ends.posts(3);
        assert_eq!(ends.sends(1, &whole, 16_384, true), 150_000);
        ends.world.answer_all();
        ends.goes_round();
        assert_eq!(ends.at_server(1).data.len(), window as usize);
        // Whatever the client thinks, no more goes on, of any stream.
        let more = ends.sends(3, &body(60_000), 16_384, true);
        ends.world.answer_all();
        ends.goes_round();
        assert!(ends.world.most_held < 600_000);
        let mut left = 600;
        while !(ends.at_server(1).ends && ends.at_server(3).ends) && left > 0 {
            left -= 1;
            for of in [0, 1, 3] {
                *ends.server.get_mut(&of).unwrap() += 1_000;
                ends.world.says(Server, &frame(WINDOW_UPDATE, 0, of, &1_000u32.to_be_bytes()));
            }
            ends.goes_round();
            let sent = ends.at_server(3).data.len();
            if more < 60_000 && left == 300 {
                ends.sends(3, &body(60_000)[more..], 16_384, true);
                ends.world.answer_all();
            }
            assert!(sent <= 60_000);
        }
        assert!(ends.at_server(1) == Seen { data: whole.clone(), ends: true, is_reset: false }, "{window}");
        assert!(ends.at_server(3) == Seen { data: body(60_000), ends: true, is_reset: false }, "{window}");
        assert_eq!(ends.world.ending, None);
    }
}

#[test]
fn a_server_that_answers_early_is_heard_and_not_answered_for() {
    let listed = body(60_000);
    for (answer, ends_stream) in [(&b"\x88"[..], false), (b"\x08\x03413", true)] {
        let mut ends =
            Ends::new(&Arc::new(policy(Some(Hold::All), &[&listed])), Threads::Last, 65_535, 16_384);
        ends.posts(1);
        ends.sends(1, &listed[..40_000], 16_000, false);
        let flags = if ends_stream { 5 } else { 4 };
        ends.world.says(Server, &frame(HEADERS, flags, 1, answer));
        assert!(frames(&ends.world.to_client).iter().any(|frame| frame.0 == HEADERS && frame.2 == 1));
        ends.sends(1, &listed[40_000..], 16_000, true);
        ends.runs_out();
        assert!(ends.at_server(1) == Seen { data: vec![], ends: false, is_reset: true });
        assert!(ends.at_client(1).is_reset && ends.at_client(1).data.is_empty());
        assert_eq!(ends.client[&0], 65_535);
    }
}

#[test]
fn resets_of_either_end_are_passed_on_and_nothing_is_left() {
    for from in [Client, Server] {
        for hold in HOLDS {
            let mut ends = Ends::new(&Arc::new(policy(hold, &[b"another"])), Threads::Last, 65_535, 16_384);
            ends.posts(1);
            ends.sends(1, &body(50_000), 16_000, false);
            ends.world.says(from, &frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]));
            assert!(if from == Client { ends.at_server(1).is_reset } else { ends.at_client(1).is_reset });
            ends.world.answer_all();
            ends.goes_round();
            assert_eq!(ends.world.stage.held(), 0, "{from:?} {hold:?}");
            assert_eq!(ends.client[&0], 65_535, "{from:?} {hold:?}");
            // What was on the way goes nowhere.
            let before = ends.at_server(1).data.len();
            if from == Server {
                ends.world.says(Client, &frame(DATA, END_STREAM, 1, &body(9_000)));
                assert!(hold == Some(Hold::None) || ends.at_server(1).data.len() == before);
            }
            ends.posts(3);
            ends.sends(3, &body(50_000), 16_000, true);
            ends.runs_out();
            assert!(ends.at_server(3).data == body(50_000) && ends.world.ending.is_none());
        }
    }
}

#[test]
fn trailers_and_padding() {
    for (listed, hold) in [true, false].into_iter().flat_map(|listed| HOLDS.map(|hold| (listed, hold))) {
        let whole = body(30_000);
        let lists: &[&[u8]] = if listed { &[&whole] } else { &[b"another"] };
        let mut ends = Ends::new(&Arc::new(policy(hold, lists)), Threads::Last, 65_535, 5_000);
        ends.posts(1);
        for part in whole.chunks(10_000) {
            let padded = [&[100][..], part, &[0; 100]].concat();
            for of in [0, 1] {
                *ends.client.get_mut(&of).unwrap() -= padded.len() as i64;
            }
            ends.world.says(Client, &frame(DATA, PADDED, 1, &padded));
        }
        // te: trailers, as a field that is no pseudo-field.
        ends.world.says(Client, &frame(HEADERS, 5, 1, b"\x00\x01x\x01y"));
        ends.world.runs_out();
        let at_server = frames(&ends.world.to_server[24..]);
        let ends_with_trailers =
            at_server.iter().any(|frame| frame.0 == HEADERS && frame.1 & END_STREAM != 0);
        assert_eq!(ends_with_trailers, !listed || hold == Some(Hold::None), "{listed} {hold:?}");
        if hold != Some(Hold::None) {
            ends.goes_round();
            let expected = if listed { vec![] } else { whole.clone() };
            let data = ends.at_server(1).data;
            assert!(data == expected || listed && whole.starts_with(&data) && data.len() <= 30_000 - 16_384);
            assert_eq!(ends.client[&0], 65_535, "{listed} {hold:?}");
        }
        // Its table is nobody's: the next request is read as it is.
        ends.posts(3);
        ends.sends(3, b"abc", 9, true);
        ends.runs_out();
        assert_eq!(ends.at_server(3).data, b"abc");
        assert_eq!(ends.world.ending, None);
    }
}

#[test]
fn grpc_is_never_held() {
    // content-type: application/grpc
    let head = [POST, b"\x0f\x10\x10application/grpc"].concat();
    for hold in HOLDS {
        let mut ends = Ends::new(&Arc::new(policy(hold, &[b"another"])), Threads::Never, 65_535, 16_384);
        ends.world.says(Client, &frame(HEADERS, 4, 1, &head));
        ends.world.says(Client, &frame(DATA, 0, 1, b"\0\0\0\0\x02ab"));
        assert_eq!(ends.at_server(1).data, b"\0\0\0\0\x02ab");
    }
}

#[test]
fn requests_without_content_do_not_wait() {
    let mut ends = Ends::new(&Arc::new(policy(Some(Hold::All), &[])), Threads::Never, 65_535, 16_384);
    ends.world.says(Client, &frame(HEADERS, 5, 1, GET));
    assert!(ends.at_server(1).ends && ends.world.stage.poll_timeout().is_none());
}

#[test]
fn what_is_not_looked_at_becomes_what_policy_says() {
    type Set = fn(&mut ContentPolicy, OnUnread);
    let cases: [(&str, Threads, usize, Set); 3] = [
        ("content.timeout", Threads::Never, usize::MAX, |policy, action| {
            policy.inspection.on_timeout = action
        }),
        ("content.overload", Threads::Full, usize::MAX, |policy, action| {
            policy.inspection.on_overload = action
        }),
        ("content.overload", Threads::Never, 60_000, |policy, action| policy.inspection.on_overload = action),
    ];
    for (code, threads, room, set) in cases {
        for action in [OnUnread::Block, OnUnread::Allow] {
            let mut policy = policy(Some(Hold::All), &[b"another"]);
            set(&mut policy, action);
            let mut ends = Ends::new(&Arc::new(policy), threads, 65_535, 16_384);
            ends.world.room = room;
            ends.posts(1);
            assert_eq!(ends.sends(1, &body(100_000), 16_000, true), 100_000, "{code}");
            ends.runs_out();
            let blocked = action == OnUnread::Block;
            assert_eq!(ends.world.told(), [(code, blocked, false)]);
            assert_eq!(ends.at_server(1).data == body(100_000), !blocked, "{code}");
            assert_eq!(ends.at_client(1).ends, blocked);
            assert_eq!(ends.world.ending, None);
        }
    }
}

#[test]
fn types_of_uploads_decide() {
    let program = [&b"\x7fELF\x02\x01\x01"[..], &body(60_000)].concat();
    for hold in HOLDS {
        let mut programs = of_requests("programs", ContentAction::Block(Respond::Page));
        programs.file_type = FileType::named("executable");
        let (lists, hashes) = lists(&[b"another"], &[]);
        let inspect = Inspect { hashes, hold, ..Inspect::default() };
        let rules = [programs, of_requests("uploads", ContentAction::Inspect(inspect))];
        let policy = Arc::new(ContentPolicy::compile(&rules, lists));
        for each in [1, 16_384] {
            let mut ends = Ends::new(&policy, Threads::AtOnce, 65_535, 16_384);
            ends.posts(1);
            ends.posts(3);
            ends.sends(1, &program[..20_000], each, true);
            ends.sends(3, &body(20_000), each, true);
            ends.runs_out();
            assert_eq!(ends.at_server(1), Seen { is_reset: true, ..Seen::default() });
            assert!(String::from_utf8(ends.at_client(1).data).unwrap().contains("programs"));
            assert!(ends.at_server(3) == Seen { data: body(20_000), ends: true, is_reset: false });
        }
    }
}

/// GOAWAY and close_notify come right behind the last request.
#[test]
fn the_end_of_the_client_waits_for_verdicts() {
    for listed in [body(50_000), b"another".to_vec()] {
        let mut ends =
            Ends::new(&Arc::new(policy(Some(Hold::All), &[&listed])), Threads::Last, 65_535, 16_384);
        ends.posts(1);
        ends.posts(3);
        ends.sends(1, &body(50_000), 9_000, true);
        ends.sends(3, &body(900), 900, false);
        ends.world.ends(Client);
        assert!(!ends.world.closed.client && ends.world.stage.is_holding());
        assert!(ends.at_server(3).is_reset, "it will never be whole");
        ends.world.answer_all();
        ends.goes_round();
        assert!(ends.world.closed.client && !ends.world.stage.is_holding());
        assert_eq!(ends.at_server(1).ends, listed == b"another");
        assert_eq!(ends.world.ending, None);
    }
}

#[test]
fn no_more_requests_are_looked_at_at_once_than_may() {
    let mut ends = Ends::new(&Arc::new(policy(Some(Hold::All), &[])), Threads::Last, 65_535, 16_384);
    for n in 0..300 {
        ends.posts(2 * n + 1);
        ends.sends(2 * n + 1, b"abc", 9, false);
    }
    assert_eq!(ends.world.told(), [("content.overload", true, false); 300 - 256]);
    // The first of those that were too many.
    assert!(ends.at_client(513).ends && !ends.at_client(511).ends);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The verdict does not depend on where records and frames have their borders.
    #[test]
    fn borders_do_not_matter(
        len in 1usize..60_000,
        piece in 1usize..5_000,
        each in 1usize..16_384,
        is_listed: bool,
        hold in 0usize..4,
        at_once: bool,
    ) {
        let whole = body(len);
        let listed: &[&[u8]] = if is_listed { &[&whole] } else { &[b"another"] };
        let policy = Arc::new(policy(HOLDS[hold], listed));
        let threads = if at_once { Threads::AtOnce } else { Threads::Last };
        let mut ends = Ends::new(&policy, threads, 65_535, piece);
        ends.posts(1);
        prop_assert_eq!(ends.sends(1, &whole, each, true), len);
        ends.runs_out();
        let at_server = ends.at_server(1);
        if is_listed {
            let [alert] = &ends.world.alerts[..] else { panic!("{:?}", ends.world.told()) };
            prop_assert!(alert.blocked && alert.found.is_some());
            let page = String::from_utf8_lossy(&ends.at_client(1).data).contains("</html>");
            prop_assert!(page != at_server.ends && page == at_server.is_reset);
            prop_assert!(page || HOLDS[hold] == Some(Hold::None));
            prop_assert!(HOLDS[hold] != Some(Hold::All) || at_server.data.is_empty());
        } else {
            let expected = Seen { data: whole, ends: true, is_reset: false };
            prop_assert!(at_server == expected, "{} octets", at_server.data.len());
            prop_assert!(ends.world.alerts.is_empty());
        }
        prop_assert!(ends.world.ending.is_none());
        prop_assert_eq!((ends.client[&0], ends.server[&0]), (65_535, 65_535));
    }
}
