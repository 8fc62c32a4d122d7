//! What is different between two configurations, by keys, and which of it a running engine cannot take.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::pushed::is_pushed;
use super::{
    Config, Confine, Control, Dpdk, Exclusions, Fetch, Fleet, Log, Metrics, MirrorPort, Verdicts, Wire,
    Workers,
};
use crate::capture::Plan;

/// What an engine has for as long as it runs: ports, threads, tables that are made at the start, and what listens or is written to.
#[derive(Clone, Debug)]
pub struct Startup {
    dpdk: Dpdk,
    wires: Vec<Wire>,
    mirrors: Vec<MirrorPort>,
    verdicts: Verdicts,
    capture: Plan,
    workers: Workers,
    flows: u32,
    worker_bytes: usize,
    content_threads: usize,
    log: Log,
    metrics: Metrics,
    control: Control,
    exclusions: Exclusions,
    fetch: Fetch,
    fleet: Fleet,
    signer_user: Option<String>,
    confine: Confine,
}

/// Whether a value differs.
type Differs = fn(&Startup, &Startup) -> bool;

/// The keys of all that.
const NEEDS_RESTART: &[(&str, Differs)] = &[
    ("dpdk.eal", |a, b| a.dpdk.eal != b.dpdk.eal),
    ("dpdk.vdev", |a, b| a.dpdk.vdev != b.dpdk.vdev),
    ("wire.name", |a, b| wires(a, b, |wire| &wire.name)),
    ("wire.inside", |a, b| wires(a, b, |wire| &wire.inside)),
    ("wire.outside", |a, b| wires(a, b, |wire| &wire.outside)),
    ("wire.mtu", |a, b| wires(a, b, |wire| &wire.mtu)),
    ("wire.native_vlan", |a, b| wires(a, b, |wire| &wire.native_vlan)),
    // Those that have come or gone are told by their ports.
    ("wire.link_state", |a, b| wires(a, b, |w| &w.link_state)),
    ("mirror.NAME.port", |a, b| {
        let port = |mirror: &MirrorPort| (mirror.mirror.name.clone(), mirror.port.clone());
        !a.mirrors.iter().map(port).eq(b.mirrors.iter().map(port))
    }),
    ("mirror.NAME.when", |a, b| mirrors(a, b, |m| m.mirror.when)),
    ("mirror.NAME.destination_mac", |a, b| mirrors(a, b, |m| m.mirror.destination_mac)),
    ("mirror.NAME.source_mac", |a, b| mirrors(a, b, |m| m.mirror.source_mac)),
    ("mirror.NAME.vlan", |a, b| mirrors(a, b, |m| m.mirror.vlan)),
    ("mirror.NAME.ports", |a, b| mirrors(a, b, |m| m.mirror.ports.clone())),
    ("mirror.NAME.profile", |a, b| mirrors(a, b, |m| m.mirror.profiles.clone())),
    ("mirror.NAME.bypassed", |a, b| mirrors(a, b, |m| m.mirror.bypassed)),
    ("mirror.NAME.mtu", |a, b| mirrors(a, b, |m| m.mirror.mtu)),
    ("verdicts.listen", |a, b| a.verdicts.listen != b.verdicts.listen),
    ("verdicts.block.metadata", |a, b| a.verdicts.block.metadata != b.verdicts.block.metadata),
    ("verdicts.block.sid", |a, b| a.verdicts.block.sids != b.verdicts.block.sids),
    ("capture.folder", |a, b| a.capture.folder != b.capture.folder),
    ("capture.keylog", |a, b| a.capture.keylog != b.capture.keylog),
    ("capture.minutes", |a, b| a.capture.time != b.capture.time),
    ("capture.profile", |a, b| a.capture.profiles != b.capture.profiles),
    ("capture.file_mb", |a, b| a.capture.bounds.file_bytes != b.capture.bounds.file_bytes),
    ("capture.file_minutes", |a, b| a.capture.bounds.file_time != b.capture.bounds.file_time),
    ("capture.total_mb", |a, b| a.capture.bounds.total_bytes != b.capture.bounds.total_bytes),
    ("workers.cores", |a, b| a.workers.cores != b.workers.cores),
    ("workers.handshake_threads", |a, b| a.workers.handshake_threads != b.workers.handshake_threads),
    ("content.threads", |a, b| a.content_threads != b.content_threads),
    ("workers.idle", |a, b| a.workers.idle != b.workers.idle),
    ("workers.on_worker_failure", |a, b| a.workers.on_worker_failure != b.workers.on_worker_failure),
    ("limits.flows", |a, b| a.flows != b.flows),
    ("limits.worker_bytes", |a, b| a.worker_bytes != b.worker_bytes),
    ("log.eve", |a, b| a.log.eve.place() != b.log.eve.place()),
    ("log.filetype", |a, b| discriminant(&a.log.eve) != discriminant(&b.log.eve)),
    ("log.facility", |a, b| a.log.eve.facility() != b.log.eve.facility()),
    ("log.stats_seconds", |a, b| a.log.stats != b.log.stats),
    ("metrics.listen", |a, b| a.metrics.listen != b.metrics.listen),
    ("metrics.page", |a, b| a.metrics.page != b.metrics.page),
    ("metrics.hosts", |a, b| a.metrics.hosts != b.metrics.hosts),
    ("control.socket", |a, b| a.control.socket != b.control.socket),
    ("control.read_group", |a, b| a.control.read_group != b.control.read_group),
    ("confine.mode", |a, b| a.confine.mode != b.confine.mode),
    ("confine.user", |a, b| name(a) != name(b)),
    ("confine.group", |a, b| group(a) != group(b)),
    ("exclusions.file", |a, b| a.exclusions.file != b.exclusions.file),
    ("ca.signer_user", |a, b| a.signer_user != b.signer_user),
    ("fetch.crls", |a, b| a.fetch.settings.crls != b.fetch.settings.crls),
    ("fetch.ocsp", |a, b| a.fetch.settings.ocsp != b.fetch.settings.ocsp),
    ("fetch.issuers", |a, b| a.fetch.settings.issuers != b.fetch.settings.issuers),
    ("fetch.allow", |a, b| a.fetch.settings.allow != b.fetch.settings.allow),
    ("fetch.ports", |a, b| a.fetch.settings.ports != b.fetch.settings.ports),
    ("fetch.redirects", |a, b| a.fetch.settings.redirects != b.fetch.settings.redirects),
    ("fetch.timeout_seconds", |a, b| a.fetch.timeout != b.fetch.timeout),
    ("fetch.parallel", |a, b| a.fetch.settings.parallel != b.fetch.settings.parallel),
    ("fetch.per_second", |a, b| a.fetch.settings.per_second != b.fetch.settings.per_second),
    ("fetch.host_per_second", |a, b| a.fetch.settings.host_per_second != b.fetch.settings.host_per_second),
    ("fetch.queue", |a, b| a.fetch.settings.queue != b.fetch.settings.queue),
    ("fetch.answer_bytes", |a, b| a.fetch.settings.answer_bytes != b.fetch.settings.answer_bytes),
    ("fetch.cache_entries", |a, b| a.fetch.settings.entries != b.fetch.settings.entries),
    ("fetch.cache_bytes", |a, b| a.fetch.settings.bytes != b.fetch.settings.bytes),
    ("fetch.retry_seconds", |a, b| a.fetch.settings.retry != b.fetch.settings.retry),
    ("fetch.refresh_seconds", |a, b| a.fetch.settings.refresh != b.fetch.settings.refresh),
    ("fleet.endpoints", |a, b| a.fleet.endpoints != b.fleet.endpoints),
    ("fleet.name", |a, b| a.fleet.name != b.fleet.name),
    ("fleet.fleet", |a, b| a.fleet.fleet != b.fleet.fleet),
    ("fleet.ca", |a, b| ca(a) != ca(b)),
    ("fleet.certificate", |a, b| identity(a).map(|(pem, _)| pem) != identity(b).map(|(pem, _)| pem)),
    ("fleet.key", |a, b| identity(a).map(|(_, key)| key) != identity(b).map(|(_, key)| key)),
    ("fleet.key_file", |a, b| a.fleet.keys != b.fleet.keys),
    ("fleet.share", |a, b| a.fleet.share != b.fleet.share),
    ("fleet.lease_seconds", |a, b| a.fleet.lease != b.fleet.lease),
    ("fleet.state_dir", |a, b| a.fleet.state_dir != b.fleet.state_dir),
    ("fleet.on_drain", |a, b| a.fleet.on_drain != b.fleet.on_drain),
];

