//! Which rules a message may match: found by one thing that each asks for, so that most of many rules are not asked at all.
//!
//! A rule that names hosts is found by the host of the request, which is looked up once for all requests of it in a row. A text that each
//! value of one condition must have in it serves, too: of the path, also where a host is named, or else of a field. All these texts are
//! looked for at once. What is found is asked in full.

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous;
use aho_corasick::{Anchored, BuildError, dfa};
use hashbrown::HashMap;

use super::edit::Direction;
use super::pattern::{Glob, TextPattern};
use super::rule::{COOKIE, CompiledContentRule, ContentRule};
use super::{Request, RequestFacts};
use crate::fields::{Fields, is_name};
use crate::policy::Lists;
use crate::policy::name_index::NameIndex;
use crate::policy::names::HostName;

/// Bytes of texts up to which the search has a table of 256 bytes for each of them: 8 MiB, and four times as fast.
const MAX_FAST: usize = 32 * 1024;

/// The places of rules among the rules, by what they ask for.
#[derive(Debug, Default)]
pub(super) struct RuleIndex {
    by_host: NameIndex,
    /// By the list that they ask for.
    by_list: Vec<Vec<usize>>,
    /// Of each rule: its host and a text of its path must both be found.
    asks_both: Vec<bool>,
    paths: Texts,
    request: Heads,
    /// Rules that ask nothing of a request but what its response decides, in order.
    deferred: Vec<usize>,
    response: Heads,
}

/// Most values that are kept of one direction.
const MAX_VALUES: usize = 4;
/// Most bytes of one, and most rules that were found in it.
const MAX_VALUE: usize = 256;
const MAX_PLACES: usize = 64;

/// What was found for the last messages of a connection, which those behind them mostly repeat: the host, the client's name, the type.
#[derive(Debug, Default)]
pub struct LastFound {
    host: HostRules,
    request: Vec<FoundValue>,
    response: Vec<FoundValue>,
}

/// Rules whose condition on the host holds.
#[derive(Debug, Default)]
struct HostRules {
    host: Option<Box<str>>,
    /// To be asked, whatever the path.
    places: Vec<usize>,
    /// To be asked if a text of theirs is in the path.
    if_text: Vec<usize>,
}

/// The value of a field, and the rules whose texts are in it.
#[derive(Debug)]
struct FoundValue {
    /// Its place among the fields that rules ask for.
    field: usize,
    value: Vec<u8>,
    places: Vec<usize>,
}

impl LastFound {
    /// Bytes of memory that it holds beside its own size.
    pub fn memory(&self) -> usize {
        let Self { host: HostRules { host, places, if_text }, request, response } = self;
        let values = request.iter().chain(response);
        host.as_ref().map_or(0, |host| host.len())
            + (places.capacity() + if_text.capacity()) * size_of::<usize>()
            + (request.capacity() + response.capacity()) * size_of::<FoundValue>()
            + values
                .map(|each| each.value.capacity() + each.places.capacity() * size_of::<usize>())
                .sum::<usize>()
    }
}

impl RuleIndex {
    pub(super) fn new(rules: &[CompiledContentRule], lists: &Lists) -> Self {
        let by_list = vec![Vec::new(); lists.iter().count()];
        let mut index = Self { by_list, asks_both: vec![false; rules.len()], ..Self::default() };
        let (mut paths, mut request, mut response) =
            (TextsBuilder::default(), HeadsBuilder::default(), HeadsBuilder::default());
        for (place, rule) in rules.iter().enumerate() {
            let rule = rule.rule();
            if rule.host_list.is_some() || !rule.host.is_empty() {
                index.insert_host(rule, place);
                if let Some(texts) = texts_of_path(rule) {
                    texts.into_iter().for_each(|text| paths.insert(&text, place));
                    index.asks_both[place] = true;
                }
                continue;
            }
            if is_deferred(rule) {
                index.deferred.push(place);
                response.insert(field_of_response(rule), place);
                // The response says of itself what the rule asks. The request may say it, too.
                if rule.direction.is_none() && rule.status.is_empty() {
                    request.insert(type_of(rule), place);
                }
            } else if let Some(texts) = texts_of_path(rule) {
                texts.into_iter().for_each(|text| paths.insert(&text, place));
            } else {
                request.insert(field_of_request(rule), place);
            }
        }
        (index.paths, index.request, index.response) = (paths.build(), request.build(), response.build());
        index
    }

