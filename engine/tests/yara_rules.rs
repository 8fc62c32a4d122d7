//! YARA rules on whole bodies: what is found, how much is kept for it, and what is wrong with files.
#![cfg(feature = "yara")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::time::{Duration, Instant};

use wireglass::yara::{RuleSet, RuleSetBuilder, YaraInspector};
use wireglass_core::content::{Finding, Hit, Inspector, Message, Scanner};
use wireglass_core::reason::Reason;

const SECOND: Duration = Duration::from_secs(1);
const SLOW: &str = "rule slow { condition: for all i in (1..1000000000) : (uint8(i % 3) != 255) }";

fn set(text: &str, timeout: Duration) -> RuleSet {
    let mut builder = RuleSetBuilder::new();
    builder.add(Path::new("a.yar"), text).expect("rules");
    builder.build(timeout)
}

fn scanner(rules: RuleSet, max_bytes: usize, target: &str) -> Box<dyn Scanner> {
    let inspector = YaraInspector::new("yara.all".into(), rules, max_bytes);
    assert_eq!(&**inspector.name(), "yara.all");
    inspector.scanner(&Message { method: "GET", host: "a", target, status: 200, content_type: None })
}

/// What rules find in a body that comes from there.
fn look(rules: &RuleSet, body: &[u8], target: &str) -> Option<Hit> {
    let mut scanner = scanner(rules.clone(), 1 << 30, target);
    assert_eq!(scanner.feed(body), None);
    match scanner.end()? {
        Finding::Hit(hit) => Some(hit),
        Finding::Fails(reason) => panic!("{reason:?}"),
    }
}

fn fault(text: &str) -> String {
    RuleSetBuilder::new().add(Path::new("/rules/a.yar"), text).expect_err("a fault")
}

#[test]
fn a_find_has_the_name_of_its_rule_and_its_tags() {
    let set = set(
        r#"private rule small { condition: filesize < 100 }
           rule other { strings: $a = "nothing" condition: $a }
           rule dawn : attack plan { strings: $a = "at dawn" wide ascii condition: small and $a at 3 }"#,
        SECOND,
    );
    assert_eq!((set.len(), set.is_empty()), (3, false));
    let hit = look(&set, b"we at dawn", "/").unwrap();
    assert_eq!((&*hit.by, &*hit.what), ("yara.all", "dawn"));
    assert_eq!((hit.tags.to_vec(), hit.count), (vec!["attack".into(), "plan".into()], None));
    assert_eq!(look(&set, b"we attack at dawn", "/"), None, "it is elsewhere");
    let long: Vec<u8> = b"we at dawn".iter().copied().chain([0; 100]).collect();
    assert_eq!(look(&set, &long, "/"), None, "it is too long");
}

#[test]
fn global_rules_hold_for_all() {
    let set =
        set("global private rule short { condition: filesize < 5 } rule all { condition: true }", SECOND);
    assert!(look(&set, b"abc", "/").is_some());
    assert_eq!(look(&set, b"abcdef", "/"), None);
}

#[test]
fn rules_know_where_a_body_comes_from() {
    let set = set(
        r#"rule page { condition: filename == "page.exe" and extension == ".exe" and filepath == "/files/page.exe" and filetype == "" }"#,
        SECOND,
    );
    for target in ["/files/page.exe", "/files/page.exe?a=/b.jpg", "/files/page.exe#c"] {
        assert!(look(&set, b"a", target).is_some(), "{target}");
    }
    for target in ["/files/page.exe/", "/page.exe", "", "page", "/?/files/page.exe"] {
        assert_eq!(look(&set, b"a", target), None, "{target}");
    }
}

