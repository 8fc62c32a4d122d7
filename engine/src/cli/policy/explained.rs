//! What policy does with a connection, a request on it, and its response.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use wireglass_core::content::{SignatureId, SignatureMask};
use wireglass_core::exclusions::{Contact, Exclusions};
use wireglass_core::fields::{Field, Fields};
use wireglass_core::mirror::Mirror;
use wireglass_core::policy::{
    Answer, BlockWith, ConnectionFacts, ContentAction, ContentPolicy, ContentRuleId, Decided, Decision,
    DecryptedFlow, Direction, FieldEdit, FlowFacts, HelloFacts, Inside, Known, LastFound, Profile,
    RequestFacts, Respond, ResponseFacts, SignatureRules, SizeLimits,
};

use super::{ExplainArgs, Url};
use crate::config::Config;

/// All that there is to say, as `--json` prints it.
#[derive(Serialize)]
pub(super) struct Explained {
    pub(super) connection: Connection,
    /// None: the connection is not decrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<Message>,
    /// None: it was not asked about, or there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response: Option<Message>,
    /// Changes of the heads that pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) request_edits: Vec<Edit>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) response_edits: Vec<Edit>,
    pub(super) verdict: Verdict,
    /// The rule that says so: one on content where there is a request, else one on connections.
    pub(super) rule: Option<String>,
    /// What the client gets in place of what is blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) respond: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Connection {
    pub(super) client: IpAddr,
    pub(super) server: SocketAddr,
    /// The server's address is not known.
    #[serde(skip)]
    pub(super) has_no_server: bool,
    pub(super) host: String,
    pub(super) is_intercepted: bool,
    /// It is decided before the ClientHello.
    pub(super) at_syn: bool,
    /// The server hears of the client only when the ClientHello was let pass (`contact = "hold"`).
    pub(super) is_held: bool,
    pub(super) rules: Vec<Asked>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<String>,
    /// The profile bypasses servers that are known not to be decrypted, once that was learned.
    pub(super) may_be_excluded: bool,
    /// `wireglass exclusions add` has named the server, as `exclusions.file` has it, so that it is bypassed although policy says decrypt.
    /// None: there is no file to ask, or nobody is decrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is_excluded_by_hand: Option<bool>,
    /// Mirrors that would be shown it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) mirrors: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Message {
    /// `POST https://host/path`, or the status.
    pub(super) what: String,
    pub(super) rules: Vec<Asked>,
    /// Rules that apply when more content comes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) beyond: Vec<Beyond>,
    /// Rules that apply when something is found in the content.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) on_hit: Vec<OnHit>,
}

#[derive(Serialize)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) answer: &'static str,
    /// Which condition does not hold, or is not known yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) condition: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) beyond: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Beyond {
    pub(super) bytes: u64,
    pub(super) rule: String,
    pub(super) verdict: Verdict,
}

#[derive(Serialize)]
pub(super) struct OnHit {
    pub(super) signatures: Vec<String>,
    pub(super) rule: String,
    pub(super) verdict: Verdict,
}

#[derive(Serialize)]
pub(super) struct Edit {
    pub(super) field: String,
    /// None: it is removed.
    pub(super) value: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// To a port that is not intercepted.
    Passed,
    Bypassed,
    Allowed,
    /// With an alert in the log.
    Alerted,
    Blocked,
    /// What is in it decides.
    Inspected,
    /// The request passes, and the response decides, or what is in it.
    Undecided,
}

impl Asked {
    fn new(name: &str, answer: Answer) -> Self {
        let (answer, condition, beyond) = match answer {
            Answer::Matches => ("matches", None, None),
            Answer::No(condition) => ("no", Some(condition), None),
            Answer::NotYet => ("not yet", None, None),
            Answer::Beyond(bytes) => ("not yet", None, Some(bytes)),
            Answer::AwaitsType | Answer::AtContent => ("not yet", None, None),
            Answer::OnHit => ("not yet", Some("signatures"), None),
        };
        Self { name: name.to_owned(), answer, condition, beyond }
    }
}

impl Explained {
    pub(super) fn new(config: &Config, args: &ExplainArgs, url: &Url) -> Self {
        let (mut explained, profile) = Self::connection(config, args, url);
        if let Some(profile) = profile {
            let asking = Asking { policy: config.compile_content(), args, url };
            let flow = asking.flow(profile, explained.connection.server);
            asking.content(&mut explained, &flow);
        }
        explained
    }

