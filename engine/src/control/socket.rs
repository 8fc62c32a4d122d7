//! The socket's place in the file system: ours alone, and gone with us.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

/// Of the socket, and of the file that is locked for a start: for their owner alone.
const SOCKET_MODE: u32 = 0o600;
/// Of a socket through which a group may look.
const GROUP_MODE: u32 = 0o660;
/// What the lock's name has more than the socket's.
const LOCK_SUFFIX: &str = ".lock";
/// Of the folder, if it has to be made.
const FOLDER_MODE: u32 = 0o755;
/// How often, and after which pauses, another start for the same socket is waited for.
const LOCK_TRIES: (u32, Duration) = (50, Duration::from_millis(20));

/// A socket that listens, with mode 0600, or 0660 where a group may look. Dropping it removes it.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    /// Device and inode: what lies at the path later may be somebody else's.
    identity: (u64, u64),
    listener: UnixListener,
}

/// Why there is no socket.
#[derive(Debug)]
pub enum BindError {
    /// Somebody listens there.
    InUse(PathBuf),
    /// Something else is there, and it is not for us to remove.
    NotASocket(PathBuf),
    /// The folder cannot be made or looked into.
    Folder(PathBuf, io::Error),
    /// The socket cannot be made, or a dead one not be removed.
    Socket(PathBuf, io::Error),
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "{} belongs to an engine that is running: stop it, or give this one another path",
                path.display()
            ),
            Self::NotASocket(path) => {
                write!(f, "{} is there and is no socket: move it, or name another path", path.display())
            }
            Self::Folder(path, error) => {
                write!(f, "cannot use the folder {}: {error}; name another path, or \"off\"", path.display())
            }
            Self::Socket(path, error) => {
                write!(f, "cannot listen on {}: {error}; name another path, or \"off\"", path.display())
            }
        }
    }
}

impl std::error::Error for BindError {}

