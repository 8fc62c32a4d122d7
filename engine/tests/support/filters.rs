//! Filters that decide at random or as a test says, and remember what they have decided.
#![allow(dead_code)] // each test binary uses its own part

use std::sync::{Arc, Mutex};

use tcp_stack::Instant;
use wireglass_core::content::{Decisions, Ending, Filter, Filters, Report, Scan, Verdict};
use wireglass_core::end::{End, PerEnd};
use wireglass_core::policy::DecryptedFlow;

use super::Random;

/// What a filter has decided so far: the bytes that are to arrive, by who has sent them.
pub(crate) type Decided = Arc<Mutex<PerEnd<Vec<u8>>>>;

/// Makes every flow's filter.
pub(crate) struct Each<M>(pub(crate) M);

impl<F: Filter + 'static, M: Fn() -> F + Send + Sync> Filters for Each<M> {
    fn filter(&self, _: &Arc<DecryptedFlow>, _: Option<&[u8]>) -> Option<Box<dyn Filter>> {
        Some(Box::new((self.0)()))
    }
}

/// Passes, drops, inserts, holds, releases, discards and waits at random; decides all when it has to.
pub(crate) struct AtRandom {
    random: Random,
    undecided: PerEnd<Vec<u8>>,
    held: PerEnd<Vec<u8>>,
    has_ended: PerEnd<bool>,
    decided: Decided,
}

impl AtRandom {
    pub(crate) fn new(seed: u64, decided: &Decided) -> Self {
        let decided = Arc::clone(decided);
        Self {
            random: Random::new(seed),
            undecided: PerEnd::default(),
            held: PerEnd::default(),
            has_ended: PerEnd::default(),
            decided,
        }
    }

    /// Something that it likes, about the oldest bytes.
    fn decide(&mut self, from: End, decisions: &mut Decisions) {
        let (undecided, held) = (&mut self.undecided[from], &mut self.held[from]);
        let mut some_of = |bytes: &[u8]| self.random.below(bytes.len() as u64 + 1) as usize;
        let (some, some_held) = (some_of(undecided), some_of(held));
        let decided = &mut self.decided.lock().unwrap()[from];
        match self.random.below(11) {
            0 | 1 => {
                decisions.pass(from, undecided.len());
                decided.append(undecided);
            }
            2 => {
                decisions.pass(from, some);
                decided.extend(undecided.drain(..some));
            }
            3 => {
                decisions.drop(from, some);
                undecided.drain(..some);
            }
            4 => {
                decisions.hold(from, undecided.len());
                held.append(undecided);
            }
            5 => {
                decisions.hold(from, some);
                held.extend(undecided.drain(..some));
            }
            6 => {
                decisions.release(from, held.len());
                decided.append(held);
            }
            7 => {
                decisions.release(from, some_held);
                decided.extend(held.drain(..some_held));
            }
            8 => {
                decisions.discard(from, some_held);
                held.drain(..some_held);
            }
            9 => {
                let inserted = vec![b'i'; self.random.below(40_000) as usize];
                decided.extend_from_slice(&inserted);
                decisions.insert(from, inserted);
            }
            _ => {}
        }
        decisions.set_holding(from, !self.held[from].is_empty());
    }

    fn decide_all(&mut self, from: End, decisions: &mut Decisions) {
        let (undecided, held) = (&mut self.undecided[from], &mut self.held[from]);
        decisions.release(from, held.len());
        decisions.pass(from, undecided.len());
        decisions.set_holding(from, false);
        let decided = &mut self.decided.lock().unwrap()[from];
        decided.append(held);
        decided.append(undecided);
    }
}

impl Filter for AtRandom {
    fn plaintext(&mut self, from: End, bytes: &[u8], decisions: &mut Decisions) {
        self.undecided[from].extend_from_slice(bytes);
        for _ in 0..self.random.below(4) {
            self.decide(from, decisions);
        }
        // What one end says may settle what the other has said.
        if self.random.below(8) == 0 && !self.has_ended[from.other()] {
            self.decide(from.other(), decisions);
        }
    }

    fn ended(&mut self, from: End, decisions: &mut Decisions) {
        self.has_ended[from] = true;
        self.decide_all(from, decisions);
    }

