//! Name constraints (RFC 5280 §4.2.1.10): which names the certificates below a CA may have.
//!
//! DNS names, addresses, distinguished names and mailboxes are compared. Where a constraint is on a kind of name that is not, and
//! a certificate has such a name, nobody can say whether it may.

use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{Tag, Tagged};

use crate::x509::{Certificate, GeneralName, attribute_text, oid, whole_content, whole_list};

/// Comparisons of a name with a constraint that a path may need: some 25 ns each.
const MAX_COMPARISONS: usize = 50_000;

/// The constraints of one CA. Subtrees by kind of name, in DER.
#[derive(Debug)]
pub(super) struct NameConstraints<'c> {
    permitted: Vec<GeneralName<'c>>,
    excluded: Vec<GeneralName<'c>>,
}

/// Why a certificate does not fit into constraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// A name is not within what is permitted.
    NotPermitted,
    /// A name is excluded.
    Excluded,
    /// Names of a kind that is not compared.
    Unsupported,
    /// A name or a constraint is none.
    Malformed,
    /// More comparisons than are made.
    TooMany,
}

impl<'c> NameConstraints<'c> {
    /// Reads the extension's value.
    pub(super) fn parse(der: &'c [u8]) -> Result<Self, Unfit> {
        let lists = whole_list(der).map_err(|_| Unfit::Malformed)?;
        let mut constraints = Self { permitted: Vec::new(), excluded: Vec::new() };
        for list in lists {
            let subtrees = match GeneralName::of(list).map(|list| list.kind.value()) {
                Some(0) => &mut constraints.permitted,
                Some(1) => &mut constraints.excluded,
                _ => return Err(Unfit::Malformed),
            };
            for subtree in whole_content(list.value()).map_err(|_| Unfit::Malformed)? {
                let parts = whole_content(subtree.value()).map_err(|_| Unfit::Malformed)?;
                match parts.as_slice() {
                    [base] => subtrees.push(GeneralName::of(*base).ok_or(Unfit::Malformed)?),
                    // A minimum other than 0, or a maximum: RFC 5280 knows no use for them.
                    [_, ..] => return Err(Unfit::Unsupported),
                    [] => return Err(Unfit::Malformed),
                }
            }
        }
        Ok(constraints)
    }

    /// Whether `names`, all of one certificate, are within. `left` is how many comparisons may be made.
    fn check(&self, names: &[GeneralName<'_>], left: &mut usize) -> Result<(), Unfit> {
        let comparisons = names.len().saturating_mul(self.permitted.len() + self.excluded.len());
        *left = left.checked_sub(comparisons).ok_or(Unfit::TooMany)?;
        for name in names {
            for base in self.excluded.iter().filter(|base| base.kind == name.kind) {
                if is_within(name, base, Side::Excluded)? {
                    return Err(Unfit::Excluded);
                }
            }
            let mut permitted = self.permitted.iter().filter(|base| base.kind == name.kind).peekable();
            if permitted.peek().is_some() {
                let mut within = false;
                for base in permitted {
                    within = within || is_within(name, base, Side::Permitted)?;
                }
                if !within {
                    return Err(Unfit::NotPermitted);
                }
            }
        }
        Ok(())
    }
}

/// The names of a certificate that constraints are about.
pub(super) fn constrained_names<'n>(certificate: &'n Certificate<'_>) -> Result<Vec<GeneralName<'n>>, Unfit> {
    let malformed = |_| Unfit::Malformed;
    let mut names = Vec::new();
    if let Some((value, _)) = certificate.extension(oid::SUBJECT_ALT_NAME) {
        for element in whole_list(value).map_err(malformed)? {
            let name = GeneralName::of(element).ok_or(Unfit::Malformed)?;
            names.push(match name.kind {
                // EXPLICIT: the Name itself is inside.
                GeneralName::DIRECTORY => {
                    let [inner] = whole_content(name.value).map_err(malformed)?[..] else {
                        return Err(Unfit::Malformed);
                    };
                    GeneralName { value: inner.value(), ..name }
                }
                _ => name,
            });
        }
    }
    let subject = certificate.tbs.subject.value();
    if !subject.is_empty() {
        // Mailboxes of the subject count where the subjectAltName has none.
        if !names.iter().any(|name| name.kind == GeneralName::RFC822) {
            for relative in distinguished_name(subject)? {
                names.extend(
                    relative
                        .iter()
                        .filter(|(kind, _)| *kind == oid::EMAIL_ADDRESS)
                        .map(|(_, value)| GeneralName { kind: GeneralName::RFC822, value: value.value() }),
                );
            }
        }
        names.push(GeneralName { kind: GeneralName::DIRECTORY, value: subject });
    }
    Ok(names)
}

/// Constraints of a path, from the root down to where one is.
#[derive(Debug)]
pub(super) struct Accumulated<'c> {
    constraints: Vec<NameConstraints<'c>>,
    left: usize,
}

