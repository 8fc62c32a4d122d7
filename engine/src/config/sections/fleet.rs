//! `[fleet]`: several engines as one, through etcd.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::config::files;
use crate::config::passphrase::credential;
use crate::config::pushed::DEFAULT_STATE;
use crate::config::reader::{Table, Value};

/// Longest name of an engine or a fleet: names are parts of etcd's keys.
const MAX_NAME: usize = 63;
/// Keys of the fleet that may be in use at once: the new one, and the one before.
const MAX_KEYS: usize = 2;

/// What engines share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Share {
    /// The policy that is pushed to them.
    Policy,
    /// The secret that keys of clients' tickets are made from.
    Tickets,
    /// Servers that cannot be decrypted.
    Exclusions,
    /// Servers whose chains were costly to verify.
    CostlyServers,
    /// Chains that were verified, so that others need not.
    VerifiedChains,
}

impl Share {
    /// All of them, by their names in a configuration.
    pub const NAMED: [(&str, Self); 5] = [
        ("policy", Self::Policy),
        ("tickets", Self::Tickets),
        ("exclusions", Self::Exclusions),
        ("costly_servers", Self::CostlyServers),
        ("verified_chains", Self::VerifiedChains),
    ];

    /// What is shared without being asked for: not what would have an engine take another one's word that a server is a good one.
    fn by_default() -> BTreeSet<Self> {
        Self::NAMED.iter().map(|(_, share)| *share).filter(|share| *share != Self::VerifiedChains).collect()
    }
}

/// What an engine does that the fleet drains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDrain {
    /// New flows pass undecrypted, its links stay up.
    #[default]
    Pass,
    /// The same, and when no decrypted flow is left, its links go down, so that routers choose others.
    Links,
}

/// Keys that what is secret is sealed with: the first seals, all open.
#[derive(Clone, PartialEq, Eq)]
pub struct FleetKeys(Vec<Zeroizing<[u8; 32]>>);

impl FleetKeys {
    /// The one that seals.
    pub fn sealing(&self) -> &[u8; 32] {
        // There is one: see `read`.
        &self.0[0]
    }

    /// All of them, the newest first.
    pub fn all(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.0.iter().map(|key| &**key)
    }

    /// These, the newest first.
    #[cfg(test)]
    pub(crate) fn of(keys: Vec<Zeroizing<[u8; 32]>>) -> Self {
        Self(keys)
    }

    /// Lines of 64 hexadecimal digits, the newest first.
    fn read(text: &[u8]) -> Option<Self> {
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
        let keys = lines.map(key).collect::<Option<Vec<_>>>()?;
        ((1..=MAX_KEYS).contains(&keys.len())).then_some(Self(keys))
    }
}

impl fmt::Debug for FleetKeys {
    /// Without them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetKeys").finish_non_exhaustive()
    }
}

fn key(digits: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut key = Zeroizing::new([0; 32]);
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (nibble(pair[0])? << 4) | nibble(pair[1])?;
    }
    Some(key)
}

/// Who an engine is to etcd.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FleetTls {
    /// PEM of the CA of etcd's servers.
    pub ca: Vec<u8>,
    /// PEM of this client's certificate and of its key.
    pub identity: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

impl fmt::Debug for FleetTls {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetTls").finish_non_exhaustive()
    }
}

/// `[fleet]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// This engine's name.
    pub name: String,
    /// The fleet's.
    pub fleet: String,
    /// URLs of etcd's members; none: this engine is in no fleet.
    pub endpoints: Vec<String>,
    /// None: etcd is asked without TLS, on this host.
    pub tls: Option<FleetTls>,
    /// What secrets are sealed with; none: none are shared.
    pub keys: Option<FleetKeys>,
    /// What is shared.
    pub share: BTreeSet<Share>,
    /// How long an engine counts as present that is not heard of.
    pub lease: Duration,
    /// Where what was pushed is kept.
    pub state_dir: PathBuf,
    /// What becomes of new flows when it is drained.
    pub on_drain: OnDrain,
}

impl Fleet {
    /// This engine is in one.
    pub fn is_on(&self) -> bool {
        !self.endpoints.is_empty()
    }

    /// It shares this.
    pub fn shares(&self, what: Share) -> bool {
        self.is_on() && self.share.contains(&what)
    }

