//! Flows of one worker by their addresses: fixed capacity, keyed hash, and a named victim when it is full.

use std::ops::Range;

use hashbrown::HashTable;

use crate::packet::FlowKey;

/// Names a flow. The generation makes a late answer for an ended flow miss the slot's next tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId {
    slot: u32,
    generation: u32,
}

impl FlowId {
    /// Its place in the table: others have had it before, and will have it afterwards.
    pub fn place(self) -> u32 {
        self.slot
    }
}

/// What a flow has reached: each class is a list, least recently used first, and the order in which classes give way when
/// the table is full is policy ([`crate::fairness::Shed`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// The TCP handshake is not complete, or nothing followed it. Anyone can make these in anyone's name.
    Opening = 0,
    /// Ended: it lingers to answer late packets.
    Blocked = 1,
    /// Its ClientHello is awaited, or its handshakes run.
    Undecided = 2,
    /// Passes as it is.
    Bypassed = 3,
    /// Terminated here, after the handshakes.
    Decrypted = 4,
    /// Likewise, and it holds memory that others may need. A list of its own, but policy and metrics call it decrypted.
    Holding = 5,
    /// Bypassed, and what its server says is read. A list of its own, but policy and metrics call it bypassed.
    Watched = 6,
}

impl Class {
    /// Those that policy knows, in declaration order, which is the order in which they give way unless it says otherwise.
    pub const ALL: [Self; 5] =
        [Self::Opening, Self::Blocked, Self::Undecided, Self::Bypassed, Self::Decrypted];

    /// Those that policy means by this one.
    pub const fn lists(self) -> &'static [Self] {
        match self {
            Self::Opening => &[Self::Opening],
            Self::Blocked => &[Self::Blocked],
            Self::Undecided => &[Self::Undecided],
            Self::Bypassed | Self::Watched => &[Self::Bypassed, Self::Watched],
            Self::Decrypted | Self::Holding => &[Self::Decrypted, Self::Holding],
        }
    }

    /// As it stands in the configuration and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Blocked => "blocked",
            Self::Undecided => "undecided",
            Self::Bypassed | Self::Watched => "bypassed",
            Self::Decrypted | Self::Holding => "decrypted",
        }
    }
}

const CLASSES: usize = Class::Watched as usize + 1;
const NONE: u32 = u32::MAX;

struct Slot<T> {
    generation: u32,
    /// Neighbours in the list of its class, least recently used first; `next` also chains free slots.
    previous: u32,
    next: u32,
    class: Class,
    entry: Option<(FlowKey, u64, T)>,
}

#[derive(Clone, Copy)]
struct List {
    first: u32,
    last: u32,
    len: u32,
}

/// The table. `len() <= capacity`; slots are used from the front, and reused ever after.
pub struct FlowTable<T> {
    index: HashTable<u32>,
    slots: Vec<Slot<T>>,
    free: u32,
    capacity: u32,
    lists: [List; CLASSES],
}

impl<T> FlowTable<T> {
    /// For at most `capacity` flows.
    pub fn new(capacity: u32) -> Self {
        // All at once, and used from the front: memory that was never written takes no page, and nothing is moved, which for a million
        // flows takes longer than a link has buffers. Where the system does not promise so much, they grow as they are used. The index
        // is the exception: an emptied place of it stays marked, and when no other is left, all are gone through in one call. Twice as large it
        // would be so more rarely, and cost each look-up among 100,000 flows more.
        let mut slots = Vec::new();
        if slots.try_reserve_exact(capacity as usize).is_err() {
            tracing::warn!(
                capacity,
                "the system does not promise memory for all flows (limits.flows) at once: the table grows as it is used"
            );
        }
        Self {
            index: HashTable::with_capacity(capacity as usize),
            slots,
            free: NONE,
            capacity,
            lists: [List { first: NONE, last: NONE, len: 0 }; CLASSES],
        }
    }

