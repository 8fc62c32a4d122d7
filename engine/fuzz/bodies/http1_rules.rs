//! Rules and changes of heads on HTTP/1: what arrives on each side is read by another reader, and is what was sent, less what rules take
//! and with what they set; and it is the same in whatever pieces the bytes come.

use std::sync::Arc;

use wireglass_core::content::{Fate, Filters as _, Opened, Ready, Report, RuleFilters, Stage};
use wireglass_core::end::{End, PerEnd};
use wireglass_core::policy::{
    ConnectionFacts, ContentAction, ContentPolicy, ContentRule, DecryptedFlow, Direction, FieldEdit,
    HeaderRule, Hold, Inspect, Lists, Profile, Respond,
};
use wireglass_core::reason::Reason;

/// A field that only answers of ours have.
const OWN: &[u8] = b"\r\ncache-control: no-store\r\n";

/// One end says something.
type Said = (End, Vec<u8>);

/// What arrives, and what was decided on the way.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    to: PerEnd<Vec<u8>>,
    ending: Option<(Reason, bool)>,
    /// Rule, reason and sender.
    alerts: Vec<(Option<Arc<str>>, Reason, End)>,
}

fn policy(has_edits: bool, (inspects, of_requests): (bool, bool)) -> ContentPolicy {
    let rule = |name: &str, action, change: fn(&mut ContentRule)| {
        let mut rule = ContentRule::new(name, action);
        change(&mut rule);
        rule
    };
    let inspect = Inspect { hold: Some(Hold::All), ..Inspect::default() };
    let mut rules = vec![
        rule("allowed", ContentAction::Allow, |rule| rule.path = vec!["/ok*".parse().unwrap()]),
        rule("delete", ContentAction::Block(Respond::Page), |rule| rule.method = vec!["DELETE".into()]),
        rule("reset", ContentAction::Block(Respond::Reset), |rule| {
            rule.query = vec!["reset".parse().unwrap()]
        }),
        rule("told", ContentAction::Alert, |rule| rule.method = vec!["POST".into()]),
        rule("type", ContentAction::Block(Respond::Status(451)), |rule| {
            rule.direction = Some(Direction::Response);
            rule.content_type = vec!["bad/*".parse().unwrap()];
        }),
    ];
    if of_requests {
        rules.insert(
            0,
            rule("uploads", ContentAction::Inspect(inspect.clone()), |rule| {
                rule.direction = Some(Direction::Request)
            }),
        );
    }
    if inspects {
        rules.push(ContentRule::new("files", ContentAction::Inspect(inspect)));
    }
    let header = |direction, edits| HeaderRule {
        profile: Vec::new(),
        host: vec!["a".parse().unwrap()],
        host_list: None,
        direction,
        edits,
    };
    let headers =
        [header(Direction::Request, request_edits()), header(Direction::Response, response_edits())];
    let policy = ContentPolicy::compile(&rules, Arc::new(Lists::default()));
    if has_edits { policy.with_headers(&headers) } else { policy }
}

fn request_edits() -> Vec<FieldEdit> {
    vec![FieldEdit::Remove("x-secret".into()), FieldEdit::Set("X-Tenant".into(), "corp".into())]
}

fn response_edits() -> Vec<FieldEdit> {
    vec![FieldEdit::Remove("alt-svc".into())]
}

fn relay(
    (has_edits, inspects): (bool, (bool, bool)),
    said: &[Said],
    mut piece: impl FnMut() -> usize,
) -> Outcome {
    let flow = DecryptedFlow {
        profile: Arc::new(Profile::default()),
        sni: Some("a".into()),
        certificate_names: Vec::new(),
        client: ([192, 0, 2, 1], 1000).into(),
        server: ([192, 0, 2, 2], 443).into(),
        flow_id: 1,
        connection: ConnectionFacts::default(),
    };
    let filters = RuleFilters::new(Arc::new(policy(has_edits, inspects)), Arc::default());
    let mut stage: Stage<Vec<u8>> = Stage::new(filters.filter(&Arc::new(flow), Some(b"http/1.1")).unwrap());
    let mut outcome = Outcome::default();
    for (from, bytes) in said {
        let mut rest = &bytes[..];
        while !rest.is_empty() && outcome.ending.is_none() {
            let next = rest.split_off(..piece().clamp(1, rest.len().min(16_384))).unwrap();
            match stage.plaintext(*from, next) {
                Fate::Pass => outcome.to[from.other()].extend_from_slice(next),
                Fate::Keep => {
                    let mut block = next.to_vec();
                    block.resize(next.len().max(2048), 0);
                    let end = block.len();
                    stage.keep(*from, Opened { block, at: 0, len: next.len(), end });
                }
            }
            take(&mut stage, &mut outcome.to);
            while let Some((question, scan)) = stage.poll_question() {
                stage.verdict(question, scan.run());
                take(&mut stage, &mut outcome.to);
            }
            while let Some(report) = stage.poll_report() {
                if let Report::Alert(alert) = report {
                    outcome.alerts.push((alert.rule, alert.reason, alert.from));
                }
            }
            outcome.ending = stage.ending().map(|ending| (ending.reason, ending.orderly));
        }
    }
    outcome
}

