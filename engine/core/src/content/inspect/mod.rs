//! What is asked of bodies on threads: whether they are on a list of hashes, or have in them what a scanner looks for.
//!
//! ```text
//!  filter ──► BodyJob: BodyScan, coded octets that have come ──► a thread: decode ► type ► hashes ► scanners
//!  filter ◄── Looked:  BodyScan, what is known now            ◄──┘
//! ```
//! The scan moves: while a thread has it the filter gathers what comes, and the next job has all of that. So a body has one job at a
//! time, its octets stay in order whatever thread runs it, and nobody has to be told when its flow is gone.

mod body_scan;
mod scanner;

pub use body_scan::{Asked, BodyJob, BodyScan, FileFacts, Found, Looked};
pub use scanner::{Finding, Hit, Inspector, Message, Scanner};
