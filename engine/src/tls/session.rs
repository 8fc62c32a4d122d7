//! One leg's TLS session: the only place where bytes enter and leave rustls.
//!
//! Application data goes through rustls's own record layer for now. The seam for a record layer that opens and seals in
//! place is here and in `relay.rs`: after both handshakes the secrets leave rustls (`dangerous_into_kernel_connection`),
//! a `KernelConnection` stays for key updates, and [`Session`] keeps its interface.

use std::io::{BufRead, Write};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, ServerName};

use super::names;
use crate::log::event::LegInfo;
use crate::policy::TlsVersion;

/// Upper bound of encrypted data inside a session; what goes in is taken out again at once, so one record is enough.
const BUFFER_LIMIT: usize = 40 * 1024;

/// A TLS session that does no IO.
pub(super) struct Session {
    connection: Connection,
    peer_has_closed: bool,
    closed: bool,
}

impl Session {
    /// We are the client of `name`.
    pub(super) fn to_server(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self::bounded(ClientConnection::new(config, name)?.into()))
    }

    /// We are the server.
    pub(super) fn to_client(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self::bounded(ServerConnection::new(config)?.into()))
    }

    fn bounded(mut connection: Connection) -> Self {
        connection.set_buffer_limit(Some(BUFFER_LIMIT));
        Self { connection, peer_has_closed: false, closed: false }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// The peer's close_notify was read: nothing after it counts.
    pub(super) fn peer_has_closed(&self) -> bool {
        self.peer_has_closed
    }

    /// Our close_notify was sent.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes some ciphertext off the front of `input`, which is not empty, and processes it.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Result<(), rustls::Error> {
        // Full buffers are the only errors: a handshake message beyond rustls's limit. Nothing taken would be a loop.
        let taken = self.connection.read_tls(input).unwrap_or(0);
        if taken == 0 {
            return Err(rustls::Error::PeerSentOversizedRecord);
        }
        self.peer_has_closed = self.connection.process_new_packets()?.peer_has_closed();
        Ok(())
    }

    /// Feeds the handshake from the front of `held` until it is over or the bytes are used up. What there is to send,
    /// alerts included, is appended to `out` in either case.
    pub(super) fn handshake(&mut self, held: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), rustls::Error> {
        let mut input = held.as_slice();
        let mut outcome = Ok(());
        while self.is_handshaking() && !self.peer_has_closed && !input.is_empty() && outcome.is_ok() {
            outcome = self.read(&mut input);
        }
        let used = held.len() - input.len();
        held.drain(..used);
        self.flush(out);
        outcome
    }

    /// Hands received plaintext to `sink`, in order and piece by piece, until none is left.
    pub(super) fn drain(&mut self, mut sink: impl FnMut(&[u8])) {
        let mut reader = self.connection.reader();
        // An error means "no plaintext now" (or the end of the stream), which an empty piece means too.
        while let Ok(piece @ [_, ..]) = reader.fill_buf() {
            let n = piece.len();
            sink(piece);
            reader.consume(n);
        }
    }

    /// Encrypts one piece of at most a record's size. `false`: the session takes no data any more.
    pub(super) fn write(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> bool {
        let taken = self.connection.writer().write_all(plaintext).is_ok();
        self.flush(out);
        taken
    }

    /// Says that no more data follows.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        self.closed = true;
        self.connection.send_close_notify();
        self.flush(out);
    }

    /// Appends all that is ready to be sent.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        while self.connection.wants_write() && self.connection.write_tls(out).is_ok_and(|n| n > 0) {}
    }

    /// A session of before was resumed.
    pub(super) fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// The peer's certificates, its own first; in a resumed session those of the first handshake.
    pub(super) fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.connection.peer_certificates().unwrap_or_default()
    }

    /// Application protocol that was negotiated.
    pub(super) fn alpn(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// Version that was negotiated.
    pub(super) fn version(&self) -> Option<TlsVersion> {
        match self.connection.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_2 => Some(TlsVersion::Tls12),
            rustls::ProtocolVersion::TLSv1_3 => Some(TlsVersion::Tls13),
            _ => None,
        }
    }

    /// What the log says of this leg.
    pub(super) fn info(&self) -> LegInfo {
        LegInfo {
            version: self.version().map(|v| match v {
                TlsVersion::Tls12 => "TLS 1.2",
                TlsVersion::Tls13 => "TLS 1.3",
            }),
            cipher: self
                .connection
                .negotiated_cipher_suite()
                .and_then(|s| names::cipher_suite(s.suite().into())),
            group: self
                .connection
                .negotiated_key_exchange_group()
                .and_then(|g| names::group(g.name().into())),
            alpn: self.alpn().map(Into::into),
            resumed: self.is_resumed(),
        }
    }
}
