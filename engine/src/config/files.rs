//! Files that a configuration names: read once, together with it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::passphrase::{Passphrase, decrypted};

/// Largest file that is read: a bundle of all public roots is a quarter of it.
const MAX_BYTES: u64 = 1024 * 1024;

/// A file of PEM certificates. The error says what was expected, and what was found.
pub(super) fn certificates(path: &Path) -> Result<Vec<u8>, String> {
    let (pem, _) = read(path)?;
    let mut found = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        certificate
            .map_err(|_| format!("expected PEM certificates in {}, found damaged PEM", path.display()))?;
        found += 1;
    }
    match found {
        0 => Err(format!("expected PEM certificates in {}, found none", path.display())),
        _ => Ok(pem.to_vec()),
    }
}

/// Largest file of many certificates, or of CRLs.
const MAX_LARGE: u64 = 64 * 1024 * 1024;
/// Files of a folder that are read.
const MAX_FILES: usize = 10_000;

/// A file of many certificates, or of CRLs. What is in it is looked at later.
pub(super) fn large(path: &Path) -> Result<Vec<u8>, String> {
    read_up_to(path, MAX_LARGE).map(|(contents, _)| contents.to_vec())
}

/// The files of a folder that have one of these endings, in the order of their names; or the file itself.
pub(super) fn in_folder(path: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error: io::Error| format!("cannot read the folder {}: {error}", path.display());
    let mut files = Vec::new();
    for entry in path.read_dir().map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if endings.iter().any(|wanted| ending.eq_ignore_ascii_case(wanted)) && file.is_file() {
            files.push(file);
        }
        if files.len() > MAX_FILES {
            return Err(format!("expected at most {MAX_FILES} files in {}", path.display()));
        }
    }
    files.sort();
    Ok(files)
}

/// A file with a private key in PEM that nobody but its owner may read: whoever has the key of a CA can pose as any server to
/// those who trust it. One that is encrypted is opened with the passphrase.
pub(super) fn private_key(path: &Path, passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, String> {
    let pem = decrypted(private(path, "key")?, path, passphrase)?;
    match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(_) => Ok(pem),
        Err(_) => Err(format!("expected a private key in PEM in {}", path.display())),
    }
}

/// A file with a secret, `what`, that nobody but its owner may read.
pub(super) fn private(path: &Path, what: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let (contents, mode) = read(path)?;
    if mode & 0o077 == 0 {
        return Ok(contents);
    }
    Err(format!(
        "expected a {what} file that only its owner may use, found mode {mode:04o}: `chmod 600 {}`",
        path.display()
    ))
}

/// A file of text.
pub(super) fn text(path: &Path) -> Result<String, String> {
    let (bytes, _) = read(path)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| format!("expected UTF-8 in {}", path.display()))
}

/// Contents and permission bits of a file.
fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), String> {
    read_up_to(path, MAX_BYTES)
}

fn read_up_to(path: &Path, most: u64) -> Result<(Zeroizing<Vec<u8>>, u32), String> {
    let failed = |error: io::Error| format!("cannot read {}: {error}", path.display());
    // Asked before it is opened: opening a pipe would wait for its writer.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(format!("expected a regular file at {}", path.display()));
    }
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if about.len() > most {
        return Err(format!("expected a file of at most {most} bytes at {}", path.display()));
    }
    // In one piece from the start: a buffer that grows leaves copies of a key behind.
    let mut contents = Zeroizing::new(Vec::with_capacity(about.len() as usize + 1));
    file.take(about.len()).read_to_end(&mut contents).map_err(failed)?;
    Ok((contents, about.permissions().mode() & 0o7777))
}
