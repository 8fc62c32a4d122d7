//! Configuration: typed TOML, every fault with file, line and key.
//!
//! A configuration is read as a whole before anything starts: what [`Config::load`] accepts can be run. `docs/configuration.md`
//! has all keys; [`keys`] is what keeps it complete.

mod candidate;
mod changes;
mod ct_logs;
mod custody;
mod fault;
mod files;
mod list_files;
mod near;
mod page_file;
mod passphrase;
mod pushed;
mod reader;
mod sections;
mod token;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::capture::Plan;
use crate::interfaces::KernelPort;
pub use candidate::{check_policy, policy_files};
pub use changes::{Startup, changed_keys, needs_restart};
pub use custody::Custody;
use custody::Nobody;
pub use fault::{Fault, Faults};
pub use page_file::read_page;
use pushed::replace_policy;
pub use pushed::{IN_FORCE, POLICY_FILE, PUSHED_SECTIONS, PolicyFrom, Pushed, generation_folder, in_force};
use reader::{Notes, Table};
use rustls_pki_types::CertificateDer;
pub use sections::{
    Account, Ca, Confine, Content, Control, Crypto, Dpdk, Exclusions, Fetch, Fleet, FleetKeys, FoundFiles,
    IcapServer, IcapServers, Intercept, Limits, ListFile, ListSource, Log, Metrics, MirrorPort, NamedLists,
    NamedSignatures, OnDrain, PolicyRules, Share, Trust, Verdicts, Wire, Workers, YaraSet, YaraSets, is_name,
};
use sections::{Named, Profiles, read_ca_certificates};
pub use token::is_at_token;
use toml::de::DeTable;
use wireglass_core::content::{Filters, Page, RuleFilters};
use wireglass_core::event::Action;
use wireglass_core::flow;
use wireglass_core::mint::CaSigner;
use wireglass_core::policy::{ContentPolicy, OnUnread, Policy, Profile, StartTls, Tallies, Tally};
use wireglass_core::reason::Reason;
use wireglass_core::tls::{ChainVerifier, TlsContext, TlsSettings};
use wireglass_core::x509::{Provider, SetupError, describe_date as date};

/// In seconds.
const DAY: i64 = 86_400;

/// Everything that an engine is told. Keys and certificates are read already.
#[derive(Debug)]
pub struct Config {
    /// The file that it comes from, as it was given.
    pub file: PathBuf,
    /// Its contents.
    text: String,
    /// The fleet's policy, which stands in place of that of the file; none: the file's own does.
    pub pushed: Option<Pushed>,
    /// What DPDK is started with.
    pub dpdk: Dpdk,
    /// At least one.
    pub wires: Vec<Wire>,
    /// What is shown to others, by name.
    pub mirrors: Vec<MirrorPort>,
    /// Where an IDS at them says which flows are to end.
    pub verdicts: Verdicts,
    /// What is captured, if anything is.
    pub capture: Plan,
    /// Threads and cores.
    pub workers: Workers,
    /// The crypto library.
    pub crypto: Crypto,
    /// Both CAs.
    pub ca: Ca,
    /// Roots for the servers' certificates.
    pub trust: Trust,
    /// Which flows are looked at.
    pub intercept: Intercept,
    /// Ports whose flows begin in plain text.
    pub starttls: StartTls,
    /// Names and addresses that rules ask for by the names of lists.
    pub lists: NamedLists,
    /// Rules and default.
    pub policy: PolicyRules,
    /// What rules on content look for.
    pub signatures: NamedSignatures,
    /// Servers that are asked about bodies.
    pub icap: IcapServers,
    /// Rules that bodies are shown to.
    pub yara: YaraSets,
    /// Rules on what is decrypted.
    pub content: Content,
    /// All profiles, by name.
    pub profiles: Vec<Arc<Profile>>,
    /// Servers that cannot be decrypted.
    pub exclusions: Exclusions,
    /// What is fetched of that which certificates name.
    pub fetch: Fetch,
    /// What it has in common with other engines.
    pub fleet: Fleet,
    /// Bounds.
    pub limits: Limits,
    /// Events and messages.
    pub log: Log,
    /// Metrics.
    pub metrics: Metrics,
    /// The control channel.
    pub control: Control,
    /// What it gives up after its start.
    pub confine: Confine,
    /// Files and folders that it names for itself to read, as it names them.
    read: Vec<PathBuf>,
}

