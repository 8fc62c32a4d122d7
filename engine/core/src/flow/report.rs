//! What a flow tells the log, and when.

use std::sync::Arc;

use super::context::Context;
use super::exclude::Outcome;
use super::{Flow, Shared};
use crate::content::{Report, Stage};
use crate::end::End;
use crate::event::{
    Action, AlertEvent, AnomalyEvent, Event, FileEvent, FlowEvent, FlowHead, HelloInfo, HttpEvent, MintedBy,
    Timestamp, TlsEvent, Unread,
};
use crate::phase::FlowPhase;
use crate::policy::Profile;
use crate::port::Io;
use crate::reason::Reason;
use crate::tls::{HandshakeReport, ServerUnread};

/// What a call for an adopted flow has to tell. It is told at the end of the call, handshake first and anomalies last.
#[derive(Default)]
pub(super) struct Reports {
    /// The handshakes have ended well.
    pub(super) established: Option<Box<HandshakeReport>>,
    /// They have ended otherwise.
    pub(super) broken: Option<Box<HandshakeReport>>,
    #[expect(clippy::vec_box, reason = "they move on into events as they are")]
    http: Vec<Box<HttpEvent>>,
    #[expect(clippy::vec_box, reason = "they move on into events as they are")]
    anomalies: Vec<Box<AnomalyEvent>>,
    #[expect(clippy::vec_box, reason = "they move on into events as they are")]
    alerts: Vec<Box<AlertEvent>>,
    #[expect(clippy::vec_box, reason = "they move on into events as they are")]
    files: Vec<Box<FileEvent>>,
    /// The HTTP reader has ended; this it has not read.
    unread: Option<Unread>,
    /// A bit for each mirror that it is shown at from now on.
    pub(super) mirrors: u8,
}

impl<IO: Io> Context<IO> {
    /// What a filter reports.
    pub(super) fn read_reports<B: AsMut<[u8]>>(&mut self, stage: &mut Stage<B>) {
        while let Some(report) = stage.poll_report() {
            match report {
                Report::Http(http) => self.reports.http.push(http),
                Report::Anomaly(anomaly) => self.reports.anomalies.push(anomaly),
                Report::Alert(alert) => self.reports.alerts.push(alert),
                Report::File(file) => self.reports.files.push(file),
                Report::Off(reason) => self.counters.inspector_off(reason),
                Report::Unread(unread) => self.reports.unread = Some(unread),
            }
        }
    }
}

impl<IO: Io> Flow<IO> {
    /// Tells what an adopted flow has reported. Handshakes that have not ended well ended for this reason, with this alert.
    pub(super) fn tell_reports(&mut self, cx: &mut Context<IO>, reason: Reason, alert: Option<u8>) {
        self.mirrors |= std::mem::take(&mut cx.reports.mirrors);
        if let Some(report) = cx.reports.established.take() {
            if let Some(about) = &mut self.about {
                about.established(report.client_leg.as_ref(), report.server_leg.as_ref());
            }
            let reason = if self.is_answered() { Reason::PolicyBlock } else { Reason::PolicyDecrypt };
            self.report_handshake(cx, *report, reason, None);
        }
        if let Some(report) = cx.reports.broken.take() {
            self.report_handshake(cx, *report, reason, alert);
        }
        for alert in cx.reports.alerts.drain(..) {
            let head = self.head(cx.wall, &cx.shared);
            cx.events.push(Event::Alert(head, alert));
        }
        for file in cx.reports.files.drain(..) {
            let head = self.head(cx.wall, &cx.shared);
            cx.events.push(Event::File(head, file));
        }
        for http in cx.reports.http.drain(..) {
            let head = self.head(cx.wall, &cx.shared);
            cx.events.push(Event::Http(head, http));
        }
        for anomaly in cx.reports.anomalies.drain(..) {
            let head = self.head(cx.wall, &cx.shared);
            cx.events.push(Event::Anomaly(head, anomaly));
        }
        if let Some(unread) = cx.reports.unread.take()
            && let Some(about) = &mut self.about
        {
            about.unread = Some(unread);
        }
    }

    /// The `tls` event of a hello whose handshake has not begun.
    pub(super) fn report_tls(
        &mut self,
        cx: &mut Context<IO>,
        hello: Option<HelloInfo>,
        profile: Option<&Arc<Profile>>,
        reason: Reason,
    ) {
        let event = self.tls_event(cx, hello, profile, reason);
        let head = self.head(cx.wall, &cx.shared);
        cx.events.push(Event::Tls(head, Box::new(event)));
    }

