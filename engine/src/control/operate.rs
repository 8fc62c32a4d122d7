//! What is asked of a running engine beyond looking: to end flows, to decrypt no more for a while, to say more or less.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use wireglass_core::flow::Wanted;
use wireglass_core::order::Order;
use wireglass_core::phase::FlowPhase;

use super::protocol::{FlowsRequest, envelope};
use crate::orders::{OrderedBy, Standing};

/// Longest time for which all flows may be bypassed: a day. What is to last belongs into the configuration.
pub const MAX_BYPASS: Duration = Duration::from_secs(24 * 3600);
/// Longest time for a drain that ends by itself: 30 days.
pub const MAX_DRAIN: Duration = Duration::from_secs(30 * 24 * 3600);

/// Who is at the other end of a connection, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its user.
    pub(crate) uid: u32,
    /// The process.
    pub(crate) pid: i32,
}

impl Peer {
    /// It may change what the engine does: it is root, or the engine's own user.
    pub(crate) fn may_operate(self, own_uid: u32) -> bool {
        self.uid == 0 || self.uid == own_uid
    }
}

/// Flows that are to be ended: those for which all holds that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KillRequest {
    /// The flow with this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_id: Option<u64>,
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
    /// Also if it is more than one.
    pub yes: bool,
}

impl KillRequest {
    /// The line to send, its end included.
    pub fn line(&self) -> String {
        envelope("flows.kill", serde_json::to_value(self).unwrap_or_default())
    }

    /// The flows, as far as they can be told without copying anything.
    pub(super) fn wanted(&self) -> Wanted {
        let Self { flow_id, client, server, port, phase, .. } = *self;
        Wanted { client, server, port, phase, flow_id }
    }

    /// The same as a question for flows, without the number.
    pub(super) fn flows(&self) -> FlowsRequest {
        FlowsRequest { sni: self.sni.clone(), ..FlowsRequest::default() }
    }

    /// It is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let Self { flow_id, client, server, port, sni, phase, yes: _ } = self;
        let has_any = flow_id.is_some()
            || client.is_some()
            || server.is_some()
            || port.is_some()
            || sni.is_some()
            || phase.is_some();
        if !has_any {
            return Err("expected a flow's number, or client, server, port, sni or phase".into());
        }
        self.flows().matcher().map(drop)
    }
}

/// What has come of flows that were to be ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KilledRecord {
    /// Flows for which all held that was given.
    pub matched: u64,
    /// Those that were ended; the others had ended by themselves.
    pub killed: u64,
    /// All workers have answered in time.
    pub complete: bool,
}

/// An order: for so long, or until it is taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrderRequest {
    /// For so long; none: until it is taken back, which only a drain may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Decrypted flows are ended at once; only for a bypass.
    pub now: bool,
}

impl OrderRequest {
    /// The line to send for an order, its end included.
    pub fn line(&self, order: Order) -> String {
        envelope(order.name(), serde_json::to_value(self).unwrap_or_default())
    }

    /// How long it is to stand; none: until it is taken back.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn time(&self, order: Order) -> Result<Option<Duration>, String> {
        let (most, must_end) = match order {
            Order::Bypass => (MAX_BYPASS, true),
            Order::Drain => (MAX_DRAIN, false),
        };
        if self.now && order == Order::Drain {
            return Err("now: a drain ends no flow".into());
        }
        match self.seconds.map(Duration::from_secs) {
            None if must_end => Err(format!("seconds: expected 1 to {}", most.as_secs())),
            None => Ok(None),
            Some(time) if time.is_zero() || time > most => {
                Err(format!("seconds: expected 1 to {}", most.as_secs()))
            }
            some => Ok(some),
        }
    }
}

/// The line that takes an order back, its end included.
pub fn end_order_line(order: Order) -> String {
    envelope(&format!("{}.end", order.name()), serde_json::Value::Null)
}

/// The line that asks for the orders that stand, its end included.
pub fn orders_line() -> String {
    envelope("orders", serde_json::Value::Null)
}

