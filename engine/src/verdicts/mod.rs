//! What an IDS at a mirror says of flows: its EVE lines come in over a Unix socket, and end the flows that they mean.
//!
//! ```text
//! IDS ── EVE, a line each ──► VerdictServer: Line ──► Finder: the keys that the flow may have ──► ring of each key's worker
//!                                                     worker: look-up, alert, RST or RST_STREAM ◄── VerdictInbox ◄──┘
//! ```
//! A worker that nobody tells anything pays one load a turn. It looks nothing up but the keys that it is given.

mod finder;
mod line;
mod ring;
mod server;

pub use finder::Finder;
pub use line::{Block, Line};
pub use ring::{VerdictCounters, VerdictInbox, VerdictSender};
pub use server::VerdictServer;
