//! One leg's handshake: the only place where bytes enter and leave rustls. What comes after it goes by the keys that it
//! leaves behind, in [`super::record`].

use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, ConnectionTrafficSecrets, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};

use super::early_data::EarlyData;
use super::names;
use super::record::{HEADER, KeySource, LegKeys, RecordLibraries, Suite, TrafficKey};
use crate::event::LegInfo;
use crate::policy::TlsVersion;

/// Longest payload of a record that is waited for (RFC 5246 6.2.3); a longer one is rustls's to refuse, as it comes.
const MAX_PAYLOAD: usize = (1 << 14) + 2048;
/// Bytes of a close_notify at most: header, explicit nonce, alert, type of content, tag.
const CLOSE_NOTIFY: usize = 5 + 8 + 2 + 1 + 16;
/// What rustls takes for a handshake beside the peer's certificates, nearly: the connection, key shares, messages.
const SESSION: usize = 16 * 1024;
/// What rustls takes for the secrets of an established session, nearly.
const KERNEL: usize = 1024;
/// Room to begin with for a flight.
const FLIGHT: usize = 4096;

/// A TLS handshake that does no IO.
pub(super) struct Session {
    connection: Connection,
    /// Bytes at the front of what is held that rustls has been shown and has not given up.
    shown: usize,
    /// It has looked at all of them, and wants more.
    waits: bool,
    peer_has_closed: bool,
    /// The client may have sent some, which is not taken.
    early_data: Option<EarlyData>,
}

enum Connection {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

/// What rustls wants next.
enum Next {
    /// To be called again.
    Again,
    /// More of what was received, or nothing.
    Wait,
    /// Nothing: the peer has ended the connection.
    Closed,
}

impl Session {
    /// We are the client of `name`.
    pub(super) fn to_server(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self::new(Connection::Client(UnbufferedClientConnection::new(config, name)?.into())))
    }

    /// We are the server of a client that offers early data or not.
    pub(super) fn to_client(
        config: Arc<ServerConfig>,
        offers_early_data: bool,
    ) -> Result<Self, rustls::Error> {
        let session = Self::new(Connection::Server(UnbufferedServerConnection::new(config)?.into()));
        Ok(Self { early_data: offers_early_data.then(EarlyData::default), ..session })
    }

    fn new(connection: Connection) -> Self {
        Self { connection, shown: 0, waits: false, peer_has_closed: false, early_data: None }
    }

    fn common(&self) -> &CommonState {
        match &self.connection {
            Connection::Client(connection) => connection,
            Connection::Server(connection) => connection,
        }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.common().is_handshaking()
    }

    /// The peer's close_notify was read: nothing after it counts.
    pub(super) fn peer_has_closed(&self) -> bool {
        self.peer_has_closed
    }

    /// Feeds the handshake from the front of `held` until it is over or the whole records there are used up. What there is to
    /// send, alerts included, is appended to `out` in either case.
    ///
    /// Records are shown one by one: what follows the handshake is not rustls's to open.
    pub(super) fn handshake(&mut self, held: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), rustls::Error> {
        loop {
            if self.waits {
                let Some(len) = self.next_record(held) else { return Ok(()) };
                self.shown += len;
                self.waits = false;
            }
            let before = self.shown;
            match self.turn(held, out) {
                Ok(Next::Again) => {}
                Ok(Next::Closed) => {
                    self.peer_has_closed = true;
                    return Ok(());
                }
                Ok(Next::Wait) if !self.is_handshaking() => return Ok(()),
                Ok(Next::Wait) => {
                    if self.shown == before {
                        self.drop_early_data(held);
                    }
                    self.waits = true;
                }
                Err(error) => {
                    self.flush(held, out);
                    return Err(error);
                }
            }
        }
    }

    /// Bytes of the next record to be shown, if it is all there. Early data before it is taken away.
    fn next_record(&mut self, held: &mut Vec<u8>) -> Option<usize> {
        loop {
            let len = end_of_record(&held[self.shown..])?;
            let record = self.shown..self.shown + len;
            if !self.early_data.as_mut().is_some_and(|early_data| early_data.skips(&held[record.clone()])) {
                return Some(len);
            }
            held.drain(record);
        }
    }

