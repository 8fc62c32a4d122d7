//! `wireglass ca`: make the two CAs, show them, and write the trusted one's revocation list.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use wireglass_core::x509::{CaFiles, Provider};

use crate::ca_files::{self, CaFileError, DEFAULT_DAYS, DEFAULT_NAME, NewCas};

/// What is wanted of the CAs' keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// To sign with them.
    Read,
    /// Nothing.
    Left,
}

/// Make or show the two CAs that sign the certificates that clients see.
#[derive(Debug, Args)]
pub struct CaArgs {
    #[command(subcommand)]
    command: CaCommand,
}

#[derive(Debug, Subcommand)]
enum CaCommand {
    /// Make both CAs: trusted.pem, trusted.key, untrusted.pem and untrusted.key.
    #[command(after_long_help = INIT_HELP)]
    Init(InitArgs),
    /// Show both CAs: subject, issuer, serial, validity, SHA-256 fingerprint and key.
    #[command(after_long_help = SHOW_HELP)]
    Show(ShowArgs),
    /// Write the trusted CA's revocation list (CRL), for clients that insist on one.
    #[command(after_long_help = CRL_HELP)]
    Crl(CrlArgs),
}

const INIT_HELP: &str = "\
Example:
  wireglass ca init --dir ca

Two CAs, because users must be able to see which servers are bad.

The TRUSTED CA signs copies of certificates that passed verification. Install trusted.pem, and only this file, on every
client whose traffic is decrypted:

  Debian, Ubuntu   cp trusted.pem /usr/local/share/ca-certificates/wireglass.crt && update-ca-certificates
  Fedora, RHEL     cp trusted.pem /etc/pki/ca-trust/source/anchors/ && update-ca-trust
  macOS            security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain trusted.pem
  Windows          certutil -addstore -f Root trusted.pem     (or by group policy)
  Firefox          Settings, Certificates, Authorities, Import (or the policy ImportEnterpriseRoots)
  one command      curl --cacert trusted.pem https://...

The UNTRUSTED CA signs copies of certificates that failed verification, where a profile says \"untrusted-ca\". The user's
browser then warns, as it would without wireglass. Never install untrusted.pem anywhere.

Whoever has trusted.key can pose as any server to those clients. Keep the .key files on this machine, readable only by
their owner (that is how they are made). Remove trusted.pem from the clients when you stop using it.

Next: name the files in [ca] of the configuration, then `wireglass check -c wire.toml`.";

const SHOW_HELP: &str = "\
Example:
  wireglass ca show -c wire.toml

Before you trust an installation, compare the fingerprint with the one in a client's certificate store.";

const CRL_HELP: &str = "\
Example:
  wireglass ca crl -c wire.toml --out /var/www/html/wireglass.crl
  [ca] crl_url = \"http://pki.example.com/wireglass.crl\"             in the configuration

SChannel clients (curl and .NET on Windows) refuse a certificate that does not say where its CRL is. Publish the file on
a web server that they reach without passing the engine, and put its URL into the configuration.

Without --revoke the list is empty. Serial numbers are in the log, as `wireglass.minted_serial`. Renew the list from a
timer, before it expires.";

#[derive(Debug, Args)]
struct CrlArgs {
    /// Folder with trusted.pem and trusted.key.
    #[arg(long, value_name = "DIR", default_value = "ca", conflicts_with = "config")]
    dir: PathBuf,
    /// Use the trusted CA of this configuration, wherever its key is.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// File to write, in DER; an existing file is replaced.
    #[arg(long, value_name = "FILE", default_value = "trusted.crl")]
    out: PathBuf,
    /// Validity of the list, in days.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Serial number of a copy to revoke, in hex, with or without colons; repeatable.
    #[arg(long = "revoke", value_name = "SERIAL", value_parser = serial)]
    revoked: Vec<Serial>,
}

/// The content of an INTEGER in DER.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Serial(Vec<u8>);

fn serial(text: &str) -> Result<Serial, String> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let wrong = || "expected a serial number of at most 20 bytes in hex".to_owned();
    if digits.is_empty() || digits.len() > 40 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let digits = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits };
    let bytes = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16));
    let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().map_err(|_| wrong())?;
    let significant = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len() - 1);
    // Positive: a leading one bit gets a zero before it.
    let sign = (bytes[significant] >= 0x80).then_some(0);
    Ok(Serial(sign.into_iter().chain(bytes[significant..].iter().copied()).collect()))
}

#[derive(Debug, Args)]
struct InitArgs {
    /// Folder for the four files; made if missing.
    #[arg(long, value_name = "DIR", default_value = "ca")]
    dir: PathBuf,
    /// Common name of the trusted CA; users see it as the issuer of certificates.
    #[arg(long, value_name = "CN", default_value = DEFAULT_NAME, hide_default_value = false)]
    name: String,
    /// Validity of both CAs, in days.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_DAYS, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
    /// Overwrite existing CAs. Clients that trust only the old one then refuse every decrypted connection.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Folder with trusted.pem and untrusted.pem.
    #[arg(long, value_name = "DIR", default_value = "ca", conflicts_with = "config")]
    dir: PathBuf,
    /// Show the CAs of this configuration.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl CaArgs {
    /// Runs it. `from_config` finds the CAs of a configuration, the trusted one first.
    pub(super) fn run(
        &self,
        from_config: impl FnOnce(&Path, Keys) -> Result<[CaFiles; 2], String>,
    ) -> ExitCode {
        match &self.command {
            CaCommand::Init(args) => report(init(args)),
            CaCommand::Show(args) => match &args.config {
                None => report(show(&[args.dir.join("trusted.pem"), args.dir.join("untrusted.pem")])),
                Some(config) => match from_config(config, Keys::Left) {
                    Ok(cas) => report(show(&cas.map(|ca| PathBuf::from(ca.cert_name)))),
                    Err(message) => wrong_config(&message),
                },
            },
            CaCommand::Crl(args) => {
                let in_folder =
                    || ca_files::read(&args.dir.join("trusted.pem"), &args.dir.join("trusted.key"));
                match args.config.as_deref().map(|config| from_config(config, Keys::Read)) {
                    None => report(in_folder().and_then(|ca| crl(args, &ca))),
                    Some(Ok([trusted, _])) => report(crl(args, &trusted)),
                    Some(Err(message)) => wrong_config(&message),
                }
            }
        }
    }
}

