//! What the log says of both handshakes of a flow.

use std::sync::Arc;

use crate::event::{CertificateInfo, LegInfo, MintedBy};
use crate::reason::Reason;

/// What the log says of a handshake. Valid once it is established or has failed.
#[derive(Clone, Debug, Default)]
pub struct HandshakeReport {
    /// Leg to the client; present when its handshake ended well.
    pub client_leg: Option<LegInfo>,
    /// Leg to the server, likewise.
    pub server_leg: Option<LegInfo>,
    /// The server's own certificate, when one was seen.
    pub certificate: Option<Arc<CertificateInfo>>,
    /// What was wrong with it; with several defects the one that decided.
    pub defect: Option<Reason>,
    /// Serial of the minted leaf, upper-case hex pairs with colons.
    pub minted_serial: Option<Arc<str>>,
    /// Who signed that.
    pub minted_by: Option<MintedBy>,
    /// The server asked for a client certificate.
    pub certificate_asked: bool,
}

impl HandshakeReport {
    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        let Self {
            client_leg,
            server_leg,
            certificate,
            defect: _,
            minted_serial,
            minted_by: _,
            certificate_asked: _,
        } = self;
        let legs = [client_leg, server_leg].into_iter().flatten();
        let alpn: usize = legs.filter_map(|leg| leg.alpn.as_ref()).map(|name| name.len()).sum();
        let serial = minted_serial.as_ref().map_or(0, |serial| serial.len());
        alpn + serial + certificate.as_ref().map_or(0, |certificate| certificate.text_bytes())
    }
}
