//! What a host does with one TCP connection: a script over plain TCP or TLS, and a report of what came of it.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use smoltcp::socket::tcp::{RecvError, Socket, State};

use super::{Duration, Instant};

/// One line of a script. Bytes that arrive are always read, whatever line the script is at.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes below TLS, among its records.
    SendRaw(Vec<u8>),
    /// Waits until this many bytes have been received since the start.
    Receive(usize),
    /// Waits.
    Pause(Duration),
    /// Changes the keys of our direction, and asks the other end to change its own (TLS 1.3; nothing otherwise).
    UpdateKeys,
    /// Waits until the other end has ended its direction.
    AwaitEnd,
    /// Ends our direction in order: close_notify (TLS) and FIN. Receiving goes on.
    Finish,
    /// Ends our direction with a FIN alone, without the close_notify that TLS asks for.
    Truncate,
    /// Resets the connection.
    Reset,
}

/// How the other end's direction ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// In order: a FIN, and under TLS a close_notify before it.
    Finished,
    /// A FIN without close_notify.
    Truncated,
    /// A RST.
    Reset,
    /// A fatal TLS alert, by number.
    Alert(u8),
    /// What came was not acceptable to rustls, which says why.
    Refused(rustls::Error),
}

/// What a completed TLS handshake agreed on, as this end sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeInfo {
    /// `TLSv1_2` or `TLSv1_3`.
    pub version: String,
    /// Cipher suite, in rustls's spelling.
    pub cipher: String,
    /// Key exchange group; none when a session was resumed without one.
    pub group: Option<String>,
    /// Application protocol.
    pub alpn: Option<Vec<u8>>,
    /// Host name from the ClientHello; only the server's report has it.
    pub sni: Option<String>,
    /// The other end's chain, the leaf first; only the client's report has it.
    pub chain: Vec<CertificateDer<'static>>,
    /// The session was resumed.
    pub resumed: bool,
}

/// What a session has seen.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// When TCP was established.
    pub connected: Option<Instant>,
    /// Set once TLS was established.
    pub handshake: Option<HandshakeInfo>,
    /// Application bytes received.
    pub received: Vec<u8>,
    /// Application bytes handed to the transport.
    pub sent: usize,
    /// How the other end ended its direction; none: it has not.
    pub end: Option<Ending>,
    /// Every line of the script was done.
    pub script_done: bool,
}

/// One connection's application.
pub struct Session {
    /// What is said in plain before TLS begins: only [`Step::Send`] and [`Step::Receive`].
    preface: VecDeque<Step>,
    /// Bytes of the current [`Step::Receive`] of it.
    heard: usize,
    transport: Transport,
    script: VecDeque<Step>,
    /// Bytes of the script's current [`Step::Send`] that are on their way.
    offset: usize,
    /// When the current [`Step::Pause`] ends.
    pause_until: Option<Instant>,
    pacing: Option<Pacing>,
    /// We ended the connection abruptly: what the socket says afterwards is our own doing.
    aborted: bool,
    report: Report,
}

enum Transport {
    Plain,
    Tls(Box<Connection>),
}

/// A reader that takes at most `chunk` bytes at once, and then pauses.
struct Pacing {
    chunk: usize,
    pause: Duration,
    next: Instant,
}

impl Session {
    /// A script over TCP alone.
    pub fn plain(script: impl Into<VecDeque<Step>>) -> Self {
        Self::new(Transport::Plain, script.into())
    }

