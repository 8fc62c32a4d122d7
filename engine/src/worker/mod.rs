//! A worker: one core, run to completion.