/// What a configuration's rules become.
pub struct Compiled {
    /// The rules on connections.
    pub policy: Arc<Policy>,
    /// What looks at the plaintext, the rules on content with it.
    pub filters: Arc<dyn Filters>,
    /// How often rules decide.
    pub tallies: Tallies,
}

/// Why no rule could be asked about something, or what it asks is not known.
const UNREAD: [Reason; 15] = [
    Reason::ContentUnparsed,
    Reason::ContentOpaque,
    Reason::ContentEncoding,
    Reason::ContentBomb,
    Reason::ContentTimeout,
    Reason::ContentOverload,
    Reason::ContentClientBytes,
    Reason::ContentOversize,
    Reason::ContentRange,
    Reason::IcapDown,
    Reason::IcapProtocol,
    Reason::IcapShort,
    Reason::IcapOversize,
    Reason::YaraTimeout,
    Reason::YaraOversize,
];

impl Config {
    /// The interface of the kernel that is below a port of a wire or mirror; none: it is no such port.
    pub fn kernel_port(&self, port: &str) -> Option<KernelPort> {
        let mirrors = self.mirrors.iter().filter_map(|mirror| mirror.kernel_port.as_ref());
        let mut named = self.wires.iter().flat_map(|wire| &wire.kernel_ports).chain(mirrors);
        let mut devices = self.dpdk.vdev.iter().filter(|device| device.split(',').next() == Some(port));
        named.find(|named| named.device() == port).cloned().or_else(|| KernelPort::of_vdev(devices.next()?))
    }

    /// What the ports of wires and mirrors are called in DPDK.
    pub fn port_names(&self) -> impl Iterator<Item = &str> {
        let wires = self.wires.iter().flat_map(|wire| [&wire.inside, &wire.outside]);
        wires.chain(self.mirrors.iter().map(|mirror| &mirror.port)).map(String::as_str)
    }

    /// Reads and checks a configuration and the files that it names.
    ///
    /// # Errors
    /// All faults, not only the first.
    pub fn load(file: &Path) -> Result<Self, Faults> {
        Self::load_with(file, PolicyFrom::InForce, CaKeys::Read)
    }

    /// Likewise, for a process that must not have the keys of the CAs: their files are not opened, and [`Ca`] is without them.
    ///
    /// # Errors
    /// All faults but those of the keys.
    pub fn load_without_ca_keys(file: &Path) -> Result<Self, Faults> {
        Self::load_with(file, PolicyFrom::InForce, CaKeys::Leave)
    }

