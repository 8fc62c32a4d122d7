//! A relay that is fed bytes as they come, and what leaves it.

use std::ops::{Deref, DerefMut};

use wireglass_core::content::Fate;
use wireglass_core::end::{End, PerEnd};
use wireglass_core::tls::{RecordSink, Relay, RelayError};

pub struct FedRelay {
    relay: Relay,
    /// What was fed and not taken.
    rest: PerEnd<Vec<u8>>,
}

#[derive(Debug, Default)]
pub struct Output {
    pub to_client: Vec<u8>,
    pub to_server: Vec<u8>,
}

struct Sink<'a> {
    inspect: &'a mut dyn FnMut(End, &[u8]),
    output: &'a mut Output,
}

impl FedRelay {
    pub fn new(relay: Relay) -> Self {
        Self { relay, rest: PerEnd::default() }
    }

    /// Takes ciphertext from one end. What both ends sent while the handshakes ran goes first.
    pub fn receive(
        &mut self,
        from: End,
        ciphertext: &[u8],
        inspect: &mut dyn FnMut(End, &[u8]),
        output: &mut Output,
    ) -> Result<(), RelayError> {
        let mut sink = Sink { inspect, output };
        for end in [End::Server, End::Client] {
            self.take(end, &mut sink)?;
        }
        self.rest[from].extend_from_slice(ciphertext);
        self.take(from, &mut sink)
    }

    fn take(&mut self, from: End, sink: &mut Sink<'_>) -> Result<(), RelayError> {
        let taken = self.relay.relay(from, &self.rest[from], usize::MAX, sink)?;
        self.rest[from].drain(..taken);
        Ok(())
    }
}

impl Deref for FedRelay {
    type Target = Relay;

    fn deref(&self) -> &Relay {
        &self.relay
    }
}

impl DerefMut for FedRelay {
    fn deref_mut(&mut self) -> &mut Relay {
        &mut self.relay
    }
}

impl RecordSink for Sink<'_> {
    type Block = Vec<u8>;

    fn block(&mut self, len: usize) -> Vec<u8> {
        vec![0; len]
    }

    fn plaintext(&mut self, from: End, plaintext: &[u8]) -> Fate {
        (self.inspect)(from, plaintext);
        Fate::Pass
    }

    fn send(&mut self, to: End, block: Vec<u8>, len: usize) {
        let out = match to {
            End::Client => &mut self.output.to_client,
            End::Server => &mut self.output.to_server,
        };
        out.extend_from_slice(&block[..len]);
    }

    fn is_behind(&self, _: End) -> bool {
        false
    }
}
