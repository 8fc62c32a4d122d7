//! The engine's end of the socket to its signer.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, setsockopt, shutdown, socketpair, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use wireglass_core::mint::{CaSigner, LeafOrder, Refusal, SignError};

use super::keeper::PIN_REFUSED;
use super::protocol::{self, Answer, MAX_MESSAGE, Malformed};
use crate::confine::{self, Kind};

/// Requests that may wait for an answer at once: as many threads as there may be, and a reload.
const WAITING: usize = 512;
/// How long an answer may take. Who waits longer holds a thread that others wait for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long reading configuration and keys may take: a passphrase that is made expensive to guess, a token.
const LOADING: Duration = Duration::from_secs(30);
/// How often a silent signer is asked whether it is there.
const PINGS: Duration = Duration::from_millis(250);
/// How long it may take to end.
const ENDING: Duration = Duration::from_secs(2);
/// Id of what it says by itself.
const BY_ITSELF: u64 = 0;
/// Id of a ping: nobody waits for the answer.
const PING: u64 = u64::MAX;

/// How long an answer is waited for.
#[derive(Clone, Copy)]
struct Patience<'s> {
    time: Duration,
    /// Set by whoever wants it to end before.
    stop: Option<&'s AtomicBool>,
}

impl Patience<'_> {
    fn is_over(self) -> bool {
        self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    fn wait_for(self, answer: &Receiver<Answer>) -> Option<Answer> {
        let deadline = Instant::now() + self.time;
        let glance = if self.stop.is_some() { PINGS } else { self.time };
        loop {
            match answer.recv_timeout(glance) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline && !self.is_over() => {}
                Err(_) => return None,
            }
        }
    }
}

/// How it stands with the signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Answers,
    /// One request was not answered in time: until something comes, others are not made.
    Silent,
    /// Nobody is at the other end, nor will be.
    Gone,
}

/// What is counted of it.
#[derive(Debug, Default)]
pub struct SignerCounters {
    signed: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    unanswered: AtomicU64,
    starts: AtomicU64,
    state: AtomicU8,
}

impl SignerCounters {
    /// What was signed; what was refused; what could not be signed, as a token has gone or an original is no certificate; what was not
    /// answered.
    pub fn requests(&self) -> [(&'static str, u64); 4] {
        [
            ("signed", &self.signed),
            ("refused", &self.refused),
            ("failed", &self.failed),
            ("unanswered", &self.unanswered),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }

    /// How often a signer has begun.
    pub fn starts(&self) -> u64 {
        self.starts.load(Ordering::Relaxed)
    }

    /// It answers.
    pub fn is_up(&self) -> bool {
        self.starts() > 0 && self.state() == State::Answers
    }

    fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            0 => State::Answers,
            1 => State::Silent,
            _ => State::Gone,
        }
    }

