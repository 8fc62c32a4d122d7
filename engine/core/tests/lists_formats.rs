//! Lists in other people's formats: what is read, what is passed over, what is told.
#![allow(missing_docs, clippy::unwrap_used)]

use proptest::prelude::*;
use wireglass_core::policy::{Format, HashLists, ListId, ListKind, Lists, ListsBuilder, Report};

struct Read {
    lists: Lists,
    id: ListId,
    report: Report,
}

fn read(kind: ListKind, format: Format, text: &str) -> Read {
    let mut builder = ListsBuilder::new([7; 16]);
    let id = builder.declare("list", kind).unwrap();
    let report = builder.read(id, format, text.as_bytes());
    Read { lists: builder.build(), id, report }
}

impl Read {
    #[track_caller]
    fn has_names(&self, on: &[&str], off: &[&str]) {
        let has = |name: &&str| self.lists.of_domain(name).has(self.id);
        assert_eq!(
            on.iter().copied().filter(|name| !has(name)).collect::<Vec<_>>(),
            [""; 0],
            "not on the list"
        );
        assert_eq!(off.iter().copied().filter(has).collect::<Vec<_>>(), [""; 0], "on the list");
    }

    #[track_caller]
    fn has_urls(&self, on: &[&str], off: &[&str]) {
        let has = |url: &&str| {
            let (host, target) = url.split_at(url.find('/').unwrap());
            self.lists.of_url(host, target).has(self.id)
        };
        assert_eq!(
            on.iter().copied().filter(|url| !has(url)).collect::<Vec<_>>(),
            [""; 0],
            "not on the list"
        );
        assert_eq!(off.iter().copied().filter(has).collect::<Vec<_>>(), [""; 0], "on the list");
    }

    #[track_caller]
    fn has_addresses(&self, on: &[&str], off: &[&str]) {
        let has = |address: &&str| self.lists.has_address(self.id, address.parse().unwrap());
        assert_eq!(on.iter().copied().filter(|a| !has(a)).collect::<Vec<_>>(), [""; 0], "not on the list");
        assert_eq!(off.iter().copied().filter(has).collect::<Vec<_>>(), [""; 0], "on the list");
    }

    fn told(&self) -> Vec<(usize, &str)> {
        self.report.told.iter().map(|bad| (bad.line, bad.found.as_str())).collect()
    }
}

#[test]
fn plain_names_are_what_they_are_in_rules_and_a_dot_adds_what_is_below() {
    let text = "\u{feff}# names\r\nExact.Example.\r\n\r\n*.below.example ; reason\n.tree.example # Squid\n\
        xn--bcher-kva.example\n_dmarc.example";
    let list = read(ListKind::Domain, Format::Plain, text);
    assert_eq!((list.report.entries, list.report.bad), (5, 0));
    list.has_names(
        &[
            "exact.example",
            "EXACT.example.",
            "a.below.example",
            "a.b.below.example",
            "tree.example",
            "a.tree.example",
            "xn--bcher-kva.example",
            "_dmarc.example",
        ],
        &[
            "a.exact.example",
            "below.example",
            "xtree.example",
            "example",
            "",
            ".",
            "tree.example.org",
            ".tree.example.x",
        ],
    );
}

#[test]
fn what_cannot_be_a_name_is_told_with_its_line_and_the_rest_is_read() {
    let long = "x".repeat(5000);
    let text = format!(
        "good.example\nbücher.example\nhttp://a.example/\n192.0.2.1\n*\n+a.example\n{long}\nlast.example"
    );
    let mut bytes = text.into_bytes();
    bytes.extend(b"\n\xff\xfe.example\n");
    let mut builder = ListsBuilder::new([7; 16]);
    let id = builder.declare("list", ListKind::Domain).unwrap();
    let report = builder.read(id, Format::Plain, &bytes);
    let list = Read { lists: builder.build(), id, report };
    assert_eq!((list.report.entries, list.report.bad), (2, 7));
    assert_eq!(list.told(), [(2, "bücher.example"), (3, "http://a.example/"), (4, "192.0.2.1")]);
    assert!(list.report.told[0].expected.contains("A-labels"), "{:?}", list.report.told);
    list.has_names(&["good.example", "last.example"], &["a.example"]);
}

