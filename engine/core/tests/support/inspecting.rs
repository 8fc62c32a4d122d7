//! A filter that has bodies looked at, the stage around it, and threads that answer when a test says so.

use std::collections::VecDeque;
use std::sync::Arc;

use md5::Md5;
use sha2::{Digest as _, Sha256};
use tcp_stack::{Duration, Instant};
use wireglass_core::content::{
    Ending, Fate, Filters, Opened, Ready, Report, RuleFilters, Scan, Stage, Verdict,
};
use wireglass_core::end::{End, PerEnd};
use wireglass_core::event::{AlertEvent, FileEvent};
use wireglass_core::policy::{
    ConnectionFacts, ContentAction, ContentPolicy, ContentRule, DecryptedFlow, Format, HashLists, Hold,
    Inspect, ListKind, Lists, ListsBuilder, Profile,
};

/// When threads answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// After each piece of plaintext.
    AtOnce,
    /// When all has been said.
    Last,
    Never,
    /// Their queue is full.
    Full,
    /// They break.
    Break,
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lists with the hashes of these files.
pub(crate) fn lists(by_sha256: &[&[u8]], by_md5: &[&[u8]]) -> (Arc<Lists>, HashLists) {
    let mut builder = ListsBuilder::new([7; 16]);
    let sha256 = builder.declare("malware", ListKind::Sha256).unwrap();
    let md5 = builder.declare("old", ListKind::Md5).unwrap();
    let lines: String = by_sha256.iter().map(|file| hex(&Sha256::digest(file)) + "  name.exe\n").collect();
    builder.read(sha256, Format::Plain, lines.as_bytes());
    let lines: String = by_md5.iter().map(|file| hex(&Md5::digest(file)) + "\n").collect();
    builder.read(md5, Format::Plain, lines.as_bytes());
    let mut asked = HashLists::default();
    asked.add_sha256(sha256);
    asked.add_md5(md5);
    (Arc::new(builder.build()), asked)
}

/// One rule that has everything looked at.
pub(crate) fn policy(hold: Option<Hold>, by_sha256: &[&[u8]], by_md5: &[&[u8]]) -> ContentPolicy {
    let (lists, hashes) = lists(by_sha256, by_md5);
    let inspect = Inspect { hashes, hold, ..Inspect::default() };
    ContentPolicy::compile(&[ContentRule::new("files", ContentAction::Inspect(inspect))], lists)
}

pub(crate) struct World {
    pub(crate) stage: Stage<Vec<u8>>,
    pub(crate) to_server: Vec<u8>,
    pub(crate) to_client: Vec<u8>,
    pub(crate) alerts: Vec<AlertEvent>,
    pub(crate) files: Vec<FileEvent>,
    pub(crate) ending: Option<Ending>,
    pub(crate) closed: PerEnd<bool>,
    pub(crate) now: Instant,
    pub(crate) room: usize,
    pub(crate) most_held: usize,
    pub(crate) pieces: usize,
    threads: Threads,
    jobs: VecDeque<(u64, Box<dyn Scan>)>,
}

impl World {
    pub(crate) fn new(policy: &Arc<ContentPolicy>, alpn: Option<&[u8]>, threads: Threads) -> Self {
        let flow = DecryptedFlow {
            profile: Arc::new(Profile::default()),
            sni: Some("a".into()),
            certificate_names: Vec::new(),
            client: "192.0.2.1:1000".parse().unwrap(),
            server: "192.0.2.2:443".parse().unwrap(),
            flow_id: 1,
            connection: ConnectionFacts::default(),
        };
        let filters = RuleFilters::new(Arc::clone(policy), Arc::default());
        Self {
            stage: Stage::new(filters.filter(&Arc::new(flow), alpn).unwrap()),
            to_server: Vec::new(),
            to_client: Vec::new(),
            alerts: Vec::new(),
            files: Vec::new(),
            ending: None,
            closed: PerEnd::both(false),
            now: Instant::from_secs(1),
            room: usize::MAX,
            most_held: 0,
            pieces: usize::MAX,
            threads,
            jobs: VecDeque::new(),
        }
    }