    fn count(&self, outcome: &Result<Vec<u8>, SignError>) {
        let counter = match outcome {
            Ok(_) => &self.signed,
            Err(SignError::Unanswered) => &self.unanswered,
            Err(SignError::Refused(_)) => &self.refused,
            Err(SignError::Original | SignError::Validity | SignError::Crypto) => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What all who ask share.
struct Shared {
    socket: OwnedFd,
    waiting: Mutex<BTreeMap<u64, Sender<Answer>>>,
    next: AtomicU64,
    /// Messages of the signer's.
    heard: AtomicU64,
    counters: Arc<SignerCounters>,
    /// The CAs that the engine has orders for.
    cas: Mutex<Option<[[u8; 32]; 2]>>,
    /// What it said of itself last.
    said: Mutex<Option<Answer>>,
}

/// There is no signer.
#[derive(Debug)]
pub struct NotStarted {
    /// In words.
    pub why: String,
    /// A token has refused the PIN: another try would bring the token nearer to locking it.
    pub pin_refused: bool,
}

/// Asks the signer. Whoever calls waits for the answer; others do not wait for them.
#[derive(Clone)]
pub struct SignerHandle(Arc<Shared>);

impl SignerHandle {
    fn request(
        &self,
        patience: Patience<'_>,
        message: impl FnOnce(u64) -> Result<Vec<u8>, Malformed>,
    ) -> Result<Answer, SignError> {
        let shared = &*self.0;
        if shared.counters.state() != State::Answers {
            return Err(SignError::Unanswered);
        }
        let heard = shared.heard.load(Ordering::Relaxed);
        let id = shared.next.fetch_add(1, Ordering::Relaxed);
        let message = message(id).map_err(|Malformed| SignError::Refused(Refusal::Size))?;
        let answer = shared.expect(id).ok_or(SignError::Unanswered)?;
        let sent = super::transmit(&shared.socket, &message, MsgFlags::empty());
        let answer = sent.ok().and_then(|()| patience.wait_for(&answer));
        shared.lock().remove(&id);
        answer.ok_or_else(|| {
            // One that answers others has lost this request: it died with it, and was started again.
            if shared.heard.load(Ordering::Relaxed) == heard && !patience.is_over() {
                shared.fall(State::Silent);
            }
            SignError::Unanswered
        })
    }

    fn signature(
        &self,
        message: impl FnOnce(u64) -> Result<Vec<u8>, Malformed>,
    ) -> Result<Vec<u8>, SignError> {
        let outcome = match self.request(Patience { time: PATIENCE, stop: None }, message) {
            Ok(Answer::Done(der)) => Ok(der),
            Ok(Answer::Error(error)) => Err(error),
            // It speaks another protocol.
            Ok(Answer::Ready { .. } | Answer::Failed(_) | Answer::Pong) => Err(SignError::Crypto),
            Err(error) => Err(error),
        };
        self.0.counters.count(&outcome);
        outcome
    }

    /// Has it read its configuration and keys anew. The CAs that it has now, as orders call them. `in_force`: those that the engine goes by,
    /// which it keeps. Whoever sets `stop` is not kept waiting for it.
    ///
    /// # Errors
    /// In words: what it has found wrong; it goes on with what it had.
    pub fn reload(&self, in_force: &[[u8; 32]; 2], stop: &AtomicBool) -> Result<[[u8; 32]; 2], String> {
        let patience = Patience { time: LOADING, stop: Some(stop) };
        match self.request(patience, |id| Ok(protocol::reload_request(id, in_force))) {
            Ok(Answer::Ready { cas, doubt: _ }) => {
                *self.0.cas.lock().unwrap_or_else(PoisonError::into_inner) = Some(cas);
                Ok(cas)
            }
            Ok(Answer::Failed(why)) => Err(why),
            Ok(_) => Err("the signer does not know what a reload is".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What is counted of it.
    pub fn counters(&self) -> &Arc<SignerCounters> {
        &self.0.counters
    }

    /// Nobody will answer any more.
    pub fn is_gone(&self) -> bool {
        self.0.counters.state() == State::Gone
    }
}

impl CaSigner for SignerHandle {
    fn leaf(&self, order: &LeafOrder<'_>) -> Result<Vec<u8>, SignError> {
        self.signature(|id| protocol::leaf_request(id, order))
    }

    fn status(&self, ca: [u8; 32], serial: &[u8], _now: i64) -> Result<Vec<u8>, SignError> {
        self.signature(|id| protocol::status_request(id, ca, serial))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the answer to a request will come; none: too many wait.
    fn expect(&self, id: u64) -> Option<Receiver<Answer>> {
        let (sender, receiver) = bounded(1);
        let mut waiting = self.lock();
        if waiting.len() >= WAITING {
            return None;
        }
        waiting.insert(id, sender);
        Some(receiver)
    }

    fn fall(&self, to: State) {
        let before = self.counters.state.fetch_max(to as u8, Ordering::Relaxed);
        if before < to as u8 {
            match to {
                State::Gone => tracing::error!("the signer is gone: nothing can be decrypted any more"),
                _ => tracing::error!("the signer does not answer: nothing new can be decrypted"),
            }
        }
    }

    /// Hands answers to those who wait for them, until nobody is at the other end.
    fn listen(&self) {
        let mut buffer = vec![0; MAX_MESSAGE];
        // It is started first of all threads: later than this, no program can be.
        let mut is_confined = false;
        loop {
            is_confined = is_confined || confine::enter_when_settled(Kind::Handshake);
            match super::receive(&self.socket, &mut buffer) {
                Ok(Some(message)) => self.hear(message),
                Ok(None) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.counters.state() == State::Silent {
                        // A full socket says as much as no answer.
                        let _ = super::transmit(&self.socket, &protocol::ping(PING), MsgFlags::MSG_DONTWAIT);
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "cannot hear the signer");
                    break;
                }
            }
        }
        self.fall(State::Gone);
        self.lock().clear();
    }

    fn hear(&self, message: &[u8]) {
        let Ok((id, Ok(answer))) = protocol::id(message).map(|(id, rest)| (id, protocol::read_answer(rest)))
        else {
            tracing::error!("the signer says something that is no answer");
            return;
        };
        self.heard.fetch_add(1, Ordering::Relaxed);
        if let (BY_ITSELF, Answer::Failed(why)) = (id, &answer) {
            // It ends, and the next one tries again.
            self.fall(State::Silent);
            why.lines().for_each(|line| tracing::error!("the signer does not start: {line}"));
            *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
            return;
        }
        let silent = State::Silent as u8;
        let answers = State::Answers as u8;
        let order = Ordering::Relaxed;
        let was_silent = self.counters.state.compare_exchange(silent, answers, order, order).is_ok();
        if was_silent {
            tracing::warn!("the signer answers again");
        }
        match answer {
            by_itself if id == BY_ITSELF => self.hear_of_itself(by_itself),
            answer => {
                // Who has waited too long is not there any more.
                if let Some(waiting) = self.lock().remove(&id) {
                    let _ = waiting.try_send(answer);
                }
            }
        }
    }

    fn hear_of_itself(&self, said: Answer) {
        if let Answer::Ready { cas, doubt } = &said {
            let known = *self.cas.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(*cas);
            if known != *cas {
                tracing::error!(
                    "the CAs' files have changed since they were loaded: no copy is signed before `wireglass reload`"
                );
            }
            if self.counters.starts.fetch_add(1, Ordering::Relaxed) > 0 {
                tracing::error!("the signer died, and was started again");
            }
            if !doubt.is_empty() {
                tracing::warn!("the signer: {doubt}");
            }
        }
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
    }
}

/// A signer that runs, and who listens to it.
pub struct SignerClient {
    handle: SignerHandle,
    listener: JoinHandle<()>,
    process: Option<Child>,
}

impl SignerClient {
    /// Starts the signer of a configuration, this program once more, and waits until it has read the keys.
    ///
    /// # Errors
    /// In words: what it has found wrong.
    pub fn start(config: &Path) -> Result<Self, NotStarted> {
        let failed = |error: io::Error| NotStarted {
            why: format!("the signer cannot be started: {error}"),
            pin_refused: false,
        };
        let (ours, theirs) = sockets().map_err(failed)?;
        let process = Command::new("/proc/self/exe")
            .args(["signer", "-c"])
            .arg(config)
            .stdin(theirs)
            .stdout(Stdio::null())
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_PID")
            .env_remove("WATCHDOG_USEC")
            // A terminal's Ctrl-C is for the engine, which still has to sign while it drains.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let mut client = Self::listen_to(ours).map_err(failed)?;
        client.process = Some(process);
        match client.wait_until_it_speaks() {
            Ok(()) => Ok(client),
            Err(why) => {
                let status = client.stop();
                let pin_refused = status.is_some_and(|status| status.code() == Some(PIN_REFUSED.into()));
                Err(NotStarted { why, pin_refused })
            }
        }
    }

    /// The client of a signer at the other end of this socket.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn listen_to(socket: OwnedFd) -> io::Result<Self> {
        let wait = TimeVal::milliseconds(PINGS.as_millis() as i64);
        setsockopt(&socket, sockopt::ReceiveTimeout, &wait)?;
        setsockopt(&socket, sockopt::SendTimeout, &TimeVal::seconds(PATIENCE.as_secs() as i64))?;
        let shared = Arc::new(Shared {
            socket,
            waiting: Mutex::default(),
            next: AtomicU64::new(BY_ITSELF + 1),
            heard: AtomicU64::new(0),
            cas: Mutex::default(),
            counters: Arc::default(),
            said: Mutex::default(),
        });
        let listening = Arc::clone(&shared);
        let listener = thread::Builder::new().name("wg-signer".into()).spawn(move || listening.listen())?;
        Ok(Self { handle: SignerHandle(shared), listener, process: None })
    }

    /// Asks it.
    pub fn handle(&self) -> SignerHandle {
        self.handle.clone()
    }

    /// Nobody will answer any more.
    pub fn is_gone(&self) -> bool {
        self.handle.is_gone()
    }

    fn wait_until_it_speaks(&self) -> Result<(), String> {
        let deadline = Instant::now() + LOADING;
        let shared = &self.handle.0;
        loop {
            match &*shared.said.lock().unwrap_or_else(PoisonError::into_inner) {
                Some(Answer::Ready { .. }) => return Ok(()),
                Some(Answer::Failed(why)) => return Err(why.clone()),
                _ => {}
            }
            if self.handle.is_gone() || Instant::now() > deadline {
                return Err("the signer, which reads the CAs' keys, does not start".into());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Closes the socket, which ends the signer, and waits for that. Returns how it has ended, if it has.
    pub fn stop(self) -> Option<ExitStatus> {
        let Self { handle, listener, process } = self;
        // It is meant to go: no error is told.
        handle.0.counters.state.store(State::Gone as u8, Ordering::Relaxed);
        // It is closed at the other end already, if this fails.
        let _ = shutdown(handle.0.socket.as_raw_fd(), Shutdown::Both);
        // A panic has been told.
        let _ = listener.join();
        let mut process = process?;
        let deadline = Instant::now() + ENDING;
        // Later it dies with this process, and its child with it: nothing here may kill, see `confine`.
        while Instant::now() <= deadline {
            match process.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(5)),
                ended => return ended.ok().flatten(),
            }
        }
        None
    }
}

/// The engine's end, and the signer's.
fn sockets() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}