/// As StevenBlack/hosts begins.
#[test]
fn hosts_files() {
    let text = "# Title: StevenBlack/hosts\n\n127.0.0.1 localhost\n127.0.0.1 localhost.localdomain\n127.0.0.1 local\n\
        255.255.255.255 broadcasthost\n::1 localhost\nfe80::1%lo0 localhost\nff02::1 ip6-allnodes\n0.0.0.0 0.0.0.0\n\n\
        # Start StevenBlack\n0.0.0.0 ads.example.com\n0.0.0.0\tone.example two.example # both\n127.0.0.1 UPPER.example\n\
        nothing.example\n";
    assert_eq!(Format::detect(ListKind::Domain, "hosts", text.as_bytes()), Format::Hosts);
    let list = read(ListKind::Domain, Format::Hosts, text);
    assert_eq!((list.report.entries, list.report.bad), (4, 1));
    assert_eq!(list.told(), [(16, "nothing.example")]);
    list.has_names(
        &["ads.example.com", "one.example", "two.example", "upper.example"],
        &["localhost", "localhost.localdomain", "x.ads.example.com", "broadcasthost", "0.0.0.0"],
    );
}

/// As the folders of the University of Toulouse are: names stand for all below, addresses are among them.
#[test]
fn ut1_domains() {
    let text = "example.com\nsub.example.org\n192.0.2.7\n2001:db8::7\nbad_\u{7f}.example\n";
    assert_eq!(Format::detect(ListKind::Domain, "domains", text.as_bytes()), Format::Ut1);
    let names = read(ListKind::Domain, Format::Ut1, text);
    assert_eq!((names.report.entries, names.report.other_kinds, names.report.bad), (2, 2, 1));
    names.has_names(
        &["example.com", "www.example.com", "a.b.example.com", "sub.example.org", "x.sub.example.org"],
        &["example.org", "badexample.com", "com", "192.0.2.7"],
    );
    let addresses = read(ListKind::Ip, Format::Ut1, text);
    assert_eq!((addresses.report.entries, addresses.report.other_kinds, addresses.report.bad), (2, 2, 1));
    addresses.has_addresses(&["192.0.2.7", "2001:db8::7"], &["192.0.2.8"]);
}

#[test]
fn ut1_urls() {
    let text = "example.com/~user\nsites.example/view/page\n192.0.2.7/x\nhttp://full.example:8080/p/?id=1#top\n\
        example.net/a b\n";
    assert_eq!(Format::detect(ListKind::Url, "urls.gz", text.as_bytes()), Format::Ut1);
    let list = read(ListKind::Url, Format::Ut1, text);
    assert_eq!((list.report.entries, list.report.bad), (4, 1));
    list.has_urls(
        &[
            "example.com/~user",
            "example.com/~user/",
            "Example.com/~user/a?b",
            "www.example.com/~user/x",
            "sites.example/view/page?x=1",
            "192.0.2.7/x",
            "full.example/p/?id=1",
            "full.example/p/?id=1&x=2",
        ],
        &[
            "example.com/~user2",
            "example.com/",
            "a.example.com/~user",
            "sites.example/view",
            "full.example/p/?id=12",
            "full.example/p/",
            "other.example/~user",
        ],
    );
}

#[test]
fn urls_with_wildcards() {
    let text = "a.example/*/track?*\n*.b.example/x\n.c.example\nd.example/ads/\ne.example/*.exe\n";
    let list = read(ListKind::Url, Format::Plain, text);
    assert_eq!((list.report.entries, list.report.bad), (5, 0));
    list.has_urls(
        &[
            "a.example/1/track?",
            "a.example/1/2/track?x",
            "x.b.example/x/y",
            "c.example/",
            "x.c.example/any?thing",
            "d.example/ads/1",
            "d.example/ads",
            "e.example/a/b.exe",
        ],
        &[
            "a.example/track?",
            "a.example/1/track",
            "b.example/x",
            "x.b.example/xy",
            "d.example/adserver",
            "d.example/adsale",
            "e.example/a.exe/b",
            "x.e.example/a.exe",
        ],
    );
}

