//! Ports that are started to be looked at, with no engine behind them.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use dpdk::{
    Applied, Eal, HEADROOM, LogLevel, Mempool, MempoolConfig, Port, PortConfig, PortInfo, RxOffloads,
    TxOffloads, set_log_level,
};

use super::super::PortCapabilities;
use super::{AF_XDP, L2_HEADER, MIN_ROOM, OpenError, WirePorts};

/// How long a link may take to come up once its port is started.
const LINK: Duration = Duration::from_secs(4);
const LINK_STEP: Duration = Duration::from_millis(50);
/// Enough for the receive rings of a few queues.
const MBUFS: u32 = 8191;

/// Starts the ports of all wires as [`Ports::open`](super::Ports::open) would, waits for their links, and closes them again.
/// Frames that arrive meanwhile are lost.
///
/// # Errors
/// [`OpenError`], whose text says what to do.
pub fn look(
    eal_args: &[String],
    wires: &[WirePorts],
    workers: usize,
) -> Result<Vec<PortCapabilities>, OpenError> {
    set_log_level(LogLevel::Warning);
    let eal = Arc::new(Eal::init(eal_args)?);
    let names = wires.iter().flat_map(|wire| [(&wire.inside, wire.mtu), (&wire.outside, wire.mtu)]);
    let mut ports = Vec::new();
    for (i, (name, mtu)) in names.enumerate() {
        let mut port = Port::by_name(&eal, name)?;
        let info = port.info()?;
        let room = mtu.unwrap_or(info.mtu).saturating_add(L2_HEADER).max(MIN_ROOM).saturating_add(HEADROOM);
        let umem = info.driver == AF_XDP;
        let pool = MempoolConfig {
            mbufs: MBUFS,
            data_room: room,
            socket: info.socket,
            umem,
            ..MempoolConfig::default()
        };
        let pool = Mempool::new(&eal, &format!("doctor{i}"), &pool)?;
        let workers = u16::try_from(workers).unwrap_or(u16::MAX);
        let queues = |offered: u16| workers.min(offered).max(1);
        let config = PortConfig {
            rx_queues: queues(info.max_rx_queues),
            tx_queues: queues(info.max_tx_queues),
            mtu,
            ..PortConfig::default()
        };
        let queues = port.start(&config, &[pool])?;
        ports.push((port, info, queues));
    }
    let deadline = Instant::now() + LINK;
    let up = |port: &Port| port.link().is_ok_and(|link| link.up);
    while !ports.iter().all(|(port, ..)| up(port)) && Instant::now() < deadline {
        thread::sleep(LINK_STEP);
    }
    ports.iter().map(|(port, info, queues)| offer(port, info, &queues.applied)).collect()
}

fn offer(port: &Port, info: &PortInfo, applied: &Applied) -> Result<PortCapabilities, OpenError> {
    let link = port.link()?;
    let rx = [(RxOffloads::IPV4_CKSUM, "rx ipv4-cksum"), (RxOffloads::TCP_CKSUM, "rx tcp-cksum")];
    let tx = [
        (TxOffloads::IPV4_CKSUM, "tx ipv4-cksum"),
        (TxOffloads::TCP_CKSUM, "tx tcp-cksum"),
        (TxOffloads::MULTI_SEGS, "tx multi-segs"),
        (TxOffloads::TCP_TSO, "tx tcp-tso"),
    ];
    let lacks_rx = rx.into_iter().filter(|(flag, _)| !info.rx_offloads.contains(*flag)).map(|(_, name)| name);
    let lacks_tx = tx.into_iter().filter(|(flag, _)| !info.tx_offloads.contains(*flag)).map(|(_, name)| name);
    Ok(PortCapabilities {
        name: port.name().to_owned(),
        driver: info.driver.clone(),
        node: info.socket.map(usize::from),
        mtu: applied.mtu,
        link: link.up,
        // It is up, or should be.
        link_settable: port.set_link(true).is_ok(),
        speed_mbps: (link.up && ![0, u32::MAX].contains(&link.speed_mbps)).then_some(link.speed_mbps),
        rx_queues: usize::from(info.max_rx_queues),
        tx_queues: usize::from(info.max_tx_queues),
        rss: info.rss_hash_types != 0,
        rx_offloads: info.rx_offloads.to_string(),
        tx_offloads: info.tx_offloads.to_string(),
        lacks: lacks_rx.chain(lacks_tx).map(str::to_owned).collect(),
    })
}
