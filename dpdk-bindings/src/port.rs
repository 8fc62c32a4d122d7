//! Ports: found by name, started once, stopped and closed when the last handle is gone.

use std::fmt;
use std::iter;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use dpdk_sys as ffi;

use crate::eal::{Eal, Runtime};
use crate::errno::{Errno, Error, c_string, check, fixed_text, text};
use crate::mempool::Mempool;
use crate::offloads::{RxOffloads, TxOffloads};
use crate::queue::{RxQueue, TxQueue};
use crate::removal;
use crate::rss::Rss;
use crate::start;
use crate::stats::{self, Stats};

/// A port, claimed for this handle and the queues it starts. For control; packets go through the queues.
///
/// A port that was started is stopped and closed when its `Port` and all of its queues are gone, in whatever order.
/// DPDK forgets a closed port; a virtual one can be attached again.
#[derive(Debug)]
pub struct Port {
    device: Arc<Device>,
}

impl Port {
    /// Claims a port by its device's name (`"net_af_packet0"`) or PCI address (`"0000:03:00.0"`, `"03:00.0"`).
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchPort`] with a report of what is there; [`Error::PortInUse`].
    pub fn by_name(eal: &Eal, name: &str) -> Result<Self, Error> {
        let control = eal.runtime().control();
        let id = match id_of(name)? {
            Some(id) => Some(id),
            // EAL's names of PCI devices always have the domain.
            None => id_of(&format!("0000:{name}"))?,
        };
        drop(control);
        match id {
            Some(id) => Self::by_id(eal, id),
            None => Err(Error::NoSuchPort { name: name.into(), report: eal.diagnose().to_string() }),
        }
    }

    /// Claims a port by its id, as in [`PortInfo::id`].
    ///
    /// # Errors
    ///
    /// As [`by_name`](Self::by_name).
    pub fn by_id(eal: &Eal, id: u16) -> Result<Self, Error> {
        let _control = eal.runtime().control();
        // SAFETY: takes any id.
        if unsafe { ffi::rte_eth_dev_is_valid_port(id) } != 1 {
            return Err(Error::NoSuchPort { name: id.to_string(), report: eal.diagnose().to_string() });
        }
        let PortInfo { name, device: on_bus, .. } = PortInfo::read(id)?;
        if !eal.runtime().claimed().insert(id) {
            return Err(Error::PortInUse { name });
        }
        removal::forget_reset(id);
        let device = Device {
            id,
            name,
            on_bus,
            configured: AtomicBool::new(false),
            started: AtomicBool::new(false),
            unreturned: AtomicU16::new(0),
            runtime: Arc::clone(eal.runtime()),
        };
        Ok(Self { device: Arc::new(device) })
    }

    /// The id that DPDK gave it, as in [`Mbuf::port`](crate::Mbuf::port).
    pub fn id(&self) -> u16 {
        self.device.id
    }

    /// The device's name or PCI address.
    pub fn name(&self) -> &str {
        &self.device.name
    }

    /// What it is and can do.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if the driver does not answer.
    pub fn info(&self) -> Result<PortInfo, Error> {
        let _control = self.device.runtime.control();
        PortInfo::read(self.device.id)
    }

    /// The link's state, without waiting for it.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if the driver does not answer.
    pub fn link(&self) -> Result<Link, Error> {
        let _control = self.device.runtime.control();
        Link::read(self.device.id, &self.device.name)
    }

    /// Takes the link down, so that the other end of the cable sees none, or allows it to come up again. Queues stay as they are.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if the driver cannot: most of virtual devices.
    pub fn set_link(&self, up: bool) -> Result<(), Error> {
        let _control = self.device.runtime.control();
        let (call, rc) = if up {
            // SAFETY: a claimed port, which is in the table for as long as it is.
            ("rte_eth_dev_set_link_up", unsafe { ffi::rte_eth_dev_set_link_up(self.device.id) })
        } else {
            // SAFETY: likewise.
            ("rte_eth_dev_set_link_down", unsafe { ffi::rte_eth_dev_set_link_down(self.device.id) })
        };
        check(rc, call, &self.device.name).map(drop)
    }

    /// The device was, or is to be, taken away: unplugged, or unbound from its driver. Whoever asked for that, in the kernel
    /// or at a shell, waits until the port and all of its queues are gone, and in most cases until EAL is.
    pub fn is_removed(&self) -> bool {
        removal::is_removed(&self.device.on_bus)
    }

    /// The device wants to be reset before it works again: the function that it is a part of was reset (an SR-IOV VF whose
    /// PF's driver or firmware restarted). Nothing passes it any more; close it and open it again.
    pub fn wants_reset(&self) -> bool {
        removal::wants_reset(self.device.id)
    }

    /// The counters that all drivers have.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if the driver does not answer.
    pub fn stats(&self) -> Result<Stats, Error> {
        let _control = self.device.runtime.control();
        Stats::read(self.device.id, &self.device.name)
    }

    /// All counters that this driver has, by its names. Allocates; for scrapes.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if the driver does not answer.
    pub fn xstats(&self) -> Result<Vec<(String, u64)>, Error> {
        let _control = self.device.runtime.control();
        stats::read_xstats(self.device.id, &self.device.name)
    }

    /// Sets the counters to 0.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if the driver cannot.
    pub fn reset_stats(&self) -> Result<(), Error> {
        let _control = self.device.runtime.control();
        // SAFETY: a claimed port.
        let rc = unsafe { ffi::rte_eth_stats_reset(self.device.id) };
        check(rc, "rte_eth_stats_reset", &self.device.name).map(drop)
    }

    /// Configures and starts the port. Receive queue `i` takes its mbufs from `pools[i % pools.len()]`.
    ///
    /// # Errors
    ///
    /// [`Error::PortStarted`], [`Error::TooManyQueues`], [`Error::NothingToStart`], or [`Error::Call`] if the driver
    /// refuses. Offloads, promiscuous mode and RSS are no reason to fail: see [`Applied`].
    pub fn start(&mut self, config: &PortConfig, pools: &[Mempool]) -> Result<Queues, Error> {
        let _control = self.device.runtime.control();
        if self.device.started.load(Ordering::Acquire) {
            return Err(Error::PortStarted { name: self.device.name.clone() });
        }
        let applied = start::start(&self.device, config, pools)?;
        let rx = (0..config.rx_queues).map(|id| RxQueue::new(Arc::clone(&self.device), id)).collect();
        let tx =
            (0..config.tx_queues).map(|id| TxQueue::new(Arc::clone(&self.device), id, &applied)).collect();
        Ok(Queues { rx, tx, applied })
    }
}

/// How to start a port.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// Number of receive queues.
    pub rx_queues: u16,
    /// Number of transmit queues.
    pub tx_queues: u16,
    /// Descriptors of each receive queue; the driver may adjust it.
    pub rx_descriptors: u16,
    /// Descriptors of each transmit queue; the driver may adjust it.
    pub tx_descriptors: u16,
    /// Largest IP packet, in bytes; the driver may offer less. `None`: as the driver has it.
    pub mtu: Option<u16>,
    /// Receive offloads to use where offered. Scatter is added where a frame may be larger than an mbuf.
    pub rx_offloads: RxOffloads,
    /// Transmit offloads to use where offered.
    pub tx_offloads: TxOffloads,
    /// Transmit offloads that packets may ask for although the driver does not offer them: whoever takes packets off a ring
    /// may well do what they ask for. Nothing of it is told to the driver.
    pub done_behind: TxOffloads,
}

impl Default for PortConfig {
    /// One queue each way, 1024 descriptors, checksums and chains where offered.
    fn default() -> Self {
        Self {
            rx_queues: 1,
            tx_queues: 1,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            mtu: None,
            rx_offloads: RxOffloads::IPV4_CKSUM
                | RxOffloads::TCP_CKSUM
                | RxOffloads::UDP_CKSUM
                | RxOffloads::RSS_HASH,
            tx_offloads: TxOffloads::IPV4_CKSUM
                | TxOffloads::TCP_CKSUM
                | TxOffloads::UDP_CKSUM
                | TxOffloads::MULTI_SEGS,
            done_behind: TxOffloads::NONE,
        }
    }
}

/// A started port's queues.
#[derive(Debug)]
pub struct Queues {
    /// Receive queues, by number.
    pub rx: Vec<RxQueue>,
    /// Transmit queues, by number.
    pub tx: Vec<TxQueue>,
    /// What the driver granted.
    pub applied: Applied,
}

/// What a port was started with, after the driver had its say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Descriptors of each receive queue.
    pub rx_descriptors: u16,
    /// Descriptors of each transmit queue.
    pub tx_descriptors: u16,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// Receive offloads in use.
    pub rx_offloads: RxOffloads,
    /// Transmit offloads that packets may ask for.
    pub tx_offloads: TxOffloads,
    /// Of those, what the queue does before the driver gets the packet: the device has no request for it.
    pub done_here: TxOffloads,
    /// RSS with the symmetric key; `None` if not offered, or for a single receive queue.
    pub rss: Option<Rss>,
    /// The port receives what is addressed to others.
    pub promiscuous: bool,
    /// The port receives all multicast.
    pub allmulticast: bool,
    /// The port neither sends nor heeds PAUSE frames (802.3x): who cannot keep up loses frames, and does not stop whoever sends to
    /// others as well. False where the driver does not say.
    pub pause_off: bool,
    /// Mbufs that the driver has taken out of the pools for good, so that they are [out](Mempool::in_use) when the port is closed. Only
    /// net_af_xdp does that, with those that wait for frames.
    pub kept: usize,
}

/// A MAC address.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// State of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// There is a link.
    pub up: bool,
    /// Mbit/s; `u32::MAX` if unknown.
    pub speed_mbps: u32,
    /// Both directions at a time.
    pub full_duplex: bool,
}

impl Link {
    fn read(id: u16, name: &str) -> Result<Self, Error> {
        let mut link = Self::default();
        // SAFETY: three places to write to; an id that is not a port's gives an error.
        let rc = unsafe { ffi::shim_eth_link(id, &mut link.speed_mbps, &mut link.full_duplex, &mut link.up) };
        check(rc, "rte_eth_link_get_nowait", name).map(|_| link)
    }
}

/// What a port is and can do.
#[derive(Clone, Debug)]
pub struct PortInfo {
    /// DPDK's number of the port.
    pub id: u16,
    /// The device's name or PCI address: what [`Port::by_name`] takes.
    pub name: String,
    /// The PMD: `"net_ixgbe"`.
    pub driver: String,
    /// The bus: `"pci"`, `"vdev"`.
    pub bus: String,
    /// The name of the device on its bus; several ports may share one.
    pub device: String,
    /// The MAC address.
    pub mac: Mac,
    /// NUMA node; `None` if unknown.
    pub socket: Option<u16>,
    /// State of the link.
    pub link: Link,
    /// Largest IP packet at present, in bytes.
    pub mtu: u16,
    /// Smallest and largest MTU that can be set.
    pub mtu_range: (u16, u16),
    /// Receive offloads offered.
    pub rx_offloads: RxOffloads,
    /// Transmit offloads offered.
    pub tx_offloads: TxOffloads,
    /// Most receive queues.
    pub max_rx_queues: u16,
    /// Most transmit queues.
    pub max_tx_queues: u16,
    /// Fewest and most descriptors of a receive queue.
    pub rx_descriptors: (u16, u16),
    /// Fewest and most descriptors of a transmit queue.
    pub tx_descriptors: (u16, u16),
    /// Entries of the RSS redirection table; 0 without RSS.
    pub reta_size: u16,
    /// Length of the RSS key in bytes; 0 without RSS, or if the driver does not say.
    pub rss_key_len: u8,
    /// Packet types that RSS can hash, as DPDK's `RTE_ETH_RSS_*` bits; 0 without RSS.
    pub rss_hash_types: u64,
}

impl PortInfo {
    /// Callers hold the control lock.
    pub(crate) fn read(id: u16) -> Result<Self, Error> {
        let name = name_of(id)?;
        let info = device_info(id, &name)?;
        let (mut mac, mut mtu) = (ffi::rte_ether_addr::default(), 0);
        // SAFETY: a structure and a number to write to, and a valid port.
        let (mac_rc, mtu_rc, socket) = unsafe {
            (
                ffi::rte_eth_macaddr_get(id, &mut mac),
                ffi::rte_eth_dev_get_mtu(id, &mut mtu),
                ffi::rte_eth_dev_socket_id(id),
            )
        };
        check(mac_rc, "rte_eth_macaddr_get", &name)?;
        check(mtu_rc, "rte_eth_dev_get_mtu", &name)?;
        // SAFETY: the device and its bus outlive the port; their names are static or owned by them.
        let (driver, device, bus) = unsafe {
            if info.device.is_null() {
                (text(info.driver_name), String::new(), String::new())
            } else {
                let bus = ffi::rte_bus_name(ffi::rte_dev_bus(info.device));
                (text(info.driver_name), text(ffi::rte_dev_name(info.device)), text(bus))
            }
        };
        Ok(Self {
            id,
            driver,
            bus,
            device,
            mac: Mac(mac.addr_bytes),
            socket: u16::try_from(socket).ok(),
            link: Link::read(id, &name)?,
            name,
            mtu,
            mtu_range: (info.min_mtu, info.max_mtu),
            rx_offloads: RxOffloads::from_bits(info.rx_offload_capa),
            tx_offloads: TxOffloads::from_bits(info.tx_offload_capa),
            max_rx_queues: info.max_rx_queues,
            max_tx_queues: info.max_tx_queues,
            rx_descriptors: (info.rx_desc_lim.nb_min, info.rx_desc_lim.nb_max),
            tx_descriptors: (info.tx_desc_lim.nb_min, info.tx_desc_lim.nb_max),
            reta_size: info.reta_size,
            rss_key_len: info.hash_key_size,
            rss_hash_types: info.flow_type_rss_offloads,
        })
    }
}

impl fmt::Display for PortInfo {
    /// One line: `port 0: net_ring0, net_ring on vdev, 02:00:00:00:00:00, link up 10000 Mbit/s, 16 rx 16 tx queues`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}: {}, {} on {}, {}, link ", self.id, self.name, self.driver, self.bus, self.mac)?;
        match self.link {
            Link { up: false, .. } => f.write_str("down")?,
            Link { speed_mbps: u32::MAX, .. } => f.write_str("up")?,
            Link { speed_mbps, .. } => write!(f, "up {speed_mbps} Mbit/s")?,
        }
        write!(f, ", {} rx {} tx queues, MTU {}", self.max_rx_queues, self.max_tx_queues, self.mtu)
    }
}

/// A claimed port, held by its `Port` and its queues.
pub(crate) struct Device {
    id: u16,
    name: String,
    /// Its device's name on the bus.
    on_bus: String,
    /// `rte_eth_dev_configure` was called: there is something to close.
    pub(crate) configured: AtomicBool,
    pub(crate) started: AtomicBool,
    /// Transmit queues that have to be asked for the mbufs that were sent.
    unreturned: AtomicU16,
    /// Keeps EAL, and with it the pools that the queues take mbufs from.
    runtime: Arc<Runtime>,
}

impl Device {
    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The driver does not give back this many mbufs, and those that these queues have sent only when it is asked.
    pub(crate) fn keeps(&self, mbufs: usize, tx_queues: u16) {
        self.runtime.note_kept(mbufs);
        self.unreturned.store(tx_queues, Ordering::Release);
    }

    /// Takes back what was sent. The kernel is done with it when the frame's receiver is, which is soon.
    fn take_back(&self) {
        const ROUNDS: u32 = 20;
        const PAUSE: Duration = Duration::from_millis(1);
        let queues = self.unreturned.load(Ordering::Acquire);
        for _ in 0..if queues == 0 { 0 } else { ROUNDS } {
            for queue in 0..queues {
                // SAFETY: started, a queue within its number, which is nobody's any more; no packet, so no pointer is read.
                unsafe { ffi::shim_rte_eth_tx_burst(self.id, queue, ptr::null_mut(), 0) };
            }
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _control = self.runtime.control();
        // A port that was only looked at stays as it was, and can be claimed again.
        if self.configured.load(Ordering::Acquire) {
            // SAFETY: claimed, and no queue is left, since each holds the device. DPDK's order: stop, then close. Both
            // only fail for a port that has been removed meanwhile, and then there is nothing more to do.
            unsafe {
                if self.started.load(Ordering::Acquire) {
                    self.take_back();
                    ffi::rte_eth_dev_stop(self.id);
                }
                ffi::rte_eth_dev_close(self.id);
            }
        }
        self.runtime.claimed().remove(&self.id);
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("id", &self.id).field("name", &self.name).finish()
    }
}

/// Ids of all ports. Callers hold the control lock.
pub(crate) fn ids() -> impl Iterator<Item = u16> {
    let next = |from: u16| {
        // SAFETY: takes any id, and returns RTE_MAX_ETHPORTS after the last.
        let id = unsafe { ffi::rte_eth_find_next(from) };
        (u32::from(id) < ffi::RTE_MAX_ETHPORTS).then_some(id)
    };
    iter::successors(next(0), move |&id| next(id + 1))
}

/// The id of the port with this name. Callers hold the control lock.
pub(crate) fn id_of(name: &str) -> Result<Option<u16>, Error> {
    let c_name = c_string(name)?;
    let mut id = 0;
    // SAFETY: a terminated string and a number to write to.
    match unsafe { ffi::rte_eth_dev_get_port_by_name(c_name.as_ptr(), &mut id) } {
        0 => Ok(Some(id)),
        _ => Ok(None),
    }
}

/// Names of all ports.
pub(crate) fn names() -> Vec<String> {
    ids().filter_map(|id| name_of(id).ok()).collect()
}

fn name_of(id: u16) -> Result<String, Error> {
    let mut name = [0; ffi::RTE_ETH_NAME_MAX_LEN as usize];
    // SAFETY: the length that DPDK promises to stay within.
    let rc = unsafe { ffi::rte_eth_dev_get_name_by_port(id, name.as_mut_ptr()) };
    check(rc, "rte_eth_dev_get_name_by_port", &id.to_string())?;
    Ok(fixed_text(&name))
}

/// Callers hold the control lock.
pub(crate) fn device_info(id: u16, name: &str) -> Result<ffi::rte_eth_dev_info, Error> {
    let mut info = MaybeUninit::<ffi::rte_eth_dev_info>::zeroed();
    // SAFETY: a structure to write to; an id that is not a port's gives an error.
    let rc = unsafe { ffi::rte_eth_dev_info_get(id, info.as_mut_ptr()) };
    if rc != 0 {
        return Err(Error::call("rte_eth_dev_info_get", name, Errno(-rc)));
    }
    // SAFETY: filled in, over zeroes, which are valid for its numbers, pointers and enumerations.
    Ok(unsafe { info.assume_init() })
}
