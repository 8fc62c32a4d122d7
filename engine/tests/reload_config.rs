//! The configuration loaded anew: what changes, what does not, and how faults are told.
#![allow(clippy::unwrap_used, clippy::panic)]

mod config_support;

use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use config_support::{Folder, GOOD, GOOD_LINES, repository};
use tracing::level_filters::LevelFilter;
use wireglass::config::{Compiled, Config, changed_keys, keys, needs_restart};
use wireglass::control::client::AskError;
use wireglass::control::operate::{StopRecord, StopRequest};
use wireglass::control::protocol::Refusal;
use wireglass::control::{ControlServer, ControlSocket, WholeEngine, client};
use wireglass::flow_dump::{DumpResponder, FlowDumper};
use wireglass::generation::{GenerationInbox, Generations};
use wireglass::metrics::Metrics;
use wireglass::reload::{ReloadError, ReloadThread, Reloaded, Reloader};
use wireglass_core::event::Action;
use wireglass_core::exclusions::Exclusions;
use wireglass_core::flow::Shared;
use wireglass_core::policy::{Decision, FlowFacts, HelloFacts, Tallies};
use wireglass_core::tls::{RecordLibraries, Suite};
use wireglass_core::x509::Provider;

/// An engine of which there is only what takes new settings.
struct Engine {
    reloader: Option<Reloader>,
    taken: Receiver<Arc<Shared>>,
    levels: Receiver<LevelFilter>,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Engine {
    fn start(config: Config) -> Self {
        let Compiled { policy, filters, tallies } = config.compile(&Tallies::default());
        let shared = Shared {
            policy,
            tls: Arc::new(config.tls_context().unwrap()),
            limits: config.limits.of_flow(),
            outside_tls: config.intercept.outside_tls,
            page: Arc::default(),
            filters,
            exclusions: Arc::new(Exclusions::new([7; 16])),
            mirrors: Arc::default(),
            wires: config.wires.iter().map(|wire| Arc::clone(&wire.name)).collect(),
        };
        let mut inbox = GenerationInbox::default();
        let generations = Generations::new(shared.clone(), [(&Arc::new(shared), &inbox)]);
        let (metrics, stop) = (Arc::new(Metrics::new(&[], 1)), Arc::new(AtomicBool::new(false)));
        metrics.set_tallies(tallies);
        let ((takes, taken), (sets, levels)) = (channel(), channel());
        let set_level = move |level| {
            let _ = sets.send(level);
        };
        let reloader =
            Some(Reloader::new(config, generations, Arc::clone(&metrics), set_level, Arc::clone(&stop)));
        let stopped = Arc::clone(&stop);
        let worker = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if inbox.is_waiting()
                    && let Some((_, shared)) = inbox.take()
                {
                    let _ = takes.send(shared);
                }
                thread::sleep(Duration::from_micros(200));
            }
        });
        Self { reloader, taken, levels, metrics, stop, worker: Some(worker) }
    }

    fn reload(&mut self) -> Result<Reloaded, ReloadError> {
        self.reloader.as_mut().unwrap().reload()
    }

    /// What its worker has been given last.
    fn settings(&self) -> Option<Arc<Shared>> {
        self.taken.try_iter().last()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.worker.take().unwrap().join().unwrap();
    }
}

