//! The signer itself: threads that take requests from one socket, each one at a time. Keys are read on a thread of their own, the first:
//! those that sign have given up files by then.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{RecvTimeoutError, Sender, bounded};
use nix::sys::socket::MsgFlags;
use wireglass_core::mint::{CaSigner, CaVault, LeafOrder, Refusal, SignError};

use super::Limiter;
use super::protocol::{self, Answer, MAX_MESSAGE, Request};
use crate::confine::{self, Kind};

/// Threads that sign.
const THREADS: usize = 4;
/// A signature that takes longer does not come: its token hangs, and would have one thread after the other wait for it.
const HANGS: Duration = Duration::from_secs(30);
/// How often it is looked for such.
const LOOK: Duration = Duration::from_secs(1);

/// What a configuration gives a signer.
pub struct Served {
    /// The keys, and what they may sign.
    pub vault: CaVault,
    /// Most signatures in a second.
    pub per_second: u32,
}

/// The keys of the configuration that is in force, and those of the one before: handshakes that began under it may still ask.
pub struct Vaults {
    /// The newest last.
    kept: RwLock<Vec<Arc<CaVault>>>,
    limiter: Mutex<Arc<Limiter>>,
    doubt: String,
}

/// Configurations whose keys are kept.
const GENERATIONS: usize = 2;

impl Vaults {
    /// `doubt`: what speaks against the safety of this process; empty: nothing.
    pub fn new(first: Served, doubt: String) -> Self {
        let limiter = Arc::new(Limiter::new(first.per_second, Instant::now()));
        Self { kept: RwLock::new(vec![Arc::new(first.vault)]), limiter: Mutex::new(limiter), doubt }
    }

    /// These are in force from now on. The engine goes by `in_force`, as orders call the CAs, until it has heard so, and goes on with them
    /// where it finds something wrong.
    pub fn replace(&self, next: Served, in_force: &[[u8; 32]; 2]) {
        let limiter = Arc::new(Limiter::new(next.per_second, Instant::now()));
        *self.limiter.lock().unwrap_or_else(PoisonError::into_inner) = limiter;
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        // Reloads that change no CA push none out.
        if kept.last().is_some_and(|last| last.fingerprints() == next.vault.fingerprints()) {
            kept.pop();
        }
        kept.push(Arc::new(next.vault));
        if kept.len() > GENERATIONS {
            let other = kept.iter().position(|vault| vault.fingerprints() != *in_force);
            kept.remove(other.unwrap_or_default());
        }
    }

    fn ready(&self) -> Answer {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let cas = kept.last().map(|vault| vault.fingerprints()).unwrap_or_default();
        Answer::Ready { cas, doubt: self.doubt.clone() }
    }

    /// Signs by whichever has this CA, the newest first.
    fn sign(
        &self,
        ca: [u8; 32],
        sign: impl FnOnce(&CaVault) -> Result<Vec<u8>, SignError>,
    ) -> Result<Vec<u8>, SignError> {
        let limiter = Arc::clone(&self.limiter.lock().unwrap_or_else(PoisonError::into_inner));
        if !limiter.take(Instant::now()) {
            return Err(SignError::Refused(Refusal::Rate));
        }
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let vault = kept.iter().rev().find(|vault| vault.fingerprints().contains(&ca)).cloned();
        drop(kept);
        vault.ok_or(SignError::Refused(Refusal::OtherCa)).and_then(|vault| sign(&vault))
    }

    /// The answer to a request; none: to read keys, which whoever does that answers.
    fn answer(&self, request: &Request<'_>) -> Option<Answer> {
        let signed = match request {
            Request::Leaf { ca, max_days, public_key, subject } => self.sign(*ca, |vault| {
                let subject = subject.of_order();
                let (ca, max_days) = (*ca, *max_days);
                vault.leaf(&LeafOrder { ca, subject, public_key, max_days, now: now() })
            }),
            Request::Status { ca, serial } => self.sign(*ca, |vault| vault.status(*ca, serial, now())),
            Request::Reload { .. } => return None,
            Request::Ping => return Some(Answer::Pong),
        };
        Some(match signed {
            Ok(der) => Answer::Done(der),
            Err(error) => Answer::Error(error),
        })
    }
}

