//! The scenarios, in the manner of RFC 9411: each runs in a process of its own, with an engine of its own.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::server::NoServerSessionStorage;
use rustls::{
    ClientConfig, ClientConnection, NamedGroup, ProtocolVersion, ServerConfig, SupportedProtocolVersion,
};
use wireglass::peers::{ClientOptions, ServerOptions};

use crate::load::{Kind as SmallKind, Speech};
use crate::rig::{Authorities, Leaf, Mode};

/// The name of all servers.
pub(crate) const NAME: &str = "bench.example";
const KB: usize = 1024;

/// One measurement.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) mode: Mode,
    pub(crate) what: What,
    pub(crate) tls: Tls,
    /// The ports are NICs that sum and cut segments; otherwise the engine does.
    pub(crate) offloads: bool,
    /// Of the standard set.
    pub(crate) standard: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum What {
    /// Objects of so many bytes, one after the other on kept connections.
    Throughput(usize),
    /// New connections, one exchange of 1 KB on each.
    Connections,
    /// 1 KB, open-loop, at half of what goes through at most.
    Latency,
    /// So many connections that say nothing.
    Idle(usize),
    /// Frames of 64 bytes, one way.
    Small(SmallKind),
}

/// How the endpoints speak TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tls {
    pub(crate) version: &'static SupportedProtocolVersion,
    /// None: as the provider prefers, X25519MLKEM768.
    pub(crate) group: Option<NamedGroup>,
    pub(crate) leaf: Leaf,
    /// Payload of the servers' records; none: 16 KB.
    pub(crate) record: Option<usize>,
}

impl Default for Tls {
    fn default() -> Self {
        Self { version: &rustls::version::TLS13, group: None, leaf: Leaf::Ecdsa, record: None }
    }
}

impl Scenario {
    /// As it is called on the command line.
    pub(crate) fn name(&self) -> String {
        let mode = self.mode.name();
        match self.what {
            What::Throughput(bytes) => {
                let record = self.tls.record.map(|bytes| format!("-records-{bytes}")).unwrap_or_default();
                let offloads = if self.offloads { "-offloads" } else { "" };
                format!("throughput-{mode}-{}k{record}{offloads}", bytes / KB)
            }
            What::Connections => {
                let version =
                    if self.tls.version.version == rustls::ProtocolVersion::TLSv1_2 { "12" } else { "13" };
                let group = if self.tls.group.is_some() { "x25519" } else { "x25519mlkem768" };
                let leaf = if self.tls.leaf == Leaf::Rsa { "rsa" } else { "ecdsa" };
                format!("connections-{mode}-{version}-{group}-{leaf}")
            }
            What::Latency => format!("latency-{mode}"),
            What::Idle(flows) => format!("idle-{mode}-{flows}"),
            What::Small(SmallKind::Udp) => format!("small-{mode}-udp"),
            What::Small(SmallKind::Tcp(flows)) => format!("small-{mode}-tcp-{flows}"),
        }
    }

    /// How many connections, and the buffer of each, in bytes.
    pub(crate) fn connections(&self) -> (usize, usize) {
        match self.what {
            What::Throughput(bytes) => (32, bytes.clamp(16 * KB, 128 * KB)),
            What::Connections | What::Latency => (64, 16 * KB),
            What::Idle(flows) => (flows, 4 * KB),
            What::Small(_) => (0, 0),
        }
    }

    /// Bytes of the objects.
    pub(crate) fn object(&self) -> usize {
        if let What::Throughput(bytes) = self.what { bytes } else { KB }
    }

    /// How the endpoints speak. Where nothing is decrypted they speak plainly: TLS would cost only the generator.
    pub(crate) fn speech(&self, authorities: &Authorities) -> Result<Speech, Box<dyn std::error::Error>> {
        let (client, server) = self.tls.configs(authorities, self.mode.decrypts())?;
        let name = ServerName::try_from(NAME)?;
        let with_tls = self.mode.decrypts() || (self.mode == Mode::Wire && self.what == What::Latency);
        Ok(match self.mode {
            _ if with_tls => Speech::Tls(client, server, name),
            Mode::Tcp => {
                let mut hello = Vec::new();
                ClientConnection::new(client, name)?.write_tls(&mut hello)?;
                Speech::Hello(hello.into())
            }
            _ => Speech::Plain,
        })
    }
}

