//! The cache of what was fetched, and the queue of what is to be.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tcp_stack::Instant;

use super::pace::Pace;
use super::{Crl, Fetch, FetchKind, FetchSettings};
use crate::tls::verify::revocation::{Answer, Status};

/// How long a verdict holds that lacks what could not even be queued, in seconds.
const FULL: i64 = 10;

/// How soon an answer is asked for anew, at the earliest, in seconds.
const SOONEST: i64 = 10;

type Key = [u8; 32];

/// What was fetched, and judged.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Ocsp(Answer),
    Crl(Arc<Crl>),
    /// DER of certificates, all with one name.
    Issuers(Arc<[Arc<[u8]>]>),
}

impl Content {
    /// When it is out of date, in seconds since the Unix epoch. It is kept after that, too: what is revoked stays so.
    fn ends(&self) -> i64 {
        match self {
            Self::Ocsp(answer) => answer.until,
            Self::Crl(crl) => crl.ends(),
            Self::Issuers(_) => i64::MAX,
        }
    }

    /// Bytes of memory.
    fn size(&self) -> usize {
        match self {
            Self::Ocsp(_) => 0,
            Self::Crl(crl) => crl.memory(),
            Self::Issuers(certificates) => certificates.iter().map(|der| der.len()).sum(),
        }
    }

    /// Nothing newer can say anything else.
    fn is_final(&self) -> bool {
        matches!(self, Self::Issuers(_) | Self::Ocsp(Answer { status: Status::Revoked(_), .. }))
    }
}

/// Whether a verification lacks something, or would only be glad of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tls) enum Need {
    Wanted,
    IfKnown,
}

/// What the cache has of something.
#[derive(Debug)]
pub(super) enum Look {
    Known(Content),
    /// It is being fetched.
    Pending,
    /// It could not be had a while ago.
    Failed,
    Absent,
}

#[derive(Debug)]
enum State {
    Pending,
    /// Until then, it is not asked for again.
    Failed(i64),
    Known {
        content: Content,
        /// When it is asked for anew.
        refresh: i64,
        is_asked: bool,
    },
}

#[derive(Debug)]
struct Entry {
    kind: FetchKind,
    state: State,
    /// Changes with each answer, or failure.
    revision: Arc<AtomicU32>,
    used: u64,
}

impl Entry {
    fn size(&self) -> usize {
        match &self.state {
            State::Known { content, .. } => content.size(),
            _ => 0,
        }
    }

    /// Somebody is going to say what came of it.
    fn is_under_way(&self) -> bool {
        matches!(self.state, State::Pending | State::Known { is_asked: true, .. })
    }

    fn stamp(&self) -> Stamp {
        Stamp { revision: Arc::clone(&self.revision), seen: self.revision.load(Relaxed) }
    }
}

/// An entry as a verification has seen it.
#[derive(Clone, Debug)]
struct Stamp {
    revision: Arc<AtomicU32>,
    seen: u32,
}

impl PartialEq for Stamp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.revision, &other.revision) && self.seen == other.seen
    }
}

impl Eq for Stamp {}

/// What a verification has seen of the cache. Its verdict holds as long as that stays so.
#[derive(Debug)]
pub(in crate::tls) struct Consulted {
    seen: Vec<Stamp>,
    until: i64,
    wants: Vec<Fetch>,
}

impl Default for Consulted {
    fn default() -> Self {
        Self { seen: Vec::new(), until: i64::MAX, wants: Vec::new() }
    }
}

impl Consulted {
    /// Nothing of it has changed.
    pub(in crate::tls) fn holds(&self) -> bool {
        self.seen.iter().all(|stamp| stamp.revision.load(Relaxed) == stamp.seen)
    }

    /// There was nothing that has been fetched, or is being.
    pub(in crate::tls) fn saw_nothing(&self) -> bool {
        self.seen.is_empty() && self.wants.is_empty()
    }

    /// When it is to be looked again, in seconds since the Unix epoch.
    pub(in crate::tls) fn until(&self) -> i64 {
        self.until
    }

    pub(super) fn want(&mut self, fetch: Fetch) {
        if self.wants.iter().all(|other| other.key != fetch.key) {
            self.wants.push(fetch);
        }
    }

    pub(super) fn take_wants(&mut self) -> Vec<Fetch> {
        std::mem::take(&mut self.wants)
    }
}

