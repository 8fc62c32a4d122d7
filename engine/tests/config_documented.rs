//! The documents and the example say what the code does.
#![allow(missing_docs, clippy::unwrap_used)]

mod config_support;

use std::collections::BTreeMap;
use std::fs;

use config_support::{Folder, repository};
use wireglass::config::{Config, Limits, keys};
use wireglass_core::policy::{Decision, Profile};

/// Keys and defaults of the tables in docs/configuration.md.
fn documented() -> BTreeMap<String, String> {
    let text = fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let mut cells = row.split(" | ");
        let key = cells.next().unwrap().trim_end_matches('`');
        (key.to_owned(), cells.next().unwrap().trim_matches('`').to_owned())
    })
    .collect()
}

#[test]
fn the_document_has_every_key_with_its_default_and_no_other() {
    assert_eq!(documented(), keys());
}

#[test]
fn the_key_list_is_complete_enough_to_be_worth_comparing() {
    let keys = keys();
    for key in
        ["wire.inside", "rule.ja4", "profile.NAME.max_days", "ca.untrusted.key", "metrics.listen", "log.eve"]
    {
        assert!(keys.contains_key(key), "{key} is missing in {keys:?}");
    }
}

#[cfg_attr(not(feature = "yara"), ignore = "the example has rules of YARA")]
#[test]
fn the_example_is_in_order_and_shows_every_key_with_its_default() {
    let text = fs::read_to_string(repository().join("examples/wireglass.toml")).unwrap();
    let folder = Folder::new();
    fs::create_dir(folder.path("lists")).unwrap();
    for list in fs::read_dir(repository().join("examples/lists")).unwrap() {
        let list = list.unwrap();
        fs::copy(list.path(), folder.path("lists").join(list.file_name())).unwrap();
    }
    fs::copy(repository().join("examples/block.html"), folder.path("block.html")).unwrap();
    let config = folder.load(&text).unwrap_or_else(|faults| panic!("{faults}"));

    let defaults = Profile::default();
    let named = |name: &str| config.profiles.iter().find(|p| p.name == name).unwrap();
    assert_eq!(**named("default"), defaults);
    assert_eq!(config.policy.default, Decision::Decrypt(named("default").clone()));
    assert_eq!(config.limits, Limits::default());

    let example: toml::Table = text.parse().unwrap();
    let mut shown = Vec::new();
    walk("", &toml::Value::Table(example), &mut shown);
    for (key, default) in keys() {
        let values: Vec<_> = shown.iter().filter(|(k, _)| *k == key).map(|(_, v)| v).collect();
        assert!(!values.is_empty(), "{key} is not in the example");
        let is_example = ["required", "any", "[]", "none", "built in"].contains(&default.as_str())
            || key.contains("rule.");
        assert!(is_example || values.contains(&&default), "{key}: {values:?}, but the default is {default}");
    }
}

/// All keys of a document as [`keys`] writes them, with their values as text.
fn walk(path: &str, value: &toml::Value, out: &mut Vec<(String, String)>) {
    match value {
        // Their keys are names that users choose.
        toml::Value::Table(_)
            if ["content.rule.header", "header.set", "mirror.NAME.ports"].contains(&path) =>
        {
            out.push((path.to_owned(), value.to_string()));
        }
        toml::Value::Table(table) => {
            for (key, value) in table {
                let key = if ["profile", "mirror", "signatures", "icap", "yara"].contains(&path) {
                    "NAME"
                } else {
                    key
                };
                walk(&if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }, value, out);
            }
        }
        toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => {
            items.iter().for_each(|item| walk(path, item, out));
        }
        value => out.push((path.to_owned(), value.to_string())),
    }
}

#[test]
fn the_smallest_configuration_of_the_document_is_in_order() {
    let text = fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let (_, rest) = text.split_once("```toml\n").unwrap();
    let (smallest, _) = rest.split_once("```").unwrap();
    let config: Config = Folder::new().load(smallest).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(config.policy.default, Decision::Bypass);
    assert_eq!(config.workers.cores, [1]);
    assert_eq!(config.metrics.listen.unwrap().to_string(), "127.0.0.1:9464");
}
