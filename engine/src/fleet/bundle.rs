//! The files of a generation: from an operator's folder into etcd, and from there into an engine's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::schema::{FileEntry, MAX_FILE, MAX_FILES, MAX_TOTAL, Manifest, PART, is_relative};
use crate::config::{self, IN_FORCE, POLICY_FILE, generation_folder};
use crate::hex::hex;

/// Generations that an engine keeps, beside the one in force and the one that is loaded.
const KEPT: usize = 3;
/// The file of a state folder that is there while the fleet drains the engine.
const DRAINED: &str = "drained";

/// The files of a generation that is to be pushed.
#[derive(Debug)]
pub struct Packed {
    /// Each of them, and where it lies here.
    pub files: Vec<(FileEntry, PathBuf)>,
}

impl Packed {
    /// Of a folder, all that is in it; of a file with a policy, that and what it names, which must lie beside or below it.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn of(path: &Path) -> Result<Self, String> {
        let (policy, folder) = match path.is_dir() {
            true => (path.join(POLICY_FILE), path.to_owned()),
            false => (path.to_owned(), parent(path)),
        };
        let mut named = BTreeMap::from([(POLICY_FILE.to_owned(), policy.clone())]);
        let found = if path.is_dir() { below(&folder)? } else { files_of(&policy)? };
        for file in found.into_iter().filter(|file| *file != policy) {
            let relative =
                file.strip_prefix(&folder).ok().and_then(Path::to_str).filter(|path| is_relative(path));
            let Some(relative) = relative else {
                return Err(format!(
                    "{}: expected files beside or below {}, as engines have them in a folder of their own: name it by a relative path",
                    file.display(),
                    policy.display()
                ));
            };
            if named.insert(relative.to_owned(), file.clone()).is_some() {
                return Err(format!(
                    "{POLICY_FILE}: there is another file of this name beside {}",
                    policy.display()
                ));
            }
        }
        if named.len() > MAX_FILES {
            return Err(format!(
                "{}: expected at most {MAX_FILES} files, found {}",
                path.display(),
                named.len()
            ));
        }
        let mut files = Vec::new();
        let mut total = 0;
        for (relative, file) in named {
            let entry = entry(relative, &file).map_err(|error| format!("{}: {error}", file.display()))?;
            total += entry.size;
            if entry.size > MAX_FILE || total > MAX_TOTAL {
                return Err(format!(
                    "{}: expected files of at most {MAX_FILE} bytes, and {MAX_TOTAL} in all",
                    file.display()
                ));
            }
            files.push((entry, file));
        }
        Ok(Self { files })
    }
}

/// The pieces of a file, in their order.
pub fn parts(file: &Path) -> io::Result<impl Iterator<Item = io::Result<Vec<u8>>>> {
    let mut file = File::open(file)?;
    Ok(std::iter::from_fn(move || {
        let mut part = Vec::with_capacity(PART);
        match Read::by_ref(&mut file).take(PART as u64).read_to_end(&mut part) {
            Ok(0) => None,
            Ok(_) => Some(Ok(part)),
            Err(error) => Some(Err(error)),
        }
    }))
}

/// What has been read of a file.
#[derive(Default)]
pub struct Hashing {
    hash: Sha256,
    size: u64,
}

impl Hashing {
    /// The next piece.
    pub fn take(&mut self, part: &[u8]) {
        self.size += part.len() as u64;
        self.hash.update(part);
    }

    /// That was this file, whole.
    pub fn is(self, entry: &FileEntry) -> bool {
        self.size == entry.size && hex(&self.hash.finalize()) == entry.sha256
    }
}

/// How many pieces a file of this size has.
pub fn part_count(size: u64) -> u32 {
    u32::try_from(size.div_ceil(PART as u64)).unwrap_or(u32::MAX)
}

fn entry(path: String, file: &Path) -> io::Result<FileEntry> {
    let (mut hash, mut size) = (Sha256::new(), 0);
    for part in parts(file)? {
        let part = part?;
        size += part.len() as u64;
        hash.update(&part);
    }
    Ok(FileEntry { path, sha256: hex(&hash.finalize()), size })
}

