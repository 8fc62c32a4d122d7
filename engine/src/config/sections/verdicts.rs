//! `[verdicts]`: where an IDS at a mirror says which flows are to end.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::config::reader::{Table, Value};
use crate::control::MAX_PATH;
use crate::verdicts::Block;

/// What rules of the IDS say unless the configuration says otherwise: `metadata:wireglass block;`.
const METADATA: &str = "wireglass block";

/// `[verdicts]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Unix socket that takes EVE lines; none: it is off.
    pub listen: Option<PathBuf>,
    /// Which alerts end flows.
    pub block: Block,
}

impl Verdicts {
    /// `mirrors`: there are some, or such as have faults.
    pub(in crate::config) fn read(table: Table<'_>, mirrors: bool) -> Self {
        let listen = table.value("listen", "\"off\"").filter(|value| !is_off(value));
        if let Some(value) = &listen
            && !mirrors
        {
            value.expected("a `[mirror.NAME]` in this file, as verdicts are about what it shows, or \"off\"");
        }
        let listen = listen
            .and_then(|value| value.path().inspect(|path| too_long(&value, path.as_os_str().as_bytes())));
        let block = table.table("block");
        let metadata = match block.value("metadata", format!("{METADATA:?}")) {
            None => pair(METADATA),
            Some(value) if is_off(&value) => None,
            Some(value) => {
                let found = value.text().and_then(pair);
                if found.is_none() {
                    value.expected(
                        "a key and a value with a space between them (\"wireglass block\"), or \"off\"",
                    );
                }
                found
            }
        };
        let sids = block.value("sid", "none").map(|value| value.items()).unwrap_or_default();
        let sids = sids.into_iter().filter_map(|sid| sid.integer(1..=u32::MAX)).collect();
        block.finish();
        table.finish();
        Self { listen, block: Block { metadata, sids } }
    }
}

fn is_off(value: &Value<'_>) -> bool {
    value.is_text() && value.text() == Some("off")
}

fn too_long(value: &Value<'_>, path: &[u8]) {
    if path.len() > MAX_PATH {
        value.say(format!(
            "expected a path of at most {MAX_PATH} bytes (sockets cannot have longer ones), found {}: {}",
            path.len(),
            String::from_utf8_lossy(path)
        ));
    }
}

/// As Suricata reads it: the key ends at the first space.
fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.trim().split_once(' ')?;
    Some((key.to_owned(), value.trim().to_owned()))
}
