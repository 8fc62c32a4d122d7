//! `[[list]]`: files, faults, and what rules do with lists.
#![allow(missing_docs, clippy::unwrap_used)]

mod config_support;

use std::fs;
use std::io::Write;
use std::process::Command;

use config_support::{Folder, GOOD};
use flate2::Compression;
use flate2::write::GzEncoder;
use wireglass::config::Config;
use wireglass_core::policy::{FlowFacts, HelloFacts};

fn folder() -> Folder {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("lists/ut1/ads")).unwrap();
    folder.write("lists/ads.hosts", "0.0.0.0 ads.example\n0.0.0.0 track.example\nnonsense\n");
    folder.write("lists/ut1/ads/domains", "doubleclick.example\n192.0.2.99\n");
    folder.write("lists/ut1/ads/urls", "example.com/ads\n");
    folder.write("lists/bad.txt", "198.51.100.0/24\n2001:db8:bad::/48\n");
    folder
}

fn gzip(contents: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(contents).unwrap();
    packed.finish().unwrap()
}

#[test]
fn rules_ask_for_lists() {
    let folder = folder();
    let (mut one, two) = (gzip(b"0.0.0.0 zipped.example\n"), gzip(b"0.0.0.0 second.example\n"));
    one.extend(two);
    folder.write("lists/more.hosts", one);
    let config = folder
        .load(&format!(
            "{GOOD}{}",
            r#"
[[list]]
name = "ads"
kind = "domain"
files = ["lists/*.hosts", "lists/ut1/ads"]
[[list]]
name = "bad"
kind = "ip"
files = ["lists/bad.txt"]
[[rule]]
name = "to bad"
destination = { list = "bad" }
action = "block"
[[rule]]
name = "from bad"
source = { list = "bad" }
action = "block"
[[rule]]
name = "exempt"
sni = ["track.example"]
action = "bypass"
[[rule]]
name = "ads"
sni = { list = "ads" }
action = "block"
"#
        ))
        .unwrap_or_else(|faults| panic!("{faults}"));
    let policy = config.compile_policy();
    let flow = |client: &str, server: &str| FlowFacts {
        wire: "lan",
        vlan: None,
        client: client.parse().unwrap(),
        server: server.parse().unwrap(),
    };
    let usual = flow("10.0.0.1:5000", "192.0.2.1:443");
    let rule = |sni: Option<&str>| {
        let verdict = policy.at_hello(&usual, &HelloFacts { sni, alpn: &[], ja4: "" });
        verdict.rule.as_deref().map(str::to_owned)
    };
    for name in ["ads.example", "ADS.example.", "zipped.example", "second.example", "x.doubleclick.example"] {
        assert_eq!(rule(Some(name)).as_deref(), Some("ads"), "{name}");
    }
    assert_eq!(rule(Some("track.example")).as_deref(), Some("exempt"), "the first rule wins");
    assert_eq!(rule(Some("x.ads.example")), None);
    assert_eq!(rule(None), None, "a hello without a name is on no list");

    assert!(policy.at_syn(&usual).is_none(), "the name may be on a list");
    let at_syn = |client, server| policy.at_syn(&flow(client, server)).and_then(|verdict| verdict.rule);
    assert_eq!(at_syn("10.0.0.1:1", "198.51.100.7:443").as_deref(), Some("to bad"));
    assert_eq!(at_syn("[2001:db8:bad::1]:1", "[2001:db8::1]:443").as_deref(), Some("from bad"));

    let looked = |config: &Config| -> Vec<bool> {
        let sources = config.lists.sources.iter();
        sources.map(|source| source.look(&folder.path("")) == source.loaded()).collect()
    };
    assert!(looked(&config).iter().all(|same| *same));
    folder.write("lists/bad.txt", "198.51.100.0/24\n");
    assert_eq!(looked(&config).iter().filter(|same| !**same).count(), 1);
    let mut again = config;
    again.lists = again.read_lists().unwrap();
    assert!(looked(&again).iter().all(|same| *same));
}