impl Tls {
    /// The client trusts the engine's CA alone where the engine is to decrypt: what it does not, fails.
    fn configs(
        &self,
        authorities: &Authorities,
        decrypted: bool,
    ) -> Result<(Arc<ClientConfig>, Arc<ServerConfig>), Box<dyn std::error::Error>> {
        let identity = authorities.internet.identity(&[NAME])?;
        let root = if decrypted { authorities.trusted.certificate() } else { authorities.internet.root() };
        let mut client = ClientOptions::new(provider(), vec![root]);
        client.versions = vec![self.version];
        // In TLS 1.2 the groups are also the curves of certificates (RFC 8422 5.1.1): without P-256, which every real client has,
        // the engine would have to sign with RSA. The server chooses the one group that it has.
        let curve = (self.version.version == ProtocolVersion::TLSv1_2).then_some(NamedGroup::secp256r1);
        client.groups = self.group.into_iter().chain(self.group.and(curve)).collect();
        client.alpn = vec![b"http/1.1".to_vec()];
        let mut server = ServerOptions::new(provider(), identity.chain, identity.key);
        server.versions = vec![self.version];
        server.groups = self.group.into_iter().collect();
        server.alpn = vec![b"http/1.1".to_vec()];
        let (client, server) = (client.build()?, server.build()?);
        let (mut client, mut server) = (Arc::unwrap_or_clone(client), Arc::unwrap_or_clone(server));
        client.resumption = Resumption::disabled();
        server.send_tls13_tickets = 0;
        // No session ids either: the engine would resume in TLS 1.2.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        // rustls counts a record's header, and in TLS 1.3 its content type, but not the tag.
        server.max_fragment_size = self.record.map(|payload| payload + 5);
        Ok((Arc::new(client), Arc::new(server)))
    }
}

fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

/// All scenarios there are.
pub(crate) fn all() -> Vec<Scenario> {
    let (tls12, x25519) = (&rustls::version::TLS12, Some(NamedGroup::X25519));
    let plain = |mode, what| Scenario { mode, what, tls: Tls::default(), offloads: false, standard: true };
    let mut all = Vec::new();
    for mode in [Mode::Inspect, Mode::Tls, Mode::Tcp, Mode::Forward, Mode::Wire] {
        for kilobytes in [1, 16, 64, 256, 1024] {
            let standard = match mode {
                Mode::Inspect => true,
                Mode::Tls | Mode::Tcp => matches!(kilobytes, 1 | 64 | 1024),
                Mode::Forward | Mode::Wire => kilobytes == 1024,
            };
            all.push(Scenario { standard, ..plain(mode, What::Throughput(kilobytes * KB)) });
        }
    }
    for mode in [Mode::Inspect, Mode::Tls, Mode::Tcp] {
        for kilobytes in [64, 1024] {
            let standard = mode == Mode::Inspect || kilobytes == 1024;
            let what = What::Throughput(kilobytes * KB);
            all.push(Scenario { offloads: true, standard, ..plain(mode, what) });
        }
    }
    let small = Tls { record: Some(1350), ..Tls::default() };
    all.push(Scenario { tls: small, ..plain(Mode::Inspect, What::Throughput(1024 * KB)) });
    for (tls, standard) in [
        (Tls::default(), true),
        (Tls { group: x25519, ..Tls::default() }, true),
        (Tls { group: x25519, leaf: Leaf::Rsa, ..Tls::default() }, true),
        (Tls { leaf: Leaf::Rsa, ..Tls::default() }, false),
        (Tls { version: tls12, group: x25519, ..Tls::default() }, true),
        (Tls { version: tls12, group: x25519, leaf: Leaf::Rsa, ..Tls::default() }, true),
    ] {
        all.push(Scenario { tls, standard, ..plain(Mode::Inspect, What::Connections) });
    }
    all.extend([Mode::Wire, Mode::Inspect].map(|mode| plain(mode, What::Latency)));
    all.push(plain(Mode::Inspect, What::Idle(10_000)));
    all.push(Scenario { standard: false, ..plain(Mode::Inspect, What::Idle(100_000)) });
    all.push(plain(Mode::Wire, What::Small(SmallKind::Udp)));
    all.push(plain(Mode::Forward, What::Small(SmallKind::Udp)));
    all.push(plain(Mode::Forward, What::Small(SmallKind::Tcp(1_000))));
    all
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
