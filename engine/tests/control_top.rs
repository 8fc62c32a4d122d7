//! `wireglass top` over a real Unix socket: its protocol, its command, its terminal, and peers that mean ill.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{self, LocalFlags};
use nix::unistd::Pid;
use tempfile::TempDir;
use wireglass::control::client::{AskError, counters};
use wireglass::control::{ControlServer, ControlSocket, Counters};
use wireglass::flow_dump::FlowDumper;
use wireglass::metrics::{Metrics, PoolStatistics, PortStatistics};
use wireglass_core::exclusions::{Cause, Clients, Exclusion, Exclusions, Server};
use wireglass_core::phase::FlowPhase;
use wireglass_core::port::PortSide;
use wireglass_core::reason::{MirrorDrop, PacketDrop};

/// Longer than anything here takes, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// An engine's control channel over counters that a test sets.
struct Engine {
    folder: TempDir,
    metrics: Arc<Metrics>,
    server: Option<ControlServer>,
}

impl Engine {
    fn start() -> Self {
        let metrics = Metrics::new(&["lan".into()], 2);
        metrics.set_cores(vec![4, 6]);
        metrics.set_mirrors(vec!["ids".into(), "tap".into()]);
        for worker in 0..2 {
            let counters = metrics.worker(worker).unwrap();
            let mirror = counters.mirror(1);
            mirror.frames.add(7);
            mirror.bytes.add(700);
            mirror.flows.add(2);
            mirror.drop_frame(MirrorDrop::Overrun);
        }
        metrics.set_ports(|| {
            let port = |port: &str, rx_missed| PortStatistics {
                port: port.into(),
                rx_missed,
                rx_no_buffer: 2,
                ..PortStatistics::default()
            };
            vec![port("net_ring0", 11), port("net_ring1", 0)]
        });
        metrics.set_pools(|| vec![PoolStatistics { worker: 1, pool: "frames", in_use: 100, size: 400 }]);
        let worker = metrics.worker(1).unwrap();
        worker.port(0, PortSide::Inside).rx_packets.add(5);
        worker.port(0, PortSide::Outside).rx_packets.add(6);
        worker.port(0, PortSide::Outside).tx_bytes.add(1000);
        worker.drop_packet(PacketDrop::HoldFull);
        worker.flows(FlowPhase::Decrypted).inc();
        worker.flows_limit.set(64);
        worker.flow_bytes.set(250);
        worker.flow_bytes_limit.set(1000);
        worker.handshake_queue.set(3);
        worker.heap_records.add(8);
        let exclusions = Arc::new(Exclusions::new([7; 16]));
        for (name, until) in [("bank.example", u64::MAX), ("shop.example", u64::MAX), ("past.example", 1)] {
            let server = Server::named(Some(name), None, 443).unwrap();
            exclusions.add(Exclusion {
                cause: Cause::Manual,
                server,
                clients: Clients::Any,
                since: 0,
                until,
                engine: None,
            });
        }
        metrics.set_exclusions(exclusions);
        let folder = tempfile::tempdir().unwrap();
        let socket = ControlSocket::bind(&folder.path().join("control.sock")).unwrap();
        let (metrics, dumper) = (Arc::new(metrics), FlowDumper::new([]));
        let server = Some(ControlServer::start(socket, dumper, Arc::clone(&metrics), None).unwrap());
        Self { folder, metrics, server }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    fn top(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        top(&self.path(), arguments)
    }
}

fn top(socket: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(socket, arguments).output().unwrap();
    let Output { status, stdout, stderr } = output;
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn command(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireglass"));
    command.arg("top").arg("--socket").arg(socket).args(arguments);
    command
}

#[test]
fn what_was_counted_comes_over() {
    let engine = Engine::start();
    let first = counters(&engine.path()).unwrap();
    assert_eq!((&*first.version, first.engine.exclusions), (env!("CARGO_PKG_VERSION"), 2));
    let Counters { workers, ports, .. } = &first;
    assert_eq!((workers.len(), ports.len()), (2, 2));
    let worker = &workers[1];
    assert!(workers[0].pools.is_empty() && worker.pools.len() == 1);
    assert_eq!((&*worker.pools[0].pool, worker.pools[0].in_use, worker.pools[0].size), ("frames", 100, 400));
    assert_eq!((worker.worker, worker.core), (1, Some(6)));
    assert_eq!((worker.rx_packets, worker.tx_bytes, worker.handshake_queue), (11, 1000, 3), "of all ports");
    assert_eq!((worker.flows["decrypted"], worker.flows_limit), (1, 64));
    assert_eq!((worker.flow_bytes, worker.flow_bytes_limit, worker.heap_records), (250, 1000, 8));
    assert_eq!(worker.drops.iter().collect::<Vec<_>>(), [(&"packet.hold_full".into(), &1)]);
    let [ids, tap] = &first.engine.mirrors[..] else { panic!("{:?}", first.engine.mirrors) };
    assert_eq!((&*ids.mirror, ids.frames, ids.drops.len()), ("ids", 0, 0));
    assert_eq!((&*tap.mirror, tap.frames, tap.bytes, tap.flows, tap.flows_lost), ("tap", 14, 1400, 4, 0));
    assert_eq!(tap.drops.iter().collect::<Vec<_>>(), [(&"mirror.dropped".into(), &2)]);
    assert_eq!((ports[0].port.as_str(), ports[0].drops["port.rx_missed"]), ("net_ring0", 11));
    assert_eq!(ports[1].drops.iter().collect::<Vec<_>>(), [(&"port.rx_nombuf".into(), &2)]);

    engine.metrics.worker(1).unwrap().port(0, PortSide::Inside).rx_packets.add(5);
    let second = counters(&engine.path()).unwrap();
    assert_eq!(second.workers[1].rx_packets, 16);
    assert!(second.engine.uptime_us > first.engine.uptime_us);
}

#[test]
fn once_prints_rates_and_json_tells_them_to_programs() {
    let engine = Engine::start();
    let worker = engine.metrics.worker(0).unwrap();
    thread::scope(|scope| {
        let busy = scope.spawn(|| {
            // Until the command has ended, and so for all of its interval: 1000 frames of 125 bytes each second.
            let (began, mut done) = (Instant::now(), 0);
            while !engine.folder.path().join("done").exists() {
                thread::sleep(Duration::from_millis(2));
                let due = began.elapsed().as_millis() as u64;
                worker.port(0, PortSide::Inside).rx_packets.add(due - done);
                worker.port(0, PortSide::Inside).rx_bytes.add(125 * (due - done));
                worker.busy_micros.add(250 * (due - done));
                done = due;
            }
        });
        let (status, out, err) = engine.top(&["--json", "--interval", "0.5"]);
        // No terminal: as with --once.
        let text = engine.top(&["-i", "0.5"]);
        std::fs::write(engine.folder.path().join("done"), "").unwrap();
        busy.join().unwrap();
        assert_eq!((status, err.as_str(), out.lines().count()), (Some(0), "", 1), "{out}");
        let object: serde_json::Value = serde_json::from_str(&out).unwrap();
        let near = |value: &serde_json::Value, expected: f64| {
            let value = value.as_f64().unwrap();
            assert!((0.8 * expected..1.2 * expected).contains(&value), "{value}, expected {expected}: {out}");
        };
        near(&object["interval_seconds"], 0.5);
        near(&object["workers"][0]["rx_packets_per_second"], 1000.0);
        near(&object["total"]["rx_bits_per_second"], 1_000_000.0);
        near(&object["workers"][0]["busy"], 0.25);
        assert_eq!(object["total"]["drops"]["port.rx_missed"]["total"], 11);
        assert_eq!(object["total"]["flows"]["decrypted"], 1);
        assert_eq!(object["ports"][1]["port"], "net_ring1");
        assert_eq!(object["mirrors"][1]["drops"]["mirror.dropped"]["total"], 2);

        let (status, out, err) = text;
        assert_eq!((status, err.as_str()), (Some(0), ""));
        for part in ["frames 25%", "packet.hold_full", "net_ring1", "\n  1    6   0%", "port.rx_missed"] {
            assert!(out.contains(part), "{part}: {out}");
        }
        assert!(!out.contains('\u{1b}'), "plain text: {out}");
    });
}

/// Says this to whoever connects, and then nothing.
fn fake(folder: &Path, name: &str, lines: Vec<u8>) -> PathBuf {
    let path = folder.join(name);
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut request = String::new();
            let _ = BufReader::new(&stream).read_line(&mut request);
            let _ = (&stream).write_all(&lines);
        }
    });
    path
}