    fn insert_host(&mut self, rule: &ContentRule, place: usize) {
        // A list that there is not has no names.
        if let Some(places) = rule.host_list.and_then(|list| self.by_list.get_mut(list.index())) {
            places.push(place);
        }
        rule.host.iter().for_each(|pattern| self.by_host.insert(pattern, place));
    }

    /// Rules whose condition on the host holds, in any order.
    pub(super) fn named(&self, facts: &RequestFacts<'_>, request: &Request<'_>, lists: &Lists) -> Vec<usize> {
        let Some(host) = facts.host else { return Vec::new() };
        let mut places = self.of_host(host, lists);
        places.extend(self.of_url(facts, request, lists));
        places
    }

    fn of_host(&self, host: &str, lists: &Lists) -> Vec<usize> {
        let name = HostName::new(host);
        let mut places: Vec<usize> = self.by_host.matching(&name).flatten().copied().collect();
        places.extend(lists.of_host(&name).iter().flat_map(|list| &self.by_list[list.index()]));
        places
    }

    /// Likewise, as far as a path belongs to what is listed.
    fn of_url(&self, facts: &RequestFacts<'_>, request: &Request<'_>, lists: &Lists) -> Vec<usize> {
        let Some(host) = facts.host.filter(|_| lists.have_urls()) else { return Vec::new() };
        // They have paths in the same form.
        let on = lists.of_url(host, &request.target.whole());
        on.iter().flat_map(|list| self.by_list[list.index()].iter().copied()).collect()
    }

    /// Has `last` be those of this host.
    fn refresh(&self, last: &mut HostRules, host: Option<&str>, lists: &Lists) {
        if last.host.as_deref() == host {
            return;
        }
        let places = host.map_or_else(Vec::new, |host| self.of_host(host, lists));
        let (if_text, places) = in_order(places).into_iter().partition(|place| self.asks_both[*place]);
        *last = HostRules { host: host.map(Into::into), places, if_text };
    }

    /// Rules that a request may match, in order. Those that are [deferred](Self::deferred) are among them only if it may match them
    /// itself. `last`: of the request before it.
    pub(super) fn at_request(
        &self,
        facts: &RequestFacts<'_>,
        request: &Request<'_>,
        lists: &Lists,
        last: &mut LastFound,
    ) -> Vec<usize> {
        let LastFound { host: last, request: values, .. } = last;
        self.refresh(last, facts.host, lists);
        let listed = self.of_url(facts, request, lists);
        let mut places = Vec::with_capacity(16);
        self.paths.find(request.target.path.as_bytes(), &mut places);
        let has_host = |place: &usize| last.if_text.binary_search(place).is_ok() || listed.contains(place);
        places.retain(|place| !self.asks_both[*place] || has_host(place));
        places.extend(&last.places);
        places.extend(listed.iter().filter(|place| !self.asks_both[**place]));
        self.request.find(request.fields, values, &mut places);
        in_order(places)
    }

    /// Rules in order, of which the response decides on whatever is requested.
    pub(super) fn deferred(&self) -> &[usize] {
        &self.deferred
    }

    /// Those of the deferred ones that a response may match, in order. `last`: of the response before it.
    pub(super) fn at_response(&self, fields: &Fields, last: &mut LastFound) -> Vec<usize> {
        let mut places = Vec::new();
        self.response.find(fields, &mut last.response, &mut places);
        in_order(places)
    }
}

pub(super) fn in_order(mut places: Vec<usize>) -> Vec<usize> {
    if !places.is_sorted_by(|a, b| a < b) {
        places.sort_unstable();
        places.dedup();
    }
    places
}

/// Whatever is requested, it is the response that decides. A name of a file may come from the path, and a size from the request.
fn is_deferred(rule: &ContentRule) -> bool {
    let ContentRule { profile, source, source_list, destination, destination_list, .. } = rule;
    let ContentRule {
        method,
        path,
        path_regex,
        query,
        direction,
        header,
        status,
        content_type,
        file_type,
        signatures,
        ..
    } = rule;
    let asks_connection = !(profile.is_empty() && source.is_empty() && destination.is_empty())
        || source_list.is_some()
        || destination_list.is_some();
    let asks_line = !(method.is_empty() && path.is_empty() && path_regex.is_empty() && query.is_empty());
    let is_of_response = match direction {
        Some(Direction::Response) => true,
        Some(Direction::Request) => false,
        // A field is the request's.
        None => {
            let asks_type = !content_type.is_empty() && rule.size.is_none() && signatures.is_empty();
            header.is_empty() && (!status.is_empty() || !file_type.is_empty() || asks_type)
        }
    };
    is_of_response && rule.file_name.is_empty() && !asks_connection && !asks_line
}

