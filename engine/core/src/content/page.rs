//! The page that a client gets instead of what policy blocks: a template, checked when it is loaded.
//!
//! What stands in a page comes from whoever is blocked, so each fact is escaped for HTML whatever the template says, and cut to a
//! length. A template that fits the longest facts fits all others: a page costs no more than was tried when it was loaded.

use std::fmt::{self, Write};
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use bytes::Bytes;
use minijinja::{Environment, ErrorKind, HtmlEscape, UndefinedBehavior, Value, context};

/// Longest template, in bytes.
const MAX_TEMPLATE: usize = 64 * 1024;
/// Longest page, in bytes: what one answer may put into the leg to a client.
const MAX_PAGE: usize = 64 * 1024;
/// Longest URL that a page shows, in characters.
const MAX_URL: usize = 1024;
/// Longest of the other facts, in characters. Names of rules and of hosts are shorter.
const MAX_FACT: usize = 256;
/// Steps of one rendering, each an operation or 64 bytes: some 25 times what the built-in page takes with the longest facts. A worker
/// waits for it.
const FUEL: u64 = 10_000;

/// By this name the environment knows the template; nobody sees it.
const NAME: &str = "page";

/// A compiled template of block pages. `{{ rule }}` and the other [`PageFacts`] are its variables.
pub struct Page {
    environment: Environment<'static>,
}

/// What a page can say. Texts are cut to 256 characters, the URL to 1024.
#[derive(Clone, Copy, Debug)]
pub struct PageFacts<'a> {
    /// What the client asked for, `https://example.com/path`; without a path where that was not heard.
    pub url: &'a str,
    /// Its host.
    pub host: &'a str,
    /// Method of the request; empty if none was read.
    pub method: &'a str,
    /// Name of the rule that blocked it; empty: the default.
    pub rule: &'a str,
    /// Why, in words; empty: because the rule says so.
    pub reason: &'a str,
    /// The list or kind of content that the rule is about; empty: none.
    pub category: &'a str,
    /// Address of the client.
    pub client: IpAddr,
    /// What the log has the event under: the `flow_id`, or what else tells the request from others.
    pub event: &'a str,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageError {
    /// Line of the template, from 1; none: the template as a whole.
    pub line: Option<usize>,
    /// What was expected, and what was found.
    pub message: String,
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for PageError {}

