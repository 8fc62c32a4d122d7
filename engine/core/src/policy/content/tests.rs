//! Rules on content: the same answers as those of rules that are asked one after the other, each condition by its words.

mod readings;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::content::{SignatureId, SignatureMask};
use crate::fields::Field;
use crate::policy::{Format, ListId, ListKind, ListsBuilder, NamePattern};

const HOSTS: [&str; 5] = ["example.com", "www.example.com", "listed.test", "a.listed.test", "[2001:db8::1]"];
const TYPES: [&str; 3] = ["text/html", "video/mp4", "application/x-msdownload"];

/// One list of each kind.
struct Named {
    lists: Arc<Lists>,
    domains: ListId,
    urls: ListId,
    addresses: ListId,
}

fn named() -> Named {
    let mut builder = ListsBuilder::new([7; 16]);
    let mut list = |name: &str, kind, text: &str| {
        let id = builder.declare(name, kind).unwrap();
        assert_eq!(builder.read(id, Format::Plain, text.as_bytes()).bad, 0, "{name}");
        id
    };
    let domains = list("domains", ListKind::Domain, "listed.test\n");
    let urls = list("urls", ListKind::Url, "example.com/ads\n[2001:db8::1]/ads\n");
    let addresses = list("addresses", ListKind::Ip, "10.1.0.0/16\n");
    Named { lists: Arc::new(builder.build()), domains, urls, addresses }
}

fn fields(all: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in all {
        fields.push(Field { name: name.as_bytes(), value: value.as_bytes(), never_indexed: false });
    }
    fields
}

fn flow(client: &str) -> DecryptedFlow {
    DecryptedFlow {
        profile: Arc::new(Profile { name: "default".into(), ..Profile::default() }),
        sni: None,
        certificate_names: Vec::new(),
        client: format!("{client}:1000").parse().unwrap(),
        server: "192.0.2.2:443".parse().unwrap(),
        flow_id: 1,
        connection: ConnectionFacts::default(),
    }
}

/// A whole exchange.
#[derive(Clone, Debug)]
struct Exchange {
    client: &'static str,
    host: Option<&'static str>,
    method: &'static str,
    target: &'static str,
    agent: Option<&'static str>,
    status: u16,
    kinds: PerSide<Option<&'static str>>,
    sizes: PerSide<u64>,
    are_declared: PerSide<bool>,
}

type PerSide<T> = [T; 2];

impl Exchange {
    fn fields(&self, side: usize) -> Fields {
        let mut all: Vec<_> = self.kinds[side].map(|kind| ("content-type", kind)).into_iter().collect();
        all.extend(self.agent.filter(|_| side == 0).map(|agent| ("user-agent", agent)));
        fields(&all)
    }

    fn size(&self, side: usize) -> Known {
        if self.are_declared[side] { Known::Bytes(self.sizes[side]) } else { Known::Not }
    }

    /// By the words of the documents, with nothing but the rule at hand and all that there is to know.
    fn matches(&self, rule: &ContentRule, named: &Named) -> bool {
        let path = match self.target.split('?').next() {
            Some("//ads/./x") => "/ads/x",
            Some("/%61ds") => "/ads",
            Some(path) => path,
            None => "",
        };
        let is_named = |pattern: &NamePattern, host: &str| match pattern {
            NamePattern::Exact(name) => host == name,
            NamePattern::Below(name) => host.ends_with(&format!(".{name}")),
        };
        let on_list = |list: ListId, host: &str| {
            if list == named.urls {
                (host == "example.com" || host == "[2001:db8::1]") && path.starts_with("/ads")
            } else {
                host == "listed.test"
            }
        };
        let has_host = rule.host.is_empty() && rule.host_list.is_none()
            || self.host.is_some_and(|host| {
                rule.host.iter().any(|pattern| is_named(pattern, host))
                    || rule.host_list.is_some_and(|list| on_list(list, host))
            });
        let has_source = rule.source_list.is_none() || self.client.starts_with("10.1.");
        let has_agent = rule.header.is_empty() || self.agent == Some("curl/8");
        let is_on = |side: usize| {
            rule.direction != Some(if side == 0 { Direction::Response } else { Direction::Request })
                && (rule.status.is_empty() || side == 1)
                && (rule.content_type.is_empty()
                    || self.kinds[side].is_some_and(|kind| kind.starts_with("video/")))
                && rule.size.is_none_or(|size| self.sizes[side] > size)
        };
        has_host
            && has_source
            // No response has a user agent.
            && (rule.direction == Some(Direction::Response) && rule.header.is_empty()
                || rule.direction != Some(Direction::Response) && has_agent)
            && any(&rule.method, self.method)
            && (rule.path.is_empty() && rule.path_regex.is_empty() || path.starts_with("/ads"))
            && (rule.status.is_empty() || rule.status.contains(&self.status))
            && (is_on(0) || is_on(1))
    }
}