/// Serves a socket until the engine closes its end. `load` reads configuration and keys; `settle` is called once they are read, before
/// anybody asks for anything, and says what speaks against the safety of this process.
///
/// # Errors
/// When the keys cannot be read, or the process is not as safe as it has to be, which the engine is told; or the socket fails.
///
/// `hangs` is called once a signature does not come: it ends the process, as nothing else ends a call into a module.
pub fn serve(
    socket: OwnedFd,
    load: impl Fn() -> Result<Served, String>,
    settle: impl FnOnce() -> Result<String, String>,
    hangs: impl Fn(),
) -> io::Result<()> {
    let tell = |answer: &Answer| send(&socket, 0, answer);
    let vaults = match load().and_then(|first| Ok(Vaults::new(first, settle()?))) {
        Ok(vaults) => vaults,
        Err(why) => {
            tell(&Answer::Failed(why.clone()))?;
            return Err(io::Error::other(why));
        }
    };
    // Before anybody answers anything else.
    tell(&vaults.ready())?;
    let (reloads, asked) = bounded(1);
    let busy = Busy { start: Instant::now(), since: Default::default() };
    thread::scope(|scope| {
        let (socket, vaults, busy) = (&socket, &vaults, &busy);
        let threads = (0..THREADS).map(|number| {
            let reloads = reloads.clone();
            let named = thread::Builder::new().name(format!("wg-sign-{number}"));
            named.spawn_scoped(scope, move || {
                confine::enter(Kind::Sign);
                each(socket, vaults, &reloads, |begins| busy.note(number, begins))
            })
        });
        let threads = threads.collect::<Result<Vec<_>, _>>()?;
        drop(reloads);
        confine::enter(Kind::Keys);
        // It ends with the last of those who send.
        loop {
            match asked.recv_timeout(LOOK) {
                Ok(Reload { id, in_force }) => send(socket, id, &reload(vaults, &load, &in_force))?,
                Err(RecvTimeoutError::Timeout) if busy.longest() > HANGS => hangs(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the signer has panicked")))
        })
    })
}

/// Since when each thread has been at its request: milliseconds after the start, at least one; 0: it has none.
struct Busy {
    start: Instant,
    since: [AtomicU64; THREADS],
}

impl Busy {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    fn note(&self, thread: usize, begins: bool) {
        self.since[thread].store(if begins { self.now() } else { 0 }, Relaxed);
    }

    fn longest(&self) -> Duration {
        let at = self.since.iter().map(|since| since.load(Relaxed)).filter(|at| *at > 0).min();
        at.map_or(Duration::ZERO, |at| Duration::from_millis(self.now().saturating_sub(at)))
    }
}

/// That keys are to be read.
struct Reload {
    id: u64,
    /// What the engine goes by.
    in_force: [[u8; 32]; 2],
}

fn reload(vaults: &Vaults, load: &dyn Fn() -> Result<Served, String>, in_force: &[[u8; 32]; 2]) -> Answer {
    // A fault costs this request, not the keys' process.
    match catch_unwind(AssertUnwindSafe(load)) {
        Ok(Ok(served)) => {
            vaults.replace(served, in_force);
            vaults.ready()
        }
        Ok(Err(why)) => Answer::Failed(why),
        Err(_) => Answer::Failed("reading the keys failed: a fault of wireglass".into()),
    }
}

/// Takes one request after the other.
fn each(socket: &OwnedFd, vaults: &Vaults, reloads: &Sender<Reload>, note: impl Fn(bool)) -> io::Result<()> {
    let mut buffer = vec![0; MAX_MESSAGE];
    while let Some(message) = super::receive(socket, &mut buffer)? {
        // Who sends something else is no engine of ours, and waits in vain.
        let Ok((id, rest)) = protocol::id(message) else { continue };
        let Ok(request) = protocol::read_request(rest) else { continue };
        if let Request::Reload { in_force } = request {
            if reloads.try_send(Reload { id, in_force }).is_err() {
                send(socket, id, &Answer::Failed("it is reading the keys already".into()))?;
            }
            continue;
        }
        // As above.
        note(true);
        let answer = catch_unwind(AssertUnwindSafe(|| vaults.answer(&request)));
        note(false);
        let answer = answer.unwrap_or(Some(Answer::Error(SignError::Crypto)));
        answer.map_or(Ok(()), |answer| send(socket, id, &answer))?;
    }
    Ok(())
}

/// An engine that has gone waits for no answer: the next message is its end.
fn send(socket: &OwnedFd, id: u64, answer: &Answer) -> io::Result<()> {
    match super::transmit(socket, &protocol::answer(id, answer), MsgFlags::empty()) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected
            ) =>
        {
            Ok(())
        }
        sent => sent,
    }
}

/// Seconds since the Unix epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_request_is_the_one_that_has_not_come_back() {
        let start =
            Instant::now().checked_sub(Duration::from_secs(60)).expect("the machine is up for longer");
        let busy = Busy { start, since: Default::default() };
        assert_eq!(busy.longest(), Duration::ZERO);
        busy.since[2].store(1, Relaxed);
        busy.note(1, true);
        assert!(busy.longest() > HANGS);
        busy.note(2, false);
        assert!(busy.longest() < HANGS);
    }
}
