//! What goes over the control channel.
//!
//! ```text
//! -> {"version":1,"command":"flows","arguments":{"port":443,"sort":"rtt"}}
//! <- {"kind":"begin","version":1,"engine":"0.1.0"}
//! <- {"kind":"flow","flow_id":7,...}                       one for each flow
//! <- {"kind":"end","seen":90,"matched":1,"complete":true}
//! ```
//! ```text
//! -> {"version":1,"command":"counters"}
//! <- {"kind":"begin","version":1,"engine":"0.1.0"}
//! <- {"kind":"worker","worker":0,"core":1,...}             one for each worker
//! <- {"kind":"port","port":"0000:03:00.0",...}             one for each port
//! <- {"kind":"engine","uptime_us":12000000,...}            and that is all
//! ```
//! ```text
//! -> {"version":1,"command":"reload"}
//! <- {"kind":"begin","version":1,"engine":"0.1.0"}
//! <- {"kind":"reload","generation":2,"changed":["rule.sni"],"needs_restart":[]}      when it is done
//! ```
//! ```text
//! -> {"version":1,"command":"exclusions"}
//! <- {"kind":"begin","version":1,"engine":"0.1.0"}
//! <- {"kind":"exclusion","cause":"pinned","name":"bank.example",...}                 one for each
//! <- {"kind":"exclusions","count":1}                                                 and that is all
//! -> {"version":1,"command":"exclusions.add","arguments":{"name":"bank.example","port":443,"hours":12}}
//! -> {"version":1,"command":"exclusions.remove","arguments":{"name":"bank.example"}}
//! <- {"kind":"begin","version":1,"engine":"0.1.0"}
//! <- {"kind":"exclusions","count":1}                                                 so many were added or removed
//! ```
//! ```text
//! -> {"version":1,"command":"flows.kill","arguments":{"sni":"*.example","yes":true}}
//! <- {"kind":"begin","version":1,"engine":"0.1.0"}
//! <- {"kind":"killed","matched":3,"killed":3,"complete":true}
//! -> {"version":1,"command":"bypass","arguments":{"seconds":900,"now":true}}         or drain, bypass.end, drain.end, orders
//! <- {"kind":"begin","version":1,"engine":"0.1.0"}
//! <- {"kind":"orders","orders":[{"order":"bypass","left_seconds":900}],"decrypted":0,"killed":17,"complete":true}
//! -> {"version":1,"command":"log.level","arguments":{"level":"debug"}}
//! <- {"kind":"begin","version":1,"engine":"0.1.0"}
//! <- {"kind":"log_level","level":"debug"}
//! -> {"version":1,"command":"stop","arguments":{"process":4711}}
//! <- {"kind":"begin","version":1,"engine":"0.1.0"}
//! <- {"kind":"stop","decrypted":2,"bypassed":40}
//! ```
//! All but `flows`, `counters`, `exclusions` and `orders` is for the engine's own user and for root.
//!
//! Instead of all that, `{"kind":"error","version":1,"code":"busy","message":"..."}`.

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wireglass_core::end::PerEnd;
use wireglass_core::flow::{FlowSnapshot, Wanted};
use wireglass_core::order::Order;
use wireglass_core::phase::FlowPhase;

use super::counters::{EngineRecord, PortRecord, WorkerRecord};
pub use super::exclude::{ExcludeRequest, IncludeRequest, MAX_HOURS};
use super::operate::{
    KillRequest, KilledRecord, LevelRequest, LogLevel, OrderRequest, OrdersRecord, StopRecord, StopRequest,
};
use super::record::FlowRecord;
use crate::exclusions::ExclusionRecord;

/// The version of all this. Fields may be added without a new one; a reader passes over those that it does not know.
pub const VERSION: u32 = 1;
/// Most flows of one answer.
pub const MAX_LIMIT: usize = 10_000;
/// Flows of an answer to a request that names no limit.
pub const DEFAULT_LIMIT: usize = 100;
/// Longest pattern for server names.
const MAX_PATTERN: usize = 255;

/// A request, as far as it is the same for all commands.
#[derive(Serialize, Deserialize)]
struct Envelope {
    version: u32,
    command: String,
    #[serde(default)]
    arguments: serde_json::Value,
}

/// What may be asked.
#[derive(Debug)]
pub enum Command {
    /// The flows and how they stand.
    Flows(FlowsRequest),
    /// What has been counted.
    Counters,
    /// To load the configuration anew.
    Reload,
    /// The servers that are not decrypted.
    Exclusions,
    /// One more.
    Exclude(ExcludeRequest),
    /// Some fewer.
    Include(IncludeRequest),
    /// To end flows.
    Kill(KillRequest),
    /// To go by an order.
    Order(Order, OrderRequest),
    /// Not to go by it any more.
    EndOrder(Order),
    /// The orders that stand.
    Orders,
    /// To say more or less.
    LogLevel(LevelRequest),
    /// To end.
    Stop(StopRequest),
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// It looks.
    Read,
    /// It changes what the engine does.
    Operate,
}

