//! `[content]`, `[[content.rule]]` and `[[header]]`: what they read as, and each fault with its line and key.
#![allow(missing_docs)]

mod config_support;

use config_support::{Folder, GOOD};
use wireglass_core::content::FileType;
use wireglass_core::icap::Method;
use wireglass_core::policy::{
    ContentAction, Direction, FieldEdit, Hold, Inspection, OnRange, OnUnread, Respond,
};

/// Asserts the faults of [`GOOD`] with `text` after it: it begins on line 13.
#[track_caller]
fn assert_faults(text: &str, expected: &[&str]) {
    assert_eq!(Folder::new().faults(&format!("{GOOD}{text}")), expected);
}

#[test]
fn rules_and_changes_of_heads() {
    let folder = Folder::new();
    folder.write("ads.txt", "ads.example/banner\n");
    let text = r#"
[[list]]
name = "ads"
kind = "url"
files = ["ads.txt"]
[content]
on_unparsed = "allow"
on_opaque = "block"
on_undecodable = "allow"
[[content.rule]]
name = "all"
profile = ["default"]
source = ["10.0.0.0/8"]
host = { list = "ads" }
method = ["POST"]
path = ["/a/*", "*.EXE"]
path_regex = ["^/b"]
query = ["*x=1*"]
header = { User-Agent = "curl*", x-id = { regex = "^[0-9]+$" } }
direction = "response"
status = [200, 206]
content_type = ["Video/*"]
size = 0
file_name = ["*.Exe"]
file_type = ["pdf", "script", "office"]
action = "block"
respond = { redirect = "https://help.example/" }
[[content.rule]]
name = "status"
action = "block"
respond = 451
[[content.rule]]
name = "alert"
action = "alert"
[[header]]
host = ["*.example.com"]
direction = "response"
remove = ["Alt-Svc"]
set = { X-Tenant = "corp" }
"#;
    let path = folder.write("wire.toml", format!("{GOOD}{text}"));
    let content = wireglass::config::Config::load(&path).unwrap().content;
    assert_eq!((content.on_unparsed, content.on_opaque), (OnUnread::Allow, OnUnread::Block));
    assert_eq!(content.on_undecodable, OnUnread::Allow);
    let [all, status, alert] = &content.rules[..] else { panic!("{:?}", content.rules) };
    assert_eq!(all.action, ContentAction::Block(Respond::Redirect("https://help.example/".into())));
    assert_eq!((&*all.method, all.size, &*all.status), (&["POST".to_owned()][..], Some(0), &[200, 206][..]));
    assert!(all.host_list.is_some() && all.direction == Some(Direction::Response));
    assert_eq!(all.file_type[..2], [FileType::Pdf, FileType::Script]);
    assert!(all.file_type.contains(&FileType::Docx) && !all.file_type.contains(&FileType::Exe));
    // Paths have a case; types, names of files and names of fields have none.
    let globs = [&all.path[1], &all.content_type[0], &all.file_name[0]].map(ToString::to_string);
    assert_eq!(globs, ["*.EXE", "video/*", "*.exe"]);
    let mut fields: Vec<_> = all.header.iter().map(|(name, pattern)| format!("{name}: {pattern}")).collect();
    fields.sort();
    assert_eq!(fields, ["user-agent: curl*", "x-id: ^[0-9]+$"]);
    assert_eq!(status.action, ContentAction::Block(Respond::Status(451)));
    assert_eq!(alert.action, ContentAction::Alert);
    let edits = [FieldEdit::Remove("Alt-Svc".into()), FieldEdit::Set("X-Tenant".into(), "corp".into())];
    assert_eq!((&*content.headers[0].edits, content.headers[0].direction), (&edits[..], Direction::Response));
    // Defaults.
    let content = wireglass::config::Config::load(&folder.write("bare.toml", GOOD)).unwrap().content;
    assert_eq!((content.on_unparsed, content.on_opaque), (OnUnread::Block, OnUnread::Allow));
    assert_eq!(content.on_undecodable, OnUnread::Block);
    assert!(content.rules.is_empty() && content.headers.is_empty() && content.page_file.is_none());
}

