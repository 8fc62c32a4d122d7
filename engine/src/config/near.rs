//! "Did you mean": the known word nearest to a misspelt one.

/// The candidate that is at most a third of the word's letters away.
pub(super) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // Numbers and versions are near to each other without being meant.
    if !word.contains(char::is_alphabetic) {
        return None;
    }
    let word = word.to_lowercase();
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, remove, replace or swap with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_ignores_strangers() {
        let words = ["decrypt", "bypass", "block"];
        assert_eq!(nearest("decypt", words), Some("decrypt"));
        assert_eq!(nearest("Decrypt", words), Some("decrypt"));
        assert_eq!(nearest("bolck", words), Some("block"));
        assert_eq!(nearest("allow", words), None);
        assert_eq!(nearest("", words), None);
        assert_eq!(nearest("1.1", ["1.2", "1.3"]), None);
        assert_eq!(nearest("idel", ["idle"]), Some("idle"));
    }

    #[test]
    fn distances() {
        for (a, b, n) in [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(a, b), n, "{a} {b}");
        }
    }
}
