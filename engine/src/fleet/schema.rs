//! What values in etcd say: JSON, each with the version of its schema.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::keys::Place;
use crate::hex::hex;

/// The version that is written, and the only one that is read.
pub const SCHEMA: u32 = 1;
/// Most files of a generation.
pub const MAX_FILES: usize = 512;
/// Largest file of a generation, in bytes.
pub const MAX_FILE: u64 = 256 * 1024 * 1024;
/// Largest generation, in bytes: etcd keeps 2 GB unless it is told otherwise.
pub const MAX_TOTAL: u64 = 512 * 1024 * 1024;
/// Bytes of a piece of a file: etcd takes requests of 1.5 MB.
pub const PART: usize = 1024 * 1024;

/// Why a value is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is longer than what its key may have.
    TooLong,
    /// It is of another version of the schema.
    Schema,
    /// It is not what its key has.
    Malformed,
    /// There are more keys of its kind than may be.
    TooMany,
    /// Its key is none that this version knows.
    UnknownKey,
    /// It is sealed with no key of this fleet, or for another place.
    Unsealed,
}

impl Refused {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::TooLong, Self::Schema, Self::Malformed, Self::TooMany, Self::UnknownKey, Self::Unsealed];

    /// As metrics and messages have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Schema => "schema",
            Self::Malformed => "malformed",
            Self::TooMany => "too_many",
            Self::UnknownKey => "unknown_key",
            Self::Unsealed => "unsealed",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Largest value of a place, in bytes.
pub fn max_bytes(place: &Place) -> usize {
    match place {
        Place::Generation(_) => 256 * 1024,
        Place::Rollout => 32 * 1024,
        Place::Active | Place::Drain(_) => 1024,
        Place::Ack(_) | Place::Presence(_) | Place::Exclusion(..) => 4096,
        Place::Tickets | Place::Chain(..) => 1024,
        Place::Costly(_) => 16 * 1024,
    }
}

#[derive(Deserialize)]
struct Envelope {
    schema: u32,
}

/// Reads a value.
///
/// # Errors
/// It is not taken.
pub fn read<T: DeserializeOwned>(place: &Place, value: &[u8]) -> Result<T, Refused> {
    if value.len() > max_bytes(place) {
        return Err(Refused::TooLong);
    }
    let envelope: Envelope = serde_json::from_slice(value).map_err(|_| Refused::Malformed)?;
    if envelope.schema != SCHEMA {
        return Err(Refused::Schema);
    }
    serde_json::from_slice(value).map_err(|_| Refused::Malformed)
}

/// Writes one.
pub fn write(value: &impl Serialize) -> Vec<u8> {
    // Structures of texts and numbers are always JSON.
    serde_json::to_vec(value).unwrap_or_default()
}

/// A generation of policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: u32,
    /// When it was pushed, in seconds since the Unix epoch.
    pub at: u64,
    /// Who has pushed it.
    pub by: String,
    /// What they said about it.
    #[serde(default)]
    pub note: String,
    /// It has the files of this earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolls_back_to: Option<u64>,
    /// Its files.
    pub files: Vec<FileEntry>,
}

/// A file of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its path below the folder of the generation.
    pub path: String,
    /// Of its contents, in hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

impl Manifest {
    /// All that it says can be: no path leads elsewhere, and nothing is too large.
    pub fn is_sound(&self) -> bool {
        let mut paths = BTreeSet::new();
        (1..=MAX_FILES).contains(&self.files.len())
            && self.files.iter().all(|file| {
                is_relative(&file.path)
                    && paths.insert(&file.path)
                    && file.size <= MAX_FILE
                    && file.sha256.len() == 64
                    && file.sha256.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
            })
            && self.files.iter().map(|file| file.size).sum::<u64>() <= MAX_TOTAL
            && self.files.iter().any(|file| file.path == crate::config::POLICY_FILE)
    }

    /// Of its files: the same for the same files only, whatever its number is.
    pub fn digest(&self) -> String {
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_by_key(|file| &file.path);
        hex(&Sha256::digest(write(&files)))
    }
}

/// A path of plain names, below where it begins.
pub fn is_relative(path: &str) -> bool {
    let is_plain =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.chars().any(char::is_control);
    path.len() <= 255 && path.split('/').count() <= 8 && path.split('/').all(is_plain)
}

/// How far a roll-out is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Engines load it, and say whether they can.
    Load,
    /// All have loaded it; one has it in force.
    Canary,
    /// All have loaded it, and put it in force.
    Force,
    /// It is in force.
    Done,
    /// One engine cannot have it, or an operator has stopped it.
    Stopped,
}

impl Phase {
    /// Nothing more happens by itself.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Stopped)
    }
}

/// The roll-out of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The generation.
    pub generation: u64,
    /// How far it is.
    pub phase: Phase,
    /// Engines that were there when it began.
    pub engines: BTreeSet<String>,
    /// The engine that has it in force before the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// How long that one has it alone, in seconds; none: until an operator says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_seconds: Option<u64>,
    /// How long a phase may take in which engines are waited for, in seconds.
    pub patience: u64,
    /// Why it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<EngineFault>,
}

/// Why an engine cannot have a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineFault {
    /// The engine.
    pub engine: String,
    /// What is wrong.
    #[serde(flatten)]
    pub fault: FaultRecord,
}

