//! Asking the workers what their flows look like, and telling them which to end, without a lock and without holding anyone up.
//!
//! ```text
//! FlowDumper ── KillRequest ──► line of the worker that owns the flow ──► DumpResponder: a few in one turn
//! FlowDumper ── DumpRequest ──► line of each worker ──► DumpResponder: SLICE places of the flow table in one turn of its loop
//! FlowDump ◄── snapshots ── ring of that dump and worker ◄──┘
//! ```
//! A worker that nobody asks pays one load a turn. One that is asked never waits: when the ring is full it goes on in a
//! later turn, and when nobody listens any more it stops. Flows that begin or end meanwhile may be seen or not; none is
//! seen twice, as a flow never changes its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;
use wireglass_core::flow::{FlowSnapshot, Wanted};
use wireglass_core::flow_table::{FlowId, FlowTable};

/// Places of the flow table that a worker looks at in one turn: about as much work as a burst of packets.
pub const SLICE: usize = 64;
/// Snapshots of one worker that may wait for whoever asked.
const REPLIES: usize = 256;
/// Flows of one worker that may wait to be ended.
const KILLS: usize = 256;
/// Questions that may wait for one worker.
const QUESTIONS: usize = 8;

/// What a worker is asked.
struct DumpRequest {
    wanted: Wanted,
    replies: Arc<Replies>,
}

/// What one worker has to say to one dump.
struct Replies {
    ring: ArrayQueue<Reply>,
    /// Nobody listens any more.
    gone: AtomicBool,
}

#[expect(clippy::large_enum_variant, reason = "a box would be an allocation in the worker")]
enum Reply {
    Flow(FlowId, FlowSnapshot),
    /// That was all. So many flows were looked at.
    Done(u64),
}

/// The way to one worker.
struct Channel {
    /// There is something to do. Set after the question was queued.
    asked: AtomicBool,
    asks: ArrayQueue<DumpRequest>,
    /// Likewise, of flows to be ended.
    killing: AtomicBool,
    kills: ArrayQueue<KillRequest>,
}

/// A worker's end: answers.
pub struct DumpResponder {
    line: Arc<Channel>,
    walk: Option<Walk>,
}

/// An answer that is being given.
struct Walk {
    ask: DumpRequest,
    /// The next place of the table.
    next: usize,
    seen: u64,
}

impl Default for DumpResponder {
    fn default() -> Self {
        let line = Channel {
            asked: AtomicBool::new(false),
            asks: ArrayQueue::new(QUESTIONS),
            killing: AtomicBool::new(false),
            kills: ArrayQueue::new(KILLS),
        };
        Self { line: Arc::new(line), walk: None }
    }
}

impl DumpResponder {
    /// [`Self::turn`] has something to do. One load.
    #[inline]
    pub fn is_asked(&self) -> bool {
        self.line.asked.load(Ordering::Relaxed)
    }

    /// One turn's share of an answer: at most [`SLICE`] places. Returns how many were looked at. `snapshot` copies a flow,
    /// if it is wanted.
    pub fn turn<T>(
        &mut self,
        table: &FlowTable<T>,
        mut snapshot: impl FnMut(&T, &Wanted) -> Option<FlowSnapshot>,
    ) -> usize {
        let Some(walk) = self.begin() else { return 0 };
        let Replies { ring, gone } = &*walk.ask.replies;
        if gone.load(Ordering::Relaxed) {
            self.walk = None;
            return 0;
        }
        let mut looked = 0;
        for place in table.places(walk.next).take(SLICE) {
            // Nobody else pushes: where there is room now, there is room for the push.
            if ring.is_full() {
                return looked;
            }
            looked += 1;
            let id = table.at(walk.next as u32);
            walk.next += 1;
            let Some((flow, id)) = place.zip(id) else { continue };
            walk.seen += 1;
            if let Some(flow) = snapshot(flow, &walk.ask.wanted) {
                let _ = ring.push(Reply::Flow(id, flow));
            }
        }
        if table.places(walk.next).next().is_none() && ring.push(Reply::Done(walk.seen)).is_ok() {
            self.walk = None;
        }
        looked
    }

