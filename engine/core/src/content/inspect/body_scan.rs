//! One body on its way through decoder, type, hashes and scanners.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use md5::Md5;
use sha2::{Digest as _, Sha256};

use super::scanner::{Finding, Hit, Scanner};
use crate::content::body::{Codings, DecodeLimits, Decoder, FileType, Undecodable};
use crate::content::filter::{Scan, Verdict};
use crate::policy::{HashLists, Lists};
use crate::reason::Reason;

/// Octets by which a type is known.
const ENOUGH: usize = 4096;

/// Bytes that a decoder of gzip takes, and some.
const GROWTH: usize = 64 * 1024;

/// Octets that one coded octet becomes mostly, at most.
const UNFOLDS: usize = 4;

/// The scan of one body.
pub struct BodyScan {
    decoder: Decoder,
    is_coded: bool,
    keeps_back: bool,
    /// Its first octets, until they show its type.
    first: Vec<u8>,
    kind: Option<FileType>,
    size: u64,
    /// None: nobody asks for it.
    sha256: Option<Sha256>,
    /// Likewise.
    md5: Option<Md5>,
    lists: Arc<Lists>,
    asked: HashLists,
    scanners: Vec<Box<dyn Scanner>>,
    /// What takes the place of these as soon as the type is known: the first of that type. Until then nobody is asked.
    by_type: Vec<Asked>,
    /// Why scanners that are no longer among them could not say, as far as that is not told.
    failed: Vec<Reason>,
}

/// What a body of some types is asked about.
pub struct Asked {
    /// These; none: any.
    pub kinds: Vec<FileType>,
    /// On these lists.
    pub hashes: HashLists,
    /// By these.
    pub scanners: Vec<Box<dyn Scanner>>,
}

/// A scan, and what has come since it was last run.
pub struct BodyJob {
    /// Moves to the thread and back.
    pub scan: Box<BodyScan>,
    /// As they came, still coded, in pieces.
    pub octets: Vec<Vec<u8>>,
    /// No more comes.
    pub ends: bool,
}

/// What a thread says of a body.
pub struct Looked {
    /// For the next job.
    pub scan: Box<BodyScan>,
    /// Its type, as soon as it is known.
    pub kind: Option<FileType>,
    /// What is known now.
    pub found: Found,
}

/// What is known of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing so far; more is to come.
    Nothing,
    /// It has ended, and nothing was found.
    Clean(FileFacts),
    /// This. The facts are there if it has ended.
    Hit(Hit, Option<FileFacts>),
    /// It cannot be read.
    Undecodable(Undecodable),
    /// Scanners cannot say, for these reasons, and the others have found nothing so far. The facts are there if it has ended.
    Failed(Vec<Reason>, Option<FileFacts>),
}

/// What is known of a whole body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Octets, decoded.
    pub size: u64,
    /// Of these, where a list or the log asks for it.
    pub sha256: Option<[u8; 32]>,
    /// Likewise.
    pub md5: Option<[u8; 16]>,
}

