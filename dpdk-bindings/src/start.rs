//! Configuring and starting a port: asking for what is wanted *and* offered.

use std::sync::atomic::Ordering;

use dpdk_sys as ffi;

use crate::errno::{Error, check, text};
use crate::mempool::{HEADROOM, Mempool};
use crate::offloads::{RxOffloads, TxOffloads};
use crate::port::{Applied, Device, PortConfig, device_info};
use crate::rss::Rss;

/// A driver that keeps the mbufs of its fill rings for ever: what they are in belongs to the kernel, and its close forgets them.
const AF_XDP: &str = "net_af_xdp";

/// What DPDK sets where no MTU is asked for.
const DEFAULT_MTU: u16 = 1500;

/// Ethernet header and FCS: what DPDK adds to an MTU to get a frame.
const ETHERNET_OVERHEAD: u32 = 14 + 4;

/// Ethernet header, two VLAN tags and the FCS that some NICs deliver.
const L2_OVERHEAD: u32 = 14 + 8 + 4;

/// Callers hold the control lock, and start a device once.
pub(crate) fn start(device: &Device, config: &PortConfig, pools: &[Mempool]) -> Result<Applied, Error> {
    let info = device_info(device.id(), device.name())?;
    check_queues(device, config, pools, &info)?;
    let mut applied = configure(device, config, pools, &info)?;
    let (id, name) = (device.id(), device.name());
    let before = out_of(pools);
    set_up_queues(device, config, pools, &info, &mut applied)?;
    if is_af_xdp(&info) {
        applied.kept = out_of(pools).saturating_sub(before);
        if applied.kept < usize::from(config.rx_queues) {
            // The kernel would drop each frame: it has no buffer to receive into.
            return Err(Error::EmptyFillRing { name: name.to_owned() });
        }
        device.keeps(applied.kept, config.tx_queues);
    }
    // SAFETY: configured, and all queues are set up.
    check(unsafe { ffi::rte_eth_dev_start(id) }, "rte_eth_dev_start", name)?;
    device.started.store(true, Ordering::Release);
    // SAFETY: a started port. Drivers without these modes receive everything anyway.
    unsafe {
        applied.promiscuous = ffi::rte_eth_promiscuous_enable(id) == 0;
        applied.allmulticast = ffi::rte_eth_allmulticast_enable(id) == 0;
        // After the start: some drivers set it anew there.
        applied.pause_off = ffi::shim_eth_pause_off(id) == 0;
    }
    Ok(applied)
}

/// Mbufs that are not in these pools.
fn out_of(pools: &[Mempool]) -> usize {
    pools.iter().map(Mempool::in_use).sum()
}

fn is_af_xdp(info: &ffi::rte_eth_dev_info) -> bool {
    // SAFETY: drivers' names are static.
    unsafe { text(info.driver_name) == AF_XDP }
}

fn check_queues(
    device: &Device,
    config: &PortConfig,
    pools: &[Mempool],
    info: &ffi::rte_eth_dev_info,
) -> Result<(), Error> {
    let name = || device.name().to_owned();
    let queues = [("rx", config.rx_queues, info.max_rx_queues), ("tx", config.tx_queues, info.max_tx_queues)];
    for (direction, asked, offered) in queues {
        if asked == 0 || pools.is_empty() {
            return Err(Error::NothingToStart { name: name() });
        }
        if asked > offered {
            return Err(Error::TooManyQueues { name: name(), direction, asked, offered });
        }
    }
    Ok(())
}

fn configure(
    device: &Device,
    config: &PortConfig,
    pools: &[Mempool],
    info: &ffi::rte_eth_dev_info,
) -> Result<Applied, Error> {
    let (id, name) = (device.id(), device.name());
    let offered_rx = finished_rx(info);
    let offered_tx = sendable_tx(info);
    let mtu = config.mtu.map(|mtu| mtu.clamp(info.min_mtu, largest_mtu(info)));
    let smallest_room = pools.iter().map(Mempool::data_room).min().unwrap_or(0);
    let largest_frame = u32::from(mtu.unwrap_or(DEFAULT_MTU)) + L2_OVERHEAD;
    let too_large = largest_frame > u32::from(smallest_room.saturating_sub(HEADROOM));
    let scatter = if too_large { RxOffloads::SCATTER } else { RxOffloads::NONE };
    let rss = Rss::offered_by(info, config.rx_queues);

    let mut conf = ffi::rte_eth_conf::default();
    let mut rx_offloads = (config.rx_offloads | scatter) & offered_rx;
    if let Some(rss) = &rss {
        conf.rxmode.mq_mode = ffi::RTE_ETH_MQ_RX_RSS;
        // DPDK keeps the pointer as long as the port exists.
        conf.rx_adv_conf.rss_conf.rss_key = rss.key().leak().as_mut_ptr();
        conf.rx_adv_conf.rss_conf.rss_key_len = rss.key_len;
        conf.rx_adv_conf.rss_conf.rss_hf = rss.hash_types;
    } else {
        // DPDK refuses to deliver a hash without RSS.
        rx_offloads = rx_offloads.without(RxOffloads::RSS_HASH);
    }
    let tx_offloads = config.tx_offloads & offered_tx;
    let done_here = done_here(info, tx_offloads) & config.tx_offloads;
    // 0 is DPDK's default.
    conf.rxmode.mtu = mtu.unwrap_or(0).into();
    conf.rxmode.offloads = rx_offloads.bits();
    conf.txmode.offloads = tx_offloads.bits();

    device.configured.store(true, Ordering::Release);
    // SAFETY: claimed and not started; DPDK copies the structure, and the key it points to is never freed.
    let rc = unsafe { ffi::rte_eth_dev_configure(id, config.rx_queues, config.tx_queues, &conf) };
    check(rc, "rte_eth_dev_configure", name)?;

    if let Some(mtu) = mtu {
        // Many virtual devices take the MTU by this call only, and some not at all; what counts is what they say then.
        // SAFETY: configured, not started.
        unsafe { ffi::rte_eth_dev_set_mtu(id, mtu) };
    }
    let mut actual = 0;
    // SAFETY: a configured port, and a number to write to.
    check(unsafe { ffi::rte_eth_dev_get_mtu(id, &mut actual) }, "rte_eth_dev_get_mtu", name)?;
    Ok(Applied {
        rx_descriptors: config.rx_descriptors,
        tx_descriptors: config.tx_descriptors,
        mtu: actual,
        rx_offloads,
        tx_offloads: tx_offloads | config.done_behind | done_here,
        done_here,
        rss,
        promiscuous: false,
        allmulticast: false,
        pause_off: false,
        kept: 0,
    })
}

