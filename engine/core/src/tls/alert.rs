//! TLS alerts: numbers, the plaintext record, and which alert tells a client what went wrong.

use crate::reason::Reason;

/// Alert descriptions (RFC 8446 §6.2) that are sent or told apart here.
#[allow(missing_docs)]
pub mod description {
    pub const CLOSE_NOTIFY: u8 = 0;
    pub const UNEXPECTED_MESSAGE: u8 = 10;
    pub const BAD_RECORD_MAC: u8 = 20;
    pub const RECORD_OVERFLOW: u8 = 22;
    pub const HANDSHAKE_FAILURE: u8 = 40;
    pub const BAD_CERTIFICATE: u8 = 42;
    pub const UNSUPPORTED_CERTIFICATE: u8 = 43;
    pub const CERTIFICATE_EXPIRED: u8 = 45;
    pub const CERTIFICATE_UNKNOWN: u8 = 46;
    pub const ILLEGAL_PARAMETER: u8 = 47;
    pub const CERTIFICATE_REVOKED: u8 = 44;
    pub const UNKNOWN_CA: u8 = 48;
    /// RFC 6066 §8.
    pub const BAD_CERTIFICATE_STATUS_RESPONSE: u8 = 113;
    pub const ACCESS_DENIED: u8 = 49;
    pub const DECODE_ERROR: u8 = 50;
    pub const PROTOCOL_VERSION: u8 = 70;
    pub const INSUFFICIENT_SECURITY: u8 = 71;
    pub const INTERNAL_ERROR: u8 = 80;
    pub const USER_CANCELED: u8 = 90;
    pub const NO_RENEGOTIATION: u8 = 100;
    pub const UNRECOGNIZED_NAME: u8 = 112;
    pub const CERTIFICATE_REQUIRED: u8 = 116;
    /// RFC 9849 5: a client's, whose encrypted hello was not read.
    pub const ECH_REQUIRED: u8 = 121;
}

/// Alert level `fatal`.
const FATAL: u8 = 2;

/// A fatal alert as a plaintext record: right for a client that has not been sent a ServerHello yet, and for a server that has not been
/// sent a protected record.
pub(crate) fn alert_record(description: u8) -> [u8; 7] {
    // RFC 8446 §5.1: the record version of everything but a first ClientHello is 0x0303.
    [21, 3, 3, 0, 2, FATAL, description]
}

/// A server that has asked for a client certificate and got none says so with this alert. TLS 1.3 has one of its own for that
/// (RFC 8446 6.2); before, it is handshake_failure (RFC 5246 7.4.6), bad_certificate with some, access_denied with others.
pub(super) fn misses_certificate(number: u8) -> bool {
    use description::*;
    matches!(number, CERTIFICATE_REQUIRED | HANDSHAKE_FAILURE | BAD_CERTIFICATE | ACCESS_DENIED)
}

/// The alert with which a client is told of `reason`; `None`: nothing is said, the connection just ends as it did on the
/// other side.
///
/// Certificate defects get the alert that the client itself would have sent to the server; refusals by policy
/// `access_denied`, so that they can be told from a server's own `handshake_failure`.
pub(super) fn for_client(reason: Reason) -> Option<u8> {
    use description::*;
    Some(match reason {
        Reason::CertExpired | Reason::CertNotYet => CERTIFICATE_EXPIRED,
        Reason::CertUntrusted | Reason::CertIncomplete | Reason::CertSelfSigned | Reason::CertTooComplex => {
            UNKNOWN_CA
        }
        Reason::CertRevoked => CERTIFICATE_REVOKED,
        Reason::CertRevocationUnknown | Reason::CertMustStaple => BAD_CERTIFICATE_STATUS_RESPONSE,
        Reason::CertMismatch
        | Reason::CertNoName
        | Reason::CertNoSct
        | Reason::CertWeak
        | Reason::CertMalformed => BAD_CERTIFICATE,
        Reason::CertUsage | Reason::CertUnsupported => UNSUPPORTED_CERTIFICATE,
        Reason::CertOwnCa | Reason::PolicyBlock => ACCESS_DENIED,
        Reason::HelloMalformed => DECODE_ERROR,
        Reason::VersionUnsupportedClient | Reason::VersionUnsupportedServer => PROTOCOL_VERSION,
        Reason::CipherNoneClient | Reason::CipherNoneServer | Reason::ServerWantsClientCert => {
            HANDSHAKE_FAILURE
        }
        Reason::ServerProtocol => HANDSHAKE_FAILURE,
        Reason::MintFailed
        | Reason::MintUnanswered
        | Reason::MintRefused
        | Reason::Internal
        | Reason::ResourceMemory => INTERNAL_ERROR,
        _ => return None,
    })
}
