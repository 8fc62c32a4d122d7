//! Flows that begin in plain text: both legs are adopted with the first byte, and go over to TLS in place.

use tcp_stack::Segment;

use super::adopted::Adopted;
use super::context::Context;
use super::hello_over_tcp::HelloOverTcp;
use super::opening::Answered;
use super::{Flow, Phase};
use crate::end::End;
use crate::event::Action;
use crate::packet::{Headers, Template};
use crate::policy::UnsupportedAction;
use crate::port::{Frame, Io};
use crate::reason::{PacketDrop, Reason};
use crate::starttls::{Progress, Protocol};

impl<IO: Io> Flow<IO> {
    /// Takes over with the first frame that carries something, whoever sent it.
    pub(super) fn begin_dialogue(
        &mut self,
        cx: &mut Context<IO>,
        answered: &Answered,
        protocol: Protocol,
        from: End,
        frame: &IO::Frame,
        headers: &Headers,
    ) -> Phase<IO> {
        let to_server = (from == End::Client).then(|| Template::of(frame.data(), headers));
        let legs = answered.adopt(cx.now, to_server, cx.mtu(), &cx.shared.limits);
        if !cx.budget.has_room() {
            self.decided = Some((Action::Block, None));
            return self.reset(cx, legs, Reason::ResourceMemory);
        }
        let mut adopted = Adopted::with_dialogue(cx, legs, protocol);
        match Segment::parse(headers.segment(frame.data())) {
            Ok(segment) => _ = adopted.handle_segment(cx, from, &segment),
            Err(_) => cx.counters.drop_packet(PacketDrop::BadTcpHeader),
        }
        let next = adopted.drive(cx);
        self.follow(cx, next)
    }

    /// The ends have agreed on TLS, or will not.
    pub(super) fn end_dialogue(
        &mut self,
        cx: &mut Context<IO>,
        progress: Progress,
        mut adopted: Box<Adopted<IO>>,
    ) -> Phase<IO> {
        let deadline = cx.now + cx.shared.limits.hello_time;
        let mut hello = match progress {
            Progress::Agreed(_) if adopted.closed.client => {
                return self.break_off(cx, adopted, Reason::ClientClosed);
            }
            Progress::Agreed(_) if adopted.closed.server => {
                return self.break_off(cx, adopted, Reason::ServerClosed);
            }
            Progress::Agreed(_) => {
                Box::new(HelloOverTcp::agreed(adopted.legs, deadline, adopted.beginning.take()))
            }
            Progress::Tls | Progress::Pass(_) => Box::new(HelloOverTcp::new(adopted.legs, deadline)),
            Progress::Plain(reason) => {
                let ordered = cx.ordered_bypass();
                if ordered.is_none() && cx.shared.policy.starttls().action(reason) == UnsupportedAction::Block
                {
                    return self.break_off(cx, adopted, reason);
                }
                (self.decided, self.ordered) = (Some((Action::Bypass, None)), cx.count_order(ordered));
                self.report_tls(cx, None, None, reason);
                adopted.go_on_in_plain(cx, None);
                let next = adopted.drive(cx);
                return self.follow(cx, next);
            }
            Progress::Broken(reason) => return self.break_off(cx, adopted, reason),
        };
        let peeked = hello.drive(cx);
        self.follow_hello(cx, hello, peeked)
    }

    fn break_off(&mut self, cx: &mut Context<IO>, adopted: Box<Adopted<IO>>, reason: Reason) -> Phase<IO> {
        self.decided = Some((Action::Block, None));
        self.report_tls(cx, None, None, reason);
        self.reset(cx, adopted.legs, reason)
    }
}
