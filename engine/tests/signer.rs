//! The signer at the end of a socket: who asks, how it answers, and what becomes of those who ask when it does not.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use wireglass::ca_files::{NewCas, create};
use wireglass::config::Custody;
use wireglass::confine::threads::of_process;
use wireglass::signer::protocol::{self, Answer, MAX_MESSAGE};
use wireglass::signer::{Served, SignerClient, SignerHandle, serve};
use wireglass_core::mint::{CaSigner, CaVault, LeafOrder, LeafSubject, Refusal, SignError};
use wireglass_core::x509::Provider;
use wireglass_testbed::Pki;

/// A folder with CAs, a root and a configuration.
struct Place {
    folder: tempfile::TempDir,
    pki: Pki,
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

impl Place {
    fn new(more: &str) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), pki: Pki::new("Public").unwrap() };
        place.make_cas();
        std::fs::write(place.path("root.pem"), place.pki.root_pem()).unwrap();
        place.configure(more);
        place
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn make_cas(&self) {
        let (dir, provider) = (self.folder.path().to_owned(), Provider::default());
        create(&NewCas { dir, name: None, days: 30, force: true, provider, now: now() }).unwrap();
    }

    fn configure(&self, more: &str) {
        let ca = "trusted = { cert = \"trusted.pem\", key = \"trusted.key\" }\n\
                  untrusted = { cert = \"untrusted.pem\", key = \"untrusted.key\" }";
        let text = format!("[ca]\n{ca}\n{more}\n[trust]\nsystem = false\nroots = [\"root.pem\"]\n");
        std::fs::write(self.path("wire.toml"), text).unwrap();
    }

    fn load(file: &Path) -> Result<Served, String> {
        let custody = Custody::load(file).map_err(|faults| faults.to_string())?;
        let vault = custody.vault().map_err(|error| error.to_string())?;
        Ok(Served { vault, per_second: custody.ca.signatures_per_second })
    }

    /// What orders call the two CAs now.
    fn cas(&self) -> [[u8; 32]; 2] {
        Self::load(&self.path("wire.toml")).unwrap().vault.fingerprints()
    }

    /// Whether a copy of a good server's certificate is signed.
    fn copy(&self, signer: &impl CaSigner, ca: [u8; 32]) -> Result<(), SignError> {
        let identity = self.pki.identity(&["www.example.com"]).unwrap();
        let subject =
            LeafSubject::Copy { original: &identity.chain[0], others: &identity.chain[1..], added: &[] };
        let key = rcgen::KeyPair::generate().unwrap();
        let public_key = &rcgen::PublicKeyData::subject_public_key_info(&key);
        signer.leaf(&LeafOrder { ca, subject, public_key, max_days: 90, now: 0 }).map(drop)
    }
}

fn sockets() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap()
}

/// A signer in a thread, which has read its keys.
fn served(place: &Place) -> (SignerClient, JoinHandle<std::io::Result<()>>) {
    let (ours, theirs) = sockets();
    let file = place.path("wire.toml");
    let thread = thread::spawn(move || serve(theirs, || Place::load(&file), || Ok(String::new()), || ()));
    let client = SignerClient::listen_to(ours).unwrap();
    while client.handle().counters().starts() == 0 {
        assert!(!thread.is_finished(), "it reads its keys");
        thread::sleep(Duration::from_millis(1));
    }
    (client, thread)
}