/// A field that a message must have for a rule to match; and texts one of which must be in it, if that is known.
type Asked<'a> = Option<(&'a str, Option<Vec<&'a str>>)>;

fn field_of_request(rule: &ContentRule) -> Asked<'_> {
    if rule.direction == Some(Direction::Response) {
        return None;
    }
    let of_type = if rule.direction == Some(Direction::Request) { type_of(rule) } else { None };
    header_of(rule).or(of_type)
}

fn field_of_response(rule: &ContentRule) -> Asked<'_> {
    let header = if rule.direction == Some(Direction::Response) { header_of(rule) } else { None };
    header.or_else(|| type_of(rule))
}

fn header_of(rule: &ContentRule) -> Asked<'_> {
    // One with a text, if there is one.
    let known = rule.header.iter().find_map(|(name, pattern)| match pattern {
        // A text may stand across the pieces of a cookie.
        TextPattern::Glob(glob) if !glob.text().is_empty() && &**name != COOKIE => {
            Some((&**name, Some(vec![glob.text()])))
        }
        TextPattern::Glob(_) | TextPattern::Regex(_) => None,
    });
    known.or_else(|| rule.header.first().map(|(name, _)| (&**name, None)))
}

fn type_of(rule: &ContentRule) -> Asked<'_> {
    (!rule.content_type.is_empty()).then(|| ("content-type", texts_of(&rule.content_type)))
}

/// Texts one of which is in each path that a rule asks for; none: anything may be.
fn texts_of_path(rule: &ContentRule) -> Option<Vec<String>> {
    if let Some(texts) = texts_of(&rule.path) {
        return Some(texts.into_iter().map(str::to_owned).collect());
    }
    let texts = rule.path_regex.iter().map(TextPattern::texts).collect::<Option<Vec<_>>>()?.concat();
    (!texts.is_empty()).then_some(texts)
}

/// Texts one of which is in whatever is like one of the globs; none: anything may be.
fn texts_of(globs: &[Glob]) -> Option<Vec<&str>> {
    let texts: Vec<_> = globs.iter().map(Glob::text).collect();
    (!texts.is_empty() && texts.iter().all(|text| !text.is_empty())).then_some(texts)
}

/// Rules by fields of a head.
#[derive(Debug, Default)]
struct Heads {
    /// Rules that no field is known of.
    always: Vec<usize>,
    fields: Vec<(Box<str>, FieldRules)>,
    /// A bit for each length of their names, from 0 to 63: most fields of a message are not even as long as one of them.
    lengths: u64,
}

/// Rules that ask for a field.
#[derive(Debug, Default)]
struct FieldRules {
    /// Whatever is in it.
    any: Vec<usize>,
    texts: Texts,
}

impl Heads {
    fn find(&self, fields: &Fields, last: &mut Vec<FoundValue>, places: &mut Vec<usize>) {
        places.extend(&self.always);
        for field in fields.iter().filter(|field| self.lengths & length_bit(field.name) != 0) {
            let named = self.fields.iter().position(|(name, _)| is_name(field.name, name));
            if let Some(named) = named {
                let rules = &self.fields[named].1;
                places.extend(&rules.any);
                rules.find(named, field.value, last, places);
            }
        }
    }
}

impl FieldRules {
    /// Rules whose text is in the value. As long as the field, which is the one in place `field`, has the value that it had, it is not searched.
    fn find(&self, field: usize, value: &[u8], last: &mut Vec<FoundValue>, places: &mut Vec<usize>) {
        let at = last.iter().position(|known| known.field == field);
        if let Some(known) = at.map(|at| &last[at]).filter(|known| known.value == value) {
            return places.extend(&known.places);
        }
        let before = places.len();
        self.texts.find(value, places);
        if value.len() > MAX_VALUE || places.len() - before > MAX_PLACES {
            return;
        }
        let at = at.unwrap_or(last.len());
        if at == MAX_VALUES {
            return;
        }
        if at == last.len() {
            last.push(FoundValue { field, value: Vec::new(), places: Vec::new() });
        }
        let known = &mut last[at];
        known.value.clear();
        known.value.extend_from_slice(value);
        known.places.clear();
        known.places.extend_from_slice(&places[before..]);
    }
}