fn ca(startup: &Startup) -> Option<&[u8]> {
    startup.fleet.tls.as_ref().map(|tls| &*tls.ca)
}

fn identity(startup: &Startup) -> Option<&(Vec<u8>, Zeroizing<Vec<u8>>)> {
    startup.fleet.tls.as_ref()?.identity.as_ref()
}

fn name(startup: &Startup) -> Option<&str> {
    startup.confine.user.as_ref().map(|account| account.name.as_str())
}

fn group(startup: &Startup) -> Option<u32> {
    startup.confine.user.as_ref().map(|account| account.gid)
}

fn wires<T: PartialEq>(a: &Startup, b: &Startup, value: impl Fn(&Wire) -> &T) -> bool {
    !a.wires.iter().map(&value).eq(b.wires.iter().map(&value))
}

/// A value differs between two mirrors in the same place.
fn mirrors<T: PartialEq>(a: &Startup, b: &Startup, value: impl Fn(&MirrorPort) -> T) -> bool {
    a.mirrors.iter().zip(&b.mirrors).any(|(a, b)| value(a) != value(b))
}

/// Keys whose values an engine has for as long as it runs. All others change at a reload.
pub fn needs_restart() -> impl Iterator<Item = &'static str> {
    NEEDS_RESTART.iter().map(|(key, _)| *key)
}