/// Nothing more is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Debug)]
pub(super) struct Store {
    entries: BTreeMap<Key, Entry>,
    bytes: usize,
    queue: VecDeque<Fetch>,
    /// On the way: all, and those of issuers.
    on_the_way: (usize, usize),
    pace: Pace,
    /// Counts what is looked at.
    clock: u64,
    limits: FetchSettings,
}

impl Store {
    pub(super) fn new(settings: &FetchSettings) -> Self {
        Self {
            entries: BTreeMap::new(),
            bytes: 0,
            queue: VecDeque::new(),
            on_the_way: (0, 0),
            pace: Pace::new(settings.per_second, settings.host_per_second),
            clock: 0,
            limits: settings.clone(),
        }
    }

    pub(super) fn sizes(&self) -> [usize; 3] {
        [self.queue.len(), self.entries.len(), self.bytes]
    }

    /// What there is, and whether it is to be asked for.
    pub(super) fn look(&mut self, key: &Key, now: i64, consulted: &mut Consulted) -> (Look, bool) {
        self.clock += 1;
        let Some(entry) = self.entries.get_mut(key) else { return (Look::Absent, true) };
        entry.used = self.clock;
        let (found, is_due) = match &entry.state {
            State::Pending => (Look::Pending, false),
            State::Failed(until) if now < *until => {
                consulted.until = consulted.until.min(*until);
                (Look::Failed, false)
            }
            State::Failed(_) => return (Look::Absent, true),
            State::Known { content, refresh, is_asked } => {
                if now < *refresh {
                    consulted.until = consulted.until.min(*refresh);
                }
                (Look::Known(content.clone()), now >= *refresh && !is_asked)
            }
        };
        consulted.seen.push(entry.stamp());
        (found, is_due)
    }

    /// Queues a request, unless it is under way. The verification's verdict holds until there is an answer.
    pub(super) fn order(&mut self, fetch: Fetch, now: i64, consulted: &mut Consulted) -> Result<(), Full> {
        match self.try_order(fetch, now) {
            Ok(stamp) => {
                consulted.seen.push(stamp);
                Ok(())
            }
            Err(Full) => {
                consulted.until = consulted.until.min(now.saturating_add(FULL));
                Err(Full)
            }
        }
    }

    fn try_order(&mut self, fetch: Fetch, now: i64) -> Result<Stamp, Full> {
        if let Some(entry) = self.entries.get(&fetch.key) {
            if entry.is_under_way() {
                return Ok(entry.stamp());
            }
            let is_news = match &entry.state {
                State::Failed(until) => now < *until,
                State::Known { refresh, .. } => now < *refresh,
                State::Pending => false,
            };
            if is_news {
                // It came since the verification has looked, so that its verdict is to hold for it alone.
                let stamp = entry.stamp();
                return Ok(Stamp { seen: stamp.seen.wrapping_sub(1), ..stamp });
            }
        }
        let of_issuers = |kind| kind == FetchKind::Issuer;
        let is_full = if of_issuers(fetch.kind) {
            self.queue.iter().filter(|other| of_issuers(other.kind)).count() >= (self.limits.queue / 2).max(1)
        } else {
            self.queue.len() >= self.limits.queue
        };
        if is_full || !self.entries.contains_key(&fetch.key) && self.make_room(fetch.kind).is_err() {
            return Err(Full);
        }
        self.clock += 1;
        let (kind, used) = (fetch.kind, self.clock);
        let entry = self.entries.entry(fetch.key).or_insert_with(|| Entry {
            kind,
            state: State::Pending,
            revision: Arc::default(),
            used,
        });
        match &mut entry.state {
            // It stays until there is a newer one.
            State::Known { is_asked, .. } => *is_asked = true,
            state => *state = State::Pending,
        }
        let stamp = entry.stamp();
        self.queue.push_back(fetch);
        Ok(stamp)
    }

    /// Room for one more entry: those that nobody has looked at for the longest time go.
    fn make_room(&mut self, kind: FetchKind) -> Result<(), Full> {
        let issuers = self.entries.values().filter(|entry| entry.kind == FetchKind::Issuer);
        let crowded = kind == FetchKind::Issuer && issuers.count() >= (self.limits.entries / 4).max(1);
        if self.entries.len() < self.limits.entries && !crowded {
            return Ok(());
        }
        self.evict(|entry| !crowded || entry.kind == FetchKind::Issuer)
    }

