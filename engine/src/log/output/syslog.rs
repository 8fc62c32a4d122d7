//! The header of a syslog message (RFC 5424 6).

use std::fs;
use std::io::Write;

/// Who says it, as syslog sorts it (RFC 5424 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility {
    number: u8,
}

/// Names of facilities, with their numbers: those that a program that is no part of the system may use.
const FACILITIES: [(&str, u8); 10] = [
    ("user", 1),
    ("daemon", 3),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// Severity "informational".
const INFORMATIONAL: u8 = 6;

impl Facility {
    /// All of them, by their names.
    pub const ALL: [(&'static str, Self); FACILITIES.len()] = {
        let mut all = [("", Self { number: 0 }); FACILITIES.len()];
        let mut n = 0;
        while n < all.len() {
            all[n] = (FACILITIES[n].0, Self { number: FACILITIES[n].1 });
            n += 1;
        }
        all
    };
    /// What Suricata takes, too.
    pub const LOCAL5: Self = Self { number: 21 };

    /// As configurations have it.
    pub fn name(self) -> &'static str {
        FACILITIES.iter().find(|(_, number)| *number == self.number).map_or("", |(name, _)| name)
    }
}

/// What all messages of this program begin with, but for the time.
pub(super) struct Header {
    /// `<PRI>1 `
    before: String,
    /// ` HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA `
    after: String,
}

impl Header {
    pub(super) fn new(facility: Facility) -> Self {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self::of(facility, name.trim(), std::process::id())
    }

    fn of(facility: Facility, host: &str, process: u32) -> Self {
        let priority = facility.number * 8 + INFORMATIONAL;
        // RFC 5424 6.2.4: printable ASCII, 255 at most; "-" is none.
        let is_name = (1..=255).contains(&host.len()) && host.bytes().all(|byte| byte.is_ascii_graphic());
        let host = if is_name { host } else { "-" };
        Self { before: format!("<{priority}>1 "), after: format!(" {host} wireglass {process} eve - ") }
    }

    /// Appends it, with the time of now.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ");
        // Nothing can go wrong with a vector.
        let _ = write!(out, "{}{now}{}", self.before, self.after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_as_the_rfc_has_it() {
        let mut out = Vec::new();
        Header::of(Facility::LOCAL5, "wire.example", 7).write(&mut out);
        let text = String::from_utf8(out).expect("ASCII");
        let (before, rest) = text.split_at("<174>1 ".len());
        let (time, after) = rest.split_once(' ').expect("a time");
        assert_eq!((before, after), ("<174>1 ", "wire.example wireglass 7 eve - "));
        assert!(time.parse::<jiff::Timestamp>().is_ok() && time.len() == 27 && time.ends_with('Z'), "{time}");
        let mut out = Vec::new();
        Header::of(Facility::LOCAL5, "two words", 7).write(&mut out);
        assert!(String::from_utf8(out).expect("ASCII").contains("Z - wireglass"), "no host name");
    }

    #[test]
    fn every_facility_has_its_name() {
        assert!(Facility::ALL.iter().all(|(name, facility)| facility.name() == *name));
        assert_eq!(Facility::LOCAL5.name(), "local5");
    }
}