    fn full(&mut self, from: End, decisions: &mut Decisions) {
        self.decide_all(from, decisions);
    }

    fn verdict(&mut self, _: u64, _: Verdict, _: &mut Decisions) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: Instant, _: &mut Decisions) {}

    fn out_of_memory(&mut self, _: End, _: &mut Decisions) {}

    fn memory(&self) -> usize {
        0
    }

    fn awaits_end(&self) -> bool {
        false
    }

    fn finish(&mut self) {}

    fn poll_report(&mut self) -> Option<Report> {
        None
    }
}

/// What a [`Scripted`] filter does with the client's bytes; the server's pass.
#[derive(Clone, Copy)]
pub(crate) enum Script {
    /// Decides nothing, whatever comes.
    Never,
    /// Holds until this time, then passes all that there is and will be.
    Until(Instant),
    /// Likewise, out of the order of what comes.
    HeldUntil(Instant),
    /// Holds until a scan has run on a thread, and does what it says.
    Scanned(fn() -> Verdict),
    /// Asks so often at once, where all scans find nothing.
    ScannedOften(usize),
    /// Answers the first bytes itself: these go to the client, and then the flow ends like this. The server gets nothing.
    Answer(&'static [u8], Ending),
    /// Drops everything.
    Swallow,
}

pub(crate) struct Scripted {
    script: Script,
    held: usize,
    is_open: bool,
    asked: bool,
}

impl Scripted {
    pub(crate) fn new(script: Script) -> Self {
        Self { script, held: 0, is_open: false, asked: false }
    }

    fn open(&mut self, decisions: &mut Decisions) {
        self.is_open = true;
        let held = std::mem::take(&mut self.held);
        match self.script {
            Script::HeldUntil(_) => decisions.release(End::Client, held),
            _ => decisions.pass(End::Client, held),
        }
    }
}

struct Thunk(fn() -> Verdict);

impl Scan for Thunk {
    fn run(self: Box<Self>) -> Verdict {
        (self.0)()
    }
}

impl Filter for Scripted {
    fn plaintext(&mut self, from: End, bytes: &[u8], decisions: &mut Decisions) {
        if from == End::Server || self.is_open {
            return decisions.pass(from, bytes.len());
        }
        self.held += bytes.len();
        match self.script {
            Script::Never | Script::Until(_) => {}
            Script::HeldUntil(_) => decisions.hold(from, bytes.len()),
            Script::Scanned(scan) => {
                if !std::mem::replace(&mut self.asked, true) {
                    decisions.ask(7, Box::new(Thunk(scan)));
                }
            }
            Script::ScannedOften(times) => {
                (0..times).for_each(|_| decisions.ask(7, Box::new(Thunk(|| Verdict::Pass))));
            }
            Script::Answer(bytes, ending) => {
                decisions.insert(End::Server, bytes);
                decisions.end(ending);
            }
            Script::Swallow => decisions.drop(from, bytes.len()),
        }
    }

    fn ended(&mut self, _: End, _: &mut Decisions) {}

    fn full(&mut self, _: End, _: &mut Decisions) {}

    fn verdict(&mut self, question: u64, verdict: Verdict, decisions: &mut Decisions) {
        assert_eq!(question, 7);
        match verdict {
            Verdict::Pass => self.open(decisions),
            Verdict::Block(_) | Verdict::Refused | Verdict::Failed | Verdict::Looked(_) => {
                let reason = wireglass_core::reason::Reason::PolicyBlock;
                decisions.end(Ending { reason, orderly: false, resets_server: false });
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self.script {
            Script::Until(time) | Script::HeldUntil(time) if !self.is_open => Some(time),
            _ => None,
        }
    }

    fn handle_timeout(&mut self, _: Instant, decisions: &mut Decisions) {
        self.open(decisions);
    }

    fn out_of_memory(&mut self, _: End, _: &mut Decisions) {}

    fn memory(&self) -> usize {
        0
    }

    fn awaits_end(&self) -> bool {
        false
    }

    fn finish(&mut self) {}

    fn poll_report(&mut self) -> Option<Report> {
        None
    }
}
