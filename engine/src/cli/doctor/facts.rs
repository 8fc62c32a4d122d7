//! What the machine says about itself: read once, below a root folder, judged elsewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::interfaces::Kernel;
use crate::numa;

/// All that `findings` judges. What cannot be read is empty, zero or none, as the machine would have it.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Facts {
    pub(in crate::cli) iommu: Iommu,
    /// The kernel has vfio-pci loaded.
    pub(in crate::cli) vfio: bool,
    pub(in crate::cli) pages: Vec<Pages>,
    /// Sizes of the pages that hugetlbfs is mounted for, in KB.
    pub(in crate::cli) mounts: BTreeSet<u64>,
    /// Cores that are on line, in order.
    pub(in crate::cli) cores: Vec<Core>,
    /// The CPU's flags, as `/proc/cpuinfo` has them.
    pub(in crate::cli) flags: BTreeSet<String>,
    /// Network devices on PCI.
    pub(in crate::cli) cards: Vec<Card>,
    /// The kernel's interfaces.
    pub(in crate::cli) interfaces: Vec<Interface>,
    pub(in crate::cli) clock: Clock,
    /// What ports that are interfaces depend on.
    pub(in crate::cli) kernel: Kernel,
    /// Name servers that `/etc/resolv.conf` has.
    pub(in crate::cli) name_servers: usize,
}

#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Iommu {
    pub(in crate::cli) groups: usize,
    /// The firmware describes one.
    pub(in crate::cli) firmware: bool,
    /// The kernel's command line turns it on.
    pub(in crate::cli) asked: bool,
    pub(in crate::cli) amd: bool,
    /// VFIO was told to do without.
    pub(in crate::cli) unsafe_mode: bool,
}

/// Hugepages of one size on one NUMA node.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Pages {
    pub(in crate::cli) node: usize,
    pub(in crate::cli) size_kb: u64,
    pub(in crate::cli) total: u64,
    pub(in crate::cli) free: u64,
}

#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Core {
    pub(in crate::cli) id: usize,
    pub(in crate::cli) node: usize,
    /// The kernel schedules nothing on it by itself.
    pub(in crate::cli) isolated: bool,
    /// None: frequencies are not controlled by the kernel here.
    pub(in crate::cli) governor: Option<String>,
    /// Cores that share its execution units, itself included.
    pub(in crate::cli) siblings: Vec<usize>,
}

#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Card {
    pub(in crate::cli) address: String,
    pub(in crate::cli) driver: Option<String>,
    /// None: the machine does not say.
    pub(in crate::cli) node: Option<usize>,
}

#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Interface {
    pub(in crate::cli) name: String,
    pub(in crate::cli) mtu: Option<u16>,
    /// There is a link; none: the interface is down, and nobody can know.
    pub(in crate::cli) carrier: Option<bool>,
}

#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Clock {
    /// What the kernel reads the time from.
    pub(in crate::cli) source: String,
    /// Who keeps it right.
    pub(in crate::cli) keeper: Option<String>,
}

/// Programs that keep the clock.
const KEEPERS: [&str; 5] = ["chronyd", "ntpd", "ntpd-rs", "openntpd", "systemd-timesyn"];

impl Facts {
    /// Reads them. `root` is `/`, or a folder that looks like it.
    pub(in crate::cli) fn read(root: &Path) -> Self {
        let machine = Machine { root };
        let cpuinfo = machine.text("proc/cpuinfo");
        Self {
            iommu: machine.iommu(&cpuinfo),
            vfio: machine.path("sys/bus/pci/drivers/vfio-pci").exists(),
            pages: machine.pages(),
            mounts: machine.mounts(),
            cores: machine.cores(),
            flags: flags(&cpuinfo),
            cards: machine.cards(),
            interfaces: machine.interfaces(),
            clock: machine.clock(),
            kernel: Kernel::read(root),
            name_servers: machine
                .text("etc/resolv.conf")
                .lines()
                .filter(|line| line.starts_with("nameserver"))
                .count(),
        }
    }

    /// The core of this number.
    pub(in crate::cli) fn core(&self, id: usize) -> Option<&Core> {
        self.cores.iter().find(|core| core.id == id)
    }

    /// What the machine itself uses a card for, and by which interface.
    pub(in crate::cli) fn own_use_of(&self, card: &Card) -> Option<(String, &'static str)> {
        let interfaces = self.kernel.interfaces_of(&card.address).into_iter();
        interfaces.filter_map(|name| self.kernel.own_use(&name).map(|own| (name, own))).next()
    }

    /// The card at this PCI address, with or without its domain.
    pub(in crate::cli) fn card(&self, address: &str) -> Option<&Card> {
        let address = address.to_ascii_lowercase();
        self.cards.iter().find(|card| card.address == address || card.address == format!("0000:{address}"))
    }
}

struct Machine<'r> {
    root: &'r Path,
}

