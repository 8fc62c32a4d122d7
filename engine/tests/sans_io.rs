//! The core knows no clock, socket, thread, file or randomness: time, bytes and secrets are handed in.

use std::fs;
use std::path::Path;

/// What none of the core's files may name, tests aside.
const BANNED: [&str; 11] = [
    "Instant::now",
    "SystemTime",
    "std::thread",
    "std::fs",
    "std::io",
    "std::env",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "getrandom",
    "RandomState",
];
/// The core, under `engine/core/src`.
const CORE: [&str; 9] = [
    "aged_map.rs",
    "fairness.rs",
    "flow",
    "flow_table.rs",
    "content",
    "packet",
    "policy",
    "reassembly",
    "timer_wheel.rs",
];

#[test]
fn the_core_has_no_clock_and_no_io() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("core/src");
    let mut found = Vec::new();
    let mut files = 0;
    for place in CORE {
        visit(&sources.join(place), &mut |path, text| {
            files += 1;
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (n, line) in code.lines().enumerate() {
                if let Some(banned) = BANNED.iter().find(|b| line.contains(*b)) {
                    found.push(format!("{}:{}: {banned}", path.display(), n + 1));
                }
            }
        });
    }
    assert!(files > 20, "only {files} files: the core has moved, and this list must follow");
    assert!(found.is_empty(), "banned in the core:\n{}", found.join("\n"));
}

fn visit(path: &Path, look: &mut impl FnMut(&Path, &str)) {
    if path.is_dir() {
        let mut entries: Vec<_> =
            fs::read_dir(path).expect("a folder").map(|e| e.expect("an entry").path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| visit(entry, look));
    } else {
        look(path, &fs::read_to_string(path).expect("a source file"));
    }
}