    /// Likewise, with the policy from elsewhere.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(file: &Path, policy: PolicyFrom, keys: CaKeys) -> Result<Self, Faults> {
        let (text, pushed) = read_texts(file, policy)?;
        let parts = read_text_noting(
            file,
            &text,
            pushed.as_ref(),
            |notes| match keys {
                CaKeys::Read => notes,
                CaKeys::Leave => notes.without_ca_keys(),
            },
            |document, notes| Some((Sections::read(document, notes), notes.paths_read())),
        );
        let (sections, read) = parts?;
        // Without a fault, no section is missing.
        let config = sections.into_config(file, (text, pushed), read);
        config.ok_or_else(|| Faults::new(&file.display().to_string(), Vec::new()))
    }

    /// Where relative paths of policy begin.
    pub fn policy_folder(&self) -> &Path {
        let own = || self.file.parent().unwrap_or(Path::new(""));
        self.pushed.as_ref().map_or_else(own, Pushed::folder)
    }

    /// The lists of its text, read anew from their files: what else there is stays as it was loaded.
    ///
    /// # Errors
    /// Faults of lists.
    pub fn read_lists(&self) -> Result<NamedLists, Faults> {
        let take = |document: &Table<'_>, notes: &Notes<'_>| Some(NamedLists::read(document, notes));
        read_text_noting(&self.file, &self.text, self.pushed.as_ref(), |notes| notes, take)
    }

    /// Rules and filters, ready for use. What was counted by the rules before goes on.
    pub fn compile(&self, before: &Tallies) -> Compiled {
        let tallies = self.tallies(before);
        let policy = Arc::new(self.compile_policy().counted_in(&tallies));
        let content = Arc::new(self.compile_content().counted_in(&tallies));
        let judged = self.mirrors.iter().filter(|_| self.verdicts.listen.is_some());
        let filters = RuleFilters::new(content, self.page())
            .with_connections(Arc::clone(&policy))
            .with_streams_judged_at(judged.map(|mirror| mirror.mirror.clone()).collect());
        Compiled { policy, filters: Arc::new(filters), tallies }
    }

    fn tallies(&self, before: &Tallies) -> Tallies {
        let connections =
            self.policy.rules.iter().map(|rule| (rule.name.as_str().into(), rule.decision.name()));
        let actions = [Action::Decrypt, Action::Bypass, Action::Block];
        let profiles = self
            .profiles
            .iter()
            .flat_map(|profile| actions.map(|action| (profile.name.as_str().into(), action.name())));
        let messages = self.content.rules.iter().map(|rule| (rule.name.as_str().into(), rule.action.name()));
        let unread = UNREAD.into_iter().flat_map(|reason| {
            [OnUnread::Block, OnUnread::Allow].map(|becomes| (reason.code().into(), becomes.name()))
        });
        Tallies {
            connections: Arc::new(Tally::new(
                connections,
                ["decrypt", "bypass", "block"],
                &before.connections,
            )),
            profiles: Arc::new(Tally::new(profiles, actions.map(Action::name), &before.profiles)),
            messages: Arc::new(Tally::new(
                messages,
                ["allow", "alert", "block", "inspect"],
                &before.messages,
            )),
            unread: Arc::new(Tally::new(unread, [], &before.unread)),
        }
    }

    /// The rules on connections, compiled.
    pub fn compile_policy(&self) -> Policy {
        let (ports, default) = (self.intercept.ports.clone(), self.policy.default.clone());
        Policy::compile_with_lists(ports, &self.policy.rules, default, Arc::clone(&self.lists.lists))
            .with_contact(self.policy.contact)
            .with_starttls(self.starttls.clone())
    }

    /// The CAs and the trust store, ready for use. Records are left with the library of the handshakes: whoever decrypts gives it
    /// [those that are chosen](Crypto::record_libraries), which may take a probe.
    ///
    /// # Errors
    /// None that [`Self::load`] has not found, unless a certificate has expired since.
    pub fn tls_context(&self) -> Result<TlsContext, SetupError> {
        Ok(self.complete(TlsContext::new(self.tls_settings())?))
    }

    /// Likewise, with keys of the CAs that somebody else has.
    ///
    /// # Errors
    /// As [`Self::tls_context`].
    pub fn tls_context_signed_by(&self, signer: Arc<dyn CaSigner>) -> Result<TlsContext, SetupError> {
        Ok(self.complete(TlsContext::signed_by(self.tls_settings(), signer)?))
    }

    /// Likewise, for whoever only wants to know whether all else is in order.
    ///
    /// # Errors
    /// As [`Self::tls_context`].
    pub fn tls_context_without_keys(&self) -> Result<TlsContext, SetupError> {
        self.tls_context_signed_by(Arc::new(Nobody))
    }

    /// Likewise, with what the one before has kept, as far as it still holds. `signer`: who has the keys; nobody: this process.
    ///
    /// # Errors
    /// As [`Self::tls_context`].
    pub fn tls_context_after(
        &self,
        before: &TlsContext,
        signer: Option<Arc<dyn CaSigner>>,
    ) -> Result<TlsContext, SetupError> {
        let settings = self.tls_settings();
        let context = match signer {
            Some(signer) => TlsContext::succeeding_signed_by(settings, signer, before)?,
            None => TlsContext::succeeding(settings, before)?,
        };
        Ok(self.complete(context))
    }

    fn tls_settings(&self) -> TlsSettings {
        tls_settings(&self.crypto, &self.ca, &self.trust)
    }

    fn complete(&self, context: TlsContext) -> TlsContext {
        context.with_server_sessions(self.limits.server_sessions)
    }

    /// Limits of flows, as they want them.
    pub fn flow_limits(&self) -> flow::Limits {
        flow::Limits { content_bytes: self.content.worker_bytes, ..self.limits.of_flow() }
    }

    /// The rules on content, compiled.
    pub fn compile_content(&self) -> ContentPolicy {
        let Content { rules, headers, on_unparsed, on_opaque, on_undecodable, inspection, .. } =
            &self.content;
        let mut policy = ContentPolicy::compile(rules, Arc::clone(&self.lists.lists))
            .with_headers(headers)
            .with_signatures(Arc::clone(&self.signatures.signatures))
            .with_inspectors(self.icap.inspectors().into_iter().chain(self.yara.inspectors()).collect());
        (policy.on_unparsed, policy.on_opaque) = (*on_unparsed, *on_opaque);
        (policy.on_undecodable, policy.inspection) = (*on_undecodable, *inspection);
        policy
    }

    /// What clients get instead of what is blocked.
    pub fn page(&self) -> Arc<Page> {
        Arc::clone(&self.content.page)
    }

    /// What speaks against this machine's clock; none: nothing. One that is behind makes the certificates of servers look as
    /// if they were not valid yet.
    pub fn clock_doubt(&self, tls: &TlsContext) -> Option<String> {
        let now = now();
        let from_the_future = match (tls.roots_not_yet_valid(now), self.written()) {
            (0, Some(written)) if written > now.saturating_add(DAY) => {
                format!("{} was written on {}", self.file.display(), date(written))
            }
            (0, _) => return None,
            (n, _) => format!("{n} of {} trusted root(s) are not valid yet", tls.roots()),
        };
        Some(format!(
            "{from_the_future}, and this machine believes that it is {}: the clock may be wrong",
            date(now)
        ))
    }

    /// What a reload reads: this file, and files, folders and patterns that it names.
    pub fn paths_read(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.file).chain(&self.read)
    }

    /// The files among them that are there now.
    pub fn files_read(&self) -> impl Iterator<Item = &PathBuf> {
        self.paths_read().filter(|path| path.is_file())
    }

    /// When the file was changed last, in seconds since the Unix epoch.
    fn written(&self) -> Option<i64> {
        let changed = fs::metadata(&self.file).and_then(|about| about.modified()).ok()?;
        i64::try_from(changed.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
    }
}

