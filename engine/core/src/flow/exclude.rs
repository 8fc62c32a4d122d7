//! Servers that are known as such that cannot be decrypted: what a flow asks before it is adopted, and what is learned from its end.

use super::context::Context;
use super::{Flow, Identity, Shared};
use crate::event::HelloInfo;
use crate::exclusions::{Cause, Client, Contact, Learned, Offer};
use crate::policy::{ClientCertificateAction, EchAction, Profile};
use crate::port::Io;
use crate::reason::Reason;
use crate::tls::description;

/// What a handshake has come to.
#[derive(Clone, Copy)]
pub(super) struct Outcome<'a> {
    pub(super) hello: &'a HelloInfo,
    pub(super) profile: &'a Profile,
    pub(super) reason: Reason,
    pub(super) alert: Option<u8>,
    /// The server asked for a client certificate.
    pub(super) certificate_asked: bool,
    /// The server's leg was up.
    pub(super) server_was_up: bool,
}

impl Outcome<'_> {
    /// Why the next one could not be decrypted either.
    fn cause(&self) -> Option<Cause> {
        match self.reason {
            Reason::ServerRequiresClientCert => Some(Cause::ClientCertificate),
            // It has been decrypted; whether the client would have shown a certificate, nobody knows.
            Reason::PolicyDecrypt if self.certificate_asked => {
                let bypasses = self.profile.on_client_certificate == ClientCertificateAction::Bypass;
                bypasses.then_some(Cause::ClientCertificate)
            }
            Reason::VersionUnsupportedServer | Reason::CipherNoneServer => Some(Cause::Unsupported),
            Reason::ClientAlert if self.server_was_up && self.alert.is_some_and(rejects_certificate) => {
                Some(Cause::Pinned)
            }
            Reason::ClientEch => Some(Cause::Ech),
            _ => None,
        }
    }
}

/// What a client says that does not take the certificate (RFC 8446 6.2).
fn rejects_certificate(alert: u8) -> bool {
    matches!(alert, description::BAD_CERTIFICATE | description::CERTIFICATE_UNKNOWN | description::UNKNOWN_CA)
}

fn offer(hello: &HelloInfo, profile: &Profile) -> Offer {
    let mut offer = [0; 10];
    offer[..8].copy_from_slice(&hello.offer);
    offer[8..].copy_from_slice(&[profile.min_version as u8, profile.max_version as u8]);
    Offer(offer)
}

impl<IO: Io> Flow<IO> {
    /// Why it is left alone although policy says to decrypt it.
    pub(super) fn excluded(&self, cx: &Context<IO>, hello: &HelloInfo, profile: &Profile) -> Option<Cause> {
        let contact = self.contact(&cx.shared, hello.sni.as_deref());
        let client = self.client_of(hello, profile);
        let now = cx.wall.0 / 1_000_000;
        let mut known = cx.shared.exclusions.find(&contact, &client, now);
        let cause = known.find(|cause| profile.bypasses(*cause) && (*cause != Cause::Ech || hello.ech))?;
        cx.counters.exclusions_used(cause).inc();
        Some(cause)
    }

    /// It has an encrypted hello, those for this name are real, and the profile blocks them.
    pub(super) fn blocks_ech(&self, cx: &Context<IO>, hello: &HelloInfo, profile: &Profile) -> bool {
        hello.ech && profile.on_ech == EchAction::Block && {
            let contact = self.contact(&cx.shared, hello.sni.as_deref());
            let client = self.client_of(hello, profile);
            let mut known = cx.shared.exclusions.find(&contact, &client, cx.wall.0 / 1_000_000);
            known.any(|cause| cause == Cause::Ech)
        }
    }

    /// Learns from a handshake. Returns why its server is known from now on.
    pub(super) fn learn(&self, cx: &Context<IO>, outcome: Outcome<'_>) -> Option<Cause> {
        let Outcome { hello, profile, .. } = outcome;
        let client = self.client_of(hello, profile);
        self.learn_cause(cx, outcome.cause()?, hello.sni.as_deref(), client)
    }

    /// Likewise from what an end has said after its handshake: it needs nothing else of the client's.
    pub(super) fn learn_late(&self, cx: &Context<IO>, reason: Reason) -> Option<Cause> {
        let about = self.about.as_ref()?;
        let cause = match reason {
            Reason::ServerRequiresClientCert => Cause::ClientCertificate,
            Reason::ClientEch => Cause::Ech,
            _ => return None,
        };
        let client = Client { address: self.identity.client().ip(), ja4: "", offer: Offer::default() };
        self.learn_cause(cx, cause, about.sni(), client)
    }

    fn learn_cause(
        &self,
        cx: &Context<IO>,
        cause: Cause,
        sni: Option<&str>,
        client: Client<'_>,
    ) -> Option<Cause> {
        let contact = self.contact(&cx.shared, sni);
        let learned = cx.shared.exclusions.learn(cause, &contact, &client, cx.wall.0 / 1_000_000);
        if learned != Learned::Now {
            return None;
        }
        cx.counters.exclusions_learned(cause).inc();
        Some(cause)
    }

    /// The client has taken a certificate of the trusted CA.
    pub(super) fn note_accepted(&self, cx: &Context<IO>, hello: &HelloInfo, profile: &Profile) {
        let contact = self.contact(&cx.shared, hello.sni.as_deref());
        cx.shared.exclusions.note_accepted(&contact, &self.client_of(hello, profile));
    }

    fn contact<'a>(&self, shared: &'a Shared, name: Option<&'a str>) -> Contact<'a> {
        let Identity { wire, vlan, server, .. } = self.identity.unpack();
        let wire = &shared.wires[usize::from(wire)];
        Contact { wire, vlan, name, address: server.ip(), port: server.port() }
    }

    fn client_of<'a>(&self, hello: &'a HelloInfo, profile: &Profile) -> Client<'a> {
        Client { address: self.identity.client().ip(), ja4: &hello.ja4, offer: offer(hello, profile) }
    }
}
