//! Devices that are taken away while they are in use (unplugged, or unbound from vfio-pci by an operator), and such as were reset
//! behind their driver's back.

use std::collections::BTreeSet;
use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use dpdk_sys as ffi;

use crate::errno::{Error, check, text};

/// Names of the devices that the kernel wants back. EAL is one for a process, and so is this.
static REMOVED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Ids of the ports that were reset.
static RESET: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Listens for removals and resets from now on. Called once, when EAL runs.
pub(crate) fn watch() -> Result<(), Error> {
    // SAFETY: no name means all devices; the callback is a function, and takes no argument of ours.
    let rc = unsafe { ffi::rte_dev_event_callback_register(ptr::null(), Some(note), ptr::null_mut()) };
    check(rc, "rte_dev_event_callback_register", "all devices")?;
    const ALL: u16 = ffi::RTE_MAX_ETHPORTS as u16;
    let event = ffi::RTE_ETH_EVENT_INTR_RESET;
    // SAFETY: all ports, also those to come; likewise.
    let rc = unsafe { ffi::rte_eth_dev_callback_register(ALL, event, Some(note_reset), ptr::null_mut()) };
    check(rc, "rte_eth_dev_callback_register", "all ports").map(drop)
}

/// Whether a device, by its name on its bus, was or is to be removed. A device that comes back is a new one to EAL.
pub(crate) fn is_removed(device: &str) -> bool {
    REMOVED.lock().unwrap_or_else(PoisonError::into_inner).contains(device)
}

/// Whether the port of this id was reset since it was claimed.
pub(crate) fn wants_reset(port: u16) -> bool {
    RESET.lock().unwrap_or_else(PoisonError::into_inner).contains(&port)
}

/// A port that is opened anew; DPDK gives ids again.
pub(crate) fn forget_reset(port: u16) {
    RESET.lock().unwrap_or_else(PoisonError::into_inner).remove(&port);
}

/// Called on EAL's interrupt thread, or on a thread of the driver.
unsafe extern "C" fn note_reset(
    port: u16,
    event: ffi::rte_eth_event_type,
    _: *mut c_void,
    _: *mut c_void,
) -> c_int {
    if event == ffi::RTE_ETH_EVENT_INTR_RESET {
        RESET.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
    }
    0
}

/// Called on EAL's interrupt thread.
unsafe extern "C" fn note(device: *const c_char, event: ffi::rte_dev_event_type, _: *mut c_void) {
    if event == ffi::RTE_DEV_EVENT_REMOVE && !device.is_null() {
        // SAFETY: EAL passes the device's name, terminated.
        let name = unsafe { text(device) };
        REMOVED.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
    }
}

#[cfg(test)]
mod tests {
    use super::{forget_reset, is_removed, note, note_reset, wants_reset};
    use dpdk_sys as ffi;
    use std::ptr::null_mut;

    #[test]
    fn only_a_reset_counts_until_the_port_is_opened_anew() {
        for (port, event) in [(7, ffi::RTE_ETH_EVENT_INTR_LSC), (8, ffi::RTE_ETH_EVENT_INTR_RESET)] {
            // SAFETY: it looks at no pointer.
            unsafe { note_reset(port, event, null_mut(), null_mut()) };
        }
        assert_eq!((wants_reset(7), wants_reset(8)), (false, true));
        forget_reset(8);
        assert!(!wants_reset(8));
    }

    #[test]
    fn only_a_removal_counts_and_only_of_the_device_it_names() {
        for (name, event) in
            [(c"0000:07:00.0", ffi::RTE_DEV_EVENT_ADD), (c"0000:07:00.1", ffi::RTE_DEV_EVENT_REMOVE)]
        {
            // SAFETY: a terminated name.
            unsafe { note(name.as_ptr(), event, std::ptr::null_mut()) };
        }
        assert!(!is_removed("0000:07:00.0"));
        assert!(is_removed("0000:07:00.1"));
    }
}
