//! After the start, no thread may do more than its work needs.
//!
//! ```text
//! prepare  before EAL's threads: no new privileges, capabilities of a start, no programs     all threads
//! settle   ports, sockets and files are open: another user, and what each kind of thread may
//! enter    first thing that a thread does: capabilities, files (Landlock), system calls (seccomp)
//! ```
//! What a thread gave up, it cannot have again, and neither can the threads that it starts. Without [`settle`], as in tests and
//! simulations, [`enter`] does nothing. The signer's process has two kinds of its own, and [`settle_signer`].

mod calls;
mod files;
mod filter;
mod kind;
mod needs;
mod rights;
pub mod threads;

use std::fmt;
use std::sync::OnceLock;
use std::thread;

pub use files::FileLayer;
pub use kind::Kind;
pub use needs::{Needs, Ports};

use crate::config::{Account, Config, Confine};

/// How far it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A layer that the kernel does not have keeps the engine from starting, and a call that a thread must not make kills the process.
    Strict,
    /// A missing layer is told of, and such a call fails with EPERM; some kill all the same.
    #[default]
    BestEffort,
    /// Threads keep all that the engine was started with.
    Off,
}

impl Mode {
    /// All of them, by their names in a configuration.
    pub const NAMED: [(&str, Self); 3] =
        [("strict", Self::Strict), ("best_effort", Self::BestEffort), ("off", Self::Off)];

    /// As configurations have it.
    pub fn name(self) -> &'static str {
        Self::NAMED.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }
}

/// What keeps a thread within its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    /// The kernel filters its system calls.
    pub calls: bool,
    /// The kernel bounds its files.
    pub files: FileLayer,
}

/// What each kind of thread may, for as long as the process runs.
static PLAN: OnceLock<Plan> = OnceLock::new();

/// What each kind of thread may.
#[derive(Debug)]
pub struct Plan {
    mode: Mode,
    needs: Needs,
}

/// What is in force, in words for the log and in numbers for the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// How far it was to go.
    pub mode: Mode,
    /// The kernel filters system calls.
    pub calls: bool,
    /// It bounds files.
    pub files: FileLayer,
    /// Capabilities that a thread has left, by kind of thread.
    rights: String,
    /// The user that the engine changed to.
    user: Option<String>,
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "user {user}; ")?;
        }
        if self.mode == Mode::Off {
            return f.write_str(
                "confine.mode = \"off\": threads keep their capabilities, files and system calls",
            );
        }
        let calls = if self.calls { "filtered" } else { "NOT filtered: no seccomp here" };
        write!(
            f,
            "{}; system calls {calls}; files {}; capabilities {}",
            self.mode.name(),
            self.files,
            self.rights
        )
    }
}

/// Before EAL and before any thread is started: what holds for all of them.
///
/// # Errors
/// In words: a right could not be given up.
pub fn prepare(config: &Config) -> Result<(), String> {
    let Confine { mode, user } = &config.confine;
    if *mode == Mode::Off {
        return Ok(());
    }
    let cannot = |what: &str, error: String| format!("confine.mode: {what}: {error}");
    rights::keep(&rights::for_start(&Needs::of(config), user.is_some()))
        .map_err(|error| cannot("capabilities cannot be given up", error.to_string()))?;
    nix::sys::prctl::set_no_new_privs().map_err(|error| cannot("PR_SET_NO_NEW_PRIVS", error.to_string()))?;
    match filter::install_in_all(&filter::of_all_threads()) {
        Err(error) if *mode == Mode::Strict => {
            Err(cannot("system calls cannot be filtered", error.to_string()))
        }
        // Told of when all layers are known.
        Err(_) | Ok(()) => Ok(()),
    }
}

/// When ports and sockets are open, and before other threads are started: changes to the user of the configuration, and settles what
/// each kind of thread may. Each kind is tried on a thread that ends at once.
///
/// # Errors
/// In words: the user cannot be had, or could not read what a reload reads; or a layer is missing in strict mode.
pub fn settle(config: &Config) -> Result<Confinement, String> {
    let Confine { mode, user } = &config.confine;
    let needs = Needs::of(config);
    let main = rights::of(Kind::Main, &needs);
    if let Some(account) = user {
        become_user(account, config, &main)?;
    }
    let mut confinement = Confinement {
        mode: *mode,
        calls: false,
        files: FileLayer::None,
        rights: rights::describe(&needs),
        user: user.as_ref().map(|account| account.name.clone()),
    };
    if *mode == Mode::Off {
        return Ok(confinement);
    }
    let plan = PLAN.get_or_init(|| Plan { mode: *mode, needs });
    let own = |kind: &Kind| !matches!(kind, Kind::Sign | Kind::Keys);
    for kind in Kind::ALL.into_iter().filter(own) {
        let tried = thread::spawn(move || plan.confine(kind)).join();
        let tried = tried.map_err(|_| "the thread panicked".to_owned()).and_then(|layers| layers);
        let layers = tried
            .map_err(|error| format!("confine.mode: a {} thread cannot be confined: {error}", kind.name()))?;
        (confinement.calls, confinement.files) = (layers.calls, layers.files);
    }
    Ok(confinement)
}

