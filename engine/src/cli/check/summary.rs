//! What a configuration that is in order means, in words.

use std::fmt::{self, Display};
use std::path::Path;

use crate::ca_files;
use wireglass_core::fairness::{Fairness, PerClient, Shed};
use wireglass_core::flow::Midstream;
use wireglass_core::flow_table::Class;
use wireglass_core::mirror::{Shown, When};
use wireglass_core::packet::{PassAction, Uninspected};
use wireglass_core::policy::{
    BlockWith, ClientCertificateAction, ContentAction, ContentRule, Decision, DefectAction, FirstContact,
    ListId, Lists, NoNameAction, Ports, Profile, Rule, TlsVersion, UnsupportedAction,
};
use wireglass_core::tls::NoRoot;
use wireglass_core::x509::{Provider, describe_date as date};

use super::super::never_match;
use crate::config::{Config, Confine, Crypto, MirrorPort};
use crate::confine::Mode;
use crate::record_speeds::RecordLibrary;
use crate::worker::Idle;

/// Entries of a list that are shown; the others are counted.
const SHOWN: usize = 4;

/// What `crypto.records` means in this build.
fn records(crypto: &Crypto) -> String {
    match (crypto.records, Provider::BUILT_IN) {
        (_, [only]) => format!("by {}, the only library of this build", only.name()),
        (RecordLibrary::Fixed(library), _) => {
            format!("by {} in all suites, whatever is faster on this processor", library.name())
        }
        (RecordLibrary::Auto, all) => format!(
            "by the faster library for each suite, as measured at the start: {}",
            list(all.iter().map(|library| library.name().to_owned()))
        ),
    }
}

/// The configuration in words. What is worth a second look is a line of its own, which begins with [`NOTE`].
pub(super) struct Summary<'c> {
    pub(super) config: &'c Config,
    pub(super) roots: usize,
    /// Certificates of `trust.roots` that are no roots.
    pub(super) no_roots: Vec<NoRoot>,
    /// Why the machine's clock may be wrong.
    pub(super) clock: Option<String>,
    /// What this machine is not as the configuration wants it.
    pub(super) machine: Vec<String>,
}

/// How lines begin that `--strict` does not let pass.
pub(super) const NOTE: &str = "  note: ";

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.config;
        writeln!(f, "{}: in order", config.file.display())?;
        self.machine(f)?;
        self.certificates(f)?;
        self.lists(f)?;
        self.policy(f)?;
        self.content(f)?;
        writeln!(f, "\nprofiles")?;
        for profile in &config.profiles {
            write_profile(f, profile)?;
        }
        self.outputs(f)
    }
}

