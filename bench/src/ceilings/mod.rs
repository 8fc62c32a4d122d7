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
}

/// All ceilings of this machine as a report, `each` of them probed so long.
pub(crate) fn report(each: Duration) -> report::Report {
    report::Report { bulk: aead::probe(each), handshakes: handshake::probe(each) }
}

/// C of the suite with this name in rustls, with aws-lc-rs: Gbit/s. None: not among the suites probed.
pub(crate) fn bulk(suite: &str, each: Duration) -> Option<f64> {
    let bulk = aead::probe_suite(suite, each)?;
    Some(bulk.ceiling() * 8.0 / 1e9)
}

/// The ceiling of this kind of handshake, with aws-lc-rs: connections per second. The client's end verifies the server's
/// leaf; the server's end shows a minted one, which is ECDSA.
pub(crate) fn handshakes(kind: Handshake, each: Duration) -> Ceiling {
    let name = match kind.way {
        Way::Cold => "H",
        Way::Warm => "Hw",
        Way::Resumed => "R",
    };
    Ceiling { name: name.into(), value: handshake::ceiling(kind, each) }
}
