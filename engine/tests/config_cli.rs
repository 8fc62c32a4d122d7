//! The command line, from outside: exit statuses and what is printed where.
#![allow(missing_docs, clippy::unwrap_used)]

mod config_support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use config_support::{Folder, GOOD};

fn wireglass(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireglass"));
    command.args(arguments).env_remove("RUST_LOG").output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn check_says_what_a_good_configuration_means() {
    let folder = Folder::new();
    let rules = r#"
[[rule]]
name = "no banking"
sni = ["bank.example", "*.bank.example", "a.test", "b.test", "c.test", "d.test"]
ports = [443]
action = "bypass"
[[rule]]
name = "everything"
action = "block"
block_with = "reset"
[[rule]]
name = "too late"
action = "bypass"
[limits]
shed = ["bypassed", "opening"]
[profile.lenient]
on_expired = "untrusted-ca"
"#;
    let path = folder.write("wire.toml", format!("{GOOD}{rules}"));
    let output = wireglass(&["check", "-c", path.to_str().unwrap()]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    for line in [
        "wire.toml: in order",
        "  lan: inside 0000:03:00.0, outside 0000:03:00.1",
        "  1 on core 1, sleeping when idle; 1 handshake thread(s)",
        "  16384 flows for one client",
        "  a full table ends bypassed, then opening flows; never blocked, undecided, decrypted ones",
        "  by the faster library for each suite, as measured at the start: aws-lc-rs, ring",
        "  trusted CA: CN=test ca",
        "  1 trusted root(s): 1 file(s)",
        "policy for TCP to port 443 (not TLS: block; seen from the middle: reset, from 600 s after the start on; others pass)",
        "  QUIC (UDP) to these ports: blocked unless a rule bypasses them, so that browsers use TCP",
        "  dropped: snap_ip, tags, unknown_header, jumbogram",
        "  1. no banking: port 443; SNI bank.example, *.bank.example, a.test, b.test and 2 more -> bypass",
        "  2. everything: every flow -> block with a reset",
        "  otherwise -> decrypt, profile default",
        "  note: \"too late\" is never reached: \"everything\" matches every flow",
        "  lenient: TLS 1.2 to 1.3, otherwise block; certificate untrusted, self-signed, not yet valid, for another name, \
         for another use, that cannot be judged: block; expired: sign with the untrusted CA; servers that ask for a client certificate: go on without one; clients that pin: block; sessions resumed; HTTP logged; minted for at most 90 days",
        "eve.json, statistics every 10 s",
        "  metrics at http://127.0.0.1:9464/metrics",
        "  status page at http://127.0.0.1:9464/",
    ] {
        assert!(said.contains(line), "{line}\n is not in\n{said}");
    }
    assert!(!said.contains('\x1b'), "no colours into a pipe");
}

/// Whether the server hears of the client before it is decided, and that what was learned may decide otherwise.
#[test]
fn held_contact_and_exclusions_are_told() {
    let folder = Folder::new();
    let rules = "[[rule]]\nname = \"quiet\"\nsni = [\"*.ads.example\"]\naction = \"block\"\ncontact = \"hold\"\n\
                 [[rule]]\nname = \"old boxes\"\nports = [443]\nsni = [\"box.example\"]\naction = \"decrypt\"\nprofile = \"old\"\n\
                 [profile.old]\non_unsupported = \"bypass\"\n";
    let path = folder.write("wire.toml", format!("{GOOD}{rules}"));
    let file = path.to_str().unwrap();
    let output = wireglass(&["check", "-c", file]);
    let said = text(&output.stdout);
    for line in [
        "  1. quiet: SNI *.ads.example -> block with an alert; held until then, so that no server hears of a client that is blocked\n",
        "  otherwise -> decrypt, profile default\n",
        "  profile old: bypasses servers that are known to be undecryptable (`wireglass exclusions list`)\n",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}{}", text(&output.stderr));
    }
    assert!(!said.contains("profile default: bypasses"), "{said}");
    let held = "  held until then: the server hears of the client only if it is not blocked\n";
    let excluded =
        "  note: bypassed, if the server is known to be undecryptable: see `wireglass exclusions list`\n";
    for (url, is_held, may_be_excluded) in [
        ("https://x.ads.example/", true, false),
        // Nobody knows yet at the SYN which of the two it will be.
        ("https://box.example/", true, true),
        ("https://www.example/", true, false),
    ] {
        let output = wireglass(&["policy", "explain", "-c", file, "--url", url]);
        let said = text(&output.stdout);
        assert_eq!((said.contains(held), said.contains(excluded)), (is_held, may_be_excluded), "{said}");
    }
}

#[test]
fn check_says_which_library_has_all_records_where_that_is_fixed() {
    let folder = Folder::new();
    let path = folder.write("wire.toml", format!("{GOOD}[crypto]\nrecords = \"ring\"\n"));
    let said = text(&wireglass(&["check", "-c", path.to_str().unwrap()]).stdout).to_owned();
    assert!(
        said.contains("\nrecords\n  by ring in all suites, whatever is faster on this processor\n"),
        "{said}"
    );
}

#[test]
fn check_says_which_rules_cannot_show_a_page() {
    let folder = Folder::new();
    let rules = r#"
[[rule]]
name = "games"
sni = ["games.example"]
action = "block"
block_with = "page"
[[rule]]
name = "by address"
destination = ["192.0.2.0/24"]
action = "block"
block_with = "page"
[[rule]]
name = "mail"
alpn = ["imap"]
action = "block"
block_with = "page"
[[rule]]
name = "by JA4"
alpn = ["h2"]
action = "block"
block_with = "page"
"#;
    let bypass = GOOD.replace("default = \"decrypt\"", "default = \"bypass\"");
    let path = folder.write("wire.toml", format!("{bypass}{rules}"));
    let output = wireglass(&["check", "-c", path.to_str().unwrap()]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for line in [
        "  1. games: SNI games.example -> block with a page",
        "  note: \"by address\" never shows its page: without sni, alpn or ja4 it blocks at the SYN, before there is TLS",
        "  note: \"mail\" never shows its page: no protocol of its alpn is HTTP",
        "  QUIC (UDP) to these ports: blocked unless a rule bypasses them, so that browsers use TCP",
    ] {
        assert!(said.contains(line), "{line}\n is not in\n{said}");
    }
    assert_eq!(said.matches("never shows its page").count(), 2, "{said}");
}

/// The first thing to look at when every server's certificate is said to be not valid yet.
#[test]
fn check_says_which_certificates_are_no_roots() {
    let folder = Folder::new();
    let pem = |change: fn(&mut rcgen::CertificateParams)| {
        let mut params = rcgen::CertificateParams::new(vec!["box.example".into()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "box");
        change(&mut params);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    };
    let root = fs::read_to_string(folder.path("roots/trusted.pem")).unwrap();
    let check = |more: &str| {
        folder.write("roots/trusted.pem", [&root, more].concat());
        let config = folder.write("wire.toml", GOOD);
        text(&wireglass(&["check", "-c", config.to_str().unwrap()]).stdout).to_owned()
    };
    assert!(!check("").contains("no root"));
    let said = check(&pem(|_| {}));
    let expected = "roots/trusted.pem: CN=box is no root, but trusted as a server itself: it has no basicConstraints, which a CA needs";
    assert!(said.contains(expected) && said.contains("  1 trusted root(s)"), "{said}");
    let said = check(&pem(|p| {
        p.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        p.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign];
        p.subject_alt_names.clear();
    }));
    let expected =
        "roots/trusted.pem: CN=box is no root: it has keyUsage without keyCertSign, which a CA needs";
    assert!(said.contains(expected) && said.contains("  1 trusted root(s)"), "{said}");
}

#[test]
fn check_says_when_the_clock_may_be_wrong() {
    let folder = Folder::new();
    let path = folder.write("wire.toml", GOOD);
    let said = || {
        let output = wireglass(&["check", "-c", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    assert!(!said().contains("clock"), "{}", said());
    let year = std::time::Duration::from_secs(366 * 86_400);
    let later = std::time::SystemTime::now() + year;
    fs::File::options().append(true).open(&path).unwrap().set_modified(later).unwrap();
    let written = said();
    assert!(
        written.contains("wire.toml was written on 20") && written.contains("the clock may be wrong"),
        "{written}"
    );
    // A root from the future says more.
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(4000, 1, 1);
    params.not_after = rcgen::date_time_ymd(4001, 1, 1);
    let root = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    folder.write("ca/root.pem", root.pem());
    folder.write("wire.toml", GOOD.replace("roots/trusted.pem", "ca/root.pem"));
    let roots = said();
    let expected =
        "  note: 1 of 1 trusted root(s) are not valid yet, and this machine believes that it is 20";
    assert!(roots.contains(expected), "{roots}");
}

#[test]
fn all_faults_come_at_once_on_stderr_with_status_2() {
    let folder = Folder::new();
    fs::set_permissions(folder.path("ca/trusted.key"), Permissions::from_mode(0o644)).unwrap();
    let path = folder.write("wire.toml", format!("{GOOD}[workers]\nidle = \"lazy\"\n"));
    let (name, dir) = (path.display().to_string(), folder.path("").display().to_string());
    let key = format!(
        "{name}:6: ca.trusted.key: expected a key file that only its owner may use, found mode 0644: \
         `chmod 600 {dir}ca/trusted.key`\n"
    );
    let idle = format!("{name}:14: workers.idle: expected one of \"adaptive\", \"spin\", found \"lazy\"\n");
    let both = format!("{key}{idle}wireglass: 2 faults in the configuration\n");
    // The engine leaves the keys to its signer, and does not look at their files.
    let one = format!("{idle}wireglass: 1 fault in the configuration\n");
    for (command, expected) in [("check", both), ("run", one)] {
        let output = wireglass(&[command, "-c", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert_eq!(text(&output.stdout), "");
        assert_eq!(text(&output.stderr), expected, "{command}");
    }
}

#[test]
fn a_missing_default_is_refused() {
    let folder = Folder::new();
    let path = folder.write("wire.toml", GOOD.replace("default = \"decrypt\"\n", ""));
    let output = wireglass(&["run", "--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr)
            .contains(":11: policy.default: missing: expected what to do with flows that no rule matches")
    );
}

#[test]
fn a_file_that_is_not_there() {
    let output = wireglass(&["check", "-c", "/nonexistent/wire.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "/nonexistent/wire.toml: cannot read the configuration: No such file or directory (os error 2)\n\
         wireglass: 1 fault in the configuration\n"
    );
}

#[test]
fn paths_begin_at_the_folder_of_the_configuration_not_at_the_working_directory() {
    let folder = Folder::new();
    folder.write("wire.toml", GOOD);
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireglass"));
    let here = command.args(["check", "-c", "wire.toml"]).current_dir(folder.path("")).output().unwrap();
    assert_eq!(here.status.code(), Some(0), "{}", text(&here.stderr));
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireglass"));
    let below =
        command.args(["check", "-c", "../wire.toml"]).current_dir(folder.path("ca")).output().unwrap();
    assert_eq!(below.status.code(), Some(0), "{}", text(&below.stderr));
}

#[test]
fn wrong_usage_is_status_2_and_help_is_status_0() {
    for arguments in [&[][..], &["check"], &["chek"], &["check", "-c"], &["run", "--verbose"]] {
        assert_eq!(wireglass(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let help = wireglass(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for word in ["Start here", "wireglass ca init", "Exit status", "run", "check", "replay"] {
        assert!(text(&help.stdout).contains(word), "{word}");
    }
    for command in ["run", "check"] {
        let help = wireglass(&[command, "--help"]);
        let said = text(&help.stdout);
        assert!(
            ["Example:\n  wireglass", "Examples:\n  wireglass"].iter().any(|words| said.contains(words)),
            "{command}"
        );
        assert!(text(&help.stdout).contains("Exit status: 0"), "{command}");
    }
    assert_eq!(
        wireglass(&["--version"]).stdout,
        format!("wireglass {}\n", env!("CARGO_PKG_VERSION")).as_bytes()
    );
}

#[test]
fn ca_show_takes_the_files_of_a_configuration() {
    let folder = Folder::new();
    let path = folder.write("wire.toml", GOOD);
    let output = wireglass(&["ca", "show", "-c", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("CN=test ca"), "{}", text(&output.stdout));
    folder.write("wire.toml", "[x]\n");
    assert_eq!(wireglass(&["ca", "show", "-c", path.to_str().unwrap()]).status.code(), Some(2));
}

#[test]
fn policy_explain_says_which_rules_are_asked_and_why() {
    let folder = Folder::new();
    let rules = r#"
[[rule]]
name = "no banking"
sni = ["bank.example"]
action = "bypass"
[[content.rule]]
name = "no uploads"
method = ["POST"]
action = "block"
[[content.rule]]
name = "no executables"
direction = "response"
content_type = ["application/x-msdownload"]
action = "block"
respond = 451
[[content.rule]]
name = "no secrets"
host = ["*.example"]
path = ["/secret/*"]
action = "block"
[[content.rule]]
name = "no large puts"
method = ["PUT"]
direction = "request"
size = 100
action = "block"
[[header]]
set = { "X-Tenant" = "corp" }
[[header]]
direction = "response"
remove = ["alt-svc"]
"#;
    let path = folder.write("wire.toml", format!("{GOOD}{rules}"));
    let explain = |arguments: &[&str]| {
        let file = path.to_str().unwrap();
        let output = wireglass(&[&["policy", "explain", "-c", file], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    assert_eq!(
        explain(&[
            "--url",
            "https://a.example/x",
            "--method",
            "POST",
            "--client",
            "10.0.0.5",
            "--server",
            "192.0.2.1"
        ]),
        "connection from 10.0.0.5 to 192.0.2.1:443, server name \"a.example\"\n  \
         [[rule]] \"no banking\": no: sni\n  \
         no [[rule]], so policy.default, at the ClientHello: decrypted with profile \"default\"\n  \
         note: bypassed, if `wireglass exclusions add` has named the server\n\
         request POST https://a.example/x\n  \"no uploads\": matches\n\
         blocked by \"no uploads\": the client gets the block page, with status 403\n"
    );
    let open = explain(&["--url", "https://a.example//secret/../secret/%78"]);
    for line in [
        "\"no uploads\": no: method",
        "\"no executables\": not yet: the response decides\n",
        "\"no secrets\": matches",
        "the request passes; the response decides",
        "[[header]] sets X-Tenant: corp in the request",
        "[[header]] removes alt-svc from the response",
    ] {
        assert!(open.contains(line), "{line} in {open}");
    }
    let response = ["--status", "200", "--response-header", "content-type: application/x-msdownload; x=1"];
    let blocked = explain(&[&["--url", "https://a.example/secret/x"], &response[..]].concat());
    assert!(blocked.ends_with("blocked by \"no executables\": the client gets status 451\n"), "{blocked}");
    let other = explain(&["--url", "https://a.example/secret/x", "--status", "404"]);
    assert!(other.contains("blocked by \"no secrets\""), "{other}");
    let put = ["--url", "https://a.example/x", "--method", "PUT", "--status", "200", "--header"];
    let chunked = explain(&[&put[..], &["transfer-encoding: chunked"]].concat());
    assert!(chunked.contains("after 100 bytes of content \"no large puts\" cuts it off"), "{chunked}");
    let long = explain(&[&put[..], &["content-length: 101"]].concat());
    assert!(long.contains("\"no large puts\": matches"), "{long}");
    assert!(
        explain(&["--url", "https://bank.example/"])
            .contains("[[rule]] \"no banking\", at the ClientHello: bypassed")
    );
    assert!(explain(&["--url", "https://a.example:8443/"]).contains("port 8443 is not in `intercept.ports`"));
    assert_eq!(
        wireglass(&["policy", "explain", "-c", path.to_str().unwrap(), "--url", "ftp://x"]).status.code(),
        Some(2)
    );
}

#[test]
fn check_and_explain_say_who_is_shown_a_connection() {
    let folder = Folder::new();
    let rules = r#"[mirror.ids]
port = "0000:04:00.0"
[mirror.tap]
port = "0000:04:00.1"
bypassed = true
profile = ["strict"]
[profile.strict]
[[rule]]
name = "bank"
sni = ["bank.example"]
action = "bypass"
[[rule]]
name = "strict"
sni = ["strict.example"]
action = "decrypt"
profile = "strict"
[[rule]]
name = "tapped"
sni = ["tapped.example"]
action = "decrypt"
mirror = "tap"
[[rule]]
name = "private"
sni = ["private.example"]
action = "decrypt"
mirror = "none"
[[rule]]
name = "blocked"
sni = ["blocked.example"]
action = "block"
"#;
    let path = folder.write("wire.toml", format!("{GOOD}{rules}"));
    let file = path.to_str().unwrap();
    let checked = wireglass(&["check", "-c", file]);
    let checked = format!("{}{}", text(&checked.stdout), text(&checked.stderr));
    for line in ["; mirror tap\n", "; no mirror\n"] {
        assert!(checked.contains(line), "{line} in {checked}");
    }
    for (host, shown) in [
        ("bank", Some("tap")),
        ("strict", Some("ids, tap")),
        ("tapped", Some("tap")),
        ("other", Some("ids")),
        ("private", None),
        ("blocked", None),
    ] {
        let url = format!("https://{host}.example/");
        let said = wireglass(&["policy", "explain", "-c", file, "--url", &url]);
        let (said, err) = (text(&said.stdout).to_owned(), text(&said.stderr));
        match shown {
            Some(names) => {
                assert!(said.contains(&format!("  shown at mirror {names}\n")), "{host}: {said}{err}")
            }
            None => assert!(said.contains("[[rule]]") && !said.contains("mirror"), "{host}: {said}{err}"),
        }
    }
}

#[test]
fn policy_explain_says_which_servers_an_operator_has_excluded() {
    let folder = Folder::new();
    let path = folder.write("wire.toml", format!("{GOOD}[exclusions]\nfile = \"known.json\"\n"));
    let explain = |url: &str, more: &[&str]| {
        let always = ["policy", "explain", "-c", path.to_str().unwrap(), "--url", url];
        let output = wireglass(&[&always[..], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    // No file yet: nobody has named any.
    assert!(explain("https://bank.example/", &[]).contains("allowed: no rule matches"));
    let line = |server: &str, cause: &str, until: u64| {
        format!("{{\"cause\":{cause:?},{server},\"port\":443,\"since\":1,\"until\":{until}}}\n")
    };
    let future = 1 << 40;
    folder.write(
        "known.json",
        [
            line("\"name\":\"bank.example\"", "manual", future),
            line("\"address\":\"192.0.2.7\"", "manual", future),
            line("\"name\":\"past.example\"", "manual", 2),
        ]
        .concat(),
    );
    let named =
        "decrypted with profile \"default\"\n  but bypassed: `wireglass exclusions add` has named the server";
    for (url, server, is_named) in [
        ("https://Bank.example/", "192.0.2.1", true),
        ("https://www.bank.example/", "192.0.2.1", false),
        ("https://bank.example:444/", "192.0.2.1", false),
        ("https://other.example/", "192.0.2.7", true),
        ("https://past.example/", "192.0.2.1", false),
    ] {
        let said = explain(url, &["--server", server]);
        assert_eq!(said.contains(named), is_named, "{said}");
        let object = explain(url, &["--server", server, "--json"]);
        let json: serde_json::Value = serde_json::from_str(&object).unwrap();
        assert_eq!(json["verdict"] == "bypassed", is_named, "{json:#}");
        if url.ends_with("example/") {
            assert_eq!(json["connection"]["is_excluded_by_hand"], is_named, "{json:#}");
        }
    }
}

#[test]
fn policy_explain_goes_on_to_the_response() {
    let folder = Folder::new();
    let rules = r#"
[[content.rule]]
name = "big"
direction = "response"
size = 1000
action = "block"
[[content.rule]]
name = "long"
size = 500
action = "alert"
[[content.rule]]
name = "video"
content_type = ["video/*"]
action = "alert"
[[header]]
direction = "response"
remove = ["alt-svc"]
"#;
    let path = folder.write("wire.toml", format!("{GOOD}{rules}"));
    let explain = |arguments: &[&str]| {
        let always = ["policy", "explain", "-c", path.to_str().unwrap(), "--server", "192.0.2.1"];
        let output = wireglass(&[&always, arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    let video =
        ["--url", "https://a.example/v#t", "--status", "200", "--response-header", "content-type: Video/MP4"];
    assert_eq!(
        explain(&video),
        "connection from 0.0.0.0 to 192.0.2.1:443, server name \"a.example\"
  no [[rule]], so policy.default, at the SYN: decrypted with profile \"default\"
  note: bypassed, if `wireglass exclusions add` has named the server
request GET https://a.example/v
  \"big\": not yet: the response decides
  \"long\": not yet: the response decides
  \"video\": not yet: the response decides
response 200
  \"big\": not yet: beyond 1000 bytes of content
  \"long\": not yet: beyond 500 bytes of content
  \"video\": matches
  after 500 bytes of content \"long\" alerts
  after 1000 bytes of content \"big\" cuts it off
[[header]] removes alt-svc from the response
allowed by \"video\", with an alert in the log
"
    );
    let json: serde_json::Value =
        serde_json::from_str(&explain(&[&video[..], &["--json"]].concat())).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "connection": {
                "client": "0.0.0.0", "server": "192.0.2.1:443", "host": "a.example", "is_intercepted": true, "is_held": false, "may_be_excluded": false,
                "at_syn": true, "rules": [], "profile": "default",
            },
            "request": {
                "what": "GET https://a.example/v",
                "rules": [
                    { "name": "big", "answer": "not yet" },
                    { "name": "long", "answer": "not yet" },
                    { "name": "video", "answer": "not yet" },
                ],
            },
            "response": {
                "what": "200",
                "rules": [
                    { "name": "big", "answer": "not yet", "beyond": 1000 },
                    { "name": "long", "answer": "not yet", "beyond": 500 },
                    { "name": "video", "answer": "matches" },
                ],
                "beyond": [
                    { "bytes": 500, "rule": "long", "verdict": "alerted" },
                    { "bytes": 1000, "rule": "big", "verdict": "blocked" },
                ],
            },
            "response_edits": [{ "field": "alt-svc", "value": null }],
            "verdict": "alerted",
            "rule": "video",
        })
    );
    let short = explain(&[
        "--url",
        "https://a.example/",
        "--status",
        "404",
        "--response-header",
        "content-length: 9",
    ]);
    assert!(
        short.contains("\"big\": no: size\n") && short.contains("\"video\": no: content_type\n"),
        "{short}"
    );
    assert!(short.contains("\nallowed: no rule matches\n"), "{short}");
    let big = explain(&[
        "--url",
        "https://a.example/",
        "--status",
        "200",
        "--response-header",
        "content-length: 1001",
    ]);
    assert!(big.ends_with("blocked by \"big\": the client gets the block page, with status 403\n"), "{big}");
    let tunnel: serde_json::Value =
        serde_json::from_str(&explain(&["--url", "https://a.example:8443/", "--json"])).unwrap();
    assert_eq!((&tunnel["verdict"], &tunnel["request"]), (&"passed".into(), &serde_json::Value::Null));
}

#[test]
fn check_names_rules_that_match_nothing() {
    let folder = Folder::new();
    folder.write("ads.txt", "ads.example\n");
    let rules = r#"
[profile.strict]
[[list]]
name = "ads"
kind = "domain"
files = ["ads.txt"]
[[rule]]
name = "banks"
sni = ["*.bank.example"]
action = "bypass"
[[rule]]
name = "one bank"
sni = ["www.bank.example"]
ports = [8443]
alpn = ["http1.1"]
action = "block"
[[content.rule]]
name = "ads"
host = { list = "ads" }
action = "block"
[[content.rule]]
name = "hosts"
host = ["*.example.com"]
action = "allow"
[[content.rule]]
name = "uploads"
host = ["a.example.com"]
profile = ["strict"]
path = ["/my%20files/*"]
action = "block"
"#;
    let path = folder.write("wire.toml", format!("{GOOD}{rules}"));
    let output = wireglass(&["check", "-c", path.to_str().unwrap()]);
    let notes: Vec<_> =
        text(&output.stdout).lines().filter_map(|line| line.trim().strip_prefix("note: ")).collect();
    assert_eq!(
        notes,
        [
            "\"one bank\" never matches: its ports are not in intercept.ports",
            "no rule decrypts with profile \"strict\"",
            "\"one bank\" is never reached: rules before it, as \"banks\", match all its names",
            "\"one bank\": no application protocol \"http1.1\" is registered",
            "\"uploads\" never matches: nothing is decrypted with its profiles",
            "\"uploads\" never matches by path \"/my%20files/*\": paths are compared without their escapes",
            "\"uploads\" is never reached: rules before it, as \"hosts\", match all its hosts",
        ]
    );
}

#[test]
fn check_lists_rules_on_content_with_what_they_ask_for() {
    let folder = Folder::new();
    let rules = r#"
[signatures.codes]
literals = ["attack at dawn"]
[[content.rule]]
name = "uploads"
method = ["POST", "PUT"]
direction = "request"
path = ["/up/*"]
path_regex = ["^/x[0-9]+$"]
size = 100
action = "block"
[[content.rule]]
name = "programs"
source = ["10.0.0.0/8"]
file_type = ["pdf"]
action = "block"
[[content.rule]]
name = "codes"
header = { "x-kind" = "a*" }
signatures = ["codes"]
action = "alert"
[[content.rule]]
name = "others"
action = "allow"
"#;
    let path = folder.write("wire.toml", format!("{GOOD}{rules}"));
    let output = wireglass(&["check", "-c", path.to_str().unwrap()]);
    let said = text(&output.stdout);
    for line in [
        "  1. uploads: method POST, PUT; path /up/*, ^/x[0-9]+$; direction request; bytes over 100 -> block\n",
        "  2. programs: from 10.0.0.0/8; file type pdf -> block\n",
        "  3. codes: header x-kind: a*; signatures codes -> alert\n",
        "  4. others: every request -> allow\n",
    ] {
        assert!(said.contains(line), "{line}{said}{}", text(&output.stderr));
    }
}
