//! Making room: which flow gives way to a new one, how long flows may be idle while room is short, and how many one client has.
//!
//! Everything here looks at the heads of the table's lists, a fixed number of flows at a time.

use std::net::IpAddr;

use tcp_stack::{Duration, Instant};
use wireglass_core::fairness::{LEAST_IDLE, Pressure, YOUNG, reserved};
use wireglass_core::flow::Flow;
use wireglass_core::flow_table::{Class, FlowId};
use wireglass_core::port::Io;
use wireglass_core::reason::Reason;

use super::{Entry, Worker};

/// Flows that may end in one turn for having been idle for too long.
const EACH_TURN: usize = 4;
/// How long a flow may hold memory in silence once it is nearly used up: as long as its end may keep its window closed then.
const SILENT_WITH_MEMORY: Duration = Duration::from_secs(10);
/// Flows of each class among which a client's own is looked for. Where one has a quarter of the table, as by default, nine
/// times of ten one of eight is its own.
const LOOKED_AT: usize = 8;

impl<IO: Io> Worker<IO> {
    /// Has room for one more flow, if need be by ending one. False: none may give way.
    pub(super) fn make_room(&mut self) -> bool {
        if !self.table.is_full() {
            return true;
        }
        let Some((class, victim)) = self.victim() else { return false };
        self.evict(class, victim, Reason::ResourceFlows);
        true
    }

    /// The flow that gives way. First one that does not need its place, in the order that policy says; else the first in that
    /// order.
    fn victim(&self) -> Option<(Class, FlowId)> {
        let heads = || {
            let classes = self.generations.newest().limits.fairness.shed.classes().iter();
            classes.filter_map(|class| Some((*class, self.first(*class)?)))
        };
        heads().find(|(class, id)| !self.is_spared(*class, *id)).or_else(|| heads().next())
    }

    /// It has just moved. Of the flows that are not through yet only so many are spared: otherwise a flood of such flows
    /// would take the places of all others.
    fn is_spared(&self, class: Class, id: FlowId) -> bool {
        match class {
            Class::Blocked => false,
            Class::Opening | Class::Undecided => {
                self.table.count(class) <= reserved(self.table.capacity()) && self.idle(id) < YOUNG
            }
            Class::Bypassed | Class::Watched | Class::Decrypted | Class::Holding => self.idle(id) < YOUNG,
        }
    }

    /// The flow of a class that was used longest ago, whichever of its lists it is in.
    fn first(&self, class: Class) -> Option<FlowId> {
        class.lists().iter().filter_map(|list| self.table.first(*list)).max_by_key(|id| self.idle(*id))
    }

    fn idle(&self, id: FlowId) -> Duration {
        self.table.get(id).map_or(Duration::ZERO, |entry| self.cx.now - entry.flow.active())
    }

    fn evict(&mut self, class: Class, victim: FlowId, reason: Reason) {
        self.cx.counters.evicted(class).inc();
        self.end_flow(victim, reason);
    }

    /// Ends flows that have been idle for longer than is allowed while room is short. Returns how many.
    pub(super) fn shed_idle(&mut self) -> usize {
        let mut ended = 0;
        while ended < EACH_TURN {
            let too_old = self.next_to_age().filter(|(_, at)| *at <= self.cx.now);
            let Some((id, _)) = too_old else { break };
            self.with_flow(id, |flow, cx| flow.time_out(cx, Reason::ResourceIdle));
            ended += 1;
        }
        ended
    }

    /// Memory is short: bypassed flows whose servers are read give theirs back, and go on. Returns how many.
    pub(super) fn shed_watched(&mut self) -> usize {
        let mut freed = 0;
        while freed < EACH_TURN
            && let Some(id) = self.next_watched()
        {
            self.with_flow(id, Flow::stop_watching);
            freed += 1;
        }
        freed
    }

    fn next_watched(&self) -> Option<FlowId> {
        if self.cx.budget.may_watch() { None } else { self.table.first(Class::Watched) }
    }

    /// Memory is nearly used up, and new flows that would be decrypted are refused: has decrypted flows give way that have been
    /// silent for a while. Returns how many.
    pub(super) fn shed_memory(&mut self) -> usize {
        let mut ended = 0;
        while ended < EACH_TURN
            && let Some((id, _)) = self.next_to_give_memory().filter(|(_, at)| *at <= self.cx.now)
        {
            self.evict(Class::Decrypted, id, Reason::ResourceMemory);
            ended += 1;
        }
        ended
    }

