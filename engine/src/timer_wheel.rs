//! One timer wheel per worker.
