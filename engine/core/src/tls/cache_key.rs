//! What a cached thing was made for, as a hash: whoever asks for something else finds something else.

use rustls_pki_types::ServerName;
use sha2::{Digest, Sha256};

use crate::policy::{Profile, TlsVersion};

/// SHA-256 over parts that cannot run into each other.
pub(super) struct CacheKey(Sha256);

impl CacheKey {
    /// `purpose` keeps bindings for different ends apart.
    pub(super) fn new(purpose: &str) -> Self {
        Self(Sha256::new()).bytes(purpose.as_bytes())
    }

    /// Bytes, with their length.
    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// Bytes that may be missing, which is not the same as empty.
    pub(super) fn option(self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            Some(bytes) => self.bytes(&[1]).bytes(bytes),
            None => self.bytes(&[0]),
        }
    }

    /// A list, with its length.
    pub(super) fn list<T: AsRef<[u8]>>(self, items: impl ExactSizeIterator<Item = T>) -> Self {
        let this = self.bytes(&(items.len() as u64).to_be_bytes());
        items.fold(this, |this, item| this.bytes(item.as_ref()))
    }

    /// A name that a server has to prove.
    pub(super) fn name(self, name: &ServerName<'_>) -> Self {
        match name {
            ServerName::DnsName(host) => self.bytes(b"dns").bytes(host.as_ref().as_bytes()),
            other => self.bytes(b"ip").bytes(other.to_str().as_bytes()),
        }
    }

    /// All that a profile says of TLS.
    pub(super) fn profile(self, profile: &Profile) -> Self {
        let Profile {
            name,
            min_version,
            max_version,
            on_untrusted,
            on_self_signed,
            on_expired,
            on_not_yet_valid,
            on_name_mismatch,
            on_no_name,
            on_usage,
            on_unsupported_certificate,
            on_revoked,
            on_revocation_unknown,
            on_must_staple,
            on_no_sct,
            max_days,
            resumption,
            on_client_certificate,
            // Of no consequence for either leg.
            on_unsupported: _,
            on_pinned: _,
            http: _,
        } = profile;
        let version = |version: &TlsVersion| *version as u8;
        let defects = [
            on_untrusted,
            on_self_signed,
            on_expired,
            on_not_yet_valid,
            on_name_mismatch,
            on_usage,
            on_unsupported_certificate,
            on_revoked,
            on_revocation_unknown,
            on_must_staple,
            on_no_sct,
        ];
        self.bytes(name.as_bytes())
            .bytes(&[version(min_version), version(max_version), u8::from(*resumption)])
            .bytes(&defects.map(|action| *action as u8))
            .bytes(&[*on_client_certificate as u8, *on_no_name as u8])
            .bytes(&max_days.to_be_bytes())
    }

    pub(super) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{ClientCertificateAction, DefectAction, NoNameAction};

    #[test]
    fn parts_do_not_run_into_each_other() {
        let of = |parts: &[&[u8]]| parts.iter().fold(CacheKey::new("test"), |b, p| b.bytes(p)).finish();
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"", b"a"]), of(&[b"a", b""]));
        assert_ne!(of(&[b"a"]), CacheKey::new("another").bytes(b"a").finish());
        let option = |o: Option<&[u8]>| CacheKey::new("test").option(o).finish();
        assert_ne!(option(None), option(Some(b"")));
        let list = |l: &[&[u8]], then: &[u8]| CacheKey::new("test").list(l.iter()).bytes(then).finish();
        assert_ne!(list(&[b"a"], b"b"), list(&[b"a", b"b"], b""));
    }

    #[test]
    fn a_name_is_not_an_address() {
        let of = |name: &str| CacheKey::new("test").name(&ServerName::try_from(name).unwrap()).finish();
        assert_eq!(of("a.example"), of("a.example"));
        assert_ne!(of("a.example"), of("b.example"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn all_that_a_profile_says_of_tls_counts() {
        let of = |profile: &Profile| CacheKey::new("test").profile(profile).finish();
        let default = Profile::default();
        let block = DefectAction::UntrustedCa;
        let others = [
            Profile { name: "other".into(), ..default.clone() },
            Profile { min_version: TlsVersion::Tls13, ..default.clone() },
            Profile { max_version: TlsVersion::Tls12, ..default.clone() },
            Profile { on_untrusted: block, ..default.clone() },
            Profile { on_self_signed: block, ..default.clone() },
            Profile { on_expired: block, ..default.clone() },
            Profile { on_not_yet_valid: block, ..default.clone() },
            Profile { on_name_mismatch: block, ..default.clone() },
            Profile { on_no_name: NoNameAction::Block, ..default.clone() },
            Profile { on_usage: block, ..default.clone() },
            Profile { on_unsupported_certificate: block, ..default.clone() },
            Profile { on_revoked: block, ..default.clone() },
            Profile { on_revocation_unknown: block, ..default.clone() },
            Profile { on_must_staple: block, ..default.clone() },
            Profile { on_no_sct: block, ..default.clone() },
            Profile { max_days: 91, ..default.clone() },
            Profile { resumption: false, ..default.clone() },
            Profile { on_client_certificate: ClientCertificateAction::Block, ..default.clone() },
        ];
        let mut all: Vec<_> = others.iter().map(of).collect();
        all.push(of(&default));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), others.len() + 1);
        assert_eq!(of(&default), of(&Profile { http: false, ..default }));
    }
}
