//! A flow as text: one line for it, one for each leg. Names as `ss -ti` has them, where it has them.

use std::fmt::{self, Display};
use std::net::SocketAddr;

use crate::cli::plain::Plain;
use crate::control::{FlowRecord, LegRecord, TcpRecord, TlsRecord};

/// A flow in lines.
pub(super) struct Text<'r>(pub(super) &'r FlowRecord);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flow = self.0;
        let client = SocketAddr::new(flow.src_ip, flow.src_port);
        let server = SocketAddr::new(flow.dest_ip, flow.dest_port);
        write!(f, "{} {client} > {server} {}", flow.flow_id, Plain(&flow.wire))?;
        for vlan in &flow.vlan {
            write!(f, " vlan:{vlan}")?;
        }
        // The names of the phases are the words of the protocol.
        write!(f, " {}", format!("{:?}", flow.phase).to_lowercase())?;
        if flow.handshaking {
            f.write_str(" handshaking")?;
        }
        for (name, value) in [("rule", &flow.rule), ("profile", &flow.profile), ("sni", &flow.sni)] {
            if let Some(value) = value {
                write!(f, " {name}:\"{}\"", Plain(value))?;
            }
        }
        write!(f, " age:{} idle:{}", Seconds(flow.age_ms), Seconds(flow.idle_ms))?;
        write!(f, " bytes:{}/{}", flow.bytes_toserver, flow.bytes_toclient)?;
        let legs = [("client", &flow.client_leg), ("server", &flow.server_leg)];
        for (name, leg) in legs {
            if let Some(tls) = leg.as_ref().and_then(|leg| leg.tls.as_ref()) {
                write!(f, " {name}:{}", Tls(tls))?;
            }
        }
        writeln!(f)?;
        for (name, leg) in legs {
            if let Some(LegRecord { tcp, .. }) = leg {
                writeln!(f, "    {name} {}", Tcp(tcp))?;
            }
        }
        Ok(())
    }
}

struct Tls<'r>(&'r TlsRecord);

impl Display for Tls<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TlsRecord { version, cipher, alpn, resumed, .. } = self.0;
        let version = version.as_deref().unwrap_or("-").replace(' ', "");
        write!(f, "{},{}", Plain(&version), Plain(cipher.as_deref().unwrap_or("-")))?;
        if let Some(alpn) = alpn {
            write!(f, ",{}", Plain(alpn))?;
        }
        if *resumed { f.write_str(",resumed") } else { Ok(()) }
    }
}

struct Tcp<'r>(&'r TcpRecord);

impl Display for Tcp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tcp = self.0;
        write!(f, "{} send-q:{} recv-q:{}", state(&tcp.state), tcp.send_queue, tcp.recv_queue)?;
        for (name, spoken) in [("ts", tcp.timestamps), ("sack", tcp.sack)] {
            if spoken {
                write!(f, " {name}")?;
            }
        }
        write!(f, " {} wscale:{},{}", Plain(&tcp.algorithm), tcp.snd_wscale, tcp.rcv_wscale)?;
        self.times(f)?;
        write!(f, " mss:{} rcvmss:{} cwnd:{}", tcp.mss, tcp.rcv_mss, tcp.cwnd)?;
        if let Some(ssthresh) = tcp.ssthresh {
            write!(f, " ssthresh:{ssthresh}")?;
        }
        write!(f, " in_flight:{} unsent:{}", tcp.in_flight, tcp.unsent)?;
        write!(f, " snd_wnd:{} rcv_wnd:{}", tcp.snd_wnd, tcp.rcv_wnd)?;
        if tcp.held_ahead > 0 {
            write!(f, " held_ahead:{}", tcp.held_ahead)?;
        }
        write!(f, " bytes_sent:{} bytes_acked:{}", tcp.bytes_sent, tcp.bytes_acked)?;
        write!(f, " bytes_received:{} segs_out:{}", tcp.bytes_received, tcp.segments_out)?;
        write!(f, " segs_in:{}", tcp.segments_in)?;
        self.losses(f)?;
        let (sent, received) = (Millis(tcp.last_sent_ms * 1000), Millis(tcp.last_received_ms * 1000));
        write!(f, " lastsnd:{sent} lastrcv:{received} lastack:{}", Millis(tcp.last_heard_ms * 1000))?;
        if let Some(timer) = &tcp.timer {
            write!(f, " timer:{},{}", Plain(&timer.name), Millis(timer.in_ms * 1000))?;
        }
        self.limits(f)
    }
}

