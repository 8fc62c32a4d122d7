//! One TCP connection of a capture, as its two ends have spoken: what it tells of TLS before anything is encrypted.

use std::ops::ControlFlow;

use wireglass_core::end::{End, PerEnd};
use wireglass_core::tls::{
    ClientHello, HelloScan, MessageScan, Peek, Progress, Seen, ServerFacts, ServerFlight,
};

use super::stream::Stream;

/// Longest ClientHello that is read.
const MAX_HELLO: usize = 64 * 1024;
/// Bytes of something else after which TLS is not waited for.
const MAX_PLAIN: u64 = 64 * 1024;
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const CERTIFICATE: u8 = 11;

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    streams: PerEnd<Stream>,
    /// The client's bytes, while they may be a hello that is not complete.
    prefix: Vec<u8>,
    scan: HelloScan,
    hello: Option<Box<ClientHello>>,
    /// What the client says after its hello.
    client: MessageScan,
    flight: Option<Box<ServerFlight>>,
    /// Nothing more is to be read of the server.
    server_read: bool,
    plain: u64,
    client_certificate: Option<bool>,
    client_alert: Option<u8>,
}

/// What a conversation has told in the end.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) hello: Option<Box<ClientHello>>,
    pub(super) server: ServerFacts,
    /// Bytes of the client before TLS began: STARTTLS, or a proxy.
    pub(super) plain: u64,
    /// The client has answered that it has a certificate, or that it has none.
    pub(super) client_certificate: Option<bool>,
    /// The alert that the client has sent in plain.
    pub(super) client_alert: Option<u8>,
    /// The capture lacks something of the beginning.
    pub(super) has_gap: bool,
}

impl Conversation {
    /// An end's SYN has this number.
    pub(super) fn begin(&mut self, from: End, isn: u32) {
        self.streams[from].begin(isn);
    }

    /// A segment of an end.
    pub(super) fn take(&mut self, from: End, sequence: u32, payload: &[u8]) {
        let mut stream = std::mem::take(&mut self.streams[from]);
        stream.take(sequence, payload, |bytes| match from {
            End::Client => self.hear_client(bytes),
            End::Server => self.hear_server(bytes),
        });
        self.streams[from] = stream;
    }

    /// False: enough was heard.
    fn hear_client(&mut self, bytes: &[u8]) -> bool {
        if self.hello.is_some() {
            return self.after_hello(bytes);
        }
        // Where TLS begins behind something else, it does so in a segment of its own: the client waits for the server's consent.
        if self.prefix.is_empty() && bytes[0] != HANDSHAKE {
            self.plain += bytes.len() as u64;
            return self.plain < MAX_PLAIN;
        }
        self.prefix.extend_from_slice(bytes);
        match self.scan.peek(&self.prefix, MAX_HELLO) {
            Peek::Incomplete => true,
            Peek::Complete { hello, flight_len } => {
                self.hello = Some(hello);
                let rest = std::mem::take(&mut self.prefix).split_off(flight_len);
                rest.is_empty() || self.after_hello(&rest)
            }
            Peek::NotTls | Peek::Malformed | Peek::TooBig => {
                self.plain += std::mem::take(&mut self.prefix).len() as u64;
                self.scan = HelloScan::default();
                self.plain < MAX_PLAIN
            }
        }
    }

    /// Before TLS 1.3 the client's certificate is in plain, and so is an alert that comes instead.
    fn after_hello(&mut self, bytes: &[u8]) -> bool {
        let (certificate, alert) = (&mut self.client_certificate, &mut self.client_alert);
        let flow = self.client.take(bytes, |seen| match seen {
            Seen::Message(CERTIFICATE, body) => {
                // A list of nothing has a length and no more.
                *certificate = Some(body.len() > 3);
                ControlFlow::Continue(())
            }
            Seen::Message(..) => ControlFlow::Continue(()),
            Seen::Alert(description) => {
                *alert = Some(description);
                ControlFlow::Break(())
            }
            Seen::ChangeCipherSpec | Seen::ApplicationData => ControlFlow::Break(()),
        });
        let goes_on = flow == Ok(ControlFlow::Continue(()));
        if !goes_on {
            self.client = MessageScan::default();
        }
        goes_on && self.client.memory() < MAX_HELLO
    }

    fn hear_server(&mut self, bytes: &[u8]) -> bool {
        if self.hello.is_none() && self.prefix.is_empty() {
            // What it says before it is asked for TLS.
            return self.plain < MAX_PLAIN;
        }
        if self.flight.is_none() && !matches!(bytes[0], HANDSHAKE | ALERT) {
            // "220 ready", in an answer that has come late.
            return true;
        }
        let progress = self.flight.get_or_insert_default().take(bytes);
        self.server_read = progress != Progress::More;
        !self.server_read
    }

    /// What came of it.
    pub(super) fn finish(self) -> Observed {
        let Self { streams, hello, flight, server_read, plain, client_certificate, client_alert, .. } = self;
        Observed {
            server: flight.map_or_else(ServerFacts::default, |flight| flight.into_facts()),
            has_gap: hello.is_none() && streams.client.has_gap() || !server_read && streams.server.has_gap(),
            plain: if hello.is_some() { plain } else { 0 },
            hello,
            client_certificate,
            client_alert,
        }
    }
}
