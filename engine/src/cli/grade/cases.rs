//! The cases: what each is, and what a careful profile makes of it.

use wireglass_testbed::bad_servers::{Maker, certificates as cert, clients, protocol};

/// What a careful profile does, and what it costs not to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Decrypt it.
    Decrypt,
    /// Refuse it: who gets through is not the server, or need not be.
    RefuseImpostor,
    /// Refuse it: somebody has been careless.
    RefuseLapse,
}

pub(super) struct Case {
    /// What it is called in JSON.
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) want: Want,
    /// The key of a profile that decides; none: no key does.
    pub(super) key: Option<&'static str>,
    pub(super) made: Maker,
}

pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) cases: &'static [Case],
}

const fn case(
    name: &'static str,
    what: &'static str,
    want: Want,
    key: Option<&'static str>,
    made: Maker,
) -> Case {
    Case { name, what, want, key, made }
}

use Want::{Decrypt, RefuseImpostor, RefuseLapse};

const UNTRUSTED: Option<&str> = Some("on_untrusted");
const USAGE: Option<&str> = Some("on_usage");
const MISMATCH: Option<&str> = Some("on_name_mismatch");
const UNSUPPORTED: Option<&str> = Some("on_unsupported");
const CLIENT_CERTIFICATE: Option<&str> = Some("on_client_certificate");

