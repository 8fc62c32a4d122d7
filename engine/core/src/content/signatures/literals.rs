//! Bytes that are looked for as they are.
//!
//! A filter says where one may begin. From there the automaton of Aho and Corasick runs as long as one can be that begins there; so no
//! text, whoever wrote it, takes more than one step of it for each byte.

use std::fmt;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};

use super::literal_filter::{LiteralFilter, Next};
use super::{MAX_LITERAL_BYTES, MAX_LITERALS, SignatureError, SignatureId, SignatureMask};

/// Fewest bytes of a literal: fewer are found everywhere.
pub const MIN_LITERAL: usize = 4;
/// Most bytes of a literal.
pub const MAX_LITERAL: usize = 255;
/// Literals of so many bytes are passed over faster.
const MEDIUM: usize = 8;
/// And those of so many faster again.
const LONG: usize = 16;

/// What a text is that is no literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiteralError {
    /// Between bars there is something else than pairs of hex digits, or a bar has no other.
    Hex,
    /// It has too few bytes, or too many.
    Length,
}

impl fmt::Display for LiteralError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hex => f.write_str(
                "bytes between two bars as pairs of hex digits (\"|0d 0a|\"; a bar itself is \"|7c|\")",
            ),
            Self::Length => write!(f, "a literal of {MIN_LITERAL} to {MAX_LITERAL} bytes"),
        }
    }
}

impl std::error::Error for LiteralError {}

/// Reads a literal as Suricata's `content` has it: text, and bytes in hex between bars.
///
/// # Errors
/// What would have been right.
pub fn parse_literal(text: &str) -> Result<Vec<u8>, LiteralError> {
    let mut bytes = Vec::new();
    let mut pieces = text.split('|').enumerate().peekable();
    while let Some((number, piece)) = pieces.next() {
        if number % 2 == 0 {
            bytes.extend_from_slice(piece.as_bytes());
            continue;
        }
        if pieces.peek().is_none() {
            return Err(LiteralError::Hex);
        }
        let digits: Vec<_> = piece.chars().filter(|c| *c != ' ').map(|c| c.to_digit(16)).collect();
        let digits: Option<Vec<u32>> = digits.into_iter().collect();
        let digits =
            digits.filter(|digits| !digits.is_empty() && digits.len() % 2 == 0).ok_or(LiteralError::Hex)?;
        bytes.extend(digits.as_chunks::<2>().0.iter().map(|[high, low]| (16 * high + low) as u8));
    }
    if (MIN_LITERAL..=MAX_LITERAL).contains(&bytes.len()) { Ok(bytes) } else { Err(LiteralError::Length) }
}

/// Collects the literals of all sets.
#[derive(Default)]
pub(super) struct LiteralsBuilder {
    short: Vec<(Vec<u8>, SignatureId)>,
    medium: Vec<(Vec<u8>, SignatureId)>,
    long: Vec<(Vec<u8>, SignatureId)>,
}

impl LiteralsBuilder {
    pub(super) fn insert(&mut self, literal: &[u8], id: SignatureId) {
        let list = match literal.len() {
            ..MEDIUM => &mut self.short,
            MEDIUM..LONG => &mut self.medium,
            LONG.. => &mut self.long,
        };
        list.push((literal.to_owned(), id));
    }

    pub(super) fn build(self) -> Result<Literals, SignatureError> {
        let Self { short, medium, long } = self;
        let count = short.len() + medium.len() + long.len();
        let bytes: usize =
            [&short, &medium, &long].into_iter().flatten().map(|(literal, _)| literal.len()).sum();
        if count > MAX_LITERALS || bytes > MAX_LITERAL_BYTES {
            return Err(SignatureError::TooManyLiterals);
        }
        Ok(Literals { short: Group::new(short)?, medium: Group::new(medium)?, long: Group::new(long)? })
    }
}

