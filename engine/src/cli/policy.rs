//! `wireglass policy explain`: what policy does with one request, and why, without an engine.

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use wireglass_core::fields::{Field, Fields};
use wireglass_core::policy::{
    Answer, BlockWith, ContentAction, ContentPolicy, ContentRuleId, Decided, Decision, DecryptedFlow,
    Direction, FieldEdit, FlowFacts, HelloFacts, Known, Profile, RequestFacts, Respond, ResponseFacts,
    SizeLimits,
};

use super::{USAGE, with_config};
use crate::config::Config;

/// Ask what policy would do.
#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    Explain(ExplainArgs),
}

const HELP: &str = "\
Examples:
  wireglass policy explain -c wire.toml --url https://ads.example/banner --client 10.0.0.5
  wireglass policy explain -c wire.toml --url https://files.example/setup.exe \\
      --status 200 --response-header 'content-type: application/x-msdownload'

First the connection (`[[rule]]`), then the request (`[[content.rule]]`), then, with --status, the response. Nothing is sent, and no
engine need run.

Exit status: 0 explained; 2 wrong usage or configuration.";

/// Say which rules are asked about a request, which one matches and why, and what happens.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
struct ExplainArgs {
    /// Configuration in TOML; docs/configuration.md has all keys.
    #[arg(short, long = "config", value_name = "FILE")]
    config: PathBuf,
    /// What is asked for: https://HOST[:PORT]/PATH?QUERY.
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
    /// Name of the wire; else the first.
    #[arg(long)]
    wire: Option<String>,
    /// VLAN id of the connection.
    #[arg(long, value_name = "ID")]
    vlan: Option<u16>,
    /// A field of the request: `NAME: VALUE`; repeatable.
    #[arg(long = "header", value_name = "FIELD", value_parser = field)]
    headers: Vec<(String, String)>,
    /// Status of the response; then the response is asked about, too.
    #[arg(long)]
    status: Option<u16>,
    /// A field of the response; repeatable.
    #[arg(long = "response-header", value_name = "FIELD", value_parser = field, requires = "status")]
    response_headers: Vec<(String, String)>,
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

pub(super) fn run(args: &PolicyArgs) -> ExitCode {
    let PolicyCommand::Explain(args) = &args.command;
    let Some(url) = Url::parse(&args.url) else {
        eprintln!("wireglass: --url: expected https://HOST[:PORT]/PATH, found {:?}", args.url);
        return ExitCode::from(USAGE);
    };
    with_config(&args.config, |config| {
        print!("{}", Explained { config: &config, args, url: &url });
        ExitCode::SUCCESS
    })
}

/// The parts of a URL that policy looks at.
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
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        (!host.is_empty()).then(|| Self { host: host.to_ascii_lowercase(), port, target })
    }
}

struct Explained<'a> {
    config: &'a Config,
    args: &'a ExplainArgs,
    url: &'a Url,
}

impl Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.connection(f)? {
            Some(profile) => self.request(f, &profile),
            None => Ok(()),
        }
    }
}

