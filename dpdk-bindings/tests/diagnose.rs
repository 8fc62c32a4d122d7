//! The report on a machine, against trees of files that look like `/proc` and `/sys` of different ones.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use dpdk::diagnose::{Report, Roots};

const MEMINFO: &str =
    "MemTotal: 16384 kB\nHugePages_Total:     512\nHugePages_Free:      500\nHugepagesize:       2048 kB\n";
const MOUNTS: &str = "proc /proc proc rw 0 0\nnodev /dev/hugepages hugetlbfs rw 0 0\n";

#[test]
fn a_prepared_machine_needs_nothing() {
    let machine = Machine::new("prepared", MEMINFO, MOUNTS);
    machine.pci("0000:03:00.0", "0x020000", "8086:10fb", Some("vfio-pci"), None);
    machine.pci("0000:04:00.0", "0x010601", "8086:2922", Some("ahci"), None);
    let report = machine.report(&["-l", "1"]);
    assert_eq!((report.hugepages.total, report.hugepages.free, report.hugepages.size_kb), (512, 500, 2048));
    assert_eq!(report.hugepages.mounts, [Path::new("/dev/hugepages")]);
    assert_eq!(report.pci.len(), 1, "a disk is no network device");
    assert_eq!(report.pci[0].kernel_driver.as_deref(), Some("vfio-pci"));
    let text = report.to_string();
    assert!(
        text.contains("0000:03:00.0 [8086:10fb] vfio-pci\n    -> ready for DPDK; if it is not a port"),
        "{text}"
    );
    assert!(text.contains("500 of 512 free, 2048 kB each\nEAL"), "no advice on memory:\n{text}");
    let told_not_to = machine.report(&["--no-pci"]).to_string();
    assert!(told_not_to.contains("ready for DPDK, but EAL was told --no-pci"), "{told_not_to}");
}

#[test]
fn a_fresh_machine_is_told_what_to_do() {
    let machine =
        Machine::new("fresh", "HugePages_Total: 0\nHugepagesize: 2048 kB\n", "proc /proc proc rw 0 0\n");
    machine.pci("0000:05:00.0", "0x020000", "8086:1521", Some("igb"), Some("net/eno1"));
    machine.pci("0000:06:00.0", "0x020000", "1af4:1041", Some("virtio-pci"), Some("virtio2/net/eth1"));
    machine.pci("0000:07:00.0", "0x020000", "15b3:1017", Some("mlx5_core"), Some("net/ens1"));
    machine.pci("0000:08:00.0", "0x020000", "8086:1572", None, None);
    let text = machine.report(&[]).to_string();
    for part in [
        "Ports: none",
        "-> reserve some: echo 512 > /proc/sys/vm/nr_hugepages",
        "-> hugetlbfs is not mounted: mount -t hugetlbfs nodev /dev/hugepages",
        "0000:05:00.0 [8086:1521] igb, interface eno1\n    -> belongs to the kernel; to hand it over: driverctl set-override 0000:05:00.0 vfio-pci, or dpdk-devbind.py -b vfio-pci 0000:05:00.0",
        "0000:06:00.0 [1af4:1041] virtio-pci, interface eth1\n    -> belongs to the kernel",
        "0000:07:00.0 [15b3:1017] mlx5_core, interface ens1\n    -> ready for DPDK",
        "0000:08:00.0 [8086:1572] no driver\n    -> belongs to nobody; to hand it over: driverctl",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    let drivers =
        text.contains("0 network drivers loaded") && text.contains("-> install the drivers of the same");
    assert_eq!(drivers, dpdk_sys::LINK_MODE == "shared", "{text}");
    let without = machine.report(&["--no-huge"]).to_string();
    assert!(without.contains("not used (--no-huge)") && !without.contains("reserve some"), "{without}");
}

/// Whoever hands the card that he is logged in through to DPDK is gone.
#[test]
fn a_card_that_is_in_use_is_not_for_dpdk() {
    let machine = Machine::new("in-use", MEMINFO, MOUNTS);
    machine.pci("0000:05:00.0", "0x020000", "1af4:1041", Some("virtio-pci"), Some("virtio2/net/eth0"));
    machine.pci("0000:06:00.0", "0x020000", "8086:1521", Some("igb"), Some("net/eth1"));
    machine.pci("0000:07:00.0", "0x020000", "8086:1521", Some("igb"), Some("net/eth10"));
    machine.pci("0000:08:00.0", "0x020000", "1af4:1041", Some("virtio-pci"), None);
    machine.file("proc/net/route", "Iface\tDestination\neth0\t00000000\n");
    machine.file("proc/net/if_inet6", "fe80 03 40 20 80 eth1\nfd00 04 40 00 80 eth10\n");
    let report = machine.report(&[]);
    assert_eq!(report.pci.iter().map(|card| card.in_use).collect::<Vec<_>>(), [true, false, true, false]);
    let text = report.to_string();
    for (address, in_use) in
        [("0000:05:00.0", true), ("0000:06:00.0", false), ("0000:07:00.0", true), ("0000:08:00.0", true)]
    {
        assert_eq!(text.contains(&format!("driverctl set-override {address}")), !in_use, "{text}");
    }
    assert_eq!(text.matches("it is not for DPDK").count(), 2, "{text}");
    assert!(
        text.contains("virtio-pci\n    -> belongs to the kernel, and its interface is not in this"),
        "{text}"
    );
}

#[test]
fn a_machine_that_shows_nothing_is_reported_too() {
    let nowhere = Roots { proc: "/nonexistent/proc".into(), sys: "/nonexistent/sys".into() };
    let text = Report::gather(&nowhere, &[]).to_string();
    assert!(text.contains("PCI network devices: none"), "{text}");
}

/// A tree of files in a temporary directory, removed with this.
struct Machine {
    root: PathBuf,
}

impl Machine {
    fn new(name: &str, meminfo: &str, mounts: &str) -> Self {
        let root = std::env::temp_dir().join(format!("dpdk-machine-{name}-{}", std::process::id()));
        let machine = Self { root };
        machine.file("proc/meminfo", meminfo);
        machine.file("proc/mounts", mounts);
        machine
    }

    fn pci(&self, address: &str, class: &str, id: &str, driver: Option<&str>, interface: Option<&str>) {
        let device = format!("sys/bus/pci/devices/{address}");
        let (vendor, product) = id.split_once(':').expect("vendor:device");
        self.file(&format!("{device}/class"), &format!("{class}\n"));
        self.file(&format!("{device}/vendor"), &format!("0x{vendor}\n"));
        self.file(&format!("{device}/device"), &format!("0x{product}\n"));
        if let Some(driver) = driver {
            symlink(format!("../../drivers/{driver}"), self.root.join(&device).join("driver"))
                .expect("writable");
        }
        if let Some(interface) = interface {
            self.file(&format!("{device}/{interface}/address"), "02:00:00:00:00:01\n");
        }
    }

    fn file(&self, path: &str, content: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("writable");
        fs::write(path, content).expect("writable");
    }

    fn report(&self, args: &[&str]) -> Report {
        let roots = Roots { proc: self.root.join("proc"), sys: self.root.join("sys") };
        Report::gather(&roots, &args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}