/// Which flows, and in which order. Conditions that are left out hold for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowsRequest {
    /// The client's address lies in this network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpNet>,
    /// The server's address lies in this network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<IpNet>,
    /// Either end's port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The server name of the ClientHello, as a shell pattern; case does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// The phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<FlowPhase>,
    /// What the first flows have most of.
    pub sort: Sort,
    /// So many flows at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// The order of flows: those with the most come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// Bytes in frames from both ends.
    #[default]
    Bytes,
    /// Retransmitted segments, on both legs.
    Retransmits,
    /// Smoothed round-trip time of the slower leg.
    Rtt,
    /// Time since the first packet.
    Age,
    /// Queued bytes, on both legs and in both directions.
    Queue,
}

impl Sort {
    /// How much a flow has of it.
    pub fn key(self, flow: &FlowSnapshot) -> u64 {
        let tcp = || flow.legs.iter().flat_map(PerEnd::iter).map(|leg| &leg.tcp);
        match self {
            Self::Bytes => flow.volume.iter().map(|volume| volume.bytes).sum(),
            Self::Retransmits => tcp().map(|tcp| u64::from(tcp.stats.retransmits)).sum(),
            Self::Rtt => {
                tcp().filter_map(|tcp| tcp.rtt).map(|(srtt, _)| srtt.total_micros()).max().unwrap_or(0)
            }
            Self::Age => flow.age,
            Self::Queue => tcp().map(|tcp| (tcp.send_queue + tcp.recv_queue) as u64).sum(),
        }
    }
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    /// The request is understood.
    Begin {
        /// [`VERSION`] of the engine.
        version: u32,
        /// The engine's own version.
        engine: String,
    },
    /// A flow.
    Flow(Box<FlowRecord>),
    /// That was all.
    End {
        /// Flows that were looked at.
        seen: u64,
        /// Those of them that were asked for; the limit may have kept some back.
        matched: u64,
        /// All workers have answered in time.
        complete: bool,
    },
    /// A worker's counters.
    Worker(Box<WorkerRecord>),
    /// A port's.
    Port(Box<PortRecord>),
    /// The rest of them. It is the last line.
    Engine(Box<EngineRecord>),
    /// A server that is not decrypted.
    Exclusion(Box<ExclusionRecord>),
    /// So many were told, added or removed. It is the last line.
    Exclusions {
        /// How many.
        count: u64,
    },
    /// The configuration was loaded anew. It is the last line.
    Reload(ReloadRecord),
    /// Flows were ended. It is the last line.
    Killed(KilledRecord),
    /// The orders that stand. It is the last line.
    Orders(OrdersRecord),
    /// Messages are of this level now. It is the last line.
    #[serde(rename = "log_level")]
    LogLevel {
        /// The level.
        level: LogLevel,
    },
    /// The engine ends. It is the last line.
    Stop(StopRecord),
    /// There will be no answer.
    Error {
        /// [`VERSION`] of the engine.
        version: u32,
        /// Which error, for programs.
        code: Refusal,
        /// Which error, for people.
        message: String,
    },
}

/// What a reload has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReloadRecord {
    /// Number of the settings that are in force now.
    pub generation: u32,
    /// Keys and files that have changed.
    pub changed: Vec<String>,
    /// Keys that have changed, and are not in force before the engine is started anew.
    pub needs_restart: Vec<String>,
}

/// Why a request gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Refusal {
    /// It speaks another version.
    Version,
    /// It is no request, or one that this engine does not know.
    Request,
    /// Too many are being answered at the moment.
    Busy,
    /// It did not come in time.
    Late,
    /// The engine is stopping.
    Stopping,
    /// The configuration has faults: what was in force stays so.
    Fault,
    /// Whoever asks may look, and this is more.
    Forbidden,
    /// It would end more than one flow, and says no yes to that.
    Unconfirmed,
    /// There is nothing like that.
    Absent,
}

impl Refusal {
    pub(super) fn line(self, message: impl Into<String>) -> Line {
        Line::Error { version: VERSION, code: self, message: message.into() }
    }
}