/// Where the engine of a configuration listens for commands; none: nowhere. Looks at nothing else in the file, so that an
/// engine can be asked while its configuration is being worked on.
///
/// # Errors
/// The file cannot be read, or says it wrongly.
pub fn control_socket(file: &Path) -> Result<Option<PathBuf>, Faults> {
    read_from(file, PolicyFrom::Own, |document, _| Some(Control::read(document.table("control")).socket))
}

/// What a file says of a fleet. Looks at nothing else in it, so that an operator's needs nothing else.
///
/// # Errors
/// The file cannot be read, or has faults in `[fleet]`.
pub fn fleet(file: &Path) -> Result<Fleet, Faults> {
    read_from(file, PolicyFrom::Own, |document, _| Some(Fleet::read(&document.table("fleet"))))
}

/// What a configuration says of servers' certificates. No key of a CA is read.
#[derive(Debug)]
pub struct Verification {
    /// The crypto library.
    pub provider: Provider,
    /// Roots.
    pub trust: Trust,
    /// Certificates of the CAs.
    pub own: Vec<CertificateDer<'static>>,
    /// All profiles, by name.
    pub profiles: Vec<Arc<Profile>>,
    /// The one of `policy.profile`.
    pub profile: Arc<Profile>,
}

impl Verification {
    /// Looks at nothing else in the file.
    ///
    /// # Errors
    /// The file cannot be read, or has faults in `[crypto]`, `[ca]`, `[trust]`, `[policy]` or a profile.
    pub fn load(file: &Path) -> Result<Self, Faults> {
        read(file, |document, _| {
            let profiles = Profiles::read(document.table("profile"));
            let profile =
                profiles.named_by(document.table("policy").value("profile", "\"default\"").as_ref());
            Some(Self {
                provider: Crypto::read(document.table("crypto")).provider,
                trust: Trust::read(document.table("trust"), profiles.want_timestamps())?,
                own: read_ca_certificates(&document.table("ca")),
                profile: profile?,
                profiles: profiles.into_list(),
            })
        })
    }

