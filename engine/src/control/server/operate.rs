//! Commands that change what a running engine does. Each is told in the engine's messages, with the user who gave it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use wireglass_core::order::Order;
use wireglass_core::phase::FlowPhase;

use super::{ANSWER_TIME, Answer, GLANCE, SURVEY_TIME, Shared, WholeEngine, begin};
use crate::control::operate::{
    KillRequest, KilledRecord, LevelRequest, OrderRecord, OrderRequest, OrdersRecord, Peer, StopRecord,
    StopRequest,
};
use crate::control::protocol::{Line, Refusal};
use crate::flow_dump::{KillTally, Place};
use crate::orders::{OrderedBy, Standing};

pub(super) fn kill(
    shared: &Shared,
    request: &KillRequest,
    peer: Peer,
    out: &mut Answer<'_>,
) -> io::Result<()> {
    let killed = match kill_all(shared, request) {
        Ok(killed) => killed,
        Err(refusal) => return out.line(&refusal),
    };
    let KilledRecord { matched, killed: ended, complete } = killed;
    let Peer { uid, pid } = peer;
    tracing::warn!(uid, pid, matched, ended, complete, "flows were ended by an operator");
    // Not before: the time to take an answer begins when there is one.
    out.deadline = Instant::now() + ANSWER_TIME;
    begin(out)?;
    out.line(&Line::Killed(killed))
}

