use super::*;

const HOSTILE: &str = "https://a.example/\"><script>alert('1')</script>?a=1&b='%3C\u{202e}gpj.exe\u{0}\n";

fn facts() -> PageFacts<'static> {
    PageFacts {
        url: "https://www.example.com/games?id=7",
        host: "www.example.com",
        method: "GET",
        rule: "no games",
        reason: "Games are not for working hours.",
        category: "games",
        client: IpAddr::from([192, 0, 2, 7]),
        event: "1234567890123456",
    }
}

fn rendered(template: &str, facts: &PageFacts<'_>) -> String {
    let page = Page::new(template).unwrap_or_else(|error| panic!("{template}: {error}"));
    String::from_utf8(page.render(facts).to_vec()).unwrap()
}

fn refused(template: &str) -> PageError {
    Page::new(template).expect_err(template)
}

#[test]
fn the_built_in_page_says_what_why_and_whom_to_ask() {
    assert!(Page::new(Page::BUILT_IN).is_ok());
    let page = String::from_utf8(Page::default().render(&facts()).to_vec()).unwrap();
    for fact in ["www.example.com", "games?id=7", "no games", "working hours", "192.0.2.7"] {
        assert!(page.contains(fact), "{fact}");
    }
    assert_eq!(page.matches("1234567890123456").count(), 2);
    let nobody_says_why = PageFacts { rule: "", reason: "", category: "", ..facts() };
    let page = String::from_utf8(Page::default().render(&nobody_says_why).to_vec()).unwrap();
    assert!(!page.contains("Blocked by rule") && !page.contains("Category"), "{page}");
    assert!(page.contains("The rules of your network say so."));
}

/// Nothing is fetched, nothing runs, and nobody's index has it.
#[test]
fn the_built_in_page_is_complete_in_itself() {
    let page = Page::BUILT_IN;
    for outside in ["http:", "https:", "//", "src=", "href=", "url(", "@import", "<script", "onload"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains(r#"<meta name="robots" content="noindex">"#));
    assert!(page.contains(r#"<meta name="color-scheme" content="light dark">"#));
    assert!(Page::HEADERS.contains(&("cache-control", "no-store")));
}

#[test]
fn what_a_client_asks_for_is_never_markup() {
    let hostile = PageFacts {
        url: HOSTILE,
        host: HOSTILE,
        method: HOSTILE,
        rule: HOSTILE,
        reason: HOSTILE,
        category: HOSTILE,
        client: IpAddr::from([192, 0, 2, 7]),
        event: HOSTILE,
    };
    let page = String::from_utf8(Page::default().render(&hostile).to_vec()).unwrap();
    assert!(!page.contains("<script") && !page.contains("alert('") && !page.contains('\u{202e}'), "{page}");
    assert!(!page.contains('\u{0}'));
    for template in [
        r#"<a title="{{ url }}">{{ rule }}</a>"#,
        r#"{% autoescape false %}<a title="{{ url }}">{% endautoescape %}"#,
        r#"{% set copied = url %}<a title="{{ copied }}">"#,
        r#"{% set copied %}{{ url }}{% endset %}<a title="{{ copied }}">"#,
        r#"{% autoescape false %}{% set copied %}{{ url }}{% endset %}<a title="{{ copied }}">{% endautoescape %}"#,
        r#"<a title="{{ url | escape }}">"#,
        r#"<a title="{{ url[1:] ~ host }}">"#,
        r#"<a title="{{ [url, host] }}">"#,
        r#"<a title="{{ {"url": url} }}">"#,
        r#"{% for each in [url] %}<a title="{{ each }}">{% endfor %}"#,
    ] {
        let page = rendered(template, &hostile);
        let (_, text) = page.split_once("title=\"").unwrap();
        let (inside, after) = text.split_once("\">").unwrap();
        assert!(!inside.contains(['<', '>', '\'']) && !after.contains("<script"), "{template}: {page}");
    }
}

#[test]
fn escaping_cannot_be_turned_off() {
    assert!(refused("\n{{ url | safe }}").message.contains("safe"));
}

#[test]
fn a_fault_has_its_line_and_says_what_it_is() {
    let unknown = refused("<p>\n\n{{ urll }}");
    assert_eq!(unknown.line, Some(3));
    assert!(unknown.message.contains("\"urll\"") && unknown.message.contains("url, host"), "{unknown}");
    assert_eq!(unknown.to_string(), format!("line 3: {}", unknown.message));
    // Also where no page comes by.
    let unseen = refused("{% if rule == 'never' %}\n{{ rulle }}{% endif %}");
    assert_eq!(unseen.line, Some(2), "{unseen}");
    for (template, line) in [
        ("<p>\n{{ url", 2),
        ("\n\n{% if rule %}", 3),
        ("{% for %}", 1),
        ("a\n{{ url | upper }}", 2),
        ("a\n{{ url.path }}", 2),
        ("{{ url() }}", 1),
        ("\n{{ url + 1 }}", 2),
        ("\n{% include 'other.html' %}", 2),
        ("{{ 'never closed }}", 1),
        ("{{ 1 / 0 }}", 1),
    ] {
        let error = refused(template);
        assert_eq!(error.line, Some(line), "{template}: {error}");
        assert!(!error.message.is_empty());
    }
}

#[test]
fn a_template_that_is_too_long_is_refused() {
    assert!(Page::new(&"x".repeat(MAX_TEMPLATE)).is_ok());
    let error = refused(&"x".repeat(MAX_TEMPLATE + 1));
    assert_eq!(error, PageError { line: None, message: "expected at most 65536 bytes, found 65537".into() });
}

/// What is tried with the longest facts, each character of them written as six, holds for all others.
#[test]
fn no_page_is_longer_than_the_bound() {
    let ten_urls = "{{ url }}".repeat(10);
    let longest = "/".repeat(100_000);
    let page = rendered(&ten_urls, &PageFacts { url: &longest, ..facts() });
    assert_eq!(page.len(), 10 * 6 * MAX_URL);
    let eleven = refused(&"{{ url }}\n".repeat(11));
    assert_eq!(eleven.message, "expected a page of at most 65536 bytes");
    // Not in characters of several bytes either.
    let wide = "\u{1f600}".repeat(100_000);
    assert_eq!(rendered(&ten_urls, &PageFacts { url: &wide, ..facts() }).len(), 10 * 4 * MAX_URL);
}

#[test]
fn a_template_that_takes_too_long_is_refused() {
    let nested = "{% for a in url %}{% for b in url %}{% for c in url %}{% endfor %}{% endfor %}{% endfor %}";
    let error = refused(nested);
    assert_eq!(error.message, "expected a template that takes less time to render", "{error}");
    assert!(Page::new(&"{{ 'x' * 10000000 }}".repeat(2)).is_err());
    assert!(Page::new(&format!("{{{{ {}url{} }}}}", "(".repeat(10_000), ")".repeat(10_000))).is_err());
    assert!(Page::new(&format!("{}{}", "{% if rule %}".repeat(2_000), "{% endif %}".repeat(2_000))).is_err());
}

/// On a path that neither of the tried facts takes.
#[test]
fn a_template_that_fails_later_still_says_why() {
    let page = rendered(
        "{% if rule == 'a' %}{{ rule.b.c }}{% endif %}",
        &PageFacts { rule: "a", url: HOSTILE, ..facts() },
    );
    assert!(page.contains("This page is blocked.") && page.contains("1234567890123456"), "{page}");
    assert!(page.contains("Rule: a") && !page.contains("<script"), "{page}");
}
