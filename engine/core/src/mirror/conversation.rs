//! A flow's conversations in the mirrors: two ends that nobody plays.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use smoltcp::wire::TcpControl;
use tcp_stack::Seq;

use super::beginning::Beginning;
use super::captured::{self, ToCapture};
use super::frame::{self, Said};
use super::queue::{Lost, MirrorQueue};
use super::settings::{Mirror, When};
use crate::counters::MirrorCounters;
use crate::end::{End, PerEnd};
use crate::flow::Context;
use crate::packet::Template;
use crate::port::Io;
use crate::reason::MirrorDrop;

/// Segments of an end that the other one acknowledges together (RFC 1122 4.2.3.2): an IDS reads what is acknowledged.
const ACK_EVERY: u8 = 2;
/// What an `Arc` keeps beside its value.
const SHARED: usize = 2 * size_of::<usize>() + size_of::<AtomicBool>();

/// What a conversation begins with.
#[derive(Clone)]
pub(crate) struct Start {
    /// What the frames of each end wear.
    pub(crate) from: PerEnd<Template>,
    /// The numbers of their SYNs.
    pub(crate) isn: PerEnd<Seq>,
}

/// Who is to see a flow.
#[derive(Clone, Copy)]
pub(crate) enum Audience<'a> {
    /// The mirrors that want flows of this profile, or that the rule names: it is decrypted.
    Decrypted(&'a str, Option<&'a str>),
    /// Those that show bypassed flows: its bytes go by as they are.
    Bypassed,
}

/// A flow as the mirrors show it, and a capture.
pub(crate) struct Conversations {
    from: PerEnd<Template>,
    in_mirrors: Box<[Conversation]>,
    captured: Option<Conversation>,
    /// What is decrypted may be shown with other ports.
    is_decrypted: bool,
}

/// In one mirror.
struct Conversation {
    mirror: u8,
    /// Numbers of the next byte of each end.
    next: PerEnd<Seq>,
    /// Segments of an end that the other one has not acknowledged.
    unacknowledged: PerEnd<u8>,
    closed: PerEnd<bool>,
    /// It was reset.
    over: bool,
    /// Largest payload.
    mss: u16,
    lost: Lost,
}

/// Where a conversation's frames go.
pub(super) trait Output {
    fn mirror(&self) -> &Mirror;

    /// A flow begins there.
    fn begin(&mut self);

    /// Source and destination port of an end's frames.
    fn ports(&self, from: End) -> (u16, u16);

    fn put(&mut self, from: End, said: &Said<'_>, lost: &Lost);
}

/// A mirror's port.
struct ToMirror<'a, IO: Io> {
    number: usize,
    io: &'a mut IO,
    mirror: &'a Mirror,
    queue: &'a mut MirrorQueue<IO::Frame>,
    counters: &'a MirrorCounters,
    from: &'a mut PerEnd<Template>,
    is_decrypted: bool,
}

impl Conversations {
    /// Shows the handshake, and what was said in plain before, in all mirrors that are to see it; none if there is none.
    pub(crate) fn begin<IO: Io>(
        cx: &mut Context<IO>,
        start: Start,
        audience: Audience<'_>,
        beginning: Option<&Beginning>,
    ) -> Option<Box<Self>> {
        let wants = |(n, mirror): &(usize, &Mirror)| {
            let is_seen = match audience {
                Audience::Decrypted(profile, rule) => mirror.shows(profile, cx.shared.policy.shown(rule)),
                Audience::Bypassed => mirror.bypassed,
            };
            is_seen && *n < cx.mirrors.len()
        };
        let wanted = cx.shared.mirrors.iter().enumerate().filter(wants);
        let in_mirrors: Box<[_]> =
            wanted.map(|(n, mirror)| Conversation::new(n as u8, mirror, &start)).collect();
        let is_captured = match audience {
            Audience::Decrypted(profile, _) => {
                cx.capture.as_ref().is_some_and(|capture| capture.wants_plaintext(profile))
            }
            Audience::Bypassed => false,
        };
        if in_mirrors.is_empty() && !is_captured {
            return None;
        }
        let captured = is_captured.then(|| Conversation::new(0, captured::plaintext(), &start));
        let is_decrypted = matches!(audience, Audience::Decrypted(..));
        let mut made = Box::new(Self { from: start.from, in_mirrors, captured, is_decrypted });
        made.each(cx, |conversation, out| {
            out.begin();
            conversation.shake_hands(out);
        });
        for (from, bytes) in beginning.iter().flat_map(|beginning| beginning.pieces()) {
            made.say_as_is(cx, from, bytes);
        }
        Some(made)
    }

    /// An end has said this, and it goes on as it is.
    pub(crate) fn say_as_is<IO: Io>(&mut self, cx: &mut Context<IO>, from: End, bytes: &[u8]) {
        self.each(cx, |conversation, out| {
            conversation.say(out, from, bytes);
            conversation.acknowledge(out, from);
        });
    }

    /// An end says this, which is one record at most.
    pub(crate) fn say<IO: Io>(&mut self, cx: &mut Context<IO>, from: End, bytes: &[u8], when: When) {
        self.each(cx, |conversation, out| {
            if out.mirror().when == when {
                conversation.say(out, from, bytes);
            }
        });
    }

