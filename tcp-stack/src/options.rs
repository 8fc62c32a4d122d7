//! The TCP options that this stack speaks (RFC 9293 3.1, RFC 2018, RFC 7323).

use smoltcp::wire::TcpOption;

use crate::Seq;

const KIND_SACK: u8 = 5;
/// Padding, kind and length of timestamps on whole words (RFC 7323, appendix A).
const TIMESTAMPS: [u8; 4] = [1, 1, 8, 10];

/// Blocks that fit a segment's options at most (RFC 2018 3).
pub(crate) const SACK_BLOCKS: usize = 4;

/// The options of one segment. Options of other kinds are skipped when parsing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Largest payload that the sender of this SYN accepts, in bytes; as on the wire, not checked.
    pub mss: Option<u16>,
    /// Shift of the window field, 0 to 255 as on the wire; values above 14 mean 14 (RFC 7323 2.3).
    pub window_scale: Option<u8>,
    /// Whether the sender of this SYN can use selective acknowledgements.
    pub sack_permitted: bool,
    /// Selective acknowledgements: `left <= byte < right`. The latest comes first (RFC 2018 4), before it a
    /// block that was received twice (RFC 2883 4). Beside timestamps there is room for three.
    pub sack: [Option<(Seq, Seq)>; SACK_BLOCKS],
    /// Timestamps (RFC 7323 3).
    pub timestamps: Option<Timestamps>,
}

/// The timestamps option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamps {
    /// The sender's clock.
    pub val: u32,
    /// Echo of the other end's clock; means something only together with an ACK.
    pub ecr: u32,
}

impl Options {
    /// Reads an option field as far as it can be understood.
    ///
    /// An option of a known kind and a wrong length is skipped; one that reaches over the end, or is shorter
    /// than its own header, ends the list (as in Linux and BSD: a segment is never refused for its options).
    /// Always ends: each turn takes at least one byte.
    #[inline]
    pub(crate) fn parse(field: &[u8]) -> Self {
        if field.is_empty() {
            return Options::default();
        }
        match timestamps_alone(field) {
            Some(timestamps) => Options { timestamps: Some(timestamps), ..Options::default() },
            None => Self::parse_each(field),
        }
    }

    /// Option by option. Not inlined, so that what most segments wear is read without its spills.
    #[inline(never)]
    fn parse_each(mut field: &[u8]) -> Self {
        let mut options = Options::default();
        while let Some(&kind) = field.first() {
            if let Some((blocks, rest)) = sack_blocks(field) {
                options.sack = blocks;
                field = rest;
                continue;
            }
            let rest = match TcpOption::parse(field) {
                Ok((_, TcpOption::EndOfList)) => break,
                Ok((rest, option)) => {
                    options.take(option);
                    rest
                }
                Err(_) => match field.get(1) {
                    Some(&len) if kind > 1 && len >= 2 && usize::from(len) <= field.len() => {
                        &field[usize::from(len)..]
                    }
                    _ => break,
                },
            };
            field = rest;
        }
        options
    }

    fn take(&mut self, option: TcpOption<'_>) {
        match option {
            TcpOption::MaxSegmentSize(mss) => self.mss = Some(mss),
            TcpOption::WindowScale(shift) => self.window_scale = Some(shift),
            TcpOption::SackPermitted => self.sack_permitted = true,
            TcpOption::TimeStamp { tsval, tsecr } => {
                self.timestamps = Some(Timestamps { val: tsval, ecr: tsecr })
            }
            TcpOption::SackRange(_)
            | TcpOption::EndOfList
            | TcpOption::NoOperation
            | TcpOption::Unknown { .. } => {}
        }
    }

    /// Bytes on the wire with padding: a multiple of 4, at most 40 for all that a [`crate::Connection`]
    /// sends.
    pub fn wire_len(&self) -> usize {
        let blocks = self.sack.iter().flatten().count();
        let unpadded = if self.mss.is_some() { 4 } else { 0 }
            + if self.window_scale.is_some() { 4 } else { 0 }
            + if self.sack_permitted { 4 } else { 0 }
            + if self.timestamps.is_some() { 12 } else { 0 }
            + if blocks > 0 { 4 + 8 * blocks } else { 0 };
        debug_assert!(unpadded % 4 == 0, "every option is padded to whole words");
        unpadded
    }

    /// Writes `wire_len()` bytes into `field`, which has that length. Each option is padded in front, so that
    /// its numbers lie on whole words (RFC 7323, appendix A).
    pub(crate) fn emit(&self, mut field: &mut [u8]) {
        if let Some(mss) = self.mss {
            field = TcpOption::MaxSegmentSize(mss).emit(field);
        }
        if let Some(shift) = self.window_scale {
            field = pad(field, 1);
            field = TcpOption::WindowScale(shift).emit(field);
        }
        if self.sack_permitted {
            field = pad(field, 2);
            field = TcpOption::SackPermitted.emit(field);
        }
        if let Some(Timestamps { val, ecr }) = self.timestamps {
            let (option, rest) = field.split_at_mut(12);
            option[..4].copy_from_slice(&TIMESTAMPS);
            option[4..8].copy_from_slice(&val.to_be_bytes());
            option[8..].copy_from_slice(&ecr.to_be_bytes());
            field = rest;
        }
        let blocks = self.sack.iter().flatten();
        if blocks.clone().next().is_some() {
            field = pad(field, 2);
            field[..2].copy_from_slice(&[KIND_SACK, 2 + 8 * blocks.clone().count() as u8]);
            field = &mut field[2..];
            for edge in blocks.flat_map(|&(left, right)| [left, right]) {
                let (number, rest) = field.split_at_mut(4);
                number.copy_from_slice(&edge.0.to_be_bytes());
                field = rest;
            }
        }
        debug_assert!(field.is_empty(), "wire_len and emit disagree");
    }
}

