//! Plain text before TLS: however it is cut, it goes on in the same way; who has agreed has asked and said yes, with nothing behind it.

use wireglass_core::reason::Reason;
use wireglass_core::starttls::{Dialogue, Progress, Protocol};

/// What the client says begins with this in its first byte.
const IS_CLIENT: u8 = 1;
/// Between two things that are said.
const BORDER: u8 = 0xff;
const PIPELINED: Option<Progress> = Some(Progress::Broken(Reason::StartTlsPipelined));
/// Most bytes that both may say (`starttls.too_long`).
const MAX_DIALOGUE: usize = 64 * 1024;

/// A dialogue and what its ends have said.
struct Line {
    dialogue: Dialogue,
    /// The client's and the server's, as far as it has passed.
    passed: [Vec<u8>; 2],
    /// And what has not.
    waiting: [Vec<u8>; 2],
    end: Option<Progress>,
}

impl Line {
    fn new(protocol: Protocol) -> Self {
        let (passed, waiting) = Default::default();
        Self { dialogue: Dialogue::new(protocol), passed, waiting, end: None }
    }

    fn say(&mut self, is_client: bool, bytes: &[u8]) {
        let side = usize::from(!is_client);
        self.waiting[side].extend_from_slice(bytes);
        while self.end.is_none() {
            let waiting = &mut self.waiting[side];
            let progress = match is_client {
                true => self.dialogue.client(waiting),
                false => self.dialogue.server(waiting),
            };
            let (Progress::Pass(len) | Progress::Agreed(len)) = progress else {
                self.end = Some(progress);
                return;
            };
            self.passed[side].extend(waiting.drain(..len));
            if matches!(progress, Progress::Agreed(_)) {
                self.end = Some(progress);
            } else if len == 0 {
                return;
            }
        }
    }

    /// The last line that an end has said.
    fn last(&self, side: usize) -> &[u8] {
        self.passed[side]
            .trim_ascii_end()
            .rsplit(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default()
            .trim_ascii()
    }
}

pub fn run(data: &[u8]) {
    let Some((first, said)) = data.split_first() else { return };
    let protocol = Protocol::ALL[usize::from(*first) % Protocol::ALL.len()];
    let (mut whole, mut bytewise) = (Line::new(protocol), Line::new(protocol));
    for what in said.split(|byte| *byte == BORDER) {
        let Some((from, bytes)) = what.split_first() else { continue };
        let is_client = from & IS_CLIENT != 0;
        whole.say(is_client, bytes);
        let mut rest = bytes;
        while let (None, Some((byte, more))) = (bytewise.end, rest.split_first()) {
            bytewise.say(is_client, std::slice::from_ref(byte));
            rest = more;
        }
        let end = whole.end;
        let is_same = match (end, bytewise.end) {
            // Which of two faults is met first may depend on what has come with it.
            (Some(Progress::Broken(_)), Some(Progress::Broken(_))) => true,
            // What stands behind an agreement is seen when it comes, which may be later.
            (PIPELINED, Some(Progress::Agreed(_) | Progress::Plain(_))) => !rest.is_empty(),
            (Some(Progress::Agreed(_)), Some(Progress::Agreed(_))) => rest.is_empty(),
            (end, bytewise) => end == bytewise,
        };
        assert!(is_same, "{protocol:?}: {end:?}, byte by byte {:?}", bytewise.end);
        if !matches!(end, Some(Progress::Broken(_))) {
            assert_eq!(whole.passed, bytewise.passed);
        }
        assert!(whole.passed.iter().map(Vec::len).sum::<usize>() <= MAX_DIALOGUE);
        match end {
            None => {}
            Some(Progress::Agreed(_)) => return agreed(protocol, &whole),
            Some(Progress::Tls) => {
                assert!(whole.passed[0].is_empty() && whole.waiting[0].first() == Some(&0x16));
                return;
            }
            Some(_) => return,
        }
    }
}

/// They have, in their own words.
fn agreed(protocol: Protocol, line: &Line) {
    assert!(line.waiting.iter().all(Vec::is_empty), "left behind: {:?}", line.waiting);
    let (client, server) = (line.last(0), line.last(1));
    let word = |line: &[u8], n: usize| {
        line.split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|word| !word.is_empty())
            .nth(n)
            .map(<[u8]>::to_ascii_uppercase)
    };
    match protocol {
        Protocol::Smtp => {
            assert_eq!(word(client, 0).as_deref(), Some(&b"STARTTLS"[..]));
            assert!(server.starts_with(b"220"), "{server:?}");
        }
        Protocol::Pop3 => {
            assert_eq!(word(client, 0).as_deref(), Some(&b"STLS"[..]));
            assert_eq!(word(server, 0).as_deref(), Some(&b"+OK"[..]));
        }
        Protocol::Imap => {
            assert_eq!(word(client, 1).as_deref(), Some(&b"STARTTLS"[..]));
            assert_eq!(word(server, 1).as_deref(), Some(&b"OK"[..]));
            assert_eq!(word(server, 0), word(client, 0), "another tag");
        }
        // SSLRequest, whatever else was asked before.
        Protocol::Postgres => {
            assert!(line.passed[0].ends_with(&[0, 0, 0, 8, 4, 210, 22, 47]));
            assert!(line.passed[1].ends_with(b"S"));
        }
        Protocol::Ldap => {
            let oid: &[u8] = b"1.3.6.1.4.1.1466.20037";
            assert!(line.passed[0].windows(oid.len()).any(|bytes| bytes == oid));
            assert!(!line.passed[1].is_empty());
        }
    }
}
