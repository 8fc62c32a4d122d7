//! The streams of a connection, as both ends know them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::content_watch::ContentWatch;
use super::http2_message::Request;
use super::http2_upload::Upload;
use super::inspection::Inspection;
use super::type_watch::{Found, TypeWatch};
use crate::end::{End, PerEnd};
use crate::policy::Standing;
use crate::tree_memory::tree_memory;

/// Streams that a reset has ended, of which frames may still be on the way.
const MAX_LET_GO: usize = 256;

/// One stream.
#[derive(Default)]
pub(super) struct Stream {
    /// An answer of ours takes the place of what the server says, and nothing that the client says goes on.
    pub(super) is_blocked: bool,
    /// The server has answered as a whole and wants no more of the request (RFC 9113, 8.1): what says so waits behind the response.
    pub(super) is_answered_early: bool,
    pub(super) request: Request,
    /// Whose it is, as the reader forgets that where many are open.
    pub(super) host: Option<Box<str>>,
    pub(super) standing: Standing,
    /// Octets of the request's content, and the rules that apply when more come.
    pub(super) content: u64,
    pub(super) watch: ContentWatch,
    /// Likewise of the response's.
    pub(super) response_content: u64,
    pub(super) response_watch: ContentWatch,
    /// How much of that its head has told of.
    pub(super) response_declared: Option<u64>,
    /// Octets of the client's that the server has, less what it has credited the stream with.
    pub(super) uncredited: i64,
    /// What the client has credited the stream with, less what was inserted into it.
    pub(super) credit: i64,
    /// Who has said its last.
    pub(super) ended: PerEnd<bool>,
    /// The final response's head has passed.
    pub(super) has_response: bool,
    /// Its type is not known yet.
    pub(super) type_watch: Option<Box<TypeWatch>>,
    /// Threads look at its response.
    pub(super) inspection: Option<Box<Inspection>>,
    /// Octets of that which the queue may have let go.
    pub(super) allowed: u64,
    /// What waits of its request, or is looked at.
    pub(super) upload: Option<Box<Upload>>,
}

/// What is summed up over all streams, so that nobody has to go through them.
#[derive(Clone, Copy, Default)]
struct Account {
    /// Bytes of memory that a stream holds beside its own size.
    beside: usize,
    /// Octets that wait for a verdict.
    waiting: u64,
    /// Bytes of memory of what threads look at or are to look at.
    scanned: usize,
    /// What threads are asked about what each end sends.
    questions: PerEnd<Option<u64>>,
    /// Its request waits, or is looked at.
    is_upload: bool,
}

impl Stream {
    fn account(&self) -> Account {
        let inspection = self.inspection.as_ref();
        let waits = inspection.filter(|inspection| !inspection.waits_for_nothing());
        Account {
            beside: self.beside(),
            waiting: waits.map_or(0, |inspection| inspection.body().saturating_sub(self.allowed)),
            scanned: inspection.map_or(0, |inspection| inspection.held())
                + self.upload.as_ref().map_or(0, |upload| upload.held()),
            questions: PerEnd::from_fn(|from| Some(self.inspection_of(from)?.question())),
            is_upload: self.upload.is_some(),
        }
    }

    /// What looks at what an end sends.
    pub(super) fn inspection_of(&self, from: End) -> Option<&Inspection> {
        match from {
            End::Client => self.upload.as_ref()?.inspection.as_deref(),
            End::Server => self.inspection.as_deref(),
        }
    }

    /// Likewise.
    pub(super) fn inspection_mut(&mut self, from: End) -> Option<&mut Inspection> {
        match from {
            End::Client => self.upload.as_mut()?.inspection.as_deref_mut(),
            End::Server => self.inspection.as_deref_mut(),
        }
    }

    /// Bytes of memory that it holds beside its own size.
    fn beside(&self) -> usize {
        let host = self.host.as_ref().map_or(0, |host| host.len());
        let type_watch = self.type_watch.as_ref().map_or(0, |watch| watch.memory());
        let inspection =
            self.inspection.as_ref().map_or(0, |inspection| size_of::<Inspection>() + inspection.memory());
        let upload = self.upload.as_ref().map_or(0, |upload| upload.memory());
        host + self.standing.memory()
            + upload
            + self.watch.memory()
            + self.response_watch.memory()
            + type_watch
            + inspection
    }
}

/// How a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its frames go on.
    Open,
    Blocked,
    /// A reset has gone by. What was on the way then goes on.
    LetGo,
    /// It is over, or one of the ends does not know it.
    Unknown,
}

