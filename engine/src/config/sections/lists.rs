//! `[[list]]`: names and addresses that others keep in files.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::list_files::{self, Stamp};
use crate::config::near::nearest;
use crate::config::reader::{Notes, Table, Value};
use wireglass_core::policy::{Format, ListId, ListKind, Lists, ListsBuilder, MAX_ENTRIES, MAX_LISTS, Report};

/// A file that was written to so many seconds ago may not be complete.
const SETTLED: u64 = 2;

const KINDS: &[(&str, ListKind)] = &{
    use ListKind::{Domain, Ip, Md5, Sha256, Url};
    [(Domain.name(), Domain), (Url.name(), Url), (Ip.name(), Ip), (Sha256.name(), Sha256), (Md5.name(), Md5)]
};
/// None: what the file looks like.
const FORMATS: &[(&str, Option<Format>)] = &{
    use Format::{Hosts, Plain, Rpz, Suricata, Ut1};
    [
        ("auto", None),
        (Plain.name(), Some(Plain)),
        (Hosts.name(), Some(Hosts)),
        (Ut1.name(), Some(Ut1)),
        (Rpz.name(), Some(Rpz)),
        (Suricata.name(), Some(Suricata)),
    ]
};

/// All lists, and the files that they come from.
#[derive(Debug)]
pub struct NamedLists {
    /// Their entries, shared by all who ask.
    pub lists: Arc<Lists>,
    /// In the order of `lists`.
    pub sources: Vec<ListSource>,
    /// What rules may ask for by name; none: it had faults of its own.
    by_name: BTreeMap<String, Option<(ListId, ListKind)>>,
}

/// Where a list comes from.
#[derive(Debug)]
pub struct ListSource {
    /// How rules refer to it.
    pub id: ListId,
    /// Where its table begins in the configuration.
    pub line: usize,
    /// What was read, in order.
    pub files: Vec<ListFile>,
    /// How often it is looked whether the files have changed; none: never.
    pub reload: Option<Duration>,
    /// The files, as the configuration names them.
    named: Vec<String>,
}

/// What was read of one file.
#[derive(Debug)]
pub struct ListFile {
    /// As it was found.
    pub path: PathBuf,
    /// Its form.
    pub format: Format,
    /// How it went.
    pub report: Report,
    stamp: Stamp,
}

impl ListFile {
    /// Lines that could not be read, one for each of those that are told.
    pub fn bad_lines(&self) -> impl Iterator<Item = String> {
        let told = self.report.told.len();
        let more = self.report.bad - told;
        self.report.told.iter().enumerate().map(move |(i, bad)| {
            let rest = if i + 1 == told && more > 0 { format!(" (and {more} more)") } else { String::new() };
            format!(
                "{}:{}: expected {}, found \"{}\"{rest}",
                self.path.display(),
                bad.line,
                bad.expected,
                bad.found
            )
        })
    }
}

impl NamedLists {
    pub(in crate::config) fn read(document: &Table<'_>, notes: &Notes<'_>) -> Self {
        let tables = document.tables("list");
        let mut key = [0; 16];
        if !tables.is_empty()
            && let Err(error) = getrandom::fill(&mut key)
        {
            notes.fault(None, None, format!("the system gives no random numbers: {error}"));
        }
        let mut builder = ListsBuilder::new(key);
        let (mut sources, mut by_name) = (Vec::new(), BTreeMap::new());
        for table in tables {
            sources.extend(read_list(&table, &mut builder, &mut by_name));
            table.finish();
        }
        Self { lists: Arc::new(builder.build()), sources, by_name }
    }

    /// The list that a value names, of one of these kinds.
    pub(super) fn named_by(&self, value: &Value<'_>, kinds: &[ListKind]) -> Option<ListId> {
        self.named(value, value.text()?, kinds)
    }

    /// The list of a name that a value has in it, of one of these kinds.
    pub(super) fn named(&self, value: &Value<'_>, name: &str, kinds: &[ListKind]) -> Option<ListId> {
        match self.by_name.get(name) {
            Some(&Some((id, found))) if kinds.contains(&found) => Some(id),
            Some(Some((_, found))) => {
                let wanted: Vec<_> = kinds.iter().map(|kind| format!("{:?}", kind.name())).collect();
                let (found, wanted) = (found.name(), wanted.join(" or "));
                value.say(format!("{name:?} is a list of kind {found:?}: expected one of kind {wanted}"));
                None
            }
            Some(None) => None,
            None => {
                let hint = nearest(name, self.by_name.keys().map(String::as_str))
                    .map(|near| format!(" (did you mean {near:?}?)"))
                    .unwrap_or_default();
                value.say(format!("no `[[list]]` of the name {name:?}{hint}"));
                None
            }
        }
    }

    /// Files of these lists that are not there, or not the same, in others.
    pub fn files_that_differ(&self, other: &Self) -> Vec<String> {
        let files = |lists: &Self| {
            let files = lists.sources.iter().flat_map(|source| &source.files);
            files.map(|file| (file.path.clone(), file.stamp)).collect::<Vec<_>>()
        };
        let (before, after) = (files(self), files(other));
        let gone = before.iter().filter(|file| !after.contains(file));
        let come = after.iter().filter(|file| !before.contains(file));
        let mut differ: Vec<_> = gone.chain(come).map(|(path, _)| path.display().to_string()).collect();
        differ.sort();
        differ.dedup();
        differ
    }
}

