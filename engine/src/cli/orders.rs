//! What the commands that order have in common: times, and what stands afterwards.

use std::io::Write;
use std::time::Duration;

use serde::Serialize;

use crate::control::operate::{OrderRecord, OrdersRecord};

/// A time as people write it.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let expected = || "expected a time: 90s, 15m, 1h30m".to_owned();
    let time: jiff::SignedDuration = text.parse().map_err(|_| expected())?;
    let time = Duration::try_from(time).map_err(|_| expected())?;
    if time.subsec_nanos() == 0 && !time.is_zero() { Ok(time) } else { Err(expected()) }
}

/// One object, on a line. Whoever does not read it has seen enough.
pub(super) fn print_json(record: &impl Serialize) {
    let _ = serde_json::to_string(record).map(|line| writeln!(std::io::stdout(), "{line}"));
}

/// What stands, in words for people.
pub(super) fn tell(record: &OrdersRecord) {
    if record.orders.is_empty() {
        errln!("wireglass: no order stands: policy decides");
    }
    for held @ OrderRecord { order, left_seconds, .. } in &record.orders {
        let what = match order.as_str() {
            "bypass" => "all new flows are bypassed, whatever policy says",
            "drain" => "no new flow is decrypted; what policy blocks is blocked",
            _ => "an order that this command does not know",
        };
        let left = match left_seconds {
            Some(left) => format!("{:#} left", jiff::SignedDuration::from_secs(*left as i64)),
            None if held.is_of_fleet() => "until `wireglass fleet drain NAME --undo`".to_owned(),
            None => format!("until `wireglass {order} --end`"),
        };
        let by = if held.is_of_fleet() { " (by the fleet)" } else { "" };
        errln!("wireglass: {order}{by}: {what}; {left}");
    }
    errln!("wireglass: {} decrypted flow(s) are open", record.decrypted);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h30m", 5400), ("2h", 7200), ("1h 5s", 3605)] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "15", "m", "-15m", "0s", "1ms", "15 parsecs", "99999999999999999999h"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
