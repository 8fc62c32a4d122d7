//! Handshakes run on a pool of threads beside the workers: one costs as much as hundreds of packets. There are two bounded
//! queues to the threads, and one bounded ring back to each worker. What is in the second queue runs when the first is empty, and where
//! there are several threads, one never runs it: handshakes with servers that have presented costly chains.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, bounded, select_biased};
use crossbeam::queue::ArrayQueue;
use wireglass_core::fairness::Shares;
use wireglass_core::flow_table::FlowId;
use wireglass_core::histogram::Histogram;
use wireglass_core::job::{Job, Reply};

use crate::confine::{self, Kind};

/// Handshakes that a worker may have at the pool. Its reply ring is as deep, so a reply always finds room.
const HANDSHAKES: usize = 1024;

/// Likewise bodies, of which a flow may have many.
const BODIES: usize = 4096;

/// Replies that a worker takes in one turn: as many as from a port in a burst.
const REPLIES_EACH_TURN: usize = 32;

type Replies = Arc<ArrayQueue<(FlowId, u64, Reply)>>;

/// The threads. Dropping it, after all clients are gone, waits for them.
pub struct Pool {
    threads: Vec<JoinHandle<()>>,
}

/// How long jobs of threads have waited and run. Jobs that a worker runs by itself are not in it.
#[derive(Debug, Default)]
pub struct JobTimes {
    /// For a thread.
    pub waited: Histogram,
    /// On it.
    pub ran: Histogram,
}

/// A job on its way to the pool.
struct Request {
    worker: usize,
    flow: FlowId,
    client: u64,
    asked: Instant,
    job: Box<Job>,
}

/// A worker's end of the pool.
pub struct Client {
    worker: usize,
    to: To,
    replies: Replies,
    /// By the hash of the client's network.
    outstanding: Shares,
    /// Most of them.
    most: usize,
}

/// A worker's ends of both pools.
pub struct Clients {
    /// For handshakes.
    pub handshakes: Client,
    /// For bodies, and whatever else filters ask.
    pub content: Client,
}

impl Clients {
    /// Hands a job to those whose it is.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub fn submit(&mut self, flow: FlowId, client: u64, job: Box<Job>) -> Result<(), Box<Job>> {
        match &*job {
            Job::Handshake(..) => self.handshakes.submit(flow, client, job),
            Job::Scan(..) => self.content.submit(flow, client, job),
        }
    }

    /// Jobs at both.
    pub fn outstanding(&self) -> usize {
        self.handshakes.outstanding() + self.content.outstanding()
    }
}

/// Who runs the jobs.
enum To {
    Threads(Queues<Sender<Request>>),
    /// The worker, when it is asked for a reply: so packets that came after a job do not wait for it.
    Worker(Queues<VecDeque<(FlowId, u64, Box<Job>)>>),
}

/// Those that come first, and those that wait for them.
#[derive(Clone, Default)]
struct Queues<Q> {
    first: Q,
    last: Q,
}

impl<Q> Queues<Q> {
    fn of(&mut self, job: &Job) -> &mut Q {
        if job.waits_for_others() { &mut self.last } else { &mut self.first }
    }
}

impl Queues<Receiver<Request>> {
    /// The next request; none: nobody will send one.
    fn next(&self) -> Option<Request> {
        // A queue that nobody sends to is always ready, and says so.
        select_biased! {
            recv(self.first) -> request => request.or_else(|_| self.last.recv()),
            recv(self.last) -> request => request.or_else(|_| self.first.recv()),
        }
        .ok()
    }
}

