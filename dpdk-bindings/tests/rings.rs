//! Ports joined by rings.

mod support;

use std::slice;

use dpdk::{Burst, Eal, Mempool, Port, PortConfig, RxQueue, TxQueue};
use support::{eal, frame, pool, receive};

fn start(eal: &Eal, name: &str, pool: &Mempool) -> (Port, RxQueue, TxQueue) {
    let mut port = Port::by_name(eal, name).expect("just made");
    let mut queues = port.start(&PortConfig::default(), slice::from_ref(pool)).expect("starts");
    (port, queues.rx.remove(0), queues.tx.remove(0))
}

#[test]
fn what_one_sends_the_other_receives() {
    let (eal, _turn) = eal();
    let pool = pool(eal, "joined", 1023);
    let [a, b] = eal.join_by_rings("j", 1, 64).expect("there is memory");
    assert_eq!([a.as_str(), b.as_str()], ["net_ring_ja", "net_ring_jb"]);
    let (a, mut a_rx, mut a_tx) = start(eal, &a, &pool);
    let (b, mut b_rx, mut b_tx) = start(eal, &b, &pool);
    one_way(&pool, &mut a_tx, &mut b_rx, 1);
    assert_eq!(a_rx.rx(&mut Burst::<32>::new()), 0, "nothing comes back");
    one_way(&pool, &mut b_tx, &mut a_rx, 101);
    assert_eq!(b_rx.rx(&mut Burst::<32>::new()), 0);
    drop((a, a_rx, a_tx, b, b_rx, b_tx));
    assert_eq!(pool.in_use(), 0);
}

fn one_way(pool: &Mempool, tx: &mut TxQueue, rx: &mut RxQueue, first: u8) {
    let mut burst = Burst::<128>::new();
    (0..100).for_each(|n| assert!(burst.push(frame(pool, first + n, 60)).is_ok()));
    assert_eq!((tx.tx(&mut burst), burst.len()), (63, 37), "as many as the ring holds; the rest stays");
    burst.clear();
    assert!(receive(rx, &mut burst, 63));
    assert!(burst.drain().map(|mbuf| mbuf.data()[0]).eq(first..first + 63));
}

#[test]
fn what_dpdk_cannot_make_is_an_error() {
    let (eal, _turn) = eal();
    assert!(eal.join_by_rings("odd", 1, 100).is_err(), "100 is no power of two");
    assert!(eal.join_by_rings("none", 0, 64).is_err(), "no queues");
    assert!(eal.join_by_rings(&"long".repeat(20), 1, 64).is_err());
}
