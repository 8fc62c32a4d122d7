//! Frames of 64 bytes that go round: what comes out at the servers' side goes in again at the clients'.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::port::LoadPort;
use crate::rig::TimedWorker;

/// Frames on their way at a time.
const FRAMES: usize = 512;
/// Connections that are begun at a time.
const OPENED: u32 = 64;
/// Turns between two looks at the clock.
const TURNS: usize = 16;
/// What is 64 bytes on the wire, without the FCS.
const LENGTH: usize = 60;

/// What the frames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// UDP: nothing that the engine looks up.
    Udp,
    /// ACKs of so many TCP connections, each of which began with a SYN.
    Tcp(u32),
}

/// The frames, and where they go round.
pub(crate) struct SmallFrames {
    kind: Kind,
    inside: LoadPort,
    outside: LoadPort,
    /// The worker that takes turns with them, if there is no other thread for it.
    engine: Option<TimedWorker>,
    waiting: VecDeque<dpdk::Mbuf>,
    /// Flow of the frame that leaves next.
    next: u32,
    pub(crate) passed: u64,
    busy: Duration,
}

impl SmallFrames {
    /// Sends the frames off. None: the pool has too few.
    pub(crate) fn start(
        [inside, outside]: [LoadPort; 2],
        kind: Kind,
        engine: Option<TimedWorker>,
    ) -> Option<Self> {
        let (waiting, busy) = (VecDeque::new(), Duration::ZERO);
        let mut all = Self { kind, inside, outside, engine, waiting, next: 0, passed: 0, busy };
        if let Kind::Tcp(flows) = kind {
            for flow in 0..flows {
                if !all.inside.send(&frame(kind, flow, true)) {
                    return None;
                }
                // They come out at the other side, and are of no more use.
                if flow % OPENED == OPENED - 1 {
                    all.drain(OPENED as usize, Duration::from_millis(50));
                }
            }
            all.drain(usize::MAX, Duration::from_millis(50));
        }
        let sent = (0..FRAMES as u32).all(|n| all.inside.send(&frame(kind, n, false)));
        all.next = FRAMES as u32;
        all.inside.flush();
        sent.then_some(all)
    }

    /// Lets them go round for so long.
    pub(crate) fn run(&mut self, time: Duration) {
        let began = Instant::now();
        let mut now = Duration::ZERO;
        while now < time {
            let passed = self.passed;
            for _ in 0..TURNS {
                self.engine.iter().for_each(TimedWorker::run);
                self.outside.receive(&mut self.waiting);
                self.passed += self.waiting.len() as u64;
                for mut mbuf in self.waiting.drain(..) {
                    if let Kind::Tcp(flows) = self.kind
                        && let Some(frame) = mbuf.data_mut()
                    {
                        readdress(frame, self.next % flows);
                        self.next = (self.next + 1) % flows;
                    }
                    self.inside.send_mbuf(mbuf);
                }
                self.inside.flush();
            }
            let turned = began.elapsed();
            if self.passed > passed {
                self.busy += turned - now;
            }
            now = turned;
        }
        // Nothing of what was sent is left to whoever reads the engine's counts.
        self.engine.iter().for_each(TimedWorker::run);
    }

    /// Seconds of the turns, a few at a time, that found frames.
    pub(crate) fn busy(&self) -> f64 {
        self.busy.as_secs_f64()
    }

    /// Frames that the ring to the engine has taken.
    pub(crate) fn sent(&self) -> u64 {
        self.inside.sent
    }

    /// Takes all of them off. Returns how many did not come back.
    pub(crate) fn stop(mut self) -> usize {
        self.inside.flush();
        FRAMES.saturating_sub(self.drain(FRAMES, Duration::from_millis(50)))
    }

    /// Takes off so many that come out, for so long at most. Returns how many it were.
    fn drain(&mut self, frames: usize, time: Duration) -> usize {
        let began = Instant::now();
        let mut drained = 0;
        while drained < frames && began.elapsed() < time {
            self.inside.flush();
            self.engine.iter().for_each(TimedWorker::run);
            self.outside.receive(&mut self.waiting);
            drained += self.waiting.len();
            self.waiting.clear();
        }
        drained
    }
}

