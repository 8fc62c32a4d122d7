//! `wireglass intermediates`: fills a file for `trust.intermediates`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use wireglass_core::x509::describe_certificate;

use crate::ca_files::write_new;

/// The largest report that is read, in bytes. Mozilla's has 9 MB.
const MAX_REPORT: u64 = 64 * 1024 * 1024;

const HELP: &str = "\
Example:
  curl -sSf https://ccadb.my.salesforce-sites.com/mozilla/MozillaIntermediateCertsCSVReport |
    wireglass intermediates --out /var/lib/wireglass/intermediates.pem && wireglass reload -c wire.toml

Some servers forget to send intermediate certificates; the engine finds them in this file. Public CAs disclose theirs
in reports of the CCADB. The command takes all PEM certificates out of such a text, and leaves out those that have
expired, are self-issued, or appear twice.

Next: name the file in `trust.intermediates`. Nothing in it becomes trusted by that. A timer in deploy/systemd does all
of this once a week.

Exit status: 0 written; 1 not written: no certificate found, or a file cannot be read or written; 2 wrong usage.";

/// Extract the certificates of a report into a file for `trust.intermediates`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct IntermediatesArgs {
    /// Text with certificates in PEM [default: standard input].
    #[arg(value_name = "REPORT")]
    report: Option<PathBuf>,
    /// File to write, in PEM; an existing file is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(args: &IntermediatesArgs) -> ExitCode {
    match write(args.report.as_deref(), &args.out) {
        Ok(Taken { pem: _, taken, left_out }) => super::print(
            format_args!("wrote {}: {taken} certificates, {left_out} left out\n", args.out.display()),
            ExitCode::SUCCESS,
        ),
        Err(message) => {
            errln!("wireglass: {message}");
            ExitCode::FAILURE
        }
    }
}

/// What was taken from a report.
struct Taken {
    pem: String,
    taken: usize,
    left_out: usize,
}

fn write(report: Option<&Path>, out: &Path) -> Result<Taken, String> {
    let name = report.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
    let failed = |error: io::Error| format!("{name}: {error}");
    let mut text = Vec::new();
    match report {
        Some(path) => File::open(path).map_err(failed)?.take(MAX_REPORT + 1).read_to_end(&mut text),
        None => io::stdin().lock().take(MAX_REPORT + 1).read_to_end(&mut text),
    }
    .map_err(failed)?;
    if text.len() as u64 > MAX_REPORT {
        return Err(format!("{name}: expected at most {MAX_REPORT} bytes"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let taken = take(&String::from_utf8_lossy(&text), i64::try_from(now).unwrap_or(i64::MAX));
    if taken.taken == 0 {
        // An error page instead of the report must not empty the file.
        return Err(format!("{name}: expected valid intermediate certificates in PEM, found none"));
    }
    write_new(out, taken.pem.as_bytes(), 0o644).map_err(|error| format!("{}: {error}", out.display()))?;
    Ok(taken)
}

/// The certificates of a text that are of use at `now`, in seconds since the Unix epoch.
fn take(text: &str, now: i64) -> Taken {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut all = Taken { pem: String::new(), taken: 0, left_out: 0 };
    let mut seen = BTreeSet::new();
    // In CSV they begin and end within a line.
    for part in text.split(BEGIN).skip(1) {
        let Some((body, _)) = part.split_once(END) else { continue };
        let pem = format!("{BEGIN}\n{}\n{END}\n", body.trim());
        let der = CertificateDer::from_pem_slice(pem.as_bytes());
        let about = der.ok().and_then(|der| describe_certificate(&der));
        match about {
            Some(about)
                if about.not_after > now
                    && about.subject != about.issuer
                    && seen.insert(about.fingerprint.clone()) =>
            {
                all.pem.push_str(&pem);
                all.taken += 1;
            }
            _ => all.left_out += 1,
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, Issuer, KeyPair};

    use super::*;

    fn pem(name: &str, until: i32, issuer: Option<&str>) -> String {
        let named = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let mut params = named(name);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        match issuer {
            None => params.self_signed(&key).expect("a certificate").pem(),
            Some(issuer) => {
                let above = KeyPair::generate().expect("a key");
                params.signed_by(&key, &Issuer::new(named(issuer), above)).expect("a certificate").pem()
            }
        }
    }

    #[test]
    fn what_is_of_use_in_a_report() {
        let good = pem("Issuer", 2090, Some("Root"));
        let report = format!(
            "Subject,PEM\nCN=Issuer,\"'{}'\"\nagain,\"'{good}'\"\nold,\"{}\"\nroot,\"{}\"\nbroken,\"-----BEGIN CERTIFICATE-----\nMIIB\n\
             -----END CERTIFICATE-----\"\ncut,\"-----BEGIN CERTIFICATE-----\nMIIB\n",
            good.trim(),
            pem("Old", 2020, Some("Root")),
            pem("Root", 2090, None),
        );
        let taken = take(&report, 1_800_000_000);
        assert_eq!((taken.taken, taken.left_out), (1, 4));
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        assert_eq!(der(&taken.pem), der(&good));
    }

    #[test]
    fn a_page_without_any_leaves_the_file_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let (report, out) = (dir.path().join("report"), dir.path().join("out.pem"));
        std::fs::write(&out, "before").expect("written");
        std::fs::write(&report, "503 Service Unavailable").expect("written");
        assert!(write(Some(&report), &out).is_err());
        assert_eq!(std::fs::read_to_string(&out).expect("read"), "before");
        std::fs::write(&report, pem("Issuer", 2090, Some("Root"))).expect("written");
        assert!(write(Some(&report), &out).is_ok());
    }
}
