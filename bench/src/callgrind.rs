//! A program under valgrind's callgrind, which counts the instructions of one function and of all that it calls.

use std::env;
use std::path::Path;
use std::process::Command;

/// A command to which the program and its arguments are added. `function` is its name, with `*` for any part; what is counted is
/// left in `profile`.
pub(crate) fn command(function: &str, profile: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command
        .args(["--quiet", "--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={function}"))
        .arg("--combine-dumps=yes")
        .arg(format!("--callgrind-out-file={}", profile.display()))
        // What is in it shifts the stack; and symbols that are looked up on the way would count.
        .env_clear()
        .env("LD_BIND_NOW", "1")
        .envs(env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

/// What a profile says of the whole run.
pub(crate) fn total(profile: &str) -> Option<u64> {
    profile.lines().find_map(|line| line.strip_prefix("totals: "))?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_ends_with_its_total() {
        assert_eq!(
            total("# callgrind format\nversion: 1\nevents: Ir\n\nfn=(1) f\n7 12\n\ntotals: 1234\n"),
            Some(1234)
        );
        assert_eq!(total("version: 1\nsummary: 12\n"), None);
    }
}
