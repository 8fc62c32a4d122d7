//! Records in plain, as handshake messages and alerts.

use std::ops::ControlFlow;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
/// RFC 5246 §6.2.3: the longest that a record may be.
const MAX_RECORD: usize = (1 << 14) + 2048;

/// What records carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// A handshake message: its type, and what follows its header.
    Message(u8, &'a [u8]),
    /// The description of an alert.
    Alert(u8),
    /// What follows is encrypted, in versions before TLS 1.3.
    ChangeCipherSpec,
    /// What follows is encrypted.
    ApplicationData,
}

/// These are no records, or they carry what none may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Cuts one end's bytes into messages. Whoever feeds it bounds how much it gets: that is what it may hold.
#[derive(Clone, Debug, Default)]
pub struct MessageScan {
    header: [u8; RECORD_HEADER],
    /// Bytes of the header that are there.
    have: usize,
    /// Bytes of the record's fragment that are to come.
    left: usize,
    /// What has come of a message, or of an alert, which is not complete.
    partial: Vec<u8>,
}

impl MessageScan {
    /// The next bytes of the stream. Goes on until `each` breaks; what follows then is not looked at.
    ///
    /// # Errors
    /// They are no TLS; nothing more is to be given.
    pub fn take(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(Seen<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Malformed> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let (part, rest) = bytes.split_at(bytes.len().min(RECORD_HEADER - self.have));
                self.header[self.have..self.have + part.len()].copy_from_slice(part);
                self.have += part.len();
                bytes = rest;
                if self.have < RECORD_HEADER {
                    break;
                }
                self.begin_record()?;
                let begins = match self.header[0] {
                    CHANGE_CIPHER_SPEC => Some(Seen::ChangeCipherSpec),
                    APPLICATION_DATA => Some(Seen::ApplicationData),
                    _ => None,
                };
                if begins.is_some_and(|seen| each(seen).is_break()) {
                    return Ok(ControlFlow::Break(()));
                }
                continue;
            }
            let (part, rest) = bytes.split_at(bytes.len().min(self.left));
            (bytes, self.left) = (rest, self.left - part.len());
            if matches!(self.header[0], HANDSHAKE | ALERT) {
                self.partial.extend_from_slice(part);
                if self.complete(&mut each).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Bytes of memory that it holds beside its own size.
    pub fn memory(&self) -> usize {
        let Self { header: _, have: _, left: _, partial } = self;
        partial.capacity()
    }

    /// Looks at the header that has come.
    fn begin_record(&mut self) -> Result<(), Malformed> {
        let [kind, major, _, high, low] = self.header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let known = (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind);
        // RFC 8446 §5.1: no empty fragments, and nothing between two records of one message.
        let goes_on = self.partial.is_empty() || kind == HANDSHAKE;
        if !known || major != 3 || length == 0 || length > MAX_RECORD || !goes_on {
            return Err(Malformed);
        }
        (self.have, self.left) = (0, length);
        Ok(())
    }

    /// Gives out what is complete.
    fn complete(&mut self, each: &mut impl FnMut(Seen<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut at = 0;
        let mut flow = ControlFlow::Continue(());
        while flow.is_continue() {
            let rest = &self.partial[at..];
            let (length, seen) = match (self.header[0], rest) {
                (ALERT, [_level, description, ..]) => (2, Seen::Alert(*description)),
                (HANDSHAKE, [kind, high, middle, low, ..]) => {
                    let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
                    let Some(body) = rest.get(MESSAGE_HEADER..MESSAGE_HEADER + length) else { break };
                    (MESSAGE_HEADER + length, Seen::Message(*kind, body))
                }
                _ => break,
            };
            flow = each(seen);
            at += length;
        }
        self.partial.drain(..at);
        flow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ServerHelloDone in two records, an alert, and the end of what is plain.
    const STREAM: [u8; 31] = [
        22, 3, 3, 0, 3, 14, 0, 0, //
        22, 3, 3, 0, 1, 0, //
        21, 3, 3, 0, 2, 2, 42, //
        20, 3, 3, 0, 1, 1, //
        23, 3, 3, 0,
    ];

    fn seen(pieces: impl Iterator<Item = &'static [u8]>) -> Result<Vec<String>, Malformed> {
        let mut scan = MessageScan::default();
        let mut out = Vec::new();
        for piece in pieces {
            let _ = scan.take(piece, |seen| {
                out.push(format!("{seen:?}"));
                ControlFlow::Continue(())
            })?;
        }
        Ok(out)
    }

    #[test]
    fn cuts_do_not_matter() {
        let expected = ["Message(14, [])", "Alert(42)", "ChangeCipherSpec"];
        for size in 1..=STREAM.len() {
            assert_eq!(seen(STREAM.chunks(size)).expect("TLS"), expected, "{size}");
        }
    }

    #[test]
    fn what_is_no_record_ends_it() {
        for wrong in
            [b"HTTP/1.1 200 OK".as_slice(), &[22, 2, 0, 0, 1], &[22, 3, 3, 0, 0], &[22, 3, 3, 0xff, 0]]
        {
            assert_eq!(seen([wrong].into_iter()), Err(Malformed), "{wrong:?}");
        }
        // An alert in the middle of a message.
        assert_eq!(seen([[22, 3, 3, 0, 1, 14, 21, 3, 3, 0, 2].as_slice()].into_iter()), Err(Malformed));
    }

    #[test]
    fn whoever_has_enough_stops_it() {
        let mut count = 0;
        let flow = MessageScan::default().take(&STREAM, |_| {
            count += 1;
            ControlFlow::Break(())
        });
        assert_eq!((flow, count), (Ok(ControlFlow::Break(())), 1));
    }
}
