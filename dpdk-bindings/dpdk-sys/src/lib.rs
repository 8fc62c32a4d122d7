//! Raw bindings to the installed libdpdk.
//!
//! Three layers, all made by `build.rs` from what `pkg-config` says about the DPDK on this machine:
//!
//! * functions and structures that [bindgen](https://docs.rs/bindgen) reads from the installed headers,
//!   by a small allow-list;
//! * `shim_*`: a C shim with one wrapper per inline function that the [`dpdk`] crate calls, and for the few
//!   names and layouts that changed between DPDK 22.11 and 24.11;
//! * `SHIM_*`: DPDK's macros as constants, and the offsets of the fields of `struct rte_mbuf`, which is
//!   opaque here.
//!
//! DPDK is linked shared, and EAL loads its drivers from its own directory when it starts. With the feature
//! `static` the whole archives named by `pkg-config --static` go into the binary instead. No driver is named here.
//!
//! Nothing in this crate is safe to call. Use the [`dpdk`] crate.
//!
//! [`dpdk`]: https://docs.rs/dpdk

#[allow(missing_docs, non_camel_case_types, non_snake_case, non_upper_case_globals, unused_qualifications)]
#[allow(unsafe_op_in_unsafe_fn, clippy::all, clippy::undocumented_unsafe_blocks)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

pub use bindings::*;

/// The release of DPDK that these bindings were made from, as `pkg-config` gives it: `"22.11.11"`.
pub const VERSION: &str = env!("DPDK_SYS_VERSION");

/// How DPDK is linked: `"shared"` or `"static"`.
pub const LINK_MODE: &str = env!("DPDK_SYS_LINK_MODE");
