//! Putting TCP segments together that come in IP fragments, so that they meet the same checks as any other.
//!
//! Only the first fragment names the ports. What comes before it waits; then either all go on as they are, in the order in
//! which they came, or all are kept until the segment is whole. **No fragment of a segment that is kept ever goes on**: no
//! end host gets to put together for itself, by rules of its own, what the engine has put together by these.
//!
//! ```text
//!            first, ports of nobody
//! Waiting ───────────────────────────► Passing ──► (all have passed)
//!    │ first, intercepted ports           │ another first, intercepted ports: a new packet
//!    └──────────► Assembling ◄────────────┘
//!                    │ └──► (whole)
//!                    └────► Refused: overlap, tiny, too many; until its time is up
//! ```
//!
//! Overlaps kill the packet (RFC 5722 4), exact repetitions are ignored; the first fragment has the whole TCP header
//! (RFC 7112 5, RFC 1858 3). With a full table or all frames in use the oldest packet goes, whoever's it is.

mod datagram;
mod whole;

use tcp_stack::{Duration, Instant};

use self::datagram::{Added, Datagram, State};
pub use self::datagram::{MAX_PIECES, Piece};
pub use self::whole::Whole;
use crate::aged_map::AgedMap;
use crate::counters::WorkerCounters;
use crate::packet::{Fragment, FragmentKey};
use crate::port::Frame;
use crate::reason::PacketDrop;

/// What may be kept at a time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Packets of which not all fragments have come.
    pub packets: u32,
    /// Frames that are held, of all packets; more than [`MAX_PIECES`].
    pub frames: usize,
    /// How long a packet may take, from the first fragment that comes.
    ///
    /// RFC 791 and RFC 8200 have 15 and 60 seconds for hosts. Here behind the fragments is TCP, which sends again, in a new
    /// packet, after a second at the latest when something is missing (RFC 6298 2): what takes longer comes too late. And
    /// the longer the time, the cheaper it is to keep the table full of packets that never become whole.
    pub time: Duration,
}

impl Limits {
    /// With a share of the frames that a worker may hold back.
    pub fn of_held(frames: usize) -> Self {
        Self { packets: 1024, frames: frames.max(2 * MAX_PIECES), time: Duration::from_secs(5) }
    }
}

/// What became of a fragment.
pub enum Taken<F> {
    /// It is held, or was dropped and counted.
    Nothing,
    /// These go on as they are, in this order.
    Forward(Vec<Piece<F>>),
    /// With it the packet is whole.
    Whole(Whole<F>),
}

/// The packets of one worker that are not whole yet.
pub struct Reassembler<F> {
    limits: Limits,
    packets: AgedMap<FragmentKey, Datagram<F>>,
    held: usize,
    /// Empty lists, to be used again.
    spare: Vec<Vec<Piece<F>>>,
}

impl<F: Frame> Reassembler<F> {
    /// With nothing held.
    pub fn new(limits: Limits) -> Self {
        Self { limits, packets: AgedMap::new(limits.packets), held: 0, spare: Vec::new() }
    }

    /// Frames held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Packets that are known.
    pub fn packets(&self) -> usize {
        self.packets.len()
    }

