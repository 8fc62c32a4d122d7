//! `[crypto]`, `[ca]` and `[trust]`: what certificates are made with and checked against.

use std::path::PathBuf;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use wireglass_core::tls::Knowledge;
use wireglass_core::x509::{CaFiles, CaKey, CrlFile, Provider, RootFile};

use crate::config::passphrase::{Passphrase, credential};
use crate::config::reader::{Table, Value};
use crate::config::token::{self, Means};
use crate::config::{ct_logs, files};
use crate::record_speeds::{Choice, RecordLibrary, RecordSpeeds};

/// `[crypto]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crypto {
    /// Which library does the cryptography of handshakes and certificates; one of those that are built in.
    pub provider: Provider,
    /// Which library protects records.
    pub records: RecordLibrary,
}

impl Crypto {
    pub(in crate::config) fn read(table: Table<'_>) -> Self {
        let built_in: Vec<_> = Provider::BUILT_IN.iter().map(|p| (p.name(), *p)).collect();
        let provider = library(&table, "provider", &built_in, Provider::default());
        let fixed = built_in.into_iter().map(|(name, provider)| (name, RecordLibrary::Fixed(provider)));
        let auto = (RecordLibrary::Auto.name(), RecordLibrary::Auto);
        let libraries: Vec<_> = std::iter::once(auto).chain(fixed).collect();
        let records = library(&table, "records", &libraries, RecordLibrary::Auto);
        table.finish();
        Self { provider, records }
    }

    /// The library of each suite's records on this machine, and why.
    pub fn record_libraries(&self) -> Choice<'static> {
        let mut speeds = None;
        let libraries = self.records.choose(self.provider, || speeds.insert(RecordSpeeds::here()));
        Choice { libraries, speeds }
    }

    /// Likewise, with the speeds where they decide nothing, too.
    pub fn record_libraries_probed(&self) -> Choice<'static> {
        Choice { speeds: Some(RecordSpeeds::here()), ..self.record_libraries() }
    }
}

/// One of these. Of a library that this build was made without, it says so.
fn library<T: Copy + PartialEq>(table: &Table<'_>, key: &'static str, of: &[(&str, T)], default: T) -> T {
    let name = of.iter().find(|(_, value)| *value == default).map_or("", |(name, _)| name);
    let Some(value) = table.value(key, format!("{name:?}")) else { return default };
    let text = if value.is_text() { value.text() } else { None };
    if let Some(text) = text.filter(|text| is_left_out(text, of.iter().map(|(name, _)| *name))) {
        value.say(format!("this build was made without {text}"));
        return default;
    }
    value.choice(of).unwrap_or(default)
}

/// There is such a library, and it is not among those that are built in.
fn is_left_out<'n>(name: &str, mut built_in: impl Iterator<Item = &'n str>) -> bool {
    ["aws-lc-rs", "ring"].contains(&name) && built_in.all(|has| has != name)
}

/// `[ca]`: the two CAs, read from their files.
#[derive(Debug)]
pub struct Ca {
    /// The CA that the clients trust.
    pub trusted: CaFiles,
    /// The CA that nobody trusts, so that browsers warn.
    pub untrusted: CaFiles,
    /// Where clients find the trusted CA's CRL.
    pub crl_url: Option<String>,
    /// The user that the signer becomes; none: it stays whoever starts it.
    pub signer_user: Option<String>,
    /// Most signatures in a second.
    pub signatures_per_second: u32,
    /// A program says the passphrase or PIN.
    pub asks_program: bool,
    /// Modules of PKCS#11 that keys are reached by.
    pub modules: Vec<PathBuf>,
}

