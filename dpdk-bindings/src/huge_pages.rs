//! Large pages of the kernel behind memory that is not DPDK's.

use std::ffi::c_void;
use std::io;
use std::ops::Range;

/// The unit that `madvise` takes addresses in; on hardware with larger pages it refuses what does not lie on them.
const PAGE: usize = 4096;

/// Asks the kernel for transparent huge pages behind `range`, in addresses: memory that was never written is then backed 2 MB at a
/// time, so that looking up one of very many entries misses the TLB less often.
///
/// This is advice: it changes nothing that is in memory, whoever it belongs to, and memory that is not written takes no page.
///
/// # Errors
/// The kernel was built without them, or `range` is not mapped as a whole.
pub fn advise_huge_pages(range: Range<*const u8>) -> io::Result<()> {
    let start = range.start.addr().next_multiple_of(PAGE);
    let end = range.end.addr() / PAGE * PAGE;
    if start >= end {
        return Ok(());
    }
    let address = range.start.with_addr(start).cast_mut().cast::<c_void>();
    // SAFETY: this advice leaves the contents of every page as they are, and an address that is not mapped is an error, not a fault.
    match unsafe { libc::madvise(address, end - start, libc::MADV_HUGEPAGE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Flags of the mapping that holds an address, as the kernel tells them.
    fn flags(address: usize) -> String {
        let maps = fs::read_to_string("/proc/self/smaps").expect("the kernel tells");
        let mut holds = false;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|word| word.split_once('-'));
            if let Some((from, to)) = range
                && let (Ok(from), Ok(to)) = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
            {
                holds = (from..to).contains(&address);
            }
            if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| holds) {
                return flags.to_owned();
            }
        }
        panic!("{address:#x} is not mapped");
    }

    #[test]
    fn what_is_advised_is_marked_and_what_is_small_is_left_alone() {
        if !fs::exists("/sys/kernel/mm/transparent_hugepage").unwrap_or(false) {
            return;
        }
        let table: Vec<u8> = Vec::with_capacity(8 << 20);
        let start = table.as_ptr();
        advise_huge_pages(start..start.wrapping_add(table.capacity())).expect("it is mapped");
        assert!(flags(start.addr() + (4 << 20)).split(' ').any(|flag| flag == "hg"));
        let small = [0u8; 16];
        advise_huge_pages(small.as_ptr_range()).expect("there is no page in it");
    }

    #[test]
    fn what_is_not_mapped_is_an_error() {
        let nowhere = std::ptr::without_provenance::<u8>(PAGE);
        advise_huge_pages(nowhere..nowhere.wrapping_add(2 * PAGE)).expect_err("nothing is there");
    }
}
