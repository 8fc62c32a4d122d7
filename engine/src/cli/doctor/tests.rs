//! Each finding, good and bad: on a machine that is a folder, with one thing after the other spoiled.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;
use wireglass_core::tls::{RecordLibraries, Suite};
use wireglass_core::x509::Provider;

use super::facts::Facts;
use super::findings::{Finding, Level, Question};
use super::plan::{CaFacts, Plan, PlannedPort, PlannedWire};
use super::render::Text;
use crate::driver::PortCapabilities;
use crate::interfaces::KernelPort;
use crate::link_pass::LinkState;
use crate::record_speeds::{Choice, RecordLibrary, RecordSpeed, RecordSpeeds};

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

/// A machine of two nodes where nothing is wrong.
struct Machine {
    root: TempDir,
    plan: Plan,
    ports: Option<Vec<PortCapabilities>>,
    records: RecordLibrary,
    speeds: RecordSpeeds,
}

impl Machine {
    fn new() -> Self {
        let ca = CaFacts {
            which: "trusted",
            cert: "ca/trusted.pem".into(),
            key: "ca/trusted.key".into(),
            open_to_others: None,
            key_mode: Some(0o600),
            validity: Some((NOW - 10 * DAY, NOW + 1000 * DAY)),
        };
        let port = |name: &str| PlannedPort { name: name.into(), kernel: None };
        let plan = Plan {
            wires: vec![PlannedWire {
                name: "lan".into(),
                link_state: LinkState::Pass,
                ports: [port("03:00.0"), port("0000:03:00.1")],
            }],
            cores: vec![1, 2],
            spin: true,
            no_huge: false,
            cas: vec![ca],
            roots: Some(Ok((140, true))),
            fetched: vec!["CRLs"],
            captured: None,
        };
        let offer = |name: &str| PortCapabilities {
            name: name.into(),
            driver: "net_ixgbe".into(),
            node: Some(0),
            mtu: 1500,
            link: true,
            link_settable: true,
            speed_mbps: Some(10_000),
            rx_queues: 64,
            tx_queues: 64,
            rss: true,
            rx_offloads: "tcp-cksum".into(),
            tx_offloads: "tcp-cksum".into(),
            lacks: Vec::new(),
        };
        let ports = Some(vec![offer("0000:03:00.0"), offer("0000:03:00.1")]);
        let machine = Self {
            root: tempfile::tempdir().expect("a folder"),
            plan,
            ports,
            records: RecordLibrary::Auto,
            speeds: speeds(10.0),
        };
        machine.fill();
        machine
    }

    fn fill(&self) {
        for (path, text) in [
            ("sys/kernel/iommu_groups/1/type", "DMA"),
            ("sys/firmware/acpi/tables/DMAR", ""),
            ("proc/cmdline", "quiet intel_iommu=on"),
            ("proc/cpuinfo", "vendor_id : GenuineIntel\nflags : aes pclmulqdq vaes vpclmulqdq avx512f\n"),
            ("proc/mounts", "nodev /dev/hugepages hugetlbfs rw,pagesize=2M 0 0\n"),
            ("proc/321/comm", "chronyd\n"),
            ("proc/self/status", "CapEff:\t000001ffffffffff\n"),
            ("proc/net/protocols", "XDP       1088      0\n"),
            ("proc/sys/kernel/osrelease", "6.1.0-13-amd64\n"),
            ("etc/resolv.conf", "# by hand\nnameserver 192.0.2.53\n"),
            ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
            ("sys/devices/system/cpu/online", "0-3\n"),
            ("sys/devices/system/cpu/isolated", "1-2\n"),
            ("sys/bus/pci/drivers/vfio-pci/unbind", ""),
        ] {
            self.file(path, text);
        }
        for node in 0..2 {
            self.pages(node, 2048, "512");
        }
        for core in 0..4 {
            let cpu = format!("sys/devices/system/cpu/cpu{core}");
            self.file(&format!("{cpu}/cpufreq/scaling_governor"), "performance\n");
            self.file(&format!("{cpu}/topology/thread_siblings_list"), &format!("{core}\n"));
            self.file(&format!("{cpu}/node{}/x", core / 3), "");
        }
        for address in ["0000:03:00.0", "0000:03:00.1"] {
            let card = format!("sys/bus/pci/devices/{address}");
            self.file(&format!("{card}/class"), "0x020000\n");
            self.file(&format!("{card}/numa_node"), "0\n");
            symlink("../../drivers/vfio-pci", self.root.path().join(card).join("driver")).expect("writable");
        }
        for name in ["p0", "p1"] {
            self.file(&format!("sys/class/net/{name}/ifindex"), "7\n");
            self.file(&format!("sys/class/net/{name}/queues/rx-0/rps_cpus"), "0\n");
            self.file(&format!("sys/class/net/{name}/queues/rx-1/rps_cpus"), "0\n");
            self.file(&format!("sys/class/net/{name}/mtu"), "1500\n");
            self.file(&format!("sys/class/net/{name}/carrier"), "1\n");
        }
    }

