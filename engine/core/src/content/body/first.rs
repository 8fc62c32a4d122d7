//! The type of a body by as much of it as has come: codings are undone from the beginning, and no decoder is kept.

use std::ops::ControlFlow;

use super::coding::{Codings, Undecodable};
use super::decoder::{DecodeLimits, Decoder};
use super::file_type::{ENOUGH_OF_CONTAINER, FileType};

/// Most coded bytes that are looked at: a block of zstd behind as many small ones as show too little, and the head of its frame. Other
/// codings show their first bytes sooner, unless they begin with something else than content: that is not waited for.
pub const MAX_CODED: usize = 128 * 1024 + 4 * ENOUGH_OF_CONTAINER + 64;

/// What is known of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// Its type.
    Is(FileType),
    /// More of it is needed.
    NeedsMore,
}

/// What is known of a body that begins like this. `is_whole`: no more of it comes, or more is not waited for.
///
/// # Errors
/// It cannot be read.
pub fn first_type(codings: Codings, coded: &[u8], is_whole: bool) -> Result<First, Undecodable> {
    let known = |bytes: &[u8], is_whole| FileType::of(bytes, is_whole).map_or(First::NeedsMore, First::Is);
    if codings.is_empty() {
        return Ok(known(coded, is_whole));
    }
    if coded.is_empty() {
        return Ok(known(&[], is_whole));
    }
    let plain = first_bytes(codings, coded)?;
    if plain.is_empty() && is_whole {
        // A body that has come shows nothing of what is in it.
        return Err(Undecodable::Truncated);
    }
    Ok(known(&plain, is_whole || plain.len() >= ENOUGH_OF_CONTAINER))
}

/// The first plain bytes, as many as are needed at most.
fn first_bytes(codings: Codings, coded: &[u8]) -> Result<Vec<u8>, Undecodable> {
    // RFC 7932 has windows of up to 16 MiB. Of these pages only those are touched that are written to.
    // Nothing that is as it should be makes more of the little that is wanted, and whoever looks has little time.
    let limits = DecodeLimits { window: 16 << 20, output: 1 << 20, ..DecodeLimits::default() };
    let mut decoder = Decoder::of_first(codings, limits);
    let mut plain = Vec::with_capacity(ENOUGH_OF_CONTAINER);
    let mut take = |piece: &[u8]| {
        plain.extend_from_slice(&piece[..piece.len().min(ENOUGH_OF_CONTAINER - plain.len())]);
        if plain.len() == ENOUGH_OF_CONTAINER { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let pushed = decoder.push(coded, &mut take);
    let flushed = match pushed {
        Ok(ControlFlow::Continue(())) => decoder.flush(&mut take),
        Ok(ControlFlow::Break(())) => Ok(()),
        Err(error) => Err(error),
    };
    match flushed {
        // What came before the damage is what a client shows.
        Err(_) if plain.len() >= 1024 => Ok(plain),
        Err(error) => Err(error),
        Ok(()) => Ok(plain),
    }
}