    /// Nothing that is under way; what says "revoked" last.
    fn evict(&mut self, may_go: impl Fn(&Entry) -> bool) -> Result<(), Full> {
        let revoked = |entry: &Entry| matches!(&entry.state, State::Known { content: content @ Content::Ocsp(_), .. } if content.is_final());
        let candidates = self.entries.iter().filter(|(_, entry)| !entry.is_under_way() && may_go(entry));
        let key = *candidates.min_by_key(|(_, entry)| (revoked(entry), entry.used)).ok_or(Full)?.0;
        if let Some(gone) = self.entries.remove(&key) {
            self.bytes -= gone.size();
        }
        Ok(())
    }

    /// The next request that the pace allows.
    pub(super) fn next(&mut self, now: Instant) -> Option<Fetch> {
        let (all, of_issuers) = self.on_the_way;
        if all >= self.limits.parallel || !self.pace.allows_any(now) {
            return None;
        }
        let more_issuers = of_issuers < (self.limits.parallel / 2).max(1);
        let may_go = |fetch: &Fetch| {
            (more_issuers || fetch.kind != FetchKind::Issuer) && self.pace.allows(&fetch.url.host)
        };
        let place = self.queue.iter().position(may_go)?;
        let fetch = self.queue.remove(place)?;
        self.pace.ask(&fetch.url.host, now);
        self.on_the_way.0 += 1;
        self.on_the_way.1 += usize::from(fetch.kind == FetchKind::Issuer);
        Some(fetch)
    }

    fn came_back(&mut self, fetch: &Fetch) {
        self.on_the_way.0 = self.on_the_way.0.saturating_sub(1);
        self.on_the_way.1 = self.on_the_way.1.saturating_sub(usize::from(fetch.kind == FetchKind::Issuer));
    }

    /// The same, from another address. It has a place in the queue in any case: it had one before.
    pub(super) fn again(&mut self, fetch: Fetch) {
        self.came_back(&fetch);
        self.queue.push_back(fetch);
    }

    pub(super) fn failed(&mut self, mut fetch: Fetch, now: i64) {
        if !fetch.others.is_empty() {
            fetch.url = fetch.others.remove(0);
            fetch.redirects = self.limits.redirects;
            return self.again(fetch);
        }
        self.came_back(&fetch);
        let retry = now.saturating_add(self.limits.retry);
        let Some(entry) = self.entries.get_mut(&fetch.key) else { return };
        match &mut entry.state {
            State::Known { content: _, refresh, is_asked } => (*refresh, *is_asked) = (retry, false),
            state => *state = State::Failed(retry),
        }
        entry.revision.fetch_add(1, Relaxed);
    }

    pub(super) fn put(&mut self, fetch: Fetch, content: Content, now: i64) {
        self.came_back(&fetch);
        let Some(entry) = self.entries.get_mut(&fetch.key) else { return };
        let before = match &entry.state {
            State::Known { content, .. } => Some(content.clone()),
            _ => None,
        };
        self.bytes -= entry.size();
        let content = match (before, content) {
            // Whoever is on the way could send older ones, of which the signature is as good.
            (Some(Content::Crl(before)), Content::Crl(new)) if before.is_newer_than(&new) => {
                Content::Crl(before)
            }
            (_, content) => content,
        };
        // A quarter of its time before it ends, or earlier.
        let ends = content.ends();
        let early = ends.saturating_sub(ends.saturating_sub(now) / 4);
        let refresh = match content.is_final() {
            true => i64::MAX,
            false => early.min(now.saturating_add(self.limits.refresh)).max(now.saturating_add(SOONEST)),
        };
        self.bytes += content.size();
        self.clock += 1;
        entry.state = State::Known { content, refresh, is_asked: false };
        entry.used = self.clock;
        entry.revision.fetch_add(1, Relaxed);
        // What is larger than all that may be goes itself, as the last one.
        while self.bytes > self.limits.bytes {
            let issuers = self.entries.values().filter(|entry| entry.kind == FetchKind::Issuer);
            let crowded = issuers.map(Entry::size).sum::<usize>() > self.limits.bytes / 4;
            let may_go = |entry: &Entry| entry.size() > 0 && (!crowded || entry.kind == FetchKind::Issuer);
            if self.evict(may_go).is_err() {
                break;
            }
        }
    }
}
