//! A filter with rules, and what a stage does around it.

use std::collections::VecDeque;
use std::sync::Arc;

use tcp_stack::{Duration, Instant};
use wireglass_core::content::{
    DataPattern, Fate, FileType, Filters, Opened, Ready, Report, RuleFilters, SignatureSet, Signatures, Stage,
};
use wireglass_core::end::{End, PerEnd};
use wireglass_core::event::{AlertEvent, HttpEvent};
use wireglass_core::policy::{
    ConnectionFacts, ContentAction, ContentPolicy, ContentRule, DecryptedFlow, Direction, Lists, OnUnread,
    Policy, Profile, Respond,
};
use wireglass_core::reason::Reason;

/// One end says something.
pub(crate) struct Talk {
    from: End,
    bytes: Vec<u8>,
    /// Seconds pass first.
    waits: bool,
}

impl Talk {
    pub(crate) fn says(from: End, text: &str) -> Self {
        Self::sends(from, text.as_bytes())
    }

    pub(crate) fn sends(from: End, bytes: &[u8]) -> Self {
        Self { from, bytes: bytes.to_vec(), waits: false }
    }

    /// It says so after some seconds.
    #[allow(dead_code, reason = "only some rules wait")]
    pub(crate) fn says_later(from: End, text: &str) -> Self {
        Self { waits: true, ..Self::says(from, text) }
    }

    /// It says nothing more.
    pub(crate) fn ends(from: End) -> Self {
        Self { from, bytes: Vec::new(), waits: false }
    }
}

/// What came of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) to_server: String,
    pub(crate) to_client: String,
    /// Why, and whether in order.
    pub(crate) ending: Option<(Reason, bool)>,
    /// Before any time had passed.
    pub(crate) ended_at_once: bool,
    pub(crate) alerts: Vec<AlertEvent>,
    pub(crate) events: Vec<HttpEvent>,
}

#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) alpn: Option<&'static [u8]>,
    pub(crate) blocks_opaque: bool,
    pub(crate) allows_unparsed: bool,
    pub(crate) allows_undecodable: bool,
    /// The client named no server in its hello.
    pub(crate) is_nameless: bool,
    pub(crate) certificate_names: &'static [&'static str],
    /// What connections go by.
    pub(crate) connections: Option<Arc<Policy>>,
    /// The stage has no memory for the filter from this piece on.
    pub(crate) out_of_memory_after: Option<usize>,
}

fn policy(setup: &Setup) -> ContentPolicy {
    let block = |name: &str, respond| {
        let mut rule = ContentRule::new(name, ContentAction::Block(respond));
        rule.path = vec![format!("/{name}").parse().unwrap()];
        rule
    };
    let mut bad_type = ContentRule::new("bad type", ContentAction::Block(Respond::Page));
    bad_type.content_type = vec!["bad/type".parse().unwrap()];
    let mut big = block("big", Respond::Page);
    big.size = Some(10);
    let mut long = block("long", Respond::Page);
    (long.size, long.direction) = (Some(10), Some(Direction::Response));
    let mut told = ContentRule::new("told", ContentAction::Alert);
    (told.path, told.size) = (vec!["/told".parse().unwrap()], Some(10));
    let beyond = |name: &str, path: &str, size, action| {
        let mut rule = ContentRule::new(name, action);
        (rule.path, rule.size) = (vec![path.parse().unwrap()], Some(size));
        rule
    };
    let mut typed = ContentRule::new("programs", ContentAction::Block(Respond::Page));
    (typed.path, typed.file_type) = (vec!["/file*".parse().unwrap()], FileType::named("executable"));
    let sets = [
        SignatureSet {
            name: "codes".into(),
            literals: vec![b"attack at dawn".to_vec(), b"kode".to_vec()],
            regexes: vec!["zone [0-9]{2}$".into()],
            patterns: vec![],
            threshold: 1,
        },
        SignatureSet {
            name: "cards".into(),
            literals: vec![],
            regexes: vec![],
            patterns: vec![DataPattern::CardNumber],
            threshold: 2,
        },
    ];
    let signatures = Arc::new(Signatures::compile(&sets).unwrap());
    let searched = |name: &str, path: &str, set: &str, action| {
        let mut rule = ContentRule::new(name, action);
        (rule.path, rule.signatures) = (vec![path.parse().unwrap()], vec![signatures.id(set).unwrap()]);
        rule
    };
    let mut searched_file =
        searched("searched file", "/searched-file", "codes", ContentAction::Block(Respond::Page));
    searched_file.file_type = vec![FileType::Pdf];
    let rules = [
        searched("cards", "/search*", "cards", ContentAction::Alert),
        searched("codes", "/search", "codes", ContentAction::Block(Respond::Page)),
        searched_file,
        typed,
        big,
        long,
        told,
        beyond("beyond 100", "/sized", 100, ContentAction::Block(Respond::Page)),
        beyond("beyond 10", "/sized", 10, ContentAction::Alert),
        beyond("beyond 5", "/allowed", 5, ContentAction::Allow),
        beyond("shadowed", "/allowed", 7, ContentAction::Block(Respond::Page)),
        block("blocked", Respond::Page),
        block("reset", Respond::Reset),
        block("status", Respond::Status(451)),
        block("elsewhere", Respond::Redirect("https://b.example/why".into())),
        bad_type,
    ];
    let mut policy = ContentPolicy::compile(&rules, Arc::new(Lists::default())).with_signatures(signatures);
    policy.on_opaque = if setup.blocks_opaque { OnUnread::Block } else { OnUnread::Allow };
    policy.on_undecodable = if setup.allows_undecodable { OnUnread::Allow } else { OnUnread::Block };
    policy.on_unparsed = if setup.allows_unparsed { OnUnread::Allow } else { OnUnread::Block };
    policy
}