/// The same for the signer's process, when it has read the keys: its user is settled then, and modules of PKCS#11 are loaded. Returns what
/// could not be had; none: nothing.
///
/// # Errors
/// In words: a layer is missing in strict mode.
pub fn settle_signer(mode: Mode, needs: Needs) -> Result<Option<String>, String> {
    if mode == Mode::Off {
        return Ok(Some(
            "confine.mode = \"off\": its threads keep their capabilities, files and system calls".into(),
        ));
    }
    let failed = |error: String| format!("confine.mode: the signer cannot be confined: {error}");
    let asks_program = needs.asks_program;
    // Threads of modules, too. A program that says a passphrase is one that is run.
    let all = if asks_program { Ok(()) } else { filter::install_in_all(&filter::of_all_threads()) };
    if mode == Mode::Strict {
        all.map_err(failed)?;
    }
    let plan = PLAN.get_or_init(|| Plan { mode, needs });
    let mut doubts = Vec::new();
    for kind in [Kind::Sign, Kind::Keys] {
        let tried = thread::spawn(move || plan.confine(kind)).join();
        let tried = tried.map_err(|_| "the thread panicked".to_owned()).and_then(|layers| layers);
        let layers = tried.map_err(failed)?;
        if !layers.calls {
            doubts.push(format!(
                "system calls of its {} threads are not filtered: no seccomp here",
                kind.name()
            ));
        }
        if layers.files == FileLayer::None && !files::keeps_all(kind, &plan.needs) {
            doubts.push(format!("files of its {} threads are not bounded: no Landlock here", kind.name()));
        }
    }
    Ok((!doubts.is_empty()).then(|| doubts.join("; ")))
}

fn become_user(account: &Account, config: &Config, main: &caps::CapsHashSet) -> Result<(), String> {
    rights::become_user(account, main).map_err(|error| {
        format!("confine.user: cannot change to {}: {error}: start it as root, or as {0}", account.name)
    })?;
    reads_all(account, config)
}

/// Tries whether the calling thread, as this user's, can read what a reload reads.
///
/// # Errors
/// In words.
pub fn reads_all(account: &Account, config: &Config) -> Result<(), String> {
    for file in config.files_read() {
        if let Err(error) = std::fs::File::open(file)
            && error.kind() == std::io::ErrorKind::PermissionDenied
        {
            let (name, file) = (&account.name, file.display());
            return Err(format!(
                "confine.user: {name} cannot read {file}, which a reload would: chown {name} {file}"
            ));
        }
    }
    Ok(())
}

/// The calling thread is of this kind from now on, and so are the threads that it starts. A thread that cannot be confined ends the
/// process in strict mode; otherwise it says so.
pub fn enter(kind: Kind) {
    let Some(plan) = PLAN.get() else { return };
    if let Err(error) = plan.confine(kind) {
        tracing::error!(kind = kind.name(), error, "a thread cannot be confined");
        if plan.mode == Mode::Strict {
            std::process::abort();
        }
    }
}

/// The same for a thread that was started before it was settled what threads may: it asks from time to time. True: it is confined.
pub fn enter_when_settled(kind: Kind) -> bool {
    let is_settled = PLAN.get().is_some();
    if is_settled {
        enter(kind);
    }
    is_settled
}

/// What a configuration asks for that threads have given up; none: nothing.
pub fn lacks(config: &Config) -> Option<String> {
    let needs = &PLAN.get()?.needs;
    let asks = !config.icap.servers.is_empty() && !needs.asks_icap;
    asks.then(|| {
        "icap.NAME.respmod (no thread may connect: there was no ICAP server at the start)".to_owned()
    })
}

impl Plan {
    /// For threads of an engine with these needs.
    pub fn new(mode: Mode, needs: Needs) -> Self {
        Self { mode, needs }
    }

    /// Confines the calling thread, for good.
    ///
    /// # Errors
    /// In words. In strict mode: a layer is missing.
    pub fn confine(&self, kind: Kind) -> Result<Layers, String> {
        if self.mode == Mode::Off {
            return Ok(Layers { calls: false, files: FileLayer::None });
        }
        let strict = self.mode == Mode::Strict;
        let kept = rights::of(kind, &self.needs);
        rights::keep(&kept).map_err(|error| format!("its capabilities: {error}"))?;
        let keeps_files = files::keeps_all(kind, &self.needs);
        let files = if keeps_files { Ok(FileLayer::None) } else { files::bound(kind, &self.needs) };
        let files = files.map_err(|error| format!("its files: {error}"))?;
        if strict && !keeps_files && files == FileLayer::None {
            return Err("this kernel has no Landlock".to_owned());
        }
        // The last, as it leaves no way to do the others.
        let filters = filter::of_kind(kind, &self.needs, strict);
        let calls = filters.iter().try_for_each(filter::install);
        match calls {
            Err(error) if strict => Err(format!("its system calls: {error}")),
            calls => Ok(Layers { calls: calls.is_ok(), files }),
        }
    }
}