impl Page {
    /// Header fields that belong to a page, beside its length: it is not to be stored, indexed or guessed at, and nothing in it
    /// runs, whatever template and facts say.
    pub const HEADERS: &'static [(&'static str, &'static str)] = &[
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        (
            "content-security-policy",
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'",
        ),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-robots-tag", "noindex"),
    ];

    /// The built-in template: to look at, and to begin one's own with.
    pub const BUILT_IN: &'static str = include_str!("page.html");

    /// Compiles a template, and tries it: with facts that are as long as they may be, and with such as are missing.
    ///
    /// # Errors
    /// It is too long, is no template, names what there is not, or its page would be too long or too costly.
    pub fn new(text: &str) -> Result<Self, PageError> {
        if text.len() > MAX_TEMPLATE {
            let message = format!("expected at most {MAX_TEMPLATE} bytes, found {}", text.len());
            return Err(PageError { line: None, message });
        }
        let page = Self::compile(text).map_err(|error| PageError::new(&error))?;
        page.check_variables(text)?;
        let (long, url) = ("'".repeat(MAX_FACT), "/".repeat(MAX_URL));
        let longest = PageFacts {
            url: &url,
            host: &long,
            method: &long,
            rule: &long,
            reason: &long,
            category: &long,
            client: IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
            event: &long,
        };
        let (url, host, event) = ("https://example.com/", "example.com", "1");
        let none = PageFacts { url, host, event, method: "", rule: "", reason: "", category: "", ..longest };
        for facts in [longest, none] {
            page.try_render(&facts).map_err(|error| PageError::new(&error))?;
        }
        Ok(page)
    }

    /// The text of its template.
    pub fn template(&self) -> String {
        let template = self.environment.get_template(NAME);
        template.map_or_else(|_| String::new(), |template| template.source().to_owned())
    }

    fn compile(text: &str) -> Result<Self, minijinja::Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        // Escaped always: neither a filter nor a block of the template turns it off.
        environment.remove_filter("safe");
        environment.set_formatter(|out, _, value| {
            let text = value.to_string();
            if value.is_safe() {
                out.write_str(&text)?
            } else {
                write!(out, "{}", HtmlEscape(&text))?
            }
            Ok(())
        });
        environment.add_template_owned(NAME, text.to_owned())?;
        Ok(Self { environment })
    }

    /// A name that is not known is a fault also where no rendering comes by.
    fn check_variables(&self, text: &str) -> Result<(), PageError> {
        let template = self.environment.get_template(NAME).map_err(|error| PageError::new(&error))?;
        let mut unknown: Vec<_> = template.undeclared_variables(false).into_iter().collect();
        unknown.retain(|name| !VARIABLES.contains(&name.as_str()));
        unknown.sort_unstable();
        let Some(name) = unknown.first() else { return Ok(()) };
        let line = text.lines().position(|line| has_word(line, name)).map(|at| at + 1);
        let message = format!("expected one of {}, found the variable {name:?}", VARIABLES.join(", "));
        Err(PageError { line, message })
    }

    /// The page for these facts, in UTF-8 and at most 64 KiB.
    ///
    /// A template that fails only now, on a path that was not tried when it was loaded, is replaced by the built-in words without
    /// any markup: the client learns why in any case.
    pub fn render(&self, facts: &PageFacts<'_>) -> Bytes {
        self.try_render(facts).unwrap_or_else(|_| plain(facts)).into()
    }

    fn try_render(&self, facts: &PageFacts<'_>) -> Result<Vec<u8>, minijinja::Error> {
        let mut out = Bounded(Vec::new());
        self.environment.get_template(NAME)?.render_captured_to(facts.values(), &mut out)?;
        Ok(out.0)
    }
}

impl Default for Page {
    /// The built-in one.
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "a test renders the built-in template")]
        Self::compile(Self::BUILT_IN).expect("the built-in template compiles")
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Page")
    }
}

/// The names of [`PageFacts`] in a template.
const VARIABLES: &[&str] = &["url", "host", "method", "rule", "reason", "category", "client", "event"];

impl PageFacts<'_> {
    /// As variables of a template.
    fn values(&self) -> Value {
        let Self { url, host, method, rule, reason, category, client, event } = *self;
        let fact = |text| shown(text, MAX_FACT);
        context! {
            url => shown(url, MAX_URL),
            host => fact(host),
            method => fact(method),
            rule => fact(rule),
            reason => fact(reason),
            category => fact(category),
            client => client.to_string(),
            event => fact(event),
        }
    }
}

impl PageError {
    fn new(error: &minijinja::Error) -> Self {
        let what = match error.kind() {
            ErrorKind::OutOfFuel => "expected a template that takes less time to render".to_owned(),
            ErrorKind::WriteFailure => format!("expected a page of at most {MAX_PAGE} bytes"),
            kind => error.detail().map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}")),
        };
        Self { line: error.line(), message: what }
    }
}

/// The first characters of a text, without those that control how the text around them looks.
fn shown(text: &str, most: usize) -> String {
    let is_format =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let seen = |c: char| if c.is_control() || is_format(c) { '\u{fffd}' } else { c };
    text.chars().take(most).map(seen).collect()
}

/// A line has this name as a word of its own.
fn has_word(line: &str, name: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
}

/// The same facts without a template.
fn plain(facts: &PageFacts<'_>) -> Vec<u8> {
    let PageFacts { url, rule, reason, event, .. } = *facts;
    let mut page =
        String::from("<!doctype html><meta charset=utf-8><title>Blocked</title><p>This page is blocked.");
    for (what, text, most) in [
        ("Address", url, MAX_URL),
        ("Rule", rule, MAX_FACT),
        ("Reason", reason, MAX_FACT),
        ("Event", event, MAX_FACT),
    ] {
        // Writing to a string does not fail.
        let _ = write!(page, "<p>{what}: {}", HtmlEscape(&shown(text, most)));
    }
    page.into()
}

/// Takes no more than a page.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_PAGE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
