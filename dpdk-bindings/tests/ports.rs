//! Ports on virtual devices. Every test ends with a full pool and its device detached.

mod support;

use std::env;
use std::fs;
use std::process::{self, Command};
use std::slice;
use std::thread;

use dpdk::{
    Burst, Eal, Error, IpVersion, L4Checksum, Mbuf, Mempool, MempoolConfig, Port, PortConfig, Queues,
    RxOffloads, RxQueue, TxOffloads, TxQueue, TxRequest,
};
use support::{bytes, drain, eal, frame, header_pool, pool, receive};

/// Attaches a device, and starts it with one queue each way.
fn start(eal: &Eal, name: &str, args: &str, pool: &Mempool) -> (Port, RxQueue, TxQueue) {
    eal.attach_vdev(name, args).expect("the driver is installed");
    let mut port = Port::by_name(eal, name).expect("just attached");
    let mut queues = port.start(&PortConfig::default(), slice::from_ref(pool)).expect("starts");
    (port, queues.rx.remove(0), queues.tx.remove(0))
}

#[test]
fn a_null_port_takes_and_gives_packets() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "null", 1023);
    let (port, mut rx, mut tx) = start(eal, "net_null0", "size=64", &pool);
    let mut burst = Burst::<32>::new();
    assert_eq!(rx.rx(&mut burst), 32);
    assert!(burst.iter().all(|mbuf| mbuf.pkt_len() == 64 && mbuf.port() == port.id()));
    assert_eq!(rx.rx(&mut burst), 0, "a full burst has no room");
    assert_eq!((tx.tx(&mut burst), burst.len()), (32, 0));
    let stats = port.stats().expect("counted");
    assert_eq!((stats.rx_packets, stats.tx_packets), (32, 32));
    drop((port, rx, tx));
    assert!(eal.ports().expect("answers").is_empty(), "stopped and closed");
    eal.detach_vdev("net_null0").expect("nobody holds it");
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_full_ring_leaves_the_unsent_in_the_burst() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "full", 2047);
    let (_port, mut rx, mut tx) = start(eal, "net_ring0", "", &pool);
    let mut burst = Burst::<32>::new();
    let mut sent = 0;
    loop {
        while burst.room() > 0 {
            let number = u16::try_from(sent + burst.len()).expect("the ring is small");
            let mut mbuf = frame(&pool, 0, 60);
            mbuf.data_mut().expect("exclusive")[..2].copy_from_slice(&number.to_be_bytes());
            assert!(burst.push(mbuf).is_ok());
        }
        let n = tx.tx(&mut burst);
        sent += n;
        assert_eq!(burst.len(), 32 - n);
        if n == 0 {
            break;
        }
    }
    assert!(sent > 0);
    assert_eq!(pool.in_use(), sent + 32, "sent ones are in the ring, the others in the burst");
    // The ones left are the ones that were not sent, still in order.
    let number = |mbuf: &dpdk::Mbuf| usize::from(u16::from_be_bytes([mbuf.data()[0], mbuf.data()[1]]));
    assert!(burst.iter().map(number).eq(sent..sent + 32));
    let mut received = Burst::<32>::new();
    let mut next = 0;
    while rx.rx(&mut received) > 0 {
        received.drain().for_each(|mbuf| {
            assert_eq!(number(&mbuf), next);
            next += 1;
        });
    }
    assert_eq!(next, sent);
    assert_eq!(tx.tx(&mut burst), 32, "there is room again");
    drop(burst);
    drain(&mut rx);
    drop((rx, tx, _port));
    eal.detach_vdev("net_ring0").expect("nobody holds it");
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_header_and_a_slice_pass_a_ring_without_a_copy() {
    let (eal, _turn) = eal();
    let (pool, headers) = (pool(eal, "zerocopy", 63), header_pool(eal, "zeroslices", 63));
    let (_port, mut rx, mut tx) = start(eal, "net_ring0", "", &pool);
    let block = frame(&pool, 0, 200).share().expect("one segment");
    let mut packet = frame(&pool, 200, 54);
    packet
        .chain(block.slice(headers.alloc().expect("mbufs are left"), 100..200).expect("in range"))
        .expect("few segments");
    let expected = bytes(&packet);
    let mut burst = Burst::<32>::new();
    assert!(burst.push(packet).is_ok());
    assert_eq!(tx.tx(&mut burst), 1);
    assert!(receive(&mut rx, &mut burst, 1));
    assert_eq!(bytes(&burst[0]), expected);
    assert!(std::ptr::eq(burst[0].segments().nth(1).expect("two segments"), &block.data()[100..200]));
    assert!(burst[0].data_mut().is_some(), "the header is exclusive");
    burst.clear();
    assert_eq!(block.references(), 1);
    drop(block);
    drop((_port, rx, tx));
    eal.detach_vdev("net_ring0").expect("nobody holds it");
    assert_eq!((pool.in_use(), headers.in_use()), (0, 0));
}

