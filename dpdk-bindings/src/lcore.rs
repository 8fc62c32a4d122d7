//! Threads of the application as lcores.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use dpdk_sys as ffi;

use crate::eal::Runtime;
use crate::errno::{Errno, Error};

/// The calling thread's id as an lcore, if it is one.
pub fn lcore_id() -> Option<u32> {
    // SAFETY: reads a thread-local integer of libdpdk; no precondition.
    let id = unsafe { ffi::shim_rte_lcore_id() };
    (id != ffi::LCORE_ID_ANY).then_some(id)
}

/// The calling thread is an lcore as long as this lives. It stays on that thread.
///
/// Made by [`Eal::register_thread`](crate::Eal::register_thread). Drop it after the thread's last use of mbufs.
pub struct LcoreGuard {
    /// No clean-up while this thread may be inside one of its pool caches.
    _runtime: Arc<Runtime>,
    /// `!Send`: what is registered is a thread-local.
    _thread: PhantomData<*mut ()>,
}

impl LcoreGuard {
    pub(crate) fn register(runtime: Arc<Runtime>) -> Result<Self, Error> {
        // DPDK does not check this, and would lose the first id.
        if lcore_id().is_some() {
            return Err(Error::AlreadyRegistered);
        }
        // SAFETY: EAL is initialised, since there is a runtime; the thread is not registered.
        let rc = unsafe { ffi::rte_thread_register() };
        if rc < 0 {
            return Err(Error::call("rte_thread_register", "thread", Errno::last()));
        }
        Ok(Self { _runtime: runtime, _thread: PhantomData })
    }

    /// The id that EAL gave to the thread.
    pub fn id(&self) -> u32 {
        lcore_id().unwrap_or(ffi::LCORE_ID_ANY)
    }
}

impl Drop for LcoreGuard {
    fn drop(&mut self) {
        // SAFETY: registered by `register` on this thread, which the guard cannot leave.
        unsafe { ffi::rte_thread_unregister() }
    }
}

impl fmt::Debug for LcoreGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LcoreGuard").field(&self.id()).finish()
    }
}
