//! `wireglass verify`: what a configuration makes of a server's chain, without an engine.

mod judged;
mod presented;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use judged::Judged;
use rustls_pki_types::ServerName;

use super::{describe, print};
use crate::config::Verification;

/// Exit status where nothing can be said: 2 is a verdict.
const FAILED: u8 = 3;

const HELP: &str = "\
Examples:
  wireglass verify -c wire.toml --connect www.example.com:443
  wireglass verify -c wire.toml --connect 192.0.2.7:8443 --name box.example --profile lenient
  wireglass verify -c wire.toml --name www.example.com chain.pem
  openssl s_client -connect www.example.com:443 -showcerts </dev/null > chain.pem
  wireglass verify -c wire.toml --name www.example.com --at 2027-01-15 --json chain.pem | jq .findings

For each finding it says: which certificate has it, which key of the profile decides about it, and what to do.

The first certificate of the first file is the server's; the others may come in any order, as a server would send them.
--connect asks the server from this machine, with a handshake that sends no data. The command reads no CA key.

Exit status: 0 the flow would be decrypted; 1 decrypted with a copy from the untrusted CA; 2 blocked, or wrong usage;
3 no verdict: a fault in the configuration, in a file, or in the connection.";

/// Check a server's certificate as the engine would: the verdict, its reasons, and what to do.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct VerifyArgs {
    /// Configuration, in TOML; docs/configuration.md lists all keys.
    #[arg(short, long = "config", value_name = "FILE")]
    config: PathBuf,
    /// Files with certificates in PEM or DER, the server's own first.
    #[arg(value_name = "CHAIN", required_unless_present = "connect", requires = "name")]
    files: Vec<PathBuf>,
    /// Get the chain from this server.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "files")]
    connect: Option<String>,
    /// Name that a client asks for; an address stands for a client that sends no SNI [default: the host of --connect].
    #[arg(long, value_parser = name)]
    name: Option<ServerName<'static>>,
    /// OCSP response, in DER, that the server staples to the chain in the files.
    #[arg(long, value_name = "FILE", conflicts_with = "connect")]
    staple: Option<PathBuf>,
    /// Name of the profile [default: `policy.profile`].
    #[arg(long)]
    profile: Option<String>,
    /// Verify as of this time: 2027-01-15, or 2027-01-15T08:00:00Z [default: now].
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<u64>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

fn name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned()).map_err(|_| "expected a DNS name or an address".into())
}

/// Seconds since the Unix epoch.
fn time(text: &str) -> Result<u64, String> {
    let midnight = |day: jiff::civil::Date| jiff::tz::Offset::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok();
    text.parse::<jiff::Timestamp>()
        .ok()
        .or_else(|| text.parse().ok().and_then(midnight))
        .and_then(|time| u64::try_from(time.as_second()).ok())
        .ok_or_else(|| "expected a day (2027-01-15) or a time (2027-01-15T08:00:00Z), not before 1970".into())
}

pub(super) fn run(args: &VerifyArgs) -> ExitCode {
    match judge(args) {
        Ok(judged) if args.json => match serde_json::to_string(&judged) {
            Ok(json) => {
                let status = judged.exit_code();
                print(format_args!("{json}\n"), status)
            }
            Err(error) => failed(&error.to_string()),
        },
        Ok(judged) => {
            let status = judged.exit_code();
            print(judged, status)
        }
        Err(message) => failed(&message),
    }
}

fn failed(message: &str) -> ExitCode {
    errln!("{message}");
    ExitCode::from(FAILED)
}

fn judge(args: &VerifyArgs) -> Result<Judged, String> {
    let settings = Verification::load(&args.config).map_err(|faults| describe(&faults))?;
    let in_config = |error: &dyn std::fmt::Display| format!("{}: {error}", args.config.display());
    let verifier = settings.verifier().map_err(|error| in_config(&error))?;
    let profile = settings.profile(args.profile.as_deref()).map_err(|error| in_config(&error))?;
    let (name, presented, staple) = match &args.connect {
        Some(server) => presented::by_server(server, args.name.clone(), settings.provider)?,
        // The command line has one, or it is not in order.
        None => {
            let name = args.name.clone().ok_or("wireglass: expected --name")?;
            let staple = args.staple.as_deref().map(presented::staple).transpose()?.unwrap_or_default();
            (name, presented::in_files(&args.files)?, staple)
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let at = args.at.unwrap_or(now);
    let (leaf, others) = presented.split_first().ok_or("wireglass: there is no certificate")?;
    let findings = verifier.verify_stapled(leaf, others, &staple, &name, at);
    Ok(Judged::new(&name, at, &profile, &presented, findings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(time("2027-01-15"), Ok(1_799_971_200));
        assert_eq!(time("2027-01-15T08:00:00Z"), Ok(1_800_000_000));
        assert_eq!(time("2027-01-15T09:00:00+01:00"), Ok(1_800_000_000));
        for wrong in ["", "yesterday", "2027-13-01", "1969-12-31", "1800000000"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