/// An Ethernet frame with an IPv4 and a TCP header, no checksums in them, and 300 bytes.
fn segment(pool: &Mempool) -> Mbuf {
    let mut mbuf = frame(pool, 7, 14 + 20 + 20 + 300);
    let data = mbuf.data_mut().expect("exclusive");
    data[12..14].copy_from_slice(&[0x08, 0x00]);
    let length = u16::try_from(data.len() - 14).expect("short");
    data[14..34]
        .copy_from_slice(&[0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0xbe, 0xef, 10, 0, 0, 1, 10, 0, 0, 2]);
    data[16..18].copy_from_slice(&length.to_be_bytes());
    data[46..54].copy_from_slice(&[0x50, 0x10, 0xff, 0xff, 0xbe, 0xef, 0, 0]);
    mbuf
}

/// The sum that a checksum makes all ones (RFC 1071).
fn internet_sum(pieces: &[&[u8]]) -> u16 {
    let words = pieces.iter().flat_map(|piece| piece.chunks(2));
    let sum: u32 =
        words.map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    ((folded & 0xffff) + (folded >> 16)) as u16
}

/// Both ends of a virtio device in one process, as a virtual machine and its host have one each.
#[test]
fn checksums_across_virtio_are_right_whoever_is_left_to_fill_them_in() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "virtio", 8191);
    let socket = env::temp_dir().join(format!("wireglass-vhost-{}.sock", process::id()));
    let (vhost, virtio) = (format!("iface={},tso=1", socket.display()), format!("path={}", socket.display()));
    let config = PortConfig {
        tx_offloads: PortConfig::default().tx_offloads | TxOffloads::TCP_TSO,
        ..PortConfig::default()
    };
    let ends = [("net_vhost0", vhost), ("net_virtio_user0", virtio)].map(|(name, args)| {
        eal.attach_vdev(name, &args).expect("the driver is installed");
        let mut port = Port::by_name(eal, name).expect("just attached");
        let queues = port.start(&config, slice::from_ref(&pool)).expect("starts");
        (port, queues)
    });
    let [(host, mut host_queues), (guest, mut guest_queues)] = ends;
    let asked = TxOffloads::IPV4_CKSUM | TxOffloads::TCP_CKSUM;
    for queues in [&host_queues, &guest_queues] {
        assert!(queues.applied.tx_offloads.contains(asked), "{:?}", queues.applied);
        assert_eq!(queues.applied.done_here, TxOffloads::IPV4_CKSUM);
        assert!(!queues.applied.rx_offloads.contains(RxOffloads::TCP_CKSUM));
    }
    assert!(guest_queues.applied.tx_offloads.contains(TxOffloads::TCP_TSO));
    let (host_tx, guest_tx) = (&mut host_queues.tx[0], &mut guest_queues.tx[0]);
    let cut = L4Checksum::TcpSegments { segsz: 100 };
    let ways = [
        (&mut *guest_tx, &mut host_queues.rx[0], L4Checksum::Tcp),
        (host_tx, &mut guest_queues.rx[0], L4Checksum::Tcp),
    ];
    for (tx, rx, l4) in ways {
        sums_are_right(&pool, tx, rx, l4);
    }
    sums_are_right(&pool, guest_tx, &mut host_queues.rx[0], cut);
    drop((guest, guest_queues, host, host_queues));
    for name in ["net_virtio_user0", "net_vhost0"] {
        eal.detach_vdev(name).expect("nobody holds it");
    }
    assert_eq!(pool.in_use(), 0);
}

