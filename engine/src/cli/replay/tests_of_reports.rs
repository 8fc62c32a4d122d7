//! Reports of a real capture: OpenSSL's clients and servers, and Python's, recorded by tcpdump on a loopback. Among them a server that speaks
//! TLS 1.0 alone, one that wants client certificates, one whose certificate has expired, and a mail server with STARTTLS.
//! `fixtures/root.pem` is the CA of all.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use wireglass_testbed::Random;

use super::report::{Html, Report, Text};
use super::{ReplayArgs, Summary, report};
use crate::config::Config;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/replay/fixtures");
const RULES: &str = r#"
[intercept]
ports = [1443, 2443, 3443, 4443, 5443, 6443, 7443, 1444, 2525]
[[rule]]
name = "never"
sni = ["bank.example"]
action = "bypass"
[policy]
default = "decrypt"
"#;

fn of(rules: &str, captures: &[&Path]) -> (TempDir, Report, Summary) {
    let head = r#"
[[wire]]
name = "lan"
inside = "0000:03:00.0"
outside = "0000:03:00.1"
[ca]
trusted = { cert = "ca/trusted.pem", key = "ca/trusted.key" }
untrusted = { cert = "ca/untrusted.pem", key = "ca/untrusted.key" }
"#;
    let (folder, file) = super::tests::write(&format!(
        "{head}[trust]\nsystem = false\nroots = [\"{FIXTURES}/root.pem\"]\n{rules}"
    ));
    let config = Config::load(&file).expect("in order");
    let args = ReplayArgs {
        config: file,
        wire: None,
        json: false,
        report: None,
        top: None,
        captures: captures.iter().map(|path| path.to_path_buf()).collect(),
    };
    match report(&config, &Arc::from("lan"), &args) {
        Ok((report, summary)) => (folder, report, summary),
        Err(super::Failure::Told(why)) => panic!("{why}"),
        Err(super::Failure::Reader) => panic!("nobody reads"),
    }
}

fn visits() -> PathBuf {
    Path::new(FIXTURES).join("visits.pcap.gz")
}

fn value_of(report: &Report) -> Value {
    serde_json::to_value(report).expect("JSON")
}

/// Impact, code and server; `client` for a kind of client.
fn problems(report: &Value) -> BTreeSet<[&str; 3]> {
    let rows = report["problems"].as_array().expect("a list");
    rows.iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str();
            [text("impact"), text("code"), text("server").or(Some("client"))].map(|text| text.expect("text"))
        })
        .collect()
}

#[test]
fn what_would_break_is_told_with_its_reason() {
    let (_folder, report, summary) = of(RULES, &[&visits()]);
    assert_eq!(summary.faults, [] as [&str; 0]);
    let value = value_of(&report);
    let expected = [
        ["breaks", "cert.expired", "expired.example.com"],
        ["breaks", "hello.not_tls", "10.9.0.2"],
        ["breaks", "hello.not_tls", "mail.example.com"],
        ["breaks", "pinned", "gateway.icloud.com"],
        ["breaks", "srv.client_cert_required", "login.example.com"],
        ["breaks", "ver.unsupported_client", "client"],
        ["breaks", "ver.unsupported_server", "old.example.com"],
        ["may_break", "cipher.none_server", "rsa.example.com"],
        ["may_break", "client.alert", "mail.example.com"],
    ];
    assert_eq!(problems(&value), BTreeSet::from(expected), "{value:#}");
    let names = value["names"].as_array().expect("a list");
    let of_name = |name: &str| names.iter().find(|row| row["name"] == name).expect("a row");
    let good = of_name("www.example.com");
    assert_eq!((&good["verdict"], &good["decrypt"]), (&"ok".into(), &2.into()), "{good:#}");
    assert_eq!(good["issuer"], "O=Example, CN=Example Root");
    assert_eq!(of_name("expired.example.com")["expires"], "2024-02-01");
    assert_eq!(of_name("old.example.com")["versions"], Value::from(vec!["TLSv1"]));
    let ports = value["uninspected"]["ports"].as_array().expect("a list");
    assert_eq!((&ports[0]["port"], &ports[0]["tls"]), (&9443.into(), &1.into()), "{ports:?}");
    assert_eq!(value["not_observed"], 0, "{value:#}");
}

