//! Two far ends that say anything over a relay: what arrives is what was said, in order and up to the first fault; a fault ends it
//! for both; and nothing but a close_notify passes for an end.

use wireglass_core::content::Fate;
use wireglass_core::end::{End, PerEnd};
use wireglass_core::policy::TlsVersion;
use wireglass_core::reason::Reason;
use wireglass_core::tls::{RecordSink, Relay, RelayError};

use super::tls_peer::{ALERT, DATA, HANDSHAKE, Peer, SUITES, VERSIONS};

/// Records in a row without data that are never too many, and those that always are.
const FEW: usize = 32;
/// Steps of one run.
const MAX_STEPS: usize = 64;

/// What is known of one far end.
struct TlsEnd {
    peer: Peer,
    /// On its way to the engine.
    wire: Vec<u8>,
    /// Data that it has said and that must arrive.
    said: Vec<u8>,
    /// Data that has arrived from the other one.
    heard: Vec<u8>,
    /// Data of this end that was inspected.
    inspected: Vec<u8>,
    /// Records in a row without data.
    without_data: usize,
    says: Says,
    /// It has been told that nothing more comes: in order, or not.
    told: Option<Told>,
}

/// How far an end has gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Says {
    /// All it said must be taken.
    Sound,
    /// It has said something that may be refused.
    Odd,
    /// It has said something that must be refused.
    Broken,
    /// It has closed; nothing after that counts.
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Close,
    Fatal(u8),
}

/// The engine's world.
struct World<'a> {
    ends: &'a mut [TlsEnd; 2],
    behind: bool,
}

impl RecordSink for World<'_> {
    type Block = Vec<u8>;

    fn block(&mut self, len: usize) -> Vec<u8> {
        assert!(len <= (1 << 14) + 30, "a block of {len}");
        vec![0xee; len]
    }

    fn plaintext(&mut self, from: End, plaintext: &[u8]) -> Fate {
        assert!(!plaintext.is_empty());
        self.ends[from as usize].inspected.extend_from_slice(plaintext);
        Fate::Pass
    }

    fn send(&mut self, to: End, block: Vec<u8>, len: usize) {
        let end = &mut self.ends[to as usize];
        assert_eq!(end.told, None, "a record after the last one");
        let opened = end.peer.open(&block[..len]);
        match (opened.kind, opened.bytes.as_slice()) {
            (DATA, bytes) => {
                assert!(!bytes.is_empty(), "an empty record");
                end.heard.extend_from_slice(bytes);
            }
            (ALERT, [1, 0]) => end.told = Some(Told::Close),
            (ALERT, [1, 100]) => assert_eq!(end.peer.version, TlsVersion::Tls12),
            (ALERT, [2, number]) => end.told = Some(Told::Fatal(*number)),
            (HANDSHAKE, [24, 0, 0, 1, 0]) => assert_eq!(end.peer.version, TlsVersion::Tls13),
            other => panic!("{other:?}"),
        }
    }

    fn is_behind(&self, _: End) -> bool {
        self.behind
    }
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> usize {
        usize::from(u16::from_be_bytes([self.byte(), self.byte()]))
    }

    fn some(&mut self, most: usize) -> &'a [u8] {
        let (first, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        first
    }
}

/// Three bytes of what both legs are; then steps of a byte: whose it is, and what.
pub fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let mut ends = [0x11, 0x22].map(|seed| {
        let which = usize::from(input.byte());
        let peer = Peer::new(VERSIONS[which % 2], SUITES[which / 2 % 3], seed);
        let none = Vec::new;
        let (wire, said, heard, inspected) = (none(), none(), none(), none());
        TlsEnd { peer, wire, said, heard, inspected, without_data: 0, says: Says::Sound, told: None }
    });
    let mut relay = Relay::new(ends[0].peer.leg(), ends[1].peer.leg(), None, PerEnd::default()).unwrap();
    let limit = input.byte();
    if limit != 0 {
        relay.limit_keys(2 + u64::from(limit));
    }
    let may_use_up = limit != 0 && ends.iter().any(|end| end.peer.version == TlsVersion::Tls12);
    let mut error = None;
    for _ in 0..MAX_STEPS {
        if input.0.is_empty() || error.is_some() {
            break;
        }
        let step = input.byte();
        let side = if step & 1 == 0 { End::Client } else { End::Server };
        match step >> 1 & 7 {
            0..=5 => say(&mut ends[side as usize], step >> 1 & 7, &mut input),
            _ => {
                let (cut, budget) = (input.number(), input.number());
                error = deliver(&mut relay, &mut ends, side, cut, budget, step & 0x80 != 0);
            }
        }
    }
    for side in [End::Client, End::Server] {
        if error.is_none() {
            error =
                deliver(&mut relay, &mut ends, side, usize::MAX, usize::MAX, data.len().is_multiple_of(2));
        }
    }
    check(&ends, error, may_use_up);
}

