//! Undoes the codings of one body, piece by piece.
//!
//! ```text
//! coded ──► outermost coding ──► inner coding ──► plain, in pieces of at most 8 KiB
//! ```

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::brotli::Brotli;
use super::coding::{Coding, Codings, Undecodable};
use super::inflate::Inflate;
use super::zstd::Zstd;

/// Bytes that are unfolded at once.
const PIECE: usize = 8 * 1024;

/// How much a body may unfold into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most bytes that come out of a coding.
    pub output: u64,
    /// Most bytes that come out for each that went in, once `ratio_from` have come out.
    pub ratio: u64,
    /// Bytes of output that may come at any ratio.
    pub ratio_from: u64,
    /// Most bytes of a window: what a decoder keeps of its output. Of brotli and zstd; those of deflate are small.
    pub window: usize,
}

impl Default for DecodeLimits {
    /// RFC 9659, 3, for the window: clients need not take a larger one of zstd. Deflate itself comes to 1032:1.
    fn default() -> Self {
        Self { output: 64 << 20, ratio: 1000, ratio_from: 1 << 20, window: 8 << 20 }
    }
}

/// One coding.
pub(super) enum Link {
    Inflate(Inflate),
    Brotli(Brotli),
    Zstd(Box<Zstd>),
}

/// What one step has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Coded bytes that were taken.
    pub(super) used: usize,
    /// Plain bytes that were made.
    pub(super) made: usize,
}

impl Link {
    /// Only its first bytes are wanted if `is_first` is set.
    fn new(coding: Coding, limits: &DecodeLimits, is_first: bool) -> Self {
        match coding {
            Coding::Gzip => Self::Inflate(Inflate::gzip()),
            Coding::Deflate => Self::Inflate(Inflate::deflate()),
            Coding::Brotli => Self::Brotli(Brotli::new(limits.window)),
            Coding::Zstd => Self::Zstd(Box::new(Zstd::new(limits.window, is_first))),
        }
    }

    /// Decoders are others' code. What makes one panic is no body, and must not end a worker.
    fn step(&mut self, coded: &[u8], plain: &mut [u8]) -> Result<Step, Undecodable> {
        let step = AssertUnwindSafe(|| match self {
            Self::Inflate(inflate) => inflate.step(coded, plain),
            Self::Brotli(brotli) => brotli.step(coded, plain),
            Self::Zstd(zstd) => zstd.step(coded, plain),
        });
        catch_unwind(step).unwrap_or(Err(Undecodable::Broken))
    }

    /// What is known of the output although more input could follow can be fetched by the next steps.
    fn flush(&mut self) -> Result<(), Undecodable> {
        match self {
            Self::Inflate(_) | Self::Brotli(_) => Ok(()),
            Self::Zstd(zstd) => {
                catch_unwind(AssertUnwindSafe(|| zstd.flush())).unwrap_or(Err(Undecodable::Broken))
            }
        }
    }

    /// All has come that it says will.
    fn is_whole(&self) -> bool {
        match self {
            Self::Inflate(inflate) => inflate.is_whole(),
            Self::Brotli(brotli) => brotli.is_whole(),
            Self::Zstd(zstd) => zstd.is_whole(),
        }
    }

    fn memory(&self) -> usize {
        match self {
            Self::Inflate(inflate) => inflate.memory(),
            Self::Brotli(brotli) => brotli.memory(),
            Self::Zstd(zstd) => size_of::<Zstd>() + zstd.memory(),
        }
    }
}

/// Undoes the codings of one body.
pub struct Decoder {
    /// Outermost first.
    links: Vec<Link>,
    bounds: Bounds,
}

/// What has come, and what may come of it.
struct Bounds {
    limits: DecodeLimits,
    coded: u64,
    /// What came out of each link.
    made: [u64; 2],
}

impl Bounds {
    fn made(&mut self, link: usize, bytes: usize) -> Result<(), Undecodable> {
        let Self { limits, coded, made } = self;
        let total = &mut made[link];
        *total += bytes as u64;
        let is_bomb =
            *total > limits.output || *total > limits.ratio_from && *total / limits.ratio > (*coded).max(1);
        if is_bomb { Err(Undecodable::Bomb) } else { Ok(()) }
    }
}

impl Decoder {
    /// For a body of these codings.
    pub fn new(codings: Codings, limits: DecodeLimits) -> Self {
        Self::with(codings, limits, false)
    }

    /// For somebody who wants no more than the first bytes, and those as early as can be.
    pub(super) fn of_first(codings: Codings, limits: DecodeLimits) -> Self {
        Self::with(codings, limits, true)
    }

    fn with(codings: Codings, limits: DecodeLimits, is_first: bool) -> Self {
        let links = codings.outermost_first().map(|coding| Link::new(coding, &limits, is_first)).collect();
        Self { links, bounds: Bounds { limits, coded: 0, made: [0; 2] } }
    }

    /// The next coded bytes. What comes of them goes to `plain`, until that breaks off; zstd keeps back as much as its window.
    ///
    /// # Errors
    /// Nothing more can be read, and nothing more may be pushed. What came before stands.
    pub fn push(
        &mut self,
        coded: &[u8],
        plain: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Undecodable> {
        self.bounds.coded += coded.len() as u64;
        run(&mut self.links, 0, &mut self.bounds, coded, plain)
    }

    /// No more comes. A body without any bytes is whole.
    ///
    /// # Errors
    /// It ended too early.
    pub fn finish(&self) -> Result<(), Undecodable> {
        let is_whole = self.bounds.coded == 0 || self.links.iter().all(Link::is_whole);
        if is_whole { Ok(()) } else { Err(Undecodable::Truncated) }
    }

    /// What is known of the output although more input could follow: for those who only want the first bytes.
    pub(super) fn flush(
        &mut self,
        plain: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), Undecodable> {
        for at in 0..self.links.len() {
            self.links[at].flush()?;
            if run(&mut self.links[at..], at, &mut self.bounds, &[], plain)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Bytes of memory that it holds beside its own size: an upper bound, as the libraries do not tell.
    pub fn memory(&self) -> usize {
        let Self { links, bounds: _ } = self;
        links.capacity() * size_of::<Link>() + links.iter().map(Link::memory).sum::<usize>()
    }
}

fn run(
    links: &mut [Link],
    at: usize,
    bounds: &mut Bounds,
    mut coded: &[u8],
    plain: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Undecodable> {
    let Some((link, inner)) = links.split_first_mut() else {
        return Ok(if coded.is_empty() { ControlFlow::Continue(()) } else { plain(coded) });
    };
    let mut piece = [0; PIECE];
    loop {
        let Step { used, made } = link.step(coded, &mut piece)?;
        coded = &coded[used..];
        if made > 0 {
            bounds.made(at, made)?;
            if run(inner, at + 1, bounds, &piece[..made], plain)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        } else if used == 0 {
            return Ok(ControlFlow::Continue(()));
        }
    }
}
