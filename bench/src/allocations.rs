//! The process's allocator, which counts what the worker's thread asks of it.
//!
//! The only unsafe code of this crate: Rust has no other way to see allocations.
#![allow(unsafe_code, reason = "a global allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use mimalloc::MiMalloc;
use serde::{Deserialize, Serialize};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static ALLOCATED: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// What the counted thread has asked for so far.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Allocations {
    /// Calls that gave memory, a reallocation among them.
    pub(crate) calls: u64,
    /// Bytes they gave.
    pub(crate) bytes: u64,
    /// Bytes given back.
    pub(crate) freed: u64,
}

impl Allocations {
    /// Bytes that are out.
    pub(crate) fn held(self) -> u64 {
        self.bytes.saturating_sub(self.freed)
    }
}

/// From now on counts what the calling thread allocates, or no longer does. For one thread of the process.
pub(crate) fn count_this_thread(counts: bool) {
    COUNTED.set(counts);
}

/// The counts so far, from any thread.
pub(crate) fn counted() -> Allocations {
    Allocations {
        calls: ALLOCATIONS.load(Relaxed),
        bytes: ALLOCATED.load(Relaxed),
        freed: FREED.load(Relaxed),
    }
}

struct Counting;

/// One thread writes: a load and a store, no locked instruction that would slow down what is measured.
fn add(to: &AtomicU64, n: usize) {
    to.store(to.load(Relaxed).wrapping_add(n as u64), Relaxed);
}

fn note(given: usize, taken: usize) {
    // A thread that ends has no thread-local any more; it is not the one that is counted then.
    if COUNTED.try_with(Cell::get).unwrap_or(false) {
        if given > 0 {
            add(&ALLOCATIONS, 1);
        }
        add(&ALLOCATED, given);
        add(&FREED, taken);
    }
}

// SAFETY: every call goes to the engine's allocator as it came; counting touches none of its memory and allocates nothing
// (the thread-local is constant-initialised and has no destructor).
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`; the pointer came from the same allocator.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note(new_size, layout.size());
        // SAFETY: the caller keeps the contract of `realloc`; the pointer came from the same allocator.
        unsafe { MiMalloc.realloc(pointer, layout, new_size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_counted_thread_counts() {
        let before = counted();
        drop(std::hint::black_box(vec![0_u8; 1_000_000]));
        assert_eq!(counted().calls, before.calls);
        std::thread::spawn(move || {
            count_this_thread(true);
            let before = counted();
            let kept = std::hint::black_box(Vec::<u8>::with_capacity(1_000_000));
            let during = counted();
            assert_eq!((during.calls, during.bytes), (before.calls + 1, before.bytes + 1_000_000));
            drop(kept);
            assert_eq!(counted().freed, during.freed + 1_000_000);
        })
        .join()
        .expect("no panic");
    }
}
