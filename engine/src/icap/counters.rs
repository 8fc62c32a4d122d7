//! What is counted of a service of ICAP.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use wireglass_core::histogram::Histogram;

/// What came of a question about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The server lets it pass.
    Unmodified,
    /// The server has found something, or changed it.
    Modified,
    /// As many connections were in use as may be, so nobody was asked.
    Busy,
    /// There was no connection, or it broke.
    Down,
    /// It did not come in time.
    Timeout,
    /// The server answered before it had seen all, and wanted no more.
    Short,
    /// It was no ICAP, or an error.
    Protocol,
    /// The message was longer than what is asked about.
    Oversize,
}

impl Answer {
    /// All of them, in declaration order.
    pub const ALL: [Self; 8] = [
        Self::Unmodified,
        Self::Modified,
        Self::Busy,
        Self::Down,
        Self::Timeout,
        Self::Short,
        Self::Protocol,
        Self::Oversize,
    ];

    /// As metrics have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unmodified => "unmodified",
            Self::Modified => "modified",
            Self::Busy => "busy",
            Self::Down => "down",
            Self::Timeout => "timeout",
            Self::Short => "short",
            Self::Protocol => "protocol",
            Self::Oversize => "oversize",
        }
    }
}

/// What came of looking whether a server does what it is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// It has found the test file.
    Found,
    /// It has let the test file pass.
    Passed,
    /// It has not answered.
    Failed,
}

impl Probed {
    /// All of them, in declaration order.
    pub const ALL: [Self; 3] = [Self::Found, Self::Passed, Self::Failed];

    /// As metrics have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Passed => "passed",
            Self::Failed => "failed",
        }
    }
}

/// Counts of a service. They go on when a reload puts another connection pool in its place.
#[derive(Debug, Default)]
pub struct IcapCounters {
    answers: [AtomicU64; Answer::ALL.len()],
    /// Of questions that a server was asked: how long it kept them waiting, all in all.
    pub times: Histogram,
    probes: [AtomicU64; Probed::ALL.len()],
}

impl IcapCounters {
    /// A question has come to an end, after the server had kept it waiting for so long.
    pub(super) fn count(&self, answer: Answer, waited: Duration) {
        self.answers[answer as usize].fetch_add(1, Relaxed);
        if !matches!(answer, Answer::Busy | Answer::Oversize) {
            self.times.observe(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn count_probe(&self, probed: Probed) {
        self.probes[probed as usize].fetch_add(1, Relaxed);
    }

    /// Questions with this answer.
    pub fn answers(&self, answer: Answer) -> u64 {
        self.answers[answer as usize].load(Relaxed)
    }

    /// Probes of which this came.
    pub fn probes(&self, probed: Probed) -> u64 {
        self.probes[probed as usize].load(Relaxed)
    }
}
