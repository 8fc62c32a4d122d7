//! Reads a TOML document key by key, and keeps going after a fault.
//!
//! What is asked for is what is known: a key that nobody asked for is a fault, and the list of all keys with their defaults
//! ([`Notes::keys`]) cannot differ from what is read.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Fault;
use super::list_files;
use super::near::nearest;
use super::pushed::{Pushed, is_pushed};

/// Longest piece of the configuration that a message quotes, in characters.
const MAX_QUOTE: usize = 60;

/// A document's text, and where its relative paths begin.
struct Source<'t> {
    text: &'t str,
    folder: &'t Path,
    /// Where lines end: a file may have as many faults as lines.
    line_ends: OnceCell<Vec<usize>>,
}

impl<'t> Source<'t> {
    fn new(text: &'t str, folder: &'t Path) -> Self {
        Self { text, folder, line_ends: OnceCell::new() }
    }

    /// The line of a place in the text, from 1.
    fn line(&self, at: usize) -> usize {
        let ends = self.line_ends.get_or_init(|| self.text.match_indices('\n').map(|(end, _)| end).collect());
        1 + ends.partition_point(|end| *end < at)
    }
}

/// What reading leaves behind, beside the values.
pub(super) struct Notes<'t> {
    own: Source<'t>,
    /// Where the sections of policy come from, if not from the configuration: the file's name, and its text.
    pushed: Option<(&'t Pushed, Source<'t>)>,
    faults: RefCell<Vec<Fault>>,
    /// Asked for, with their defaults; none where nobody wants to know.
    keys: Option<RefCell<BTreeMap<String, String>>>,
    /// The keys of the CAs are another process's business.
    leaves_ca_keys: bool,
    /// Named files: path, place, key.
    files: RefCell<Vec<(PathBuf, usize, String)>>,
    /// The same of what is no file: keys at tokens.
    others: RefCell<Vec<(PathBuf, usize, String)>>,
}

impl<'t> Notes<'t> {
    /// For a document with this text, whose relative paths begin at `folder`.
    pub(super) fn new(text: &'t str, folder: &'t Path) -> Self {
        Self {
            own: Source::new(text, folder),
            pushed: None,
            faults: RefCell::default(),
            keys: None,
            leaves_ca_keys: false,
            files: RefCell::default(),
            others: RefCell::default(),
        }
    }

    /// Has the keys of the CAs left where they are.
    pub(super) fn without_ca_keys(self) -> Self {
        Self { leaves_ca_keys: true, ..self }
    }

    pub(super) fn leaves_ca_keys(&self) -> bool {
        self.leaves_ca_keys
    }

    /// Notes all keys that are asked for, too.
    pub(super) fn with_keys(self) -> Self {
        Self { keys: Some(RefCell::default()), ..self }
    }

    /// Has the sections of policy come from another document.
    pub(super) fn with_pushed(self, pushed: Option<&'t Pushed>) -> Self {
        let source = |pushed: &'t Pushed| (pushed, Source::new(&pushed.text, pushed.folder()));
        Self { pushed: pushed.map(source), ..self }
    }

    pub(super) fn fault(&self, at: Option<usize>, key: Option<String>, message: String) {
        let key_of = key.as_deref().unwrap_or_default();
        let line = at.map(|at| self.source(key_of).line(at));
        let file = self.pushed.as_ref().filter(|_| is_pushed(key_of));
        let file = file.map(|(pushed, _)| pushed.file.display().to_string());
        self.faults.borrow_mut().push(Fault { file, line, key, message });
    }

