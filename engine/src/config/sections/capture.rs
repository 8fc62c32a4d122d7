//! `[capture]`: decrypted flows in files, with what opens them.

use std::time::Duration;

use super::Profiles;
use crate::capture::{Bounds, Plan};
use crate::config::reader::{Table, Value};

/// Longest time: who needs more starts it anew.
const MAX_MINUTES: u64 = 24 * 60;
const MEGABYTE: u64 = 1 << 20;

pub(in crate::config) fn read(table: &Table<'_>, profiles: &Profiles) -> Plan {
    let path = |key| table.value(key, "\"off\"").filter(|value| !is_off(value));
    let folder = path("folder").and_then(|value| folder(&value));
    let keylog = path("keylog").and_then(|value| file(&value));
    let minutes = table.integer("minutes", 1..=MAX_MINUTES, 15);
    let named = |value: Value<'_>| profiles.named_by(Some(&value)).map(|found| found.name.clone());
    let plan = Plan {
        profiles: table.any_of("profile", named),
        time: Duration::from_secs(60 * minutes),
        bounds: Bounds {
            file_bytes: MEGABYTE * table.integer("file_mb", 1..=4096, 64),
            file_time: Duration::from_secs(60 * table.integer("file_minutes", 1..=MAX_MINUTES, 5)),
            total_bytes: MEGABYTE * table.integer("total_mb", 2..=1 << 20, 1024),
        },
        folder,
        keylog,
    };
    if plan.bounds.total_bytes < 2 * plan.bounds.file_bytes {
        table.say("expected total_mb to be twice file_mb at least, so that one file may be closed while the next is written");
    }
    table.finish();
    plan
}

fn is_off(value: &Value<'_>) -> bool {
    value.is_text() && value.text() == Some("off")
}

fn folder(value: &Value<'_>) -> Option<std::path::PathBuf> {
    let path = value.path()?;
    if !path.is_dir() {
        value.say(format!("expected an existing folder, found {}", path.display()));
        return None;
    }
    Some(path)
}

fn file(value: &Value<'_>) -> Option<std::path::PathBuf> {
    let path = value.path()?;
    let is_in_folder = path.parent().is_some_and(|folder| folder.as_os_str().is_empty() || folder.is_dir());
    if path.is_dir() || !is_in_folder {
        value.say(format!("expected a file in an existing folder, found {}", path.display()));
        return None;
    }
    Some(path)
}
