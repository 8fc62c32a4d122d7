//! What is looked for in one message.

use std::sync::Arc;

use super::card::CardScan;
use super::iban::IbanScan;
use super::literals::LiteralsState;
use super::masked::Masked;
use super::regexes::RegexState;
use super::{SignatureId, SignatureMask, Signatures};
use crate::content::inspect::{Finding, Hit, Scanner};

/// Of so many bytes one may be a step of automata, and some more, as long as [`SignatureStream`] is quick.
const QUICK: u64 = 8;
const STEPS: u64 = 512;

/// What is kept of a message between two of its pieces.
#[derive(Debug)]
pub struct SignatureStream {
    signatures: Arc<Signatures>,
    /// Sets that are looked for; one that has hit is not, any more.
    wanted: SignatureMask,
    /// Sets that have hit, and were not fetched yet.
    hits: SignatureMask,
    pub(super) counts: Box<[(u32, Option<Masked>)]>,
    literals: LiteralsState,
    /// Bytes that have come.
    bytes: u64,
    regexes: Box<[RegexState]>,
    cards: CardScan,
    ibans: IbanScan,
}

impl SignatureStream {
    /// For a message of which nothing has come.
    pub fn new(signatures: &Arc<Signatures>, wanted: SignatureMask) -> Self {
        Self {
            wanted,
            hits: SignatureMask::default(),
            counts: vec![(0, None); signatures.sets.len()].into(),
            literals: LiteralsState::default(),
            bytes: 0,
            regexes: signatures.regexes.begin(wanted),
            cards: CardScan::default(),
            ibans: IbanScan::default(),
            signatures: Arc::clone(signatures),
        }
    }

    /// More bytes have come.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.wanted.is_empty() || bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len() as u64;
        let Self { signatures, wanted, counts, literals, regexes, cards, ibans, .. } = self;
        let wanted = *wanted;
        signatures.literals.push(literals, wanted, bytes, |id| count(counts, id, None));
        signatures.regexes.push(regexes, wanted, bytes, |id| count(counts, id, None));
        let mut each = |sets: SignatureMask, sample| sets.iter().for_each(|id| count(counts, id, sample));
        if signatures.cards.shares(wanted) {
            cards.push(bytes, |sample| each(signatures.cards, sample));
        }
        if signatures.ibans.shares(wanted) {
            ibans.push(bytes, |sample| each(signatures.ibans, sample));
        }
        self.judge();
    }

    /// No more bytes come.
    pub fn end(&mut self) {
        if self.wanted.is_empty() {
            return;
        }
        let Self { signatures, wanted, counts, regexes, cards, ibans, .. } = self;
        signatures.regexes.end(regexes, *wanted, |id| count(counts, id, None));
        let mut each = |sets: SignatureMask, sample| sets.iter().for_each(|id| count(counts, id, sample));
        cards.end(|sample| each(signatures.cards, sample));
        ibans.end(|sample| each(signatures.ibans, sample));
        self.judge();
    }

    fn judge(&mut self) {
        for id in self.wanted.iter() {
            let threshold = self.signatures.sets.get(id.place()).map_or(u32::MAX, |set| set.threshold);
            if self.counts.get(id.place()).is_some_and(|(count, _)| *count >= threshold) {
                self.hits = self.hits.with(id);
                self.wanted = self.wanted.without(id);
            }
        }
    }

    /// The next set that has hit, in the order of sets. To be fetched until there is none.
    pub fn poll_hit(&mut self) -> Option<(SignatureId, Hit)> {
        let id = self.hits.iter().next()?;
        self.hits = self.hits.without(id);
        let name = Arc::clone(self.signatures.name(id)?);
        let (count, sample) = *self.counts.get(id.place())?;
        Some((id, Hit { count: Some(count), sample, ..Hit::new(name, "signature") }))
    }

    /// Nothing is looked for any more.
    pub fn is_over(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Bytes of memory that it holds beside its own size; the automata are everybody's.
    pub fn memory(&self) -> usize {
        let Self {
            signatures: _,
            wanted: _,
            hits: _,
            counts,
            literals: _,
            bytes: _,
            regexes,
            cards: _,
            ibans: _,
        } = self;
        size_of_val(&**counts) + size_of_val(&**regexes)
    }
}

impl Scanner for SignatureStream {
    fn feed(&mut self, octets: &[u8]) -> Option<Finding> {
        self.push(octets);
        self.poll_hit().map(|(_, hit)| Finding::Hit(hit))
    }

    fn end(&mut self) -> Option<Finding> {
        Self::end(self);
        self.poll_hit().map(|(_, hit)| Finding::Hit(hit))
    }

    fn memory(&self) -> usize {
        Self::memory(self)
    }

    /// A text made of beginnings of literals is a step of an automaton for each byte, and takes a hundred times as long as another.
    fn is_quick(&self) -> bool {
        self.signatures.are_quick(self.wanted)
            && self.literals.steps().saturating_sub(STEPS) * QUICK <= self.bytes
    }
}

fn count(counts: &mut [(u32, Option<Masked>)], id: SignatureId, sample: Option<Masked>) {
    if let Some((count, first)) = counts.get_mut(id.place()) {
        *count = count.saturating_add(1);
        *first = first.or(sample);
    }
}