    /// The document that a key is in.
    fn source(&self, key: &str) -> &Source<'t> {
        match &self.pushed {
            Some((_, source)) if is_pushed(key) => source,
            _ => &self.own,
        }
    }

    /// A fault of a file: it is blamed on this key, or else on the last one that names the file.
    pub(super) fn fault_of_file(&self, file: &str, key: Option<&str>, message: String) {
        let is_it = |(path, _, named): &&(PathBuf, usize, String)| {
            path.as_os_str() == file && key.is_none_or(|key| named == key)
        };
        let place = self.files.borrow().iter().rfind(is_it).cloned();
        let place = place.or_else(|| self.others.borrow().iter().rfind(is_it).cloned());
        let (at, key) = place.map(|(_, at, key)| (at, key)).unzip();
        self.fault(at, key, message);
    }

    pub(super) fn has_faults(&self) -> bool {
        !self.faults.borrow().is_empty()
    }

    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.faults.into_inner()
    }

    /// All keys that were asked for, present or not, with their defaults as text.
    pub(super) fn into_keys(self) -> BTreeMap<String, String> {
        self.keys.map(RefCell::into_inner).unwrap_or_default()
    }

    /// What the document names for the engine to read; not what it writes, and no sockets.
    pub(super) fn paths_read(&self) -> Vec<PathBuf> {
        const WRITTEN: [&str; 5] = ["log.", "control.", "verdicts.", "capture.", "exclusions."];
        let files = self.files.borrow();
        let is_read = |key: &str| !WRITTEN.iter().any(|section| key.starts_with(section));
        files.iter().filter(|(_, _, key)| is_read(key)).map(|(path, ..)| path.clone()).collect()
    }

    /// What the sections of a policy name.
    pub(super) fn policy_paths(&self) -> Vec<PathBuf> {
        let files = self.files.borrow();
        files.iter().filter(|(_, _, key)| is_pushed(key)).map(|(path, ..)| path.clone()).collect()
    }

    /// A path of this key's value.
    pub(super) fn path(&self, key: &str, text: &str) -> PathBuf {
        self.source(key).folder.join(text)
    }
}