#[test]
fn what_a_profile_lets_pass_does_not_break() {
    let lenient = r#"
[profile.default]
on_unsupported = "bypass"
on_client_certificate = "bypass"
on_pinned = "bypass"
on_expired = "untrusted-ca"
"#;
    let (_folder, report, _) = of(&format!("{RULES}{lenient}"), &[&visits()]);
    let value = value_of(&report);
    let gentle = problems(&value);
    let breaks: Vec<_> = gentle.iter().filter(|[impact, ..]| *impact == "breaks").collect();
    assert!(breaks.iter().all(|[_, code, _]| *code == "hello.not_tls"), "{breaks:?}");
    assert!(gentle.contains(&["warns", "cert.expired", "expired.example.com"]));
    assert!(gentle.contains(&["bypassed", "srv.client_cert_required", "login.example.com"]));
    assert!(gentle.contains(&["bypassed", "ver.unsupported_client", "client"]));
    // What a rule bypasses has no problems at all.
    let rules = RULES.replace("bank.example", "*.example.com");
    let (_folder, report, _) = of(&rules, &[&visits()]);
    let value = value_of(&report);
    assert!(
        problems(&value)
            .iter()
            .all(|[_, code, who]| *code == "hello.not_tls" || *who == "gateway.icloud.com")
    );
}

#[test]
fn text_and_page_say_the_same() {
    let (_folder, report, _) = of(RULES, &[&visits()]);
    let text = Text { report: &report, top: 3 }.to_string();
    for said in ["breaks     6 servers, 1 kind of client\n", "and 6 more; --top shows them", "NAMES", "9443"]
    {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
    let page = Html(&report).to_string();
    for said in ["<code>cert.expired</code>", "gateway.icloud.com", "color-scheme: light dark", "</html>"] {
        assert!(page.contains(said), "{said:?} is not in\n{page}");
    }
    assert!(!page.contains("http://") && !page.contains("src=") && !page.contains("<script"), "{page}");
}

/// The first packets of two connections of aioquic's, one of QUIC version 1, one of version 2 with a hello of several packets.
#[test]
fn what_goes_past_over_quic_is_told_by_name() {
    let rules = RULES.replace("[1443, ", "[443, 1443, ");
    let quic = Path::new(FIXTURES).join("quic.pcap.gz");
    let (_folder, report, _) = of(&rules, &[&visits(), &quic]);
    let value = value_of(&report);
    let about = &value["uninspected"];
    assert_eq!(about["quic"], json!([{"name": "www.example.com", "flows": 2}]), "{about:#}");
    let frames = about["frames"].as_array().expect("a list").iter();
    let dropped: Vec<_> = frames.filter(|row| row["class"] == "quic").map(|row| &row["action"]).collect();
    assert_eq!(dropped, ["drop"], "browsers take TCP then");
    assert_eq!(value["flows"]["decrypt"], 8, "and the other file is there as well");
}

/// Captures with bytes changed, cut out and repeated: a report, with what went wrong, but never a panic.
#[test]
fn damaged_captures_do_no_harm() {
    let packets = super::tests::packets_of(&visits());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("damaged.pcap");
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let mut packets = packets.clone();
        for _ in 0..200 {
            let n = random.below(packets.len() as u64) as usize;
            match random.below(4) {
                // Behind the addresses, so that most still belong together.
                0 | 1 => {
                    let frame = &mut packets[n].frame;
                    let at = 34 + random.below(frame.len() as u64 - 34) as usize;
                    frame[at] = random.below(256) as u8;
                }
                2 => drop(packets.remove(n)),
                _ => packets.insert(n, packets[random.below(packets.len() as u64) as usize].clone()),
            }
        }
        fs::write(&file, super::tests::pcap_of(&packets)).expect("writable");
        let (_folder, report, _) = of(RULES, &[&file]);
        assert_eq!(value_of(&report)["packets"], packets.len() as u64, "seed {seed}");
    }
}

/// Cut into files, in a wrong order, one of them torn: what is there is read in the order of its time.
#[test]
fn many_files_are_one_capture() {
    let (folder, whole, _) = of(RULES, &[&visits()]);
    let packets = super::tests::packets_of(&visits());
    let [a, b] = [&packets[..packets.len() / 2], &packets[packets.len() / 2..]].map(super::tests::pcap_of);
    let paths = ["b.pcap", "a.pcap"].map(|name| folder.path().join(name));
    fs::write(&paths[0], b).expect("writable");
    fs::write(&paths[1], a).expect("writable");
    let (_folder, split, summary) = of(RULES, &[&paths[0], &paths[1]]);
    assert_eq!(summary.faults, [] as [&str; 0]);
    assert_eq!(value_of(&split)["problems"], value_of(&whole)["problems"]);
    // One file's end is missing; the other is read all the same.
    let torn = fs::read(&paths[1]).expect("readable");
    fs::write(&paths[1], &torn[..torn.len() - 7]).expect("writable");
    let (_folder, split, summary) = of(RULES, &[&paths[0], &paths[1]]);
    assert_eq!(value_of(&split)["packets"], packets.len() as u64 - 1);
    assert!(
        summary.faults.len() == 1 && summary.faults[0].contains("a.pcap ends in the middle"),
        "{:?}",
        summary.faults
    );
}
