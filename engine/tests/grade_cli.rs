//! `wireglass grade`: what the default profile makes of bad servers, and that each key changes its own lines and no others.
#![allow(clippy::unwrap_used, clippy::panic)]

mod config_support;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use base64ct::{Base64, Encoding};
use config_support::{Folder, GOOD};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::Value;
use wireglass_core::x509::Provider;

/// What the default profile's card says.
const DEFAULT: &str = include_str!("grade/default.txt");

/// The laxest values, each with how many cases it changes.
const LAX: &[(&str, &str, usize)] = &[
    ("on_untrusted", "allow", 3),
    ("on_self_signed", "allow", 1),
    ("on_expired", "allow", 2),
    ("on_not_yet_valid", "allow", 1),
    ("on_name_mismatch", "allow", 4),
    ("on_usage", "allow", 6),
    ("on_unsupported_certificate", "allow", 1),
    ("on_revoked", "allow", 3),
    ("on_must_staple", "allow", 1),
    ("on_unsupported", "bypass", 6),
    ("on_client_certificate", "bypass", 2),
    ("on_pinned", "bypass", 1),
    ("on_ech", "bypass", cfg!(feature = "aws-lc-rs") as usize),
];

/// The strictest ones of what is lax by default.
const STRICT: &[(&str, &str, usize)] = &[
    ("on_no_name", "block", 1),
    ("on_revocation_unknown", "block", 1),
    ("on_no_sct", "block", 1),
    ("on_client_certificate", "block", 2),
    ("on_ech", "block", cfg!(feature = "aws-lc-rs") as usize),
    ("min_version", "1.3", 1),
    // And clients with ECH speak nothing older than TLS 1.3.
    ("max_version", "1.2", 1 + cfg!(feature = "aws-lc-rs") as usize),
];

struct Wire(Folder);