    fn report_handshake(
        &mut self,
        cx: &mut Context<IO>,
        report: HandshakeReport,
        reason: Reason,
        alert: Option<u8>,
    ) {
        let Some((hello, profile)) = self.take_pending() else { return };
        if is_refusal(reason) {
            self.decided = self.decided.take().map(|(_, rule)| (Action::Block, rule));
        }
        let learned = profile.as_ref().and_then(|profile| {
            if reason == Reason::PolicyDecrypt && report.minted_by == Some(MintedBy::Trusted) {
                self.note_accepted(cx, &hello, profile);
            }
            let outcome = Outcome {
                hello: &hello,
                profile,
                reason,
                alert,
                certificate_asked: report.certificate_asked,
                server_was_up: report.server_leg.is_some(),
            };
            self.learn(cx, outcome)
        });
        let mut event = self.tls_event(cx, Some(hello), profile.as_ref(), reason);
        if reason == Reason::PolicyDecrypt
            && let Some(began) = self.about.as_ref().and_then(|about| about.handshakes_began)
        {
            cx.counters.handshake_time().observe((cx.now - began).total_micros() * 1_000);
        }
        event.alert = alert;
        event.learned = learned;
        event.client_leg = report.client_leg;
        event.server_leg = report.server_leg;
        event.certificate = report.certificate;
        event.defect = report.defect;
        event.minted_serial = report.minted_serial;
        event.minted_by = report.minted_by;
        event.certificate_asked = report.certificate_asked;
        let head = self.head(cx.wall, &cx.shared);
        cx.events.push(Event::Tls(head, Box::new(event)));
    }

    /// Counts it for its profile, too.
    pub(super) fn tls_event(
        &self,
        cx: &Context<IO>,
        hello: Option<HelloInfo>,
        profile: Option<&Arc<Profile>>,
        reason: Reason,
    ) -> TlsEvent {
        let (action, rule) = self.decided.clone().unwrap_or((Action::Block, None));
        count_profile(cx, profile, action);
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
            server: None,
            defect: None,
            minted_serial: None,
            minted_by: None,
            certificate_asked: false,
            learned: None,
        }
    }

    /// The flow's end, in this phase: its event, after that of a hello that never got an answer.
    pub(super) fn report_flow(&mut self, cx: &mut Context<IO>, phase: FlowPhase, reason: Reason) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(reason);
        self.tell_watched(cx, Some(ServerUnread::Ended));
        if let Some((hello, profile)) = self.take_pending() {
            if is_refusal(reason) {
                self.decided = self.decided.take().map(|(_, rule)| (Action::Block, rule));
            }
            self.report_tls(cx, Some(hello), profile.as_ref(), reason);
        }
        if phase == FlowPhase::Bypassed && cx.shows_bypassed {
            let shows = cx.shared.mirrors.iter().enumerate().filter(|(_, mirror)| mirror.bypassed);
            self.mirrors |= shows.fold(0, |all, (n, _)| all | 1 << n);
        }
        let event = FlowEvent {
            start: self.start,
            end: self.last,
            to_server: self.volume[End::Client],
            to_client: self.volume[End::Server],
            flags: self.flags,
            is_tls: self.about.is_some(),
            action: self.decided.as_ref().map(|(action, _)| *action),
            phase,
            reason,
            midstream: self.midstream,
            ordered: self.ordered,
            unread: self.about.as_ref().and_then(|about| about.unread),
            learned: self.learn_late(cx, reason),
            mirrors: names(&cx.shared, self.mirrors),
        };
        let head = self.head(cx.wall, &cx.shared);
        cx.events.push(Event::Flow(head, Box::new(event)));
    }

    /// Reports the end, and lets the flow be dropped.
    pub(super) fn finish(&mut self, cx: &mut Context<IO>, reason: Reason) {
        self.report_flow(cx, self.phase(), reason);
        self.over = true;
    }

    /// The hello that is to be decrypted or answered, before its `tls` event.
    fn take_pending(&mut self) -> Option<(HelloInfo, Option<Arc<Profile>>)> {
        Some(*self.about.as_mut()?.pending.take()?)
    }

    pub(super) fn head(&self, time: Timestamp, shared: &Shared) -> FlowHead {
        FlowHead {
            time,
            flow_id: self.identity.flow_id(),
            wire: Arc::clone(&shared.wires[self.identity.wire()]),
            vlan: self.identity.vlan(),
            client: self.identity.client(),
            server: self.identity.server(),
            starttls: self.starttls,
        }
    }
}

/// A ClientHello that a rule gave to a profile, if it did.
fn count_profile<IO: Io>(cx: &Context<IO>, profile: Option<&Arc<Profile>>, action: Action) {
    if let Some(profile) = profile {
        cx.shared.policy.count_profile(&profile.name, action);
    }
}

/// Of the mirrors with these bits.
fn names(shared: &Shared, bits: u8) -> Box<[Arc<str>]> {
    let all = shared.mirrors.iter().enumerate();
    all.filter(|(n, _)| bits & 1 << n != 0).map(|(_, mirror)| Arc::clone(&mirror.name)).collect()
}

/// It was the engine that refused, not one of the ends.
fn is_refusal(reason: Reason) -> bool {
    ["cert.", "ver.", "cipher.", "mint.", "res.", "engine."]
        .iter()
        .any(|class| reason.code().starts_with(class))
        || reason == Reason::ServerWantsClientCert
}
