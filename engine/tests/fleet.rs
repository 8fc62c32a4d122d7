//! Engines of a fleet with a real etcd between them, and the commands that operators use. Only workers are missing.
#![cfg(feature = "fleet")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod config_support;
mod fleet_support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use config_support::{Folder, GOOD};
use fleet_support::{Etcd, Pki, wait};
use wireglass::config::{Compiled, Config};
use wireglass::fleet::running::RunningEngine;
use wireglass::fleet::status::{FleetRecord, FleetStatus};
use wireglass::fleet::store::Store;
use wireglass::fleet::thread::FleetThread;
use wireglass::generation::{GenerationInbox, Generations};
use wireglass::metrics::Metrics;
use wireglass::reload::{ReloadThread, Reloader};
use wireglass_core::event::{Revocation, RevocationSource};
use wireglass_core::exclusions::{Cause, Clients, Exclusion, Exclusions, Place, Server};
use wireglass_core::flow::Shared;
use wireglass_core::order::Order;
use wireglass_core::policy::{Decision, FlowFacts, HelloFacts, Tallies};
use wireglass_core::tls::{CostlyServers, GoodChain, SharedChains, TicketSharing};

/// An engine of which there is what takes new settings, and its part in the fleet.
struct Engine {
    fleet: Option<FleetThread>,
    status: Arc<FleetStatus>,
    metrics: Arc<Metrics>,
    exclusions: Arc<Exclusions>,
    costly: Arc<CostlyServers>,
    chains: Arc<SharedChains>,
    tickets: Option<TicketSharing>,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<Arc<Shared>>>,
    state: PathBuf,
}

impl Engine {
    fn start(folder: &Folder, etcd: &Etcd, name: &str) -> Self {
        let state = folder.path(&format!("state-{name}"));
        fs::create_dir_all(&state).unwrap();
        let text = format!(
            "{}{}lease_seconds = 5\nstate_dir = \"{}\"\nkey_file = \"fleet.key\"\n\
             share = [\"policy\", \"tickets\", \"exclusions\", \"costly_servers\", \"verified_chains\"]\n",
            GOOD.replace("name = \"lan\"", &format!("name = \"lan-{name}\"")),
            etcd.section(name),
            state.display()
        );
        let key = folder.write("fleet.key", "ab".repeat(32));
        fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
        let config = Config::load(&folder.write(&format!("{name}.toml"), text)).unwrap();
        let fleet = config.fleet.clone();
        let Compiled { policy, filters, tallies } = config.compile(&Tallies::default());
        let shared = Shared {
            policy,
            tls: Arc::new(config.tls_context().unwrap().with_ticket_secret([name.as_bytes()[0]; 32])),
            limits: config.limits.of_flow(),
            outside_tls: config.intercept.outside_tls,
            page: Arc::default(),
            filters,
            exclusions: Arc::new(Exclusions::new([7; 16])),
            mirrors: Arc::default(),
            wires: config.wires.iter().map(|wire| Arc::clone(&wire.name)).collect(),
        };
        let mut inbox = GenerationInbox::default();
        let mut last = Arc::new(shared.clone());
        let generations = Generations::new(shared, [(&last, &inbox)]);
        let (metrics, stop) = (Arc::new(Metrics::new(&[], 1)), Arc::new(AtomicBool::new(false)));
        metrics.set_tallies(tallies);
        let exclusions = Arc::clone(&generations.current().exclusions);
        metrics.set_exclusions(Arc::clone(&exclusions));
        let current = generations.current().clone();
        let tickets = current.tls.ticket_sharing();
        let (costly, chains) =
            (Arc::clone(current.tls.costly_servers()), current.tls.shared_chains().cloned());
        let provider = config.crypto.provider;
        let reloader = Reloader::new(config, generations, Arc::clone(&metrics), |_| {}, Arc::clone(&stop));
        let (_, reloads) = ReloadThread::start(reloader, || {}).unwrap();
        let stopped = Arc::clone(&stop);
        let worker = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Some((_, shared)) = inbox.take() {
                    last = shared;
                }
                thread::sleep(Duration::from_millis(1));
            }
            last
        });
        let status = Arc::new(FleetStatus::default());
        let engine = RunningEngine::new(reloads, Arc::clone(&metrics), &current);
        let fleet = FleetThread::start(fleet, provider, engine, Arc::clone(&status)).unwrap();
        let worker = Some(worker);
        let (fleet, chains) = (Some(fleet), chains.expect("nothing is fetched"));
        Self { fleet, status, metrics, exclusions, costly, chains, tickets, stop, worker, state }
    }

    fn is(&self) -> FleetRecord {
        self.status.read()
    }

    fn await_generation(&self, generation: u64) {
        wait("the generation", || self.is().generation == generation);
    }

    /// Whether it would decrypt a connection to this server.
    fn decrypts(mut self, name: &str) -> bool {
        self.stop.store(true, Ordering::Relaxed);
        let shared = self.worker.take().unwrap().join().unwrap();
        let flow = FlowFacts {
            wire: "lan",
            vlan: None,
            client: "10.0.0.1:1".parse().unwrap(),
            server: "192.0.2.1:443".parse().unwrap(),
        };
        let hello = HelloFacts { sni: Some(name), alpn: &[], ja4: "" };
        matches!(shared.policy.at_hello(&flow, &hello).decision, Decision::Decrypt(_))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(fleet) = self.fleet.take() {
            fleet.stop();
        }
    }
}

