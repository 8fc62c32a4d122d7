//! The files that a configuration names.
#![allow(missing_docs, clippy::unwrap_used)]

mod config_support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use config_support::{Folder, GOOD, repository};
use wireglass::config::read_page;

fn chmod(folder: &Folder, name: &str, mode: u32) {
    fs::set_permissions(folder.path(name), Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_key_that_others_may_use_is_refused() {
    let folder = Folder::new();
    for mode in [0o640, 0o604, 0o610, 0o602, 0o644, 0o666] {
        chmod(&folder, "ca/trusted.key", mode);
        assert_eq!(
            folder.faults(GOOD),
            [format!(
                "6: ca.trusted.key: expected a key file that only its owner may use, found mode {mode:04o}: \
                 `chmod 600 DIR/ca/trusted.key`"
            )]
        );
    }
    for mode in [0o600, 0o400] {
        chmod(&folder, "ca/trusted.key", mode);
        assert!(folder.faults(GOOD).is_empty());
    }
}

#[test]
fn the_permissions_of_a_link_are_those_of_what_it_leads_to() {
    let folder = Folder::new();
    fs::rename(folder.path("ca/trusted.key"), folder.path("key")).unwrap();
    std::os::unix::fs::symlink(folder.path("key"), folder.path("ca/trusted.key")).unwrap();
    assert!(folder.faults(GOOD).is_empty());
    chmod(&folder, "key", 0o644);
    assert!(folder.faults(GOOD)[0].contains("found mode 0644"));
}

#[test]
fn files_that_are_missing_or_no_files_or_too_long() {
    let folder = Folder::new();
    fs::remove_file(folder.path("ca/trusted.pem")).unwrap();
    fs::remove_file(folder.path("ca/untrusted.key")).unwrap();
    fs::create_dir(folder.path("ca/untrusted.key")).unwrap();
    folder.write("roots/trusted.pem", vec![b'x'; 1024 * 1024 + 1]);
    assert_eq!(
        folder.faults(GOOD),
        [
            "6: ca.trusted.cert: cannot read DIR/ca/trusted.pem: No such file or directory (os error 2)",
            "7: ca.untrusted.key: expected a regular file at DIR/ca/untrusted.key",
            "10: trust.roots[1]: expected a file of at most 1048576 bytes at DIR/roots/trusted.pem",
        ]
    );
}

#[test]
fn a_pipe_does_not_hold_up_the_check() {
    let folder = Folder::new();
    fs::remove_file(folder.path("ca/trusted.key")).unwrap();
    nix::unistd::mkfifo(&folder.path("ca/trusted.key"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert_eq!(folder.faults(GOOD), ["6: ca.trusted.key: expected a regular file at DIR/ca/trusted.key"]);
}

#[test]
fn files_that_hold_something_else() {
    let folder = Folder::new();
    fs::copy(folder.path("ca/trusted.key"), folder.path("ca/trusted.pem")).unwrap();
    folder.write("ca/untrusted.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n");
    chmod(&folder, "ca/untrusted.key", 0o600);
    folder.write("roots/trusted.pem", "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n");
    assert_eq!(
        folder.faults(GOOD),
        [
            "6: ca.trusted.cert: expected PEM certificates in DIR/ca/trusted.pem, found none",
            "7: ca.untrusted.key: expected a private key in PEM in DIR/ca/untrusted.key",
            "10: trust.roots[1]: expected PEM certificates in DIR/roots/trusted.pem, found damaged PEM",
        ]
    );
}

#[test]
fn what_the_engine_would_refuse_is_blamed_on_its_key() {
    let folder = Folder::new();
    let mixed = GOOD.replace("ca/trusted.key", "roots/trusted.key");
    let faults = folder.faults(&mixed);
    assert_eq!(
        faults,
        [
            "6: ca.trusted.key: DIR/roots/trusted.key: expected the key of the certificate in DIR/ca/trusted.pem"
        ]
    );

    // One file for both keys: it is the key of one certificate, and not of the other.
    for (from, to, line, key, cert) in [
        ("ca/trusted.key", "ca/untrusted.key", 6, "ca.trusted.key", "ca/trusted.pem"),
        ("ca/untrusted.key", "ca/trusted.key", 7, "ca.untrusted.key", "ca/untrusted.pem"),
    ] {
        let expected = format!("{line}: {key}: DIR/{to}: expected the key of the certificate in DIR/{cert}");
        assert_eq!(folder.faults(&GOOD.replace(from, to)), [expected]);
    }

    let same = GOOD.replace("ca/untrusted", "ca/trusted");
    assert_eq!(
        folder.faults(&same),
        ["7: ca.untrusted.cert: DIR/ca/trusted.pem: expected another key than the trusted CA's"]
    );

    let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    folder.write("roots/trusted.pem", not_der);
    assert_eq!(
        folder.faults(GOOD),
        ["10: trust.roots[1]: DIR/roots/trusted.pem: expected a certificate in valid DER"]
    );
}

#[test]
fn somebody_must_be_trusted() {
    let faults = Folder::new().faults(&GOOD.replace("roots = [\"roots/trusted.pem\"]\n", ""));
    assert_eq!(
        faults,
        [
            "8: trust.roots: missing: expected at least one file with roots, or `system = true`: now no server would be trusted"
        ]
    );
}

#[test]
fn secrets_are_not_in_the_debug_text() {
    let folder = Folder::new();
    let config = folder.load(GOOD).unwrap();
    let key = fs::read_to_string(folder.path("ca/trusted.key")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    assert!(secret.len() > 20);
    let debug = format!("{config:?}");
    assert!(
        debug.contains("trusted.key")
            && !debug.contains(secret)
            && !debug.contains(&format!("{:?}", key.as_bytes()))
    );
}

#[test]
fn a_file_that_is_not_there_or_not_text() {
    let folder = Folder::new();
    let missing = wireglass::config::Config::load(&folder.path("no.toml")).unwrap_err().to_string();
    assert!(
        missing.ends_with("no.toml: cannot read the configuration: No such file or directory (os error 2)")
    );
    let path = folder.write("binary.toml", [0xff, 0xfe]);
    let binary = wireglass::config::Config::load(&path).unwrap_err().to_string();
    assert!(binary.contains("binary.toml: cannot read the configuration:"), "{binary}");
}

#[test]
fn the_example_of_a_block_page_is_in_order() {
    read_page(&repository().join("examples/block.html")).unwrap();
}

#[test]
fn a_block_page_with_a_fault_is_refused_with_file_and_line() {
    let folder = Folder::new();
    let page = folder.path("block.html");
    fs::write(&page, "<p>\n{{ urll }}").unwrap();
    let fault = read_page(&page).unwrap_err();
    assert!(fault.starts_with(&format!("{}:2: ", page.display())), "{fault}");
    assert!(fault.contains("urll"), "{fault}");
    fs::write(&page, [0xff]).unwrap();
    assert_eq!(read_page(&page).unwrap_err(), format!("expected UTF-8 in {}", page.display()));
    let missing = folder.path("missing.html");
    assert!(read_page(&missing).unwrap_err().starts_with(&format!("cannot read {}", missing.display())));
}
