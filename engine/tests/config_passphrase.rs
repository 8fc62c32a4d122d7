//! Keys of the CAs that are encrypted, as OpenSSL does it, or credentials of systemd.
#![allow(clippy::unwrap_used, clippy::panic)]

mod config_support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use config_support::{Folder, GOOD};

fn openssl(words: &[&str]) {
    let done = Command::new("openssl").args(words).output().unwrap();
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A folder whose keys are encrypted with "correct horse", and the configuration with these lines of `[ca]`.
fn sealed(how: &[&str]) -> Folder {
    let folder = Folder::new();
    for name in ["trusted", "untrusted"] {
        let (key, out) = (folder.path(&format!("ca/{name}.key")), folder.path("ca/sealed.key"));
        let (key, out) = (key.to_str().unwrap(), out.to_str().unwrap());
        let whole = ["pkcs8", "-topk8", "-in", key, "-out", out, "-passout", "pass:correct horse"];
        openssl(&[&whole[..], how].concat());
        fs::rename(out, key).unwrap();
        fs::set_permissions(key, Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

fn secret(folder: &Folder, name: &str, text: &str, mode: u32) {
    let path = folder.write(name, text);
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The configuration with a line more in `[ca]`.
fn with(line: &str) -> String {
    let with = GOOD.replace("[ca]\n", &format!("[ca]\n{line}\n"));
    assert_ne!(with, GOOD);
    with
}

#[test]
fn a_passphrase_from_a_file_or_a_program_opens_them() {
    for how in [&["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256"][..], &["-v2", "aes-128-cbc", "-scrypt"]] {
        let folder = sealed(how);
        secret(&folder, "passphrase", "correct horse\n", 0o600);
        for line in [
            "passphrase_file = \"passphrase\"",
            "passphrase_command = [\"/bin/sh\", \"-c\", \"printf 'correct %s' horse\"]",
        ] {
            let config = folder.load(&with(line)).unwrap_or_else(|faults| panic!("{how:?} {line}: {faults}"));
            assert!(config.tls_context().is_ok(), "{how:?} {line}");
        }
    }
}

#[test]
fn what_does_not_open_them_is_said() {
    let folder = sealed(&["-v2", "aes-256-cbc"]);
    secret(&folder, "wrong", "battery staple", 0o600);
    secret(&folder, "open", "correct horse", 0o644);
    secret(&folder, "empty", "\n", 0o600);
    for (line, said) in [
        ("", "expected a passphrase (`ca.passphrase_file` or `ca.passphrase_command`), to open"),
        ("passphrase_file = \"wrong\"", "expected a key that this passphrase opens"),
        (
            "passphrase_file = \"open\"",
            "expected a passphrase file that only its owner may use, found mode 0644",
        ),
        ("passphrase_file = \"empty\"", "expected a passphrase, found nothing"),
        ("passphrase_file = \"none\"", "cannot read"),
        ("passphrase_command = [\"/bin/false\"]", "which ended with"),
        ("passphrase_command = [\"/nowhere\"]", "expected a passphrase from /nowhere"),
        ("passphrase_command = [\"x\"]\npassphrase_file = \"wrong\"", "found both"),
        ("passphrase_file = \"credential:a/b\"", "expected the name of a credential, without folders"),
    ] {
        let faults = folder.load(&with(line)).unwrap_err().to_string();
        assert!(faults.contains(said), "{line}: {faults}");
        assert!(!faults.contains("horse") && !faults.contains("staple"), "{faults}");
    }
}

#[test]
fn credentials_of_systemd() {
    let folder = sealed(&["-v2", "aes-256-cbc"]);
    fs::create_dir(folder.path("credentials")).unwrap();
    fs::rename(folder.path("ca/trusted.key"), folder.path("credentials/trusted.key")).unwrap();
    secret(&folder, "credentials/word", "correct horse", 0o400);
    let text =
        with("passphrase_file = \"credential:word\"").replace("ca/trusted.key", "credential:trusted.key");
    let file = folder.write("wire.toml", text);
    let check = |credentials: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireglass"));
        command.args(["check", "-c"]).arg(&file).env_remove("CREDENTIALS_DIRECTORY");
        command.envs(credentials.map(|name| ("CREDENTIALS_DIRECTORY", folder.path(name))));
        let done = command.output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let (code, said) = check(Some("credentials"));
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = check(None);
    assert!(code == Some(2) && said.contains("LoadCredential=word:..."), "{said}");
}
