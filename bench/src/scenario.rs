//! The scenarios, in the manner of RFC 9411: each runs in a process of its own, with an engine of its own.

use std::time::Duration;

use rustls::NamedGroup;
use rustls::pki_types::ServerName;

use crate::endpoints::{Certificates, Leaf, Sessions, Tls};
use crate::load::{Kind as SmallKind, Protocol};
use crate::rig::{Mode, PortKind};
use crate::rules::Many;

/// The name of all servers, but where each connection has another one.
pub(crate) const NAME: &str = "bench.example";
const KB: usize = 1024;

/// One measurement.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) ports: PortKind,
    pub(crate) mode: Mode,
    pub(crate) what: What,
    pub(crate) tls: Tls,
    /// One thread plays sender, engine and receiver in turn, and only the engine's turns are timed.
    pub(crate) alone: bool,
    /// Of the standard set.
    pub(crate) standard: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum What {
    /// Objects of so many bytes, one after the other on kept connections.
    Throughput(usize),
    /// Likewise, without and with much to look for in turns.
    Rules(Many, usize),
    /// New connections, one exchange of 1 KB on each.
    Connections,
    /// 1 KB, open-loop, at half of what goes through at most.
    Latency,
    /// Likewise, at a quarter, without and with new connections beside it, whose handshakes have so many threads; none: the
    /// worker runs them.
    Storm(usize),
    /// So many connections that say nothing after one exchange, and what goes through without and with them.
    Idle(usize),
    /// So many connections that say nothing at all.
    Opening(usize),
    /// Frames of 64 bytes, one way.
    Small(SmallKind),
}

impl Scenario {
    /// As it is called on the command line.
    pub(crate) fn name(&self) -> String {
        let mode = self.mode.name();
        let name = match self.what {
            What::Throughput(bytes) => {
                let record = self.tls.record.map(|bytes| format!("-records-{bytes}")).unwrap_or_default();
                format!("throughput-{mode}-{}k{record}", bytes / KB)
            }
            What::Rules(Many::Rules, bytes) => format!("rules-{mode}-{}k", bytes / KB),
            What::Rules(Many::Signatures, bytes) => format!("signatures-{mode}-{}k", bytes / KB),
            What::Connections => format!("connections-{mode}-{}", self.tls.name()),
            What::Latency => format!("latency-{mode}"),
            What::Storm(0) => format!("storm-{mode}-inline"),
            What::Storm(_) => format!("storm-{mode}"),
            What::Idle(flows) => format!("idle-{mode}-{flows}"),
            What::Opening(flows) => format!("opening-{mode}-{flows}"),
            What::Small(SmallKind::Udp) => format!("small-{mode}-udp"),
            What::Small(SmallKind::Tcp(flows)) => format!("small-{mode}-tcp-{flows}"),
        };
        let name = match self.ports {
            PortKind::Rings => name,
            PortKind::Offloads => format!("{name}-offloads"),
            PortKind::Memif => format!("memif-{name}"),
        };
        if self.alone { format!("alone-{name}") } else { name }
    }

    /// How many connections, and the buffer of each, in bytes.
    pub(crate) fn connections(&self) -> (usize, usize) {
        match self.what {
            // Few and small enough for the generator's buffers to stay in its core's cache: it is not to be the bottleneck.
            What::Throughput(bytes) | What::Rules(_, bytes) if bytes > 16 * KB => (8, 64 * KB),
            What::Throughput(_) | What::Rules(..) => (32, 16 * KB),
            What::Connections | What::Latency | What::Storm(_) => (64, 16 * KB),
            What::Idle(flows) | What::Opening(flows) => (flows, 2 * KB),
            What::Small(_) => (0, 0),
        }
    }

    /// Bytes of the objects.
    pub(crate) fn object(&self) -> usize {
        if let What::Throughput(bytes) | What::Rules(_, bytes) = self.what { bytes } else { KB }
    }

    /// How the endpoints speak. Where nothing is decrypted they speak plainly: TLS would cost only the generator.
    pub(crate) fn protocol(
        &self,
        certificates: &Certificates,
    ) -> Result<Protocol, Box<dyn std::error::Error>> {
        let like_inspect = matches!(self.mode, Mode::Wire | Mode::Testpmd)
            && matches!(self.what, What::Latency | What::Storm(_));
        match self.mode {
            _ if matches!(self.what, What::Opening(_)) => Ok(Protocol::Plain),
            _ if self.mode.decrypts() || like_inspect => self.tls.protocol(certificates),
            Mode::Tcp => self.tls.hello(certificates, ServerName::try_from(NAME)?),
            _ => Ok(Protocol::Plain),
        }
    }

    /// There is an engine in this process, and nothing depends on the clock.
    fn can_be_alone(&self) -> bool {
        let by_the_clock =
            !matches!(self.what, What::Throughput(_) | What::Rules(..) | What::Connections | What::Small(_));
        self.mode.is_engine() && self.ports != PortKind::Memif && !by_the_clock
    }

    /// Likewise, on one thread.
    fn alone(&self) -> Self {
        Self { alone: true, standard: false, ..self.clone() }
    }

    /// Threads for the handshakes: where others must not wait for them.
    pub(crate) fn handshake_threads(&self) -> usize {
        if let What::Storm(threads) = self.what { threads } else { 0 }
    }
}

fn on_rings(mode: Mode, what: What) -> Scenario {
    Scenario { ports: PortKind::Rings, mode, what, tls: Tls::default(), alone: false, standard: true }
}