#[test]
fn faults_of_rules() {
    assert_faults(
        r#"[content]
on_unparsed = "drop"
on_opak = "allow"
[[content.rule]]
name = "a"
action = "bypass"
[[content.rule]]
name = "a"
action = "allow"
respond = "reset"
[[content.rule]]
name = "b"
action = "block"
respond = "pages"
[[content.rule]]
name = "c"
action = "block"
respond = 101
[[content.rule]]
name = "d"
action = "block"
respond = { redirect = "/relative" }
[[content.rule]]
name = "e"
direction = "request"
file_type = ["exe", "program"]
action = "block"
[[content.rule]]
name = "f"
direction = "request"
file_type = ["pdf"]
size = 5
action = "allow"
"#,
        &[
            r#"14: content.on_unparsed: expected one of "block", "allow", found "drop""#,
            r#"15: content.on_opak: unknown key; known here: page, force_hash, rule, worker_bytes, on_unparsed, on_opaque, on_undecodable, threads, hold_bytes, timeout_seconds, on_timeout, on_overload, on_oversize, on_icap, on_range"#,
            r#"18: content.rule[1].action: expected one of "allow", "alert", "block", "inspect", found "bypass""#,
            r#"20: content.rule[2].name: expected a name that no other rule on content has, found "a""#,
            r#"22: content.rule[2].respond: only a rule with action = "block" or "inspect" has this key"#,
            r#"26: content.rule[3].respond: expected "page", "reset", a status (451) or { redirect = "https://..." }, found "pages""#,
            r#"30: content.rule[4].respond: expected a whole number from 200 to 599, found 101"#,
            r#"34: content.rule[5].respond.redirect: expected a URL that begins with https:// or http://, of at most 2048 bytes without spaces, found "/relative""#,
            r#"38: content.rule[6].file_type[2]: expected a type or group of types of files ("exe", "executable", "archive", "office", "script" ...), found "program""#,
            r#"43: content.rule[7].file_type: a rule on requests that asks for a `file_type` asks for no `size` and no `signatures`"#,
            r#"43: content.rule[7].file_type: the `file_type` of a request is known after the rules behind this one were asked: use action = "alert", "block" or "inspect""#,
        ],
    );
    assert_faults(
        r#"[[content.rule]]
name = "a"
profile = ["strict"]
host = { list = "ads" }
method = ["post"]
path = ["admin"]
path_regex = ["("]
header = { x = { regx = "a" } }
direction = "request"
status = [200]
size = -1
content_type = []
actoin = "block"
"#,
        &[
            r#"13: content.rule[1].action: missing: expected "allow", "alert", "block" or "inspect""#,
            r#"15: content.rule[1].profile[1]: no `[profile.strict]` in this file"#,
            r#"16: content.rule[1].host.list: no `[[list]]` of the name "ads""#,
            r#"17: content.rule[1].method[1]: expected a method in upper case ("POST"), found "post""#,
            r#"18: content.rule[1].path[1]: expected a path that begins with `/` or `*`, found "admin""#,
            r#"19: content.rule[1].path_regex[1]: expected a regular expression (unclosed group), found "(""#,
            r#"20: content.rule[1].header.x.regex: missing: expected a regular expression"#,
            r#"20: content.rule[1].header.x.regx: unknown key (did you mean `regex`?)"#,
            r#"21: content.rule[1].direction: only a response has a `status`"#,
            r#"23: content.rule[1].size: expected a whole number from 0 to 9223372036854775807, found -1"#,
            r#"24: content.rule[1].content_type: expected at least one entry (leave the key out to match any), found an empty list"#,
            r#"25: content.rule[1].actoin: unknown key (did you mean `action`?)"#,
        ],
    );
    assert_faults(
        r#"[[header]]
remove = ["Content-Length", "a b"]
[[header]]
set = { X = "a", x = "b", Y = "two\nlines" }
[[header]]
host = ["example.com"]
"#,
        &[
            r#"13: header[1].set: missing: expected fields to be set (`set = { "X-Tenant" = "..." }`) or removed (`remove = ["alt-svc"]`)"#,
            r#"14: header[1].remove[1]: "Content-Length" cannot be changed: it frames messages or says whose they are, or it is not a valid field name"#,
            r#"14: header[1].remove[2]: "a b" cannot be changed: it frames messages or says whose they are, or it is not a valid field name"#,
            r#"16: header[2].set.Y: expected a value of one line, at most 4096 bytes, without spaces around it, found "two\nlines""#,
            r#"16: header[2].set.x: "x" is changed already"#,
            r#"17: header[3].set: missing: expected fields to be set (`set = { "X-Tenant" = "..." }`) or removed (`remove = ["alt-svc"]`)"#,
        ],
    );
}

