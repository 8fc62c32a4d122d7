//! The phases of a flow, in the words that log, metrics, control channel and command line share.

/// What a flow has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum FlowPhase {
    /// The TCP handshake goes through; nothing is known of the payload.
    Opening,
    /// The ClientHello is awaited.
    Peeking,
    /// To be decrypted: both handshakes are under way, or complete.
    Decrypted,
    /// Left as it is.
    Bypassed,
    /// Ended by the engine, or over.
    Blocked,
}

impl FlowPhase {
    /// All of them, in declaration order.
    pub const ALL: &'static [Self] =
        &[Self::Opening, Self::Peeking, Self::Decrypted, Self::Bypassed, Self::Blocked];

    /// One sentence for people.
    pub const fn help(self) -> &'static str {
        match self {
            Self::Opening => "TCP handshake; no payload seen yet",
            Self::Peeking => "waiting for the complete ClientHello",
            Self::Decrypted => "decrypted, or about to be: both TLS handshakes are under way or complete",
            Self::Bypassed => "passes unread",
            Self::Blocked => "ended by the engine, or over",
        }
    }

    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Peeking => "peeking",
            Self::Decrypted => "decrypted",
            Self::Bypassed => "bypassed",
            Self::Blocked => "blocked",
        }
    }
}
