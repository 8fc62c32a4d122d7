//! `wireglass exclusions`: the servers that a running engine does not decrypt.

use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use wireglass_core::exclusions::{Cause, DEFAULT_LIFETIME};

use super::USAGE;
use super::plain::Plain;
use super::socket::EngineSocket;
use crate::control::client::{self, AskError};
use crate::control::protocol::{ExcludeRequest, IncludeRequest, MAX_HOURS, Refusal};
use crate::exclusions::ExclusionRecord;

const HELP: &str = "\
Examples:
  wireglass exclusions list
  wireglass exclusions add bank.example --hours 2
  wireglass exclusions add --address 192.0.2.7 --port 8443
  wireglass exclusions remove --cause pinned

The engine learns which servers cannot be decrypted. The profile says whether it bypasses them:
  client_certificate  the server insists on a client certificate     on_client_certificate
  unsupported         it supports nothing that the engine offers     on_unsupported
  pinned              clients accept only the original certificate   on_pinned
  ech                 clients encrypt the name of the server (ECH)   on_ech
A server that you `add` is bypassed wherever policy says decrypt, in connections that begin later. For a permanent
exclusion, write a [[rule]] with `action = \"bypass\"`.

Exit status: 0 done; 1 no engine runs, or there was nothing to remove; 2 wrong usage or configuration.";

/// Show or change the list of servers that a running engine does not decrypt.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct ExclusionsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show the servers that are not decrypted, and why.
    List {
        #[command(flatten)]
        engine: EngineSocket,
        /// Print one JSON object for each server
        #[arg(long)]
        json: bool,
    },
    /// Do not decrypt a server, for some hours.
    Add {
        #[command(flatten)]
        engine: EngineSocket,
        /// Server name; without it, all names at --address
        #[arg(value_name = "NAME", required_unless_present = "address")]
        name: Option<String>,
        /// Server address; without it, all addresses with this name
        #[arg(long)]
        address: Option<IpAddr>,
        /// TCP port of the server
        #[arg(long, default_value_t = 443)]
        port: u16,
        /// How long, in hours
        #[arg(long, value_name = "N", default_value_t = (DEFAULT_LIFETIME / 3600) as u32, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_HOURS)))]
        hours: u32,
    },
    /// Decrypt servers again: those that match every option given.
    Remove {
        #[command(flatten)]
        engine: EngineSocket,
        /// Servers with this name
        #[arg(value_name = "NAME", required_unless_present_any = ["address", "port", "cause", "all"])]
        name: Option<String>,
        /// Servers at this address
        #[arg(long)]
        address: Option<IpAddr>,
        /// Servers on this TCP port
        #[arg(long)]
        port: Option<u16>,
        /// Servers excluded for this cause
        #[arg(long, value_parser = PossibleValuesParser::new(Cause::ALL.map(Cause::name)))]
        cause: Option<String>,
        /// All servers
        #[arg(long, conflicts_with_all = ["name", "address", "port", "cause"])]
        all: bool,
    },
}

pub(super) fn run(args: &ExclusionsArgs) -> ExitCode {
    let (What::List { engine, .. } | What::Add { engine, .. } | What::Remove { engine, .. }) = &args.what;
    let socket = match engine.path() {
        Ok(socket) => socket,
        Err(message) => {
            errln!("{message}");
            return ExitCode::from(USAGE);
        }
    };
    let done = match &args.what {
        What::List { json, .. } => client::exclusions(&socket).map(|all| list(all, *json)),
        What::Add { name, address, port, hours, .. } => {
            let request =
                ExcludeRequest { name: name.clone(), address: *address, port: *port, hours: *hours };
            if let Err(message) = request.server() {
                errln!("wireglass: {message}");
                return ExitCode::from(USAGE);
            }
            client::exclude(&socket, &request).map(|()| ExitCode::SUCCESS)
        }
        What::Remove { name, address, port, cause, all, .. } => {
            let request = IncludeRequest {
                name: name.clone(),
                address: *address,
                port: *port,
                cause: cause.clone(),
                all: *all,
            };
            client::include(&socket, &request).map(removed)
        }
    };
    done.unwrap_or_else(|error| {
        errln!("wireglass: {}: {error}", socket.display());
        if matches!(error, AskError::Refused(Refusal::Request, _)) {
            errln!("wireglass: if that engine is older than this command, restart it with this `wireglass`");
        }
        ExitCode::FAILURE
    })
}

fn removed(count: u64) -> ExitCode {
    match count {
        0 => {
            errln!("wireglass: no exclusion matches");
            ExitCode::FAILURE
        }
        count => {
            errln!("wireglass: {count} removed");
            ExitCode::SUCCESS
        }
    }
}

fn list(mut all: Vec<ExclusionRecord>, json: bool) -> ExitCode {
    // The youngest last, next to the prompt.
    all.sort_by_key(|exclusion| exclusion.since);
    super::printed(print(&all, json), ExitCode::SUCCESS)
}

fn print(all: &[ExclusionRecord], json: bool) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for exclusion in all {
        if json {
            serde_json::to_writer(&mut out, exclusion)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", Row { exclusion, now })?;
        }
    }
    out.flush()?;
    if all.is_empty() && !json {
        errln!("wireglass: no exclusions");
    }
    Ok(())
}

struct Row<'r> {
    exclusion: &'r ExclusionRecord,
    now: u64,
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ExclusionRecord { cause, wire, vlan, name, address, port, ja4, offer, since: _, until, engine } =
            self.exclusion;
        write!(f, "{} ", Plain(cause))?;
        match name {
            Some(name) => write!(f, "\"{}\"", Plain(name))?,
            None => write!(f, "-")?,
        }
        match address {
            Some(IpAddr::V6(address)) => write!(f, " [{address}]:{port}")?,
            Some(address) => write!(f, " {address}:{port}")?,
            None => write!(f, " *:{port}")?,
        }
        if let Some(wire) = wire {
            write!(f, " {}", Plain(wire))?;
        }
        for id in vlan {
            write!(f, " vlan:{id}")?;
        }
        if let Some(ja4) = ja4 {
            write!(f, " ja4:{}", Plain(ja4))?;
        }
        if let Some(offer) = offer {
            write!(f, " offer:{}", Plain(offer))?;
        }
        let minutes = until.saturating_sub(self.now).div_ceil(60);
        write!(f, " for {} h {} min", minutes / 60, minutes % 60)?;
        match engine {
            Some(engine) => write!(f, " from {}", Plain(engine)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_all_that_limits_it() {
        let exclusion = ExclusionRecord {
            cause: "pinned".into(),
            wire: Some("lan".into()),
            vlan: vec![7],
            name: Some("a\u{1b}.example".into()),
            address: "2001:db8::1".parse().ok(),
            port: 443,
            ja4: Some("t13d".into()),
            offer: None,
            since: 0,
            until: 1000 + 3661,
            engine: Some("edge-2".into()),
        };
        let row = |exclusion: &ExclusionRecord| Row { exclusion, now: 1000 }.to_string();
        let all =
            r#"pinned "a\u{1b}.example" [2001:db8::1]:443 lan vlan:7 ja4:t13d for 1 h 2 min from edge-2"#;
        assert_eq!(row(&exclusion), all);
        let bare = ExclusionRecord { cause: "manual".into(), port: 8443, until: 1060, ..Default::default() };
        assert_eq!(row(&bare), "manual - *:8443 for 0 h 1 min");
    }
}