#[test]
fn signatures() {
    let folder = Folder::new();
    folder.write("codes.txt", "# a comment\n\nfrom a file\r\n|00 01 02|x\n");
    let text = r#"
[signatures.codes]
literals = ["attack at dawn", "a|7c 00|b"]
literals_file = "codes.txt"
regex = ["zone [0-9]{2}"]
[signatures.data]
patterns = ["card_number", "iban", "private_key", "aws_access_key"]
threshold = 5
[[content.rule]]
name = "codes"
signatures = ["data", "codes"]
action = "block"
"#;
    let config =
        wireglass::config::Config::load(&folder.write("wire.toml", format!("{GOOD}{text}"))).unwrap();
    let signatures = &config.signatures.signatures;
    let names: Vec<_> = signatures.names().map(|name| name.to_string()).collect();
    assert_eq!(names, ["codes", "data"]);
    let [codes, data] = &config.signatures.sets[..] else { panic!("{:?}", config.signatures.sets) };
    let literals: [&[u8]; 4] = [b"attack at dawn", b"a|\0b", b"from a file", b"\0\x01\x02x"];
    assert_eq!((&codes.literals[..], codes.threshold), (&literals.map(<[u8]>::to_vec)[..], 1));
    assert_eq!((codes.regexes.len(), data.patterns.len(), data.threshold), (1, 4, 5));
    let asked = &config.content.rules[0].signatures;
    assert_eq!(asked[..], ["data", "codes"].map(|name| signatures.id(name).unwrap()));
    // A file that has changed is a change, also where the configuration is the same.
    folder.write("codes.txt", "another literal\n");
    let after = wireglass::config::Config::load(&folder.path("wire.toml")).unwrap();
    assert_eq!(config.live_changes(&after).len(), 1);
    assert!(config.live_changes(&config).is_empty());
}