fn sums_are_right(pool: &Mempool, tx: &mut TxQueue, rx: &mut RxQueue, l4: L4Checksum) {
    let mut packet = segment(pool);
    let request = TxRequest { l2_len: 14, l3_len: 20, l4_len: 20, ip: IpVersion::V4 { checksum: true }, l4 };
    packet.request_tx(&request).expect("inside the packet");
    let mut burst = Burst::<32>::new();
    assert!(burst.push(packet).is_ok());
    assert_eq!((tx.tx(&mut burst), tx.unsendable()), (1, 0));
    assert!(receive(rx, &mut burst, 1), "{l4:?} does not arrive");
    let got = bytes(&burst[0]);
    assert_eq!(got.len(), 14 + 20 + 20 + 300);
    assert_eq!(internet_sum(&[&got[14..34]]), 0xffff, "IPv4 header, {l4:?}");
    let length = (320_u16).to_be_bytes();
    assert_eq!(internet_sum(&[&got[26..34], &[0, 6], &length, &got[34..]]), 0xffff, "TCP, {l4:?}");
}

#[test]
fn what_a_port_cannot_send_is_freed_and_counted() {
    let (eal, _turn) = eal();
    let (pool, headers) = (pool(eal, "unsendable", 63), header_pool(eal, "unsendslices", 63));
    eal.attach_vdev("net_ring0", "").expect("the driver is installed");
    let mut port = Port::by_name(eal, "net_ring0").expect("just attached");
    let config = PortConfig { tx_offloads: TxOffloads::NONE, ..PortConfig::default() };
    let Queues { mut rx, mut tx, applied } = port.start(&config, slice::from_ref(&pool)).expect("starts");
    assert_eq!(applied.tx_offloads, TxOffloads::NONE);
    let mut burst = Burst::<32>::new();
    assert!(burst.push(frame(&pool, 1, 13)).is_ok(), "shorter than an Ethernet header");
    assert!(burst.push(frame(&pool, 2, 60)).is_ok(), "fine");
    let mut checksum = frame(&pool, 3, 60);
    let request = TxRequest {
        l2_len: 14,
        l3_len: 20,
        l4_len: 20,
        ip: IpVersion::V4 { checksum: true },
        l4: L4Checksum::Tcp,
    };
    checksum.request_tx(&request).expect("inside the packet");
    assert!(burst.push(checksum).is_ok(), "asks for an offload that the port was not started with");
    let mut vlan = frame(&pool, 4, 60);
    vlan.request_vlan(5);
    assert!(burst.push(vlan).is_ok(), "asks for another");
    let mut fits = frame(&pool, 5, 60);
    fits.chain(frame(&pool, 65, 60)).expect("few segments");
    assert!(burst.push(fits).is_ok(), "a chain that fits one segment");
    let block = frame(&pool, 6, 200).share().expect("one segment");
    let mut slices = block.slice(headers.alloc().expect("mbufs are left"), 0..100).expect("in range");
    slices
        .chain(block.slice(headers.alloc().expect("mbufs are left"), 0..100).expect("in range"))
        .expect("few segments");
    assert!(burst.push(slices).is_ok(), "a chain whose first segment has no room");
    drop(block);
    assert_eq!((tx[0].tx(&mut burst), burst.len(), tx[0].unsendable()), (2, 0, 4));
    assert!(receive(&mut rx[0], &mut burst, 2));
    assert_eq!((burst[0].data()[0], burst[1].data()[0]), (2, 5));
    assert_eq!((burst[1].nb_segs(), burst[1].data()), (1, &(5..125).collect::<Vec<u8>>()[..]));
    drop((burst, port, rx, tx));
    eal.detach_vdev("net_ring0").expect("nobody holds it");
    assert_eq!((pool.in_use(), headers.in_use()), (0, 0));
}

