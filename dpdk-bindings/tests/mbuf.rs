//! Packets and pools: lengths, chains, sharing, exhaustion. Every test ends with a full pool.

mod support;

use dpdk::{Burst, Checksum, Error, IpVersion, L4Checksum, Mempool, MempoolConfig, TxRequest};
use support::{bytes, eal, frame, header_pool, pool};

#[test]
fn a_fresh_mbuf_is_empty_with_room_on_both_sides() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "fresh", 31);
    let mbuf = pool.alloc().expect("full pool");
    assert_eq!((mbuf.pkt_len(), mbuf.nb_segs(), mbuf.port()), (0, 1, u16::MAX));
    assert_eq!((mbuf.headroom(), mbuf.tailroom()), (128, 2048));
    assert!(mbuf.data().is_empty());
    assert_eq!((pool.in_use(), pool.available()), (1, 30));
    drop(mbuf);
    assert_eq!((pool.in_use(), pool.available()), (0, 31));
}

#[test]
fn lengths_grow_and_shrink_at_both_ends() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "lengths", 31);
    let mut mbuf = frame(&pool, 0, 100);
    mbuf.prepend(4).expect("headroom").copy_from_slice(b"head");
    mbuf.extend_from_slice(b"tail").expect("tailroom");
    assert_eq!((mbuf.pkt_len(), mbuf.headroom(), mbuf.tailroom()), (108, 124, 2048 - 104));
    assert_eq!((&mbuf.data()[..5], &mbuf.data()[103..]), (b"head\0".as_slice(), b"ctail".as_slice()));
    mbuf.adj(5).expect("data");
    mbuf.trim(5).expect("data");
    assert_eq!(mbuf.data(), (1..99).collect::<Vec<u8>>());
    mbuf.set_len(10).expect("shorter");
    assert_eq!(mbuf.data(), (1..11).collect::<Vec<u8>>());
    mbuf.set_len(20).expect("longer");
    mbuf.data_mut().expect("exclusive")[10..].fill(7);
    assert_eq!(mbuf.pkt_len(), 20);
    assert_eq!(bytes(&mbuf)[8..12], [9, 10, 7, 7]);
    drop(mbuf);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "limits", 31);
    let mut mbuf = frame(&pool, 0, 2048);
    let before = bytes(&mbuf);
    assert!(mbuf.append(1).is_none());
    assert!(mbuf.append(usize::MAX).is_none());
    assert!(mbuf.prepend(129).is_none());
    assert!(mbuf.adj(2049).is_none());
    assert!(mbuf.trim(2049).is_none());
    assert!(mbuf.set_len(2049).is_none());
    assert_eq!(bytes(&mbuf), before);
    assert!(mbuf.prepend(128).is_some() && mbuf.prepend(1).is_none());
    drop(mbuf);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn an_empty_pool_gives_none_and_recovers() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "exhausted", 7);
    let mut burst = Burst::<8>::new();
    assert!(!pool.alloc_bulk(&mut burst, 8), "all or nothing");
    assert!(!pool.alloc_bulk(&mut burst, 9), "more than the burst has room for");
    assert_eq!((burst.len(), pool.in_use()), (0, 0));
    assert!(pool.alloc_bulk(&mut burst, 7));
    assert!(pool.alloc().is_none());
    assert_eq!(burst.remove(3).map(|mbuf| mbuf.pkt_len()), Some(0));
    assert!(pool.alloc().is_some());
    drop(burst);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_pool_that_cannot_be_is_an_error() {
    let (eal, _turn) = eal();
    let first = pool(eal, "twice", 7);
    let config = MempoolConfig { mbufs: 7, cache: 0, ..MempoolConfig::default() };
    let errno = |result: Result<Mempool, Error>| result.err().and_then(|error| error.errno()).map(|e| e.0);
    assert_eq!(errno(Mempool::new(eal, "twice", &config)), Some(libc::EEXIST));
    assert_eq!(errno(Mempool::new(eal, &"n".repeat(40), &config)), Some(libc::ENAMETOOLONG));
    let cache = MempoolConfig { cache: 513, ..config.clone() };
    assert_eq!(errno(Mempool::new(eal, "cache", &cache)), Some(libc::EINVAL));
    let huge = MempoolConfig { mbufs: 1 << 24, ..config.clone() };
    // No memory at all, or, as the heap lies, pieces that are too short for a single buffer.
    let short = errno(Mempool::new(eal, "huge", &huge));
    assert!(matches!(short, Some(libc::ENOMEM | libc::ENOBUFS)), "{short:?}");
    assert!(matches!(Mempool::new(eal, "nul\0", &config), Err(Error::Argument { .. })));
    assert_eq!(first.in_use(), 0);
}

