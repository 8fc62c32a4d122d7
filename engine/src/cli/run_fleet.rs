//! A running engine's part in its fleet.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::sync::Arc;

use wireglass_core::flow::Shared;
use wireglass_core::phase::FlowPhase;
use wireglass_core::x509::Provider;

use crate::config::{Config, Fleet, OnDrain};
#[cfg(feature = "fleet")]
use crate::fleet::running::RunningEngine;
use crate::fleet::status::FleetStatus;
#[cfg(feature = "fleet")]
use crate::fleet::thread::FleetThread;
use crate::links::LinkWatch;
use crate::metrics::Metrics;
use crate::reload::ReloadHandle;

/// Makes the folder for what is pushed, if only that is missing: no thread may later, outside of it.
///
/// # Errors
/// In words.
pub(super) fn make_folder(config: &Config) -> Result<(), String> {
    let folder = &config.fleet.state_dir;
    if !config.fleet.is_on() || folder.is_dir() {
        return Ok(());
    }
    let failed = |error: io::Error| format!("fleet.state_dir: cannot make {}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    // Nothing in it is secret, and a signer of another user reads there.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    match &config.confine.user {
        Some(account) => chown(folder, Some(account.uid), Some(account.gid)).map_err(failed),
        None => Ok(()),
    }
}

/// The thread, where there is a fleet, and the links, where they go down with a drain.
pub(super) struct FleetPart {
    #[cfg(feature = "fleet")]
    thread: Option<FleetThread>,
    closes_links: bool,
    has_closed: bool,
}

impl FleetPart {
    /// Starts the thread of an engine that is in a fleet.
    #[cfg_attr(not(feature = "fleet"), expect(unused_variables, reason = "there is no thread"))]
    pub(super) fn start(
        (fleet, provider): (&Fleet, Provider),
        reloads: &ReloadHandle,
        metrics: &Arc<Metrics>,
        shared: &Shared,
    ) -> io::Result<Self> {
        let closes_links = fleet.is_on() && fleet.on_drain == OnDrain::Links;
        if fleet.is_on() {
            metrics.set_fleet(Arc::new(FleetStatus::default()));
        }
        Ok(Self {
            #[cfg(feature = "fleet")]
            thread: match metrics.fleet() {
                Some(status) => {
                    let engine = RunningEngine::new(reloads.clone(), Arc::clone(metrics), shared);
                    Some(FleetThread::start(fleet.clone(), provider, engine, Arc::clone(status))?)
                }
                None => None,
            },
            closes_links,
            has_closed: false,
        })
    }

    /// Called all the time: the links of an engine that is drained go down when no decrypted flow is left.
    pub(super) fn look(&mut self, metrics: &Metrics, links: &LinkWatch) {
        let drains = metrics.fleet().is_some_and(|status| status.read().draining);
        let is_empty = self.has_closed || metrics.flows_now(FlowPhase::Decrypted) == 0;
        let closes = self.closes_links && drains && is_empty;
        if closes != self.has_closed {
            links.close(closes);
            self.has_closed = closes;
            let what = if closes {
                "no decrypted flow is left: all links are taken down"
            } else {
                "links come back"
            };
            tracing::warn!("fleet: {what}");
        }
    }

    /// Leaves the fleet.
    pub(super) fn stop(self) {
        #[cfg(feature = "fleet")]
        if let Some(thread) = self.thread {
            thread.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::link_pass::LinkState;
    use crate::links::Passing;

    fn part(closes_links: bool) -> FleetPart {
        FleetPart {
            #[cfg(feature = "fleet")]
            thread: None,
            closes_links,
            has_closed: false,
        }
    }

    #[test]
    fn links_go_down_when_a_drained_engine_is_empty_and_come_back_when_that_is_undone() {
        let (set, told) = mpsc::channel();
        let set_link = move |port: wireglass_core::port::PortId, up: bool| {
            set.send((port.index(), up)).map_err(|error| error.to_string())
        };
        let wires = [("lan".into(), LinkState::Independent)];
        let passing = Passing::new(Instant::now(), wires, |_| Some(true), set_link);
        let (log, _events) = crate::log::ring(16);
        let links = LinkWatch::start(Vec::new, passing, log).expect("a thread");
        let both = || [(); 2].map(|()| told.recv_timeout(Duration::from_secs(30)).expect("a link is set"));

        let (status, metrics) = (Arc::new(FleetStatus::default()), Metrics::new(&[], 1));
        metrics.set_fleet(Arc::clone(&status));
        let decrypted = metrics.workers()[0].flows(FlowPhase::Decrypted);
        let (mut closing, mut passing) = (part(true), part(false));
        let mut look = || {
            closing.look(&metrics, &links);
            passing.look(&metrics, &links);
            (closing.has_closed, passing.has_closed)
        };
        assert_eq!(look(), (false, false), "empty, but not drained");
        decrypted.inc();
        status.set_draining(true);
        assert_eq!(look(), (false, false), "drained, but not empty");
        decrypted.dec();
        assert_eq!(look(), (true, false));
        assert_eq!(both(), [(0, false), (1, false)]);
        // One that had begun on the way is no reason to bring them back.
        decrypted.inc();
        assert_eq!(look(), (true, false));
        status.set_draining(false);
        assert_eq!(look(), (false, false));
        assert_eq!(both(), [(0, true), (1, true)]);
    }
}
