//! Kinds of threads, by what their work needs.

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Waits for signals, speaks with the service manager and closes the ports.
    Main,
    /// Frames.
    Worker,
    /// Handshakes and certificates.
    Handshake,
    /// Bodies, and ICAP servers.
    Content,
    /// The event log, and the statistics of the ports in it.
    Log,
    /// Links of the ports.
    Links,
    /// The metrics page.
    Metrics,
    /// The control socket.
    Control,
    /// What an IDS says.
    Verdicts,
    /// The configuration, read anew.
    Reload,
    /// Files of captures.
    Capture,
    /// The file of exclusions.
    Exclusions,
    /// CRLs and their like, over HTTP.
    Fetch,
    /// In the signer's process: requests, and signatures.
    Sign,
    /// There, too: the CAs' keys and what decides what they sign, read anew.
    Keys,
    /// The fleet: etcd, and the folder of what was pushed.
    Fleet,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Main,
        Self::Worker,
        Self::Handshake,
        Self::Content,
        Self::Log,
        Self::Links,
        Self::Metrics,
        Self::Control,
        Self::Verdicts,
        Self::Reload,
        Self::Capture,
        Self::Exclusions,
        Self::Fetch,
        Self::Sign,
        Self::Keys,
        Self::Fleet,
    ];

    /// As messages have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Worker => "worker",
            Self::Handshake => "handshake",
            Self::Content => "content",
            Self::Log => "log",
            Self::Links => "links",
            Self::Metrics => "metrics",
            Self::Control => "control",
            Self::Verdicts => "verdicts",
            Self::Reload => "reload",
            Self::Capture => "capture",
            Self::Exclusions => "exclusions",
            Self::Fetch => "fetch",
            Self::Sign => "sign",
            Self::Keys => "keys",
            Self::Fleet => "fleet",
        }
    }
}
