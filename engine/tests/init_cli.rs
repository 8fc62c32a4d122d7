//! `wireglass init`, from outside, on folders that look like machines.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A machine with its own card eth0, two that are free, one in a bridge, wireless, and two cards on PCI.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(TempDir::new().unwrap());
        for (name, kind, more) in [
            ("eth0", 1, ""),
            ("eth1", 1, ""),
            ("eth2", 1, ""),
            ("eth3", 1, "master"),
            ("lo", 772, ""),
            ("wlan0", 1, "phy80211"),
            ("br0", 1, "bridge"),
            ("eth1.7", 1, "lower_eth9"),
            ("dummy0", 1, ""),
            ("ifb1", 1, ""),
        ] {
            let folder = format!("root/sys/class/net/{name}");
            machine.file(&format!("{folder}/type"), &format!("{kind}\n"));
            machine.file(&format!("{folder}/ifindex"), "3\n");
            machine.file(&format!("{folder}/carrier"), "1\n");
            if !more.is_empty() {
                machine.file(&format!("{folder}/{more}"), "");
            }
        }
        machine.file("root/proc/net/route", "Iface\tDestination\neth0\t00000000\t0101A8C0\n");
        machine.file("root/sys/devices/system/cpu/online", "0-3\n");
        machine.file("root/sys/devices/system/cpu/isolated", "\n");
        for core in 0..4 {
            machine
                .file(&format!("root/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"), "0\n");
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A network card on PCI, and the interface on it, if the kernel has one.
    fn card(&self, address: &str, driver: &str, interface: &str) {
        let device = format!("root/sys/bus/pci/devices/{address}");
        self.file(&format!("{device}/class"), "0x020000\n");
        if !interface.is_empty() {
            self.file(&format!("{device}/net/{interface}/ifindex"), "3\n");
        }
        let driver = self.path(&format!("root/sys/bus/pci/drivers/{driver}"));
        fs::create_dir_all(&driver).unwrap();
        symlink(driver, self.path(&format!("{device}/driver"))).unwrap();
    }

    fn init(&self, options: &[&str], answers: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireglass"));
        command.arg("init").arg("--root").arg(self.path("root")).args(options).current_dir(self.0.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may refuse before it reads.
        let _ = child.stdin.take().unwrap().write_all(answers.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// The configuration that was written, which has to be in order.
    fn written(&self, output: &Output) -> String {
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let file = self.path("wireglass.toml");
        let check =
            Command::new(env!("CARGO_BIN_EXE_wireglass")).args(["check", "-c"]).arg(&file).output().unwrap();
        assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
        fs::read_to_string(file).unwrap()
    }
}

#[track_caller]
fn refused(output: &Output, status: i32, words: &str) {
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), said.contains(words)), (Some(status), true), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn without_a_question_it_takes_the_two_ports_that_nothing_else_uses() {
    let machine = Machine::new();
    let output = machine.init(&["--yes"], "");
    let config = machine.written(&output);
    assert!(
        config.contains("inside = \"af_packet:eth1\"") && config.contains("outside = \"af_packet:eth2\""),
        "{config}"
    );
    assert!(config.contains("cores = [1]") && config.contains("default = \"bypass\""), "{config}");
    for pinned in ["*.apple.com", "*.windowsupdate.com"] {
        assert!(config.contains(pinned), "{config}");
    }
    assert!(!config.contains("\naction = \"decrypt\""), "nobody trusts the CA yet: {config}");
    let said = text(&output.stdout);
    for line in [
        "wrote ca/trusted.key\n",
        "wrote wireglass.toml\n",
        "af_packet:eth1 to af_packet:eth2, decrypting nobody's connections yet. Next:\n",
        "  1. for port in eth1 eth2; do ip link set $port up; ethtool -K $port ",
        "  2. wireglass run -c wireglass.toml\n",
        "  3. for a client that trusts the CA, the rule \"first clients\" in wireglass.toml; then: wireglass reload",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    let key = fs::metadata(machine.path("ca/trusted.key")).unwrap().permissions().mode();
    assert_eq!(key & 0o777, 0o600);
}

#[test]
fn cards_for_dpdk_come_before_interfaces() {
    let machine = Machine::new();
    machine.card("0000:05:00.0", "vfio-pci", "");
    machine.card("0000:06:00.0", "ixgbe", "eth1");
    machine.card("0000:07:00.0", "mlx5_core", "eth2");
    let output = machine.init(&["--yes", "--decrypt", "all"], "");
    let config = machine.written(&output);
    assert!(
        config.contains("inside = \"0000:05:00.0\"") && config.contains("outside = \"0000:07:00.0\""),
        "{config}"
    );
    assert!(config.contains("default = \"decrypt\""), "{config}");
    assert!(text(&output.stdout).contains("  1. wireglass doctor -c wireglass.toml --ports\n"));
}

#[test]
fn a_person_is_asked_and_may_err() {
    let machine = Machine::new();
    let answers = "eth9\neth2\neth1\nExample Inspection\neverything\n10.1.0.0/16 2001:db8::7\n";
    let output = machine.init(&[], answers);
    let config = machine.written(&output);
    let asked = text(&output.stderr);
    for words in [
        "  af_packet:eth1  (interface, virtual, link up)\n  af_packet:eth2 ",
        "Port towards the clients [af_packet:eth1]: ",
        "there is no interface or network card \"eth9\" here; free are: af_packet:eth1, af_packet:eth2",
        "Port towards the servers [af_packet:eth1]: ",
        "found \"everything\"",
    ] {
        assert!(asked.contains(words), "{words} is not in\n{asked}");
    }
    assert!(
        config.contains("inside = \"af_packet:eth2\"") && config.contains("outside = \"af_packet:eth1\""),
        "{config}"
    );
    assert!(
        config.contains("source = [\"10.1.0.0/16\", \"2001:db8::7/128\"]\naction = \"decrypt\"\n"),
        "{config}"
    );
    let mut show = Command::new(env!("CARGO_BIN_EXE_wireglass"));
    let shown = show.args(["ca", "show", "--dir"]).arg(machine.path("ca")).output().unwrap();
    assert!(text(&shown.stdout).contains("CN=Example Inspection\n"));
    refused(&Machine::new().init(&[], "eth1\n"), 2, "no answer: --yes accepts the answers in brackets");
}

#[test]
fn the_machines_own_card_is_never_taken() {
    let machine = Machine::new();
    machine.card("0000:03:00.0", "ixgbe", "eth0");
    machine.card("0000:04:00.0", "ixgbe", "eth1");
    for (port, words) in [
        (
            "eth0",
            "--inside: eth0 is in use: this machine has addresses or routes on it; free are: af_packet:eth1, ",
        ),
        ("xdp:eth0", "eth0 is in use"),
        (
            "0000:03:00.0",
            "0000:03:00.0 is in use: it is eth0, and this machine has addresses or routes on it",
        ),
        ("03:00.0", "0000:03:00.0 is in use"),
        ("eth3", "eth3 is in use: it is part of a bridge or bond"),
        ("lo", "lo is not a wired Ethernet interface"),
        ("wlan0", "wlan0 is not a wired"),
        ("br0", "br0 is not a wired"),
        ("eth1.7", "eth1.7 is not a wired"),
        ("0000:04:00.0", "0000:04:00.0 belongs to ixgbe: bind it to vfio-pci first"),
    ] {
        refused(&machine.init(&["--yes", "--inside", port], ""), 2, words);
    }
    refused(
        &machine.init(&["--yes", "--inside", "eth1", "--outside", "xdp:eth1"], ""),
        2,
        "a wire needs two different ones",
    );
    fs::remove_dir_all(machine.path("root/sys/class/net/eth2")).unwrap();
    refused(&machine.init(&["--yes"], ""), 2, "a wire needs two ports, and 1 is free here");
    assert!(!machine.path("wireglass.toml").exists() && !machine.path("ca").exists());
}

#[test]
fn what_is_there_is_left_as_it_is() {
    let machine = Machine::new();
    let file = machine.path("wireglass.toml");
    fs::write(&file, "# mine\n[[wire]]\n").unwrap();
    refused(&machine.init(&["--yes"], ""), 1, "wireglass.toml exists already and was not changed");
    assert_eq!(fs::read_to_string(&file).unwrap(), "# mine\n[[wire]]\n");
    assert!(!machine.path("ca").exists(), "and no CA is made for it");

    // The package's file has nothing but comments.
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/debian/wireglass.toml");
    fs::copy(package, &file).unwrap();
    machine.written(&machine.init(&["--yes"], ""));
    let key = fs::read(machine.path("ca/trusted.key")).unwrap();

    fs::remove_file(&file).unwrap();
    let output = machine.init(&["--yes"], "");
    machine.written(&output);
    assert!(text(&output.stdout).contains("kept the CA in ca\n"));
    assert_eq!(fs::read(machine.path("ca/trusted.key")).unwrap(), key);

    fs::remove_file(&file).unwrap();
    fs::remove_file(machine.path("ca/trusted.pem")).unwrap();
    refused(&machine.init(&["--yes"], ""), 1, "ca has some files of a CA, but not all four");
    assert!(!file.exists());
}
