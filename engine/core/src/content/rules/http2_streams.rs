//! The streams of a connection, as both ends know them.

use std::collections::{BTreeMap, VecDeque};

use super::content_watch::ContentWatch;
use super::http2_message::Request;
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
}

impl Stream {
    /// Bytes of memory that it holds beside its own size.
    fn beside(&self) -> usize {
        let host = self.host.as_ref().map_or(0, |host| host.len());
        let type_watch = self.type_watch.as_ref().map_or(0, |watch| watch.memory());
        let inspection =
            self.inspection.as_ref().map_or(0, |inspection| size_of::<Inspection>() + inspection.memory());
        host + self.standing.memory()
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
    /// With what each holds beside its own size.
    streams: BTreeMap<u32, (Stream, usize)>,
    /// The sum of that.
    beside: usize,
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
        let beside = stream.beside();
        self.blocked += usize::from(stream.is_blocked);
        self.beside += beside;
        self.streams.insert(number, (stream, beside));
    }

    /// Its response has begun, and rules have said so far what they say about that.
    pub(super) fn begin_response(&mut self, stream: u32, watch: ContentWatch) {
        self.change(stream, |stream| (stream.has_response, stream.response_watch) = (true, watch));
    }

    /// What it holds may change.
    pub(super) fn change<T>(&mut self, stream: u32, change: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        let (stream, beside) = self.streams.get_mut(&stream)?;
        let result = change(stream);
        let now = stream.beside();
        self.beside = self.beside - *beside + now;
        *beside = now;
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

    /// Octets of its response that wait for a verdict.
    pub(super) fn waiting_for_verdict(&self, stream: u32) -> u64 {
        let Some((open, _)) = self.streams.get(&stream) else { return 0 };
        let inspection = open.inspection.as_ref().filter(|inspection| !inspection.waits_for_nothing());
        inspection.map_or(0, |inspection| inspection.body().saturating_sub(open.allowed))
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
        if let Some((stream, beside)) = self.streams.remove(&stream) {
            self.blocked -= usize::from(stream.is_blocked);
            self.untyped -= usize::from(stream.type_watch.is_some());
            self.beside -= beside;
        }
        if self.streams.is_empty() {
            // An idle connection holds no table.
            self.streams = BTreeMap::new();
        }
    }

    /// A reset of it goes by. If rules wait for its response, and that comes all the same, it goes nowhere.
    pub(super) fn close(&mut self, stream: u32) {
        let is_decided = self.streams.get(&stream).is_some_and(|(open, _)| {
            !open.standing.awaits_response() && open.type_watch.is_none() && open.inspection.is_none()
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
        let Self { streams, beside, blocked: _, untyped: _, let_go, opened: _, passed: _ } = self;
        tree_memory(streams) + beside + let_go.capacity() * size_of::<u32>()
    }
}