    /// The profile of this name, or else that of `policy.profile`.
    ///
    /// # Errors
    /// There is none: those that there are.
    pub fn profile(&self, name: Option<&str>) -> Result<Arc<Profile>, String> {
        let Some(name) = name else { return Ok(Arc::clone(&self.profile)) };
        self.profiles.iter().find(|profile| profile.name == name).cloned().ok_or_else(|| {
            let names: Vec<_> = self.profiles.iter().map(|profile| profile.name.as_str()).collect();
            format!("no profile \"{}\"; there are: {}", name.escape_default(), names.join(", "))
        })
    }

    /// What verifies chains by it.
    ///
    /// # Errors
    /// The file at fault.
    pub fn verifier(&self) -> Result<ChainVerifier, SetupError> {
        let system = self.trust.system.then(|| rustls_native_certs::load_native_certs().certs);
        ChainVerifier::new(self.provider, system.as_deref(), &self.trust.roots, &self.own)?
            .with(&self.trust.knowledge)
    }
}

/// What becomes of the files with the keys of the CAs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaKeys {
    /// They are read.
    Read,
    /// They are another process's business.
    Leave,
}

/// Reads a file, and lets `take` have its document. None without a fault does not happen.
fn read<T>(
    file: &Path,
    take: impl for<'t> FnOnce(&Table<'t>, &'t Notes<'t>) -> Option<T>,
) -> Result<T, Faults> {
    read_from(file, PolicyFrom::InForce, take)
}

fn read_from<T>(
    file: &Path,
    policy: PolicyFrom,
    take: impl for<'t> FnOnce(&Table<'t>, &'t Notes<'t>) -> Option<T>,
) -> Result<T, Faults> {
    let (text, pushed) = read_texts(file, policy)?;
    read_text_noting(file, &text, pushed.as_ref(), |notes| notes, take)
}

/// Likewise, with notes that are told how to read.
fn read_noting<T>(
    file: &Path,
    tell: impl for<'t> FnOnce(Notes<'t>) -> Notes<'t>,
    take: impl for<'t> FnOnce(&Table<'t>, &'t Notes<'t>) -> Option<T>,
) -> Result<T, Faults> {
    let (text, pushed) = read_texts(file, PolicyFrom::InForce)?;
    read_text_noting(file, &text, pushed.as_ref(), tell, take)
}

/// The text of a configuration, and that of the fleet's policy.
fn read_texts(file: &Path, policy: PolicyFrom) -> Result<(String, Option<Pushed>), Faults> {
    let fault = |message| {
        let fault = Fault { file: None, line: None, key: None, message };
        Faults::new(&file.display().to_string(), vec![fault])
    };
    let text =
        fs::read_to_string(file).map_err(|error| fault(format!("cannot read the configuration: {error}")))?;
    let (document, _) = DeTable::parse_recoverable(&text);
    let folder = file.parent().unwrap_or(Path::new(""));
    let pushed = Pushed::of(document.get_ref(), folder, policy)
        .map_err(|message| fault(format!("fleet.state_dir: {message}")))?;
    Ok((text, pushed))
}

