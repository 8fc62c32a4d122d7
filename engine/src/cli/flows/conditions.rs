//! Which flows are meant.

use std::net::IpAddr;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use ipnet::IpNet;
use wireglass_core::phase::FlowPhase;

/// Those for which all holds that is given.
#[derive(Debug, Args)]
pub(super) struct Conditions {
    /// Flows of clients in this network or with this address
    #[arg(long, value_name = "NET", value_parser = network)]
    pub(super) client: Option<IpNet>,
    /// Flows to servers in this network or with this address
    #[arg(long, value_name = "NET", value_parser = network)]
    pub(super) server: Option<IpNet>,
    /// Flows with this TCP port at either end
    #[arg(long, value_name = "N")]
    pub(super) port: Option<u16>,
    /// Flows whose server name matches this shell pattern: `*.example.com`
    #[arg(long, value_name = "GLOB")]
    pub(super) sni: Option<String>,
    /// Flows in this phase
    #[arg(long, value_parser = phases())]
    pub(super) phase: Option<FlowPhase>,
}

/// The phases, by their words.
fn phases() -> impl TypedValueParser<Value = FlowPhase> {
    let named = |word: String| FlowPhase::ALL.iter().copied().find(|phase| phase.name() == word);
    PossibleValuesParser::new(
        FlowPhase::ALL.iter().map(|phase| PossibleValue::new(phase.name()).help(phase.help())),
    )
    .try_map(move |word| named(word).ok_or("no such phase"))
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse::<IpNet>());
    network.map_err(|_| "expected a network or an address (10.0.0.0/8, 2001:db8::7)".into())
}