impl Startup {
    /// Keys whose values `other` has changed.
    pub fn changed_keys(&self, other: &Self) -> Vec<String> {
        let changed = NEEDS_RESTART.iter().filter(|(_, differs)| differs(self, other));
        changed.map(|(key, _)| (*key).to_owned()).collect()
    }

    /// The running engine's wires.
    pub fn wires(&self) -> impl Iterator<Item = &Arc<str>> {
        self.wires.iter().map(|wire| &wire.name)
    }
}

impl Config {
    /// What of it holds until the engine ends.
    pub fn startup(&self) -> Startup {
        Startup {
            dpdk: self.dpdk.clone(),
            wires: self.wires.clone(),
            mirrors: self.mirrors.clone(),
            verdicts: self.verdicts.clone(),
            capture: self.capture.clone(),
            workers: self.workers.clone(),
            flows: self.limits.flows,
            worker_bytes: self.limits.worker_bytes,
            content_threads: self.content.threads,
            log: self.log.clone(),
            metrics: self.metrics.clone(),
            control: self.control.clone(),
            exclusions: self.exclusions.clone(),
            fetch: self.fetch.clone(),
            fleet: self.fleet.clone(),
            signer_user: self.ca.signer_user.clone(),
            confine: self.confine.clone(),
        }
    }

