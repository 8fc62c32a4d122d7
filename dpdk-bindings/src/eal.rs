//! EAL: started once per process, cleaned up when the last thing made from it is gone.

use std::collections::BTreeSet;
use std::ffi::{CString, c_char, c_int};
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use dpdk_sys as ffi;

use crate::diagnose::{Report, Roots};
use crate::errno::{Errno, Error, c_string, check, text};
use crate::lcore::LcoreGuard;
use crate::port::{self, PortInfo};
use crate::removal;

/// DPDK's environment abstraction layer, initialised.
///
/// Pools, ports, queues and registered threads hold the environment; it is cleaned up when this handle and
/// all of them are gone. If mbufs are still out by then, the memory they live in is left mapped instead.
///
/// EAL pins the thread that initialises it to a core, and threads inherit that from their creator. So EAL gets
/// a thread of its own, `dpdk-main`, which sleeps until the clean-up: the caller's affinity stays as it was.
pub struct Eal {
    runtime: Arc<Runtime>,
}

impl Eal {
    /// Initialises EAL with its command-line arguments, without a program's name in front:
    /// `["--no-huge", "-m", "1024", "--no-pci", "--vdev", "net_ring0"]`.
    ///
    /// EAL logs to where it always does: standard output and syslog. `--help` prints and exits, as in every
    /// application of DPDK.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyInitialised`] from the second call on, whatever became of the first;
    /// [`Error::Call`] with EAL's errno if it does not start (it has logged the reason).
    pub fn init<S: AsRef<str>>(args: &[S]) -> Result<Self, Error> {
        static ATTEMPTED: AtomicBool = AtomicBool::new(false);
        let args: Vec<String> = args.iter().map(|arg| arg.as_ref().to_owned()).collect();
        let mut argv = vec![c_string("dpdk")?];
        for arg in &args {
            argv.push(c_string(arg)?);
        }
        if ATTEMPTED.swap(true, Ordering::SeqCst) {
            return Err(Error::AlreadyInitialised);
        }
        let main = MainThread::start(argv)?;
        let runtime = Runtime {
            args,
            main,
            control: Mutex::new(()),
            claimed: Mutex::new(BTreeSet::new()),
            pools: Mutex::new(Vec::new()),
            kept: AtomicUsize::new(0),
        };
        Ok(Self { runtime: Arc::new(runtime) })
    }

    /// The running library's version: `"DPDK 22.11.11"`.
    pub fn version(&self) -> String {
        // SAFETY: returns a static string.
        unsafe { text(ffi::rte_version()) }
    }

    /// How this program was linked with DPDK: `"shared"` or `"static"`.
    pub fn link_mode(&self) -> &'static str {
        ffi::LINK_MODE
    }

    /// Makes the calling thread an lcore, so that it gets its own cache in every [`Mempool`](crate::Mempool)
    /// (without one each alloc and free goes to the pool's shared ring). Lasts as long as the guard.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyRegistered`], or [`Error::Call`] if EAL has no lcore id left.
    pub fn register_thread(&self) -> Result<LcoreGuard, Error> {
        LcoreGuard::register(Arc::clone(&self.runtime))
    }

    /// All ports that EAL found, in the order of their ids.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if a driver does not answer.
    pub fn ports(&self) -> Result<Vec<PortInfo>, Error> {
        let _control = self.runtime.control();
        port::ids().map(PortInfo::read).collect()
    }

    /// Creates a virtual device, as `--vdev name,args` does at the start: `("net_tap0", "iface=tap0")`.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if no driver takes the name, the arguments are wrong, or the device exists.
    pub fn attach_vdev(&self, name: &str, args: &str) -> Result<(), Error> {
        let (bus, device, devargs) = (c_string("vdev")?, c_string(name)?, c_string(args)?);
        let _control = self.runtime.control();
        // DPDK would report success, and ignore the arguments.
        if port::id_of(name)?.is_some() {
            return Err(Error::call("rte_eal_hotplug_add", name, Errno(libc::EEXIST)));
        }
        // SAFETY: three terminated strings that live until the call returns; `_control` serialises the call.
        let rc = unsafe { ffi::rte_eal_hotplug_add(bus.as_ptr(), device.as_ptr(), devargs.as_ptr()) };
        check(rc, "rte_eal_hotplug_add", name).map(drop)
    }

    /// Removes a virtual device.
    ///
    /// # Errors
    ///
    /// [`Error::PortInUse`] while a [`Port`](crate::Port) or a queue of it exists; [`Error::Call`] if there is
    /// no such device.
    pub fn detach_vdev(&self, name: &str) -> Result<(), Error> {
        let (bus, device) = (c_string("vdev")?, c_string(name)?);
        let _control = self.runtime.control();
        if let Some(id) = port::id_of(name)?
            && self.runtime.claimed().contains(&id)
        {
            return Err(Error::PortInUse { name: name.into() });
        }
        // SAFETY: terminated strings that live until the call returns; nobody holds a handle to the device, and
        // `_control` keeps anybody from claiming it meanwhile.
        let rc = unsafe { ffi::rte_eal_hotplug_remove(bus.as_ptr(), device.as_ptr()) };
        check(rc, "rte_eal_hotplug_remove", name).map(drop)
    }

    /// Explains to an operator what EAL found on this machine: drivers, memory, network devices, ports.
    pub fn diagnose(&self) -> Report {
        self.runtime.diagnose()
    }

    pub(crate) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }
}

