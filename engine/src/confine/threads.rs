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

/// Processes that this one has started, and that are still there.
///
/// # Errors
/// There is no such process, or the kernel does not tell.
pub fn children(root: &Path, process: i32) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for thread in fs::read_dir(root.join(format!("proc/{process}/task")))? {
        let listed = fs::read_to_string(thread?.path().join("children"))?;
        found.extend(listed.split_whitespace().filter_map(|number| number.parse::<i32>().ok()));
    }
    Ok(found)
}

/// What a process was started with.
pub fn command_line(root: &Path, process: i32) -> Vec<String> {
    let line = fs::read(root.join(format!("proc/{process}/cmdline"))).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
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

    #[test]
    fn who_was_started_by_whom() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("a program");
        let (root, own) = (Path::new("/"), std::process::id().cast_signed());
        let number = child.id().cast_signed();
        assert!(children(root, own).expect("it runs").contains(&number));
        // Between fork and exec it still has this program's words, or none.
        let began = std::time::Instant::now();
        while !command_line(root, number).iter().any(|word| word == "60") {
            assert!(began.elapsed() < std::time::Duration::from_secs(10), "no `sleep 60` after ten seconds");
            std::thread::yield_now();
        }
        child.kill().and_then(|()| child.wait()).expect("it ends");
        assert!(children(root, i32::MAX).is_err() && command_line(root, i32::MAX) == [""]);
    }
}