    /// Keys that change at a reload and are different in `new`; files, whose contents are.
    pub fn live_changes(&self, new: &Self) -> Vec<String> {
        let mut changed = self.changed_keys(new);
        changed.retain(|key| needs_restart().all(|fixed| fixed != key));
        let mut files = BTreeSet::new();
        for (before, after) in [(&self.ca.trusted, &new.ca.trusted), (&self.ca.untrusted, &new.ca.untrusted)]
        {
            if before.cert_pem != after.cert_pem {
                files.insert(after.cert_name.clone());
            }
            if before.key.differs(&after.key) {
                files.insert(after.key_name.clone());
            }
        }
        for root in &new.trust.roots {
            let before = self.trust.roots.iter().find(|before| before.name == root.name);
            if before.is_none_or(|before| before.pem != root.pem) {
                files.insert(root.name.clone());
            }
        }
        let intermediates = |config: &'_ Self| -> Vec<_> {
            let files = config.trust.knowledge.intermediates.iter();
            files.map(|file| (file.name.clone(), Sha256::digest(&file.pem))).collect()
        };
        let crls = |config: &'_ Self| -> Vec<_> {
            let files = config.trust.knowledge.crls.iter();
            files.map(|file| (file.name.clone(), Sha256::digest(&file.contents))).collect()
        };
        for (before, after) in [(intermediates(self), intermediates(new)), (crls(self), crls(new))] {
            let gone = before.iter().filter(|(name, _)| after.iter().all(|(other, _)| other != name));
            let changed = after.iter().filter(|file| !before.contains(file));
            files.extend(gone.chain(changed).map(|(name, _)| name.clone()));
        }
        if self.trust.knowledge.ct_logs != new.trust.knowledge.ct_logs {
            files.extend(["the log list of trust.ct_logs".to_owned()]);
        }
        if self.content.page.template() != new.content.page.template()
            && let Some(file) = &new.content.page_file
        {
            files.insert(file.display().to_string());
        }
        files.extend(self.lists.files_that_differ(&new.lists));
        files.extend(self.signatures.files_that_differ(&new.signatures));
        files.extend(self.yara.files_that_differ(&new.yara));
        changed.into_iter().chain(files).collect()
    }

    /// This is what its file says.
    pub fn has_text(&self, text: &str) -> bool {
        self.text == text
    }

    fn changed_keys(&self, other: &Self) -> BTreeSet<String> {
        let (before, after) = (self.document(), other.document());
        differing(&values(before), &values(after))
    }

    /// Its document, with the fleet's policy in the place of its own.
    fn document(&self) -> Option<toml::Table> {
        // What is compared has been read without a fault before.
        let mut own: toml::Table = self.text.parse().ok()?;
        if let Some(pushed) = &self.pushed {
            let sections: toml::Table = pushed.text.parse().ok()?;
            own.retain(|section, _| !is_pushed(section));
            own.extend(sections);
        }
        Some(own)
    }

    /// The lists of `other` are the same, and so are their files.
    pub fn has_same_lists(&self, other: &Self) -> bool {
        !self.changed_keys(other).iter().any(|key| key.starts_with("list."))
            && self.lists.files_that_differ(&other.lists).is_empty()
    }
}

/// Keys that have other values in one document than in the other, as documents write them: `rule.action`, `profile.NAME.http`.
pub fn changed_keys(before: &str, after: &str) -> BTreeSet<String> {
    differing(&values(before.parse().ok()), &values(after.parse().ok()))
}

fn differing(
    before: &BTreeMap<String, BTreeSet<String>>,
    after: &BTreeMap<String, BTreeSet<String>>,
) -> BTreeSet<String> {
    let keys = before.keys().chain(after.keys());
    keys.filter(|key| before.get(*key) != after.get(*key)).cloned().collect()
}

/// The values of each key, with their places: the second rule's are not the first one's.
fn values(document: Option<toml::Table>) -> BTreeMap<String, BTreeSet<String>> {
    let mut values = BTreeMap::new();
    if let Some(document) = document {
        walk("", "", &toml::Value::Table(document), &mut values);
    }
    values
}

fn walk(key: &str, place: &str, value: &toml::Value, values: &mut BTreeMap<String, BTreeSet<String>>) {
    match value {
        // Names of fields are the user's.
        toml::Value::Table(_)
            if ["content.rule.header", "header.set", "mirror.NAME.ports"].contains(&key) =>
        {
            values.entry(key.to_owned()).or_default().insert(format!("{place} = {value}"));
        }
        toml::Value::Table(table) => {
            for (name, value) in table {
                let below = if ["profile", "mirror", "signatures", "icap", "yara"].contains(&key) {
                    "NAME"
                } else {
                    name
                };
                let below = if key.is_empty() { below.to_owned() } else { format!("{key}.{below}") };
                walk(&below, &format!("{place}.{name}"), value, values);
            }
        }
        toml::Value::Array(tables) if tables.iter().any(toml::Value::is_table) => {
            for (n, table) in tables.iter().enumerate() {
                walk(key, &format!("{place}[{n}]"), table, values);
            }
        }
        value => {
            values.entry(key.to_owned()).or_default().insert(format!("{place} = {value}"));
        }
    }
}