    /// Where its flows lie, taken places and those to come. A million of them take hundreds of megabytes, which are worth larger pages.
    pub fn memory(&self) -> Range<*const u8> {
        let start = self.slots.as_ptr();
        start.cast()..start.wrapping_add(self.slots.capacity()).cast()
    }

    /// Flows in the table.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// No flow in the table.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// No room for another flow.
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity as usize
    }

    /// Most flows at a time.
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Flows of a class.
    pub fn count(&self, class: Class) -> usize {
        self.lists[class as usize].len as usize
    }

    /// The flow with this key; `hash` is the key's.
    pub fn find(&self, hash: u64, key: &FlowKey) -> Option<FlowId> {
        let slot = *self.index.find(hash, |&s| self.key(s) == Some(key))?;
        Some(FlowId { slot, generation: self.slots[slot as usize].generation })
    }

    /// The flow, if it still lives.
    pub fn get(&self, id: FlowId) -> Option<&T> {
        let slot = self.slots.get(id.slot as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        slot.entry.as_ref().map(|(_, _, flow)| flow)
    }

    /// The flow, if it still lives.
    pub fn get_mut(&mut self, id: FlowId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        slot.entry.as_mut().map(|(_, _, flow)| flow)
    }

    /// Hash of its key, if it still lives.
    pub fn hash(&self, id: FlowId) -> Option<u64> {
        self.get(id)?;
        self.slots[id.slot as usize].entry.as_ref().map(|(_, hash, _)| *hash)
    }

    /// Adds a flow whose key is not in the table.
    ///
    /// # Errors
    /// Gives the flow back when the table is full: make room first.
    pub fn insert(&mut self, hash: u64, key: FlowKey, class: Class, flow: T) -> Result<FlowId, T> {
        if self.is_full() {
            return Err(flow);
        }
        let at = self.take_slot();
        let slot = &mut self.slots[at as usize];
        slot.entry = Some((key, hash, flow));
        slot.class = class;
        let id = FlowId { slot: at, generation: slot.generation };
        self.link(at);
        let slots = &self.slots;
        self.index.insert_unique(hash, at, |&s| hash_of(slots, s));
        Ok(id)
    }

    /// Marks a flow as just used, and moves it to the class that it has now. Costs four writes, or none if it was used last; no
    /// scan.
    pub fn touch(&mut self, id: FlowId, class: Class) {
        let is_last = self.lists[class as usize].last == id.slot;
        // A slot that is last of its list holds a flow; whether it is this one does not matter then.
        if !is_last && self.get_mut(id).is_some() {
            self.unlink(id.slot);
            self.slots[id.slot as usize].class = class;
            self.link(id.slot);
        }
    }

    /// Removes a flow.
    pub fn remove(&mut self, id: FlowId) -> Option<T> {
        self.get_mut(id)?;
        self.unlink(id.slot);
        let (key, hash, flow) = self.slots[id.slot as usize].entry.take()?;
        let found = self.index.find_entry(hash, |&s| s == id.slot);
        debug_assert!(found.is_ok(), "the index knows every flow: {key:?}");
        if let Ok(found) = found {
            found.remove();
        }
        let slot = &mut self.slots[id.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.next = self.free;
        self.free = id.slot;
        Some(flow)
    }

    /// Moves a flow to the class that it has now, as its last used one, without calling it used otherwise.
    pub fn reclass(&mut self, id: FlowId, class: Class) {
        if self.slots.get(id.slot as usize).is_some_and(|slot| slot.class != class) {
            self.touch(id, class);
        }
    }

    /// The flow that has this place now.
    pub fn at(&self, place: u32) -> Option<FlowId> {
        self.id(place).filter(|id| self.get(*id).is_some())
    }

    /// The flow of a class that was used longest ago.
    pub fn first(&self, class: Class) -> Option<FlowId> {
        self.id(self.lists[class as usize].first)
    }

    /// The next one in its list: used longest ago but for those before it.
    pub fn after(&self, id: FlowId) -> Option<FlowId> {
        self.get(id)?;
        self.id(self.slots[id.slot as usize].next)
    }

    /// Some flow, whichever; for emptying the table at the end.
    pub fn any(&self) -> Option<FlowId> {
        self.lists.iter().find_map(|list| self.id(list.first))
    }

    /// All places from the `from`th on, taken or not. A flow stays in its place, so whoever goes through all of them, in as
    /// many steps as he likes, meets no flow twice, and each one that was there all the time once.
    pub fn places(&self, from: usize) -> impl Iterator<Item = Option<&T>> {
        let slots = self.slots.get(from..).unwrap_or_default();
        slots.iter().map(|slot| slot.entry.as_ref().map(|(_, _, flow)| flow))
    }

    fn id(&self, slot: u32) -> Option<FlowId> {
        self.slots.get(slot as usize).map(|held| FlowId { slot, generation: held.generation })
    }

    fn key(&self, slot: u32) -> Option<&FlowKey> {
        self.slots[slot as usize].entry.as_ref().map(|(key, _, _)| key)
    }

    fn take_slot(&mut self) -> u32 {
        if self.free != NONE {
            let at = self.free;
            self.free = self.slots[at as usize].next;
            return at;
        }
        self.slots.push(Slot {
            generation: 0,
            previous: NONE,
            next: NONE,
            class: Class::Opening,
            entry: None,
        });
        (self.slots.len() - 1) as u32
    }

    fn link(&mut self, at: u32) {
        let list = &mut self.lists[self.slots[at as usize].class as usize];
        let last = std::mem::replace(&mut list.last, at);
        list.len += 1;
        if last == NONE {
            list.first = at;
        } else {
            self.slots[last as usize].next = at;
        }
        let slot = &mut self.slots[at as usize];
        (slot.previous, slot.next) = (last, NONE);
    }

    fn unlink(&mut self, at: u32) {
        let Slot { previous, next, class, .. } = self.slots[at as usize];
        let list = &mut self.lists[class as usize];
        list.len -= 1;
        if previous == NONE {
            list.first = next;
        }
        if next == NONE {
            list.last = previous;
        }
        if previous != NONE {
            self.slots[previous as usize].next = next;
        }
        if next != NONE {
            self.slots[next as usize].previous = previous;
        }
    }
}

fn hash_of<T>(slots: &[Slot<T>], slot: u32) -> u64 {
    slots[slot as usize].entry.as_ref().map_or(0, |(_, hash, _)| *hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Headers, KeyHasher};

    fn key(n: u16) -> (u64, FlowKey) {
        let key = FlowKey::new(
            0,
            &Headers {
                l3: 14,
                l4: 34,
                end: 54,
                vlan: [None; 2],
                source: ([10, 0, 0, 1], n).into(),
                destination: ([10, 0, 0, 2], 443).into(),
            },
        );
        (KeyHasher::new([7; 16]).hash(&key), key)
    }

    fn insert(table: &mut FlowTable<u16>, n: u16, class: Class) -> Result<FlowId, u16> {
        let (hash, key) = key(n);
        table.insert(hash, key, class, n)
    }

    fn find(table: &FlowTable<u16>, n: u16) -> Option<FlowId> {
        let (hash, key) = key(n);
        table.find(hash, &key)
    }

    #[test]
    fn a_flow_is_found_until_it_is_removed_and_its_id_never_again() {
        let mut table = FlowTable::new(10);
        let id = insert(&mut table, 1, Class::Opening).expect("room");
        assert_eq!(find(&table, 1), Some(id));
        assert_eq!((table.hash(id), table.hash(FlowId { generation: 9, ..id })), (Some(key(1).0), None));
        assert_eq!(table.get_mut(id), Some(&mut 1));
        assert_eq!(table.remove(id), Some(1));
        assert_eq!((find(&table, 1), table.remove(id)), (None, None));
        assert_eq!(table.get_mut(id), None);
        let next = insert(&mut table, 2, Class::Opening).expect("room");
        assert_eq!((next.place(), table.get_mut(id)), (id.place(), None));
        assert_eq!(table.at(next.place()), Some(next));
        table.remove(next);
        assert_eq!((table.at(next.place()), table.at(99)), (None, None));
    }

    #[test]
    fn full_means_full_and_each_class_is_a_list_by_last_use() {
        let mut table = FlowTable::new(4);
        let [a, b, c, d] = [1, 2, 3, 4].map(|n| insert(&mut table, n, Class::Opening).expect("room"));
        assert_eq!(insert(&mut table, 5, Class::Opening), Err(5));
        table.touch(a, Class::Opening);
        table.touch(c, Class::Decrypted);
        assert_eq!(
            (table.first(Class::Opening), table.after(b), table.after(d)),
            (Some(b), Some(d), Some(a))
        );
        assert_eq!(
            (table.after(a), table.first(Class::Decrypted), table.first(Class::Blocked)),
            (None, Some(c), None)
        );
        // Not used, so its place stays; of another class, so it moves.
        table.reclass(b, Class::Opening);
        assert_eq!(table.first(Class::Opening), Some(b));
        table.reclass(b, Class::Decrypted);
        assert_eq!((table.first(Class::Opening), table.after(c)), (Some(d), Some(b)));
        table.remove(b);
        assert_eq!((table.after(b), table.any(), table.len()), (None, Some(d), 3));
        assert_eq!((table.count(Class::Opening), table.count(Class::Decrypted)), (2, 1));
    }

    const LISTS: [Class; CLASSES] = [
        Class::Opening,
        Class::Blocked,
        Class::Undecided,
        Class::Bypassed,
        Class::Watched,
        Class::Decrypted,
        Class::Holding,
    ];

    #[test]
    fn every_list_is_one_of_a_class_that_policy_knows() {
        let known: Vec<_> = Class::ALL.iter().flat_map(|class| class.lists()).copied().collect();
        assert_eq!(known, LISTS);
        // Metrics count by these numbers.
        assert!(Class::ALL.iter().enumerate().all(|(n, class)| *class as usize == n));
    }

    proptest::proptest! {
        /// Against plain queues.
        #[test]
        fn behaves_like_queues_with_keys(ops in proptest::collection::vec((0u8..5, 0u16..40, 0usize..CLASSES), 0..400)) {
            let mut table = FlowTable::new(16);
            let mut queues: [Vec<u16>; CLASSES] = Default::default();
            for (op, n, class) in ops {
                let id = find(&table, n);
                let held = queues.iter().position(|queue| queue.contains(&n));
                proptest::prop_assert_eq!(id.is_some(), held.is_some());
                match (op, id, held) {
                    (0 | 1, None, _) => {
                        let ok = insert(&mut table, n, LISTS[class]).is_ok();
                        proptest::prop_assert_eq!(ok, queues.iter().map(Vec::len).sum::<usize>() < 16);
                        if ok { queues[class].push(n); }
                    }
                    (2 | 4, Some(id), Some(was)) => {
                        if op == 2 { table.touch(id, LISTS[class]) } else { table.reclass(id, LISTS[class]) }
                        if op == 2 || was != class {
                            queues[was].retain(|m| *m != n);
                            queues[class].push(n);
                        }
                    }
                    (3, Some(id), Some(was)) => {
                        proptest::prop_assert_eq!(table.remove(id), Some(n));
                        queues[was].retain(|m| *m != n);
                    }
                    _ => {}
                }
                proptest::prop_assert_eq!(table.len(), queues.iter().map(Vec::len).sum::<usize>());
                for (class, queue) in LISTS.into_iter().zip(&queues) {
                    proptest::prop_assert_eq!(table.count(class), queue.len());
                    let listed = std::iter::successors(table.first(class), |id| table.after(*id));
                    let listed: Vec<_> = listed.filter_map(|id| table.get(id)).copied().collect();
                    proptest::prop_assert_eq!(&listed, queue);
                }
            }
        }
    }
}
