//! All domain lists in one set: one look-up says on which of them a name is.

use hashbrown::HashMap;

use super::table::{HashedTable, Key};
use super::{ListId, ListMask};
use crate::policy::names::HostName;

/// What an entry stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The name itself.
    Exact,
    /// All names below it, not the name itself.
    Below,
    /// Both.
    Tree,
}

impl Reach {
    pub(super) fn is_exact(self) -> bool {
        self != Self::Below
    }

    pub(super) fn is_below(self) -> bool {
        self != Self::Exact
    }
}

/// The lists that have a name as an entry. Names that are on the same lists share one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Membership {
    exact: Listed,
    below: Listed,
}

/// Lists that have an entry, and lists that make an exception of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Listed {
    on: ListMask,
    except: ListMask,
}

impl Listed {
    fn add(&mut self, list: ListId, exception: bool) {
        let side = if exception { &mut self.except } else { &mut self.on };
        side.insert(list);
    }
}

/// All domain lists. Of each list, the longest entry that a name matches decides, as in a response policy zone; where that is an
/// exception, the name is not on the list.
#[derive(Debug)]
pub(super) struct DomainSet {
    key: Key,
    names: HashedTable,
    /// What the numbers in `names` stand for; 0 is "on no list".
    memberships: Vec<Membership>,
    numbers: HashMap<Membership, u32>,
    /// Labels of the longest entry that reaches below itself: what bounds a look-up.
    labels: usize,
}

impl DomainSet {
    pub(super) fn new(key: Key) -> Self {
        let none = Membership::default();
        let (memberships, numbers) = (vec![none], HashMap::from([(none, 0)]));
        Self { key, names: HashedTable::default(), memberships, numbers, labels: 0 }
    }

    /// Adds a name in lower case, without a dot at the end. Returns whether the list did not have it.
    pub(super) fn insert(&mut self, name: &str, reach: Reach, exception: bool, list: ListId) -> bool {
        let number = self.names.entry(self.key.hash(name.as_bytes()));
        let before = self.memberships[*number as usize];
        let mut after = before;
        if reach.is_exact() {
            after.exact.add(list, exception);
        }
        if reach.is_below() {
            after.below.add(list, exception);
            self.labels = self.labels.max(1 + name.bytes().filter(|byte| *byte == b'.').count());
        }
        if after == before {
            return false;
        }
        // There are no more memberships than entries, and those are counted in 32 bits.
        let next = self.memberships.len() as u32;
        *number = *self.numbers.entry(after).or_insert(next);
        if *number == next {
            self.memberships.push(after);
        }
        true
    }

    /// The lists that a name is on.
    pub(super) fn find(&self, name: &HostName) -> ListMask {
        let (mut on, mut decided) = (ListMask::default(), ListMask::default());
        let mut look = |suffix: &[u8], is_whole: bool| {
            let Some(number) = self.names.find(self.key.hash(suffix)) else { return };
            let membership = &self.memberships[number as usize];
            let here = if is_whole { membership.exact } else { membership.below };
            // An exception wins over an entry of the same name.
            on = on | (here.on & !here.except & !decided);
            decided = decided | here.on | here.except;
        };
        if self.names.len() > 0 {
            look(name.as_bytes(), true);
            name.suffixes(self.labels).for_each(|suffix| look(suffix, false));
        }
        on
    }

    /// Different names, of all lists together.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn shrink(&mut self) {
        self.names.shrink();
        self.numbers = HashMap::new();
    }

    pub(super) fn bytes(&self) -> usize {
        self.names.bytes() + self.memberships.capacity() * size_of::<Membership>()
    }
}
