//! What a port offers to an engine.

/// A port, started once to be looked at.
#[derive(Clone, Debug, Default)]
pub struct PortCapabilities {
    /// The device's name or PCI address.
    pub name: String,
    /// DPDK's driver.
    pub driver: String,
    /// NUMA node.
    pub node: Option<usize>,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// There is a link.
    pub link: bool,
    /// Its link can be taken down, which `wire.link_state = "pass"` asks for.
    pub link_settable: bool,
    /// Mbit/s, where known.
    pub speed_mbps: Option<u32>,
    /// Receive queues.
    pub rx_queues: usize,
    /// Transmit queues.
    pub tx_queues: usize,
    /// It spreads flows over its receive queues.
    pub rss: bool,
    /// What it does for received packets.
    pub rx_offloads: String,
    /// What it does for sent packets.
    pub tx_offloads: String,
    /// What the engine would use and the port does not offer.
    pub lacks: Vec<String>,
}
