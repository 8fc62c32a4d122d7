//! Frames of a connection that opens, on their way: to the other end, and to mirrors.

use tcp_stack::{Options, Segment, Timestamps};

use super::{Answered, Observed, Path};
use crate::end::End;
use crate::flow::context::Context;
use crate::packet::{BareSegment, Headers, Template, handshake_segment, scrub_syn, syn_ack};
use crate::port::{Frame, Io};
use crate::reason::PacketDrop;

/// The segment of a frame that goes where those before it went. None: it is dropped.
pub(in crate::flow) fn opening_segment<'a, IO: Io>(
    cx: &Context<IO>,
    path: &mut Path,
    from: End,
    frame: &'a IO::Frame,
    headers: &Headers,
) -> Option<Segment<'a>> {
    let why = match Segment::parse(headers.segment(frame.data())) {
        Ok(segment) if path.note(from, frame.data(), headers) => return Some(segment),
        Ok(_) => PacketDrop::BrokenHandshake,
        Err(_) => PacketDrop::BadTcpHeader,
    };
    cx.counters.drop_packet(why);
    None
}

/// Passes a SYN or SYN-ACK on, without what could not be carried over later.
pub(in crate::flow) fn pass_syn<IO: Io>(
    cx: &mut Context<IO>,
    from: End,
    mut frame: IO::Frame,
    headers: &Headers,
) {
    let ip_and_tcp = headers.l4 - headers.l3 + 20;
    let (mut headers, mss) = (*headers, cx.mtu().saturating_sub(ip_and_tcp) as u16);
    scrub_syn(frame.data_mut(), &mut headers, mss);
    cx.send(from.other(), frame);
}

/// Shows the mirrors of bypassed flows the handshake that has gone by. `to_server` is what the client's frames wear, if one is at hand.
pub(in crate::flow) fn show_handshake<IO: Io>(
    cx: &mut Context<IO>,
    answered: &Answered,
    to_server: Option<&Template>,
) {
    if cx.shows_bypassed {
        for segment in answered.handshake(to_server) {
            cx.show_again(segment.as_slice());
        }
    }
}

impl Answered {
    /// The handshake anew: SYN, SYN-ACK, ACK. `to_server` is what the client's frames wear, if one is at hand.
    fn handshake(&self, to_server: Option<&Template>) -> [BareSegment; 3] {
        let Self { client, server, to_client, .. } = self;
        let to_server = to_server.map_or_else(|| to_client.reversed(), Template::clone);
        let options = |of: &Observed, other: Option<&Observed>| Options {
            mss: of.mss,
            window_scale: of.scale,
            sack_permitted: of.sack,
            timestamps: of.timestamps().map(|(val, _)| Timestamps {
                val,
                ecr: other.and_then(Observed::timestamps).map_or(0, |(val, _)| val),
            }),
            ..Options::default()
        };
        let only_timestamps = Options {
            timestamps: options(client, Some(server)).timestamps.filter(|_| server.has_timestamps),
            ..Options::default()
        };
        // What is known is the window since. In a SYN it cannot be more than its field holds.
        let unscaled = |of: &Observed| of.window.min(u16::MAX.into()) as u16;
        let scaled = (client.window >> self.scale(End::Client)).min(u16::MAX.into()) as u16;
        let [isn, theirs] = [client.isn, server.isn];
        [
            handshake_segment(to_server.clone(), true, isn, None, unscaled(client), &options(client, None)),
            syn_ack(to_client.clone(), theirs, isn + 1, unscaled(server), &options(server, Some(client))),
            handshake_segment(to_server, false, isn + 1, Some(theirs + 1), scaled, &only_timestamps),
        ]
    }
}
