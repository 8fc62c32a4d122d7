//! What is looked for in the contents of messages, piece by piece: texts, expressions, and data by its form.
//!
//! A [`Signatures`] has all sets of a configuration, shared by all flows. A [`SignatureStream`] is what one message keeps between two
//! pieces: states of automata and a few bytes, whose size does not grow. What it finds does not depend on where pieces begin and end.

mod card;
mod iban;
mod literal_filter;
mod literals;
mod masked;
mod regexes;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use literals::{LiteralError, MAX_LITERAL, MIN_LITERAL, parse_literal};
pub use masked::Masked;
pub use regexes::{RegexError, check_regex};
pub use stream::SignatureStream;

use literals::{Literals, LiteralsBuilder};
use regexes::Regexes;

/// A letter, a digit or an underscore: next to one, a number is a part of something else.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Sets of one configuration.
pub const MAX_SETS: usize = 64;
/// Literals of all sets together.
pub const MAX_LITERALS: usize = 100_000;
/// Their bytes.
pub(crate) const MAX_LITERAL_BYTES: usize = 4 << 20;

/// Data that is known by its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataPattern {
    /// Numbers of payment cards: 13 to 19 digits of a known issuer, with the check digit of ISO/IEC 7812.
    CardNumber,
    /// Numbers of accounts (ISO 13616), with the length of their country and the right check digits.
    Iban,
    /// Private keys in PEM (RFC 7468), of OpenSSH or of OpenPGP.
    PrivateKey,
    /// Identifiers of access keys of AWS.
    AwsAccessKey,
}

impl DataPattern {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::CardNumber, Self::Iban, Self::PrivateKey, Self::AwsAccessKey];

    /// As configurations have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CardNumber => "card_number",
            Self::Iban => "iban",
            Self::PrivateKey => "private_key",
            Self::AwsAccessKey => "aws_access_key",
        }
    }

    const fn literals(self) -> &'static [&'static str] {
        match self {
            Self::PrivateKey => &[
                "-----BEGIN PRIVATE KEY-----",
                "-----BEGIN ENCRYPTED PRIVATE KEY-----",
                "-----BEGIN RSA PRIVATE KEY-----",
                "-----BEGIN EC PRIVATE KEY-----",
                "-----BEGIN DSA PRIVATE KEY-----",
                "-----BEGIN OPENSSH PRIVATE KEY-----",
                "-----BEGIN PGP PRIVATE KEY BLOCK-----",
            ],
            Self::CardNumber | Self::Iban | Self::AwsAccessKey => &[],
        }
    }

    const fn regex(self) -> Option<&'static str> {
        match self {
            Self::AwsAccessKey => Some("(?:AKIA|ASIA)[0-9A-Z]{16}"),
            Self::CardNumber | Self::Iban | Self::PrivateKey => None,
        }
    }
}

/// One set, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureSet {
    /// Unique; what rules and the log call it.
    pub name: String,
    /// Bytes that are looked for as they are: see [`parse_literal`].
    pub literals: Vec<Vec<u8>>,
    /// Expressions over bytes.
    pub regexes: Vec<String>,
    /// Data by its form.
    pub patterns: Vec<DataPattern>,
    /// So many finds in one message make a hit; at least 1.
    pub threshold: u32,
}

/// The place of a set among the sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignatureId(u8);

impl SignatureId {
    /// None: there are no more than [`MAX_SETS`].
    pub fn new(place: usize) -> Option<Self> {
        u8::try_from(place).ok().filter(|place| usize::from(*place) < MAX_SETS).map(Self)
    }

    fn place(self) -> usize {
        usize::from(self.0)
    }
}

/// Some of the sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignatureMask(u64);

impl SignatureMask {
    /// With this one.
    #[must_use]
    pub fn with(self, id: SignatureId) -> Self {
        Self(self.0 | 1 << id.0)
    }

    /// All that are in `self` or in `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This one is among them.
    pub fn has(self, id: SignatureId) -> bool {
        self.0 & 1 << id.0 != 0
    }

    /// There are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn shares(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn without(self, id: SignatureId) -> Self {
        Self(self.0 & !(1 << id.0))
    }

    fn iter(self) -> impl Iterator<Item = SignatureId> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            // No set has the place behind the last bit.
            let first = SignatureId::new(left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(first)
        })
    }
}

