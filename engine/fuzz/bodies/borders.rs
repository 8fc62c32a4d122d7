//! Borders that keep to what `content/border.rs` promises, one by one as they are told.

use wireglass_core::content::{Border, Borders, HeadKind, What};
use wireglass_core::end::{End, PerEnd};
use wireglass_core::event::HttpEvent;

/// After so many bytes of a client it is decided what it speaks.
const DECIDED: usize = 1024;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Takes borders, and panics at the first that is not sound.
pub struct Sound {
    is_http2: bool,
    /// The first bytes of the client.
    start: Vec<u8>,
    directions: PerEnd<Direction>,
    /// All that were told, each with the request target of its head.
    pub told: Vec<(Border, Option<String>)>,
}

#[derive(Default)]
struct Direction {
    /// Bytes that have been given, and of these, those before the last piece.
    given: u64,
    before: u64,
    place: Place,
    /// The last border, if there was one.
    last: Option<u64>,
    tx_id: Option<u64>,
}

/// What the last border has left open.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Place {
    #[default]
    Between,
    Head(u64),
    /// A message of HTTP/1 behind its head, or a frame of HTTP/2, since there; and whether data was in it.
    Within(u64, bool),
    Data(u64),
    Off,
}

impl Sound {
    pub fn new(is_http2: bool) -> Self {
        Self { is_http2, start: Vec::new(), directions: PerEnd::default(), told: Vec::new() }
    }

    /// These bytes are given next.
    pub fn give(&mut self, from: End, bytes: &[u8]) {
        let direction = &mut self.directions[from];
        direction.before = direction.given;
        direction.given += bytes.len() as u64;
        if from == End::Client && self.start.len() < DECIDED {
            let may_be_http2 = self.directions[End::Server].given == 0 && self.start.len() < PREFACE.len();
            self.start.extend_from_slice(bytes);
            self.is_http2 |= may_be_http2 && self.start.starts_with(PREFACE);
        }
    }

    /// The connection ends: a body may end with it that has no byte in the last piece.
    pub fn end(&mut self) {
        self.directions[End::Server].before = 0;
    }

    /// It was told that nothing of this direction is read any more.
    pub fn is_off(&self, from: End) -> bool {
        self.directions[from].place == Place::Off
    }
}

impl Borders for Sound {
    fn border(&mut self, border: &Border, head: Option<&mut HttpEvent>) {
        let Border { from, at, stream, tx_id, what } = *border;
        self.told.push((*border, head.as_ref().and_then(|head| head.url.as_deref().map(str::to_owned))));
        let known = &mut self.directions[from];
        let last = known.last.unwrap_or(0);
        assert!((last..=known.given).contains(&at), "{border:?} after {last}, of {}", known.given);
        assert_eq!(matches!(what, What::HeadEnds(_)), head.is_some(), "{border:?}");
        if let Some(head) = head {
            assert_eq!(head.tx_id, tx_id.unwrap_or_default(), "{border:?}");
        }
        // Of a frame, the header must be known; of a client, the protocol.
        let late = match what {
            What::Off(_) | What::NoMessage => 0,
            _ if from == End::Client && (known.last.is_none() || known.before <= undecided(&self.start)) => 0,
            What::HeadBegins | What::FrameBegins if self.is_http2 => at + 9,
            What::HeadBegins | What::DataBegins => at + 1,
            _ => at,
        };
        assert!(late == 0 || late > known.before, "{border:?} is late, behind {}", known.before);
        let next = if self.is_http2 { http2(known, border) } else { http1(known, border) };
        let Some(next) = next else { panic!("{border:?} in {:?}, stream {stream}", known.place) };
        (known.place, known.last) = (next, Some(at));
    }
}

/// How many of a client's first bytes leave open what it speaks: the beginning of HTTP/2's preface, or blanks and a method without its end.
fn undecided(start: &[u8]) -> u64 {
    let preface = start.iter().zip(PREFACE).take_while(|(byte, known)| byte == known).count();
    let blanks = start.iter().take_while(|byte| matches!(byte, b'\t'..=b'\r' | b' ')).count();
    let is_method = |byte: &&u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let method = start[blanks..].iter().take_while(is_method).count();
    preface.max(blanks + method).min(DECIDED) as u64
}

fn http1(known: &mut Direction, &Border { from, at, stream, tx_id, what }: &Border) -> Option<Place> {
    let within = matches!(what, What::DataBegins | What::DataEnds | What::MessageEnds);
    if within && known.place != Place::Between && tx_id != known.tx_id {
        return None;
    }
    let next = match (known.place, what) {
        (place, What::Off(_)) if place != Place::Off => Place::Off,
        (Place::Between, What::HeadBegins) => Place::Head(at),
        // HTTP/0.9.
        (Place::Between, What::DataBegins) if from == End::Server => {
            known.tx_id = tx_id;
            Place::Data(at)
        }
        (Place::Head(begun), What::HeadEnds(HeadKind::Interim)) if at > begun => Place::Between,
        (Place::Head(begun), What::HeadEnds(kind)) if at > begun && tx_id.is_some() => {
            let expected = if from == End::Client { HeadKind::Request } else { HeadKind::Response };
            known.tx_id = tx_id;
            (kind == expected).then_some(Place::Within(at, false))?
        }
        (Place::Head(begun), What::NoMessage) if at == begun => Place::Between,
        (Place::Within(..), What::NoMessage | What::MessageEnds) => Place::Between,
        (Place::Within(..), What::DataBegins) => Place::Data(at),
        (Place::Data(begun), What::DataEnds) if at >= begun => Place::Within(at, true),
        _ => return None,
    };
    (stream == 0).then_some(next)
}

fn http2(known: &mut Direction, &Border { from, at, stream, what, .. }: &Border) -> Option<Place> {
    // The client's preface comes before all frames; between them nothing is.
    let first = if from == End::Client { PREFACE.len() as u64 } else { 0 };
    let follows = at == known.last.unwrap_or(0).max(first);
    match (known.place, what) {
        (place, What::Off(_)) if place != Place::Off => Some(Place::Off),
        (Place::Between, What::HeadBegins) if follows => Some(Place::Head(at)),
        (Place::Between, What::FrameBegins) if follows => Some(Place::Within(at, false)),
        (Place::Between, What::MessageEnds | What::Reset) if follows && stream != 0 => Some(Place::Between),
        (Place::Head(begun), What::HeadEnds(_)) if at >= begun + 9 => Some(Place::Between),
        (Place::Within(begun, false), What::DataBegins) if at == begun + 9 || at == begun + 10 => {
            Some(Place::Data(at))
        }
        (Place::Data(begun), What::DataEnds) if at > begun => Some(Place::Within(at, true)),
        (Place::Within(begun, false), What::FrameEnds) if at >= begun + 9 => Some(Place::Between),
        (Place::Within(begun, true), What::FrameEnds) if at >= begun => Some(Place::Between),
        _ => None,
    }
}
