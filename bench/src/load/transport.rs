//! What carries an exchange over a socket: plain TCP, or rustls.

use std::io::{BufRead, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, HandshakeKind, ServerConfig, ServerConnection};
use smoltcp::socket::tcp::{RecvError, Socket};

/// Plaintext that is encrypted at a time: what rustls buffers by default.
const AT_A_TIME: usize = 64 * 1024;

/// How both ends of every connection speak.
#[derive(Clone)]
pub(crate) enum Protocol {
    /// Plain bytes.
    Plain,
    /// A ClientHello that comes in two pieces, the first of them twice; then plain bytes. The engine takes such a
    /// connection into its legs before it decides, and so relays it when the decision is to leave it alone.
    Hello(Arc<[u8]>),
    /// TLS.
    Tls(Arc<ClientConfig>, Arc<ServerConfig>, Names),
}

/// Whom the clients ask for: one name after the other.
#[derive(Clone)]
pub(crate) struct Names(pub(crate) Arc<[ServerName<'static>]>);

impl Names {
    fn of(&self, n: usize) -> ServerName<'static> {
        self.0[n % self.0.len()].clone()
    }
}

/// Why a connection failed, in a word.
pub(crate) type Failure = &'static str;

/// One end's way to speak.
pub(crate) enum Transport {
    Plain,
    Tls(Box<Connection>),
}

impl Transport {
    pub(crate) fn client(protocol: &Protocol, n: usize) -> Self {
        match protocol {
            Protocol::Plain | Protocol::Hello(_) => Self::Plain,
            Protocol::Tls(client, _, names) => {
                let connection = ClientConnection::new(Arc::clone(client), names.of(n));
                Self::Tls(Box::new(connection.expect("the configuration is complete").into()))
            }
        }
    }

    pub(crate) fn server(protocol: &Protocol) -> Self {
        match protocol {
            Protocol::Plain | Protocol::Hello(_) => Self::Plain,
            Protocol::Tls(_, server, _) => {
                let connection = ServerConnection::new(Arc::clone(server));
                Self::Tls(Box::new(connection.expect("the configuration is complete").into()))
            }
        }
    }

    pub(crate) fn is_resumed(&self) -> bool {
        match self {
            Self::Plain => false,
            Self::Tls(connection) => connection.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Self::Plain => true,
            Self::Tls(connection) => !connection.is_handshaking(),
        }
    }

    /// Reads all there is, in pieces. True: the other end has ended its direction.
    pub(crate) fn read(
        &mut self,
        socket: &mut Socket<'_>,
        mut take: impl FnMut(&[u8]),
    ) -> Result<bool, Failure> {
        loop {
            let read = socket.recv(|bytes| {
                let result = match self {
                    _ if bytes.is_empty() => Ok(()),
                    Self::Plain => {
                        take(bytes);
                        Ok(())
                    }
                    Self::Tls(connection) => decrypt(connection, bytes, &mut take),
                };
                (bytes.len(), result.map(|()| bytes.len()))
            });
            match read {
                Ok(Ok(0)) => return Ok(false),
                Ok(Ok(_)) => {}
                Ok(Err(failure)) => return Err(failure),
                Err(RecvError::Finished) => return Ok(true),
                Err(RecvError::InvalidState) => return Err("reset"),
            }
        }
    }

    /// Writes as much as there is room for; returns how much was taken.
    pub(crate) fn write(&mut self, bytes: &[u8], socket: &mut Socket<'_>) -> usize {
        match self {
            Self::Plain => socket.send_slice(bytes).unwrap_or(0),
            Self::Tls(connection) => {
                let mut taken = 0;
                // What is encrypted waits in rustls until the socket has room, so no more is encrypted than that.
                while flush(connection, socket) && taken < bytes.len() {
                    let piece = &bytes[taken..bytes.len().min(taken + AT_A_TIME)];
                    match connection.writer().write(piece) {
                        Ok(n) if n > 0 => taken += n,
                        _ => break,
                    }
                }
                taken
            }
        }
    }

    /// Moves records to the socket. True: all of them.
    pub(crate) fn flush(&mut self, socket: &mut Socket<'_>) -> bool {
        match self {
            Self::Plain => true,
            Self::Tls(connection) => flush(connection, socket),
        }
    }

    /// Ends our direction in order. False: there is no room yet; call again.
    pub(crate) fn close(&mut self, socket: &mut Socket<'_>) -> bool {
        if let Self::Tls(connection) = self {
            // Saying it again is harmless: rustls says it once.
            connection.send_close_notify();
            if !flush(connection, socket) {
                return false;
            }
        }
        socket.close();
        true
    }
}

fn decrypt(
    connection: &mut Connection,
    mut bytes: &[u8],
    take: &mut impl FnMut(&[u8]),
) -> Result<(), Failure> {
    while !bytes.is_empty() {
        let before = bytes.len();
        // Full buffers are an error that costs nothing: what was not read stays in `bytes`.
        while !bytes.is_empty() && matches!(connection.read_tls(&mut bytes), Ok(n) if n > 0) {}
        connection.process_new_packets().map_err(|error| match error {
            rustls::Error::AlertReceived(_) => "alert",
            rustls::Error::InvalidCertificate(_) => "certificate",
            _ => "tls",
        })?;
        loop {
            let mut reader = connection.reader();
            let Ok(plaintext) = reader.fill_buf() else { break };
            let n = plaintext.len();
            if n == 0 {
                break;
            }
            take(plaintext);
            reader.consume(n);
        }
        if bytes.len() == before {
            // Nothing is read after a close_notify.
            return Ok(());
        }
    }
    Ok(())
}

fn flush(connection: &mut Connection, socket: &mut Socket<'_>) -> bool {
    while connection.wants_write() {
        let sent = socket.send(|mut room| {
            let n = connection.write_tls(&mut room).unwrap_or(0);
            (n, n)
        });
        if !matches!(sent, Ok(n) if n > 0) {
            return false;
        }
    }
    true
}
