//! One file for each group of sections: the struct that it becomes, its defaults, and how it is read.

pub(super) mod capture;
mod confine;
mod content;
mod exclusions;
mod fetch;
mod fleet;
mod icap;
mod intercept;
mod limits;
mod lists;
mod mirrors;
mod outputs;
mod ports;
mod profiles;
mod rules;
mod secrets;
mod signatures;
pub(super) mod starttls;
mod verdicts;
mod workers;
mod yara;

pub use confine::{Account, Confine};
pub use content::Content;
pub use exclusions::Exclusions;
pub use fetch::Fetch;
pub use fleet::{Fleet, FleetKeys, OnDrain, Share, is_name};
pub use icap::{IcapServer, IcapServers};
pub use intercept::Intercept;
pub use limits::Limits;
pub use lists::{FoundFiles, ListFile, ListSource, NamedLists};
pub use mirrors::MirrorPort;
pub use outputs::{Control, Log, Metrics};
pub use ports::{Dpdk, Wire};
pub use rules::PolicyRules;
pub use secrets::{Ca, Crypto, Trust};
pub use signatures::NamedSignatures;
pub use verdicts::Verdicts;
pub use workers::Workers;
pub use yara::{YaraSet, YaraSets};

pub(super) use content::Named;
pub(super) use fleet::pushed_to;
pub(super) use profiles::Profiles;
pub(super) use secrets::read_ca_certificates;
