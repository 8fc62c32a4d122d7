//! Which crypto library protects the records of the engine that is measured.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use wireglass::record_speeds::{RecordLibrary, RecordSpeeds};
use wireglass_core::tls::RecordLibraries;
use wireglass_core::x509::Provider;

/// As `crypto.records` of a configuration has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Records {
    /// The faster one for each cipher suite.
    #[default]
    Auto,
    /// aws-lc-rs for all suites.
    AwsLcRs,
    /// ring for all suites.
    Ring,
}

impl Records {
    /// Of each suite, for an engine whose handshakes are by the default library.
    pub(super) fn libraries(self) -> RecordLibraries {
        let library = match self {
            Self::Auto => RecordLibrary::Auto,
            Self::AwsLcRs => RecordLibrary::Fixed(Provider::AwsLcRs),
            Self::Ring => RecordLibrary::Fixed(Provider::Ring),
        };
        library.choose(Provider::default(), RecordSpeeds::here)
    }
}