fn wrong_config(message: &str) -> ExitCode {
    errln!("{message}");
    ExitCode::from(2)
}

fn crl(args: &CrlArgs, ca: &CaFiles) -> Result<String, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let serials: Vec<_> = args.revoked.iter().map(|serial| serial.0.clone()).collect();
    ca_files::write_crl(ca, &args.out, &serials, args.days, now)?;
    Ok(format!("wrote {}: {} revoked, valid for {} days\n", args.out.display(), serials.len(), args.days))
}

fn report<E: std::fmt::Display>(result: Result<String, E>) -> ExitCode {
    match result {
        Ok(text) => super::print(text, ExitCode::SUCCESS),
        Err(error) => {
            errln!("wireglass: {error}");
            ExitCode::FAILURE
        }
    }
}

fn init(args: &InitArgs) -> Result<String, CaFileError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let files = ca_files::create(&NewCas {
        dir: args.dir.clone(),
        name: (args.name != DEFAULT_NAME).then(|| args.name.clone()),
        days: args.days,
        force: args.force,
        provider: Provider::default(),
        now,
    })?;
    let mut out = String::new();
    for file in &files {
        out.push_str(&format!("wrote {}\n", file.display()));
    }
    out.push_str("Install trusted.pem on the clients; `wireglass ca init --help` says how. Never install untrusted.pem.\n");
    Ok(out)
}

fn show(files: &[PathBuf; 2]) -> Result<String, CaFileError> {
    let mut out = String::new();
    for (file, title) in files.iter().zip(["Trusted CA (install on clients)", "Untrusted CA (never install)"])
    {
        let ca = ca_files::describe(file)?;
        out.push_str(&format!(
            "{title}: {}\n  subject      {}\n  issuer       {}\n  serial       {}\n  valid from   {}\n  valid until  {}\n  \
             key          {}\n  SHA-256      {}\n",
            file.display(),
            ca.subject,
            ca.issuer,
            ca.serial,
            date(ca.not_before),
            date(ca.not_after),
            ca.key,
            ca.fingerprint,
        ));
    }
    Ok(out)
}

fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        ca: CaArgs,
    }

    fn run(words: &[&str]) -> ExitCode {
        let line = Line::try_parse_from([&["ca"], words].concat()).expect("a valid command line");
        line.ca.run(|config, _| Err(format!("{}: no configuration here", config.display())))
    }

    #[test]
    fn init_once_then_only_by_force_and_show() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let dir = dir.path().join("ca");
        let dir = dir.to_str().expect("UTF-8");
        assert_eq!(run(&["show", "--dir", dir]), ExitCode::FAILURE);
        assert_eq!(
            run(&["init", "--dir", dir, "--name", "Example Inspection", "--days", "30"]),
            ExitCode::SUCCESS
        );
        assert_eq!(run(&["init", "--dir", dir]), ExitCode::FAILURE);
        assert_eq!(run(&["show", "--dir", dir]), ExitCode::SUCCESS);
        let files = ["trusted.pem", "untrusted.pem"].map(|f| Path::new(dir).join(f));
        let shown = show(&files).expect("both files");
        for part in
            ["CN=Example Inspection\n", "CN=Example Inspection untrusted (do not trust)\n", "EC P-256", "Z\n"]
        {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        let list = Path::new(dir).join("list.crl");
        let list = list.to_str().expect("UTF-8");
        assert_eq!(run(&["crl", "--dir", dir, "--out", list, "--revoke", "A0:01"]), ExitCode::SUCCESS);
        assert!(Path::new(list).is_file());
        assert_eq!(run(&["crl", "--dir", "nowhere", "--out", list]), ExitCode::FAILURE);
        assert_eq!(run(&["init", "--dir", dir, "--force"]), ExitCode::SUCCESS);
        assert_eq!(run(&["show", "-c", "x.toml"]), ExitCode::from(2));
    }

    #[test]
    fn serial_numbers() {
        for (text, der) in [
            ("0", &[0][..]),
            ("7F:00", &[0x7f, 0]),
            ("80", &[0, 0x80]),
            ("0001", &[1]),
            ("abc", &[0xa, 0xbc]),
        ] {
            assert_eq!(serial(text), Ok(Serial(der.to_vec())), "{text}");
        }
        for wrong in ["", ":", "xy", "-1", &"1".repeat(41)] {
            assert!(serial(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn usage_is_checked() {
        for words in [&["ca", "init", "--days", "0"][..], &["ca", "show", "--dir", "x", "-c", "y"], &["ca"]] {
            assert!(Line::try_parse_from(words).is_err(), "{words:?}");
        }
    }
}