/// All scenarios there are, in the order in which they run.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = throughput();
    all.extend([1, 16, 64, 1024].map(|kilobytes| {
        let standard = matches!(kilobytes, 1 | 64);
        Scenario { standard, ..on_rings(Mode::Inspect, What::Rules(Many::Rules, kilobytes * KB)) }
    }));
    all.extend([1, 16, 64, 1024].map(|kilobytes| {
        let what = What::Rules(Many::Signatures, kilobytes * KB);
        Scenario { standard: kilobytes == 64, ..on_rings(Mode::Inspect, what) }
    }));
    all.extend(connections());
    // The engine first: the wire is asked for as much as the engine was.
    all.extend([Mode::Inspect, Mode::Tls, Mode::Wire].map(|mode| on_rings(mode, What::Latency)));
    for mode in [Mode::Inspect, Mode::Tls] {
        all.extend([1, 0].map(|threads| on_rings(mode, What::Storm(threads))));
    }
    all.push(on_rings(Mode::Wire, What::Storm(1)));
    all.extend([10_000, 100_000].map(|flows| on_rings(Mode::Inspect, What::Idle(flows))));
    all.push(on_rings(Mode::Inspect, What::Opening(10_000)));
    all.push(on_rings(Mode::Wire, What::Small(SmallKind::Udp)));
    all.push(on_rings(Mode::Forward, What::Small(SmallKind::Udp)));
    all.push(on_rings(Mode::Forward, What::Small(SmallKind::Tcp(1_000))));
    let many = What::Small(SmallKind::Tcp(100_000));
    all.push(Scenario { standard: false, ..on_rings(Mode::Forward, many) });
    let alone: Vec<_> = all.iter().filter(|scenario| scenario.can_be_alone()).map(Scenario::alone).collect();
    all.extend(memif());
    all.extend(alone);
    all
}

fn throughput() -> Vec<Scenario> {
    let mut all = Vec::new();
    for mode in [Mode::Inspect, Mode::Tls, Mode::Tcp, Mode::Forward, Mode::Wire] {
        for kilobytes in [1, 16, 64, 256, 1024] {
            let standard = match mode {
                Mode::Inspect => true,
                Mode::Tls | Mode::Tcp => matches!(kilobytes, 1 | 64 | 1024),
                Mode::Forward | Mode::Wire | Mode::Testpmd => kilobytes == 1024,
            };
            all.push(Scenario { standard, ..on_rings(mode, What::Throughput(kilobytes * KB)) });
        }
    }
    for mode in [Mode::Inspect, Mode::Tls, Mode::Tcp] {
        for kilobytes in [64, 1024] {
            let standard = mode == Mode::Inspect || kilobytes == 1024;
            let what = What::Throughput(kilobytes * KB);
            all.push(Scenario { ports: PortKind::Offloads, standard, ..on_rings(mode, what) });
        }
    }
    let small = Tls { record: Some(1350), ..Tls::default() };
    all.push(Scenario { tls: small, ..on_rings(Mode::Inspect, What::Throughput(1024 * KB)) });
    all
}

/// Each version, group and leaf, with one name and with resumption; and each connection another name.
fn connections() -> Vec<Scenario> {
    let (tls12, x25519) = (&rustls::version::TLS12, Some(NamedGroup::X25519));
    let mut kinds = Vec::new();
    for (version, group) in
        [(Tls::default().version, None), (Tls::default().version, x25519), (tls12, x25519)]
    {
        for leaf in [Leaf::Ecdsa, Leaf::Rsa] {
            kinds.push(Tls { version, group, leaf, ..Tls::default() });
        }
    }
    let with = |sessions| move |tls: &Tls| Tls { sessions, ..*tls };
    let ecdsa = |tls: &&Tls| tls.leaf == Leaf::Ecdsa;
    let cold = kinds.iter().filter(ecdsa).map(with(Sessions::EachAnotherName));
    let resumed = kinds.iter().filter(ecdsa).map(with(Sessions::Resumed));
    let all = kinds.iter().copied().chain(cold).chain(resumed);
    all.map(|tls| Scenario { tls, ..on_rings(Mode::Inspect, What::Connections) }).collect()
}

/// Some of it with a process for the engine, and one for the generator.
fn memif() -> Vec<Scenario> {
    let on_memif = |mode, what| Scenario { ports: PortKind::Memif, ..on_rings(mode, what) };
    vec![
        on_memif(Mode::Inspect, What::Throughput(1024 * KB)),
        on_memif(Mode::Inspect, What::Throughput(16 * KB)),
        on_memif(Mode::Tcp, What::Throughput(1024 * KB)),
        on_memif(Mode::Forward, What::Throughput(1024 * KB)),
        on_memif(Mode::Testpmd, What::Throughput(1024 * KB)),
        on_memif(Mode::Inspect, What::Connections),
        on_memif(Mode::Testpmd, What::Small(SmallKind::Udp)),
        on_memif(Mode::Forward, What::Small(SmallKind::Udp)),
        on_memif(Mode::Forward, What::Small(SmallKind::Tcp(1_000))),
    ]
}

/// Time until a scenario is in its stride.
pub(crate) fn warm_up(time: Duration) -> Duration {
    (time / 4).clamp(Duration::from_millis(100), Duration::from_secs(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_name_of_its_own() {
        let mut names: Vec<_> = all().iter().map(Scenario::name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
