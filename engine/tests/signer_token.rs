//! Keys of the CAs at a token: SoftHSM, which `scripts/setup.sh` installs.
#![cfg(feature = "pkcs11")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod config_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use config_support::{Folder, GOOD};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use wireglass::signer::{SignerClient, SignerHandle};
use wireglass_core::mint::{CaSigner, LeafOrder, LeafSubject, SignError};
use wireglass_testbed::Pki;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "correct-horse";

/// Two CAs, and a token that may have their keys.
struct Token {
    folder: Folder,
}

fn done(command: &mut Command) -> Output {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: scripts/setup.sh installs it"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

impl Token {
    fn new() -> Self {
        assert!(Path::new(MODULE).exists(), "{MODULE} is missing: scripts/setup.sh installs SoftHSM");
        let token = Self { folder: Folder::new() };
        let tokens = token.path("tokens");
        fs::create_dir(&tokens).unwrap();
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        );
        token.folder.write("softhsm2.conf", text);
        let init = ["--init-token", "--free", "--label", "wire glass", "--so-pin", "sesame", "--pin", PIN];
        done(token.command("softhsm2-util").args(init));
        token
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        command
    }

    /// Puts the key of a CA at the token. From then on it is there alone.
    fn import(&self, ca: &str, id: &str) {
        let key = self.path(&format!("ca/{ca}.key"));
        let mut import = self.command("softhsm2-util");
        import.args(["--token", "wire glass", "--label", ca, "--id", id, "--pin", PIN, "--import"]);
        done(import.arg(&key));
        fs::remove_file(key).unwrap();
    }

    /// Another key for a CA, and a certificate with it.
    fn remake(&self, ca: &str, key: &[&str]) {
        let (key_file, cert) = (self.path(&format!("ca/{ca}.key")), self.path(&format!("ca/{ca}.pem")));
        done(Command::new("openssl").args(["genpkey", "-quiet"]).args(key).arg("-out").arg(&key_file));
        let extensions = [
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ];
        let mut request = Command::new("openssl");
        request.args(["req", "-x509", "-days", "30", "-subj", "/CN=Example Inspection"]).args(extensions);
        done(request.arg("-key").arg(&key_file).arg("-out").arg(&cert));
    }

    /// The configuration with these keys, and lines more in `[ca]`.
    fn configure(&self, keys: [&str; 2], more: &str) -> PathBuf {
        let text = GOOD
            .replace("ca/trusted.key", keys[0])
            .replace("ca/untrusted.key", keys[1])
            .replace("[ca]\n", &format!("[ca]\npkcs11_module = \"{MODULE}\"\n{more}\n"));
        self.folder.write("wire.toml", text)
    }

    fn pin(&self) -> &'static str {
        let path = self.folder.write("pin", format!("{PIN}\n"));
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        "passphrase_file = \"pin\""
    }

    fn check(&self, file: &Path) -> (Option<i32>, String) {
        let output =
            self.command(env!("CARGO_BIN_EXE_wireglass")).args(["check", "-c"]).arg(file).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// The signer of a configuration, as `wireglass run` starts it.
    fn signer(&self, file: &Path) -> (SignerClient, Child) {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
        let mut keeper = self.command(env!("CARGO_BIN_EXE_wireglass"));
        let keeper = keeper
            .args(["signer", "-c"])
            .arg(file)
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(fs::OpenOptions::new().create(true).append(true).open(self.path("said")).unwrap());
        let keeper = keeper.spawn().unwrap();
        let client = SignerClient::listen_to(ours).unwrap();
        let handle = client.handle();
        until("it begins", || handle.counters().starts() == 1);
        (client, keeper)
    }

    fn said(&self) -> String {
        fs::read_to_string(self.path("said")).unwrap()
    }
}

fn until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A copy of a stranger's certificate, which the untrusted CA signs whoever it is from.
fn copy(signer: &impl CaSigner, ca: [u8; 32]) -> Result<Vec<u8>, SignError> {
    let identity = Pki::new("Stranger").unwrap().identity(&["www.example.com"]).unwrap();
    let subject =
        LeafSubject::Copy { original: &identity.chain[0], others: &identity.chain[1..], added: &[] };
    let key = rcgen::KeyPair::generate().unwrap();
    let public_key = &rcgen::PublicKeyData::subject_public_key_info(&key);
    signer.leaf(&LeafOrder { ca, subject, public_key, max_days: 90, now: 0 })
}

/// What orders call the two CAs.
fn cas(signer: &SignerHandle) -> [[u8; 32]; 2] {
    signer.reload(&[[0; 32]; 2], &AtomicBool::new(false)).unwrap()
}