fn read_text_noting<T>(
    file: &Path,
    text: &str,
    pushed: Option<&Pushed>,
    tell: impl for<'t> FnOnce(Notes<'t>) -> Notes<'t>,
    take: impl for<'t> FnOnce(&Table<'t>, &'t Notes<'t>) -> Option<T>,
) -> Result<T, Faults> {
    let name = file.display().to_string();
    let folder = file.parent().unwrap_or(Path::new(""));
    let (document, syntax) = DeTable::parse_recoverable(text);
    let mut document = document.into_inner();
    if let Some(pushed) = pushed {
        replace_policy(&mut document, pushed.parse()?);
    }
    let notes = tell(Notes::new(text, folder).with_pushed(pushed));
    for error in &syntax {
        notes.fault(error.span().map(|span| span.start), None, format!("TOML: {}", error.message().trim()));
    }
    if notes.has_faults() {
        // What was recovered from broken syntax would only be blamed for what it lost.
        return Err(Faults::new(&name, notes.into_faults()));
    }
    let taken = take(&Table::document(&notes, &document), &notes);
    match taken {
        Some(taken) if !notes.has_faults() => Ok(taken),
        _ => Err(Faults::new(&name, notes.into_faults())),
    }
}

fn tls_settings(crypto: &Crypto, ca: &Ca, trust: &Trust) -> TlsSettings {
    TlsSettings {
        provider: crypto.provider,
        trusted: ca.trusted.clone(),
        untrusted: ca.untrusted.clone(),
        crl_url: ca.crl_url.clone(),
        knowledge: trust.knowledge.clone(),
        system_roots: trust.system.then(|| rustls_native_certs::load_native_certs().certs),
        roots: trust.roots.clone(),
        now: now().unsigned_abs(),
    }
}

/// Whether handshakes could be made with these.
fn try_tls(settings: TlsSettings, without_keys: bool) -> Result<TlsContext, SetupError> {
    if without_keys { TlsContext::signed_by(settings, Arc::new(Nobody)) } else { TlsContext::new(settings) }
}

/// Seconds since the Unix epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// All keys that a configuration may have, as documents write them (`rule.action`, `profile.NAME.http`), with their defaults as they
/// would be written; `required` and `any` stand for themselves.
pub fn keys() -> BTreeMap<String, String> {
    let text = "ca = { trusted = {}, untrusted = {} }\n[[wire]]\n[[list]]\n[[rule]]\n[[content.rule]]\n[[header]]\n[profile.NAME]\n[mirror.NAME]\n[signatures.NAME]\n[icap.NAME]\n[yara.NAME]\n";
    let (document, _) = DeTable::parse_recoverable(text);
    let notes = Notes::new(text, Path::new("")).with_keys();
    Sections::read(&Table::document(&notes, document.get_ref()), &notes);
    notes.into_keys()
}

/// All sections; none for those that had faults and have no default.
struct Sections {
    dpdk: Dpdk,
    wires: Vec<Wire>,
    mirrors: Vec<MirrorPort>,
    verdicts: Verdicts,
    capture: Plan,
    workers: Workers,
    crypto: Crypto,
    ca: Option<Ca>,
    trust: Option<Trust>,
    intercept: Intercept,
    starttls: StartTls,
    lists: NamedLists,
    signatures: NamedSignatures,
    icap: IcapServers,
    yara: YaraSets,
    policy: Option<PolicyRules>,
    content: Content,
    profiles: Profiles,
    exclusions: Exclusions,
    fetch: Fetch,
    fleet: Fleet,
    limits: Limits,
    log: Log,
    metrics: Metrics,
    control: Control,
    confine: Confine,
}

