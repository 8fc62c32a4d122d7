//! What the facts mean. Pure: facts in, findings out.

use serde::Serialize;
use wireglass_core::tls::Suite;

use super::facts::{Core, Facts, Interface, Iommu, Pages};
use super::plan::{CaFacts, Plan, PlannedPort, PlannedWire};
use crate::config::is_at_token;
use crate::driver::PortCapabilities;
use crate::interfaces::{KernelPort, Obstacle, PACKET_MTU, Sockets};
use crate::record_speeds::Choice;

/// How much of an obstacle something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Good,
    /// Worth knowing; no fault.
    Note,
    /// Costs speed, or safety.
    Poor,
    /// Keeps an engine from running, or from doing its work.
    Bad,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) topic: &'static str,
    pub(super) level: Level,
    /// What was found.
    pub(super) found: String,
    /// What that means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) means: Option<String>,
    /// The command that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

impl Finding {
    pub(super) fn good(topic: &'static str, found: impl Into<String>) -> Self {
        Self { topic, level: Level::Good, found: found.into(), means: None, fix: None }
    }

    pub(super) fn note(topic: &'static str, found: impl Into<String>, means: impl Into<String>) -> Self {
        Self { level: Level::Note, means: Some(means.into()), ..Self::good(topic, found) }
    }

    pub(super) fn poor(
        topic: &'static str,
        found: impl Into<String>,
        means: &str,
        fix: impl Into<String>,
    ) -> Self {
        let (means, fix) = (Some(means.to_owned()), Some(fix.into()));
        Self { level: Level::Poor, means, fix, ..Self::good(topic, found) }
    }

    pub(super) fn bad(
        topic: &'static str,
        found: impl Into<String>,
        means: &str,
        fix: impl Into<String>,
    ) -> Self {
        Self { level: Level::Bad, ..Self::poor(topic, found, means, fix) }
    }
}

/// What is asked: the machine, and what an engine would do with it.
pub(super) struct Question<'q> {
    pub(super) facts: &'q Facts,
    /// None without a configuration.
    pub(super) plan: Option<&'q Plan>,
    /// None: the ports were not opened.
    pub(super) ports: Option<&'q [PortCapabilities]>,
    /// Which library protects records, with the speeds of all.
    pub(super) records: Choice<'q>,
    /// Seconds since 1970.
    pub(super) now: i64,
}

