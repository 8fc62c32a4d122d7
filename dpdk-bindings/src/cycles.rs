//! The processor's time-stamp counter.

use dpdk_sys as ffi;

/// Reads the time-stamp counter, after all loads and stores before it. It counts at a constant rate, which is not the
/// core's own frequency.
pub fn tsc() -> u64 {
    // SAFETY: a fence and a read of a register; no precondition.
    unsafe { ffi::shim_rte_rdtsc_precise() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_up() {
        let before = tsc();
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(tsc() > before);
    }
}