    /// With the profile, if it is decrypted.
    fn connection(config: &Config, args: &ExplainArgs, url: &Url) -> (Self, Option<Arc<Profile>>) {
        let policy = config.compile_policy();
        let named = url.host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        let address = args.server.or(named);
        let server = SocketAddr::new(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), url.port);
        let connection = Connection {
            client: args.client,
            server,
            has_no_server: address.is_none(),
            host: url.host.clone(),
            is_intercepted: policy.candidate(url.port),
            at_syn: false,
            is_held: false,
            rules: Vec::new(),
            profile: None,
            may_be_excluded: false,
            is_excluded_by_hand: None,
            mirrors: Vec::new(),
        };
        let mut explained = Self {
            connection,
            request: None,
            response: None,
            request_edits: Vec::new(),
            response_edits: Vec::new(),
            verdict: Verdict::Passed,
            rule: None,
            respond: None,
        };
        if !explained.connection.is_intercepted {
            return (explained, None);
        }
        let wire = args.wire.as_deref().or(config.wires.first().map(|wire| &*wire.name)).unwrap_or_default();
        let client = SocketAddr::new(args.client, 0);
        let flow = FlowFacts { wire, vlan: args.vlan, client, server };
        // What browsers offer. An address is no server name (RFC 6066, 3).
        let alpn = [Box::from(*b"h2"), Box::from(*b"http/1.1")];
        let sni = Some(&*url.host).filter(|_| named.is_none());
        let hello = HelloFacts { sni, alpn: &alpn, ja4: &args.ja4 };
        let at_syn = policy.at_syn(&flow);
        explained.connection.at_syn = at_syn.is_some();
        explained.connection.is_held = at_syn.is_none() && policy.holds(&flow);
        let verdict = at_syn.unwrap_or_else(|| policy.at_hello(&flow, &hello));
        let rules = policy.explain(&flow, &hello);
        explained.connection.rules = rules.iter().map(|(name, answer)| Asked::new(name, *answer)).collect();
        let shown = policy.shown(verdict.rule.as_deref()).clone();
        let mut show = |is_seen: &dyn Fn(&Mirror) -> bool| {
            let mirrors = config.mirrors.iter().filter(|port| is_seen(&port.mirror));
            explained.connection.mirrors = mirrors.map(|port| port.mirror.name.to_string()).collect();
        };
        match &verdict.decision {
            Decision::Decrypt(profile) => show(&|mirror| mirror.shows(&profile.name, &shown)),
            Decision::Bypass => show(&|mirror| mirror.bypassed),
            Decision::Block(_) => {}
        }
        explained.rule = verdict.rule.map(|name| name.to_string());
        match verdict.decision {
            Decision::Decrypt(profile) => {
                explained.connection.profile = Some(profile.name.clone());
                explained.connection.may_be_excluded = profile.bypasses_learned();
                let contact = Contact {
                    wire: &wire.into(),
                    vlan: [args.vlan, None],
                    name: sni,
                    address: server.ip(),
                    port: server.port(),
                };
                explained.connection.is_excluded_by_hand = is_excluded_by_hand(config, &contact);
                if explained.connection.is_excluded_by_hand == Some(true) {
                    (explained.verdict, explained.rule) = (Verdict::Bypassed, None);
                    let mirrors = config.mirrors.iter().filter(|port| port.mirror.bypassed);
                    explained.connection.mirrors = mirrors.map(|port| port.mirror.name.to_string()).collect();
                    return (explained, None);
                }
                return (explained, Some(profile));
            }
            Decision::Bypass => explained.verdict = Verdict::Bypassed,
            Decision::Block(with) => {
                let how = match with {
                    BlockWith::Alert => "a TLS alert",
                    BlockWith::Reset => "a RST",
                    BlockWith::Page => "the block page",
                };
                (explained.verdict, explained.respond) = (Verdict::Blocked, Some(how.to_owned()));
            }
        }
        (explained, None)
    }
}

/// Whether an operator has named the server; none: the engine keeps no file of such, or it cannot be read.
fn is_excluded_by_hand(config: &Config, contact: &Contact<'_>) -> Option<bool> {
    let exclusions = Exclusions::new([0; 16]);
    crate::exclusions::load(config.exclusions.file.as_deref()?, &exclusions).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(exclusions.is_named(contact, now.as_secs()))
}

/// Asks the rules on content.
struct Asking<'a> {
    policy: ContentPolicy,
    args: &'a ExplainArgs,
    url: &'a Url,
}