#[test]
fn a_capture_is_read_and_written() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "pcap", 1023);
    let directory = std::env::temp_dir().join(format!("dpdk-pcap-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a temporary directory");
    let (input, output) = (directory.join("in.pcap"), directory.join("out.pcap"));
    let frames = [60_usize, 1514, 54].map(|len| (0..len).map(|i| (i % 251) as u8).collect::<Vec<u8>>());
    fs::write(&input, capture(&frames)).expect("writable");
    let args = format!("rx_pcap={},tx_pcap={}", input.display(), output.display());
    let (port, mut rx, mut tx) = start(eal, "net_pcap0", &args, &pool);
    let mut burst = Burst::<32>::new();
    assert!(receive(&mut rx, &mut burst, 3));
    assert!(burst.iter().map(bytes).eq(frames.iter().cloned()));
    assert_eq!(tx.tx(&mut burst), 3);
    let xstats = port.xstats().expect("counted");
    let value = |wanted: &str| xstats.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
    assert_eq!((value("rx_good_packets"), value("tx_good_bytes")), (Some(3), Some(60 + 1514 + 54)));
    port.reset_stats().expect("can");
    assert_eq!(port.stats().expect("counted").tx_packets, 0);
    // Closing the port closes the file.
    drop((port, rx, tx));
    eal.detach_vdev("net_pcap0").expect("nobody holds it");
    let written = fs::read(&output).expect("written by the port");
    assert_eq!(packets_of(&written), frames);
    fs::remove_dir_all(&directory).expect("ours");
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_queue_works_on_another_thread_and_keeps_its_port() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "moved", 255);
    let (port, mut rx, mut tx) = start(eal, "net_ring0", "", &pool);
    drop(port);
    assert!(matches!(Port::by_name(eal, "net_ring0"), Err(Error::PortInUse { .. })), "queues still hold it");
    assert!(matches!(eal.detach_vdev("net_ring0"), Err(Error::PortInUse { .. })));
    assert_eq!(dpdk::lcore_id(), None, "a test's thread is no lcore");
    let mut sent = Burst::<32>::new();
    (0..10).for_each(|first| assert!(sent.push(frame(&pool, first, 60)).is_ok()));
    thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let guard = eal.register_thread().expect("an lcore is left");
            assert_eq!(dpdk::lcore_id(), Some(guard.id()));
            assert!(matches!(eal.register_thread(), Err(Error::AlreadyRegistered)));
            let n = tx.tx(&mut sent);
            drop(guard);
            assert_eq!(dpdk::lcore_id(), None);
            n
        });
        let mut burst = Burst::<32>::new();
        assert!(receive(&mut rx, &mut burst, 10));
        assert!(burst.iter().map(|mbuf| mbuf.data()[0]).eq(0..10));
        assert_eq!(sender.join().expect("no panic"), 10);
    });
    drop(rx);
    eal.detach_vdev("net_ring0").expect("the last queue is gone");
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_port_is_claimed_once_and_can_be_looked_at_before() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "claims", 255);
    eal.attach_vdev("net_ring0", "").expect("the driver is installed");
    assert!(eal.attach_vdev("net_ring0", "").is_err(), "the name is taken");
    assert!(eal.attach_vdev("no_such_driver0", "").is_err());
    let found = eal.ports().expect("answers");
    let info = found.iter().find(|info| info.name == "net_ring0").expect("listed");
    assert_eq!((info.driver.as_str(), info.bus.as_str()), ("net_ring", "vdev"));
    assert!(info.tx_offloads.contains(TxOffloads::MULTI_SEGS));
    assert!(info.to_string().contains("net_ring0, net_ring on vdev"), "{info}");

    let looked_at = Port::by_name(eal, "net_ring0").expect("free");
    assert!(matches!(Port::by_id(eal, looked_at.id()), Err(Error::PortInUse { .. })));
    drop(looked_at);
    let mut port = Port::by_name(eal, "net_ring0").expect("free again");
    let many = PortConfig { rx_queues: info.max_rx_queues + 1, ..PortConfig::default() };
    let refused = port.start(&many, slice::from_ref(&pool));
    assert!(matches!(refused, Err(Error::TooManyQueues { direction: "rx", .. })), "{refused:?}");
    assert!(matches!(port.start(&PortConfig::default(), &[]), Err(Error::NothingToStart { .. })));
    let queues = port.start(&PortConfig::default(), slice::from_ref(&pool)).expect("can be tried again");
    assert!(port.link().expect("answers").up);
    for up in [false, true, true] {
        port.set_link(up).expect("net_ring can");
        assert_eq!(port.link().expect("answers").up, up);
    }
    assert_eq!(
        (queues.applied.rss.clone(), queues.applied.rx_offloads),
        (None, RxOffloads::NONE),
        "none offered"
    );
    assert!(queues.applied.promiscuous);
    let again = port.start(&PortConfig::default(), slice::from_ref(&pool));
    assert!(matches!(again, Err(Error::PortStarted { .. })));
    drop((port, queues));
    eal.detach_vdev("net_ring0").expect("nobody holds it");
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_missing_port_is_explained() {
    let (eal, _turn) = eal();
    let error = Port::by_name(eal, "0000:99:00.0").expect_err("there is no such device");
    let report = error.to_string();
    assert!(matches!(error, Error::NoSuchPort { .. }));
    assert!(report.starts_with("there is no port 0000:99:00.0\n"), "{report}");
    for part in ["DPDK 2", "Ports: ", "EAL arguments: --no-huge", "PCI network devices"] {
        assert!(report.contains(part), "{part:?} is not in:\n{report}");
    }
    match eal.diagnose().drivers {
        Some(drivers) => assert!(drivers.loaded > 3, "ring, null, pcap and af_packet at least: {drivers:?}"),
        None => assert_eq!(eal.link_mode(), "static"),
    }
    assert!(matches!(Port::by_id(eal, 31), Err(Error::NoSuchPort { .. })));
    assert!(matches!(Port::by_name(eal, "nul\0"), Err(Error::Argument { .. })));
}