#[test]
fn faults_of_signatures() {
    let folder = Folder::new();
    folder.write("bad.txt", "good one\nbad\n|0|\n");
    let text = r#"[signatures.a]
literals = ["abc", "|0g|abcd"]
regex = ["(", "a*"]
patterns = ["card"]
threshold = 0
literal = "x"
[signatures.b]
threshold = 2
[signatures.c]
literals_file = "bad.txt"
[signatures.d]
literals_file = "none.txt"
[[content.rule]]
name = "a"
signatures = ["e", "a"]
size = 5
action = "allow"
"#;
    assert_eq!(
        folder.faults(&format!("{GOOD}{text}")),
        [
            "14: signatures.a.literals[1]: expected a literal of 4 to 255 bytes, found \"abc\"",
            "14: signatures.a.literals[2]: expected bytes between two bars as pairs of hex digits (\"|0d 0a|\"; a bar itself is \"|7c|\"), found \"|0g|abcd\"",
            "15: signatures.a.regex[1]: expected a regular expression (unclosed group), found \"(\"",
            "15: signatures.a.regex[2]: expected a regular expression that matches at least one byte, found \"a*\"",
            "16: signatures.a.patterns[1]: expected one of \"card_number\", \"iban\", \"private_key\", \"aws_access_key\", found \"card\"",
            "17: signatures.a.threshold: expected a whole number from 1 to 1000000, found 0",
            "18: signatures.a.literal: unknown key (did you mean `literals`?)",
            "19: signatures.b: expected something to look for: `literals`, `literals_file`, `regex` or `patterns`",
            "22: signatures.c.literals_file: DIR/bad.txt:2: expected a literal of 4 to 255 bytes",
            "22: signatures.c.literals_file: DIR/bad.txt:3: expected bytes between two bars as pairs of hex digits (\"|0d 0a|\"; a bar itself is \"|7c|\")",
            "24: signatures.d.literals_file: cannot read DIR/none.txt: No such file or directory (os error 2)",
            "27: content.rule[1].signatures: `signatures` are found when most of the message has been sent on: use action = \"alert\" or \"block\"",
            "27: content.rule[1].signatures: a rule asks either for a `size` or for `signatures`",
            "27: content.rule[1].signatures[1]: no `[signatures.e]` in this file (did you mean \"a\"?)",
        ]
    );
}

#[test]
fn a_list_of_another_kind_and_a_page_that_is_not_there() {
    let folder = Folder::new();
    folder.write("nets.txt", "10.0.0.0/8\n");
    let text = r#"[[list]]
name = "nets"
kind = "ip"
files = ["nets.txt"]
[content]
page = "pages/none.html"
[[content.rule]]
name = "a"
host = { list = "nets" }
action = "block"
"#;
    let faults = folder.faults(&format!("{GOOD}{text}"));
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains("content.page: ") && faults[0].contains("none.html"), "{faults:?}");
    assert!(
        faults[1].ends_with("content.rule[1].host.list: \"nets\" is a list of kind \"ip\": expected one of kind \"domain\" or \"url\""),
        "{faults:?}"
    );
}

#[test]
fn inspection() {
    let folder = Folder::new();
    folder.write("bad.sha256", format!("{}  a.exe\n", "0f".repeat(32)));
    folder.write("bad.md5", "0f".repeat(16));
    let text = r#"
[[list]]
name = "bad"
kind = "sha256"
files = ["bad.sha256"]
[[list]]
name = "old"
kind = "md5"
files = ["bad.md5"]
[content]
threads = 3
hold_bytes = 70000
worker_bytes = 2000000
timeout_seconds = 5
on_timeout = "allow"
on_overload = "allow"
on_oversize = "block"
on_range = "block"
force_hash = ["md5"]
on_icap = "allow"
[[content.rule]]
name = "both"
inspect = ["list.bad", "list.old"]
hold = "tail"
action = "inspect"
respond = "reset"
[[content.rule]]
name = "one"
inspect = ["list.bad"]
action = "inspect"
"#;
    let path = folder.write("wire.toml", format!("{GOOD}{text}"));
    let config = wireglass::config::Config::load(&path).unwrap();
    let content = &config.content;
    assert_eq!((content.threads, content.worker_bytes), (3, 2_000_000));
    assert_eq!(config.flow_limits().content_bytes, 2_000_000);
    let expected = Inspection {
        hold_bytes: 70_000,
        timeout: tcp_stack::Duration::from_secs(5),
        on_timeout: OnUnread::Allow,
        on_overload: OnUnread::Allow,
        on_oversize: OnUnread::Block,
        on_range: OnRange::Block,
        on_icap: OnUnread::Allow,
    };
    assert_eq!(content.inspection, expected);
    assert_eq!(config.compile_content().inspection, expected);
    let [ContentAction::Inspect(both), ContentAction::Inspect(one)] =
        &*content.rules.iter().map(|rule| rule.action.clone()).collect::<Vec<_>>()
    else {
        panic!("{:?}", content.rules)
    };
    assert_eq!(
        (both.hold, &both.respond, both.hashes.want_sha256()),
        (Some(Hold::Tail), &Respond::Reset, true)
    );
    assert_eq!((one.hold, &one.respond, one.hashes.want_md5()), (None, &Respond::Page, true));
    let lists = &config.lists.lists;
    assert!(one.hashes.has(lists.id("bad").unwrap()) && !one.hashes.has(lists.id("old").unwrap()));
    assert_eq!(lists.of_hashes(&both.hashes, Some(&[15; 32]), None), Some("bad"));
    assert_eq!(lists.of_hashes(&both.hashes, None, Some(&[15; 16])), Some("old"));
    // Defaults.
    let content = wireglass::config::Config::load(&folder.write("bare.toml", GOOD)).unwrap().content;
    assert_eq!((content.threads, content.worker_bytes), (1, 134_217_728));
    assert_eq!(content.inspection, Inspection::default());
}

