//! memif: ports that two processes share memory through; frames are copied into it and out of it.

use std::time::{Duration, Instant};

use dpdk::Port;

use super::Failure;

/// Frames that each ring holds, as a power of two.
const RING_LOG2: u32 = 12;

/// Who makes the socket, and who the rings.
#[derive(Clone, Copy)]
pub(super) enum Role {
    /// The generator: it is there first.
    Server,
    /// The engine, or testpmd.
    Client,
}

/// The ports in the generator's process and in the other: towards the clients, towards the servers.
pub(super) const fn names() -> [&'static str; 2] {
    ["net_memif0", "net_memif1"]
}

/// A name for the socket, in the abstract namespace: no file is left behind.
pub(super) fn socket() -> String {
    format!("wireglass-bench-{}", std::process::id())
}

/// EAL's arguments for both ports.
pub(super) fn arguments(socket: &str, role: Role) -> [String; 2] {
    let role = match role {
        Role::Server => "server",
        Role::Client => "client",
    };
    let mut id = 0..;
    names().map(|name| {
        let id = id.next().unwrap_or(0);
        format!("--vdev={name},role={role},id={id},socket={socket},socket-abstract=yes,rsize={RING_LOG2}")
    })
}

/// Waits until the other process is there.
pub(super) fn wait_for_links(ports: &[Port]) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let up = ports.iter().map(|port| port.link().map(|link| link.up));
        if up.collect::<Result<Vec<_>, _>>()?.into_iter().all(|up| up) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err("the other process did not connect its memif ports".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
