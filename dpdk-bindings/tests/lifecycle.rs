//! EAL's life in a process of its own: started once, cleaned up when the last thing made from it is gone.

mod support;

use std::fs;
use std::slice;

use dpdk::{Eal, Error, LogLevel, Port, PortConfig, set_log_level, set_log_level_of};
use support::{EAL_ARGS, frame, pool, receive};

#[test]
fn eal_is_started_once_and_cleaned_up_after_its_last_user() {
    assert!(matches!(Eal::init(&["nul\0"]), Err(Error::Argument { .. })), "refused before EAL is asked");
    let affinity = affinity_of_this_thread();
    let args = [EAL_ARGS.as_slice(), &["--vdev", "net_ring0"]].concat();
    let eal = Eal::init(&args).expect("starts");
    assert!(matches!(Eal::init(&args), Err(Error::AlreadyInitialised)));
    assert_eq!(affinity_of_this_thread(), affinity, "the caller is not pinned");
    assert!(eal.version().starts_with("DPDK 2"), "{}", eal.version());
    assert!(["shared", "static"].contains(&eal.link_mode()));
    set_log_level(LogLevel::Error);
    set_log_level_of("pmd.net.*", LogLevel::Warning).expect("a pattern");
    assert!(set_log_level_of("nul\0", LogLevel::Warning).is_err());

    assert_eq!(eal.ports().expect("answers").len(), 1);
    let pool = pool(&eal, "lifecycle", 255);
    let mut port = Port::by_name(&eal, "net_ring0").expect("from the arguments");
    let mut queues = port.start(&PortConfig::default(), slice::from_ref(&pool)).expect("starts");
    drop((eal, port));
    assert!(is_running(), "queues and a pool are left");
    let mut burst = dpdk::Burst::<4>::new();
    assert!(burst.push(frame(&pool, 0, 60)).is_ok());
    assert_eq!(queues.tx[0].tx(&mut burst), 1);
    assert!(receive(&mut queues.rx[0], &mut burst, 1));
    drop(burst);
    assert_eq!(pool.in_use(), 0);
    drop(queues);
    assert!(is_running(), "a pool is left");
    assert!(has_memory());
    drop(pool);
    assert!(!is_running() && !has_memory(), "cleaned up");
    assert!(matches!(Eal::init(&args), Err(Error::AlreadyInitialised)), "DPDK starts once per process");
}

/// Names of this process's threads include the one that EAL lives on.
fn is_running() -> bool {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux").flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .any(|name| name.trim() == "dpdk-main")
}

/// EAL's memory without hugepages is a file of this name, mapped.
fn has_memory() -> bool {
    fs::read_to_string("/proc/self/maps").expect("Linux").contains("nohuge")
}

fn affinity_of_this_thread() -> String {
    let status = fs::read_to_string("/proc/thread-self/status").expect("Linux");
    status.lines().find(|line| line.starts_with("Cpus_allowed_list")).expect("Linux").to_owned()
}