impl Summary<'_> {
    fn machine(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workers = &self.config.workers;
        writeln!(f, "\nwires")?;
        for wire in &self.config.wires {
            write!(f, "  {}: inside {}, outside {}", wire.name, wire.inside, wire.outside)?;
            match wire.native_vlan {
                Some(vlan) => writeln!(f, "; untagged is VLAN {vlan}")?,
                None => writeln!(f)?,
            }
        }
        self.mirrors(f)?;
        let idle = match workers.idle {
            Idle::Spin => "spinning",
            Idle::Adaptive => "sleeping",
        };
        let handshakes = match workers.handshake_threads {
            0 => "handshakes on the workers".to_owned(),
            n => format!("{n} handshake thread(s)"),
        };
        let cores = list(workers.cores.iter().map(usize::to_string));
        writeln!(f, "\nworkers\n  {} on core {cores}, {idle} when idle; {handshakes}", workers.cores.len())?;
        let limits = &self.config.limits;
        let (flows, leg, all) = (limits.flows, limits.buffer_bytes, limits.worker_bytes);
        writeln!(f, "  {flows} flows each, {leg} bytes for each leg, {all} for all flows of a worker")?;
        let Fairness { shed, per_client, .. } = limits.fairness;
        match per_client {
            PerClient::NoLimit => writeln!(f, "  no limit for one client")?,
            most => writeln!(f, "  {} flows for one client", most.of(flows).min(flows))?,
        }
        if shed != Shed::default() {
            writeln!(f, "  {}", write_shed(&shed))?;
        }
        self.machine.iter().try_for_each(|note| writeln!(f, "{NOTE}{note}"))
    }

    fn mirrors(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for MirrorPort { port, kernel_port: _, mirror } in &self.config.mirrors {
            let when = if mirror.when == When::Seen { "seen" } else { "forwarded" };
            write!(f, "  mirror {}: to {port}, plaintext as {when}", mirror.name)?;
            match &mirror.profiles[..] {
                [] => {}
                profiles => write!(f, ", of profile {}", list(profiles.iter().cloned()))?,
            }
            writeln!(f, "{}", if mirror.bypassed { ", and bypassed flows as they are" } else { "" })?;
            if !mirror.bypassed && !self.profiles_in_use().any(|profile| mirror.wants(profile)) {
                writeln!(
                    f,
                    "  note: mirror {} shows nothing: nothing is decrypted with its profiles",
                    mirror.name
                )?;
            }
        }
        let plan = &self.config.capture;
        if plan.is_on() {
            let (places, minutes) = (plan.places(), plan.minutes());
            writeln!(
                f,
                "{NOTE}ATTENTION: [capture] writes secrets of decrypted flows to {places}, for {minutes} minute(s)"
            )?;
        }
        if let Some(path) = &self.config.verdicts.listen {
            writeln!(f, "  verdicts: an IDS ends flows through {}", path.display())?;
        }
        Ok(())
    }

    fn certificates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.config;
        writeln!(f, "\nrecords\n  {}", records(&config.crypto))?;
        writeln!(f, "\ncertificates (by {})", config.crypto.provider.name())?;
        for (which, files) in [("trusted CA", &config.ca.trusted), ("untrusted CA", &config.ca.untrusted)] {
            match ca_files::describe(Path::new(&files.cert_name)) {
                Ok(ca) => writeln!(f, "  {which}: {}, until {}", ca.subject, date(ca.not_after))?,
                Err(error) => writeln!(f, "  {which}: {error}")?,
            }
        }
        let from = match (config.trust.system, config.trust.roots.len()) {
            (true, 0) => "the system's".to_owned(),
            (true, n) => format!("the system's, and {n} file(s)"),
            (false, n) => format!("{n} file(s)"),
        };
        writeln!(f, "  {} trusted root(s): {from}", self.roots)?;
        for NoRoot { file, subject, why, for_itself } in &self.no_roots {
            let what = if *for_itself { "is no root, but trusted as a server itself" } else { "is no root" };
            writeln!(f, "  note: {file}: {subject} {what}: it has {why}")?;
        }
        if config.fetch.is_on() {
            let (kinds, settings) = (list(config.fetch.kinds().map(str::to_owned)), &config.fetch.settings);
            write!(f, "  fetched: {kinds}, {} requests a second at most", settings.per_second)?;
            match &settings.allow[..] {
                [] => writeln!(f, "; never from private addresses")?,
                allowed => {
                    writeln!(f, "; private addresses: {}", list(allowed.iter().map(ToString::to_string)))?;
                }
            }
        }
        match &self.clock {
            Some(doubt) => writeln!(f, "  note: {doubt}"),
            None => Ok(()),
        }
    }

    fn lists(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = &self.config.lists;
        if named.sources.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nlists")?;
        for (i, (list, source)) in named.lists.iter().zip(&named.sources).enumerate() {
            writeln!(f, "  {}: {} {}", list.name, list.entries, list.kind.entries())?;
            for file in &source.files {
                let (entries, format) = (file.report.entries, file.format.name());
                write!(f, "    {}, as {format}: {entries}", file.path.display())?;
                match file.report.other_kinds {
                    0 => writeln!(f)?,
                    n => writeln!(f, ", and {n} of other kinds")?,
                }
                for bad in file.bad_lines() {
                    writeln!(f, "  note: {bad}")?;
                }
            }
            let asks = |rule: &Rule| {
                [rule.sni_list, rule.source_list, rule.destination_list].contains(&Some(source.id))
            };
            let asks_content = |rule: &ContentRule| {
                let inspects = match &rule.action {
                    ContentAction::Inspect(inspect) => inspect.hashes.has(source.id),
                    _ => false,
                };
                inspects
                    || [rule.host_list, rule.source_list, rule.destination_list].contains(&Some(source.id))
            };
            let content = &self.config.content;
            if !self.config.policy.rules.iter().any(asks)
                && !content.rules.iter().any(asks_content)
                && !content.headers.iter().any(|header| header.host_list == Some(source.id))
            {
                let (file, line) = (self.config.file.display(), source.line);
                writeln!(f, "  note: {file}:{line}: list[{}]: no rule asks for {:?}", i + 1, list.name)?;
            }
        }
        Ok(())
    }

    fn policy(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.config;
        let ports = match &config.intercept.ports {
            Ports::Any => "any port".to_owned(),
            Ports::Only(ports) => format!("port {}", list(ports.iter().map(u16::to_string))),
        };
        let starttls = config.starttls.ports.iter();
        let starttls = list(starttls.map(|(port, protocol)| format!("{port} ({})", protocol.name())));
        let outside = config.intercept.outside_tls;
        let not_tls = if outside.bypass_not_tls { "bypass" } else { "block" };
        let midstream = match outside.midstream {
            Midstream::Forward => "forward".to_owned(),
            Midstream::Reset { after } => format!("reset, from {} s after the start on", after.secs()),
        };
        writeln!(
            f,
            "\npolicy for TCP to {ports} (not TLS: {not_tls}; seen from the middle: {midstream}; others pass)"
        )?;
        if !starttls.is_empty() {
            writeln!(f, "  STARTTLS: port {starttls}")?;
        }
        for (i, rule) in config.policy.rules.iter().enumerate() {
            writeln!(
                f,
                "  {}. {}: {} -> {}{}{}",
                i + 1,
                rule.name,
                conditions(rule, &config.lists.lists),
                decision(&rule.decision),
                held(rule.contact),
                shown(&rule.mirror)
            )?;
        }
        let default = decision(&config.policy.default);
        writeln!(f, "  otherwise -> {default}{}", held(config.policy.contact))?;
        for profile in config.profiles.iter().filter(|profile| profile.bypasses_learned()) {
            let name = &profile.name;
            writeln!(
                f,
                "  profile {name}: bypasses servers that are known to be undecryptable (`wireglass exclusions list`)"
            )?;
        }
        for rule in
            config.policy.rules.iter().filter(|rule| rule.decision == Decision::Block(BlockWith::Page))
        {
            if let Some(why) = why_no_page(rule) {
                writeln!(f, "  note: {:?} never shows its page: {why}", rule.name)?;
            }
        }
        if let Ports::Only(ports) = &config.intercept.ports {
            for rule in config.policy.rules.iter().filter(|rule| !rule.ports.is_empty()) {
                let begins_plain = |port| config.starttls.protocol(port).is_some();
                if !rule.ports.iter().any(|port| ports.contains(port) || begins_plain(*port)) {
                    writeln!(
                        f,
                        "  note: {:?} never matches: its ports are not in intercept.ports",
                        rule.name
                    )?;
                }
            }
        }
        for profile in &config.profiles {
            if profile.name != "default" && !self.profiles_in_use().any(|name| name == profile.name) {
                writeln!(f, "  note: no rule decrypts with profile {:?}", profile.name)?;
            }
        }
        self.passthrough(f)?;
        let mut rules = config.policy.rules.iter();
        if let Some(all) = rules.find(|rule| is_unconditional(rule)) {
            for rule in rules {
                writeln!(f, "  note: {:?} is never reached: {:?} matches every flow", rule.name, all.name)?;
            }
        }
        for (rule, before) in never_match::shadowed(&config.policy.rules) {
            writeln!(
                f,
                "  note: {rule:?} is never reached: rules before it, as {before:?}, match all its names"
            )?;
        }
        for rule in &config.policy.rules {
            for protocol in never_match::unknown_alpn(rule) {
                writeln!(f, "  note: {:?}: no application protocol {protocol:?} is registered", rule.name)?;
            }
        }
        Ok(())
    }

    /// Names of profiles with which something is decrypted.
    pub(super) fn profiles_in_use(&self) -> impl Iterator<Item = &str> {
        let policy = &self.config.policy;
        let decisions = policy.rules.iter().map(|rule| &rule.decision).chain([&policy.default]);
        decisions.filter_map(|decision| match decision {
            Decision::Decrypt(profile) => Some(&*profile.name),
            Decision::Bypass | Decision::Block(_) => None,
        })
    }

    /// What goes by or is dropped without being looked into.
    fn passthrough(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passthrough = self.config.intercept.outside_tls.passthrough;
        for (class, what, why) in [
            (Uninspected::Quic, "QUIC (UDP)", " unless a rule bypasses them, so that browsers use TCP"),
            (Uninspected::Dtls, "DTLS", ""),
        ] {
            write!(f, "  {what} to these ports: ")?;
            match passthrough.action(class) {
                PassAction::Drop => writeln!(f, "blocked{why}")?,
                PassAction::Forward if self.config.policy.decrypts() => {
                    writeln!(f, "forwarded, NOT INSPECTED")?
                }
                PassAction::Forward => writeln!(f, "forwarded")?,
            }
        }
        for (action, said) in [(PassAction::Drop, "dropped"), (PassAction::Forward, "forwarded uninspected")]
        {
            let classes = Uninspected::ALL.iter().filter(|class| !class.is_intercepted());
            let classes: Vec<_> =
                classes.filter(|class| passthrough.action(**class) == action).map(|c| c.name()).collect();
            if !classes.is_empty() {
                writeln!(f, "  {said}: {}", classes.join(", "))?;
            }
        }
        let risky = Uninspected::ALL.iter().filter(|class| {
            class.default_action() == PassAction::Drop
                && !class.is_intercepted()
                && passthrough.action(**class) == PassAction::Forward
        });
        for class in risky {
            writeln!(f, "  note: passthrough.{} = \"forward\": {}", class.name(), class.help())?;
        }
        Ok(())
    }

    fn outputs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = &self.config.log;
        write!(f, "\noutput\n  events to {}", log.eve)?;
        match log.stats {
            Some(every) => writeln!(f, ", statistics every {} s", every.as_secs())?,
            None => writeln!(f, ", no statistics")?,
        }
        match self.config.metrics.listen {
            Some(address) => {
                writeln!(f, "  metrics at http://{address}/metrics")?;
                if self.config.metrics.access().page {
                    writeln!(f, "  status page at http://{address}/")?;
                }
            }
            None => writeln!(f, "  no metrics")?,
        }
        match &self.config.control.socket {
            Some(socket) => writeln!(f, "  `wireglass flows` through {}", socket.display())?,
            None => writeln!(f, "  no control socket")?,
        }
        let Confine { mode, user } = &self.config.confine;
        let user = user.as_ref().map_or("the user who starts it".to_owned(), |account| account.name.clone());
        let confined = match mode {
            Mode::Off => "NOT confined: they keep all rights that the engine was started with".to_owned(),
            Mode::Strict | Mode::BestEffort => format!("confined ({})", mode.name()),
        };
        writeln!(f, "  threads of {user}, {confined}")
    }
}

