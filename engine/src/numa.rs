//! Where a core's memory is.

use std::fs;

/// NUMA node of a core, as Linux tells it; none where it does not.
pub fn node_of(core: usize) -> Option<u16> {
    let folder = fs::read_dir(format!("/sys/devices/system/cpu/cpu{core}")).ok()?;
    let names: Vec<String> =
        folder.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    node_named(&names)
}

/// The node in a core's folder, whose names are given: there is a link `nodeN` to it.
pub fn node_named(names: &[String]) -> Option<u16> {
    names.iter().find_map(|name| name.strip_prefix("node")?.parse().ok())
}
