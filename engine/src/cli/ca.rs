//! `wireglass ca`: make the two CAs, and show them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use wireglass_core::x509::Provider;

use crate::ca_files::{self, CaFileError, DEFAULT_DAYS, DEFAULT_NAME, NewCas};

/// Make and show the two CAs that sign the certificates which clients see.
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
}

const INIT_HELP: &str = "\
The TRUSTED CA signs the copies of certificates that were found in order. Install trusted.pem, and only this file, on
every client whose traffic is decrypted:

  Debian, Ubuntu   cp trusted.pem /usr/local/share/ca-certificates/wireglass.crt && update-ca-certificates
  Fedora, RHEL     cp trusted.pem /etc/pki/ca-trust/source/anchors/ && update-ca-trust
  macOS            security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain trusted.pem
  Windows          certutil -addstore -f Root trusted.pem     (or by group policy)
  Firefox          Settings, Certificates, Authorities, Import (or the policy ImportEnterpriseRoots)
  one command      curl --cacert trusted.pem https://...

The UNTRUSTED CA signs copies of certificates that were not in order, where a profile says \"untrusted-ca\": the user's
browser warns, as it would have without wireglass. Never install untrusted.pem anywhere.

Whoever has trusted.key can pose as any server to those clients: keep the .key files on this machine, readable by
their owner only (which is how they are made), and remove trusted.pem from the clients when you stop using it.";

const SHOW_HELP: &str = "\
Compare the fingerprint with what a client's certificate store shows before you trust an installation.";

#[derive(Debug, Args)]
struct InitArgs {
    /// Folder for the four files; made if it is missing.
    #[arg(long, value_name = "DIR", default_value = "ca")]
    dir: PathBuf,
    /// Common name of the trusted CA: users see it when they look at a certificate.
    #[arg(long, value_name = "CN", default_value = DEFAULT_NAME, hide_default_value = false)]
    name: String,
    /// Validity in days.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_DAYS, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
    /// Overwrite CAs that exist already. Clients that trust the old one will refuse every decrypted connection.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Folder with trusted.pem and untrusted.pem.
    #[arg(long, value_name = "DIR", default_value = "ca", conflicts_with = "config")]
    dir: PathBuf,
    /// Take the files that this configuration names.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl CaArgs {
    /// Runs it. `from_config` finds the two certificate files of a configuration, the trusted CA's first.
    pub fn run(&self, from_config: impl FnOnce(&Path) -> Result<[PathBuf; 2], String>) -> ExitCode {
        match &self.command {
            CaCommand::Init(args) => report(init(args)),
            CaCommand::Show(args) => match &args.config {
                None => report(show(&[args.dir.join("trusted.pem"), args.dir.join("untrusted.pem")])),
                Some(config) => match from_config(config) {
                    Ok(files) => report(show(&files)),
                    Err(message) => {
                        eprintln!("{message}");
                        ExitCode::from(2)
                    }
                },
            },
        }
    }
}

fn report(result: Result<String, CaFileError>) -> ExitCode {
    match result {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("wireglass: {error}");
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
        line.ca.run(|config| Err(format!("{}: no configuration here", config.display())))
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
        assert_eq!(run(&["init", "--dir", dir, "--force"]), ExitCode::SUCCESS);
        assert_eq!(run(&["show", "-c", "x.toml"]), ExitCode::from(2));
    }

    #[test]
    fn usage_is_checked() {
        for words in [&["ca", "init", "--days", "0"][..], &["ca", "show", "--dir", "x", "-c", "y"], &["ca"]] {
            assert!(Line::try_parse_from(words).is_err(), "{words:?}");
        }
    }
}