#[rustfmt::skip] // a table
pub(super) const GROUPS: &[Group] = &[
    Group { title: "Certificates: whose is it?", cases: &[
        case("good", "nothing is wrong with it", Decrypt, None, cert::good),
        case("self-signed", "signed by its own key", RefuseImpostor, Some("on_self_signed"), cert::self_signed),
        case("untrusted", "of a root that nobody trusts", RefuseImpostor, UNTRUSTED, cert::untrusted),
        case("forged-issuer", "signed in the name of a CA, by another key", RefuseImpostor, UNTRUSTED, cert::forged_issuer),
        case("signed-by-leaf", "signed by another server's certificate", RefuseImpostor, USAGE, cert::signed_by_leaf),
        case("outside-constraints", "of a CA that may not sign for this name", RefuseImpostor, USAGE, cert::outside_constraints),
        case("path-too-long", "of a CA that may not be one, by the path length above it", RefuseImpostor, USAGE, cert::path_too_long),
        case("incomplete", "the CA between is not sent", RefuseLapse, UNTRUSTED, cert::incomplete),
        case("wrong-name", "for another host", RefuseImpostor, MISMATCH, cert::wrong_name),
        case("wildcard-registry", "for *.co.uk", RefuseImpostor, MISMATCH, cert::wildcard_of_registry),
        case("wildcard-deep", "a wildcard that would stand for two labels", RefuseImpostor, MISMATCH, cert::wildcard_too_deep),
        case("common-name", "names the host in the common name only", RefuseLapse, MISMATCH, cert::common_name_only),
        case("no-name", "the client asks for no name, and the address is not named", Decrypt, Some("on_no_name"), cert::no_name),
        case("stolen", "good, but the server does not have its key", RefuseImpostor, None, cert::stolen),
        case("own-ca", "signed by the engine's own CA", RefuseImpostor, None, cert::of_own_ca),
    ]},
    Group { title: "Certificates: does it still hold?", cases: &[
        case("expired", "past its end", RefuseLapse, Some("on_expired"), cert::expired),
        case("expired-ca", "below a CA that is past its end", RefuseLapse, Some("on_expired"), cert::expired_issuer),
        case("not-yet-valid", "before its beginning", RefuseLapse, Some("on_not_yet_valid"), cert::not_yet_valid),
        case("revoked-staple", "revoked, says the stapled OCSP response", RefuseImpostor, Some("on_revoked"), cert::revoked_by_staple),
        case("revoked-crl", "revoked, says a CRL", RefuseImpostor, Some("on_revoked"), cert::revoked_by_crl),
        case("revoked-ca", "below a CA that was revoked", RefuseImpostor, Some("on_revoked"), cert::revoked_issuer),
        case("must-staple", "demands a staple, and comes without", RefuseImpostor, Some("on_must_staple"), cert::must_staple),
        case("revocation-unknown", "nobody says whether it was revoked", Decrypt, Some("on_revocation_unknown"), cert::revocation_unknown),
        case("no-sct", "no CT log has promised it", Decrypt, Some("on_no_sct"), cert::no_timestamps),
    ]},
    Group { title: "Certificates: what is it made of?", cases: &[
        case("no-server-auth", "for clients only", RefuseLapse, USAGE, cert::no_server_auth),
        case("no-signature", "with a key that may not sign", RefuseLapse, USAGE, cert::no_signature_usage),
        case("is-ca", "a CA's certificate", RefuseLapse, USAGE, cert::is_ca),
        case("unknown-critical", "with a critical extension that nobody knows", RefuseLapse, Some("on_unsupported_certificate"), cert::unknown_critical),
        case("malformed", "with an extension twice", RefuseLapse, None, cert::malformed),
        case("rsa-1024", "RSA with 1024 bits", RefuseImpostor, None, cert::short_key),
        case("sha-1", "signed with SHA-1", RefuseImpostor, None, cert::sha1),
        case("md5", "signed with MD5", RefuseImpostor, None, cert::md5),
    ]},
    Group { title: "Versions and cipher suites", cases: &[
        case("tls-1.3", "TLS 1.3", Decrypt, Some("max_version"), protocol::tls13),
        case("tls-1.2", "TLS 1.2 at most, with ECDHE and an AEAD", Decrypt, Some("min_version"), protocol::tls12),
        case("tls-1.1", "TLS 1.1 at most", RefuseLapse, UNSUPPORTED, protocol::tls11),
        case("tls-1.0", "TLS 1.0 at most", RefuseLapse, UNSUPPORTED, protocol::tls10),
        case("ssl-3.0", "SSL 3.0 at most", RefuseLapse, UNSUPPORTED, protocol::ssl3),
        case("no-version", "says that it speaks no version of the client's", RefuseLapse, UNSUPPORTED, protocol::no_version),
        case("no-cipher", "says that it takes no cipher suite of the client's", RefuseLapse, UNSUPPORTED, protocol::no_cipher),
        case("no-group", "takes no group of the client's", RefuseLapse, UNSUPPORTED, protocol::no_group),
        case("static-rsa", "chooses RSA key transport", RefuseLapse, None, protocol::static_rsa),
        case("dhe", "chooses DHE, in a group of its own", RefuseLapse, None, protocol::dhe),
        case("cbc", "chooses CBC", RefuseLapse, None, protocol::cbc),
        case("3des", "chooses 3DES", RefuseLapse, None, protocol::triple_des),
        case("rc4", "chooses RC4", RefuseLapse, None, protocol::rc4),
        case("null", "chooses no encryption", RefuseLapse, None, protocol::null),
        case("anonymous", "chooses to have no certificate", RefuseImpostor, None, protocol::anonymous),
        case("compression", "chooses compression", RefuseLapse, None, protocol::compression),
        case("downgrade", "TLS 1.2, with the mark of one that was talked down from 1.3", RefuseImpostor, None, protocol::downgrade),
    ]},
    Group { title: "Broken servers", cases: &[
        case("truncated", "half a handshake, and the end", RefuseLapse, None, protocol::truncated),
        case("not-tls", "answers in plain HTTP", RefuseLapse, None, protocol::not_tls),
        case("long-record", "a record longer than any may be", RefuseLapse, None, protocol::long_record),
        case("forged-record", "a record that was not sealed with the session's keys", RefuseImpostor, None, protocol::forged_record),
    ]},
    Group { title: "What cannot be read", cases: &[
        case("client-certificate-optional", "the server asks for a client certificate, and does without", Decrypt, CLIENT_CERTIFICATE, clients::asks_for_certificate),
        case("client-certificate", "the server insists on a client certificate", RefuseLapse, CLIENT_CERTIFICATE, clients::insists_on_certificate),
        case("pinned", "clients take the server's own certificate only", RefuseLapse, Some("on_pinned"), clients::pinned),
        #[cfg(feature = "aws-lc-rs")]
        case("ech", "clients hide the name that they ask for (ECH)", RefuseLapse, Some("on_ech"), clients::ech),
        #[cfg(feature = "aws-lc-rs")]
        case("ech-grease", "clients pretend to (GREASE)", Decrypt, Some("on_ech"), clients::ech_grease),
    ]},
];
