//! zstd, block by block: the library decodes all blocks that it is given at once.
//!
//! It keeps back as much output as a frame's window. Whoever wants the first bytes only has the frames' heads changed, to a small
//! window, and then the frame ended.

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::coding::Undecodable;
use super::decoder::Step;

const MAGIC: u32 = 0xfd2f_b528;
/// Most bytes of a block (RFC 8878, 3.1.1.2.4).
const MAX_BLOCK: usize = 128 * 1024;
/// Of a frame whose first bytes are wanted: a block fits in.
const FIRST_WINDOW_LOG: u8 = 17;
/// Bytes of output of such a frame that are enough.
const FIRST: usize = 8 * 1024;
/// A last block without content (RFC 8878, 3.1.1.2).
const LAST_BLOCK: [u8; 3] = [1, 0, 0];
/// Tables for entropy coding, and literals and sequences of a block.
const TABLES: usize = 1536 * 1024;

pub(super) struct Zstd {
    decoder: FrameDecoder,
    /// The beginning of the part that is not complete.
    part: Vec<u8>,
    awaits: Awaits,
    most: usize,
    window: usize,
    is_first: bool,
    /// Blocks of a frame whose first bytes are wanted: of these, so much comes for sure.
    known: usize,
    frames: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaits {
    /// A frame.
    Frame,
    /// The rest of one to be skipped.
    Skipped(u32),
    /// A block of a frame, which may have a checksum behind the last one.
    Block { has_checksum: bool },
    /// It is not looked at: whoever is shown damage is the client.
    Checksum,
    /// Nothing: there is as much as is wanted.
    Nothing,
}

impl Zstd {
    pub(super) fn new(most: usize, is_first: bool) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(most as u64);
        let part = Vec::new();
        Self { decoder, part, awaits: Awaits::Frame, most, window: 0, is_first, known: 0, frames: 0 }
    }

    pub(super) fn step(&mut self, coded: &[u8], plain: &mut [u8]) -> Result<Step, Undecodable> {
        let is_full = self.decoder.can_collect() > 0;
        if is_full {
            let made = std::io::Read::read(&mut self.decoder, plain).map_err(|_| Undecodable::Broken)?;
            return Ok(Step { used: 0, made });
        }
        let mut used = 0;
        // One part at a time, so that no more than a block is unfolded before it is taken.
        while used < coded.len() {
            if let Awaits::Skipped(left) = &mut self.awaits {
                let skipped = (coded.len() - used).min(*left as usize);
                *left -= skipped as u32;
                used += skipped;
                if *left == 0 {
                    self.awaits = Awaits::Frame;
                }
                continue;
            }
            if self.awaits == Awaits::Nothing {
                used = coded.len();
                break;
            }
            let needed = self.needed()?;
            let more = (coded.len() - used).min(needed - self.part.len());
            self.part.extend_from_slice(&coded[used..used + more]);
            used += more;
            if self.part.len() == needed && self.needed()? == needed {
                self.take()?;
                self.part.clear();
                if self.decoder.can_collect() > 0 {
                    break;
                }
            }
        }
        Ok(Step { used, made: 0 })
    }

    /// Bytes of the part that comes, as far as its beginning says.
    fn needed(&self) -> Result<usize, Undecodable> {
        let part = &self.part[..];
        Ok(match self.awaits {
            Awaits::Frame if part.len() < 5 => 5,
            Awaits::Frame => match little_endian(&part[..4]) as u32 {
                0x184d_2a50..=0x184d_2a5f => 8,
                MAGIC => frame_head(part[4]),
                _ => return Err(Undecodable::Broken),
            },
            Awaits::Block { .. } if part.len() < 3 => 3,
            Awaits::Block { .. } => {
                let Block { content, .. } = Block::of(part)?;
                3 + content
            }
            Awaits::Checksum => 4,
            Awaits::Skipped(_) | Awaits::Nothing => 0,
        })
    }

