//! Ports through DPDK, and what they offer.

mod capabilities;
#[cfg(feature = "dpdk")]
pub mod dpdk;

pub use self::capabilities::PortCapabilities;
