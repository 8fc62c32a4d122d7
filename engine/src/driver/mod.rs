//! Ports through DPDK, and what they offer.

#[cfg(feature = "dpdk")]
pub mod dpdk;
mod offer;

pub use self::offer::PortOffer;