fn say(end: &mut TlsEnd, what: u8, input: &mut Bytes<'_>) {
    let is_tls13 = end.peer.version == TlsVersion::Tls13;
    let has_ended = matches!(end.says, Says::Broken | Says::Closed);
    match what {
        // Data, possibly too much of it.
        0 | 1 => {
            let len = if what == 0 { input.number() % ((1 << 14) + 8) } else { usize::from(input.byte()) };
            let padding = if is_tls13 { usize::from(input.byte()) * 64 } else { 0 };
            let data: Vec<u8> = (0..len).map(|at| (at + end.said.len()) as u8).collect();
            end.wire.extend(end.peer.seal(DATA, &data, padding));
            let fits = len <= 1 << 14 && len + padding <= 1 << 14;
            if !fits {
                end.worsen(Says::Broken);
            } else if !has_ended {
                end.said.extend(data);
                end.without_data = if len == 0 { end.without_data + 1 } else { 0 };
            }
        }
        2 => {
            let requested = input.byte() & 1;
            end.wire.extend(end.peer.seal(HANDSHAKE, &[24, 0, 0, 1, requested], 0));
            end.without_data += 1;
            if is_tls13 {
                end.peer.renew();
            } else {
                end.worsen(Says::Broken);
            }
        }
        3 => {
            let number = input.byte();
            let level = if number == 0 { 1 } else { 2 };
            end.wire.extend(end.peer.seal(ALERT, &[level, number], 0));
            end.without_data += 1;
            match number {
                0 if end.says == Says::Sound && end.without_data <= FEW => end.says = Says::Closed,
                // A warning, whatever its level says.
                90 if is_tls13 => {}
                _ => end.worsen(Says::Broken),
            }
        }
        // Anything as the contents of a record.
        4 => {
            let (kind, len) = (input.byte(), input.byte());
            let contents = input.some(len.into());
            end.wire.extend(end.peer.seal(kind, contents, 0));
            end.without_data += 1;
            end.worsen(Says::Odd);
        }
        // A record that was tampered with, but for its length.
        _ => {
            let mut record = end.peer.seal(DATA, b"not to be seen", 3);
            let at = input.number() % (record.len() - 2);
            record[if at < 3 { at } else { at + 2 }] ^= input.byte() | 1;
            end.wire.extend(record);
            end.worsen(Says::Broken);
        }
    }
    if end.without_data > FEW {
        end.worsen(Says::Broken);
    }
}

impl TlsEnd {
    fn worsen(&mut self, says: Says) {
        match (self.says, says) {
            (Says::Closed | Says::Broken, _) => {}
            // What is odd may be the beginning of a message, and then something else than what it seems follows.
            (Says::Odd, _) => {}
            _ => self.says = says,
        }
    }
}

fn deliver(
    relay: &mut Relay,
    ends: &mut [TlsEnd; 2],
    side: End,
    cut: usize,
    budget: usize,
    behind: bool,
) -> Option<RelayError> {
    let wire = std::mem::take(&mut ends[side as usize].wire);
    let given = &wire[..cut.min(wire.len())];
    let result = relay.relay(side, given, budget, &mut World { ends: &mut *ends, behind });
    let taken = match result {
        Ok(taken) => taken,
        Err(error) => return Some(error),
    };
    assert!(taken <= given.len());
    ends[side as usize].wire = wire[taken..].to_vec();
    None
}

fn check(ends: &[TlsEnd; 2], error: Option<RelayError>, may_use_up: bool) {
    for (from, to) in [(&ends[0], &ends[1]), (&ends[1], &ends[0])] {
        // What is odd may hide data of its own.
        if from.says != Says::Odd {
            assert!(from.said.starts_with(&to.heard), "other data than was said");
            assert!(from.said.starts_with(&from.inspected), "inspected other data than was said");
        }
        assert!(from.inspected.starts_with(&to.heard), "data that nobody has inspected");
        if to.told == Some(Told::Close) {
            assert!(matches!(from.says, Says::Closed | Says::Odd), "an end in order that nobody has said");
            assert!(from.says == Says::Odd || to.heard == from.said, "cut off, but in order");
        }
        if error.is_none() && from.says != Says::Odd {
            assert!(from.says != Says::Broken, "{:?}: taken as if nothing were wrong", from.says);
            assert!(to.heard == from.said && to.heard == from.inspected, "something is missing");
        }
        if from.says == Says::Sound && error.is_none() {
            assert_eq!(to.told, None);
        }
    }
    let Some(error) = error else { return };
    let at_fault = match error.reason {
        Reason::ClientAlert | Reason::ClientProtocol | Reason::ClientEch => &ends[0],
        Reason::ServerAlert | Reason::ServerProtocol | Reason::ServerRequiresClientCert => &ends[1],
        Reason::KeysUsedUp => return assert!(may_use_up),
        other => panic!("{other}"),
    };
    assert!(matches!(at_fault.says, Says::Odd | Says::Broken), "{error:?}, and nothing was wrong");
}