impl FromIterator<SignatureId> for SignatureMask {
    fn from_iter<T: IntoIterator<Item = SignatureId>>(ids: T) -> Self {
        ids.into_iter().fold(Self::default(), Self::with)
    }
}

/// Why sets cannot be looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignatureError {
    /// More than [`MAX_SETS`].
    TooManySets,
    /// More than [`MAX_LITERALS`], or more bytes of them than are looked for.
    TooManyLiterals,
    /// An expression of this set, by its place there.
    Regex(usize, usize, RegexError),
    /// The expressions of all sets together are too many to be followed at once.
    TooManyRegexes,
}

impl std::fmt::Display for SignatureError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooManySets => write!(f, "at most {MAX_SETS} sets"),
            Self::TooManyLiterals => {
                write!(f, "at most {MAX_LITERALS} literals of {MAX_LITERAL_BYTES} bytes in all sets together")
            }
            Self::Regex(_, _, error) => error.fmt(f),
            Self::TooManyRegexes => {
                write!(
                    f,
                    "fewer or simpler expressions: together they take more than {} automata",
                    regexes::MAX_AUTOMATA
                )
            }
        }
    }
}

impl std::error::Error for SignatureError {}

/// A set without what is looked for.
#[derive(Debug)]
struct Named {
    name: Arc<str>,
    threshold: u32,
}

/// All sets, compiled.
#[derive(Debug, Default)]
pub struct Signatures {
    sets: Vec<Named>,
    literals: Literals,
    regexes: Regexes,
    /// Sets that ask for them.
    cards: SignatureMask,
    ibans: SignatureMask,
}

impl Signatures {
    /// Compiles sets. Takes seconds where there are many.
    ///
    /// # Errors
    /// There is too much of something, or an expression is none.
    pub fn compile(sets: &[SignatureSet]) -> Result<Self, SignatureError> {
        if sets.len() > MAX_SETS {
            return Err(SignatureError::TooManySets);
        }
        let (mut literals, mut regexes) = (LiteralsBuilder::default(), Vec::new());
        let mut signatures = Self::default();
        for (place, set) in sets.iter().enumerate() {
            let Some(id) = SignatureId::new(place) else { return Err(SignatureError::TooManySets) };
            let SignatureSet { name, literals: bytes, regexes: expressions, patterns, threshold } = set;
            signatures.sets.push(Named { name: name.as_str().into(), threshold: (*threshold).max(1) });
            bytes.iter().for_each(|literal| literals.insert(literal, id));
            for (number, expression) in expressions.iter().enumerate() {
                check_regex(expression).map_err(|error| SignatureError::Regex(place, number, error))?;
                regexes.push((expression.as_str(), id));
            }
            for pattern in patterns {
                pattern.literals().iter().for_each(|literal| literals.insert(literal.as_bytes(), id));
                regexes.extend(pattern.regex().map(|regex| (regex, id)));
                match pattern {
                    DataPattern::CardNumber => signatures.cards = signatures.cards.with(id),
                    DataPattern::Iban => signatures.ibans = signatures.ibans.with(id),
                    DataPattern::PrivateKey | DataPattern::AwsAccessKey => {}
                }
            }
        }
        signatures.literals = literals.build()?;
        signatures.regexes = Regexes::build(&regexes)?;
        Ok(signatures)
    }

    /// The set of a name.
    pub fn id(&self, name: &str) -> Option<SignatureId> {
        self.sets.iter().position(|set| *set.name == *name).and_then(SignatureId::new)
    }

    /// The names of all sets, in their order.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.sets.iter().map(|set| &set.name)
    }

    /// The name of a set.
    pub fn name(&self, id: SignatureId) -> Option<&Arc<str>> {
        self.sets.get(id.place()).map(|set| &set.name)
    }

    /// These sets have nothing but long literals: most bytes are passed over.
    fn are_quick(&self, wanted: SignatureMask) -> bool {
        let other = self.regexes.sets().and(self.cards).and(self.ibans);
        !other.shares(wanted) && self.literals.are_long(wanted)
    }

    /// Bytes of memory that the automata take, for all flows together.
    pub fn automata_memory(&self) -> usize {
        self.literals.memory() + self.regexes.memory()
    }
}
