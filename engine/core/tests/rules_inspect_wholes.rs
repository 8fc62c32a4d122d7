//! Scanners that say what they think of a body when all of it has come: of what cannot be decoded, and how what they keep is counted.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::io::Write as _;
use std::sync::Arc;

#[path = "support/inspecting.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod inspecting;

use flate2::Compression;
use flate2::write::GzEncoder;
use inspecting::{Threads, World};
use wireglass_core::content::{Finding, Hit, Inspector, Message, Scanner};
use wireglass_core::end::End::{Client, Server};
use wireglass_core::policy::{ContentAction, ContentPolicy, ContentRule, Hold, Inspect, OnUnread};
use wireglass_core::reason::Reason;

const WANTED: &[u8] = b"attack at dawn";

/// Keeps a body, and looks for a text in it when it ends; or cannot say.
#[derive(Clone, Debug)]
struct Whole {
    fails: Option<Reason>,
    kept: Vec<u8>,
    name: Arc<str>,
}

impl Inspector for Whole {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn scanner(&self, _: &Message<'_>) -> Box<dyn Scanner> {
        Box::new(self.clone())
    }
}

impl Scanner for Whole {
    fn feed(&mut self, octets: &[u8]) -> Option<Finding> {
        self.kept.reserve_exact(octets.len());
        self.kept.extend_from_slice(octets);
        None
    }

    fn end(&mut self) -> Option<Finding> {
        let is_there = self.kept.windows(WANTED.len()).any(|window| window == WANTED);
        let hit = Hit { tags: ["plan".into()].into(), ..Hit::new(Arc::clone(&self.name), "dawn") };
        self.fails.map(Finding::Fails).or_else(|| is_there.then_some(Finding::Hit(hit)))
    }

    fn memory(&self) -> usize {
        self.kept.capacity()
    }

    fn growth(&self, octets: usize) -> usize {
        octets
    }
}

fn policy(fails: Option<Reason>, set: impl Fn(&mut ContentPolicy)) -> Arc<ContentPolicy> {
    let inspect = Inspect { inspectors: vec![0], hold: Some(Hold::All), ..Inspect::default() };
    let rule = ContentRule::new("files", ContentAction::Inspect(inspect));
    let whole: Arc<dyn Inspector> = Arc::new(Whole { fails, kept: Vec::new(), name: "whole".into() });
    let mut policy = ContentPolicy::compile(&[rule], Arc::default()).with_inspectors(vec![whole]);
    set(&mut policy);
    Arc::new(policy)
}

fn answer(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{fields}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn exchange(policy: &Arc<ContentPolicy>, threads: Threads, response: &[u8]) -> World {
    let mut world = World::new(policy, None, threads);
    world.pieces = 700;
    world.says(Client, b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n");
    world.says(Server, response);
    world.runs_out();
    world
}

fn noise(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[test]
fn what_cannot_be_decoded_is_looked_at_as_far_as_it_can_be() {
    let body = [&noise(3_000), WANTED, &noise(3_000)].concat();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&body).unwrap();
    let damaged = [&encoder.finish().unwrap()[..5_500], &[0xff; 3_000]].concat();
    // As it is; what lies before the damage.
    let undecodable =
        [answer("Content-Encoding: secret\r\n", &body), answer("Content-Encoding: gzip\r\n", &damaged)];
    for response in undecodable {
        for threads in [Threads::AtOnce, Threads::Last] {
            let allows = policy(None, |policy| policy.on_undecodable = OnUnread::Allow);
            let world = exchange(&allows, threads, &response);
            assert!(world.text().starts_with("HTTP/1.1 403 "), "{}", world.text());
            assert_eq!(world.told().last(), Some(&("content.blocked", true, false)));
            let hit = world.alerts.last().unwrap().found.as_ref().unwrap();
            assert_eq!((&*hit.what, hit.tags.to_vec()), ("dawn", vec!["plan".into()]));
        }
    }
    // Where nothing is in it, policy has the last word.
    let clean = answer("Content-Encoding: secret\r\n", &noise(6_000));
    for (action, passes) in [(OnUnread::Allow, true), (OnUnread::Block, false)] {
        let world = exchange(&policy(None, |policy| policy.on_undecodable = action), Threads::Last, &clean);
        assert_eq!(world.to_client == clean, passes);
        assert_eq!(world.told(), [("content.encoding", !passes, false)]);
    }
}

#[test]
fn each_bound_of_yara_has_its_action() {
    let response = answer("", &noise(5_000));
    for reason in [Reason::YaraTimeout, Reason::YaraOversize] {
        for (action, passes) in [(OnUnread::Allow, true), (OnUnread::Block, false)] {
            let policy = policy(Some(reason), |policy| {
                let other = if passes { OnUnread::Block } else { OnUnread::Allow };
                let of = |wanted| if wanted == reason { action } else { other };
                policy.inspection.on_timeout = of(Reason::YaraTimeout);
                policy.inspection.on_oversize = of(Reason::YaraOversize);
            });
            let world = exchange(&policy, Threads::AtOnce, &response);
            assert_eq!(world.to_client == response, passes, "{reason:?}");
            assert_eq!(world.told(), [(reason.code(), !passes, false)]);
        }
    }
}

#[test]
fn what_scanners_keep_is_counted_as_held() {
    let body = noise(200_000);
    // Nobody answers: what is with the thread, and what the scanner grows by there, is told beforehand.
    let asked = exchange(&policy(None, |_| {}), Threads::Never, &answer("", &body));
    let answered = exchange(&policy(None, |_| {}), Threads::AtOnce, &answer("", &body));
    assert!(answered.to_client.ends_with(&body));
    // The body waits, and the scanner has it once more.
    assert!(answered.most_held > 2 * body.len(), "{}", answered.most_held);
    assert!(asked.most_held > body.len(), "{}", asked.most_held);
    // A worker that has no room for both.
    let mut small = World::new(&policy(None, |_| {}), None, Threads::AtOnce);
    (small.pieces, small.room) = (700, 300_000);
    small.says(Client, b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n");
    small.says(Server, &answer("", &body));
    small.runs_out();
    assert_eq!(small.told(), [("content.overload", true, false)]);
}
