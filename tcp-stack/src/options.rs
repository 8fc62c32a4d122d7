//! The TCP options that this stack speaks (RFC 9293 3.1, RFC 2018, RFC 7323).

use smoltcp::wire::TcpOption;

use crate::Seq;

/// The options of one segment. Options of other kinds are skipped when parsing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Largest payload that the sender of this SYN accepts, in bytes; as on the wire, not checked.
    pub mss: Option<u16>,
    /// Shift of the window field, 0 to 255 as on the wire; values above 14 mean 14 (RFC 7323 2.3).
    pub window_scale: Option<u8>,
    /// Whether the sender of this SYN can use selective acknowledgements.
    pub sack_permitted: bool,
    /// Selective acknowledgements: `left <= byte < right`. The latest comes first (RFC 2018 4); a fourth
    /// block is not kept.
    pub sack: [Option<(Seq, Seq)>; 3],
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
    pub(crate) fn parse(mut field: &[u8]) -> Self {
        let mut options = Options::default();
        while let Some(&kind) = field.first() {
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
            TcpOption::SackRange(ranges) => {
                self.sack = ranges.map(|range| range.map(|(left, right)| (Seq(left), Seq(right))));
            }
            TcpOption::TimeStamp { tsval, tsecr } => {
                self.timestamps = Some(Timestamps { val: tsval, ecr: tsecr })
            }
            TcpOption::EndOfList | TcpOption::NoOperation | TcpOption::Unknown { .. } => {}
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
            field = pad(field, 2);
            field = TcpOption::TimeStamp { tsval: val, tsecr: ecr }.emit(field);
        }
        if self.sack.iter().any(Option::is_some) {
            field = pad(field, 2);
            let ranges = self.sack.map(|block| block.map(|(left, right)| (left.0, right.0)));
            field = TcpOption::SackRange(ranges).emit(field);
        }
        debug_assert!(field.is_empty(), "wire_len and emit disagree");
    }
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
            sack: [Some((Seq(1), Seq(2))), Some((Seq(u32::MAX), Seq(4))), Some((Seq(8), Seq(9)))],
            ..Options::default()
        };
        for options in [Options::default(), all, acks] {
            let mut field = vec![0xff; options.wire_len()];
            options.emit(&mut field);
            assert_eq!(Options::parse(&field), options);
            assert!(field.len() <= 40);
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
        // End of list hides the rest.
        assert_eq!(Options::parse(&[0, 2, 4, 5, 180]), Options::default());
    }
}
