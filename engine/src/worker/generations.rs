//! The generations of settings that a worker's flows go by: the newest for those that begin, and for each flow the one that it
//! began with.

use std::collections::VecDeque;
use std::sync::Arc;

use tcp_stack::Instant;
use wireglass_core::flow::{Context, Shared};
use wireglass_core::policy::Ports;
use wireglass_core::port::Io;

use super::Worker;
use crate::generation;

/// Older generations that are kept while flows have them. Each may have lists of its own, 27 bytes a name and more, so there is a
/// bound; beyond it, the flows of the oldest go by the next one.
const MOST_OLDER: usize = 16;
/// Changes of the intercepted ports that are remembered; beyond that, ports count as intercepted for longer than they are.
const MOST_CHANGES: usize = 16;

/// One of them.
struct Generation {
    number: u32,
    shared: Arc<Shared>,
    /// Flows in the table that began under it.
    flows: usize,
}

/// All of a worker's.
pub(super) struct Generations {
    newest: Generation,
    /// Those with flows, the oldest first.
    older: VecDeque<Generation>,
    /// Whose settings the context has.
    in_context: u32,
    /// Ports that are intercepted by any of them.
    looked_at: PortSet,
    /// What was intercepted, and since when; the newest last.
    intercepted: Vec<(Ports, Instant)>,
}

/// A bit for each port: every frame asks for two.
struct PortSet(Box<[u64; 1 << 10]>);

impl PortSet {
    fn none() -> Self {
        Self(Box::new([0; 1 << 10]))
    }

    /// Adds those that are intercepted by these settings.
    fn add(&mut self, ports: &Ports) {
        match ports {
            Ports::Any => self.0.fill(u64::MAX),
            Ports::Only(ports) => {
                ports.iter().for_each(|port| self.0[usize::from(port >> 6)] |= 1 << (port & 63));
            }
        }
    }

    fn has(&self, port: u16) -> bool {
        self.0[usize::from(port >> 6)] >> (port & 63) & 1 != 0
    }
}

impl Generations {
    pub(super) fn new(first: Arc<Shared>) -> Self {
        let intercepted = vec![(first.policy.ports().clone(), Instant::ZERO)];
        let number = generation::FIRST;
        let newest = Generation { number, shared: first, flows: 0 };
        let looked_at = PortSet::none();
        let mut generations =
            Self { newest, older: VecDeque::new(), in_context: number, looked_at, intercepted };
        generations.note_ports();
        generations
    }

    /// What flows that begin now, and frames of no flow, go by.
    pub(super) fn newest(&self) -> &Arc<Shared> {
        &self.newest.shared
    }

    /// Its number.
    pub(super) fn number(&self) -> u32 {
        self.newest.number
    }

    /// What the flows that began under this number go by.
    pub(super) fn of(&self, number: u32) -> &Arc<Shared> {
        if number == self.newest.number {
            return &self.newest.shared;
        }
        // Where it has been given up, the next one.
        let kept = self.older.iter().find(|older| older.number >= number);
        kept.map_or(&self.newest.shared, |older| &older.shared)
    }

    /// Has the context go by the settings of this number: those of the flow that is called next.
    pub(super) fn enter<IO: Io>(&mut self, cx: &mut Context<IO>, number: u32) {
        if self.in_context != number {
            cx.shared = Arc::clone(self.of(number));
            self.in_context = number;
        }
    }

    /// A flow of the newest has its place in the table.
    pub(super) fn begin(&mut self) {
        self.newest.flows += 1;
    }

    /// A flow has left the table for good. With the last one goes its generation.
    pub(super) fn end<IO: Io>(&mut self, cx: &mut Context<IO>, number: u32) {
        if number == self.newest.number {
            self.newest.flows -= 1;
            return;
        }
        let Some(place) = self.older.iter().position(|older| older.number >= number) else {
            self.newest.flows -= 1;
            return;
        };
        self.older[place].flows -= 1;
        if self.older[place].flows == 0 {
            self.older.remove(place);
            self.note_ports();
            // Not held by the context either.
            self.enter(cx, self.newest.number);
        }
    }

    /// Flows to this port of either end may be in the table, or are looked at.
    pub(super) fn is_candidate(&self, a: u16, b: u16) -> bool {
        self.looked_at.has(a) || self.looked_at.has(b)
    }

    fn note_ports(&mut self) {
        self.looked_at.0.fill(0);
        for generation in self.older.iter().chain([&self.newest]) {
            self.looked_at.add(generation.shared.policy.ports());
        }
    }

    /// Since when flows to this port have been looked at without a break, as far as it is remembered.
    pub(super) fn intercepted_since(&self, port: u16) -> Instant {
        let all = self.intercepted.iter().rev().take_while(|(ports, _)| ports.contain(port));
        all.last().map_or(Instant::ZERO, |(_, since)| *since)
    }

    fn take<IO: Io>(&mut self, cx: &mut Context<IO>, number: u32, shared: Arc<Shared>) {
        if self.intercepted.last().is_none_or(|(ports, _)| ports != shared.policy.ports()) {
            if self.intercepted.len() > MOST_CHANGES {
                // The second: what has been intercepted from the start stays so.
                self.intercepted.remove(1);
            }
            self.intercepted.push((shared.policy.ports().clone(), cx.now));
        }
        let before = std::mem::replace(&mut self.newest, Generation { number, shared, flows: 0 });
        if before.flows > 0 {
            self.older.push_back(before);
        }
        if self.older.len() > MOST_OLDER
            && let Some(oldest) = self.older.pop_front()
            && let Some(next) = self.older.front_mut()
        {
            next.flows += oldest.flows;
        }
        self.note_ports();
        cx.shared = Arc::clone(&self.newest.shared);
        self.in_context = number;
    }
}

impl<IO: Io> Worker<IO> {
    /// Goes by the settings of a reload from now on. What is dropped here is held elsewhere, too: nothing is freed.
    pub(super) fn take_generation(&mut self) {
        let Some((number, shared)) = self.inbox.take() else { return };
        self.per_client = shared.limits.fairness.per_client.of(self.table.capacity() as u32);
        self.refused.set_time(shared.limits.idle_time);
        self.generations.take(&mut self.cx, number, shared);
        // Other ports may be intercepted now.
        self.repeated.fill_with(|| None);
    }
}