    fn pages(&self, node: usize, kb: u64, count: &str) {
        let folder = format!("sys/devices/system/node/node{node}/hugepages/hugepages-{kb}kB");
        self.file(&format!("{folder}/nr_hugepages"), count);
        self.file(&format!("{folder}/free_hugepages"), count);
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("writable");
        fs::write(path, text).expect("writable");
    }

    fn without(&self, path: &str) {
        let path = self.root.path().join(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("it was there");
    }

    /// As a virtual wire on two interfaces of the kernel, its ports not opened.
    fn on_interfaces(&mut self) {
        let port = |n| PlannedPort {
            name: format!("net_af_packet{n}"),
            kernel: KernelPort::parse(&format!("af_packet:p{n}")),
        };
        self.plan.wires[0].ports = [port(0), port(1)];
        self.ports = None;
    }

    fn ports(&mut self) -> &mut Vec<PortCapabilities> {
        self.ports.as_mut().expect("opened")
    }

    fn judge(&self, with_plan: bool) -> Vec<Finding> {
        let facts = Facts::read(self.root.path());
        let plan = with_plan.then_some(&self.plan);
        let libraries = self.records.choose(Provider::default(), || &self.speeds);
        let records = Choice { libraries, speeds: Some(&self.speeds) };
        Question { facts: &facts, plan, ports: self.ports.as_deref(), records, now: NOW }.judge()
    }
}

/// The default library does 10 Gbit/s of all suites, others so much.
fn speeds(others: f64) -> RecordSpeeds {
    let of = |suite| {
        let gbits = move |library| if library == Provider::default() { 10.0 } else { others };
        Provider::BUILT_IN.iter().map(move |&library| RecordSpeed { suite, library, gbits: gbits(library) })
    };
    RecordSpeeds::new(Suite::ALL.into_iter().flat_map(of).collect())
}

#[test]
fn a_machine_in_order_has_nothing_in_the_way() {
    let machine = Machine::new();
    let findings = machine.judge(true);
    assert!(findings.iter().all(|finding| finding.level == Level::Good), "{}", Text(&findings));
    let text = Text(&findings).to_string();
    assert!(text.ends_with("nothing in the way\n"), "{text}");
    assert!(text.lines().count() < 25, "more than one screen:\n{text}");
    for topic in [
        "iommu",
        "hugepages",
        "cards",
        "numa",
        "cores",
        "isolated",
        "governor",
        "aes",
        "records",
        "mtu",
        "link",
        "offloads",
        "rss",
        "ca",
        "roots",
        "fetch",
        "clock",
    ] {
        assert!(findings.iter().any(|finding| finding.topic == topic), "nothing about {topic}");
    }
    let mut virtual_wire = Machine::new();
    virtual_wire.on_interfaces();
    virtual_wire.plan.no_huge = true;
    let bad = virtual_wire.judge(true).into_iter().filter(|finding| finding.level > Level::Note).count();
    assert_eq!(bad, 0, "{}", Text(&virtual_wire.judge(true)));
    assert!(virtual_wire.judge(false).iter().all(|finding| finding.level <= Level::Note));
}

type Spoil = fn(&mut Machine);

/// What is spoiled, what is then said about which topic, and the word that its remedy has.
const SPOILED: &[(Spoil, &str, Level, &str, &str)] = &[
    (|m| m.without("sys/kernel/iommu_groups/1"), "iommu", Level::Bad, "none", "dmesg"),
    (
        |m| {
            m.without("sys/kernel/iommu_groups/1");
            m.file("proc/cmdline", "quiet");
        },
        "iommu",
        Level::Bad,
        "none",
        "\"intel_iommu=on iommu=pt\"",
    ),
    (
        |m| {
            m.without("sys/kernel/iommu_groups/1");
            m.without("sys/firmware/acpi/tables/DMAR");
        },
        "iommu",
        Level::Bad,
        "none",
        "firmware's setup",
    ),
    (
        |m| {
            m.without("sys/kernel/iommu_groups/1");
            m.file("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
        },
        "iommu",
        Level::Poor,
        "told to do without",
        "iommu=pt",
    ),
    (
        |m| {
            m.pages(0, 2048, "0");
            m.pages(1, 2048, "0");
        },
        "hugepages",
        Level::Bad,
        "none",
        "nic.sh bind --hugepages",
    ),
    (|m| m.file("proc/mounts", ""), "hugepages", Level::Bad, "not mounted", "2M=1"),
    (|m| m.pages(0, 2048, "0"), "hugepages", Level::Poor, "none on node 0", "1G=2@0"),
    (|m| m.plan.no_huge = true, "hugepages", Level::Poor, "not used", "--no-huge"),
    (
        |m| m.plan.wires[0].ports[0].name = "0000:07:00.0".into(),
        "cards",
        Level::Bad,
        "no such network card",
        "status",
    ),
    (
        |m| {
            m.file("sys/class/net/eth1/type", "1\n");
            m.plan.wires[0].ports[0].name = "eth1".into();
        },
        "cards",
        Level::Bad,
        "eth1 is an interface of the kernel",
        "`af_packet:eth1`",
    ),
    (
        |m| m.without("sys/bus/pci/devices/0000:03:00.1/driver"),
        "cards",
        Level::Bad,
        "0000:03:00.1: no driver",
        "nic.sh bind 0000:03:00.1",
    ),
    (|m| m.plan.cores = vec![1, 3], "numa", Level::Poor, "core 3 is on another node", "out of 0, 1, 2"),
    (
        |m| m.file("sys/bus/pci/devices/0000:03:00.1/numa_node", "1\n"),
        "numa",
        Level::Poor,
        "nodes 0, 1",
        "slots",
    ),
    (|m| m.plan.cores = vec![1, 9], "cores", Level::Bad, "core 9 is not on line", "lscpu"),
    (
        |m| m.file("sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1-2\n"),
        "cores",
        Level::Poor,
        "workers 1 and 2 are on one core",
        "lscpu",
    ),
    (|m| m.plan.spin = false, "cores", Level::Poor, "2 worker(s)", "\"spin\""),
    (
        |m| m.file("sys/devices/system/cpu/isolated", "0-3\n"),
        "cores",
        Level::Poor,
        "no core beside them",
        "out of workers.cores",
    ),
    (
        |m| m.file("sys/devices/system/cpu/isolated", "2\n"),
        "isolated",
        Level::Poor,
        "not core 1",
        "nohz_full=1,2",
    ),
    (
        |m| m.file("sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "powersave\n"),
        "governor",
        Level::Poor,
        "powersave on core 2",
        "cpupower",
    ),
    (|m| m.file("proc/cpuinfo", "flags : fpu sse2\n"), "aes", Level::Bad, "not in", "-cpu host"),
    (|m| m.ports()[1].mtu = 9000, "mtu", Level::Poor, "1500 on 03:00.0, 9000 on 0000:03:00.1", "mtu"),
    (|m| m.ports()[0].link = false, "link", Level::Bad, "03:00.0 is down", "cable"),
    (|m| m.ports()[0].speed_mbps = Some(1000), "link", Level::Poor, "1000 and 10000", "same speed"),
    (|m| m.ports()[0].tx_queues = 1, "rss", Level::Bad, "64 rx and 1 tx", "workers.cores"),
    (|m| m.ports()[0].rss = false, "rss", Level::Poor, "0000:03:00.0", "RSS"),
    (|m| m.plan.cas[0].key_mode = Some(0o640), "ca", Level::Bad, "mode 0640", "chmod 600 ca/trusted.key"),
    (
        |m| m.plan.cas[0].open_to_others = Some("ca".into()),
        "ca",
        Level::Poor,
        "ca can be changed",
        "chmod go-w ca",
    ),
    (|m| m.plan.cas[0].validity = None, "ca", Level::Bad, "no certificate", "ca init"),
    (|m| m.plan.cas[0].validity = Some((0, NOW - 1)), "ca", Level::Bad, "not valid now", "ca init"),
    (
        |m| m.plan.cas[0].validity = Some((NOW + DAY, NOW + 9 * DAY)),
        "ca",
        Level::Bad,
        "not valid now",
        "date",
    ),
    (|m| m.plan.cas[0].validity = Some((0, NOW + 30 * DAY)), "ca", Level::Poor, "ends in 30 days", "ca init"),
    (|m| m.plan.roots = Some(Ok((0, true))), "roots", Level::Bad, "none", "ca-certificates"),
    (|m| m.plan.roots = Some(Err("roots.pem: what?".into())), "roots", Level::Bad, "what?", "check"),
    (|m| m.without("etc"), "fetch", Level::Poor, "no name server", "resolv.conf"),
    (
        |m| m.plan.captured = Some(("/var/keys".into(), 15)),
        "capture",
        Level::Poor,
        "ON: secrets of decrypted flows go to /var/keys, for 15",
        "remove [capture]",
    ),
    (|m| m.without("proc/321"), "clock", Level::Poor, "not synchronised", "chrony"),
    (
        |m| m.file("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n"),
        "clock",
        Level::Poor,
        "source hpet",
        "current_clocksource",
    ),
];

#[test]
fn what_is_spoiled_is_found_with_its_remedy() {
    for (i, (spoil, topic, level, found, fix)) in SPOILED.iter().enumerate() {
        let mut machine = Machine::new();
        spoil(&mut machine);
        let findings = machine.judge(true);
        let hit = findings.iter().find(|finding| finding.topic == *topic && finding.level == *level);
        let Some(hit) = hit else { panic!("{i}: no {level:?} about {topic} in\n{}", Text(&findings)) };
        assert!(hit.found.contains(found), "{i}: {hit:?}");
        assert!(hit.means.as_ref().is_some_and(|means| !means.is_empty()), "{i}: {hit:?}");
        assert!(hit.fix.as_ref().is_some_and(|words| words.contains(fix)), "{i}: {hit:?}");
    }
}

#[test]
fn a_port_of_af_xdp_tells_how_far_out_its_frames_are_taken() {
    let mut machine = Machine::new();
    machine.on_interfaces();
    for (n, port) in machine.plan.wires[0].ports.iter_mut().enumerate() {
        port.kernel = KernelPort::parse(&format!("xdp:p{n}"));
    }
    let about = |machine: &Machine, port: &str| {
        let found = |finding: &Finding| finding.topic == "xdp" && finding.found.starts_with(port);
        let finding = machine.judge(true).into_iter().find(found).expect("judged");
        (finding.level, Text(&[finding]).to_string())
    };
    let driver = |machine: &Machine, name: &str| {
        let device = machine.root.path().join("sys/class/net/p0/device");
        let _ = fs::remove_dir_all(&device);
        fs::create_dir_all(&device).expect("writable");
        symlink(format!("../../drivers/{name}"), device.join("driver")).expect("writable");
    };
    let (level, text) = about(&machine, "xdp:p0");
    assert!(level == Level::Note && text.contains("no device") && text.contains("veth"), "{text}");
    for (name, wanted, words) in [
        ("ice", Level::Note, "ice, zero-copy"),
        ("ena", Level::Note, "native with a copy"),
        ("e1000e", Level::Poor, "not known to have native XDP"),
    ] {
        driver(&machine, name);
        let (level, text) = about(&machine, "xdp:p0");
        assert!(level == wanted && text.contains(words), "{text}");
    }
    driver(&machine, "ice");
    machine.file("proc/sys/kernel/osrelease", "5.10.0-28-amd64\n");
    let (level, text) = about(&machine, "xdp:p0");
    assert!(level == Level::Poor && text.contains("Linux 5.10"), "{text}");
    machine.plan.cores.push(3);
    let (level, text) = about(&machine, "xdp:p1");
    assert!(level == Level::Bad && text.contains("-> ethtool -L p1 combined 3"), "{text}");
    machine.file("proc/net/protocols", "TCP 2 3\n");
    let (level, text) = about(&machine, "xdp:p1");
    assert!(level == Level::Bad && text.contains("af_packet:p1"), "{text}");
    let alone = machine.judge(false).into_iter().find(|finding| finding.topic == "xdp").expect("judged");
    assert!(alone.level == Level::Note && alone.found.contains("no AF_XDP"), "{alone:?}");
}

#[test]
fn the_library_of_records_is_told_with_its_speed_and_one_that_costs_speed_is_poor() {
    let mut machine = Machine::new();
    machine.speeds = speeds(20.0);
    let about = |machine: &Machine| {
        let findings = machine.judge(false).into_iter();
        findings.filter(|finding| finding.topic == "records").collect::<Vec<_>>()
    };
    let (default, fastest) = (Provider::default(), Provider::BUILT_IN[Provider::BUILT_IN.len() - 1]);
    let found = about(&machine);
    assert!(found.len() == 3 && found.iter().all(|finding| finding.level == Level::Good), "{found:?}");
    assert!(found[0].found.starts_with(&format!("AES-128-GCM by {} (", fastest.name())), "{found:?}");
    machine.records = RecordLibrary::Fixed(default);
    let found = about(&machine);
    assert!(found[2].found.starts_with(&format!("ChaCha20-Poly1305 by {} (10.0 ", default.name())));
    if fastest != default {
        let is_poor = |finding: &Finding| {
            finding.level == Level::Poor && finding.fix.as_deref() == Some("crypto.records = \"auto\"")
        };
        assert!(found.iter().all(is_poor), "{found:?}");
    }
}

#[test]
fn whether_the_loss_of_a_link_can_be_passed_on() {
    let mut machine = Machine::new();
    let told = |machine: &Machine| {
        let findings = machine.judge(true);
        findings.into_iter().find(|f| f.topic == "link state").map(|f| (f.level, f.found))
    };
    assert_eq!(told(&machine), Some((Level::Good, "lan: the loss of a link is passed on".into())));
    machine.ports.as_mut().expect("opened")[1].link_settable = false;
    let found = "lan: the driver of 0000:03:00.1 cannot take its link down".to_owned();
    assert_eq!(told(&machine), Some((Level::Note, found)));
    machine.plan.wires[0].link_state = LinkState::Independent;
    assert_eq!(told(&machine), None);
    machine.plan.wires[0].link_state = LinkState::Pass;
    machine.ports = None;
    assert_eq!(told(&machine), None, "nobody knows");
    machine.on_interfaces();
    assert_eq!(told(&machine).map(|(level, _)| level), Some(Level::Good), "the kernel can");
}

#[test]
fn interfaces_tell_of_their_links_and_mtus_without_a_port_being_opened() {
    let mut machine = Machine::new();
    machine.on_interfaces();
    machine.file("sys/class/net/p1/mtu", "1400\n");
    machine.without("sys/class/net/p0/carrier");
    // What af_packet says of itself is not believed.
    let wrong = |n| PortCapabilities {
        name: format!("net_af_packet{n}"),
        mtu: 1500,
        link: true,
        ..PortCapabilities::default()
    };
    machine.ports = Some(vec![wrong(0), wrong(1)]);
    let findings = machine.judge(true);
    let about = |topic| findings.iter().find(|finding| finding.topic == topic).expect("judged");
    assert_eq!(about("mtu").found, "lan: 1500 on net_af_packet0, 1400 on net_af_packet1");
    assert!(about("mtu").means.as_ref().is_some_and(|means| means.contains("the wire uses 1400")));
    assert_eq!(about("link").fix.as_deref().map(|fix| &fix[..19]), Some("ip link set p0 up; "));
    assert_eq!(about("iommu").level, Level::Good);
    machine.file("sys/class/net/p1/mtu", "9000\n");
    let findings = machine.judge(true);
    let mtu = findings.iter().find(|finding| finding.topic == "mtu").expect("judged");
    assert_eq!((mtu.level, &*mtu.found), (Level::Poor, "lan: 9000 on net_af_packet1"));
    machine.file("sys/class/net/p1/mtu", "1500\n");
    machine.ports = None;
    machine.plan.wires[0].ports[0].kernel = None;
    let findings = machine.judge(true);
    assert!(findings.iter().any(|f| f.topic == "mtu" && f.level == Level::Note && f.found == "lan: unknown"));
}

#[test]
fn a_machine_that_shows_nothing_is_judged_too() {
    let facts = Facts::read(Path::new("/nonexistent"));
    let records = Choice { libraries: RecordLibraries::all(Provider::default()), speeds: None };
    let findings = Question { facts: &facts, plan: None, ports: None, records, now: NOW }.judge();
    assert!(findings.iter().any(|finding| finding.topic == "hugepages" && finding.level == Level::Bad));
}

#[test]
fn files_that_others_can_change_are_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let ca = || CaFacts::of("trusted", &at("ca.pem"), &at("ca.key"));
    let mode = |path: &str, mode| fs::set_permissions(path, Permissions::from_mode(mode)).expect("ours");
    assert_eq!((ca().key_mode, ca().validity), (None, None), "nothing there yet");
    for name in ["ca.pem", "ca.key"] {
        fs::write(at(name), "no PEM").expect("writable");
        mode(&at(name), 0o600);
    }
    assert_eq!((ca().key_mode, ca().open_to_others), (Some(0o600), None));
    mode(&at("ca.pem"), 0o620);
    assert_eq!(ca().open_to_others, Some(at("ca.pem")));
    mode(&at("ca.pem"), 0o644);
    mode(&folder.path().display().to_string(), 0o777);
    assert_eq!(ca().open_to_others, Some(folder.path().display().to_string()));
    mode(&folder.path().display().to_string(), 0o1777);
    assert_eq!(ca().open_to_others, None, "the sticky bit");
}