    /// [`Self::next_kill`] has something. One load.
    #[inline]
    pub fn has_kills(&self) -> bool {
        self.line.killing.load(Ordering::Relaxed)
    }

    /// The next flow to be ended.
    pub fn next_kill(&mut self) -> Option<KillRequest> {
        // Pairs with the store in `FlowDumper::kill`.
        self.line.killing.swap(false, Ordering::Acquire);
        let kill = self.line.kills.pop()?;
        // There may be more.
        self.line.killing.store(true, Ordering::Relaxed);
        Some(kill)
    }

    /// The walk that is under way, or the next one.
    fn begin(&mut self) -> Option<&mut Walk> {
        if self.walk.is_none() {
            // Pairs with the store in `FlowDumper::ask`: a question whose flag is seen here is in the queue.
            self.line.asked.swap(false, Ordering::Acquire);
            let ask = self.line.asks.pop()?;
            self.line.asked.store(true, Ordering::Relaxed);
            self.walk = Some(Walk { ask, next: 0, seen: 0 });
        }
        self.walk.as_mut()
    }
}

/// Asks all workers of an engine.
#[derive(Clone)]
pub struct FlowDumper {
    lines: Vec<Arc<Channel>>,
}

/// So many questions are waiting already that no more are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl FlowDumper {
    /// Of the workers with these responders.
    pub fn new<'s>(responders: impl IntoIterator<Item = &'s DumpResponder>) -> Self {
        Self { lines: responders.into_iter().map(|responder| Arc::clone(&responder.line)).collect() }
    }

    /// Asks for all wanted flows. Dropping the dump ends it.
    ///
    /// # Errors
    /// When too many dumps are waiting for a worker.
    pub fn ask(&self, wanted: Wanted) -> Result<FlowDump, Busy> {
        let mut dump = FlowDump { open: Vec::new(), seen: 0 };
        for (worker, line) in self.lines.iter().enumerate() {
            let replies = Arc::new(Replies { ring: ArrayQueue::new(REPLIES), gone: AtomicBool::new(false) });
            dump.open.push((worker, Arc::clone(&replies)));
            line.asks.push(DumpRequest { wanted, replies }).map_err(|_| Busy)?;
            line.asked.store(true, Ordering::Release);
        }
        Ok(dump)
    }

    /// Has the worker that owns a flow end it, if it is still there. What came of it, the tally says.
    ///
    /// # Errors
    /// So many wait for that worker already.
    pub fn kill(&self, place: Place, tally: &Arc<KillTally>) -> Result<(), Busy> {
        let line = &self.lines[place.worker];
        let request = KillRequest { id: place.id, tally: Arc::clone(tally) };
        line.kills.push(request).map_err(|_| Busy)?;
        line.killing.store(true, Ordering::Release);
        Ok(())
    }
}

/// Where a flow is.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    worker: usize,
    id: FlowId,
}

/// A flow that is to be ended.
pub struct KillRequest {
    /// Its place in the worker's table, where another one may lie by then.
    pub id: FlowId,
    tally: Arc<KillTally>,
}

impl KillRequest {
    /// It was ended, or had gone before.
    pub fn done(self, ended: bool) {
        self.tally.ended.fetch_add(ended.into(), Ordering::Relaxed);
        self.tally.done.fetch_add(1, Ordering::Release);
    }
}

/// What has come of flows that were to be ended.
#[derive(Debug, Default)]
pub struct KillTally {
    ended: AtomicU64,
    done: AtomicU64,
}

impl KillTally {
    /// Requests that the workers are through with.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    /// Flows of those that were ended; the others had gone before.
    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }
}

/// Answers, as they come.
pub struct FlowDump {
    /// Rings of the workers that have not said that they are done.
    open: Vec<(usize, Arc<Replies>)>,
    seen: u64,
}

