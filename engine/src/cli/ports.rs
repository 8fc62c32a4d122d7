//! The ports that a configuration names: in DPDK's words, and what would keep them from opening.

use std::path::Path;

use crate::config::{self, Config, Wire};
use crate::driver::dpdk::{MirrorPort, WirePorts, has_driver};
use crate::interfaces::Kernel;
use crate::packet_sockets::other_engine;

/// Looks for what would keep ports of the kernel from opening, before DPDK says it in its own words.
pub(super) fn ports_can_open(config: &Config) -> Result<(), String> {
    obstacles_of_ports(config)?;
    let kernel = Kernel::read(Path::new("/"));
    let wants_none = eal_arguments(config).iter().any(|word| word == "--no-huge");
    if let (0, all) = kernel.hugepages()
        && !wants_none
    {
        let found = if all == 0 {
            "there are no hugepages".into()
        } else {
            format!("none of {all} hugepages is free")
        };
        return Err(format!(
            "{found}, but DPDK keeps packets in them: reserve some with `sysctl vm.nr_hugepages=192` (docs/deploy.md: how many, and how at each boot); \
             or use ports `xdp:INTERFACE` or `af_packet:INTERFACE`, which need none"
        ));
    }
    Ok(())
}

/// Looks for another engine that has a wire's port, which the kernel does not mind: into a mirror's, several may send. Wants the right to see
/// others' files, which the engine does not keep.
pub(super) fn ports_are_free(config: &Config) -> Result<(), String> {
    let names = config.wires.iter().flat_map(|wire| [&wire.inside, &wire.outside]);
    let mut ports = names.filter_map(|name| config.kernel_port(name));
    let obstacle = ports.find_map(|port| other_engine(Path::new("/"), &port));
    obstacle.map_or(Ok(()), |obstacle| Err(obstacle.to_string()))
}

/// The same of each port for itself.
pub(super) fn obstacles_of_ports(config: &Config) -> Result<(), String> {
    let kernel = Kernel::read(Path::new("/"));
    if let Some(obstacle) = config.port_names().find_map(|name| kernel.bare_interface(name)) {
        return Err(obstacle.to_string());
    }
    let mirrors = config.mirrors.iter().filter_map(|mirror| mirror.kernel_port.as_ref());
    let ports = config.wires.iter().flat_map(|wire| &wire.kernel_ports);
    for port in ports.chain(mirrors) {
        if let Some(obstacle) = kernel.obstacle(port, config.workers.cores.len()) {
            return Err(obstacle.to_string());
        }
        if !has_driver(port.sockets.driver()) {
            return Err(format!(
                "{port}: DPDK has no driver {0}: apt-get install librte-net-{1}23 (Debian 12), or the package of your DPDK",
                port.sockets.driver(),
                port.sockets.driver().trim_start_matches("net_").replace('_', "-"),
            ));
        }
    }
    Ok(())
}

/// The ports of all wires.
pub(super) fn wire_ports(config: &Config) -> Vec<WirePorts> {
    let ports = |wire: &Wire| WirePorts {
        inside: wire.inside.clone(),
        outside: wire.outside.clone(),
        interfaces: [&wire.inside, &wire.outside].map(|port| Some(config.kernel_port(port)?.interface)),
        mtu: wire.mtu,
        far_end_offloads: false,
    };
    config.wires.iter().map(ports).collect()
}

/// The ports of all mirrors.
pub(super) fn mirror_ports(config: &Config) -> Vec<MirrorPort> {
    let port = |mirror: &config::MirrorPort| MirrorPort {
        name: mirror.port.clone(),
        interface: config.kernel_port(&mirror.port).map(|port| port.interface),
        mtu: mirror.mirror.mtu,
        bypassed: mirror.mirror.bypassed,
    };
    config.mirrors.iter().map(port).collect()
}

/// What EAL is started with.
pub(super) fn eal_arguments(config: &Config) -> Vec<String> {
    config.dpdk.arguments(&config.wires, &config.mirrors, config.workers.cores.len())
}
