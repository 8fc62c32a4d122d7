//! A piece of wire in the engine's place: what one port receives, the other sends, as DPDK's testpmd does in io mode.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dpdk::{Burst, Eal, Mempool, Port};

use super::figures::Figures;
use super::{Failure, WORKER, start_port};
use crate::machine::{self, Thread};

/// A running piece of wire.
pub(super) struct Wire {
    thread: JoinHandle<()>,
    ports: Vec<Port>,
    /// Microseconds of the turns that found something to do, and frames.
    counts: Arc<[AtomicU64; 2]>,
    stop: Arc<AtomicBool>,
    scheduled: Option<Thread>,
}

impl Wire {
    pub(super) fn start(
        eal: &Arc<Eal>,
        names: [&str; 2],
        pool: &Mempool,
        core: usize,
    ) -> Result<Self, Failure> {
        let (inside, mut inside_rx, mut inside_tx) = start_port(eal, names[0], pool)?;
        let (outside, mut outside_rx, mut outside_tx) = start_port(eal, names[1], pool)?;
        let (stop, counts) =
            (Arc::new(AtomicBool::new(false)), Arc::new([AtomicU64::new(0), AtomicU64::new(0)]));
        let (eal, flag, shown) = (Arc::clone(eal), Arc::clone(&stop), Arc::clone(&counts));
        let run = move || {
            machine::pin(core);
            let _lcore = eal.register_thread();
            let mut burst = Burst::<32>::new();
            let (mut total, mut frames) = (Duration::ZERO, 0);
            while !flag.load(Ordering::Relaxed) {
                let began = Instant::now();
                let mut any = false;
                for (rx, tx) in [(&mut inside_rx, &mut outside_tx), (&mut outside_rx, &mut inside_tx)] {
                    rx.rx(&mut burst);
                    any |= !burst.is_empty();
                    frames += burst.len() as u64;
                    tx.tx(&mut burst);
                    burst.clear();
                }
                if any {
                    total += began.elapsed();
                    shown[0].store(total.as_micros() as u64, Ordering::Relaxed);
                    shown[1].store(frames, Ordering::Relaxed);
                }
            }
        };
        let thread = std::thread::Builder::new().name(WORKER.into()).spawn(run)?;
        let scheduled = Thread::wait_for(None, WORKER);
        Ok(Self { thread, ports: vec![inside, outside], counts, stop, scheduled })
    }

    pub(super) fn figures(&self) -> Figures {
        let [busy, packets] = [0, 1].map(|n: usize| self.counts[n].load(Ordering::Relaxed));
        Figures {
            busy: busy as f64 / 1e6,
            packets,
            waited: self.scheduled.as_ref().map_or(0.0, Thread::waited),
            ..Figures::default()
        }
    }

    pub(super) fn stop(self) -> Result<Vec<Port>, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the wire's thread panicked")?;
        Ok(self.ports)
    }
}
