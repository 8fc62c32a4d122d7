//! A folder with all files that a configuration names.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use tempfile::TempDir;
use wireglass::ca_files::{NewCas, create};
use wireglass::config::{Config, Faults};
use wireglass_core::x509::Provider;

/// In order, together with the files of [`Folder::new`].
pub(crate) const GOOD: &str = r#"[[wire]]
name = "lan"
inside = "0000:03:00.0"
outside = "0000:03:00.1"
[ca]
trusted = { cert = "ca/trusted.pem", key = "ca/trusted.key" }
untrusted = { cert = "ca/untrusted.pem", key = "ca/untrusted.key" }
[trust]
system = false
roots = ["roots/trusted.pem"]
[policy]
default = "decrypt"
"#;

/// Lines of [`GOOD`]: what is appended begins on the next one.
pub(crate) const GOOD_LINES: usize = 12;

pub(crate) struct Folder(TempDir);

impl Folder {
    /// Two CAs in `ca`, and a root of others in `roots/trusted.pem`.
    pub(crate) fn new() -> Self {
        let folder = Self(TempDir::new().expect("a temporary folder"));
        for dir in ["ca", "roots"] {
            create(&NewCas {
                dir: folder.path(dir),
                name: Some(format!("test {dir}")),
                days: 300,
                force: false,
                provider: Provider::default(),
                now: SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs(),
            })
            .expect("two CAs");
        }
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a file");
        path
    }

    pub(crate) fn load(&self, text: &str) -> Result<Config, Faults> {
        Config::load(&self.write("wire.toml", text))
    }

    /// The faults of a text, a line each, `LINE: KEY: MESSAGE`, with this folder as `DIR`.
    pub(crate) fn faults(&self, text: &str) -> Vec<String> {
        let Err(faults) = self.load(text) else { return Vec::new() };
        let (dir, file) = (self.0.path().display().to_string(), self.path("wire.toml").display().to_string());
        let faults = faults.to_string();
        let lines = faults.lines().map(|line| line.strip_prefix(&format!("{file}:")).unwrap_or(line));
        lines.map(|line| line.replace(&dir, "DIR")).collect()
    }
}

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the engine is in the repository")
}

/// Time that this thread has had a processor: what others do on the machine does not count.
pub(crate) fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("a thread");
    let micros = |time: TimeVal| TimeValLike::num_microseconds(&time) as u64;
    Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
}
