//! The relay of HTTP/2 between two ends that say anything: what arrives at each is read by a reader of its own, which must stay in step
//! with the sender's.

use std::collections::VecDeque;
use std::sync::Arc;

use wireglass_core::content::{
    Border, Borders, Exchange, Fate, Filters as _, FrameHead, HeadKind, HttpInspector, Opened, Ready,
    RuleFilters, Scan, Stage, What,
};
use wireglass_core::end::{End, PerEnd};
use wireglass_core::event::HttpEvent;
use wireglass_core::fields::{Field, Fields};
use wireglass_core::policy::{
    ConnectionFacts, ContentAction, ContentPolicy, ContentRule, DecryptedFlow, Direction, Hold, Inspect,
    Lists, Profile, Respond,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const WINDOW: i64 = 65_535;

/// A head, as a reader saw it.
#[derive(Debug, PartialEq)]
struct Head {
    stream: u32,
    kind: HeadKind,
    fields: Fields,
}

/// What a reader of both directions has seen.
#[derive(Default)]
struct Seen {
    coming: PerEnd<Fields>,
    heads: PerEnd<VecDeque<Head>>,
    /// Of a connection: credited and sent by each end.
    credited: PerEnd<i64>,
    sent: PerEnd<i64>,
    is_off: bool,
}

impl Borders for Seen {
    fn border(&mut self, border: &Border, _: Option<&mut HttpEvent>) {
        match border.what {
            What::HeadEnds(kind) => {
                let fields = std::mem::take(&mut self.coming[border.from]);
                self.heads[border.from].push_back(Head { stream: border.stream, kind, fields });
            }
            What::Off(_) => self.is_off = true,
            _ => {}
        }
    }

    fn field(&mut self, from: End, _: u32, field: Field<'_>) {
        self.coming[from].push(field);
    }

    fn frame(&mut self, from: End, frame: &FrameHead, payload: &[u8]) {
        if let (8, 0, Ok(octets)) = (frame.kind, frame.stream, payload.try_into()) {
            self.credited[from] += i64::from(u32::from_be_bytes(octets) & 0x7fff_ffff);
        }
    }

    fn data(&mut self, from: End, frame: &FrameHead, _: u32) -> Exchange {
        self.sent[from] += i64::from(frame.length);
        Exchange::GoesOn
    }
}

/// The relay with a reader before and one behind it.
struct Wire {
    stage: Stage<Vec<u8>>,
    readers: [(HttpInspector, Seen); 2],
    /// Who has never sent more than it was credited with.
    keeps_to_window: PerEnd<bool>,
    /// What threads are asked about bodies, and how many calls they let pass before they answer.
    questions: VecDeque<(u64, Box<dyn Scan>)>,
    calls: u8,
    patience: u8,
}

impl Wire {
    /// Bodies are looked at, and so much waits for that; none: they are not. Those of requests, too, or not.
    fn new(hold: Option<Hold>, of_requests: bool, patience: u8) -> Self {
        let block = |method: &str, respond| {
            let mut rule = ContentRule::new(method, ContentAction::Block(respond));
            rule.method = vec![method.into()];
            rule
        };
        let mut typed = ContentRule::new("type", ContentAction::Block(Respond::Page));
        typed.content_type = vec!["b".parse().unwrap()];
        let mut rules = vec![block("DELETE", Respond::Page), block("PATCH", Respond::Reset), typed];
        if hold.is_some() {
            let inspect = Inspect { hold, ..Inspect::default() };
            let files = ContentRule::new("files", ContentAction::Inspect(inspect));
            if of_requests {
                let direction = Some(Direction::Request);
                rules.push(ContentRule { name: "uploads".into(), direction, ..files.clone() });
            }
            rules.push(files);
        }
        let policy = ContentPolicy::compile(&rules, Arc::new(Lists::default()));
        let flow = DecryptedFlow {
            profile: Arc::new(Profile::default()),
            sni: Some("a".into()),
            certificate_names: Vec::new(),
            client: ([192, 0, 2, 1], 1000).into(),
            server: ([192, 0, 2, 2], 443).into(),
            flow_id: 1,
            connection: ConnectionFacts::default(),
        };
        let filter =
            RuleFilters::new(Arc::new(policy), Arc::default()).filter(&Arc::new(flow), Some(b"h2")).unwrap();
        let reader = || (HttpInspector::keeping_fields(Some(b"h2")), Seen::default());
        Self {
            stage: Stage::new(filter),
            readers: [reader(), reader()],
            keeps_to_window: PerEnd::both(true),
            questions: VecDeque::new(),
            calls: 0,
            patience,
        }
    }

    fn read(&mut self, which: usize, from: End, bytes: &[u8]) {
        let (reader, seen) = &mut self.readers[which];
        reader.bytes_with(from, bytes, seen);
        while reader.poll_transaction().is_some() {}
        while reader.poll_anomaly().is_some() {}
    }

    /// True: it goes on.
    fn send(&mut self, from: End, bytes: &[u8]) -> bool {
        self.read(0, from, bytes);
        if self.stage.plaintext(from, bytes) == Fate::Pass {
            self.read(1, from, bytes);
        } else {
            let opened = Opened { block: bytes.to_vec(), at: 0, len: bytes.len(), end: bytes.len() };
            self.stage.keep(from, opened);
        }
        self.take();
        self.calls = self.calls.wrapping_add(1);
        if self.calls.is_multiple_of(self.patience.max(1)) {
            while let Some((question, scan)) = self.questions.pop_front() {
                self.stage.verdict(question, scan.run());
                self.take();
            }
        }
        while self.stage.poll_report().is_some() {}
        if self.stage.ending().is_some() {
            return false;
        }
        self.check();
        true
    }

    fn take(&mut self) {
        for from in End::BOTH {
            while let Some(Ready::Data(block, len)) = self.stage.next_ready(from, 0, |len| vec![0; len]) {
                self.read(1, from, &block[..len]);
            }
        }
        self.questions.extend(std::iter::from_fn(|| self.stage.poll_question()));
    }

    fn check(&mut self) {
        let [(_, before), (_, behind)] = &mut self.readers;
        assert!(!before.is_off, "what cannot be read has gone on");
        assert!(!behind.is_off, "what has gone on cannot be read");
        for from in End::BOTH {
            while let Some(head) = behind.heads[from].pop_front() {
                let method = head.fields.value(":method");
                let is_blocked =
                    head.kind == HeadKind::Request && matches!(method, Some(b"DELETE" | b"PATCH"));
                assert!(!is_blocked, "{head:?}");
                // An answer of ours?
                if from == End::Server && head.fields.value("cache-control") == Some(b"no-store") {
                    continue;
                }
                let is_same = |sent: &Head| sent.stream == head.stream && sent.fields == head.fields;
                let sent = before.heads[from].iter().position(is_same);
                let Some(place) = sent else { panic!("nobody has sent {head:?}") };
                before.heads[from].remove(place);
            }
            while before.heads[from].len() > 1000 {
                before.heads[from].pop_front();
            }
        }
        for (from, to) in [(End::Server, End::Client), (End::Client, End::Server)] {
            self.keeps_to_window[from] &= WINDOW + behind.credited[to] >= before.sent[from];
            let within = WINDOW + before.credited[to] >= behind.sent[from];
            assert!(
                !self.keeps_to_window[from] || within,
                "{from:?} has kept to its window, and more goes on than the other end takes"
            );
        }
    }
}

/// Takes octets of the input, and nought behind its end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.byte()).collect()
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A block: mostly one that can be read, with entries of the tables and new ones.
fn block(from: End, choice: u8, input: &mut Input<'_>) -> Vec<u8> {
    let mut block = match (from, choice % 8) {
        (_, 7) => return input.bytes(usize::from(choice >> 3)),
        (End::Client, 0..=3) => vec![0x82, 0x87, 0x84, 0x41, 1, b'a'],
        (End::Client, 4) => b"\x02\x06DELETE\x87\x84\x01\x01a".to_vec(),
        (End::Client, 5) => b"\x42\x05PATCH\x87\x84\x01\x01a".to_vec(),
        (End::Client, _) => b"\x83\x87\x44\x02/xA\x01a".to_vec(),
        (End::Server, 0..=3) => vec![0x88],
        (End::Server, 4) => b"\x88\x5f\x01b".to_vec(),
        (End::Server, 5) => b"\x08\x03103".to_vec(),
        (End::Server, _) => Vec::new(),
    };
    for _ in 0..choice >> 6 {
        match input.byte() {
            // One that is new, and enters the table.
            name @ 0..=0x7f => block.extend([0x40, 1, b'b' + name % 24, 1, b'a' + name % 26]),
            // One that is in it, if the table is as long as that.
            index => block.push(0xbe + index % 8),
        }
    }
    block
}

/// A frame of one end.
fn any_frame(from: End, input: &mut Input<'_>) -> Vec<u8> {
    let (kind, flags, stream) = (input.byte(), input.byte(), u32::from(input.byte() % 16));
    let choice = input.byte();
    let value = u32::from(choice).pow(2);
    match kind % 16 {
        0..=5 => {
            let own = if from == End::Client || flags & 0x80 == 0 { stream * 2 + 1 } else { stream * 2 + 2 };
            frame(1, 4 | flags & 1, own, &block(from, choice, input))
        }
        6..=8 => frame(0, flags & 1, stream * 2 + 1, &vec![1; usize::from(choice) * 40]),
        9 => frame(3, 0, stream * 2 + 1, &8u32.to_be_bytes()),
        10 => frame(8, 0, 0, &(value + 1).to_be_bytes()),
        11 => frame(8, 0, stream * 2 + 1, &(value + 1).to_be_bytes()),
        12 if flags & 1 == 0 => {
            frame(4, 0, 0, &[&[0, 1 + 3 * (flags >> 7)][..], &value.to_be_bytes()].concat())
        }
        12 => frame(4, 1, 0, &[]),
        13 => frame(7, 0, 0, &[&value.to_be_bytes()[..], &[0; 4]].concat()),
        14 if from == End::Server => {
            let promised = (u32::from(flags) * 2).to_be_bytes();
            frame(5, 4, stream * 2 + 1, &[&promised[..], &block(End::Client, choice, input)].concat())
        }
        _ => {
            let (kind, len) = (input.byte(), usize::from(input.byte() % 32));
            frame(kind, flags, stream, &input.bytes(len))
        }
    }
}

pub fn run(data: &[u8]) {
    // By the end of the input, so that its beginning means what it has always meant.
    let last = data.last().copied().unwrap_or(0);
    let hold = [None, Some(Hold::All), Some(Hold::Tail), Some(Hold::None)][usize::from(last % 4)];
    let mut wire = Wire::new(hold, last / 32 % 2 == 1, last / 4 % 8);
    let mut input = Input(data);
    let hello = [PREFACE, &frame(4, 0, 0, &[]), &frame(1, 5, 1, b"\x82\x87\x84\x41\x01a")].concat();
    // A download that has nearly used up the client's window.
    let mut begun = [frame(4, 0, 0, &[]), frame(4, 1, 0, &[]), frame(1, 4, 1, &[0x88])].concat();
    (0..4).for_each(|_| begun.extend(frame(0, 0, 1, &[1; 16_000])));
    if !wire.send(End::Client, &hello) || !wire.send(End::Server, &begun) {
        return;
    }
    // What an end has yet to send of its last frames.
    let mut left = PerEnd::<Vec<u8>>::default();
    for _ in 0..200 {
        if input.0.is_empty() {
            return;
        }
        let how = input.byte();
        let from = if how & 1 == 0 { End::Client } else { End::Server };
        let mut bytes = std::mem::take(&mut left[from]);
        for _ in 0..(how >> 1) % 4 {
            bytes.extend(any_frame(from, &mut input));
        }
        // In pieces that have nothing to do with frames; the last one may come later.
        let step = match how >> 4 {
            0 => 2,
            step @ 1..=9 => usize::from(step) * 7,
            _ => 16_384,
        };
        let keeps_last = how & 8 != 0;
        let last = if keeps_last { bytes.len().saturating_sub(bytes.len() % step) } else { bytes.len() };
        let last = if keeps_last && last == bytes.len() { last.saturating_sub(3) } else { last };
        left[from] = bytes.split_off(last);
        for piece in bytes.chunks(step) {
            if !wire.send(from, piece) {
                return;
            }
        }
    }
}