const BEGIN: &str = "{\"kind\":\"begin\",\"version\":1,\"engine\":\"0.1\"}\n";

#[test]
fn garbage_is_told_for_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut n = 0;
    let mut ask = |lines: &[u8]| {
        n += 1;
        counters(&fake(folder.path(), &n.to_string(), lines.to_vec()))
    };
    for garbage in [
        "220 smtp.example.com\n",
        "\u{0}\u{0}",
        "{\"kind\":\"engine\",\"uptime_us\":1}\n",
        &format!("{BEGIN}{{\"kind\":\"worker\",\"worker\":-1}}\n"),
        &format!("{BEGIN}{{\"kind\":\"worker\",\"drops\":{{\"a\":1e99}}}}\n"),
        &format!("{BEGIN}{BEGIN}"),
        &format!("{BEGIN}{{\"kind\":\"end\",\"seen\":1,\"matched\":1,\"complete\":true}}\n"),
        // Depth, length, number: each has its limit.
        &format!("{BEGIN}{{\"kind\":\"worker\",\"x\":{}\n", "[".repeat(100_000)),
        &format!("{BEGIN}{{\"kind\":\"worker\",\"x\":\"{}\"}}\n", "x".repeat(300_000)),
        &(BEGIN.to_owned() + &"{\"kind\":\"worker\"}\n".repeat(5_000)),
    ] {
        let answer = ask(garbage.as_bytes());
        let shown = &garbage[..garbage.len().min(80)];
        assert!(matches!(answer, Err(AskError::Garbled)), "{shown}: {answer:?}");
    }
    for cut in ["", BEGIN, &format!("{BEGIN}{{\"kind\":\"worker\"}}\n")] {
        assert!(matches!(ask(cut.as_bytes()), Err(AskError::Io(_))), "{cut}");
    }
    assert!(matches!(
        ask(b"{\"kind\":\"begin\",\"version\":2,\"engine\":\"9\"}\n"),
        Err(AskError::Version(2))
    ));
    // What a later engine says more, and what an earlier one does not say.
    let other = ask(format!(
        "{BEGIN}{{\"kind\":\"worker\",\"worker\":3,\"new\":[1]}}\n{{\"kind\":\"engine\",\"uptime_us\":5}}\n"
    )
    .as_bytes());
    let other = other.unwrap();
    assert_eq!((other.workers[0].worker, other.workers[0].rx_packets, other.engine.uptime_us), (3, 0, 5));
}

