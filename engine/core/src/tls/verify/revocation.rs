//! Whether the certificates of a path have been revoked, as far as that is known without asking anybody.

use rustls_pki_types::SignatureVerificationAlgorithm;
use x509_cert::der::Tag;
use x509_cert::der::asn1::AnyRef;

use super::crl::Crls;
use super::finding::Faults;
use super::ocsp;
use crate::event::{Revocation, RevocationSource};
use crate::reason::Reason;
use crate::tls::trust::Anchor;
use crate::x509::{Certificate, describe_date};

/// A certificate, and who has signed it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) certificate: &'a Certificate<'a>,
    pub(super) is_ca: bool,
    pub(super) issuer: Issuer<'a>,
}

/// Who has signed a certificate.
#[derive(Clone, Copy)]
pub(super) struct Issuer<'a> {
    pub(super) name: AnyRef<'a>,
    /// SubjectPublicKeyInfo.
    pub(super) public_key: AnyRef<'a>,
    /// None: a root.
    pub(super) certificate: Option<&'a Certificate<'a>>,
}

impl<'a> Issuer<'a> {
    /// Of the certificate at this place of a path.
    pub(super) fn of(path: &[&'a Certificate<'a>], place: usize, root: &'a Anchor) -> Option<Self> {
        match path.get(place + 1) {
            Some(above) => Some(Self::certificate(above)),
            None => Self::root(root),
        }
    }

    fn certificate(certificate: &'a Certificate<'a>) -> Self {
        let tbs = &certificate.tbs;
        Self { name: tbs.subject, public_key: tbs.public_key, certificate: Some(certificate) }
    }

    fn root(anchor: &'a Anchor) -> Option<Self> {
        let name = AnyRef::new(Tag::Sequence, &anchor.subject).ok()?;
        let public_key = AnyRef::new(Tag::Sequence, &anchor.public_key).ok()?;
        Some(Self { name, public_key, certificate: None })
    }
}

/// What one source says of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: Status,
    /// How long that holds, in seconds since the Unix epoch, the end not included.
    pub(super) until: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Good,
    /// Since when, if that was said.
    Revoked(Option<i64>),
}

/// What is known of the revocation of a path's certificates.
pub(super) struct Known {
    pub(super) revocation: Revocation,
    /// How long that holds, in seconds since the Unix epoch, the end not included.
    pub(super) until: i64,
}

/// Where to look.
pub(super) struct Sources<'a> {
    pub(super) staple: &'a [u8],
    pub(super) crls: &'a Crls,
    /// Whose checks count.
    pub(super) algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
    /// Those of lists, which do not.
    pub(super) uncounted: &'static [&'static dyn SignatureVerificationAlgorithm],
    /// In seconds since the Unix epoch.
    pub(super) now: i64,
}

impl Sources<'_> {
    /// Asks about all certificates of a path, the leaf first, the root aside. One that is revoked is a fault, whichever it is. Of CAs
    /// no more is demanded than that no list of their issuer's has them; what is said of the leaf is returned.
    pub(super) fn ask(&self, path: &[&Certificate<'_>], root: &Anchor, faults: &mut Faults) -> Option<Known> {
        let mut of_leaf = None;
        let mut until = i64::MAX;
        for (place, certificate) in path.iter().enumerate() {
            let issuer = Issuer::of(path, place, root)?;
            let asked = Asked { certificate, is_ca: place > 0, issuer };
            let staple = if place == 0 { self.staple } else { &[] };
            let (known, source) = match self.of_one(asked, staple) {
                Ok((answer, source)) => (answer, source),
                Err(why) => {
                    if place == 0 {
                        of_leaf = Some(Revocation::Unknown(why));
                    }
                    continue;
                }
            };
            until = until.min(known.until);
            if let Status::Revoked(at) = known.status {
                let since = at.map_or_else(String::new, |at| format!(" on {}", describe_date(at)));
                faults.push(
                    place,
                    Reason::CertRevoked,
                    format!("revoked{since}, says {}", source.in_words()),
                );
                of_leaf = Some(Revocation::Revoked(source));
                break;
            }
            if place == 0 {
                of_leaf = Some(Revocation::Good(source));
            }
        }
        of_leaf.map(|revocation| Known { revocation, until })
    }

    /// The first source that says "revoked", else the first that says "good"; else why none does.
    fn of_one(&self, asked: Asked<'_>, staple: &[u8]) -> Result<(Answer, RevocationSource), &'static str> {
        let mut why = None;
        let mut good = None;
        let stapled = (!staple.is_empty()).then(|| {
            let answer = ocsp::answer(staple, asked, self.algorithms, self.now);
            (answer, RevocationSource::Staple)
        });
        let listed = self.crls.of(asked.issuer.name).iter().map(|crl| {
            let answer = crl.answer(asked, self.uncounted, self.now);
            (answer, RevocationSource::Crl)
        });
        for (answer, source) in stapled.into_iter().chain(listed) {
            match answer {
                Ok(answer @ Answer { status: Status::Revoked(_), .. }) => return Ok((answer, source)),
                Ok(answer) => good = good.or(Some((answer, source))),
                Err(reason) => why = why.or(Some(reason)),
            }
        }
        good.ok_or(why.unwrap_or("no stapled OCSP response, and no CRL of its issuer"))
    }
}