    /// When to call [`Self::expire`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.packets.oldest().map(|oldest| oldest.since + self.limits.time)
    }

    /// Drops what has waited for too long.
    pub fn expire(&mut self, now: Instant, counters: &WorkerCounters) {
        while self.poll_timeout().is_some_and(|at| at <= now) {
            self.drop_oldest(PacketDrop::FragmentTimeout, counters);
        }
    }

    /// Takes a fragment. `hash` is the key's; `intercepted`: its ports are, if it is a first one. All that is dropped is
    /// counted. What it gives comes back through [`Self::recycle`].
    pub fn take(
        &mut self,
        now: Instant,
        (hash, key): (u64, FragmentKey),
        fragment: &Fragment,
        frame: F,
        intercepted: bool,
        counters: &WorkerCounters,
    ) -> Taken<F> {
        if !fragment.is_sound() {
            counters.drop_packet(PacketDrop::FragmentMalformed);
            return Taken::Nothing;
        }
        if !fragment.verify_header(frame.data()) {
            counters.drop_packet(PacketDrop::BadIpHeader);
            return Taken::Nothing;
        }
        let held_before = self.held;
        let taken = self.sort(now, hash, key, Piece::new(fragment, frame), intercepted, counters);
        if self.held != held_before {
            counters.fragments_held.set(self.held as u64);
        }
        taken
    }

    /// Takes an empty list back.
    pub fn recycle(&mut self, mut list: Vec<Piece<F>>) {
        list.clear();
        self.spare.push(list);
    }

    fn sort(
        &mut self,
        now: Instant,
        hash: u64,
        key: FragmentKey,
        piece: Piece<F>,
        intercepted: bool,
        counters: &WorkerCounters,
    ) -> Taken<F> {
        while self.held >= self.limits.frames {
            self.drop_oldest(PacketDrop::FragmentEvicted, counters);
        }
        let is_first = piece.start == 0;
        let begins_anew = is_first
            && intercepted
            && self.packets.get_mut(hash, &key).is_some_and(|known| matches!(known.state, State::Passing));
        if begins_anew && let Some(old) = self.packets.remove(hash, &key) {
            self.recycle(old.pieces);
        }
        if self.packets.get_mut(hash, &key).is_none() {
            if self.packets.is_full() {
                self.drop_oldest(PacketDrop::FragmentEvicted, counters);
            }
            let list = self.spare.pop().unwrap_or_default();
            // There is room: if it was full, the oldest has gone.
            let _ = self.packets.insert(hash, key, Datagram::new(now, list));
        }
        let Some(packet) = self.packets.get_mut(hash, &key) else { return Taken::Nothing };
        match packet.state {
            State::Refused(reason) => {
                counters.drop_packet(reason);
                return Taken::Nothing;
            }
            State::Waiting if is_first && !intercepted => packet.state = State::Passing,
            State::Waiting if is_first => packet.state = State::Assembling,
            _ => {}
        }
        if matches!(packet.state, State::Passing) {
            return self.pass(hash, &key, piece);
        }
        self.keep(hash, &key, piece, counters)
    }

    /// One of a packet that is none of ours, and all that have waited for it.
    fn pass(&mut self, hash: u64, key: &FragmentKey, piece: Piece<F>) -> Taken<F> {
        let Some(packet) = self.packets.get_mut(hash, key) else { return Taken::Nothing };
        packet.count(&piece);
        self.held -= packet.pieces.len();
        let mut going = std::mem::replace(&mut packet.pieces, self.spare.pop().unwrap_or_default());
        going.sort_unstable_by_key(|piece| piece.arrived);
        going.push(piece);
        if packet.is_whole()
            && let Some(gone) = self.packets.remove(hash, key)
        {
            self.recycle(gone.pieces);
        }
        Taken::Forward(going)
    }

    fn keep(&mut self, hash: u64, key: &FragmentKey, piece: Piece<F>, counters: &WorkerCounters) -> Taken<F> {
        let Some(packet) = self.packets.get_mut(hash, key) else { return Taken::Nothing };
        match packet.add(piece) {
            Added::New => self.held += 1,
            Added::Repeated => counters.drop_packet(PacketDrop::FragmentRepeated),
            Added::Refused(reason) => {
                counters.drop_packet(reason);
                self.held -= packet.pieces.len();
                packet.pieces.drain(..).for_each(|_| counters.drop_packet(reason));
                packet.state = State::Refused(reason);
                return Taken::Nothing;
            }
        }
        // Without the first one it would not be whole: no other has its place.
        if !packet.is_whole() {
            return Taken::Nothing;
        }
        let Some(whole) = self.packets.remove(hash, key) else { return Taken::Nothing };
        self.held -= whole.pieces.len();
        counters.reassembled.inc();
        Taken::Whole(Whole::new(whole.pieces))
    }

    fn drop_oldest(&mut self, reason: PacketDrop, counters: &WorkerCounters) {
        if let Some(oldest) = self.packets.pop_oldest() {
            self.bury(oldest, reason, counters);
            counters.fragments_held.set(self.held as u64);
        }
    }

    fn bury(&mut self, packet: Datagram<F>, reason: PacketDrop, counters: &WorkerCounters) {
        self.held -= packet.pieces.len();
        packet.pieces.iter().for_each(|_| counters.drop_packet(reason));
        self.recycle(packet.pieces);
    }
}