impl FlowDump {
    /// The next flow that is here already, in no order.
    pub fn poll(&mut self) -> Option<FlowSnapshot> {
        self.poll_placed().map(|(_, flow)| flow)
    }

    /// The same, with where it is.
    pub fn poll_placed(&mut self) -> Option<(Place, FlowSnapshot)> {
        for at in (0..self.open.len()).rev() {
            let (worker, replies) = &self.open[at];
            match replies.ring.pop() {
                Some(Reply::Flow(id, flow)) => return Some((Place { worker: *worker, id }, flow)),
                Some(Reply::Done(seen)) => {
                    self.seen += seen;
                    self.open.swap_remove(at);
                }
                None => {}
            }
        }
        None
    }

    /// All workers have said all.
    pub fn is_done(&self) -> bool {
        self.open.is_empty()
    }

    /// Flows that were looked at by the workers that are done.
    pub fn seen(&self) -> u64 {
        self.seen
    }
}

impl Drop for FlowDump {
    fn drop(&mut self) {
        for (_, replies) in &self.open {
            replies.gone.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use wireglass_core::flow::Identity;
    use wireglass_core::flow_table::Class;
    use wireglass_core::packet::{FlowKey, Headers, KeyHasher};
    use wireglass_core::phase::FlowPhase;

    /// A flow is its number.
    fn snapshot(number: u32, wanted: &Wanted) -> Option<FlowSnapshot> {
        let client = SocketAddr::from(([10, 0, 0, 1], number as u16));
        let identity = Identity {
            refused_before: false,
            flow_id: number.into(),
            wire: 0,
            vlan: [None; 2],
            client,
            server: ([10, 0, 0, 2], 443).into(),
        };
        wanted.port.is_none_or(|port| port == client.port()).then(|| FlowSnapshot {
            identity,
            wire: "lan".into(),
            phase: FlowPhase::Opening,
            handshaking: false,
            rule: None,
            profile: None,
            sni: None,
            age: 0,
            idle: 0,
            volume: Default::default(),
            legs: None,
        })
    }

    fn insert(table: &mut FlowTable<u32>, number: u32) -> wireglass_core::flow_table::FlowId {
        let [high, low] = [(number >> 16) as u8, 0];
        let headers = Headers {
            l3: 14,
            l4: 34,
            end: 54,
            vlan: [None; 2],
            source: ([10, 1, high, low], number as u16).into(),
            destination: ([10, 0, 0, 2], 443).into(),
        };
        let key = FlowKey::new(0, &headers);
        table.insert(KeyHasher::new([7; 16]).hash(&key), key, Class::Opening, number).expect("room")
    }

    fn table(flows: u32) -> FlowTable<u32> {
        let mut table = FlowTable::new(flows);
        for number in 0..flows {
            insert(&mut table, number);
        }
        table
    }

    /// Turns of the worker until it has nothing to do, with the listener keeping up. Places a turn, and flows told.
    fn run(
        responder: &mut DumpResponder,
        table: &FlowTable<u32>,
        dump: &mut FlowDump,
    ) -> (Vec<usize>, Vec<u64>) {
        let (mut turns, mut told) = (Vec::new(), Vec::new());
        while responder.is_asked() {
            turns.push(responder.turn(table, |number, wanted| snapshot(*number, wanted)));
            told.extend(std::iter::from_fn(|| dump.poll()).map(|flow| flow.identity.flow_id));
        }
        (turns, told)
    }

    #[test]
    fn a_walk_over_100_000_flows_takes_a_slice_a_turn_and_tells_each_once() {
        const FLOWS: u32 = 100_000;
        let (table, mut responder) = (table(FLOWS), DumpResponder::default());
        let dumper = FlowDumper::new([&responder]);
        assert!(!responder.is_asked());
        let mut dump = dumper.ask(Wanted::default()).expect("nobody else asks");
        let (turns, told) = run(&mut responder, &table, &mut dump);
        assert!(turns.iter().all(|looked| *looked <= SLICE), "{turns:?}");
        assert!(turns.len() <= FLOWS as usize / SLICE + 3, "{} turns", turns.len());
        assert_eq!(told, (0..u64::from(FLOWS)).collect::<Vec<_>>());
        assert!(dump.is_done() && dump.seen() == u64::from(FLOWS));
        assert!(!responder.is_asked(), "nobody asks any more");
    }

    #[test]
    fn what_is_not_wanted_is_looked_at_and_not_told() {
        let (table, mut responder) = (table(1000), DumpResponder::default());
        let dumper = FlowDumper::new([&responder]);
        let mut dump = dumper.ask(Wanted { port: Some(7), ..Wanted::default() }).expect("nobody else asks");
        let (turns, told) = run(&mut responder, &table, &mut dump);
        assert_eq!((told, dump.seen()), (vec![7], 1000));
        assert!(turns.iter().all(|looked| *looked <= SLICE));
    }

    #[test]
    fn a_listener_that_is_slow_makes_the_worker_go_on_later_and_one_that_leaves_ends_the_walk() {
        let (table, mut responder) = (table(1000), DumpResponder::default());
        let dumper = FlowDumper::new([&responder]);
        let mut dump = dumper.ask(Wanted::default()).expect("nobody else asks");
        let mut turn = || responder.turn(&table, |number, wanted| snapshot(*number, wanted));
        assert_eq!((0..100).map(|_| turn()).sum::<usize>(), REPLIES, "as many as fit the ring");
        assert!(dump.poll().is_some());
        assert_eq!((turn(), turn()), (1, 0));
        drop(dump);
        assert_eq!(turn(), 0);
        // The next one is answered from the start.
        let mut dump = dumper.ask(Wanted::default()).expect("nobody else asks");
        let (_, told) = run(&mut responder, &table, &mut dump);
        assert_eq!(told.len(), 1000);
    }

    #[test]
    fn several_may_ask_at_once_but_not_too_many() {
        let (table, mut responder) = (table(100), DumpResponder::default());
        let dumper = FlowDumper::new([&responder]);
        let mut dumps: Vec<_> =
            (0..QUESTIONS).map(|_| dumper.ask(Wanted::default()).expect("a place")).collect();
        assert!(dumper.ask(Wanted::default()).is_err_and(|busy| busy == Busy));
        while responder.is_asked() {
            responder.turn(&table, |number, wanted| snapshot(*number, wanted));
        }
        for dump in &mut dumps {
            assert_eq!(std::iter::from_fn(|| dump.poll()).count(), 100);
            assert!(dump.is_done());
        }
    }

    /// Flows that come and go during the walk: those that stay are told once, and none twice.
    #[test]
    fn flows_may_come_and_go_meanwhile() {
        const FLOWS: u32 = 1_000;
        let (mut table, mut responder) = (FlowTable::new(2 * FLOWS), DumpResponder::default());
        let mut ids: Vec<_> = (0..FLOWS).map(|number| Some(insert(&mut table, number))).collect();
        let dumper = FlowDumper::new([&responder]);
        let mut dump = dumper.ask(Wanted::default()).expect("nobody else asks");
        let mut told = Vec::new();
        let mut next = FLOWS;
        while responder.is_asked() {
            responder.turn(&table, |number, wanted| snapshot(*number, wanted));
            told.extend(std::iter::from_fn(|| dump.poll()).map(|flow| flow.identity.flow_id as u32));
            // Every third one leaves, near the walk and far from it, and others take its place.
            for at in [next % 997, (next * 7) % 997].map(|at| at as usize - at as usize % 3) {
                if let Some(id) = ids[at].take() {
                    table.remove(id);
                    insert(&mut table, next);
                    next += 1;
                }
            }
        }
        let mut once = told.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), told.len(), "none twice");
        let stayed = (0..FLOWS).filter(|number| ids[*number as usize].is_some());
        for number in stayed {
            assert!(once.binary_search(&number).is_ok(), "{number} was there all the time");
        }
        assert!(next > FLOWS + 10, "some have left");
    }
}