/// The orders that stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrdersRecord {
    /// Each of them.
    pub orders: Vec<OrderRecord>,
    /// Flows that are decrypted now.
    pub decrypted: u64,
    /// Decrypted flows that this request has ended.
    pub killed: u64,
    /// All workers have answered in time.
    pub complete: bool,
}

/// An order that stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrderRecord {
    /// `drain` or `bypass`.
    pub order: String,
    /// Whose it is: `operator` or `fleet`.
    pub by: String,
    /// Seconds until it ends by itself; none: it does not.
    pub left_seconds: Option<u64>,
}

impl OrderRecord {
    pub(super) fn new(Standing { order, by, left }: Standing) -> Self {
        // A second that has begun counts: what stands has some time left.
        let seconds = |left: Duration| left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Self { order: order.name().into(), by: by.name().into(), left_seconds: left.map(seconds) }
    }

    /// It stands until the fleet takes it back.
    pub fn is_of_fleet(&self) -> bool {
        self.by == OrderedBy::Fleet.name()
    }
}

/// An engine is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// Only the one with this process number.
    pub process: u32,
    /// It goes on, and says what it would leave.
    #[serde(default)]
    pub only_ask: bool,
}

impl StopRequest {
    /// The line to send, its end included.
    pub fn line(&self) -> String {
        envelope("stop", serde_json::to_value(self).unwrap_or_default())
    }
}

/// What an engine leaves that has begun to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StopRecord {
    /// Flows that it decrypts, and will reset.
    pub decrypted: u64,
    /// Flows that it lets pass: they go on where another engine takes its place.
    pub bypassed: u64,
    /// Where its metrics are served, until it has ended.
    pub metrics: Option<SocketAddr>,
}

/// Severity of the engine's own messages: these and worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What went wrong.
    Error,
    /// What may be wrong.
    Warn,
    /// What the engine does.
    Info,
    /// How it does that.
    Debug,
    /// Everything.
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        LevelFilter::from(*self).fmt(f)
    }
}

/// Which level is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelRequest {
    /// This one.
    pub level: LogLevel,
}

impl LevelRequest {
    /// The line to send, its end included.
    pub fn line(&self) -> String {
        envelope("log.level", serde_json::to_value(self).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_and_root_may_operate_and_nobody_else() {
        let peer = |uid| Peer { uid, pid: 1 };
        assert!(peer(0).may_operate(1000) && peer(1000).may_operate(1000));
        assert!(!peer(1001).may_operate(1000) && !peer(1000).may_operate(0));
    }

    #[test]
    fn orders_have_bounds() {
        let time = |seconds, now, order| OrderRequest { seconds, now }.time(order);
        assert_eq!(time(Some(900), true, Order::Bypass), Ok(Some(Duration::from_secs(900))));
        assert_eq!(time(None, false, Order::Drain), Ok(None));
        for (seconds, now, order) in [
            (None, false, Order::Bypass),
            (Some(0), false, Order::Bypass),
            (Some(86_401), false, Order::Bypass),
            (Some(0), false, Order::Drain),
            (Some(2_592_001), false, Order::Drain),
            (Some(u64::MAX), false, Order::Drain),
            (None, true, Order::Drain),
        ] {
            assert!(time(seconds, now, order).is_err(), "{seconds:?} {now} {order:?}");
        }
    }

    #[test]
    fn a_kill_needs_a_condition() {
        let check = |json: &str| serde_json::from_str::<KillRequest>(json).expect("it parses").check();
        for no in ["{}", r#"{"yes":true}"#, r#"{"sni":"["}"#, r#"{"sni":""}"#] {
            assert!(check(no).is_err(), "{no}");
        }
        for yes in [r#"{"flow_id":7}"#, r#"{"client":"10.0.0.0/8","yes":true}"#, r#"{"phase":"decrypted"}"#] {
            assert_eq!(check(yes), Ok(()), "{yes}");
        }
    }

    #[test]
    fn what_has_begun_of_a_second_counts() {
        let left = |millis| {
            let left = Some(Duration::from_millis(millis));
            OrderRecord::new(Standing { order: Order::Bypass, by: OrderedBy::Operator, left }).left_seconds
        };
        assert_eq!((left(1), left(1000), left(1001)), (Some(1), Some(1), Some(2)));
    }
}
