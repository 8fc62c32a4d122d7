//! One case under valgrind.

use std::process::Command;
use std::{env, fs, process};

/// Instructions for one operation of a case.
pub(crate) fn count(case: &str) -> Result<f64, String> {
    let this = env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    let out = env::temp_dir().join(format!("wireglass-instructions-{}-{case}", process::id()));
    let output = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--collect-atstart=no"])
        .args(["--toggle-collect=wireglass_instructions::counted*", "--combine-dumps=yes"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(this)
        .args(["--one", case])
        // What is in it shifts the stack; and symbols that are looked up on the way would count.
        .env_clear()
        .env("LD_BIND_NOW", "1")
        .envs(env::var_os("PATH").map(|path| ("PATH", path)))
        .output()
        .map_err(|error| format!("cannot start valgrind: {error}; `scripts/setup.sh --all` installs it"))?;
    let profile = fs::read_to_string(&out);
    let _ = fs::remove_file(&out);
    let failed = |what: &str| format!("{case}: {what}\n{}", String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(failed("it failed"));
    }
    let operations: Option<u64> = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
    let instructions = profile.ok().as_deref().and_then(total);
    match (instructions, operations) {
        (Some(instructions @ 1..), Some(operations @ 1..)) => Ok(instructions as f64 / operations as f64),
        _ => Err(failed("nothing was counted")),
    }
}

/// What a profile says of the whole run.
fn total(profile: &str) -> Option<u64> {
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