impl Default for Accumulated<'_> {
    fn default() -> Self {
        Self { constraints: Vec::new(), left: MAX_COMPARISONS }
    }
}

impl<'c> Accumulated<'c> {
    /// Adds those of the next CA.
    pub(super) fn add(&mut self, constraints: NameConstraints<'c>) {
        self.constraints.push(constraints);
    }

    /// Whether a certificate is within all of them.
    pub(super) fn check(&mut self, certificate: &Certificate<'_>) -> Result<(), Unfit> {
        if self.constraints.is_empty() {
            return Ok(());
        }
        let names = constrained_names(certificate)?;
        let left = &mut self.left;
        self.constraints.iter().try_for_each(|constraints| constraints.check(&names, left))
    }
}

/// Whether a certificate is within the name constraints of these CAs.
pub(crate) fn is_within_constraints<'c>(
    certificate: &Certificate<'_>,
    cas: impl Iterator<Item = Certificate<'c>>,
) -> bool {
    let ders = cas.filter_map(|ca| ca.extension(oid::NAME_CONSTRAINTS)).map(|(der, _)| der);
    let constraints: Result<Vec<_>, _> = ders.map(NameConstraints::parse).collect();
    let all = |constraints| Accumulated { constraints, ..Accumulated::default() }.check(certificate);
    constraints.and_then(all).is_ok()
}

/// Which of the two lists a base stands in: a wildcard is within what is permitted if all that it stands for is, and within what
/// is excluded if anything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Permitted,
    Excluded,
}

/// Whether `name` is within the subtree of `base`, of the same kind.
fn is_within(name: &GeneralName<'_>, base: &GeneralName<'_>, side: Side) -> Result<bool, Unfit> {
    match name.kind {
        GeneralName::DNS => dns_within(name.value, base.value, side),
        GeneralName::IP => ip_within(name.value, base.value),
        GeneralName::RFC822 => mailbox_within(name.value, base.value),
        GeneralName::DIRECTORY => {
            let [base] = whole_content(base.value).map_err(|_| Unfit::Malformed)?[..] else {
                return Err(Unfit::Malformed);
            };
            directory_within(name.value, base.value())
        }
        _ => Err(Unfit::Unsupported),
    }
}

/// The base and what has more labels on its left. With a dot before it, as many write it, only the latter.
fn dns_within(name: &[u8], base: &[u8], side: Side) -> Result<bool, Unfit> {
    if base.is_empty() {
        return Ok(true);
    }
    if base.contains(&b'*') || base.ends_with(b".") || !base.is_ascii() {
        return Err(Unfit::Malformed);
    }
    let name = name.strip_suffix(b".").unwrap_or(name);
    let (parent, labels_needed) = match base.strip_prefix(b".") {
        Some(parent) => (parent, true),
        None => (base, false),
    };
    if let (Side::Excluded, Some(around)) = (side, name.strip_prefix(b"*.")) {
        // One of the names that it stands for is the base itself, or all of them are below it.
        let one_is =
            !labels_needed && after_first_label(parent).is_some_and(|p| p.eq_ignore_ascii_case(around));
        return Ok(one_is || is_or_is_below(around, parent));
    }
    Ok(is_or_is_below(name, parent) && !(labels_needed && name.len() == parent.len()))
}

fn is_or_is_below(name: &[u8], parent: &[u8]) -> bool {
    let Some((before, end)) = name.len().checked_sub(parent.len()).map(|at| name.split_at(at)) else {
        return false;
    };
    end.eq_ignore_ascii_case(parent) && (before.is_empty() || before.ends_with(b"."))
}

fn after_first_label(name: &[u8]) -> Option<&[u8]> {
    name.iter().position(|b| *b == b'.').map(|dot| &name[dot + 1..])
}

