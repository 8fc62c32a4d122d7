//! Counters, one writer each, and the Prometheus page.