#[test]
fn modules_read_hashes_and_programs() {
    let set = set(
        r#"import "hash" import "pe" import "elf" import "math"
           rule sum { condition: hash.sha256(0, filesize) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" }
           rule signed { condition: pe.is_pe and pe.number_of_signatures > 0 and math.entropy(0, filesize) > 1 }
           rule program { condition: elf.type == elf.ET_DYN or elf.type == elf.ET_EXEC }"#,
        SECOND * 60,
    );
    assert_eq!(&*look(&set, b"abc", "/").unwrap().what, "sum");
    let mut program = std::fs::read("/bin/true").unwrap();
    assert_eq!(&*look(&set, &program, "/").unwrap().what, "program");
    // What only begins like one, or says absurd things of itself.
    for damaged in [&program[..0x30], b"\x7fELF", b"MZ\xff\xff\xff\xff", &[b'M'; 64]] {
        assert_eq!(look(&set, damaged, "/"), None);
    }
    for at in 0x10..0x40 {
        program[at] ^= 0xff;
        look(&set, &program, "/");
        program[at] ^= 0xff;
    }
}

#[test]
fn a_body_is_looked_at_as_a_whole_however_it_comes() {
    let text = r#"rule ends { strings: $a = "begin" $b = "end" condition: $a at 0 and $b at filesize - 3 }"#;
    let set = set(text, SECOND);
    for pieces in [1, 2, 7, 100] {
        let mut scanner = scanner(set.clone(), 100, "/");
        for piece in b"begin and end".chunks(pieces) {
            assert_eq!(scanner.feed(piece), None);
        }
        assert!(matches!(scanner.end(), Some(Finding::Hit(_))), "in pieces of {pieces}");
    }
    let all = self::set("rule all { condition: true }", SECOND);
    assert_eq!(scanner(all, 100, "/").end(), None, "nothing is in a body that has nothing");
}

#[test]
fn what_is_kept_is_bounded_and_counted() {
    let mut scanner = scanner(set("rule all { condition: true }", SECOND), 1000, "/");
    let path = scanner.memory();
    let mut before = path;
    for _ in 0..10 {
        let told = scanner.growth(100);
        assert_eq!(scanner.feed(&[0; 100]), None);
        assert_eq!(scanner.memory(), before + told);
        before = scanner.memory();
    }
    assert_eq!((before - path, scanner.growth(100)), (1000, 0), "and nothing more");
    assert_eq!(scanner.feed(&[0]), Some(Finding::Fails(Reason::YaraOversize)));
    assert_eq!(scanner.memory(), path, "nothing of it is kept");
}

#[test]
fn rules_that_take_too_long_cannot_say() {
    let mut scanner = scanner(set(SLOW, Duration::from_millis(20)), 100, "/");
    assert_eq!(scanner.feed(b"abc"), None);
    let begun = Instant::now();
    assert_eq!(scanner.end(), Some(Finding::Fails(Reason::YaraTimeout)));
    assert!(begun.elapsed() < SECOND * 20, "{:?}", begun.elapsed());
}

#[test]
fn faults_say_file_line_and_column() {
    let unknown = fault("rule a { condition: true }\nrule b {\n  condition: c\n}\n");
    assert_eq!(unknown, "/rules/a.yar:3:14: unknown identifier \"c\"");
    let broken = fault("rule a {\n  condition true\n}\n");
    assert!(broken.starts_with("/rules/a.yar:2:"), "{broken}");
    assert!(!broken.contains('\n') && !broken.contains("mem"), "{broken}");
    // Whoever writes rules must not have other files read, nor the same one again and again.
    assert_eq!(fault("include \"a.yar\"\n"), "/rules/a.yar:1:1: includes are not allowed");
}

#[test]
fn two_files_may_have_rules_of_one_name() {
    let mut builder = RuleSetBuilder::new();
    for file in ["a.yar", "b.yar"] {
        builder.add(Path::new(file), "rule same { condition: true }").unwrap();
    }
    assert_eq!(builder.build(SECOND).len(), 2);
}

/// `YARA_RULES=DIR cargo test --test yara_rules -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn what_a_set_costs() {
    let folder = std::env::var("YARA_RULES").expect("a folder of rules");
    let (mut builder, mut files, mut refused) = (RuleSetBuilder::new(), 0, 0);
    let begun = Instant::now();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        files += 1;
        if let Err(error) = builder.add(&path, &text) {
            refused += 1;
            println!("{error}");
        }
    }
    let set = builder.build(SECOND * 60);
    println!("{files} files, {refused} refused, {} rules in {:?}", set.len(), begun.elapsed());
    let noise = |len: u32| (0..len).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>();
    let text = b"A line of a page, with <b>words</b> and numbers 0123456789.\n".repeat(17_476);
    let program = std::fs::read("/usr/bin/perl").or_else(|_| std::fs::read("/bin/bash")).unwrap();
    for (what, body) in [("noise", noise(1 << 20)), ("text", text), ("program", program)] {
        let begun = Instant::now();
        let hit = look(&set, &body, "/x");
        println!("{what}: {} bytes in {:?}, {hit:?}", body.len(), begun.elapsed());
    }
}