/// Values for all keys that a reload does not change: before and after, with the tables that they are in.
const FIXED: &[(&str, &str, &str)] = &[
    ("dpdk.eal", "[dpdk]\neal = []", "[dpdk]\neal = [\"--no-huge\"]"),
    ("dpdk.vdev", "[dpdk]\nvdev = []", "[dpdk]\nvdev = [\"net_null0\"]"),
    ("wire.name", "name = \"lan\"", "name = \"wan\""),
    ("wire.inside", "inside = \"0000:03:00.0\"", "inside = \"0000:04:00.0\""),
    ("wire.outside", "outside = \"0000:03:00.1\"", "outside = \"0000:04:00.1\""),
    ("wire.mtu", "name = \"lan\"", "name = \"lan\"\nmtu = 9000"),
    ("wire.native_vlan", "name = \"lan\"", "name = \"lan\"\nnative_vlan = 7"),
    ("wire.link_state", "name = \"lan\"", "name = \"lan\"\nlink_state = \"independent\""),
    ("mirror.NAME.port", "[mirror.m]\nport = \"xdp:eth2\"", "[mirror.m]\nport = \"xdp:eth3\""),
    (
        "mirror.NAME.when",
        "[mirror.m]\nport = \"xdp:eth2\"",
        "[mirror.m]\nport = \"xdp:eth2\"\nwhen = \"forwarded\"",
    ),
    (
        "mirror.NAME.destination_mac",
        "[mirror.m]\nport = \"xdp:eth2\"",
        "[mirror.m]\nport = \"xdp:eth2\"\ndestination_mac = \"02:00:00:00:00:99\"",
    ),
    (
        "mirror.NAME.source_mac",
        "[mirror.m]\nport = \"xdp:eth2\"",
        "[mirror.m]\nport = \"xdp:eth2\"\nsource_mac = \"02:00:00:00:00:99\"",
    ),
    ("mirror.NAME.vlan", "[mirror.m]\nport = \"xdp:eth2\"", "[mirror.m]\nport = \"xdp:eth2\"\nvlan = 4000"),
    (
        "mirror.NAME.ports",
        "[mirror.m]\nport = \"xdp:eth2\"",
        "[mirror.m]\nport = \"xdp:eth2\"\nports = { 443 = 80 }",
    ),
    (
        "mirror.NAME.profile",
        "[mirror.m]\nport = \"xdp:eth2\"",
        "[mirror.m]\nport = \"xdp:eth2\"\nprofile = [\"default\"]",
    ),
    (
        "mirror.NAME.bypassed",
        "[mirror.m]\nport = \"xdp:eth2\"",
        "[mirror.m]\nport = \"xdp:eth2\"\nbypassed = true",
    ),
    ("mirror.NAME.mtu", "[mirror.m]\nport = \"xdp:eth2\"", "[mirror.m]\nport = \"xdp:eth2\"\nmtu = 1400"),
    (
        "verdicts.listen",
        "[mirror.m]\nport = \"xdp:eth2\"",
        "[mirror.m]\nport = \"xdp:eth2\"\n[verdicts]\nlisten = \"a.sock\"",
    ),
    (
        "verdicts.block.metadata",
        "[verdicts]\nblock.metadata = \"a b\"",
        "[verdicts]\nblock.metadata = \"off\"",
    ),
    ("verdicts.block.sid", "[verdicts]\nblock.sid = [1]", "[verdicts]\nblock.sid = [1, 2]"),
    ("capture.folder", "[capture]\nfolder = \"off\"", "[capture]\nfolder = \"/tmp\""),
    ("capture.keylog", "[capture]\nkeylog = \"off\"", "[capture]\nkeylog = \"/tmp/keys\""),
    ("capture.minutes", "[capture]\nfolder = \"/tmp\"", "[capture]\nfolder = \"/tmp\"\nminutes = 2"),
    (
        "capture.profile",
        "[capture]\nfolder = \"/tmp\"",
        "[capture]\nfolder = \"/tmp\"\nprofile = [\"default\"]",
    ),
    ("capture.file_mb", "[capture]\nfolder = \"/tmp\"", "[capture]\nfolder = \"/tmp\"\nfile_mb = 2"),
    (
        "capture.file_minutes",
        "[capture]\nfolder = \"/tmp\"",
        "[capture]\nfolder = \"/tmp\"\nfile_minutes = 2",
    ),
    ("capture.total_mb", "[capture]\nfolder = \"/tmp\"", "[capture]\nfolder = \"/tmp\"\ntotal_mb = 2048"),
    ("workers.cores", "[workers]\ncores = [1]", "[workers]\ncores = [1, 2]"),
    ("workers.handshake_threads", "[workers]\nhandshake_threads = 1", "[workers]\nhandshake_threads = 2"),
    ("content.threads", "[content]\nthreads = 1", "[content]\nthreads = 2"),
    ("workers.idle", "[workers]\nidle = \"adaptive\"", "[workers]\nidle = \"spin\""),
    ("workers.on_worker_failure", "[workers]", "[workers]\non_worker_failure = \"open\""),
    ("limits.flows", "[limits]\nflows = 100", "[limits]\nflows = 200"),
    ("limits.worker_bytes", "[limits]\nworker_bytes = 4194304", "[limits]\nworker_bytes = 8388608"),
    ("log.eve", "[log]\neve = \"a.json\"", "[log]\neve = \"b.json\""),
    ("log.filetype", "[log]\neve = \"a.json\"", "[log]\neve = \"a.json\"\nfiletype = \"unix_dgram\""),
    (
        "log.facility",
        "[log]\nfiletype = \"syslog\"\neve = \"log\"",
        "[log]\nfiletype = \"syslog\"\neve = \"log\"\nfacility = \"local0\"",
    ),
    ("log.stats_seconds", "[log]\nstats_seconds = 1", "[log]\nstats_seconds = 2"),
    ("metrics.listen", "[metrics]\nlisten = \"off\"", "[metrics]\nlisten = \"127.0.0.1:1\""),
    ("metrics.page", "[metrics]\npage = false", "[metrics]\npage = true"),
    ("metrics.hosts", "[metrics]\nhosts = []", "[metrics]\nhosts = [\"wire.example\"]"),
    ("control.socket", "[control]\nsocket = \"off\"", "[control]\nsocket = \"b.sock\""),
    ("control.read_group", "[control]", "[control]\nread_group = \"root\""),
    ("confine.mode", "[confine]\nmode = \"off\"", "[confine]\nmode = \"strict\""),
    (
        "confine.user",
        "[confine]\nuser = \"nobody\"\ngroup = \"root\"",
        "[confine]\nuser = \"root\"\ngroup = \"root\"",
    ),
    (
        "confine.group",
        "[confine]\nuser = \"root\"\ngroup = \"root\"",
        "[confine]\nuser = \"root\"\ngroup = \"daemon\"",
    ),
    ("exclusions.file", "[exclusions]\nfile = \"a.json\"", "[exclusions]\nfile = \"b.json\""),
    ("ca.signer_user", "[ca]", "[ca]\nsigner_user = \"nobody\""),
    ("fetch.crls", "[fetch]\ncrls = false", "[fetch]\ncrls = true"),
    ("fetch.ocsp", "[fetch]\nocsp = false", "[fetch]\nocsp = true"),
    ("fetch.issuers", "[fetch]\nissuers = false", "[fetch]\nissuers = true"),
    ("fetch.allow", "[fetch]\nallow = []", "[fetch]\nallow = [\"10.0.0.0/8\"]"),
    ("fetch.ports", "[fetch]\nports = [80]", "[fetch]\nports = [80, 8080]"),
    ("fetch.redirects", "[fetch]\nredirects = 2", "[fetch]\nredirects = 0"),
    ("fetch.timeout_seconds", "[fetch]\ntimeout_seconds = 10", "[fetch]\ntimeout_seconds = 5"),
    ("fetch.parallel", "[fetch]\nparallel = 4", "[fetch]\nparallel = 8"),
    ("fetch.per_second", "[fetch]\nper_second = 20", "[fetch]\nper_second = 40"),
    ("fetch.host_per_second", "[fetch]\nhost_per_second = 5", "[fetch]\nhost_per_second = 1"),
    ("fetch.queue", "[fetch]\nqueue = 256", "[fetch]\nqueue = 16"),
    ("fetch.answer_bytes", "[fetch]\nanswer_bytes = 16777216", "[fetch]\nanswer_bytes = 1048576"),
    ("fetch.cache_entries", "[fetch]\ncache_entries = 8192", "[fetch]\ncache_entries = 16384"),
    ("fetch.cache_bytes", "[fetch]\ncache_bytes = 268435456", "[fetch]\ncache_bytes = 536870912"),
    ("fetch.retry_seconds", "[fetch]\nretry_seconds = 300", "[fetch]\nretry_seconds = 60"),
    ("fetch.refresh_seconds", "[fetch]\nrefresh_seconds = 21600", "[fetch]\nrefresh_seconds = 3600"),
    (
        "fleet.endpoints",
        "[fleet]\nname = \"a\"\nendpoints = [\"http://127.0.0.1:1\"]",
        "[fleet]\nname = \"a\"\nendpoints = [\"http://127.0.0.1:2\"]",
    ),
    (
        "fleet.name",
        "[fleet]\nendpoints = [\"http://127.0.0.1:1\"]\nname = \"a\"",
        "[fleet]\nendpoints = [\"http://127.0.0.1:1\"]\nname = \"b\"",
    ),
    (
        "fleet.fleet",
        "[fleet]\nendpoints = [\"http://127.0.0.1:1\"]\nname = \"a\"\nfleet = \"wireglass\"",
        "[fleet]\nendpoints = [\"http://127.0.0.1:1\"]\nname = \"a\"\nfleet = \"north\"",
    ),
    (
        "fleet.ca",
        "[fleet]\nendpoints = [\"https://e:1\"]\nname = \"a\"\ncertificate = \"ca/trusted.pem\"\nkey = \"ca/trusted.key\"\nca = \"ca/trusted.pem\"",
        "[fleet]\nendpoints = [\"https://e:1\"]\nname = \"a\"\ncertificate = \"ca/trusted.pem\"\nkey = \"ca/trusted.key\"\nca = \"ca/untrusted.pem\"",
    ),
    (
        "fleet.certificate",
        "[fleet]\nendpoints = [\"https://e:1\"]\nname = \"a\"\nkey = \"ca/trusted.key\"\nca = \"ca/trusted.pem\"\ncertificate = \"ca/trusted.pem\"",
        "[fleet]\nendpoints = [\"https://e:1\"]\nname = \"a\"\nkey = \"ca/trusted.key\"\nca = \"ca/trusted.pem\"\ncertificate = \"ca/untrusted.pem\"",
    ),
    (
        "fleet.key",
        "[fleet]\nendpoints = [\"https://e:1\"]\nname = \"a\"\ncertificate = \"ca/trusted.pem\"\nca = \"ca/trusted.pem\"\nkey = \"ca/trusted.key\"",
        "[fleet]\nendpoints = [\"https://e:1\"]\nname = \"a\"\ncertificate = \"ca/trusted.pem\"\nca = \"ca/trusted.pem\"\nkey = \"ca/untrusted.key\"",
    ),
    (
        "fleet.key_file",
        "[fleet]\nendpoints = [\"http://127.0.0.1:1\"]\nname = \"a\"\nkey_file = \"one.key\"",
        "[fleet]\nendpoints = [\"http://127.0.0.1:1\"]\nname = \"a\"\nkey_file = \"other.key\"",
    ),
    (
        "fleet.share",
        "[fleet]\nendpoints = [\"http://127.0.0.1:1\"]\nname = \"a\"\nshare = [\"policy\"]",
        "[fleet]\nendpoints = [\"http://127.0.0.1:1\"]\nname = \"a\"\nshare = []",
    ),
    (
        "fleet.lease_seconds",
        "[fleet]\nendpoints = [\"http://127.0.0.1:1\"]\nname = \"a\"\nlease_seconds = 10",
        "[fleet]\nendpoints = [\"http://127.0.0.1:1\"]\nname = \"a\"\nlease_seconds = 20",
    ),
    (
        "fleet.state_dir",
        "[fleet]\nendpoints = [\"http://127.0.0.1:1\"]\nname = \"a\"\nstate_dir = \"here\"",
        "[fleet]\nendpoints = [\"http://127.0.0.1:1\"]\nname = \"a\"\nstate_dir = \"there\"",
    ),
    (
        "fleet.on_drain",
        "[fleet]\nendpoints = [\"http://127.0.0.1:1\"]\nname = \"a\"\non_drain = \"pass\"",
        "[fleet]\nendpoints = [\"http://127.0.0.1:1\"]\nname = \"a\"\non_drain = \"links\"",
    ),
];