#[test]
fn faults() {
    let folder = folder();
    folder.write("lists/empty", "# nothing\n");
    folder.write("lists/junk", "???\n!!!\n");
    folder.write("lists/broken.gz", &gzip(b"a.example\n")[..12]);
    folder.write("lists/addresses", "192.0.2.1\n");
    let text = r#"[[list]]
name = "ads"
kind = "domian"
files = ["lists/ads.hosts"]
[[list]]
kind = "domain"
files = "lists/ads.hosts"
[[list]]
name = "u"
kind = "url"
files = ["lists/ut1/ads"]
format = "hosts"
[[list]]
name = "d"
kind = "domain"
files = ["lists/none", "lists/*.none", "lists/empty", "lists/junk", "lists/broken.gz", "lists", "/dev/null", ""]
reload = 5
[[list]]
name = "d"
kind = "domain"
files = []
[[list]]
name = "addresses"
kind = "ip"
files = ["lists/addresses"]
[[rule]]
name = "r"
sni = { list = "addreses" }
source = { list = "d" }
destination = { lst = "addresses" }
action = "block"
[[rule]]
name = "s"
sni = { list = "addresses" }
source = { list = ["addresses"] }
destination = { list = "ads" }
action = "block"
"#;
    assert_eq!(
        folder.faults(&format!("{GOOD}{text}")),
        [
            "15: list[1].kind: expected one of \"domain\", \"url\", \"ip\", \"sha256\", \"md5\", found \"domian\" (did you mean \"domain\"?)",
            "17: list[2].name: missing: expected a name for rules to refer to",
            "24: list[3].format: \"hosts\" files have no URLs",
            "28: list[4].files[1]: cannot read DIR/lists/none: No such file or directory (os error 2)",
            "28: list[4].files[2]: no file matches \"lists/*.none\"",
            "28: list[4].files[3]: no names in DIR/lists/empty (read as \"plain\")",
            "28: list[4].files[4]: no names in DIR/lists/junk (read as \"plain\"); DIR/lists/junk:1: expected a host name: \
             labels of 1 to 63 letters, digits, `-` and `_`, found \"???\"",
            "28: list[4].files[5]: cannot read DIR/lists/broken.gz: incomplete deflate stream",
            "28: list[4].files[6]: expected a file `domains` in DIR/lists",
            "28: list[4].files[7]: expected a regular file at /dev/null",
            "28: list[4].files[8]: expected the path of a file, found \"\"",
            "29: list[4].reload: unknown key; known here: name, kind, files, format, reload_seconds",
            "31: list[5].name: expected a name that no other list has, found \"d\"",
            "33: list[5].files: expected at least one file, found an empty list",
            "40: rule[1].sni.list: no `[[list]]` of the name \"addreses\" (did you mean \"addresses\"?)",
            "41: rule[1].source.list: \"d\" is a list of kind \"domain\": expected one of kind \"ip\"",
            "42: rule[1].destination.list: missing: expected the name of a `[[list]]`",
            "42: rule[1].destination.lst: unknown key (did you mean `list`?)",
            "46: rule[2].sni.list: \"addresses\" is a list of kind \"ip\": expected one of kind \"domain\"",
            "47: rule[2].source.list: expected a text in quotes, found a list",
        ]
    );
}

#[test]
fn a_file_that_unpacks_to_too_much_is_refused() {
    let folder = folder();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let zeros = vec![b'\n'; 1 << 20];
    (0..257).for_each(|_| packed.write_all(&zeros).unwrap());
    folder.write("lists/bomb.gz", packed.finish().unwrap());
    let list = "[[list]]\nname = \"d\"\nkind = \"domain\"\nfiles = [\"lists/bomb.gz\"]\n";
    let faults = folder.faults(&format!("{GOOD}{list}"));
    let expected = "expected a file of at most 268435456 bytes, unpacked, at DIR/lists/bomb.gz";
    assert_eq!(faults, [format!("16: list[1].files[1]: {expected}")]);
}

#[test]
fn check_says_how_many_names_a_list_has_what_was_not_read_and_what_nobody_asks_for() {
    let folder = folder();
    let text = "[[list]]\nname = \"ads\"\nkind = \"domain\"\nfiles = [\"lists/ads.hosts\", \"lists/ut1/ads\"]\n\
        [[list]]\nname = \"idle\"\nkind = \"url\"\nfiles = [\"lists/ut1/ads\"]\n\
        [[rule]]\nname = \"no ads\"\nsni = { list = \"ads\" }\naction = \"block\"\n";
    let path = folder.write("wire.toml", format!("{GOOD}{text}"));
    let output =
        Command::new(env!("CARGO_BIN_EXE_wireglass")).args(["check", "-c"]).arg(&path).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap().replace(folder.path("").to_str().unwrap(), "");
    for line in [
        "\nlists\n  ads: 3 names\n    lists/ads.hosts, as hosts: 2\n",
        "  note: lists/ads.hosts:3: expected an address, and host names after it, found \"nonsense\"\n",
        "    lists/ut1/ads/domains, as ut1: 1, and 1 of other kinds\n",
        "  idle: 1 URLs\n    lists/ut1/ads/urls, as ut1: 1\n  note: wire.toml:17: list[2]: no rule asks for \"idle\"\n",
        "  1. no ads: SNI list ads -> block with an alert\n",
    ] {
        assert!(said.contains(line), "{line}\n is not in\n{said}");
    }
}
