//! TCP in `flow` events, as Suricata has it: the control bits of all segments that the ends have sent. What the engine sends in an
//! end's name is not among them.

use serde::Serialize;
use wireglass_core::event::FlowEvent;

const FIN: u8 = 1;
const SYN: u8 = 1 << 1;
const RST: u8 = 1 << 2;
const PSH: u8 = 1 << 3;
const ACK: u8 = 1 << 4;
const URG: u8 = 1 << 5;
const ECE: u8 = 1 << 6;
const CWR: u8 = 1 << 7;

#[derive(Serialize)]
pub(super) struct Tcp {
    tcp_flags: Bits,
    tcp_flags_ts: Bits,
    tcp_flags_tc: Bits,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    syn: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    fin: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    rst: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    psh: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ack: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    urg: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ecn: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cwr: bool,
    state: &'static str,
}

impl Tcp {
    /// `is_over`: the engine has ended it.
    pub(super) fn new(event: &FlowEvent, is_over: bool) -> Self {
        let (client, server) = (event.flags.client, event.flags.server);
        let all = client | server;
        let has = |bit| all & bit != 0;
        Self {
            tcp_flags: Bits(all),
            tcp_flags_ts: Bits(client),
            tcp_flags_tc: Bits(server),
            syn: has(SYN),
            fin: has(FIN),
            rst: has(RST),
            psh: has(PSH),
            ack: has(ACK),
            urg: has(URG),
            ecn: has(ECE),
            cwr: has(CWR),
            state: if is_over { "closed" } else { state(client, server) },
        }
    }
}

/// How far the ends have come, by what they have sent: the word that Suricata would have for it.
fn state(client: u8, server: u8) -> &'static str {
    let has_reset = (client | server) & RST != 0;
    match (client & FIN != 0, server & FIN != 0) {
        _ if has_reset => "closed",
        (true, true) => "closed",
        (true, false) => "close_wait",
        (false, true) => "fin_wait1",
        _ if client & SYN != 0 && server == 0 => "syn_sent",
        _ if server & SYN != 0 && client & ACK == 0 => "syn_recv",
        _ => "established",
    }
}

/// Two hexadecimal digits.
struct Bits(u8);

impl Serialize for Bits {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:02x}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_those_of_suricata() {
        for (client, server, expected) in [
            (SYN, 0, "syn_sent"),
            (SYN, SYN | ACK, "syn_recv"),
            (SYN | ACK | PSH, SYN | ACK, "established"),
            (ACK, 0, "established"),
            (SYN | ACK | FIN, SYN | ACK, "close_wait"),
            (SYN | ACK, SYN | ACK | FIN, "fin_wait1"),
            (SYN | ACK | FIN, SYN | ACK | FIN, "closed"),
            (SYN | ACK | RST, SYN | ACK, "closed"),
            (SYN, RST | ACK, "closed"),
        ] {
            assert_eq!(state(client, server), expected, "{client:02x} {server:02x}");
        }
    }
}