impl Ca {
    pub(in crate::config) fn read(table: Table<'_>) -> Option<Self> {
        let passphrase = read_passphrase(&table);
        let module = table.value("pkcs11_module", "none").and_then(|value| value.path_of_others());
        let means = Means { passphrase: &passphrase, module: module.as_deref() };
        let (trusted, untrusted) = (read_ca(&table, "trusted", &means), read_ca(&table, "untrusted", &means));
        let crl_url = table.value("crl_url", "none").and_then(|value| {
            let url = value.text()?;
            let is_url =
                url.starts_with("http://") && url.len() > 7 && url.bytes().all(|b| b.is_ascii_graphic());
            if !is_url {
                // RFC 5280 §8: with https, a client would have to check a certificate to check a certificate.
                value.expected("an address that begins with http://");
            }
            is_url.then(|| url.to_owned())
        });
        let signer_user =
            table.value("signer_user", "none").and_then(|value| value.name().map(str::to_owned));
        let signatures_per_second = table.integer("signatures_per_second", 1..=1_000_000, 2000);
        table.finish();
        let ((trusted, first), (untrusted, second)) = (trusted?, untrusted?);
        let mut modules: Vec<_> = [first, second].into_iter().flatten().collect();
        modules.dedup();
        let asks_program = matches!(passphrase, Passphrase::Program(_));
        Some(Self { trusted, untrusted, crl_url, signer_user, signatures_per_second, asks_program, modules })
    }
}

/// Certificates of the CAs, without their keys.
pub(in crate::config) fn read_ca_certificates(table: &Table<'_>) -> Vec<CertificateDer<'static>> {
    let certificates = |which| {
        let table = table.required_table(which, CA_TABLE)?;
        let value = table.required("cert", CA_CERTIFICATE)?;
        let pem = files::certificates(&value.path()?).map_err(|message| value.say(message)).ok()?;
        CertificateDer::pem_slice_iter(&pem).next()?.ok()
    };
    ["trusted", "untrusted"].into_iter().filter_map(certificates).collect()
}

const CA_TABLE: &str = "{ cert = FILE, key = FILE } (`wireglass ca init` makes both CAs)";
const CA_CERTIFICATE: &str = "a file with the CA's certificate in PEM";

/// Of both keys.
fn read_passphrase(table: &Table<'_>) -> Passphrase {
    let file = table.value("passphrase_file", "none").and_then(|value| private_path(&value));
    let program = table.texts("passphrase_command");
    match (file, program.is_empty()) {
        (Some(_), false) => {
            table.say("expected `passphrase_file` or `passphrase_command`, found both");
            Passphrase::None
        }
        (Some(file), true) => Passphrase::File(file),
        (None, false) => Passphrase::Program(program),
        (None, true) => Passphrase::None,
    }
}

/// A file's path, or the name of a credential.
fn private_path(value: &Value<'_>) -> Option<PathBuf> {
    let path = value.path_of_others()?;
    let path = credential(path, value.text()?).map_err(|message| value.say(message)).ok()?;
    if !value.leaves_ca_keys() {
        value.reads(&path);
    }
    Some(path)
}

/// The CA, and the module that its key is reached by.
fn read_ca(table: &Table<'_>, which: &'static str, means: &Means<'_>) -> Option<(CaFiles, Option<PathBuf>)> {
    let table = table.required_table(which, CA_TABLE)?;
    let cert = |table: &Table<'_>| {
        let value = table.required("cert", CA_CERTIFICATE)?;
        let path = value.path()?;
        let pem = files::certificates(&path).map_err(|message| value.say(message)).ok()?;
        Some((path.display().to_string(), pem))
    };
    let key = |table: &Table<'_>| {
        let value =
            table.required("key", "a file with the CA's private key in PEM, or a URI `pkcs11:...`")?;
        if value.is_text() && token::is_at_token(value.text()?) {
            let token::Named { name, key, module } =
                token::read(&value, means).map_err(|message| value.say(message)).ok()?;
            value.stands_for(&name);
            return Some((name, key, Some(module)));
        }
        let path = private_path(&value)?;
        let name = path.display().to_string();
        if table.leaves_ca_keys() {
            return Some((name, CaKey::Elsewhere, None));
        }
        let pem = files::private_key(&path, means.passphrase).map_err(|message| value.say(message)).ok()?;
        Some((name, CaKey::Pem(pem), None))
    };
    let (cert, key) = (cert(&table), key(&table));
    table.finish();
    let ((cert_name, cert_pem), (key_name, key, module)) = (cert?, key?);
    Some((CaFiles { cert_name, cert_pem, key_name, key }, module))
}

