//! Starts the signer, and starts it again when it dies. It has the socket and never reads from it: it knows no key and hears no request.

use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long it waits after a death, at first and at most. One that has lived for longer than that counts as the first.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// What a signer ends with whose token has refused the PIN. Another one would try the same PIN, until the token locks it: there is none until the
/// engine is started anew.
pub const PIN_REFUSED: u8 = 4;
/// How often it is looked whether the engine is there, where there is nothing else to do.
const LOOK: Duration = Duration::from_millis(200);

/// Keeps a signer at the socket that is this process's standard input, until the engine has closed its end.
///
/// # Errors
/// When there is no socket.
pub fn keep(config: &Path) -> io::Result<ExitCode> {
    let mut pause = PAUSES[0];
    loop {
        let began = Instant::now();
        match once(config) {
            Ok(status) if status.success() => return Ok(ExitCode::SUCCESS),
            Ok(status) if status.code() == Some(i32::from(PIN_REFUSED)) => {
                while !engine_has_gone()? {
                    thread::sleep(LOOK);
                }
                return Ok(ExitCode::from(PIN_REFUSED));
            }
            Ok(_) => {}
            // No memory, no more processes: that may pass.
            Err(error) => drop(writeln!(io::stderr(), "wireglass: the signer cannot be started: {error}")),
        }
        pause = if began.elapsed() > PAUSES[1] { PAUSES[0] } else { pause };
        thread::sleep(pause);
        if engine_has_gone()? {
            return Ok(ExitCode::SUCCESS);
        }
        pause = (pause * 2).min(PAUSES[1]);
    }
}

/// Nobody is at the other end any more.
fn engine_has_gone() -> io::Result<bool> {
    let input = io::stdin();
    let mut socket = [PollFd::new(input.as_fd(), PollFlags::empty())];
    poll(&mut socket, PollTimeout::ZERO)?;
    Ok(socket[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)))
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