impl Wire {
    /// A configuration without keys of its CAs, and with a profile for each of these.
    fn new(text: &str) -> Self {
        let folder = Folder::new();
        let log = Base64::encode_string(&KeyPair::generate().unwrap().subject_public_key_info());
        let log = format!(r#"{{ "key": "{log}", "state": {{ "usable": {{}} }} }}"#);
        let logs = format!(r#"{{ "operators": [{{ "name": "Somebody", "logs": [{log}] }}] }}"#);
        folder.write("logs.json", logs);
        folder.write("wire.toml", format!("{GOOD}{text}"));
        for key in ["ca/trusted.key", "ca/untrusted.key"] {
            fs::remove_file(folder.path(key)).unwrap();
        }
        Self(folder)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireglass"));
        let grade = command.args(["grade", "-c", "wire.toml"]).args(arguments);
        grade.current_dir(self.0.path("")).env_remove("RUST_LOG").output().unwrap()
    }

    /// What is on stdout, with this exit status.
    #[track_caller]
    fn says(&self, arguments: &[&str], status: i32) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8(output.stdout).unwrap();
        let fault = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{said}{fault}");
        if status > 1 { fault } else { said }
    }

    /// The cases of a profile by name, without what only quotes the profile, and the grade.
    #[track_caller]
    fn cases(&self, profile: &str, status: i32) -> (BTreeMap<String, Value>, String) {
        let card: Value =
            serde_json::from_str(&self.says(&["--json", "--profile", profile], status)).unwrap();
        assert_eq!(card["profile"], profile);
        let cases = card["cases"].as_array().unwrap().iter().map(|case| {
            let mut case = case.clone();
            case.as_object_mut().unwrap().remove("value");
            (case["name"].as_str().unwrap().to_owned(), case)
        });
        (cases.collect(), card["grade"].as_str().unwrap().to_owned())
    }
}

#[test]
fn the_default_profile_is_careful_with_either_library() {
    // Not every library can play clients with ECH, and what follows is about all that are played.
    let played = |text: &str| -> String {
        let lines = text.lines().filter(|line| !line.contains("(ECH)") && !line.contains("(GREASE)"));
        lines.filter(|line| !line.ends_with(" good")).collect::<Vec<_>>().join("\n")
    };
    for provider in Provider::BUILT_IN {
        let wire = Wire::new(&format!("[crypto]\nprovider = \"{}\"\n", provider.name()));
        let before = files(&wire.0);
        let said = wire.says(&[], 0);
        assert_eq!(played(&said), played(DEFAULT), "{said}");
        if cfg!(feature = "aws-lc-rs") {
            assert_eq!(said, DEFAULT);
        }
        assert_eq!(files(&wire.0), before, "it writes nothing");
    }
}

fn files(folder: &Folder) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder.path("")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn each_key_changes_its_own_lines() {
    let profile = |at: &str, key: &str, value: &str| format!("[profile.{key}-{at}]\n{key} = \"{value}\"\n");
    let all = LAX.iter().map(|(key, value, _)| (key, value, "lax"));
    let all = all.chain(STRICT.iter().map(|(key, value, _)| (key, value, "strict")));
    let text: String = all.map(|(key, value, at)| profile(at, key, value)).collect();
    let wire = Wire::new(&text);
    let path = wire.0.path("wire.toml");
    let known = fs::read_to_string(&path).unwrap().replace("[trust]\n", "[trust]\nct_logs = \"logs.json\"\n");
    fs::write(&path, known).unwrap();
    let (before, grade) = wire.cases("default", 0);
    assert_eq!(grade, "A");
    for (keys, at, standings) in [(LAX, "lax", &["weak", "good"]), (STRICT, "strict", &["careful", "good"])] {
        for (key, value, count) in keys {
            let status = i32::from(at == "lax" && *count > 0);
            let (after, _) = wire.cases(&format!("{key}-{at}"), status);
            // Where a version is not spoken, servers are refused for that before they can be for anything else.
            let differs = |before: &Value, after: &Value| match key.ends_with("_version") {
                true => before["outcome"] != after["outcome"],
                false => before != after,
            };
            let changed: Vec<_> = after.iter().filter(|(name, case)| differs(&before[*name], case)).collect();
            assert_eq!(changed.len(), *count, "{key} = {value:?} changes {changed:#?}");
            for (name, case) in changed {
                assert_eq!(case["key"], *key, "{name}");
                assert!(standings.contains(&case["standing"].as_str().unwrap()), "{case}");
            }
        }
    }
}

/// What has no key, no profile lets through; all else the laxest one does.
#[test]
fn the_laxest_profile_lets_all_through_that_a_key_decides() {
    let line = |(key, value, _): &(&str, &str, usize)| format!("{key} = \"{value}\"\n");
    let lax: String = LAX.iter().map(line).collect();
    let marking = lax.replace("\"allow\"", "\"untrusted-ca\"").replace("\"bypass\"", "\"block\"");
    let wire = Wire::new(&format!("[profile.lax]\n{lax}[profile.marking]\n{marking}"));
    let (lax, grade) = wire.cases("lax", 1);
    assert_eq!(grade, "F");
    for (name, case) in &lax {
        let may_be_let_through = !case["key"].is_null() || name == "good";
        assert_eq!(case["outcome"] != "blocked", may_be_let_through, "{case}");
    }
    let (marking, grade) = wire.cases("marking", 1);
    assert_eq!(grade, "B");
    assert_eq!(marking["expired"]["outcome"], "marked");
    assert_eq!(marking["expired"]["standing"], "warns");
    let said = wire.says(&["--profile", "marking"], 1);
    let line = "\n  warns   marked     cert.expired             past its end\n          on_expired = \"untrusted-ca\" leaves it to the user\n";
    assert!(said.contains(line), "{said}");
    let said = wire.says(&["--profile", "lax"], 1);
    assert!(said.contains("\n          on_usage = \"allow\" lets it through\n"), "{said}");
    assert!(
        said.ends_with("\nGrade F: somebody who is not the server gets through without a word\n"),
        "{said}"
    );
}

#[test]
fn wrong_usage() {
    let wire = Wire::new("[profile.other]\n");
    let said = wire.says(&["--profile", "none"], 2);
    assert_eq!(said, "wire.toml: no profile \"none\"; there are: default, other\n");
    fs::write(wire.0.path("wire.toml"), "[profile.default]\non_usage = \"maybe\"\n").unwrap();
    let said = wire.says(&[], 2);
    assert!(said.contains("wire.toml:2: profile.default.on_usage: expected"), "{said}");
    let shown = wire.run(&["--help"]);
    assert!(String::from_utf8(shown.stdout).unwrap().contains("Exit status: 0 grade A; 1 grade B or worse;"));
}
