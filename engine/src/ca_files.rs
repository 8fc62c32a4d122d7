//! The files of the two CAs of an installation: made once, and described when asked.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::{error, fmt};

use wireglass_core::mint::ca::{self, CaError, Description, NewCa};
use wireglass_core::mint::status;
use wireglass_core::x509::{CaFiles, CaKey, Provider};
use zeroize::Zeroizing;

/// How long a CA is valid unless asked otherwise: ten years, in days.
pub const DEFAULT_DAYS: u32 = 3650;
/// Name of the trusted CA unless asked otherwise.
pub const DEFAULT_NAME: &str = "wireglass trusted CA";
const UNTRUSTED_NAME: &str = "wireglass untrusted CA (do not trust)";

/// What [`create`] is to make.
#[derive(Clone, Debug)]
pub struct NewCas {
    /// Folder that gets `trusted.pem`, `trusted.key`, `untrusted.pem` and `untrusted.key`. Made if it is missing.
    pub dir: PathBuf,
    /// Common name of the trusted CA; the untrusted one's is derived from it.
    pub name: Option<String>,
    /// Validity in days.
    pub days: u32,
    /// Overwrite what is there.
    pub force: bool,
    /// Who makes the keys.
    pub provider: Provider,
    /// Now, in seconds since the Unix epoch.
    pub now: u64,
}

/// Why the files could not be made, or read.
#[derive(Debug)]
pub enum CaFileError {
    /// A file is there already.
    Exists(PathBuf),
    /// There is no such CA.
    Ca(CaError),
    /// Not a PEM certificate.
    NotACertificate(PathBuf),
    /// Reading or writing failed.
    Io(PathBuf, io::Error),
}

impl fmt::Display for CaFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(path) => {
                write!(f, "{} exists already; clients may trust it. --force overwrites it", path.display())
            }
            Self::Ca(error) => error.fmt(f),
            Self::NotACertificate(path) => write!(f, "{}: expected a PEM certificate", path.display()),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl error::Error for CaFileError {}

/// Makes both CAs and writes their files, which it returns.
///
/// # Errors
/// See [`CaFileError`]. Without `force` nothing is written if any of the files exists.
pub fn create(new: &NewCas) -> Result<Vec<PathBuf>, CaFileError> {
    let trusted_name = new.name.clone().unwrap_or_else(|| DEFAULT_NAME.into());
    let untrusted_name =
        new.name.as_ref().map_or_else(|| UNTRUSTED_NAME.into(), |n| format!("{n} untrusted (do not trust)"));
    let mut files = Vec::new();
    for (stem, name) in [("trusted", trusted_name), ("untrusted", untrusted_name)] {
        let NewCas { days, provider, now, .. } = *new;
        let ca = ca::self_signed(&NewCa { name: &name, days, provider, now }).map_err(CaFileError::Ca)?;
        files.push((new.dir.join(format!("{stem}.pem")), Zeroizing::new(ca.certificate), 0o644));
        files.push((new.dir.join(format!("{stem}.key")), ca.key, 0o600));
    }
    if !new.force
        && let Some((path, ..)) = files.iter().find(|(path, ..)| path.symlink_metadata().is_ok())
    {
        return Err(CaFileError::Exists(path.clone()));
    }
    fs::create_dir_all(&new.dir).map_err(|e| CaFileError::Io(new.dir.clone(), e))?;
    for (path, contents, mode) in &files {
        write_new(path, contents.as_bytes(), *mode).map_err(|e| CaFileError::Io(path.clone(), e))?;
    }
    Ok(files.into_iter().map(|(path, ..)| path).collect())
}

/// Writes beside the file and renames, so that there is never half a key, and its mode is right from the start.
pub(crate) fn write_new(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    // What an interrupted run left; that it is not there is the rule.
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// Describes the first certificate of a PEM file.
///
/// # Errors
/// [`CaFileError::Io`] or [`CaFileError::NotACertificate`].
pub fn describe(path: &Path) -> Result<Description, CaFileError> {
    let pem = fs::read(path).map_err(|e| CaFileError::Io(path.to_owned(), e))?;
    ca::describe(&pem).ok_or_else(|| CaFileError::NotACertificate(path.to_owned()))
}

/// A CA with a key that is not encrypted.
///
/// # Errors
/// In words: a file cannot be read.
pub fn read(cert: &Path, key: &Path) -> Result<CaFiles, String> {
    let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    Ok(CaFiles {
        cert_name: cert.display().to_string(),
        cert_pem: read(cert)?,
        key_name: key.display().to_string(),
        key: CaKey::pem(read(key)?),
    })
}

/// Writes the CRL of a CA, in DER as clients want it from a web server.
///
/// # Errors
/// In words.
pub fn write_crl(ca: &CaFiles, out: &Path, serials: &[Vec<u8>], days: u32, now: u64) -> Result<(), String> {
    let crl = status::crl(Provider::default(), ca, serials, days, now).map_err(|error| error.to_string())?;
    write_new(out, &crl, 0o644).map_err(|error| format!("{}: {error}", out.display()))
}