    /// An end says no more for now.
    pub(crate) fn pause<IO: Io>(&mut self, cx: &mut Context<IO>, from: End) {
        self.each(cx, |conversation, out| conversation.acknowledge(out, from));
    }

    /// An end has closed.
    pub(crate) fn close<IO: Io>(&mut self, cx: &mut Context<IO>, from: End) {
        if self.in_mirrors.iter().chain(&self.captured).any(|conversation| !conversation.closed[from]) {
            self.each(cx, |conversation, out| conversation.close(out, from));
        }
    }

    /// An end resets its connection, unless both have closed.
    pub(crate) fn reset<IO: Io>(&mut self, cx: &mut Context<IO>, from: End) {
        self.each(cx, |conversation, out| conversation.reset(out, from));
    }

    /// A mirror shows it.
    pub(crate) fn is_in_mirrors(&self) -> bool {
        !self.in_mirrors.is_empty()
    }

    /// A bit for each mirror that shows it, by its place.
    pub(crate) fn mirrors(&self) -> u8 {
        self.in_mirrors.iter().fold(0, |all, conversation| all | 1 << conversation.mirror)
    }

    /// Bytes of memory that they hold, with their own size.
    pub(crate) fn memory(&self) -> usize {
        let Self { from: _, in_mirrors, captured, is_decrypted: _ } = self;
        let all = in_mirrors.len() + usize::from(captured.is_some());
        size_of::<Self>() + size_of_val(&**in_mirrors) + all * SHARED
    }

    fn each<IO: Io>(&mut self, cx: &mut Context<IO>, act: impl Fn(&mut Conversation, &mut dyn Output)) {
        let Context { io, shared, mirrors, counters, capture, wall, .. } = cx;
        if let (Some(conversation), Some(capture)) = (&mut self.captured, capture) {
            act(conversation, &mut ToCapture { capture, time: *wall, from: &mut self.from });
        }
        for conversation in &mut self.in_mirrors {
            let n = usize::from(conversation.mirror);
            // The list is the same in all generations, and the flow began with it.
            let (Some(mirror), Some(queue)) = (shared.mirrors.get(n), mirrors.get_mut(n)) else { continue };
            let counters = counters.mirror(n);
            let (from, is_decrypted) = (&mut self.from, self.is_decrypted);
            act(conversation, &mut ToMirror { number: n, io, mirror, queue, counters, from, is_decrypted });
        }
    }
}

impl Conversation {
    fn new(n: u8, mirror: &Mirror, start: &Start) -> Self {
        let headers = start.from.client.ip_header_len() + 20;
        Self {
            mirror: n,
            next: start.isn,
            unacknowledged: PerEnd::both(0),
            closed: PerEnd::both(false),
            over: false,
            mss: mirror.mtu.saturating_sub(headers as u16).max(1),
            lost: Arc::default(),
        }
    }

    fn shake_hands(&mut self, out: &mut dyn Output) {
        self.send(out, End::Client, TcpControl::Syn, &[]);
        self.next.client += 1;
        self.send(out, End::Server, TcpControl::Syn, &[]);
        self.next.server += 1;
        self.send(out, End::Client, TcpControl::None, &[]);
    }

    fn say(&mut self, out: &mut dyn Output, from: End, bytes: &[u8]) {
        let mut pieces = bytes.chunks(self.mss.into()).peekable();
        while let Some(piece) = pieces.next() {
            let control = if pieces.peek().is_none() { TcpControl::Psh } else { TcpControl::None };
            self.send(out, from, control, piece);
            self.next[from] += piece.len() as u32;
            self.unacknowledged[from] += 1;
            // It acknowledges all that the other end has said.
            self.unacknowledged[from.other()] = 0;
            if self.unacknowledged[from] >= ACK_EVERY {
                self.acknowledge(out, from);
            }
        }
    }

    /// The other end has all that this one has said.
    fn acknowledge(&mut self, out: &mut dyn Output, of: End) {
        if std::mem::take(&mut self.unacknowledged[of]) > 0 {
            self.send(out, of.other(), TcpControl::None, &[]);
        }
    }

    fn close(&mut self, out: &mut dyn Output, from: End) {
        if std::mem::replace(&mut self.closed[from], true) {
            return;
        }
        self.acknowledge(out, from);
        self.send(out, from, TcpControl::Fin, &[]);
        self.next[from] += 1;
        self.unacknowledged = PerEnd::both(0);
        self.send(out, from.other(), TcpControl::None, &[]);
    }

    fn reset(&mut self, out: &mut dyn Output, from: End) {
        if self.closed != PerEnd::both(true) && !std::mem::replace(&mut self.over, true) {
            self.send(out, from, TcpControl::Rst, &[]);
        }
    }

    fn send(&self, out: &mut dyn Output, from: End, control: TcpControl, payload: &[u8]) {
        if self.lost.load(Relaxed) {
            return;
        }
        let first = control == TcpControl::Syn;
        let said = Said {
            ports: out.ports(from),
            control,
            seq: self.next[from],
            ack: (!first || from == End::Server).then(|| self.next[from.other()]),
            mss: first.then_some(self.mss),
            payload,
        };
        out.put(from, &said, &self.lost);
    }
}