fn any(methods: &[String], method: &str) -> bool {
    methods.is_empty() || methods.iter().any(|each| each == method)
}

fn exchanges() -> impl Strategy<Value = Exchange> {
    let of_request = (
        select(vec!["10.1.2.3", "10.2.2.3"]),
        proptest::option::weighted(0.9, select(HOSTS.to_vec())),
        select(vec!["GET", "POST"]),
        select(vec!["/", "//ads/./x", "/%61ds", "/ads?x=1", "/other"]),
        proptest::option::of(select(vec!["curl/8", "Mozilla"])),
    );
    let of_both = (
        [proptest::option::of(select(TYPES.to_vec())), proptest::option::of(select(TYPES.to_vec()))],
        [0u64..4, 0u64..4],
        [any_bool(), any_bool()],
    );
    (of_request, select(vec![200, 404]), of_both).prop_map(
        |((client, host, method, target, agent), status, (kinds, sizes, are_declared))| Exchange {
            client,
            host,
            method,
            target,
            agent,
            status,
            kinds,
            sizes,
            are_declared,
        },
    )
}

fn any_bool() -> impl Strategy<Value = bool> {
    proptest::bool::ANY
}

/// Rules with one to three conditions; those on the size only where `sized`.
fn rules(sized: bool) -> impl Strategy<Value = Vec<ContentRule>> {
    let kinds: Vec<_> = (0..10 + 2 * usize::from(sized)).collect();
    let rule =
        (subsequence(kinds, 1..=3), select(vec![None, Some(Direction::Request), Some(Direction::Response)]));
    proptest::collection::vec(rule, 0..12).prop_map(|all| {
        let named = named();
        let rule = |(number, (conditions, direction)): (usize, (Vec<usize>, Option<Direction>))| {
            let mut rule = ContentRule::new(number.to_string(), ContentAction::Allow);
            rule.direction = direction;
            for condition in conditions {
                match condition {
                    0 => rule.host.push("example.com".parse().unwrap()),
                    1 => rule.host.push("*.example.com".parse().unwrap()),
                    2 => rule.host_list = Some(named.domains),
                    3 => rule.host_list = Some(named.urls),
                    4 => rule.source_list = Some(named.addresses),
                    5 => rule.method.push("POST".into()),
                    6 if number % 2 == 0 => rule.path.push("/ads*".parse().unwrap()),
                    6 => rule.path_regex.push(TextPattern::regex("^/a(d|D{9})s").unwrap()),
                    7 => rule.header.push(("user-agent".into(), TextPattern::regex("^curl/").unwrap())),
                    8 => rule.content_type.push("video/*".parse().unwrap()),
                    9 if direction != Some(Direction::Request) => rule.status.push(200),
                    9 => {}
                    10 => rule.size = Some(1),
                    _ => rule.size = Some(2),
                }
            }
            rule
        };
        all.into_iter().enumerate().map(rule).collect()
    })
}

