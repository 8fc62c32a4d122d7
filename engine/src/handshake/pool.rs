//! The pool: one bounded queue to the threads, one bounded ring back to each worker.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, bounded};
use crossbeam::queue::ArrayQueue;

use super::{Job, Reply, Request};
use crate::flow_table::FlowId;

/// Jobs that a worker may have at the pool. Its reply ring is as deep, so a reply always finds room.
const OUTSTANDING: usize = 1024;

type Replies = Arc<ArrayQueue<(FlowId, Reply)>>;

/// The threads. Dropping it, after all clients are gone, waits for them.
pub struct Pool {
    threads: Vec<JoinHandle<()>>,
}

/// A worker's end of the pool.
pub struct Client {
    worker: usize,
    /// None: jobs run at once, in the worker.
    requests: Option<Sender<Request>>,
    replies: Replies,
    outstanding: usize,
}

impl Pool {
    /// Starts `threads` threads for `workers` workers. None: the workers run the jobs themselves.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(threads: usize, workers: usize) -> std::io::Result<(Self, Vec<Client>)> {
        let replies: Arc<[Replies]> = (0..workers).map(|_| Arc::new(ArrayQueue::new(OUTSTANDING))).collect();
        let (sender, receiver) = bounded(OUTSTANDING);
        let start = |n| {
            let (receiver, replies) = (receiver.clone(), Arc::clone(&replies));
            std::thread::Builder::new()
                .name(format!("wg-shake-{n}"))
                .spawn(move || serve(&receiver, &replies))
        };
        let threads_started = (0..threads).map(start).collect::<Result<_, _>>()?;
        let client = |worker: usize| Client {
            worker,
            requests: (threads > 0).then(|| sender.clone()),
            replies: Arc::clone(&replies[worker]),
            outstanding: 0,
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

fn serve(requests: &Receiver<Request>, replies: &[Replies]) {
    while let Ok(Request { worker, flow, job }) = requests.recv() {
        let reply = job.run();
        let pushed = replies[worker].push((flow, reply));
        debug_assert!(pushed.is_ok(), "a worker has no more jobs out than its ring holds");
    }
}

impl Client {
    /// Hands a job over, or runs it if there are no threads; the reply comes from [`Self::next_reply`] either way.
    ///
    /// # Errors
    /// Gives the job back when the queue is full: the caller sheds, it never waits.
    pub fn submit(&mut self, flow: FlowId, job: Box<Job>) -> Result<(), Box<Job>> {
        if self.outstanding >= OUTSTANDING {
            return Err(job);
        }
        if let Some(requests) = &self.requests {
            requests
                .try_send(Request { worker: self.worker, flow, job })
                .map_err(|refused| refused.into_inner().job)?;
        } else {
            let pushed = self.replies.push((flow, job.run()));
            debug_assert!(pushed.is_ok(), "outstanding is below the ring's depth");
        }
        self.outstanding += 1;
        Ok(())
    }

    /// The next answer, if one has come.
    pub fn next_reply(&mut self) -> Option<(FlowId, Reply)> {
        let reply = self.replies.pop()?;
        self.outstanding -= 1;
        Some(reply)
    }

    /// Jobs at the pool.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }
}
