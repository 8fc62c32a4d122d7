//! The report: a table for people, JSON for programs.

use std::fmt;

use serde_json::{Value, json};

use super::aead::Bulk;
use super::handshake::Handshakes;
use crate::machine::cpu;

/// All that was measured.
pub(crate) struct Report {
    pub(crate) bulk: Vec<Bulk>,
    pub(crate) handshakes: Vec<Handshakes>,
}

impl Report {
    /// What C is of, for each suite.
    fn best(&self) -> Vec<&Bulk> {
        let mut suites: Vec<_> = self.bulk.iter().map(|bulk| bulk.suite).collect();
        suites.sort_unstable();
        suites.dedup();
        let best = |suite| Bulk::best(self.bulk.iter().filter(|bulk| bulk.suite == suite));
        suites.into_iter().filter_map(best).collect()
    }

    pub(crate) fn to_json(&self) -> Value {
        let bulk =
            self.bulk.iter().map(|b| json!({ "measured": b, "ceiling_bytes_per_second": b.ceiling() }));
        let best = self.best();
        let best = best.iter().map(|b| json!({ "suite": b.suite, "provider": b.provider }));
        let shakes = self
            .handshakes
            .iter()
            .map(|h| json!({ "measured": h, "connections_per_second_cold_warm_resumed": h.ceilings() }));
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "cpu": cpu(),
            "bulk": bulk.collect::<Vec<_>>(),
            "best": best.collect::<Vec<_>>(),
            "handshakes": shakes.collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "One core of: {}\n", cpu())?;
        writeln!(
            f,
            "{:<10} {:<18} {:>10} {:>10} {:>12}",
            "provider", "suite", "seal GB/s", "open GB/s", "C Gbit/s"
        )?;
        for b in &self.bulk {
            let (seal, open, c) = (b.seal / 1e9, b.open / 1e9, b.ceiling() * 8.0 / 1e9);
            writeln!(f, "{:<10} {:<18} {seal:>10.2} {open:>10.2} {c:>12.1}", b.provider, b.suite)?;
        }
        for b in self.best() {
            writeln!(f, "C of {}: {:.1} Gbit/s, by {}", b.suite, b.ceiling() * 8.0 / 1e9, b.provider)?;
        }
        writeln!(
            f,
            "\n{:<10} {:<8} {:<16} {:<6} {:>20} {:>20} {:>20}",
            "provider", "version", "group", "leaf", "H", "Hw (verified before)", "R (resumed)"
        )?;
        for h in &self.handshakes {
            write!(f, "{:<10} {:<8} {:<16} {:<6}", h.provider, h.version, h.group, h.leaf)?;
            for (micros, ceiling) in [h.cold_us, h.warm_us, h.resumed_us].into_iter().zip(h.ceilings()) {
                write!(f, " {:>20}", format!("{micros:.0} us, {ceiling:.0} /s"))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
