//! `wireglass check` for programs: `--strict` and `--json`, and what it says of the machine.
#![allow(missing_docs, clippy::unwrap_used)]

mod config_support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use config_support::{Folder, GOOD};
use serde_json::{Value, json};
use wireglass::ca_files::{NewCas, create};
use wireglass_core::x509::Provider;

fn check(file: &Path, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wireglass"))
        .args(["check", "-c"])
        .arg(file)
        .args(options)
        .output()
        .unwrap()
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn faults_as_json() {
    let folder = Folder::new();
    let file = folder.write("wire.toml", format!("{GOOD}[workers]\nidle = \"lazy\"\n"));
    let output = check(&file, &["--json"]);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(2), 0));
    let fault = json!({
        "line": 14,
        "key": "workers.idle",
        "message": "expected one of \"adaptive\", \"spin\", found \"lazy\"",
    });
    let expected =
        json!({ "file": file.display().to_string(), "in_order": false, "faults": [fault], "notes": [] });
    assert_eq!(report(&output), expected);
    let absent = check(Path::new("/nonexistent/wire.toml"), &["--json"]);
    assert_eq!((absent.status.code(), &report(&absent)["faults"][0]["line"]), (Some(2), &Value::Null));
}

#[test]
fn notes_fail_where_they_are_asked_to() {
    let folder = Folder::new();
    let good = folder.write("wire.toml", GOOD);
    let output = check(&good, &["--strict", "--json"]);
    assert_eq!((output.status.code(), &report(&output)["notes"]), (Some(0), &json!([])));
    let shadowed =
        "[[rule]]\nname = \"all\"\naction = \"bypass\"\n[[rule]]\nname = \"late\"\naction = \"block\"\n";
    let file = folder.write("wire.toml", format!("{GOOD}{shadowed}"));
    assert_eq!(check(&file, &[]).status.code(), Some(0));
    let output = check(&file, &["--strict"]);
    let said = std::str::from_utf8(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("  note: \"late\" is never reached: \"all\" matches every flow\n"), "{said}");
    let output = check(&file, &["--strict", "--json"]);
    let notes = json!(["\"late\" is never reached: \"all\" matches every flow"]);
    assert_eq!((output.status.code(), &report(&output)["notes"]), (Some(1), &notes));
    assert_eq!(report(&output)["in_order"], true);
}

/// What is wrong with the machine, and not with a key.
#[test]
fn the_machine_is_looked_at() {
    let folder = Folder::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let dir = folder.path("ca");
    create(&NewCas {
        dir: dir.clone(),
        name: None,
        days: 3,
        force: true,
        provider: Provider::default(),
        now,
    })
    .unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o777)).unwrap();
    let bare = GOOD.replace("inside = \"0000:03:00.0\"", "inside = \"lo\"");
    let file = folder.write("wire.toml", format!("{bare}[workers]\ncores = [500]\n"));
    let output = check(&file, &["--json"]);
    let notes = report(&output)["notes"].as_array().unwrap().clone();
    let has = |words: &str| notes.iter().any(|note| note.as_str().unwrap().contains(words));
    assert!(has("workers.cores: this machine has no core 500"), "{notes:?}");
    assert!(has("lo is an interface of the kernel"), "{notes:?}");
    // Begun days do not count, and this one has just begun, or not.
    assert!(["2", "3"].iter().any(|days| has(&format!("trusted.pem ends in {days} day(s)"))), "{notes:?}");
    let open = fs::canonicalize(&dir).unwrap();
    assert!(
        has(&format!("others can change {0}: chown root {0}; chmod go-w {0}", open.display())),
        "{notes:?}"
    );
    assert_eq!(notes.len(), 5, "{notes:?}");
    // A folder with the sticky bit lets nobody touch what is another's.
    fs::set_permissions(&dir, Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(report(&check(&file, &["--json"]))["notes"].as_array().unwrap().len(), 4);
}