impl fmt::Debug for Eal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eal").field("version", &self.version()).field("args", &self.runtime.args).finish()
    }
}

/// Severity of DPDK's log, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs, reason = "syslog's names")]
pub enum LogLevel {
    Emergency = 1,
    Alert,
    Critical,
    Error,
    Warning,
    Notice,
    Info,
    Debug,
}

/// Lets through DPDK's log messages of this severity and the more important ones. May be called before
/// [`Eal::init`].
pub fn set_log_level(level: LogLevel) {
    // SAFETY: stores an integer; no precondition.
    unsafe { ffi::rte_log_set_global_level(level as u32) }
}

/// The same for the components that match a shell pattern: `"pmd.net.*"`, `"lib.eal"`.
///
/// # Errors
///
/// [`Error::Argument`] for a NUL byte, [`Error::Call`] if there is no memory to remember the pattern.
pub fn set_log_level_of(pattern: &str, level: LogLevel) -> Result<(), Error> {
    let c_pattern = c_string(pattern)?;
    // SAFETY: a terminated string that DPDK copies.
    let rc = unsafe { ffi::rte_log_set_level_pattern(c_pattern.as_ptr(), level as u32) };
    check(rc, "rte_log_set_level_pattern", pattern).map(drop)
}

/// What keeps EAL alive, shared by everything that needs it.
pub(crate) struct Runtime {
    args: Vec<String>,
    main: MainThread,
    /// DPDK's control path (configure, info, statistics, hotplug) is not thread-safe.
    control: Mutex<()>,
    /// Ids of the ports that have a `Port` or queues.
    claimed: Mutex<BTreeSet<u16>>,
    pools: Mutex<Vec<PoolAddress>>,
    /// Mbufs that drivers keep when their ports are closed: nobody refers to them any more.
    kept: AtomicUsize,
}

impl Runtime {
    pub(crate) fn control(&self) -> MutexGuard<'_, ()> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn claimed(&self) -> MutexGuard<'_, BTreeSet<u16>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a pool until the clean-up.
    pub(crate) fn adopt_pool(&self, pool: NonNull<ffi::rte_mempool>) {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).push(PoolAddress(pool));
    }

    pub(crate) fn note_kept(&self, mbufs: usize) {
        self.kept.fetch_add(mbufs, Ordering::Relaxed);
    }

    pub(crate) fn diagnose(&self) -> Report {
        Report::gather(&Roots::default(), &self.args)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let pools = self.pools.get_mut().unwrap_or_else(PoisonError::into_inner);
        let in_use = |pool: &PoolAddress| {
            // SAFETY: pools are never freed before the clean-up, which comes after this.
            unsafe { ffi::rte_mempool_in_use_count(pool.0.as_ptr()) as usize }
        };
        let mbufs_out = pools.iter().map(in_use).sum::<usize>() > self.kept.load(Ordering::Relaxed);
        // An `Mbuf` holds no reference to the runtime, which would cost an atomic operation per packet. Instead the
        // memory stays mapped while one exists. The count is exact here: ports and queues are closed, and no thread
        // with a cache is left (its guard would keep this runtime); a put by any other thread is visible only once
        // it has ended.
        self.main.end(!mbufs_out);
    }
}

struct PoolAddress(NonNull<ffi::rte_mempool>);

// SAFETY: only an address; whoever uses it says why the pool is alive, and mempools are made for many threads.
unsafe impl Send for PoolAddress {}

/// The thread that initialises EAL, and cleans it up.
struct MainThread {
    /// Sends whether to clean up.
    end: mpsc::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl MainThread {
    fn start(argv: Vec<CString>) -> Result<Self, Error> {
        let (started, outcome) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("dpdk-main".into())
            .spawn(move || {
                // EAL keeps pointers into its arguments, also after a failure.
                let pointers: Vec<*mut c_char> = argv.into_iter().map(CString::into_raw).collect();
                let result = init(pointers);
                let running = result.is_ok();
                if started.send(result).is_err() || !running {
                    return;
                }
                if ended.recv() == Ok(true) {
                    // SAFETY: initialised on this thread; every pool, port, queue and registered thread is gone, since
                    // each holds the runtime whose drop sent this.
                    unsafe { ffi::rte_eal_cleanup() };
                }
            })
            .map_err(|error| Error::call("thread", "dpdk-main", Errno(error.raw_os_error().unwrap_or(0))))?;
        match outcome.recv() {
            Ok(Ok(())) => Ok(Self { end, thread: Some(thread) }),
            Ok(Err(error)) => Err(error),
            Err(mpsc::RecvError) => Err(Error::call("rte_eal_init", "EAL", Errno(libc::ECHILD))),
        }
    }

    fn end(&mut self, clean_up: bool) {
        // Both can only fail if the thread is gone, and then there is nothing left to end.
        let _ = self.end.send(clean_up);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn init(pointers: Vec<*mut c_char>) -> Result<(), Error> {
    let argc = c_int::try_from(pointers.len())
        .map_err(|_| Error::call("rte_eal_init", "EAL", Errno(libc::E2BIG)))?;
    // EAL permutes the array and expects it to stay.
    let argv = pointers.leak();
    // SAFETY: `argc` terminated strings, leaked, so valid and writable for ever; `Eal::init` calls this once.
    let rc = unsafe { ffi::rte_eal_init(argc, argv.as_mut_ptr()) };
    if rc < 0 {
        return Err(Error::call("rte_eal_init", "EAL", Errno::last()));
    }
    removal::watch()
}
