//! Expressions, as automata that take one step for each byte and whose state is all that is kept.
//!
//! Few expressions together may need an automaton larger than is sensible, and then they are split among several.

use std::fmt;

use memchr::{memchr, memchr2, memchr3};
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::{start, syntax};
use regex_automata::{Anchored, MatchKind};
use regex_syntax::ParserBuilder;

use super::{SignatureError, SignatureId, SignatureMask};

/// Automata that all bytes go through one after the other.
pub(super) const MAX_AUTOMATA: usize = 16;
/// Bytes of one automaton.
const MAX_BYTES: usize = 4 << 20;
/// Expressions of one automaton: bits of a mask.
const MAX_TOGETHER: usize = 64;
/// Bytes of an expression.
const MAX_LEN: usize = 1024;

/// Why an expression cannot be looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegexError {
    /// It is none; this is wrong with it.
    Syntax(String),
    /// It matches where there is nothing.
    Empty,
    /// Its automaton would be too large.
    TooLarge,
}

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(what) => write!(f, "a regular expression ({what})"),
            Self::Empty => f.write_str("a regular expression that matches at least one byte"),
            Self::TooLarge => f.write_str(
                "a simpler regular expression: its automaton takes more than 4 MiB (wide classes that are repeated many times)",
            ),
        }
    }
}

impl std::error::Error for RegexError {}

/// Whether an expression is one, and can be looked for alone.
///
/// # Errors
/// What is wrong with it.
pub fn check_regex(expression: &str) -> Result<(), RegexError> {
    let hir = parse(expression)?;
    if hir.properties().minimum_len().is_none_or(|len| len == 0) {
        return Err(RegexError::Empty);
    }
    automaton(&[expression]).map(drop)
}

/// Bytes, not characters: what is looked into need not be UTF-8.
fn parse(expression: &str) -> Result<regex_syntax::hir::Hir, RegexError> {
    if expression.len() > MAX_LEN {
        return Err(RegexError::Syntax(format!("of at most {MAX_LEN} bytes")));
    }
    let mut parser = ParserBuilder::new().unicode(false).utf8(false).nest_limit(64).build();
    parser.parse(expression).map_err(|error| {
        RegexError::Syntax(match error {
            regex_syntax::Error::Parse(error) => error.kind().to_string(),
            regex_syntax::Error::Translate(error) => error.kind().to_string(),
            error => error.to_string(),
        })
    })
}

fn automaton(expressions: &[&str]) -> Result<dense::DFA<Vec<u32>>, RegexError> {
    if expressions.len() > MAX_TOGETHER {
        return Err(RegexError::TooLarge);
    }
    let settings = dense::Config::new()
        .match_kind(MatchKind::All)
        .start_kind(StartKind::Unanchored)
        .accelerate(true)
        .dfa_size_limit(Some(MAX_BYTES))
        .determinize_size_limit(Some(8 * MAX_BYTES));
    dense::Builder::new()
        .configure(settings)
        .syntax(syntax::Config::new().unicode(false).utf8(false).nest_limit(64))
        .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_BYTES)))
        .build_many(expressions)
        .map_err(|_| RegexError::TooLarge)
}

/// The expressions of all sets.
#[derive(Debug, Default)]
pub(super) struct Regexes(Vec<Together>);

/// Expressions that share an automaton.
#[derive(Debug)]
struct Together {
    dfa: dense::DFA<Vec<u32>>,
    begin: StateID,
    /// By the numbers of the expressions.
    ids: Vec<SignatureId>,
    sets: SignatureMask,
    /// Bit i: whether expression i matches depends on the byte behind it.
    waits: u64,
}

/// What is known of the bytes before, for one automaton.
#[derive(Clone, Copy, Debug)]
pub(super) struct RegexState {
    at: StateID,
    /// Expressions that matched up to the byte before: further bytes make the same find longer.
    matching: u64,
}

impl Regexes {
    pub(super) fn build(expressions: &[(&str, SignatureId)]) -> Result<Self, SignatureError> {
        let mut all = Vec::new();
        split(expressions, &mut all)?;
        Ok(Self(all))
    }

    /// Before the first byte.
    pub(super) fn begin(&self, wanted: SignatureMask) -> Box<[RegexState]> {
        if !self.0.iter().any(|together| together.sets.shares(wanted)) {
            return Box::default();
        }
        self.0.iter().map(|together| RegexState { at: together.begin, matching: 0 }).collect()
    }