#[derive(Default)]
pub(super) struct Streams {
    /// With what each is counted for.
    streams: BTreeMap<u32, (Stream, Account)>,
    /// The sums of that.
    beside: usize,
    waiting: u64,
    scanned: usize,
    /// What threads look at, by the question: what this end sends on a stream.
    inspected: BTreeMap<u64, (End, u32)>,
    /// How much of that is of each end.
    inspections: PerEnd<usize>,
    /// Those whose requests wait, or are looked at.
    uploads: BTreeSet<u32>,
    /// Octets that waited of requests and will not go on, as far as nobody was told.
    discarded: usize,
    blocked: usize,
    /// Of how many responses the type is not known yet.
    untyped: usize,
    let_go: VecDeque<u32>,
    /// The highest that the client has opened.
    pub(super) opened: u32,
    /// The highest of those that the server knows of.
    pub(super) passed: u32,
}

impl Streams {
    pub(super) fn state(&self, stream: u32) -> State {
        match self.streams.get(&stream) {
            Some((Stream { is_blocked: true, .. }, _)) => State::Blocked,
            Some(_) => State::Open,
            None if self.let_go.contains(&stream) => State::LetGo,
            None => State::Unknown,
        }
    }

    /// The client has opened it, and the server takes it for idle: any frame on it would be a connection error (RFC 9113, 5.1).
    pub(super) fn is_idle_at_server(&self, stream: u32) -> bool {
        stream % 2 == 1 && stream > self.passed && stream <= self.opened
    }

    pub(super) fn get_mut(&mut self, stream: u32) -> Option<&mut Stream> {
        self.streams.get_mut(&stream).map(|(stream, _)| stream)
    }

    pub(super) fn insert(&mut self, number: u32, stream: Stream) {
        self.remove(number);
        let account = stream.account();
        self.blocked += usize::from(stream.is_blocked);
        self.recount(number, Account::default(), account);
        self.streams.insert(number, (stream, account));
    }

    fn recount(&mut self, number: u32, was: Account, is: Account) {
        self.beside = self.beside - was.beside + is.beside;
        self.waiting = self.waiting - was.waiting + is.waiting;
        self.scanned = self.scanned - was.scanned + is.scanned;
        for from in End::BOTH {
            if was.questions[from] != is.questions[from] {
                was.questions[from].map(|question| self.inspected.remove(&question));
                is.questions[from].map(|question| self.inspected.insert(question, (from, number)));
                self.inspections[from] -= usize::from(was.questions[from].is_some());
                self.inspections[from] += usize::from(is.questions[from].is_some());
            }
        }
        if is.is_upload {
            self.uploads.insert(number);
        } else if was.is_upload {
            self.uploads.remove(&number);
        }
    }

    /// Its response has begun, and rules have said so far what they say about that.
    pub(super) fn begin_response(&mut self, stream: u32, watch: ContentWatch) {
        self.change(stream, |stream| (stream.has_response, stream.response_watch) = (true, watch));
    }

    /// What it holds may change.
    pub(super) fn change<T>(&mut self, stream: u32, change: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        let (open, account) = self.streams.get_mut(&stream)?;
        let result = change(open);
        let is = open.account();
        let was = std::mem::replace(account, is);
        self.recount(stream, was, is);
        Some(result)
    }

    /// Its response has begun, and the type of that decides.
    pub(super) fn await_type(&mut self, stream: u32, watch: Box<TypeWatch>) {
        let put = self.change(stream, |stream| {
            stream.has_response = true;
            stream.type_watch.replace(watch).is_none()
        });
        self.untyped += usize::from(put == Some(true));
    }

    /// The type of its response decides no more.
    pub(super) fn take_type_watch(&mut self, stream: u32) -> Option<Box<TypeWatch>> {
        let watch = self.change(stream, |stream| stream.type_watch.take())??;
        self.untyped -= 1;
        Some(watch)
    }

    /// More of its response has come: its type, if that is known by now.
    pub(super) fn show(&mut self, stream: u32, octets: &[u8]) -> Option<Found> {
        if self.untyped == 0 {
            return None;
        }
        self.change(stream, |stream| stream.type_watch.as_mut()?.push(octets))?
    }

    /// Likewise of its end.
    pub(super) fn show_end(&mut self, stream: u32) -> Option<Found> {
        if self.untyped == 0 {
            return None;
        }
        Some(self.streams.get_mut(&stream)?.0.type_watch.as_mut()?.end())
    }

    /// What looks at its response.
    pub(super) fn inspection(&self, stream: u32) -> Option<&Inspection> {
        self.streams.get(&stream)?.0.inspection.as_deref()
    }

    /// What looks at what this end sends on a stream.
    pub(super) fn inspection_of(&self, from: End, stream: u32) -> Option<&Inspection> {
        self.streams.get(&stream)?.0.inspection_of(from)
    }

