//! What a start opens besides the ports, tried out while another engine still has them: what fails here costs no outage.

use std::ffi::CString;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread;

use nix::unistd::{self, geteuid, getgrouplist};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::config::{Account, Config};
use crate::control::{BindError, ControlSocket};
use crate::{confine, exclusions, log};

/// The engine that is to give way.
pub(super) struct Other {
    /// Its process.
    pub(super) id: i32,
    /// Where it serves its metrics.
    pub(super) metrics: Option<SocketAddr>,
}

/// Opens the sockets, the log and the other files of a configuration, and closes them again. What the other engine holds counts as free.
///
/// # Errors
/// In words, as a start has them.
pub(super) fn rehearse(config: &Config, other: &Other) -> Result<(), String> {
    if let Some(path) = &config.control.socket {
        ControlSocket::rehearse(path, config.control.read_group, other.id).map_err(control_fault)?;
    }
    if let Some(path) = &config.verdicts.listen {
        ControlSocket::rehearse(path, None, other.id).map_err(verdicts_fault)?;
    }
    // From here on a start is another user.
    match &config.confine.user {
        Some(account) if account.uid != geteuid().as_raw() => thread::scope(|scope| {
            let tried = scope.spawn(|| {
                become_user(account)
                    .map_err(|error| format!("confine.user: cannot change to {}: {error}", account.name))?;
                confine::reads_all(account, config)?;
                try_files(config, other)
            });
            tried.join().map_err(|_| "the thread that tries files panicked".to_owned())?
        }),
        _ => try_files(config, other),
    }
}

pub(super) fn control_fault(error: BindError) -> String {
    format!("control.socket: {error}")
}

pub(super) fn verdicts_fault(error: BindError) -> String {
    format!("verdicts.listen: {error}")
}

pub(super) fn log_fault(config: &Config) -> impl Fn(io::Error) -> String {
    move |error| format!("log.eve: cannot write the event log {}: {error}", config.log.eve)
}

pub(super) fn metrics_fault(address: SocketAddr) -> impl Fn(io::Error) -> String {
    move |error| {
        let is_taken = error.kind() == io::ErrorKind::AddrInUse;
        let fix = if is_taken { ", by another engine perhaps: choose another port, or \"off\"" } else { "" };
        format!("metrics.listen: cannot listen on {address}: {error}{fix}")
    }
}

pub(super) fn exclusions_fault(path: &Path) -> impl Fn(io::Error) -> String {
    move |error| format!("exclusions.file: {}: {error}", path.display())
}

pub(super) fn capture_fault(error: io::Error) -> String {
    format!("capture: {error}")
}

fn try_files(config: &Config, other: &Other) -> Result<(), String> {
    log::rehearse(&config.log.eve).map_err(log_fault(config))?;
    if let Some(address) = config.metrics.listen {
        try_address(address, other.metrics).map_err(metrics_fault(address))?;
    }
    if let Some(path) = &config.exclusions.file {
        exclusions::rehearse(path).map_err(exclusions_fault(path))?;
    }
    config.capture.rehearse().map_err(capture_fault)
}

/// `held`: by the other engine. Linux tells who has a port only to those who may look into that process, so the port's number decides.
fn try_address(address: SocketAddr, held: Option<SocketAddr>) -> io::Result<()> {
    match TcpListener::bind(address) {
        Err(error)
            if error.kind() == io::ErrorKind::AddrInUse
                && held.is_some_and(|held| held.port() == address.port()) =>
        {
            Ok(())
        }
        bound => bound.map(drop),
    }
}

/// Makes the calling thread another user's, and no other thread: it gives up all capabilities with that.
fn become_user(Account { name, uid, gid }: &Account) -> io::Result<()> {
    let groups = getgrouplist(&CString::new(name.as_str())?, unistd::Gid::from_raw(*gid))?;
    let groups: Vec<_> = groups.into_iter().map(|group| Gid::from_raw(group.as_raw())).collect();
    let (user, group) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
    set_thread_groups(&groups)?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    Ok(())
}