impl ListSource {
    /// What lies where its files are named, which are relative to `folder`.
    pub fn look(&self, folder: &Path) -> FoundFiles {
        let named = self.named.iter().flat_map(|named| list_files::find(folder, named).unwrap_or_default());
        // A folder is known by the one file in it that is read.
        let paths = named.map(|path| {
            let read = self.files.iter().find(|file| file.path.parent() == Some(&path));
            read.map_or(path.clone(), |file| file.path.clone())
        });
        FoundFiles(paths.map(|path| (Stamp::of(&path), path)).collect())
    }

    /// What was there when it was read.
    pub fn loaded(&self) -> FoundFiles {
        FoundFiles(self.files.iter().map(|file| (Some(file.stamp), file.path.clone())).collect())
    }
}

/// The files of a list at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundFiles(Vec<(Option<Stamp>, PathBuf)>);

impl FoundFiles {
    /// None of them was written to a moment ago: nobody is in the middle of it.
    pub fn are_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        self.0.iter().all(|(stamp, _)| stamp.is_none_or(|stamp| stamp.written().abs_diff(now) >= SETTLED))
    }
}

fn read_list(
    table: &Table<'_>,
    builder: &mut ListsBuilder,
    by_name: &mut BTreeMap<String, Option<(ListId, ListKind)>>,
) -> Option<ListSource> {
    let name = table.required("name", "a name for rules to refer to").and_then(|value| {
        let name = value.name()?;
        if by_name.insert(name.to_owned(), None).is_some() {
            value.expected("a name that no other list has");
        }
        Some(name)
    });
    let kind = table
        .required("kind", "\"domain\", \"url\", \"ip\", \"sha256\" or \"md5\"")
        .and_then(|value| value.choice(KINDS));
    let files = table.required("files", "the files that the list is read from");
    let format = table.value("format", "\"auto\"");
    let seconds = table.integer("reload_seconds", 0..=604_800, 0);
    let chosen = match &format {
        Some(value) => value.choice(FORMATS)?,
        None => None,
    };
    let (name, kind, files) = (name?, kind?, files?);
    if let (Some(value), Some(chosen)) = (&format, chosen)
        && !chosen.has(kind)
    {
        value.say(format!("{:?} files have no {}", chosen.name(), kind.entries()));
        return None;
    }
    let Some(id) = builder.declare(name, kind) else {
        table.say(format!("expected at most {MAX_LISTS} lists"));
        return None;
    };
    by_name.insert(name.to_owned(), Some((id, kind)));
    let items = files.items();
    if items.is_empty() && files.is_list() {
        files.expected("at least one file");
    }
    let mut source = ListSource {
        id,
        line: table.line(),
        files: Vec::new(),
        reload: (seconds > 0).then(|| Duration::from_secs(seconds)),
        named: items.iter().filter_map(|item| item.text().map(str::to_owned)).collect(),
    };
    for item in items {
        for path in item.files().into_iter().flatten() {
            match read_file(&path, id, kind, chosen, builder) {
                Ok(file) => source.files.push(file),
                Err(message) => item.say(message),
            }
        }
    }
    Some(source)
}

fn read_file(
    path: &Path,
    list: ListId,
    kind: ListKind,
    chosen: Option<Format>,
    builder: &mut ListsBuilder,
) -> Result<ListFile, String> {
    let path = if path.is_dir() { inside(path, kind, chosen)? } else { path.to_owned() };
    let (contents, stamp) = list_files::read(&path)?;
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let format = chosen.unwrap_or_else(|| Format::detect(kind, &file_name, &contents));
    let report = builder.read(list, format, &contents);
    let file = ListFile { path, format, report, stamp };
    if file.report.is_full {
        return Err(format!("{}: expected at most {MAX_ENTRIES} entries in all lists", file.path.display()));
    }
    if file.report.entries == 0 {
        return Err(NothingIn(&file, kind).to_string());
    }
    Ok(file)
}

/// The file of a folder as squidGuard has them.
fn inside(folder: &Path, kind: ListKind, chosen: Option<Format>) -> Result<PathBuf, String> {
    if !matches!(chosen, None | Some(Format::Ut1)) || kind.is_of_hashes() {
        return Err(format!("expected a file at {}, found a folder", folder.display()));
    }
    let name = if kind == ListKind::Url { "urls" } else { "domains" };
    let names = [name.to_owned(), format!("{name}.gz")];
    let found = names.iter().map(|name| folder.join(name)).find(|path| path.exists());
    found.ok_or_else(|| format!("expected a file `{name}` in {}", folder.display()))
}

/// A file of which nothing could be read.
struct NothingIn<'f>(&'f ListFile, ListKind);

impl fmt::Display for NothingIn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(file, kind) = self;
        write!(f, "no {} in {} (read as {:?})", kind.entries(), file.path.display(), file.format.name())?;
        if file.report.other_kinds > 0 {
            write!(f, "; {} entries of other kinds", file.report.other_kinds)?;
        }
        match file.bad_lines().next() {
            Some(bad) => write!(f, "; {bad}"),
            None => Ok(()),
        }
    }
}
