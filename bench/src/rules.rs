//! Configurations with much to look for, none of which is in what the load asks for: rules and a long list, or signatures.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use wireglass::ca_files::{NewCas, create};
use wireglass::config::Config;
use wireglass_core::x509::Provider;

/// What there is much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Many {
    /// Rules on heads, and names on a list.
    Rules,
    /// Literals that each response is inspected for.
    Signatures,
}

/// Literals.
const SIGNATURES: u32 = 10_000;
/// One of so many begins as the load's bodies do somewhere, and goes on otherwise.
const NEAR: u32 = 100;
/// Rules on content.
const RULES: u32 = 1_000;
/// Names on the list that one of them asks.
const NAMES: u32 = 1_000_000;
/// The server of the load: rules with a regular expression are about it, so that they have to be asked.
const HOST: &str = "bench.example";

/// Everything but rules.
const REST: &str = r#"[[wire]]
name = "bench"
inside = "0000:03:00.0"
outside = "0000:03:00.1"
[ca]
trusted = { cert = "ca/trusted.pem", key = "ca/trusted.key" }
untrusted = { cert = "ca/untrusted.pem", key = "ca/untrusted.key" }
[trust]
system = false
roots = ["ca/trusted.pem"]
[policy]
default = "decrypt"
"#;

const LIST: &str = r#"[[list]]
name = "million"
kind = "domain"
files = ["million"]
"#;

const INSPECTED: &str = r#"[signatures.many]
literals_file = "literals"
[[content.rule]]
name = "responses"
inspect = ["many"]
action = "inspect"
"#;

/// Reads them from files, as `wireglass run` does.
pub(crate) fn load(many: Many) -> Result<Config, Box<dyn Error>> {
    let folder = TempDir::new()?;
    let ca = NewCas {
        dir: folder.path().join("ca"),
        name: None,
        days: 30,
        force: false,
        provider: Provider::default(),
        now: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    create(&ca).map_err(|error| error.to_string())?;
    let file = folder.path().join("wireglass.toml");
    match many {
        Many::Rules => {
            fs::write(folder.path().join("million"), names())?;
            fs::write(&file, format!("{REST}{LIST}{}", rules()))?;
        }
        Many::Signatures => {
            fs::write(folder.path().join("literals"), literals())?;
            fs::write(&file, format!("{REST}{INSPECTED}"))?;
        }
    }
    Config::load(&file).map_err(|faults| faults.to_string().into())
}

/// In no order, and the same ones each time.
fn names() -> String {
    let mut names = String::new();
    for n in 0..NAMES {
        let _ = writeln!(names, "w{:08x}.site{}.example", n.wrapping_mul(2_654_435_761), n % 977);
    }
    names
}

/// Hex digits for the most part, as hashes and keys are. The load's bodies are the bytes from 0 on, in a row.
fn literals() -> String {
    let mut text = String::new();
    for n in 0..SIGNATURES {
        let digits = n.wrapping_mul(2_654_435_761);
        let begin = if n % NEAR == 0 {
            let first = n / NEAR * 2;
            format!("|{:02x} {:02x} {:02x} {:02x}|", first, first + 1, first + 2, first + 3)
        } else {
            String::new()
        };
        let _ = writeln!(text, "{begin}{digits:08x}{:08x}", digits.rotate_left(13));
    }
    text
}

/// Of a hundred rules, 35 name no host and are asked about every request: 15 by the path, 10 by a header, 10 by the type of the response.
/// One of a hundred has a regular expression, and is about the host that the load asks for.
fn rules() -> String {
    let mut text = String::new();
    for n in 0..RULES {
        let conditions = match n % 20 {
            0 | 7 => format!("path = [\"/tracker/{n}/*\", \"/pixel{n}.gif\"]"),
            13 => format!("path = [\"*/advert{n}.js\"]"),
            3 | 11 => format!("header = {{ \"user-agent\" = \"*crawler{n}/*\" }}"),
            5 | 17 => {
                format!(
                    "direction = \"response\"\ncontent_type = [\"application/x-type{n}\", \"video/x-{n}*\"]"
                )
            }
            1 if n % 100 == 1 => {
                format!("host = [\"{HOST}\"]\npath_regex = [\"^/(private|secret)/{n}[0-9]*$\"]")
            }
            2 => format!("host = [\"host{n}.example\", \"*.zone{n}.example\"]\nmethod = [\"POST\", \"PUT\"]"),
            4 => format!("host = [\"*.shared.example\"]\npath = [\"/tenant{n}/*\"]"),
            _ if n == RULES / 2 + 6 => "host = { list = \"million\" }".to_owned(),
            _ => format!("host = [\"host{n}.example\", \"*.zone{n}.example\"]"),
        };
        let _ = writeln!(text, "[[content.rule]]\nname = \"{n}\"\n{conditions}\naction = \"block\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_as_many_as_they_are_said_to_be() {
        let signatures = load(Many::Signatures).expect("a configuration without faults");
        assert_eq!(signatures.signatures.sets[0].literals.len(), SIGNATURES as usize);
        let config = load(Many::Rules).expect("a configuration without faults");
        assert_eq!(config.content.rules.len(), RULES as usize);
        let list = config.lists.lists.iter().next().expect("one");
        assert_eq!(list.entries, NAMES as usize);
        let count = |of: fn(&wireglass_core::policy::ContentRule) -> bool| {
            config.content.rules.iter().filter(|rule| of(rule)).count()
        };
        assert_eq!(count(|rule| rule.host.is_empty() && rule.host_list.is_none()), 350);
        assert_eq!(count(|rule| rule.host_list.is_some()), 1);
        assert_eq!(count(|rule| !rule.path_regex.is_empty()), 10);
        assert_eq!(count(|rule| !rule.header.is_empty()), 100);
        assert_eq!(count(|rule| !rule.content_type.is_empty()), 100);
    }
}