    pub(in crate::config) fn read(table: &Table<'_>) -> Self {
        let endpoints = table.value("endpoints", "[]").map(|value| value.items()).unwrap_or_default();
        let is_on = !endpoints.is_empty();
        let read: Vec<_> = endpoints.iter().filter_map(endpoint).collect();
        let needs_tls = read.iter().any(|(_, tls)| *tls);
        if is_on && cfg!(not(feature = "fleet")) {
            table
                .say("this build was made without etcd's client (`--features fleet`): leave `endpoints` out");
        }
        let name = table.value("name", "none");
        let name = match &name {
            Some(value) => name_of(value),
            None if is_on => host_name().or_else(|| {
                table.missing("name", "a name of this engine, as the host's cannot be used as one");
                None
            }),
            None => None,
        };
        let fleet =
            table.value("fleet", "\"wireglass\"").map_or(Some("wireglass".into()), |value| name_of(&value));
        let tls = read_tls(table, is_on, needs_tls);
        let keys = table.value("key_file", "none").filter(|_| is_on).and_then(|value| read_keys(&value));
        let share = table.value("share", "[\"policy\", \"tickets\", \"exclusions\", \"costly_servers\"]");
        let share = share.map_or_else(Share::by_default, |value| {
            let wanted: BTreeSet<_> =
                value.items().iter().filter_map(|item| item.choice(&Share::NAMED)).collect();
            if is_on && wanted.contains(&Share::VerifiedChains) && keys.is_none() {
                value.say("`verified_chains` needs `fleet.key_file`: engines take no word that is not sealed with it");
            }
            wanted
        });
        let lease = table.integer("lease_seconds", 5..=300, 10);
        let state_dir = read_state_dir(table);
        let on_drain =
            table.choice("on_drain", &[("pass", OnDrain::Pass), ("links", OnDrain::Links)], OnDrain::Pass);
        table.finish();
        Self {
            name: name.unwrap_or_default(),
            fleet: fleet.unwrap_or_default(),
            endpoints: read.into_iter().map(|(url, _)| url).collect(),
            tls,
            keys,
            share,
            lease: Duration::from_secs(lease),
            state_dir,
            on_drain,
        }
    }
}

/// Where a policy that was pushed lies, for who reads nothing else of `[fleet]`; none: the engine is in no fleet.
pub(in crate::config) fn pushed_to(table: &Table<'_>) -> Option<PathBuf> {
    let is_on = table.value("endpoints", "[]").is_some_and(|value| !value.items().is_empty());
    is_on.then(|| read_state_dir(table))
}

fn read_state_dir(table: &Table<'_>) -> PathBuf {
    let value = table.value("state_dir", format!("{DEFAULT_STATE:?}"));
    value.and_then(|value| value.path_of_others()).unwrap_or_else(|| DEFAULT_STATE.into())
}

/// Its URL, and whether it is asked with TLS. Without, only on this host: what engines do depends on it.
fn endpoint(value: &Value<'_>) -> Option<(String, bool)> {
    let text = value.text()?;
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host).trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let is_whole = !host.is_empty() && !rest.contains('/');
    match scheme {
        "https" if is_whole => Some((text.to_owned(), true)),
        "http" if is_whole && is_here => Some((text.to_owned(), false)),
        _ => {
            value.expected("https://HOST:2379 of a member of etcd, or http://127.0.0.1:2379 on this host");
            None
        }
    }
}

fn name_of(value: &Value<'_>) -> Option<String> {
    let name = value.text()?;
    if !is_name(name) {
        value.expected(&format!("a name of 1 to {MAX_NAME} letters, digits, `.`, `_` and `-`"));
        return None;
    }
    Some(name.to_owned())
}

/// A part of a key of etcd's.
pub fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_plain) && !name.starts_with('.')
}

fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    is_name(name).then(|| name.to_owned())
}

fn read_tls(table: &Table<'_>, is_on: bool, needs_tls: bool) -> Option<FleetTls> {
    let file = |key, expected: &str| {
        let value = table.value(key, "none");
        if value.is_none() && needs_tls {
            table.missing(key, expected);
        }
        value.filter(|_| is_on).and_then(|value| Some((value.path()?, value)))
    };
    let ca = file("ca", "the certificate of the CA of etcd's servers, in PEM");
    let certificate = file("certificate", "the certificate that this engine shows to etcd, in PEM");
    let key = file("key", "the key of `fleet.certificate`, in PEM");
    let pem = |(path, value): (PathBuf, Value<'_>)| {
        files::certificates(&path).inspect_err(|error| value.say(error)).ok()
    };
    let key =
        key.and_then(|(path, value)| files::private(&path, "key").inspect_err(|error| value.say(error)).ok());
    let identity = certificate.and_then(pem).zip(key);
    ca.and_then(pem).map(|ca| FleetTls { ca, identity })
}

fn read_keys(value: &Value<'_>) -> Option<FleetKeys> {
    let path = value.path_of_others()?;
    let path = credential(path, value.text()?).inspect_err(|error| value.say(error)).ok()?;
    value.reads(&path);
    let text = files::private(&path, "key").inspect_err(|error| value.say(error)).ok()?;
    let keys = FleetKeys::read(&text);
    if keys.is_none() {
        value.say(format!(
            "expected a key of 64 hexadecimal digits in {}, and below it at most one more, the one before: `openssl rand -hex 32`",
            path.display()
        ));
    }
    keys
}