impl Sections {
    fn read(document: &Table<'_>, notes: &Notes<'_>) -> Self {
        let dpdk = Dpdk::read(document.table("dpdk"));
        let wires = Wire::read_all(document, &dpdk);
        let profiles = Profiles::read(document.table("profile"));
        let mirrors = MirrorPort::read_all(document, &dpdk, &wires, &profiles);
        let verdicts =
            Verdicts::read(document.table("verdicts"), !document.table("mirror").named_tables().is_empty());
        let capture = sections::capture::read(&document.table("capture"), &profiles);
        let lists = NamedLists::read(document, notes);
        let named: Vec<_> = document.table("mirror").named_tables().iter().map(|(name, _)| *name).collect();
        let policy = PolicyRules::read(document, &profiles, &wires, &lists, &named);
        let signatures = NamedSignatures::read(&document.table("signatures"), notes);
        let icap = IcapServers::read(&document.table("icap"));
        let yara = YaraSets::read(&document.table("yara"));
        let by_name = Named { lists: &lists, signatures: &signatures, icap: &icap, yara: &yara };
        let sections = Self {
            workers: Workers::read(document.table("workers")),
            crypto: Crypto::read(document.table("crypto")),
            ca: Ca::read(document.table("ca")),
            trust: Trust::read(document.table("trust"), profiles.want_timestamps()),
            intercept: {
                let decrypts = policy.as_ref().is_none_or(PolicyRules::decrypts);
                Intercept::read(document.table("intercept"), document.table("passthrough"), decrypts)
            },
            starttls: sections::starttls::read(&document.table("starttls")),
            content: Content::read(document, &profiles, by_name, notes),
            lists,
            signatures,
            icap,
            yara,
            policy,
            exclusions: Exclusions::read(document.table("exclusions")),
            fetch: Fetch::read(document.table("fetch")),
            fleet: Fleet::read(&document.table("fleet")),
            limits: Limits::read(document.table("limits")),
            log: Log::read(document.table("log"), notes),
            metrics: Metrics::read(document.table("metrics")),
            control: Control::read(document.table("control")),
            confine: Confine::read(document.table("confine")),
            dpdk,
            wires,
            mirrors,
            verdicts,
            capture,
            profiles,
        };
        document.finish();
        if let (Some(ca), Some(trust)) = (&sections.ca, &sections.trust)
            && let Err(error) = try_tls(tls_settings(&sections.crypto, ca, trust), notes.leaves_ca_keys())
        {
            // One file may be named as both keys: the certificate says which of the two it is not.
            let keys = [("ca.trusted.key", &ca.trusted), ("ca.untrusted.key", &ca.untrusted)];
            let is_of = |files: &wireglass_core::x509::CaFiles| {
                files.key_name == error.file && error.expected.ends_with(&files.cert_name)
            };
            let key = keys.into_iter().find(|(_, files)| is_of(files)).map(|(key, _)| key);
            notes.fault_of_file(&error.file, key, error.to_string());
        }
        sections
    }

    fn into_config(
        self,
        file: &Path,
        (text, pushed): (String, Option<Pushed>),
        read: Vec<PathBuf>,
    ) -> Option<Config> {
        Some(Config {
            file: file.to_owned(),
            text,
            pushed,
            dpdk: self.dpdk,
            wires: self.wires,
            mirrors: self.mirrors,
            verdicts: self.verdicts,
            capture: self.capture,
            workers: self.workers,
            crypto: self.crypto,
            ca: self.ca?,
            trust: self.trust?,
            intercept: self.intercept,
            starttls: self.starttls,
            lists: self.lists,
            signatures: self.signatures,
            icap: self.icap,
            yara: self.yara,
            policy: self.policy?,
            content: self.content,
            profiles: self.profiles.into_list(),
            exclusions: self.exclusions,
            fetch: self.fetch,
            fleet: self.fleet,
            limits: self.limits,
            log: self.log,
            metrics: self.metrics,
            control: self.control,
            confine: self.confine,
            read,
        })
    }
}