/// An address and a mask of the same length.
fn ip_within(name: &[u8], base: &[u8]) -> Result<bool, Unfit> {
    if ![4, 16].contains(&name.len()) || ![8, 32].contains(&base.len()) {
        return Err(Unfit::Malformed);
    }
    let (network, mask) = base.split_at(base.len() / 2);
    // RFC 4632: ones, then zeros.
    let ones = mask.iter().take_while(|b| **b == 0xff).count();
    let rest = &mask[ones..];
    let contiguous = rest.first().is_none_or(|b| b.leading_ones() + b.trailing_zeros() == 8)
        && rest.iter().skip(1).all(|b| *b == 0);
    if !contiguous {
        return Err(Unfit::Malformed);
    }
    Ok(name.len() == network.len()
        && name.iter().zip(network).zip(mask).all(|((n, b), mask)| n & mask == b & mask))
}

/// A mailbox, all of a host, or with a dot before it all of the hosts below.
fn mailbox_within(name: &[u8], base: &[u8]) -> Result<bool, Unfit> {
    let split = |mailbox: &'_ [u8]| mailbox.iter().rposition(|b| *b == b'@');
    let Some(at) = split(name) else { return Err(Unfit::Malformed) };
    let host = &name[at + 1..];
    Ok(match split(base) {
        Some(base_at) => name[..at] == base[..base_at] && host.eq_ignore_ascii_case(&base[base_at + 1..]),
        None if base.is_empty() => true,
        None => match base.strip_prefix(b".") {
            Some(parent) => host.len() > parent.len() && is_or_is_below(host, parent),
            None => host.eq_ignore_ascii_case(base),
        },
    })
}

type Attribute<'n> = (ObjectIdentifier, AnyRef<'n>);

/// The relative names of the content of a Name.
fn distinguished_name(name: &[u8]) -> Result<Vec<Vec<Attribute<'_>>>, Unfit> {
    let attribute = |element: AnyRef<'_>| {
        let parts = whole_content(element.value()).ok()?;
        let [kind, _] = parts.as_slice() else { return None };
        kind.decode_as::<ObjectIdentifier>().ok()
    };
    let mut relatives = Vec::new();
    for relative in whole_content(name).map_err(|_| Unfit::Malformed)? {
        let mut attributes = Vec::new();
        for element in whole_content(relative.value()).map_err(|_| Unfit::Malformed)? {
            let kind = attribute(element).ok_or(Unfit::Malformed)?;
            let parts = whole_content(element.value()).map_err(|_| Unfit::Malformed)?;
            attributes.push((kind, parts[1]));
        }
        relatives.push(attributes);
    }
    Ok(relatives)
}

/// Whether `base` is the beginning of `name`, or all of it.
fn directory_within(name: &[u8], base: &[u8]) -> Result<bool, Unfit> {
    let (name, base) = (distinguished_name(name)?, distinguished_name(base)?);
    let same = |a: &Vec<Attribute<'_>>, b: &Vec<Attribute<'_>>| {
        a.len() == b.len() && a.iter().all(|a| b.iter().any(|b| a.0 == b.0 && same_value(a.1, b.1)))
    };
    Ok(base.len() <= name.len() && name.iter().zip(&base).all(|(a, b)| same(a, b)))
}

