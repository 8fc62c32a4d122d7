//! Starts the signer, and starts it again when it dies. It has the socket and never reads from it: it knows no key and hears no request.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long it waits after a death, at first and at most. One that has lived for longer than that counts as the first.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// Keeps a signer at the socket that is this process's standard input, until the engine has closed its end.
///
/// # Errors
/// When there is no socket, or this program cannot be started.
pub fn keep(config: &Path) -> io::Result<ExitCode> {
    let mut pause = PAUSES[0];
    loop {
        let began = Instant::now();
        let status = once(config)?;
        if status.success() {
            return Ok(ExitCode::SUCCESS);
        }
        pause = if began.elapsed() > PAUSES[1] { PAUSES[0] } else { pause };
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSES[1]);
    }
}

/// This program, whatever lies at its path by now.
fn once(config: &Path) -> io::Result<ExitStatus> {
    Command::new("/proc/self/exe")
        .args(["signer", "--serve", "-c"])
        .arg(config)
        .stdin(io::stdin().as_fd().try_clone_to_owned()?)
        .stdout(Stdio::null())
        .status()
}
