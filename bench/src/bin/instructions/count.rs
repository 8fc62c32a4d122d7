//! One case under valgrind.

use std::{env, fs, process};

use super::callgrind;

/// Instructions for one operation of a case.
pub(crate) fn count(case: &str) -> Result<f64, String> {
    let this = env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    let out = env::temp_dir().join(format!("wireglass-instructions-{}-{case}", process::id()));
    let output = callgrind::command("wireglass_instructions::counted*", &out)
        .arg(this)
        .args(["--one", case])
        .output()
        .map_err(|error| format!("cannot start valgrind: {error}; `scripts/setup.sh --all` installs it"))?;
    let profile = fs::read_to_string(&out);
    let _ = fs::remove_file(&out);
    let failed = |what: &str| format!("{case}: {what}\n{}", String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(failed("it failed"));
    }
    let operations: Option<u64> = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
    let instructions = profile.ok().as_deref().and_then(callgrind::total);
    match (instructions, operations) {
        (Some(instructions @ 1..), Some(operations @ 1..)) => Ok(instructions as f64 / operations as f64),
        _ => Err(failed("nothing was counted")),
    }
}