#[test]
fn icap_servers() {
    let folder = Folder::new();
    let text = r#"[icap.av]
respmod = "icap://127.0.0.1/avscan"
reqmod = "icap://127.0.0.1/reqscan"
max_bytes = 100000
timeout_ms = 250
[icap.other]
respmod = "icap://[::1]:99/x"
preview = 0
connections = 2
[signatures.codes]
literals = ["attack at dawn"]
[content]
on_icap = "allow"
[[content.rule]]
name = "all"
inspect = ["icap.other", "codes", "icap.av"]
action = "inspect"
[[content.rule]]
name = "uploads"
direction = "request"
file_type = ["exe"]
inspect = ["icap.av"]
action = "inspect"
"#;
    let config =
        wireglass::config::Config::load(&folder.write("wire.toml", format!("{GOOD}{text}"))).unwrap();
    let [av, other] = &config.icap.servers[..] else { panic!("{:?}", config.icap.servers) };
    let settings = av.respmod.as_ref().unwrap().settings();
    let requests = av.reqmod.as_ref().unwrap().settings();
    assert_eq!((&*requests.service.path, requests.method), ("/reqscan", Method::Reqmod));
    assert_eq!((settings.method, other.reqmod.is_none()), (Method::Respmod, true));
    assert_eq!((av.services().count(), other.services().count()), (2, 1));
    assert_eq!((&*av.name, av.max_bytes), ("icap.av", 100_000));
    assert_eq!(
        (settings.service.to_string(), settings.preview),
        ("icap://127.0.0.1:1344/avscan".into(), 1024)
    );
    assert_eq!((settings.timeout.as_millis(), settings.connections), (250, 16));
    assert_eq!((other.max_bytes, other.respmod.as_ref().unwrap().settings().preview), (5_242_880, 0));
    let ContentAction::Inspect(inspect) = &config.content.rules[0].action else { panic!("it inspects") };
    assert_eq!(inspect.inspectors, [1, 0]);
    let uploads = &config.content.rules[1];
    assert_eq!((uploads.direction, &uploads.file_type[..]), (Some(Direction::Request), &[FileType::Exe][..]));
    assert!(inspect.signatures.has(config.signatures.signatures.id("codes").unwrap()));
    assert_eq!(config.content.inspection.on_icap, OnUnread::Allow);
    assert_faults(
        r#"[icap.a]
respmod = "http://a/x"
timeout = 5
[icap.b]
preview = 70000
[[content.rule]]
name = "all"
inspect = ["icap.c", "icap.a"]
action = "inspect"
[icap.d]
reqmod = "icap://a/x"
[icap.e]
respmod = "icap://a/x"
[[content.rule]]
name = "down"
inspect = ["icap.d"]
action = "inspect"
[[content.rule]]
name = "up"
direction = "request"
inspect = ["icap.e", "icap.d"]
action = "inspect"
"#,
        &[
            r#"14: icap.a.respmod: expected a URL of a service ("icap://127.0.0.1:1344/avscan"), found "http://a/x""#,
            r#"15: icap.a.timeout: unknown key; known here: reqmod, respmod, preview, timeout_ms, connections, max_bytes"#,
            r#"16: icap.b.respmod: missing: expected the service that is asked about responses ("icap://127.0.0.1:1344/avscan"), or `reqmod`, about requests"#,
            r#"17: icap.b.preview: expected a whole number from 0 to 65536, found 70000"#,
            r#"20: content.rule[1].inspect[1]: no `[icap.c]` in this file (did you mean "icap.a"?)"#,
            r#"28: content.rule[2].inspect[1]: `[icap.d]` has no `respmod`, the service that is asked about responses"#,
            r#"33: content.rule[3].inspect[1]: `[icap.e]` has no `reqmod`, the service that is asked about requests"#,
        ],
    );
}

