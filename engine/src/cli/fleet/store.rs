//! Asking etcd for a command.

use std::future::Future;
use std::process::ExitCode;

use super::FleetFile;
use crate::cli::plain::{Plain, sentence};
use crate::cli::{USAGE, describe};
use crate::config;
use crate::fleet::store::Store;
use crate::fleet::view::View;

/// Connects, and does something with it. Otherwise says what is wrong.
pub(in crate::cli) fn with_store<F: Future<Output = ExitCode>>(
    file: &FleetFile,
    then: impl FnOnce(Store) -> F,
) -> ExitCode {
    let fleet = match config::fleet(&file.config) {
        Ok(fleet) if fleet.is_on() => fleet,
        Ok(_) => {
            errln!(
                "wireglass: {}: fleet.endpoints: missing: expected the URLs of etcd",
                file.config.display()
            );
            return ExitCode::from(USAGE);
        }
        Err(faults) => {
            errln!("{}", describe(&faults));
            return ExitCode::from(USAGE);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            errln!("wireglass: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        match Store::connect(&fleet).await {
            Ok(store) => then(store).await,
            Err(why) => {
                errln!("wireglass: etcd at {}: {why}", fleet.endpoints.join(", "));
                ExitCode::FAILURE
            }
        }
    })
}

/// What is there now. What is not taken of it is told.
pub(in crate::cli) async fn view(store: &mut Store) -> Result<View, ExitCode> {
    let all = store.snapshot(|key, why| errln!("wireglass: {}: not taken: {why}", Plain(key))).await;
    all.map(|(view, _)| view).map_err(|why| failed(&why))
}

pub(super) fn failed(why: &str) -> ExitCode {
    errln!("wireglass: etcd: {}", sentence(why));
    ExitCode::FAILURE
}

/// Who asks: the user of this process, at this host.
pub(in crate::cli) fn operator() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let user = user.map_or_else(|| nix::unistd::geteuid().to_string(), |user| user.name);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    // Whoever used sudo is still known.
    let user = std::env::var("SUDO_USER").unwrap_or(user);
    let mut who = format!("{user}@{}", host.trim());
    who.truncate(who.floor_char_boundary(128));
    who
}
