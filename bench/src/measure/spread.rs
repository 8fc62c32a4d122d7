//! How much the parts of one measurement differ.

/// The measured time is looked at in so many parts.
pub(super) const PARTS: u32 = 8;

/// Makes the median absolute deviation of normally distributed values their standard deviation.
const NORMAL: f64 = 1.4826;

/// The standard error of the rate over all parts as a share of it. By the median absolute deviation, so that one part that was
/// disturbed does not count. None if there is nothing to tell it from.
pub(super) fn standard_error(rates: &[f64]) -> Option<f64> {
    let middle = median(rates)?;
    let deviations: Vec<_> = rates.iter().map(|rate| (rate - middle).abs()).collect();
    let deviation = NORMAL * median(&deviations)?;
    Some(deviation / middle / (rates.len() as f64).sqrt()).filter(|error| error.is_finite())
}

/// The one in the middle, or between the two there; none of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.get(sorted.len().saturating_sub(1) / 2)?, sorted.get(sorted.len() / 2)?);
    Some((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_disturbed_part_does_not_count() {
        let rates = [98.0, 102.0, 98.0, 102.0, 98.0, 102.0, 98.0, 10.0];
        let error = standard_error(&rates).expect("eight parts");
        assert!((error - NORMAL * 2.0 / 98.0 / 8_f64.sqrt()).abs() < 1e-9, "{error}");
    }

    #[test]
    fn it_is_that_of_a_normal_distribution() {
        // Quantiles around 100 with a standard deviation of 5.
        let rates = [-1.534, -0.887, -0.489, -0.157, 0.157, 0.489, 0.887, 1.534].map(|z| 100.0 + 5.0 * z);
        let error = standard_error(&rates).expect("eight parts");
        assert!((0.016..0.019).contains(&error), "{error}, not 0.05 / sqrt(8)");
    }

    #[test]
    fn nothing_tells_nothing() {
        assert_eq!(standard_error(&[]), None);
        assert_eq!(standard_error(&[0.0; 8]), None);
    }
}