    fn begin(&mut self) {
        let room = self.room.saturating_sub(self.stage.held());
        self.stage.begin(self.now, 1 << 20, room);
    }

    /// What an end says, in pieces. Returns how much of it was taken.
    pub(crate) fn says(&mut self, from: End, bytes: &[u8]) -> usize {
        let mut taken = 0;
        for piece in bytes.chunks(self.pieces.clamp(1, 16_384)) {
            if self.ending.is_some() || self.stage.is_full(from) {
                break;
            }
            taken += piece.len();
            self.begin();
            match self.stage.plaintext(from, piece) {
                Fate::Pass => self.to(from).extend_from_slice(piece),
                Fate::Keep => {
                    let mut block = piece.to_vec();
                    block.resize(piece.len().max(2048), 0);
                    let end = block.len();
                    self.stage.keep(from, Opened { block, at: 0, len: piece.len(), end });
                }
            }
            self.after();
        }
        taken
    }

    pub(crate) fn ends(&mut self, from: End) {
        self.begin();
        if self.stage.announce_close(from) {
            self.closed[from] = true;
        }
        self.after();
    }

    fn to(&mut self, from: End) -> &mut Vec<u8> {
        if from == End::Client { &mut self.to_server } else { &mut self.to_client }
    }

    fn after(&mut self) {
        self.take();
        while let Some(job) = self.stage.poll_question() {
            self.jobs.push_back(job);
        }
        match self.threads {
            Threads::AtOnce => self.answer_all(),
            Threads::Full | Threads::Break => {
                let full = self.threads == Threads::Full;
                while let Some((question, _)) = self.jobs.pop_front() {
                    self.verdict(question, if full { Verdict::Refused } else { Verdict::Failed });
                }
            }
            Threads::Last | Threads::Never => {}
        }
    }

    /// Threads answer what they were asked first.
    #[allow(dead_code, reason = "some tests answer all")]
    pub(crate) fn answer_one(&mut self) {
        let (question, scan) = self.jobs.pop_front().unwrap();
        self.verdict(question, scan.run());
    }

    /// Threads answer all that they are asked.
    pub(crate) fn answer_all(&mut self) {
        while let Some((question, scan)) = self.jobs.pop_front() {
            self.verdict(question, scan.run());
        }
    }

    fn verdict(&mut self, question: u64, verdict: Verdict) {
        self.begin();
        self.stage.verdict(question, verdict);
        self.take();
        while let Some(job) = self.stage.poll_question() {
            self.jobs.push_back(job);
        }
    }

    /// Seconds pass.
    pub(crate) fn waits(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.begin();
            self.stage.handle_timeout(self.now);
            self.after();
        }
    }

    /// All that is left to happen.
    pub(crate) fn runs_out(&mut self) {
        if self.threads == Threads::Last {
            self.answer_all();
        }
        let end = self.now + Duration::from_secs(120);
        while self.ending.is_none() && self.stage.poll_timeout().is_some() && self.now < end {
            self.waits(1);
        }
    }

    fn take(&mut self) {
        self.most_held = self.most_held.max(self.stage.held());
        for from in [End::Client, End::Server] {
            while let Some(ready) = self.stage.next_ready(from, 0, |len| vec![0; len]) {
                match ready {
                    Ready::Data(block, len) => self.to(from).extend_from_slice(&block[..len]),
                    Ready::Close => self.closed[from] = true,
                }
            }
        }
        while let Some(report) = self.stage.poll_report() {
            match report {
                Report::Alert(alert) => self.alerts.push(*alert),
                Report::File(file) => self.files.push(*file),
                _ => {}
            }
        }
        self.ending = self.ending.or_else(|| self.stage.ending());
    }

    /// Reasons and lateness of the alerts.
    pub(crate) fn told(&self) -> Vec<(&'static str, bool, bool)> {
        self.alerts.iter().map(|alert| (alert.reason.code(), alert.blocked, alert.late)).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.to_client).into_owned()
    }
}
