//! Whose fault it is that a handshake failed.

use super::description;
use super::handshake::Failure;
use crate::reason::Reason;

/// An end has closed in order before its handshake was over.
pub(super) fn closed_by(reason: Reason) -> Failure {
    Failure { reason, alert: Some(description::CLOSE_NOTIFY) }
}

/// Server and engine have nothing in common.
pub(super) fn blame_incompatible(incompatible: &rustls::PeerIncompatible) -> Reason {
    use rustls::PeerIncompatible as P;
    match incompatible {
        P::ServerDoesNotSupportTls12Or13 | P::ServerTlsVersionIsDisabledByOurConfig => {
            Reason::VersionUnsupportedServer
        }
        P::NoCertificateRequestSignatureSchemesInCommon => Reason::ServerWantsClientCert,
        P::NoCipherSuitesInCommon | P::NoKxGroupsInCommon | P::NoSignatureSchemesInCommon => {
            Reason::CipherNoneServer
        }
        _ => Reason::ServerProtocol,
    }
}

/// What an alert of the client's says.
pub(super) fn of_client_alert(number: u8) -> Reason {
    if number == description::ECH_REQUIRED { Reason::ClientEch } else { Reason::ClientAlert }
}

/// Why the client's handshake failed.
pub(super) fn blame_client(error: &rustls::Error) -> Failure {
    use rustls::Error as E;
    match error {
        E::AlertReceived(received) => {
            let number = u8::from(*received);
            Failure { reason: of_client_alert(number), alert: Some(number) }
        }
        E::PeerIncompatible(_) => Reason::CipherNoneClient.into(),
        E::General(_) | E::FailedToGetCurrentTime | E::FailedToGetRandomBytes => Reason::Internal.into(),
        _ => Reason::ClientProtocol.into(),
    }
}
