//! The signer itself: threads that take requests from one socket, each one at a time.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nix::sys::socket::MsgFlags;
use wireglass_core::mint::{CaSigner, CaVault, LeafOrder, Refusal, SignError};

use super::Limiter;
use super::protocol::{self, Answer, MAX_MESSAGE, Request};

/// Threads that sign.
const THREADS: usize = 4;

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

    /// These are in force from now on.
    pub fn replace(&self, next: Served) {
        let limiter = Arc::new(Limiter::new(next.per_second, Instant::now()));
        *self.limiter.lock().unwrap_or_else(PoisonError::into_inner) = limiter;
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        // Reloads that change no CA push none out.
        if kept.last().is_some_and(|last| last.fingerprints() == next.vault.fingerprints()) {
            kept.pop();
        }
        kept.push(Arc::new(next.vault));
        if kept.len() > GENERATIONS {
            kept.remove(0);
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

    /// The answer to a request.
    pub fn answer(&self, request: &Request<'_>, load: &dyn Fn() -> Result<Served, String>) -> Answer {
        let signed = match request {
            Request::Leaf { ca, max_days, public_key, subject } => self.sign(*ca, |vault| {
                let subject = subject.of_order();
                let (ca, max_days) = (*ca, *max_days);
                vault.leaf(&LeafOrder { ca, subject, public_key, max_days, now: now() })
            }),
            Request::Status { ca, serial } => self.sign(*ca, |vault| vault.status(*ca, serial, now())),
            Request::Reload => {
                return match load() {
                    Ok(served) => {
                        self.replace(served);
                        self.ready()
                    }
                    Err(why) => Answer::Failed(why),
                };
            }
            Request::Ping => return Answer::Pong,
        };
        match signed {
            Ok(der) => Answer::Done(der),
            Err(error) => Answer::Error(error),
        }
    }
}

/// Serves a socket until the engine closes its end. `load` reads configuration and keys.
///
/// # Errors
/// When the keys cannot be read, which the engine is told, or the socket fails.
pub fn serve(
    socket: OwnedFd,
    doubt: String,
    load: impl Fn() -> Result<Served, String> + Sync,
) -> io::Result<()> {
    let tell = |answer: &Answer| send(&socket, 0, answer);
    let vaults = match load() {
        Ok(first) => Vaults::new(first, doubt),
        Err(why) => {
            tell(&Answer::Failed(why.clone()))?;
            return Err(io::Error::other(why));
        }
    };
    tell(&vaults.ready())?;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| each(&socket, &vaults, &load))).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the signer has panicked")))
        })
    })
}

/// Takes one request after the other.
fn each(socket: &OwnedFd, vaults: &Vaults, load: &dyn Fn() -> Result<Served, String>) -> io::Result<()> {
    let mut buffer = vec![0; MAX_MESSAGE];
    while let Some(message) = super::receive(socket, &mut buffer)? {
        // Who sends something else is no engine of ours, and waits in vain.
        let Ok((id, rest)) = protocol::id(message) else { continue };
        let Ok(request) = protocol::read_request(rest) else { continue };
        // A fault costs this request, not the keys' process.
        let answer = catch_unwind(AssertUnwindSafe(|| vaults.answer(&request, load)));
        let answer = answer.unwrap_or(Answer::Error(SignError::Crypto));
        send(socket, id, &answer)?;
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