    /// A script inside TLS, as the client.
    ///
    /// # Errors
    /// When `name` is no host name or address, or rustls refuses the configuration.
    pub fn tls_client(
        config: Arc<ClientConfig>,
        name: &str,
        script: impl Into<VecDeque<Step>>,
    ) -> Result<Self, rustls::Error> {
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| rustls::Error::General(format!("{name} is no server name")))?;
        let connection = ClientConnection::new(config, name)?;
        Ok(Self::new(Transport::Tls(Box::new(connection.into())), script.into()))
    }

    /// A script inside TLS, as the server.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub fn tls_server(
        config: Arc<ServerConfig>,
        script: impl Into<VecDeque<Step>>,
    ) -> Result<Self, rustls::Error> {
        let connection = ServerConnection::new(config)?;
        Ok(Self::new(Transport::Tls(Box::new(connection.into())), script.into()))
    }

    /// Says this in plain before its script: [`Step::Send`], and [`Step::Receive`] of so many bytes each. Then it goes over to TLS.
    pub fn after(mut self, preface: impl Into<VecDeque<Step>>) -> Self {
        self.preface = preface.into();
        self
    }

    /// Makes it a slow reader: at most `chunk` bytes of the stream every `pause`.
    pub fn slow(mut self, chunk: usize, pause: Duration) -> Self {
        self.pacing = Some(Pacing { chunk, pause, next: Instant::ZERO });
        self
    }

    /// What it has seen so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Nothing more will be sent, and nothing more can come.
    pub fn is_over(&self) -> bool {
        self.aborted || self.report.end.as_ref().is_some_and(|end| self.report.script_done || end.is_abrupt())
    }

    /// When it wants to be polled although nothing arrives.
    pub(super) fn next_timeout(&self, socket: &Socket<'_>) -> Option<Instant> {
        let read = self
            .pacing
            .as_ref()
            .filter(|_| socket.can_recv() && !self.report.script_done)
            .map(|pacing| pacing.next);
        self.pause_until.into_iter().chain(read).min()
    }

    /// Moves bytes between the socket and the script. Returns whether anything moved.
    pub(super) fn poll(&mut self, now: Instant, socket: &mut Socket<'_>) -> bool {
        if self.aborted || matches!(socket.state(), State::Listen | State::SynSent | State::SynReceived) {
            return false;
        }
        if self.report.connected.is_none() && socket.state() != State::Closed {
            self.report.connected = Some(now);
        }
        let mut moved = self.run_preface(socket);
        if !self.preface.is_empty() {
            return moved;
        }
        moved |= self.receive(now, socket);
        self.note_handshake();
        moved |= self.send(now, socket);
        moved
    }

    fn new(transport: Transport, script: VecDeque<Step>) -> Self {
        let report = Report::default();
        let preface = VecDeque::new();
        Self {
            preface,
            heard: 0,
            transport,
            script,
            offset: 0,
            pause_until: None,
            pacing: None,
            aborted: false,
            report,
        }
    }

    /// Speaks and listens in plain. What comes behind the last of it stays in the socket.
    fn run_preface(&mut self, socket: &mut Socket<'_>) -> bool {
        let mut moved = false;
        while let Some(step) = self.preface.front() {
            match step {
                Step::Send(bytes) if socket.send_slice(bytes).is_ok_and(|n| n == bytes.len()) => {}
                Step::Receive(count) if self.heard < *count && socket.may_recv() => {
                    let left = count - self.heard;
                    let heard = socket.recv(|bytes| (bytes.len().min(left), bytes.len().min(left)));
                    match heard {
                        Ok(n @ 1..) => self.heard += n,
                        _ => return moved,
                    }
                    moved = true;
                    continue;
                }
                Step::Receive(count) if self.heard >= *count => self.heard = 0,
                _ => {
                    // It ended before TLS.
                    self.report.end = Some(Ending::Reset);
                    self.preface.clear();
                    return true;
                }
            }
            self.preface.pop_front();
            moved = true;
        }
        moved
    }

    /// Reads what the socket has, as far as pacing allows, and notes how the other direction ends.
    fn receive(&mut self, now: Instant, socket: &mut Socket<'_>) -> bool {
        let mut moved = false;
        while self.report.end.is_none() {
            let limit = match &mut self.pacing {
                // The end of the stream is no byte of it, and is read at once; nor is what follows the script's end.
                Some(pacing) if socket.can_recv() && !self.report.script_done => {
                    if pacing.next > now {
                        return moved;
                    }
                    pacing.next = now + pacing.pause;
                    pacing.chunk
                }
                _ => usize::MAX,
            };
            let transport = &mut self.transport;
            let read = socket.recv(|bytes| {
                let n = bytes.len().min(limit);
                transport.feed(&bytes[..n], &mut self.report.received)
            });
            match read {
                Ok(Ok(0)) => return moved,
                Ok(Ok(_)) => moved = true,
                Ok(Err(end)) => {
                    self.report.end = Some(end);
                    self.give_up(socket);
                    moved = true;
                }
                Err(RecvError::Finished) => {
                    self.report.end = Some(self.transport.end_of_stream());
                    moved = true;
                }
                Err(RecvError::InvalidState) => {
                    self.report.end = Some(Ending::Reset);
                    moved = true;
                }
            }
        }
        moved
    }

    /// After an alert or a fault: sends our own alert, if rustls has one, and closes.
    fn give_up(&mut self, socket: &mut Socket<'_>) {
        self.transport.flush(socket);
        socket.close();
        self.script.clear();
    }

    fn note_handshake(&mut self) {
        if let (None, Transport::Tls(connection)) = (&self.report.handshake, &self.transport)
            && !connection.is_handshaking()
        {
            self.report.handshake = Some(HandshakeInfo::of(connection));
        }
    }

    /// Runs the script as far as it gets.
    fn send(&mut self, now: Instant, socket: &mut Socket<'_>) -> bool {
        let mut moved = self.transport.flush(socket);
        while self.transport.is_ready() {
            let Some(step) = self.script.front() else {
                self.report.script_done = true;
                break;
            };
            match step {
                Step::Send(bytes) => {
                    let n = self.transport.put(&bytes[self.offset..], socket);
                    self.offset += n;
                    self.report.sent += n;
                    moved |= self.transport.flush(socket) | (n > 0);
                    if self.offset < bytes.len() {
                        if n == 0 || self.report.end.as_ref().is_some_and(Ending::is_abrupt) {
                            break;
                        }
                        continue;
                    }
                    self.offset = 0;
                }
                Step::SendRaw(bytes) => {
                    let n = socket.send_slice(&bytes[self.offset..]).unwrap_or(0);
                    self.offset += n;
                    moved |= n > 0;
                    if self.offset < bytes.len() && socket.may_send() {
                        break;
                    }
                    self.offset = 0;
                }
                Step::Receive(count) if self.report.received.len() < *count => break,
                Step::AwaitEnd if self.report.end.is_none() => break,
                Step::Pause(length) => {
                    let until = *self.pause_until.get_or_insert(now + *length);
                    if now < until {
                        break;
                    }
                    self.pause_until = None;
                }
                Step::UpdateKeys => self.transport.update_keys(),
                Step::Finish | Step::Truncate => {
                    if matches!(step, Step::Finish) {
                        self.transport.close_notify();
                    }
                    self.transport.flush(socket);
                    if self.transport.wants_write() && socket.may_send() {
                        // The alert waits for room. Saying close_notify again is harmless: rustls says it once.
                        break;
                    }
                    socket.close();
                }
                Step::Reset => {
                    socket.abort();
                    self.aborted = true;
                }
                Step::Receive(_) | Step::AwaitEnd => {}
            }
            self.script.pop_front();
            moved = true;
        }
        moved
    }
}

