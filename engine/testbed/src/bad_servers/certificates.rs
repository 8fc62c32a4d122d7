//! Servers by what is wrong with their certificates.

use std::error::Error;

use rcgen::{
    CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData,
    SignatureAlgorithm, date_time_ymd,
};

use super::{HOST, Internet, Play, pem, serial};
use crate::{Authority, Identity};

type Made = Result<Play, Box<dyn Error>>;

/// Nothing is wrong: the CA's word that it is good is stapled, and CT logs have promised it, where there are any.
pub fn good(net: &Internet) -> Made {
    net.ordinary(|_| {})
}

/// Likewise, of another host.
pub fn good_elsewhere(net: &Internet) -> Made {
    named(net, "www.example.net", "www.example.net")
}

/// Signed by its own key.
pub fn self_signed(net: &Internet) -> Made {
    Ok(net.play(Identity::self_signed(&[HOST])?, Vec::new()))
}

/// Of a root that nobody knows.
pub fn untrusted(net: &Internet) -> Made {
    net.by(&net.stranger, &[], |_| {})
}

/// Without the CA between; it says where that is to be had (RFC 5280 §4.2.2.1).
pub fn incomplete(net: &Internet) -> Made {
    const ACCESS: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 1, 1];
    // A SEQUENCE of one SEQUENCE of id-ad-caIssuers and a URI.
    let mut access = vec![0x30, 36, 0x30, 34, 6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 2, 0x86, 22];
    access.extend(b"http://ca.example/ca.c");
    let identity = net.issuer.identity(&[HOST], &[], |leaf| {
        leaf.custom_extensions.push(CustomExtension::from_oid_content(&ACCESS, access));
    })?;
    Ok(net.play(identity, Vec::new()))
}

/// Of another CA that the trusted one has never signed, under its name.
pub fn forged_issuer(net: &Internet) -> Made {
    let forged = Authority::root("Internet CA")?;
    net.by(&forged, &[&net.issuer], |_| {})
}

/// For another host.
pub fn wrong_name(net: &Internet) -> Made {
    Ok(net.ordinary(|_| {})?.asked_for("www.example.org"))
}

/// Names the host in the common name only, which counts no longer (RFC 9525 §2).
pub fn common_name_only(net: &Internet) -> Made {
    net.ordinary(|leaf| leaf.subject_alt_names.clear())
}

/// A wildcard under a suffix below which anybody may register names.
pub fn wildcard_of_registry(net: &Internet) -> Made {
    named(net, "*.co.uk", "bank.co.uk")
}

/// A wildcard that would have to stand for two labels.
pub fn wildcard_too_deep(net: &Internet) -> Made {
    named(net, "*.example.com", "a.b.example.com")
}

fn named(net: &Internet, name: &str, asked: &'static str) -> Made {
    let identity = net.issuer.identity(&[name], &[&net.issuer], |_| {})?;
    let staple = net.issuer.staple(&identity.chain[0], false)?;
    Ok(net.play(identity, staple).asked_for(asked))
}

/// The client asks for no name, and the server's certificate does not name its address.
pub fn no_name(net: &Internet) -> Made {
    let mut play = net.ordinary(|_| {})?;
    play.client.sni = false;
    Ok(play)
}

/// Shown by who does not have its key.
pub fn stolen(net: &Internet) -> Made {
    let good = net.issuer.identity(&[HOST], &[&net.issuer], |_| {})?;
    let staple = net.issuer.staple(&good.chain[0], false)?;
    Ok(net.play(Identity { key: KeyPair::generate()?.into(), ..good }, staple))
}

/// Signed by an ordinary server's certificate, which is no CA's.
pub fn signed_by_leaf(net: &Internet) -> Made {
    let leaf = net.issuer.below("www.example.net", |leaf| {
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    })?;
    net.by(&leaf, &[&net.issuer], |_| {})
}

/// Of a CA that may not sign for this name (RFC 5280 §4.2.1.10).
pub fn outside_constraints(net: &Internet) -> Made {
    net.by(&net.constrained, &[], |_| {})
}

/// Below one CA more than the path length allows (RFC 5280 §4.2.1.9).
pub fn path_too_long(net: &Internet) -> Made {
    net.by(&net.beyond, &[&net.last], |_| {})
}

/// Signed by the engine's own CA.
pub fn of_own_ca(net: &Internet) -> Made {
    Ok(net.play(net.between[0].identity(&[HOST])?, Vec::new()))
}

/// Past its end.
pub fn expired(net: &Internet) -> Made {
    net.ordinary(|leaf| leaf.not_after = date_time_ymd(2025, 1, 1))
}