/// An operator, with a file of their own.
struct Operator(PathBuf);

impl Operator {
    fn new(folder: &Folder, etcd: &Etcd) -> Self {
        Self(folder.write("operator.toml", etcd.section("operator")))
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireglass"));
        let output = command.args(arguments).arg("-c").arg(&self.0).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    fn push(&self, policy: &Path, more: &[&str]) -> (Option<i32>, String) {
        let mut arguments = vec!["policy", "push", policy.to_str().unwrap()];
        arguments.extend(more);
        let (status, _, err) = self.run(&arguments);
        (status, err)
    }
}

fn fleet_of(names: &[&str]) -> (Folder, Etcd, Operator, Vec<Engine>) {
    let folder = Folder::new();
    let etcd = Etcd::start(&folder);
    let operator = Operator::new(&folder, &etcd);
    let engines: Vec<_> = names.iter().map(|name| Engine::start(&folder, &etcd, name)).collect();
    wait("all engines", || engines.iter().all(|engine| engine.is().engines == names.len() as u64));
    (folder, etcd, operator, engines)
}

fn policy(folder: &Folder, name: &str, text: &str) -> PathBuf {
    fs::create_dir_all(folder.path(name)).unwrap();
    folder.write(&format!("{name}/games.txt"), "game.example\n");
    folder.write(&format!("{name}/policy.toml"), text);
    folder.path(name)
}

const FIRST: &str = "[policy]\ndefault = \"decrypt\"\n[[list]]\nname = \"games\"\nkind = \"domain\"\nfiles = [\"games.txt\"]\n\
                     [[rule]]\nname = \"games\"\nsni = { list = \"games\" }\naction = \"bypass\"\n";

#[test]
fn a_policy_is_in_force_at_all_engines_and_a_bad_one_at_none() {
    let (folder, _etcd, operator, engines) = fleet_of(&["a", "b"]);
    let (status, said) = operator.push(&policy(&folder, "first", FIRST), &["--note", "games pass"]);
    assert_eq!(status, Some(0), "{said}");
    engines.iter().for_each(|engine| assert_eq!(engine.is().generation, 1, "{said}"));

    // Only one of them has this wire: nobody but that one could tell.
    let text = format!("{FIRST}[[rule]]\nname = \"x\"\nwire = \"lan-a\"\naction = \"block\"\n");
    let (status, said) = operator.push(&policy(&folder, "bad", &text), &[]);
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("b: policy.toml:13: rule[2].wire: ") && said.contains("generation 2 is stopped"),
        "{said}"
    );
    engines.iter().for_each(|engine| assert_eq!(engine.is().generation, 1));

    // What nobody could have does not get that far.
    let (status, said) = operator.push(&policy(&folder, "worse", "[policy]\ndefault = \"perhaps\"\n"), &[]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("worse/policy.toml:2: policy.default: "), "{said}");
    let (status, said) = operator.push(&policy(&folder, "key", "[ca]\ntrusted = {}\n"), &[]);
    assert!(status == Some(2) && said.contains("belongs to each engine's own file"), "{said}");

