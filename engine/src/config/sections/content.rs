//! `[content]`, `[[content.rule]]` and `[[header]]`: what becomes of the requests and responses of decrypted flows.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use tcp_stack::Duration;
use wireglass_core::content::{FileType, Page, SignatureMask};
use wireglass_core::icap::Method;
use wireglass_core::policy::{
    ContentAction, ContentRule, Direction, FieldEdit, Glob, HashLists, HeaderRule, Hold, Inspect, Inspection,
    ListKind, OnRange, OnUnread, Respond, TextPattern, is_editable,
};

use super::rules::read_network;
use super::{IcapServers, NamedLists, NamedSignatures, Profiles, YaraSets};
use crate::config::page_file::read_page;
use crate::config::reader::{Notes, Table, Value};

const ON_UNREAD: &[(&str, OnUnread)] = &[("block", OnUnread::Block), ("allow", OnUnread::Allow)];
const DIRECTIONS: &[(&str, Direction)] =
    &[("request", Direction::Request), ("response", Direction::Response)];
const ACTIONS: &[(&str, Action)] = &[
    ("allow", Action::Allow),
    ("alert", Action::Alert),
    ("block", Action::Block),
    ("inspect", Action::Inspect),
];
const HOLDS: &[(&str, Hold)] = &[("none", Hold::None), ("tail", Hold::Tail), ("all", Hold::All)];
/// Hashes of files.
const HASHES: &[(&str, ListKind)] = &[("sha256", ListKind::Sha256), ("md5", ListKind::Md5)];
const ON_RANGE: &[(&str, OnRange)] =
    &[("strip", OnRange::Strip), ("block", OnRange::Block), ("allow", OnRange::Allow)];
/// More threads than any machine has cores.
const MAX_THREADS: usize = 256;
const RESPONDS: &[(&str, Respond)] = &[("page", Respond::Page), ("reset", Respond::Reset)];

#[derive(Clone, Copy, PartialEq)]
enum Action {
    Allow,
    Alert,
    Block,
    Inspect,
}

/// What rules may ask for by name.
#[derive(Clone, Copy)]
pub(in crate::config) struct Named<'n> {
    pub(in crate::config) lists: &'n NamedLists,
    pub(in crate::config) signatures: &'n NamedSignatures,
    pub(in crate::config) icap: &'n IcapServers,
    pub(in crate::config) yara: &'n YaraSets,
}

/// The source of a [`wireglass_core::policy::ContentPolicy`].
#[derive(Clone, Debug)]
pub struct Content {
    /// In their order: the first that matches wins.
    pub rules: Vec<ContentRule>,
    /// Changes of heads.
    pub headers: Vec<HeaderRule>,
    /// HTTP that cannot be read, or may be read in two ways.
    pub on_unparsed: OnUnread,
    /// What is no HTTP.
    pub on_opaque: OnUnread,
    /// Bodies that rules ask about and that cannot be read through their codings.
    pub on_undecodable: OnUnread,
    /// Threads that look at bodies. 0: the workers do.
    pub threads: usize,
    /// Most bytes of bodies that one worker holds.
    pub worker_bytes: usize,
    /// Bounds of looking at bodies, and what becomes of what is beyond them.
    pub inspection: Inspection,
    /// What clients get instead of what is blocked.
    pub page: Arc<Page>,
    /// The file that it comes from; none: the built-in one.
    pub page_file: Option<PathBuf>,
}

impl Content {
    pub(in crate::config) fn read(
        document: &Table<'_>,
        profiles: &Profiles,
        named: Named<'_>,
        notes: &Notes<'_>,
    ) -> Self {
        let table = document.table("content");
        let page_file = table.value("page", "built in").and_then(|value| value.path());
        let page = page_file.as_deref().map(read_page).transpose();
        let page = page.unwrap_or_else(|error| {
            notes.fault_of_file(
                &page_file.iter().map(|file| file.display().to_string()).collect::<String>(),
                None,
                error,
            );
            None
        });
        let mut names = HashSet::new();
        let forced = read_forced_hashes(&table);
        let rules = table.tables("rule").into_iter();
        // Whoever waits for an answer from the network, or looks for seconds, is no worker.
        let least_threads = usize::from(!named.icap.servers.is_empty() || !named.yara.sets.is_empty());
        let worker_bytes = table.integer("worker_bytes", 1_048_576..=1_099_511_627_776, 134_217_728);
        let content = Self {
            on_unparsed: table.choice("on_unparsed", ON_UNREAD, OnUnread::Block),
            on_opaque: table.choice("on_opaque", ON_UNREAD, OnUnread::Allow),
            on_undecodable: table.choice("on_undecodable", ON_UNREAD, OnUnread::Block),
            threads: table.integer("threads", least_threads..=MAX_THREADS, 1),
            worker_bytes,
            inspection: read_inspection(&table, worker_bytes),
            rules: rules.filter_map(|table| read_rule(&table, profiles, named, &mut names, forced)).collect(),
            headers: document
                .tables("header")
                .into_iter()
                .filter_map(|table| read_header(&table, profiles, named.lists))
                .collect(),
            page: Arc::new(page.unwrap_or_default()),
            page_file,
        };
        table.finish();
        content
    }
}

