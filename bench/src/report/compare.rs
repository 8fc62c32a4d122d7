//! Two runs side by side.

use std::fmt::Write;

use super::table::number;
use crate::outcome::{Outcome, Run};

/// A change of less is noise on a machine that is shared: runs of the same program differ by so much.
const NOISE: f64 = 0.05;

/// For each scenario that both runs have: both figures for a busy core, where there are such, and the change.
pub(crate) fn comparison(before: &Run, after: &Run) -> String {
    let mut text = format!(
        "before: {} ({})\nafter:  {} ({})\n",
        before.machine.version, before.machine.commit, after.machine.version, after.machine.commit
    );
    if before.machine.cpu != after.machine.cpu {
        text += "the two machines differ: the figures cannot be compared\n";
    }
    for new in &after.outcomes {
        let Some(old) = before.outcomes.iter().find(|old| old.name == new.name) else { continue };
        let (a, b) = (comparable(old), comparable(new));
        let change = b / a - 1.0;
        let verdict = match change {
            change if change.abs() < NOISE || !change.is_finite() => "",
            change if (change > 0.0) != new.lower_is_better => "better",
            _ => "WORSE",
        };
        let _ = writeln!(
            text,
            "{:<42} {:>10} -> {:>10} {:<14} {:>+7.1} % {verdict}",
            new.name,
            number(a),
            number(b),
            new.unit,
            change * 100.0
        );
    }
    text
}

/// What does not depend on how fast the generator was.
fn comparable(outcome: &Outcome) -> f64 {
    outcome.per_busy_core.unwrap_or(outcome.figure)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let text = comparison(&run(1.0, 10.0, 5.0), &run(2.0, 20.0, 5.1));
        let verdicts: Vec<_> =
            text.lines().skip(2).map(|l| (l.contains("better"), l.contains("WORSE"))).collect();
        assert_eq!(verdicts, [(true, false), (false, true), (false, false)], "{text}");
    }
}
