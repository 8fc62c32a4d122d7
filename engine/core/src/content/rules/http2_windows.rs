//! What the client may be sent (RFC 9113, 5.2), where it is sent more than the server knows of.
//!
//! ```text
//! what the server thinks it may send = client's window + debt - what is held of its data
//! ```
//! The debt grows with each octet that is inserted. It is paid from what the client credits next, and from what the server sends and is
//! not passed on. Until then the server may send more than the client takes: that is held.

use std::collections::VecDeque;

/// Windows before anybody says otherwise (RFC 9113, 6.9.2).
pub(super) const DEFAULT_WINDOW: u32 = 65_535;
/// SETTINGS_HEADER_TABLE_SIZE before the client says otherwise.
const DEFAULT_TABLE: u32 = 4096;
const SETTINGS_HEADER_TABLE_SIZE: u16 = 1;
const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;
/// SETTINGS frames without an acknowledgement. Clients send one or two.
pub(super) const MAX_SETTINGS: usize = 32;

/// More SETTINGS wait for their acknowledgement than are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooManySettings;

/// What one SETTINGS frame of the client changes.
#[derive(Clone, Copy, Default)]
struct Settings {
    window: Option<u32>,
    /// The lowest table, and the last one.
    table: Option<(u32, u32)>,
}

/// What SETTINGS say that a stream takes; none: nothing.
pub(super) fn initial_window(payload: &[u8]) -> Option<u32> {
    let settings = payload.as_chunks::<6>().0.iter();
    let windows = settings.filter(|setting| setting[..2] == SETTINGS_INITIAL_WINDOW_SIZE.to_be_bytes());
    windows.last().map(|&[_, _, v0, v1, v2, v3]| u32::from_be_bytes([v0, v1, v2, v3]))
}

pub(super) struct Windows {
    /// Of the connection. Negative where the server has sent more than it may.
    client: i64,
    debt: u64,
    held: u64,
    /// Of a stream, acknowledged.
    initial: u32,
    table: u32,
    /// Not acknowledged yet.
    settings: VecDeque<Settings>,
    /// The client's table has shrunk to this, which the next header block to it has to say (RFC 7541, 4.2).
    shrunk_table: Option<u32>,
}

impl Windows {
    pub(super) fn new() -> Self {
        Self {
            client: i64::from(DEFAULT_WINDOW),
            debt: 0,
            held: 0,
            initial: DEFAULT_WINDOW,
            table: DEFAULT_TABLE,
            settings: VecDeque::new(),
            shrunk_table: None,
        }
    }

    /// The client's SETTINGS, which is not an acknowledgement.
    pub(super) fn settings(&mut self, payload: &[u8]) -> Result<(), TooManySettings> {
        let mut settings = Settings::default();
        for &[id0, id1, v0, v1, v2, v3] in payload.as_chunks::<6>().0 {
            let value = u32::from_be_bytes([v0, v1, v2, v3]);
            match u16::from_be_bytes([id0, id1]) {
                SETTINGS_INITIAL_WINDOW_SIZE => settings.window = Some(value),
                SETTINGS_HEADER_TABLE_SIZE => {
                    let lowest = settings.table.map_or(value, |(lowest, _)| lowest.min(value));
                    settings.table = Some((lowest, value));
                }
                _ => {}
            }
        }
        if self.settings.len() >= MAX_SETTINGS {
            return Err(TooManySettings);
        }
        self.settings.push_back(settings);
        Ok(())
    }

    /// The server's acknowledgement of the oldest SETTINGS. From it on the client keeps to them.
    pub(super) fn acknowledged(&mut self) {
        let Some(Settings { window, table }) = self.settings.pop_front() else { return };
        self.initial = window.unwrap_or(self.initial);
        if let Some((lowest, last)) = table {
            if lowest < self.table {
                self.shrunk_table = Some(self.shrunk_table.map_or(lowest, |size| size.min(lowest)));
            }
            self.table = last;
        }
        if self.settings.is_empty() {
            self.settings = VecDeque::new();
        }
    }

    /// To be said at the beginning of the next header block to the client, if the server does not say it.
    pub(super) fn take_shrunk_table(&mut self) -> Option<u32> {
        self.shrunk_table.take()
    }

    /// What the client takes on a new stream.
    pub(super) fn initial(&self) -> i64 {
        i64::from(self.initial)
    }

    /// The client knows what its SETTINGS are. Before that, a server would not answer it, and it might not keep to either.
    pub(super) fn are_settled(&self) -> bool {
        self.settings.is_empty()
    }

    /// Octets that the client takes now.
    pub(super) fn available(&self) -> usize {
        usize::try_from(self.client).unwrap_or(0)
    }

    /// A DATA frame of the server's cannot go on now, for reasons that the server does not know.
    pub(super) fn must_hold(&self, length: u32) -> bool {
        self.debt > 0 && i64::from(length) > self.client
    }