impl Tcp<'_> {
    fn times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tcp = self.0;
        write!(f, " rto:{}", Millis(tcp.rto_us))?;
        if tcp.backoff > 0 {
            write!(f, " backoff:{}", tcp.backoff)?;
        }
        if let (Some(srtt), Some(rttvar)) = (tcp.srtt_us, tcp.rttvar_us) {
            write!(f, " rtt:{}/{}", Millis(srtt), Millis(rttvar))?;
        }
        tcp.min_rtt_us.map_or(Ok(()), |rtt| write!(f, " minrtt:{}", Millis(rtt)))
    }

    fn losses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tcp = self.0;
        write!(f, " retrans:{}/{}", tcp.retries, tcp.retransmits)?;
        if tcp.repair != "open" {
            write!(f, " repair:{}", Plain(&tcp.repair))?;
        }
        for (name, count) in [
            ("sacked", tcp.sacked.into()),
            ("lost", tcp.lost.into()),
            ("in_flight_again", tcp.in_flight_again.into()),
            ("reordering", tcp.reordering.into()),
            ("tlp", tcp.tail_probes.into()),
            ("spurious", tcp.spurious_recoveries.into()),
            ("bytes_retrans", tcp.retransmitted_bytes),
            ("fast", tcp.fast_retransmits.into()),
            ("timeouts", tcp.timeouts.into()),
            ("dupacks", tcp.duplicate_acks.into()),
            ("ooo", tcp.out_of_order.into()),
            ("dups", tcp.duplicate_segments.into()),
            ("probes", tcp.window_probes.into()),
        ] {
            if count > 0 {
                write!(f, " {name}:{count}")?;
            }
        }
        Ok(())
    }

    /// What limits it now, and the share of its life that each limit has had.
    fn limits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tcp = self.0;
        let mut shares = [
            ("application", tcp.application_limited_ms),
            ("congestion", tcp.congestion_limited_ms),
            ("receiver", tcp.receiver_limited_ms),
        ];
        let total: u64 = shares.iter().map(|(_, time)| time).sum();
        shares.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        write!(f, " limited:{}", Plain(&tcp.limited_by))?;
        let shares = shares.iter().filter(|(_, time)| *time > 0);
        for (n, (name, time)) in shares.enumerate() {
            write!(f, "{}{name} {}%", if n == 0 { " (" } else { ", " }, (time * 100 + total / 2) / total)?;
        }
        if total > 0 { f.write_str(")") } else { Ok(()) }
    }
}

/// As `ss` abbreviates it.
fn state(state: &str) -> String {
    match state {
        "established" => "ESTAB".into(),
        "closed" => "UNCONN".into(),
        other => Plain(other).to_string().to_uppercase(),
    }
}

/// Microseconds as milliseconds, without trailing zeros.
struct Millis(u64);

impl Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0 as f64 / 1000.0)
    }
}

/// Milliseconds as seconds.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}s", self.0 / 1000, self.0 % 1000 / 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("golden.txt");
    const RECORDS: &str = include_str!("golden.json");

    #[test]
    fn flows_read_as_they_are_documented() {
        let records = RECORDS.lines().map(|line| serde_json::from_str::<FlowRecord>(line).expect("a record"));
        let text: String = records.map(|record| Text(&record).to_string()).collect();
        assert_eq!(text, GOLDEN, "\n{text}");
    }
}