const TRUSTED: &str = "pkcs11:token=wire%20glass;object=trusted;type=private";
const UNTRUSTED: &str = "pkcs11:token=wire%20glass;id=%02";

#[test]
fn a_token_signs_with_each_kind_of_key() {
    let kinds: [&[&str]; 3] = [
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    ];
    for kind in kinds {
        let token = Token::new();
        token.remake("untrusted", kind);
        token.import("trusted", "01");
        token.import("untrusted", "02");
        let file = token.configure([TRUSTED, UNTRUSTED], token.pin());
        assert_eq!(token.check(&file), (Some(0), String::new()), "{kind:?}");
        let (client, mut keeper) = token.signer(&file);
        let signer = client.handle();
        let [trusted, untrusted] = cas(&signer);
        assert!(signer.status(trusted, &[1; 16], 0).is_ok(), "{kind:?}");
        let der = copy(&signer, untrusted).unwrap();
        let leaf = token.folder.write("leaf.der", der);
        // Another reader of certificates says whose it is.
        let mut verify = Command::new("openssl");
        verify.args(["verify", "-CAfile"]).arg(token.path("ca/untrusted.pem")).arg(leaf);
        done(&mut verify);
        thread::scope(|scope| {
            for _ in 0..16 {
                let signer = signer.clone();
                scope
                    .spawn(move || (0..8).for_each(|_| assert!(signer.status(trusted, &[2; 16], 0).is_ok())));
            }
        });
        client.stop();
        assert!(keeper.wait().unwrap().success());
        assert_eq!(token.said(), "", "{kind:?}");
    }
}

