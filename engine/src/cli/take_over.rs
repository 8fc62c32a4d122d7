//! `wireglass run --take-over`: two engines take turns on the same wires.
//!
//! ```text
//! new: reads its configuration, CAs, lists ──► drain ──► waits ──► stop ──► waits ──► opens the ports
//! old: between its ports ──────────────────────────── decrypts nothing new ──► resets what is left, closes the ports, ends
//! ```
//! Whatever could keep the new one from starting, but for the ports themselves, is found while the old one still works.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use wireglass_core::order::Order;

use super::supervisor;
use crate::control::client::{self, AskError};
use crate::control::operate::OrderRequest;

/// How often it is looked whether decrypted flows are left.
const LOOK: Duration = Duration::from_millis(200);
/// How often the user hears how many are left.
const TELL: Duration = Duration::from_secs(10);
/// The order to drain ends by itself so long after the limit, if this process dies meanwhile.
const AFTERWARDS: Duration = Duration::from_secs(60);
/// An engine that was stopped has ended after so long: a stop takes less than a second, and a reload of the signer 30.
const END: Duration = Duration::from_secs(60);

/// Has the engine at this socket, if there is one, decrypt nothing new, waits until it decrypts nothing or `limit` is over, stops it, and
/// returns when its process is gone. `stop`: set by a signal, and the engine goes on.
///
/// # Errors
/// It goes on between its ports, unless the text says otherwise.
pub(super) fn take_over(socket: &Path, limit: Duration, stop: &AtomicBool) -> Result<(), String> {
    let wrong = |error: AskError| format!("--take-over: {}: {error}", socket.display());
    let process = match Process::at(socket) {
        Ok(process) => process,
        Err(AskError::NotRunning(_)) => {
            errln!("wireglass: --take-over: no engine runs at {}: starting as usual", socket.display());
            return Ok(());
        }
        Err(error) => return Err(wrong(error)),
    };
    supervisor::needs(END);
    let seconds = (limit + AFTERWARDS).as_secs();
    let order = OrderRequest { seconds: Some(seconds), now: false };
    let mut left = client::order(socket, Order::Drain, order).map_err(wrong)?.decrypted;
    errln!("wireglass: taking over from process {}: {left} decrypted flow(s), at most {limit:?}", process.id);
    // The operator's, where one stood already. An engine that stops has no orders.
    let go_on = || drop(client::end_order(socket, Order::Drain));
    let (begun, mut told) = (Instant::now(), Instant::now());
    while left > 0 && begun.elapsed() < limit {
        if stop.load(Ordering::Relaxed) {
            go_on();
            return Err("--take-over: interrupted; the engine that runs goes on".into());
        }
        thread::sleep(LOOK);
        left = match client::orders(socket) {
            Ok(now) if now.orders.iter().any(|order| order.order == Order::Drain.name()) => now.decrypted,
            Ok(_) => {
                return Err(
                    "--take-over: somebody has taken the drain back; the engine that runs goes on".into()
                );
            }
            Err(AskError::NotRunning(_)) if process.is_gone_within(END) => return Ok(()),
            Err(error) => {
                go_on();
                return Err(wrong(error));
            }
        };
        if told.elapsed() >= TELL {
            told = Instant::now();
            supervisor::needs(END);
            errln!(
                "wireglass: {left} decrypted flow(s) left, {:.0?} at most",
                limit.saturating_sub(begun.elapsed())
            );
        }
    }
    supervisor::needs(2 * END);
    let stopped = client::stop(socket).map_err(|error| {
        go_on();
        wrong(error)
    })?;
    errln!(
        "wireglass: the engine that ran stops: {} decrypted flow(s) are left and reset, {} bypassed go on",
        stopped.decrypted,
        stopped.bypassed
    );
    if !process.is_gone_within(END) {
        return Err(format!(
            "--take-over: process {} was told to stop, and is still there after {END:?}: it may hold the ports; its messages may say why",
            process.id
        ));
    }
    Ok(())
}

/// The process of a running engine.
struct Process {
    id: i32,
    /// Readable when all of its threads have ended, and its ports are nobody's.
    end: OwnedFd,
}

impl Process {
    fn at(socket: &Path) -> Result<Self, AskError> {
        let stream = client::connect(socket)?;
        let id = getsockopt(&stream, PeerCredentials).map_err(std::io::Error::from)?.pid();
        // Where the kernel has no number for it, it is in another container.
        let process = Pid::from_raw(id).ok_or_else(|| {
            std::io::Error::other(
                "that engine is in another process namespace: stop it there, then start this one",
            )
        })?;
        let end = pidfd_open(process, PidfdFlags::empty()).map_err(std::io::Error::from)?;
        Ok(Self { id, end })
    }

    fn is_gone_within(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
            match poll(&mut [PollFd::new(&self.end, PollFlags::IN)], Some(&timeout)) {
                Ok(ended) if ended > 0 => return true,
                _ if left.is_zero() => return false,
                _ => {}
            }
        }
    }
}