    let (status, said) = operator.push(&policy(&folder, "third", "[policy]\ndefault = \"block\"\n"), &[]);
    assert_eq!(status, Some(0), "{said}");
    let (status, out, said) = operator.run(&["policy", "rollback"]);
    assert_eq!((status, out.as_str()), (Some(0), ""), "{said}");
    engines.iter().for_each(|engine| assert_eq!(engine.is().generation, 4, "{said}"));
    let (_, history, _) = operator.run(&["policy", "history"]);
    let lines: Vec<_> = history.lines().collect();
    assert!(lines.len() == 4 && lines[0].starts_with("* 4 ") && lines[0].contains("back to 1"), "{history}");
    assert!(lines[3].contains("games pass"), "{history}");

    let (_, shown, _) = operator.run(&["fleet", "status", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["active"], shown["engines"].as_array().unwrap().len()), (&4.into(), 2), "{shown}");
    assert_eq!((&shown["engines"][1]["name"], &shown["engines"][1]["generation"]), (&"b".into(), &4.into()));

    let mut engines = engines.into_iter();
    assert!(!engines.next().unwrap().decrypts("game.example"), "the rule that was pushed");
    assert!(engines.next().unwrap().decrypts("bank.example"));
}

#[test]
fn a_canary_goes_first() {
    let (folder, _etcd, operator, engines) = fleet_of(&["a", "b"]);
    let first = policy(&folder, "first", FIRST);
    let (status, said) = operator.push(&first, &["--canary", "c"]);
    assert!(status == Some(1) && said.contains("there are: a, b"), "{said}");
    let (status, said) = operator.push(&first, &["--canary", "b"]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!((engines[0].is().generation, engines[1].is().generation), (0, 1));
    let (status, said) = operator.push(&first, &[]);
    assert!(status == Some(1) && said.contains("is being rolled out (canary)"), "{said}");
    assert_eq!(operator.run(&["policy", "stop"]).0, Some(0));
    engines[1].await_generation(0);
    let (status, said) = operator.push(&first, &["--canary", "a"]);
    assert_eq!(status, Some(0), "{said}");
    let (status, _, said) = operator.run(&["policy", "go-on"]);
    assert_eq!(status, Some(0), "{said}");
    engines.iter().for_each(|engine| assert_eq!(engine.is().generation, 2));
    assert_eq!(operator.run(&["policy", "go-on"]).0, Some(1));
}

#[test]
fn without_etcd_engines_go_on_and_catch_up() {
    let (folder, mut etcd, operator, mut engines) = fleet_of(&["a", "b"]);
    let (status, said) = operator.push(&policy(&folder, "first", FIRST), &[]);
    assert_eq!(status, Some(0), "{said}");
    etcd.kill();
    wait("the loss", || engines.iter().all(|engine| !engine.is().connected));
    assert_eq!(engines[0].is().generation, 1);
    let (status, _, said) = operator.run(&["fleet", "status"]);
    assert!(status == Some(1) && said.contains("etcd at"), "{said}");
    // One is started anew meanwhile: with what it had.
    drop(engines.pop());
    engines.push(Engine::start(&folder, &etcd, "b"));
    assert_eq!(engines[1].is().generation, 1);
    etcd.run();
    wait("both", || engines.iter().all(|engine| engine.is().connected && engine.is().engines == 2));
    let (status, said) = operator.push(&policy(&folder, "second", "[policy]\ndefault = \"bypass\"\n"), &[]);
    assert_eq!(status, Some(0), "{said}");
    engines.iter().for_each(|engine| assert_eq!(engine.is().generation, 2));
    let state = engines[1].state.join("generations/2/policy.toml");
    assert!(fs::read_to_string(state).unwrap().contains("bypass"));
    assert!(!engines.pop().unwrap().decrypts("bank.example"));
}

#[test]
fn rubbish_in_etcd_is_not_taken_and_stops_nothing() {
    let (folder, etcd, operator, engines) = fleet_of(&["a"]);
    let base = "/wireglass/wireglass/v1";
    for (key, value) in [
        ("policy/active", "{\"schema\":1,\"generation\":-7}"),
        (
            "policy/generation/9",
            "{\"schema\":1,\"at\":1,\"by\":\"x\",\"files\":[{\"path\":\"../../etc/passwd\",\"sha256\":\"00\",\"size\":1}]}",
        ),
        ("policy/rollout", "[[[[[[["),
        ("engine/x/presence", "{\"schema\":2}"),
        ("engine/../ack", "{}"),
        ("colour", "red"),
    ] {
        etcd.put(&format!("{base}/{key}"), value);
    }
    etcd.put(&format!("{base}/drain/a"), &"x".repeat(10_000));
    let refused = || engines[0].status.refused().iter().map(|(_, count)| count).sum::<u64>();
    wait("all of it", || refused() >= 7);
    assert!(engines[0].is().connected && !engines[0].is().draining);
    // What one engine has too much of, and too large, keeps nobody out: the operator's command and an engine that comes read all anew.
    let junk = "x".repeat(100_000);
    for n in 0..100 {
        etcd.put(&format!("{base}/engine/a/junk/{n}"), &junk);
    }
    let late = Engine::start(&folder, &etcd, "late");
    wait("the late one", || late.is().connected && late.is().engines == 2);
    // A push goes over what is no roll-out.
    let (status, said) = operator.push(&policy(&folder, "first", FIRST), &[]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(engines[0].is().generation, engines[0].is().active);
}

#[test]
fn one_that_is_drained_decrypts_nothing_new_until_it_is_undone() {
    let (_folder, _etcd, operator, engines) = fleet_of(&["a", "b"]);
    let (status, _, said) = operator.run(&["fleet", "drain", "b", "--wait", "30s"]);
    assert!(status == Some(0) && said.contains("b is empty"), "{said}");
    let order = |engine: &Engine| engine.metrics.orders().standing().get();
    assert_eq!((order(&engines[0]), order(&engines[1])), (None, Some(Order::Drain)));
    let (_, shown, _) = operator.run(&["fleet", "status"]);
    assert!(shown.lines().any(|line| line.starts_with("b ") && line.ends_with("drained")), "{shown}");
    assert_eq!(operator.run(&["fleet", "drain", "b", "--undo"]).0, Some(0));
    wait("the end of it", || order(&engines[1]).is_none());

    // An operator of the engine's own, and the fleet: each ends only its own.
    let own = engines[1].metrics.orders();
    own.begin(Order::Drain, None);
    let state = |end: &str| {
        let (_, shown, _) = operator.run(&["fleet", "status"]);
        shown.lines().any(|line| line.starts_with("b ") && line.ends_with(end))
    };
    wait("the operator's", || state("drained by its operator"));
    assert_eq!(operator.run(&["fleet", "drain", "b", "--wait", "30s"]).0, Some(0));
    wait("both", || state("drained, by its operator, too") && engines[1].is().draining);
    assert!(own.end(Order::Drain));
    assert_eq!(order(&engines[1]), Some(Order::Drain), "the fleet's still stands");
    own.begin(Order::Drain, None);
    assert_eq!(operator.run(&["fleet", "drain", "b", "--undo"]).0, Some(0));
    wait("the end of the fleet's", || !engines[1].is().draining);
    assert_eq!(order(&engines[1]), Some(Order::Drain), "the operator's still stands");
    assert!(own.end(Order::Drain) && order(&engines[1]).is_none());
    assert_eq!(operator.run(&["fleet", "drain", "nobody"]).0, Some(1));
}

/// A server on a wire that both engines have.
fn learned(port: u16) -> Exclusion {
    let server = Server::named(Some("bank.example"), Some([192, 0, 2, 1].into()), port).unwrap();
    let place = Some(Place { wire: "lan".into(), vlan: [None; 2] });
    let (since, until) = (unix_now(), unix_now() + 3600);
    let server = Server { place, ..server };
    Exclusion { cause: Cause::ClientCertificate, server, clients: Clients::Any, since, until, engine: None }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn what_one_learns_all_know_within_a_second_and_tickets_have_one_secret() {
    let (_folder, etcd, _operator, engines) = fleet_of(&["a", "b", "c"]);
    let shared = |engine: &Engine| engine.tickets.as_ref().unwrap().shared(unix_now());
    // Also the one that has made it goes by what it hears of it.
    wait("the secret", || engines.iter().all(|engine| shared(engine).is_some()));
    let kept = etcd.ctl(&["get", "/wireglass/wireglass/v1/tickets", "--print-value-only"]).stdout;
    assert!(String::from_utf8(kept).unwrap().contains("sealed"));

    let began = Instant::now();
    engines[0].exclusions.add(learned(443));
    let of = |engine: &Engine| {
        let known = engine.exclusions.list(unix_now()).into_iter();
        known.map(|each| each.engine.map(|name| name.to_string())).collect::<Vec<_>>()
    };
    wait("what a has learned", || engines[1..].iter().all(|engine| of(engine) == [Some("a".to_owned())]));
    println!("known at all after {:?}", began.elapsed());
    assert_eq!(of(&engines[0]), [None], "it is not told back");
    // A liar: an operator's word, another engine's, and rubbish.
    let base = "/wireglass/wireglass/v1/engine/x/exclusion";
    etcd.put(
        &format!("{base}/1"),
        r#"{"schema":1,"exclusion":{"cause":"manual","name":"bank.example","port":443,"until":99999999999}}"#,
    );
    etcd.put(&format!("{base}/2"), r#"{"schema":1,"exclusion":{"cause":"pinned","name":"x"}}"#);
    wait("the refusal", || engines[1].status.refused().iter().any(|(_, count)| *count > 0));
    assert_eq!(of(&engines[1]), [Some("a".to_owned())]);
    // It takes it back.
    assert_eq!(engines[0].exclusions.remove(unix_now(), |_| true), 1);
    wait("the end of it", || engines[1..].iter().all(|engine| of(engine).is_empty()));
}

#[test]
fn chains_and_costly_servers_are_known_to_all_within_a_second_and_go_with_the_engine() {
    let (_folder, etcd, operator, mut engines) = fleet_of(&["a", "b", "c"]);
    let until = i64::try_from(unix_now() + 600).unwrap();
    let revocation = Revocation::Good(RevocationSource::Crl);
    let chain = GoodChain { key: [7; 32], from: 0, until, revocation, root: "CN=Root".into() };
    let server = [192, 0, 2, 1].into();
    let began = Instant::now();
    let failures = engines[0].is().failures;
    // As of two connections that came at once: etcd takes one change of a key at a time.
    engines[0].chains.tell(chain.clone());
    engines[0].chains.tell(chain);
    engines[0].costly.note(server, unix_now());
    wait("both", || {
        engines[1..].iter().all(|engine| {
            engine.chains.heard() == 1
                && engine.costly.contains(server, unix_now())
                && engine.is().chains == 1
        })
    });
    println!("known at all after {:?}", began.elapsed());
    assert_eq!(engines[0].chains.heard(), 0, "it is not told back");
    assert_eq!(engines[0].is().failures, failures, "the connection stands");
    // Nothing of it can be read in etcd, and what somebody without the key writes counts for nothing.
    let kept = etcd.ctl(&["get", "--prefix", "/wireglass/wireglass/v1/engine/a/chain/"]).stdout;
    let kept = String::from_utf8(kept).unwrap();
    assert!(kept.contains("sealed") && !kept.contains("Root") && !kept.contains(&"07".repeat(4)), "{kept}");
    let value = kept.lines().nth(1).unwrap();
    etcd.put("/wireglass/wireglass/v1/engine/x/chain/0", value);
    let unsealed =
        |engine: &Engine| engine.status.refused().iter().find(|(why, _)| *why == "unsealed").unwrap().1;
    wait("the refusal", || engines.iter().all(|engine| unsealed(engine) == 1));
    assert!(engines[1..].iter().all(|engine| engine.chains.heard() == 1));
    // An operator sees who has told how much.
    let (status, shown, said) = operator.run(&["fleet", "learned"]);
    assert!(status == Some(0) && shown.contains("192.0.2.1"), "{shown} {said}");
    let (_, shown, _) = operator.run(&["fleet", "learned", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let of_a = &shown["engines"][0];
    assert_eq!((&of_a["name"], &of_a["chains"]), (&"a".into(), &1.into()), "{shown}");
    assert_eq!(of_a["costly_servers"][0]["address"], "192.0.2.1", "{shown}");
    // It leaves, and with it what it has said.
    drop(engines.remove(0));
    wait("the end of it", || {
        engines.iter().all(|engine| engine.chains.heard() == 0 && !engine.costly.contains(server, unix_now()))
    });
}

/// More keys of one engine than are read of it: what others have behind them is read all the same.
#[test]
fn an_engine_that_floods_keeps_no_other_one_out_of_what_is_read_anew() {
    let (folder, etcd, operator, mut engines) = fleet_of(&["a", "z"]);
    let base = "/wireglass/wireglass/v1/engine/flood/exclusion";
    for batch in 0..30 {
        let puts = (0..100).map(|n| format!("put {base}/{batch:02}{n:02} '{{\"schema\":1}}'\n"));
        etcd.txn(&format!("\n{}\n\n", puts.collect::<String>()));
    }
    engines.push(Engine::start(&folder, &etcd, "late"));
    wait("all three", || engines[2].is().connected && engines[2].is().engines == 3);
    let refused = engines[2].status.refused();
    assert!(refused.iter().any(|(why, count)| *why == "too_many" && *count > 0), "{refused:?}");
    let (_, shown, _) = operator.run(&["fleet", "status", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let names: Vec<_> = shown["engines"].as_array().unwrap().iter().map(|engine| &engine["name"]).collect();
    assert_eq!(names, ["a", "late", "z"]);
    let (status, said) = operator.push(&policy(&folder, "first", FIRST), &[]);
    assert_eq!(status, Some(0), "{said}");
    engines.iter().for_each(|engine| assert_eq!(engine.is().generation, 1));
}

/// etcd no longer has the changes after what was read: all is read anew.
#[test]
fn who_has_missed_what_etcd_has_compacted_reads_all_anew() {
    let (folder, mut etcd, operator, engines) = fleet_of(&["a"]);
    let compact = |etcd: &Etcd| {
        etcd.put("/wireglass/wireglass/v1/drain/nobody", r#"{"schema":1,"at":1,"by":"x"}"#);
        let found = etcd.ctl(&["get", "x", "--write-out=json"]).stdout;
        let found: serde_json::Value = serde_json::from_slice(&found).unwrap();
        let revision = found["header"]["revision"].as_u64().unwrap().to_string();
        assert!(etcd.ctl(&["compaction", &revision]).status.success());
    };
    let fleet = wireglass::config::fleet(&operator.0).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut store = Store::connect(&fleet).await.unwrap();
        let (_, revision) = store.snapshot(|_, _| {}).await.unwrap();
        for _ in 0..3 {
            compact(&etcd);
        }
        // What the thread takes for the end of its session.
        let mut watch = store.watch(revision).await.unwrap();
        let begun = watch.message().await.unwrap().unwrap();
        assert!(begun.created(), "{begun:?}");
        let heard = watch.message().await.unwrap().unwrap();
        assert!(heard.canceled() && heard.compact_revision() > revision, "{heard:?}");
    });
    // One that was there all the time misses nothing; nor does one that was away meanwhile.
    let (status, said) = operator.push(&policy(&folder, "first", FIRST), &[]);
    assert_eq!(status, Some(0), "{said}");
    etcd.kill();
    wait("the loss", || !engines[0].is().connected);
    etcd.run();
    compact(&etcd);
    wait("it", || engines[0].is().connected);
    let (status, said) = operator.push(&policy(&folder, "second", "[policy]\ndefault = \"bypass\"\n"), &[]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(engines[0].is().generation, 2);
}

#[test]
fn old_generations_go_with_their_files_but_not_the_one_in_force() {
    let (folder, etcd, operator, engines) = fleet_of(&["a"]);
    let (status, said) = operator.push(&policy(&folder, "first", FIRST), &[]);
    assert_eq!(status, Some(0), "{said}");
    let (generations, blobs) =
        ("/wireglass/wireglass/v1/policy/generation/", "/wireglass/wireglass/blob/v1/");
    let first = etcd.list(blobs);
    assert_eq!(first.len(), 2, "{first:?}");
    // As pushes leave them that were stopped.
    let blob = |number: u64| format!("{number:064x}/00000");
    for number in 2..=60 {
        let file = format!("{{\"path\":\"policy.toml\",\"sha256\":\"{number:064x}\",\"size\":1}}");
        let manifest = format!("{{\"schema\":1,\"at\":1,\"by\":\"x\",\"files\":[{file}]}}");
        etcd.put(&format!("{generations}{number}"), &manifest);
        etcd.put(&format!("{blobs}{}", blob(number)), "x");
    }
    let (status, said) = operator.push(&policy(&folder, "second", "[policy]\ndefault = \"bypass\"\n"), &[]);
    assert_eq!(status, Some(0), "{said}");
    engines[0].await_generation(61);
    let mut left: Vec<u64> = etcd.list(generations).iter().map(|number| number.parse().unwrap()).collect();
    left.sort_unstable();
    assert_eq!(left, [1].into_iter().chain(13..=61).collect::<Vec<_>>());
    let files = etcd.list(blobs);
    assert!(first.iter().all(|file| files.contains(file)), "{files:?}");
    assert!(
        files.contains(&blob(13)) && !files.contains(&blob(12)) && !files.contains(&blob(2)),
        "{files:?}"
    );
    let (status, _, said) = operator.run(&["policy", "rollback"]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(engines[0].is().generation, 62);
}

/// docs/fleet.md, "Who may write what": the commands as they are written there, with TLS and certificates as it says.
#[test]
fn with_the_roles_that_are_documented_each_may_write_its_own_and_no_more() {
    let folder = Folder::new();
    let etcd = Etcd::start_with(&folder, Some(Pki::new(folder.path("tls"))));
    let document = fs::read_to_string(config_support::repository().join("docs/fleet.md")).unwrap();
    let documented = document.lines().filter_map(|line| line.strip_prefix("etcdctl "));
    let more = ["user add operator --no-password", "user grant-role operator wireglass-operator"];
    let enable = ["user add root --no-password", "user grant-role root root", "auth enable"];
    for line in documented.chain(more).chain(enable) {
        let done = etcd.ctl(&line.split(' ').collect::<Vec<_>>());
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let operator = Operator::new(&folder, &etcd);
    let engine = Engine::start(&folder, &etcd, "edge-1");
    wait("the engine", || engine.is().connected);
    let (status, said) = operator.push(&policy(&folder, "first", FIRST), &[]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(engine.is().generation, 1);
    engine.exclusions.add(learned(443));
    let base = "/wireglass/north/v1/";
    wait("what it has learned", || etcd.list(&format!("{base}engine/edge-1/exclusion/")).len() == 1);
    wait("the secret of tickets", || engine.tickets.as_ref().unwrap().shared(unix_now()).is_some());
    let (status, _, said) = operator.run(&["fleet", "drain", "edge-1", "--wait", "30s"]);
    assert!(status == Some(0) && said.contains("edge-1 is empty"), "{said}");

    let may = |user: &str, key: &str| etcd.ctl_as(user, &["put", key, "x"]).status.success();
    for key in ["policy/generation/9", "drain/edge-2", "engine/edge-2/presence", "engine/edge-10/ack"] {
        assert!(!may("edge-1", &format!("{base}{key}")), "{key}");
    }
    assert!(
        !may("edge-1", "/wireglass/north/blob/v1/00/00000") && !may("edge-1", "/wireglass/south/v1/tickets")
    );
    assert!(
        !may("operator", "/wireglass/south/v1/policy/rollout") && !may("nobody", &format!("{base}tickets"))
    );
    assert!(may("edge-1", &format!("{base}engine/edge-1/colour")));

    // Whose certificate is of another CA, or who expects one of another CA from etcd, is not heard.
    let strangers = Pki::new(folder.path("strangers"));
    let [ca, certificate, key] = strangers.issue("operator");
    let [good_ca, good_certificate, good_key] = etcd.tls.as_ref().unwrap().issue("operator");
    let section = etcd.section("operator");
    let with_their_certificate = section.replace(&good_certificate, &certificate).replace(&good_key, &key);
    for text in [with_their_certificate, section.replace(&good_ca, &ca)] {
        let stranger = Operator(folder.write("stranger.toml", text));
        let (status, out, said) = stranger.run(&["fleet", "status"]);
        assert!(status == Some(1) && out.is_empty() && said.contains("etcd at"), "{said}");
    }
}