/// The receive offloads that leave a packet as it would be on a wire. A virtio device whose driver offers to look at
/// checksums takes that as leave to deliver packets between machines of one host with checksums that nobody has computed
/// (`VIRTIO_NET_F_GUEST_CSUM`, 5.1.6.4.1 of the specification): wrong, once they go out of another port. net_vhost is the other side of
/// such a device: unless asked for them, it fills in the checksums that the machine has left to it.
fn finished_rx(info: &ffi::rte_eth_dev_info) -> RxOffloads {
    let offered = RxOffloads::from_bits(info.rx_offload_capa);
    if is_virtio(info) {
        offered.without(RxOffloads::IPV4_CKSUM | RxOffloads::TCP_CKSUM | RxOffloads::UDP_CKSUM)
    } else {
        offered
    }
}

/// Either side of a virtio device.
fn is_virtio(info: &ffi::rte_eth_dev_info) -> bool {
    // SAFETY: drivers' names are static.
    let driver = unsafe { text(info.driver_name) };
    driver.contains("virtio") || driver == "net_vhost"
}

/// What of the transmit offloads the queue does itself. A virtio device fills in TCP's checksum but has no request for the one of an
/// IPv4 header (5.1.6.2 of the specification): of both, that is the small part.
fn done_here(info: &ffi::rte_eth_dev_info, granted: TxOffloads) -> TxOffloads {
    if is_virtio(info) && granted.contains(TxOffloads::TCP_CKSUM) {
        TxOffloads::IPV4_CKSUM.without(granted)
    } else {
        TxOffloads::NONE
    }
}

/// The transmit offloads that work. net_tap does its in software. It measures a segment with its Ethernet header against the MTU, so it
/// sends no full ones, nor what comes after them. It sums the pieces of a chain as if each but the last had an even length.
fn sendable_tx(info: &ffi::rte_eth_dev_info) -> TxOffloads {
    let offered = TxOffloads::from_bits(info.tx_offload_capa);
    // SAFETY: drivers' names are static.
    let driver = unsafe { text(info.driver_name) };
    let broken = TxOffloads::TCP_TSO | TxOffloads::TCP_CKSUM | TxOffloads::UDP_CKSUM;
    if driver == "net_tap" { offered.without(broken) } else { offered }
}

/// DPDK checks an MTU against the largest frame as well, when the driver tells no largest MTU.
fn largest_mtu(info: &ffi::rte_eth_dev_info) -> u16 {
    if info.max_mtu != u16::MAX || info.max_rx_pktlen <= ETHERNET_OVERHEAD {
        return info.max_mtu.max(info.min_mtu);
    }
    let by_frame = u16::try_from(info.max_rx_pktlen - ETHERNET_OVERHEAD).unwrap_or(u16::MAX);
    by_frame.max(info.min_mtu)
}

fn set_up_queues(
    device: &Device,
    config: &PortConfig,
    pools: &[Mempool],
    info: &ffi::rte_eth_dev_info,
    applied: &mut Applied,
) -> Result<(), Error> {
    let (id, name) = (device.id(), device.name());
    let (rx, tx) = (&mut applied.rx_descriptors, &mut applied.tx_descriptors);
    // SAFETY: a configured port, and two numbers to read and write.
    let rc = unsafe { ffi::rte_eth_dev_adjust_nb_rx_tx_desc(id, rx, tx) };
    check(rc, "rte_eth_dev_adjust_nb_rx_tx_desc", name)?;
    // -1, any node, is what DPDK takes it for as an unsigned number too.
    // SAFETY: a valid port.
    let socket = unsafe { ffi::rte_eth_dev_socket_id(id) }.cast_unsigned();
    let mut rx_conf = info.default_rxconf;
    rx_conf.offloads = applied.rx_offloads.bits();
    let mut tx_conf = info.default_txconf;
    tx_conf.offloads = applied.tx_offloads.without(config.done_behind | applied.done_here).bits();
    for (queue, pool) in (0..config.rx_queues).zip(pools.iter().cycle()) {
        // SAFETY: a configured port, a queue within its number, a pool that lives as long as EAL, which the device holds.
        let rc = unsafe {
            ffi::rte_eth_rx_queue_setup(id, queue, applied.rx_descriptors, socket, &rx_conf, pool.as_ptr())
        };
        check(rc, "rte_eth_rx_queue_setup", name)?;
    }
    for queue in 0..config.tx_queues {
        // SAFETY: a configured port, a queue within its number.
        let rc = unsafe { ffi::rte_eth_tx_queue_setup(id, queue, applied.tx_descriptors, socket, &tx_conf) };
        check(rc, "rte_eth_tx_queue_setup", name)?;
    }
    Ok(())
}
