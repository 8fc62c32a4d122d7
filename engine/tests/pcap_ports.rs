//! `wireglass run` on captures: two wires in one process, on DPDK's net_pcap. What no rule asks to look at comes out as it came in, at the
//! other port of the same wire, byte for byte.
#![cfg(feature = "dpdk")]

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use wireglass_testbed::{
    ClientOptions, Heading, Host, HostConfig, Impairment, Pki, PortSide, ServerOptions, Session, Simulation,
    Step, Wire, providers,
};

type Clock = wireglass_testbed::Instant;
type Span = wireglass_testbed::Duration;

/// All of a TLS connection as it crossed a plain wire: what came in at the inside, and at the outside.
fn visit(seed: u64) -> [Vec<Vec<u8>>; 2] {
    let host = |number| Host::new(Clock::ZERO, HostConfig::numbered(number));
    let mut simulation = Simulation::new(host(1), host(2), Wire::default(), Impairment::default(), seed);
    simulation.record();
    let pki = Pki::new("Internet").expect("a CA");
    let (_, crypto) = providers().into_iter().next().expect("a provider");
    let identity = pki.identity_with(&["www.example.com"], |_| {}).expect("a certificate");
    let client =
        ClientOptions::new(crypto.clone(), vec![pki.root()]).build().expect("a client's configuration");
    let server = ServerOptions::new(crypto, identity.chain, identity.key).build().expect("a server's");
    let body = vec![seed as u8; 30_000];
    let script = [Step::Receive(5), Step::Send(body), Step::AwaitEnd, Step::Finish];
    let server = Session::tls_server(server, script).expect("a server");
    let script = [Step::Send(b"hello".to_vec()), Step::Receive(30_000), Step::Finish];
    let client = Session::tls_client(client, "www.example.com", script).expect("a client");
    let address = simulation.server.address(false).expect("an address");
    simulation.server.listen(443, server);
    simulation.client.connect(SocketAddr::new(address, 443), 40_000, client);
    simulation.run(Span::from_secs(60));
    simulation.settle(Span::from_secs(60));
    [PortSide::Inside, PortSide::Outside].map(|port| {
        let entered = simulation
            .recorded()
            .iter()
            .filter(|crossing| (crossing.port, crossing.heading) == (port, Heading::In));
        entered.map(|crossing| crossing.frame.clone()).collect()
    })
}

fn write_pcap(path: &Path, frames: &[Vec<u8>]) {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1]);
    for frame in frames {
        let length = frame.len() as u32;
        file.extend(words(&[0, 0, length, length]));
        file.extend(frame);
    }
    fs::write(path, file).expect("writable");
}

/// The whole packets of a capture, which may still be growing.
fn read_pcap(path: &Path) -> Vec<Vec<u8>> {
    let file = fs::read(path).unwrap_or_default();
    let mut rest = file.get(24..).unwrap_or_default();
    let mut frames = Vec::new();
    while let Some((header, data)) = rest.split_at_checked(16) {
        let length = u32::from_le_bytes(header[8..12].try_into().expect("4 bytes")) as usize;
        let Some((frame, after)) = data.split_at_checked(length) else { break };
        frames.push(frame.to_vec());
        rest = after;
    }
    frames
}

struct Engine(Child);

impl Engine {
    fn start(folder: &Path, config: &Path) -> Self {
        let log = File::create(folder.join("engine.log")).expect("writable");
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireglass"));
        command.args(["run", "-c"]).arg(config).current_dir(folder).stdin(Stdio::null());
        let copy = log.try_clone().expect("a file");
        Self(command.stdout(copy).stderr(log).spawn().expect("the engine"))
    }

    /// Ends it in order; its exit status.
    fn stop(mut self) -> Option<i32> {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        let status = self.0.wait().expect("its end");
        std::mem::forget(self);
        status.code()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn two_wires_in_one_process_pass_what_is_bypassed_byte_for_byte() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let made =
        Command::new(env!("CARGO_BIN_EXE_wireglass")).args(["ca", "init", "--dir"]).arg(path("ca")).output();
    assert!(made.expect("the command").status.success());
    let wires = [visit(1), visit(2)];
    assert_ne!(wires[0], wires[1]);
    let mut vdevs = Vec::new();
    for (n, frames) in wires.iter().flatten().enumerate() {
        let (input, output) = (path(&format!("in{n}.pcap")), path(&format!("out{n}.pcap")));
        write_pcap(&input, frames);
        vdevs.push(format!("net_pcap{n},rx_pcap={},tx_pcap={}", input.display(), output.display()));
    }
    let prefix = format!("wg-pcap-{}", std::process::id());
    let config = format!(
        r#"
[dpdk]
eal = ["--no-huge", "-m", "512", "--no-pci", "--no-telemetry", "--file-prefix", "{prefix}"]
vdev = {vdevs:?}
[[wire]]
name = "first"
inside = "net_pcap0"
outside = "net_pcap1"
[[wire]]
name = "second"
inside = "net_pcap2"
outside = "net_pcap3"
[workers]
cores = [0]
[ca]
trusted = {{ cert = "ca/trusted.pem", key = "ca/trusted.key" }}
untrusted = {{ cert = "ca/untrusted.pem", key = "ca/untrusted.key" }}
[trust]
system = false
roots = ["ca/trusted.pem"]
[[rule]]
name = "the lab"
destination = ["10.0.0.0/8"]
action = "bypass"
[policy]
default = "block"
[log]
eve = "eve.json"
stats_seconds = 1
[control]
socket = "control.sock"
"#
    );
    fs::write(path("wire.toml"), config).expect("writable");
    let engine = Engine::start(folder.path(), &path("wire.toml"));
    // What comes in at port n goes out of the port that is its neighbour on the wire.
    let expected = |n: usize| &wires[n / 2][n % 2];
    let passed = |n: usize| read_pcap(&path(&format!("out{}.pcap", n ^ 1)));
    let log = || fs::read_to_string(path("engine.log")).unwrap_or_default();
    let frames: usize = wires.iter().flatten().map(Vec::len).sum();
    let all_came = format!("\"decoder\":{{\"pkts\":{frames},");
    // The driver writes what it sends when it is stopped; that all was read, the statistics say.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !fs::read_to_string(path("eve.json")).is_ok_and(|events| events.contains(&all_came)) {
        assert!(Instant::now() < deadline, "{frames} frames; {}", log());
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(engine.stop(), Some(0), "{}", log());
    assert!(log().contains("mbufs balanced"), "{}", log());
    for n in 0..4 {
        let (sent, came) = (expected(n), passed(n));
        assert!(sent.len() > 10);
        assert_eq!(sent.len(), came.len(), "frames from port {n}");
        for (i, (a, b)) in sent.iter().zip(&came).enumerate() {
            assert_eq!(a, b, "frame {i} from port {n}");
        }
    }
    let events = fs::read_to_string(path("eve.json")).expect("events");
    for wire in ["first", "second"] {
        let flow = events.lines().find(|line| {
            line.contains(&format!("\"in_iface\":\"{wire}\"")) && line.contains("\"event_type\":\"flow\"")
        });
        assert!(flow.is_some_and(|flow| flow.contains("\"dest_ip\":\"10.0.0.2\"")), "{events}");
    }
}