/// A configuration with this in it, in place of what is there already or at its end.
fn with(piece: &str, of: &str) -> String {
    if GOOD.contains(of) { GOOD.replace(of, piece) } else { format!("{GOOD}{piece}\n") }
}

#[test]
fn what_needs_a_restart_is_named_and_is_not_forgotten_by_the_next_reload() {
    assert_eq!(FIXED.iter().map(|(key, ..)| *key).collect::<Vec<_>>(), needs_restart().collect::<Vec<_>>());
    let folder = Folder::new();
    for (name, digits) in [("one.key", "ab"), ("other.key", "cd")] {
        let key = folder.write(name, digits.repeat(32));
        fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
    }
    // A build without etcd's client has no fleet.
    let loads = |key: &str| cfg!(feature = "fleet") || !key.starts_with("fleet.");
    for (key, before, after) in FIXED.iter().filter(|(key, ..)| loads(key)) {
        let mut engine = Engine::start(folder.load(&with(before, before)).unwrap());
        folder.write("wire.toml", with(after, before));
        for round in 0..2 {
            let done = engine.reload().unwrap();
            assert_eq!(done.needs_restart, [*key], "{key}, round {round}");
            assert!(done.changed.is_empty(), "{key}: {done:?}");
        }
        folder.write("wire.toml", with(before, before));
        assert!(engine.reload().unwrap().needs_restart.is_empty(), "{key}: back");
        // A default that is written out is no change.
        assert_eq!(engine.metrics.generation().number(), 4);
    }
}

