//! A response whose type decides: what is known of it until its first bytes have come.

use super::streamed::is_streamed;
use crate::content::body::{Codings, FileType, First, MAX_CODED, Undecodable, first_type};
use crate::event::HttpEvent;
use crate::fields::Fields;
use crate::policy::{ContentRuleId, Decided, Inside, Known, ResponseFacts, Standing};

/// What came of looking at the first bytes.
pub(super) type Found = Result<FileType, Undecodable>;

/// What the rules are asked about, and the first bytes.
pub(super) struct TypeWatch {
    pub(super) standing: Standing,
    pub(super) head: HttpEvent,
    fields: Fields,
    status: u16,
    size: Known,
    codings: Result<Codings, Undecodable>,
    first: Vec<u8>,
    /// Bytes that are worth another look: twice as many as at the last one.
    next_look: usize,
    /// Nothing of it has gone on.
    pub(super) is_held: bool,
    /// It has waited for a while.
    pub(super) is_old: bool,
    /// It has gone on by this rule, as if its type were unknown.
    pub(super) given: Option<Decided>,
    /// That rule wants it looked at.
    pub(super) inspected_by: Option<ContentRuleId>,
}

impl TypeWatch {
    pub(super) fn new(standing: &Standing, head: &HttpEvent, response: &ResponseFacts<'_>) -> Self {
        let &ResponseFacts { status, fields, size, inside: _ } = response;
        Self {
            standing: standing.clone(),
            head: head.clone(),
            fields: fields.clone(),
            status,
            size,
            codings: Codings::of(fields),
            first: Vec::new(),
            next_look: 1,
            is_held: !fields.values("content-type").any(is_streamed),
            is_old: false,
            given: None,
            inspected_by: None,
        }
    }

    /// The fields of its head.
    pub(super) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Octets of the body that have come: all of them, until its type is known.
    pub(super) fn first(&self) -> &[u8] {
        &self.first
    }

    /// What the rules are asked about, if this is in it.
    pub(super) fn facts(&self, inside: Inside) -> ResponseFacts<'_> {
        ResponseFacts { status: self.status, fields: &self.fields, size: self.size, inside }
    }

    /// As the head has them.
    pub(super) fn codings(&self) -> Result<Codings, Undecodable> {
        self.codings
    }

    /// More of the body has come: what is known of it now, if that is enough.
    pub(super) fn push(&mut self, octets: &[u8]) -> Option<Found> {
        let (len, room) = (self.first.len(), MAX_CODED - self.first.len());
        let more = octets.len().min(room);
        if self.first.capacity() - len < more {
            // Twice as much, but never more than will be used.
            self.first.reserve_exact((len + more).max(2 * len).min(MAX_CODED) - len);
        }
        self.first.extend_from_slice(&octets[..more]);
        if self.first.len() < self.next_look.min(MAX_CODED) {
            return None;
        }
        self.next_look = 2 * self.first.len();
        self.look(false)
    }

    /// No more comes.
    pub(super) fn end(&mut self) -> Found {
        self.look(true).unwrap_or(Ok(FileType::Unknown))
    }

    fn look(&self, is_whole: bool) -> Option<Found> {
        match self.codings.and_then(|codings| first_type(codings, &self.first, is_whole)) {
            Ok(First::Is(kind)) => Some(Ok(kind)),
            Ok(First::NeedsMore) if self.first.len() >= MAX_CODED => Some(Err(Undecodable::Window)),
            Ok(First::NeedsMore) => None,
            Err(why) => Some(Err(why)),
        }
    }

    /// Bytes of memory that it holds, with its own size.
    pub(super) fn memory(&self) -> usize {
        let Self { standing, head, fields, first, given, status: _, size: _, codings: _, .. } = self;
        let given = given.as_ref().map_or(0, |given| given.size_limits.memory() + given.signatures.memory());
        size_of::<Self>() + standing.memory() + head.text_bytes() + fields.memory() + first.capacity() + given
    }
}
