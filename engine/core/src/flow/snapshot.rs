//! What a flow looks like at one moment, copied without formatting and at a fixed size.

use std::sync::Arc;

use ipnet::IpNet;
use tcp_stack::{Info, Instant};

use super::leg::Leg;
use super::watched::Watched;
use super::{Flow, Identity, Phase};
use crate::end::{End, PerEnd};
use crate::event::{HelloInfo, LegInfo, Timestamp, Unread, Volume};
use crate::phase::FlowPhase;
use crate::policy::Profile;
use crate::port::Io;

/// Longest server name that is kept: that of the DNS, with room for one dot more.
const MAX_SNI: usize = 254;
/// Longest application protocol that is copied; RFC 7301 allows 255 bytes, those in use have up to 8.
const MAX_ALPN: usize = 32;

/// What a flow remembers, from the moment its ClientHello is known.
#[derive(Default)]
pub(super) struct About {
    /// A hello that is to be decrypted or answered, until its `tls` event.
    pub(super) pending: Option<Box<(HelloInfo, Option<Arc<Profile>>)>>,
    /// One that is bypassed, until the server's first flight has gone by.
    pub(super) watched: Option<Box<Watched>>,
    /// When its handshakes began.
    pub(super) handshakes_began: Option<Instant>,
    /// Bytes of that hello, while it is there.
    pending_bytes: usize,
    sni: Option<Box<str>>,
    profile: Option<Arc<Profile>>,
    /// The engine answers in the server's place.
    pub(super) is_answered: bool,
    /// What its HTTP reader has not read, once it has ended.
    pub(super) unread: Option<Unread>,
    /// Leg to the client, leg to the server; once both handshakes are complete.
    tls: Option<Box<PerEnd<Option<LegInfo>>>>,
}

impl About {
    pub(super) fn hello(info: &HelloInfo) -> Box<Self> {
        let sni = info.sni.as_deref().filter(|name| name.len() <= MAX_SNI);
        Box::new(Self { sni: sni.map(Box::from), ..Self::default() })
    }

    pub(super) fn decrypt(&mut self, now: Instant, hello: HelloInfo, profile: Arc<Profile>) {
        (self.profile, self.handshakes_began) = (Some(profile), Some(now));
        self.await_handshakes(hello);
    }

    /// The engine answers in the server's place.
    pub(super) fn answer(&mut self, hello: HelloInfo) {
        self.is_answered = true;
        self.await_handshakes(hello);
    }

    fn await_handshakes(&mut self, hello: HelloInfo) {
        self.pending_bytes = size_of::<(HelloInfo, Option<Arc<Profile>>)>() + hello.text_bytes();
        self.pending = Some(Box::new((hello, self.profile.clone())));
    }

    /// Bytes of memory that it holds, with its own size.
    pub(super) fn memory(&self) -> usize {
        let Self {
            pending,
            watched,
            handshakes_began: _,
            pending_bytes,
            sni,
            profile: _,
            is_answered: _,
            unread: _,
            tls,
        } = self;
        let pending = pending.as_ref().map_or(0, |_| *pending_bytes);
        let watched = watched.as_ref().map_or(0, |watched| watched.memory());
        let sni = sni.as_ref().map_or(0, |name| name.len());
        let tls = tls.as_deref().map_or(0, |legs| {
            let alpn =
                |leg: &Option<LegInfo>| leg.as_ref().and_then(|leg| leg.alpn.as_ref()).map_or(0, |a| a.len());
            size_of_val(legs) + legs.iter().map(alpn).sum::<usize>()
        });
        size_of::<Self>() + pending + watched + sni + tls
    }

    /// The server name, unless it is longer than one can be.
    pub(super) fn sni(&self) -> Option<&str> {
        self.sni.as_deref()
    }

    /// What it is decrypted with.
    pub(super) fn profile(&self) -> Option<&Profile> {
        self.profile.as_deref()
    }

    pub(super) fn established(&mut self, client: Option<&LegInfo>, server: Option<&LegInfo>) {
        self.tls = Some(Box::new(PerEnd { client: client.cloned(), server: server.cloned() }));
    }
}

/// A few bytes without a heap.
#[derive(Clone, Copy)]
pub struct Short<const N: usize> {
    len: u8,
    bytes: [u8; N],
}

impl<const N: usize> Short<N> {
    /// The first `N` bytes, 255 at most.
    pub fn new(from: &[u8]) -> Self {
        let mut bytes = [0; N];
        let len = from.len().min(N).min(u8::MAX.into());
        bytes[..len].copy_from_slice(&from[..len]);
        Self { len: len as u8, bytes }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len.into()]
    }
}

/// Which flows are asked for, as far as that can be told without copying anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The client's address lies in it.
    pub client: Option<IpNet>,
    /// The server's address lies in it.
    pub server: Option<IpNet>,
    /// Either end's port.
    pub port: Option<u16>,
    /// Its phase.
    pub phase: Option<FlowPhase>,
    /// Its number.
    pub flow_id: Option<u64>,
}

impl Wanted {
    fn covers(&self, identity: &Identity, phase: FlowPhase) -> bool {
        let Identity { client, server, flow_id, .. } = identity;
        self.flow_id.is_none_or(|wanted| wanted == *flow_id)
            && self.phase.is_none_or(|wanted| wanted == phase)
            && self.port.is_none_or(|port| port == client.port() || port == server.port())
            && self.client.is_none_or(|net| net.contains(&client.ip()))
            && self.server.is_none_or(|net| net.contains(&server.ip()))
    }
}