impl Explained<'_> {
    /// The profile, if it is decrypted.
    fn connection(&self, f: &mut fmt::Formatter<'_>) -> Result<Option<Arc<Profile>>, fmt::Error> {
        let Self { config, args, url } = self;
        let policy = config.compile_policy();
        let server = self.server();
        writeln!(f, "connection from {} to {server}, server name {:?}", args.client, url.host)?;
        if args.server.is_none() && url.host.parse::<IpAddr>().is_err() {
            writeln!(f, "  note: rules with `destination` need --server")?;
        }
        if !policy.candidate(url.port) {
            writeln!(f, "  port {} is not in `intercept.ports`: it passes, and no rule is asked", url.port)?;
            return Ok(None);
        }
        let wire = args.wire.as_deref().or(config.wires.first().map(|wire| &*wire.name)).unwrap_or_default();
        let client = SocketAddr::new(args.client, 0);
        let flow = FlowFacts { wire, vlan: args.vlan, client, server };
        let (verdict, when) = match policy.at_syn(&flow) {
            Some(verdict) => (verdict, "at the SYN"),
            None => {
                let alpn = [Box::from(*b"h2"), Box::from(*b"http/1.1")];
                // An address is no server name (RFC 6066, 3).
                let sni =
                    Some(&*url.host).filter(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().is_err());
                (policy.at_hello(&flow, &HelloFacts { sni, alpn: &alpn, ja4: "" }), "at the ClientHello")
            }
        };
        let rule = match &verdict.rule {
            Some(name) => format!("[[rule]] {name:?}"),
            None => "no [[rule]], so policy.default".to_owned(),
        };
        Ok(match verdict.decision {
            Decision::Decrypt(profile) => {
                writeln!(f, "  {rule}, {when}: decrypted with profile {:?}", profile.name)?;
                Some(profile)
            }
            Decision::Bypass => {
                writeln!(f, "  {rule}, {when}: bypassed; no rule on content is asked")?;
                None
            }
            Decision::Block(with) => {
                let how = match with {
                    BlockWith::Alert => "a TLS alert",
                    BlockWith::Reset => "a RST",
                    BlockWith::Page => "the block page",
                };
                writeln!(f, "  {rule}, {when}: blocked with {how}")?;
                None
            }
        })
    }

    fn server(&self) -> SocketAddr {
        let named = self.url.host.trim_matches(['[', ']']).parse().ok();
        let address = self.args.server.or(named).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        SocketAddr::new(address, self.url.port)
    }

    fn request(&self, f: &mut fmt::Formatter<'_>, profile: &Arc<Profile>) -> fmt::Result {
        let Self { config, args, url } = self;
        let policy = config.compile_content();
        let flow = DecryptedFlow {
            profile: Arc::clone(profile),
            sni: Some(url.host.as_str().into()),
            certificate_names: Vec::new(),
            client: SocketAddr::new(args.client, 0),
            server: self.server(),
            flow_id: 0,
        };
        writeln!(f, "request {} https://{}{}", args.method, url.host, url.target)?;
        let (fields, size) = head(&args.headers, Known::Bytes(0));
        let facts = RequestFacts {
            host: Some(&url.host),
            method: &args.method,
            target: &url.target,
            fields: &fields,
            size,
        };
        let answers = policy.explain(&flow, &facts);
        if answers.is_empty() {
            writeln!(f, "  there is no [[content.rule]]")?;
        }
        for (id, answer) in answers {
            let said = match answer {
                Answer::Matches => "matches".to_owned(),
                Answer::No(condition) => format!("no: {condition}"),
                Answer::NotYet => "not yet: the response decides, or how much content comes".to_owned(),
            };
            writeln!(f, "  {:?}: {said}", &**policy.name(id))?;
        }
        let standing = policy.at_request(&flow, &facts);
        write_limits(f, &policy, &standing.size_limits, "request")?;
        if !standing.awaits_response() {
            return self.end(f, &policy, &flow, standing.otherwise);
        }
        let Some(status) = args.status else {
            writeln!(f, "the request passes; the response decides (--status and --response-header)")?;
            return self.edits(f, &policy, &flow);
        };
        let (fields, size) = head(&args.response_headers, Known::Not);
        let Decided { rule, size_limits } =
            policy.at_response(&standing, &ResponseFacts { status, fields: &fields, size });
        writeln!(f, "response {status}")?;
        write_limits(f, &policy, &size_limits, "response")?;
        self.end(f, &policy, &flow, rule)
    }

    fn end(
        &self,
        f: &mut fmt::Formatter<'_>,
        policy: &ContentPolicy,
        flow: &DecryptedFlow,
        rule: Option<ContentRuleId>,
    ) -> fmt::Result {
        let Some(id) = rule else {
            writeln!(f, "allowed: no rule matches")?;
            return self.edits(f, policy, flow);
        };
        let name = policy.name(id);
        match policy.action(id) {
            ContentAction::Allow => writeln!(f, "allowed by {name:?}")?,
            ContentAction::Alert => writeln!(f, "allowed by {name:?}, with an alert in the log")?,
            ContentAction::Block(respond) => {
                let how = match respond {
                    Respond::Page => "the block page, with status 403".to_owned(),
                    Respond::Reset => "a reset".to_owned(),
                    Respond::Status(status) => format!("status {status}"),
                    Respond::Redirect(url) => format!("a redirect to {url}"),
                };
                return writeln!(f, "blocked by {name:?}: the client gets {how}");
            }
        }
        self.edits(f, policy, flow)
    }

    fn edits(&self, f: &mut fmt::Formatter<'_>, policy: &ContentPolicy, flow: &DecryptedFlow) -> fmt::Result {
        for (direction, head) in [(Direction::Request, "request"), (Direction::Response, "response")] {
            for edit in policy.edits(flow, Some(&self.url.host), direction) {
                match edit {
                    FieldEdit::Remove(name) => writeln!(f, "[[header]] removes {name} from the {head}")?,
                    FieldEdit::Set(name, value) => {
                        writeln!(f, "[[header]] sets {name}: {value} in the {head}")?
                    }
                }
            }
        }
        Ok(())
    }
}

fn write_limits(
    f: &mut fmt::Formatter<'_>,
    policy: &ContentPolicy,
    limits: &SizeLimits,
    message: &str,
) -> fmt::Result {
    for (limit, id) in limits.iter() {
        writeln!(f, "  beyond {limit} bytes of the {message}'s content: {:?}", &**policy.name(id))?;
    }
    Ok(())
}

/// Fields, and the length that they declare; or else this one.
fn head(said: &[(String, String)], unsaid: Known) -> (Fields, Known) {
    let mut fields = Fields::default();
    for (name, value) in said {
        fields.push(Field { name: name.as_bytes(), value: value.as_bytes(), never_indexed: false });
    }
    let value = |wanted: &str| {
        said.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    };
    // RFC 9112, 6.3: a coding hides the length.
    let size = match (value("transfer-encoding"), value("content-length")) {
        (Some(_), _) => Known::Not,
        (None, Some(length)) => length.parse().map_or(Known::Not, Known::Bytes),
        (None, None) => unsaid,
    };
    (fields, size)
}
