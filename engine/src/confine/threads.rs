//! What the threads of a running process may, as the kernel tells: `/proc/PID/task`.

use std::path::Path;
use std::{fs, io};

/// One thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadRights {
    /// Its name.
    pub name: String,
    /// Number of its user.
    pub uid: u32,
    /// Effective capabilities, a bit each.
    pub capabilities: u64,
    /// It can gain no privileges by running a program.
    pub no_new_privs: bool,
    /// Filters of system calls. The first one is all threads', what follows is for this kind.
    pub filters: u32,
}

/// The threads of a process, in the order of their numbers. `root` is `/`, or a folder that looks like it.
///
/// # Errors
/// There is no such process.
pub fn of_process(root: &Path, process: i32) -> io::Result<Vec<ThreadRights>> {
    let folder = root.join(format!("proc/{process}/task"));
    let numbers =
        fs::read_dir(&folder)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable();
    // A thread that ends meanwhile is none.
    let read =
        |number: i32| Some(parse(&fs::read_to_string(folder.join(number.to_string()).join("status")).ok()?));
    Ok(numbers.into_iter().filter_map(read).collect())
}

fn parse(status: &str) -> ThreadRights {
    let mut thread = ThreadRights::default();
    for (key, value) in status.lines().filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match key {
            "Name" => value.clone_into(&mut thread.name),
            "Uid" => {
                thread.uid =
                    value.split_whitespace().nth(1).and_then(|uid| uid.parse().ok()).unwrap_or_default()
            }
            "CapEff" => thread.capabilities = u64::from_str_radix(value, 16).unwrap_or_default(),
            "NoNewPrivs" => thread.no_new_privs = value == "1",
            "Seccomp_filters" => thread.filters = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
    thread
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_a_thread() {
        let status = "Name:\twg-worker-1\nUid:\t0\t9464\t9464\t9464\nCapEff:\t0000000000001000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n";
        let expected = ThreadRights {
            name: "wg-worker-1".into(),
            uid: 9464,
            capabilities: 1 << 12,
            no_new_privs: true,
            filters: 3,
        };
        assert_eq!(parse(status), expected);
        let own = of_process(Path::new("/"), std::process::id().cast_signed()).expect("it runs");
        assert!(own.len() > 1, "this thread has a main thread");
        assert!(of_process(Path::new("/"), i32::MAX).is_err());
    }
}
