//! etcd for tests, and certificates for it and its clients.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)]

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::config_support::Folder;

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A CA for etcd and its clients, and what it has issued: `tls/NAME.pem` and `tls/NAME.key`, `tls/ca.pem`.
pub struct Pki {
    folder: PathBuf,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Pki {
    pub fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        fs::write(folder.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: rcgen::Issuer::new(params, key) }
    }

    /// For this user of etcd's. Returns CA, certificate and key.
    pub fn issue(&self, name: &str) -> [String; 3] {
        let paths =
            ["ca.pem", &format!("{name}.pem"), &format!("{name}.key")].map(|file| self.folder.join(file));
        if !paths[1].exists() {
            let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            let key = rcgen::KeyPair::generate().unwrap();
            fs::write(&paths[1], params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
            fs::write(&paths[2], key.serialize_pem()).unwrap();
            fs::set_permissions(&paths[2], fs::Permissions::from_mode(0o600)).unwrap();
        }
        paths.map(|path| path.display().to_string())
    }
}

/// etcd, which scripts/setup.sh installs.
pub struct Etcd {
    folder: PathBuf,
    ports: [u16; 2],
    child: Option<Child>,
    /// It asks its clients for certificates.
    pub tls: Option<Pki>,
}

impl Etcd {
    pub fn start(folder: &Folder) -> Self {
        Self::start_with(folder, None)
    }

    pub fn start_with(folder: &Folder, tls: Option<Pki>) -> Self {
        let port = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (one, other) = (port(), port());
        let ports = [one, other].map(|listener| listener.local_addr().unwrap().port());
        let mut etcd = Self { folder: folder.path("etcd"), ports, child: None, tls };
        etcd.run();
        etcd
    }

    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.ports[0])
    }

    /// `[fleet]` of an engine or an operator with this name.
    pub fn section(&self, name: &str) -> String {
        let tls = self.tls.as_ref().map(|pki| pki.issue(name));
        let lines = tls.map(|[ca, certificate, key]| {
            format!("fleet = \"north\"\nca = \"{ca}\"\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n")
        });
        format!("[fleet]\nendpoints = [\"{}\"]\nname = \"{name}\"\n{}", self.url(), lines.unwrap_or_default())
    }

    pub fn run(&mut self) {
        let (client, peer) = (self.url(), format!("http://127.0.0.1:{}", self.ports[1]));
        let mut command = Command::new("etcd");
        if let Some([ca, certificate, key]) = self.tls.as_ref().map(|pki| pki.issue("etcd")) {
            command.args(["--client-cert-auth", "--trusted-ca-file", &ca]);
            command.args(["--cert-file", &certificate, "--key-file", &key]);
        }
        let child = command
            .arg("--data-dir")
            .arg(&self.folder)
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}"), "--log-level", "error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("etcd: scripts/setup.sh --all installs it"));
        wait("etcd", || self.ctl(&["endpoint", "health"]).status.success());
    }

    pub fn ctl(&self, arguments: &[&str]) -> Output {
        self.ctl_as("root", arguments)
    }

    pub fn ctl_as(&self, user: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("etcdctl");
        if let Some([ca, certificate, key]) = self.tls.as_ref().map(|pki| pki.issue(user)) {
            command.args(["--cacert", &ca, "--cert", &certificate, "--key", &key]);
        }
        command.args(["--endpoints", &self.url()]).args(arguments).env("ETCDCTL_API", "3");
        command.output().expect("etcdctl: scripts/setup.sh --all installs it")
    }

    /// Several changes at once.
    pub fn txn(&self, text: &str) {
        let mut command = Command::new("etcdctl");
        command.args(["--endpoints", &self.url(), "txn"]).env("ETCDCTL_API", "3");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{text}");
    }

    pub fn put(&self, key: &str, value: &str) {
        assert!(self.ctl(&["put", "--", key, value]).status.success(), "{key}");
    }

    /// The keys that begin with this, without it, in order.
    pub fn list(&self, prefix: &str) -> Vec<String> {
        let found = self.ctl(&["get", "--prefix", "--keys-only", prefix]);
        assert!(found.status.success(), "{prefix}");
        let found = String::from_utf8(found.stdout).unwrap();
        found.lines().filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect()
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn wait(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
