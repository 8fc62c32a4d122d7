//! One end of a relay: both directions' keys, and how it stands with its peer.

use super::aead::TrafficKey;
use super::message::{Alert, kind, next_message};
use super::open::Opener;
use super::seal::Sealer;
use super::{Fault, Form, MAX_PLAINTEXT, Suite, content};
use crate::end::End;
use crate::policy::TlsVersion;
use crate::tls::{alert, description};
use crate::x509::Provider;

pub(in crate::tls) use super::message::KEY_UPDATE;

/// Records in a row that a peer may send without any data in them: padding, key updates, warnings. Others bound
/// each of these by itself, most of them by 32.
const MAX_WITHOUT_DATA: u8 = 32;
/// Tickets in a row: some servers send as many as were ever asked for (RFC 9149 has 255).
const MAX_TICKETS: u8 = 255;
/// Of them, so many are looked at: more than are kept.
const TAKEN: u8 = 8;

/// What outlives a TLS 1.3 handshake: the secrets that new keys come from, and who takes tickets.
pub trait KeySource: Send {
    /// The peer's next key.
    fn next_to_open(&mut self) -> Option<TrafficKey>;

    /// Our next key.
    fn next_to_seal(&mut self) -> Option<TrafficKey>;

    /// The body of a server's NewSessionTicket. False: it is not well-formed.
    fn ticket(&mut self, body: &[u8]) -> bool;

    /// Bytes of memory that it holds beside its own size, nearly.
    fn held(&self) -> usize;
}

/// What a finished handshake leaves behind.
pub struct LegKeys {
    /// Which library protects the records: not always the one of the handshake.
    pub provider: Provider,
    /// What was negotiated.
    pub version: TlsVersion,
    /// The peer's key.
    pub opens: TrafficKey,
    /// Ours.
    pub seals: TrafficKey,
    /// TLS 1.3 only; without one, a KeyUpdate is refused.
    pub source: Option<Box<dyn KeySource>>,
}

/// What came of a record without application data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tls) enum Control {
    /// Nothing to be done.
    Nothing,
    /// The peer sends no more data.
    Close,
    /// The peer wants a KeyUpdate.
    WantsKeyUpdate,
    /// The peer wants to negotiate anew, which nobody does any more.
    WantsRenegotiation,
}

/// The TLS connection with one peer, after its handshake.
pub(in crate::tls) struct RecordLayer {
    pub(in crate::tls) opener: Opener,
    pub(in crate::tls) sealer: Sealer,
    source: Option<Box<dyn KeySource>>,
    /// The beginning of a handshake message.
    partial: Vec<u8>,
    provider: Provider,
    version: TlsVersion,
    peer: End,
    without_data: u8,
    /// Of them, those that bring the message that is not all there, or brought the last one.
    of_message: u8,
    /// Tickets since the last data.
    tickets: u8,
    /// Longest record of data that the peer has sent, by its plaintext: it gets no reason to send, or to be sent, longer ones by us.
    pub(in crate::tls) longest: usize,
    /// Most plaintext that it wants in a record.
    pub(in crate::tls) most: usize,
    /// The peer has asked for a certificate, or for the renegotiation by which TLS 1.2 asks for one, and sent no data since.
    pub(in crate::tls) certificate_asked: bool,
    /// The peer's close_notify was read: nothing after it counts.
    pub(in crate::tls) peer_has_closed: bool,
    /// Our close_notify, or a fatal alert of ours, was sent: nothing may follow it.
    pub(in crate::tls) has_closed: bool,
}

impl RecordLayer {
    /// `None`: the keys do not fit the provider.
    pub(in crate::tls) fn new(peer: End, keys: LegKeys) -> Option<Self> {
        let LegKeys { provider, version, opens, seals, source } = keys;
        let form = |key: &TrafficKey| match (version, key.suite()) {
            (TlsVersion::Tls13, _) => Form::Tls13,
            (TlsVersion::Tls12, Suite::ChaCha20Poly1305) => Form::Tls12ChaCha,
            (TlsVersion::Tls12, _) => Form::Tls12Gcm,
        };
        Some(Self {
            opener: Opener::new(provider, form(&opens), &opens)?,
            sealer: Sealer::new(provider, form(&seals), &seals)?,
            source,
            partial: Vec::new(),
            provider,
            version,
            peer,
            without_data: 0,
            of_message: 0,
            tickets: 0,
            longest: 0,
            most: MAX_PLAINTEXT,
            certificate_asked: false,
            peer_has_closed: false,
            has_closed: false,
        })
    }

    /// The place of an end that is not there: it has said all, and is told nothing. So its keys, which are no secret, protect
    /// nothing.
    pub(in crate::tls) fn nobody(peer: End, provider: Provider) -> Option<Self> {
        let key = || TrafficKey::new(Suite::Aes128Gcm, &[0; 16], &[0; 12], 0);
        let keys =
            LegKeys { provider, version: TlsVersion::Tls13, opens: key()?, seals: key()?, source: None };
        Some(Self { peer_has_closed: true, has_closed: true, ..Self::new(peer, keys)? })
    }

    /// Bytes of memory that it holds beside its own size: a message that is not all there, and keys.
    pub(in crate::tls) fn held(&self) -> usize {
        let Self {
            opener,
            sealer,
            source,
            partial,
            provider: _,
            version: _,
            peer: _,
            without_data: _,
            of_message: _,
            tickets: _,
            longest: _,
            most: _,
            certificate_asked: _,
            peer_has_closed: _,
            has_closed: _,
        } = self;
        let source = source.as_deref().map_or(0, |source| size_of_val(source) + source.held());
        partial.capacity() + source + opener.held() + sealer.held()
    }

