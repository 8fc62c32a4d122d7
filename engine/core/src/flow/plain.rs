//! A bypassed flow whose frames could not be released: its bytes go by as they are.

use super::context::Context;
use super::leg::Leg;
use crate::end::End;
use crate::mirror::Conversations;
use crate::port::{Block, Io};
use crate::reason::Reason;
use crate::tls::{Behind, RelayError, SecondHello};

/// Bytes that are relayed in one piece: as much as a record.
const AT_A_TIME: usize = 16 * 1024;

/// What looks at them.
pub(super) struct Plain {
    /// Mirrors may be shown it.
    pub(super) mirrored: Option<Box<Conversations>>,
    /// The client may still say a second hello.
    pub(super) second: Option<Box<SecondHello>>,
}

impl Plain {
    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { mirrored, second } = self;
        let mirrored = mirrored.as_ref().map_or(0, |mirrored| mirrored.memory());
        mirrored + second.as_ref().map_or(0, |second| second.memory())
    }

    /// Moves what `source` has received, as far as `sink` has room.
    pub(super) fn relay<IO: Io>(
        &mut self,
        cx: &mut Context<IO>,
        from: End,
        source: &mut Leg<IO>,
        sink: &mut Leg<IO>,
        room: usize,
    ) -> Result<(), RelayError> {
        let mut left = self.passing(from, source.tcp.recv())?.min(room);
        if let Some(second) = self.second.as_mut().filter(|_| from == End::Client) {
            second.consumed(left);
        }
        cx.counters.payload_copied.add(left as u64);
        while left > 0 {
            let n = left.min(AT_A_TIME);
            let mut block = cx.block(n);
            block.as_mut()[..n].copy_from_slice(&source.tcp.recv()[..n]);
            if let Some(mirrored) = &mut self.mirrored {
                mirrored.say_as_is(cx, from, &source.tcp.recv()[..n]);
            }
            source.tcp.consume(n);
            left -= n;
            if !sink.queue(block.freeze(n)) {
                return Err(RelayError { reason: Reason::ResourceMemory, alert: None });
            }
        }
        Ok(())
    }

    /// How much of what an end has sent may go on. What may become another hello waits until that is known.
    fn passing(&mut self, from: End, bytes: &[u8]) -> Result<usize, RelayError> {
        let Some(second) = &mut self.second else { return Ok(bytes.len()) };
        let behind = match from {
            End::Server if SecondHello::is_answered(bytes) => Behind::Same,
            End::Server => return Ok(bytes.len()),
            End::Client => second.look(bytes),
        };
        match behind {
            Behind::Same => {
                self.second = None;
                Ok(bytes.len())
            }
            Behind::More if bytes.len() <= second.limit() => Ok(second.at()),
            Behind::More | Behind::Other => Err(RelayError { reason: Reason::HelloAmbiguous, alert: None }),
        }
    }
}