/// The literals of all sets.
#[derive(Debug, Default)]
pub(super) struct Literals {
    short: Option<Group<MIN_LITERAL, 3>>,
    medium: Option<Group<MEDIUM, 5>>,
    long: Option<Group<LONG, 8>>,
}

/// What is known of the bytes before.
#[derive(Clone, Debug, Default)]
pub(super) struct LiteralsState {
    short: GroupState,
    medium: GroupState,
    long: GroupState,
}

impl LiteralsState {
    /// Steps that automata have taken.
    pub(super) fn steps(&self) -> u64 {
        self.short.steps + self.medium.steps + self.long.steps
    }
}

impl Literals {
    /// All of these sets' are passed over at the largest stride.
    pub(super) fn are_long(&self, wanted: SignatureMask) -> bool {
        let shares = |sets: Option<SignatureMask>| sets.is_some_and(|sets| sets.shares(wanted));
        !shares(self.short.as_ref().map(|group| group.sets))
            && !shares(self.medium.as_ref().map(|group| group.sets))
    }

    /// More bytes have come: `found` gets the set of each literal that ends in them, as often as it does.
    pub(super) fn push(
        &self,
        state: &mut LiteralsState,
        wanted: SignatureMask,
        bytes: &[u8],
        mut found: impl FnMut(SignatureId),
    ) {
        if let Some(group) = self.short.as_ref().filter(|group| group.sets.shares(wanted)) {
            group.push(&mut state.short, bytes, &mut found);
        }
        if let Some(group) = self.medium.as_ref().filter(|group| group.sets.shares(wanted)) {
            group.push(&mut state.medium, bytes, &mut found);
        }
        if let Some(group) = self.long.as_ref().filter(|group| group.sets.shares(wanted)) {
            group.push(&mut state.long, bytes, &mut found);
        }
    }

    /// Bytes of memory that they take.
    pub(super) fn memory(&self) -> usize {
        let Self { short, medium, long } = self;
        short.as_ref().map_or(0, Group::memory)
            + medium.as_ref().map_or(0, Group::memory)
            + long.as_ref().map_or(0, Group::memory)
    }
}

/// Literals that all have at least `M` bytes.
#[derive(Debug)]
struct Group<const M: usize, const Q: usize> {
    filter: LiteralFilter<M, Q>,
    automaton: NFA,
    /// By the numbers of the literals.
    ids: Vec<SignatureId>,
    sets: SignatureMask,
    /// Bytes of the longest.
    longest: u8,
}

/// What is known of the bytes before.
#[derive(Clone, Debug, Default)]
struct GroupState {
    /// Of the automaton, where it runs.
    at: StateID,
    /// Bytes for which it runs on; zero: it does not run.
    left: u8,
    /// Since it began to run for these, another literal may have begun.
    is_renewed: bool,
    /// Bytes that it has run over.
    steps: u64,
    /// The last bytes, fewer than `M`: whether a literal begins there is not known yet.
    open: [u8; LONG - 1],
    open_len: u8,
}

impl<const M: usize, const Q: usize> Group<M, Q> {
    fn new(literals: Vec<(Vec<u8>, SignatureId)>) -> Result<Option<Self>, SignatureError> {
        let Some(longest) = literals.iter().map(|(literal, _)| literal.len()).max() else { return Ok(None) };
        let longest = u8::try_from(longest).map_err(|_| SignatureError::TooManyLiterals)?;
        let filter = LiteralFilter::new(literals.iter().map(|(literal, _)| &**literal));
        let automaton = NFA::builder()
            .match_kind(MatchKind::Standard)
            .prefilter(false)
            .build(literals.iter().map(|(literal, _)| literal))
            .map_err(|_| SignatureError::TooManyLiterals)?;
        let ids: Vec<_> = literals.into_iter().map(|(_, id)| id).collect();
        let sets = ids.iter().copied().collect();
        Ok(Some(Self { filter, automaton, ids, sets, longest }))
    }

