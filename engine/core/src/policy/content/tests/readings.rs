//! Fields that clients and servers read in several ways.

use super::*;

/// Whether a request with these fields meets a rule.
fn meets(rule: ContentRule, sent: &[(&str, &str)]) -> bool {
    let fields = fields(sent);
    let request =
        RequestFacts { host: None, method: "Get", target: "/", fields: &fields, size: Known::Bytes(0) };
    let policy = ContentPolicy::compile(&[rule], Arc::default());
    policy.at_request(&flow("10.0.0.1"), &request, &mut LastFound::default()).otherwise.is_some()
}

/// RFC 9113, 8.2.3: HTTP/2 may send a cookie in pieces, and browsers do. A rule is asked about what HTTP/1 has.
#[test]
fn a_cookie_in_pieces_is_one() {
    let pieces = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")];
    for action in [ContentAction::Allow, ContentAction::Block(Respond::Page)] {
        for (pattern, is_met) in
            [("a=1; b=2", true), ("*1; b*", true), ("*b=2*", true), ("a=1", false), ("*", true)]
        {
            let mut rule = ContentRule::new("cookies", action.clone());
            rule.header = vec![("cookie".into(), TextPattern::Glob(pattern.parse().unwrap()))];
            assert_eq!(meets(rule.clone(), &pieces), is_met, "{pattern}");
            assert_eq!(meets(rule.clone(), &[("Cookie", "a=1; b=2")]), is_met, "{pattern}");
            assert!(!meets(rule, &[("x", "a=1; b=2")]));
        }
    }
}

/// Browsers end a type at a space or a comment; others take all of it.
#[test]
fn what_is_behind_a_type_hides_it_from_nobody() {
    for (kind, blocks, allows) in [
        ("bad/type", true, true),
        ("bad/type; x=1", true, true),
        ("bad/type (", true, false),
        ("bad/type(x); y", true, false),
        ("bad/type x", true, false),
        ("bad/type\tx, a/b", true, false),
        ("bad/types", false, false),
    ] {
        for (action, is_met) in
            [(ContentAction::Block(Respond::Page), blocks), (ContentAction::Allow, allows)]
        {
            let mut rule = ContentRule::new("types", action);
            (rule.content_type, rule.direction) =
                (vec!["bad/type".parse().unwrap()], Some(Direction::Request));
            assert_eq!(meets(rule, &[("content-type", kind)]), is_met, "{kind}");
        }
    }
}

/// Methods have case (RFC 9110, 9.1), and ASP.NET Core and Flask do not look at it.
#[test]
fn a_method_in_any_case_is_one_that_a_rule_names() {
    for (method, is_met) in [("GET", true), ("PUT", false)] {
        let mut rule = ContentRule::new("methods", ContentAction::Block(Respond::Page));
        rule.method = vec![method.into()];
        assert_eq!(meets(rule, &[]), is_met);
    }
}
