//! `wireglass verify`: files and servers, exit status, and what it says to do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod config_support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use config_support::{Folder, GOOD};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

const HOST: &str = "www.example.com";

/// A configuration without keys, a root, and a leaf below it.
struct Case {
    folder: Folder,
    root: CertificateParams,
    root_key: KeyPair,
}

impl Case {
    fn new() -> Self {
        let mut root = CertificateParams::default();
        root.distinguished_name = rcgen::DistinguishedName::new();
        root.distinguished_name.push(DnType::CommonName, "Root");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let case = Self { folder: Folder::new(), root, root_key: KeyPair::generate().unwrap() };
        case.folder.write("roots/trusted.pem", case.root.self_signed(&case.root_key).unwrap().pem());
        let profiles = "[profile.lenient]\non_usage = \"untrusted-ca\"\non_name_mismatch = \"allow\"\n[profile.strict]\non_no_name = \"block\"\n";
        case.folder.write("wire.toml", format!("{GOOD}{profiles}"));
        for key in ["ca/trusted.key", "ca/untrusted.key"] {
            fs::remove_file(case.folder.path(key)).unwrap();
        }
        case
    }

    /// Writes a leaf, and its key.
    fn leaf(&self, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new(vec![HOST.into()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "server");
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2100, 1, 1));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &Issuer::from_params(&self.root, &self.root_key)).unwrap();
        self.folder.write("leaf.pem", leaf.pem());
        self.folder.write("leaf.der", leaf.der());
        self.folder.write("leaf.key", key.serialize_pem());
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireglass"));
        let verify = command.args(["verify", "-c", "wire.toml"]).args(arguments);
        verify.current_dir(self.folder.path("")).env_remove("RUST_LOG").output().unwrap()
    }

    /// The exit status and what is on stdout.
    #[track_caller]
    fn says(&self, arguments: &[&str], status: i32) -> String {
        let output = self.run(arguments);
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(status), "{out}{err}");
        assert_eq!(out.is_empty(), status == 3, "{out}{err}");
        out + &err
    }
}

#[test]
fn a_good_chain() {
    let case = Case::new();
    case.leaf(|_| {});
    for file in ["leaf.pem", "leaf.der"] {
        let said = case.says(&["--name", HOST, file], 0);
        let first = said.lines().next().unwrap();
        assert!(first.starts_with("www.example.com, with profile default on 20"), "{said}");
        assert!(first.ends_with(": decrypted, and its copy is signed by the trusted CA"), "{said}");
        assert!(
            said.contains("\n  0  CN=server\n     by CN=Root\n     2020-01-01 to 2100-01-01, SHA-1 "),
            "{said}"
        );
        let end = "leads to the root
     CN=Root
revocation: unknown (no stapled OCSP response, and no CRL of its issuer)

nothing is wrong with it
";
        assert!(said.ends_with(end), "{said}");
    }
}