impl Command {
    /// Reads a line.
    ///
    /// # Errors
    /// The line that says why it is none.
    pub(super) fn parse(line: &[u8]) -> Result<Self, Line> {
        let Envelope { version, command, arguments } = serde_json::from_slice(line).map_err(|error| {
            Refusal::Request.line(format!(
                "no request: {error}; expected {{\"version\":{VERSION},\"command\":\"flows\"}}"
            ))
        })?;
        if version != VERSION {
            return Err(Refusal::Version
                .line(format!("the engine speaks version {VERSION} of the control channel, not {version}")));
        }
        for order in Order::ALL {
            match command.strip_prefix(order.name()) {
                Some("") => {
                    let request: OrderRequest = read_arguments(order.name(), arguments)?;
                    request.time(order).map_err(|error| Refusal::Request.line(error))?;
                    return Ok(Self::Order(order, request));
                }
                Some(".end") => return Ok(Self::EndOrder(order)),
                _ => {}
            }
        }
        match command.as_str() {
            "flows" => {
                let request: FlowsRequest = read_arguments("flows", arguments)?;
                request.matcher().map_err(|error| Refusal::Request.line(error))?;
                Ok(Self::Flows(request))
            }
            "counters" => Ok(Self::Counters),
            "reload" => Ok(Self::Reload),
            "exclusions" => Ok(Self::Exclusions),
            "exclusions.add" => {
                let request: ExcludeRequest = read_arguments("exclusions.add", arguments)?;
                request.server().map_err(|error| Refusal::Request.line(error))?;
                Ok(Self::Exclude(request))
            }
            "exclusions.remove" => {
                let request: IncludeRequest = read_arguments("exclusions.remove", arguments)?;
                drop(request.matcher().map_err(|error| Refusal::Request.line(error))?);
                Ok(Self::Include(request))
            }
            "flows.kill" => {
                let request: KillRequest = read_arguments("flows.kill", arguments)?;
                request.check().map_err(|error| Refusal::Request.line(error))?;
                Ok(Self::Kill(request))
            }
            "orders" => Ok(Self::Orders),
            "stop" => Ok(Self::Stop(read_arguments("stop", arguments)?)),
            "log.level" => Ok(Self::LogLevel(read_arguments("log.level", arguments)?)),
            // Debug quotes what a terminal must not see.
            other => Err(Refusal::Request.line(format!(
                "unknown command {other:?}; known: flows, counters, reload, exclusions, orders, bypass, drain"
            ))),
        }
    }

    /// What it takes.
    pub(super) fn right(&self) -> Right {
        match self {
            Self::Flows(_) | Self::Counters | Self::Exclusions | Self::Orders => Right::Read,
            Self::Reload
            | Self::Exclude(_)
            | Self::Include(_)
            | Self::Kill(_)
            | Self::Order(..)
            | Self::EndOrder(_)
            | Self::LogLevel(_)
            | Self::Stop(_) => Right::Operate,
        }
    }
}

fn read_arguments<T: DeserializeOwned>(command: &str, arguments: serde_json::Value) -> Result<T, Line> {
    let arguments = if arguments.is_null() { serde_json::json!({}) } else { arguments };
    if !arguments.is_object() {
        return Err(Refusal::Request.line(format!("arguments of {command}: expected an object")));
    }
    T::deserialize(arguments)
        .map_err(|error| Refusal::Request.line(format!("arguments of {command}: {error}")))
}

/// The line that asks for the servers that are not decrypted, its end included.
pub fn exclusions_line() -> String {
    envelope("exclusions", serde_json::Value::Null)
}

/// The line that asks for the counters, its end included.
pub fn counters_line() -> String {
    envelope("counters", serde_json::Value::Null)
}

/// The line that asks for a reload, its end included.
pub fn reload_line() -> String {
    envelope("reload", serde_json::Value::Null)
}

pub(super) fn envelope(command: &str, arguments: serde_json::Value) -> String {
    let envelope = Envelope { version: VERSION, command: command.into(), arguments };
    // Numbers and texts: nothing in it can fail to be JSON.
    serde_json::to_string(&envelope).unwrap_or_default() + "\n"
}

impl FlowsRequest {
    /// The line to send, its end included.
    pub fn line(&self) -> String {
        envelope("flows", serde_json::to_value(self).unwrap_or_default())
    }

    pub(super) fn wanted(&self) -> Wanted {
        let Self { client, server, port, phase, .. } = *self;
        Wanted { client, server, port, phase, flow_id: None }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT)
    }

    /// Decides over server names.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn matcher(&self) -> Result<NameMatcher, String> {
        let Some(text) = &self.sni else { return Ok(NameMatcher(None)) };
        if text.is_empty() || text.len() > MAX_PATTERN {
            return Err(format!("sni: expected a pattern of 1 to {MAX_PATTERN} bytes"));
        }
        let pattern = glob::Pattern::new(text).map_err(|error| format!("sni: {text:?}: {error}"))?;
        Ok(NameMatcher(Some(pattern)))
    }
}

/// A shell pattern for server names; none matches every flow, with or without a name.
pub struct NameMatcher(Option<glob::Pattern>);