    /// No handshake message has come in part.
    pub(in crate::tls) fn has_whole_messages(&self) -> bool {
        self.partial.is_empty()
    }

    pub(in crate::tls) fn is_tls13(&self) -> bool {
        self.version == TlsVersion::Tls13
    }

    /// A record with `len` bytes of application data was opened.
    pub(in crate::tls) fn take_data(&mut self, len: usize) -> Result<(), Fault> {
        // RFC 8446 5.1: the records of a message follow each other.
        if !self.partial.is_empty() {
            return Err(Fault::Broken(description::UNEXPECTED_MESSAGE));
        }
        self.opener.advance()?;
        if len == 0 {
            return self.count_without_data();
        }
        (self.without_data, self.of_message, self.tickets) = (0, 0, 0);
        self.longest = self.longest.max(len);
        self.certificate_asked = false;
        Ok(())
    }

    /// This alert of the peer is about the certificate that it has not got.
    pub(in crate::tls) fn misses_certificate(&self, number: u8) -> bool {
        let is_its_own = number == description::CERTIFICATE_REQUIRED && self.peer == End::Server;
        is_its_own || self.certificate_asked && alert::misses_certificate(number)
    }

    /// A record with something else was opened.
    pub(in crate::tls) fn take_control(&mut self, content_type: u8, bytes: &[u8]) -> Result<Control, Fault> {
        self.opener.advance()?;
        self.count_without_data()?;
        match content_type {
            content::HANDSHAKE => self.take_handshake(bytes),
            content::ALERT if self.partial.is_empty() => match Alert::parse(self.is_tls13(), bytes)? {
                Alert::CloseNotify => {
                    self.peer_has_closed = true;
                    Ok(Control::Close)
                }
                Alert::Warning => Ok(Control::Nothing),
                Alert::Fatal(number) => Err(Fault::Alert(number)),
            },
            _ => Err(Fault::Broken(description::UNEXPECTED_MESSAGE)),
        }
    }

    fn count_without_data(&mut self) -> Result<(), Fault> {
        self.without_data += 1;
        if self.without_data > MAX_WITHOUT_DATA {
            return Err(Fault::Broken(description::UNEXPECTED_MESSAGE));
        }
        Ok(())
    }

    /// Messages, whole or in part.
    fn take_handshake(&mut self, bytes: &[u8]) -> Result<Control, Fault> {
        let unexpected = Fault::Broken(description::UNEXPECTED_MESSAGE);
        // RFC 8446 5.1: no record is without a part of one.
        if bytes.is_empty() {
            return Err(unexpected);
        }
        self.of_message += 1;
        let mut all = std::mem::take(&mut self.partial);
        all.extend_from_slice(bytes);
        let mut rest = all.as_slice();
        let mut control = Control::Nothing;
        while let Some((message, body)) = next_message(&mut rest)? {
            match (self.version, message, self.peer) {
                (TlsVersion::Tls13, kind::KEY_UPDATE, _) => {
                    control = self.take_key_update(body)?;
                    // RFC 8446 5.1: what follows has other keys, so nothing follows in this record.
                    if !rest.is_empty() {
                        return Err(unexpected);
                    }
                }
                (TlsVersion::Tls13, kind::NEW_SESSION_TICKET, End::Server) => {
                    self.take_ticket(body)?;
                    continue;
                }
                (TlsVersion::Tls12, kind::HELLO_REQUEST, End::Server) => {
                    self.certificate_asked = true;
                    control = Control::WantsRenegotiation;
                }
                (TlsVersion::Tls12, kind::CLIENT_HELLO, End::Client) => {
                    control = Control::WantsRenegotiation;
                }
                (TlsVersion::Tls13, kind::CERTIFICATE_REQUEST, End::Server) => {
                    return Err(Fault::CertificateDemanded);
                }
                _ => return Err(unexpected),
            }
            self.of_message = 0;
        }
        self.partial = rest.to_vec();
        Ok(control)
    }

    /// RFC 8446 4.6.1. The records that bring it count as it does.
    fn take_ticket(&mut self, body: &[u8]) -> Result<(), Fault> {
        if self.tickets == MAX_TICKETS {
            return Err(Fault::Broken(description::UNEXPECTED_MESSAGE));
        }
        self.without_data = self.without_data.saturating_sub(std::mem::take(&mut self.of_message));
        self.tickets += 1;
        let is_taken = self.tickets <= TAKEN;
        let source = self.source.as_mut().filter(|_| is_taken);
        if !source.is_none_or(|source| source.ticket(body)) {
            return Err(Fault::Broken(description::DECODE_ERROR));
        }
        Ok(())
    }

    /// RFC 8446 4.6.3.
    fn take_key_update(&mut self, body: &[u8]) -> Result<Control, Fault> {
        let control = match body {
            [0] => Control::Nothing,
            [1] => Control::WantsKeyUpdate,
            [_] => return Err(Fault::Broken(description::ILLEGAL_PARAMETER)),
            _ => return Err(Fault::Broken(description::DECODE_ERROR)),
        };
        let source = self.source.as_mut().ok_or(Fault::Broken(description::UNEXPECTED_MESSAGE))?;
        let key = source.next_to_open().ok_or(Fault::Internal)?;
        self.opener.rekey(self.provider, &key)?;
        Ok(control)
    }

    /// Seals from now on with the next key: a KeyUpdate was the last record under the old one.
    pub(in crate::tls) fn update_sealing_key(&mut self) -> Result<(), Fault> {
        let source = self.source.as_mut().ok_or(Fault::Internal)?;
        let key = source.next_to_seal().ok_or(Fault::Internal)?;
        self.sealer.rekey(self.provider, &key)
    }
}
