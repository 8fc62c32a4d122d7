//! The text of a first configuration.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use super::answers::{Answers, Decrypt};
use crate::cli::pinned::PINNED;

/// Where the package and the unit have the configuration, and where its engine may write.
const SYSTEM: [&str; 3] = ["/etc/wireglass", "/var/log/wireglass", "/var/lib/wireglass"];

/// Where an engine with a configuration in this folder writes events and what it has learned.
pub(super) struct Outputs {
    pub(super) eve: PathBuf,
    pub(super) exclusions: PathBuf,
}

impl Outputs {
    /// Beside the configuration, unless it is the system's.
    pub(super) fn of(folder: &Path) -> Self {
        let [system, log, state] = SYSTEM.map(Path::new);
        if folder == system {
            Self { eve: log.join("eve.json"), exclusions: state.join("exclusions.json") }
        } else {
            Self { eve: "eve.json".into(), exclusions: "exclusions.json".into() }
        }
    }
}

/// The configuration of these answers.
pub(super) struct Configuration<'a> {
    pub(super) answers: &'a Answers,
    pub(super) outputs: &'a Outputs,
    /// The worker's.
    pub(super) core: usize,
    /// A group whose members may look at the engine.
    pub(super) read_group: Option<&'a str>,
}

/// A string of TOML.
fn quoted(text: impl Display) -> toml::Value {
    toml::Value::String(text.to_string())
}

fn list(entries: impl IntoIterator<Item = impl Display>) -> toml::Value {
    toml::Value::Array(entries.into_iter().map(quoted).collect())
}

impl Display for Configuration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answers: Answers { inside, outside, decrypt, .. }, outputs, core, read_group } = self;
        let (inside_port, outside_port) = (quoted(&inside.port), quoted(&outside.port));
        writeln!(
            f,
            "# Made by `wireglass init`. All keys: docs/configuration.md; `wireglass check` finds every fault."
        )?;
        writeln!(f, "# `wireglass reload` loads what is changed here under running flows.\n")?;
        writeln!(f, "[[wire]]\nname = \"lan\"")?;
        writeln!(
            f,
            "inside = {inside_port}    # towards the clients\noutside = {outside_port}    # towards the servers\n"
        )?;
        writeln!(f, "[workers]\ncores = [{core}]    # a worker for each; more cores, more connections\n")?;
        writeln!(f, "[ca]")?;
        writeln!(
            f,
            "trusted = {{ cert = \"ca/trusted.pem\", key = \"ca/trusted.key\" }}    # clients must trust this one"
        )?;
        writeln!(
            f,
            "untrusted = {{ cert = \"ca/untrusted.pem\", key = \"ca/untrusted.key\" }}    # and never this one\n"
        )?;
        writeln!(f, "[intercept]")?;
        writeln!(
            f,
            "midstream_grace_seconds = 600    # connections that are older than the engine pass for so long\n"
        )?;
        writeln!(f, "[policy]    # for what no rule below matches")?;
        match decrypt {
            Decrypt::Everybody => writeln!(f, "default = \"decrypt\"\n")?,
            Decrypt::Nobody | Decrypt::From(_) => {
                writeln!(f, "default = \"bypass\"    # \"decrypt\", once all clients trust the CA\n")?
            }
        }
        self.rules(f)?;
        writeln!(
            f,
            "# So that nothing breaks in the first days. `wireglass grade` says what that lets by; without these keys it is blocked."
        )?;
        writeln!(f, "[profile.default]")?;
        writeln!(f, "on_untrusted = \"untrusted-ca\"       # browsers warn, as they would without us")?;
        writeln!(f, "on_self_signed = \"untrusted-ca\"")?;
        writeln!(
            f,
            "on_unsupported = \"bypass\"           # servers of another age: from their second connection on"
        )?;
        writeln!(
            f,
            "on_client_certificate = \"bypass\"    # likewise, those that want to see a certificate of the client\n"
        )?;
        writeln!(
            f,
            "[exclusions]    # such servers; `wireglass exclusions list` shows them\nfile = {}\n",
            quoted(outputs.exclusions.display())
        )?;
        writeln!(f, "[log]\neve = {}", quoted(outputs.eve.display()))?;
        match read_group {
            Some(group) => writeln!(
                f,
                "\n[control]\nread_group = {}    # may look: `wireglass flows`, `wireglass top`",
                quoted(group)
            ),
            None => Ok(()),
        }
    }
}

impl Configuration<'_> {
    /// The first that matches wins: exceptions stand before what they are exceptions of.
    fn rules(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# Rules: the first that matches wins. These clients accept no certificate but their makers' own, and would fail."
        )?;
        for (name, source, names) in PINNED {
            writeln!(
                f,
                "[[rule]]\nname = {}    # {source}\nsni = {}\naction = \"bypass\"\n",
                quoted(name),
                list(names)
            )?;
        }
        match &self.answers.decrypt {
            Decrypt::Everybody => Ok(()),
            Decrypt::From(networks) => writeln!(
                f,
                "[[rule]]\nname = \"first clients\"\nsource = {}\naction = \"decrypt\"\n",
                list(networks)
            ),
            Decrypt::Nobody => {
                writeln!(f, "# The first clients that trust the CA:")?;
                writeln!(
                    f,
                    "# [[rule]]\n# name = \"first clients\"\n# source = [\"192.0.2.7/32\"]\n# action = \"decrypt\"\n"
                )
            }
        }
    }
}