/// All that is said, in pieces of so many bytes by their number.
pub(crate) fn talk_with(setup: &Setup, said: &[Talk], mut piece: impl FnMut(usize) -> usize) -> Outcome {
    let flow = DecryptedFlow {
        profile: Arc::new(Profile::default()),
        sni: (!setup.is_nameless).then(|| "a".into()),
        certificate_names: setup.certificate_names.iter().map(|name| (*name).to_owned()).collect(),
        client: "192.0.2.1:1000".parse().unwrap(),
        server: "192.0.2.2:443".parse().unwrap(),
        flow_id: 1,
        connection: ConnectionFacts::default(),
    };
    let mut filters = RuleFilters::new(Arc::new(policy(setup)), Arc::default());
    if let Some(connections) = &setup.connections {
        filters = filters.with_connections(Arc::clone(connections));
    }
    let mut stage = Stage::new(filters.filter(&Arc::new(flow), setup.alpn).unwrap());
    let mut sent: PerEnd<Vec<u8>> = PerEnd::default();
    let (mut alerts, mut events) = (Vec::new(), Vec::new());
    let mut reports = |stage: &mut Stage<Vec<u8>>| {
        while let Some(report) = stage.poll_report() {
            match report {
                Report::Alert(alert) => alerts.push(*alert),
                Report::Http(http) => events.push(*http),
                _ => {}
            }
        }
    };
    let (mut turn, mut ending) = (0, None);
    let mut now = Instant::ZERO;
    for Talk { from, bytes, waits } in said {
        for _ in 0..if *waits { 3 } else { 0 } {
            now += Duration::from_secs(1);
            stage.handle_timeout(now);
            take(&mut stage, &mut sent);
            reports(&mut stage);
        }
        if bytes.is_empty() && ending.is_none() {
            stage.announce_close(*from);
            take(&mut stage, &mut sent);
            ending = stage.ending();
        }
        let mut rest: VecDeque<u8> = bytes.iter().copied().collect();
        while !rest.is_empty() && ending.is_none() {
            let next: Vec<u8> = rest.drain(..piece(turn).clamp(1, rest.len().min(16_384))).collect();
            if setup.out_of_memory_after.is_some_and(|after| turn >= after) {
                stage.begin(now, 0, usize::MAX);
            }
            turn += 1;
            match stage.plaintext(*from, &next) {
                Fate::Pass => sent[*from].extend(next),
                Fate::Keep => {
                    let len = next.len();
                    let mut block = next;
                    block.resize(len.max(2048), 0);
                    let end = block.len();
                    stage.keep(*from, Opened { block, at: 0, len, end });
                }
            }
            take(&mut stage, &mut sent);
            reports(&mut stage);
            ending = stage.ending();
        }
    }
    let ended_at_once = ending.is_some();
    // Whoever waits for the time gets it.
    while ending.is_none() && stage.poll_timeout().is_some() {
        stage.handle_timeout(now);
        now += Duration::from_secs(1);
        reports(&mut stage);
        take(&mut stage, &mut sent);
        ending = stage.ending();
        assert!(now < Instant::from_secs(60), "it never ends");
    }
    stage.finish();
    reports(&mut stage);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Outcome {
        to_server: text(sent.client),
        to_client: text(sent.server),
        ending: ending.map(|ending| (ending.reason, ending.orderly)),
        ended_at_once,
        alerts,
        events,
    }
}

fn take(stage: &mut Stage<Vec<u8>>, sent: &mut PerEnd<Vec<u8>>) {
    for from in End::BOTH {
        while let Some(Ready::Data(block, len)) = stage.next_ready(from, 0, |len| vec![0; len]) {
            sent[from].extend_from_slice(&block[..len]);
        }
    }
}