#[test]
fn rss_takes_two_queues_and_a_driver_that_offers_it() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "nullrss", 255);
    for (queues, expected) in [(1, None), (2, Some(40))] {
        eal.attach_vdev("net_null0", "").expect("the driver is installed");
        let mut port = Port::by_name(eal, "net_null0").expect("just attached");
        assert!(port.info().expect("answers").rss_hash_types != 0);
        let config = PortConfig { rx_queues: queues, ..PortConfig::default() };
        let started = port.start(&config, slice::from_ref(&pool)).expect("starts");
        assert_eq!(started.applied.rss.map(|rss| rss.key_len), expected, "with {queues} queues");
        drop((port, started.rx, started.tx));
        eal.detach_vdev("net_null0").expect("nobody holds it");
    }
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_tap_has_rss_checksums_and_its_mtu() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "rss", 1023);
    if let Err(error) = eal.attach_vdev("net_tap0", "iface=dpdkrss0") {
        println!("skipped: no tap device can be created here ({error})");
        return;
    }
    let mut port = Port::by_name(eal, "net_tap0").expect("just attached");
    let info = port.info().expect("answers");
    assert!(info.rss_hash_types != 0, "tap offers RSS");
    let config = PortConfig {
        rx_queues: 2,
        tx_queues: 2,
        rx_descriptors: 256,
        mtu: Some(1400),
        tx_offloads: PortConfig::default().tx_offloads | TxOffloads::TCP_TSO,
        ..PortConfig::default()
    };
    assert!(info.tx_offloads.contains(TxOffloads::TCP_TSO));
    let Queues { rx, tx, applied } = port.start(&config, slice::from_ref(&pool)).expect("starts");
    let rss = applied.rss.expect("offered, and two queues");
    assert!(rss.key_len >= 40 && rss.hash_types & !info.rss_hash_types == 0, "{rss:?}");
    assert_eq!(applied.mtu, 1400);
    assert!(applied.tx_offloads.contains(TxOffloads::MULTI_SEGS));
    let broken = TxOffloads::TCP_TSO | TxOffloads::TCP_CKSUM | TxOffloads::UDP_CKSUM;
    assert_eq!(applied.tx_offloads & broken, TxOffloads::NONE, "no full segment, and wrong sums of chains");
    assert!(applied.rx_offloads.contains(RxOffloads::IPV4_CKSUM));
    // A wire takes all frames, as they are, and stops nobody.
    assert!(applied.promiscuous && applied.allmulticast && applied.pause_off);
    assert_eq!(applied.rx_offloads & RxOffloads::VLAN_STRIP, RxOffloads::NONE);
    assert_eq!(applied.tx_offloads & TxOffloads::VLAN_INSERT, TxOffloads::NONE);
    drop((port, rx, tx));
    eal.detach_vdev("net_tap0").expect("nobody holds it");
    assert_eq!(pool.in_use(), 0);
}