/// The order in which flows give way, in words.
fn write_shed(shed: &Shed) -> String {
    let names = |classes: &[Class]| classes.iter().map(|class| class.name()).collect::<Vec<_>>();
    let never: Vec<_> = Class::ALL.into_iter().filter(|class| !shed.classes().contains(class)).collect();
    match (names(shed.classes()).join(", then "), names(&never).join(", ")) {
        (first, _) if first.is_empty() => "a full table refuses new flows: none gives way".to_owned(),
        (first, never) if never.is_empty() => format!("a full table ends {first} flows"),
        (first, never) => format!("a full table ends {first} flows; never {never} ones"),
    }
}

fn write_profile(f: &mut fmt::Formatter<'_>, profile: &Profile) -> fmt::Result {
    let version = |version| match version {
        TlsVersion::Tls12 => "1.2",
        TlsVersion::Tls13 => "1.3",
    };
    let (min, max) = (version(profile.min_version), version(profile.max_version));
    write!(f, "  {}: TLS {min} to {max}", profile.name)?;
    let unsupported = match profile.on_unsupported {
        UnsupportedAction::Block => "block",
        UnsupportedAction::Bypass => "bypass",
    };
    write!(f, ", otherwise {unsupported}; certificate")?;
    let defects = [
        ("untrusted", profile.on_untrusted),
        ("self-signed", profile.on_self_signed),
        ("expired", profile.on_expired),
        ("not yet valid", profile.on_not_yet_valid),
        ("for another name", profile.on_name_mismatch),
        ("for another use", profile.on_usage),
        ("that cannot be judged", profile.on_unsupported_certificate),
    ];
    for (action, name) in [
        (DefectAction::Block, "block"),
        (DefectAction::UntrustedCa, "sign with the untrusted CA"),
        (DefectAction::Allow, "allow"),
    ] {
        let mut with = defects.iter().filter(|(_, a)| *a == action).map(|(defect, _)| *defect).peekable();
        if with.peek().is_some() {
            write!(f, " {}: {name};", with.collect::<Vec<_>>().join(", "))?;
        }
    }
    match profile.on_no_name {
        NoNameAction::ServerNames => {}
        NoNameAction::Block => write!(f, " clients without SNI: the address must be named;")?,
    }
    let client_certificate = match profile.on_client_certificate {
        ClientCertificateAction::Empty => "go on without one",
        ClientCertificateAction::Bypass => "go on without one, then bypass",
        ClientCertificateAction::Block => "block",
    };
    let pinned = match profile.on_pinned {
        UnsupportedAction::Block => "block",
        UnsupportedAction::Bypass => "bypass",
    };
    write!(
        f,
        " servers that ask for a client certificate: {client_certificate}; clients that pin: {pinned};"
    )?;
    let http = if profile.http { "" } else { "not " };
    let resumption = if profile.resumption { "" } else { "not " };
    writeln!(
        f,
        " sessions {resumption}resumed; HTTP {http}logged; minted for at most {} days",
        profile.max_days
    )
}