impl<IO: Io> Output for ToMirror<'_, IO> {
    fn mirror(&self) -> &Mirror {
        self.mirror
    }

    fn begin(&mut self) {
        self.counters.flows.inc();
    }

    fn ports(&self, from: End) -> (u16, u16) {
        let ports = self.from[from].ports();
        if self.is_decrypted { self.mirror.ports(from, ports) } else { ports }
    }

    fn put(&mut self, from: End, said: &Said<'_>, lost: &Lost) {
        let Self { number, io, mirror, queue, counters, from: templates, is_decrypted: _ } = self;
        let mut frame = io.allocate_mirrored();
        if frame.is_none() {
            queue.drop_oldest(counters);
            frame = io.allocate_mirrored();
        }
        let template = &mut templates[from];
        let written =
            frame.and_then(|mut frame| Some((frame::write(&mut frame, mirror, template, said)?, frame)));
        let Some((layers, frame)) = written else {
            counters.drop_frame(MirrorDrop::NoBuffer);
            if !lost.swap(true, Relaxed) {
                counters.flows_lost.inc();
            }
            return;
        };
        queue.push(counters, frame, lost, layers);
        if queue.has_burst() {
            queue.flush(*io, *number, counters);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use bytes::Bytes;

    use super::*;
    use crate::memory_port::{Cable, MemoryFrame, MemoryIo};
    use crate::packet::{Class, classify};
    use crate::port::{Appended, Offloads, PortId, Request};

    /// A pool with so many frames.
    struct Pool(MemoryIo, usize);

    impl Io for Pool {
        type Frame = MemoryFrame;

        fn wires(&self) -> u8 {
            0
        }

        fn mtu(&self, wire: u8) -> usize {
            self.0.mtu(wire)
        }

        fn receive(&mut self, _: PortId, _: &mut Vec<MemoryFrame>) {}

        fn allocate(&mut self) -> Option<MemoryFrame> {
            None
        }

        fn block(&mut self, _: usize) -> Option<Vec<u8>> {
            None
        }

        fn append(&mut self, _: PortId, _: &mut MemoryFrame, _: &Bytes, _: Range<usize>) -> Appended {
            Appended::NoRoom
        }

        fn offloads(&self, _: PortId) -> Offloads {
            Offloads::default()
        }

        fn request(&mut self, _: &mut MemoryFrame, _: &Request) {}

        fn transmit(&mut self, _: PortId, _: &mut Vec<MemoryFrame>) {}

        fn mirrors(&self) -> usize {
            1
        }

        fn allocate_mirrored(&mut self) -> Option<MemoryFrame> {
            self.1 = self.1.checked_sub(1)?;
            self.0.allocate_mirrored()
        }

        fn transmit_mirrored(&mut self, mirror: usize, frames: &mut Vec<MemoryFrame>) {
            self.0.transmit_mirrored(mirror, frames);
        }

        fn discard_received(&mut self, _: usize) -> usize {
            0
        }
    }

    fn template() -> Template {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        frame.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([4, 0, 1, 187, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x12, 0, 0, 0, 0, 0, 0]);
        let Class::Tcp(headers) = classify(&frame) else { panic!("a segment") };
        Template::of(&frame, &headers)
    }

    #[test]
    fn without_a_buffer_the_conversation_is_over() {
        let cable = Cable::new(0, 1, 1).with_mirrors(1, 100);
        let mut io = Pool(cable.io(0, 1500), 4);
        let (mirror, counters) = (Mirror::new("ids"), MirrorCounters::default());
        let mut queue = MirrorQueue::default();
        let mut from = PerEnd { client: template(), server: template().reversed() };
        let start = Start { from: from.clone(), isn: PerEnd { client: Seq(1), server: Seq(2) } };
        let mut conversation = Conversation::new(0, &mirror, &start);
        let mut out = ToMirror {
            number: 0,
            io: &mut io,
            mirror: &mirror,
            queue: &mut queue,
            counters: &counters,
            from: &mut from,
            is_decrypted: true,
        };
        conversation.shake_hands(&mut out);
        conversation.say(&mut out, End::Client, b"one");
        assert_eq!((counters.flows_lost.value(), out.io.1), (0, 0));
        // Nor is the oldest's buffer back in the pool.
        conversation.say(&mut out, End::Client, b"two");
        out.io.1 = 10;
        conversation.say(&mut out, End::Client, b"three");
        conversation.close(&mut out, End::Client);
        conversation.reset(&mut out, End::Server);
        assert_eq!((counters.flows_lost.value(), out.io.1), (1, 10), "nothing more is said");
        assert_eq!(counters.dropped(MirrorDrop::NoBuffer), 1);
        assert_eq!(counters.dropped(MirrorDrop::Overrun), 1, "the oldest was given up for it");
        out.queue.flush(out.io, 0, &counters);
        assert_eq!(cable.mirrored(0), None, "its SYN was that one, so nobody hears of it");
    }
}
