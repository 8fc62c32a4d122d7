//! Numbers in five characters.

/// Something a second: `0`, `0.3`, `42`, `1.23k`, `12.3M`.
pub(super) fn rate(value: f64) -> String {
    match value {
        v if v < 0.05 => "0".into(),
        v if v < 9.95 => format!("{v:.1}"),
        v => scaled(v, 1000.0, &["", "k", "M", "G", "T", "P", "E"]),
    }
}

/// So many: as they are up to 999.
pub(super) fn count(value: u64) -> String {
    scaled(value as f64, 1000.0, &["", "k", "M", "G", "T", "P", "E"])
}

/// Bytes, where K is 1024.
pub(super) fn bytes(value: u64) -> String {
    scaled(value as f64, 1024.0, &["", "K", "M", "G", "T", "P", "E"])
}

/// A part of a whole, 0 to 1.
pub(super) fn percent(share: f64) -> String {
    // Of what strangers say, more than all may be in use.
    format!("{:.0}%", (share * 100.0).clamp(0.0, 999.0))
}

/// `12 s`, `3 min 20 s`, `2 h 05 min`, `3 d 04 h`.
pub(super) fn uptime(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days} d {:02} h", hours % 24),
        () if hours > 0 => format!("{hours} h {:02} min", minutes % 60),
        () if minutes > 0 => format!("{minutes} min {:02} s", seconds % 60),
        () => format!("{seconds} s"),
    }
}

/// Three digits and the unit that makes them enough.
fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    // What would be rounded to four digits takes the next unit.
    while value >= 999.5
        && let Some(next) = units.next()
    {
        value /= step;
        unit = next;
    }
    let digits = match value {
        _ if unit.is_empty() => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_fits_five_characters() {
        for (value, text) in [
            (0.0, "0"),
            (0.04, "0"),
            (0.25, "0.2"),
            (9.94, "9.9"),
            (9.96, "10"),
            (999.4, "999"),
            (999.6, "1.00k"),
            (9_994.0, "9.99k"),
            (9_996.0, "10.0k"),
            (123_456.0, "123k"),
            (999_600.0, "1.00M"),
            (40e9, "40.0G"),
            (8.0 * u64::MAX as f64, "148E"),
        ] {
            assert_eq!(rate(value), text);
        }
        assert_eq!(
            (count(0), count(999), count(1000), count(65_536)),
            ("0".into(), "999".into(), "1.00k".into(), "65.5k".into())
        );
        assert_eq!(
            (bytes(1023), bytes(1 << 28), bytes(u64::MAX)),
            ("1.00K".into(), "256M".into(), "16.0E".into())
        );
        for power in 0..64 {
            for value in [(1u64 << power) - 1, 1 << power, u64::MAX >> power] {
                assert!(
                    count(value).len() <= 5 && bytes(value).len() <= 5 && rate(value as f64).len() <= 5,
                    "{value}"
                );
            }
        }
    }

    #[test]
    fn times_and_shares() {
        let up = |seconds| uptime(seconds);
        assert_eq!(
            [up(59.9), up(61.0), up(7_500.0), up(273_600.0)],
            ["59 s", "1 min 01 s", "2 h 05 min", "3 d 04 h"]
        );
        assert_eq!(
            [percent(0.0), percent(0.876), percent(1.0), percent(1e30)],
            ["0%", "88%", "100%", "999%"]
        );
    }
}