/// What BIND takes: directives, records over several lines, owners that go on, names with the zone's name.
#[test]
fn response_policy_zones() {
    let text = "; comment\n$TTL 1h\n$ORIGIN rpz.example.\n@ IN SOA localhost. root.localhost. (\n  2026 ; serial\n  1h 15m 30d 2h )\n\
        \tIN NS localhost.\n\
        bad.example CNAME .\n*.bad.example 300 IN CNAME .\nnodata.example IN 300 CNAME *.\n\
        walled.example A 192.0.2.1\n               AAAA 2001:db8::1\n\
        full.example.rpz.example. CNAME rpz-drop.\n\
        good.bad.example CNAME rpz-passthru.\n*.good.bad.example CNAME rpz-passthru.\nsame.example CNAME same.example.\n\
        24.0.2.0.192.rpz-ip CNAME .\n128.7.zz.db8.2001.rpz-ip CNAME .\n48.zz.db9.2001.rpz-ip CNAME .\n\
        32.1.0.0.10.rpz-client-ip CNAME rpz-drop.\nns.example.rpz-nsdname CNAME .\n\
        $INCLUDE other.zone\nlonely.example\n* CNAME .\n";
    assert_eq!(Format::detect(ListKind::Domain, "zone.db", text.as_bytes()), Format::Rpz);
    let list = read(ListKind::Domain, Format::Rpz, text);
    assert_eq!(
        (list.report.entries, list.report.other_kinds, list.report.bad),
        (9, 5, 3),
        "{:?}",
        list.report
    );
    assert_eq!(list.told(), [(22, "$INCLUDE other.zone"), (23, "lonely.example"), (24, "* CNAME .")]);
    list.has_names(
        &["bad.example", "x.bad.example", "nodata.example", "walled.example", "full.example"],
        &[
            "good.bad.example",
            "x.good.bad.example",
            "x.nodata.example",
            "same.example",
            "rpz.example",
            "ns.example",
            "full.example.rpz.example",
            "localhost",
        ],
    );
    let addresses = read(ListKind::Ip, Format::Rpz, text);
    assert_eq!(addresses.report.entries, 3, "{:?}", addresses.report);
    addresses.has_addresses(
        &["192.0.2.0", "192.0.2.255", "2001:db8::7", "2001:db9::1"],
        &["192.0.3.0", "10.0.0.1", "2001:db8::8", "2001:dba::"],
    );
}

/// `named-compilezone` writes every name in full.
#[test]
fn response_policy_zones_in_full_names() {
    let text = "rpz.test. 300 IN SOA localhost. root.localhost. 1 2 3 4 5\nrpz.test. 300 IN NS localhost.\n\
        bad.example.rpz.test. 300 IN CNAME .\n*.bad.example.rpz.test. 300 IN CNAME .\n\
        rpz.test. 300 IN TXT \"made today\"\nbelow.rpz.test. 300 IN NS ns.test.\n";
    assert_eq!(Format::detect(ListKind::Domain, "zone.db", text.as_bytes()), Format::Rpz);
    let list = read(ListKind::Domain, Format::Rpz, text);
    assert_eq!((list.report.entries, list.report.bad), (2, 0));
    list.has_names(&["bad.example", "x.bad.example"], &["rpz.test", "bad.example.rpz.test", "below"]);
}

#[test]
fn datasets_of_suricata() {
    // google.com, and .bad.example with a rating.
    let text = "Z29vZ2xlLmNvbQ==\nLmJhZC5leGFtcGxl,300\nZ29v!\nZ29vZ2xlLmNvbQ==,many\n";
    assert_eq!(Format::detect(ListKind::Domain, "dns.lst", text.as_bytes()), Format::Suricata);
    let list = read(ListKind::Domain, Format::Suricata, text);
    assert_eq!((list.report.entries, list.told()), (2, vec![(3, "Z29v!"), (4, "Z29vZ2xlLmNvbQ==,many")]));
    list.has_names(&["google.com", "bad.example", "x.bad.example"], &["www.google.com"]);

    let addresses = read(ListKind::Ip, Format::Suricata, "192.0.2.1\n2001:db8::1,7\n::ffff:192.0.2.9\n");
    assert_eq!(addresses.report.entries, 3);
    addresses.has_addresses(&["192.0.2.1", "2001:db8::1", "192.0.2.9"], &["192.0.2.2"]);
}

