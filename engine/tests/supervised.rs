//! The engine and its service manager: it says when it is ready, pings while every worker moves, and says when it stops.
//!
//! The service manager is a socket of this test; what makes a worker stuck is a debugger that stops its thread, and no other.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// As `WatchdogSec=` would have it, but for the patience of a test.
const WATCHDOG: Duration = Duration::from_millis(1500);
/// For whatever must come.
const SOON: Duration = Duration::from_secs(30);

const CONFIG: &str = r#"
[dpdk]
vdev = ["net_ring0", "net_ring1"]
eal = ["--no-huge", "-m", "512", "--no-pci", "--no-shconf", "--no-telemetry", "--log-level=error"]

[[wire]]
name = "lan"
inside = "net_ring0"
outside = "net_ring1"

[workers]
cores = [0, 1]
handshake_threads = 0

[ca]
trusted = { cert = "ca/trusted.pem", key = "ca/trusted.key" }
untrusted = { cert = "ca/untrusted.pem", key = "ca/untrusted.key" }

[policy]
default = "bypass"

[metrics]
listen = "127.0.0.1:PORT"

[control]
socket = "off"
"#;

fn wireglass() -> Command {
    Command::new(env!("CARGO_BIN_EXE_wireglass"))
}

/// The engine under this test's own service manager.
struct Supervised {
    engine: Child,
    socket: UnixDatagram,
    health: String,
    /// A worker that is stopped.
    stuck: Option<Pid>,
}

impl Supervised {
    fn start(folder: &Path) -> Self {
        Self::start_with(folder, Stdio::inherit())
    }

    fn start_with(folder: &Path, messages: Stdio) -> Self {
        let made = wireglass().args(["ca", "init", "--dir"]).arg(folder.join("ca")).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        // Free a moment ago; the engine has to be told a number.
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let config = folder.join("wire.toml");
        fs::write(&config, CONFIG.replace("PORT", &port.to_string())).unwrap();
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let engine = wireglass()
            .args(["run", "-c"])
            .arg(&config)
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
            .env_remove("RUST_LOG")
            .stdout(Stdio::null())
            .stderr(messages)
            .spawn()
            .unwrap();
        Self { engine, socket, health: format!("127.0.0.1:{port}"), stuck: None }
    }

