//! PostgreSQL's first messages (protocol 3, "Message Formats", of its manual): SSLRequest, GSSENCRequest, CancelRequest, or
//! StartupMessage.

use super::{MAX_MESSAGE, Progress, Step, broken, each, plain};
use crate::reason::Reason;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

#[derive(Debug, Default)]
pub(super) struct Postgres {
    state: State,
    /// The server has said no to TLS.
    refused: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The client may ask.
    #[default]
    Ready,
    AwaitsTls,
    AwaitsGss,
    /// Nothing more is to be said by the client.
    Over,
}

/// The length of the first message, which begins with it.
fn next(bytes: &[u8]) -> Result<Option<usize>, Reason> {
    let Some((length, _)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    match u32::from_be_bytes(*length) as usize {
        length @ 8..=MAX_MESSAGE => Ok((bytes.len() >= length).then_some(length)),
        0..8 => Err(Reason::StartTlsProtocol),
        _ => Err(Reason::StartTlsTooLong),
    }
}

impl Postgres {
    pub(super) fn client(&mut self, bytes: &[u8]) -> Progress {
        if matches!(self.state, State::AwaitsTls | State::AwaitsGss) {
            return Progress::Broken(Reason::StartTlsPipelined);
        }
        each(self, bytes, next, Self::request)
    }

    fn request(&mut self, message: &[u8]) -> Step {
        match self.state {
            State::Ready => {}
            State::AwaitsTls | State::AwaitsGss => return broken(Reason::StartTlsPipelined),
            State::Over => return broken(Reason::StartTlsProtocol),
        }
        let code = message[4..].first_chunk().map_or(0, |code| u32::from_be_bytes(*code));
        self.state = match code {
            SSL_REQUEST if message.len() == 8 => State::AwaitsTls,
            GSSENC_REQUEST if message.len() == 8 => State::AwaitsGss,
            // Never encrypted by clients before 17, and the server answers it by closing.
            CANCEL_REQUEST => State::Over,
            code if code >> 16 == 3 => return plain(!self.refused),
            _ => return broken(Reason::StartTlsProtocol),
        };
        Step::Pass
    }

    pub(super) fn server(&mut self, bytes: &[u8]) -> Progress {
        let (awaited, answer) = (self.state, bytes[0]);
        if awaited == State::Over {
            return Progress::Pass(bytes.len());
        }
        if awaited == State::Ready {
            return Progress::Broken(Reason::StartTlsProtocol);
        }
        if answer == b'E' {
            // An ErrorResponse: the server closes.
            self.state = State::Over;
            return Progress::Pass(bytes.len());
        }
        match (awaited, answer) {
            (State::AwaitsTls, b'S') | (State::AwaitsGss, b'G') if bytes.len() > 1 => {
                Progress::Broken(Reason::StartTlsPipelined)
            }
            (State::AwaitsTls, b'S') => Progress::Agreed(1),
            (State::AwaitsGss, b'G') => Progress::Plain(Reason::StartTlsGss),
            (_, b'N') => {
                self.refused |= awaited == State::AwaitsTls;
                self.state = State::Ready;
                Progress::Pass(1)
            }
            _ => Progress::Broken(Reason::StartTlsProtocol),
        }
    }
}
