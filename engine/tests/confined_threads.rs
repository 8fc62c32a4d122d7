//! What a confined thread can still do: each kind tries each thing, in a process of its own, under the filters and rules that the engine's
//! threads have.

use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::{ExitStatusExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::{Pid, execv};
use wireglass::confine::{Kind, Mode, Needs, Plan};

/// Tells the child what to do: kind, mode, attempt, folder, port.
const ORDER: &str = "WIREGLASS_TEST_CONFINED";

/// What a thread tries, and which kinds can.
struct Attempt {
    name: &'static str,
    run: fn(&Path, u16) -> io::Result<()>,
    can: &'static [Kind],
}

const CONNECTS: &[Kind] = &[Kind::Fetch, Kind::Fleet, Kind::Main];
/// Those that start a thread for each connection, or for each look-up.
const STARTS: &[Kind] = &[Kind::Main, Kind::Control, Kind::Verdicts, Kind::Fetch, Kind::Fleet];

const ATTEMPTS: [Attempt; 14] = [
    Attempt { name: "work", run: work, can: &Kind::ALL },
    Attempt { name: "key", run: |folder, _| open(&folder.join("keys/ca.key")), can: &[] },
    Attempt {
        name: "configuration",
        run: |folder, _| open(&folder.join("configuration/a.toml")),
        can: &[Kind::Reload, Kind::Keys],
    },
    Attempt { name: "log", run: |folder, _| rename(&folder.join("log")), can: &[Kind::Log] },
    Attempt { name: "capture", run: |folder, _| rename(&folder.join("capture")), can: &[Kind::Capture] },
    Attempt {
        name: "exclusions",
        run: |folder, _| rename(&folder.join("exclusions")),
        can: &[Kind::Exclusions],
    },
    Attempt { name: "fleet", run: |folder, _| generation(&folder.join("fleet")), can: &[Kind::Fleet] },
    Attempt {
        name: "resolver",
        run: |_, _| open("/etc/hosts".as_ref()),
        can: &[Kind::Fetch, Kind::Fleet, Kind::Reload],
    },
    Attempt {
        name: "connect",
        run: |_, port| TcpStream::connect(("127.0.0.1", port)).map(drop),
        can: CONNECTS,
    },
    Attempt { name: "listen", run: |_, _| TcpListener::bind("127.0.0.1:0").map(drop), can: &[] },
    Attempt { name: "datagrams", run: |_, _| UdpSocket::bind("127.0.0.1:0").map(drop), can: CONNECTS },
    Attempt { name: "frames", run: |_, _| frames(), can: &[] },
    Attempt {
        name: "thread",
        run: |_, _| thread::Builder::new().spawn(|| ())?.join().map_err(|_| io::Error::other("panic")),
        can: STARTS,
    },
    Attempt { name: "signal", run: |_, _| Ok(kill(parent(), None)?), can: &[] },
];

/// What kills the process, whoever tries it and in whatever mode.
const DEADLY: [Attempt; 2] = [
    Attempt {
        name: "program",
        run: |_, _| execv(c"/bin/true", &[c"true"]).map(drop).map_err(io::Error::from),
        can: &[],
    },
    Attempt { name: "trace", run: |_, _| Ok(ptrace::attach(parent())?), can: &[] },
];

/// What all threads do until they end: memory, time, locks, random numbers, ending.
fn work(_: &Path, _: u16) -> io::Result<()> {
    let blocks: Vec<_> = (1..64).map(|n| vec![1_u8; n * 65_536]).collect();
    thread::sleep(Duration::from_millis(1));
    let mut random = [0; 64];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let (sender, receiver) = crossbeam::channel::bounded::<usize>(1);
    let waited = receiver.recv_timeout(Duration::from_millis(1));
    drop(sender);
    assert!(waited.is_err() && blocks.len() == 63 && random != [0; 64]);
    Ok(())
}

fn open(path: &Path) -> io::Result<()> {
    File::open(path).map(drop)
}

/// Writes a file and puts it in the place of another, and looks whether others are out of reach.
fn rename(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("new"), "text")?;
    fs::rename(folder.join("new"), folder.join("old"))?;
    fs::remove_file(folder.join("old"))
}

/// A folder that is filled and moved to its place, and removed.
fn generation(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder.join("1.new"))?;
    fs::write(folder.join("1.new/policy.toml"), "a")?;
    fs::rename(folder.join("1.new"), folder.join("1"))?;
    fs::remove_dir_all(folder.join("1"))
}

fn frames() -> io::Result<()> {
    let family = AddressFamily::Packet;
    Ok(socket(family, SockType::Raw, SockFlag::empty(), None).map(drop)?)
}