/// Whatever bytes are flipped in an answer: it is an answer, or an error.
#[test]
fn broken_answers_are_no_panic() {
    let engine = Engine::start();
    let mut stream = UnixStream::connect(engine.path()).unwrap();
    stream.write_all(b"{\"version\":1,\"command\":\"counters\"}\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut random = 4711_u32;
    for n in 0..300 {
        let mut broken = answer.clone();
        for _ in 0..3 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = random as usize % broken.len();
            broken[at] = (random >> 8) as u8;
        }
        let _ = counters(&fake(folder.path(), &n.to_string(), broken));
    }
}

/// One byte at a time is not more time.
#[test]
fn an_engine_that_drips_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("drip.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(BEGIN.as_bytes()).unwrap();
        while stream.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(200));
        }
    });
    let began = Instant::now();
    let (status, out, err) = top(&path, &["--once"]);
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(err.contains("does not answer: timed out"), "{err}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn it_says_what_to_do_when_it_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let (status, out, err) = top(&folder.path().join("none.sock"), &[]);
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(err.contains("none.sock") && err.contains("is `wireglass run` running?"), "{err}");
    let old = "{\"kind\":\"error\",\"version\":1,\"code\":\"request\",\"message\":\"unknown command \\\"counters\\\"; known: flows\"}\n";
    let (status, _, err) = top(&fake(folder.path(), "old.sock", old.into()), &[]);
    assert!(status == Some(1) && err.contains("older than this command") && err.contains("restart"), "{err}");
    let again = format!("{BEGIN}{{\"kind\":\"engine\",\"uptime_us\":5}}\n");
    let (status, _, err) = top(&fake(folder.path(), "again.sock", again.into()), &["--once", "-i", "0.1"]);
    assert!(status == Some(1) && err.contains("started anew"), "{err}");
    for (arguments, hint) in [
        (["--interval", "0"], "0.1 to 3600"),
        (["--interval", "NaN"], "0.1 to 3600"),
        (["-i", "1e9"], "0.1 to 3600"),
        (["-c", "x.toml"], "cannot be used with"),
    ] {
        let (status, _, err) = top(&folder.path().join("x"), &arguments);
        assert!(status == Some(2) && err.contains(hint), "{arguments:?}: {status:?} {err}");
    }
    let help = Command::new(env!("CARGO_BIN_EXE_wireglass")).args(["top", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("wireglass top --once --interval 5") && help.contains("Exit status"), "{help}");
}

/// What shows a terminal's cursor.
const CURSOR: &str = "\u{1b}[?25h";

/// The command on a terminal of its own.
struct OnTerminal {
    child: Child,
    keys: File,
    terminal: std::os::fd::OwnedFd,
    output: Receiver<Vec<u8>>,
    seen: String,
}

impl OnTerminal {
    fn start(socket: &Path) -> Self {
        let mut me = Self::sized(socket, 80, 24);
        me.await_text("Dropped");
        assert!(me.seen.contains("\u{1b}[?1049h"), "a screen of its own");
        assert!(!me.echoes(), "keys are not echoed");
        me
    }

    fn sized(socket: &Path, ws_col: u16, ws_row: u16) -> Self {
        let size = Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
        // A session of its own, whose terminal this is.
        let mut setsid = Command::new("setsid");
        let inner = command(socket, &["--interval", "0.1"]);
        setsid.arg("--ctty").arg(inner.get_program()).args(inner.get_args()).env("TERM", "xterm-256color");
        let stdio = || Stdio::from(slave.try_clone().unwrap());
        let child = setsid.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
        let (sender, output) = mpsc::channel();
        let mut screen = File::from(master.try_clone().unwrap());
        thread::spawn(move || {
            let mut block = [0; 4096];
            while let Ok(n @ 1..) = screen.read(&mut block) {
                if sender.send(block[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, keys: File::from(master), terminal: slave, output, seen: String::new() }
    }

    fn echoes(&self) -> bool {
        let flags = termios::tcgetattr(&self.terminal).unwrap().local_flags;
        flags.contains(LocalFlags::ECHO) && flags.contains(LocalFlags::ICANON)
    }

    fn press(&mut self, keys: &str) {
        self.seen.clear();
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    #[track_caller]
    fn await_text(&mut self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.seen.contains(text) {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(block) = self.output.recv_timeout(left) else { panic!("no {text:?} in {:?}", self.seen) };
            self.seen += &String::from_utf8_lossy(&block);
        }
    }

    /// It ends, and leaves the terminal as it found it. What it said last.
    #[track_caller]
    fn ended(mut self) -> (ExitStatus, String) {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "it does not end");
            thread::sleep(Duration::from_millis(10));
        };
        self.await_text("\u{1b}[?1049l");
        assert!(self.echoes(), "the terminal is as it was");
        while let Ok(block) = self.output.recv_timeout(Duration::from_millis(200)) {
            self.seen += &String::from_utf8_lossy(&block);
        }
        assert!(self.seen.contains(CURSOR), "the cursor is shown again: {:?}", self.seen);
        let last = self.seen.rsplit("\u{1b}[?1049l").next().unwrap();
        (status, last.replace(CURSOR, ""))
    }
}

#[test]
fn on_a_terminal_keys_work_and_it_is_given_back() {
    let engine = Engine::start();
    let mut top = OnTerminal::start(&engine.path());
    top.press("h");
    top.await_text("docs/top.md");
    top.press("h");
    top.await_text("Ports");
    // Down; and Ctrl-L, as otherwise only the cells that differ are written.
    top.press("\u{1b}[B\u{c}");
    top.await_text("Dropped by worker 0");
    top.press(" ");
    top.await_text("PAUSED");
    top.press("q");
    let (status, last) = top.ended();
    assert_eq!((status.code(), last.trim()), (Some(0), ""));
    // In raw mode Ctrl-C is a key.
    let mut top = OnTerminal::start(&engine.path());
    top.press("\u{3}");
    assert_eq!(top.ended().0.code(), Some(0));
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let top = OnTerminal::start(&engine.path());
        kill(Pid::from_raw(top.child.id() as i32), signal).unwrap();
        assert_eq!(top.ended().0.code(), Some(status), "{signal}");
    }
}

/// A serial line that knows no size has no room for a screen.
#[test]
fn without_a_size_it_is_text() {
    let engine = Engine::start();
    let mut top = OnTerminal::sized(&engine.path(), 0, 0);
    top.await_text("net_ring1");
    assert!(!top.seen.contains('\u{1b}'), "{:?}", top.seen);
    assert_eq!(top.child.wait().unwrap().code(), Some(0));
}

#[test]
fn when_the_engine_goes_the_terminal_comes_back_and_says_so() {
    let mut engine = Engine::start();
    let top = OnTerminal::start(&engine.path());
    engine.server.take().unwrap().stop();
    let (status, last) = top.ended();
    assert_eq!(status.code(), Some(1));
    assert!(last.contains("the engine is gone") && last.contains("wireglass run -c FILE"), "{last}");
}
