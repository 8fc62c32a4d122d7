//! Two runs side by side.

use std::fmt::Write;

use super::table::number;
use crate::measure::median;
use crate::outcome::{Outcome, Run};

/// Noise where none was measured: latencies, memory, runs of older versions.
const ASSUMED: f64 = 0.05;
/// A change counts from so many standard errors on.
const ERRORS: f64 = 2.0;

/// For each scenario that both runs have: both figures for a busy core, where there are such, the change, and what of it may be
/// noise: what the parts of both measurements differ by, and the machine from one run to the other. `again` are more runs of what
/// `before` is a run of: what the same program does at several times differs by more than a few seconds can tell.
pub(crate) fn comparison(before: &Run, after: &Run, again: &[Run]) -> String {
    let mut text = format!(
        "before: {} ({})\nafter:  {} ({})\n",
        before.machine.version, before.machine.commit, after.machine.version, after.machine.commit
    );
    if before.machine.cpu != after.machine.cpu {
        text += "the two machines differ: the figures cannot be compared\n";
    }
    let drift = drift(before, after);
    let _ = match drift {
        Some(drift) => writeln!(text, "machine: ceilings differ by {:.1} % (median)", drift * 100.0),
        None => writeln!(text, "machine: no ceiling was probed in both runs"),
    };
    for (old, new) in pairs(before, after) {
        let (a, b) = (old.comparable(), new.comparable());
        let change = b / a - 1.0;
        let errors = old.standard_error.zip(new.standard_error);
        let within = errors.map_or(ASSUMED, |(a, b)| ERRORS * a.hypot(b));
        let between = ERRORS * deviation(old, again);
        let noise = within.hypot(drift.unwrap_or_default()).hypot(between);
        let verdict = match change {
            change if change.abs() < noise || !change.is_finite() => "",
            change if (change > 0.0) != new.lower_is_better => "better",
            _ => "WORSE",
        };
        let _ = writeln!(
            text,
            "{:<42} {:>10} -> {:>10} {:<14} {:>+7.1} %, noise {:>5.1} % {:<8} {verdict}",
            new.name,
            number(a),
            number(b),
            new.unit,
            change * 100.0,
            noise * 100.0,
            if errors.is_some() { "measured" } else { "assumed" }
        );
    }
    text
}

/// Scenarios that both have.
fn pairs<'a>(before: &'a Run, after: &'a Run) -> impl Iterator<Item = (&'a Outcome, &'a Outcome)> {
    after.outcomes.iter().filter_map(|new| Some((before.named(&new.name)?, new)))
}

/// The standard deviation of a scenario's figures in all runs of the same, as a share of the first.
fn deviation(first: &Outcome, again: &[Run]) -> f64 {
    let others = again.iter().filter_map(|run| run.named(&first.name)).map(Outcome::comparable);
    let figures: Vec<_> = std::iter::once(first.comparable()).chain(others).collect();
    let mean = figures.iter().sum::<f64>() / figures.len() as f64;
    let squares: f64 = figures.iter().map(|figure| (figure - mean).powi(2)).sum();
    // One figure has none.
    let variance = squares / (figures.len() - 1).max(1) as f64;
    let deviation = variance.sqrt() / first.comparable();
    if deviation.is_finite() { deviation } else { 0.0 }
}

/// How much faster or slower the machine itself was, by the ceilings that each scenario probes in both runs: the median, as one probe
/// is as easily disturbed as anything else. F is no probe but another scenario.
fn drift(before: &Run, after: &Run) -> Option<f64> {
    let probes = pairs(before, after).filter_map(|(old, new)| old.ceiling.as_ref().zip(new.ceiling.as_ref()));
    let drifts =
        probes.filter(|(old, _)| old.name != "F").map(|(old, new)| (new.value / old.value - 1.0).abs());
    median(&drifts.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ceilings::Ceiling;

    #[test]
    fn better_and_worse_depend_on_the_figure() {
        let outcome = |name: &str, figure, lower_is_better| Outcome {
            name: name.into(),
            figure,
            lower_is_better,
            ..Outcome::default()
        };
        let run = |speed, latency, same| Run {
            outcomes: vec![
                outcome("speed", speed, false),
                outcome("latency", latency, true),
                outcome("same", same, false),
            ],
            ..Run::default()
        };
        let text = comparison(&run(1.0, 10.0, 5.0), &run(2.0, 20.0, 5.1), &[]);
        let verdicts: Vec<_> =
            text.lines().skip(3).map(|l| (l.contains("better"), l.contains("WORSE"))).collect();
        assert_eq!(verdicts, [(true, false), (false, true), (false, false)], "{text}");
    }

    fn run(figure: f64, standard_error: Option<f64>, ceiling: Option<f64>) -> Run {
        let ceiling = ceiling.map(|value| Ceiling { name: "C".into(), value, by: None });
        let outcome = Outcome { name: "speed".into(), figure, standard_error, ceiling, ..Outcome::default() };
        Run { outcomes: vec![outcome], ..Run::default() }
    }

    fn line(before: &Run, after: &Run) -> String {
        line_with(before, after, &[])
    }

    fn line_with(before: &Run, after: &Run, again: &[Run]) -> String {
        let text = comparison(before, after, again);
        text.lines().nth(3).expect("one scenario").trim_end().to_owned()
    }

    #[test]
    fn what_lies_within_two_standard_errors_of_both_is_no_change() {
        // 2 x sqrt(0.03^2 + 0.04^2) = 10 %.
        let line = |figure| line(&run(1.0, Some(0.03), None), &run(figure, Some(0.04), None));
        for figure in [0.91, 1.09] {
            assert!(line(figure).ends_with("noise  10.0 % measured"), "{}", line(figure));
        }
        assert!(line(1.11).ends_with("better"));
        assert!(line(0.89).ends_with("WORSE"));
    }

    #[test]
    fn a_quiet_machine_tells_small_changes() {
        let line = line(&run(1.0, Some(0.005), Some(40.0)), &run(0.98, Some(0.005), Some(40.0)));
        assert!(line.ends_with("WORSE"), "{line}");
    }

    #[test]
    fn a_machine_that_was_slower_itself_is_no_change() {
        let line = line(&run(1.0, Some(0.005), Some(40.0)), &run(0.92, Some(0.005), Some(36.0)));
        assert!(line.ends_with("noise  10.1 % measured"), "{line}");
    }

    #[test]
    fn where_nothing_was_measured_noise_is_assumed() {
        let (old, new) = (run(1.0, None, None), run(0.96, Some(0.04), None));
        assert!(line(&old, &new).ends_with("noise   5.0 % assumed"));
        assert!(line(&new, &old).ends_with("noise   5.0 % assumed"));
        assert!(line(&run(1.0, Some(0.03), None), &run(0.94, None, None)).ends_with("WORSE"));
    }

    #[test]
    fn what_the_same_program_differs_by_at_several_times_is_no_change() {
        let run = |figure| run(figure, Some(0.0), None);
        let again = [run(1.1), run(0.9)];
        // A standard deviation of 0.1.
        assert!(line_with(&run(1.0), &run(1.19), &again).ends_with("noise  20.0 % measured"));
        assert!(line_with(&run(1.0), &run(1.21), &again).ends_with("better"));
        assert!(
            line_with(&run(1.0), &run(1.19), &[Run::default()]).ends_with("better"),
            "nothing of it again"
        );
    }
}
