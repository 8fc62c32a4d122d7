//! Events that anybody can cause with one frame and any sender's address are written one by one as long as they are few. What
//! comes beyond that in a second is counted, and told in one event for each kind and network.

use std::net::IpAddr;

use hashbrown::HashMap;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tcp_stack::{Duration, Instant};
use wireglass_core::event::{Event, Fate, SummaryEvent, Timestamp};
use wireglass_core::phase::FlowPhase;
use wireglass_core::reason::PathOddity;

/// Events of a kind, from one network and in one second, that are written one by one.
const ONE_BY_ONE: u64 = 16;
/// Kinds and networks that are told apart in a second; the rest counts as one network.
const NETWORKS: usize = 64;
/// Length of a network's prefix: what one customer or office has.
const PREFIX: [u8; 2] = [24, 64];
const SECOND: Duration = Duration::from_secs(1);

/// What has come in this second.
pub(super) struct Summary {
    seen: HashMap<Kind, u64>,
    /// The end of the second that the first of them began.
    until: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    of: &'static str,
    reason: &'static str,
    network: IpNet,
}

impl Kind {
    /// None: the event takes more than a frame to cause, or is limited by itself.
    fn of(event: &Event) -> Option<Self> {
        let (reason, client) = match event {
            // Nobody has answered: a SYN, or some other segment of no connection.
            Event::Flow(head, flow)
                if (flow.to_client.packets == 0 || flow.to_server.packets == 0)
                    && (flow.midstream || flow.phase == FlowPhase::Opening) =>
            {
                (flow.reason.code(), head.client.ip())
            }
            Event::Asymmetric(head, _) => (PathOddity::Asymmetric.code(), head.client.ip()),
            Event::Frame(frame) => match (frame.fate, frame.frame.addresses) {
                (Fate::Dropped(reason), Some((source, _))) => (reason.code(), source),
                (Fate::Forwarded, Some((source, _))) => (frame.class?.name(), source),
                (_, None) => return None,
            },
            _ => return None,
        };
        Some(Self { of: event.kind().name(), reason, network: network(client, PREFIX) })
    }

    /// The same, from wherever.
    fn anywhere(self) -> Self {
        Self { network: network(self.network.addr(), [0, 0]), ..self }
    }
}

fn network(address: IpAddr, [v4, v6]: [u8; 2]) -> IpNet {
    // The prefixes are in range; a host's own network would be right otherwise, too.
    match address {
        IpAddr::V4(address) => Ipv4Net::new(address, v4).unwrap_or(address.into()).trunc().into(),
        IpAddr::V6(address) => Ipv6Net::new(address, v6).unwrap_or(address.into()).trunc().into(),
    }
}

impl Summary {
    pub(super) fn new() -> Self {
        Self { seen: HashMap::new(), until: None }
    }

    /// The event is to be written; otherwise it is counted here.
    pub(super) fn admits(&mut self, now: Instant, event: &Event) -> bool {
        let Some(mut kind) = Kind::of(event) else { return true };
        if self.seen.len() >= NETWORKS && !self.seen.contains_key(&kind) {
            kind = kind.anywhere();
        }
        self.until.get_or_insert(now + SECOND);
        let seen = self.seen.entry(kind).or_default();
        *seen += 1;
        *seen <= ONE_BY_ONE
    }

    /// When the second is over.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.until
    }

    /// Ends the second if it is over, or in any case (`now`: none), and tells what it held beyond what was written.
    pub(super) fn end_second(&mut self, now: Option<Instant>, wall: Timestamp, mut tell: impl FnMut(Event)) {
        if self.until.is_none_or(|until| now.is_some_and(|now| now < until)) {
            return;
        }
        self.until = None;
        let mut over: Vec<_> = self.seen.drain().filter(|(_, seen)| *seen > ONE_BY_ONE).collect();
        over.sort_unstable_by_key(|(Kind { of, reason, network }, _)| (*of, *reason, *network));
        for (Kind { of, reason, network }, seen) in over {
            let count = seen - ONE_BY_ONE;
            tell(Event::Summary(Box::new(SummaryEvent { time: wall, of, reason, network, count })));
        }
    }
}