    /// Takes early data away from what has been shown, as nothing has come of it.
    fn drop_early_data(&mut self, held: &mut Vec<u8>) {
        let Some(early_data) = &mut self.early_data else { return };
        let dropped = early_data.drop_unopened(&held[..self.shown]);
        held.drain(..dropped);
        self.shown -= dropped;
    }

    /// Says that nothing more follows, after a handshake that has ended well.
    pub(super) fn close(&mut self, held: &mut [u8], out: &mut Vec<u8>) {
        let shown = &mut held[..self.shown];
        match &mut self.connection {
            Connection::Client(connection) => close_notify(connection.process_tls_records(shown), out),
            Connection::Server(connection) => close_notify(connection.process_tls_records(shown), out),
        }
    }

    /// Appends what is ready to be sent, and takes nothing in.
    pub(super) fn flush(&mut self, held: &mut Vec<u8>, out: &mut Vec<u8>) {
        while self.common().wants_write() && matches!(self.turn(held, out), Ok(Next::Again)) {}
    }

    /// One call of rustls.
    fn turn(&mut self, held: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Next, rustls::Error> {
        let shown = &mut held[..self.shown];
        let (discard, next) = match &mut self.connection {
            Connection::Client(connection) => follow(connection.process_tls_records(shown), out),
            Connection::Server(connection) => follow(connection.process_tls_records(shown), out),
        };
        held.drain(..discard);
        self.shown -= discard;
        next
    }

    /// The keys of a handshake that is over, with nothing left to be sent, for the library that `records` has for their suite.
    pub(super) fn into_keys(self, records: &RecordLibraries) -> Result<LegKeys, rustls::Error> {
        let version = self.version().ok_or(rustls::Error::HandshakeNotComplete)?;
        let certificates = self.certificate_bytes();
        let (secrets, source): (_, Box<dyn KeySource>) = match self.connection {
            Connection::Client(connection) => {
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                (secrets, Box::new(ServersKeys { kernel, certificates }))
            }
            Connection::Server(connection) => {
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                (secrets, Box::new(ClientsKeys(kernel)))
            }
        };
        let key = |(seq, secrets)| {
            traffic_key(&secrets, seq).ok_or_else(|| rustls::Error::General("unknown cipher suite".into()))
        };
        let (opens, seals) = (key(secrets.rx)?, key(secrets.tx)?);
        Ok(LegKeys {
            provider: records.of(seals.suite()),
            version,
            opens,
            seals,
            // TLS 1.2 has neither new keys nor late tickets.
            source: (version == TlsVersion::Tls13).then_some(source),
        })
    }

    /// A session of before was resumed.
    pub(super) fn is_resumed(&self) -> bool {
        self.common().handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// The peer's certificates, its own first; in a resumed session those of the first handshake.
    pub(super) fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.common().peer_certificates().unwrap_or_default()
    }

    fn certificate_bytes(&self) -> usize {
        self.peer_certificates().iter().map(|der| der.len() + size_of::<CertificateDer<'static>>()).sum()
    }

    /// Bytes of memory that it holds, nearly: rustls does not say.
    pub(super) fn memory(&self) -> usize {
        let Self { connection: _, shown: _, waits: _, peer_has_closed: _, early_data: _ } = self;
        SESSION + self.certificate_bytes()
    }

    /// Application protocol that was negotiated.
    pub(super) fn alpn(&self) -> Option<&[u8]> {
        self.common().alpn_protocol()
    }

    /// Version that was negotiated.
    pub(super) fn version(&self) -> Option<TlsVersion> {
        match self.common().protocol_version()? {
            rustls::ProtocolVersion::TLSv1_2 => Some(TlsVersion::Tls12),
            rustls::ProtocolVersion::TLSv1_3 => Some(TlsVersion::Tls13),
            _ => None,
        }
    }

    /// What the log says of this leg.
    pub(super) fn info(&self) -> LegInfo {
        let common = self.common();
        LegInfo {
            version: self.version().map(|v| match v {
                TlsVersion::Tls12 => "TLS 1.2",
                TlsVersion::Tls13 => "TLS 1.3",
            }),
            cipher: common.negotiated_cipher_suite().and_then(|s| names::cipher_suite(s.suite().into())),
            group: common.negotiated_key_exchange_group().and_then(|g| names::group(g.name().into())),
            alpn: self.alpn().map(Into::into),
            resumed: self.is_resumed(),
        }
    }
}

/// Does what rustls asks for. Also says how many bytes of what it was shown it is done with.
fn follow<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    out: &mut Vec<u8>,
) -> (usize, Result<Next, rustls::Error>) {
    let UnbufferedStatus { discard, state } = status;
    let next = state.and_then(|state| match state {
        ConnectionState::EncodeTlsData(mut data) => {
            let at = out.len();
            if out.is_empty() {
                out.reserve(FLIGHT);
            }
            // None to begin with: rustls says how much it needs, and nothing is filled that is not used.
            let mut room = 0;
            loop {
                out.resize(at + room, 0);
                match data.encode(&mut out[at..]) {
                    Ok(len) => {
                        out.truncate(at + len);
                        return Ok(Next::Again);
                    }
                    Err(EncodeError::InsufficientSize(needed)) => room = needed.required_size,
                    Err(EncodeError::AlreadyEncoded) => {
                        out.truncate(at);
                        return Err(rustls::Error::General("a flight was taken twice".into()));
                    }
                }
            }
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Next::Again)
        }
        ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => Ok(Next::Wait),
        ConnectionState::PeerClosed | ConnectionState::Closed => Ok(Next::Closed),
        // Early data is never accepted, and other data is not shown.
        _ => Err(rustls::Error::General("application data in a handshake".into())),
    });
    (discard, next)
}

