//! gzip and deflate.

use flate2::{Decompress, FlushDecompress, Status};

use super::coding::Undecodable;
use super::decoder::Step;

/// What zlib-rs takes for a stream: a window of 32 KiB, tables, and room that it rounds up.
const MEMORY: usize = 80 * 1024;

pub(super) struct Inflate {
    state: State,
    is_gzip: bool,
}

enum State {
    /// The first bytes say which kind of stream it is.
    Begins(Vec<u8>),
    Within(Decompress, Vec<u8>),
    /// Behind the end, where another member of gzip may begin.
    Between(Vec<u8>),
    /// What follows is nothing to anybody: clients pass it over.
    Over,
}

impl Inflate {
    pub(super) fn gzip() -> Self {
        Self { state: State::Begins(Vec::new()), is_gzip: true }
    }

    pub(super) fn deflate() -> Self {
        Self { state: State::Begins(Vec::new()), is_gzip: false }
    }

    pub(super) fn step(&mut self, coded: &[u8], plain: &mut [u8]) -> Result<Step, Undecodable> {
        match &mut self.state {
            State::Over => Ok(Step { used: coded.len(), made: 0 }),
            State::Begins(start) | State::Between(start) => {
                let used = coded.len().min(2 - start.len());
                start.extend_from_slice(&coded[..used]);
                if start.len() == 2 {
                    let start = std::mem::take(start);
                    self.begin(start)?;
                }
                Ok(Step { used, made: 0 })
            }
            State::Within(decompress, start) if !start.is_empty() => {
                let Step { used, made } = decompress_into(decompress, start, plain)?.0;
                start.drain(..used);
                Ok(Step { used: 0, made }).and_then(|step| {
                    // The first two bytes are no whole stream of any kind.
                    if used == 0 && made == 0 {
                        Err(Undecodable::Broken)
                    } else {
                        self.step_behind(step, coded, plain)
                    }
                })
            }
            State::Within(decompress, _) => {
                let (step, has_ended) = decompress_into(decompress, coded, plain)?;
                if has_ended {
                    self.state = if self.is_gzip { State::Between(Vec::new()) } else { State::Over };
                }
                Ok(step)
            }
        }
    }

    /// The bytes that were held back are in: what follows them.
    fn step_behind(&mut self, before: Step, coded: &[u8], plain: &mut [u8]) -> Result<Step, Undecodable> {
        let Step { used, made } = self.step(coded, &mut plain[before.made..])?;
        Ok(Step { used, made: before.made + made })
    }

    fn begin(&mut self, start: Vec<u8>) -> Result<(), Undecodable> {
        let is_gzip = start == [0x1f, 0x8b];
        self.state = match (&self.state, self.is_gzip) {
            (State::Between(_), _) if !is_gzip => State::Over,
            (_, true) if !is_gzip => return Err(Undecodable::Broken),
            (_, true) => State::Within(Decompress::new_gzip(15), start),
            // RFC 1950, 2.2: method 8, a window of at most 32 KiB, and a check.
            (_, false) => {
                let (cmf, flg) = (u32::from(start[0]), u32::from(start[1]));
                let is_zlib = cmf & 15 == 8 && cmf >> 4 <= 7 && (cmf * 256 + flg).is_multiple_of(31);
                State::Within(Decompress::new(is_zlib), start)
            }
        };
        Ok(())
    }

    pub(super) fn is_whole(&self) -> bool {
        matches!(self.state, State::Between(_) | State::Over)
    }

    pub(super) fn memory(&self) -> usize {
        match &self.state {
            State::Begins(start) | State::Between(start) => start.capacity(),
            State::Within(_, start) => MEMORY + start.capacity(),
            State::Over => 0,
        }
    }
}

fn decompress_into(
    decompress: &mut Decompress,
    coded: &[u8],
    plain: &mut [u8],
) -> Result<(Step, bool), Undecodable> {
    let before = (decompress.total_in(), decompress.total_out());
    let status =
        decompress.decompress(coded, plain, FlushDecompress::None).map_err(|_| Undecodable::Broken)?;
    let step = Step {
        used: (decompress.total_in() - before.0) as usize,
        made: (decompress.total_out() - before.1) as usize,
    };
    Ok((step, status == Status::StreamEnd))
}
