//! What the service manager is told, as sd_notify(3) has it: ready, alive, stopping. Without one, nothing is.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::metrics::{Liveness, Pulse};

/// Pings within the time after which the service manager kills: half of it is usual (sd_watchdog_enabled(3)); a third leaves room for
/// a look that comes late.
const PINGS: u32 = 3;

/// What it is told while all is well.
const FINE: &str = "between its ports";

/// The watchdog of `systemd` (`WatchdogSec=`), or of whatever listens at `NOTIFY_SOCKET`.
pub(super) struct Supervisor {
    /// Time between pings, and time that a worker may be without a turn; none: nobody waits for pings.
    every: Option<Duration>,
    pinged: Option<Instant>,
    /// What it was told last.
    said: Option<String>,
}

impl Supervisor {
    /// As the environment says. The engine is between its ports.
    pub(super) fn ready() -> Self {
        tell(&[NotifyState::Ready, NotifyState::Status(FINE)]);
        Self { every: sd_notify::watchdog_enabled().map(|limit| limit / PINGS), pinged: None, said: None }
    }

    /// Called all the time; returns what it has seen. Pings when it is time to, and only while every worker moves: this thread being alive
    /// says nothing. A worker that has failed moves frames, and whoever chose that does not want the engine killed for it.
    pub(super) fn look(&mut self, now: Instant, liveness: &Liveness) -> Pulse {
        let pulse = liveness.look(now, self.every.unwrap_or(crate::metrics::PATIENCE));
        let trouble = match pulse {
            Pulse::Stuck { worker, .. } => Some(format!("worker {worker} makes no turns")),
            Pulse::Failed { worker } => {
                Some(format!("worker {worker} has failed: its frames pass UNINSPECTED"))
            }
            Pulse::Alive | Pulse::Starting => None,
        };
        if trouble != self.said {
            tell(&[NotifyState::Status(trouble.as_deref().unwrap_or(FINE))]);
            self.said = trouble;
        }
        let moves = matches!(pulse, Pulse::Alive | Pulse::Failed { .. });
        let due = self.pinged.is_none_or(|pinged| Some(now.saturating_duration_since(pinged)) >= self.every);
        if self.every.is_some() && due && moves {
            tell(&[NotifyState::Watchdog]);
            self.pinged = Some(now);
        }
        pulse
    }

    /// The engine is stopping, and may take as long as the service manager allows.
    pub(super) fn stopping(self) {
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }
}

/// The start goes on, and takes at most so long from now, whatever the service manager allows.
pub(super) fn needs(time: Duration) {
    let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::ExtendTimeoutUsec(micros),
        NotifyState::Status("taking over from the engine that runs"),
    ]);
}

/// A service manager that does not listen is its own affair: it will find out by itself.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}