#[cfg(feature = "yara")]
#[test]
fn sets_of_yara_rules() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("feeds")).expect("a folder");
    folder.write("own.yar", "rule a : test { condition: filesize > 1 } rule b { condition: a }");
    folder.write("feeds/one.yar", "rule a { strings: $a = \"at dawn\" condition: $a }");
    folder.write("feeds/two.yar", "import \"pe\" rule c { condition: pe.is_pe }");
    let text = r#"[icap.av]
respmod = "icap://127.0.0.1/avscan"
[yara.more]
rules = ["own.yar"]
max_bytes = 100000
timeout_ms = 250
[yara.feeds]
rules = ["feeds/*.yar", "own.yar", "feeds/one.yar"]
[[content.rule]]
name = "all"
inspect = ["yara.more", "icap.av", "yara.feeds"]
action = "inspect"
"#;
    let config = folder.load(&format!("{GOOD}{text}")).expect("a configuration");
    let told = config.yara.sets.iter().map(|set| {
        (&*set.name, set.rules, set.files, set.max_bytes, set.timeout.as_millis(), &**set.inspector.name())
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [("yara.feeds", 4, 3, 8_388_608, 5000, "yara.feeds"), ("yara.more", 2, 1, 100_000, 250, "yara.more")]
    );
    let ContentAction::Inspect(inspect) = &config.content.rules[0].action else { panic!("it inspects") };
    assert_eq!(inspect.inspectors, [2, 0, 1], "servers have the first places");
    let policy = config.compile_content();
    let names: Vec<_> = policy.inspectors(&inspect.inspectors).map(|each| each.name().to_string()).collect();
    assert_eq!(names, ["yara.more", "icap.av", "yara.feeds"]);
    // A file with other rules is a change.
    folder.write("feeds/one.yar", "rule a { condition: false }");
    let after = folder.load(&format!("{GOOD}{text}")).expect("a configuration");
    let changed = config.live_changes(&after);
    assert!(changed.iter().all(|name| name.ends_with("feeds/one.yar")) && !changed.is_empty(), "{changed:?}");
}

