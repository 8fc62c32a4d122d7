//! Both sessions after their handshakes: plaintext from one leg is shown to the inspector and leaves on the other.

use super::session::Session;
use crate::reason::Reason;
use crate::side::Side;

/// Two established sessions, ends of one flow.
///
/// Nothing is kept: what [`receive`](Self::receive) is given comes out again, but for the rest of an incomplete record.
pub struct Relay {
    client: Session,
    server: Session,
    /// What came during the handshakes and was not part of them.
    early: Option<Box<Early>>,
    alpn: Option<Box<[u8]>>,
}

/// Ciphertext that came before the relay existed.
struct Early {
    from_client: Vec<u8>,
    from_server: Vec<u8>,
}

/// What leaves. Appended to, so that the caller can reuse the buffers.
#[derive(Debug, Default)]
pub struct Output {
    /// Ciphertext for the client.
    pub to_client: Vec<u8>,
    /// Ciphertext for the server.
    pub to_server: Vec<u8>,
    /// The client's close_notify was read and passed on: no more data from there.
    pub close_from_client: bool,
    /// Likewise the server's.
    pub close_from_server: bool,
}

/// Why a relay broke. The leg at fault got its alert (in [`Output`]). The other got nothing: an orderly close_notify would
/// pass a truncation off as the end of the data, so the flow has to reset that leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayError {
    /// Who is to blame.
    pub reason: Reason,
    /// The peer's alert, if it sent one.
    pub alert: Option<u8>,
}

impl Relay {
    pub(super) fn new(client: Session, server: Session, from_client: Vec<u8>, from_server: Vec<u8>) -> Self {
        let alpn = client.alpn().map(Into::into);
        Self { client, server, early: Some(Box::new(Early { from_client, from_server })), alpn }
    }

    /// Application protocol of both legs.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// Relays what both ends sent while the handshakes ran. Call it once, as soon as there is an inspector: a server may
    /// speak first, and then no further packet would bring its bytes out.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn start(
        &mut self,
        inspect: &mut dyn FnMut(Side, &[u8]),
        out: &mut Output,
    ) -> Result<(), RelayError> {
        let Some(early) = self.early.take() else { return Ok(()) };
        self.pump(Side::Server, &early.from_server, inspect, out)?;
        self.pump(Side::Client, &early.from_client, inspect, out)
    }

    /// Takes ciphertext from one end. Its plaintext is shown to `inspect` and leaves encrypted for the other end.
    ///
    /// # Errors
    /// The peer sent a fatal alert or broke the protocol. The relay is finished then.
    pub fn receive(
        &mut self,
        from: Side,
        ciphertext: &[u8],
        inspect: &mut dyn FnMut(Side, &[u8]),
        out: &mut Output,
    ) -> Result<(), RelayError> {
        self.start(inspect, out)?;
        self.pump(from, ciphertext, inspect, out)
    }

    fn pump(
        &mut self,
        from: Side,
        mut ciphertext: &[u8],
        inspect: &mut dyn FnMut(Side, &[u8]),
        out: &mut Output,
    ) -> Result<(), RelayError> {
        let (source, sink, back, onward, closed) = match from {
            Side::Client => (
                &mut self.client,
                &mut self.server,
                &mut out.to_client,
                &mut out.to_server,
                &mut out.close_from_client,
            ),
            Side::Server => (
                &mut self.server,
                &mut self.client,
                &mut out.to_server,
                &mut out.to_client,
                &mut out.close_from_server,
            ),
        };
        loop {
            let mut taken = true;
            source.drain(|plaintext| {
                inspect(from, plaintext);
                taken &= sink.write(plaintext, onward);
            });
            if !taken {
                return Err(RelayError { reason: Reason::Internal, alert: None });
            }
            if source.peer_has_closed() && !sink.is_closed() {
                sink.close(onward);
                *closed = true;
            }
            if ciphertext.is_empty() || source.peer_has_closed() {
                return Ok(());
            }
            let result = source.read(&mut ciphertext);
            source.flush(back);
            if let Err(error) = result {
                // Data that came before the fault is the other end's to have.
                source.drain(|plaintext| {
                    inspect(from, plaintext);
                    sink.write(plaintext, onward);
                });
                return Err(blame(from, &error));
            }
        }
    }
}

/// Whose fault an error after the handshakes is.
fn blame(from: Side, error: &rustls::Error) -> RelayError {
    let (alert_reason, protocol_reason) = match from {
        Side::Client => (Reason::ClientAlert, Reason::ClientProtocol),
        Side::Server => (Reason::ServerAlert, Reason::ServerProtocol),
    };
    match error {
        rustls::Error::AlertReceived(alert) => {
            RelayError { reason: alert_reason, alert: Some(u8::from(*alert)) }
        }
        _ => RelayError { reason: protocol_reason, alert: None },
    }
}
