//! Signatures of trusted roots that were found right before.
//!
//! Thousands of servers present one of a few hundred intermediates. Whether a root has signed it follows from the bytes of both alone, and
//! is asked once. All else about it, its dates and its revocation among it, is looked at each time.
//!
//! Only a root's own CA can add an entry: whoever makes intermediates by himself fills nothing.

use sha2::{Digest, Sha256};
use x509_cert::der::asn1::AnyRef;

use crate::generations::Generations;
use crate::shards::Shards;
use crate::x509::Certificate;

/// Signatures that are remembered; the public Internet has some 2,000 intermediates.
const REMEMBERED: usize = 4096;

/// What is remembered.
pub(in crate::tls) struct RootSignatures(Shards<Generations<[u8; 32], ()>>);

impl RootSignatures {
    /// Nothing yet.
    pub(in crate::tls) fn none() -> Self {
        Self(Shards::generations(REMEMBERED))
    }

    /// Whether `root`, the SubjectPublicKeyInfo of a trusted root, has signed the certificate. `check` finds it out where it is not known.
    pub(super) fn signed(
        &self,
        certificate: &Certificate<'_>,
        root: AnyRef<'_>,
        check: impl FnOnce() -> bool,
    ) -> bool {
        let root = root.value();
        let digest = Sha256::new_with_prefix((root.len() as u64).to_be_bytes()).chain_update(root);
        let digest = digest.chain_update(certificate.der()).finalize().into();
        if self.0.of_digest(&digest).find(&digest).is_some() {
            return true;
        }
        // Not under the lock: it takes long.
        let is_signed = check();
        if is_signed {
            self.0.of_digest(&digest).insert(digest, ());
        }
        is_signed
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn certificate() -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["ca.example".into()]).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn only_what_was_right_is_remembered_and_for_these_bytes_alone() {
        let ders = [certificate(), certificate()];
        let [first, second] = ders.each_ref().map(|der| Certificate::parse(der).unwrap());
        let [key, other_key] = [&first, &second].map(|certificate| certificate.tbs.public_key);
        let known = RootSignatures::none();
        assert!(!known.signed(&first, key, || false));
        assert!(!known.signed(&first, key, || false), "what was wrong is asked again");
        assert!(known.signed(&first, key, || true));
        assert!(known.signed(&first, key, || panic!("it is known")));
        assert!(!known.signed(&first, other_key, || false), "another root");
        assert!(!known.signed(&second, key, || false), "another certificate");
    }
}