/// The bit of a name's length.
fn length_bit(name: &[u8]) -> u64 {
    1 << name.len().min(63)
}

#[derive(Default)]
struct HeadsBuilder {
    always: Vec<usize>,
    fields: HashMap<Box<str>, (Vec<usize>, TextsBuilder)>,
}

impl HeadsBuilder {
    fn insert(&mut self, asked: Asked<'_>, place: usize) {
        let Some((name, texts)) = asked else { return self.always.push(place) };
        let (any, known) = self.fields.entry(name.into()).or_default();
        match texts {
            None => any.push(place),
            Some(texts) => texts.into_iter().for_each(|text| known.insert(text, place)),
        }
    }

    fn build(self) -> Heads {
        let fields = self.fields.into_iter();
        let fields: Vec<_> =
            fields.map(|(name, (any, texts))| (name, FieldRules { any, texts: texts.build() })).collect();
        let lengths = fields.iter().fold(0, |bits, (name, _)| bits | length_bit(name.as_bytes()));
        Heads { always: self.always, fields, lengths }
    }
}

/// Rules by a text that they look for.
#[derive(Debug, Default)]
struct Texts {
    /// None where there is nothing to look for.
    search: Option<Search>,
    /// Rules whose texts are too many to be looked for, or stand for bytes that are no text: they are always asked.
    unsearched: Vec<usize>,
    /// By the numbers of the texts.
    rules: Vec<Vec<usize>>,
}

impl Texts {
    /// Rules whose text is in this one. Case of ASCII letters does not count: types are compared without.
    fn find(&self, text: &[u8], places: &mut Vec<usize>) {
        places.extend(&self.unsearched);
        let found = |number: usize| places.extend(&self.rules[number]);
        match &self.search {
            None => {}
            Some(Search::Fast(search)) => each_in(search, text, found),
            Some(Search::Small(search)) => each_in(search, text, found),
        }
    }
}

/// Looks for all texts at once, byte by byte: most fields are short, and begin as some of many texts do, so that looking for beginnings
/// first costs more than it saves.
#[derive(Debug)]
enum Search {
    /// A table for each byte of the texts.
    Fast(dfa::DFA),
    Small(contiguous::NFA),
}

impl Search {
    fn new(texts: &[String]) -> Result<Self, BuildError> {
        if texts.iter().map(String::len).sum::<usize>() <= MAX_FAST {
            let mut builder = dfa::DFA::builder();
            Ok(Self::Fast(builder.prefilter(false).ascii_case_insensitive(true).build(texts)?))
        } else {
            let mut builder = contiguous::NFA::builder();
            Ok(Self::Small(builder.prefilter(false).ascii_case_insensitive(true).build(texts)?))
        }
    }
}

/// The number of each text that ends somewhere in this one.
fn each_in(search: &impl Automaton, text: &[u8], mut found: impl FnMut(usize)) {
    let Ok(mut state) = search.start_state(Anchored::No) else { return };
    for &byte in text {
        state = search.next_state(Anchored::No, state, byte);
        if search.is_match(state) {
            each_of(search, state, &mut found);
        }
    }
}

/// The number of each text that ends here: rare, and out of the way of the loop over bytes, which is a third as long without it.
#[cold]
fn each_of(search: &impl Automaton, state: StateID, found: &mut impl FnMut(usize)) {
    (0..search.match_len(state)).for_each(|n| found(search.match_pattern(state, n).as_usize()));
}

#[derive(Default)]
struct TextsBuilder(HashMap<String, Vec<usize>>);

impl TextsBuilder {
    fn insert(&mut self, text: &str, place: usize) {
        self.0.entry_ref(text).or_default().push(place);
    }

    fn build(mut self) -> Texts {
        // Rules have this for whatever is not UTF-8, which is searched as it is.
        let replaced = self.0.extract_if(|text, _| text.contains(char::REPLACEMENT_CHARACTER));
        let mut unsearched: Vec<_> = replaced.flat_map(|(_, rules)| rules).collect();
        let (texts, rules): (Vec<_>, Vec<_>) = self.0.into_iter().unzip();
        if texts.is_empty() {
            return Texts { unsearched, ..Texts::default() };
        }
        match Search::new(&texts) {
            Ok(search) => Texts { search: Some(search), unsearched, rules },
            Err(_) => {
                unsearched.extend(rules.into_iter().flatten());
                Texts { search: None, unsearched, rules: Vec::new() }
            }
        }
    }
}
