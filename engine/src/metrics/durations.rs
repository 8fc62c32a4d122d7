//! How long handshakes and what they consist of take.

use wireglass_core::histogram::HistogramReading;

use super::page::{Metrics, Page};

impl Metrics {
    pub(super) fn durations(&self, page: &mut Page<'_>) {
        let name = "wireglass_handshake_duration_seconds";
        page.histogram_family(
            name,
            "From the complete ClientHello to the end of both handshakes, both peers' time included; only interceptions that got so far.",
        );
        page.histogram(name, &[], &self.handshake_times());
        if let Some(caches) = self.tls() {
            let name = "wireglass_verification_duration_seconds";
            page.histogram_family(
                name,
                "How long it took to verify a chain that was not known: all steps, without the waits between them.",
            );
            page.histogram(name, &[], &caches.verification_time.read());
            let name = "wireglass_minting_duration_seconds";
            page.histogram_family(name, "How long it took to mint a certificate.");
            page.histogram(name, &[], &caches.minting_time.read());
        }
        let name = "wireglass_job_wait_duration_seconds";
        page.histogram_family(name, "How long jobs waited for a thread, by kind of thread.");
        for (kind, times) in self.job_times() {
            page.histogram(name, &[("kind", kind)], &times.waited.read());
        }
        let name = "wireglass_job_run_duration_seconds";
        page.histogram_family(
            name,
            "How long jobs ran. A handshake is several jobs, one for each flight or step.",
        );
        for (kind, times) in self.job_times() {
            page.histogram(name, &[("kind", kind)], &times.ran.read());
        }
    }

    /// Of all workers.
    pub(super) fn handshake_times(&self) -> HistogramReading {
        let mut sum = HistogramReading::default();
        for counters in self.workers() {
            let one = counters.handshake_time().read();
            sum.nanos += one.nanos;
            sum.counts.iter_mut().zip(one.counts).for_each(|(sum, one)| *sum += one);
        }
        sum
    }
}