fn parent(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// What a policy names: files, and all that is in folders.
fn files_of(policy: &Path) -> Result<BTreeSet<PathBuf>, String> {
    let mut files = BTreeSet::new();
    for path in config::policy_files(policy).map_err(|faults| faults.to_string())? {
        if path.is_dir() {
            files.extend(below(&path)?);
        } else {
            files.insert(path);
        }
    }
    Ok(files)
}

/// All files below a folder, those aside whose names begin with a dot.
fn below(folder: &Path) -> Result<BTreeSet<PathBuf>, String> {
    let (mut files, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let failed = |error: io::Error| format!("cannot read the folder {}: {error}", folder.display());
        for entry in folder.read_dir().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
            match (kind.is_dir(), kind.is_file()) {
                (true, _) => folders.push(path),
                (_, true) => drop(files.insert(path)),
                // A link may lead anywhere.
                _ => return Err(format!("{}: expected a file or a folder", path.display())),
            }
            if files.len() > MAX_FILES || folders.len() > MAX_FILES {
                return Err(format!("{}: expected at most {MAX_FILES} files", folder.display()));
            }
        }
    }
    Ok(files)
}

/// A generation that is being written. It is there for others when it is whole.
#[derive(Debug)]
pub struct Unpacking {
    state: PathBuf,
    generation: u64,
    beside: PathBuf,
}

