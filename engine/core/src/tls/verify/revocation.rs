//! Whether the certificates of a path have been revoked, as far as that is known without waiting for anybody.

use rustls_pki_types::SignatureVerificationAlgorithm;
use x509_cert::der::Tag;
use x509_cert::der::asn1::AnyRef;

use super::crl::Crls;
use super::finding::Faults;
use super::{ocsp, validation};
use crate::event::{Revocation, RevocationSource};
use crate::reason::Reason;
use crate::tls::fetch::{Consulted, Fetcher, Need, Told};
use crate::tls::trust::Anchor;
use crate::x509::{Certificate, describe_date};

/// A certificate, and who has signed it.
#[derive(Clone, Copy)]
pub(in crate::tls) struct Asked<'a> {
    pub(in crate::tls) certificate: &'a Certificate<'a>,
    pub(in crate::tls) is_ca: bool,
    pub(in crate::tls) issuer: Issuer<'a>,
}

/// Who has signed a certificate.
#[derive(Clone, Copy)]
pub(in crate::tls) struct Issuer<'a> {
    pub(in crate::tls) name: AnyRef<'a>,
    /// SubjectPublicKeyInfo.
    pub(in crate::tls) public_key: AnyRef<'a>,
    /// None: a root.
    pub(in crate::tls) certificate: Option<&'a Certificate<'a>>,
}

impl<'a> Issuer<'a> {
    /// Of the certificate at this place of a path.
    pub(super) fn of(path: &[&'a Certificate<'a>], place: usize, root: &'a Anchor) -> Option<Self> {
        match path.get(place + 1) {
            Some(above) => Some(Self::certificate(above)),
            None => Self::root(root),
        }
    }

    pub(in crate::tls) fn certificate(certificate: &'a Certificate<'a>) -> Self {
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
pub(in crate::tls) struct Answer {
    pub(in crate::tls) status: Status,
    /// How long that holds, in seconds since the Unix epoch, the end not included.
    pub(in crate::tls) until: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tls) enum Status {
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

const NOTHING: &str = "no stapled OCSP response, and no CRL of its issuer";
const NO_CA: &str = "signed with a certificate that is no CA's";

/// Where to look.
pub(super) struct Sources<'a> {
    pub(super) staple: &'a [u8],
    pub(super) crls: &'a Crls,
    /// None: nothing is fetched.
    pub(super) fetcher: Option<&'a Fetcher>,
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
    ///
    /// Anybody who has a certificate for a server can sign with it: for what is below such a one nobody has vouched, so its names lead to no list and
    /// its addresses are not asked.
    pub(super) fn ask(
        &self,
        path: &[&Certificate<'_>],
        root: &Anchor,
        faults: &mut Faults,
        consulted: &mut Consulted,
    ) -> Option<Known> {
        let no_ca = (1..path.len()).rev().find(|place| validation::is_no_ca(path[*place]));
        let mut of_leaf = no_ca.map(|_| Revocation::Unknown(NO_CA));
        let mut until = i64::MAX;
        for (place, certificate) in path.iter().enumerate().skip(no_ca.unwrap_or(0)) {
            let issuer = Issuer::of(path, place, root)?;
            let asked = Asked { certificate, is_ca: place > 0, issuer };
            let staple = if place == 0 { self.staple } else { &[] };
            let (known, source) = match self.of_one(asked, staple, consulted) {
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

    /// The first source that says "revoked", else the first that says "good"; else why none does. What is at hand comes first, and where
    /// that says something, nothing is fetched.
    fn of_one(
        &self,
        asked: Asked<'_>,
        staple: &[u8],
        consulted: &mut Consulted,
    ) -> Result<(Answer, RevocationSource), &'static str> {
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
        let Some(fetcher) = self.fetcher else { return good.ok_or(why.unwrap_or(NOTHING)) };
        // A CRL first: whoever gives it does not learn which server it is about.
        for source in [RevocationSource::Crl, RevocationSource::Ocsp] {
            let need = if good.is_some() { Need::IfKnown } else { Need::Wanted };
            let told = match source {
                RevocationSource::Crl => fetcher.ask_crl(asked, need, self.now, consulted),
                _ if asked.is_ca => None,
                _ => fetcher.ask_ocsp(asked, need, self.now, consulted),
            };
            match told {
                None => {}
                Some(Told::Says(answer)) if answer.status != Status::Good => return Ok((answer, source)),
                Some(Told::Says(answer)) => good = good.or(Some((answer, source))),
                Some(Told::Nothing(reason)) => why = why.or(Some(reason)),
                Some(Told::Pending(reason)) => {
                    why = why.or(Some(reason));
                    break;
                }
            }
        }
        good.ok_or(why.unwrap_or(NOTHING))
    }
}