/// Before its beginning.
pub fn not_yet_valid(net: &Internet) -> Made {
    net.ordinary(|leaf| leaf.not_before = date_time_ymd(2073, 1, 1))
}

/// A good one below a CA that has expired.
pub fn expired_issuer(net: &Internet) -> Made {
    let issuer = net.root.below("Internet CA of old", |ca| ca.not_after = date_time_ymd(2025, 1, 1))?;
    net.by(&issuer, &[], |_| {})
}

/// Revoked, says a stapled OCSP response.
pub fn revoked_by_staple(net: &Internet) -> Made {
    let identity = net.issuer.identity(&[HOST], &[&net.issuer], |_| {})?;
    let staple = net.issuer.staple(&identity.chain[0], true)?;
    Ok(net.play(identity, staple))
}

/// Revoked, says its CA's CRL.
pub fn revoked_by_crl(net: &Internet) -> Made {
    let identity = net.listing.identity(&[HOST], &[&net.listing], |leaf| {
        leaf.serial_number = Some(serial());
    })?;
    Ok(net.play(identity, Vec::new()))
}

/// Of a CA that was revoked, says the root's CRL.
pub fn revoked_issuer(net: &Internet) -> Made {
    net.by(&net.revoked, &[], |_| {})
}

/// Demands a staple (RFC 7633), and comes without. Its CA's CRL does not have it.
pub fn must_staple(net: &Internet) -> Made {
    const STATUS_REQUEST: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 1, 24];
    let identity = net.listing.identity(&[HOST], &[&net.listing], |leaf| {
        let extension = CustomExtension::from_oid_content(&STATUS_REQUEST, vec![0x30, 3, 2, 1, 5]);
        leaf.custom_extensions.push(extension);
    })?;
    Ok(net.play(identity, Vec::new()))
}

/// Nobody says whether it was revoked.
pub fn revocation_unknown(net: &Internet) -> Made {
    Ok(net.play(net.issuer.identity(&[HOST], &[&net.issuer], |_| {})?, Vec::new()))
}

/// No CT log has promised it.
pub fn no_timestamps(net: &Internet) -> Made {
    let secretive = net.root.below("Internet CA in secret", |_| {})?.promised_by([]);
    net.by(&secretive, &[], |_| {})
}

/// For clients only.
pub fn no_server_auth(net: &Internet) -> Made {
    net.ordinary(|leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth])
}

/// With a key that may not sign.
pub fn no_signature_usage(net: &Internet) -> Made {
    net.ordinary(|leaf| leaf.key_usages = vec![KeyUsagePurpose::KeyEncipherment])
}

/// A CA's certificate as a server's.
pub fn is_ca(net: &Internet) -> Made {
    net.ordinary(|leaf| {
        leaf.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        leaf.key_usages.push(KeyUsagePurpose::KeyCertSign);
    })
}

/// A critical extension that nobody knows.
pub fn unknown_critical(net: &Internet) -> Made {
    net.ordinary(|leaf| {
        let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
        unknown.set_criticality(true);
        leaf.custom_extensions.push(unknown);
    })
}

/// An extension twice.
pub fn malformed(net: &Internet) -> Made {
    net.ordinary(|leaf| {
        let twice = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 2], vec![5, 0]);
        leaf.custom_extensions.extend([twice.clone(), twice]);
    })
}

/// RSA with 1024 bits.
pub fn short_key(net: &Internet) -> Made {
    let leaf = net.issuer.leaf(&[HOST], &ShortKey, |_| {})?;
    let staple = net.issuer.staple(&leaf, false)?;
    let chain = vec![leaf, net.issuer.certificate()];
    Ok(net.play(Identity { chain, key: KeyPair::generate()?.into() }, staple))
}

/// A public key of RSA with 1024 bits, as `openssl genrsa` has made it.
struct ShortKey;

impl PublicKeyData for ShortKey {
    fn der_bytes(&self) -> &[u8] {
        include_bytes!("old/rsa1024.der")
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

/// Signed with SHA-1.
pub fn sha1(net: &Internet) -> Made {
    old(net, include_str!("old/sha1.pem"), "sha1.example.com")
}

/// Signed with MD5.
pub fn md5(net: &Internet) -> Made {
    old(net, include_str!("old/md5.pem"), "md5.example.com")
}

/// Made by `openssl ca`, as rcgen signs with SHA-2 only.
fn old(net: &Internet, leaf: &str, asked: &'static str) -> Made {
    let identity = Identity { chain: vec![pem(leaf)?], key: KeyPair::generate()?.into() };
    Ok(net.play(identity, Vec::new()).asked_for(asked))
}
