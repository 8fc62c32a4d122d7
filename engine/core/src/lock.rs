//! The lock of the caches that all threads share which run handshakes.
#![expect(
    clippy::disallowed_types,
    reason = "the caches of TLS and minting serve all threads; no packet waits for them"
)]

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock whose contents are whole between any two steps, so that a panic while it is held spoils nothing.
#[derive(Debug, Default)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) fn new(contents: T) -> Self {
        Self(Mutex::new(contents))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
