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

/// The scan of one body.
pub struct BodyScan {
    decoder: Decoder,
    is_coded: bool,
    /// Its first octets, until they show its type.
    first: Vec<u8>,
    kind: Option<FileType>,
    size: u64,
    sha256: Sha256,
    /// None: no list asks for it.
    md5: Option<Md5>,
    lists: Arc<Lists>,
    asked: HashLists,
    scanners: Vec<Box<dyn Scanner>>,
}

/// A scan, and what has come since it was last run.
pub struct BodyJob {
    /// Moves to the thread and back.
    pub scan: Box<BodyScan>,
    /// As they came, still coded.
    pub octets: Vec<u8>,
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
    /// A scanner cannot say, for this reason.
    Failed(Reason),
}

/// What is known of a whole body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Octets, decoded.
    pub size: u64,
    /// Of these.
    pub sha256: [u8; 32],
    /// Likewise, where a list asks for it.
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
            first: Vec::new(),
            kind: None,
            size: 0,
            sha256: Sha256::new(),
            md5: asked.want_md5().then(Md5::new),
            lists,
            asked,
            scanners,
        }
    }

    /// Bytes of memory that it holds, with its own size; the lists are everybody's.
    pub fn memory(&self) -> usize {
        let Self {
            decoder,
            is_coded: _,
            first,
            kind: _,
            size: _,
            sha256: _,
            md5: _,
            lists: _,
            asked: _,
            scanners,
        } = self;
        let scanners: usize =
            scanners.iter().map(|each| size_of_val(&**each) + each.memory() + size_of_val(each)).sum();
        size_of::<Self>() + decoder.memory() + first.capacity() + scanners
    }

    /// What it may grow by while it is away, nearly: a decoder of gzip. Those with larger windows are counted when they are back.
    pub fn growth(&self) -> usize {
        if self.is_coded { GROWTH } else { 0 }
    }

    fn feed(&mut self, coded: &[u8]) -> Result<Option<Finding>, Undecodable> {
        let Self { decoder, first, kind, size, sha256, md5, scanners, .. } = self;
        let mut hit = None;
        let flow = decoder.push(coded, &mut |plain| {
            *size += plain.len() as u64;
            sha256.update(plain);
            if let Some(md5) = md5 {
                md5.update(plain);
            }
            if kind.is_none() {
                first.extend_from_slice(&plain[..plain.len().min(ENOUGH - first.len())]);
                *kind = FileType::of(first, first.len() == ENOUGH);
            }
            hit = scanners.iter_mut().find_map(|scanner| scanner.feed(plain));
            if hit.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if kind.is_some() {
            *first = Vec::new();
        }
        // What was found before the damage stands.
        if hit.is_some() { Ok(hit) } else { flow.map(|_| None) }
    }

    fn end(&mut self) -> Result<(FileFacts, Option<Finding>), Undecodable> {
        self.decoder.finish()?;
        self.kind = self.kind.or_else(|| FileType::of(&self.first, true));
        let facts = FileFacts {
            size: self.size,
            sha256: self.sha256.finalize_reset().into(),
            md5: self.md5.as_mut().map(|md5| md5.finalize_reset().into()),
        };
        let hit = self.lists.of_hashes(&self.asked, &facts.sha256, facts.md5.as_ref());
        let hit = hit.map(|list| Finding::Hit(Hit::new(format!("list.{list}").into(), "hash")));
        let hit = hit.or_else(|| self.scanners.iter_mut().find_map(|scanner| scanner.end()));
        Ok((facts, hit))
    }
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

impl BodyJob {
    /// Looks at what has come.
    pub fn look(self) -> Looked {
        let Self { mut scan, octets, ends } = self;
        let found = match scan.feed(&octets) {
            Err(why) => Found::Undecodable(why),
            Ok(Some(Finding::Hit(hit))) => Found::Hit(hit, None),
            Ok(Some(Finding::Fails(reason))) => Found::Failed(reason),
            Ok(None) if !ends => Found::Nothing,
            Ok(None) => match scan.end() {
                Err(why) => Found::Undecodable(why),
                Ok((facts, Some(Finding::Hit(hit)))) => Found::Hit(hit, Some(facts)),
                Ok((_, Some(Finding::Fails(reason)))) => Found::Failed(reason),
                Ok((facts, None)) => Found::Clean(facts),
            },
        };
        Looked { kind: scan.kind, scan, found }
    }
}

impl Scan for BodyJob {
    fn run(self: Box<Self>) -> Verdict {
        Verdict::Looked(Box::new(self.look()))
    }
}
