//! Ports of mirrors: they have buffers of their own, so that who is slow to read there keeps nothing from the wires.

use dpdk::{Eal, HEADROOM, Mempool, MempoolConfig};
use wireglass_core::mirror::MirrorQueue;

use super::{L2_HEADER, MIN_ROOM, MbufFrame};

/// Buffers for one mirror: what waits for the port, what lies in its rings, what a cache keeps, and some more.
const MBUFS: u32 = 4096;
const _: () = assert!(MBUFS as usize > MirrorQueue::<MbufFrame>::FRAMES + 2 * 1024 + 512);
/// The tag that a mirror may put before a flow's own.
const TAG: u16 = 4;

/// The port of a mirror.
pub struct MirrorPort {
    /// Device name or PCI address.
    pub name: String,
    /// The kernel's interface below it.
    pub interface: Option<String>,
    /// Largest IP packet that is made for it, in bytes.
    pub mtu: u16,
    /// Frames of bypassed flows go there, as large as the wires carry them.
    pub bypassed: bool,
}

/// A worker's buffers for mirrors; none without such. `largest`: the wires' largest IP packet.
pub(super) fn pool(
    eal: &Eal,
    worker: usize,
    socket: Option<u16>,
    (mirrors, largest): (&[MirrorPort], u16),
    umem: bool,
) -> Result<Option<(Mempool, u32)>, dpdk::Error> {
    let bypassed = mirrors.iter().filter(|mirror| mirror.bypassed).map(|_| largest);
    let Some(packet) = mirrors.iter().map(|mirror| mirror.mtu).chain(bypassed).max() else { return Ok(None) };
    let room = packet.saturating_add(L2_HEADER + TAG).max(MIN_ROOM).saturating_add(HEADROOM);
    let mbufs = MBUFS * mirrors.len() as u32 - 1;
    let config = MempoolConfig { mbufs, data_room: room, socket, umem, ..MempoolConfig::default() };
    let name = format!("wireglass-{worker}-mirror");
    let anywhere = MempoolConfig { socket: None, ..config.clone() };
    let pool = Mempool::new(eal, &name, &config).or_else(|_| Mempool::new(eal, &name, &anywhere))?;
    Ok(Some((pool, mbufs)))
}