impl Transport {
    /// Takes bytes of the stream, appends the application's to `plaintext`. Returns how many were taken, or why the
    /// session is over; in the form that smoltcp's `recv` wants.
    fn feed(&mut self, bytes: &[u8], plaintext: &mut Vec<u8>) -> (usize, Result<usize, Ending>) {
        let Self::Tls(connection) = self else {
            plaintext.extend_from_slice(bytes);
            return (bytes.len(), Ok(bytes.len()));
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            // Its buffers are drained below, so it can only refuse bytes after a close_notify: those are not read.
            match connection.read_tls(&mut rest) {
                Ok(0) | Err(_) => return (bytes.len(), Ok(bytes.len())),
                Ok(_) => {}
            }
            match connection.process_new_packets() {
                Ok(state) => {
                    let start = plaintext.len();
                    plaintext.resize(start + state.plaintext_bytes_to_read(), 0);
                    let read = connection.reader().read(&mut plaintext[start..]).unwrap_or(0);
                    plaintext.truncate(start + read);
                }
                Err(rustls::Error::AlertReceived(alert)) => return (bytes.len(), Err(Ending::alert(alert))),
                Err(error) => return (bytes.len(), Err(Ending::Refused(error))),
            }
        }
        (bytes.len(), Ok(bytes.len()))
    }

