//! `wireglass fleet learned`: what engines tell each other of servers.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::ExitCode;

use serde::Serialize;

use super::FleetFile;
use super::status::time;
use super::store::{view, with_store};
use crate::cli::orders::print_json;
use crate::cli::print;
use crate::control::unix_now;
use crate::fleet::schema::CostlyServer;
use crate::fleet::view::View;

#[derive(Serialize)]
struct Learned<'v> {
    engines: Vec<OfEngine<'v>>,
}

/// What one engine has told.
#[derive(Serialize)]
struct OfEngine<'v> {
    name: &'v str,
    /// Servers that it cannot decrypt: `wireglass exclusions list` at an engine has them.
    exclusions: usize,
    /// Chains that it has verified: which, only engines can read.
    chains: usize,
    costly_servers: &'v [CostlyServer],
}

impl<'v> Learned<'v> {
    fn of(view: &'v View) -> Self {
        let exclusions = view.exclusions.keys();
        let names: BTreeSet<_> = exclusions
            .chain(view.chains.keys())
            .chain(view.costly.keys())
            .chain(view.engines.keys())
            .collect();
        let engines = names.into_iter().map(|name| OfEngine {
            name,
            exclusions: view.exclusions.get(name).map_or(0, |all| all.len()),
            chains: view.chains.get(name).map_or(0, |all| all.len()),
            costly_servers: view.costly.get(name).map_or(&[], |kept| &kept.value.servers),
        });
        Self { engines: engines.collect() }
    }

    fn table(&self, now: u64) -> String {
        let mut text = String::from("ENGINE                EXCLUSIONS  CHAINS  COSTLY SERVERS\n");
        for OfEngine { name, exclusions, chains, costly_servers } in &self.engines {
            let costly = costly_servers.len();
            let _ = writeln!(text, "{name:<21} {exclusions:<11} {chains:<7} {costly}");
        }
        for OfEngine { name, costly_servers, .. } in &self.engines {
            for CostlyServer { address, until } in *costly_servers {
                let left = time(until.saturating_sub(now));
                let _ = writeln!(text, "{name:<21} costly to verify: {address}, for {left} more");
            }
        }
        text
    }
}

pub(super) fn show(file: &FleetFile, json: bool) -> ExitCode {
    with_store(file, async |mut store| {
        let view = match view(&mut store).await {
            Ok(view) => view,
            Err(status) => return status,
        };
        let learned = Learned::of(&view);
        if json {
            print_json(&learned);
            return ExitCode::SUCCESS;
        }
        print(learned.table(unix_now()), ExitCode::SUCCESS)
    })
}
