//! Which flows an IDS can mean: what it saw in a mirror, as it is on a wire.

use std::net::SocketAddr;

use wireglass_core::end::End;
use wireglass_core::flow::ExternalVerdict;
use wireglass_core::mirror::Mirror;
use wireglass_core::packet::FlowKey;

use super::line::Line;

/// Most keys that one verdict is looked up by: those of its own ports on each of 64 wires, and as many others.
const MAX_KEYS: usize = 128;

/// Knows how mirrors show flows.
#[derive(Clone, Debug)]
pub struct Finder {
    mirrors: Vec<Mirror>,
    native_vlans: Vec<Option<u16>>,
}

impl Finder {
    /// For an engine with these mirrors, and wires with these native VLANs.
    pub fn new(mirrors: Vec<Mirror>, native_vlans: Vec<Option<u16>>) -> Self {
        Self { mirrors, native_vlans }
    }

    /// All keys that the flow of a line may have: on each wire, from each mirror that can show it so.
    pub fn keys(&self, line: &Line) -> Vec<FlowKey> {
        let mut keys = Vec::new();
        // With its ports as they are first: a mirror may call them otherwise.
        for renamed in [false, true] {
            for mirror in &self.mirrors {
                let Some(vlan) = without_mark(&line.vlan, mirror) else { continue };
                let ends = ends(line, mirror);
                let ends = if renamed { &ends[1..] } else { &ends[..1] };
                for (source, destination) in ends {
                    for (wire, native) in self.native_vlans.iter().enumerate() {
                        // Untagged frames are in the wire's native VLAN, if it has one.
                        let vlan = if vlan == [None; 2] { [*native, None] } else { vlan };
                        let key = FlowKey::between(wire as u8, vlan, *source, *destination);
                        if keys.len() < MAX_KEYS && !keys.contains(&key) {
                            keys.push(key);
                        }
                    }
                }
            }
        }
        keys
    }

    /// What is to be done about it.
    pub fn verdict(line: &Line) -> ExternalVerdict {
        let from = if line.to_server { End::Client } else { End::Server };
        ExternalVerdict { stream: line.stream, rule: line.rule.clone(), from }
    }
}

/// The flow's own VLANs; none: the mirror would have shown others.
fn without_mark(vlan: &[u16], mirror: &Mirror) -> Option<[Option<u16>; 2]> {
    let own = match (mirror.vlan, vlan) {
        (Some(mark), [first, rest @ ..]) if *first == mark => rest,
        (Some(_), _) => return None,
        (None, vlan) => vlan,
    };
    (own.len() <= 2).then(|| [own.first().copied(), own.get(1).copied()])
}

/// Both ends as they are, and as they are where the mirror calls a server's port otherwise.
fn ends(line: &Line, mirror: &Mirror) -> Vec<(SocketAddr, SocketAddr)> {
    let (source, destination) = (line.source, line.destination);
    let mut ends = vec![(source, destination)];
    for (server, called) in &mirror.ports {
        let renamed = |end: SocketAddr| SocketAddr::new(end.ip(), *server);
        if source.port() == *called {
            ends.push((renamed(source), destination));
        }
        if destination.port() == *called {
            ends.push((source, renamed(destination)));
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(source: &str, destination: &str, vlan: &[u16]) -> Line {
        Line {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            vlan: vlan.into(),
            to_server: true,
            stream: None,
            rule: "1".into(),
        }
    }

    fn key(wire: u8, vlan: [Option<u16>; 2], port: u16) -> FlowKey {
        let server = SocketAddr::new("192.0.2.1".parse().unwrap(), port);
        FlowKey::between(wire, vlan, "10.0.0.1:5000".parse().unwrap(), server)
    }

    #[test]
    fn on_each_wire_and_in_its_native_vlan() {
        let finder = Finder::new(vec![Mirror::new("a")], vec![None, Some(7)]);
        let wanted = [key(0, [None; 2], 443), key(1, [Some(7), None], 443)];
        assert_eq!(finder.keys(&line("10.0.0.1:5000", "192.0.2.1:443", &[])), wanted);
        assert_eq!(
            finder.keys(&line("192.0.2.1:443", "10.0.0.1:5000", &[])),
            wanted,
            "either end may have sent it"
        );
        let tagged = [Some(5), Some(6)];
        assert_eq!(
            finder.keys(&line("10.0.0.1:5000", "192.0.2.1:443", &[5, 6])),
            [key(0, tagged, 443), key(1, tagged, 443)]
        );
        assert_eq!(finder.keys(&line("10.0.0.1:5000", "192.0.2.1:443", &[5, 6, 7])), []);
    }

    #[test]
    fn marks_are_taken_off() {
        let marked = Mirror { vlan: Some(4000), ports: vec![(443, 80), (8443, 80)], ..Mirror::new("a") };
        let finder = Finder::new(vec![marked], vec![None]);
        let keys = finder.keys(&line("192.0.2.1:80", "10.0.0.1:5000", &[4000]));
        assert_eq!(keys, [80, 443, 8443].map(|port| key(0, [None; 2], port)));
        let keys = finder.keys(&line("10.0.0.1:5000", "192.0.2.1:8080", &[4000, 9]));
        assert_eq!(keys, [key(0, [Some(9), None], 8080)]);
        for other in [&[][..], &[9], &[9, 4000]] {
            assert_eq!(finder.keys(&line("10.0.0.1:5000", "192.0.2.1:80", other)), [], "{other:?}");
        }
    }

    #[test]
    fn however_many_ways_there_are_to_be_meant() {
        let ports = (1..=500).map(|server| (server, 80)).collect();
        let finder = Finder::new(vec![Mirror { ports, ..Mirror::new("a") }], vec![None; 8]);
        assert_eq!(finder.keys(&line("10.0.0.1:5000", "192.0.2.1:80", &[])).len(), MAX_KEYS);
    }
}