#[test]
fn each_finding_has_its_key_and_what_to_do() {
    let case = Case::new();
    case.leaf(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let said = case.says(&["--name", "other.example", "leaf.pem"], 2);
    assert!(said.lines().next().unwrap().ends_with(": blocked (cert.usage)"), "{said}");
    let findings = "findings
  cert.usage in the server's own certificate, CN=server: extendedKeyUsage without serverAuth
     have its CA make one that is for this use
     blocked by on_usage; \"untrusted-ca\" or \"allow\" lets it pass
  cert.mismatch in the server's own certificate, CN=server: only the names www.example.com
     ask for a name that it has, or have that name put in its subjectAltName
     blocked by on_name_mismatch; \"untrusted-ca\" or \"allow\" lets it pass
";
    assert!(said.ends_with(findings), "{said}");
    let said = case.says(&["--name", "other.example", "--profile", "lenient", "leaf.pem"], 1);
    assert!(said.contains("signed by the untrusted CA: browsers warn (cert.usage)"), "{said}");
    assert!(said.contains("     on_usage has the untrusted CA sign\n"), "{said}");
    assert!(said.ends_with("     on_name_mismatch lets it pass\n"), "{said}");
    // A client that sends no name.
    let good = Case::new();
    good.leaf(|_| {});
    let said = good.says(&["--name", "192.0.2.1", "leaf.pem"], 0);
    assert!(said.contains("cert.no_name") && said.ends_with("on_no_name lets it pass\n"), "{said}");
    let said = good.says(&["--name", "192.0.2.1", "--profile", "strict", "leaf.pem"], 2);
    assert!(said.ends_with("blocked by on_no_name; \"server_names\" lets it pass\n"), "{said}");
}

#[test]
fn another_time_and_json() {
    let case = Case::new();
    case.leaf(|_| {});
    let said = case.says(&["--name", HOST, "--at", "2101-01-01", "--json", "leaf.pem"], 2);
    let mut value: Value = serde_json::from_str(&said).unwrap();
    let fingerprint = value["presented"][0]["fingerprint"].take();
    assert_eq!(fingerprint.as_str().unwrap().len(), 59);
    assert_eq!(
        value,
        json!({
            "name": HOST, "at": 4_133_980_800_u64, "profile": "default", "decision": "block",
            "reason": "cert.expired", "root": "CN=Root",
            "revocation": "unknown", "revocation_source": null,
            "revocation_unknown": "no stapled OCSP response, and no CRL of its issuer",
            "findings": [{
                "reason": "cert.expired", "certificate": 0, "subject": "CN=server", "found": "expired, on 2100-01-01",
                "decision": "block", "key": "on_expired",
                "advice": "have the certificate renewed; check this machine's clock"
            }],
            "presented": [{
                "subject": "CN=server", "issuer": "CN=Root", "not_before": 1_577_836_800,
                "not_after": 4_102_444_800_u64, "fingerprint": null
            }]
        })
    );
}

#[test]
fn our_own_ca_is_known_by_its_certificate() {
    let case = Case::new();
    let own = fs::read(case.folder.path("ca/trusted.pem")).unwrap();
    fs::write(case.folder.path("leaf.pem"), own).unwrap();
    let said = case.says(&["--name", HOST, "leaf.pem"], 2);
    assert!(said.contains("cert.own_ca in the server's own certificate"), "{said}");
    assert!(
        said.ends_with("     no key of a profile lets it pass; a rule may bypass the server\n"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_told() {
    let case = Case::new();
    case.leaf(|_| {});
    case.folder.write("text", "no certificate");
    case.folder.write("damaged.pem", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n");
    for (arguments, expected) in [
        (&["--name", HOST, "text"][..], "text: expected certificates in PEM, or one in DER"),
        (&["--name", HOST, "damaged.pem"], "damaged.pem: expected PEM certificates, found damaged PEM"),
        (&["--name", HOST, "missing"], "missing: No such file"),
        (
            &["--name", HOST, "--profile", "none", "leaf.pem"],
            "no profile \"none\"; there are: default, lenient, strict",
        ),
        (&["--connect", "127.0.0.1:1"], "127.0.0.1:1: Connection refused"),
        (&["--connect", "127.0.0.1"], "127.0.0.1: expected HOST:PORT"),
    ] {
        let said = case.says(arguments, 3);
        assert!(said.contains(expected), "{said}");
    }
    case.folder.write("wire.toml", GOOD.replace("system = false", "system = maybe"));
    case.says(&["--name", HOST, "leaf.pem"], 3);
    // clap's own.
    for arguments in
        [&["leaf.pem"][..], &[], &["--name", "a b", "leaf.pem"], &["--connect", "a:1", "leaf.pem"]]
    {
        assert_eq!(case.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// OpenSSL's server, until it is dropped.
struct Server(Child, String);

impl Server {
    fn start(case: &Case, more: &[&str]) -> Self {
        let mut command = Command::new("openssl");
        command
            .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "leaf.pem", "-key", "leaf.key"])
            .args(more);
        let mut child = command
            .current_dir(case.folder.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address =
            lines.map_while(Result::ok).find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned));
        Self(child, address.expect("an address"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_server_shows_its_chain() {
    let case = Case::new();
    case.leaf(|_| {});
    for more in [&["-tls1_2"][..], &["-tls1_3"], &["-tls1_2", "-Verify", "1"], &["-tls1_3", "-Verify", "1"]] {
        let server = Server::start(&case, more);
        let said = case.says(&["--connect", &server.1, "--name", HOST], 0);
        assert!(
            said.contains("\n  0  CN=server\n") && said.ends_with("nothing is wrong with it\n"),
            "{said}"
        );
        // The address, as no name is given.
        assert!(case.says(&["--connect", &server.1], 0).contains("cert.no_name"));
    }
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || drop(silent.accept()));
    assert!(case.says(&["--connect", &address], 3).contains("no TLS handshake"));
    thread.join().unwrap();
}
