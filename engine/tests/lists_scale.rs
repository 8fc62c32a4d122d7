//! A million names: memory, time to load, time to look one up. The figures are the issue's.
#![allow(missing_docs, clippy::unwrap_used)]

mod config_support;

use std::fmt::Write;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use config_support::{Folder, GOOD, cpu_time};

const NAMES: u32 = 1_000_000;
const LOOKUPS: u32 = 1_000_000;

/// Numbers in no order, the same ones each time.
fn scattered(i: u32) -> u32 {
    i.wrapping_mul(2_654_435_761)
}

/// `cargo test --release -p wireglass --test lists_scale -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn a_million_names() {
    let folder = Folder::new();
    let mut names = String::new();
    (0..NAMES).for_each(|i| writeln!(names, "w{:08x}.example{}.com", scattered(i), i % 977).unwrap());
    folder.write("domains", &names);
    let rules = "[[list]]\nname = \"million\"\nkind = \"domain\"\nfiles = [\"domains\"]\n\
        [[rule]]\nname = \"r\"\nsni = { list = \"million\" }\naction = \"block\"\n";
    let start = cpu_time();
    let config = folder.load(&format!("{GOOD}{rules}")).unwrap_or_else(|faults| panic!("{faults}"));
    let loaded = cpu_time() - start;
    let lists = &config.lists.lists;
    let bytes = lists.domain_bytes();

    let asked: Vec<_> = (0..LOOKUPS)
        .map(|i| {
            // Every second one is on the list, by the name above it.
            let i = scattered(i) % (2 * NAMES);
            format!("www.w{:08x}.example{}.com", scattered(i), i % 977)
        })
        .collect();
    let start = cpu_time();
    let found = asked.iter().filter(|name| !black_box(lists.of_domain(name)).is_empty()).count();
    let each = (cpu_time() - start) / LOOKUPS;
    println!(
        "{} names: {loaded:?} to load, {bytes} bytes, {each:?} a look-up ({found} found)",
        lists.iter().next().unwrap().entries
    );
    assert!(found > 400_000 && found < 600_000, "{found}");
    assert!(bytes < 40_000_000, "{bytes}");
    assert!(loaded < Duration::from_secs(2), "{loaded:?}");
    assert!(each < Duration::from_micros(1), "{each:?}");
}

#[test]
#[ignore = "a measurement"]
fn a_hundred_thousand_networks() {
    let folder = Folder::new();
    let mut networks = String::new();
    (0..100_000).for_each(|i| writeln!(networks, "{}", Ipv4Addr::from_bits(scattered(i))).unwrap());
    folder.write("networks", &networks);
    let list = "[[list]]\nname = \"n\"\nkind = \"ip\"\nfiles = [\"networks\"]\n";
    let config = folder.load(&format!("{GOOD}{list}")).unwrap_or_else(|faults| panic!("{faults}"));
    let (lists, id) = (&config.lists.lists, config.lists.sources[0].id);
    let start = cpu_time();
    let on = |i: u32| lists.has_address(id, IpAddr::V4(Ipv4Addr::from_bits(scattered(i))));
    let found = (0..LOOKUPS).filter(|i| black_box(on(*i))).count();
    println!("{:?} a look-up", (cpu_time() - start) / LOOKUPS);
    assert_eq!(found, 100_000);
}