    /// A DATA frame of the server's goes on.
    pub(super) fn passed(&mut self, length: u32) {
        self.client -= i64::from(length);
    }

    /// A DATA frame that was to go on goes nowhere. Returns what is to be credited to the server.
    pub(super) fn taken_back(&mut self, length: u32) -> u32 {
        self.client += i64::from(length);
        self.swallowed(length)
    }

    /// Octets of the server's are held.
    pub(super) fn hold(&mut self, octets: usize) {
        self.held += octets as u64;
    }

    /// Octets that were held go on.
    pub(super) fn released(&mut self, octets: usize) {
        self.client -= octets as i64;
        self.held = self.held.saturating_sub(octets as u64);
    }

    /// Octets that were held go nowhere. Returns what is to be credited to the server.
    pub(super) fn discarded(&mut self, octets: usize) -> u32 {
        self.held = self.held.saturating_sub(octets as u64);
        self.swallowed(octets as u32)
    }

    /// Octets were inserted.
    pub(super) fn inserted(&mut self, octets: usize) {
        self.client -= octets as i64;
        self.debt += octets as u64;
    }

    /// Octets of the server's go nowhere: they pay debt. Returns what is to be credited to the server.
    pub(super) fn swallowed(&mut self, octets: u32) -> u32 {
        octets - self.pay(octets)
    }

    /// The client credits the connection. Returns what the server is to know of it.
    pub(super) fn credited(&mut self, octets: u32) -> u32 {
        self.client += i64::from(octets);
        octets - self.pay(octets)
    }

    fn pay(&mut self, octets: u32) -> u32 {
        let paid = u64::from(octets).min(self.debt);
        self.debt -= paid;
        paid as u32
    }

    /// Octets that the server thinks the client takes beyond its window.
    pub(super) fn debt(&self) -> u64 {
        self.debt
    }

    /// What the server thinks it may send.
    pub(super) fn of_server(&self) -> i64 {
        self.client + self.debt as i64 - self.held as i64
    }

    /// Octets of the server's that wait here.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        self.settings.capacity() * size_of::<Settings>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn setting(id: u8, value: u32) -> Vec<u8> {
        [&[0, id][..], &value.to_be_bytes()].concat()
    }

    #[test]
    fn settings_hold_from_their_acknowledgement_on() {
        let mut windows = Windows::new();
        assert_eq!(windows.settings(&setting(4, 1 << 20)), Ok(()));
        assert_eq!((windows.initial(), windows.are_settled()), (65_535, false));
        windows.acknowledged();
        assert_eq!((windows.initial(), windows.are_settled()), (1 << 20, true));
    }

    #[test]
    fn a_table_that_shrinks_is_told_once() {
        let mut windows = Windows::new();
        assert_eq!(windows.settings(&[setting(1, 100), setting(1, 65_536)].concat()), Ok(()));
        assert_eq!(windows.take_shrunk_table(), None, "not before its acknowledgement");
        windows.acknowledged();
        assert_eq!(windows.take_shrunk_table(), Some(100));
        assert_eq!(windows.take_shrunk_table(), None);
        assert_eq!(windows.settings(&setting(1, 65_536)), Ok(()));
        windows.acknowledged();
        assert_eq!(windows.take_shrunk_table(), None, "it has not shrunk");
    }

    #[test]
    fn settings_without_end_are_refused() {
        let mut windows = Windows::new();
        let refused = (0..100).position(|_| windows.settings(&[]) == Err(TooManySettings));
        assert_eq!(refused, Some(MAX_SETTINGS));
    }

    proptest! {
        /// The equation at the head of this file.
        #[test]
        fn the_server_never_thinks_less_than_it_may(steps in vec((0u8..6, 1u32..5000), 0..60)) {
            let mut windows = Windows::new();
            let mut server = i64::from(DEFAULT_WINDOW);
            for (step, octets) in steps {
                let held = usize::try_from(windows.held()).unwrap_or(0).min(octets as usize);
                match step {
                    0 if i64::from(octets) <= server && windows.must_hold(octets) => {
                        windows.hold(octets as usize);
                        server -= i64::from(octets);
                    }
                    0 if i64::from(octets) <= server => {
                        windows.passed(octets);
                        server -= i64::from(octets);
                    }
                    1 if windows.available() >= octets as usize => windows.inserted(octets as usize),
                    2 => server += i64::from(windows.credited(octets)),
                    3 if i64::from(octets) <= server => {
                        server += i64::from(windows.swallowed(octets)) - i64::from(octets);
                    }
                    4 if windows.available() >= held => windows.released(held),
                    5 => server += i64::from(windows.discarded(held)),
                    _ => {}
                }
                let (debt, held) = (windows.debt() as i64, windows.held() as i64);
                prop_assert_eq!(server, windows.client + debt - held);
                prop_assert!(windows.client >= 0 && held <= debt, "{} {} {}", windows.client, debt, held);
            }
        }
    }
}