impl NameMatcher {
    pub(super) fn matches(&self, flow: &FlowSnapshot) -> bool {
        let options = glob::MatchOptions { case_sensitive: false, ..glob::MatchOptions::new() };
        self.0.as_ref().is_none_or(|pattern| {
            let name = flow.sni.as_ref().and_then(|name| std::str::from_utf8(name.as_bytes()).ok());
            name.is_some_and(|name| pattern.matches_with(name, options))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> (Refusal, String) {
        match Command::parse(line.as_bytes()) {
            Err(Line::Error { version: VERSION, code, message }) => (code, message),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let request = FlowsRequest {
            client: "10.0.0.0/8".parse().ok(),
            server: "2001:db8::7/128".parse().ok(),
            port: Some(443),
            sni: Some("*.example.com".into()),
            phase: Some(FlowPhase::Decrypted),
            sort: Sort::Rtt,
            limit: Some(7),
        };
        for request in [request, FlowsRequest::default()] {
            let line = request.line();
            assert!(line.ends_with('\n') && line.lines().count() == 1);
            let Ok(Command::Flows(read)) = Command::parse(line.trim_end().as_bytes()) else {
                panic!("{line}")
            };
            assert_eq!(read, request);
        }
        let Ok(Command::Flows(bare)) = Command::parse(br#"{"version":1,"command":"flows"}"#) else {
            panic!()
        };
        assert_eq!((bare.limit(), bare.sort), (DEFAULT_LIMIT, Sort::Bytes));
    }

    #[test]
    fn what_changes_something_is_not_for_readers() {
        for (command, arguments, right) in [
            ("flows", "{}", Right::Read),
            ("counters", "{}", Right::Read),
            ("exclusions", "{}", Right::Read),
            ("orders", "{}", Right::Read),
            ("reload", "{}", Right::Operate),
            ("exclusions.add", r#"{"name":"a.example","port":443,"hours":1}"#, Right::Operate),
            ("exclusions.remove", r#"{"all":true}"#, Right::Operate),
            ("flows.kill", r#"{"flow_id":1}"#, Right::Operate),
            ("bypass", r#"{"seconds":1}"#, Right::Operate),
            ("bypass.end", "{}", Right::Operate),
            ("drain", "{}", Right::Operate),
            ("drain.end", "{}", Right::Operate),
            ("stop", r#"{"process":7}"#, Right::Operate),
            ("log.level", r#"{"level":"info"}"#, Right::Operate),
        ] {
            let line = format!(r#"{{"version":1,"command":"{command}","arguments":{arguments}}}"#);
            let read = Command::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error:?}"));
            assert_eq!(read.right(), right, "{command}");
        }
    }

    #[test]
    fn what_is_no_request_is_told_what_would_be() {
        for garbage in
            ["", "{", "[]", "7", "GET / HTTP/1.1", r#"{"version":"one"}"#, "\u{0}", r#"{"version":1}"#]
        {
            let (code, message) = refusal(garbage);
            assert!(code == Refusal::Request && message.contains("expected"), "{garbage}: {message}");
        }
        let flows = |arguments: &str| {
            refusal(&format!(r#"{{"version":1,"command":"flows","arguments":{arguments}}}"#))
        };
        for (arguments, hint) in [
            (r#"{"colour":"blue"}"#, "colour"),
            (r#"{"port":70000}"#, "70000"),
            (r#"{"client":"10.0.0.0/33"}"#, "invalid"),
            (r#"{"phase":"adopted"}"#, "adopted"),
            (r#"{"sort":"colour"}"#, "colour"),
            (r#"{"sni":"["}"#, "sni"),
            (r#"{"sni":""}"#, "1 to 255"),
            ("[]", "arguments"),
        ] {
            let (code, message) = flows(arguments);
            assert!(code == Refusal::Request && message.contains(hint), "{arguments}: {message}");
        }
        assert!(
            refusal(r#"{"version":1,"command":"top\u001b[2J"}"#).1.contains("unknown command \"top\\u{1b}")
        );
    }

    #[test]
    fn another_version_is_refused_by_name_whatever_else_it_says() {
        let (code, message) = refusal(r#"{"version":2,"command":"flowz","arguments":[{"new":1}]}"#);
        assert_eq!(code, Refusal::Version);
        assert!(message.contains("version 1") && message.contains("not 2"), "{message}");
    }

    #[test]
    fn no_limit_is_too_high_for_memory() {
        let limit = |limit| FlowsRequest { limit, ..FlowsRequest::default() }.limit();
        assert_eq!((limit(None), limit(Some(3)), limit(Some(usize::MAX))), (DEFAULT_LIMIT, 3, MAX_LIMIT));
    }
}
