//! Standard output and standard error, which may be closed, or full, at any time.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// A line to standard error, as `eprintln!` has it; but who reads it may be gone, and then nobody is told.
macro_rules! errln {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}

/// Prints a text, and returns `status`: if the reader has seen enough (`| head`), too. What cannot be written is a failure.
pub(super) fn print(text: impl Display, status: ExitCode) -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    printed(write!(out, "{text}").and_then(|()| out.flush()), status)
}

/// The status of a command whose output is written, or not.
pub(super) fn printed(written: io::Result<()>, status: ExitCode) -> ExitCode {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            errln!("wireglass: cannot write: {error}");
            ExitCode::FAILURE
        }
        _ => status,
    }
}