    /// The FIN has come: was it announced?
    fn end_of_stream(&mut self) -> Ending {
        match self {
            Self::Plain => Ending::Finished,
            // After a close_notify the reader says "end of file", before it "unexpected end of file".
            Self::Tls(connection) => {
                let _ = connection.read_tls(&mut std::io::empty());
                match connection.reader().read(&mut [0]) {
                    Ok(0) => Ending::Finished,
                    _ => Ending::Truncated,
                }
            }
        }
    }

    /// The script may send.
    fn is_ready(&self) -> bool {
        match self {
            Self::Plain => true,
            Self::Tls(connection) => !connection.is_handshaking(),
        }
    }

    /// Takes application bytes; returns how many.
    fn put(&mut self, bytes: &[u8], socket: &mut Socket<'_>) -> usize {
        match self {
            Self::Plain => socket.send_slice(bytes).unwrap_or(0),
            Self::Tls(connection) => connection.writer().write(bytes).unwrap_or(0),
        }
    }

    fn update_keys(&mut self) {
        if let Self::Tls(connection) = self {
            // TLS 1.2 has no key updates, and says so.
            let _ = connection.refresh_traffic_keys();
        }
    }

    fn close_notify(&mut self) {
        if let Self::Tls(connection) = self {
            connection.send_close_notify();
        }
    }

    fn wants_write(&self) -> bool {
        matches!(self, Self::Tls(connection) if connection.wants_write())
    }

    /// Moves TLS records to the socket. Returns whether any moved.
    fn flush(&mut self, socket: &mut Socket<'_>) -> bool {
        let Self::Tls(connection) = self else { return false };
        let mut moved = false;
        while connection.wants_write() && socket.can_send() {
            let sent = socket.send(|mut room| {
                let n = connection.write_tls(&mut room).unwrap_or(0);
                (n, n)
            });
            match sent {
                Ok(n) if n > 0 => moved = true,
                _ => break,
            }
        }
        moved
    }
}

impl Ending {
    /// Nothing can be sent any more either.
    pub fn is_abrupt(&self) -> bool {
        !matches!(self, Self::Finished | Self::Truncated)
    }

    fn alert(alert: AlertDescription) -> Self {
        Self::Alert(alert.into())
    }
}

impl HandshakeInfo {
    fn of(connection: &Connection) -> Self {
        let debug = |value: Option<&dyn std::fmt::Debug>| value.map(|value| format!("{value:?}"));
        let version = connection.protocol_version();
        let cipher = connection.negotiated_cipher_suite().map(|suite| suite.suite());
        let group = connection.negotiated_key_exchange_group().map(|group| group.name());
        let sni = match connection {
            Connection::Server(server) => server.server_name().map(str::to_owned),
            Connection::Client(_) => None,
        };
        Self {
            version: debug(version.as_ref().map(|v| v as _)).unwrap_or_default(),
            cipher: debug(cipher.as_ref().map(|c| c as _)).unwrap_or_default(),
            group: debug(group.as_ref().map(|g| g as _)),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            sni,
            chain: connection.peer_certificates().unwrap_or_default().to_vec(),
            resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        }
    }
}