fn read_inspection(table: &Table<'_>, worker_bytes: usize) -> Inspection {
    let default = Inspection::default();
    let hold = table.value("hold_bytes", default.hold_bytes.to_string());
    let hold_bytes =
        hold.as_ref().and_then(|value| value.integer(65_536..=1_073_741_824)).unwrap_or(default.hold_bytes);
    if hold_bytes > worker_bytes {
        let expected = format!("at most `content.worker_bytes`, {worker_bytes}");
        match hold {
            Some(value) => value.expected(&expected),
            None => table.say(format!("`hold_bytes` is {hold_bytes}: expected {expected}")),
        }
    }
    Inspection {
        hold_bytes,
        timeout: Duration::from_secs(table.integer("timeout_seconds", 1..=300, 10)),
        on_timeout: table.choice("on_timeout", ON_UNREAD, default.on_timeout),
        on_overload: table.choice("on_overload", ON_UNREAD, default.on_overload),
        on_oversize: table.choice("on_oversize", ON_UNREAD, default.on_oversize),
        on_icap: table.choice("on_icap", ON_UNREAD, default.on_icap),
        on_range: table.choice("on_range", ON_RANGE, default.on_range),
    }
}

/// What events say of each body that is looked at, whatever lists ask for.
fn read_forced_hashes(table: &Table<'_>) -> HashLists {
    let mut hashes = HashLists::default();
    let items = table.value("force_hash", "none").map(|value| value.items()).unwrap_or_default();
    for kind in items.into_iter().filter_map(|item| item.choice(HASHES)) {
        match kind {
            ListKind::Md5 => hashes.force_md5(),
            _ => hashes.force_sha256(),
        }
    }
    hashes
}

fn read_rule<'a>(
    table: &Table<'a>,
    profiles: &Profiles,
    named: Named<'_>,
    names: &mut HashSet<&'a str>,
    forced: HashLists,
) -> Option<ContentRule> {
    let Named { lists, signatures, .. } = named;
    let name = table.required("name", "a name for the logs").and_then(|value| {
        let name = value.name()?;
        if !names.insert(name) {
            value.expected("a name that no other rule on content has");
        }
        Some(name)
    });
    let direction = table.value("direction", "any");
    let chosen = direction.as_ref().and_then(|value| value.choice(DIRECTIONS));
    let action = read_action(table, named, chosen, forced);
    let hosts = |value: &Value<'_>| lists.named_by(value, &[ListKind::Domain, ListKind::Url]);
    let addresses = |value: &Value<'_>| lists.named_by(value, &[ListKind::Ip]);
    let (source, source_list) = table.any_of_or_list("source", |value| read_network(&value), addresses);
    let (destination, destination_list) =
        table.any_of_or_list("destination", |value| read_network(&value), addresses);
    let (host, host_list) = table.any_of_or_list("host", |value| value.parse(), hosts);
    let lower = |value: Value<'_>| value.parse::<Glob>().map(|glob| glob.to_lower_case());
    let status = table.any_of("status", |value| value.integer(100..=999));
    if let (Some(value), Some(Direction::Request), false) = (&direction, chosen, status.is_empty()) {
        value.say("only a response has a `status`");
    }
    if let (Some(value), Some(ContentAction::Inspect(_))) = (table.value("size", "any"), &action) {
        value.say(
            "a rule with action = \"inspect\" cannot have `size`: the size is known when part of the body has been sent on, too late to inspect it",
        );
    }
    let file_type = table.any_of("file_type", |value| read_types(&value)).concat();
    let asks_size = table.value("size", "any").is_some();
    let signatures = table.any_of("signatures", |value| signatures.named_by(&value));
    if let (Some(value), Some(Direction::Request)) = (table.value("file_type", "any"), chosen) {
        if matches!(action, Some(ContentAction::Allow)) {
            value.say("the `file_type` of a request is known after the rules behind this one were asked: use action = \"alert\", \"block\" or \"inspect\"");
        }
        if asks_size || !signatures.is_empty() {
            value
                .say("a rule on requests that asks for a `file_type` asks for no `size` and no `signatures`");
        }
    }
    if let Some(value) = table.value("signatures", "any") {
        match action {
            Some(ContentAction::Allow) => value.say(
                "`signatures` are found when most of the message has been sent on: use action = \"alert\" or \"block\"",
            ),
            Some(ContentAction::Inspect(_)) => value.say("with action = \"inspect\", name the signatures in `inspect`"),
            _ => {}
        }
        if asks_size {
            value.say("a rule asks either for a `size` or for `signatures`");
        }
    }
    let rule = ContentRule {
        profile: table
            .any_of("profile", |value| profiles.named_by(Some(&value)).map(|profile| profile.name.clone())),
        source,
        source_list,
        destination,
        destination_list,
        host,
        host_list,
        method: table.any_of("method", |value| read_method(&value)),
        path: table.any_of("path", |value| read_path(&value)),
        path_regex: table.any_of("path_regex", |value| read_regex(&value)),
        query: table.any_of("query", |value| value.parse()),
        direction: chosen,
        header: read_conditions(table),
        status,
        content_type: table.any_of("content_type", lower),
        size: table.value("size", "any").and_then(|value| value.integer(0..=i64::MAX)).map(i64::unsigned_abs),
        file_name: table.any_of("file_name", lower),
        file_type,
        signatures,
        // The name and the action are put in place below, so that the faults of all keys are found first.
        ..ContentRule::new("", ContentAction::Allow)
    };
    table.finish();
    Some(ContentRule { name: name?.to_owned(), action: action?, ..rule })
}

