//! What one core can do at best: the ceilings that every speed figure is a share of.

mod aead;
mod handshake;
mod report;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use handshake::{Kind as Handshake, Way};

/// A ceiling that was probed beside a measurement, on the same core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ceiling {
    /// `C`; `H`, `Hw` (without the verification of the chain), `R` (resumed); `F`: the frames that a piece of wire passes on.
    pub(crate) name: String,
    /// In the figure's unit.
    pub(crate) value: f64,
    /// The crypto library that does so much; none: no library, or it is not asked which.
    #[serde(default)]
    pub(crate) by: Option<String>,
}

/// All ceilings of this machine as a report, `each` of them probed so long.
pub(crate) fn report(each: Duration) -> report::Report {
    report::Report { bulk: aead::probe(each), handshakes: handshake::probe(each) }
}

/// C of the suite with this name in rustls, with the better of both libraries: Gbit/s. None: not among the suites probed.
pub(crate) fn bulk(suite: &str, each: Duration) -> Option<Ceiling> {
    let both = aead::probe_suite(suite, each);
    let best = aead::Bulk::best(&both)?;
    Some(Ceiling { name: "C".into(), value: best.ceiling() * 8.0 / 1e9, by: Some(best.provider.into()) })
}

/// The ceiling of this kind of handshake, with aws-lc-rs: connections per second. The client's end verifies the server's
/// leaf; the server's end shows a minted one, which is ECDSA.
pub(crate) fn handshakes(kind: Handshake, each: Duration) -> Ceiling {
    let name = match kind.way {
        Way::Cold => "H",
        Way::Warm => "Hw",
        Way::Resumed => "R",
    };
    Ceiling { name: name.into(), value: handshake::ceiling(kind, each), by: None }
}
