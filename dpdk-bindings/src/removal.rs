//! Devices that are taken away while they are in use: unplugged, or unbound from vfio-pci by an operator.

use std::collections::BTreeSet;
use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use dpdk_sys as ffi;

use crate::errno::{Error, check, text};

/// Names of the devices that the kernel wants back. EAL is one for a process, and so is this.
static REMOVED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Listens for removals from now on. Called once, when EAL runs.
pub(crate) fn watch() -> Result<(), Error> {
    // SAFETY: no name means all devices; the callback is a function, and takes no argument of ours.
    let rc = unsafe { ffi::rte_dev_event_callback_register(ptr::null(), Some(note), ptr::null_mut()) };
    check(rc, "rte_dev_event_callback_register", "all devices").map(drop)
}

/// Whether a device, by its name on its bus, was or is to be removed. A device that comes back is a new one to EAL.
pub(crate) fn is_removed(device: &str) -> bool {
    REMOVED.lock().unwrap_or_else(PoisonError::into_inner).contains(device)
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
    use super::{is_removed, note};
    use dpdk_sys as ffi;

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