    fn push(&self, state: &mut GroupState, bytes: &[u8], found: &mut impl FnMut(SignatureId)) {
        let carried = usize::from(state.open_len);
        let (mut joined, more) = ([0; 2 * LONG], bytes.len().min(M - 1));
        joined[..carried].copy_from_slice(&state.open[..carried]);
        joined[carried..carried + more].copy_from_slice(&bytes[..more]);
        let joined = &joined[..carried + more];
        // What began in the bytes before.
        let still_open = match self.filter.next(joined, 0, carried) {
            Next::Candidate(start) => {
                if state.left > 0 {
                    state.is_renewed = true;
                } else {
                    // None ends there: it would have begun earlier.
                    self.begin(state, &joined[start..carried], found);
                }
                carried
            }
            Next::Open(open) => open.min(carried),
        };
        let from = self.run(state, bytes, found);
        // All of the bytes are in `joined` where something before them is still open.
        let open = if still_open < carried { &joined[still_open..] } else { &bytes[from..] };
        state.open[..open.len()].copy_from_slice(open);
        state.open_len = open.len() as u8;
    }

    /// The automaton begins with these bytes, which are in front of those that come.
    fn begin(&self, state: &mut GroupState, bytes: &[u8], found: &mut impl FnMut(SignatureId)) {
        if let Ok(start) = self.automaton.start_state(Anchored::No) {
            state.at = start;
            self.walk(state, bytes, found);
            (state.left, state.is_renewed) = (self.longest, false);
        }
    }

    /// Returns from where on it is not known whether a literal begins.
    fn run(&self, state: &mut GroupState, bytes: &[u8], found: &mut impl FnMut(SignatureId)) -> usize {
        let (mut at, mut from) = (0, 0);
        loop {
            if state.left == 0 {
                match self.filter.next(bytes, from, bytes.len()) {
                    Next::Open(open) => return open,
                    Next::Candidate(start) => {
                        self.begin(state, &[], found);
                        (at, from) = (start, start + 1);
                    }
                }
            }
            let end = bytes.len().min(at + usize::from(state.left));
            self.walk(state, &bytes[at..end], found);
            state.left -= (end - at) as u8;
            from = match self.filter.next(bytes, from, end) {
                Next::Open(open) => open,
                Next::Candidate(_) => {
                    state.is_renewed = true;
                    end
                }
            };
            at = end;
            if state.left == 0 && state.is_renewed {
                (state.left, state.is_renewed) = (self.longest, false);
            }
            if at == bytes.len() {
                return from.min(at);
            }
        }
    }

    fn walk(&self, state: &mut GroupState, bytes: &[u8], found: &mut impl FnMut(SignatureId)) {
        let automaton = &self.automaton;
        let mut at = state.at;
        state.steps += bytes.len() as u64;
        for byte in bytes {
            at = automaton.next_state(Anchored::No, at, *byte);
            if automaton.is_match(at) {
                for number in 0..automaton.match_len(at) {
                    found(self.ids[automaton.match_pattern(at, number).as_usize()]);
                }
            }
        }
        state.at = at;
    }

    fn memory(&self) -> usize {
        self.filter.memory() + self.automaton.memory_usage() + self.ids.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_as_they_are_written() {
        assert_eq!(parse_literal("abcd"), Ok(b"abcd".to_vec()));
        assert_eq!(parse_literal("ab|0D 0a|c"), Ok(b"ab\r\nc".to_vec()));
        assert_eq!(parse_literal("|deadbeef|"), Ok(vec![0xde, 0xad, 0xbe, 0xef]));
        assert_eq!(parse_literal("a|7c|bc"), Ok(b"a|bc".to_vec()));
        for text in ["ab|0d", "ab|0|cd", "ab|0g|cd", "abc||d"] {
            assert_eq!(parse_literal(text), Err(LiteralError::Hex), "{text}");
        }
        assert_eq!(parse_literal("abc"), Err(LiteralError::Length));
        assert_eq!(parse_literal(&"a".repeat(256)), Err(LiteralError::Length));
    }
}