/// Makes a TCP frame one of flow `n`: another address, and both checksums that it is in (RFC 1624, equation 3).
fn readdress(frame: &mut [u8], n: u32) {
    const ADDRESS: std::ops::Range<usize> = 26..30;
    const SUMS: [usize; 2] = [24, 50];
    if frame.len() < LENGTH {
        return;
    }
    let old: [u8; 4] = [frame[26], frame[27], frame[28], frame[29]];
    let new = address(n);
    frame[ADDRESS].copy_from_slice(&new);
    for at in SUMS {
        let mut sum = u32::from(!u16::from_be_bytes([frame[at], frame[at + 1]]));
        for word in [0, 2] {
            sum += u32::from(!u16::from_be_bytes([old[word], old[word + 1]]));
            sum += u32::from(u16::from_be_bytes([new[word], new[word + 1]]));
        }
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        frame[at..at + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    }
}

/// Of the client of flow `n`.
fn address(n: u32) -> [u8; 4] {
    let [_, b, c, d] = n.to_be_bytes();
    [10, 64 | b, c, d]
}

/// Of flow `n`: Ethernet, IPv4, then UDP or TCP, with checksums.
fn frame(kind: Kind, n: u32, syn: bool) -> Vec<u8> {
    let (protocol, flow) = match kind {
        Kind::Udp => (17, n),
        Kind::Tcp(flows) => (6, n % flows),
    };
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let length = (LENGTH - frame.len()) as u16;
    let [hi, lo] = length.to_be_bytes();
    frame.extend([0x45, 0, hi, lo, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
    frame.extend(address(flow));
    frame.extend([10, 2, 0, 1]);
    let header = checksum(&[&frame[14..34]]);
    frame[24..26].copy_from_slice(&header.to_be_bytes());
    let mut payload = vec![0_u8; LENGTH - frame.len()];
    let l4 = payload.len() as u16;
    payload[..4].copy_from_slice(&[0x9c, 0x40, 1, 0xbb]);
    let at = if protocol == 17 {
        // Not an intercepted port: there it would be QUIC.
        payload[2..4].copy_from_slice(&5001_u16.to_be_bytes());
        payload[4..6].copy_from_slice(&l4.to_be_bytes());
        6
    } else {
        let number: u32 = if syn { 1 } else { 2 };
        payload[4..8].copy_from_slice(&number.to_be_bytes());
        payload[12] = 5 << 4;
        payload[13] = if syn { 2 } else { 16 };
        payload[14..16].copy_from_slice(&[0xff, 0xff]);
        16
    };
    let pseudo = [&frame[26..34], &[0, protocol], &l4.to_be_bytes()].concat();
    let sum = checksum(&[&pseudo, &payload]);
    payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    frame.extend(payload);
    frame
}

/// RFC 1071, over pieces of even length.
fn checksum(pieces: &[&[u8]]) -> u16 {
    let words = pieces.iter().flat_map(|piece| piece.chunks_exact(2));
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_finds_nothing_wrong_with_the_frames() {
        for (kind, syn) in [(Kind::Tcp(7), true), (Kind::Tcp(7), false)] {
            let frame = frame(kind, 20, syn);
            assert_eq!(frame.len(), LENGTH);
            let wireglass_core::packet::Class::Tcp(headers) = wireglass_core::packet::classify(&frame) else {
                panic!("not TCP");
            };
            assert!(headers.verify_checksums(&frame).is_ok());
            assert_eq!((headers.source.port(), headers.destination.port()), (40_000, 443));
        }
        let mut moved = frame(Kind::Tcp(100_000), 20, false);
        for n in [99_999, 65_536, 0] {
            readdress(&mut moved, n);
            assert_eq!(moved, frame(Kind::Tcp(100_000), n, false));
        }
        assert!(matches!(
            wireglass_core::packet::classify(&frame(Kind::Udp, 0, false)),
            wireglass_core::packet::Class::Udp(_)
        ));
    }
}