/// The rule that wins in the end, and those that have applied in turn while content passed.
fn ask(
    policy: &ContentPolicy,
    exchange: &Exchange,
    last: &mut LastFound,
) -> (Option<ContentRuleId>, Vec<ContentRuleId>) {
    let (request, response) = (exchange.fields(0), exchange.fields(1));
    let mut standing = policy.at_request(
        &flow(exchange.client),
        &RequestFacts {
            host: exchange.host,
            method: exchange.method,
            target: exchange.target,
            fields: &request,
            size: exchange.size(0),
        },
        last,
    );
    let mut late: Vec<_> = std::iter::from_fn(|| standing.size_limits.passed(exchange.sizes[0])).collect();
    let (status, fields, size) = (exchange.status, &response, exchange.size(1));
    let facts = ResponseFacts { status, fields, size, inside: Inside::NotYet };
    let mut decided = policy.at_response(&standing, &facts, last);
    late.extend(std::iter::from_fn(|| decided.size_limits.passed(exchange.sizes[1])));
    (decided.rule, late)
}

proptest! {
    /// Where all is known at the heads, the first rule wins that matches by its words, whatever was asked before.
    #[test]
    fn the_first_rule_that_matches_wins(rules in rules(false), exchanges in proptest::collection::vec(exchanges(), 1..5)) {
        let named = named();
        let policy = ContentPolicy::compile(&rules, Arc::clone(&named.lists));
        let mut last = LastFound::default();
        for exchange in exchanges {
            let first = rules.iter().position(|rule| exchange.matches(rule, &named));
            let (rule, late) = ask(&policy, &exchange, &mut last);
            prop_assert_eq!(rule.map(|id| id.0 as usize), first);
            prop_assert!(late.is_empty());
        }
    }

    /// Where a size shows late, the rule that should have won applies late, and others may have applied before it.
    #[test]
    fn a_rule_on_the_size_applies_in_the_end(rules in rules(true), exchange in exchanges()) {
        let named = named();
        let policy = ContentPolicy::compile(&rules, Arc::clone(&named.lists));
        let first = rules.iter().position(|rule| exchange.matches(rule, &named));
        let (rule, late) = ask(&policy, &exchange, &mut LastFound::default());
        let all = rule.into_iter().chain(late).map(|id| id.0 as usize);
        prop_assert_eq!(all.min(), first);
    }
}

/// Host, target and fields of a request, and whether a rule matches it.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], bool);