fn take(stage: &mut Stage<Vec<u8>>, to: &mut PerEnd<Vec<u8>>) {
    for from in End::BOTH {
        while let Some(Ready::Data(block, len)) = stage.next_ready(from, 0, |len| vec![0; len]) {
            to[from.other()].extend_from_slice(&block[..len]);
        }
    }
}

/// A message as httparse and a small reader of chunks have it.
#[derive(Clone, Debug, PartialEq)]
struct Message {
    method: String,
    status: u16,
    line: Vec<u8>,
    fields: Vec<(String, Vec<u8>)>,
    head: Vec<u8>,
    /// As it was sent, chunks and all.
    body: Vec<u8>,
    is_complete: bool,
}

impl Message {
    fn has(&self, name: &str, value: &str) -> bool {
        self.fields.iter().any(|(known, found)| known == name && found == value.as_bytes())
    }

    fn target(&self) -> &[u8] {
        self.line.split(|byte| *byte == b' ').nth(1).unwrap_or_default()
    }

    /// What is behind the first question mark.
    fn query(&self) -> Option<&[u8]> {
        self.target().splitn(2, |byte| *byte == b'?').nth(1)
    }

    fn is_of_ok(&self) -> bool {
        self.target().starts_with(b"/ok")
    }

    fn is_blocked(&self) -> bool {
        !self.is_of_ok() && (self.method.eq_ignore_ascii_case("DELETE") || self.query() == Some(b"reset"))
    }
}

/// All messages up to the first that is none. `methods`: of the requests that responses are to; none: these are requests.
fn read(mut bytes: &[u8], methods: Option<&[String]>) -> Vec<Message> {
    let (mut all, mut answered) = (Vec::new(), 0);
    loop {
        let mut room = [httparse::EMPTY_HEADER; 64];
        let (length, method, status, headers) = match methods {
            None => {
                let mut request = httparse::Request::new(&mut room);
                let Ok(httparse::Status::Complete(length)) = request.parse(bytes) else { return all };
                (length, request.method.unwrap().to_owned(), 0, request.headers)
            }
            Some(methods) => {
                let mut response = httparse::Response::new(&mut room);
                let Ok(httparse::Status::Complete(length)) = response.parse(bytes) else { return all };
                let method = methods.get(answered).cloned().unwrap_or_default();
                (length, method, response.code.unwrap(), response.headers)
            }
        };
        let fields: Vec<_> =
            headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect();
        let value = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| &value[..]);
        let rest = &bytes[length..];
        let has_none = methods.is_some() && (method == "HEAD" || matches!(status, 100..=199 | 204 | 304));
        let body = if has_none {
            Some(0)
        } else if value("transfer-encoding").is_some() {
            let Some(length) = chunked(rest, methods.is_some()) else { return all };
            length
        } else if let Some(length) = value("content-length") {
            std::str::from_utf8(length).ok().and_then(|text| text.trim().parse().ok())
        } else {
            methods.is_none().then_some(0)
        };
        let is_complete = body.is_some_and(|body| body <= rest.len());
        let body = body.unwrap_or(rest.len()).min(rest.len());
        let line = bytes.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default();
        all.push(Message {
            method,
            status,
            line: line.trim_ascii_end().to_vec(),
            fields: fields.clone(),
            head: bytes[..length].to_vec(),
            body: rest[..body].to_vec(),
            is_complete,
        });
        answered += usize::from(!(100..200).contains(&status));
        bytes = &rest[body..];
        if !is_complete || bytes.is_empty() {
            return all;
        }
    }
}

