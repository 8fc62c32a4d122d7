//! Counters of a port.

use std::mem::MaybeUninit;
use std::ptr;

use dpdk_sys as ffi;

use crate::errno::{Error, check, fixed_text};

/// Counters since the port was started, as its driver keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Received packets dropped by the NIC because the receive queue was full: the application is too slow.
    pub rx_missed: u64,
    /// Received packets with errors.
    pub rx_errors: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets not received because the pool was empty: the pool is too small, or mbufs leak.
    pub rx_no_mbuf: u64,
}

impl Stats {
    pub(crate) fn read(id: u16, name: &str) -> Result<Self, Error> {
        let mut stats = ffi::rte_eth_stats::default();
        // SAFETY: a structure to write to; an id that is not a port's gives an error.
        check(unsafe { ffi::rte_eth_stats_get(id, &mut stats) }, "rte_eth_stats_get", name)?;
        Ok(Self {
            rx_packets: stats.ipackets,
            tx_packets: stats.opackets,
            rx_bytes: stats.ibytes,
            tx_bytes: stats.obytes,
            rx_missed: stats.imissed,
            rx_errors: stats.ierrors,
            tx_errors: stats.oerrors,
            rx_no_mbuf: stats.rx_nombuf,
        })
    }
}

/// All counters that the driver has, by its names.
pub(crate) fn read_xstats(id: u16, name: &str) -> Result<Vec<(String, u64)>, Error> {
    // SAFETY: without an array it only counts.
    let rc = unsafe { ffi::rte_eth_xstats_get_names(id, ptr::null_mut(), 0) };
    let count = check(rc, "rte_eth_xstats_get_names", name)?;
    let mut names: Vec<ffi::rte_eth_xstat_name> =
        // SAFETY: an array of characters, for which all zero is valid.
        (0..count).map(|_| unsafe { MaybeUninit::zeroed().assume_init() }).collect();
    let mut values = vec![ffi::rte_eth_xstat::default(); names.len()];
    // SAFETY: `names` has room for `count` entries.
    let rc = unsafe { ffi::rte_eth_xstats_get_names(id, names.as_mut_ptr(), count) };
    check(rc, "rte_eth_xstats_get_names", name)?;
    // SAFETY: `values` has room for `count` entries.
    let rc = unsafe { ffi::rte_eth_xstats_get(id, values.as_mut_ptr(), count) };
    // More than there was room for: nothing was written.
    let filled = Some(check(rc, "rte_eth_xstats_get", name)?).filter(|&n| n <= count).unwrap_or(0) as usize;
    Ok(values[..filled]
        .iter()
        .filter_map(|value| Some((fixed_text(&names.get(value.id as usize)?.name), value.value)))
        .collect())
}