/// As Spamhaus DROP and FireHOL write them.
#[test]
fn networks() {
    let text = "; Spamhaus DROP\n198.51.100.0/24 ; SBL1\n203.0.113.0/25\n203.0.113.128/25\n203.0.113.7\n2001:db8::/32\n\
        10.0.0.1/8\nhost.example\n";
    assert_eq!(Format::detect(ListKind::Ip, "drop.txt", text.as_bytes()), Format::Plain);
    let list = read(ListKind::Ip, Format::Plain, text);
    assert_eq!((list.report.entries, list.told()), (5, vec![(7, "10.0.0.1/8"), (8, "host.example")]));
    list.has_addresses(
        &[
            "198.51.100.0",
            "198.51.100.255",
            "203.0.113.0",
            "203.0.113.127",
            "203.0.113.128",
            "::ffff:203.0.113.255",
            "2001:db8:ffff::1",
        ],
        &["198.51.101.0", "203.0.112.255", "203.0.114.0", "10.0.0.1", "2001:db9::"],
    );
}

#[test]
fn what_looks_like_nothing_else_is_plain() {
    assert_eq!(Format::detect(ListKind::Domain, "a", b"192.0.2.1 ns"), Format::Hosts, "no record");
    for (name, text) in
        [("a", ""), ("a", "# only\n"), ("a", "example.com\n"), ("a.gz", "a.example # CNAME\n")]
    {
        assert_eq!(Format::detect(ListKind::Domain, name, text.as_bytes()), Format::Plain, "{text}");
    }
    assert_eq!(
        Format::detect(ListKind::Url, "a", b"0.0.0.0 a.example"),
        Format::Plain,
        "no URLs in hosts files"
    );
}

#[test]
fn one_look_up_says_all_lists_and_each_has_its_own_exceptions() {
    let mut builder = ListsBuilder::new([7; 16]);
    let ids: Vec<_> = ["a", "b", "c"].map(|name| builder.declare(name, ListKind::Domain).unwrap()).into();
    builder.read(ids[0], Format::Ut1, b"example.com\nexample.com\n");
    builder.read(ids[1], Format::Plain, b"www.example.com\n*.example.com\n");
    builder.read(ids[2], Format::Rpz, b"*.example.com CNAME .\nwww.example.com CNAME rpz-passthru.\n");
    builder.read(ids[2], Format::Plain, b"both.example\n");
    builder.read(ids[2], Format::Rpz, b"both.example CNAME rpz-passthru.\n");
    let lists = builder.build();
    let on = |name: &str| {
        lists.of_domain(name).iter().map(|id| lists.get(id).unwrap().name.as_str()).collect::<String>()
    };
    assert_eq!(on("example.com"), "a");
    assert_eq!(on("www.example.com"), "ab");
    assert_eq!(on("x.www.example.com"), "abc", "the exception is the name alone");
    assert_eq!(on("example.org"), "");
    assert_eq!(on("both.example"), "", "an exception wins over an entry of the same name");
    assert_eq!(lists.iter().map(|list| list.entries).collect::<Vec<_>>(), [1, 2, 4], "no repetitions");
}

