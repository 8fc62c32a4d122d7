//! The filter that answers in the place of a server that is blocked: whatever is asked, with the page.
//!
//! One answer ends the connection, so that what a client says behind its first request is nobody's to read.

use std::net::SocketAddr;
use std::sync::Arc;

use tcp_stack::Instant;

use super::HttpInspector;
use super::filter::{Decisions, Ending, Filter, Report, Verdict};
use super::http1_head::Lines;
use super::page::{Page, PageFacts};
use super::text::{MAX_METHOD, MAX_URL, clip};
use crate::end::End;
use crate::event::Text;
use crate::reason::Reason;

/// Bytes of a request's head after which it is answered as it is: as many as servers take.
const MAX_HEAD: usize = 64 * 1024;

/// The application protocols that can be answered, the preferred first.
const PROTOCOLS: [&[u8]; 1] = [b"http/1.1"];

/// A flow that is blocked and to be answered.
#[derive(Clone, Debug)]
pub struct BlockedFlow {
    /// Name that the client asked for.
    pub host: Box<str>,
    /// The end that sent the SYN.
    pub client: SocketAddr,
    /// The end that it was sent to.
    pub server: SocketAddr,
    /// Name of the rule; none: the default.
    pub rule: Option<Arc<str>>,
    /// As in all events of the flow.
    pub flow_id: u64,
}

impl BlockedFlow {
    /// Bytes of memory that it holds beside its own size; the rule's name is the policy's.
    pub(crate) fn text_bytes(&self) -> usize {
        let Self { host, client: _, server: _, rule: _, flow_id: _ } = self;
        host.len()
    }

    /// The application protocol in which a client with this offer is answered. `Some(None)`: it offers none, and speaks
    /// HTTP/1.1 then. `None`: it cannot be answered.
    pub fn protocol(offer: &[Box<[u8]>]) -> Option<Option<Box<[u8]>>> {
        if offer.is_empty() {
            return Some(None);
        }
        let found = PROTOCOLS.into_iter().find(|ours| offer.iter().any(|theirs| **theirs == **ours))?;
        Some(Some(found.into()))
    }

    /// What answers it, once its client's handshake has ended.
    pub fn answer(self, page: Arc<Page>) -> Box<dyn Filter> {
        Box::new(PageAnswer {
            flow: self,
            page,
            lines: Lines::default(),
            request: None,
            head: 0,
            answered: false,
            inspector: HttpInspector::new(Some(PROTOCOLS[0])),
        })
    }

    /// `https://host` and what follows it, as far as the request says.
    fn url(&self, target: &str) -> String {
        let port = match self.server.port() {
            443 => String::new(),
            port => format!(":{port}"),
        };
        let path = if target.starts_with('/') { target } else { "/" };
        format!("https://{}{port}{path}", self.host)
    }
}

/// Answers the first request.
struct PageAnswer {
    flow: BlockedFlow,
    page: Arc<Page>,
    lines: Lines,
    /// Method and target.
    request: Option<(Text, Text)>,
    /// Bytes of the head so far.
    head: usize,
    answered: bool,
    /// Reads request and answer for the log.
    inspector: HttpInspector,
}

impl PageAnswer {
    /// True: the head is complete, or as good as.
    fn read(&mut self, mut bytes: &[u8]) -> bool {
        self.head += bytes.len();
        while let Some(line) = self.lines.next(&mut bytes) {
            match &self.request {
                // Empty lines before a request are passed over (RFC 9112, 2.2).
                None if line.text.is_empty() => {}
                None => self.request = Some(request(&line.text)),
                Some(_) if line.text.is_empty() => return true,
                Some(_) => {}
            }
        }
        self.head > MAX_HEAD
    }

    fn answer(&self) -> Vec<u8> {
        let (method, target) = self.request.as_ref().map_or(("", ""), |(method, target)| (method, target));
        let page = self.page.render(&PageFacts {
            url: &self.flow.url(target),
            host: &self.flow.host,
            method,
            rule: self.flow.rule.as_deref().unwrap_or_default(),
            reason: "",
            category: "",
            client: self.flow.client.ip(),
            event: &self.flow.flow_id.to_string(),
        });
        let mut answer = format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\n", page.len());
        for (name, value) in Page::HEADERS {
            answer.extend([name, ": ", value, "\r\n"]);
        }
        answer.push_str("connection: close\r\n\r\n");
        let mut answer = answer.into_bytes();
        // RFC 9110 9.3.2.
        if method != "HEAD" {
            answer.extend_from_slice(&page);
        }
        answer
    }

    fn end(&mut self, decisions: &mut Decisions) {
        self.answered = true;
        self.lines = Lines::default();
        decisions.end(Ending { reason: Reason::PolicyBlock, orderly: true, resets_server: false });
    }
}

/// Method and target of a request line.
fn request(line: &[u8]) -> (Text, Text) {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let mut next = |most| clip(words.next().unwrap_or_default(), most);
    (next(MAX_METHOD), next(MAX_URL))
}

impl Filter for PageAnswer {
    fn plaintext(&mut self, from: End, bytes: &[u8], decisions: &mut Decisions) {
        decisions.drop(from, bytes.len());
        if self.answered {
            return;
        }
        self.inspector.bytes(from, bytes);
        if self.read(bytes) {
            let answer = self.answer();
            self.inspector.bytes(End::Server, &answer);
            decisions.insert(End::Server, answer);
            self.end(decisions);
        }
    }

