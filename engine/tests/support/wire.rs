//! An engine on a wire into which frames are put by hand.

use wireglass::log::LogReceiver;
use wireglass::simulate::Engine;
use wireglass_core::end::End;
use wireglass_core::event::{Event, FrameEvent, SummaryEvent};
use wireglass_core::packet::{PassAction, Uninspected};
use wireglass_core::reason::{PacketDrop, Reason};
use wireglass_testbed::{Duration, Instant, Middle, PortSide};

use super::lab::{Lab, Setup};

/// The engine, a clock, and the events of frames that belong to no flow.
pub(crate) struct Wire {
    pub(crate) engine: Engine,
    pub(crate) log: LogReceiver,
    pub(crate) now: Instant,
    pub(crate) frames: Vec<FrameEvent>,
    pub(crate) summaries: Vec<SummaryEvent>,
    /// Midstream or not, and why it ended.
    pub(crate) flows: Vec<(bool, Reason)>,
    /// Of connections that are seen in one direction: port of the client, and which end is seen.
    pub(crate) one_sided: Vec<(u16, End)>,
}

impl Wire {
    pub(crate) fn new(setup: &Setup) -> Self {
        let (engine, log) = Lab::new().engine(setup);
        let (frames, summaries, flows) = (Vec::new(), Vec::new(), Vec::new());
        let one_sided = Vec::new();
        Self { engine, log, now: Instant::ZERO, frames, summaries, flows, one_sided }
    }

    /// Sends a frame, and gives what leaves at the inside and at the outside port.
    pub(crate) fn send(&mut self, port: PortSide, frame: Vec<u8>) -> [Vec<Vec<u8>>; 2] {
        self.engine.receive(self.now, port, frame);
        self.wait(Duration::from_micros(10))
    }

    pub(crate) fn wait(&mut self, time: Duration) -> [Vec<Vec<u8>>; 2] {
        self.now += time;
        self.engine.poll(self.now);
        while let Some(event) = self.log.pop() {
            match event {
                Event::Frame(frame) => self.frames.push(*frame),
                Event::Summary(summary) => self.summaries.push(*summary),
                Event::Asymmetric(head, seen) => self.one_sided.push((head.client.port(), seen)),
                Event::Flow(_, flow) => self.flows.push((flow.midstream, flow.reason)),
                _ => {}
            }
        }
        let out: Vec<_> = std::iter::from_fn(|| self.engine.transmit()).collect();
        [PortSide::Inside, PortSide::Outside]
            .map(|port| out.iter().filter(|(p, _)| *p == port).map(|(_, f)| f.clone()).collect())
    }

    pub(crate) fn counted(&self, class: Uninspected, action: PassAction) -> u64 {
        self.engine.counters()[0].uninspected(class, action).value()
    }

    pub(crate) fn dropped(&self, why: PacketDrop) -> u64 {
        self.engine.counters()[0].dropped(why)
    }
}