#[test]
fn it_signs_until_the_engine_closes_its_end() {
    let place = Place::new("");
    let (client, thread) = served(&place);
    let (signer, [trusted, untrusted]) = (client.handle(), place.cas());
    assert_eq!(place.copy(&signer, trusted), Ok(()));
    assert_eq!(place.copy(&signer, untrusted), Ok(()));
    assert!(signer.status(trusted, &[1; 16], 0).is_ok());
    assert_eq!(place.copy(&signer, [0; 32]), Err(SignError::Refused(Refusal::OtherCa)));
    let stranger = Pki::new("Stranger").unwrap();
    let stranger = Place { folder: tempfile::tempdir().unwrap(), pki: stranger };
    assert!(matches!(stranger.copy(&signer, trusted), Err(SignError::Refused(Refusal::Defect(_)))));
    assert_eq!(stranger.copy(&signer, untrusted), Ok(()));
    let requests = signer.counters().requests().map(|(_, count)| count);
    assert_eq!((requests, signer.counters().starts(), signer.counters().is_up()), ([4, 2, 0, 0], 1, true));
    client.stop();
    assert!(thread.join().unwrap().is_ok());
    assert!(signer.is_gone() && !signer.counters().is_up());
    assert_eq!(place.copy(&signer, trusted), Err(SignError::Unanswered));
}

#[test]
fn several_ask_at_once() {
    let place = Place::new("");
    let (client, thread) = served(&place);
    let [trusted, _] = place.cas();
    thread::scope(|scope| {
        for _ in 0..16 {
            let signer = client.handle();
            let place = &place;
            scope.spawn(move || (0..8).for_each(|_| assert_eq!(place.copy(&signer, trusted), Ok(()))));
        }
    });
    client.stop();
    assert!(thread.join().unwrap().is_ok());
}

#[test]
fn more_than_a_seconds_worth_is_refused() {
    let place = Place::new("signatures_per_second = 3");
    let (client, thread) = served(&place);
    let (signer, [trusted, _]) = (client.handle(), place.cas());
    let came: Vec<_> = (0..6).map(|_| signer.status(trusted, &[1; 16], 0).map(drop)).collect();
    assert!(came[..3].iter().all(Result::is_ok), "{came:?}");
    assert!(came.contains(&Err(SignError::Refused(Refusal::Rate))), "{came:?}");
    client.stop();
    assert!(thread.join().unwrap().is_ok());
}

#[test]
fn other_cas_come_with_a_reload_and_those_before_go_on_for_one() {
    let place = Place::new("");
    let (client, thread) = served(&place);
    let (signer, first) = (client.handle(), place.cas());
    place.make_cas();
    let second = place.cas();
    assert_ne!(first, second);
    assert_eq!(place.copy(&signer, second[0]), Err(SignError::Refused(Refusal::OtherCa)));
    assert_eq!(reload(&signer, first), Ok(second));
    // A reload that changes no CA does not end those before.
    assert_eq!(reload(&signer, second), Ok(second));
    assert_eq!((place.copy(&signer, second[0]), place.copy(&signer, first[0])), (Ok(()), Ok(())));
    // A fault changes nothing.
    std::fs::remove_file(place.path("trusted.key")).unwrap();
    let why = reload(&signer, second).unwrap_err();
    assert!(why.contains("trusted.key"), "{why}");
    assert_eq!(place.copy(&signer, second[0]), Ok(()));
    place.make_cas();
    let third = reload(&signer, second).unwrap();
    assert_eq!((place.copy(&signer, third[0]), place.copy(&signer, second[0])), (Ok(()), Ok(())));
    assert_eq!(place.copy(&signer, first[0]), Err(SignError::Refused(Refusal::OtherCa)));
    client.stop();
    assert!(thread.join().unwrap().is_ok());
}

/// Has it read its files; the engine goes by these CAs until then.
fn reload(signer: &SignerHandle, in_force: [[u8; 32]; 2]) -> Result<[[u8; 32]; 2], String> {
    signer.reload(&in_force, &AtomicBool::new(false))
}

#[test]
fn cas_that_the_engine_never_went_by_push_out_none_that_it_does() {
    let place = Place::new("");
    let (client, thread) = served(&place);
    let (signer, first) = (client.handle(), place.cas());
    // Each time the engine finds something wrong, and goes on with what it had.
    for _ in 0..3 {
        place.make_cas();
        let next = reload(&signer, first).unwrap();
        assert_ne!(next, first);
        assert_eq!((place.copy(&signer, first[0]), place.copy(&signer, next[0])), (Ok(()), Ok(())));
    }
    client.stop();
    assert!(thread.join().unwrap().is_ok());
}