impl Question<'_> {
    /// All findings, in the order in which one would mend things.
    pub(super) fn judge(&self) -> Vec<Finding> {
        let mut all = vec![self.iommu(), self.hugepages()];
        all.extend(self.cards());
        all.extend([self.numa(), self.cores(), self.isolated(), self.governor(), self.aes()]);
        all.extend(Suite::ALL.map(|suite| self.records(suite)));
        all.extend(self.sockets());
        all.extend(self.wires());
        all.extend(self.offloads());
        all.extend(self.plan.into_iter().flat_map(|plan| &plan.cas).map(|ca| self.ca(ca)));
        all.extend(self.roots());
        all.extend(self.fetch());
        all.extend(self.capture());
        all.push(self.clock());
        all
    }

    /// Whether the configuration has hardware. Without one: as if.
    fn wants_pci(&self) -> bool {
        self.plan.is_none_or(|plan| plan.ports().any(PlannedPort::is_pci))
    }

    fn iommu(&self) -> Finding {
        let Iommu { groups, firmware, asked, amd, unsafe_mode } = self.facts.iommu;
        let (name, option) = if amd { ("AMD-Vi", "amd_iommu=on") } else { ("Intel VT-d", "intel_iommu=on") };
        if groups > 0 {
            return Finding::good("iommu", format!("on, {groups} groups"));
        }
        if !self.wants_pci() {
            return Finding::note("iommu", "none", "virtual ports need none");
        }
        if unsafe_mode {
            let means = "a card, and whoever drives it, can write to all memory of this machine";
            return Finding::poor(
                "iommu",
                "none, and VFIO was told to do without",
                means,
                fix_iommu(name, option),
            );
        }
        let means = "without it the kernel does not hand cards to DPDK";
        let fix = match (firmware, asked) {
            (false, _) => format!("turn on {name} in the firmware's setup, then {}", fix_iommu(name, option)),
            (true, false) => fix_iommu(name, option),
            (true, true) => "dmesg | grep -i -e dmar -e amd-vi -e iommu".into(),
        };
        Finding::bad("iommu", "none", means, fix)
    }

    fn hugepages(&self) -> Finding {
        let pages: Vec<_> = self.facts.pages.iter().filter(|pages| pages.total > 0).collect();
        let words = |pages: &[&Pages]| {
            let word =
                |p: &&Pages| format!("{} of {} kB on node {} ({} free)", p.total, p.size_kb, p.node, p.free);
            pages.iter().map(word).collect::<Vec<_>>().join(", ")
        };
        if self.plan.is_some_and(|plan| plan.no_huge) && !self.wants_pci() {
            return Finding::good("hugepages", "not used, and the kernel's interfaces need none");
        }
        if self.plan.is_some_and(|plan| plan.no_huge) {
            let means = "dpdk.eal has --no-huge: packets lie in pages of 4 KB, and hardware ports cannot reach them without an IOMMU";
            let fix = "scripts/nic.sh bind --hugepages 1G=2, and take --no-huge out of dpdk.eal";
            return Finding::poor("hugepages", "not used", means, fix);
        }
        if !self.wants_pci() && pages.is_empty() {
            return Finding::bad(
                "hugepages",
                "none",
                "DPDK does not start without hugepages, unless dpdk.eal has --no-huge",
                "dpdk.eal = [\"--no-huge\", \"-m\", \"1024\", \"--no-pci\"], or name both ports as `xdp:INTERFACE` or `af_packet:INTERFACE`",
            );
        }
        let fix = "scripts/nic.sh bind --hugepages 1G=2 (or 2M=1024); --persistent for each boot";
        if pages.is_empty() {
            return Finding::bad(
                "hugepages",
                "none",
                "DPDK keeps packets in hugepages, and does not start without them",
                fix,
            );
        }
        if let Some(p) = pages.iter().find(|p| !self.facts.mounts.contains(&p.size_kb)) {
            let found = format!("hugetlbfs is not mounted for pages of {} kB", p.size_kb);
            let size = if p.size_kb == 2048 { "2M" } else { "1G" };
            return Finding::bad(
                "hugepages",
                found,
                "DPDK finds hugepages through this mount",
                format!("scripts/nic.sh bind --hugepages {size}=1"),
            );
        }
        let wanted = self.nodes_of_ports();
        if let Some(node) = wanted.iter().find(|node| !pages.iter().any(|p| p.node == **node)) {
            let found = format!("{}, but none on node {node}, where a port is", words(&pages));
            let fix = format!("scripts/nic.sh bind --hugepages 1G=2@{node}");
            return Finding::poor("hugepages", found, "packets cross between the nodes' memory", fix);
        }
        if pages.iter().all(|p| p.free == 0) {
            return Finding::note(
                "hugepages",
                words(&pages),
                "none is free: an engine, or another program, uses them",
            );
        }
        Finding::good("hugepages", words(&pages))
    }

    /// Which driver has the cards that the configuration names; those that are there, without one.
    fn cards(&self) -> Vec<Finding> {
        const READY: [&str; 4] = ["vfio-pci", "mlx5_core", "mlx4_core", "mana"];
        let Some(plan) = self.plan else {
            let ready = self
                .facts
                .cards
                .iter()
                .filter(|card| card.driver.as_deref().is_some_and(|d| READY.contains(&d)));
            let (ready, all) = (ready.count(), self.facts.cards.len());
            return vec![Finding::note(
                "cards",
                format!("{all} on PCI, {ready} of them ready for DPDK"),
                "a wire needs two; scripts/nic.sh status tells more of each, and -c FILE judges those of a configuration",
            )];
        };
        let judge = |port: &PlannedPort| {
            let name = &port.name;
            if let Some(Obstacle { found, fix }) = self.facts.kernel.bare_interface(name) {
                return Finding::bad("cards", found, "the engine will not start", fix);
            }
            let Some(card) = self.facts.card(name) else {
                let fix = "scripts/nic.sh status lists what is there";
                return Finding::bad(
                    "cards",
                    format!("{name}: no such network card"),
                    "the engine will not start",
                    fix,
                );
            };
            match card.driver.as_deref() {
                Some(driver) if READY.contains(&driver) => {
                    Finding::good("cards", format!("{name}: {driver}"))
                }
                driver => {
                    let found = format!("{name}: {}", driver.unwrap_or("no driver"));
                    if let Some((interface, own)) = self.facts.own_use_of(card) {
                        let fix =
                            "name another card: bound to vfio-pci, this one would be gone from the kernel";
                        return Finding::bad("cards", found, &format!("it is {interface}, and {own}"), fix);
                    }
                    let vfio = if self.facts.vfio { "" } else { "; vfio-pci is not loaded either" };
                    let means = format!("DPDK cannot reach it{vfio}");
                    Finding::bad("cards", found, &means, format!("scripts/nic.sh bind {name}"))
                }
            }
        };
        plan.ports().filter(|port| port.is_pci()).map(judge).collect()
    }

    fn nodes_of_ports(&self) -> Vec<usize> {
        let ports = self.plan.into_iter().flat_map(Plan::ports);
        let mut nodes: Vec<_> = ports.filter_map(|port| self.facts.card(&port.name)?.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    fn numa(&self) -> Finding {
        let mut nodes: Vec<_> = self.facts.cores.iter().map(|core| core.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        if nodes.len() < 2 {
            return Finding::good("numa", "one node: everything is near");
        }
        let Some(plan) = self.plan else {
            let found = format!("{} nodes", nodes.len());
            return Finding::note("numa", found, "ports and workers belong on the same one; -c FILE looks");
        };
        let ports = self.nodes_of_ports();
        if ports.is_empty() {
            return Finding::note("numa", format!("{} nodes", nodes.len()), "no port says where it is");
        }
        let near = |core: &&Core| ports.contains(&core.node);
        let far = plan.cores.iter().filter_map(|id| self.facts.core(*id)).filter(|core| !near(core));
        let far: Vec<_> = far.map(|core| core.id.to_string()).collect();
        if !far.is_empty() {
            let good =
                self.facts.cores.iter().filter(near).map(|core| core.id.to_string()).collect::<Vec<_>>();
            return Finding::poor(
                "numa",
                format!("core {} is on another node than the ports ({})", far.join(", "), join(&ports)),
                "each packet crosses between the processors",
                format!("workers.cores = [...] out of {}", good.join(", ")),
            );
        }
        if ports.len() > 1 {
            let means = "packets between them cross from one processor to the other";
            return Finding::poor(
                "numa",
                format!("ports on nodes {}", join(&ports)),
                means,
                "put both cards of a wire into slots of one processor",
            );
        }
        Finding::good("numa", format!("ports and workers on node {}", join(&ports)))
    }

    /// Whether the workers' cores are there and are whole.
    fn cores(&self) -> Finding {
        let there = self.facts.cores.len();
        let Some(plan) = self.plan else { return Finding::good("cores", format!("{there} on line")) };
        if let Some(id) = plan.cores.iter().find(|id| self.facts.core(**id).is_none()) {
            let fix = "workers.cores = [...]: numbers that `lscpu -e` shows";
            return Finding::bad(
                "cores",
                format!("core {id} is not on line"),
                "its worker cannot be pinned",
                fix,
            );
        }
        for (i, id) in plan.cores.iter().enumerate() {
            let siblings = self.facts.core(*id).map(|core| core.siblings.as_slice()).unwrap_or_default();
            if let Some(other) = plan.cores[i + 1..].iter().find(|other| siblings.contains(other)) {
                let means = "two hyper-threads share one core's execution units: both workers together are little faster than one";
                let fix = "workers.cores = [...]: one of each pair in `lscpu -e`";
                return Finding::poor(
                    "cores",
                    format!("workers {id} and {other} are on one core"),
                    means,
                    fix,
                );
            }
        }
        let is_other = |core: &Core| !core.isolated && !plan.cores.contains(&core.id);
        if !self.facts.cores.iter().any(is_other) {
            return Finding::poor(
                "cores",
                format!("{} worker(s), and no core beside them", plan.cores.len()),
                "log, handshakes and all other threads run on the workers' cores, and packets wait meanwhile",
                "leave a core that is not isolated out of workers.cores",
            );
        }
        if !plan.spin {
            let means = "idle = \"adaptive\" sleeps between packets: kind to a laptop, slow to wake";
            return Finding::poor(
                "cores",
                format!("{} worker(s)", plan.cores.len()),
                means,
                "workers.idle = \"spin\"",
            );
        }
        Finding::good("cores", format!("{} worker(s) of {there} cores, spinning", plan.cores.len()))
    }

    fn isolated(&self) -> Finding {
        let isolated: Vec<_> =
            self.facts.cores.iter().filter(|core| core.isolated).map(|core| core.id).collect();
        let Some(plan) = self.plan else {
            return match isolated.len() {
                0 => Finding::note(
                    "isolated",
                    "no core",
                    "the kernel runs other programs on the workers' cores",
                ),
                _ => Finding::good("isolated", format!("core {}", join(&isolated))),
            };
        };
        let shared: Vec<_> = plan.cores.iter().copied().filter(|id| !isolated.contains(id)).collect();
        if shared.is_empty() {
            return Finding::good("isolated", format!("core {}: all workers", join(&plan.cores)));
        }
        let cores = join(&plan.cores).replace(", ", ",");
        let means = "the kernel runs other programs and interrupts there, and packets wait meanwhile";
        let fix = format!(
            "kernel command line: isolcpus=managed_irq,domain,{cores} nohz_full={cores} rcu_nocbs={cores}"
        );
        Finding::poor("isolated", format!("not core {}", join(&shared)), means, fix)
    }

    fn governor(&self) -> Finding {
        let of_workers = |core: &&Core| self.plan.is_none_or(|plan| plan.cores.contains(&core.id));
        let cores = self.facts.cores.iter().filter(of_workers);
        let slow = |core: &&Core| core.governor.as_deref().is_some_and(|governor| governor != "performance");
        if let Some(core) = cores.clone().find(slow) {
            let found = format!("{} on core {}", core.governor.as_deref().unwrap_or_default(), core.id);
            let means = "the core speeds up only after load has arrived";
            return Finding::poor("governor", found, means, "cpupower frequency-set -g performance");
        }
        if cores.clone().any(|core| core.governor.is_some()) {
            return Finding::good("governor", "performance");
        }
        Finding::note(
            "governor",
            "not controlled by the kernel",
            "the firmware or the host sets the frequency",
        )
    }

    fn aes(&self) -> Finding {
        let has = |flag: &str| self.facts.flags.contains(flag);
        let carry_less = has("pclmulqdq") || has("pmull");
        if !has("aes") || !carry_less {
            let means = "AES-GCM runs without the CPU's instructions for it: many times slower, and open to timing attacks";
            return Finding::bad(
                "aes",
                "not in the CPU's flags",
                means,
                "in a virtual machine: pass the host's CPU on (-cpu host); else: another machine",
            );
        }
        match (has("vaes"), has("vpclmulqdq"), has("avx512f")) {
            (true, true, true) => Finding::good("aes", "AES-NI, VAES with AVX-512"),
            (true, true, false) => Finding::good("aes", "AES-NI, VAES with AVX2"),
            _ => Finding::note(
                "aes",
                "AES instructions, no VAES",
                "newer CPUs encrypt several blocks with one instruction",
            ),
        }
    }

    /// Which library protects the records of a suite, and how fast each one is.
    fn records(&self, suite: Suite) -> Finding {
        let found = self.records.of(suite);
        match self.records.faster(suite) {
            Some(faster) => Finding::poor(
                "records",
                found,
                &format!(
                    "the configuration names one library for all suites; {} is faster here",
                    faster.name()
                ),
                "crypto.records = \"auto\"",
            ),
            None => Finding::good("records", found),
        }
    }

    /// MTUs and links of each wire's two ports: by the kernel's interfaces below them, else by the ports if they were opened.
    fn wires(&self) -> Vec<Finding> {
        let Some(plan) = self.plan else { return Vec::new() };
        let of = |wire| [Some(self.mtu(wire)), Some(self.link(wire)), self.link_state(wire)];
        plan.wires.iter().flat_map(of).flatten().collect()
    }

    fn mtu(&self, wire: &PlannedWire) -> Finding {
        // DPDK's af_packet driver says 1500, and "up", whatever its interface has: the interface knows.
        let mtu = |port: &PlannedPort| match self.interface(port) {
            Some(interface) => interface.mtu,
            None => self.opened(port).map(|port| port.mtu),
        };
        let is_packet =
            |port: &PlannedPort| port.kernel.as_ref().is_some_and(|port| port.sockets == Sockets::Packet);
        let too_long = |port: &PlannedPort| mtu(port).filter(|mtu| is_packet(port) && *mtu > PACKET_MTU);
        if let Some((port, mtu)) = wire.ports.iter().find_map(|port| Some((port, too_long(port)?))) {
            return Finding::poor(
                "mtu",
                format!("{}: {mtu} on {}", wire.name, port.name),
                &format!("packet sockets take {PACKET_MTU}; longer packets are lost"),
                format!("ip link set DEV mtu {PACKET_MTU}, at the hosts, too; or ports as xdp:DEV"),
            );
        }
        let [inside, outside] = &wire.ports;
        match (mtu(inside), mtu(outside)) {
            (Some(a), Some(b)) if a == b => Finding::good("mtu", format!("{}: {a} on both ports", wire.name)),
            (Some(a), Some(b)) => Finding::poor(
                "mtu",
                format!("{}: {a} on {}, {b} on {}", wire.name, inside.name, outside.name),
                &format!(
                    "the wire uses {}; longer packets from the other side are lost where they are not decrypted",
                    a.min(b)
                ),
                "set the same MTU on both ports: `mtu` of the [[wire]], or ip link set DEV mtu N",
            ),
            _ => Finding::note("mtu", format!("{}: unknown", wire.name), NOT_OPENED),
        }
    }

    fn link(&self, wire: &PlannedWire) -> Finding {
        let link = |port: &PlannedPort| match self.interface(port) {
            Some(interface) => Some(interface.carrier == Some(true)),
            None => self.opened(port).map(|port| port.link),
        };
        let states = wire.ports.each_ref().map(|port| (port, link(port)));
        if let Some((port, _)) = states.iter().find(|(_, up)| *up == Some(false)) {
            let fix = match &port.kernel {
                Some(KernelPort { interface, .. }) => {
                    format!("ip link set {interface} up; then the cable, and the other end of it")
                }
                None => "the cable, the transceiver, and the other end".into(),
            };
            return Finding::bad(
                "link",
                format!("{}: {} is down", wire.name, port.name),
                "nothing passes",
                fix,
            );
        }
        if states.iter().any(|(_, up)| up.is_none()) {
            return Finding::note("link", format!("{}: unknown", wire.name), NOT_OPENED);
        }
        let speed = |port: &PlannedPort| self.opened(port).and_then(|port| port.speed_mbps);
        match wire.ports.each_ref().map(speed) {
            [Some(a), Some(b)] if a != b => {
                let means = "the slower port drops part of what the faster one sends";
                Finding::poor(
                    "link",
                    format!("{}: up, {a} and {b} Mbit/s", wire.name),
                    means,
                    "set both ends of the wire to the same speed",
                )
            }
            [Some(speed), _] => Finding::good("link", format!("{}: up, {speed} Mbit/s", wire.name)),
            _ => Finding::good("link", format!("{}: up", wire.name)),
        }
    }

    pub(super) fn opened(&self, port: &PlannedPort) -> Option<&PortCapabilities> {
        let name = port.name.to_ascii_lowercase();
        self.ports?.iter().find(|opened| opened.name == name || opened.name == format!("0000:{name}"))
    }

    fn interface(&self, port: &PlannedPort) -> Option<&Interface> {
        let port = port.kernel.as_ref()?;
        self.facts.interfaces.iter().find(|interface| interface.name == port.interface)
    }

    /// What the ports' drivers offer.
    fn offloads(&self) -> Vec<Finding> {
        let Some(plan) = self.plan else { return Vec::new() };
        let workers = plan.cores.len();
        let Some(ports) = self.ports else {
            return vec![Finding::note("offloads", "not looked at", NOT_OPENED)];
        };
        let of_port = |port: &PortCapabilities| {
            let PortCapabilities { name, driver, .. } = port;
            let offers = format!("{name} ({driver}): rx {}; tx {}", port.rx_offloads, port.tx_offloads);
            let offloads = if port.lacks.is_empty() {
                Finding::good("offloads", offers)
            } else {
                Finding::note(
                    "offloads",
                    offers,
                    format!("the workers manage without: {}", port.lacks.join(", ")),
                )
            };
            let queues = format!("{name}: {} rx and {} tx queues", port.rx_queues, port.tx_queues);
            let queues = if port.tx_queues < workers {
                let fix = format!(
                    "name {} core(s) in workers.cores, or give the device more queues",
                    port.tx_queues
                );
                Finding::bad("rss", queues, "each worker needs a transmit queue of its own", fix)
            } else if workers > 1 && (!port.rss || port.rx_queues < workers) {
                let means = "not every worker has packets of its own: they are handed from one to another, which costs time";
                Finding::poor(
                    "rss",
                    queues,
                    means,
                    "a card, or a virtual one, with RSS and a queue for each worker",
                )
            } else {
                let rss = if port.rss { ", RSS" } else { "" };
                Finding::good("rss", format!("{queues}{rss}, for {workers} worker(s)"))
            };
            [offloads, queues]
        };
        ports.iter().flat_map(of_port).collect()
    }

    fn ca(&self, ca: &CaFacts) -> Finding {
        let CaFacts { which, cert, key, .. } = ca;
        let mode = ca.key_mode.unwrap_or(0);
        if mode & 0o077 != 0 {
            let means = "anyone who reads it can pose as any server to your clients";
            return Finding::bad(
                "ca",
                format!("{which}: {key} has mode {mode:04o}"),
                means,
                format!("chmod 600 {key}"),
            );
        }
        if let Some(place) = &ca.open_to_others {
            let means = "somebody else can replace the CA";
            return Finding::poor(
                "ca",
                format!("{which}: {place} can be changed by others"),
                means,
                format!("chown root {place}; chmod go-w {place}"),
            );
        }
        let Some((from, until)) = ca.validity else {
            return Finding::bad(
                "ca",
                format!("{which}: {cert} is no certificate"),
                "the engine will not start",
                "wireglass ca init --dir DIR",
            );
        };
        let days = (until - self.now) / DAY;
        if self.now < from || self.now > until {
            let found = format!("{which}: {cert} is not valid now");
            return Finding::bad(
                "ca",
                found,
                "clients refuse all copies, or the clock is wrong",
                "date; wireglass ca init --dir DIR",
            );
        }
        if days < SOON {
            let found = format!("{which}: {cert} ends in {days} days");
            return Finding::poor(
                "ca",
                found,
                "then clients refuse all copies",
                "wireglass ca init --dir DIR, and hand the new one to the clients",
            );
        }
        let kept = if is_at_token(key) { "key at a token" } else { "key for its owner alone" };
        Finding::good("ca", format!("{which}: {cert}, {days} days left, {kept}"))
    }

    fn roots(&self) -> Option<Finding> {
        Some(match self.plan?.roots.as_ref()? {
            Ok((0, _)) => Finding::bad(
                "roots",
                "none",
                "no server is trusted",
                "apt-get install ca-certificates, or trust.roots = [FILE]",
            ),
            Ok((n, system)) => {
                let from = if *system { "the system's among them" } else { "from files only" };
                Finding::good("roots", format!("{n}, {from}"))
            }
            Err(error) => {
                Finding::bad("roots", error.clone(), "the engine will not start", "wireglass check -c FILE")
            }
        })
    }

    /// None: nothing is fetched.
    fn fetch(&self) -> Option<Finding> {
        let kinds = self.plan.filter(|plan| !plan.fetched.is_empty())?.fetched.join(", ");
        Some(match self.facts.name_servers {
            0 => Finding::poor(
                "fetch",
                format!("{kinds}; but no name server"),
                "certificates name the servers for that: without name resolution nothing can be fetched",
                "a line `nameserver ADDRESS` in /etc/resolv.conf",
            ),
            n => Finding::good("fetch", format!("{kinds}; {n} name server(s)")),
        })
    }

    fn clock(&self) -> Finding {
        /// Clocks that are read without leaving the program.
        const FAST: [&str; 4] = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];
        let source = &self.facts.clock.source;
        if !source.is_empty() && !FAST.contains(&source.as_str()) {
            let means =
                "each look at the clock is a system call, about a thousand times slower than reading the TSC";
            return Finding::poor(
                "clock",
                format!("source {source}"),
                means,
                "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource; dmesg | grep -i tsc tells why not",
            );
        }
        match &self.facts.clock.keeper {
            Some(keeper) => Finding::good("clock", format!("{source}, kept by {keeper}")),
            None => Finding::poor(
                "clock",
                format!("{source}, not synchronised"),
                "a wrong time makes good certificates bad, and bad ones good",
                "apt-get install chrony",
            ),
        }
    }
}

/// What `--ports` would tell.
const NOT_OPENED: &str = "ports were not opened; use `--ports` while no engine runs";
pub(in crate::cli) const DAY: i64 = 24 * 3600;
/// Days before its end from which on a CA is to be replaced.
pub(in crate::cli) const SOON: i64 = 60;

fn fix_iommu(name: &str, option: &str) -> String {
    format!(
        "\"{option} iommu=pt\" on the kernel's command line ({name}: GRUB_CMDLINE_LINUX, update-grub), and boot"
    )
}

fn join(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}
