//! Logs: events from the workers over a ring to one writer thread, as EVE JSON.

pub mod event;
