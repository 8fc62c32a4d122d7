//! A capture through the engine: its own workers, on in-memory ports and the capture's clock.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use smoltcp::wire::{Ipv4Packet, TcpPacket};
use tcp_stack::{Duration, Instant};
use wireglass_core::event::{Action, Event, FlowHead, Timestamp};
use wireglass_core::exclusions::Exclusions;
use wireglass_core::fairness::{Fairness, PerClient};
use wireglass_core::flow::Limits;
use wireglass_core::generations::Generations;
use wireglass_core::packet::{Class, Headers, PassAction, Uninspected, classify};
use wireglass_core::policy::{Decision, FlowFacts, Policy, Tallies};
use wireglass_core::port::PortSide;
use wireglass_core::reason::{PacketDrop, Reason};

use super::capture::Packet;
use crate::config::{Compiled, Config};
use crate::engine_builder::EngineBuilder;
use crate::log::{LogReceiver, ring};
use crate::secrets::Secrets;
use crate::simulate::{Engine, EngineSettings, Spread};

/// Flows at a time, at most: the oldest makes room, as on a wire.
const FLOWS: u32 = 65_536;
/// More than can come at once: all flows end, each with two events.
const EVENTS: usize = 2 * FLOWS as usize + 1024;
/// What the made-up wire carries, where the configuration does not say.
const MTU: usize = 1500;
/// Connections of which the side is known, each in four entries. Who is forgotten is guessed.
const ENDS: usize = 16 * FLOWS as usize;
/// Frames that may be held while ClientHellos are incomplete.
const HELD_FRAMES: usize = 4096;
/// Longer than any timer of a flow runs. A capture whose clock jumps further is not followed.
const LONGEST: u64 = 366 * 24 * 3600 * 1_000_000;
/// Time passes, whatever the timers say.
const TICK: Duration = Duration::from_millis(1);

/// What became of one flow.
#[derive(Clone, Debug)]
pub(super) struct Played {
    /// In the order of their beginnings.
    pub(super) id: u64,
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
    pub(super) vlan: [Option<u16>; 2],
    pub(super) sni: Option<String>,
    /// Offered by the client.
    pub(super) alpn: Vec<Box<[u8]>>,
    pub(super) ja4: Option<String>,
    /// None: the capture ends before it was decided.
    pub(super) decision: Option<Action>,
    /// None: the default, or something else than a rule.
    pub(super) rule: Option<Arc<str>>,
    pub(super) profile: Option<Arc<str>>,
    /// Why, if not for a rule or the default.
    pub(super) reason: Option<Reason>,
}

/// What became of the packets.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) packets: u64,
    /// Of which the capture has only the beginning.
    pub(super) cut: u64,
    /// Whose checksums were wrong, and were put right.
    pub(super) mended: u64,
    /// Frames that the engine does not look into, and what becomes of them.
    pub(super) uninspected: Vec<(Uninspected, PassAction, u64)>,
    /// Which the engine dropped, malformed ones among them.
    pub(super) dropped: Vec<(PacketDrop, u64)>,
}

/// The engine between two ports.
pub(super) struct Player {
    engine: Engine,
    log: LogReceiver,
    /// Those that have not ended.
    flows: BTreeMap<u64, Played>,
    ended: Vec<Played>,
    clients: Clients,
    totals: Totals,
    /// Of the first packet; the virtual clock begins there.
    began: u64,
    now: Instant,
}

