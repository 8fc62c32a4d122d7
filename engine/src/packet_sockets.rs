//! Who else has packet sockets on an interface. The kernel allows any number, and gives each a copy of every frame: two engines would both
//! answer.

use std::fs;
use std::path::Path;

use crate::interfaces::{KernelPort, Obstacle, Sockets};

/// Another process of this program has the port's interface open, below a root folder with `proc` and `sys`.
pub fn other_engine(root: &Path, port: &KernelPort) -> Option<Obstacle> {
    if port.sockets != Sockets::Packet {
        return None;
    }
    let sockets = sockets_on(root, &port.interface);
    let own = read(&root.join("proc/self/comm"))?;
    let processes = fs::read_dir(root.join("proc")).ok()?.flatten();
    let other = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(|id: &u32| {
        let process = root.join("proc").join(id.to_string());
        *id != std::process::id()
            && read(&process.join("comm")).as_ref() == Some(&own)
            && has_one_of(&process, &sockets)
    })?;
    Some(Obstacle {
        found: format!("{port} is in use by process {other}, another {own}"),
        fix: "stop that one first, or give `run --take-over 10m`".into(),
    })
}

/// Inodes of the packet sockets that are bound to the interface: proc_packet(5) has the interface's number in the fifth column.
fn sockets_on(root: &Path, interface: &str) -> Vec<String> {
    let number = read(&root.join("sys/class/net").join(interface).join("ifindex"));
    let table = fs::read_to_string(root.join("proc/net/packet")).unwrap_or_default();
    let inode = |line: &str| {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        (words.get(4).copied() == number.as_deref())
            .then(|| words.last().map(|inode| format!("socket:[{inode}]")))?
    };
    table.lines().skip(1).filter_map(inode).collect()
}

fn has_one_of(process: &Path, sockets: &[String]) -> bool {
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
    !sockets.is_empty()
        && targets.into_iter().any(|target| sockets.iter().any(|socket| target == Path::new(socket)))
}

fn read(file: &Path) -> Option<String> {
    fs::read_to_string(file).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn another_engine_is_found_by_its_packet_sockets() {
        let root = tempfile::tempdir().expect("a folder");
        let file = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("below the root")).expect("writable");
            fs::write(path, text).expect("writable");
        };
        file("sys/class/net/lan0/ifindex", "3\n");
        file("sys/class/net/wan0/ifindex", "4\n");
        file("proc/self/comm", "wireglass\n");
        file(
            "proc/net/packet",
            "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n\
             000000005854cd10 3      3    0003   3     1 0      0      4961036\n\
             000000005854cd11 3      3    0003   4     1 0      0      4961037\n",
        );
        // Somebody who looks at the wire, and one who has it.
        for (process, name, socket) in [(4711, "tcpdump", 4961037), (4712, "wireglass", 4961036)] {
            file(&format!("proc/{process}/comm"), name);
            let files = root.path().join(format!("proc/{process}/fd"));
            fs::create_dir_all(&files).expect("writable");
            symlink("/dev/null", files.join("0")).expect("writable");
            symlink(format!("socket:[{socket}]"), files.join("3")).expect("writable");
        }
        let found = |port| {
            let port = KernelPort::parse(port).expect("a port");
            other_engine(root.path(), &port).map(|obstacle| obstacle.to_string())
        };
        let said = found("af_packet:lan0").expect("in use");
        assert!(
            said.starts_with("af_packet:lan0 is in use by process 4712, another wireglass: stop"),
            "{said}"
        );
        for other in ["af_packet:wan0", "af_packet:eth7", "xdp:lan0"] {
            assert_eq!(found(other), None, "{other}");
        }
    }
}