/// Adds a close_notify where one may be sent.
fn close_notify<Data>(status: UnbufferedStatus<'_, '_, Data>, out: &mut Vec<u8>) {
    let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state else { return };
    let at = out.len();
    out.resize(at + CLOSE_NOTIFY, 0);
    let len = traffic.queue_close_notify(&mut out[at..]).unwrap_or(0);
    out.truncate(at + len);
}

/// Bytes of the first record; `None`: it is not all there. What is no record is all of `bytes`, for rustls to refuse.
fn end_of_record(bytes: &[u8]) -> Option<usize> {
    let &[kind, major, _, high, low] = bytes.first_chunk::<HEADER>()?;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if !(20..=24).contains(&kind) || major != 3 || len > MAX_PAYLOAD {
        return Some(bytes.len());
    }
    (bytes.len() >= HEADER + len).then_some(HEADER + len)
}

fn traffic_key(secrets: &ConnectionTrafficSecrets, seq: u64) -> Option<TrafficKey> {
    let (suite, key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Suite::Aes128Gcm, key, iv),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Suite::Aes256Gcm, key, iv),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (Suite::ChaCha20Poly1305, key, iv),
        _ => return None,
    };
    TrafficKey::new(suite, key.as_ref(), iv.as_ref(), seq)
}

/// Of the leg to the server.
struct ServersKeys {
    kernel: KernelConnection<ClientConnectionData>,
    /// Bytes of the server's chain, which that keeps for the sessions of later tickets.
    certificates: usize,
}

impl KeySource for ServersKeys {
    fn next_to_open(&mut self) -> Option<TrafficKey> {
        self.kernel.update_rx_secret().ok().and_then(|(seq, secrets)| traffic_key(&secrets, seq))
    }

    fn next_to_seal(&mut self) -> Option<TrafficKey> {
        self.kernel.update_tx_secret().ok().and_then(|(seq, secrets)| traffic_key(&secrets, seq))
    }

    fn ticket(&mut self, body: &[u8]) -> bool {
        self.kernel.handle_new_session_ticket(body).is_ok()
    }

    fn held(&self) -> usize {
        let Self { kernel: _, certificates } = self;
        KERNEL + certificates
    }
}

/// Of the leg to the client.
struct ClientsKeys(KernelConnection<ServerConnectionData>);

impl KeySource for ClientsKeys {
    fn next_to_open(&mut self) -> Option<TrafficKey> {
        self.0.update_rx_secret().ok().and_then(|(seq, secrets)| traffic_key(&secrets, seq))
    }

    fn next_to_seal(&mut self) -> Option<TrafficKey> {
        self.0.update_tx_secret().ok().and_then(|(seq, secrets)| traffic_key(&secrets, seq))
    }

    /// Clients send none.
    fn ticket(&mut self, _body: &[u8]) -> bool {
        false
    }

    fn held(&self) -> usize {
        KERNEL
    }
}