#[test]
fn what_is_wrong_with_a_token_is_said() {
    let token = Token::new();
    let other = token.path("ca/trusted.pem");
    let other = fs::read(other).unwrap();
    token.import("trusted", "01");
    token.import("untrusted", "02");
    let good = token.pin();
    let bad = token.folder.write("bad", "battery staple");
    fs::set_permissions(bad, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let key = |uri: &str| uri.to_owned();
    for (trusted, more, said) in [
        (
            key("pkcs11:object=trusted?module-path=/nowhere.so"),
            good,
            "expected a PKCS#11 module at /nowhere.so",
        ),
        (
            key("pkcs11:object=trusted?module-path=/lib/x86_64-linux-gnu/libm.so.6"),
            good,
            "expected a PKCS#11 module at /lib/",
        ),
        (key("pkcs11:token=other;object=trusted"), good, "has no such token; it has: \"wire glass\""),
        (
            key("pkcs11:token=wire%20glass;object=nobody"),
            good,
            "the token has no such private key: `pkcs11-tool",
        ),
        (key(TRUSTED), "", "expected the token's PIN: `pin-source=file:PATH`"),
        (key(TRUSTED), "passphrase_file = \"bad\"", "the token does not take this PIN: PinIncorrect"),
        (format!("{TRUSTED}?pin-source=bad"), good, "the token does not take this PIN: PinIncorrect"),
        (format!("{TRUSTED}?pin-source=none"), good, "cannot read"),
        (format!("{TRUSTED}?pin-value={PIN}"), good, "expected no PIN in the configuration"),
        (key("pkcs11:token=wire%20glass"), good, "expected `object=LABEL` or `id=%XX...`"),
        (key("pkcs11:token=wire%20glass;id=%02"), good, "expected the key of the certificate in"),
    ] {
        let file = token.configure([&trusted, UNTRUSTED], more);
        let (code, stderr) = token.check(&file);
        assert!(code == Some(2) && stderr.contains(said), "{trusted} {more}: {code:?} {stderr}");
        assert!(stderr.contains(": ca.trusted.key: "), "{trusted}: {stderr}");
        assert!(!stderr.contains(PIN) && !stderr.contains("staple"), "{stderr}");
    }
    fs::write(token.path("ca/untrusted.pem"), other).unwrap();
    let file = token.configure([&format!("{TRUSTED}?pin-source=file:pin"), UNTRUSTED], good);
    let (code, stderr) = token.check(&file);
    assert!(
        code == Some(2) && stderr.contains("ca.untrusted.key: ") && stderr.contains("expected the key of"),
        "{stderr}"
    );
}

#[test]
fn a_token_that_goes_away_signs_again_when_it_is_back() {
    let token = Token::new();
    token.import("trusted", "01");
    token.import("untrusted", "02");
    let file = token.configure([TRUSTED, UNTRUSTED], token.pin());
    let (client, mut keeper) = token.signer(&file);
    let signer = client.handle();
    let [trusted, untrusted] = cas(&signer);
    assert!(copy(&signer, untrusted).is_ok());
    let (here, away) = (token.path("tokens"), token.path("away"));
    fs::rename(&here, &away).unwrap();
    fs::create_dir(&here).unwrap();
    until("it fails", || signer.status(trusted, &[1; 16], 0) == Err(SignError::Crypto));
    // Asked again and again, it says so at once: nobody waits for the token.
    let began = Instant::now();
    (0..50).for_each(|_| assert_eq!(signer.status(trusted, &[1; 16], 0), Err(SignError::Crypto)));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    fs::remove_dir(&here).unwrap();
    fs::rename(&away, &here).unwrap();
    until("it signs again", || {
        signer.status(trusted, &[1; 16], 0).is_ok() && copy(&signer, untrusted).is_ok()
    });
    assert_eq!(signer.counters().starts(), 1, "by the same process");
    let failed = signer.counters().requests().into_iter().find(|(outcome, _)| *outcome == "failed").unwrap();
    assert!(failed.1 > 50, "{failed:?}");
    client.stop();
    assert!(keeper.wait().unwrap().success());
    let said = token.said();
    let trusted = "pkcs11:token=wire%20glass;object=trusted;type=private";
    assert!(said.contains(&format!("wireglass: signer: {trusted} does not sign: ")), "{said}");
    assert!(
        said.contains(&format!("wireglass: signer: {trusted} signs again\n")) && !said.contains(PIN),
        "{said}"
    );
    assert!(said.lines().count() < 10, "once for each change: {said}");
}

#[test]
fn a_list_of_revoked_copies_is_signed_by_a_token() {
    let token = Token::new();
    token.import("trusted", "01");
    token.import("untrusted", "02");
    let file = token.configure([TRUSTED, UNTRUSTED], token.pin());
    let list = token.path("list.crl");
    let mut crl = token.command(env!("CARGO_BIN_EXE_wireglass"));
    done(crl.args(["ca", "crl", "-c"]).arg(&file).arg("--out").arg(&list));
    let mut verify = Command::new("openssl");
    verify
        .args(["crl", "-inform", "DER", "-noout", "-in"])
        .arg(&list)
        .arg("-CAfile")
        .arg(token.path("ca/trusted.pem"));
    let said = done(&mut verify);
    assert!(String::from_utf8_lossy(&said.stderr).contains("verify OK"), "{said:?}");
    // To show the CAs takes no key: without the token, too.
    let mut show = Command::new(env!("CARGO_BIN_EXE_wireglass"));
    done(show.args(["ca", "show", "-c"]).arg(&file).env("SOFTHSM2_CONF", "/nowhere"));
}

/// `cargo test --release --test signer_token -- --ignored --nocapture what_a_token_costs`
#[test]
#[ignore = "a measurement"]
fn what_a_token_costs() {
    const THREADS: usize = 4;
    let kinds: [(&str, &[&str]); 2] = [
        ("P-256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        ("RSA 2048", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
    ];
    for (name, kind) in kinds {
        let token = Token::new();
        token.remake("trusted", kind);
        let files =
            token.configure(["ca/trusted.key", "ca/untrusted.key"], "signatures_per_second = 1000000");
        measure(&token, &files, &format!("{name}, file"), THREADS);
        token.import("trusted", "01");
        let at_token = token.configure(
            [TRUSTED, "ca/untrusted.key"],
            &format!("{}\nsignatures_per_second = 1000000", token.pin()),
        );
        measure(&token, &at_token, &format!("{name}, SoftHSM"), THREADS);
    }
}

fn measure(token: &Token, file: &Path, name: &str, threads: usize) {
    const EACH: usize = 500;
    let (client, mut keeper) = token.signer(file);
    let signer = client.handle();
    let [trusted, _] = cas(&signer);
    let began = Instant::now();
    let mut took: Vec<_> = thread::scope(|scope| {
        let asking = (0..threads).map(|_| {
            let signer = signer.clone();
            scope.spawn(move || {
                let one = || {
                    let began = Instant::now();
                    signer.status(trusted, &[1; 16], 0).unwrap();
                    began.elapsed()
                };
                (0..EACH).map(|_| one()).collect::<Vec<_>>()
            })
        });
        asking.collect::<Vec<_>>().into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let rate = took.len() as f64 / began.elapsed().as_secs_f64();
    took.sort();
    println!(
        "{name}: {rate:.0} a second by {threads} threads, median {:?}, 95 % {:?}",
        took[took.len() / 2],
        took[took.len() * 95 / 100]
    );
    client.stop();
    keeper.wait().unwrap();
}