/// What is wrong with a generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRecord {
    /// The file: a generation's, or the engine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in it, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The key, dotted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What was expected, and what was found.
    pub text: String,
}

impl fmt::Display for FaultRecord {
    /// `FILE:LINE: KEY: TEXT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            f.write_str(file)?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.text)
    }
}

/// What an engine makes of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The generation.
    pub generation: u64,
    /// Of its files ([`Manifest::digest`]): another generation with this number is not meant.
    #[serde(default)]
    pub digest: String,
    /// How far the engine is.
    pub state: AckState,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultRecord>,
}

/// How far an engine is with a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckState {
    /// It is read, checked and compiled.
    Loaded,
    /// It is in force.
    InForce,
    /// It cannot be.
    Fault,
}

/// The generation that engines go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Its number.
    pub generation: u64,
    /// The one that they went by before; none: their own files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
}

/// Servers whose chains were costly to verify for an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostlyRecord {
    /// [`SCHEMA`].
    pub schema: u32,
    /// At most [`MOST_COSTLY`](wireglass_core::tls::MOST_COSTLY).
    pub servers: Vec<CostlyServer>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostlyServer {
    /// Its address; of IPv6, its /64.
    pub address: IpAddr,
    /// Until when it counts as one, in seconds since the Unix epoch.
    pub until: u64,
}

/// An engine is to be drained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Since when, in seconds since the Unix epoch.
    pub at: u64,
    /// Who wants it.
    pub by: String,
}

/// An engine is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of the program.
    pub version: String,
    /// Since when it is there, in seconds since the Unix epoch.
    pub since: u64,
    /// When it said so.
    pub at: u64,
    /// The generation that it goes by; 0: its own file.
    pub generation: u64,
    /// Flows that it has.
    pub flows: u64,
    /// Those of them that it decrypts.
    pub decrypted: u64,
    /// New flows in a second, as of late.
    pub flows_per_second: u64,
    /// Share of the workers' time that is busy, in hundredths; none: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<u64>,
    /// The fleet drains it: nothing new is decrypted.
    pub draining: bool,
    /// An operator drains it, at the engine itself: likewise.
    #[serde(default)]
    pub operator_drains: bool,
    /// It takes policy that is pushed.
    pub policy: bool,
    /// Tells one process from another one with the same name.
    pub instance: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rubbish_is_refused_by_name() {
        let read = |value: &[u8]| read::<Active>(&Place::Active, value);
        assert_eq!(
            read(br#"{"schema":1,"generation":7}"#),
            Ok(Active { schema: 1, generation: 7, before: None })
        );
        // What a later version adds beside is passed over.
        assert!(read(br#"{"schema":1,"generation":7,"colour":"red"}"#).is_ok());
        assert_eq!(read(br#"{"schema":2,"generation":7}"#), Err(Refused::Schema));
        for value in [
            &b""[..],
            b"7",
            b"null",
            b"{",
            b"\xff",
            br#"{"generation":7}"#,
            br#"{"schema":1,"generation":-1}"#,
        ] {
            assert_eq!(read(value), Err(Refused::Malformed), "{value:?}");
        }
        assert_eq!(read(&[b' '; 1025]), Err(Refused::TooLong));
        // Nested without end.
        assert_eq!(read(&[b'['; 1000]), Err(Refused::Malformed));
    }

    #[test]
    fn no_path_of_a_generation_leads_elsewhere() {
        let file = |path: &str| FileEntry { path: path.into(), sha256: "0".repeat(64), size: 1 };
        let manifest = |paths: &[&str]| Manifest {
            schema: SCHEMA,
            at: 0,
            by: String::new(),
            note: String::new(),
            rolls_back_to: None,
            files: paths.iter().map(|path| file(path)).collect(),
        };
        assert!(manifest(&["policy.toml", "lists/ads.txt"]).is_sound());
        for bad in ["/etc/passwd", "../x", "a/../b", "a//b", "", ".", "a/", "a\n", "1/2/3/4/5/6/7/8/9"] {
            assert!(!manifest(&["policy.toml", bad]).is_sound(), "{bad}");
        }
        assert!(!manifest(&["lists/ads.txt"]).is_sound(), "there is no policy");
        assert!(!manifest(&["policy.toml", "policy.toml"]).is_sound());
        let mut large = manifest(&["policy.toml"]);
        large.files[0].size = MAX_FILE + 1;
        assert!(!large.is_sound());
        let mut much = manifest(&["policy.toml", "a", "b"]);
        much.files[1..].iter_mut().for_each(|file| file.size = MAX_FILE);
        assert!(!much.is_sound(), "each may be, but not all of them");
        much.files[0].size = 0;
        assert!(much.is_sound());
    }

    #[test]
    fn a_digest_is_of_the_files() {
        let file =
            |path: &str, digit: &str| FileEntry { path: path.into(), sha256: digit.repeat(64), size: 1 };
        let manifest = |at, files: &[FileEntry]| Manifest {
            schema: SCHEMA,
            at,
            by: at.to_string(),
            note: String::new(),
            rolls_back_to: None,
            files: files.to_vec(),
        };
        let one = manifest(1, &[file("a", "0"), file("b", "1")]);
        assert_eq!(one.digest(), manifest(2, &[file("b", "1"), file("a", "0")]).digest());
        assert_ne!(one.digest(), manifest(1, &[file("a", "1"), file("b", "0")]).digest());
    }
}