#[test]
fn who_stops_does_not_wait_for_keys_that_are_being_read() {
    let (ours, theirs) = sockets();
    let slow = Arc::new(AtomicBool::new(true));
    let thread = thread::spawn(move || slow_signer(theirs, slow));
    let client = SignerClient::listen_to(ours).unwrap();
    let (signer, stop) = (client.handle(), AtomicBool::new(false));
    let began = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| assert!(signer.reload(&[[0; 32]; 2], &stop).is_err()));
        thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
    });
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    client.stop();
    thread.join().unwrap();
}

#[test]
fn what_is_no_request_is_passed_over() {
    let place = Place::new("");
    let (ours, theirs) = sockets();
    let file = place.path("wire.toml");
    let thread = thread::spawn(move || serve(theirs, || Place::load(&file), || Ok(String::new()), || ()));
    let say = |message: &[u8]| send(ours.as_raw_fd(), message, MsgFlags::empty()).unwrap();
    for garbage in [&b"x"[..], &[0; 9], &[1; 4000], &[0xff; 70_000]] {
        say(garbage);
    }
    say(&protocol::ping(4711));
    let mut buffer = vec![0; MAX_MESSAGE];
    let answers: Vec<_> = (0..2)
        .map(|_| {
            let read = recv(ours.as_raw_fd(), &mut buffer, MsgFlags::empty()).unwrap();
            let (id, rest) = protocol::id(&buffer[..read]).unwrap();
            (id, protocol::read_answer(rest).unwrap())
        })
        .collect();
    assert!(matches!(answers[0], (0, Answer::Ready { .. })));
    assert_eq!(answers[1], (4711, Answer::Pong));
    drop(ours);
    assert!(thread.join().unwrap().is_ok());
}

/// One that takes requests, and answers none but pings, while it is told to be slow.
fn slow_signer(theirs: OwnedFd, slow: Arc<AtomicBool>) {
    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        let read = recv(theirs.as_raw_fd(), &mut buffer, MsgFlags::empty()).unwrap();
        if read == 0 {
            return;
        }
        let (id, _) = protocol::id(&buffer[..read]).unwrap();
        if !slow.load(Ordering::Relaxed) {
            let message = protocol::answer(id, &Answer::Done(vec![1]));
            send(theirs.as_raw_fd(), &message, MsgFlags::empty()).unwrap();
        }
    }
}

#[test]
fn who_asks_a_slow_one_waits_once_and_the_others_not_at_all() {
    let (ours, theirs) = sockets();
    let slow = Arc::new(AtomicBool::new(true));
    let is_slow = Arc::clone(&slow);
    let thread = thread::spawn(move || slow_signer(theirs, is_slow));
    let client = SignerClient::listen_to(ours).unwrap();
    let signer = client.handle();
    let began = Instant::now();
    assert_eq!(signer.status([0; 32], &[1], 0), Err(SignError::Unanswered));
    let waited = began.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&waited), "{waited:?}");
    let began = Instant::now();
    assert_eq!(signer.status([0; 32], &[1], 0), Err(SignError::Unanswered));
    assert!(began.elapsed() < Duration::from_millis(500) && !signer.is_gone());
    slow.store(false, Ordering::Relaxed);
    let began = Instant::now();
    while signer.status([0; 32], &[1], 0).is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "it answers again");
        thread::sleep(Duration::from_millis(10));
    }
    client.stop();
    thread.join().unwrap();
}

