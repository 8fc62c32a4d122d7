//! What looks for something in bodies.

use std::fmt;
use std::sync::Arc;

use crate::content::signatures::Masked;
use crate::reason::Reason;

/// Looks at one body, its codings undone, from the first octet to the last. It runs on one thread after the other.
pub trait Scanner: Send {
    /// The next octets, in pieces of any size. What is found must not depend on where they are cut. Not called again after a hit.
    fn feed(&mut self, octets: &[u8]) -> Option<Finding>;

    /// No more comes.
    fn end(&mut self) -> Option<Finding>;

    /// Bytes of memory that it holds beside its own size.
    fn memory(&self) -> usize;

    /// Bytes by which that grows when it is fed so many octets.
    fn growth(&self, _octets: usize) -> usize {
        0
    }

    /// Octets are fed to it in about the time in which they are copied, so far: then a worker does it, and no thread.
    fn is_quick(&self) -> bool {
        false
    }
}

/// What a scanner says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It has found this.
    Hit(Hit),
    /// It cannot say whether there is something, for this reason.
    Fails(Reason),
}

/// The message that a body is of, as far as scanners ask.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Method of the request.
    pub method: &'a str,
    /// Whose it is.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// Status of the response; none: the body is the request's.
    pub status: Option<u16>,
    /// Its content type.
    pub content_type: Option<&'a str>,
}

/// Makes the scanners of bodies: for those who need a connection, a thread or a file for that.
pub trait Inspector: fmt::Debug + Send + Sync {
    /// As `inspect` of a rule names it.
    fn name(&self) -> &Arc<str>;

    /// For one body.
    fn scanner(&self, message: &Message<'_>) -> Box<dyn Scanner>;
}

/// Something was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Who has found it, as `inspect` of a rule names it.
    pub by: Arc<str>,
    /// Its name, for the log: never what was in the body.
    pub what: Box<str>,
    /// How often it was found until then, where that is counted.
    pub count: Option<u32>,
    /// The first number of a card or an account.
    pub sample: Option<Masked>,
    /// Words by which its finder sorts what it finds: tags of a YARA rule.
    pub tags: Box<[Box<str>]>,
}

impl Hit {
    /// Nothing more is known of it.
    pub fn new(by: Arc<str>, what: &str) -> Self {
        Self { by, what: what.into(), count: None, sample: None, tags: Box::default() }
    }
}