#[cfg(feature = "yara")]
#[test]
fn faults_of_yara_rules() {
    let folder = Folder::new();
    folder.write("bad.yar", "rule a { condition: true }\nrule b {\n  condition: c\n}\n");
    folder.write("good.yar", "rule a { condition: true }");
    folder.write("empty.yar", "// nothing\n");
    folder.write("latin.yar", b"rule a { meta: by = \"J\xf6rg\" condition: true }");
    let text = r#"[yara.a]
rules = ["good.yar", "bad.yar", "missing.yar", "latin.yar", "none*.yar"]
max_bytes = 5
[yara.b]
timeout = 5
[yara.c]
rules = ["empty.yar"]
timeout_ms = 1
[signatures."yara.d"]
literals = ["attack"]
[content]
threads = 0
[[content.rule]]
name = "all"
inspect = ["yara.e", "yara.a"]
action = "inspect"
"#;
    assert_eq!(
        folder.faults(&format!("{GOOD}{text}")),
        [
            r#"14: yara.a.rules[2]: DIR/bad.yar:3:14: unknown identifier "c""#,
            r#"14: yara.a.rules[3]: cannot read DIR/missing.yar: No such file or directory (os error 2)"#,
            r#"14: yara.a.rules[4]: expected UTF-8 in DIR/latin.yar"#,
            r#"14: yara.a.rules[5]: no file matches "none*.yar""#,
            r#"15: yara.a.max_bytes: expected a whole number from 1024 to 1073741824, found 5"#,
            r#"16: yara.b.rules: missing: expected files of YARA rules (`rules = ["rules/*.yar"]`)"#,
            r#"17: yara.b.timeout: unknown key; known here: max_bytes, timeout_ms, rules"#,
            r#"19: yara.c.rules: expected a rule in its files, found none"#,
            r#"20: yara.c.timeout_ms: expected a whole number from 10 to 300000, found 1"#,
            r#"21: signatures.yara.d: expected a name that does not begin with `list.`, `icap.` or `yara.`: rules name others so"#,
            r#"27: content.rule[1].inspect[1]: no `[yara.e]` in this file (did you mean "yara.a"?)"#,
        ]
    );
    let workers = "[yara.a]\nrules = [\"good.yar\"]\n[content]\nthreads = 0\n";
    let expected = "16: content.threads: expected a whole number from 1 to 256, found 0";
    assert_eq!(folder.faults(&format!("{GOOD}{workers}")), [expected], "a worker has no time for that");
}

#[cfg(not(feature = "yara"))]
#[test]
fn a_build_without_yara_says_so() {
    assert_faults(
        "[yara.a]\nrules = [\"a.yar\"]\n",
        &["13: yara.a: this program is built without YARA (feature `yara` of the package wireglass)"],
    );
}

#[test]
fn faults_of_inspection() {
    assert_faults(
        r#"[content]
hold_bytes = 2000000
worker_bytes = 1048576
force_hash = ["sha256", "sha1"]
[[content.rule]]
name = "a"
action = "block"
inspect = ["list.bad"]
hold = "all"
[[content.rule]]
name = "b"
action = "inspect"
[[content.rule]]
name = "c"
action = "inspect"
inspect = []
[[content.rule]]
name = "d"
action = "inspect"
inspect = ["bad", "list.bad"]
hold = "some"
[[content.rule]]
name = "e"
direction = "request"
size = 5
action = "inspect"
inspect = ["list.bad"]
"#,
        &[
            r#"14: content.hold_bytes: expected at most `content.worker_bytes`, 1048576, found 2000000"#,
            r#"16: content.force_hash[2]: expected one of "sha256", "md5", found "sha1""#,
            r#"20: content.rule[1].inspect: only a rule with action = "inspect" has this key"#,
            r#"21: content.rule[1].hold: only a rule with action = "inspect" has this key"#,
            r#"22: content.rule[2].inspect: missing: expected what it is looked at for (`inspect = ["list.NAME"]`)"#,
            r#"28: content.rule[3].inspect: expected at least one name, as "list.malware", found an empty list"#,
            r#"32: content.rule[4].inspect[1]: no `[signatures.bad]` in this file"#,
            r#"32: content.rule[4].inspect[2]: no `[[list]]` of the name "bad""#,
            r#"33: content.rule[4].hold: expected one of "none", "tail", "all", found "some""#,
            r#"37: content.rule[5].size: a rule with action = "inspect" cannot have `size`: the size is known when part of the body has been sent on, too late to inspect it"#,
            r#"39: content.rule[5].inspect[1]: no `[[list]]` of the name "bad""#,
        ],
    );
}