impl ControlSocket {
    /// Listens at a path, in place of a socket that nobody listens to any more.
    ///
    /// # Errors
    /// Somebody does, or the path cannot be used.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        Self::bind_for(path, None)
    }

    /// The same, and members of the group with this number may connect.
    ///
    /// # Errors
    /// Likewise, or the group cannot be given the socket.
    pub fn bind_for(path: &Path, group: Option<u32>) -> Result<Self, BindError> {
        let folder = folder_of(path);
        // Two engines that start at once must not each take the other's socket for a dead one. Released when it is closed.
        let _lock = lock(folder, path).map_err(|error| BindError::Folder(folder.to_owned(), error))?;
        let socket_error = |error| BindError::Socket(path.to_owned(), error);
        if listening(path)?.is_some() {
            return Err(BindError::InUse(path.to_owned()));
        }
        let listener = place(folder, path, group).map_err(socket_error)?;
        let identity = identity(&fs::symlink_metadata(path).map_err(socket_error)?);
        Ok(Self { path: path.to_owned(), identity, listener })
    }

    /// Tries whether [`Self::bind_for`] will work once the process `owner` listens there no more; leaves nothing behind.
    ///
    /// # Errors
    /// It will not: somebody else listens there, or the path cannot be used.
    pub fn rehearse(path: &Path, group: Option<u32>, owner: i32) -> Result<(), BindError> {
        let socket_error = |error: io::Error| BindError::Socket(path.to_owned(), error);
        if let Some(stream) = listening(path)? {
            let peer = getsockopt(&stream, PeerCredentials).map_err(|error| socket_error(error.into()))?;
            if peer.pid() != owner {
                return Err(BindError::InUse(path.to_owned()));
            }
        }
        let folder = folder_of(path);
        make(folder).map_err(|error| BindError::Folder(folder.to_owned(), error))?;
        let mut beside = OsString::from(path);
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        place(folder, &beside, group).map_err(socket_error)?;
        fs::remove_file(&beside).map_err(socket_error)
    }

    /// Where connections come in.
    pub(crate) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity) {
            // Nothing depends on it: the next start finds it dead.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A connection to whoever listens there. None: nobody does, and what is there may be replaced.
fn listening(path: &Path) -> Result<Option<UnixStream>, BindError> {
    let failed = |error| Err(BindError::Socket(path.to_owned(), error));
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => match UnixStream::connect(path) {
            Ok(stream) => Ok(Some(stream)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(None),
            Err(error) => failed(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => failed(error),
    }
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// A socket that nobody can reach before it has its mode: it is made in a folder that is closed to others, and moved.
fn place(folder: &Path, path: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    let closed = folder.join(format!(".wg-{}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&closed)?;
    let made = closed.join("s");
    let listener = UnixListener::bind(&made).and_then(|listener| {
        let mode = if group.is_some() { GROUP_MODE } else { SOCKET_MODE };
        if group.is_some() {
            chown(&made, None, group).map_err(no_gift)?;
        }
        fs::set_permissions(&made, Permissions::from_mode(mode))?;
        fs::rename(&made, path)?;
        Ok(listener)
    });
    if listener.is_err() {
        let _ = fs::remove_file(&made);
    }
    let _ = fs::remove_dir(&closed);
    listener
}

/// A file's owner gives it to groups of his own; others take a capability.
fn no_gift(error: io::Error) -> io::Error {
    let words = format!(
        "it cannot be given to the group of `control.read_group` ({error}): put the engine's user into that group \
         (`SupplementaryGroups=` of the unit), or let it have CAP_CHOWN"
    );
    io::Error::new(error.kind(), words)
}

fn make(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The folder is made if only it is missing, and other starts for this socket are kept waiting.
///
/// Whoever can open a file can lock it, so it is not the folder that is locked: everybody may look into that, and could
/// keep the engine from starting. The file stays: removing it would let two starts lock one each.
fn lock(folder: &Path, socket: &Path) -> io::Result<File> {
    make(folder)?;
    let mut path = OsString::from(socket);
    path.push(LOCK_SUFFIX);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(SOCKET_MODE).open(path)?;
    let (tries, pause) = LOCK_TRIES;
    for _ in 0..tries {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(pause),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::other("another program holds its lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    #[test]
    fn it_is_for_its_owner_and_goes_with_it() {
        let folder = folder();
        let path = folder.path().join("new").join("control.sock");
        let socket = ControlSocket::bind(&path).expect("a socket");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(socket.path(), path);
        drop(socket);
        assert!(!path.exists());
        assert!(matches!(ControlSocket::bind(&path.join("deeper/control.sock")), Err(BindError::Folder(..))));
    }

    #[test]
    fn a_group_may_connect_if_it_is_named() {
        let folder = folder();
        let path = folder.path().join("control.sock");
        let own = nix::unistd::getegid().as_raw();
        let socket = ControlSocket::bind_for(&path, Some(own)).expect("one's own group needs no right");
        let found = fs::metadata(&path).expect("it is there");
        assert_eq!((found.permissions().mode() & 0o777, found.gid()), (0o660, own));
        drop(socket);
    }

    #[test]
    fn a_rehearsal_leaves_the_socket_of_its_owner_alone() {
        let folder = folder();
        let path = folder.path().join("control.sock");
        let own = i32::try_from(std::process::id()).expect("a process number");
        let socket = ControlSocket::bind(&path).expect("a socket");
        let before = fs::read_dir(folder.path()).expect("a folder").count();
        ControlSocket::rehearse(&path, None, own).expect("this process listens, and will not later");
        let other = ControlSocket::rehearse(&path, None, own + 1);
        assert!(matches!(&other, Err(BindError::InUse(at)) if *at == path), "{other:?}");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), before);
        assert!(UnixStream::connect(&path).is_ok(), "it still listens");
        drop(socket);
        let nowhere = ControlSocket::rehearse(&folder.path().join("no/such/folder.sock"), None, own);
        assert!(matches!(nowhere, Err(BindError::Folder(..))), "{nowhere:?}");
    }

    #[test]
    fn a_live_one_is_left_alone_and_a_dead_one_replaced() {
        let folder = folder();
        let path = folder.path().join("control.sock");
        let first = ControlSocket::bind(&path).expect("a socket");
        let second = ControlSocket::bind(&path);
        assert!(matches!(&second, Err(BindError::InUse(at)) if *at == path), "{second:?}");
        assert!(UnixStream::connect(&path).is_ok(), "the first one still listens");
        drop(first);
        // As a crash leaves it.
        drop(UnixListener::bind(&path).expect("a socket"));
        assert!(path.exists());
        let again = ControlSocket::bind(&path).expect("in place of the dead one");
        assert!(UnixStream::connect(&path).is_ok());
        drop(again);
    }

    /// Anyone who may read the folder can lock it, and hold that lock for as long as he likes.
    #[test]
    fn a_lock_on_the_folder_keeps_nobody_from_starting() {
        let folder = folder();
        let strangers = File::open(folder.path()).expect("it may be read");
        strangers.lock().expect("and locked");
        let path = folder.path().join("control.sock");
        let socket = ControlSocket::bind(&path).expect("a socket");
        let lock = fs::metadata(folder.path().join("control.sock.lock")).expect("what is locked instead");
        assert_eq!(lock.permissions().mode() & 0o777, 0o600);
        drop(socket);
    }

    #[test]
    fn what_is_no_socket_or_not_ours_is_not_removed() {
        let folder = folder();
        let path = folder.path().join("control.sock");
        fs::write(&path, "letters").expect("a file");
        assert!(matches!(ControlSocket::bind(&path), Err(BindError::NotASocket(_))));
        assert_eq!(fs::read(&path).expect("still there"), b"letters");
        fs::remove_file(&path).expect("ours to remove");
        let socket = ControlSocket::bind(&path).expect("a socket");
        fs::remove_file(&path).expect("somebody does that");
        let other = UnixListener::bind(&path).expect("and takes its place");
        drop(socket);
        assert!(path.exists(), "that one is not ours");
        drop(other);
    }

    #[test]
    fn of_many_that_start_at_once_over_a_dead_one_exactly_one_wins() {
        let folder = folder();
        let path = folder.path().join("control.sock");
        for _ in 0..20 {
            drop(UnixListener::bind(&path).expect("a socket that dies"));
            let all: Vec<_> = thread::scope(|scope| {
                let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| ControlSocket::bind(&path))).collect();
                starts.into_iter().map(|start| start.join().expect("no panic")).collect()
            });
            let won = all.iter().filter(|socket| socket.is_ok()).count();
            assert_eq!(won, 1, "{all:?}");
            assert!(UnixStream::connect(&path).is_ok());
        }
    }
}