/// A table of the document; one that is absent reads as empty.
pub(super) struct Table<'a> {
    notes: &'a Notes<'a>,
    /// As messages write it.
    path: String,
    /// As documents write it: without indices, and `NAME` for what the user names.
    pattern: String,
    at: usize,
    entries: Option<&'a DeTable<'a>>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    /// The document itself.
    pub(super) fn document(notes: &'a Notes<'a>, entries: &'a DeTable<'a>) -> Self {
        Self::new(notes, String::new(), String::new(), 0, Some(entries))
    }

    fn new(
        notes: &'a Notes<'a>,
        path: String,
        pattern: String,
        at: usize,
        entries: Option<&'a DeTable<'a>>,
    ) -> Self {
        Self { notes, path, pattern, at, entries, asked: RefCell::default() }
    }

    /// The value of a key. `default` says what its absence means.
    pub(super) fn value(&self, key: &'static str, default: impl Display) -> Option<Value<'a>> {
        if let Some(keys) = &self.notes.keys {
            keys.borrow_mut().insert(join(&self.pattern, key), default.to_string());
        }
        self.find(key)
    }

    /// The value of a key that must be there.
    pub(super) fn required(&self, key: &'static str, expected: &str) -> Option<Value<'a>> {
        let value = self.value(key, "required");
        if value.is_none() {
            self.missing(key, expected);
        }
        value
    }

    /// The keys of the CAs are not to be read.
    pub(super) fn leaves_ca_keys(&self) -> bool {
        self.notes.leaves_ca_keys()
    }

    /// A fault of a key that is not there.
    pub(super) fn missing(&self, key: &str, expected: &str) {
        self.notes.fault(Some(self.at), Some(join(&self.path, key)), format!("missing: expected {expected}"));
    }

    /// A fault of the table as a whole.
    pub(super) fn say(&self, message: impl Into<String>) {
        self.notes.fault(Some(self.at), Some(self.path.clone()), message.into());
    }

    pub(super) fn boolean(&self, key: &'static str, default: bool) -> bool {
        self.value(key, default).and_then(|value| value.boolean()).unwrap_or(default)
    }

    pub(super) fn integer<T>(&self, key: &'static str, range: RangeInclusive<T>, default: T) -> T
    where
        T: Copy + Display + TryFrom<i64> + PartialOrd,
    {
        self.value(key, default).and_then(|value| value.integer(range)).unwrap_or(default)
    }

    pub(super) fn choice<T: Copy + PartialEq>(&self, key: &'static str, of: &[(&str, T)], default: T) -> T {
        let name = of.iter().find(|(_, value)| *value == default).map_or("", |(name, _)| name);
        self.value(key, format!("{name:?}")).and_then(|value| value.choice(of)).unwrap_or(default)
    }

    /// A list of texts; an empty one where it is absent.
    pub(super) fn texts(&self, key: &'static str) -> Vec<String> {
        let items = self.value(key, "[]").map(|value| value.items()).unwrap_or_default();
        items.into_iter().filter_map(|item| item.text().map(str::to_owned)).collect()
    }

    /// A list of which one entry is to match. An empty one would match nothing, or be taken for "any": it is a fault.
    pub(super) fn any_of<T>(&self, key: &'static str, read: impl Fn(Value<'a>) -> Option<T>) -> Vec<T> {
        let Some(value) = self.value(key, "any") else { return Vec::new() };
        let items = value.items();
        if items.is_empty() && value.is_list() {
            value.expected("at least one entry (leave the key out to match any)");
        }
        items.into_iter().filter_map(read).collect()
    }

    /// What [`Self::any_of`] reads, or a table `{ list = NAME }` instead, of which `named` finds the list.
    pub(super) fn any_of_or_list<T, L>(
        &self,
        key: &'static str,
        read: impl Fn(Value<'a>) -> Option<T>,
        named: impl Fn(&Value<'a>) -> Option<L>,
    ) -> (Vec<T>, Option<L>) {
        let found = self.find(key).filter(|value| value.value.is_table());
        let (path, pattern) = (join(&self.path, key), join(&self.pattern, key));
        let at = found.as_ref().map_or(self.at, Value::at);
        let is_table = found.is_some();
        let table = Table::new(self.notes, path, pattern, at, found.and_then(|value| value.entries()));
        let name = table.value("list", "none");
        if !is_table {
            return (self.any_of(key, read), None);
        }
        if name.is_none() {
            table.missing("list", "the name of a `[[list]]`");
        }
        table.finish();
        (Vec::new(), name.and_then(|name| named(&name)))
    }

    /// The line on which this table begins.
    pub(super) fn line(&self) -> usize {
        self.notes.source(&self.path).line(self.at)
    }

    /// A table below this one.
    pub(super) fn table(&self, key: &'static str) -> Table<'a> {
        let (path, pattern) = (join(&self.path, key), join(&self.pattern, key));
        let found = self.find(key);
        let at = found.as_ref().map_or(self.at, |value| value.at());
        let entries = found.and_then(|value| value.entries());
        Table::new(self.notes, path, pattern, at, entries)
    }

    /// A table below this one whose absence is a fault.
    pub(super) fn required_table(&self, key: &'static str, expected: &str) -> Option<Table<'a>> {
        let table = self.table(key);
        if self.find(key).is_none() {
            self.missing(key, expected);
        }
        table.entries.is_some().then_some(table)
    }

    /// All tables of an array of tables.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Table<'a>> {
        let (path, pattern) = (join(&self.path, key), join(&self.pattern, key));
        let Some(found) = self.find(key) else { return Vec::new() };
        if !found.is_list() {
            found.expected(&format!("tables `[[{path}]]`"));
            return Vec::new();
        }
        let items = found.items().into_iter().enumerate();
        items
            .map(|(i, item)| {
                let path = format!("{path}[{}]", i + 1);
                Table::new(self.notes, path, pattern.clone(), item.at(), item.entries())
            })
            .collect()
    }

    /// All tables below this one, with the names that the user gave them.
    pub(super) fn named_tables(&self) -> Vec<(&'a str, Table<'a>)> {
        let entries = self.entries.into_iter().flatten();
        entries
            .map(|(name, value)| {
                let name: &str = name.get_ref();
                let value = self.located(name, value);
                let pattern = join(&self.pattern, "NAME");
                let table = Table::new(self.notes, value.path.clone(), pattern, value.at(), value.entries());
                (name, table)
            })
            .collect()
    }

    /// All values of this table, with the names that the user gave them.
    pub(super) fn named_values(&self) -> Vec<(&'a str, Value<'a>)> {
        let entries = self.entries.into_iter().flatten();
        entries
            .map(|(name, value)| {
                let name: &str = name.get_ref();
                (name, self.located(name, value))
            })
            .collect()
    }

    /// Every key that nobody asked for is a fault.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for (key, _) in self.entries.into_iter().flatten() {
            let name: &str = key.get_ref();
            if asked.contains(&name) {
                continue;
            }
            let hint = match nearest(name, asked.iter().copied()) {
                Some(near) => format!(" (did you mean `{near}`?)"),
                None => format!("; known here: {}", asked.join(", ")),
            };
            let message = format!("unknown key{hint}");
            self.notes.fault(Some(key.span().start), Some(join(&self.path, name)), message);
        }
    }

    fn find(&self, key: &'static str) -> Option<Value<'a>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        self.entries?.get(key).map(|value| self.located(key, value))
    }

    fn located(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        Value { notes: self.notes, path: join(&self.path, key), span: value.span(), value: value.get_ref() }
    }
}

/// A value and its place.
pub(super) struct Value<'a> {
    notes: &'a Notes<'a>,
    path: String,
    span: Range<usize>,
    value: &'a DeValue<'a>,
}

impl<'a> Value<'a> {
    pub(super) fn text(&self) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.expected("a text in quotes");
        }
        text
    }

    /// A text to show: not empty, not long, nothing in it that is not printed.
    pub(super) fn name(&self) -> Option<&'a str> {
        let name = self.text()?;
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            self.expected("a name of 1 to 64 bytes without control characters");
            return None;
        }
        Some(name)
    }

    /// A path; relative ones begin at the configuration's folder.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let path = self.path_of_others()?;
        self.reads(&path);
        Some(path)
    }

    /// This file is read for this value, now and at each reload.
    pub(super) fn reads(&self, path: &Path) {
        self.notes.files.borrow_mut().push((path.to_owned(), self.at(), self.path.clone()));
    }

    /// The same for a file that is read elsewhere: who reads the configuration may not be able to.
    pub(super) fn path_of_others(&self) -> Option<PathBuf> {
        let text = self.text()?;
        if text.is_empty() {
            self.expected("the path of a file");
            return None;
        }
        Some(self.notes.path(&self.path, text))
    }

    /// The path of a file that this value names beside other things.
    #[cfg(feature = "pkcs11")]
    pub(super) fn path_within(&self, text: &str) -> PathBuf {
        self.notes.path(&self.path, text)
    }

    /// Has faults of what messages call `name` blamed on this value, as those of a file are.
    pub(super) fn stands_for(&self, name: &str) {
        self.notes.others.borrow_mut().push((PathBuf::from(name), self.at(), self.path.clone()));
    }

    /// The keys of the CAs are for another process.
    pub(super) fn leaves_ca_keys(&self) -> bool {
        self.notes.leaves_ca_keys()
    }

    /// The files that a path stands for: itself, or what its `*`, `?` and `[...]` match, which must be something.
    pub(super) fn files(&self) -> Option<Vec<PathBuf>> {
        self.path()?;
        let found = list_files::find(self.notes.source(&self.path).folder, self.text()?);
        let Ok(files) = found.inspect_err(|error| self.expected(&format!("a pattern: {}", error.msg))) else {
            return None;
        };
        if files.is_empty() {
            self.say(format!("no file matches {:?}", self.text()?));
            return None;
        }
        Some(files)
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        let boolean = self.value.as_bool();
        if boolean.is_none() {
            self.expected("true or false");
        }
        boolean
    }

    pub(super) fn integer<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: Copy + Display + TryFrom<i64> + PartialOrd,
    {
        let number = self
            .value
            .as_integer()
            .and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok())
            .and_then(|number| T::try_from(number).ok())
            .filter(|number| range.contains(number));
        if number.is_none() {
            self.expected(&format!("a whole number from {} to {}", range.start(), range.end()));
        }
        number
    }

    pub(super) fn choice<T: Copy>(&self, of: &[(&str, T)]) -> Option<T> {
        let found = self.value.as_str().and_then(|text| of.iter().find(|(name, _)| *name == text));
        if found.is_none() {
            let names: Vec<_> = of.iter().map(|(name, _)| format!("{name:?}")).collect();
            let hint = self
                .value
                .as_str()
                .and_then(|text| nearest(text, of.iter().map(|(name, _)| *name)))
                .map(|near| format!(" (did you mean {near:?}?)"));
            let (one_of, names) = (if of.len() > 1 { "one of " } else { "" }, names.join(", "));
            self.say(format!("expected {one_of}{names}, found {}{}", self.found(), hint.unwrap_or_default()));
        }
        found.map(|(_, value)| *value)
    }

    /// A text that `T` can be made from; the error of `T` says what would have been right.
    pub(super) fn parse<T: FromStr<Err: Display>>(&self) -> Option<T> {
        let parsed = self.text()?.parse();
        parsed.inspect_err(|error: &T::Err| self.expected(&error.to_string())).ok()
    }

    /// Likewise, by a function.
    pub(super) fn parse_with<T, E: Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        parse(self.text()?).inspect_err(|error| self.expected(&error.to_string())).ok()
    }

    pub(super) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    pub(super) fn is_integer(&self) -> bool {
        self.value.is_integer()
    }

    /// None, without a fault: it is no table.
    pub(super) fn table(&self) -> Option<Table<'a>> {
        let entries = self.value.is_table().then(|| self.entries()).flatten()?;
        let pattern = "NAME".to_owned();
        Some(Table::new(self.notes, self.path.clone(), pattern, self.at(), Some(entries)))
    }

    pub(super) fn is_text(&self) -> bool {
        self.value.is_str()
    }

    /// The entries of a list.
    pub(super) fn items(&self) -> Vec<Value<'a>> {
        let Some(items) = self.value.as_array() else {
            self.expected("a list in brackets");
            return Vec::new();
        };
        let items = items.iter().enumerate();
        items
            .map(|(i, item)| Value {
                notes: self.notes,
                path: format!("{}[{}]", self.path, i + 1),
                span: item.span(),
                value: item.get_ref(),
            })
            .collect()
    }

    /// A fault: this is not what was expected.
    pub(super) fn expected(&self, expected: &str) {
        self.say(format!("expected {expected}, found {}", self.found()));
    }

    /// A fault in other words.
    pub(super) fn say(&self, message: impl Into<String>) {
        self.notes.fault(Some(self.at()), Some(self.path.clone()), message.into());
    }

    fn at(&self) -> usize {
        self.span.start
    }

    fn entries(&self) -> Option<&'a DeTable<'a>> {
        let table = self.value.as_table();
        if table.is_none() {
            self.expected("a table");
        }
        table
    }

    fn found(&self) -> String {
        match self.value {
            DeValue::Array(items) if items.is_empty() => "an empty list".into(),
            DeValue::Array(_) => "a list".into(),
            DeValue::Table(_) => "a table".into(),
            _ => {
                // As it is written, but on one line.
                let text = &self.notes.source(&self.path).text[self.span.clone()];
                let text: String = text.chars().flat_map(on_one_line).collect();
                match text.char_indices().nth(MAX_QUOTE) {
                    Some((cut, _)) => format!("{}...", &text[..cut]),
                    None => text,
                }
            }
        }
    }
}

fn on_one_line(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let itself = escaped.is_none().then_some(c);
    escaped.into_iter().flatten().chain(itself)
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
