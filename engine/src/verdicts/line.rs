//! One line of Suricata's EVE, as far as it says that a flow is to end.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::Deserialize;
use wireglass_core::reason::VerdictFate;

/// Most bytes of a rule's name that the log gets.
const MAX_RULE: usize = 128;

/// Which alerts end flows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Those of rules with this metadata: a key and a value of Suricata's `metadata`.
    pub metadata: Option<(String, String)>,
    /// Those of rules with these numbers.
    pub sids: Vec<u32>,
}

/// An alert that says that a flow is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who has sent what the rule has found, and to whom, as the mirror shows them.
    pub source: SocketAddr,
    /// Likewise.
    pub destination: SocketAddr,
    /// VLAN ids, outermost first, with the mirror's.
    pub vlan: Vec<u16>,
    /// What was found goes to the server.
    pub to_server: bool,
    /// The stream of HTTP/2.
    pub stream: Option<u32>,
    /// Number and name of the rule.
    pub rule: Arc<str>,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    event_type: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize)]
struct Event {
    src_ip: IpAddr,
    src_port: u16,
    dest_ip: IpAddr,
    dest_port: u16,
    proto: String,
    #[serde(default)]
    vlan: Vec<u16>,
    #[serde(default)]
    direction: Option<String>,
    alert: Alert,
    #[serde(default)]
    http: Option<Http>,
}

#[derive(Deserialize)]
struct Alert {
    signature_id: u32,
    #[serde(default)]
    signature: String,
    #[serde(default)]
    metadata: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Http {
    #[serde(default)]
    http2: Option<Http2>,
}

#[derive(Deserialize)]
struct Http2 {
    #[serde(default)]
    stream_id: Option<u32>,
}

impl Block {
    fn means(&self, alert: &Alert) -> bool {
        let has = |(key, value): &(String, String)| {
            alert.metadata.get(key).is_some_and(|values| values.iter().any(|each| each == value))
        };
        self.sids.contains(&alert.signature_id) || self.metadata.as_ref().is_some_and(has)
    }
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// What becomes of it otherwise: it is no alert that is meant, or no EVE.
    pub fn read(line: &[u8], block: &Block) -> Result<Self, VerdictFate> {
        let kind: Kind<'_> = serde_json::from_slice(line).map_err(|_| VerdictFate::Malformed)?;
        if kind.event_type != "alert" {
            return Err(VerdictFate::NotMeant);
        }
        let event: Event = serde_json::from_slice(line).map_err(|_| VerdictFate::Malformed)?;
        if !block.means(&event.alert) {
            return Err(VerdictFate::NotMeant);
        }
        if event.proto != "TCP" || event.src_ip.is_ipv4() != event.dest_ip.is_ipv4() || event.vlan.len() > 3 {
            return Err(VerdictFate::Malformed);
        }
        let mut rule = format!("{} {}", event.alert.signature_id, event.alert.signature);
        rule.truncate(rule.floor_char_boundary(MAX_RULE));
        let stream = event.http.and_then(|http| http.http2).and_then(|http2| http2.stream_id);
        Ok(Self {
            source: SocketAddr::new(event.src_ip, event.src_port),
            destination: SocketAddr::new(event.dest_ip, event.dest_port),
            vlan: event.vlan,
            to_server: event.direction.as_deref() != Some("to_client"),
            stream: stream.filter(|stream| *stream != 0),
            rule: rule.trim_end().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Suricata 7.0.10 writes it.
    const HTTP2: &str = r#"{"timestamp":"2026-11-29T21:00:00.000000+0000","flow_id":1,"in_iface":"ids","event_type":"alert","vlan":[4000,100],"src_ip":"10.0.0.2","src_port":443,"dest_ip":"10.0.0.1","dest_port":50000,"proto":"TCP","pkt_src":"wire/pcap","metadata":{"flowints":{}},"community_id":"1:x","tx_id":1,"alert":{"action":"allowed","gid":1,"signature_id":9000013,"rev":1,"signature":"answer","category":"","severity":3,"metadata":{"wireglass":["block"]}},"http":{"http2":{"stream_id":5,"request":{},"response":{}},"status":200,"length":9},"app_proto":"http2","direction":"to_client","flow":{"pkts_toserver":9}}"#;

    fn block(metadata: Option<(&str, &str)>, sids: &[u32]) -> Block {
        Block { metadata: metadata.map(|(key, value)| (key.into(), value.into())), sids: sids.into() }
    }

    #[test]
    fn an_alert_that_is_meant() {
        let by_metadata = block(Some(("wireglass", "block")), &[]);
        let line = Line::read(HTTP2.as_bytes(), &by_metadata).unwrap();
        assert_eq!(
            (line.source, line.destination),
            ("10.0.0.2:443".parse().unwrap(), "10.0.0.1:50000".parse().unwrap())
        );
        assert_eq!((line.vlan, line.to_server, line.stream), (vec![4000, 100], false, Some(5)));
        assert_eq!(&*line.rule, "9000013 answer");
        let without = HTTP2.replace(r#""metadata":{"wireglass":["block"]}"#, r#""x":1"#);
        let fate = |block: &Block| Line::read(without.as_bytes(), block).map(|line| line.stream);
        assert_eq!(fate(&by_metadata), Err(VerdictFate::NotMeant));
        assert_eq!(fate(&block(None, &[9_000_013])), Ok(Some(5)));
        assert_eq!(fate(&block(None, &[13])), Err(VerdictFate::NotMeant));
        let http1 = HTTP2.replace(r#""http2":{"stream_id":5,"request":{},"response":{}},"#, "");
        assert_eq!(Line::read(http1.as_bytes(), &by_metadata).unwrap().stream, None);
    }

    #[test]
    fn what_is_none() {
        let all = block(None, &[9_000_013]);
        let fate = |line: &str| Line::read(line.as_bytes(), &all).unwrap_err();
        assert_eq!(fate(&HTTP2.replace("\"alert\",", "\"flow\",")), VerdictFate::NotMeant);
        for (from, to) in [
            ("\"TCP\"", "\"UDP\""),
            ("\"10.0.0.2\"", "\"::1\""),
            ("\"10.0.0.2\"", "\"server\""),
            ("50000", "500000"),
            ("4000,100", "4000,100,3,4"),
            ("9000013", "-1"),
        ] {
            assert_eq!(fate(&HTTP2.replace(from, to)), VerdictFate::Malformed, "{to}");
        }
        for line in ["", "{}", "[]", "\u{feff}", &HTTP2[..HTTP2.len() - 1], &"[".repeat(60_000)] {
            assert_eq!(fate(line), VerdictFate::Malformed);
        }
    }

    #[test]
    fn a_rule_with_a_long_name_is_cut() {
        let long = HTTP2.replace("\"answer\"", &format!("\"{}\"", "ä".repeat(500)));
        let line = Line::read(long.as_bytes(), &block(None, &[9_000_013])).unwrap();
        assert!(line.rule.len() <= MAX_RULE && line.rule.ends_with('ä'));
    }
}