    /// What threads are asked this about.
    pub(super) fn of_question(&self, question: u64) -> Option<(End, u32)> {
        self.inspected.get(&question).copied()
    }

    /// What threads look at: what this end sends on a stream.
    pub(super) fn inspected(&self) -> impl ExactSizeIterator<Item = (End, u32)> {
        self.inspected.values().copied()
    }

    /// Those whose responses threads look at.
    pub(super) fn inspected_responses(&self) -> impl Iterator<Item = u32> {
        self.inspected().filter(|(from, _)| *from == End::Server).map(|(_, stream)| stream)
    }

    /// How much of what an end sends threads look at.
    pub(super) fn inspections(&self, from: End) -> usize {
        self.inspections[from]
    }

    /// Those whose requests wait, or are looked at.
    pub(super) fn uploads(&self) -> &BTreeSet<u32> {
        &self.uploads
    }

    /// What waits of a request goes nowhere.
    pub(super) fn discard_upload(&mut self, stream: u32) {
        if let Some(Some(upload)) = self.change(stream, |open| open.upload.take()) {
            self.discarded += upload.waiting();
        }
    }

    /// Octets that waited of requests and were discarded since this was asked last.
    pub(super) fn take_discarded(&mut self) -> usize {
        std::mem::take(&mut self.discarded)
    }

    /// Octets of responses that wait for verdicts.
    pub(super) fn waiting_for_verdicts(&self) -> u64 {
        self.waiting
    }

    /// Bytes of memory that count as held bodies.
    pub(super) fn held_for_verdicts(&self) -> usize {
        self.waiting as usize + self.scanned
    }

    /// Nothing of its response has gone on, as its type is not known.
    pub(super) fn awaits_type(&self, stream: u32) -> bool {
        let watch = self.streams.get(&stream).and_then(|(open, _)| open.type_watch.as_ref());
        watch.is_some_and(|watch| watch.is_held)
    }

    /// Its response has waited for its type before; from now on it has.
    pub(super) fn has_waited(&mut self, stream: u32) -> bool {
        let watch = self.streams.get_mut(&stream).and_then(|(stream, _)| stream.type_watch.as_mut());
        watch.is_some_and(|watch| std::mem::replace(&mut watch.is_old, true))
    }

    pub(super) fn block(&mut self, stream: u32) {
        if let Some((stream, _)) = self.streams.get_mut(&stream)
            && !stream.is_blocked
        {
            stream.is_blocked = true;
            self.blocked += 1;
        }
    }

    /// What rules look at in the content that this end sends on it.
    pub(super) fn watch_mut(&mut self, from: End, stream: u32) -> Option<&mut ContentWatch> {
        let (stream, _) = self.streams.get_mut(&stream)?;
        Some(match from {
            End::Client => &mut stream.watch,
            End::Server => &mut stream.response_watch,
        })
    }

    /// It is over; its frames are swallowed from here on.
    pub(super) fn remove(&mut self, stream: u32) {
        if let Some((open, account)) = self.streams.remove(&stream) {
            self.blocked -= usize::from(open.is_blocked);
            self.untyped -= usize::from(open.type_watch.is_some());
            self.discarded += open.upload.as_ref().map_or(0, |upload| upload.waiting());
            self.recount(stream, account, Account::default());
        }
        if self.streams.is_empty() {
            // An idle connection holds no table.
            self.streams = BTreeMap::new();
        }
    }

    /// A reset of it goes by. If rules wait for its response, or look into it, and more of that comes all the same, it goes nowhere.
    pub(super) fn close(&mut self, stream: u32) {
        let is_decided = self.streams.get(&stream).is_some_and(|(open, _)| {
            !open.standing.awaits_response()
                && open.response_watch.is_idle()
                && open.type_watch.is_none()
                && open.inspection.is_none()
                && open.upload.is_none()
        });
        self.remove(stream);
        if !is_decided {
            return;
        }
        if self.let_go.len() >= MAX_LET_GO {
            self.let_go.pop_front();
        }
        self.let_go.push_back(stream);
    }

    /// Those that are blocked, above one.
    pub(super) fn blocked_above(&self, last: u32) -> Vec<u32> {
        let blocked =
            self.streams.iter().filter(|(number, (stream, _))| stream.is_blocked && **number > last);
        let mut blocked: Vec<_> = blocked.map(|(number, _)| *number).collect();
        blocked.sort_unstable();
        blocked
    }

    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn blocked(&self) -> usize {
        self.blocked
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { streams, beside, inspected, uploads, let_go, .. } = self;
        tree_memory(streams)
            + tree_memory(inspected)
            + uploads.len() * 2 * size_of::<u32>()
            + beside
            + let_go.capacity() * size_of::<u32>()
    }
}
