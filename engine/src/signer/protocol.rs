//! What the engine and its signer say to each other: one message each, of bounded size. Numbers are big-endian.
//!
//! ```text
//! request  id:8 kind:1 ...    copy    ca:32 days:4 key:2+ certificates:2 (3+)...    the original, then the others
//!                             name    ca:32 days:4 key:2+ name:2+
//!                             status  ca:32 serial:2+
//!                             reload  ca:32 ca:32
//!                             ping
//! answer   id:8 kind:1 ...    done    DER
//!                             error   kind:1 detail:1
//!                             ready   ca:32 ca:32 text    by itself (id 0) when it begins, and after a reload
//!                             failed  text                likewise
//!                             pong
//! ```
//! `n+` is a length of n bytes with as many bytes after it. The signer goes by its own clock.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use wireglass_core::mint::{LeafOrder, LeafSubject, Refusal, SignError};
use wireglass_core::reason::Reason;

/// Longest message, in bytes. rustls takes certificates of 64 KiB in all from a server.
pub const MAX_MESSAGE: usize = 128 * 1024;
/// Most certificates of one request.
const MAX_CERTIFICATES: usize = 64;
/// Longest text of an answer, in bytes.
const MAX_TEXT: usize = 4096;

/// A message that is none, or is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// What the signer is asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<'m> {
    /// A leaf.
    Leaf {
        /// The CA.
        ca: [u8; 32],
        /// Longest validity, in days.
        max_days: u32,
        /// DER of its SubjectPublicKeyInfo.
        public_key: &'m [u8],
        /// What it is for.
        subject: Subject<'m>,
    },
    /// An OCSP response.
    Status {
        /// The CA.
        ca: [u8; 32],
        /// Content of the serial number's INTEGER.
        serial: &'m [u8],
    },
    /// To read configuration and keys anew.
    Reload {
        /// The CAs that the engine goes by until then, the trusted one first.
        in_force: [[u8; 32]; 2],
    },
    /// To say something.
    Ping,
}

/// What a leaf is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Subject<'m> {
    /// The original, and what else its chain is made of, in DER.
    Copy(&'m [u8], Vec<CertificateDer<'m>>),
    /// A name.
    Name(&'m str),
}

/// What the signer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// DER of what was asked for.
    Done(Vec<u8>),
    /// Nothing was signed.
    Error(SignError),
    /// It has these CAs, the trusted one first.
    Ready {
        /// As orders call them.
        cas: [[u8; 32]; 2],
        /// What speaks against its safety; empty: nothing.
        doubt: String,
    },
    /// It cannot read its configuration or keys: why.
    Failed(String),
    /// To a ping.
    Pong,
}

const COPY: u8 = 1;
const NAME: u8 = 2;
const STATUS: u8 = 3;
const RELOAD: u8 = 4;
const PING: u8 = 5;

const DONE: u8 = 1;
const ERROR: u8 = 2;
const READY: u8 = 3;
const FAILED: u8 = 4;
const PONG: u8 = 5;

/// A message that is being written.
struct Writer(Vec<u8>);

impl Writer {
    fn new(id: u64, kind: u8) -> Self {
        let mut message = Vec::with_capacity(512);
        message.extend_from_slice(&id.to_be_bytes());
        message.push(kind);
        Self(message)
    }

