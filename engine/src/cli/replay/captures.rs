//! Several captures as one: their packets in the order of their times, whatever the order of the files.

use std::collections::VecDeque;
use std::path::PathBuf;

use super::capture::{Capture, CaptureError, Packet};

/// Captures that are being read, and those whose time has not come.
pub(super) struct Captures {
    /// By the time of the first packet. A file is opened when it is its turn: there may be thousands.
    waiting: VecDeque<(u64, PathBuf)>,
    open: Vec<Reading>,
    /// Bytes of files that are through.
    through: usize,
    faults: Vec<String>,
}

struct Reading {
    path: PathBuf,
    capture: Capture,
    next: Packet,
}

impl Captures {
    /// Opens each to see when it begins. One capture alone may be a pipe.
    ///
    /// # Errors
    /// What cannot be read, and why.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self, String> {
        let mut captures =
            Self { waiting: VecDeque::new(), open: Vec::new(), through: 0, faults: Vec::new() };
        for path in paths {
            let Some(reading) = captures.begin(path.clone())? else { continue };
            if paths.len() == 1 {
                captures.open.push(reading);
            } else {
                captures.waiting.push_back((reading.next.time, reading.path));
            }
        }
        captures.waiting.make_contiguous().sort();
        Ok(captures)
    }

    /// With its first packet; none: it has none.
    fn begin(&mut self, path: PathBuf) -> Result<Option<Reading>, String> {
        let mut capture = Capture::open(&path).map_err(|error| told(&path, &error))?;
        match capture.next() {
            Ok(Some(next)) => Ok(Some(Reading { path, capture, next })),
            Ok(None) => Ok(None),
            // It is a capture, and something of others may be read.
            Err(error) => {
                self.faults.push(told(&path, &error));
                Ok(None)
            }
        }
    }

    /// The earliest packet that is left. A capture that breaks off ends there; the others go on.
    pub(super) fn next(&mut self) -> Option<Packet> {
        let earliest = |open: &[Reading]| open.iter().map(|reading| reading.next.time).min();
        while let Some((time, _)) = self.waiting.front()
            && earliest(&self.open).is_none_or(|earliest| *time <= earliest)
            && let Some((_, path)) = self.waiting.pop_front()
        {
            match self.begin(path) {
                Ok(reading) => self.open.extend(reading),
                Err(fault) => self.faults.push(fault),
            }
        }
        let (n, _) = self.open.iter().enumerate().min_by_key(|(_, reading)| reading.next.time)?;
        match self.open[n].capture.next() {
            Ok(Some(next)) => Some(std::mem::replace(&mut self.open[n].next, next)),
            end => {
                let Reading { path, capture, next } = self.open.swap_remove(n);
                self.through += capture.position();
                self.faults.extend(end.err().map(|error| told(&path, &error)));
                Some(next)
            }
        }
    }

    /// Bytes of the files that are read.
    pub(super) fn position(&self) -> usize {
        self.through + self.open.iter().map(|reading| reading.capture.position()).sum::<usize>()
    }

    /// Why some were not read to their end.
    pub(super) fn into_faults(self) -> Vec<String> {
        self.faults
    }
}

fn told(path: &std::path::Path, error: &CaptureError) -> String {
    let colon = if matches!(error, CaptureError::Io(_)) { ":" } else { "" };
    format!("{}{colon} {error}", path.display())
}