/// RFC 5280 §7.1: texts are compared without regard to case, to the spaces at both ends, and to how many spaces there are elsewhere.
fn same_value(a: AnyRef<'_>, b: AnyRef<'_>) -> bool {
    let folded = |value: AnyRef<'_>| {
        let is_text = match value.tag() {
            Tag::BmpString | Tag::TeletexString => true,
            Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::VisibleString => {
                str::from_utf8(value.value()).is_ok()
            }
            _ => false,
        };
        is_text.then(|| {
            let text = attribute_text(value).to_lowercase();
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        })
    };
    a == b || matches!((folded(a), folded(b)), (Some(a), Some(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names() {
        let cases = [
            ("example.com", "example.com", true, true),
            ("WWW.example.com", "example.COM", true, true),
            ("badexample.com", "example.com", false, false),
            ("com", "example.com", false, false),
            ("example.com", ".example.com", false, false),
            ("www.example.com", ".example.com", true, true),
            ("www.example.com.", "example.com", true, true),
            ("anything", "", true, true),
            ("*.example.com", "example.com", true, true),
            ("*.example.com", ".example.com", true, true),
            ("*.example.com", "www.example.com", false, true),
            ("*.example.com", ".www.example.com", false, false),
            ("*.example.com", "a.www.example.com", false, false),
            ("*.com", "example.com", false, true),
        ];
        for (name, base, permitted, excluded) in cases {
            let within = |side| dns_within(name.as_bytes(), base.as_bytes(), side);
            assert_eq!(within(Side::Permitted), Ok(permitted), "{name} within permitted {base}");
            assert_eq!(within(Side::Excluded), Ok(excluded), "{name} within excluded {base}");
        }
        for base in ["*.example.com", "example.com.", "ex\u{e4}mple.com"] {
            assert_eq!(dns_within(b"a", base.as_bytes(), Side::Excluded), Err(Unfit::Malformed), "{base}");
        }
    }

    #[test]
    fn addresses() {
        let net = [10, 1, 0, 0, 255, 255, 0, 0];
        assert_eq!(ip_within(&[10, 1, 2, 3], &net), Ok(true));
        assert_eq!(ip_within(&[10, 2, 2, 3], &net), Ok(false));
        assert_eq!(ip_within(&[0; 16], &net), Ok(false));
        assert_eq!(ip_within(&[1; 4], &[0; 8]), Ok(true), "all of them");
        assert_eq!(ip_within(&[1; 16], &[0; 32]), Ok(true));
        assert_eq!(ip_within(&[10, 129, 0, 1], &[10, 128, 0, 0, 255, 128, 0, 0]), Ok(true));
        assert_eq!(ip_within(&[10, 1, 2], &net), Err(Unfit::Malformed));
        assert_eq!(ip_within(&[10, 1, 2, 3], &net[..7]), Err(Unfit::Malformed));
        for mask in [[255, 0, 255, 0], [253, 0, 0, 0], [0, 0, 0, 1], [255, 128, 128, 0]] {
            assert_eq!(ip_within(&[0; 4], &[[0; 4], mask].concat()), Err(Unfit::Malformed), "{mask:?}");
        }
    }

    #[test]
    fn mailboxes() {
        for (name, base, within) in [
            ("a@example.com", "a@EXAMPLE.com", true),
            ("A@example.com", "a@example.com", false),
            ("a@example.com", "example.com", true),
            ("a@www.example.com", "example.com", false),
            ("a@www.example.com", ".example.com", true),
            ("a@example.com", ".example.com", false),
            ("a@badexample.com", ".example.com", false),
            ("\"x@y\"@example.com", "example.com", true),
            ("a@example.com", "", true),
        ] {
            assert_eq!(mailbox_within(name.as_bytes(), base.as_bytes()), Ok(within), "{name} in {base}");
        }
        assert_eq!(mailbox_within(b"nobody", b"example.com"), Err(Unfit::Malformed));
    }

    /// Content of a Name: each relative name with one attribute.
    fn directory(parts: &[(u8, u8, &str)]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
        let one = |(kind, tag, text): &(u8, u8, &str)| {
            let bytes: Vec<u8> = match *tag {
                0x1e => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
                _ => text.as_bytes().to_vec(),
            };
            let content = [vec![6, 3, 0x55, 4, *kind], wrap(*tag, &bytes)].concat();
            wrap(0x31, &wrap(0x30, &content))
        };
        parts.iter().flat_map(one).collect()
    }

    #[test]
    fn distinguished_names() {
        let base = directory(&[(6, 0x13, "IT"), (10, 0x0c, "An Office")]);
        for (name, within) in [
            (&[(6, 0x13, "IT"), (10, 0x0c, "An Office")][..], true),
            (&[(6, 0x0c, "it"), (10, 0x13, "  AN   office "), (3, 0x0c, "x")], true),
            (&[(6, 0x13, "IT"), (10, 0x1e, "an office")], true),
            (&[(6, 0x13, "IT"), (10, 0x14, "an office")], true),
            (&[(6, 0x13, "IT")], false),
            (&[(10, 0x0c, "An Office"), (6, 0x13, "IT")], false),
            (&[(6, 0x13, "IT"), (11, 0x0c, "An Office")], false),
            (&[(6, 0x13, "IT"), (10, 0x0c, "AnOffice")], false),
            (&[], false),
        ] {
            assert_eq!(directory_within(&directory(name), &base), Ok(within), "{name:?}");
            assert_eq!(directory_within(&directory(name), &[]), Ok(true), "no relative name: all");
        }
        assert_eq!(directory_within(&[0x31], &base), Err(Unfit::Malformed));
        assert_eq!(directory_within(&[0x31, 2, 0x30, 0], &base), Err(Unfit::Malformed));
    }
}