fn decision(decision: &Decision) -> String {
    match decision {
        Decision::Decrypt(profile) => format!("decrypt, profile {}", profile.name),
        Decision::Bypass => "bypass".into(),
        Decision::Block(BlockWith::Alert) => "block with an alert".into(),
        Decision::Block(BlockWith::Reset) => "block with a reset".into(),
        Decision::Block(BlockWith::Page) => "block with a page".into(),
    }
}

/// What a rule says of the first contact.
fn held(contact: FirstContact) -> &'static str {
    match contact {
        FirstContact::Hold => "; held until then, so that no server hears of a client that is blocked",
        FirstContact::ServerFirst => "",
    }
}

/// Which mirror the rule names.
fn shown(mirror: &Shown) -> String {
    match mirror {
        Shown::ByProfile => String::new(),
        Shown::Nowhere => "; no mirror".into(),
        Shown::At(name) => format!("; mirror {name}"),
    }
}

/// Why no flow that the rule blocks can be answered with a page.
fn why_no_page(rule: &Rule) -> Option<&'static str> {
    let Rule { sni, sni_list, alpn, ja4, .. } = rule;
    if sni.is_empty() && sni_list.is_none() && alpn.is_empty() && ja4.is_empty() {
        return Some("without sni, alpn or ja4 it blocks at the SYN, before there is TLS");
    }
    // A client that offers one of these, and HTTP/1.1 too, still gets it.
    let is_http = |protocol: &Vec<u8>| matches!(&protocol[..], b"h2" | b"http/1.1");
    (!alpn.is_empty() && !alpn.iter().any(is_http)).then_some("no protocol of its alpn is HTTP")
}