/// A type, or a group of them.
fn read_types(value: &Value<'_>) -> Option<Vec<FileType>> {
    let types = FileType::named(value.text()?);
    if types.is_empty() {
        value.expected("a type or group of types of files (\"exe\", \"executable\", \"archive\", \"office\", \"script\" ...)");
        return None;
    }
    Some(types)
}

fn read_action(
    table: &Table<'_>,
    named: Named<'_>,
    direction: Option<Direction>,
    forced: HashLists,
) -> Option<ContentAction> {
    let action = table
        .required("action", "\"allow\", \"alert\", \"block\" or \"inspect\"")
        .and_then(|value| value.choice(ACTIONS));
    let respond = table.value("respond", "\"page\"");
    if let (Some(value), Some(Action::Allow | Action::Alert)) = (&respond, action) {
        value.say("only a rule with action = \"block\" or \"inspect\" has this key");
    }
    let respond = match &respond {
        Some(value) => read_respond(value),
        None => Some(Respond::default()),
    };
    let (inspect, hold) = (table.value("inspect", "nothing"), table.value("hold", "by the type of the file"));
    if action.is_some() && action != Some(Action::Inspect) {
        for value in [&inspect, &hold].into_iter().flatten() {
            value.say("only a rule with action = \"inspect\" has this key");
        }
    }
    let hold = hold.and_then(|value| value.choice(HOLDS));
    Some(match action? {
        Action::Allow => ContentAction::Allow,
        Action::Alert => ContentAction::Alert,
        Action::Block => ContentAction::Block(respond?),
        Action::Inspect => {
            let Some(inspect) = inspect else {
                table.missing("inspect", "what it is looked at for (`inspect = [\"list.NAME\"]`)");
                return None;
            };
            let inspect = read_inspectors(&inspect, named, direction, forced)?;
            ContentAction::Inspect(Inspect { hold, respond: respond?, ..inspect })
        }
    })
}

/// `inspect = ["list.malware", "secrets", "icap.av", "yara.malware"]`.
fn read_inspectors(
    value: &Value<'_>,
    named: Named<'_>,
    direction: Option<Direction>,
    hashes: HashLists,
) -> Option<Inspect> {
    let method = if direction == Some(Direction::Request) { Method::Reqmod } else { Method::Respmod };
    let Named { lists, signatures, icap, yara } = named;
    let mut inspect = Inspect { hashes, ..Inspect::default() };
    let items = value.items();
    if items.is_empty() && value.is_list() {
        value.expected("at least one name, as \"list.malware\"");
        return None;
    }
    for item in items {
        let text = item.text()?;
        if let Some(name) = text.strip_prefix("icap.") {
            inspect.inspectors.extend(icap.named(&item, name, method));
            continue;
        }
        if let Some(name) = text.strip_prefix("yara.") {
            // Their places come after those of the servers.
            inspect.inspectors.extend(yara.named(&item, name).map(|place| icap.servers.len() + place));
            continue;
        }
        let Some(name) = text.strip_prefix("list.") else {
            inspect.signatures =
                signatures.named_by(&item).into_iter().fold(inspect.signatures, SignatureMask::with);
            continue;
        };
        let Some(list) = lists.named(&item, name, &[ListKind::Sha256, ListKind::Md5]) else { continue };
        match lists.lists.get(list).map(|list| list.kind) {
            Some(ListKind::Md5) => inspect.hashes.add_md5(list),
            _ => inspect.hashes.add_sha256(list),
        }
    }
    Some(inspect)
}