    /// More bytes have come: `found` gets the set of each expression that matches up to one of them, once for matches that follow
    /// each other byte by byte.
    pub(super) fn push(
        &self,
        states: &mut [RegexState],
        wanted: SignatureMask,
        bytes: &[u8],
        mut found: impl FnMut(SignatureId),
    ) {
        for (together, state) in self.0.iter().zip(states) {
            if together.sets.shares(wanted) {
                together.push(state, bytes, &mut found);
            }
        }
    }

    /// No more bytes come.
    pub(super) fn end(
        &self,
        states: &mut [RegexState],
        wanted: SignatureMask,
        mut found: impl FnMut(SignatureId),
    ) {
        for (together, state) in self.0.iter().zip(states) {
            if together.sets.shares(wanted) {
                let last = together.dfa.next_eoi_state(state.at);
                together.tell(state, together.matching(last), &mut found);
            }
        }
    }

    /// The sets that have any.
    pub(super) fn sets(&self) -> SignatureMask {
        self.0.iter().fold(SignatureMask::default(), |sets, together| sets.and(together.sets))
    }

    /// Bytes of memory that they take.
    pub(super) fn memory(&self) -> usize {
        self.0.iter().map(|together| together.dfa.memory_usage()).sum()
    }
}

fn split(expressions: &[(&str, SignatureId)], all: &mut Vec<Together>) -> Result<(), SignatureError> {
    if expressions.is_empty() {
        return Ok(());
    }
    let texts: Vec<_> = expressions.iter().map(|(text, _)| *text).collect();
    match automaton(&texts) {
        Ok(dfa) if all.len() < MAX_AUTOMATA => {
            // The beginning of a message has nothing in front of it.
            let begin = dfa.start_state(&start::Config::new().anchored(Anchored::No));
            let begin = begin.map_err(|_| SignatureError::TooManyRegexes)?;
            let ids: Vec<_> = expressions.iter().map(|(_, id)| *id).collect();
            let waits =
                |text: &str| parse(text).is_ok_and(|hir| !hir.properties().look_set_suffix_any().is_empty());
            let waits = texts
                .iter()
                .enumerate()
                .fold(0, |bits, (place, text)| bits | u64::from(waits(text)) << place);
            let sets = ids.iter().copied().collect();
            all.push(Together { dfa, begin, ids, sets, waits });
            Ok(())
        }
        Err(_) if expressions.len() > 1 => {
            let (one, other) = expressions.split_at(expressions.len() / 2);
            split(one, all)?;
            split(other, all)
        }
        _ => Err(SignatureError::TooManyRegexes),
    }
}

impl Together {
    fn push(&self, state: &mut RegexState, bytes: &[u8], found: &mut impl FnMut(SignatureId)) {
        let (dfa, mut at) = (&self.dfa, 0);
        while let Some(byte) = bytes.get(at) {
            at += 1;
            state.at = dfa.next_state(state.at, *byte);
            if !dfa.is_special_state(state.at) {
                state.matching = 0;
                continue;
            }
            if dfa.is_dead_state(state.at) {
                state.matching = 0;
                return;
            }
            self.tell(state, self.matching(state.at), found);
            if dfa.is_accel_state(state.at) && !dfa.is_match_state(state.at) {
                let rest = &bytes[at..];
                at += match *dfa.accelerator(state.at) {
                    [a] => memchr(a, rest),
                    [a, b] => memchr2(a, b, rest),
                    [a, b, c] => memchr3(a, b, c, rest),
                    _ => Some(0),
                }
                .unwrap_or(rest.len());
            }
        }
        // The automaton tells of a match one byte later. What that byte is matters to few.
        let now = self.matching(dfa.next_eoi_state(state.at)) & !self.waits;
        let before = state.matching;
        self.tell(state, now, found);
        state.matching |= before & self.waits;
    }

    /// Expressions that match up to the byte before.
    fn matching(&self, at: StateID) -> u64 {
        if !self.dfa.is_match_state(at) {
            return 0;
        }
        (0..self.dfa.match_len(at))
            .fold(0, |bits, number| bits | 1 << self.dfa.match_pattern(at, number).as_usize())
    }

    fn tell(&self, state: &mut RegexState, now: u64, found: &mut impl FnMut(SignatureId)) {
        let mut new = now & !state.matching;
        while new != 0 {
            found(self.ids[new.trailing_zeros() as usize]);
            new &= new - 1;
        }
        state.matching = now;
    }
}
