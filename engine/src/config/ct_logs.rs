//! Log lists of Certificate Transparency: the JSON that browsers' vendors publish (version 3).

use std::path::Path;

use base64ct::{Base64, Encoding};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use wireglass_core::tls::CtLog;

use super::files;

#[derive(Deserialize)]
struct List {
    operators: Vec<Operator>,
}

#[derive(Deserialize)]
struct Operator {
    name: String,
    #[serde(default)]
    logs: Vec<Log>,
    /// Those with another interface; their promises are the same.
    #[serde(default)]
    tiled_logs: Vec<Log>,
}

#[derive(Deserialize)]
struct Log {
    key: String,
    #[serde(default)]
    state: Option<State>,
    #[serde(default)]
    temporal_interval: Option<Interval>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Pending {},
    Qualified {},
    Usable {},
    Readonly {},
    Retired {
        #[serde(deserialize_with = "seconds")]
        timestamp: i64,
    },
    Rejected {},
}

#[derive(Deserialize)]
struct Interval {
    #[serde(deserialize_with = "seconds")]
    start_inclusive: i64,
    #[serde(deserialize_with = "seconds")]
    end_exclusive: i64,
}

/// A time of RFC 3339, in seconds since the Unix epoch.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse::<Timestamp>().map(Timestamp::as_second).map_err(serde::de::Error::custom)
}

/// The logs in a list that may be relied on, or might be once. The error says what was expected.
pub(super) fn read(path: &Path) -> Result<Vec<CtLog>, String> {
    let text = files::text(path)?;
    let wrong = |error: &dyn std::fmt::Display| {
        format!(
            "expected a log list of Certificate Transparency (JSON, version 3) in {}: {error}",
            path.display()
        )
    };
    let list: List = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    let mut found = Vec::new();
    for Operator { name, logs, tiled_logs } in list.operators {
        for Log { key, state, temporal_interval } in logs.into_iter().chain(tiled_logs) {
            let retired = match state {
                // Nobody relies on it yet, or ever.
                Some(State::Pending {} | State::Rejected {}) => continue,
                Some(State::Retired { timestamp }) => Some(timestamp),
                Some(State::Qualified {} | State::Usable {} | State::Readonly {}) | None => None,
            };
            let interval = temporal_interval
                .map(|Interval { start_inclusive, end_exclusive }| start_inclusive..end_exclusive);
            let key =
                Base64::decode_vec(&key).map_err(|error| wrong(&format!("a key of {name}: {error}")))?;
            found.push(CtLog { key, operator: name.clone(), retired, interval });
        }
    }
    if found.is_empty() { Err(wrong(&"it has no log that may be relied on")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_that_may_be_relied_on() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("log_list.json");
        let log = |key: &str, rest: &str| {
            format!(r#"{{"description": "x", "log_id": "AA==", "key": "{key}", "mmd": 86400{rest}}}"#)
        };
        let state =
            |name: &str| format!(r#", "state": {{"{name}": {{"timestamp": "2025-01-01T00:00:00Z"}}}}"#);
        let interval = r#", "temporal_interval": {"start_inclusive": "2026-01-01T00:00:00Z", "end_exclusive": "2026-07-01T00:00:00Z"}"#;
        let logs = [
            log("AQ==", &(state("usable") + interval)),
            log("Ag==", &state("retired")),
            log("Aw==", &state("pending")),
            log("BA==", &state("rejected")),
        ];
        let text = format!(
            r#"{{"version": "80", "operators": [{{"name": "One", "email": [], "logs": [{}]}}, {{"name": "Two", "tiled_logs": [{}]}}]}}"#,
            logs.join(", "),
            log("BQ==", &state("qualified"))
        );
        std::fs::write(&file, &text).expect("written");
        let found = read(&file).expect("a list");
        let about: Vec<_> =
            found.iter().map(|log| (log.key[0], log.operator.as_str(), log.retired)).collect();
        assert_eq!(about, [(1, "One", None), (2, "One", Some(1_735_689_600)), (5, "Two", None)]);
        assert_eq!(found[0].interval, Some(1_767_225_600..1_782_864_000));
        for wrong in ["", "{}", r#"{"operators": []}"#, &text.replace("AQ==", "?")] {
            std::fs::write(&file, wrong).expect("written");
            let message = read(&file).expect_err("no list");
            assert!(message.starts_with("expected a log list of Certificate Transparency"), "{message}");
        }
    }
}