/// The process that `wireglass run` starts, by hand.
#[test]
fn a_signer_that_dies_is_started_again() {
    let place = Place::new("");
    let (ours, theirs) = sockets();
    let mut keeper = Command::new(env!("CARGO_BIN_EXE_wireglass"))
        .args(["signer", "-c"])
        .arg(place.path("wire.toml"))
        .stdin(theirs)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let client = SignerClient::listen_to(ours).unwrap();
    let signer = client.handle();
    let until = |what: &str, done: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < Duration::from_secs(20), "{what}");
            thread::sleep(Duration::from_millis(10));
        }
    };
    let [trusted, _] = place.cas();
    until("it signs", &|| place.copy(&signer, trusted).is_ok());
    let child = child_of(keeper.id());
    let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    assert_eq!(core_limit(child), "0", "no core dumps");
    // What each may do `confined_threads` tries; here it is in force. The bit is CAP_IPC_LOCK.
    let threads = of_process(Path::new("/"), child).unwrap();
    let signing: Vec<_> = threads.iter().filter(|thread| thread.name.starts_with("wg-sign")).collect();
    assert_eq!(signing.len(), 4, "{threads:?}");
    for thread in &signing {
        assert!(
            thread.filters >= 3 && thread.no_new_privs && thread.capabilities & !(1 << 14) == 0,
            "{thread:?}"
        );
    }
    assert!(threads.iter().all(|thread| thread.filters >= 3), "{threads:?}");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::Signal::SIGKILL).unwrap();
    until("it is started again", &|| signer.counters().starts() == 2);
    until("it signs again", &|| place.copy(&signer, trusted).is_ok());
    assert_ne!(child_of(keeper.id()), child);
    client.stop();
    assert!(keeper.wait().unwrap().success());
}

fn child_of(pid: u32) -> i32 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.trim().parse().unwrap_or_else(|_| panic!("one child: {children:?}"))
}

fn core_limit(pid: i32) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    line.split_whitespace().nth(4).unwrap().to_owned()
}

/// `cargo test --release --test signer -- --ignored --nocapture what_a_copy_costs`
#[test]
#[ignore = "a measurement"]
fn what_a_copy_costs() {
    const COPIES: usize = 300;
    let place = Place::new("signatures_per_second = 1000000");
    let file = place.path("wire.toml");
    let ca = Custody::load(&file).unwrap().ca;
    let believing = CaVault::load(Provider::default(), (&ca.trusted, &ca.untrusted), None, now()).unwrap();
    let checking = Place::load(&file).unwrap().vault;
    let (client, thread) = served(&place);
    let signer = client.handle();
    let identity = place.pki.identity(&["www.example.com"]).unwrap();
    let key = rcgen::PublicKeyData::subject_public_key_info(&rcgen::KeyPair::generate().unwrap());
    let subject =
        LeafSubject::Copy { original: &identity.chain[0], others: &identity.chain[1..], added: &[] };
    let [ca, _] = place.cas();
    let order = LeafOrder { ca, subject, public_key: &key, max_days: 90, now: now() as i64 };
    let ways: [(&str, &dyn CaSigner); 3] = [
        ("in this process, believing", &believing),
        ("in this process, checking", &checking),
        ("by the signer", &signer),
    ];
    let mut took = [const { Vec::new() }; 3];
    for _ in 0..COPIES {
        for ((_, signer), took) in ways.iter().zip(&mut took) {
            let began = Instant::now();
            signer.leaf(&order).unwrap();
            took.push(began.elapsed());
        }
    }
    for ((name, _), mut took) in ways.iter().zip(took) {
        took.sort();
        println!("{name}: median {:?}, 95 % {:?}", took[COPIES / 2], took[COPIES * 95 / 100]);
    }
    client.stop();
    assert!(thread.join().unwrap().is_ok());
}

#[test]
fn it_is_not_for_people() {
    let run = |stdin: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireglass"));
        command.args(["signer", "-c", "wire.toml"]).stdin(stdin).output().unwrap()
    };
    let done = run(Stdio::null());
    assert_eq!(done.status.code(), Some(2));
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.contains("`wireglass run` starts the signer"), "{said}");
}