#[test]
fn a_burst_keeps_order_and_frees_what_is_left() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "burst", 31);
    let mut burst = Burst::<4>::default();
    for first in 0..4 {
        assert!(burst.push(frame(&pool, first, 20)).is_ok());
    }
    let returned = burst.push(frame(&pool, 9, 20)).expect_err("full");
    assert_eq!(returned.data()[0], 9);
    drop(returned);
    assert_eq!(burst.remove(1).map(|mbuf| mbuf.data()[0]), Some(1));
    assert!(burst.remove(3).is_none());
    assert_eq!(burst.pop().map(|mbuf| mbuf.data()[0]), Some(3));
    assert_eq!(burst.iter().map(|mbuf| mbuf.data()[0]).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(pool.in_use(), 2);
    assert_eq!(burst.drain().next().map(|mbuf| mbuf.data()[0]), Some(0));
    assert_eq!((burst.len(), pool.in_use()), (0, 0), "the rest of the drain is freed");
    assert!(burst.push(frame(&pool, 5, 20)).is_ok());
    drop(burst);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_chain_reads_as_one_packet() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "chain", 31);
    let mut mbuf = frame(&pool, 0, 10);
    mbuf.chain(frame(&pool, 10, 10)).expect("few segments");
    mbuf.chain(frame(&pool, 20, 10)).expect("few segments");
    assert_eq!((mbuf.nb_segs(), mbuf.pkt_len(), mbuf.data().len()), (3, 30, 10));
    assert_eq!(bytes(&mbuf), (0..30).collect::<Vec<u8>>());
    let mut out = [0; 8];
    assert_eq!(mbuf.read(6, &mut out), 8);
    assert_eq!(out, [6, 7, 8, 9, 10, 11, 12, 13]);
    assert_eq!((mbuf.read(25, &mut out), mbuf.read(30, &mut out), mbuf.read(99, &mut out)), (5, 0, 0));
    mbuf.extend_from_slice(&[30]).expect("room in the last segment");
    mbuf.trim(2).expect("data in the last segment");
    assert_eq!(bytes(&mbuf), (0..29).collect::<Vec<u8>>());
    assert!(mbuf.trim(10).is_none(), "the last segment has 9");
    assert!(mbuf.set_len(5).is_none(), "a chain");
    mbuf.linearize().expect("the first segment has room");
    assert_eq!((mbuf.nb_segs(), pool.in_use()), (1, 1));
    assert_eq!(mbuf.data(), (0..29).collect::<Vec<u8>>());
    drop(mbuf);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn truncating_frees_the_segments_behind() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "truncate", 31);
    for (len, segments) in [(30, 3), (29, 3), (21, 3), (20, 2), (11, 2), (10, 1), (1, 1), (0, 1)] {
        let mut mbuf = frame(&pool, 0, 10);
        mbuf.chain(frame(&pool, 10, 10)).expect("few segments");
        mbuf.chain(frame(&pool, 20, 10)).expect("few segments");
        mbuf.truncate(len);
        assert_eq!((mbuf.pkt_len(), mbuf.nb_segs(), pool.in_use()), (len, segments, segments), "to {len}");
        assert_eq!(bytes(&mbuf), (0..len as u8).collect::<Vec<u8>>());
    }
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_chain_too_long_for_one_segment_is_copied_to_several() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "copies", 31);
    let mut mbuf = frame(&pool, 0, 2000);
    mbuf.chain(frame(&pool, 1, 2000)).expect("few segments");
    assert!(mbuf.linearize().is_none(), "2000 and 2000 do not fit 2048");
    let copy = mbuf.copy(&pool, 10, 3980).expect("enough mbufs");
    assert_eq!((copy.pkt_len(), copy.nb_segs()), (3980, 2));
    assert_eq!(bytes(&copy), bytes(&mbuf)[10..3990]);
    assert!(mbuf.copy(&pool, 4000, 1).is_none() && mbuf.copy(&pool, 1, usize::MAX).is_none());
    assert!(mbuf.copy(&pool, 3999, 2).is_none(), "would be shorter than asked for");
    drop((mbuf, copy));
    assert_eq!(pool.in_use(), 0);
}

/// A header chained to a slice of a shared block, twice (a retransmission), then freed in each of the six orders.
#[test]
fn a_shared_block_returns_once_in_whatever_order_its_users_go() {
    let (eal, _turn) = eal();
    let (blocks, headers) = (pool(eal, "blocks", 7), header_pool(eal, "slices", 7));
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let block = frame(&blocks, 0, 200).share().expect("one segment");
        let packet = || {
            let mut header = frame(&blocks, 200, 54);
            header
                .chain(block.slice(headers.alloc().expect("mbufs are left"), 50..150).expect("in range"))
                .expect("few segments");
            header
        };
        let (first, again) = (packet(), packet());
        assert_eq!(block.references(), 3);
        assert_eq!(bytes(&first)[54..], (50..150).collect::<Vec<u8>>());
        assert_eq!(bytes(&first), bytes(&again));
        assert_eq!((blocks.in_use(), headers.in_use()), (3, 2));
        let mut users: [Option<Box<dyn std::any::Any>>; 3] =
            [Some(Box::new(block)), Some(Box::new(first)), Some(Box::new(again))];
        for (gone, user) in order.into_iter().enumerate() {
            assert!(blocks.in_use() > 0, "the block is still out after {gone} of {order:?}");
            users[user] = None;
        }
        assert_eq!((blocks.in_use(), headers.in_use()), (0, 0), "in order {order:?}");
    }
}