    /// Whoever gives way next, and when: of those that hold much the longest silent, or else of all.
    fn next_to_give_memory(&self) -> Option<(FlowId, Instant)> {
        let gives_way = self.generations.newest().limits.fairness.shed.classes().contains(&Class::Decrypted);
        if self.cx.budget.has_room() || !gives_way {
            return None;
        }
        let at = |class| {
            let id = self.table.first(class)?;
            Some((id, self.table.get(id)?.flow.active() + SILENT_WITH_MEMORY))
        };
        let (much, little) = (at(Class::Holding), at(Class::Decrypted));
        match (much, little) {
            (Some((_, much_at)), Some(_)) if much_at <= self.cx.now => much,
            (Some(much), Some(little)) => Some(if little.1 < much.1 { little } else { much }),
            (much, little) => much.or(little),
        }
    }

    /// When [`Self::shed_watched`], [`Self::shed_idle`] or [`Self::shed_memory`] have something to do, if room is short.
    pub(super) fn next_to_shed(&self) -> Option<Instant> {
        if self.next_watched().is_some() {
            return Some(self.cx.now);
        }
        let all = self.next_to_age().into_iter().chain(self.next_to_give_memory());
        all.map(|(_, at)| at).min()
    }

    /// The flow whose shortened idle time is up first, and when; none while room is not short. Memory is given back by decrypted
    /// flows alone, so it hurries no others.
    fn next_to_age(&self) -> Option<(FlowId, Instant)> {
        let (table, budget) = (&self.table, &self.cx.budget);
        let limits = &self.generations.newest().limits;
        let classes = limits.fairness.shed.classes();
        // Nobody has to leave for those that give way first: SYNs that anyone can send, and flows that are ending anyway.
        let opening = if classes.contains(&Class::Opening) { table.count(Class::Opening) } else { 0 };
        let living = table.len() - table.count(Class::Blocked) - opening;
        let places = Pressure::of_table(living, table.capacity());
        let both = places.max(Pressure::of_memory(budget.held(), budget.total()));
        if both == Pressure::NONE {
            return None;
        }
        let ages = |class: &Class| {
            let pressure = match class {
                // They have a few seconds in any case.
                Class::Blocked => Pressure::NONE,
                Class::Decrypted | Class::Holding => both,
                Class::Opening | Class::Undecided | Class::Bypassed | Class::Watched => places,
            };
            let id = self.first(*class).filter(|_| pressure > Pressure::NONE)?;
            Some((id, table.get(id)?.flow.active() + pressure.shrink(limits.idle_time)))
        };
        classes.iter().filter_map(ages).min_by_key(|(_, at)| *at)
    }

    /// What a client's flows are counted under.
    pub(super) fn client(&self, address: IpAddr) -> u64 {
        self.hasher.hash(&self.generations.newest().limits.fairness.client_prefix.of(address))
    }

    /// A client may open one more: it has not as many as it may, or one of them may give way. A SYN does not make it give way
    /// yet, as anyone may have sent that.
    pub(super) fn client_may_have_more(&self, client: u64) -> bool {
        self.clients.of(client) < self.per_client || self.own_victim(client).is_some()
    }

    /// A flow is established, and counts as its client's from now on. False: the client has as many as it may.
    pub(super) fn count(&mut self, id: FlowId) -> bool {
        let Some(client) = self.table.get(id).map(|entry| entry.client) else { return true };
        if self.clients.of(client) >= self.per_client {
            let Some((class, victim)) = self.own_victim(client) else { return false };
            self.evict(class, victim, Reason::ResourceClientFlows);
        }
        if let Some(entry) = self.table.get_mut(id) {
            entry.counts = true;
            self.clients.add(client);
        }
        true
    }

    /// A flow has left the table.
    pub(super) fn uncount(&mut self, entry: &Entry<IO>) {
        if entry.counts {
            self.clients.remove(entry.client, 1);
        }
    }

    /// A flow of this client that has been idle for long, among those of all clients that were used longest ago.
    fn own_victim(&self, client: u64) -> Option<(Class, FlowId)> {
        let counts = |entry: &Entry<IO>| entry.counts && entry.client == client;
        let lists =
            self.generations.newest().limits.fairness.shed.classes().iter().flat_map(|class| class.lists());
        lists.into_iter().find_map(|class| {
            let oldest = std::iter::successors(self.table.first(*class), |id| self.table.after(*id));
            let mut oldest = oldest.take(LOOKED_AT).take_while(|id| self.idle(*id) >= LEAST_IDLE);
            oldest.find(|id| self.table.get(*id).is_some_and(counts)).map(|id| (*class, id))
        })
    }
}
