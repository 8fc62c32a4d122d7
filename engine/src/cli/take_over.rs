//! `wireglass run --take-over`: two engines take turns on the same wires.
//!
//! ```text
//! new: reads its configuration, CAs, lists; rehearses ──► drain ──► waits ──► stop ──► waits ──► opens the ports
//! old: between its ports ─────────────────────────────────────── decrypts nothing new ──► resets what is left, closes the ports, ends
//! ```
//! Faults of the configuration, the CAs and the lists, what ports can be seen to lack, and files and sockets that cannot be opened (`rehearsal`) are found
//! while the old one still works. The ports themselves are opened when it is gone, and so is, once more, what both write or listen at.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use wireglass_core::order::Order;

use super::ports::obstacles_of_ports;
use super::rehearsal::{Other, rehearse};
use super::supervisor;
use crate::config::Config;
use crate::control::client::{self, AskError};
use crate::control::operate::{OrderRequest, OrdersRecord, StopRecord, StopRequest};
use crate::control::protocol::Refusal;

/// How often it is looked whether decrypted flows are left.
const LOOK: Duration = Duration::from_millis(200);
/// How often the user hears how many are left.
const TELL: Duration = Duration::from_secs(10);
/// The order to drain ends by itself so long after the limit, if this process dies meanwhile.
const AFTERWARDS: Duration = Duration::from_secs(60);
/// An engine that was stopped has ended after so long: a stop takes less than a second, and a reload of the signer 30.
const END: Duration = Duration::from_secs(60);

/// Has the engine at this configuration's control socket, if there is one, decrypt nothing new, waits until it decrypts nothing or `limit` is
/// over, stops it, and returns when its process is gone. `stop`: set by a signal, and that engine goes on.
///
/// # Errors
/// It goes on between its ports, unless the text says otherwise.
pub(super) fn take_over_from(config: &Config, limit: Duration, stop: &AtomicBool) -> Result<(), String> {
    let socket = config.control.socket.as_deref();
    let socket = socket.ok_or("--take-over: the engines meet at `control.socket`, which is \"off\"")?;
    obstacles_of_ports(config)?;
    let wrong = |error: AskError| format!("--take-over: {}: {error}", socket.display());
    let process = match Process::at(socket) {
        Ok(process) => process,
        Err(AskError::NotRunning(_)) => {
            errln!("wireglass: --take-over: no engine runs at {}: starting as usual", socket.display());
            return Ok(());
        }
        Err(error) => return Err(wrong(error)),
    };
    // An engine that knows no such command must not have been drained for it.
    let StopRecord { metrics, .. } = client::stop(socket, process.stop(true)).map_err(wrong)?;
    rehearse(config, &Other { id: process.id, metrics }).map_err(|fault| {
        format!("--take-over: {fault}; nothing was taken over: the engine that runs goes on")
    })?;
    supervisor::needs(END);
    let drain = Drain::begin(socket, limit).map_err(|error| format!("--take-over: {error}"))?;
    let mut left = drain.left;
    errln!("wireglass: taking over from process {}: {left} decrypted flow(s), at most {limit:?}", process.id);
    let (begun, mut told) = (Instant::now(), Instant::now());
    while left > 0 && begun.elapsed() < limit && !stop.load(Ordering::Relaxed) {
        thread::sleep(LOOK);
        left = match client::orders(socket) {
            Ok(now) if drains(&now) => now.decrypted,
            Ok(_) => {
                return Err(
                    "--take-over: somebody has taken the drain back; the engine that runs goes on".into()
                );
            }
            // Others ask, too; or it was busy, and there is time for another try.
            Err(AskError::Refused(Refusal::Busy, _)) => left,
            Err(AskError::Io(_)) if !process.is_gone_within(Duration::ZERO) => left,
            Err(error) if process.ends(&error) => return Ok(()),
            Err(error) => return Err(wrong(error)),
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
    if stop.load(Ordering::Relaxed) {
        return Err("--take-over: interrupted; the engine that runs goes on".into());
    }
    supervisor::needs(2 * END);
    match client::stop(socket, process.stop(false)) {
        Ok(StopRecord { decrypted, bypassed, .. }) => errln!(
            "wireglass: the engine that ran stops: {decrypted} decrypted flow(s) are left and reset, {bypassed} bypassed go on"
        ),
        // By itself, or by a signal, in this moment.
        Err(error) if process.ends(&error) => return Ok(()),
        Err(error) => return Err(wrong(error)),
    }
    if !process.is_gone_within(END) {
        return Err(format!(
            "--take-over: process {} was told to stop, and is still there after {END:?}: it may hold the ports; its messages may say why",
            process.id
        ));
    }
    Ok(())
}

fn drains(orders: &OrdersRecord) -> bool {
    orders.orders.iter().any(|order| order.order == Order::Drain.name())
}

/// The engine that runs is drained. Ends with this: an engine that has stopped has no orders, and one that goes on decrypts again.
struct Drain<'p> {
    /// None: an operator has ordered it, and it is his.
    socket: Option<&'p Path>,
    /// Decrypted flows.
    left: u64,
}

impl<'p> Drain<'p> {
    fn begin(socket: &'p Path, limit: Duration) -> Result<Self, String> {
        let wrong = |error: AskError| format!("{}: {error}", socket.display());
        let now = client::orders(socket).map_err(wrong)?;
        if now.orders.iter().any(|order| order.order == Order::Bypass.name()) {
            return Err("an operator has all flows bypassed there, and this engine would decrypt: \
                        `wireglass bypass --end`, then again"
                .into());
        }
        if now.orders.iter().any(|order| order.order == Order::Drain.name() && !order.is_of_fleet()) {
            return Ok(Self { socket: None, left: now.decrypted });
        }
        let seconds = Some((limit + AFTERWARDS).as_secs());
        // Whether the answer comes or not, it may have been understood.
        let mut drain = Self { socket: Some(socket), left: 0 };
        let order = OrderRequest { seconds, now: false };
        drain.left = client::order(socket, Order::Drain, order).map_err(wrong)?.decrypted;
        Ok(drain)
    }
}

impl Drop for Drain<'_> {
    fn drop(&mut self) {
        if let Some(socket) = self.socket {
            let _ = client::end_order(socket, Order::Drain);
        }
    }
}

/// The process of a running engine.
struct Process {
    id: i32,
    /// Readable when all of its threads have ended, and its ports are nobody's.
    end: OwnedFd,
}

impl Process {
    /// What has this one end, and no other that listens at its place.
    fn stop(&self, only_ask: bool) -> StopRequest {
        StopRequest { process: self.id.unsigned_abs(), only_ask }
    }

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

    /// What it has answered, or not, is because it ends, and it has ended now.
    fn ends(&self, error: &AskError) -> bool {
        let may_end = matches!(
            error,
            AskError::NotRunning(_) | AskError::Io(_) | AskError::Refused(Refusal::Stopping, _)
        );
        may_end && self.is_gone_within(END)
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
