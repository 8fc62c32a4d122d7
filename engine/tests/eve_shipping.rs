//! What ships events elsewhere asks for fields that there are.
#![allow(clippy::unwrap_used, missing_docs, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Paths that begin so, without what is before them: `.wireglass.action`, `event.tls.sni`.
fn paths(text: &str, begins: &str) -> BTreeSet<String> {
    let is_of_path = |c: char| c.is_ascii_alphanumeric() || "._".contains(c);
    let mut all = BTreeSet::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        for (at, _) in line.match_indices(begins) {
            let before = line[..at].chars().next_back();
            let path: String = line[at + begins.len()..].chars().take_while(|c| is_of_path(*c)).collect();
            // Not in names of files, nor in formats.
            let begins_here = matches!(before, None | Some(' ' | '('));
            if begins_here && path.starts_with(|c: char| c.is_ascii_lowercase()) {
                all.insert(path);
            }
        }
    }
    all
}

#[test]
fn vector_asks_for_fields_of_the_document() {
    let (vector, document) = (read("deploy/vector/vector.yaml"), read("docs/events.md"));
    let documented: BTreeSet<_> =
        document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let asked: BTreeSet<_> = paths(&vector, ".").into_iter().chain(paths(&vector, "event.")).collect();
    // What Vector's source makes of a line.
    let asked: Vec<_> = asked.iter().filter(|path| *path != "message").collect();
    assert!(asked.len() > 12 && asked.iter().any(|path| *path == "wireglass.reason"), "{asked:?}");
    for path in asked {
        assert!(documented.contains(&**path), "docs/events.md has no {path}");
    }
    let kinds = document.lines().filter_map(|line| line.strip_prefix("## `")?.split('`').next());
    let kinds: BTreeSet<_> = kinds.collect();
    let (_, wanted) = vector.split_once("includes([").unwrap();
    let (wanted, _) = wanted.split_once(']').unwrap();
    for kind in wanted.split(", ") {
        assert!(kinds.contains(kind.trim_matches('"')), "{kind} is none of {kinds:?}");
    }
}

#[test]
fn the_table_has_the_columns_that_are_written() {
    let (vector, table) = (read("deploy/vector/vector.yaml"), read("deploy/vector/clickhouse.sql"));
    let (_, rows) = vector.split_once("  rows:").unwrap();
    let (_, rows) = rows.split_once(". = {").unwrap();
    let (rows, _) = rows.split_once("\n      }").unwrap();
    let written: Vec<_> =
        rows.lines().filter_map(|line| line.trim().strip_prefix('"')?.split('"').next()).collect();
    let columns = table.lines().filter(|line| line.starts_with("    "));
    let columns: Vec<_> = columns.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(written, columns);
    assert!(columns.len() > 10);
}