    fn ended(&mut self, _: End, decisions: &mut Decisions) {
        self.end(decisions);
    }

    fn full(&mut self, _: End, _: &mut Decisions) {}

    fn verdict(&mut self, _: u64, _: Verdict, _: &mut Decisions) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: Instant, _: &mut Decisions) {}

    /// What it holds is bounded, and less than anybody would have to give back.
    fn out_of_memory(&mut self, _: End, _: &mut Decisions) {}

    fn memory(&self) -> usize {
        let Self { flow, page: _, lines, request, head: _, answered: _, inspector } = self;
        let request = request.as_ref().map_or(0, |(method, target)| method.capacity() + target.capacity());
        flow.text_bytes() + lines.memory() + request + inspector.memory()
    }

    fn awaits_end(&self) -> bool {
        false
    }

    fn finish(&mut self) {
        self.inspector.finish();
    }

    fn poll_report(&mut self) -> Option<Report> {
        if let Some(http) = self.inspector.poll_transaction() {
            return Some(Report::Http(http));
        }
        self.inspector.poll_anomaly().map(Report::Anomaly)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> BlockedFlow {
        BlockedFlow {
            host: "games.example".into(),
            client: ([10, 0, 0, 1], 40_000).into(),
            server: ([192, 0, 2, 9], 443).into(),
            rule: Some("no games".into()),
            flow_id: 77,
        }
    }

    /// What a client gets that says this, in pieces of so many bytes; and whether the flow has been ended.
    fn answered(flow: BlockedFlow, said: &[u8], piece: usize) -> (String, bool) {
        let mut filter = flow.answer(Arc::default());
        let mut decisions = Decisions { is_one_ended: true, ..Decisions::default() };
        for bytes in said.chunks(piece) {
            filter.plaintext(End::Client, bytes, &mut decisions);
            assert!(filter.memory() < 128 * 1024);
        }
        assert_eq!(decisions.covered[End::Client], said.len(), "nothing waits");
        let inserted = decisions.ops[End::Server].iter().map(|op| match op {
            super::super::filter::Op::Insert(bytes) => bytes.to_vec(),
            op => panic!("{op:?}"),
        });
        let text = String::from_utf8(inserted.collect::<Vec<_>>().concat()).unwrap();
        (
            text,
            decisions.ending
                == Some(Ending { reason: Reason::PolicyBlock, orderly: true, resets_server: false }),
        )
    }

    #[test]
    fn a_request_is_answered_once_however_it_is_cut() {
        let request = b"\r\nGET /a?b=<i> HTTP/1.1\r\nhost: other.example\r\n\r\nGET /second HTTP/1.1\r\n\r\n";
        let (whole, ended) = answered(flow(), request, usize::MAX);
        assert!(ended);
        let (head, page) = whole.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{head}");
        for field in
            [&format!("content-length: {}", page.len()), "cache-control: no-store", "connection: close"]
        {
            assert!(head.lines().any(|line| line == field), "{field} in {head}");
        }
        assert!(
            page.contains("https:&#x2f;&#x2f;games.example&#x2f;a?b=&lt;i&gt;") && page.contains("77"),
            "{page}"
        );
        assert!(page.contains("no games") && page.contains("10.0.0.1"));
        assert_eq!(whole.matches("HTTP/1.1 403").count(), 1);
        for piece in 1..60 {
            assert_eq!(answered(flow(), request, piece).0, whole, "in pieces of {piece}");
        }
    }

    #[test]
    fn head_gets_the_head() {
        let (answer, ended) = answered(flow(), b"HEAD / HTTP/1.1\n\n", 5);
        assert!(ended && answer.ends_with("\r\n\r\n") && !answer.contains("<html"), "{answer}");
        assert!(answer.contains("content-length: ") && !answer.contains("content-length: 0"), "{answer}");
    }

    #[test]
    fn what_never_ends_is_answered_all_the_same() {
        for said in [vec![b'x'; 200_000], b"GET / HTTP/1.1\r\n".repeat(20_000), b"\r\n".repeat(50_000)] {
            let (answer, ended) = answered(flow(), &said, 16_384);
            assert!(ended && answer.starts_with("HTTP/1.1 403"), "{answer}");
        }
        assert_eq!(answered(flow(), b"GET / HTTP/1.1\r\nhost: x\r\n", 7), (String::new(), false));
    }

    #[test]
    fn the_url_has_the_port_if_it_is_another() {
        let other = BlockedFlow { server: ([192, 0, 2, 9], 8443).into(), ..flow() };
        assert_eq!(other.url("/x"), "https://games.example:8443/x");
        assert_eq!(flow().url("http://elsewhere.example/"), "https://games.example/");
    }

    #[test]
    fn who_offers_no_http_1_cannot_be_answered() {
        let offer =
            |names: &[&str]| names.iter().map(|name| name.as_bytes().into()).collect::<Vec<Box<[u8]>>>();
        assert_eq!(BlockedFlow::protocol(&[]), Some(None));
        assert_eq!(BlockedFlow::protocol(&offer(&["h2", "http/1.1"])), Some(Some(b"http/1.1"[..].into())));
        assert_eq!(BlockedFlow::protocol(&offer(&["h2"])), None);
    }
}