impl Machine<'_> {
    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// Contents without the blanks around them; empty if there are none.
    fn text(&self, path: impl AsRef<Path>) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default().trim().to_owned()
    }

    /// Names in a folder, sorted.
    fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Names in a folder that are a word and a number, with the number.
    fn numbered(&self, path: &str, word: &str) -> Vec<(String, usize)> {
        let number = |name: &String| name.strip_prefix(word)?.parse().ok();
        let found = self.names(path).into_iter().filter_map(|name| number(&name).map(|n| (name, n)));
        let mut found: Vec<_> = found.map(|(name, n)| (format!("{path}/{name}"), n)).collect();
        found.sort_by_key(|(_, n)| *n);
        found
    }

    fn iommu(&self, cpuinfo: &str) -> Iommu {
        let tables = self.names("sys/firmware/acpi/tables");
        let amd = cpuinfo.contains("AuthenticAMD");
        let option = if amd { "amd_iommu=on" } else { "intel_iommu=on" };
        Iommu {
            groups: self.names("sys/kernel/iommu_groups").len(),
            firmware: tables.iter().any(|table| table == "DMAR" || table == "IVRS"),
            asked: self.text("proc/cmdline").split_whitespace().any(|word| word == option),
            amd,
            unsafe_mode: self.text("sys/module/vfio/parameters/enable_unsafe_noiommu_mode") == "Y",
        }
    }

    fn pages(&self) -> Vec<Pages> {
        let mut all = Vec::new();
        for (folder, node) in self.numbered("sys/devices/system/node", "node") {
            for size in self.names(format!("{folder}/hugepages")) {
                let kb =
                    size.strip_prefix("hugepages-").and_then(|rest| rest.strip_suffix("kB")?.parse().ok());
                let number =
                    |file| self.text(format!("{folder}/hugepages/{size}/{file}")).parse().unwrap_or(0);
                if let Some(size_kb) = kb {
                    all.push(Pages {
                        node,
                        size_kb,
                        total: number("nr_hugepages"),
                        free: number("free_hugepages"),
                    });
                }
            }
        }
        all
    }

    fn mounts(&self) -> BTreeSet<u64> {
        let mounts = self.text("proc/mounts");
        let of_line = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            let [_, _, "hugetlbfs", options, ..] = words[..] else { return None };
            let large =
                options.split(',').any(|option| option == "pagesize=1G" || option == "pagesize=1024M");
            Some(if large { 1_048_576 } else { 2048 })
        };
        mounts.lines().filter_map(of_line).collect()
    }

    fn cores(&self) -> Vec<Core> {
        let isolated = list(&self.text("sys/devices/system/cpu/isolated"));
        let online = list(&self.text("sys/devices/system/cpu/online"));
        let core = |(folder, id): (String, usize)| {
            let governor = self.text(format!("{folder}/cpufreq/scaling_governor"));
            Core {
                id,
                node: numa::node_named(&self.names(&folder)).unwrap_or(0).into(),
                isolated: isolated.contains(&id),
                governor: (!governor.is_empty()).then_some(governor),
                siblings: list(&self.text(format!("{folder}/topology/thread_siblings_list"))),
            }
        };
        let cores = self.numbered("sys/devices/system/cpu", "cpu").into_iter();
        cores.filter(|(_, id)| online.contains(id)).map(core).collect()
    }

    fn cards(&self) -> Vec<Card> {
        const NETWORK_CLASS: &str = "0x02";
        let root = "sys/bus/pci/devices";
        let card = |address: String| {
            let at = format!("{root}/{address}");
            self.text(format!("{at}/class")).starts_with(NETWORK_CLASS).then(|| {
                let driver = fs::read_link(self.path(format!("{at}/driver"))).ok();
                Card {
                    driver: driver.and_then(|link| Some(link.file_name()?.to_str()?.to_owned())),
                    node: self.text(format!("{at}/numa_node")).parse().ok(),
                    address,
                }
            })
        };
        self.names(root).into_iter().filter_map(card).collect()
    }

    fn interfaces(&self) -> Vec<Interface> {
        let interface = |name: String| Interface {
            mtu: self.text(format!("sys/class/net/{name}/mtu")).parse().ok(),
            // Reading it fails while the interface is down.
            carrier: match self.text(format!("sys/class/net/{name}/carrier")).as_str() {
                "1" => Some(true),
                "0" => Some(false),
                _ => None,
            },
            name,
        };
        self.names("sys/class/net").into_iter().map(interface).collect()
    }

    fn clock(&self) -> Clock {
        let programs = self.names("proc").into_iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
        let mut programs = programs.map(|id| self.text(format!("proc/{id}/comm")));
        Clock {
            source: self.text("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            keeper: programs.find(|name| KEEPERS.contains(&name.as_str())),
        }
    }
}

/// The flags of the first core; all have the same.
fn flags(cpuinfo: &str) -> BTreeSet<String> {
    let line = cpuinfo.lines().find_map(|line| {
        let (key, words) = line.split_once(':')?;
        ["flags", "Features"].contains(&key.trim()).then_some(words)
    });
    line.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// Cores that are on line; none: the machine does not say. `root` is `/`, or a folder that looks like it.
pub(in crate::cli) fn online_cores(root: &Path) -> Vec<usize> {
    list(&Machine { root }.text("sys/devices/system/cpu/online"))
}

/// Numbers of a kernel's list: `0-2,7`.
fn list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn lists_of_the_kernel() {
        assert_eq!(list("0-2,7"), [0, 1, 2, 7]);
        assert_eq!(list("5"), [5]);
        assert_eq!(list(""), [0; 0]);
    }
}