impl Pool {
    /// Starts `threads` threads for the handshakes of `workers` workers. None: the workers run the jobs themselves.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(threads: usize, workers: usize) -> std::io::Result<(Self, Vec<Client>)> {
        Self::start_named(("wg-shake", Kind::Handshake), threads, workers, HANDSHAKES, &Arc::default())
    }

    /// Starts threads for handshakes and others for bodies, and gives each worker its ends. `times`: where either is measured.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start_both(
        handshake_threads: usize,
        content_threads: usize,
        workers: usize,
        times: [&Arc<JobTimes>; 2],
    ) -> std::io::Result<(Self, Vec<Clients>)> {
        let [shaking, looking] = times;
        let (mut pool, handshakes) = Self::start_named(
            ("wg-shake", Kind::Handshake),
            handshake_threads,
            workers,
            HANDSHAKES,
            shaking,
        )?;
        let (mut content, bodies) =
            Self::start_named(("wg-content", Kind::Content), content_threads, workers, BODIES, looking)?;
        pool.threads.append(&mut content.threads);
        let clients = handshakes.into_iter().zip(bodies);
        Ok((pool, clients.map(|(handshakes, content)| Clients { handshakes, content }).collect()))
    }

    fn start_named(
        (name, kind): (&str, Kind),
        threads: usize,
        workers: usize,
        most: usize,
        times: &Arc<JobTimes>,
    ) -> std::io::Result<(Self, Vec<Client>)> {
        let replies: Arc<[Replies]> = (0..workers).map(|_| Arc::new(ArrayQueue::new(most))).collect();
        // Each worker's own bound is reached first, so that none can fill the queue for the others.
        let queue = || bounded(most * workers.max(1));
        let ((first, from_first), (last, from_last)) = (queue(), queue());
        let sender = Queues { first, last };
        let receiver = Queues { first: from_first, last: from_last };
        let start = |n| {
            let (receiver, replies, times) = (receiver.clone(), Arc::clone(&replies), Arc::clone(times));
            let thread = std::thread::Builder::new().name(format!("{name}-{n}"));
            thread.spawn(move || {
                confine::enter(kind);
                if n == 0 && threads > 1 {
                    serve(|| receiver.first.recv().ok(), &replies, &times);
                } else {
                    serve(|| receiver.next(), &replies, &times);
                }
            })
        };
        let threads_started = (0..threads).map(start).collect::<Result<_, _>>()?;
        let client = |worker: usize| Client {
            worker,
            to: if threads > 0 { To::Threads(sender.clone()) } else { To::Worker(Queues::default()) },
            replies: Arc::clone(&replies[worker]),
            outstanding: Shares::default(),
            most,
        };
        Ok((Self { threads: threads_started }, (0..workers).map(client).collect()))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for thread in self.threads.drain(..) {
            // A thread only ends when all senders are gone; a panic in a job was caught.
            let _ = thread.join();
        }
    }
}

fn nanos(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}

fn serve(next: impl Fn() -> Option<Request>, replies: &[Replies], times: &JobTimes) {
    while let Some(Request { worker, flow, client, asked, job }) = next() {
        let began = Instant::now();
        let reply = job.run();
        times.waited.observe(nanos(asked, began));
        times.ran.observe(nanos(began, Instant::now()));
        let pushed = replies[worker].push((flow, client, reply));
        debug_assert!(pushed.is_ok(), "a worker has no more jobs out than its ring holds");
    }
}

impl Client {
    /// Jobs that [`Self::submit`] takes now from flows of a client, by its hash.
    pub fn room(&self, client: u64) -> usize {
        self.outstanding.room(client, self.most)
    }

    /// Hands a job over; the reply comes from [`Self::next_reply`]. `client`: the hash of the flow's client.
    ///
    /// # Errors
    /// Gives the job back when the queue is full, or full as far as this client is concerned: the caller sheds, it never waits.
    pub fn submit(&mut self, flow: FlowId, client: u64, job: Box<Job>) -> Result<(), Box<Job>> {
        if self.room(client) == 0 {
            return Err(job);
        }
        match &mut self.to {
            To::Threads(requests) => requests
                .of(&job)
                .try_send(Request { worker: self.worker, flow, client, asked: Instant::now(), job })
                .map_err(|refused| refused.into_inner().job)?,
            To::Worker(jobs) => jobs.of(&job).push_back((flow, client, job)),
        }
        self.outstanding.add(client);
        Ok(())
    }

    /// Replies to take in one turn at most, so that a storm of handshakes does not keep packets waiting: a burst of them, or one
    /// if the worker has to run the job itself.
    pub fn each_turn(&self) -> usize {
        match self.to {
            To::Threads(_) => REPLIES_EACH_TURN,
            To::Worker(_) => 1,
        }
    }

    /// The next answer, if one has come. Without threads it is made now.
    pub fn next_reply(&mut self) -> Option<(FlowId, Reply)> {
        let (flow, client, reply) = match &mut self.to {
            To::Threads(_) => self.replies.pop()?,
            To::Worker(jobs) => {
                let next = jobs.first.pop_front().or_else(|| jobs.last.pop_front());
                next.map(|(flow, client, job)| (flow, client, job.run()))?
            }
        };
        self.outstanding.remove(client, 1);
        Some((flow, reply))
    }

    /// Jobs at the pool.
    pub fn outstanding(&self) -> usize {
        self.outstanding.total()
    }
}
