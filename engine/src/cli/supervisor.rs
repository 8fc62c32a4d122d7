//! What the service manager is told, as sd_notify(3) has it: ready, alive, stopping. Without one, nothing is.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::metrics::{Liveness, Pulse};

/// Pings within the time after which the service manager kills: half of it is usual (sd_watchdog_enabled(3)); a third leaves room for
/// a look that comes late.
const PINGS: u32 = 3;

/// The watchdog of `systemd` (`WatchdogSec=`), or of whatever listens at `NOTIFY_SOCKET`.
pub(super) struct Supervisor {
    /// Time between pings, and time that a worker may be without a turn; none: nobody waits for pings.
    every: Option<Duration>,
    pinged: Option<Instant>,
    stuck: bool,
}

impl Supervisor {
    /// As the environment says. The engine is between its ports.
    pub(super) fn ready() -> Self {
        tell(&[NotifyState::Ready, NotifyState::Status("between its ports")]);
        Self { every: sd_notify::watchdog_enabled().map(|limit| limit / PINGS), pinged: None, stuck: false }
    }

    /// Called all the time. Pings when it is time to, and only while every worker moves: this thread being alive says nothing.
    pub(super) fn look(&mut self, now: Instant, liveness: &Liveness) {
        let pulse = liveness.look(now, self.every.unwrap_or(crate::metrics::PATIENCE));
        let stuck = matches!(pulse, Pulse::Stuck { .. });
        if stuck != self.stuck {
            self.stuck = stuck;
            match pulse {
                Pulse::Stuck { worker, since } => {
                    tracing::error!(worker, seconds = since.as_secs_f32(), "a worker makes no turns");
                    tell(&[NotifyState::Status(&format!("worker {worker} makes no turns"))]);
                }
                Pulse::Alive | Pulse::Starting => {
                    tracing::warn!("all workers make turns again");
                    tell(&[NotifyState::Status("between its ports")]);
                }
            }
        }
        let due = self.pinged.is_none_or(|pinged| Some(now.saturating_duration_since(pinged)) >= self.every);
        if self.every.is_some() && due && pulse == Pulse::Alive {
            tell(&[NotifyState::Watchdog]);
            self.pinged = Some(now);
        }
    }

    /// The engine is stopping, and may take as long as the service manager allows.
    pub(super) fn stopping(self) {
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }
}

/// A service manager that does not listen is its own affair: it will find out by itself.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}
