//! Captures: what goes by on both legs of decrypted flows, their secrets and their plaintext, for a thread that writes files.
//!
//! A worker copies into buffers that are there already, and waits for nobody: where the writer is too slow, the oldest frame goes.
//! Frames are taken from the SYN on, as nobody knows then what becomes of the flow. The writer forgets those of flows without secrets.

mod event;
mod frame;
mod ring;
mod worker;

pub use event::{CaptureEvent, CaptureStep};
pub use ring::{BUFFER, CaptureRing, Captured, Note};
pub use worker::{CaptureSettings, Interface, WorkerCapture};