/// One flow.
#[derive(Clone)]
pub struct FlowSnapshot {
    /// Who it is.
    pub identity: Identity,
    /// Name of the wire.
    pub wire: Arc<str>,
    /// Its phase.
    pub phase: FlowPhase,
    /// The handshakes are under way.
    pub handshaking: bool,
    /// Rule that decided; none: the default did, or nothing is decided yet.
    pub rule: Option<Arc<str>>,
    /// Profile of a flow that is decrypted.
    pub profile: Option<Arc<Profile>>,
    /// Server name of the ClientHello.
    pub sni: Option<Short<MAX_SNI>>,
    /// Microseconds since the first packet.
    pub age: u64,
    /// Microseconds since the last packet.
    pub idle: u64,
    /// Frames and bytes that came from the client, and from the server.
    pub volume: PerEnd<Volume>,
    /// Leg to the client, leg to the server; none where the engine is no end of the connection.
    pub legs: Option<PerEnd<LegSnapshot>>,
}

/// One leg.
#[derive(Clone, Copy)]
pub struct LegSnapshot {
    /// TCP.
    pub tcp: Info,
    /// TLS, once both handshakes are complete.
    pub tls: Option<TlsSnapshot>,
}

/// TLS on one leg; see [`LegInfo`].
#[derive(Clone, Copy)]
pub struct TlsSnapshot {
    /// Protocol version.
    pub version: Option<&'static str>,
    /// Cipher suite.
    pub cipher: Option<&'static str>,
    /// Key exchange group.
    pub group: Option<&'static str>,
    /// Application protocol.
    pub alpn: Option<Short<MAX_ALPN>>,
    /// The session was resumed.
    pub resumed: bool,
}

impl TlsSnapshot {
    fn new(leg: &LegInfo) -> Self {
        let LegInfo { version, cipher, group, resumed, .. } = *leg;
        Self { version, cipher, group, alpn: leg.alpn.as_deref().map(Short::new), resumed }
    }
}

impl<IO: Io> Flow<IO> {
    /// How the flow stands, if it is wanted. Takes no memory and formats nothing.
    pub fn snapshot(
        &self,
        wanted: &Wanted,
        now: Instant,
        wall: Timestamp,
        wires: &[Arc<str>],
    ) -> Option<FlowSnapshot> {
        let phase = self.phase();
        if !wanted.covers(&self.identity.unpack(), phase) {
            return None;
        }
        let about = self.about.as_deref();
        let since = |time: Timestamp| wall.0.saturating_sub(time.0);
        Some(FlowSnapshot {
            identity: self.identity.unpack(),
            wire: Arc::clone(&wires[self.identity.wire()]),
            phase,
            handshaking: matches!(&self.phase, Phase::Adopted(adopted) if adopted.is_handshaking()),
            rule: self.decided.as_ref().and_then(|(_, rule)| rule.clone()),
            profile: about.and_then(|about| about.profile.clone()),
            sni: about.and_then(|about| about.sni.as_deref()).map(|name| Short::new(name.as_bytes())),
            age: since(self.start),
            idle: since(self.last),
            volume: self.volume,
            legs: self.legs().map(|legs| {
                let tls = |end: End| about?.tls.as_ref()?[end].as_ref().map(TlsSnapshot::new);
                PerEnd::from_fn(|end| LegSnapshot { tcp: legs[end].tcp.info(now), tls: tls(end) })
            }),
        })
    }

    fn legs(&self) -> Option<&PerEnd<Leg<IO>>> {
        match &self.phase {
            Phase::HelloOverTcp(hello) => Some(&hello.legs),
            Phase::Adopted(adopted) => Some(&adopted.legs),
            Phase::Blocked(blocked) => blocked.legs(),
            Phase::Opening(_)
            | Phase::Answered(_)
            | Phase::Held(_)
            | Phase::Peeking(_)
            | Phase::Bypassed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_has_a_fixed_size() {
        assert_eq!(Short::<4>::new(b"abcdef").as_bytes(), b"abcd");
        assert_eq!(Short::<4>::new(b"ab").as_bytes(), b"ab");
        assert_eq!(Short::<300>::new(&[7; 300]).as_bytes().len(), 255);
        assert!(size_of::<FlowSnapshot>() <= 2048, "{}", size_of::<FlowSnapshot>());
    }

    #[test]
    fn a_flow_is_wanted_if_all_conditions_hold() {
        let identity = Identity {
            refused_before: false,
            flow_id: 1,
            wire: 0,
            vlan: [None; 2],
            client: ([10, 0, 0, 1], 40_000).into(),
            server: ([192, 0, 2, 9], 443).into(),
        };
        let net = |text: &str| Some(text.parse().expect("a network"));
        let all = Wanted {
            client: net("10.0.0.0/8"),
            server: net("192.0.2.9/32"),
            port: Some(443),
            phase: Some(FlowPhase::Peeking),
            flow_id: Some(1),
        };
        assert!(Wanted::default().covers(&identity, FlowPhase::Blocked));
        assert!(all.covers(&identity, FlowPhase::Peeking));
        assert!(Wanted { port: Some(40_000), ..all }.covers(&identity, FlowPhase::Peeking), "either port");
        for (wrong, phase) in [
            (all, FlowPhase::Opening),
            (Wanted { client: net("192.0.2.0/24"), ..all }, FlowPhase::Peeking),
            (Wanted { server: net("10.0.0.0/8"), ..all }, FlowPhase::Peeking),
            (Wanted { client: net("::/0"), ..all }, FlowPhase::Peeking),
            (Wanted { port: Some(80), ..all }, FlowPhase::Peeking),
            (Wanted { flow_id: Some(2), ..all }, FlowPhase::Peeking),
        ] {
            assert!(!wrong.covers(&identity, phase), "{wrong:?} {phase:?}");
        }
    }
}
