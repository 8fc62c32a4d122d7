//! What is written of which flow: nothing before its secrets, and nothing of those that have none.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use wireglass_core::capture::{Captured, Interface};
use wireglass_core::port::PortSide;
use wireglass_core::tls::Secrets;

use super::pcapng;

/// Bytes of a flow's frames that wait for its secrets: a handshake of the largest kind and what comes with it.
const MOST_WAITING: usize = 256 * 1024;
/// Of all flows.
const MOST_WAITING_TOGETHER: usize = 64 << 20;
/// Flows that are followed.
const MOST_FLOWS: usize = 65_536;
/// A flow that has waited for so long is forgotten: the word that it is over was lost.
const PATIENCE: Duration = Duration::from_secs(120);
/// So is one of which nothing was taken for so long: twice as long as the engine keeps idle flows, unless it is told otherwise.
const SILENCE: Duration = Duration::from_secs(2 * 3600);

/// The flows that are there.
#[derive(Default)]
pub(super) struct Flows {
    flows: HashMap<u64, Followed>,
    waiting: usize,
}

struct Followed {
    state: State,
    /// When it began to wait, or said something last.
    since: Instant,
}

enum State {
    /// Blocks that wait.
    Waiting(Vec<u8>),
    /// The secrets are written. Nothing was yet of the frames.
    Known { is_named: bool },
    /// It had more than may wait.
    GivenUp,
}

/// What has become of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Written,
    Waits,
    Lost,
}

impl Flows {
    /// A frame: it is appended to `out`, if its flow's secrets are known.
    pub(super) fn frame(&mut self, out: &mut Vec<u8>, now: Instant, frame: &Captured) -> Taken {
        let is_full = self.flows.len() >= MOST_FLOWS;
        let room = MOST_WAITING_TOGETHER.saturating_sub(self.waiting);
        let found = match self.flows.get_mut(&frame.flow) {
            Some(found) => found,
            None if is_full => return Taken::Lost,
            None => {
                let waiting = Followed { state: State::Waiting(Vec::new()), since: now };
                self.flows.entry(frame.flow).or_insert(waiting)
            }
        };
        let comment = || format!("flow_id {}", frame.flow);
        match &mut found.state {
            State::Known { is_named } => {
                found.since = now;
                let comment = (!std::mem::replace(is_named, true)).then(comment);
                write(out, frame, comment.as_deref());
                Taken::Written
            }
            State::GivenUp => Taken::Lost,
            State::Waiting(blocks) => {
                let before = blocks.len();
                let comment = blocks.is_empty().then(comment);
                write(blocks, frame, comment.as_deref());
                let more = blocks.len() - before;
                if blocks.len() > MOST_WAITING || more > room {
                    self.waiting -= before;
                    found.state = State::GivenUp;
                    return Taken::Lost;
                }
                self.waiting += more;
                Taken::Waits
            }
        }
    }

    /// A flow's secrets, and what has waited for them. False: it has been given up.
    pub(super) fn secrets(&mut self, out: &mut Vec<u8>, now: Instant, flow: u64, secrets: &Secrets) -> bool {
        let known = Followed { state: State::Known { is_named: false }, since: now };
        if self.flows.len() >= MOST_FLOWS && !self.flows.contains_key(&flow) {
            return false;
        }
        pcapng::secrets(out, secrets.lines());
        match self.flows.insert(flow, known) {
            Some(Followed { state: State::Waiting(blocks), .. }) => {
                self.waiting -= blocks.len();
                out.extend_from_slice(&blocks);
                if let Some(Followed { state: State::Known { is_named }, .. }) = self.flows.get_mut(&flow) {
                    *is_named = !blocks.is_empty();
                }
                true
            }
            Some(Followed { state: State::GivenUp, .. }) => false,
            Some(Followed { state: State::Known { .. }, .. }) | None => true,
        }
    }

    /// A flow is over, or none that is wanted.
    pub(super) fn over(&mut self, flow: u64) {
        if let Some(Followed { state: State::Waiting(blocks), .. }) = self.flows.remove(&flow) {
            self.waiting -= blocks.len();
        }
    }

    /// Forgets those of which nothing has come for too long. Goes through all: to be called seldom.
    pub(super) fn forget_old(&mut self, now: Instant) {
        let waiting = &mut self.waiting;
        self.flows.retain(|_, Followed { state, since }| {
            let (blocks, most) = match state {
                State::Waiting(blocks) => (blocks.len(), PATIENCE),
                State::Known { .. } | State::GivenUp => (0, SILENCE),
            };
            let stays = now.duration_since(*since) < most;
            *waiting -= if stays { 0 } else { blocks };
            stays
        });
    }
}

fn write(out: &mut Vec<u8>, frame: &Captured, comment: Option<&str>) {
    pcapng::packet(out, number(frame.interface), frame.time.0, frame.bytes(), comment);
}

/// The plaintext comes first, then the ports.
fn number(interface: Interface) -> u32 {
    match interface {
        Interface::Plaintext => 0,
        Interface::Port(port) => 1 + 2 * u32::from(port.wire) + u32::from(port.side == PortSide::Outside),
    }
}

/// Names of the interfaces, by their numbers.
pub(super) fn interfaces<W: AsRef<str>>(wires: &[W]) -> Vec<String> {
    let ports =
        wires.iter().flat_map(|wire| ["inside", "outside"].map(|side| format!("{} {side}", wire.as_ref())));
    std::iter::once("plaintext".to_owned()).chain(ports).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The word that they are over was lost.
    #[test]
    fn what_says_nothing_more_is_forgotten() {
        let (mut flows, start) = (Flows::default(), Instant::now());
        let followed = |state| Followed { state, since: start };
        flows.flows.insert(1, followed(State::Waiting(vec![0; 100])));
        flows.flows.insert(2, followed(State::Known { is_named: true }));
        flows.flows.insert(3, followed(State::GivenUp));
        flows.waiting = 100;
        flows.forget_old(start + PATIENCE - Duration::from_secs(1));
        assert_eq!((flows.flows.len(), flows.waiting), (3, 100));
        flows.forget_old(start + PATIENCE);
        assert_eq!((flows.flows.len(), flows.waiting), (2, 0));
        flows.forget_old(start + SILENCE);
        assert!(flows.flows.is_empty());
    }
}
