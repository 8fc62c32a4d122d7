//! The files of the two CAs: written once, readable by their owner only, and never half.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use wireglass::ca_files::{CaFileError, NewCas, create, describe};
use wireglass_core::x509::Provider;

const NOW: u64 = 1_800_000_000;

fn init(dir: &Path, name: Option<&str>, force: bool) -> Result<Vec<PathBuf>, CaFileError> {
    let (provider, name) = (Provider::default(), name.map(str::to_owned));
    create(&NewCas { dir: dir.into(), name, days: 3650, force, provider, now: NOW })
}

#[test]
fn ca_init_writes_four_files_and_spares_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("new/ca");
    let files = init(&dir, None, false).unwrap();
    let names: Vec<_> = files.iter().map(|f| f.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["trusted.pem", "trusted.key", "untrusted.pem", "untrusted.key"]);
    for file in &files {
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077 == 0, file.extension().unwrap() == "key", "{file:?} {mode:o}");
    }
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 4);
    let before = std::fs::read(&files[0]).unwrap();
    assert!(matches!(init(&dir, None, false), Err(CaFileError::Exists(_))));
    // One file is enough to refuse, and then nothing is written.
    std::fs::remove_file(&files[0]).unwrap();
    assert!(matches!(init(&dir, None, false), Err(CaFileError::Exists(_))));
    assert!(!files[0].exists());
    init(&dir, None, true).unwrap();
    assert_ne!(before, std::fs::read(&files[0]).unwrap());

    let (trusted, untrusted) = (describe(&files[0]).unwrap(), describe(&files[2]).unwrap());
    assert_eq!(trusted.subject, "CN=wireglass trusted CA");
    assert_eq!(untrusted.subject, "CN=wireglass untrusted CA (do not trust)");
    assert!(matches!(describe(&files[1]), Err(CaFileError::NotACertificate(_))));
}

#[test]
fn names_have_limits_and_a_bad_one_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for bad in ["", &"x".repeat(65)] {
        let error = init(dir.path(), Some(bad), true).unwrap_err();
        assert_eq!(error.to_string(), "a name has 1 to 64 characters");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let files = init(dir.path(), Some("Prüfstelle"), true).unwrap();
    assert_eq!(describe(&files[0]).unwrap().subject, "CN=Prüfstelle");
}
