//! Which running engine a command means.

use std::path::PathBuf;

use clap::Args;

use super::describe;
use crate::config;
use crate::control::DEFAULT_SOCKET;

/// The engine, by its socket or by the configuration that names it.
#[derive(Debug, Args)]
pub(super) struct EngineSocket {
    /// Configuration of the engine, for its `control.socket`
    #[arg(short, long, value_name = "FILE", conflicts_with = "socket")]
    config: Option<PathBuf>,
    /// Socket of the engine [default: that of the configuration, or /run/wireglass/control.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl EngineSocket {
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
                    "wireglass: {}: control.socket is \"off\": give the engine a path there, and start it again",
                    file.display()
                )),
                Err(faults) => Err(describe(&faults)),
            },
        }
    }
}
