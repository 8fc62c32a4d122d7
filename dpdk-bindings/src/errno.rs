//! What DPDK's return codes become: the one place where an `int` turns into an [`Error`].

use std::ffi::{CString, c_int};
use std::{fmt, io};

/// Errors of this crate, by who can do something about them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// EAL was already initialised in this process, or an earlier attempt failed: DPDK allows one.
    AlreadyInitialised,
    /// The thread already is an lcore. See [`Eal::register_thread`](crate::Eal::register_thread).
    AlreadyRegistered,
    /// An argument that DPDK cannot take: it contains a NUL byte.
    Argument {
        /// The argument, as given.
        value: String,
    },
    /// A function of DPDK failed. `subject` is what it was called for: a pool, a port, a device.
    Call {
        /// The function's name in DPDK's documentation.
        call: &'static str,
        /// The name of the object.
        subject: String,
        /// Why, as DPDK says it.
        errno: Errno,
    },
    /// No port has this name. The report says what EAL found instead, and what to do.
    NoSuchPort {
        /// The name asked for.
        name: String,
        /// Text for the operator, several lines. See [`diagnose`](crate::diagnose).
        report: String,
    },
    /// Another [`Port`](crate::Port) handle or its queues hold this device.
    PortInUse {
        /// The device's name.
        name: String,
    },
    /// The port has been started before.
    PortStarted {
        /// The device's name.
        name: String,
    },
    /// More queues asked for than the driver offers.
    TooManyQueues {
        /// The device's name.
        name: String,
        /// `"rx"` or `"tx"`.
        direction: &'static str,
        /// How many were asked for.
        asked: u16,
        /// How many the driver offers.
        offered: u16,
    },
    /// The driver has no buffers to receive into. See [`Applied::kept`](crate::Applied::kept).
    EmptyFillRing {
        /// The device's name.
        name: String,
    },
    /// A port cannot run without a receive pool, a receive queue and a transmit queue.
    NothingToStart {
        /// The device's name.
        name: String,
    },
}

impl Error {
    pub(crate) fn call(call: &'static str, subject: impl Into<String>, errno: Errno) -> Self {
        Self::Call { call, subject: subject.into(), errno }
    }

    /// The errno behind this error, where there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyInitialised => f.write_str("EAL can be initialised once per process, and was"),
            Self::AlreadyRegistered => f.write_str("this thread already is an lcore"),
            Self::Argument { value } => write!(f, "{value:?} contains a NUL byte"),
            Self::Call { call, subject, errno } => write!(f, "{subject}: {call}: {errno}"),
            Self::NoSuchPort { name, report } => write!(f, "there is no port {name}\n{report}"),
            Self::PortInUse { name } => write!(f, "port {name} is already in use"),
            Self::PortStarted { name } => write!(f, "port {name} was started before"),
            Self::TooManyQueues { name, direction, asked, offered } => {
                write!(f, "port {name} offers {offered} {direction} queues, {asked} were asked for")
            }
            Self::EmptyFillRing { name } => {
                write!(
                    f,
                    "port {name} has no buffers to receive into: its pool is too small for one more queue"
                )
            }
            Self::NothingToStart { name } => {
                write!(f, "port {name} needs a pool, a receive queue and a transmit queue")
            }
        }
    }
}

impl std::error::Error for Error {}

/// An errno as DPDK uses them: the system's, and two of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// The calling thread's `rte_errno`.
    pub(crate) fn last() -> Self {
        // SAFETY: reads a thread-local integer of libdpdk; no precondition.
        Self(unsafe { dpdk_sys::shim_rte_errno() })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // rte_errno.h: E_RTE_SECONDARY and E_RTE_NO_CONFIG lie above the system's errnos.
        match self.0 {
            1001 => f.write_str("not allowed in a secondary process"),
            1002 => f.write_str("EAL is not initialised"),
            errno => write!(f, "{}", io::Error::from_raw_os_error(errno)),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `Ok` with the count for 0 and above; most of DPDK returns `-errno`, some of it -1 with `rte_errno` set.
pub(crate) fn check(rc: c_int, call: &'static str, subject: &str) -> Result<u32, Error> {
    match rc {
        0.. => Ok(rc.unsigned_abs()),
        // -1 is EPERM as well, but no function called here fails with that.
        -1 if Errno::last().0 > 0 => Err(Error::call(call, subject, Errno::last())),
        _ => Err(Error::call(call, subject, Errno(-rc))),
    }
}

pub(crate) fn c_string(value: &str) -> Result<CString, Error> {
    CString::new(value).map_err(|_| Error::Argument { value: value.into() })
}

/// Text that DPDK owns, copied; `""` for null.
///
/// # Safety
///
/// `text` is null, or a NUL-terminated string that stays valid during the call.
pub(crate) unsafe fn text(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and the caller keeps it valid and terminated.
    unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Text in a fixed array of a structure, up to its first NUL.
pub(crate) fn fixed_text(array: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = array.iter().map(|&c| c.to_ne_bytes()[0]).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