impl BodyScan {
    /// For a body of these codings, that is asked about on these lists and by these scanners.
    pub fn new(
        codings: Codings,
        lists: Arc<Lists>,
        asked: HashLists,
        scanners: Vec<Box<dyn Scanner>>,
    ) -> Self {
        Self {
            decoder: Decoder::new(codings, DecodeLimits::default()),
            is_coded: !codings.is_empty(),
            keeps_back: codings.keep_back(),
            first: Vec::new(),
            kind: None,
            size: 0,
            sha256: asked.want_sha256().then(Sha256::new),
            md5: asked.want_md5().then(Md5::new),
            lists,
            asked,
            scanners,
            by_type: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Likewise, where the type decides what it is asked about: the first of these that is for it, if there is one.
    pub fn by_type(codings: Codings, lists: Arc<Lists>, by_type: Vec<Asked>) -> Self {
        // Until the type is known, whatever one of them would want.
        let sha256 = by_type.iter().any(|asked| asked.hashes.want_sha256()).then(Sha256::new);
        let md5 = by_type.iter().any(|asked| asked.hashes.want_md5()).then(Md5::new);
        Self { sha256, md5, by_type, ..Self::new(codings, lists, HashLists::default(), Vec::new()) }
    }

    /// Bytes of memory that it holds, with its own size; the lists are everybody's.
    pub fn memory(&self) -> usize {
        let Self {
            decoder,
            is_coded: _,
            keeps_back: _,
            first,
            kind: _,
            size: _,
            sha256: _,
            md5: _,
            lists: _,
            asked: _,
            scanners,
            by_type,
            failed: _,
        } = self;
        let scanners = scanners.iter().chain(by_type.iter().flat_map(|asked| &asked.scanners));
        let scanners: usize =
            scanners.map(|each| size_of_val(&**each) + each.memory() + size_of_val(each)).sum();
        size_of::<Self>() + decoder.memory() + first.capacity() + scanners
    }

    /// What it may grow by while it is away with so many octets, nearly: a decoder of gzip, and scanners that keep what they are fed.
    /// Larger windows, and what unfolds into more than `UNFOLDS` times its size, are counted when it is back.
    pub fn growth(&self, octets: usize) -> usize {
        let (decoder, plain) =
            if self.is_coded { (GROWTH, octets.saturating_mul(UNFOLDS)) } else { (0, octets) };
        let scanners = self.scanners.iter().chain(self.by_type.iter().flat_map(|asked| &asked.scanners));
        decoder + scanners.map(|scanner| scanner.growth(plain)).sum::<usize>()
    }

    /// What it was given may not have been looked at before the end has come.
    pub fn keeps_back(&self) -> bool {
        self.keeps_back
    }

    fn feed(&mut self, coded: &[u8]) -> Result<Option<Hit>, Undecodable> {
        let Self { decoder, first, kind, size, sha256, md5, asked, scanners, by_type, failed, .. } = self;
        let mut hit = None;
        let flow = decoder.push(coded, &mut |plain| {
            *size += plain.len() as u64;
            if let Some(sha256) = sha256 {
                sha256.update(plain);
            }
            if let Some(md5) = md5 {
                md5.update(plain);
            }
            let mut rest = plain;
            if kind.is_none() {
                let taken = plain.len().min(ENOUGH - first.len());
                let begin = if taken == ENOUGH {
                    &plain[..taken]
                } else {
                    first.extend_from_slice(&plain[..taken]);
                    &first[..]
                };
                *kind = FileType::of(begin, begin.len() == ENOUGH);
                if !by_type.is_empty() {
                    let Some(kind) = *kind else { return ControlFlow::Continue(()) };
                    (*asked, *scanners) = of_type(std::mem::take(by_type), kind);
                    *sha256 = sha256.take().filter(|_| asked.want_sha256());
                    *md5 = md5.take().filter(|_| asked.want_md5());
                    hit = ask_all(scanners, failed, |scanner| scanner.feed(begin));
                    rest = &plain[taken..];
                }
            }
            if hit.is_none() && !rest.is_empty() {
                hit = ask_all(scanners, failed, |scanner| scanner.feed(rest));
            }
            if hit.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if kind.is_some() {
            *first = Vec::new();
        }
        // What was found before the damage stands.
        if hit.is_some() { Ok(hit) } else { flow.map(|_| None) }
    }

    fn end(&mut self) -> Result<(FileFacts, Option<Hit>), Undecodable> {
        self.decoder.finish()?;
        self.kind = self.kind.or_else(|| FileType::of(&self.first, true));
        let hit = self.settle_type();
        let facts = FileFacts {
            size: self.size,
            sha256: self.sha256.as_mut().map(|sha256| sha256.finalize_reset().into()),
            md5: self.md5.as_mut().map(|md5| md5.finalize_reset().into()),
        };
        let listed = self.lists.of_hashes(&self.asked, facts.sha256.as_ref(), facts.md5.as_ref());
        let listed = listed.map(|list| Hit::new(format!("list.{list}").into(), "hash"));
        let hit =
            hit.or(listed).or_else(|| ask_all(&mut self.scanners, &mut self.failed, |scanner| scanner.end()));
        Ok((facts, hit))
    }
}

/// What content of a type is asked about.
fn of_type(by_type: Vec<Asked>, kind: FileType) -> (HashLists, Vec<Box<dyn Scanner>>) {
    let is_for = |asked: &Asked| asked.kinds.is_empty() || asked.kinds.contains(&kind);
    by_type.into_iter().find(is_for).map(|asked| (asked.hashes, asked.scanners)).unwrap_or_default()
}

impl BodyScan {
    /// No more of it is known by which its type could show.
    fn settle_type(&mut self) -> Option<Hit> {
        if self.by_type.is_empty() {
            return None;
        }
        let kind = *self.kind.get_or_insert(FileType::Unknown);
        (self.asked, self.scanners) = of_type(std::mem::take(&mut self.by_type), kind);
        self.sha256 = self.sha256.take().filter(|_| self.asked.want_sha256());
        self.md5 = self.md5.take().filter(|_| self.asked.want_md5());
        if self.first.is_empty() {
            return None;
        }
        ask_all(&mut self.scanners, &mut self.failed, |scanner| scanner.feed(&self.first))
    }

    /// No more of it can be read. Clients use what lies before the damage, so scanners that look at a whole say what they think of that.
    fn damaged(&mut self, why: Undecodable) -> Found {
        let hit = self.settle_type();
        match hit.or_else(|| ask_all(&mut self.scanners, &mut self.failed, |scanner| scanner.end())) {
            Some(hit) => Found::Hit(hit, None),
            None => Found::Undecodable(why),
        }
    }
}

/// The first hit of all scanners. One that cannot say is asked no more, and the others are asked all the same.
fn ask_all(
    scanners: &mut Vec<Box<dyn Scanner>>,
    failed: &mut Vec<Reason>,
    ask: impl Fn(&mut dyn Scanner) -> Option<Finding>,
) -> Option<Hit> {
    let mut hit = None;
    scanners.retain_mut(|scanner| {
        if hit.is_some() {
            return true;
        }
        match ask(&mut **scanner) {
            None => true,
            Some(Finding::Hit(found)) => {
                hit = Some(found);
                true
            }
            Some(Finding::Fails(reason)) => {
                failed.push(reason);
                false
            }
        }
    });
    hit
}

impl fmt::Debug for BodyScan {
    /// Without what it has seen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyScan").field("kind", &self.kind).field("size", &self.size).finish_non_exhaustive()
    }
}

impl fmt::Debug for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Looked").field("kind", &self.kind).field("found", &self.found).finish_non_exhaustive()
    }
}

impl BodyScan {
    /// Looks at what has come, in its order. `ends`: no more comes.
    pub(crate) fn look(&mut self, octets: &[impl AsRef<[u8]>], ends: bool) -> Found {
        match octets.iter().find_map(|octets| self.feed(octets.as_ref()).transpose()).transpose() {
            Err(why) => self.damaged(why),
            Ok(Some(hit)) => Found::Hit(hit, None),
            Ok(None) if !ends => match std::mem::take(&mut self.failed) {
                failed if failed.is_empty() => Found::Nothing,
                failed => Found::Failed(failed, None),
            },
            Ok(None) => match self.end() {
                Err(why) => self.damaged(why),
                Ok((facts, Some(hit))) => Found::Hit(hit, Some(facts)),
                Ok((facts, None)) => match std::mem::take(&mut self.failed) {
                    failed if failed.is_empty() => Found::Clean(facts),
                    failed => Found::Failed(failed, Some(facts)),
                },
            },
        }
    }

