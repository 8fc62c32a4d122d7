//! Two builds in turns.

use super::table::number;
use crate::outcome::{Paired, Spread};

/// A scenario's line: medians of both, and how they compare within each pair.
pub(crate) fn line(paired: &Paired) -> String {
    let of = |values: Vec<f64>| Spread::of(&values);
    let both = [0, 1].map(|which: usize| of(paired.pairs.iter().map(|pair| pair[which]).collect()));
    let ratios = of(paired.pairs.iter().map(|[before, after]| after / before).collect());
    let ([Some(before), Some(after)], Some(ratios)) = (both, ratios) else {
        return format!("{:<42} nothing was measured", paired.name);
    };
    let percent = |ratio: f64| (ratio - 1.0) * 100.0;
    let [low, high] = ratios.quartiles.map(percent);
    format!(
        "{:<42} {:>10} -> {:>10} {:<14} {:>+7.1} % (median of {} pairs, half of them {low:+.1} to {high:+.1} %)",
        paired.name,
        number(before.median),
        number(after.median),
        paired.unit,
        percent(ratios.median),
        paired.pairs.len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The machine halved its speed after two pairs: medians of either say nothing, ratios do.
    #[test]
    fn a_pair_is_compared_with_itself() {
        let pairs = vec![[10.0, 11.0], [10.0, 11.0], [5.0, 5.5], [5.0, 5.5], [5.0, 6.0]];
        let line = line(&Paired { name: "n".into(), unit: "Gbit/s".into(), pairs });
        assert!(line.ends_with("+10.0 % (median of 5 pairs, half of them +10.0 to +10.0 %)"), "{line}");
    }
}