#[test]
fn shared_data_cannot_be_written_until_it_is_one_s_own_again() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "readonly", 15);
    let block = frame(&pool, 0, 100).share().expect("one segment");
    let clone = block.try_clone().expect("few references");
    let mut slice = block.slice(pool.alloc().expect("mbufs are left"), 10..20).expect("in range");
    assert_eq!((block.references(), slice.data()), (3, &(10..20).collect::<Vec<u8>>()[..]));
    assert!(slice.data_mut().is_none());
    assert!(slice.append(1).is_none() && slice.prepend(1).is_none());
    assert_eq!((slice.headroom(), slice.tailroom()), (0, 0));
    slice.adj(2).expect("data");
    slice.trim(2).expect("data");
    assert_eq!(slice.data(), (12..18).collect::<Vec<u8>>());
    assert!(slice.copy(&pool, 0, 6).expect("room").data_mut().is_some(), "a copy is exclusive");
    let slice = slice.share().expect_err("a slice has no buffer of its own");
    let block = block.try_unwrap().expect_err("a clone and a slice are left");
    drop(clone);
    drop(slice);
    let mut mbuf = block.try_unwrap().expect("the only reference");
    assert_eq!(mbuf.data_mut().map(|data| data.len()), Some(100));
    drop(mbuf);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn slices_stay_inside_the_data_and_references_inside_their_count() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "ranges", 15);
    let block = frame(&pool, 0, 100).share().expect("one segment");
    let slice = |range| block.slice(pool.alloc().expect("mbufs are left"), range);
    assert!(slice(0..101).is_none());
    assert!(slice(101..101).is_none());
    #[allow(clippy::reversed_empty_ranges, reason = "what is tested")]
    let reversed = slice(2..1);
    assert!(reversed.is_none());
    assert_eq!(slice(100..100).map(|slice| slice.pkt_len()), Some(0));
    let mut pair = frame(&pool, 0, 10);
    pair.chain(frame(&pool, 0, 10)).expect("few segments");
    for taken in [slice(0..1).expect("in range"), pair] {
        assert!(block.slice(taken, 0..1).is_none(), "an mbuf that has a buffer or a tail to lose");
    }
    let mut clones: Vec<_> = (1..32767).map(|_| block.try_clone().expect("below the limit")).collect();
    assert!(block.try_clone().is_none() && slice(0..1).is_none(), "at the limit");
    clones.pop();
    assert!(slice(0..1).is_some());
    let chain = || {
        let mut chain = frame(&pool, 0, 10);
        chain.chain(frame(&pool, 0, 10)).expect("few segments");
        chain
    };
    assert!(chain().share().is_err());
    drop((clones, block));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn references_are_counted_across_threads() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "threads", 7);
    let config = MempoolConfig { mbufs: 255, cache: 16, data_room: 0, ..MempoolConfig::default() };
    let headers = Mempool::new(eal, "threadslices", &config).expect("there is memory for a small pool");
    let block = frame(&pool, 0, 100).share().expect("one segment");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let mine = block.try_clone().expect("few references");
            let headers = &headers;
            scope.spawn(move || {
                let _lcore = eal.register_thread().expect("an lcore is left");
                for round in 0..20_000 {
                    let clone = mine.try_clone().expect("few references");
                    let slice = clone
                        .slice(headers.alloc().expect("mbufs are left"), round % 100..100)
                        .expect("few slices");
                    assert_eq!(slice.data().first(), Some(&((round % 100) as u8)));
                }
            });
        }
    });
    assert_eq!((block.references(), headers.in_use()), (1, 0));
    drop(block);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn requests_to_the_nic_are_checked_against_the_packet() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "requests", 7);
    let mut mbuf = frame(&pool, 0, 54);
    assert_eq!((mbuf.rx_ip_checksum(), mbuf.rx_l4_checksum()), (Checksum::Unknown, Checksum::Unknown));
    assert_eq!((mbuf.rss_hash(), mbuf.vlan_stripped()), (None, None));
    let request = TxRequest {
        l2_len: 14,
        l3_len: 20,
        l4_len: 20,
        ip: IpVersion::V4 { checksum: true },
        l4: L4Checksum::TcpSegments { segsz: 1460 },
    };
    assert!(mbuf.request_tx(&request).is_some());
    assert!(mbuf.request_tx(&TxRequest { l2_len: 15, ..request }).is_none(), "longer than the packet");
    assert!(mbuf.request_tx(&TxRequest { l4: L4Checksum::TcpSegments { segsz: 0 }, ..request }).is_none());
    mbuf.append(600).expect("room");
    assert!(mbuf.request_tx(&TxRequest { l3_len: 512, ..request }).is_none(), "9 bits");
    assert!(mbuf.request_tx(&TxRequest { l2_len: 128, ..request }).is_none(), "7 bits");
    mbuf.clear_tx_request();
    drop(mbuf);
    assert_eq!(pool.in_use(), 0);
}
