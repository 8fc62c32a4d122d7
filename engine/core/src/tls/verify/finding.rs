//! What is wrong with a chain, and where.

use std::borrow::Cow;
use std::fmt::Write;

use crate::event::ChainFinding;
use crate::reason::Reason;
use crate::x509::{Certificate, cut, describe_name};

/// Findings of one chain that are kept; the others are known by their reasons only.
const MAX_FINDINGS: usize = 16;
/// Longest name in a finding, in bytes.
const MAX_NAME: usize = 128;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: Reason,
    /// What was found, in words of ours; names of strangers are [plain](plain_name).
    pub(super) found: Cow<'static, str>,
}

impl Fault {
    pub(super) fn new(reason: Reason, found: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, found: found.into() }
    }
}

/// Something wrong with one certificate of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// 0 is the leaf, and each issuer one more.
    pub(super) place: usize,
    pub(super) fault: Fault,
}

/// All that is wrong with the certificates of one path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults(pub(super) Vec<Found>);

impl Faults {
    pub(super) fn push(&mut self, place: usize, reason: Reason, found: impl Into<Cow<'static, str>>) {
        self.0.push(Found { place, fault: Fault::new(reason, found) });
    }

    /// Place of the first certificate that this is wrong with.
    pub(super) fn place_of(&self, reason: Reason) -> Option<usize> {
        self.0.iter().find(|found| found.fault.reason == reason).map(|found| found.place)
    }

    pub(super) fn has(&self, reason: Reason) -> bool {
        self.reasons().any(|r| r == reason)
    }

    /// How many are no matter of dates.
    pub(super) fn lasting(&self) -> usize {
        self.reasons().filter(|r| !matches!(r, Reason::CertExpired | Reason::CertNotYet)).count()
    }

    fn reasons(&self) -> impl Iterator<Item = Reason> {
        self.0.iter().map(|found| found.fault.reason)
    }

    /// Each reason once, in the order of the list.
    pub(super) fn defects(&self) -> Vec<Reason> {
        let mut defects: Vec<_> = self.reasons().collect();
        defects.sort_unstable_by_key(|d| *d as u8);
        defects.dedup();
        defects
    }

    /// For the log. `subject` names the certificate at a place.
    pub(super) fn describe(&self, subject: impl Fn(usize) -> Option<String>) -> Vec<ChainFinding> {
        let describe = |found: &Found| ChainFinding {
            reason: found.fault.reason,
            certificate: u8::try_from(found.place).unwrap_or(u8::MAX),
            subject: subject(found.place),
            found: found.fault.found.clone().into_owned(),
        };
        self.0.iter().take(MAX_FINDINGS).map(describe).collect()
    }
}

/// A certificate's subject, for people: short, and nothing in it commands a terminal.
pub(super) fn subject(certificate: &Certificate<'_>) -> String {
    plain_name(describe_name(certificate.tbs.subject))
}

/// Likewise of any text. An empty one is told as such.
pub(in crate::tls) fn plain_name(name: String) -> String {
    if name.is_empty() {
        return "(no name)".to_owned();
    }
    let mut plain = String::with_capacity(name.len().min(MAX_NAME));
    for c in name.chars() {
        if c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ' {
            plain.push(c);
        } else {
            let _ = write!(plain, "{}", c.escape_default()); // writing to a String cannot fail
        }
        if plain.len() > MAX_NAME {
            break;
        }
    }
    cut(plain, MAX_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_command_no_terminal() {
        assert_eq!(plain_name("CN=a\u{1b}[2J\u{202e}é".into()), "CN=a\\u{1b}[2J\\u{202e}é");
        assert_eq!(plain_name(String::new()), "(no name)");
        assert!(plain_name("\u{9b}".repeat(1000)).len() <= MAX_NAME);
        assert!(plain_name("ü".repeat(1000)).len() <= MAX_NAME);
    }

    #[test]
    fn findings_are_few() {
        let mut faults = Faults::default();
        for place in 0..100 {
            faults.push(place, Reason::CertExpired, "expired");
        }
        assert_eq!(faults.describe(|_| None).len(), MAX_FINDINGS);
        assert_eq!((faults.defects(), faults.lasting()), (vec![Reason::CertExpired], 0));
    }
}