    fn with<const BYTES: usize>(mut self, bytes: &[u8]) -> Result<Self, Malformed> {
        let length = (bytes.len() as u64).to_be_bytes();
        let (unsaid, said) = length.split_at(8 - BYTES);
        if unsaid.iter().any(|byte| *byte != 0) || self.0.len() + BYTES + bytes.len() > MAX_MESSAGE {
            return Err(Malformed);
        }
        self.0.extend_from_slice(said);
        self.0.extend_from_slice(bytes);
        Ok(self)
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

/// A request for a leaf. What the order says of the time is not told.
///
/// # Errors
/// It is too long.
pub fn leaf_request(id: u64, order: &LeafOrder<'_>) -> Result<Vec<u8>, Malformed> {
    let LeafOrder { ca, subject, public_key, max_days, now: _ } = order;
    let begin = |kind| Writer::new(id, kind).raw(ca).raw(&max_days.to_be_bytes()).with::<2>(public_key);
    match subject {
        LeafSubject::Copy { original, others, added } => {
            let count = 1 + others.len() + added.len();
            if count > MAX_CERTIFICATES {
                return Err(Malformed);
            }
            let message = begin(COPY)?.raw(&(count as u16).to_be_bytes()).with::<3>(original)?;
            let message = others.iter().try_fold(message, |message, der| message.with::<3>(der))?;
            added.iter().try_fold(message, |message, der| message.with::<3>(der))
        }
        LeafSubject::Name(name) => begin(NAME)?.with::<2>(name.as_bytes()),
    }
    .map(|message| message.0)
}

/// A request for an OCSP response.
///
/// # Errors
/// It is too long.
pub fn status_request(id: u64, ca: [u8; 32], serial: &[u8]) -> Result<Vec<u8>, Malformed> {
    Writer::new(id, STATUS).raw(&ca).with::<2>(serial).map(|message| message.0)
}

/// A request to read everything anew, and to keep the CAs that are in force.
pub fn reload_request(id: u64, in_force: &[[u8; 32]; 2]) -> Vec<u8> {
    Writer::new(id, RELOAD).raw(in_force.as_flattened()).0
}

/// A request to say something.
pub fn ping(id: u64) -> Vec<u8> {
    Writer::new(id, PING).0
}

/// A message that is being read.
struct Reader<'m>(&'m [u8]);

impl<'m> Reader<'m> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    fn bytes<const BYTES: usize>(&mut self) -> Result<&'m [u8], Malformed> {
        let length = self.array::<BYTES>()?.into_iter().fold(0, |all, byte| all << 8 | usize::from(byte));
        let (first, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(first)
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// The id of a message of either kind, and the rest of it.
///
/// # Errors
/// It is shorter than that.
pub fn id(message: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let mut reader = Reader(message);
    Ok((u64::from_be_bytes(reader.array()?), reader.0))
}

/// A request, after its id.
///
/// # Errors
/// It is none.
pub fn read_request(rest: &[u8]) -> Result<Request<'_>, Malformed> {
    let mut reader = Reader(rest);
    let [kind] = reader.array()?;
    let request = match kind {
        COPY | NAME => {
            let (ca, max_days) = (reader.array()?, u32::from_be_bytes(reader.array()?));
            let public_key = reader.bytes::<2>()?;
            let subject = if kind == COPY {
                let count = usize::from(u16::from_be_bytes(reader.array()?));
                if count > MAX_CERTIFICATES {
                    return Err(Malformed);
                }
                let original = reader.bytes::<3>()?;
                let others = (1..count).map(|_| reader.bytes::<3>().map(CertificateDer::from));
                Subject::Copy(original, others.collect::<Result<_, _>>()?)
            } else {
                Subject::Name(str::from_utf8(reader.bytes::<2>()?).map_err(|_| Malformed)?)
            };
            Request::Leaf { ca, max_days, public_key, subject }
        }
        STATUS => Request::Status { ca: reader.array()?, serial: reader.bytes::<2>()? },
        RELOAD => Request::Reload { in_force: [reader.array()?, reader.array()?] },
        PING => Request::Ping,
        _ => return Err(Malformed),
    };
    reader.end()?;
    Ok(request)
}

impl<'m> Subject<'m> {
    /// As an order has it.
    pub fn of_order<'s>(&'s self) -> LeafSubject<'s>
    where
        'm: 's,
    {
        const NONE: &[Arc<[u8]>] = &[];
        match self {
            Self::Copy(original, others) => LeafSubject::Copy { original, others, added: NONE },
            Self::Name(name) => LeafSubject::Name(name),
        }
    }
}

/// An answer as a message.
pub fn answer(id: u64, answer: &Answer) -> Vec<u8> {
    let text = |text: &str| text.as_bytes()[..text.floor_char_boundary(MAX_TEXT)].to_vec();
    match answer {
        Answer::Done(der) if der.len() < MAX_MESSAGE / 2 => Writer::new(id, DONE).raw(der),
        // Nobody has such names.
        Answer::Done(_) => Writer::new(id, ERROR).raw(&error_code(SignError::Refused(Refusal::Size))),
        Answer::Error(error) => Writer::new(id, ERROR).raw(&error_code(*error)),
        Answer::Ready { cas, doubt } => Writer::new(id, READY).raw(cas.as_flattened()).raw(&text(doubt)),
        Answer::Failed(why) => Writer::new(id, FAILED).raw(&text(why)),
        Answer::Pong => Writer::new(id, PONG),
    }
    .0
}

/// An answer, after its id.
///
/// # Errors
/// It is none.
pub fn read_answer(rest: &[u8]) -> Result<Answer, Malformed> {
    let mut reader = Reader(rest);
    let [kind] = reader.array()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(match kind {
        DONE => Answer::Done(reader.0.to_vec()),
        ERROR => {
            let code = reader.array()?;
            reader.end()?;
            Answer::Error(error_of(code).ok_or(Malformed)?)
        }
        READY => Answer::Ready { cas: [reader.array()?, reader.array()?], doubt: text(reader.0) },
        FAILED => Answer::Failed(text(reader.0)),
        PONG => Answer::Pong,
        _ => return Err(Malformed),
    })
}

fn error_code(error: SignError) -> [u8; 2] {
    match error {
        SignError::Original => [1, 0],
        SignError::Validity => [2, 0],
        SignError::Crypto => [3, 0],
        SignError::Unanswered => [4, 0],
        SignError::Refused(refusal) => match refusal {
            Refusal::OtherCa => [5, 0],
            Refusal::Key => [6, 0],
            Refusal::Defect(reason) => [7, reason as u8],
            Refusal::Constraints => [8, 0],
            Refusal::Answer => [9, 0],
            Refusal::Rate => [10, 0],
            Refusal::Size => [11, 0],
        },
    }
}