/// The timestamps of a field that has nothing else, as nearly all segments of a connection that has them: they are worth a way of
/// their own, a fifth of what TCP does with a segment. Most hosts pad before the option; some, smoltcp among them, behind it.
#[inline]
pub(crate) fn timestamps_alone(field: &[u8]) -> Option<Timestamps> {
    let field: &[u8; 12] = field.try_into().ok()?;
    let at = match *field {
        [1, 1, 8, 10, ..] => 4,
        // An end of the list hides the last byte, and as the kind of an option that one would have no length.
        [8, 10, _, _, _, _, _, _, _, _, 0 | 1, _] => 2,
        _ => return None,
    };
    let word = |at: usize| u32::from_be_bytes([field[at], field[at + 1], field[at + 2], field[at + 3]]);
    Some(Timestamps { val: word(at), ecr: word(at + 4) })
}

/// The blocks of a SACK option at the head of `field`, and what follows it: smoltcp knows three blocks only. None if
/// it is another option, or not of a length that it may have.
#[expect(clippy::type_complexity, reason = "the pair is taken apart at once")]
fn sack_blocks(field: &[u8]) -> Option<([Option<(Seq, Seq)>; SACK_BLOCKS], &[u8])> {
    let (&[KIND_SACK, len], _) = field.split_first_chunk()? else { return None };
    let len = usize::from(len);
    if len > field.len() || len < 10 || (len - 2) % 8 != 0 {
        return None;
    }
    let mut blocks = [None; SACK_BLOCKS];
    let (pairs, _) = field[2..len].as_chunks::<8>();
    for (block, pair) in blocks.iter_mut().zip(pairs) {
        let [a, b, c, d, e, f, g, h] = *pair;
        *block = Some((Seq(u32::from_be_bytes([a, b, c, d])), Seq(u32::from_be_bytes([e, f, g, h]))));
    }
    Some((blocks, &field[len..]))
}

fn pad(mut field: &mut [u8], bytes: usize) -> &mut [u8] {
    for _ in 0..bytes {
        field = TcpOption::NoOperation.emit(field);
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_emitted_is_parsed_again() {
        let all = Options {
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some(Timestamps { val: 1, ecr: u32::MAX }),
            ..Options::default()
        };
        let acks = Options {
            timestamps: Some(Timestamps { val: 5, ecr: 6 }),
            sack: [Some((Seq(1), Seq(2))), Some((Seq(u32::MAX), Seq(4))), Some((Seq(8), Seq(9))), None],
            ..Options::default()
        };
        let four =
            Options { sack: [1, 3, 5, 7].map(|at| Some((Seq(at), Seq(at + 1)))), ..Options::default() };
        let clock = Options { timestamps: all.timestamps, ..Options::default() };
        for options in [Options::default(), all, acks, four, clock] {
            let mut field = vec![0xff; options.wire_len()];
            options.emit(&mut field);
            assert_eq!(Options::parse(&field), options);
            assert!(field.len() <= 40);
        }
    }

    #[test]
    fn timestamps_are_read_wherever_they_lie() {
        let timestamps = Some(Timestamps { val: 0x0102_0304, ecr: 0x0506_0708 });
        let option = [8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        let [alone, behind, above]: [Vec<u8>; 3] = [
            [&[1, 1][..], &option].concat(),
            [&option[..], &[1, 1]].concat(),
            [&[1, 1][..], &option, &[4, 2, 0]].concat(),
        ];
        for (field, sack_permitted) in [(alone, false), (behind, false), (above, true)] {
            assert_eq!(Options::parse(&field), Options { timestamps, sack_permitted, ..Options::default() });
        }
        assert_eq!(Options::parse(&[1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7]), Options::default());
        // The shorter way tells what the longer one does, whatever else is there.
        for others in 0..=u16::MAX {
            let [first, second] = others.to_be_bytes();
            for field in [[&[first, second], &option[..]].concat(), [&option[..], &[first, second]].concat()]
            {
                if let Some(timestamps) = timestamps_alone(&field) {
                    let alone = Options { timestamps: Some(timestamps), ..Options::default() };
                    assert_eq!(Options::parse_each(&field), alone, "{field:?}");
                }
            }
        }
    }

    #[test]
    fn malformed_lists_end() {
        let mss = Options { mss: Some(1460), ..Options::default() };
        // Length 0 and 1, a length over the end, a lone kind byte: the list ends, what came before counts.
        for tail in [&[2, 0][..], &[2, 1], &[2, 9, 1], &[8], &[254, 0, 0, 0], &[5, 250, 0]] {
            let field: Vec<u8> = [&[2, 4, 5, 180][..], tail].concat();
            assert_eq!(Options::parse(&field), mss, "{field:?}");
        }
        // A known kind with a wrong but possible length is stepped over.
        assert_eq!(Options::parse(&[3, 4, 7, 7, 2, 4, 5, 180]), mss);
        assert_eq!(Options::parse(&[5, 6, 0, 0, 0, 0, 2, 4, 5, 180]), mss);
        // A SACK option of no whole number of blocks, of none, and one that is cut off.
        assert_eq!(Options::parse(&[5, 2, 2, 4, 5, 180]), mss);
        assert_eq!(Options::parse(&[2, 4, 5, 180, 5, 10, 0, 0, 0, 1]), mss);
        let one_and_a_half: Vec<u8> = [&[5, 14][..], &[0; 12], &[2, 4, 5, 180]].concat();
        assert_eq!(Options::parse(&one_and_a_half), mss);
        // End of list hides the rest.
        assert_eq!(Options::parse(&[0, 2, 4, 5, 180]), Options::default());
    }
}