/// Frames over a veth pair between two af_packet ports, there and back.
#[test]
fn two_af_packet_ports_talk_over_a_veth_pair() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "veth", 1023);
    let Some(veth) = Veth::new() else {
        println!("skipped: no veth pair can be created here");
        return;
    };
    eal.attach_vdev("net_af_packet0", "iface=dpdkveth0").expect("the driver is installed");
    let mut left = Port::by_name(eal, "net_af_packet0").expect("just attached");
    let config = PortConfig { mtu: Some(1400), ..PortConfig::default() };
    let Queues { rx: mut left_rx, tx: mut left_tx, applied } =
        left.start(&config, slice::from_ref(&pool)).expect("starts");
    let (mut left_rx, mut left_tx) = (left_rx.remove(0), left_tx.remove(0));
    let kernel_mtu = fs::read_to_string("/sys/class/net/dpdkveth0/mtu").expect("Linux");
    assert_eq!((applied.mtu, kernel_mtu.trim()), (1400, "1400"));
    let (right, mut right_rx, mut right_tx) = start(eal, "net_af_packet1", "iface=dpdkveth1", &pool);
    // The kernel sends its own (IPv6 neighbour discovery) over a new pair; ours have an EtherType for experiments.
    let ours = |first: u8| {
        let mut mbuf = frame(&pool, first, 100);
        mbuf.data_mut().expect("exclusive")[..14]
            .copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
        mbuf
    };
    for (tx, rx) in [(&mut left_tx, &mut right_rx), (&mut right_tx, &mut left_rx)] {
        let mut burst = Burst::<32>::new();
        (0..5).for_each(|first| assert!(burst.push(ours(first)).is_ok()));
        assert_eq!(tx.tx(&mut burst), 5);
        let mut received = Vec::new();
        while received.len() < 5 {
            assert!(receive(rx, &mut burst, 1), "{} of 5 arrived", received.len());
            received
                .extend(burst.drain().map(|mbuf| bytes(&mbuf)).filter(|frame| frame[12..14] == [0x88, 0xb5]));
        }
        assert!(received.iter().map(|frame| frame[14]).eq(14..19));
    }
    let (stats, seen) = (left.stats().expect("counted"), right.stats().expect("counted"));
    assert!(stats.tx_packets == 5 && stats.tx_bytes == 500 && seen.rx_packets >= 5, "{stats:?} {seen:?}");
    drop((left, right, left_rx, right_rx, left_tx, right_tx));
    eal.detach_vdev("net_af_packet0").expect("nobody holds it");
    eal.detach_vdev("net_af_packet1").expect("nobody holds it");
    drop(veth);
    assert_eq!(pool.in_use(), 0);
}