impl Unpacking {
    /// Begins anew. What is left of earlier tries is removed, and so are old generations, but for `keep`: there is to be room.
    ///
    /// # Errors
    /// The state folder cannot be written to.
    pub fn begin(state: &Path, generation: u64, keep: &[u64]) -> io::Result<Self> {
        let all = state.join("generations");
        make_folder(&all)?;
        for entry in all.read_dir()? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                remove(&path)?;
            }
        }
        prune(state, keep)?;
        let beside = all.join(format!("{generation}.new"));
        make_folder(&beside)?;
        Ok(Self { state: state.to_owned(), generation, beside })
    }

    /// Takes a file that an earlier generation has, too. False: none has it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn reuse(&self, entry: &FileEntry) -> io::Result<bool> {
        let earlier = generations(&self.state)?.into_iter().rev().filter(|number| *number != self.generation);
        for number in earlier {
            let file = generation_folder(&self.state, number).join(&entry.path);
            let same_size = file.metadata().is_ok_and(|about| about.is_file() && about.len() == entry.size);
            if same_size && self::entry(entry.path.clone(), &file)? == *entry {
                let mut parts = parts(&file)?;
                self.write(entry, |_| parts.next().transpose())?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Begins a file.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn file(&self, entry: &FileEntry) -> io::Result<Writing> {
        let path = self.beside.join(&entry.path);
        let mut folder = self.beside.clone();
        for part in entry.path.split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev() {
            folder.push(part);
            make_folder(&folder)?;
        }
        Ok(Writing {
            file: readable(File::create(path)?)?,
            hash: Sha256::new(),
            size: 0,
            entry: entry.clone(),
        })
    }

    fn write(
        &self,
        entry: &FileEntry,
        mut next: impl FnMut(u64) -> io::Result<Option<Vec<u8>>>,
    ) -> io::Result<()> {
        let mut file = self.file(entry)?;
        while let Some(part) = next(file.size)? {
            file.push(&part)?;
        }
        file.end()
    }

    /// All files are there.
    ///
    /// # Errors
    /// It cannot be put in its place.
    pub fn end(self) -> io::Result<()> {
        let folder = generation_folder(&self.state, self.generation);
        remove(&folder)?;
        fs::rename(&self.beside, folder)
    }
}

/// A file of a generation that is being written.
#[derive(Debug)]
pub struct Writing {
    file: File,
    hash: Sha256,
    size: u64,
    entry: FileEntry,
}

impl Writing {
    /// The next piece.
    ///
    /// # Errors
    /// It cannot be written, or is more than the file has.
    pub fn push(&mut self, part: &[u8]) -> io::Result<()> {
        self.size += part.len() as u64;
        if self.size > self.entry.size {
            return Err(io::Error::other("it is longer than it was said to be"));
        }
        self.hash.update(part);
        self.file.write_all(part)
    }

    /// That was the last one.
    ///
    /// # Errors
    /// It is not what it was said to be.
    pub fn end(self) -> io::Result<()> {
        if self.size != self.entry.size || hex(&self.hash.finalize()) != self.entry.sha256 {
            return Err(io::Error::other("it is not what its hash says"));
        }
        self.file.sync_all()
    }
}

/// Says which generation is in force from the next start on, and which files it has; 0: none, the engine's own file is.
///
/// # Errors
/// The state folder cannot be written to.
pub fn keep_in_force(state: &Path, generation: u64, digest: &str) -> io::Result<()> {
    let (path, beside) = (state.join(IN_FORCE), state.join(format!("{IN_FORCE}.new")));
    let mut file = readable(File::create(&beside)?)?;
    writeln!(file, "{generation} {digest}")?;
    file.sync_all()?;
    fs::rename(beside, path)
}

/// The digest of the files that are in force, as the state folder has it; empty: it has none.
pub fn digest_in_force(state: &Path) -> String {
    let text = fs::read_to_string(state.join(IN_FORCE)).unwrap_or_default();
    text.split_whitespace().nth(1).unwrap_or_default().to_owned()
}

/// Keeps that the fleet drains this engine, or no longer: one that is started anew without etcd is still drained.
///
/// # Errors
/// The state folder cannot be written to.
pub fn keep_drained(state: &Path, is_drained: bool) -> io::Result<()> {
    let path = state.join(DRAINED);
    if is_drained {
        return File::create(path)?.sync_all();
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The fleet drained this engine when it was heard of last.
pub fn is_drained(state: &Path) -> bool {
    state.join(DRAINED).exists()
}

/// Others than this user read it, too: the signer has one of its own. A policy is no secret.
fn readable(file: File) -> io::Result<File> {
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    Ok(file)
}

/// Likewise, a folder; it may be there.
fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

/// A generation is here, whole.
pub fn is_here(state: &Path, generation: u64, manifest: &Manifest) -> bool {
    let folder = generation_folder(state, generation);
    manifest.files.iter().all(|file| {
        let path = folder.join(&file.path);
        self::entry(file.path.clone(), &path).is_ok_and(|found| found == *file)
    })
}

/// Removes older generations than the newest few, but for these.
///
/// # Errors
/// The state folder cannot be written to.
pub fn prune(state: &Path, keep: &[u64]) -> io::Result<()> {
    let old: Vec<_> = generations(state)?.into_iter().filter(|number| !keep.contains(number)).collect();
    for number in &old[..old.len().saturating_sub(KEPT)] {
        remove(&generation_folder(state, *number))?;
    }
    Ok(())
}

/// Generations that are here.
fn generations(state: &Path) -> io::Result<BTreeSet<u64>> {
    let folder = state.join("generations");
    let entries = match folder.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries?,
    };
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn unpack(state: &Path, generation: u64, packed: &Packed) -> Vec<bool> {
        let unpacking = Unpacking::begin(state, generation, &[]).unwrap();
        let reused = packed.files.iter().map(|(entry, path)| {
            let reused = unpacking.reuse(entry).unwrap();
            if !reused {
                let mut file = unpacking.file(entry).unwrap();
                parts(path).unwrap().for_each(|part| file.push(&part.unwrap()).unwrap());
                file.end().unwrap();
            }
            reused
        });
        let reused = reused.collect();
        unpacking.end().unwrap();
        reused
    }

    #[test]
    fn what_a_policy_names_goes_with_it_and_comes_out_the_same() {
        let (from, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, state) = (from.path(), state.path());
        write(
            from,
            "edge.toml",
            "[policy]\ndefault = \"bypass\"\n[[list]]\nname = \"ads\"\nkind = \"domain\"\nfiles = [\"lists/*.txt\"]\n",
        );
        write(from, "lists/ads.txt", "ads.example\n");
        write(from, "secret.key", "no");
        let packed = Packed::of(&from.join("edge.toml")).unwrap();
        let paths: Vec<_> = packed.files.iter().map(|(entry, _)| entry.path.as_str()).collect();
        assert_eq!(paths, ["lists/ads.txt", "policy.toml"]);
        assert_eq!(unpack(state, 1, &packed), [false, false]);
        write(
            from,
            "edge.toml",
            "[policy]\ndefault = \"block\"\n[[list]]\nname = \"ads\"\nkind = \"domain\"\nfiles = [\"lists/ads.txt\"]\n",
        );
        let packed = Packed::of(&from.join("edge.toml")).unwrap();
        assert_eq!(unpack(state, 2, &packed), [true, false], "what is the same is not fetched again");
        let read = |path: &str| fs::read_to_string(state.join("generations/2").join(path)).unwrap();
        assert_eq!(read("lists/ads.txt"), "ads.example\n");
        assert!(read("policy.toml").contains("block"));
    }

    #[test]
    fn a_folder_is_taken_whole_and_links_are_not() {
        let from = tempfile::tempdir().unwrap();
        write(from.path(), "policy.toml", "");
        write(from.path(), "a/b.txt", "b");
        write(from.path(), ".git/config", "x");
        let packed = Packed::of(from.path()).unwrap();
        assert_eq!(packed.files.len(), 2);
        std::os::unix::fs::symlink("/etc/passwd", from.path().join("a/c")).unwrap();
        assert!(Packed::of(from.path()).unwrap_err().contains("expected a file or a folder"));
    }

    #[test]
    fn files_elsewhere_are_not_taken() {
        let from = tempfile::tempdir().unwrap();
        write(
            from.path(),
            "p/policy.toml",
            "[[list]]\nname = \"a\"\nkind = \"domain\"\nfiles = [\"../a.txt\"]\n",
        );
        write(from.path(), "a.txt", "a.example\n");
        assert!(Packed::of(&from.path().join("p/policy.toml")).unwrap_err().contains("relative path"));
    }

    #[test]
    fn what_is_not_what_its_hash_says_is_not_taken() {
        let state = tempfile::tempdir().unwrap();
        let unpacking = Unpacking::begin(state.path(), 1, &[]).unwrap();
        let entry = FileEntry { path: "policy.toml".into(), sha256: hex(&Sha256::digest(b"good")), size: 4 };
        let mut file = unpacking.file(&entry).unwrap();
        file.push(b"evil").unwrap();
        assert!(file.end().is_err());
        let mut file = unpacking.file(&entry).unwrap();
        assert!(file.push(b"good and more").is_err());
    }

    #[test]
    fn old_generations_go_and_those_of_use_stay() {
        let state = tempfile::tempdir().unwrap();
        (1..=9).for_each(|n| write(state.path(), &format!("generations/{n}/policy.toml"), ""));
        prune(state.path(), &[2, 9]).unwrap();
        assert_eq!(generations(state.path()).unwrap(), BTreeSet::from([2, 6, 7, 8, 9]));
        keep_in_force(state.path(), 9, "ab").unwrap();
        assert_eq!(config::in_force(state.path()), Ok(Some(9)));
        assert_eq!(digest_in_force(state.path()), "ab");
        keep_in_force(state.path(), 0, "").unwrap();
        assert_eq!(config::in_force(state.path()), Ok(None));
        assert_eq!(digest_in_force(state.path()), "");
    }

    #[test]
    fn a_fetch_begins_with_room() {
        let state = tempfile::tempdir().unwrap();
        (1..=6).for_each(|n| write(state.path(), &format!("generations/{n}/policy.toml"), ""));
        write(state.path(), "generations/7.new/policy.toml", "half of it");
        write(state.path(), "generations/8.new/policy.toml", "half of another one");
        Unpacking::begin(state.path(), 9, &[1]).unwrap();
        assert_eq!(generations(state.path()).unwrap(), BTreeSet::from([1, 4, 5, 6]));
        let left = |n| state.path().join(format!("generations/{n}.new")).exists();
        assert_eq!([7, 8, 9].map(left), [false, false, true]);
    }

    #[test]
    fn the_signer_s_user_may_read_what_was_unpacked() {
        let (from, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(from.path(), "policy.toml", "");
        write(from.path(), "a/b/c.txt", "c");
        // As a service with a narrow mask has made it.
        write(state.path(), "generations/x", "");
        fs::set_permissions(state.path().join("generations"), fs::Permissions::from_mode(0o700)).unwrap();
        unpack(state.path(), 1, &Packed::of(from.path()).unwrap());
        keep_in_force(state.path(), 1, "").unwrap();
        let mode = |path: &str| state.path().join(path).metadata().unwrap().permissions().mode() & 0o777;
        for folder in ["generations", "generations/1", "generations/1/a", "generations/1/a/b"] {
            assert_eq!(mode(folder), 0o755, "{folder}");
        }
        for file in ["in-force", "generations/1/policy.toml", "generations/1/a/b/c.txt"] {
            assert_eq!(mode(file), 0o644, "{file}");
        }
    }

    #[test]
    fn that_it_is_drained_is_kept() {
        let state = tempfile::tempdir().unwrap();
        keep_drained(state.path(), false).unwrap();
        assert!(!is_drained(state.path()));
        keep_drained(state.path(), true).unwrap();
        assert!(is_drained(state.path()));
        keep_drained(state.path(), false).unwrap();
        assert!(!is_drained(state.path()));
    }
}
