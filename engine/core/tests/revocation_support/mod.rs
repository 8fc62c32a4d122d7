//! A root, an issuer and a server, with what `openssl` says of them.
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls_pki_types::{CertificateDer, ServerName};
use wireglass_core::event::{Revocation, RevocationSource};
use wireglass_core::tls::{ChainVerifier, Findings, Knowledge};
use wireglass_core::x509::{CrlFile, Provider, RootFile};

pub const HOST: &str = "www.example.com";
pub const GOOD: Option<Revocation> = Some(Revocation::Good(RevocationSource::Staple));
pub const LISTED: Option<Revocation> = Some(Revocation::Good(RevocationSource::Crl));

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn pem(der: &[u8]) -> String {
    use x509_cert::der::pem::{LineEnding, encode_string};
    encode_string("CERTIFICATE", LineEnding::LF, der).unwrap()
}

pub struct Identity {
    pub params: CertificateParams,
    pub key: KeyPair,
    pub der: CertificateDer<'static>,
}

impl Identity {
    pub fn ca(name: &str, issuer: Option<&Self>) -> Self {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self::new(params, issuer)
    }

    pub fn leaf(issuer: &Self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = named("server");
        params.subject_alt_names = vec![rcgen::SanType::DnsName(HOST.try_into().unwrap())];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        Self::new(params, Some(issuer))
    }

    pub fn new(params: CertificateParams, issuer: Option<&Self>) -> Self {
        let key = KeyPair::generate().unwrap();
        let der = match issuer {
            None => params.self_signed(&key).unwrap().der().clone(),
            Some(issuer) => params
                .signed_by(&key, &Issuer::from_params(&issuer.params, &issuer.key))
                .unwrap()
                .der()
                .clone(),
        };
        Self { params, key, der }
    }

    /// `NAME.pem` and `NAME.key`.
    pub fn write(&self, dir: &Path, name: &str) {
        fs::write(dir.join(format!("{name}.pem")), pem(&self.der)).unwrap();
        fs::write(dir.join(format!("{name}.key")), self.key.serialize_pem()).unwrap();
    }
}

pub fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(vec![0x11; 8]));
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 1, 1);
    params
}

/// RFC 7633: status_request.
pub fn must_staple(params: &mut CertificateParams) {
    let extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], vec![0x30, 3, 2, 1, 5]);
    params.custom_extensions.push(extension);
}

/// Says where a CRL, an OCSP responder, and the issuer's certificate are to be had; empty: nothing of that.
pub fn addresses(params: &mut CertificateParams, crl: &str, ocsp: &str, issuer: &str) {
    if !crl.is_empty() {
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![crl.into()] }];
    }
    let mut list = Vec::new();
    for (method, uri) in [(1, ocsp), (2, issuer)].into_iter().filter(|(_, uri)| !uri.is_empty()) {
        let length = u8::try_from(uri.len()).unwrap();
        list.extend([0x30, length + 12, 6, 8, 43, 6, 1, 5, 5, 7, 48, method, 0x86, length]);
        list.extend(uri.bytes());
    }
    if !list.is_empty() {
        let length = u8::try_from(list.len()).unwrap();
        let mut der = if length < 128 { vec![0x30, length] } else { vec![0x30, 0x81, length] };
        der.extend(list);
        params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], der));
    }
}

/// A root, an intermediate, a leaf, and openssl's index of what the intermediate has issued.
pub struct World {
    pub dir: tempfile::TempDir,
    pub root: Identity,
    pub issuer: Identity,
    pub leaf: Identity,
}

impl World {
    pub fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let root = Identity::ca("Public Root", None);
        let issuer = Identity::ca("Public Issuer", Some(&root));
        let leaf = Identity::leaf(&issuer, change);
        let world = Self { dir: tempfile::tempdir().unwrap(), root, issuer, leaf };
        for (identity, name) in [(&world.root, "root"), (&world.issuer, "issuer"), (&world.leaf, "leaf")] {
            identity.write(world.dir.path(), name);
        }
        world.index("V\t490101000000Z\t");
        world
    }

    /// What openssl's database says of all serial numbers here.
    pub fn index(&self, status: &str) {
        fs::write(
            self.dir.path().join("index"),
            format!("{status}\t1111111111111111\tunknown\t/CN=server\n"),
        )
        .unwrap();
        fs::write(self.dir.path().join("index.attr"), "unique_subject = no\n").unwrap();
    }

    pub fn openssl(&self, line: &str) {
        let output = Command::new("openssl")
            .args(line.split_whitespace())
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn staple(&self, signer: &str, options: &str) -> Vec<u8> {
        self.openssl(&format!(
            "ocsp -index index -CA issuer.pem -rsigner {signer}.pem -rkey {signer}.key -issuer issuer.pem {options} -cert leaf.pem \
             -respout response.der -noverify"
        ));
        fs::read(self.dir.path().join("response.der")).unwrap()
    }

    /// A CRL of this CA with what the index says is revoked.
    pub fn crl(&self, ca: &str, options: &str) -> Vec<u8> {
        let config = "[ca]\ndefault_ca = lab\n[lab]\ndatabase = index\ndefault_md = sha256\n[partial]\n\
                      issuingDistributionPoint = critical, @idp\n[idp]\nfullname = URI:http://crl.example.com/1.crl\n\
                      [indirect]\nissuingDistributionPoint = critical, @ind\n[ind]\nindirectCRL = TRUE\n";
        fs::write(self.dir.path().join("ca.cnf"), config).unwrap();
        self.openssl(&format!(
            "ca -gencrl -config ca.cnf -cert {ca}.pem -keyfile {ca}.key -out {ca}.crl {options}"
        ));
        fs::read(self.dir.path().join(format!("{ca}.crl"))).unwrap()
    }

    pub fn verifier(&self, crls: &[Vec<u8>]) -> ChainVerifier {
        self.try_verifier(crls).unwrap()
    }

    /// What `openssl ocsp` answers to a request.
    pub fn ocsp(&self, request: &[u8], signer: &str, options: &str) -> Vec<u8> {
        fs::write(self.dir.path().join("request.der"), request).unwrap();
        self.openssl(&format!(
            "ocsp -index index -CA issuer.pem -rsigner {signer}.pem -rkey {signer}.key {options} -reqin request.der \
             -respout response.der -noverify"
        ));
        fs::read(self.dir.path().join("response.der")).unwrap()
    }

    pub fn try_verifier(&self, crls: &[Vec<u8>]) -> Result<ChainVerifier, String> {
        let roots = RootFile { name: "roots".into(), pem: pem(&self.root.der).into_bytes() };
        let crls =
            crls.iter().map(|crl| CrlFile { name: "list.crl".into(), contents: crl.clone() }).collect();
        let knowledge = Knowledge { crls, ..Knowledge::default() };
        ChainVerifier::new(Provider::default(), None, &[roots], &[])
            .and_then(|verifier| verifier.with(&knowledge))
            .map_err(|error| error.to_string())
    }

    pub fn found(&self, verifier: &ChainVerifier, staple: &[u8], now: u64) -> Findings {
        let name = ServerName::try_from(HOST).unwrap();
        verifier.verify_stapled(&self.leaf.der, std::slice::from_ref(&self.issuer.der), staple, &name, now)
    }

    /// Why a staple says nothing.
    pub fn why(&self, staple: &[u8], now: u64) -> &'static str {
        let findings = self.found(&self.verifier(&[]), staple, now);
        assert_eq!(findings.defects, []);
        match findings.revocation {
            Some(Revocation::Unknown(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}