/// Bytes of all chunks and trailers, if they are all there (RFC 9112, 7.1). None: they are none, as `9 x` for a size.
fn chunked(bytes: &[u8], is_response: bool) -> Option<Option<usize>> {
    let mut at = 0;
    // Servers' lines may end without CR (RFC 9112, 2.2).
    let line = |at: usize| bytes[at..].iter().position(|byte| *byte == b'\n').map(|end| at + end + 1);
    loop {
        // Where a server leaves out CR, this reader takes the next line for a part of it. Browsers and curl do not.
        if is_response && line(at).is_some_and(|end| !bytes[at..end].ends_with(b"\r\n")) {
            return None;
        }
        let (used, size) = match httparse::parse_chunk_size(&bytes[at..]) {
            Ok(httparse::Status::Complete(chunk)) => chunk,
            Ok(httparse::Status::Partial) => return Some(None),
            Err(_) => return None,
        };
        at += used;
        if size == 0 {
            break;
        }
        let end = usize::try_from(size).ok().and_then(|size| at.checked_add(size)?.checked_add(2));
        let Some(end) = end.filter(|end| *end <= bytes.len()) else { return Some(None) };
        at = end;
    }
    loop {
        let Some(end) = line(at) else { return Some(None) };
        if matches!(&bytes[at..end], b"\r\n" | b"\n") {
            return Some(Some(end));
        }
        at = end;
    }
}

/// The fields that should arrive.
fn edited(message: &Message, edits: &[FieldEdit]) -> Vec<(String, Vec<u8>)> {
    let is_kept = |name: &str| !edits.iter().any(|edit| edit.name().eq_ignore_ascii_case(name));
    let mut fields: Vec<_> = message.fields.iter().filter(|(name, _)| is_kept(name)).cloned().collect();
    for edit in edits {
        if let FieldEdit::Set(name, value) = edit {
            fields.push((name.to_ascii_lowercase(), value.as_bytes().to_vec()));
        }
    }
    fields
}

/// What has arrived is what was sent, message by message, as far as the reader can read what was sent in `bytes`: a field that it refuses
/// may be one that is removed.
fn compare(arrived: &[Message], (sent, bytes): (&[Message], usize), edits: &[FieldEdit]) {
    assert!(
        arrived.len() <= sent.len() || length(sent) < bytes,
        "more has arrived than was sent: {arrived:?}"
    );
    for (arrived, sent) in arrived.iter().zip(sent) {
        let stays = edits.is_empty() || (100..200).contains(&sent.status);
        if stays {
            assert_eq!(arrived.head, sent.head);
        } else {
            assert_eq!((&arrived.line, &arrived.fields), (&sent.line, &edited(sent, edits)));
        }
        if arrived.is_complete {
            assert_eq!(arrived.body, sent.body, "{arrived:?}");
        } else {
            assert!(sent.body.starts_with(&arrived.body), "{arrived:?}");
        }
    }
}

/// Takes octets of the input, and nought behind its end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    fn one_of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[usize::from(self.byte()) % texts.len()]
    }

    /// Fields and content of a message.
    fn rest(&mut self, own: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..self.byte() % 4 {
            out.extend(self.one_of(own).bytes());
        }
        let length = self.byte();
        let content = vec![b'x'; usize::from(length)];
        match self.byte() % 3 {
            0 => out.extend(b"\r\n"),
            1 => {
                out.extend(format!("Content-Length: {length}\r\n\r\n").bytes());
                out.extend(content);
            }
            _ => {
                out.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in content.chunks(1 + usize::from(self.byte())) {
                    out.extend(format!("{:x}{}\r\n", chunk.len(), self.one_of(&["", ";e=1"])).bytes());
                    out.extend([chunk, b"\r\n"].concat());
                }
                out.extend(format!("0\r\n{}\r\n", self.one_of(&["", "T: 1\r\n"])).bytes());
            }
        }
        out
    }

    fn request(&mut self) -> Vec<u8> {
        let method = self.one_of(&["GET", "POST", "HEAD", "DELETE", "PUT"]);
        let target = self.one_of(&["/", "/a", "/ok", "/a?reset", "/a/../b"]);
        let fields =
            ["x-secret: 1\r\n", "X-Secret:2 \r\n", "Cookie: c=1\r\n", "x-tenant: own\r\n", "A: b\r\n"];
        let rest = self.rest(&fields);
        [format!("{method} {target} HTTP/1.1\r\nHost: a\r\n").as_bytes(), &rest].concat()
    }

    fn response(&mut self) -> Vec<u8> {
        let status = self.one_of(&["200 OK", "404 No", "304 Same", "103 Early", "204 None"]);
        let fields = ["Alt-Svc: h3\r\n", "alt-svc:x\r\n", "Content-Type: bad/x\r\n", "Set-Cookie: c\r\n"];
        let (has_content, rest) =
            (!status.starts_with(['1', '3']) && !status.starts_with("204"), self.rest(&fields));
        if has_content {
            return [format!("HTTP/1.1 {status}\r\n").as_bytes(), &rest].concat();
        }
        format!("HTTP/1.1 {status}\r\nAlt-Svc: h3\r\n\r\n").into_bytes()
    }
}

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (kind, mut cut) = (input.byte(), u32::from(input.byte()));
    let (has_edits, inspects) = (kind & 1 == 1, (kind & 2 == 2, kind & 4 == 4));
    let mut said = Vec::new();
    while !input.0.is_empty() && said.len() < 24 {
        let how = input.byte();
        let (from, mut bytes) =
            if how & 1 == 0 { (End::Client, input.request()) } else { (End::Server, input.response()) };
        match how >> 4 {
            // Anything, in its place.
            0 => bytes = (0..how & 0xf).map(|_| input.byte()).collect(),
            // A byte of it is another one.
            1 => {
                let place = usize::from(input.byte()) % bytes.len();
                bytes[place] = input.byte();
            }
            _ => {}
        }
        said.push((from, bytes));
    }
    let outcome = relay((has_edits, inspects), &said, || usize::MAX);
    let in_pieces = relay((has_edits, inspects), &said, || {
        cut = cut.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        1 + (cut >> 16) as usize % 40
    });
    assert_eq!(
        (in_pieces.ending, &in_pieces.alerts),
        (outcome.ending, &outcome.alerts),
        "in pieces, and as a whole"
    );
    let is_reset = outcome.ending.is_some_and(|(_, is_orderly)| !is_orderly);
    for end in End::BOTH {
        let (one, other) = (&in_pieces.to[end], &outcome.to[end]);
        // What has come of a body before the flow is reset has gone on. So has a request that was held, where the server has answered it
        // already: in one piece with a request that is refused it would wait for its verdict, and goes nowhere.
        let may_differ = is_reset || end == End::Server && has_own_answer(&outcome.to.client);
        assert!(
            one == other || may_differ && (one.starts_with(other) || other.starts_with(one)),
            "{one:?}\n{other:?}"
        );
    }
    // In pieces more has gone on, and it has to be right, too.
    let outcome = in_pieces;
    // Policy lets pass what is no HTTP: nobody reads that here.
    if outcome.alerts.iter().any(|(_, reason, _)| *reason == Reason::ContentOpaque) {
        return;
    }
    check(has_edits, &said, &outcome);
}

