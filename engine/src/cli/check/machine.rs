//! What a configuration wants of a machine, and does not find on this one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::ca_files;
use crate::cli::doctor::facts::online_cores;
use crate::cli::doctor::findings::{DAY, SOON};
use crate::cli::doctor::plan::{folder, open_to_others};
use crate::config::{Config, is_at_token};
use crate::interfaces::Kernel;

/// Notes, each a sentence.
pub(super) fn notes(config: &Config) -> Vec<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut notes = cores(&config.workers.cores, &online_cores(Path::new("/")));
    notes.extend(authorities(config, now.try_into().unwrap_or(i64::MAX)));
    notes.extend(places(config));
    let kernel = Kernel::read(Path::new("/"));
    let bare = config.port_names().filter_map(|name| kernel.bare_interface(name));
    notes.extend(bare.map(|obstacle| obstacle.to_string()));
    notes
}

/// None are known: not on this kind of machine.
fn cores(wanted: &[usize], online: &[usize]) -> Vec<String> {
    let absent = wanted.iter().filter(|core| !online.is_empty() && !online.contains(core));
    absent.map(|core| format!("workers.cores: this machine has no core {core}")).collect()
}

/// CAs that end soon: clients have to have another one before.
fn authorities(config: &Config, now: i64) -> Vec<String> {
    let files = [("trusted", &config.ca.trusted), ("untrusted", &config.ca.untrusted)];
    let ending = files.into_iter().filter_map(|(which, files)| {
        let days = (ca_files::describe(Path::new(&files.cert_name)).ok()?.not_after - now) / DAY;
        let after = "then clients refuse all copies: `wireglass ca init` makes another, which they have to have before";
        (days < SOON).then(|| format!("ca.{which}: {} ends in {days} day(s); {after}", files.cert_name))
    });
    ending.collect()
}

/// Whoever may write there decides on what is decrypted, and by whose key.
fn places(config: &Config) -> Vec<String> {
    let file = config.file.display().to_string();
    let files = [&config.ca.trusted, &config.ca.untrusted];
    let named = files.into_iter().flat_map(|files| [&files.cert_name, &files.key_name]).chain([&file]);
    let named = named.filter(|name| !is_at_token(name));
    let named = named.flat_map(|name| [Path::new(name), folder(name)]);
    let places: BTreeSet<_> = named.filter_map(|place| fs::canonicalize(place).ok()).collect();
    let open = places.iter().filter(|place| open_to_others(place));
    open.map(|place| format!("others can change {0}: chown root {0}; chmod go-w {0}", place.display()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_that_are_not_there() {
        assert_eq!(cores(&[1, 99], &[0, 1]), ["workers.cores: this machine has no core 99"]);
        assert!(cores(&[99], &[]).is_empty());
    }
}
