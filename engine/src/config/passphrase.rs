//! The passphrase of encrypted keys: from a file, from a credential of systemd, or from a program that fetches it.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use pkcs8::der::pem::{LineEnding, PemLabel};
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use zeroize::Zeroizing;

use super::files;

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest passphrase, in bytes.
const LONGEST: u64 = 4096;
/// What a path begins with that names a credential (systemd.exec(5), `LoadCredential=`).
const CREDENTIAL: &str = "credential:";

/// Where the passphrase comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Passphrase {
    /// There is none.
    #[default]
    None,
    /// A file that only its owner may read.
    File(PathBuf),
    /// What a program says: its path and arguments.
    Program(Vec<String>),
}

impl Passphrase {
    /// Fetches it. A line end at its end is no part of it.
    pub(super) fn fetch(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        let mut found = match self {
            Self::None => {
                let keys = "`ca.passphrase_file` or `ca.passphrase_command`";
                return Err(format!("expected a passphrase ({keys})"));
            }
            Self::File(path) => files::private(path, "passphrase")?,
            Self::Program(words) => said_by(words)?,
        };
        let ends = [&b"\r\n"[..], b"\n"].into_iter().find(|end| found.ends_with(end)).map_or(0, <[u8]>::len);
        let length = found.len() - ends;
        found.truncate(length);
        if found.is_empty() { Err("expected a passphrase, found nothing".into()) } else { Ok(found) }
    }
}

/// PEM of the key that is in an encrypted PKCS#8 key; of another key, that one.
pub(super) fn decrypted(
    pem: Zeroizing<Vec<u8>>,
    path: &Path,
    passphrase: &Passphrase,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let is_encrypted =
        str::from_utf8(&pem).is_ok_and(|text| text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    if !is_encrypted {
        return Ok(pem);
    }
    let expected = |what: &str| format!("expected {what} in {}", path.display());
    let text = str::from_utf8(&pem).map_err(|_| expected("PEM"))?;
    let (label, sealed) = SecretDocument::from_pem(text).map_err(|_| expected("one encrypted key in PEM"))?;
    EncryptedPrivateKeyInfoRef::validate_pem_label(label)
        .map_err(|_| expected("one encrypted key in PEM"))?;
    let sealed = EncryptedPrivateKeyInfoRef::try_from(sealed.as_bytes())
        .map_err(|_| expected("a key that is encrypted as PKCS#8 has it (PBES2)"))?;
    let passphrase = passphrase.fetch().map_err(|why| format!("{why}, to open {}", path.display()))?;
    let opened = sealed
        .decrypt(&*passphrase)
        .map_err(|_| expected("a key that this passphrase opens (PBES2 with PBKDF2 or scrypt, and AES)"))?;
    let pem = opened.to_pem("PRIVATE KEY", LineEnding::LF).map_err(|_| expected("a key"))?;
    Ok(Zeroizing::new(pem.as_bytes().to_vec()))
}

/// The file of a path as a configuration has it: `credential:NAME` is in the folder that systemd has made for this service.
pub(super) fn credential(path: PathBuf, written: &str) -> Result<PathBuf, String> {
    let Some(name) = written.strip_prefix(CREDENTIAL) else { return Ok(path) };
    if name.is_empty() || name.contains('/') {
        return Err("expected the name of a credential, without folders".into());
    }
    match env::var_os("CREDENTIALS_DIRECTORY") {
        Some(folder) => Ok(Path::new(&folder).join(name)),
        None => Err(format!(
            "expected a service of systemd with LoadCredential={name}:...; here is no CREDENTIALS_DIRECTORY"
        )),
    }
}

/// What a program writes to its standard output.
fn said_by(words: &[String]) -> Result<Zeroizing<Vec<u8>>, String> {
    let Some((program, arguments)) = words.split_first() else {
        return Err("expected a program that says the passphrase".into());
    };
    let failed = |error: std::io::Error| format!("expected a passphrase from {program}: {error}");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // So that what it has started ends with it.
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let said = child.stdout.take();
    let reader = thread::spawn(move || {
        // In one piece from the start: a buffer that grows leaves copies behind.
        let mut found = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
        let read = said.map(|out| out.take(LONGEST).read_to_end(&mut found));
        read.unwrap_or(Ok(0)).map(|_| found)
    });
    let ended = wait(&mut child, program);
    // Whoever still holds its standard output would be waited for. Most have ended by themselves.
    let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
    let _ = child.wait();
    let found =
        reader.join().map_err(|_| format!("expected a passphrase from {program}"))?.map_err(failed)?;
    ended.map(|()| found)
}

fn wait(child: &mut Child, program: &str) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => {
                return Err(format!("expected a passphrase from {program}, which ended with {status}"));
            }
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            _ => {
                return Err(format!("expected a passphrase from {program} within {} s", PATIENCE.as_secs()));
            }
        }
    }
}
