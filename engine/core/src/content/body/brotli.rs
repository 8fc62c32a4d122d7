//! brotli.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::coding::Undecodable;
use super::decoder::Step;

type State = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

/// Tables of prefix codes and of contexts, as large as RFC 7932 lets them become.
const TABLES: usize = 512 * 1024;

pub(super) struct Brotli {
    /// None until the window is known.
    state: Option<Box<State>>,
    most: usize,
    window: usize,
    is_over: bool,
}

impl Brotli {
    /// `most`: bytes of window.
    pub(super) fn new(most: usize) -> Self {
        Self { state: None, most, window: 0, is_over: false }
    }

    pub(super) fn step(&mut self, coded: &[u8], plain: &mut [u8]) -> Result<Step, Undecodable> {
        if self.is_over {
            return Ok(Step { used: coded.len(), made: 0 });
        }
        let state = match &mut self.state {
            Some(state) => state,
            none => {
                let Some(first) = coded.first() else { return Ok(Step::default()) };
                self.window = window(*first).ok_or(Undecodable::Broken)?;
                if self.window > self.most {
                    return Err(Undecodable::Window);
                }
                let alloc = StandardAlloc::default;
                none.insert(Box::new(State::new_strict(alloc(), alloc(), alloc())))
            }
        };
        let (mut left_in, mut used, mut left_out, mut made, mut total) = (coded.len(), 0, plain.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut left_in,
            &mut used,
            coded,
            &mut left_out,
            &mut made,
            plain,
            &mut total,
            state,
        );
        match result {
            BrotliResult::ResultFailure => return Err(Undecodable::Broken),
            BrotliResult::ResultSuccess => {
                self.is_over = true;
                self.state = None;
            }
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        Ok(Step { used, made })
    }

    pub(super) fn is_whole(&self) -> bool {
        self.is_over
    }

    pub(super) fn memory(&self) -> usize {
        // The library rounds the window up, and adds room for what a copy writes beyond it.
        self.state.as_ref().map_or(0, |_| size_of::<State>() + TABLES + self.window + 1024)
    }
}

/// Bytes of window that a stream's first byte asks for (RFC 7932, 9.1); none: that is not allowed.
fn window(first: u8) -> Option<usize> {
    let bits = match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, _, _) => 16,
        (_, 0, 0) => 17,
        (_, 0, 1) => return None,
        (_, 0, high) => 8 + u32::from(high),
        (_, low, _) => 17 + u32::from(low),
    };
    Some(1 << bits)
}
