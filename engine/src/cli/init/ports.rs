//! What a wire's ports can be made of on this machine.

use std::path::Path;

use crate::cli::doctor::facts::{Card, Facts};
use crate::interfaces::{KernelPort, Sockets, XdpMode};

/// Drivers of the kernel that leave a card to DPDK, or share it.
const READY: [&str; 5] = ["vfio-pci", "mlx5_core", "mlx4_core", "mana", "igb_uio"];
/// Interfaces whose frames arrive nowhere, as the kernel names them.
const NOWHERE: [&str; 2] = ["dummy", "ifb"];
/// ARPHRD_ETHER, as `/sys/class/net/*/type` has it.
const ETHERNET: &str = "1";

/// The machine, as far as it decides on ports.
pub(super) struct Machine {
    facts: Facts,
}

/// Something that can be a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// As a configuration names it.
    pub(super) port: String,
    /// The interface below it; none: a card that DPDK has for itself.
    pub(super) interface: Option<String>,
    /// For a person who chooses.
    pub(super) about: String,
}

impl Machine {
    /// Reads it. `root` is `/`, or a folder that looks like it.
    pub(super) fn read(root: &Path) -> Self {
        Self { facts: Facts::read(root) }
    }

    /// The core of the first worker: one that is kept from others; else not the first, which has the most interrupts.
    pub(super) fn core(&self) -> usize {
        let cores = &self.facts.cores;
        let isolated = cores.iter().find(|core| core.isolated);
        isolated.or(cores.get(1)).or(cores.first()).map_or(0, |core| core.id)
    }

    /// What nothing else uses: cards that DPDK can have, then interfaces.
    pub(super) fn free(&self) -> Vec<Candidate> {
        let cards = self.facts.cards.iter().filter(|card| self.facts.own_use_of(card).is_none());
        let cards = cards.filter_map(|card| {
            let driver = card.driver.as_deref().filter(|driver| READY.contains(driver))?;
            Some(Candidate { port: card.address.clone(), interface: None, about: format!("card, {driver}") })
        });
        let taken: Vec<_> =
            cards.clone().flat_map(|card| self.facts.kernel.interfaces_of(&card.port)).collect();
        let names = self.facts.interfaces.iter().map(|interface| interface.name.as_str());
        let names = names.filter(|name| self.is_wired(name) && self.facts.kernel.own_use(name).is_none());
        let names = names.filter(|name| !taken.iter().any(|taken| taken == name));
        let names = names.filter(|name| !NOWHERE.iter().any(|nowhere| name.starts_with(nowhere)));
        cards.chain(names.map(|name| self.interface(name))).collect()
    }

    /// What is meant by a name: a PCI address, an interface, or an interface with its kind of sockets.
    ///
    /// # Errors
    /// Why it can be no port, and what to do.
    pub(super) fn named(&self, name: &str) -> Result<Candidate, String> {
        if let Some(card) = self.facts.card(name) {
            return self.card(card);
        }
        let named = KernelPort::parse(name);
        let interface = named.as_ref().map_or(name, |port| &port.interface);
        if !self.facts.interfaces.iter().any(|found| found.name == interface) {
            return Err(format!("there is no interface or network card {name:?} here{}", self.instead()));
        }
        if !self.is_wired(interface) {
            return Err(format!("{interface} is not a wired Ethernet interface{}", self.instead()));
        }
        if let Some(own) = self.facts.kernel.own_use(interface) {
            return Err(format!("{interface} is in use: {own}{}", self.instead()));
        }
        let candidate = self.interface(interface);
        Ok(match named {
            Some(port) => Candidate { port: port.to_string(), ..candidate },
            None => candidate,
        })
    }

    fn card(&self, card: &Card) -> Result<Candidate, String> {
        let Card { address, driver, .. } = card;
        if let Some((interface, own)) = self.facts.own_use_of(card) {
            return Err(format!("{address} is in use: it is {interface}, and {own}{}", self.instead()));
        }
        match driver.as_deref() {
            Some(driver) if READY.contains(&driver) => {
                Ok(Candidate { port: address.clone(), interface: None, about: driver.to_owned() })
            }
            driver => Err(format!(
                "{address} belongs to {}: bind it to vfio-pci first (docs/deploy.md, or `driverctl set-override {address} vfio-pci`)",
                driver.unwrap_or("no driver")
            )),
        }
    }

    /// No loopback, tunnel, wireless or bridge; no VLAN of another interface either.
    fn is_wired(&self, name: &str) -> bool {
        let kernel = &self.facts.kernel;
        kernel.kind(name).as_deref() == Some(ETHERNET)
            && !kernel.names(name).iter().any(|file| {
                ["phy80211", "wireless", "bridge"].contains(&file.as_str()) || file.starts_with("lower_")
            })
    }

    /// With sockets of XDP where its driver is known to be good at it and nothing is in the way; packet sockets work everywhere.
    fn interface(&self, name: &str) -> Candidate {
        let kernel = &self.facts.kernel;
        let driver = kernel.driver(name);
        let with = |sockets| KernelPort { sockets, interface: name.to_owned() };
        let xdp = with(Sockets::Xdp);
        let is_good =
            XdpMode::of_driver(driver.as_deref()) == XdpMode::ZeroCopy && kernel.obstacle(&xdp, 1).is_none();
        let port = if is_good { xdp } else { with(Sockets::Packet) };
        let link = match kernel.carrier(name) {
            Some(true) => "link up",
            Some(false) | None => "no link",
        };
        Candidate {
            port: port.to_string(),
            interface: Some(name.to_owned()),
            about: format!("interface, {}, {link}", driver.as_deref().unwrap_or("virtual")),
        }
    }

    /// What could be taken instead, for the end of a refusal.
    fn instead(&self) -> String {
        let free: Vec<_> = self.free().into_iter().map(|candidate| candidate.port).collect();
        if free.is_empty() {
            "; nothing here is free".into()
        } else {
            format!("; free are: {}", free.join(", "))
        }
    }
}