fn parent() -> Pid {
    Pid::from_raw(parent_id().cast_signed())
}

fn needs(folder: &Path) -> Needs {
    Needs {
        log_folder: Some(folder.join("log")),
        capture_folders: vec![folder.join("capture")],
        exclusions_folder: Some(folder.join("exclusions")),
        fleet_folder: Some(folder.join("fleet")),
        socket_folders: vec![folder.join("sockets")],
        read: vec![folder.join("configuration")],
        ..Needs::default()
    }
}

/// The child: does what it is told on a thread that is confined, and says what came of it.
#[test]
fn child() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let words: Vec<_> = order.split(' ').collect();
    let [kind, mode, attempt, folder, port] = words[..] else { unreachable!("{order}") };
    let kind = Kind::ALL.into_iter().find(|each| each.name() == kind).expect("a kind");
    let (_, mode) = Mode::NAMED.into_iter().find(|(name, _)| *name == mode).expect("a mode");
    let mut all = ATTEMPTS.iter().chain(&DEADLY);
    let attempt = all.find(|each| each.name == attempt).expect("an attempt");
    let (folder, port) = (PathBuf::from(folder), port.parse().expect("a port"));
    let tried = thread::spawn(move || {
        let layers = Plan::new(mode, needs(&folder)).confine(kind).expect("this kernel can");
        assert!(layers.calls && layers.files.version() > 0, "{layers:?}: not without seccomp and Landlock");
        (attempt.run)(&folder, port)
    });
    match tried.join().expect("no panic") {
        Ok(()) => println!("\noutcome: can"),
        Err(error) => println!("\noutcome: cannot: {error}"),
    }
}

struct Lab {
    folder: tempfile::TempDir,
    listener: TcpListener,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["log", "capture", "exclusions", "fleet", "sockets", "configuration", "keys"] {
            fs::create_dir(folder.path().join(name)).expect("writable");
        }
        fs::write(folder.path().join("keys/ca.key"), "a key").expect("writable");
        fs::write(folder.path().join("configuration/a.toml"), "a = 1").expect("writable");
        Self { folder, listener: TcpListener::bind("127.0.0.1:0").expect("a port") }
    }

    fn run(&self, kind: Kind, mode: Mode, attempt: &Attempt) -> Output {
        let port = self.listener.local_addr().expect("it listens").port();
        let folder = self.folder.path().display();
        let order = format!("{} {} {} {folder} {port}", kind.name(), mode.name(), attempt.name);
        let program = std::env::current_exe().expect("this one");
        let run = Command::new(program).args(["child", "--exact", "--nocapture"]).env(ORDER, order).output();
        run.expect("it runs")
    }
}

fn outcome(output: &Output) -> Option<bool> {
    let text = String::from_utf8_lossy(&output.stdout);
    let outcome = text.lines().find_map(|line| line.strip_prefix("outcome: "))?;
    Some(outcome == "can")
}

#[test]
fn each_kind_can_do_what_its_work_takes_and_nothing_else() {
    let lab = Lab::new();
    for kind in Kind::ALL {
        for attempt in &ATTEMPTS {
            let output = lab.run(kind, Mode::BestEffort, attempt);
            let can = outcome(&output);
            assert_eq!(can, Some(attempt.can.contains(&kind)), "{kind:?}: {}: {output:?}", attempt.name);
        }
    }
}

#[test]
fn who_runs_a_program_or_looks_into_a_process_is_killed() {
    let lab = Lab::new();
    for kind in Kind::ALL {
        for attempt in &DEADLY {
            let output = lab.run(kind, Mode::BestEffort, attempt);
            assert_eq!(
                output.status.signal(),
                Some(Signal::SIGSYS as i32),
                "{kind:?}: {}: {output:?}",
                attempt.name
            );
        }
    }
}

#[test]
fn strictly_whatever_is_not_a_kinds_work_kills() {
    let lab = Lab::new();
    let named = |name| ATTEMPTS.iter().find(|attempt| attempt.name == name).expect("an attempt");
    for kind in [Kind::Worker, Kind::Handshake, Kind::Content] {
        for name in ["connect", "thread", "frames", "signal"] {
            let output = lab.run(kind, Mode::Strict, named(name));
            assert_eq!(output.status.signal(), Some(Signal::SIGSYS as i32), "{kind:?}: {name}: {output:?}");
        }
        // Libraries look for files, and go on without.
        assert_eq!(outcome(&lab.run(kind, Mode::Strict, named("key"))), Some(false), "{kind:?}");
    }
    for kind in Kind::ALL {
        assert_eq!(outcome(&lab.run(kind, Mode::Strict, named("work"))), Some(true), "{kind:?}");
    }
}
