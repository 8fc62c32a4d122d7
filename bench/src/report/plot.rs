//! Plots: bars, as SVG, by hand.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::table::number;
use crate::outcome::{Outcome, Run};

/// Sizes in pixels.
const LABELS: usize = 320;
const BARS: usize = 420;
const VALUES: usize = 130;
const ROW: usize = 22;
const BAR: usize = 14;

/// One file for each unit: what goes through, connections, frames, memory, latency.
pub(crate) fn plots(run: &Run, folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let mut units: Vec<&str> = run.outcomes.iter().map(|outcome| outcome.unit.as_str()).collect();
    units.sort_unstable();
    units.dedup();
    for unit in units {
        let outcomes: Vec<_> = run.outcomes.iter().filter(|outcome| outcome.unit == unit).collect();
        let name: String = unit.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let title = format!("{unit}, for a busy core ({})", run.machine.commit);
        fs::write(folder.join(format!("{}.svg", name.to_lowercase())), bars(&title, &outcomes))?;
    }
    Ok(())
}

/// A bar for each scenario, and a line where its ceiling is.
fn bars(title: &str, outcomes: &[&Outcome]) -> String {
    let value = |outcome: &Outcome| outcome.per_busy_core.unwrap_or(outcome.figure);
    let ceiling = |outcome: &Outcome| outcome.ceiling.as_ref().map_or(0.0, |ceiling| ceiling.value);
    let most = outcomes.iter().map(|o| value(o).max(ceiling(o))).fold(1e-9, f64::max);
    let pixels = |n: f64| n / most * BARS as f64;
    let (width, height) = (LABELS + BARS + VALUES, (outcomes.len() + 2) * ROW);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"{ROW}\" font-weight=\"bold\">{}</text>\n",
        escaped(title)
    );
    for (row, outcome) in outcomes.iter().enumerate() {
        let (y, length) = ((row + 1) * ROW + ROW / 2, pixels(value(outcome)));
        let base = y + BAR - 3;
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LABELS}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"#3b6ea5\"/>\n\
             <text x=\"{:.1}\" y=\"{base}\">{}</text>\n",
            LABELS - 8,
            escaped(&outcome.name),
            LABELS as f64 + length + 6.0,
            number(value(outcome)),
        );
        if ceiling(outcome) > 0.0 {
            let x = LABELS as f64 + pixels(ceiling(outcome));
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\" stroke=\"#b03a2e\" stroke-width=\"2\"/>",
                y - 2,
                y + BAR + 2
            );
        }
    }
    svg + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fills_the_plot() {
        let outcome = |name: &str, figure| Outcome { name: name.into(), figure, ..Outcome::default() };
        let (a, b) = (outcome("a<b", 5.0), outcome("c", 10.0));
        let svg = bars("t", &[&a, &b]);
        assert!(svg.contains(&format!("width=\"{BARS}.0\"")) && svg.contains("width=\"210.0\""), "{svg}");
        assert!(svg.contains("a&lt;b") && svg.ends_with("</svg>\n"));
    }
}
