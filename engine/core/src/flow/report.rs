//! What a flow tells the log, and when.

use std::sync::Arc;

use super::adopted::{Adopted, Progress, Told};
use super::effects::Effects;
use super::{Flow, Phase};
use crate::end::End;
use crate::event::{Action, Event, FlowEvent, FlowHead, HelloInfo, TlsEvent};
use crate::policy::Profile;
use crate::port::Frame;
use crate::reason::Reason;
use crate::tls::HandshakeReport;

impl<F: Frame> Flow<F> {
    /// Reports what an adopted flow did, and gives the phase that follows.
    pub(super) fn follow<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        adopted: Option<Box<Adopted<F>>>,
        progress: Progress<F>,
        told: Told,
    ) -> Phase<F> {
        let reason = match &progress {
            _ if told.established => Reason::PolicyDecrypt,
            Progress::Live => Reason::PolicyDecrypt,
            Progress::Failed(failure, _) => failure.reason,
            Progress::Over(reason, _) => *reason,
        };
        if let (Some(report), true, Some(about)) = (&told.handshake, told.established, &mut self.about) {
            about.established(report.client_leg.as_ref(), report.server_leg.as_ref());
        }
        if let Some(report) = told.handshake {
            let alert = match &progress {
                Progress::Failed(failure, _) => failure.alert,
                _ => None,
            };
            self.report_handshake(fx, *report, reason, alert);
        }
        for http in told.http {
            let head = self.head(fx);
            fx.event(Event::Http(head, http));
        }
        for anomaly in told.anomalies {
            let head = self.head(fx);
            fx.event(Event::Anomaly(head, anomaly));
        }
        if let (Some(about), Some(unread)) = (&mut self.about, told.unread) {
            about.unread = Some(unread);
        }
        match (adopted, progress) {
            (Some(adopted), _) => Phase::Adopted(adopted),
            (None, Progress::Failed(failure, blocked)) => {
                self.phase = Phase::Blocked(blocked);
                self.report_flow(fx, failure.reason);
                std::mem::replace(&mut self.phase, Phase::Moving)
            }
            (None, Progress::Over(reason, blocked)) => {
                self.report_flow(fx, reason);
                Phase::Blocked(blocked)
            }
            // Cannot be: a live flow is given back.
            (None, Progress::Live) => Phase::Moving,
        }
    }

    /// The `tls` event of a hello whose handshake has not begun.
    pub(super) fn report_tls<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        hello: Option<HelloInfo>,
        profile: Option<&Arc<Profile>>,
        reason: Reason,
    ) {
        let event = self.tls_event(hello, profile, reason);
        let head = self.head(fx);
        fx.event(Event::Tls(head, Box::new(event)));
    }

    fn report_handshake<E: Effects<Frame = F>>(
        &mut self,
        fx: &mut E,
        report: HandshakeReport,
        reason: Reason,
        alert: Option<u8>,
    ) {
        let Some((hello, profile)) = self.take_pending() else { return };
        if is_refusal(reason) {
            self.decided = self.decided.take().map(|(_, rule)| (Action::Block, rule));
        }
        let mut event = self.tls_event(Some(hello), Some(&profile), reason);
        event.alert = alert;
        event.client_leg = report.client_leg;
        event.server_leg = report.server_leg;
        event.certificate = report.certificate;
        event.defect = report.defect;
        event.minted_serial = report.minted_serial;
        event.minted_by = report.minted_by;
        let head = self.head(fx);
        fx.event(Event::Tls(head, Box::new(event)));
    }

    fn tls_event(
        &self,
        hello: Option<HelloInfo>,
        profile: Option<&Arc<Profile>>,
        reason: Reason,
    ) -> TlsEvent {
        let (action, rule) = self.decided.clone().unwrap_or((Action::Block, None));
        TlsEvent {
            action,
            reason,
            alert: None,
            rule,
            profile: profile.map(|p| Arc::from(p.name.as_str())),
            hello,
            client_leg: None,
            server_leg: None,
            certificate: None,
            defect: None,
            minted_serial: None,
            minted_by: None,
        }
    }

    /// The flow's end: its event, after that of a hello that never got an answer.
    pub(super) fn report_flow<E: Effects<Frame = F>>(&mut self, fx: &mut E, reason: Reason) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(reason);
        if let Some((hello, profile)) = self.take_pending() {
            if is_refusal(reason) {
                self.decided = self.decided.take().map(|(_, rule)| (Action::Block, rule));
            }
            self.report_tls(fx, Some(hello), Some(&profile), reason);
        }
        let event = FlowEvent {
            start: self.start,
            end: self.last,
            to_server: self.volume[End::Client],
            to_client: self.volume[End::Server],
            action: self.decided.as_ref().map(|(action, _)| *action),
            phase: self.phase(),
            reason,
            midstream: self.midstream,
            unread: self.about.as_ref().and_then(|about| about.unread),
        };
        let head = self.head(fx);
        fx.event(Event::Flow(head, Box::new(event)));
    }

    /// Reports the end, and lets the flow be dropped.
    pub(super) fn finish<E: Effects<Frame = F>>(&mut self, fx: &mut E, reason: Reason) {
        self.report_flow(fx, reason);
        self.over = true;
    }

    /// The hello that is to be decrypted, before its `tls` event.
    fn take_pending(&mut self) -> Option<(HelloInfo, Arc<Profile>)> {
        Some(*self.about.as_mut()?.pending.take()?)
    }

    fn head<E: Effects<Frame = F>>(&self, fx: &E) -> FlowHead {
        FlowHead {
            time: fx.wall(),
            flow_id: self.identity.flow_id,
            wire: Arc::clone(&fx.shared().wires[usize::from(self.identity.wire)]),
            vlan: self.identity.vlan,
            client: self.identity.client,
            server: self.identity.server,
        }
    }
}

/// It was the engine that refused, not one of the ends.
fn is_refusal(reason: Reason) -> bool {
    ["cert.", "ver.", "cipher.", "mint.", "res.", "engine."]
        .iter()
        .any(|class| reason.code().starts_with(class))
        || reason == Reason::ServerWantsClientCert
}