/// Each key of the example, taken out of it, is what has changed; and the document says of each when that takes effect.
#[test]
fn every_key_changes_at_a_reload_or_needs_a_restart_and_the_document_says_which() {
    let example = fs::read_to_string(repository().join("examples/wireglass.toml")).unwrap();
    for key in keys().keys() {
        let mut document: toml::Table = example.parse().unwrap();
        let path: Vec<_> = key.split('.').collect();
        assert!(remove(&mut document, &path), "{key} is not in the example");
        let changed = changed_keys(&example, &toml::to_string(&document).unwrap());
        assert_eq!(changed, BTreeSet::from([key.clone()]));
    }
    let text = fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let row = |begins: &str| -> BTreeSet<String> {
        let row = text.lines().find(|line| line.starts_with(begins)).unwrap_or_else(|| panic!("{begins}"));
        row.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let (live, fixed) = (row("| a reload |"), row("| a restart |"));
    assert_eq!(fixed, needs_restart().map(str::to_owned).collect());
    let all: BTreeSet<_> = keys().into_keys().collect();
    assert_eq!(live, all.difference(&fixed).cloned().collect());
}

/// Takes the first value of a key out of a document.
fn remove(table: &mut toml::Table, path: &[&str]) -> bool {
    let [name, rest @ ..] = path else { return false };
    if rest.is_empty() {
        return table.remove(*name).is_some();
    }
    let below: Vec<_> = match *name {
        "NAME" => table.iter_mut().map(|(_, value)| value).collect(),
        name => table.get_mut(name).into_iter().collect(),
    };
    let tables = below.into_iter().flat_map(|value| match value {
        toml::Value::Array(items) => items.iter_mut().collect(),
        value => vec![value],
    });
    tables.filter_map(toml::Value::as_table_mut).any(|table| remove(table, rest))
}

#[test]
fn what_changes_is_in_force_and_told() {
    let folder = Folder::new();
    folder.write("bad.txt", "ads.example\n");
    let lists = "[[list]]\nname = \"bad\"\nkind = \"domain\"\nfiles = [\"bad.txt\"]\n";
    let rule = "[[rule]]\nname = \"no ads\"\nsni = { list = \"bad\" }\naction = \"block\"\n";
    let mut engine = Engine::start(folder.load(&format!("{GOOD}{lists}{rule}")).unwrap());
    let first = {
        engine.reload().unwrap();
        engine.settings().unwrap()
    };
    let keep = |before: &Shared, after: &Shared| {
        (after.tls.shares_verdicts(&before.tls), Arc::ptr_eq(before.policy.lists(), after.policy.lists()))
    };

    let more = "[limits]\nhello_seconds = 7\nserver_sessions = 9\n[log]\nlevel = \"debug\"\n[profile.default]\nhttp = false\n";
    let text = format!("{GOOD}{more}{lists}{rule}").replace("default = \"decrypt\"", "default = \"bypass\"");
    folder.write("wire.toml", text);
    let done = engine.reload().unwrap();
    let told = [
        "limits.hello_seconds",
        "limits.server_sessions",
        "log.level",
        "policy.default",
        "profile.NAME.http",
    ];
    assert_eq!((done.changed.as_slice(), done.generation), (&told.map(str::to_owned)[..], 3));
    assert_eq!(engine.levels.try_iter().last(), Some(LevelFilter::DEBUG));
    let second = engine.settings().unwrap();
    assert_eq!(second.limits.hello_time.total_millis(), 7_000);
    assert_eq!(keep(&first, &second), (true, true), "roots, CAs and lists are the same");
    let facts = FlowFacts {
        wire: "lan",
        vlan: None,
        client: "10.0.0.1:1".parse().unwrap(),
        server: "192.0.2.1:443".parse().unwrap(),
    };
    let verdict = |shared: &Shared, sni| {
        shared.policy.at_hello(&facts, &HelloFacts { sni: Some(sni), alpn: &[], ja4: "" }).decision
    };
    assert_eq!(verdict(&second, "www.example"), Decision::Bypass);
    assert!(matches!(verdict(&first, "www.example"), Decision::Decrypt(_)));

    // Files: a list, a root.
    folder.write("bad.txt", "ads.example\nwww.example\n");
    fs::copy(folder.path("ca/untrusted.pem"), folder.path("roots/trusted.pem")).unwrap();
    let done = engine.reload().unwrap();
    let files = ["bad.txt", "roots/trusted.pem"].map(|name| folder.path(name).display().to_string());
    assert_eq!(done.changed, files);
    let third = engine.settings().unwrap();
    assert!(matches!(verdict(&third, "www.example"), Decision::Block(_)));
    assert_eq!(keep(&second, &third), (false, false));
    let text = prometheus(&engine.metrics);
    assert!(text.contains("\nwireglass_generation 4\n"), "{text}");
}

#[test]
fn the_library_of_records_is_taken_from_the_next_handshake_on() {
    let folder = Folder::new();
    let mut engine = Engine::start(folder.load(GOOD).unwrap());
    for (n, library) in Provider::BUILT_IN.iter().enumerate() {
        folder.write("wire.toml", format!("{GOOD}[crypto]\nrecords = {:?}\n", library.name()));
        let done = engine.reload().unwrap();
        assert!(done.needs_restart.is_empty(), "{done:?}");
        assert_eq!(done.changed, ["crypto.records"], "{n}");
        let taken = engine.settings().unwrap().tls.record_libraries();
        assert_eq!(taken, RecordLibraries::all(*library));
        for suite in Suite::ALL {
            let labels = format!("suite={:?},library={:?}", suite.name(), library.name());
            let line = format!("\nwireglass_record_library_info{{{labels}}} 1\n");
            assert!(prometheus(&engine.metrics).contains(&line), "{line}");
        }
    }
}

#[test]
fn what_rules_have_decided_goes_on_being_counted() {
    let folder = Folder::new();
    let rule = |name: &str, action: &str| {
        format!("[[rule]]\nname = \"{name}\"\nsni = [\"{name}.test\"]\naction = \"{action}\"\n")
    };
    let content = "[[content.rule]]\nname = \"told\"\naction = \"alert\"\n";
    let text = format!("{GOOD}{}{}{content}", rule("games", "block"), rule("bank", "bypass"));
    let mut engine = Engine::start(folder.load(&text).unwrap());
    engine.reload().unwrap();
    let first = engine.settings().unwrap();
    let facts = FlowFacts {
        wire: "lan",
        vlan: None,
        client: "10.0.0.1:1".parse().unwrap(),
        server: "192.0.2.1:443".parse().unwrap(),
    };
    let connect = |shared: &Shared, sni| {
        let hello = HelloFacts { sni: Some(sni), alpn: &[], ja4: "" };
        shared.policy.count(&shared.policy.at_hello(&facts, &hello));
    };
    let counted = |engine: &Engine| -> Vec<String> {
        let page = prometheus(&engine.metrics);
        let counts =
            page.lines().filter_map(|line| line.strip_prefix("wireglass_rule_connections_total{rule="));
        counts.filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect()
    };
    for name in ["games.test", "games.test", "bank.test", "www.test"] {
        connect(&first, name);
    }
    let before =
        ["\"\",action=\"decrypt\"} 1", "\"bank\",action=\"bypass\"} 1", "\"games\",action=\"block\"} 2"];
    assert_eq!(counted(&engine), before);
    first.policy.count_profile("default", Action::Decrypt);

    // One rule is gone, and one does something else.
    folder.write("wire.toml", format!("{GOOD}{}", rule("bank", "block")));
    engine.reload().unwrap();
    let second = engine.settings().unwrap();
    for name in ["games.test", "bank.test"] {
        connect(&second, name);
    }
    let after = ["\"\",action=\"decrypt\"} 2", "\"bank\",action=\"block\"} 1"];
    assert_eq!(counted(&engine), after);
    let page = prometheus(&engine.metrics);
    assert!(
        page.contains("\nwireglass_content_unread_total{reason=\"content.unparsed\",action=\"block\"} 0\n")
    );
    assert!(!page.contains("told"), "{page}");
    assert!(
        page.contains("\nwireglass_profile_hellos_total{profile=\"default\",action=\"decrypt\"} 1\n"),
        "{page}"
    );
    assert!(page.contains("\nwireglass_profile_hellos_total{profile=\"default\",action=\"block\"} 0\n"));
    assert!(
        page.contains("\nwireglass_ca_not_after_seconds{ca=\"trusted\"} "),
        "a reload may bring another CA"
    );
}

fn prometheus(metrics: &Metrics) -> String {
    let mut page = String::new();
    metrics.render_prometheus(&mut page);
    page
}

#[test]
fn a_fault_changes_nothing_and_is_told_with_file_line_and_key() {
    let folder = Folder::new();
    let mut engine = Engine::start(folder.load(GOOD).unwrap());
    let file = folder.path("wire.toml").display().to_string();
    let wire = "[[rule]]\nname = \"x\"\nwire = \"wan\"\naction = \"block\"\n";
    for (text, fault) in [
        (format!("{GOOD}[workers]\ncolour = 1\n"), format!("{file}:{}: workers.colour: ", GOOD_LINES + 2)),
        (format!("{GOOD}[log"), format!("{file}:{}: TOML", GOOD_LINES + 1)),
        (GOOD.replace("roots/trusted.pem", "roots/none.pem"), format!("{file}:10: trust.roots[1]: ")),
        (GOOD.replace("name = \"lan\"", "name = \"wan\"") + wire, format!("{file}: rule[1].wire: ")),
    ] {
        folder.write("wire.toml", &text);
        let error = engine.reload().unwrap_err().to_string();
        assert!(error.starts_with(&fault), "{fault}: {error}");
    }
    fs::remove_file(&file).unwrap();
    assert!(engine.reload().unwrap_err().to_string().starts_with(&format!("{file}: cannot read")));
    assert!(engine.settings().is_none() && engine.levels.try_iter().next().is_none());
    let generation = engine.metrics.generation();
    assert_eq!((generation.number(), generation.failed()), (1, 5));
    folder.write("wire.toml", GOOD);
    assert_eq!(engine.reload().unwrap(), Reloaded { generation: 2, ..Reloaded::default() });
}

/// Writes a list as if that were a while ago.
fn write_list(folder: &Folder, text: &str) {
    folder.write("bad.new", text);
    let before = SystemTime::now() - Duration::from_secs(60);
    let file = File::options().write(true).open(folder.path("bad.new")).unwrap();
    file.set_times(FileTimes::new().set_modified(before)).unwrap();
    fs::rename(folder.path("bad.new"), folder.path("bad.txt")).unwrap();
}

#[test]
fn a_list_reloads_by_itself_where_asked_and_nothing_else_does() {
    let folder = Folder::new();
    write_list(&folder, "one.example\n");
    let text = |seconds: &str| {
        format!("{GOOD}[[list]]\nname = \"bad\"\nkind = \"domain\"\nfiles = [\"*.txt\"]\n{seconds}")
    };
    let later = Duration::from_secs(61);
    let mut engine = Engine::start(folder.load(&text("reload_seconds = 60\n")).unwrap());
    let look =
        |engine: &mut Engine, after| engine.reloader.as_mut().unwrap().look_at_lists(Instant::now() + after);
    assert!(look(&mut engine, later).is_none(), "nothing has changed");
    // A configuration that is being worked on is none of its business.
    folder.write("wire.toml", "[policy");
    write_list(&folder, "one.example\ntwo.example\n");
    assert!(look(&mut engine, later).is_none(), "it was looked at a moment ago");
    let done = look(&mut engine, later * 2 + later).unwrap().unwrap();
    assert_eq!(done.changed, [folder.path("bad.txt").display().to_string()]);
    let on_list = |shared: &Shared, name| !shared.policy.lists().of_domain(name).is_empty();
    let shared = engine.settings().unwrap();
    assert!(on_list(&shared, "two.example") && !on_list(&shared, "three.example"));

    // One more file that the pattern names; one that is being written now; one without entries, tried once.
    folder.write("more.txt", "three.example\n");
    assert!(look(&mut engine, later * 5).is_none(), "it may not be complete");
    let old = File::options().write(true).open(folder.path("more.txt")).unwrap();
    old.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH)).unwrap();
    assert!(look(&mut engine, later * 7).unwrap().is_ok());
    assert!(on_list(&engine.settings().unwrap(), "three.example"));
    write_list(&folder, "");
    let error = look(&mut engine, later * 9).unwrap().unwrap_err().to_string();
    let place = format!("{}:{}: list[1].files[1]: ", folder.path("wire.toml").display(), GOOD_LINES + 4);
    assert!(error.starts_with(&place) && error.contains("bad.txt"), "{error}");
    assert!(look(&mut engine, later * 11).is_none(), "until it changes");
    assert!(engine.settings().is_none());
    write_list(&folder, "four.example\n");
    assert!(look(&mut engine, later * 13).unwrap().is_ok());

    // Without the key, nothing happens by itself.
    let mut engine = Engine::start(folder.load(&text("")).unwrap());
    write_list(&folder, "five.example\n");
    assert!(look(&mut engine, later * 1000).is_none());
}