    /// What the engine says next, within so long.
    fn next(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut said = [0; 512];
        match self.socket.recv(&mut said) {
            Ok(len) => Some(String::from_utf8_lossy(&said[..len]).into_owned()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits for a line among all that it says.
    fn wait_for(&self, line: &str) {
        let start = Instant::now();
        while start.elapsed() < SOON {
            if self.next(SOON).is_some_and(|said| said.lines().any(|one| one.starts_with(line))) {
                return;
            }
        }
        panic!("it never said {line}");
    }

    fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(&self.health).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    }

    fn health(&self) -> Output {
        wireglass().args(["health", &self.health]).output().unwrap()
    }

    /// Stops a worker's thread, and no other.
    fn stop_worker(&mut self, core: usize) {
        let worker = self.worker(core);
        ptrace::seize(worker, ptrace::Options::empty()).unwrap();
        self.stuck = Some(worker);
        ptrace::interrupt(worker).unwrap();
        waitpid(worker, Some(WaitPidFlag::__WALL)).unwrap();
    }

    fn hang_up(&self) {
        kill(Pid::from_raw(self.engine.id().cast_signed()), Signal::SIGHUP).unwrap();
    }

    fn let_it_go(&mut self) {
        if let Some(worker) = self.stuck.take() {
            let _ = ptrace::detach(worker, None);
        }
    }

    fn worker(&self, core: usize) -> Pid {
        let tasks = format!("/proc/{}/task", self.engine.id());
        let name = format!("wg-worker-{core}");
        let found = fs::read_dir(tasks).unwrap().find_map(|task| {
            let task = task.unwrap();
            let called = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            (called.trim() == name).then(|| task.file_name().to_string_lossy().parse().unwrap())
        });
        Pid::from_raw(found.expect("a worker has the name of its core"))
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // A process whose thread is held never ends.
        self.let_it_go();
        let _ = self.engine.kill();
        let _ = self.engine.wait();
    }
}

#[test]
fn a_stuck_worker_stops_the_pings_and_fails_the_health_check() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Supervised::start(folder.path());
    run.wait_for("READY=1");
    for _ in 0..3 {
        let said = run.next(WATCHDOG).expect("a ping, or systemd would kill it");
        assert!(said.contains("WATCHDOG=1"), "{said}");
    }
    assert_eq!(String::from_utf8_lossy(&run.health().stdout), "ok\n");

    run.stop_worker(1);
    run.wait_for("STATUS=worker 1 makes no turns");
    assert_eq!(run.next(2 * WATCHDOG), None, "no ping while one of two workers is stuck");
    let stopped = Instant::now();
    let sick = loop {
        let health = run.health();
        if !health.status.success() || stopped.elapsed() > SOON {
            break health;
        }
        thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(sick.status.code(), Some(1));
    let said = String::from_utf8_lossy(&sick.stderr);
    assert!(said.contains("worker 1 makes no turns for"), "{said}");

    run.let_it_go();
    run.wait_for("WATCHDOG=1");
    assert!(run.health().status.success(), "it came back");

    kill(Pid::from_raw(run.engine.id().cast_signed()), Signal::SIGTERM).unwrap();
    run.wait_for("STOPPING=1");
    assert!(run.engine.wait().unwrap().success());
    assert_eq!(run.health().status.code(), Some(1), "nobody is there any more");
}

/// Of a real engine: SIGHUP and the command, the log and the configuration.
#[test]
fn a_reload_reopens_the_log_and_loads_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let messages = folder.path().join("messages");
    let said = |what: &str| {
        let start = Instant::now();
        loop {
            let text = fs::read_to_string(&messages).unwrap();
            if let Some(line) = text.lines().rfind(|line| line.contains(what)) {
                return line.to_owned();
            }
            assert!(start.elapsed() < SOON, "{what:?} is not in\n{text}");
            thread::sleep(Duration::from_millis(20));
        }
    };
    let run = Supervised::start_with(folder.path(), fs::File::create(&messages).unwrap().into());
    run.wait_for("READY=1");

    let (log, rotated) = (folder.path().join("eve.json"), folder.path().join("eve.json.1"));
    fs::rename(&log, &rotated).unwrap();
    run.hang_up();
    said("reopened the event log");
    assert!(log.exists());
    said("generation 2; changed: nothing");

    let config = folder.path().join("wire.toml");
    let as_loaded = fs::read_to_string(&config).unwrap();
    fs::write(&config, as_loaded.replace("\"bypass\"", "\"block\"")).unwrap();
    run.hang_up();
    said("generation 3; changed: policy.default");

    fs::write(&config, as_loaded.replace("\"bypass\"", "\"bypas\"")).unwrap();
    fs::rename(&log, &rotated).unwrap();
    run.hang_up();
    let line = said("policy.default: expected");
    assert!(line.contains("ERROR") && line.contains(&format!("{}:", config.display())), "{line}");
    said("the previous configuration stays in effect");
    assert!(log.exists(), "the log is reopened all the same");

    fs::write(&config, format!("{as_loaded}\n[limits]\nflows = 77\nidle_seconds = 77\n")).unwrap();
    run.hang_up();
    said("generation 4; changed: limits.idle_seconds, policy.default");
    assert!(said("in effect only").contains("engine: limits.flows"));

    // The level of messages: of the last of these nothing is heard.
    let level = |level: &str| fs::write(&config, format!("{as_loaded}\n[log]\nlevel = {level:?}\n")).unwrap();
    level("error");
    run.hang_up();
    let start = Instant::now();
    while !run.metrics().contains("\nwireglass_generation 5\n") {
        assert!(start.elapsed() < SOON, "no generation 5");
        thread::sleep(Duration::from_millis(20));
    }
    level("info");
    run.hang_up();
    said("generation 6; changed: log.level");
    assert!(!fs::read_to_string(&messages).unwrap().contains("generation 5"));

    kill(Pid::from_raw(run.engine.id().cast_signed()), Signal::SIGTERM).unwrap();
    run.wait_for("STOPPING=1");
}
