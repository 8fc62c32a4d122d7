//! In which form a file has its entries.

use std::net::IpAddr;

use super::ListKind;
use super::lines::{lines, rating_of, unbase64, uncommented};

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An entry on each line.
    Plain,
    /// A hosts file: an address, and names after it.
    Hosts,
    /// `domains` and `urls` of squidGuard, e2guardian and the lists of the University of Toulouse: each name stands for what is below it, too.
    Ut1,
    /// A response policy zone of a DNS server.
    Rpz,
    /// A dataset of Suricata: texts in base64, addresses and hashes as they are; a rating may follow.
    Suricata,
}

impl Format {
    /// As the configuration writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Hosts => "hosts",
            Self::Ut1 => "ut1",
            Self::Rpz => "rpz",
            Self::Suricata => "suricata",
        }
    }

    /// Whether a file of this form can have entries of a kind.
    pub fn has(self, kind: ListKind) -> bool {
        match self {
            Self::Plain | Self::Suricata => true,
            Self::Ut1 => !kind.is_of_hashes(),
            Self::Hosts => kind == ListKind::Domain,
            Self::Rpz => matches!(kind, ListKind::Domain | ListKind::Ip),
        }
    }

    /// The form that a file seems to have, by its name and its first line that says something.
    pub fn detect(kind: ListKind, file_name: &str, contents: &[u8]) -> Self {
        if kind.is_of_hashes() {
            return Self::Plain;
        }
        if let "domains" | "urls" = file_name.strip_suffix(".gz").unwrap_or(file_name) {
            return Self::Ut1;
        }
        let lines = lines(contents).filter_map(|(_, line)| std::str::from_utf8(line).ok());
        let first = lines.map(uncommented).find(|line| !line.is_empty()).unwrap_or_default();
        let words: Vec<_> = first.split_ascii_whitespace().take(5).collect();
        let found = match words[..] {
            [first, ..] if first.starts_with('$') => Self::Rpz,
            [address, _, ..] if host_address(address).is_some() => Self::Hosts,
            // After the name, the time to live and the class.
            [_, ref rest @ ..] if rest.iter().any(|word| is_record_type(word)) => Self::Rpz,
            [word] if is_base64_of_a_name(word) => Self::Suricata,
            _ => Self::Plain,
        };
        if found.has(kind) { found } else { Self::Plain }
    }
}

/// The address that a line of a hosts file begins with; link-local ones may name their interface.
pub(super) fn host_address(word: &str) -> Option<IpAddr> {
    word.split('%').next()?.parse().ok()
}

fn is_record_type(word: &str) -> bool {
    ["SOA", "NS", "CNAME", "A", "AAAA"].iter().any(|kind| word.eq_ignore_ascii_case(kind))
}

fn is_base64_of_a_name(word: &str) -> bool {
    let text = unbase64(rating_of(word).0);
    text.is_some_and(|text| text.contains('.') && text.chars().all(|c| c.is_ascii_graphic()))
}
