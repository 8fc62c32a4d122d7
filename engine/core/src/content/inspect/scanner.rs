//! What looks for something in bodies.

use std::fmt;
use std::sync::Arc;

/// Looks at one body, its codings undone, from the first octet to the last. It runs on one thread after the other.
pub trait Scanner: Send {
    /// The next octets, in pieces of any size. What is found must not depend on where they are cut. Not called again after a hit.
    fn feed(&mut self, octets: &[u8]) -> Option<Hit>;

    /// No more comes.
    fn end(&mut self) -> Option<Hit>;

    /// Bytes of memory that it holds beside its own size.
    fn memory(&self) -> usize;
}

/// Makes the scanners of bodies: one set of signatures, compiled.
pub trait Inspector: fmt::Debug + Send + Sync {
    /// As `inspect` of a rule names it.
    fn name(&self) -> &Arc<str>;

    /// For one body.
    fn scanner(&self) -> Box<dyn Scanner>;
}

/// Something was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Who has found it, as `inspect` of a rule names it.
    pub by: Arc<str>,
    /// Its name, for the log: never what was in the body.
    pub what: Box<str>,
}