/// An answer of ours is in what the client got.
fn has_own_answer(bytes: &[u8]) -> bool {
    bytes.windows(OWN.len()).any(|window| window == OWN)
}

/// Bytes of messages.
fn length(messages: &[Message]) -> usize {
    messages.iter().map(|message| message.head.len() + message.body.len()).sum()
}

fn check(has_edits: bool, said: &[Said], outcome: &Outcome) {
    let stream =
        |end| said.iter().filter(move |(from, _)| *from == end).flat_map(|(_, bytes)| bytes).copied();
    let edits = |edits: fn() -> Vec<FieldEdit>| if has_edits { edits() } else { Vec::new() };
    let bytes: Vec<u8> = stream(End::Client).collect();
    let requests = read(&bytes, None);
    let arrived = read(&outcome.to.server, None);
    if let Some(blocked) = arrived.iter().find(|message| message.is_blocked()) {
        panic!("the server has got what is blocked: {blocked:?}");
    }
    compare(&arrived, (&requests, bytes.len()), &edits(request_edits));
    if length(&arrived) < outcome.to.server.len() || arrived.last().is_some_and(|last| !last.is_complete) {
        // httparse refuses what servers take, as control characters in values: what responses are to is not known.
        return;
    }
    // Here a server may answer a request that is still held; and of what has arrived, fields that httparse refuses may be gone.
    let requests = if arrived.len() < requests.len() { requests } else { arrived };
    let methods: Vec<_> = requests.iter().map(|message| message.method.clone()).collect();
    let bytes: Vec<u8> = stream(End::Server).collect();
    let sent = read(&bytes, Some(&methods));
    let mut arrived = read(&outcome.to.client, Some(&methods));
    // An answer of ours is the last thing that is said.
    let own = arrived.iter().position(|message| message.has("cache-control", "no-store"));
    if let Some(own) = own {
        assert_eq!(own + 1, arrived.len(), "{arrived:?}");
        arrived.pop();
    }
    let is_bad = |message: &Message| {
        message.fields.iter().any(|(name, value)| name == "content-type" && value.starts_with(b"bad/"))
    };
    // The first rule that matches wins: no response changes that.
    let is_told = |request: &Message| request.method.eq_ignore_ascii_case("POST") || request.is_of_ok();
    let is_decided = |n: usize| requests.get(n).is_some_and(is_told);
    let mut n = 0;
    for message in &arrived {
        assert!(!is_bad(message) || is_decided(n) || (100..200).contains(&message.status), "{message:?}");
        n += usize::from(!(100..200).contains(&message.status));
    }
    compare(&arrived, (&sent, bytes.len()), &edits(response_edits));
}