/// Each goes to the worker that owns it as soon as it is found; where more than one needs a yes, all are counted before.
fn kill_all(shared: &Shared, request: &KillRequest) -> Result<KilledRecord, Line> {
    let matcher = request.flows().matcher().map_err(|error| Refusal::Request.line(error))?;
    let busy = || Refusal::Busy.line("the workers are being asked already; try again");
    let mut dump = shared.dumper.ask(request.wanted()).map_err(|_| busy())?;
    let deadline = Instant::now() + SURVEY_TIME;
    let tally = Arc::<KillTally>::default();
    let wait = || {
        if shared.stop.load(Ordering::Acquire) {
            return Err(Refusal::Stopping.line("the engine is stopping"));
        }
        thread::sleep(GLANCE);
        Ok(Instant::now() < deadline)
    };
    let send = |place: Place| {
        while shared.dumper.kill(place, &tally).is_err() {
            if !wait()? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    let (mut matched, mut sent, mut only) = (0, 0, None);
    let mut complete = true;
    loop {
        while let Some((place, flow)) = dump.poll_placed() {
            if !matcher.matches(&flow) {
                continue;
            }
            matched += 1;
            if !request.yes {
                only = Some(place);
            } else if send(place)? {
                sent += 1;
            } else {
                complete = false;
            }
        }
        if dump.is_done() || !wait()? {
            break;
        }
    }
    complete &= dump.is_done();
    if let Some(place) = only {
        if matched > 1 {
            let message = format!("{matched} flows match: say yes to end all of them (`--yes`)");
            return Err(Refusal::Unconfirmed.line(message));
        }
        sent += u64::from(send(place)?);
    }
    while tally.done() < sent && wait()? {}
    complete &= tally.done() >= sent;
    Ok(KilledRecord { matched, killed: tally.ended(), complete })
}

pub(super) fn order(
    shared: &Shared,
    order: Order,
    request: OrderRequest,
    peer: Peer,
    out: &mut Answer<'_>,
) -> io::Result<()> {
    let time = match request.time(order) {
        Ok(time) => time,
        Err(error) => return out.line(&Refusal::Request.line(error)),
    };
    shared.metrics.orders().begin(order, time.map(|time| Instant::now() + time));
    let (Peer { uid, pid }, seconds) = (peer, time.map(|time| time.as_secs()));
    match order {
        Order::Bypass => {
            tracing::warn!(
                uid,
                pid,
                seconds,
                "an operator has all new flows bypassed: nothing is decrypted or blocked"
            );
        }
        Order::Drain => tracing::warn!(uid, pid, seconds, "an operator has no new flow decrypted"),
    }
    let mut killed = KilledRecord { complete: true, ..KilledRecord::default() };
    if request.now {
        let decrypted =
            KillRequest { phase: Some(FlowPhase::Decrypted), yes: true, ..KillRequest::default() };
        // The order stands in any case.
        killed = kill_all(shared, &decrypted).unwrap_or_default();
        let KilledRecord { killed, complete, .. } = killed;
        tracing::warn!(uid, pid, killed, complete, "decrypted flows were ended by an operator");
    }
    tell(shared, killed, out)
}

pub(super) fn end_order(shared: &Shared, order: Order, peer: Peer, out: &mut Answer<'_>) -> io::Result<()> {
    let orders = shared.metrics.orders();
    let is_of_fleet = |held: &Standing| held.order == order && held.by == OrderedBy::Fleet;
    let fleet_orders_it = || orders.list(Instant::now()).iter().any(is_of_fleet);
    if !orders.end(order) {
        let hint = match fleet_orders_it() {
            true => ": the fleet's does, and `wireglass fleet drain NAME --undo` takes it back",
            false => "",
        };
        return out.line(&Refusal::Absent.line(format!("no order to {} stands{hint}", order.name())));
    }
    let Peer { uid, pid } = peer;
    let then = if fleet_orders_it() { "the fleet's still stands" } else { "policy decides again" };
    tracing::warn!(uid, pid, order = order.name(), "an operator has taken an order back: {then}");
    tell(shared, KilledRecord { complete: true, ..KilledRecord::default() }, out)
}

pub(super) fn orders(shared: &Shared, out: &mut Answer<'_>) -> io::Result<()> {
    tell(shared, KilledRecord { complete: true, ..KilledRecord::default() }, out)
}

/// The orders that stand now.
fn tell(shared: &Shared, killed: KilledRecord, out: &mut Answer<'_>) -> io::Result<()> {
    let standing = shared.metrics.orders().list(Instant::now());
    // Not before: the time to take an answer begins when there is one.
    out.deadline = Instant::now() + ANSWER_TIME;
    begin(out)?;
    out.line(&Line::Orders(OrdersRecord {
        orders: standing.into_iter().map(OrderRecord::new).collect(),
        decrypted: shared.metrics.flows_now(FlowPhase::Decrypted),
        killed: killed.killed,
        complete: killed.complete,
    }))
}

pub(super) fn log_level(
    shared: &Shared,
    LevelRequest { level }: LevelRequest,
    peer: Peer,
    out: &mut Answer<'_>,
) -> io::Result<()> {
    let Some(WholeEngine { reload, .. }) = &shared.engine else {
        return out.line(&Refusal::Request.line("this engine has no messages"));
    };
    if std::env::var_os("RUST_LOG").is_some_and(|value| !value.is_empty()) {
        return out.line(
            &Refusal::Fault
                .line("the engine was started with RUST_LOG, which decides on the level: start it without"),
        );
    }
    if reload.set_level(level.into()).is_err() {
        return out.line(&Refusal::Busy.line("reloads are waiting; try again"));
    }
    let Peer { uid, pid } = peer;
    tracing::warn!(uid, pid, %level, "an operator has set the level of messages; the next reload sets it anew");
    begin(out)?;
    out.line(&Line::LogLevel { level })
}

/// Answers first: who has asked waits for the end of the process, and would not hear any more.
pub(super) fn stop(
    shared: &Shared,
    StopRequest { process, only_ask }: StopRequest,
    peer: Peer,
    out: &mut Answer<'_>,
) -> io::Result<()> {
    let Some(WholeEngine { stop, metrics, .. }) = &shared.engine else {
        return out.line(&Refusal::Request.line("this engine is stopped by a signal"));
    };
    let own = std::process::id();
    if process != own {
        return out.line(&Refusal::Absent.line(format!("this is process {own}, not {process}")));
    }
    let flows = |phase| shared.metrics.flows_now(phase);
    let (decrypted, bypassed) = (flows(FlowPhase::Decrypted), flows(FlowPhase::Bypassed));
    begin(out)?;
    out.line(&Line::Stop(StopRecord { decrypted, bypassed, metrics: *metrics }))?;
    out.flush()?;
    if !only_ask {
        let Peer { uid, pid } = peer;
        tracing::warn!(
            uid,
            pid,
            decrypted,
            bypassed,
            "another process has told this engine to stop: what is decrypted is reset"
        );
        stop.store(true, Ordering::Release);
    }
    Ok(())
}
