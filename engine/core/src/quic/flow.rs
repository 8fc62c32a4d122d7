//! What passes between two ports of UDP: the packets of connections whose hello has passed policy.

use super::crypto_stream::Unreadable;
use super::initial::{InitialSuite, Opening};
use super::packet::{ConnectionId, Kind, LongPacket, Next, next};
use crate::tls::ClientHello;

/// Connections that a server has named, of one flow. A client has one at a time.
const MAX_NAMED: usize = 4;

/// A datagram of a client, as far as it is known what it is.
#[derive(Debug)]
pub enum FromClient {
    /// It belongs to a connection that has passed.
    Pass,
    /// To one of which the hello is not complete.
    Hold,
    /// To one that has not passed.
    Refused,
    /// The hello of a new connection is complete: [`QuicFlow::decide`] says what becomes of it, and of what was held.
    Hello(Box<ClientHello>),
    /// It cannot be read, or belongs to nothing that is known.
    Unread,
}

/// One flow, from the datagram on that begins a connection.
///
/// A client may begin several on one flow, and each has a hello. So an Initial packet passes only if the server has named the
/// connection that it is for, and could not take it for the first one of another, or if its hello has passed.
#[derive(Default)]
pub struct QuicFlow {
    /// What the server calls connections that have passed, the oldest first.
    named: Vec<ConnectionId>,
    opening: Option<Box<Opening>>,
    /// Of the opening, if its hello is complete.
    verdict: Option<bool>,
    /// A connection has passed.
    passes: bool,
    /// Connections that were begun.
    begun: u64,
}

impl QuicFlow {
    /// A datagram of the client's.
    pub fn from_client(&mut self, suite: InitialSuite, datagram: &[u8]) -> FromClient {
        self.client(suite, datagram).unwrap_or(FromClient::Unread)
    }

    fn client(&mut self, suite: InitialSuite, mut datagram: &[u8]) -> Result<FromClient, Unreadable> {
        let mut first: Option<LongPacket<'_>> = None;
        let mut initials: Vec<LongPacket<'_>> = Vec::new();
        while !datagram.is_empty() {
            match next(&mut datagram).ok_or(Unreadable)? {
                Next::Short => {}
                Next::OtherVersion => return Err(Unreadable),
                Next::Long(packet) => {
                    // RFC 9000, 12.2: packets for other connections are to be ignored; who does not, would read what is not read here.
                    let of = first.get_or_insert(packet);
                    if packet.destination != of.destination || packet.version != of.version {
                        return Err(Unreadable);
                    }
                    if packet.kind == Kind::Initial {
                        initials.push(packet);
                    }
                }
            }
        }
        let Some(first) = first else {
            return if self.passes { Ok(FromClient::Pass) } else { Err(Unreadable) };
        };
        // A server that has forgotten the connection takes its own name for that of a new one, whose keys follow from it.
        let begins = || initials.iter().any(|packet| Opening::is_begun_by(suite, packet));
        if self.named.contains(&first.destination) && !begins() {
            return Ok(FromClient::Pass);
        }
        if initials.is_empty() {
            // Early data goes with its hello. All else is for a connection that the server has named.
            let is_of = self.opening.as_ref().is_some_and(|opening| opening.is_of(&first));
            return match self.verdict {
                _ if !is_of || first.kind != Kind::ZeroRtt => Err(Unreadable),
                None => Ok(FromClient::Hold),
                Some(true) => Ok(FromClient::Pass),
                Some(false) => Ok(FromClient::Refused),
            };
        }
        self.initials(suite, &first, &initials)
    }

    fn initials(
        &mut self,
        suite: InitialSuite,
        first: &LongPacket<'_>,
        packets: &[LongPacket<'_>],
    ) -> Result<FromClient, Unreadable> {
        let opening = match &mut self.opening {
            Some(opening) if opening.is_of(first) => {
                packets.iter().try_for_each(|packet| opening.take(packet))?;
                opening
            }
            _ => {
                let mut opening = Box::new(Opening::new(suite, first));
                packets.iter().try_for_each(|packet| opening.take(packet))?;
                self.verdict = None;
                self.begun += 1;
                self.opening.insert(opening)
            }
        };
        // What a server has answered may go on with a second hello (RFC 8446, 4.1.2): after a Retry it may keep the name that it gave there.
        if self.verdict == Some(true) && self.named.contains(&first.destination) {
            return Ok(FromClient::Pass);
        }
        let message = opening.hello()?;
        match (self.verdict, message) {
            (Some(true), _) => Ok(FromClient::Pass),
            (Some(false), _) => Ok(FromClient::Refused),
            (None, None) => Ok(FromClient::Hold),
            (None, Some(message)) => {
                let hello = ClientHello::of_message(message).ok_or(Unreadable)?;
                Ok(FromClient::Hello(Box::new(hello)))
            }
        }
    }

    /// The connection whose hello is complete passes, or it does not.
    pub fn decide(&mut self, passes: bool) {
        self.verdict = Some(passes);
        self.passes |= passes;
    }

    /// A datagram of the server's. It passes, if a connection has.
    pub fn from_server(&mut self, mut datagram: &[u8]) -> bool {
        if !self.passes {
            return false;
        }
        while let Some(Next::Long(packet)) = next(&mut datagram) {
            // A Retry names none: what follows is the same hello under another key (RFC 9000, 17.2.5).
            if matches!(packet.kind, Kind::Initial | Kind::Handshake) && !self.named.contains(&packet.source)
            {
                if self.named.len() >= MAX_NAMED {
                    self.named.remove(0);
                }
                self.named.push(packet.source);
            }
        }
        true
    }

    /// Number of the connection that was begun last. What was held for an older one goes nowhere: its hello will not be complete.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// A connection has passed.
    pub fn passes(&self) -> bool {
        self.passes
    }

    /// Bytes of memory that it holds beside its own size.
    pub fn memory(&self) -> usize {
        let Self { named, opening, verdict: _, passes: _, begun: _ } = self;
        let opening = opening.as_ref().map_or(0, |opening| size_of::<Opening>() + opening.memory());
        named.capacity() * size_of::<ConnectionId>() + opening
    }
}