fn wireglass_reload(folder: &Folder) -> Output {
    let socket = folder.path("control.sock");
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireglass"));
    command.args(["reload", "--socket"]).arg(socket).output().unwrap()
}

#[test]
fn the_command_says_what_was_done_and_its_exit_status_whether_it_was() {
    let folder = Folder::new();
    let mut engine = Engine::start(folder.load(GOOD).unwrap());
    let (counts, counted) = channel();
    let (thread, handle) = ReloadThread::start(engine.reloader.take().unwrap(), move || {
        let _ = counts.send(());
    })
    .unwrap();
    let socket = ControlSocket::bind(&folder.path("control.sock")).unwrap();
    let dumper = FlowDumper::new(&[] as &[DumpResponder]);
    let told_to_stop = Arc::<AtomicBool>::default();
    let metrics = Some(([127, 0, 0, 1], 9464).into());
    let whole = WholeEngine { reload: handle, stop: Arc::clone(&told_to_stop), metrics };
    let server = ControlServer::start(socket, dumper, Arc::clone(&engine.metrics), Some(whole)).unwrap();
    let said = |output: &Output| {
        (
            output.status.code(),
            String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned(),
        )
    };

    let (status, text) = said(&wireglass_reload(&folder));
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("generation 2 is in effect") && text.contains("nothing has changed"), "{text}");
    let changed = GOOD.replace("\"decrypt\"", "\"bypass\"") + "[workers]\ncores = [1, 2]\n";
    folder.write("wire.toml", changed);
    let (status, text) = said(&wireglass_reload(&folder));
    assert!(status == Some(0) && text.contains("changed: policy.default\n"), "{text}");
    assert!(text.contains("in effect only after a restart of the engine: workers.cores"), "{text}");
    folder.write("wire.toml", format!("{GOOD}[workers]\ncolour = 1\ncores = []\n"));
    let (status, text) = said(&wireglass_reload(&folder));
    let file = folder.path("wire.toml").display().to_string();
    assert_eq!(status, Some(1), "{text}");
    for fault in [
        format!("{file}:{}: workers.colour: unknown key", GOOD_LINES + 2),
        format!("{file}:{}: workers.cores: expected at least one core", GOOD_LINES + 3),
        "not reloaded: the previous configuration stays in effect. Fix the faults and reload again"
            .to_owned(),
    ] {
        assert!(text.contains(&fault), "{fault}: {text}");
    }
    assert_eq!(counted.try_iter().count(), 3, "what a reload does beside");
    assert_eq!((engine.metrics.generation().number(), engine.metrics.generation().failed()), (3, 1));

    // Many at once: each is answered, or told to try again.
    folder.write("wire.toml", GOOD);
    thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| said(&wireglass_reload(&folder)))).collect();
        for (status, text) in asked.into_iter().map(|asked| asked.join().unwrap()) {
            let busy = status == Some(1) && text.contains("try again");
            assert!(busy || (status == Some(0) && text.contains("is in effect")), "{text}");
        }
    });
    let stop =
        |process, only_ask| client::stop(&folder.path("control.sock"), StopRequest { process, only_ask });
    let own = std::process::id();
    assert_eq!(stop(own, true).unwrap(), StopRecord { decrypted: 0, bypassed: 0, metrics });
    let other = stop(own + 1, false);
    assert!(matches!(other, Err(AskError::Refused(Refusal::Absent, _))), "{other:?}");
    assert!(!told_to_stop.load(Ordering::Acquire), "it was only asked, or another one was meant");
    stop(own, false).unwrap();
    // It answers before it does.
    let until = Instant::now() + Duration::from_secs(5);
    while !told_to_stop.load(Ordering::Acquire) {
        assert!(Instant::now() < until, "it was asked to stop");
        thread::yield_now();
    }
    server.stop();
    thread.join();
    let (status, text) = said(&wireglass_reload(&folder));
    assert!(status == Some(1) && text.contains("no engine answers"), "{text}");
}
