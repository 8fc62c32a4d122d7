//! The way of a verdict to the worker that has its flow, and what comes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam::queue::ArrayQueue;
use wireglass_core::flow::ExternalVerdict;
use wireglass_core::packet::{FlowKey, KeyHasher};
use wireglass_core::reason::VerdictFate;

/// Verdicts that may wait for one worker.
const WAITING: usize = 256;

/// What has become of the lines of an IDS, of all workers together: they are few.
#[derive(Debug, Default)]
pub struct VerdictCounters([AtomicU64; VerdictFate::COUNT]);

impl VerdictCounters {
    /// One line.
    pub fn count(&self, fate: VerdictFate) {
        self.0[fate as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many became this.
    pub fn value(&self, fate: VerdictFate) -> u64 {
        self.0[fate as usize].load(Ordering::Relaxed)
    }
}

/// A verdict, until all who may have its flow have looked.
struct Pending {
    verdict: ExternalVerdict,
    left: AtomicUsize,
    is_settled: AtomicBool,
}

/// One of the keys that its flow may have.
struct Asked {
    key: FlowKey,
    hash: u64,
    pending: Arc<Pending>,
}

/// The way to one worker.
struct Channel {
    /// There is something in the ring. Set after it was put there.
    is_waiting: AtomicBool,
    ring: ArrayQueue<Asked>,
}

/// A worker's end.
#[derive(Clone)]
pub struct VerdictInbox {
    channel: Arc<Channel>,
    counters: Arc<VerdictCounters>,
}

impl VerdictInbox {
    /// Of an engine whose verdicts are counted there.
    pub fn new(counters: Arc<VerdictCounters>) -> Self {
        let channel = Channel { is_waiting: AtomicBool::new(false), ring: ArrayQueue::new(WAITING) };
        Self { channel: Arc::new(channel), counters }
    }

    /// [`Self::take`] has something. One load.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        self.channel.is_waiting.load(Ordering::Relaxed)
    }

    /// Has the next verdict carried out: `end` is given the key and its hash, and says what has come of it; none: no such flow.
    /// False: there is none.
    pub fn take(&self, end: impl FnOnce(u64, &FlowKey, &ExternalVerdict) -> Option<VerdictFate>) -> bool {
        // Pairs with the store in `VerdictSender::send`: what was put before its flag is found.
        self.channel.is_waiting.swap(false, Ordering::Acquire);
        let Some(Asked { key, hash, pending }) = self.channel.ring.pop() else { return false };
        if !self.channel.ring.is_empty() {
            self.channel.is_waiting.store(true, Ordering::Relaxed);
        }
        let fate = end(hash, &key, &pending.verdict).filter(|fate| *fate != VerdictFate::UnknownFlow);
        pending.settle(fate, &self.counters);
        true
    }
}

impl Pending {
    /// One of its keys has been looked up. Whoever is last says that nobody has the flow.
    fn settle(&self, fate: Option<VerdictFate>, counters: &VerdictCounters) {
        if let Some(fate) = fate {
            counters.count(fate);
            self.is_settled.store(true, Ordering::Release);
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 && !self.is_settled.load(Ordering::Acquire) {
            counters.count(VerdictFate::UnknownFlow);
        }
    }
}

/// Sends verdicts to all workers of an engine.
#[derive(Clone)]
pub struct VerdictSender {
    channels: Vec<Arc<Channel>>,
    hasher: KeyHasher,
    counters: Arc<VerdictCounters>,
}

impl VerdictSender {
    /// To the workers with these inboxes, whose flows are hashed so.
    pub fn new<'i>(inboxes: impl IntoIterator<Item = &'i VerdictInbox>, hasher: KeyHasher) -> Self {
        let mut counters = Arc::default();
        let channels = inboxes.into_iter().map(|inbox| {
            counters = Arc::clone(&inbox.counters);
            Arc::clone(&inbox.channel)
        });
        Self { channels: channels.collect(), hasher, counters }
    }

    /// What is counted.
    pub fn counters(&self) -> &Arc<VerdictCounters> {
        &self.counters
    }

    /// Has the flow with one of these keys end. Each key goes to the worker that would have it.
    pub fn send(&self, verdict: ExternalVerdict, keys: &[FlowKey]) {
        if keys.is_empty() || self.channels.is_empty() {
            return self.counters.count(VerdictFate::UnknownFlow);
        }
        let left = AtomicUsize::new(keys.len());
        let pending = Arc::new(Pending { verdict, left, is_settled: AtomicBool::new(false) });
        for key in keys {
            let hash = self.hasher.flow(key);
            let channel = &self.channels[KeyHasher::owner(hash, self.channels.len())];
            let asked = Asked { key: *key, hash, pending: Arc::clone(&pending) };
            match channel.ring.push(asked) {
                Ok(()) => channel.is_waiting.store(true, Ordering::Release),
                Err(_) => pending.settle(Some(VerdictFate::RingFull), &self.counters),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wireglass_core::end::End;

    fn verdict() -> ExternalVerdict {
        ExternalVerdict { stream: None, rule: "1".into(), from: End::Client }
    }

    fn key(port: u16) -> FlowKey {
        FlowKey::between(0, [None; 2], ([10, 0, 0, 1], port).into(), ([10, 0, 0, 2], 443).into())
    }

    fn engine(workers: usize) -> (Vec<VerdictInbox>, VerdictSender) {
        let counters = Arc::new(VerdictCounters::default());
        let inboxes: Vec<_> = (0..workers).map(|_| VerdictInbox::new(Arc::clone(&counters))).collect();
        let sender = VerdictSender::new(&inboxes, KeyHasher::new([3; 16]));
        (inboxes, sender)
    }

    #[test]
    fn each_key_goes_to_its_worker_and_a_verdict_counts_once() {
        let (inboxes, sender) = engine(3);
        let keys: Vec<_> = (0..30).map(key).collect();
        for known in [None, Some(17)] {
            sender.send(verdict(), &keys);
            let mut seen = Vec::new();
            for (me, inbox) in inboxes.iter().enumerate() {
                while inbox.is_waiting() {
                    assert!(inbox.take(|hash, asked, _| {
                        assert_eq!(
                            (hash, KeyHasher::owner(hash, 3)),
                            (KeyHasher::new([3; 16]).hash(asked), me)
                        );
                        seen.push(*asked);
                        known.filter(|port| *asked == key(*port)).map(|_| VerdictFate::FlowEnded)
                    }));
                }
                assert!(!inbox.take(|_, _, _| None));
            }
            assert_eq!((seen.len(), keys.iter().all(|key| seen.contains(key))), (30, true));
        }
        let counted =
            [VerdictFate::FlowEnded, VerdictFate::UnknownFlow].map(|fate| sender.counters().value(fate));
        assert_eq!(counted, [1, 1]);
    }

    #[test]
    fn a_worker_that_is_stuck_keeps_nobody_waiting() {
        let (inboxes, sender) = engine(1);
        for _ in 0..WAITING + 7 {
            sender.send(verdict(), &[key(1)]);
        }
        assert_eq!(sender.counters().value(VerdictFate::RingFull), 7);
        let mut taken = 0;
        while inboxes[0].take(|_, _, _| Some(VerdictFate::TooLate)) {
            taken += 1;
        }
        assert_eq!((taken, sender.counters().value(VerdictFate::TooLate)), (WAITING, WAITING as u64));
    }
}