    /// A part is complete.
    fn take(&mut self) -> Result<(), Undecodable> {
        match self.awaits {
            Awaits::Frame if little_endian(&self.part[..4]) as u32 != MAGIC => {
                let size = little_endian(&self.part[4..8]) as u32;
                self.awaits = if size == 0 { Awaits::Frame } else { Awaits::Skipped(size) };
                self.frames += 1;
            }
            Awaits::Frame => self.begin()?,
            Awaits::Block { has_checksum } => {
                let Block { is_last, size, .. } = Block::of(&self.part)?;
                let mut block = &self.part[..];
                self.decoder
                    .decode_blocks(&mut block, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|_| Undecodable::Broken)?;
                self.known += size;
                if is_last {
                    self.frames += 1;
                    self.awaits = if has_checksum { Awaits::Checksum } else { Awaits::Frame };
                } else if self.is_first && self.known >= FIRST {
                    self.flush()?;
                }
            }
            Awaits::Checksum => self.awaits = Awaits::Frame,
            Awaits::Skipped(_) | Awaits::Nothing => {}
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Undecodable> {
        let descriptor = self.part[4];
        let has_checksum = descriptor & 4 != 0;
        let window = window_of(&self.part);
        if window > self.most {
            return Err(Undecodable::Window);
        }
        self.window = window;
        // Without the checksum, which nobody looks at here.
        self.part[4] &= !4;
        let changed;
        let head = if self.is_first && descriptor & 3 == 0 {
            self.window = 1 << FIRST_WINDOW_LOG;
            changed = [&MAGIC.to_le_bytes()[..], &[0, (FIRST_WINDOW_LOG - 10) << 3]].concat();
            &changed[..]
        } else {
            &self.part[..]
        };
        // A dictionary that nobody has is an error, too.
        self.decoder.reset(head).map_err(|_| Undecodable::Broken)?;
        (self.awaits, self.known) = (Awaits::Block { has_checksum }, 0);
        Ok(())
    }

    /// Ends a frame that could go on: what has come of it can be fetched. Nothing more is taken.
    pub(super) fn flush(&mut self) -> Result<(), Undecodable> {
        if matches!(self.awaits, Awaits::Block { .. }) {
            self.decoder
                .decode_blocks(&LAST_BLOCK[..], BlockDecodingStrategy::UptoBlocks(1))
                .map_err(|_| Undecodable::Broken)?;
        }
        self.awaits = Awaits::Nothing;
        Ok(())
    }

    pub(super) fn is_whole(&self) -> bool {
        self.frames > 0 && self.awaits == Awaits::Frame && self.part.is_empty()
    }

    pub(super) fn memory(&self) -> usize {
        let buffer = if self.window > 0 { self.window + 4 * MAX_BLOCK + TABLES } else { 0 };
        self.part.capacity() + buffer
    }
}

/// A block's header (RFC 8878, 3.1.1.2).
struct Block {
    is_last: bool,
    /// Bytes that follow.
    content: usize,
    /// Bytes that come of it, as far as the header says.
    size: usize,
}

impl Block {
    fn of(part: &[u8]) -> Result<Self, Undecodable> {
        let header = little_endian(&part[..3]) as usize;
        let (kind, size) = (header >> 1 & 3, header >> 3);
        if size > MAX_BLOCK || kind == 3 {
            return Err(Undecodable::Broken);
        }
        // An RLE block has one byte; of a compressed one some comes, mostly more than it has.
        let content = if kind == 1 { 1 } else { size };
        Ok(Self { is_last: header & 1 != 0, content, size })
    }
}

/// Bytes of a frame's head with this descriptor (RFC 8878, 3.1.1.1), with the magic number.
fn frame_head(descriptor: u8) -> usize {
    let is_single = descriptor & 32 != 0;
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = match descriptor >> 6 {
        0 => usize::from(is_single),
        flag => 1 << flag,
    };
    5 + usize::from(!is_single) + dictionary + size
}

/// The window that a head asks for; with a single segment, that is all of its content.
fn window_of(head: &[u8]) -> usize {
    let descriptor = head[4];
    if descriptor & 32 == 0 {
        let (exponent, mantissa) = (u32::from(head[5] >> 3), u64::from(head[5] & 7));
        let base = 1u64 << (10 + exponent);
        return usize::try_from(base + base / 8 * mantissa).unwrap_or(usize::MAX);
    }
    let field = &head[5 + [0, 1, 2, 4][usize::from(descriptor & 3)]..];
    let size = little_endian(field);
    usize::try_from(if field.len() == 2 { size + 256 } else { size }).unwrap_or(usize::MAX)
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}
