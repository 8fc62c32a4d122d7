//! One line for each scenario.

use crate::ceilings::Ceiling;
use crate::machine::Machine;
use crate::outcome::{Alone, CONNECTIONS, Contrast, Cost, Instructions, OfInspect, Outcome};

/// The columns; `waited` above some percent tells of a disturbed run, `copies` are payload bytes copied for each that came.
pub(crate) const HEAD: &str = "\
scenario                                       figure unit           busy waited  load  per busy core  share of  pkts/turn  allocs/pkt  copies  faults";

/// What it was measured on.
pub(crate) fn machine(machine: &Machine) -> String {
    let Machine { cpu, cores, kernel, version, commit } = machine;
    format!("wireglass {version} ({commit}), {cores} cores of {cpu}, Linux {kernel}\n")
}

/// A scenario's line, and under it what has no column.
pub(crate) fn line(outcome: &Outcome) -> String {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let share = outcome
        .share
        .zip(outcome.ceiling.as_ref())
        .map(|(share, ceiling)| format!("{} {}", percent(share), ceiling.name));
    let faults = outcome.faults().join(", ");
    let mut text = format!(
        "{:<42} {:>10} {:<14} {:>4} {:>6} {:>5} {:>14} {:>9} {:>10} {:>11.2} {:>7}  {}",
        outcome.name,
        number(outcome.figure),
        outcome.unit,
        percent(outcome.busy),
        percent(outcome.waited),
        percent(outcome.load_busy),
        outcome.per_busy_core.map_or_else(|| "-".into(), number),
        share.unwrap_or_else(|| "-".into()),
        outcome.packets_per_turn.map_or_else(|| "-".into(), |packets| format!("{packets:.1}")),
        outcome.allocations_per_packet,
        outcome.copied_per_payload_byte.map_or_else(|| "-".into(), |copies| format!("{copies:.2}")),
        if faults.is_empty() { "none" } else { &faults },
    );
    details(outcome).iter().for_each(|detail| text += &format!("\n    {detail}"));
    text
}

/// What has no column.
fn details(outcome: &Outcome) -> Vec<String> {
    let mut all = Vec::new();
    if let (Some(ceiling), Some(by), Some(records)) =
        (&outcome.ceiling, outcome.ceiling.as_ref().and_then(|c| c.by.as_ref()), &outcome.records)
    {
        let Ceiling { name, value, .. } = ceiling;
        all.push(format!(
            "{name}: {} {} by {by}; the engine's records by {records}",
            number(*value),
            outcome.unit
        ));
    }
    let timed = outcome.offered.is_some() || outcome.unit == CONNECTIONS;
    if timed && let Some(latency) = &outcome.latency {
        let asked = outcome.offered.map_or_else(
            || "since the SYN; as many at a time as there are connections".into(),
            |offered| format!("{} requests/s by the clock", number(offered)),
        );
        for (what, p) in [("first byte", &latency.first_byte), ("last byte", &latency.last_byte)] {
            let (p50, p99, p999, max) = (number(p.p50), number(p.p99), number(p.p999), number(p.max));
            all.push(format!("{what}: p50 {p50} us, p99 {p99} us, p99.9 {p999} us, max {max} us; {asked}"));
        }
    }
    if outcome.late_repeats() > 0 {
        let (repeats, late) = (outcome.late_repeats(), number(outcome.load_late));
        all.push(format!(
            "{repeats} segments repeated, but the generator left a connection without an answer for {late} ms"
        ));
    }
    if let Some(added) = &outcome.added {
        let [p50, p99, p999] = [added.p50, added.p99, added.p999].map(number);
        all.push(format!(
            "more than the wire, asked for as much: p50 {p50} us, p99 {p99} us, p99.9 {p999} us"
        ));
    }
    if let Some(resumed) = outcome.resumed.as_ref().filter(|_| outcome.name.ends_with("resumed")) {
        let [client, server] = [resumed.client_leg, resumed.server_leg].map(|share| share * 100.0);
        all.push(format!("resumed: {client:.1} % of the client legs, {server:.1} % of the server legs"));
    }
    if let Some(memory) = &outcome.memory {
        let [heap, legs, table, buffers, process] =
            [memory.heap, memory.legs, memory.table, memory.buffers, memory.process].map(number);
        all.push(format!(
            "heap {heap} B, legs {legs} B of it, tables {table} B, frame buffers {buffers} B; all of this process {process} B"
        ));
    }
    if let Some(Contrast { what, unit, without, with }) = &outcome.contrast {
        let (change, without, with) = ((with / without - 1.0) * 100.0, number(*without), number(*with));
        all.push(format!("{what}: {without} -> {with} {unit} ({change:+.1} %)"));
    }
    if let Some(alone) = &outcome.alone {
        let exchange = if outcome.unit == CONNECTIONS { "connection" } else { "exchange" };
        all.push(costs(alone, exchange));
        all.extend(alone.instructions.as_ref().map(|counted| instructions(counted, exchange)));
    }
    if let Some(OfInspect { median, quartiles: [low, high], pairs }) = &outcome.of_inspect {
        let [median, low, high] = [median, low, high].map(|share| share * 100.0);
        all.push(format!(
            "for a busy core {median:.1} % of without rules (median of {pairs} pairs, half of them {low:.1} to {high:.1} %)"
        ));
    }
    all
}

/// What the engine's turns cost.
fn costs(alone: &Alone, exchange: &str) -> String {
    let costs = [
        ("payload byte", alone.per_payload_byte),
        ("packet", Some(alone.per_packet)),
        (exchange, alone.per_exchange),
    ];
    let costs = costs.into_iter().filter_map(|(what, cost)| {
        let Cost { cycles, nanos, quartiles: [low, high] } = cost?;
        let [low, high] = [low, high].map(|share| (share - 1.0) * 100.0);
        Some(format!(
            "{} ns = {} cycles for each {what} (half of the parts {low:+.1} to {high:+.1} %)",
            number(nanos),
            number(cycles)
        ))
    });
    let taken = alone.taken_away * 100.0;
    let costs = costs.collect::<Vec<_>>().join(", ");
    format!(
        "{costs}; TSC at {:.3} GHz, {taken:.0} % of the time was other programs' and is taken off",
        alone.ghz
    )
}

fn instructions(counted: &Instructions, exchange: &str) -> String {
    let all = [
        ("payload byte", counted.per_payload_byte),
        ("packet", Some(counted.per_packet)),
        (exchange, counted.per_exchange),
    ];
    let all = all.into_iter().filter_map(|(what, n)| Some(format!("{} for each {what}", number(n?))));
    format!("instructions under callgrind: {}", all.collect::<Vec<_>>().join(", "))
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