fn error_of(code: [u8; 2]) -> Option<SignError> {
    let refused = |refusal| Some(SignError::Refused(refusal));
    match code {
        [1, 0] => Some(SignError::Original),
        [2, 0] => Some(SignError::Validity),
        [3, 0] => Some(SignError::Crypto),
        [4, 0] => Some(SignError::Unanswered),
        [5, 0] => refused(Refusal::OtherCa),
        [6, 0] => refused(Refusal::Key),
        [7, reason] => refused(Refusal::Defect(*Reason::ALL.get(usize::from(reason))?)),
        [8, 0] => refused(Refusal::Constraints),
        [9, 0] => refused(Refusal::Answer),
        [10, 0] => refused(Refusal::Rate),
        [11, 0] => refused(Refusal::Size),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order<'a>(subject: LeafSubject<'a>) -> LeafOrder<'a> {
        LeafOrder { ca: [7; 32], subject, public_key: b"key", max_days: 90, now: 1 }
    }

    #[test]
    fn requests_are_read_as_they_were_written() {
        let others = [CertificateDer::from(&b"two"[..])];
        let added = [Arc::from(&b"three"[..])];
        let subject = LeafSubject::Copy { original: b"one", others: &others, added: &added };
        let copy = leaf_request(4711, &order(subject)).unwrap();
        let (number, rest) = id(&copy).unwrap();
        let Ok(Request::Leaf { ca, max_days: 90, public_key: b"key", subject }) = read_request(rest) else {
            panic!("{:?}", read_request(rest));
        };
        let chain = [&b"two"[..], b"three"].map(CertificateDer::from).to_vec();
        assert_eq!((number, ca, subject), (4711, [7; 32], Subject::Copy(b"one", chain)));
        let named = leaf_request(1, &order(LeafSubject::Name("a.example"))).unwrap();
        let Ok(Request::Leaf { subject: Subject::Name("a.example"), .. }) = read_request(&named[8..]) else {
            panic!("{:?}", read_request(&named[8..]));
        };
        let status = status_request(1, [1; 32], &[9, 9]).unwrap();
        assert_eq!(read_request(&status[8..]), Ok(Request::Status { ca: [1; 32], serial: &[9, 9] }));
        let in_force = [[5; 32], [6; 32]];
        assert_eq!(read_request(&reload_request(1, &in_force)[8..]), Ok(Request::Reload { in_force }));
        assert_eq!(read_request(&ping(1)[8..]), Ok(Request::Ping));
        // Nothing may follow, and nothing may be missing.
        for message in [&copy[8..], &named[8..], &status[8..]] {
            assert_eq!(read_request(&message[..message.len() - 1]), Err(Malformed));
            assert_eq!(read_request(&[message, &[0]].concat()), Err(Malformed));
        }
    }

    #[test]
    fn a_chain_that_is_too_long_is_not_asked_for() {
        let huge = vec![0; MAX_MESSAGE];
        let subject = |original| LeafSubject::Copy { original, others: &[], added: &[] };
        assert_eq!(leaf_request(1, &order(subject(&huge))), Err(Malformed));
        assert!(leaf_request(1, &order(subject(&huge[..MAX_MESSAGE / 2]))).is_ok());
        let many = vec![CertificateDer::from(&b"x"[..]); MAX_CERTIFICATES];
        let subject = LeafSubject::Copy { original: b"x", others: &many, added: &[] };
        assert_eq!(leaf_request(1, &order(subject)), Err(Malformed));
    }

    #[test]
    fn answers_are_read_as_they_were_written() {
        let refusals = [
            Refusal::OtherCa,
            Refusal::Key,
            Refusal::Constraints,
            Refusal::Answer,
            Refusal::Rate,
            Refusal::Size,
            Refusal::Defect(Reason::CertUntrusted),
        ];
        let errors = [SignError::Original, SignError::Validity, SignError::Crypto, SignError::Unanswered];
        let errors = errors.into_iter().chain(refusals.map(SignError::Refused)).map(Answer::Error);
        let others = [
            Answer::Done(vec![1, 2, 3]),
            Answer::Ready { cas: [[1; 32], [2; 32]], doubt: "memory".into() },
            Answer::Failed("no such file".into()),
            Answer::Pong,
        ];
        for each in errors.chain(others) {
            let message = answer(5, &each);
            assert_eq!(id(&message).map(|(id, rest)| (id, read_answer(rest))), Ok((5, Ok(each))));
        }
        let long = answer(0, &Answer::Failed("ü".repeat(MAX_TEXT)));
        assert!(long.len() <= MAX_TEXT + 9);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(kind in 0..8u8, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let message = [&[kind][..], &bytes].concat();
            let _ = (read_request(&message), read_answer(&message), id(&bytes));
        }
    }
}
