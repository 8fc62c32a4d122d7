//! `wireglass signer`: started by `wireglass run`, not by people.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use nix::sys::prctl::{set_name, set_pdeathsig};
use nix::sys::signal::Signal;
use nix::sys::socket::{SockType, getsockopt, sockopt};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::USAGE;
use crate::config::Custody;
use crate::confine::{Needs, settle_signer};
use crate::signer::{PIN_REFUSED, Served, confine, keep, serve};

/// Hold the keys of the CAs for an engine. `wireglass run` starts it.
#[derive(Debug, Args)]
#[command(hide = true)]
pub(super) struct SignerArgs {
    /// Configuration of the engine
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Sign, and do not see to it that somebody does
    #[arg(long)]
    serve: bool,
}

/// Runs the command.
pub(super) fn run(args: &SignerArgs) -> ExitCode {
    let socket = match socket() {
        Ok(socket) => socket,
        Err(why) => {
            errln!("wireglass: {why}: `wireglass run` starts the signer");
            return ExitCode::from(USAGE);
        }
    };
    // It ends when the engine does, which may still sign while it stops: whoever signals a whole group or service means the engine.
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
    // However its parent ends.
    if let Err(why) = set_pdeathsig(Signal::SIGKILL) {
        errln!("wireglass: signer: {why}");
        return ExitCode::FAILURE;
    }
    let done = if args.serve { signer(args, socket) } else { keep(&args.config).map_err(|e| e.to_string()) };
    done.unwrap_or_else(|why| {
        errln!("wireglass: signer: {why}");
        if pin_was_refused() {
            errln!("wireglass: signer: not started again, as the token would lock the PIN: mend it, and start the engine anew");
            return ExitCode::from(PIN_REFUSED);
        }
        ExitCode::FAILURE
    })
}

fn pin_was_refused() -> bool {
    #[cfg(feature = "pkcs11")]
    return crate::pkcs11::pin_was_refused();
    #[cfg(not(feature = "pkcs11"))]
    false
}

fn signer(args: &SignerArgs, socket: OwnedFd) -> Result<ExitCode, String> {
    let user = Custody::load_without_keys(&args.config).map(|custody| custody.ca.signer_user);
    let user = user.map_err(|faults| faults.to_string());
    let confined = user.and_then(|user| confine(user.as_deref()));
    // Another user's process would have lost it again.
    set_pdeathsig(Signal::SIGKILL).map_err(|error| error.to_string())?;
    let doubt = confined.as_ref().ok().and_then(Option::clone);
    // As the kernel lists it; it would be called "exe". A name that cannot be had changes nothing else.
    let _ = set_name(c"wg-keys");
    let wanted = Cell::new(None);
    let load = || {
        confined.clone()?;
        let custody = Custody::load(&args.config).map_err(|faults| faults.to_string())?;
        let vault = custody.vault().map_err(|error| error.to_string())?;
        wanted.set(Some((custody.mode, Needs::of_signer(&custody))));
        Ok(Served { vault, per_second: custody.ca.signatures_per_second })
    };
    let settle = || {
        let (mode, needs) = wanted.take().ok_or("the keys are not read")?;
        let more = settle_signer(mode, needs)?;
        Ok(doubt.into_iter().chain(more).collect::<Vec<_>>().join("; "))
    };
    let hangs = || {
        errln!("wireglass: signer: a token does not answer: another signer takes over");
        std::process::exit(1);
    };
    serve(socket, load, settle, hangs).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// What `wireglass run` gives it as its standard input.
fn socket() -> Result<OwnedFd, String> {
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(|error| error.to_string())?;
    match getsockopt(&socket, sockopt::SockType) {
        Ok(SockType::SeqPacket) => Ok(socket),
        _ => Err("no engine at the other end of the standard input".into()),
    }
}