/// `[trust]`: the roots that servers' certificates may end at.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Trust the roots of the operating system.
    pub system: bool,
    /// Further roots, read from their files.
    pub roots: Vec<RootFile>,
    /// What else is known of certificates, read from its files.
    pub knowledge: Knowledge,
}

impl Trust {
    /// `want_timestamps`: a profile asks for those of CT logs.
    pub(in crate::config) fn read(table: Table<'_>, want_timestamps: bool) -> Option<Self> {
        let system = table.boolean("system", true);
        let files = table.value("roots", "[]").map(|value| value.items()).unwrap_or_default();
        if !system && files.is_empty() {
            table.missing(
                "roots",
                "at least one file with roots, or `system = true`: now no server would be trusted",
            );
        }
        let wanted = files.len();
        let roots: Vec<_> = files
            .into_iter()
            .filter_map(|value| {
                let path = value.path()?;
                let pem = files::certificates(&path).map_err(|message| value.say(message)).ok()?;
                Some(RootFile { name: path.display().to_string(), pem })
            })
            .collect();
        let intermediates =
            read_all(&table, "intermediates", &["pem", "crt", "cer"], |name, pem| RootFile { name, pem });
        let crls = read_all(&table, "crls", &["crl", "pem"], |name, contents| CrlFile { name, contents });
        let ct_logs = table.value("ct_logs", "none").map(|value| {
            let path = value.path()?;
            ct_logs::read(&path).map_err(|message| value.say(message)).ok()
        });
        if ct_logs.is_none() && want_timestamps {
            table.missing("ct_logs", "a log list in JSON, which `on_no_sct` of a profile needs");
        }
        table.finish();
        let ct_logs = match ct_logs {
            None => None,
            Some(logs) => Some(logs?),
        };
        let knowledge =
            Knowledge { intermediates: intermediates?, crls: crls?, ct_logs, ..Knowledge::default() };
        (roots.len() == wanted).then_some(Self { system, roots, knowledge })
    }
}

/// The files of a list of files and folders; of a folder those with one of these endings, in the order of their names. None: a fault.
fn read_all<T>(
    table: &Table<'_>,
    key: &'static str,
    endings: &[&str],
    file: impl Fn(String, Vec<u8>) -> T,
) -> Option<Vec<T>> {
    let mut found = Some(Vec::new());
    for value in table.value(key, "[]").map(|value| value.items()).unwrap_or_default() {
        let read_one =
            |path: PathBuf| files::large(&path).map(|contents| file(path.display().to_string(), contents));
        let files = value.path().and_then(|path| {
            let files =
                files::in_folder(&path, endings).and_then(|files| files.into_iter().map(read_one).collect());
            files.map_err(|message: String| value.say(message)).ok()
        });
        found = found.zip(files).map(|(mut found, files): (Vec<T>, Vec<T>)| {
            found.extend(files);
            found
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_was_left_out_is_told_from_one_that_there_is_not() {
        let lacks = |name, has: &[&str]| is_left_out(name, has.iter().copied());
        assert!(lacks("ring", &["auto", "aws-lc-rs"]) && lacks("aws-lc-rs", &["ring"]));
        assert!(
            !lacks("ring", &["auto", "ring"]) && !lacks("openssl", &["ring"]) && !lacks("auto", &["ring"])
        );
        // Those that are built in have these names, and no others.
        assert!(Provider::BUILT_IN.iter().all(|provider| lacks(provider.name(), &[])));
    }
}