/// More frames than a fill ring or the pool has, in and out again, through memory that the kernel shares; then all are back but those
/// that the driver keeps, and the interface is as it was.
#[test]
fn two_af_xdp_ports_share_their_pool_with_the_kernel() {
    const ROUNDS: usize = 400;
    const EACH: usize = 30;
    let (eal, _turn) = eal();
    let sockets = fs::read_to_string("/proc/net/protocols").unwrap_or_default();
    let Some(veth) = Veth::new().filter(|_| sockets.lines().any(|line| line.starts_with("XDP "))) else {
        println!(
            "skipped: no veth pair can be created here, or the kernel has no AF_XDP (CONFIG_XDP_SOCKETS)"
        );
        return;
    };
    let config = MempoolConfig { mbufs: 8191, cache: 0, umem: true, ..MempoolConfig::default() };
    let pool = Mempool::new(eal, "xdp", &config).expect("there is memory for it");
    let mut ends = [0, 1].map(|n| {
        let (name, args) = (format!("net_af_xdp{n}"), format!("iface=dpdkveth{n}"));
        eal.attach_vdev(&name, &args).expect("the driver is installed");
        let mut port = Port::by_name(eal, &name).expect("just attached");
        let mut queues = port.start(&PortConfig::default(), slice::from_ref(&pool)).expect("starts");
        assert_eq!(queues.applied.kept, 2048, "a fill ring");
        (port, queues.rx.remove(0), queues.tx.remove(0))
    });
    assert!(Veth::says("xdp"), "a program is attached");
    let [(_, left_rx, left_tx), (_, right_rx, right_tx)] = &mut ends;
    for (tx, rx) in [(left_tx, right_rx), (right_tx, left_rx)] {
        let (mut seen, mut burst) = (0_usize, Burst::<32>::new());
        for round in 0..ROUNDS {
            for _ in 0..EACH {
                // As long as this MTU lets them be, to nobody, and of an EtherType for experiments.
                let mut mbuf = frame(&pool, round as u8, 1514);
                mbuf.data_mut().expect("exclusive")[..14]
                    .copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
                assert!(burst.push(mbuf).is_ok());
            }
            assert_eq!(tx.tx(&mut burst), EACH);
            while seen < (round + 1) * EACH {
                assert!(receive(rx, &mut burst, 1), "{seen} of {} arrived", ROUNDS * EACH);
                let of_this_round = [0x88, 0xb5, (round as u8).wrapping_add(14)];
                seen += burst.drain().filter(|mbuf| bytes(mbuf).get(12..15) == Some(&of_this_round)).count();
            }
        }
    }
    drop(ends);
    assert_eq!(pool.in_use(), 2 * 2048, "what was sent is back");
    assert!(!Veth::says("xdp"), "the program is detached");
    drop(veth);
}

/// The pair dpdkveth0 and dpdkveth1, up; removed with this.
struct Veth;

impl Veth {
    fn new() -> Option<Self> {
        // One may be left from a run that was killed.
        Self::ip("link del dpdkveth0");
        let up = Self::ip("link add dpdkveth0 type veth peer name dpdkveth1")
            && Self::ip("link set dpdkveth0 up")
            && Self::ip("link set dpdkveth1 up");
        up.then_some(Self)
    }

    /// `ip link show` has this word.
    fn says(word: &str) -> bool {
        let shown = Command::new("ip").args(["link", "show", "dpdkveth0"]).output();
        shown.is_ok_and(|shown| String::from_utf8_lossy(&shown.stdout).contains(word))
    }

    fn ip(args: &str) -> bool {
        Command::new("ip").args(args.split(' ')).output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        Self::ip("link del dpdkveth0");
    }
}

/// A capture file: the header of libpcap's format (microseconds, Ethernet), then each frame behind its own.
fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let header = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1];
    let mut file: Vec<u8> = header.iter().flat_map(|word| word.to_ne_bytes()).collect();
    for frame in frames {
        let len = u32::try_from(frame.len()).expect("a frame");
        file.extend([0, 0, len, len].iter().flat_map(|word| word.to_ne_bytes()));
        file.extend(frame);
    }
    file
}

/// The frames of a capture file.
fn packets_of(mut file: &[u8]) -> Vec<Vec<u8>> {
    file = &file[24..];
    let mut frames = Vec::new();
    while let Some((header, rest)) = file.split_first_chunk::<16>() {
        let len = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]) as usize;
        frames.push(rest[..len].to_vec());
        file = &rest[len..];
    }
    frames
}
