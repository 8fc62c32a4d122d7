//! Keys of the CAs at tokens: HSMs, smart cards and software that behaves like them, through a module of PKCS#11.
//!
//! ```text
//!  CaVault ─► TokenKey ─► sessions that are open and idle, or a new one ─► Module: a shared library, once a process
//! ```
//! What is sent to the token is a digest. A token that goes away is looked for again, with pauses between; meanwhile nothing is signed
//! with its key.

mod key;
mod module;
mod uri;

pub use key::open;
pub use module::pin_was_refused;
pub use uri::KeyUri;
