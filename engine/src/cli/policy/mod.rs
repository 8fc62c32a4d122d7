//! `wireglass policy`: what policy does with one request, and why, without an engine; and the policy of a fleet, in generations.

mod explained;
mod generations;
mod render;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use explained::Explained;
use wireglass_core::content::FileType;

use super::{USAGE, print, with_config};

/// Ask what a policy would do, or roll it out to a fleet.
#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    Explain(ExplainArgs),
    Push(generations::PushArgs),
    History(generations::HistoryArgs),
    Rollback(generations::RollbackArgs),
    GoOn(generations::GoOnArgs),
    Stop(generations::StopArgs),
}

const HELP: &str = "\
Examples:
  wireglass policy explain -c wire.toml --url https://ads.example/banner --client 10.0.0.5
  wireglass policy explain -c wire.toml --url https://files.example/setup.exe \\
      --status 200 --response-header 'content-type: application/x-msdownload'
  wireglass policy explain -c wire.toml --url https://ads.example/ --json | jq .verdict

It asks in the order of a real request: the connection (`[[rule]]`), the request (`[[content.rule]]`), and with
--status the response. Nothing is sent, and no engine needs to run.

Exit status: 0 explained; 2 wrong usage or configuration.";

/// Explain one request: which rules are asked, which one matches and why, and what happens.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
struct ExplainArgs {
    /// Configuration, in TOML; docs/configuration.md lists all keys.
    #[arg(short, long = "config", value_name = "FILE")]
    config: PathBuf,
    /// URL of the request: https://HOST[:PORT]/PATH?QUERY.
    #[arg(long)]
    url: String,
    /// Method of the request.
    #[arg(long, default_value = "GET")]
    method: String,
    /// Address of the client.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    client: IpAddr,
    /// Address of the server, for rules with `destination`.
    #[arg(long, value_name = "ADDRESS")]
    server: Option<IpAddr>,
    /// Name of the wire [default: the first].
    #[arg(long)]
    wire: Option<String>,
    /// VLAN id of the connection.
    #[arg(long, value_name = "ID")]
    vlan: Option<u16>,
    /// JA4 fingerprint of the client, for rules with `ja4`.
    #[arg(long, value_name = "FINGERPRINT", default_value = "")]
    ja4: String,
    /// Header field of the request: `NAME: VALUE`; repeatable.
    #[arg(long = "header", value_name = "FIELD", value_parser = field)]
    headers: Vec<(String, String)>,
    /// Status of a response; with it, the response is judged as well.
    #[arg(long)]
    status: Option<u16>,
    /// File type of the response, as its first bytes show it: `exe`.
    #[arg(long, value_name = "TYPE", value_parser = file_type, requires = "status")]
    file_type: Option<FileType>,
    /// Header field of the response: `NAME: VALUE`; repeatable.
    #[arg(long = "response-header", value_name = "FIELD", value_parser = field, requires = "status")]
    response_headers: Vec<(String, String)>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn file_type(text: &str) -> Result<FileType, String> {
    let found = FileType::ALL.iter().find(|kind| kind.name() == text);
    let names = || FileType::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    found.copied().ok_or_else(|| format!("expected one of {}", names()))
}

pub(super) fn run(args: &PolicyArgs) -> ExitCode {
    match &args.command {
        PolicyCommand::Explain(args) => explain(args),
        PolicyCommand::Push(args) => generations::push(args),
        PolicyCommand::History(args) => generations::history(args),
        PolicyCommand::Rollback(args) => generations::roll_back(args),
        PolicyCommand::GoOn(args) => generations::go_on(args),
        PolicyCommand::Stop(args) => generations::stop(args),
    }
}

fn explain(args: &ExplainArgs) -> ExitCode {
    let Some(url) = Url::parse(&args.url) else {
        errln!("wireglass: --url: expected https://HOST[:PORT]/PATH, found {:?}", args.url);
        return ExitCode::from(USAGE);
    };
    with_config(&args.config, |config| {
        let explained = Explained::new(&config, args, &url);
        if !args.json {
            return print(explained, ExitCode::SUCCESS);
        }
        match serde_json::to_string(&explained) {
            Ok(json) => print(format_args!("{json}\n"), ExitCode::SUCCESS),
            Err(error) => {
                errln!("wireglass: {error}");
                ExitCode::FAILURE
            }
        }
    })
}

/// The parts of a URL that policy looks at.
#[derive(Debug, PartialEq, Eq)]
struct Url {
    host: String,
    port: u16,
    target: String,
}

impl Url {
    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (authority, 443),
        };
        // What clients send: no fragment, and a path always.
        let target = target.split('#').next().unwrap_or_default();
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let is_host =
            !host.is_empty() && !host.contains(|c: char| c == '@' || c.is_whitespace() || c.is_control());
        is_host.then(|| Self { host: host.to_ascii_lowercase(), port, target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let url =
            |host: &str, port, target: &str| Some(Url { host: host.into(), port, target: target.into() });
        for (text, expected) in [
            ("https://A.example", url("a.example", 443, "/")),
            ("https://a.example:8443/x?y#z", url("a.example", 8443, "/x?y")),
            ("https://a.example?y=1", url("a.example", 443, "/?y=1")),
            ("https://[2001:DB8::1]/", url("[2001:db8::1]", 443, "/")),
            ("https://[::1]:444", url("[::1]", 444, "/")),
            ("http://a", None),
            ("https://", None),
            ("https://u@a/", None),
            ("https://a:x/", None),
            ("https://a:70000/", None),
            ("https://a b/", None),
        ] {
            assert_eq!(Url::parse(text), expected, "{text}");
        }
    }
}