/// A rule with one condition, and whether it matches requests.
#[track_caller]
fn assert_asks(condition: impl FnOnce(&mut ContentRule), cases: &[Case<'_>]) {
    let mut rule = ContentRule::new("rule", ContentAction::Alert);
    condition(&mut rule);
    let policy = ContentPolicy::compile(&[rule], named().lists);
    for &(host, target, all, matches) in cases {
        let fields = fields(all);
        let facts =
            RequestFacts { host: Some(host), method: "GET", target, fields: &fields, size: Known::Bytes(0) };
        let standing = policy.at_request(&flow("10.1.2.3"), &facts, &mut LastFound::default());
        assert_eq!(standing.otherwise.is_some(), matches, "{host} {target} {all:?}");
        let answers = policy.explain(&flow("10.1.2.3"), &facts);
        assert_eq!(answers[0].1 == Answer::Matches, matches, "{host} {target} {all:?}");
    }
}

/// Both ways to search for them: for few texts, and for many.
#[test]
fn of_many_rules_the_one_whose_text_is_there_matches() {
    for count in [10, 4000] {
        let rules: Vec<_> = (0..count)
            .map(|n| {
                let mut rule = ContentRule::new(format!("rule {n}"), ContentAction::Alert);
                let pattern = TextPattern::Glob(format!("*crawler-{n:04}/*").parse().unwrap());
                rule.header = vec![("user-agent".into(), pattern)];
                rule
            })
            .collect();
        let policy = ContentPolicy::compile(&rules, Arc::default());
        for n in [0, 7, count - 1] {
            let rule = matching(&policy, format!("a crawler-{n:04}/1").as_bytes());
            assert_eq!(rule, Some(ContentRuleId(n)), "of {count}");
        }
        assert_eq!(matching(&policy, b"crawler-0007 crawler-/"), None, "of {count}");
    }
}

/// A rule has the replacement character for them.
#[test]
fn bytes_that_are_no_text_are_found() {
    let mut rule = ContentRule::new("no text", ContentAction::Alert);
    rule.header = vec![("user-agent".into(), TextPattern::Glob("a\u{fffd}b*".parse().unwrap()))];
    let policy = ContentPolicy::compile(&[rule], Arc::default());
    assert_eq!(matching(&policy, b"a\xffb"), Some(ContentRuleId(0)));
    assert_eq!(matching(&policy, b"ab"), None);
}

/// The rule that a request with this User-Agent matches.
fn matching(policy: &ContentPolicy, agent: &[u8]) -> Option<ContentRuleId> {
    let mut fields = Fields::default();
    fields.push(Field { name: b"User-Agent", value: agent, never_indexed: false });
    let size = Known::Bytes(0);
    let facts = RequestFacts { host: Some("a"), method: "GET", target: "/", fields: &fields, size };
    policy.at_request(&flow("10.1.2.3"), &facts, &mut LastFound::default()).otherwise
}

#[test]
fn each_condition() {
    let glob = |text: &str| text.parse::<Glob>().unwrap();
    assert_asks(
        |rule| rule.host = vec!["*.example.com".parse().unwrap()],
        &[("A.Example.COM.", "/", &[], true), ("example.com", "/", &[], false)],
    );
    assert_asks(
        |rule| rule.path = vec![glob("/admin/*")],
        &[
            ("a", "/%61dmin/x", &[], true),
            ("a", "/a/../admin/x", &[], true),
            ("a", "//admin/x", &[], true),
            ("a", "/./admin/x", &[], true),
            ("a", "/admin%2fx", &[], true),
            ("a", "https://a/admin/x", &[], true),
            ("a", "/x?y=/admin/x", &[], false),
            ("a", "/Admin/x", &[], false),
            ("a", "/admin%252fx", &[], false),
            ("a", "/admin%c0%afx", &[], false),
        ],
    );
    assert_asks(
        |rule| rule.path_regex = vec![TextPattern::regex("[\\x00\\\\;]").unwrap()],
        &[
            ("a", "/a%00b", &[], true),
            ("a", "/a%5Cb", &[], true),
            ("a", "/a;b", &[], true),
            ("a", "/a", &[], false),
        ],
    );
    assert_asks(
        |rule| rule.query = vec![glob("*id=7*")],
        &[("a", "/?x=1&id=7", &[], true), ("a", "/id=7", &[], false), ("a", "/?i%64=7", &[], false)],
    );
    assert_asks(
        |rule| {
            rule.header = vec![
                ("x-a".into(), TextPattern::Glob(glob("1*"))),
                ("x-b".into(), TextPattern::Glob(glob("*"))),
            ]
        },
        &[
            ("a", "/", &[("X-A", "2"), ("x-a", "12"), ("X-B", "")], true),
            ("a", "/", &[("x-a", "12")], false),
            ("a", "/", &[("x-a", "2"), ("x-b", "")], false),
        ],
    );
    assert_asks(
        |rule| (rule.file_name, rule.direction) = (vec![glob("*.exe")], Some(Direction::Request)),
        &[
            ("a", "/x/Setup.EXE", &[], true),
            ("a", "/x/setup.exe/", &[], false),
            ("a", "/?f=setup.exe", &[], false),
        ],
    );
    assert_asks(|rule| rule.profile = vec!["other".into()], &[("a", "/", &[], false)]);
    assert_asks(|rule| rule.destination = vec!["192.0.2.0/24".parse().unwrap()], &[("a", "/", &[], true)]);
    assert_asks(
        |rule| rule.destination = vec!["198.51.100.0/24".parse().unwrap()],
        &[("a", "/", &[], false)],
    );
}

/// Of several values nobody knows which one is read: one may stop a message, only all of them let it pass.
#[test]
fn all_values_are_like_it_where_a_rule_allows() {
    let twice = [("x-a", "12"), ("x-a", "2"), ("content-type", "a/b, c/d")];
    for (action, twice_matches) in [(ContentAction::Allow, false), (ContentAction::Alert, true)] {
        let mut header = ContentRule::new("header", action.clone());
        header.header = vec![("x-a".into(), TextPattern::Glob("1*".parse().unwrap()))];
        let mut typed = ContentRule::new("type", action);
        (typed.content_type, typed.direction) = (vec!["a/*".parse().unwrap()], Some(Direction::Request));
        for rule in [header, typed] {
            let policy = ContentPolicy::compile(std::slice::from_ref(&rule), Arc::default());
            for (all, matches) in
                [(&twice[..], twice_matches), (&[("x-a", "12"), ("content-type", "a/b")][..], true)]
            {
                let fields = fields(all);
                let facts = RequestFacts {
                    host: None,
                    method: "GET",
                    target: "/",
                    fields: &fields,
                    size: Known::Bytes(0),
                };
                let found = policy
                    .at_request(&flow("10.0.0.1"), &facts, &mut LastFound::default())
                    .otherwise
                    .is_some();
                assert_eq!(found, matches, "{} {:?} {all:?}", rule.name, rule.action);
            }
        }
    }
}

/// A listed URL is found in whatever way it is written, in the list and by the client.
#[test]
fn listed_urls_have_the_form_of_requests() {
    let mut builder = ListsBuilder::new([7; 16]);
    let list = builder.declare("urls", ListKind::Url).unwrap();
    let text = "a.test/My%20File.exe\nb.test//x/./y\nc.test?id=1\nhttps://[2001:DB8:0::1]:443/z\n";
    assert_eq!(builder.read(list, Format::Plain, text.as_bytes()).bad, 0);
    let mut rule = ContentRule::new("listed", ContentAction::Block(Respond::Page));
    rule.host_list = Some(list);
    let policy = ContentPolicy::compile(&[rule], Arc::new(builder.build()));
    for (host, target, is_on) in [
        ("a.test", "/My%20File.exe", true),
        ("a.test", "/%4dy%20File.exe", true),
        ("a.test", "/./x/..//My%20File.exe?a", true),
        ("a.test", "/My%2520File.exe", false),
        ("b.test", "/x/y/z", true),
        ("b.test", "/x/yz", false),
        ("c.test", "/?id=1", true),
        ("c.test", "/", false),
        ("[2001:db8::1]", "/z", true),
        ("[2001:db8:0:0::0001]", "/z", true),
        ("[2001:db8::2]", "/z", false),
    ] {
        let fields = Fields::default();
        let facts =
            RequestFacts { host: Some(host), method: "GET", target, fields: &fields, size: Known::Bytes(0) };
        assert_eq!(
            policy.at_request(&flow("10.1.2.3"), &facts, &mut LastFound::default()).otherwise.is_some(),
            is_on,
            "{host} {target}"
        );
    }
}

#[test]
fn the_first_rule_on_a_field_changes_it() {
    let named = named();
    let header = |edits, direction| HeaderRule {
        profile: Vec::new(),
        host: vec!["*.example.com".parse().unwrap()],
        host_list: Some(named.domains),
        direction,
        edits,
    };
    let set = |name: &str, value: &str| FieldEdit::Set(name.into(), value.into());
    let remove = |name: &str| FieldEdit::Remove(name.into());
    let policy = ContentPolicy::compile(&[], Arc::clone(&named.lists)).with_headers(&[
        header(vec![set("X-A", "1"), remove("x-b")], Direction::Request),
        header(vec![set("x-a", "2"), set("x-c", "3")], Direction::Request),
        header(vec![remove("alt-svc")], Direction::Response),
    ]);
    let edits = |host, direction| policy.edits(&flow("10.1.2.3"), host, direction);
    let request = [set("X-A", "1"), remove("x-b"), set("x-c", "3")];
    assert_eq!(edits(Some("www.example.com"), Direction::Request), request);
    assert_eq!(edits(Some("listed.test"), Direction::Response), [remove("alt-svc")]);
    assert_eq!(edits(Some("example.com"), Direction::Request), []);
    assert_eq!(edits(None, Direction::Request), []);
    assert!(policy.has_edits() && policy.is_about("default"));
    for name in ["Host", "content-length", "TE", ":path", "", "a b", "Transfer-Encoding"] {
        assert!(!is_editable(name), "{name:?}");
    }
}

/// What the response is asked does not make up for what the request has not: each condition on the request, with one on the response.
#[test]
fn a_response_is_asked_only_for_requests_that_hold() {
    type Change = fn(&mut ContentRule);
    let of_request: [Change; 6] = [
        |rule| rule.header = vec![("user-agent".into(), TextPattern::regex("^curl/").unwrap())],
        |rule| rule.method = vec!["POST".into()],
        |rule| rule.path = vec!["/ads*".parse().unwrap()],
        |rule| rule.path_regex = vec![TextPattern::regex("^/ads").unwrap()],
        |rule| rule.query = vec!["x=*".parse().unwrap()],
        |rule| rule.source = vec!["192.0.2.0/24".parse().unwrap()],
    ];
    let of_response: [Change; 2] =
        [|rule| rule.status = vec![200], |rule| rule.content_type = vec!["video/*".parse().unwrap()]];
    let ask = |rule: ContentRule| {
        let policy = ContentPolicy::compile(&[rule], Arc::default());
        let (request, response) = (Fields::default(), fields(&[("Content-Type", "video/mp4")]));
        let facts = RequestFacts {
            host: Some("a.example"),
            method: "GET",
            target: "/",
            fields: &request,
            size: Known::Bytes(0),
        };
        let standing = policy.at_request(&flow("10.1.2.3"), &facts, &mut LastFound::default());
        let (size, inside) = (Known::Bytes(0), Inside::Nothing);
        let facts = ResponseFacts { status: 200, fields: &response, size, inside };
        policy.at_response(&standing, &facts, &mut LastFound::default()).rule.is_some()
    };
    for (place, second) in of_response.iter().enumerate() {
        let mut rule = ContentRule::new("rule", ContentAction::Alert);
        second(&mut rule);
        assert!(ask(rule.clone()), "the response alone, {place}");
        for (first, change) in of_request.iter().enumerate() {
            let mut both = rule.clone();
            change(&mut both);
            assert!(!ask(both), "{first} of the request, {place} of the response");
        }
    }
}

/// A flow's memory counts all that is behind these, each piece as often as it is there.
#[test]
fn memory_has_every_piece() {
    let bare = flow("10.1.2.3");
    let mut full = bare.clone();
    full.sni = Some("12345".into());
    full.certificate_names = vec![String::from("1234567"), String::from("123")];
    full.connection.alpn = vec![(*b"12").into(), (*b"123").into()];
    full.connection.ja4 = "12345678901".into();
    let heads = 2 * size_of::<String>() + 2 * size_of::<Box<[u8]>>();
    assert_eq!(bare.memory(), size_of::<DecryptedFlow>());
    assert_eq!(full.memory(), bare.memory() + 5 + 7 + 3 + 2 + 3 + 11 + heads);

    let id = ContentRuleId(1);
    let mut limits = SizeLimits::default();
    assert_eq!(limits.memory(), 0);
    limits.push(7, id);
    let is_of_whole = |bytes: usize, each: usize| bytes >= each && bytes.is_multiple_of(each);
    assert!(is_of_whole(limits.memory(), size_of::<(u64, ContentRuleId)>()));
    let mut signatures = SignatureRules::default();
    assert_eq!(signatures.memory(), 0);
    signatures.push(SignatureMask::default(), id);
    assert!(is_of_whole(signatures.memory(), size_of::<(SignatureMask, ContentRuleId)>()));
    let standing = Standing {
        not_yet: [id].into(),
        size_limits: limits,
        signatures,
        at_content: [id, id].into(),
        path: "/a".into(),
        ..Standing::default()
    };
    let late = standing.size_limits.memory() + standing.signatures.memory();
    assert_eq!(standing.memory(), 4 + late + 8 + 2);
    assert_eq!(Standing::default().memory(), 0);

    let mut by_host = ContentRule::new("host", ContentAction::Alert);
    by_host.host = vec!["a.example".parse().unwrap()];
    let by_path = ContentRule { path: vec!["/x*".parse().unwrap()], ..by_host.clone() };
    let policy = ContentPolicy::compile(&[by_host, by_path], Arc::default());
    let (fields, mut last) = (Fields::default(), LastFound::default());
    let (host, method, target, size) = (Some("a.example"), "GET", "/", Known::Not);
    policy.at_request(&bare, &RequestFacts { host, method, target, fields: &fields, size }, &mut last);
    let places = last.memory() - "a.example".len();
    assert!(is_of_whole(places, size_of::<usize>()) && (2..=8).contains(&(places / size_of::<usize>())));
}

#[test]
fn what_is_kept_of_a_connections_last_fields_has_bounds() {
    let rules: Vec<_> = (0..6)
        .map(|n| {
            let glob: Glob = "*tool*".parse().unwrap();
            let header = vec![(format!("x-{n}"), TextPattern::Glob(glob))];
            ContentRule { header, ..ContentRule::new(format!("rule {n}"), ContentAction::Alert) }
        })
        .collect();
    let policy = ContentPolicy::compile(&rules, Arc::default());
    let (mut last, long) = (LastFound::default(), "tool ".repeat(100));
    let mut ask = |fields: &Fields| {
        let (host, method, target, size) = (None, "GET", "/", Known::Bytes(0));
        let facts = RequestFacts { host, method, target, fields, size };
        let rule = policy.at_request(&flow("10.1.2.3"), &facts, &mut last).otherwise;
        (rule.map(|id| id.0), last.memory())
    };
    let mut most = 0;
    for round in 0..3 {
        for n in 0..6 {
            let name = format!("X-{n}");
            for (value, found) in [("a tool", true), ("a tool", true), ("none", false), (&*long, true)] {
                let (rule, memory) = ask(&fields(&[(&name, value)]));
                assert_eq!(rule, found.then_some(n), "{round} {name}: {value}");
                most = most.max(memory);
            }
        }
    }
    assert!(most < 1024, "{most} bytes: a long value is kept, or that of each field");
}

#[test]
fn what_was_found_late_is_of_its_rule_and_content() {
    let rules = ["one", "other"].map(|name| ContentRule::new(name, ContentAction::Alert));
    let policy = ContentPolicy::compile(&rules, Arc::default());
    let (one, other, now) = (ContentRuleId(0), ContentRuleId(1), Instant::from_secs(1_000));
    let was_late = |rule, names: [&[u8]; 2]| policy.was_late(policy.late_key(rule, names), now);
    policy.note_late(policy.late_key(one, [b"a.test", b"/x"]), now);
    assert!(was_late(one, [b"a.test", b"/x"]));
    assert!(!was_late(other, [b"a.test", b"/x"]));
    assert!(!was_late(one, [b"a.test/", b"x"]), "other borders");
}

/// What is found brings in the first rule that looks for it; those behind have lost, those before may still win.
#[test]
fn rules_of_signatures_apply_in_order() {
    let [a, b] = [0, 1].map(|place| SignatureId::new(place).unwrap());
    let mut rules = SignatureRules::default();
    assert!(rules.is_empty() && rules.signatures().is_empty());
    rules.push([a].into_iter().collect(), ContentRuleId(0));
    rules.push([b].into_iter().collect(), ContentRuleId(1));
    rules.push([a, b].into_iter().collect(), ContentRuleId(2));
    assert_eq!(rules.signatures(), [a, b].into_iter().collect());
    assert_eq!(rules.iter().map(|(_, rule)| rule.0).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(rules.hit(b), Some(ContentRuleId(1)));
    assert_eq!((rules.signatures(), rules.is_empty()), ([a].into_iter().collect(), false));
    assert_eq!((rules.hit(b), rules.hit(a), rules.hit(a)), (None, Some(ContentRuleId(0)), None));
    assert!(rules.is_empty());
}

/// Of two rules the one that fewer bytes bring in applies first, and one behind it never, if it asks for more.
#[test]
fn rules_of_sizes_apply_in_order() {
    let mut limits = SizeLimits::default();
    for (place, bytes) in [(0, 100), (1, 100), (2, 10), (3, 50), (4, 5)] {
        limits.push(bytes, ContentRuleId(place));
    }
    let expected = [(5, ContentRuleId(4)), (10, ContentRuleId(2)), (100, ContentRuleId(0))];
    assert_eq!(limits.iter().collect::<Vec<_>>(), expected);
    assert_eq!((limits.passed(5), limits.passed(6)), (None, Some(ContentRuleId(4))));
    limits.has_applied(ContentRuleId(2));
    assert_eq!((limits.passed(100), limits.passed(101)), (None, Some(ContentRuleId(0))));
    assert_eq!(limits.passed(1_000), None);
}

/// A request without content has none to look at.
#[test]
fn content_of_requests_is_looked_at_where_there_is_some() {
    let mut rule = ContentRule::new("scan", ContentAction::Inspect(Inspect::default()));
    rule.direction = Some(Direction::Request);
    let policy = ContentPolicy::compile(&[rule], Arc::default());
    assert!(policy.has_inspections());
    for (size, answer) in [
        (Known::Bytes(0), Answer::No("inspect")),
        (Known::Bytes(1), Answer::AtContent),
        (Known::Not, Answer::AtContent),
    ] {
        let fields = Fields::default();
        let facts = RequestFacts { host: None, method: "POST", target: "/", fields: &fields, size };
        let answers = policy.explain(&flow("10.1.2.3"), &facts);
        assert_eq!(answers, [(ContentRuleId(0), answer)], "{size:?}");
        let standing = policy.at_request(&flow("10.1.2.3"), &facts, &mut LastFound::default());
        assert_eq!(standing.at_content.len(), usize::from(answer == Answer::AtContent));
    }
}

#[test]
fn the_type_of_a_response_decides_when_it_is_known() {
    let mut rule = ContentRule::new("programs", ContentAction::Alert);
    rule.file_type = FileType::named("executable");
    let policy = ContentPolicy::compile(&[rule], Arc::default());
    let fields = Fields::default();
    let (host, method, target, size) = (None, "GET", "/", Known::Bytes(0));
    let facts = RequestFacts { host, method, target, fields: &fields, size };
    let standing = policy.at_request(&flow("10.1.2.3"), &facts, &mut LastFound::default());
    for (inside, answer) in [
        (Inside::Is(FileType::Dll), Answer::Matches),
        (Inside::Is(FileType::Pdf), Answer::No("file_type")),
        (Inside::Nothing, Answer::No("file_type")),
        (Inside::NotYet, Answer::AwaitsType),
    ] {
        let response = ResponseFacts { status: 200, fields: &fields, size: Known::Not, inside };
        let answers = policy.explain_response(&standing, &response);
        assert_eq!(answers, [(ContentRuleId(0), answer)], "{inside:?}");
        let decided = policy.at_response(&standing, &response, &mut LastFound::default());
        assert_eq!(decided.rule.is_some(), answer == Answer::Matches, "{inside:?}");
        assert_eq!(decided.awaits_type, answer == Answer::AwaitsType, "{inside:?}");
    }
}
