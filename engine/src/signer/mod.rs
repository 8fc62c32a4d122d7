//! The signer: a process of its own that has the CAs' keys, and nothing of the network.
//!
//! ```text
//!  wireglass run                     wireglass signer                 wireglass signer --serve
//!  handshake threads ─► SignerClient ══════ one socket, inherited ══════► threads ─► CaVault
//!                                    (has neither keys nor requests;
//!                                     starts the next one again)
//! ```
//! The socket (`SOCK_SEQPACKET`) has a message for each request and each answer: whoever sends or receives takes no lock, and the
//! socket outlives a signer that dies. What is [asked](protocol) is what a leaf is to be for. The signer writes the leaf itself, by a
//! configuration and a clock that it reads itself ([`wireglass_core::mint::CaVault`] says what it refuses).

mod client;
mod confine;
mod keeper;
mod limit;
pub mod protocol;
mod serve;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

pub use client::{NotStarted, SignerClient, SignerCounters, SignerHandle};
pub use confine::confine;
pub use keeper::{PIN_REFUSED, keep};
pub use limit::Limiter;
pub use serve::{Served, Vaults, serve};

/// A message that comes next; none: nobody is at the other end any more.
fn receive<'b>(socket: &OwnedFd, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
    let read = loop {
        match recv(socket.as_raw_fd(), buffer, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => break 0,
            read => break read?,
        }
    };
    Ok((read > 0).then(|| &buffer[..read]))
}

/// One message, whole.
fn transmit(socket: &OwnedFd, message: &[u8], flags: MsgFlags) -> io::Result<()> {
    loop {
        match send(socket.as_fd().as_raw_fd(), message, flags | MsgFlags::MSG_NOSIGNAL) {
            Err(Errno::EINTR) => {}
            sent => return sent.map(drop).map_err(io::Error::from),
        }
    }
}
