//! Mirrors: what decrypted flows say, as TCP in plain for whoever listens at another port (an IDS, a recorder).
//!
//! A mirrored flow becomes a conversation of its own: the handshake with the numbers that the client and its server agreed on, the
//! plaintext in segments with the headers of the flow's own frames, acknowledgements, and the end as it came. There is nobody at the
//! other end of it: what does not get through is lost, and a conversation that has lost something ends with a RST.

mod beginning;
mod bypassed;
mod captured;
mod conversation;
mod frame;
mod queue;
mod settings;

pub(crate) use self::beginning::Beginning;
pub(crate) use self::conversation::{Audience, Conversations, Start};
pub use self::queue::MirrorQueue;
pub use self::settings::{MAX_MIRRORS, Mirror, Shown, When};
