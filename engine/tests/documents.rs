//! What the documents show works: configurations load, commands have the options that are shown, metrics exist, and the page of the
//! command line is what `--help` says. `cargo test -p wireglass --test documents -- --ignored` writes that page anew.
#![allow(missing_docs, clippy::unwrap_used)]

mod config_support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use config_support::{Folder, GOOD, repository};
use toml::{Table, Value};

/// What fragments of the documents take for granted, beside [`GOOD`].
const AROUND: &str = r#"
[mirror.ids]
port = "af_packet:mirror0"
[icap.av]
respmod = "icap://127.0.0.1:1344/avscan"
reqmod = "icap://127.0.0.1:1344/avscan"
[content]
threads = 4
[signatures.secrets]
literals = ["internal use only"]
[yara.malware]
rules = ["rules/malware.yar"]
[[list]]
name = "malware"
kind = "sha256"
files = ["lists/malware.sha256"]
[[list]]
name = "games"
kind = "domain"
files = ["lists/games"]
"#;

const YARA: &str = "rule marker { strings: $a = \"MARKER-OF-MALWARE\" condition: $a }\n";

/// Files that configurations of the documents name, beside those of [`Folder::new`].
const FILES: &[(&str, &str)] = &[
    ("lists/games", "game.example\n"),
    ("lists/ads.hosts", "0.0.0.0 ad.example\n"),
    ("lists/ut1/publicite/domains", "ad.example\n"),
    ("lists/more.zone.gz", "ad.example CNAME .\n"),
    ("lists/malware.sha256", "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f\n"),
    ("signatures/secrets.txt", "internal use only\n"),
    ("rules/malware.yar", YARA),
    ("rules/feeds/one.yar", YARA),
];

/// A fenced block of a document: where it begins, what it says it is, what is in it.
struct Block {
    place: String,
    language: String,
    text: String,
}

/// All documents, by their names in the repository.
fn documents() -> Vec<(String, String)> {
    let root = repository();
    let mut files: Vec<PathBuf> =
        fs::read_dir(root.join("docs")).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    files.extend(["README.md", "SECURITY.md"].map(|name| root.join(name)));
    files.sort();
    let name = |file: &PathBuf| file.strip_prefix(root).unwrap().display().to_string();
    files.iter().map(|file| (name(file), fs::read_to_string(file).unwrap())).collect()
}

fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for (name, text) in documents() {
        let mut open: Option<Block> = None;
        for (number, line) in text.lines().enumerate() {
            let inside = line.trim_start();
            match (&mut open, inside.strip_prefix("```")) {
                (None, Some(language)) => {
                    let place = format!("{name}:{}", number + 1);
                    open = Some(Block { place, language: language.to_owned(), text: String::new() });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(block), None) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{name}: a block without an end");
    }
    blocks
}

/// Lays `upper` over `lower`: tables key by key, of arrays of tables those with another name are added.
fn lay(lower: &mut Table, upper: Table) {
    for (key, value) in upper {
        match (lower.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay(below, above),
            (Some(Value::Array(below)), Value::Array(above)) if above.iter().all(Value::is_table) => {
                below.retain(|old| above.iter().all(|new| new.get("name") != old.get("name")));
                below.extend(above);
            }
            (_, value) => drop(lower.insert(key, value)),
        }
    }
}

#[test]
fn every_configuration_of_the_documents_loads() {
    let folder = Folder::new();
    for (name, text) in FILES {
        let path = folder.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::copy(folder.path("roots/trusted.pem"), folder.path("server.pem")).unwrap();
    fs::create_dir(folder.path("captures")).unwrap();
    let here = folder.path("captures").parent().unwrap().display().to_string();
    let (mut whole, mut parts) = (0, 0);
    for mut block in blocks().into_iter().filter(|block| block.language == "toml") {
        // What systemd's unit makes on a machine is in this folder here.
        block.text = block.text.replace("/var/lib/wireglass", &here);
        let shown: Table = block.text.parse().unwrap_or_else(|fault| panic!("{}: {fault}", block.place));
        let loaded = if ["wire", "ca", "policy"].iter().all(|key| shown.contains_key(*key)) {
            whole += 1;
            folder.load(&block.text)
        } else {
            parts += 1;
            let mut all: Table = format!("{GOOD}{AROUND}").parse().unwrap();
            // The base has one wire, which a fragment with wires replaces.
            if shown.contains_key("wire") {
                all.remove("wire");
            }
            lay(&mut all, shown);
            folder.load(&all.to_string())
        };
        let _ = loaded.unwrap_or_else(|faults| panic!("{}: {faults}", block.place));
    }
    assert!(whole >= 3 && parts >= 15, "only {whole} configurations and {parts} parts were found");
}

fn help(path: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_wireglass")).args(path).arg("--help").output().unwrap();
    assert!(output.status.success(), "wireglass {path:?} --help: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Names under "Commands:" of a help text.
fn subcommands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let rows = lines.take_while(|line| !line.is_empty());
    // What a name needs more than one line for goes on far to the right.
    let names = rows.filter_map(|line| line.strip_prefix("  ").filter(|row| !row.starts_with(' ')));
    names.map(|row| row.split_whitespace().next().unwrap().to_owned()).filter(|name| name != "help").collect()
}

/// Every command with its help, in the order in which `--help` has them.
fn commands() -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    let mut next = vec![Vec::new()];
    while let Some(path) = next.pop() {
        let text = help(&path.iter().map(String::as_str).collect::<Vec<_>>());
        let below = subcommands(&text);
        next.extend(below.into_iter().rev().map(|name| [&path[..], &[name]].concat()));
        found.push((path, text));
    }
    found
}

/// Words of a command as a shell would split it, up to the next command, redirection or comment.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![];
    let (mut word, mut quote, mut begun) = (String::new(), None, false);
    for letter in command.chars() {
        match (quote, letter) {
            (Some(mark), _) if mark == letter => quote = None,
            (None, '\'' | '"') => (quote, begun) = (Some(letter), true),
            (None, '|' | ';' | '&' | '>' | '<') => break,
            (None, '#') if !begun => break,
            (None, ' ') => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            _ => {
                word.push(letter);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

/// Calls of wireglass in a line of a shell: the words behind each.
fn calls(line: &str) -> Vec<Vec<String>> {
    let line = line.trim_start().trim_start_matches(['#', '$']).trim_start();
    let pieces = line.split("&&").flat_map(|piece| piece.split(" || ")).flat_map(|piece| piece.split("; "));
    let mut found = Vec::new();
    for piece in pieces {
        let words = words(piece);
        // Behind words that run what comes after them, as `ip netns exec NAME`.
        let Some(place) = words.iter().position(|word| word == "wireglass" || word.ends_with("/wireglass"))
        else {
            continue;
        };
        let before = words.get(..place).unwrap();
        if before.is_empty() || ["ip", "sudo"].contains(&before[0].as_str()) {
            found.push(words[place + 1..].to_vec());
        }
    }
    found
}

#[test]
fn every_command_of_the_documents_exists_and_has_its_options() {
    let known: BTreeMap<Vec<String>, String> = commands().into_iter().collect();
    let mut seen = 0;
    for block in blocks().into_iter().filter(|block| ["sh", "console"].contains(&block.language.as_str())) {
        let text = block.text.replace("\\\n", " ");
        for call in text.lines().flat_map(calls) {
            let (mut path, mut rest) = (Vec::new(), &call[..]);
            while let Some((first, more)) = rest.split_first() {
                let deeper = [&path[..], std::slice::from_ref(first)].concat();
                if !known.contains_key(&deeper) {
                    break;
                }
                (path, rest) = (deeper, more);
            }
            let shown = format!("{}: wireglass {}", block.place, call.join(" "));
            assert!(!path.is_empty() || rest[0].starts_with('-'), "{shown}: there is no such command");
            let help = &known[&path];
            assert!(
                !help.contains("\nCommands:\n") || rest.first().is_none_or(|word| word.starts_with('-')),
                "{shown}: no such command"
            );
            for option in rest.iter().filter(|word| word.starts_with('-') && word.len() > 1) {
                let name = option.split('=').next().unwrap();
                let has = help.split([' ', ',', '\n', '=']).any(|word| word == name);
                assert!(has, "{shown}: there is no {name}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 40, "only {seen} commands were found");
}

/// All Rust sources below a folder.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    text
}

#[test]
fn every_metric_of_the_documents_exists() {
    let root = repository();
    let code = sources(&root.join("engine/src")) + &sources(&root.join("engine/core/src"));
    let mut seen = 0;
    for (document, text) in documents() {
        for (place, _) in text.match_indices("wireglass_") {
            let (before, rest) = text.split_at(place);
            let end = rest.find(|c: char| c != '_' && !c.is_ascii_lowercase()).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            // Names of crates, and of files.
            if after.starts_with("::") || before.ends_with(['/', '-', '.', '_']) {
                continue;
            }
            // What a histogram's series are called.
            let whole =
                ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            // "wireglass_log_*" stands for several.
            let known = if after.starts_with('*') {
                code.contains(&format!("\"{name}"))
            } else {
                code.contains(&format!("\"{name}\"")) || code.contains(&format!("\"{whole}\""))
            };
            assert!(known, "{document}: there is no metric {name}");
            seen += 1;
        }
    }
    assert!(seen >= 40, "only {seen} metrics were found");
}

/// docs/commands.md.
fn page() -> String {
    let mut page = String::from(
        "# Command line\n\nWhat each command says with `--help`. This page is made from the program; do not edit it.\n",
    );
    for (path, help) in commands() {
        let name = path.iter().fold("wireglass".to_owned(), |name, word| format!("{name} {word}"));
        let depth = "#".repeat(2 + path.len().saturating_sub(1));
        let lines: Vec<_> = help.trim_end().lines().map(str::trim_end).collect();
        write!(page, "\n{depth} {name}\n\n```text\n{}\n```\n", lines.join("\n")).unwrap();
    }
    page
}

#[test]
fn the_page_of_the_command_line_is_what_help_says() {
    let written = fs::read_to_string(repository().join("docs/commands.md")).unwrap();
    let fresh = page();
    let differs = written.lines().zip(fresh.lines()).position(|(old, new)| old != new);
    let line = differs.unwrap_or_else(|| written.lines().count().min(fresh.lines().count())) + 1;
    assert!(
        written == fresh,
        "docs/commands.md is out of date from line {line} on: cargo test -p wireglass --test documents -- --ignored"
    );
}

#[test]
#[ignore = "writes docs/commands.md"]
fn write_the_page_of_the_command_line() {
    fs::write(repository().join("docs/commands.md"), page()).unwrap();
}
