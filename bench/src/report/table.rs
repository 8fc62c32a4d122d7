//! One line for each scenario.

use crate::machine::Machine;
use crate::outcome::Outcome;

/// The columns; `waited` above some percent tells of a disturbed run.
pub(crate) const HEAD: &str = "\
scenario                                       figure unit           busy waited  load  per busy core  share of  allocs/pkt  faults";

/// What it was measured on.
pub(crate) fn machine(machine: &Machine) -> String {
    let Machine { cpu, cores, kernel, version, commit } = machine;
    format!("wireglass {version} ({commit}), {cores} cores of {cpu}, Linux {kernel}\n")
}

/// A scenario's line, and under it its latencies.
pub(crate) fn line(outcome: &Outcome) -> String {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let share = outcome
        .share
        .zip(outcome.ceiling.as_ref())
        .map(|(share, ceiling)| format!("{} {}", percent(share), ceiling.name));
    let faults = outcome.faults().join(", ");
    let mut text = format!(
        "{:<42} {:>10} {:<14} {:>4} {:>6} {:>5} {:>14} {:>9} {:>11.2}  {}",
        outcome.name,
        number(outcome.figure),
        outcome.unit,
        percent(outcome.busy),
        percent(outcome.waited),
        percent(outcome.load_busy),
        outcome.per_busy_core.map_or_else(|| "-".into(), number),
        share.unwrap_or_else(|| "-".into()),
        outcome.allocations_per_packet,
        if faults.is_empty() { "none" } else { &faults },
    );
    if let Some(offered) = outcome.offered
        && let Some(latency) = &outcome.latency
    {
        for (what, p) in [("first byte", &latency.first_byte), ("last byte", &latency.last_byte)] {
            text += &format!(
                "\n    {what}: p50 {:.0} us, p99 {:.0} us, p99.9 {:.0} us, max {:.0} us, at {} requests/s",
                p.p50,
                p.p99,
                p.p999,
                p.max,
                number(offered),
            );
        }
    }
    text
}

/// Three digits that count.
pub(super) fn number(n: f64) -> String {
    let digits = (2 - n.abs().max(1e-9).log10().floor() as i32).clamp(0, 4) as usize;
    format!("{n:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_count() {
        assert_eq!(
            [12345.6, 123.4, 12.34, 1.234, 0.1234].map(number),
            ["12346", "123", "12.3", "1.23", "0.123"]
        );
    }
}
