//! A connection of which the server does not hear before policy has let its ClientHello pass.
//!
//! The engine answers the SYN itself, as small as a connection whose answer is awaited, and repeats the answer when the client
//! repeats its SYN, so a flood of SYNs costs what it costs elsewhere. The client's ACK shows that it is where it says it is; from there
//! on its leg takes the ClientHello in ([`HelloOverTcp`]), and the leg to the server opens a connection when it is first sent from.
//! The numbers of the two never meet, so what is bypassed is relayed over both legs.

use tcp_stack::{IsnGenerator, Segment};

use super::blocked::Blocked;
use super::context::Context;
use super::hello_over_tcp::HelloOverTcp;
use super::opening::{Answered, Numbers, Opening};
use super::{Flow, Phase, opening_segment};
use crate::end::End;
use crate::event::Action;
use crate::packet::{Headers, Template};
use crate::phase::FlowPhase;
use crate::port::{Frame, Io};
use crate::reason::{PacketDrop, Reason};

impl<IO: Io> Flow<IO> {
    /// Answers the SYN in the server's place.
    pub(super) fn hold(
        &self,
        cx: &mut Context<IO>,
        opening: &Opening,
        frame: &IO::Frame,
        headers: &Headers,
    ) -> Phase<IO> {
        let to_client = Template::of(frame.data(), headers).reversed();
        let isns = IsnGenerator::new(cx.shared.limits.isn_key);
        let (client, server) = (self.identity.client(), self.identity.server());
        let isn = isns.generate(cx.now, server, client);
        // Of the other direction, which has no number: another secret for the clock (RFC 7323 7.1).
        let clock = isns.generate(cx.now, client, server).0;
        let mss = cx.mtu().saturating_sub(to_client.ip_header_len() + 20).min(u16::MAX.into()) as u16;
        let answered = Box::new(opening.answer(cx.now, to_client, Numbers { isn, clock }, mss));
        answer(cx, &answered);
        Phase::Held(answered)
    }

    /// What comes before the client has acknowledged our answer.
    pub(super) fn handle_held(
        &mut self,
        cx: &mut Context<IO>,
        mut answered: Box<Answered>,
        from: End,
        frame: IO::Frame,
        headers: &Headers,
    ) -> Phase<IO> {
        if from == End::Server {
            cx.counters.drop_packet(PacketDrop::ServerHeld);
            return Phase::Held(answered);
        }
        let Some(segment) = opening_segment(cx, &mut answered.path, from, &frame, headers) else {
            return Phase::Held(answered);
        };
        if segment.flags.syn && segment.ack.is_none() && segment.seq != answered.client_isn() {
            let mut opening = Opening::new(cx.now, &segment);
            opening.path = answered.path;
            return self.hold(cx, &opening, &frame, headers);
        }
        if segment.flags.syn && segment.ack.is_none() {
            answer(cx, &answered);
            return Phase::Held(answered);
        }
        if segment.flags.rst && segment.seq.since(answered.client_isn()) <= 1 {
            self.report_flow(cx, FlowPhase::Opening, Reason::ClientReset);
            return Phase::Blocked(Blocked::silent(cx));
        }
        if segment.flags.rst || segment.flags.syn || !answered.is_acknowledged_by(&segment) {
            cx.counters.drop_packet(PacketDrop::BrokenHandshake);
            return Phase::Held(answered);
        }
        self.take_unheard(cx, *answered, &segment, Template::of(frame.data(), headers))
    }

    /// The client is where it says it is: its ClientHello is awaited.
    fn take_unheard(
        &mut self,
        cx: &mut Context<IO>,
        mut answered: Answered,
        segment: &Segment<'_>,
        to_server: Template,
    ) -> Phase<IO> {
        answered.observe(cx.now, End::Client, segment, || to_server.clone());
        let legs = answered.adopt_unheard(cx.now, to_server, cx.mtu(), &cx.shared.limits);
        if !cx.budget.has_room() {
            self.decided = Some((Action::Block, None));
            return self.reset(cx, legs, Reason::ResourceMemory);
        }
        let deadline = cx.now + cx.shared.limits.hello_time;
        let mut hello = Box::new(HelloOverTcp::new(legs, deadline));
        let peeked = hello.handle_segment(cx, End::Client, segment);
        self.follow_hello(cx, hello, peeked)
    }
}

/// Says, or says again, what we have answered.
fn answer<IO: Io>(cx: &mut Context<IO>, answered: &Answered) {
    match cx.filled(answered.syn_ack().as_slice()) {
        Some(frame) => cx.send(End::Client, frame),
        None => cx.counters.drop_packet(PacketDrop::NoBuffer),
    }
}