    /// To look at octets takes no longer than to hand them to a thread, as far as is known.
    pub(crate) fn is_quick(&self) -> bool {
        let is_plain = !self.is_coded && self.by_type.is_empty();
        let hashes = self.sha256.is_some() || self.md5.is_some();
        is_plain && !hashes && self.scanners.iter().all(|scanner| scanner.is_quick())
    }

    /// The type of the body, as soon as it is known.
    pub(crate) fn kind(&self) -> Option<FileType> {
        self.kind
    }
}

impl BodyJob {
    /// Looks at what has come.
    pub fn look(self) -> Looked {
        let Self { mut scan, octets, ends } = self;
        let found = scan.look(&octets, ends);
        Looked { kind: scan.kind, scan, found }
    }
}

impl Scan for BodyJob {
    fn run(self: Box<Self>) -> Verdict {
        Verdict::Looked(Box::new(self.look()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says this to the first octets, and nothing at the end.
    struct Says(Option<Finding>);

    impl Scanner for Says {
        fn feed(&mut self, _: &[u8]) -> Option<Finding> {
            self.0.take()
        }

        fn end(&mut self) -> Option<Finding> {
            None
        }

        fn memory(&self) -> usize {
            0
        }
    }

    /// Finds something at the end.
    struct Finds;

    impl Scanner for Finds {
        fn feed(&mut self, _: &[u8]) -> Option<Finding> {
            None
        }

        fn end(&mut self) -> Option<Finding> {
            Some(Finding::Hit(Hit::new("last".into(), "it")))
        }

        fn memory(&self) -> usize {
            0
        }
    }

    /// Finds something at the end, if it has seen so many octets.
    struct FindsAll(Arc<str>, usize, usize);

    impl Scanner for FindsAll {
        fn feed(&mut self, octets: &[u8]) -> Option<Finding> {
            self.1 += octets.len();
            None
        }

        fn end(&mut self) -> Option<Finding> {
            (self.1 == self.2).then(|| Finding::Hit(Hit::new(Arc::clone(&self.0), "it")))
        }

        fn memory(&self) -> usize {
            0
        }
    }

    fn look(scan: Box<BodyScan>, octets: &[u8], ends: bool) -> Looked {
        BodyJob { scan, octets: vec![octets.to_vec()], ends }.look()
    }

    fn scan(scanners: Vec<Box<dyn Scanner>>) -> Box<BodyScan> {
        Box::new(BodyScan::new(Codings::default(), Arc::default(), HashLists::default(), scanners))
    }

    #[test]
    fn one_that_cannot_say_keeps_no_other_from_finding() {
        let fails = |reason| Box::new(Says(Some(Finding::Fails(reason)))) as Box<dyn Scanner>;
        let scan = scan(vec![fails(Reason::IcapOversize), fails(Reason::IcapDown), Box::new(Finds)]);
        let looked = look(scan, b"a", false);
        assert_eq!(looked.found, Found::Failed(vec![Reason::IcapOversize, Reason::IcapDown], None));
        let looked = look(looked.scan, b"b", false);
        assert_eq!(looked.found, Found::Nothing, "it is told once");
        let Found::Hit(hit, Some(_)) = look(looked.scan, b"", true).found else {
            panic!("the last one finds")
        };
        assert_eq!(&*hit.by, "last");
    }

    #[test]
    fn what_is_of_a_type_is_asked_about_by_those_who_are_for_it() {
        for (octets, by) in [(&b"\x7fELF"[..], "programs"), (b"text", "last")] {
            for len in [0, 4, 5_000, 20_000] {
                let hit =
                    |name: &str| Box::new(FindsAll(name.into(), 0, len + octets.len())) as Box<dyn Scanner>;
                let asked = |kinds: &[FileType], name| Asked {
                    kinds: kinds.to_vec(),
                    hashes: HashLists::default(),
                    scanners: vec![hit(name)],
                };
                let by_type = vec![asked(&[FileType::Elf], "programs"), asked(&[], "last")];
                let mut scan = Box::new(BodyScan::by_type(Codings::default(), Arc::default(), by_type));
                for piece in [octets, &vec![b'x'; len]].concat().chunks(999) {
                    scan = look(scan, piece, false).scan;
                }
                let Found::Hit(hit, Some(_)) = look(scan, b"", true).found else { panic!("{by} {len}") };
                assert_eq!(&*hit.by, by, "{len}");
            }
        }
    }

    #[test]
    fn hashes_are_those_that_somebody_asks_for() {
        let none = HashLists::default();
        let (mut sha256, mut md5) = (none, none);
        sha256.force_sha256();
        md5.force_md5();
        let known = |scan: BodyScan, octets: &[u8]| {
            let Found::Clean(facts) = look(Box::new(scan), octets, true).found else {
                panic!("nothing finds")
            };
            let right: ([u8; 32], [u8; 16]) = (Sha256::digest(octets).into(), Md5::digest(octets).into());
            assert!(
                facts.sha256.is_none_or(|hash| hash == right.0)
                    && facts.md5.is_none_or(|hash| hash == right.1)
            );
            (facts.sha256.is_some(), facts.md5.is_some())
        };
        let by_rule = |asked| BodyScan::new(Codings::default(), Arc::default(), asked, Vec::new());
        for (asked, expected) in [(none, (false, false)), (sha256, (true, false)), (md5, (false, true))] {
            assert_eq!(known(by_rule(asked), b"\x7fELF"), expected);
        }
        // Of two rules the type chooses one, late: no octet is missing in what that one asks for.
        let by_type = || {
            let asked =
                |kinds: &[FileType], hashes| Asked { kinds: kinds.to_vec(), hashes, scanners: Vec::new() };
            let by_type = vec![asked(&[FileType::Elf], sha256), asked(&[], md5)];
            BodyScan::by_type(Codings::default(), Arc::default(), by_type)
        };
        for len in [0, 20_000] {
            assert_eq!(known(by_type(), &[b"\x7fELF", &vec![b'x'; len][..]].concat()), (true, false));
            assert_eq!(known(by_type(), &[b"text", &vec![b'x'; len][..]].concat()), (false, true));
        }
    }

    #[test]
    fn what_failed_at_the_end_is_told_with_the_facts() {
        let scan = scan(vec![Box::new(Says(Some(Finding::Fails(Reason::IcapDown))))]);
        let Found::Failed(reasons, Some(facts)) = look(scan, b"abc", true).found else { panic!("it failed") };
        assert_eq!((reasons, facts.size), (vec![Reason::IcapDown], 3));
    }
}
