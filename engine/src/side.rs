//! The two ends of a flow.

/// Which end of a flow: where a packet comes from, or a leg leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The end that sent the SYN; on the wire's inside port.
    Client,
    /// The end that was addressed; on the wire's outside port.
    Server,
}

impl Side {
    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// The wire's port at this end, as the configuration calls it.
    pub const fn port_name(self) -> &'static str {
        match self {
            Self::Client => "inside",
            Self::Server => "outside",
        }
    }
}