fn read_respond(value: &Value<'_>) -> Option<Respond> {
    if let Some(table) = value.table() {
        let url = table.required("redirect", "a URL").and_then(|value| read_url(&value));
        table.finish();
        return url.map(Respond::Redirect);
    }
    if value.is_integer() {
        // RFC 9110, 15.2: what is below is no last response.
        return value.integer(200..=599).map(Respond::Status);
    }
    if !value.is_text() {
        value.expected("\"page\", \"reset\", a status (451) or { redirect = \"https://...\" }");
        return None;
    }
    let found =
        RESPONDS.iter().find(|(name, _)| Some(*name) == value.text()).map(|(_, respond)| respond.clone());
    if found.is_none() {
        value.expected("\"page\", \"reset\", a status (451) or { redirect = \"https://...\" }");
    }
    found
}

fn read_url(value: &Value<'_>) -> Option<Box<str>> {
    let text = value.text()?;
    let is_url =
        ["https://", "http://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
    if !is_url || text.len() > 2048 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        value.expected("a URL that begins with https:// or http://, of at most 2048 bytes without spaces");
        return None;
    }
    Some(text.into())
}

fn read_method(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    // RFC 9110, 9.1: names of methods are case-sensitive, and all that are in use are in upper case.
    if text.is_empty()
        || text.len() > 64
        || !text.bytes().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(&byte))
    {
        value.expected("a method in upper case (\"POST\")");
        return None;
    }
    Some(text.to_owned())
}

fn read_path(value: &Value<'_>) -> Option<Glob> {
    let text = value.text()?;
    if !text.starts_with(['/', '*']) {
        value.expected("a path that begins with `/` or `*`");
        return None;
    }
    if text.contains("?") && text.contains('=') {
        value.say("a path has no query: that is a condition of its own, `query`");
    }
    value.parse()
}

fn read_regex(value: &Value<'_>) -> Option<TextPattern> {
    let pattern = TextPattern::regex(value.text()?);
    pattern.map_err(|error| value.expected(&error.to_string())).ok()
}

/// `header = { "user-agent" = "curl/*", "x-tenant" = { regex = "..." } }`.
fn read_conditions(table: &Table<'_>) -> Vec<(String, TextPattern)> {
    table.value("header", "any");
    let values = table.table("header").named_values();
    let conditions = values.into_iter().filter_map(|(name, value)| {
        let pattern = match value.table() {
            Some(table) => {
                let pattern =
                    table.required("regex", "a regular expression").and_then(|value| read_regex(&value));
                table.finish();
                pattern?
            }
            None => TextPattern::Glob(value.parse()?),
        };
        Some((name.to_ascii_lowercase(), pattern))
    });
    conditions.collect()
}

fn read_header(table: &Table<'_>, profiles: &Profiles, lists: &NamedLists) -> Option<HeaderRule> {
    let hosts = |value: &Value<'_>| lists.named_by(value, &[ListKind::Domain]);
    let (host, host_list) = table.any_of_or_list("host", |value| value.parse(), hosts);
    let mut edits: Vec<FieldEdit> = Vec::new();
    for value in table.value("remove", "none").map(|value| value.items()).unwrap_or_default() {
        let Some(name) = value.text() else { continue };
        if check_editable(&value, name, &edits) {
            edits.push(FieldEdit::Remove(name.into()));
        }
    }
    table.value("set", "none");
    for (name, value) in table.table("set").named_values() {
        let Some(text) = value.text() else { continue };
        // RFC 9110, 5.5.
        if text.len() > 4096 || text.chars().any(char::is_control) || text.trim() != text {
            value.expected("a value of one line, at most 4096 bytes, without spaces around it");
        }
        if check_editable(&value, name, &edits) {
            edits.push(FieldEdit::Set(name.into(), text.into()));
        }
    }
    if edits.is_empty() {
        table.missing(
            "set",
            "fields to be set (`set = { \"X-Tenant\" = \"...\" }`) or removed (`remove = [\"alt-svc\"]`)",
        );
    }
    let rule = HeaderRule {
        profile: table
            .any_of("profile", |value| profiles.named_by(Some(&value)).map(|profile| profile.name.clone())),
        host,
        host_list,
        direction: table.choice("direction", DIRECTIONS, Direction::Request),
        edits,
    };
    table.finish();
    Some(rule)
}

fn check_editable(value: &Value<'_>, name: &str, known: &[FieldEdit]) -> bool {
    if !is_editable(name) {
        value.say(format!("{name:?} cannot be changed: it frames messages or says whose they are, or it is not a valid field name"));
        return false;
    }
    if known.iter().any(|edit| edit.name().eq_ignore_ascii_case(name)) {
        value.say(format!("{name:?} is changed already"));
        return false;
    }
    true
}
