//! What the log is told of a capture.

/// Somebody has decrypted flows captured, or no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureEvent {
    /// What happens.
    pub step: CaptureStep,
    /// The configuration's file, which says so.
    pub configuration: String,
    /// Folder of the files; none: there are none.
    pub folder: Option<String>,
    /// A file for the secrets alone.
    pub keylog: Option<String>,
    /// Names of the profiles whose flows are captured; empty: all.
    pub profiles: Vec<String>,
    /// For how long, from the start.
    pub minutes: u64,
}

/// What happens to a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureStep {
    /// It begins.
    Started,
    /// Its time is over.
    Ended,
    /// The engine stops.
    Stopped,
    /// It could not be written.
    Failed,
}

impl CaptureStep {
    /// As the log calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ended => "ended",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}