impl Player {
    /// An engine with this configuration's policy on the wire of this name.
    pub(super) fn new(config: &Config, wire: &Arc<str>, began: u64) -> io::Result<Self> {
        let tls = config.tls_context().map_err(io::Error::other)?;
        let secrets = Secrets::draw().map_err(io::Error::other)?;
        let (sender, log) = ring(EVENTS);
        let Compiled { policy: _, filters, tallies: _ } = config.compile(&Tallies::default());
        let policy = Arc::new(config.compile_policy().without_hold());
        let builder = EngineBuilder {
            policy: Arc::clone(&policy),
            tls,
            // Whoever appears in a capture is to be shown, however often.
            limits: Limits {
                fairness: Fairness { per_client: PerClient::NoLimit, ..config.limits.fairness },
                ..config.flow_limits()
            },
            outside_tls: config.intercept.outside_tls,
            filters,
            page: config.page(),
            exclusions: Arc::new(Exclusions::new(secrets.exclusions)),
            mirrors: Vec::new(),
            wires: vec![Arc::clone(wire)],
            handshake_threads: 0,
            content_threads: 0,
            flows: config.limits.flows.min(FLOWS),
            held_frames: HELD_FRAMES,
            log: sender,
            flow_bytes: config.limits.worker_bytes,
            native_vlans: vec![
                config.wires.iter().find(|each| each.name == *wire).and_then(|w| w.native_vlan),
            ],
            secrets,
            epoch: 1,
        };
        let mtu = config.wires.iter().find(|each| each.name == *wire).and_then(|wire| wire.mtu);
        let settings = EngineSettings {
            workers: 1,
            spread: Spread::Owner,
            mtu: mtu.map_or(MTU, usize::from),
            mirror_depth: 0,
            started: Timestamp(began),
        };
        Ok(Self {
            engine: Engine::new(builder, settings)?,
            log,
            flows: BTreeMap::new(),
            ended: Vec::new(),
            clients: Clients { inside: Generations::new(ENDS), policy },
            totals: Totals::default(),
            began,
            now: Instant::ZERO,
        })
    }

    /// Lets the clock run to the packet's time, and the packet into the engine.
    pub(super) fn play(&mut self, packet: Packet) {
        let Packet { time, mut frame, cut } = packet;
        self.totals.packets += 1;
        self.totals.cut += u64::from(cut);
        let since = time.saturating_sub(self.began).min(LONGEST);
        self.run_until(Instant::from_micros(since.cast_signed()));
        let class = classify(&frame);
        if let Class::Tcp(headers) = &class {
            self.totals.mended += u64::from(!cut && mend(&mut frame, headers));
        }
        let port = self.clients.port_of(&frame, &class);
        self.engine.enter(port, frame);
        self.settle();
    }

    /// The flows that have ended since the last call, in the order of their ends.
    pub(super) fn ended(&mut self) -> Vec<Played> {
        std::mem::take(&mut self.ended)
    }

    /// Ends the flows that are left, once the capture is through. Returns them, in the order of their beginnings.
    pub(super) fn finish(mut self) -> (Vec<Played>, Totals) {
        self.engine.shut_down(self.now);
        self.settle();
        let mut flows = self.ended;
        flows.extend(self.flows.into_values());
        flows.sort_by_key(|flow| flow.id);
        let classes =
            Uninspected::ALL.iter().flat_map(|&class| PassAction::ALL.map(|action| (class, action)));
        let frames = |(class, action)| {
            let counts = self.engine.counters().iter().map(|c| c.uninspected(class, action).value());
            (class, action, counts.sum())
        };
        self.totals.uninspected = classes.map(frames).filter(|&(.., frames)| frames > 0).collect();
        let dropped = |why: &PacketDrop| (*why, self.engine.counters().iter().map(|c| c.dropped(*why)).sum());
        self.totals.dropped = PacketDrop::ALL.iter().map(dropped).filter(|&(_, count)| count > 0).collect();
        (flows, self.totals)
    }

    /// Timers go off on their way; a capture whose clock goes back stands still meanwhile.
    fn run_until(&mut self, to: Instant) {
        let mut earliest = self.now;
        while let Some(due) = self.engine.due()
            && due.max(earliest) <= to
        {
            self.now = due.max(earliest);
            earliest = self.now + TICK;
            self.settle();
        }
        self.now = self.now.max(to);
    }

