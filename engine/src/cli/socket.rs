//! Which running engine a command means.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{USAGE, describe};
use crate::config;
use crate::control::DEFAULT_SOCKET;
use crate::control::client::AskError;
use crate::control::protocol::Refusal;

/// The engine, by its socket or by the configuration that names it.
#[derive(Debug, Args)]
pub(super) struct EngineSocket {
    /// The engine's configuration; its `control.socket` says where to ask
    #[arg(short, long, value_name = "FILE", conflicts_with = "socket")]
    config: Option<PathBuf>,
    /// The engine's control socket [default: that of --config, or /run/wireglass/control.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Says why there is no answer, and what to do about it.
pub(super) fn no_answer(socket: &Path, error: &AskError) -> ExitCode {
    errln!("wireglass: {}: {error}", socket.display());
    if matches!(error, AskError::Refused(Refusal::Request, _)) {
        errln!("wireglass: if that engine is older than this command, restart it with this `wireglass`");
    }
    ExitCode::FAILURE
}

impl EngineSocket {
    /// Asks the engine. Otherwise says what is wrong, and with which status to end.
    pub(super) fn ask<T>(&self, ask: impl FnOnce(&Path) -> Result<T, AskError>) -> Result<T, ExitCode> {
        let socket = self.path().map_err(|message| {
            errln!("{message}");
            ExitCode::from(USAGE)
        })?;
        ask(&socket).map_err(|error| no_answer(&socket, &error))
    }

    /// Where it is.
    ///
    /// # Errors
    /// What is wrong with the configuration, in words for the user.
    pub(super) fn path(&self) -> Result<PathBuf, String> {
        match (&self.socket, &self.config) {
            (Some(socket), _) => Ok(socket.clone()),
            (None, None) => Ok(DEFAULT_SOCKET.into()),
            (None, Some(file)) => match config::control_socket(file) {
                Ok(Some(socket)) => Ok(socket),
                Ok(None) => Err(format!(
                    "wireglass: {}: control.socket is \"off\": set a path there, and restart the engine",
                    file.display()
                )),
                Err(faults) => Err(describe(&faults)),
            },
        }
    }
}
