//! What mirrors count.

use wireglass_core::counters::{Kind, MirrorCounters};
use wireglass_core::reason::MirrorDrop;

use super::Metrics;
use super::page::{Label, Page};

type Field = (&'static str, &'static str, fn(&MirrorCounters) -> u64);

const FIELDS: [Field; 4] = [
    ("wireglass_mirror_frames_total", "Frames that a mirror's port took.", |mirror| mirror.frames.value()),
    ("wireglass_mirror_bytes_total", "Bytes of the frames that a mirror's port took.", |mirror| {
        mirror.bytes.value()
    }),
    (
        "wireglass_mirror_flows_total",
        "Flows that a mirror got, except bypassed ones whose frames were copied.",
        |mirror| mirror.flows.value(),
    ),
    (
        "wireglass_mirror_flows_lost_total",
        "Flows that lost a frame in a mirror, and ended there.",
        |mirror| mirror.flows_lost.value(),
    ),
];

impl Metrics {
    pub(super) fn mirror_counters(&self, page: &mut Page<'_>) {
        if self.mirrors().is_empty() {
            return;
        }
        let all = || {
            let named = self.mirrors().iter().enumerate();
            named.flat_map(|(n, name)| {
                let workers = self.workers().iter().enumerate();
                workers.map(move |(worker, counters)| (worker, name, counters.mirror(n)))
            })
        };
        for (metric, help, read) in FIELDS {
            page.family(metric, help, Kind::Counter);
            for (worker, name, mirror) in all() {
                page.sample(metric, &[("worker", &worker), ("mirror", name)], read(mirror));
            }
        }
        let metric = "wireglass_mirror_dropped_total";
        page.family(
            metric,
            "Frames that did not reach a mirror's port, or came from it, by reason.",
            Kind::Counter,
        );
        for (worker, name, mirror) in all() {
            for &why in MirrorDrop::ALL {
                let labels: [Label<'_>; 3] = [("worker", &worker), ("mirror", name), ("reason", &why.code())];
                page.sample(metric, &labels, mirror.dropped(why));
            }
        }
    }
}