    /// Lets the engine work, takes its events, and drops what it sends: nobody is there to receive it.
    fn settle(&mut self) {
        self.engine.run(self.now);
        while self.engine.leave().is_some() {}
        while let Some(event) = self.log.pop() {
            match event {
                Event::Tls(head, tls) => {
                    let flow = self.flow(&head);
                    // What the engine would have said to the server is not what the capture's client said, so handshakes fail here.
                    let own =
                        [Reason::VersionUnsupportedClient, Reason::CipherNoneClient].contains(&tls.reason);
                    let decrypts = tls.profile.is_some() && !own;
                    flow.decision = Some(if decrypts { Action::Decrypt } else { tls.action });
                    flow.rule = tls.rule;
                    flow.profile = tls.profile;
                    let by_policy = [Reason::PolicyBypass, Reason::PolicyBlock].contains(&tls.reason);
                    flow.reason = (!decrypts && !by_policy).then_some(tls.reason);
                    if let Some(hello) = tls.hello {
                        (flow.sni, flow.alpn, flow.ja4) = (hello.sni, hello.alpn, Some(hello.ja4));
                    }
                }
                Event::Flow(head, end) => {
                    let at_syn = self.clients.policy.at_syn(&FlowFacts {
                        wire: &head.wire,
                        vlan: head.vlan[0],
                        client: head.client,
                        server: head.server,
                    });
                    let flow = self.flow(&head);
                    if flow.decision.is_none() {
                        flow.decision = end.action;
                        match at_syn {
                            Some(verdict) if verdict.decision == Decision::Bypass => flow.rule = verdict.rule,
                            _ => flow.reason = Some(end.reason),
                        }
                    }
                    self.ended.extend(self.flows.remove(&head.flow_id));
                }
                Event::Http(..)
                | Event::Link(..)
                | Event::Capture(..)
                | Event::Worker(..)
                | Event::Frame(_)
                | Event::Summary(_)
                | Event::Anomaly(..)
                | Event::Asymmetric(..)
                | Event::Alert(..)
                | Event::File(..) => {}
            }
        }
    }

    fn flow(&mut self, head: &FlowHead) -> &mut Played {
        self.flows.entry(head.flow_id).or_insert_with(|| Played {
            id: head.flow_id,
            client: head.client,
            server: head.server,
            vlan: head.vlan,
            sni: None,
            alpn: Vec::new(),
            ja4: None,
            decision: None,
            rule: None,
            profile: None,
            reason: None,
        })
    }
}

/// Puts wrong checksums right: a host that captures its own packets sees them before its card fills them in.
fn mend(frame: &mut [u8], headers: &Headers) -> bool {
    let of_header = headers.verify_checksums(frame) == Err(PacketDrop::BadIpHeader);
    if of_header {
        Ipv4Packet::new_unchecked(&mut frame[headers.l3..headers.end]).fill_checksum();
    }
    let of_segment = headers.verify_checksums(frame) == Err(PacketDrop::BadTcpChecksum);
    if of_segment {
        let mut tcp = TcpPacket::new_unchecked(&mut frame[headers.l4..headers.end]);
        tcp.fill_checksum(&headers.source.ip().into(), &headers.destination.ip().into());
    }
    of_header || of_segment
}

/// Which side of the wire packets come from: a capture has both in one.
struct Clients {
    /// Both ends of a connection, and whether the first is the client. By addresses alone (port 0) for what has no ports.
    inside: Generations<(SocketAddr, SocketAddr), bool>,
    policy: Arc<Policy>,
}

impl Clients {
    /// The client is who sends the SYN. For connections that had begun before the capture, it is the end whose port is not looked at,
    /// or else who speaks first.
    fn port_of(&mut self, frame: &[u8], class: &Class) -> PortSide {
        const SYN_ACK: u8 = 0x12;
        const SYN: u8 = 0x02;
        let (source, destination, first) = match class {
            Class::Tcp(headers) => {
                let (from, to) = (headers.source, headers.destination);
                let first = match headers.segment(frame)[13] & SYN_ACK {
                    SYN => Some(true),
                    SYN_ACK => Some(false),
                    _ => None,
                };
                let looked_at = |end: SocketAddr| self.policy.candidate(end.port());
                (from, to, (first, looked_at(to) || !looked_at(from)))
            }
            Class::Fragment(fragment) => {
                (SocketAddr::new(fragment.source, 0), SocketAddr::new(fragment.destination, 0), (None, true))
            }
            _ => return PortSide::Inside,
        };
        let (told, guess) = first;
        let known = self.inside.find(&(source, destination)).copied();
        let inside = told.or(known).unwrap_or(guess);
        if known != Some(inside) {
            let without_ports = |end: SocketAddr| SocketAddr::new(end.ip(), 0);
            for (from, to) in [(source, destination), (without_ports(source), without_ports(destination))] {
                self.inside.insert((from, to), inside);
                self.inside.insert((to, from), !inside);
            }
        }
        if inside { PortSide::Inside } else { PortSide::Outside }
    }
}