impl Asking<'_> {
    fn flow(&self, profile: Arc<Profile>, server: SocketAddr) -> DecryptedFlow {
        DecryptedFlow {
            profile,
            sni: Some(self.url.host.as_str().into()),
            certificate_names: Vec::new(),
            client: SocketAddr::new(self.args.client, 0),
            server,
            flow_id: 0,
            connection: ConnectionFacts::default(),
        }
    }

    fn content(&self, explained: &mut Explained, flow: &DecryptedFlow) {
        let Self { policy, args, url } = self;
        // A request that says nothing of its length has none.
        let (fields, size) = head(&args.headers, Known::Bytes(0));
        let (host, method, target) = (Some(&*url.host), &*args.method, &*url.target);
        let facts = RequestFacts { host, method, target, fields: &fields, size };
        let standing = policy.at_request(flow, &facts, &mut LastFound::default());
        explained.request = Some(Message {
            what: format!("{method} https://{}{target}", url.host),
            rules: self.asked(policy.explain(flow, &facts)),
            beyond: self.beyond(&standing.size_limits),
            on_hit: self.on_hit(&standing.signatures),
        });
        if standing.awaits_response() {
            (explained.rule, explained.verdict) = (None, Verdict::Undecided);
        } else {
            self.decide(explained, standing.otherwise);
        }
        if explained.verdict == Verdict::Blocked {
            return;
        }
        explained.request_edits = self.edits(flow, Direction::Request);
        if let Some(status) = args.status {
            let (fields, size) = head(&args.response_headers, Known::Not);
            let inside = args.file_type.map_or(Inside::NotYet, Inside::Is);
            let facts = ResponseFacts { status, fields: &fields, size, inside };
            let Decided { rule, size_limits, signatures, awaits_type } =
                policy.at_response(&standing, &facts, &mut LastFound::default());
            if awaits_type {
                (explained.rule, explained.verdict) = (None, Verdict::Undecided);
            } else {
                self.decide(explained, rule);
            }
            explained.response = Some(Message {
                what: status.to_string(),
                rules: self.asked(policy.explain_response(&standing, &facts)),
                beyond: self.beyond(&size_limits),
                on_hit: self.on_hit(&signatures),
            });
        }
        if explained.verdict != Verdict::Blocked {
            explained.response_edits = self.edits(flow, Direction::Response);
        }
    }

    fn asked(&self, answers: Vec<(ContentRuleId, Answer)>) -> Vec<Asked> {
        answers.into_iter().map(|(id, answer)| Asked::new(self.policy.name(id), answer)).collect()
    }

    fn beyond(&self, limits: &SizeLimits) -> Vec<Beyond> {
        let beyond = limits.iter().map(|(bytes, id)| Beyond {
            bytes,
            rule: self.policy.name(id).to_string(),
            verdict: self.verdict(Some(id)),
        });
        beyond.collect()
    }

    fn on_hit(&self, rules: &SignatureRules) -> Vec<OnHit> {
        let all = self.policy.signatures().names();
        let names: Vec<_> =
            all.enumerate().filter_map(|(place, name)| Some((SignatureId::new(place)?, name))).collect();
        let named = |mask: SignatureMask| {
            names.iter().filter(|(id, _)| mask.has(*id)).map(|(_, name)| name.to_string()).collect()
        };
        let on_hit = rules.iter().map(|(mask, id)| OnHit {
            signatures: named(mask),
            rule: self.policy.name(id).to_string(),
            verdict: self.verdict(Some(id)),
        });
        on_hit.collect()
    }

    fn verdict(&self, rule: Option<ContentRuleId>) -> Verdict {
        match rule.map(|id| self.policy.action(id)) {
            None | Some(ContentAction::Allow) => Verdict::Allowed,
            Some(ContentAction::Alert) => Verdict::Alerted,
            Some(ContentAction::Block(_)) => Verdict::Blocked,
            Some(ContentAction::Inspect(_)) => Verdict::Inspected,
        }
    }

    fn decide(&self, explained: &mut Explained, rule: Option<ContentRuleId>) {
        explained.rule = rule.map(|id| self.policy.name(id).to_string());
        explained.verdict = self.verdict(rule);
        if let Some(ContentAction::Block(respond)) = rule.map(|id| self.policy.action(id)) {
            explained.respond = Some(match respond {
                Respond::Page => "the block page, with status 403".to_owned(),
                Respond::Reset => "a reset".to_owned(),
                Respond::Status(status) => format!("status {status}"),
                Respond::Redirect(url) => format!("a redirect to {url}"),
            });
        }
    }

    fn edits(&self, flow: &DecryptedFlow, direction: Direction) -> Vec<Edit> {
        let edits = self.policy.edits(flow, Some(&self.url.host), direction).into_iter();
        let edits = edits.map(|edit| match edit {
            FieldEdit::Remove(name) => Edit { field: name.into(), value: None },
            FieldEdit::Set(name, value) => Edit { field: name.into(), value: Some(value.into()) },
        });
        edits.collect()
    }
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
