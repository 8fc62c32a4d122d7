//! Ports joined by rings: what one sends, the other receives, without a copy.

use dpdk_sys as ffi;

use crate::eal::Eal;
use crate::errno::{Errno, Error, c_string};

/// Any NUMA node, as DPDK's functions for rings take it: a signed one and an unsigned one.
const ANY_SOCKET: i32 = -1;
/// Each ring has one queue, that is one thread, at each end.
const ONE_AND_ONE: u32 = ffi::RING_F_SP_ENQ | ffi::RING_F_SC_DEQ;

impl Eal {
    /// Makes two ports, `net_ring_NAMEa` and `net_ring_NAMEb`, with `queues` queues each way: queue `i` of one sends to
    /// queue `i` of the other. Each ring holds `depth - 1` packets; `depth` is a power of two.
    ///
    /// Like pools, the rings live until EAL is cleaned up: make them at the start.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]: no memory, a depth that is no power of two, a name that exists or is too long, too many queues.
    pub fn join_by_rings(&self, name: &str, queues: u16, depth: u32) -> Result<[String; 2], Error> {
        let _control = self.runtime().control();
        let rings = |from: char| {
            let ring = |queue| ring(&format!("{name}{from}{queue}"), depth);
            (0..queues).map(ring).collect::<Result<Vec<_>, _>>()
        };
        let (to_b, to_a) = (rings('a')?, rings('b')?);
        port(&format!("{name}a"), &to_a, &to_b)?;
        port(&format!("{name}b"), &to_b, &to_a)?;
        Ok(['a', 'b'].map(|end| format!("net_ring_{name}{end}")))
    }
}

fn ring(name: &str, depth: u32) -> Result<*mut ffi::rte_ring, Error> {
    let c_name = c_string(name)?;
    // SAFETY: EAL is initialised, since there is an `Eal`; the name is a terminated string that DPDK copies.
    let ring = unsafe { ffi::rte_ring_create(c_name.as_ptr(), depth, ANY_SOCKET, ONE_AND_ONE) };
    if ring.is_null() { Err(Error::call("rte_ring_create", name, Errno::last())) } else { Ok(ring) }
}

fn port(name: &str, rx: &[*mut ffi::rte_ring], tx: &[*mut ffi::rte_ring]) -> Result<(), Error> {
    let c_name = c_string(name)?;
    // SAFETY: a terminated string and arrays of the lengths given, all copied; the rings are never freed.
    let id = unsafe {
        ffi::rte_eth_from_rings(
            c_name.as_ptr(),
            rx.as_ptr(),
            rx.len() as u32,
            tx.as_ptr(),
            tx.len() as u32,
            ANY_SOCKET.cast_unsigned(),
        )
    };
    if id < 0 { Err(Error::call("rte_eth_from_rings", name, Errno::last())) } else { Ok(()) }
}