/// Only lists that are asked count, each by hashes of its own kind.
#[test]
fn a_file_is_on_a_list_by_its_hash() {
    let mut builder = ListsBuilder::new([7; 16]);
    let kinds = [("a", ListKind::Sha256, 32), ("b", ListKind::Sha256, 32), ("c", ListKind::Md5, 16)];
    let [a, b, c] = kinds.map(|(name, kind, len)| {
        let id = builder.declare(name, kind).unwrap();
        assert_eq!(builder.read(id, Format::Plain, "11".repeat(len).as_bytes()).entries, 1);
        id
    });
    let lists = builder.build();
    let (sha256, md5) = (Some(&[0x11; 32]), Some(&[0x11; 16]));
    let mut asked = HashLists::default();
    assert_eq!(
        (lists.of_hashes(&asked, sha256, md5), asked.want_sha256(), asked.want_md5()),
        (None, false, false)
    );
    asked.add_md5(c);
    assert_eq!(lists.of_hashes(&asked, sha256, md5), Some("c"));
    assert_eq!(lists.of_hashes(&asked, sha256, None), None);
    asked.add_sha256(b);
    assert_eq!(lists.of_hashes(&asked, sha256, md5), Some("b"));
    assert_eq!(lists.of_hashes(&asked, Some(&[0; 32]), Some(&[0; 16])), None);
    assert_eq!([a, b, c].map(|list| asked.has(list)), [false, true, true]);
    assert!(asked.want_sha256() && asked.want_md5());
    let mut forced = HashLists::default();
    forced.force_sha256();
    assert_eq!((forced.want_sha256(), forced.want_md5()), (true, false));
    forced.force_md5();
    assert!(forced.want_md5());
}

/// Names on the same lists share a set of lists; here each has its own.
#[test]
fn memory_of_domains_has_their_sets_of_lists() {
    let mut builder = ListsBuilder::new([7; 16]);
    for n in 0..100 {
        let id = builder.declare(&format!("list {n}"), ListKind::Domain).unwrap();
        builder.read(id, Format::Plain, format!("a{n}.test").as_bytes());
    }
    let bytes = builder.build().domain_bytes();
    assert!((100 * 64..100 * 200).contains(&bytes), "{bytes}");
}

#[test]
fn there_are_128_lists_and_no_more() {
    let mut builder = ListsBuilder::new([7; 16]);
    let ids: Vec<_> = (0..128).map(|i| builder.declare(&i.to_string(), ListKind::Domain).unwrap()).collect();
    assert!(builder.declare("one more", ListKind::Domain).is_none());
    ids.iter().for_each(|id| drop(builder.read(*id, Format::Plain, b"a.example\n")));
    assert!(builder.build().of_domain("a.example").iter().eq(ids));
}

/// Pieces of all formats.
const PIECES: &str =
    r"([a-z0-9*.@/:;#?()$\[\],=\t \n\r-]|IN|SOA|CNAME|\$ORIGIN|rpz-ip|zz|://|[^x]|\u{1F600}){0,60}";

proptest! {
    #[test]
    fn nothing_in_a_file_stops_its_reader(text in PIECES, host in PIECES, kind in 0..3, format in 0..5) {
        let kind = [ListKind::Domain, ListKind::Url, ListKind::Ip][kind as usize];
        let formats = [Format::Plain, Format::Hosts, Format::Ut1, Format::Rpz, Format::Suricata];
        let format = formats[format as usize];
        prop_assume!(format.has(kind));
        Format::detect(kind, "a", text.as_bytes());
        let read = read(kind, format, &text);
        prop_assert!(read.report.told.len() <= read.report.bad && read.report.told.len() <= 3);
        read.lists.of_domain(&host);
        read.lists.of_url(&host, &text);
    }

    /// The set of hashes says what a walk over the names says.
    #[test]
    fn names_are_found_as_a_walk_over_the_list_finds_them(
        list in prop::collection::vec("(\\*\\.|\\.)?([ab]\\.){0,3}[ab]", 1..12),
        name in "([ab]\\.){0,5}[abA]\\.?",
    ) {
        let read = read(ListKind::Domain, Format::Plain, &list.join("\n"));
        prop_assert_eq!(read.report.bad, 0);
        let asked = name.trim_end_matches('.').to_lowercase();
        let expected = list.iter().any(|entry| match (entry.strip_prefix("*."), entry.strip_prefix('.')) {
            (Some(below), _) => asked.ends_with(&format!(".{below}")),
            (None, Some(tree)) => asked == tree || asked.ends_with(&format!(".{tree}")),
            (None, None) => asked == *entry,
        });
        prop_assert_eq!(read.lists.of_domain(&name).has(read.id), expected);
    }
}