fn is_unconditional(rule: &Rule) -> bool {
    *rule == Rule::new(rule.name.clone(), rule.decision.clone())
}

fn conditions(rule: &Rule, lists: &Lists) -> String {
    if is_unconditional(rule) {
        return "every flow".into();
    }
    let mut all = Conditions::default();
    all.say("wire", &rule.wire);
    all.say("VLAN", rule.vlan);
    all.say("from", written(&rule.source).chain(listed(lists, rule.source_list)));
    all.say("to", written(&rule.destination).chain(listed(lists, rule.destination_list)));
    all.say("port", &rule.ports);
    all.say("SNI", written(&rule.sni).chain(listed(lists, rule.sni_list)));
    all.say("ALPN", rule.alpn.iter().map(|protocol| protocol.escape_ascii()));
    all.say("JA4", &rule.ja4);
    all.0
}

/// What a rule asks for, in words.
#[derive(Default)]
pub(super) struct Conditions(pub(super) String);

impl Conditions {
    /// One of these; of none nothing is said.
    pub(super) fn say(&mut self, what: &str, entries: impl IntoIterator<Item = impl Display>) {
        let entries = list(entries.into_iter().map(|entry| entry.to_string()));
        if !entries.is_empty() {
            let and = if self.0.is_empty() { "" } else { "; " };
            self.0.push_str(&format!("{and}{what} {entries}"));
        }
    }
}

/// Entries as they are written.
pub(super) fn written(entries: &[impl Display]) -> impl Iterator<Item = String> {
    entries.iter().map(ToString::to_string)
}

/// The list behind such entries, if there is one.
pub(super) fn listed(lists: &Lists, id: Option<ListId>) -> Option<String> {
    id.and_then(|id| lists.get(id)).map(|list| format!("list {}", list.name))
}

pub(super) fn list(entries: impl IntoIterator<Item = String>) -> String {
    let entries: Vec<_> = entries.into_iter().collect();
    match entries.len() {
        0..=SHOWN => entries.join(", "),
        n => format!("{} and {} more", entries[..SHOWN].join(", "), n - SHOWN),
    }
}
