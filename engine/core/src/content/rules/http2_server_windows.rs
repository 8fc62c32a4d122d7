//! What the server may be sent (RFC 9113, 5.2), where the client was credited before the server has credited it.
//!
//! ```text
//! what the client thinks it may send = server's window + advanced - what is held of its data
//! ```
//! What is held is advanced, so that a client can send all of a body that waits. What was advanced and is not held any more is beyond the
//! server's window: the server's next credits pay it, and until then the client may send more than the server takes, which is held.

use std::collections::VecDeque;

use super::http2_windows::{DEFAULT_WINDOW, MAX_SETTINGS, TooManySettings, initial_window};

pub(super) struct ServerWindows {
    /// Of the connection. Negative where the client has sent more than it may.
    server: i64,
    advanced: u64,
    held: u64,
    /// Of a stream, acknowledged.
    initial: u32,
    /// Not acknowledged yet.
    settings: VecDeque<Option<u32>>,
}

impl ServerWindows {
    pub(super) fn new() -> Self {
        Self {
            server: i64::from(DEFAULT_WINDOW),
            advanced: 0,
            held: 0,
            initial: DEFAULT_WINDOW,
            settings: VecDeque::new(),
        }
    }

    /// The server's SETTINGS, which is not an acknowledgement.
    pub(super) fn settings(&mut self, payload: &[u8]) -> Result<(), TooManySettings> {
        if self.settings.len() >= MAX_SETTINGS {
            return Err(TooManySettings);
        }
        self.settings.push_back(initial_window(payload));
        Ok(())
    }

    /// The client's acknowledgement of the oldest SETTINGS. False: there are none.
    pub(super) fn acknowledged(&mut self) -> bool {
        let Some(oldest) = self.settings.pop_front() else { return false };
        self.initial = oldest.unwrap_or(self.initial);
        if self.settings.is_empty() {
            self.settings = VecDeque::new();
        }
        true
    }

    /// What the server takes on a new stream, whichever of its SETTINGS it goes by.
    pub(super) fn initial(&self) -> i64 {
        let pending = self.settings.iter().flatten().copied().min();
        i64::from(pending.map_or(self.initial, |pending| pending.min(self.initial)))
    }

    /// What the client may think that the server takes on a new stream: it goes by SETTINGS when they reach it, acknowledged or not.
    pub(super) fn most_initial(&self) -> i64 {
        let pending = self.settings.iter().flatten().copied().max();
        i64::from(pending.map_or(self.initial, |pending| pending.max(self.initial)))
    }

    /// Octets that the client may send, as far as it knows: see the head of this file.
    pub(super) fn of_client(&self) -> i64 {
        self.server.saturating_add_unsigned(self.advanced).saturating_sub_unsigned(self.held)
    }

    /// Octets that the server takes now.
    pub(super) fn available(&self) -> usize {
        usize::try_from(self.server).unwrap_or(0)
    }

    /// A DATA frame of the client's cannot go on now, for reasons that the client does not know.
    pub(super) fn must_hold(&self, length: u32) -> bool {
        self.beyond() > 0 && i64::from(length) > self.server
    }

    /// What the client thinks the server takes beyond its window.
    pub(super) fn beyond(&self) -> u64 {
        self.advanced.saturating_sub(self.held)
    }

    /// A DATA frame of the client's goes on.
    pub(super) fn passed(&mut self, length: u32) {
        self.server -= i64::from(length);
    }

    /// One that was to go on does not. Returns what is to be credited to the client.
    pub(super) fn taken_back(&mut self, length: u32) -> u32 {
        self.server += i64::from(length);
        length - self.pay(length)
    }

    /// Octets of the client's are held.
    pub(super) fn hold(&mut self, octets: usize) {
        self.held += octets as u64;
    }

    /// The client is credited so many that are held.
    pub(super) fn advance(&mut self, octets: u32) {
        self.advanced += u64::from(octets);
    }

    /// Octets that were held go on.
    pub(super) fn released(&mut self, octets: usize) {
        self.server -= octets as i64;
        self.held = self.held.saturating_sub(octets as u64);
    }

    /// Octets that were held go nowhere. Returns what is to be credited to the client.
    pub(super) fn discarded(&mut self, octets: usize) -> u32 {
        self.held = self.held.saturating_sub(octets as u64);
        let octets = u32::try_from(octets).unwrap_or(u32::MAX);
        octets - self.pay(octets)
    }

    /// The server credits the connection. Returns what the client is to know of it.
    pub(super) fn credited(&mut self, octets: u32) -> u32 {
        self.server += i64::from(octets);
        octets - self.pay(octets)
    }

    fn pay(&mut self, octets: u32) -> u32 {
        let paid = u64::from(octets).min(self.beyond());
        self.advanced -= paid;
        paid as u32
    }

    /// Bytes of memory that it holds beside its own size.
    pub(super) fn memory(&self) -> usize {
        self.settings.capacity() * size_of::<Option<u32>>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_lower_window_counts_until_settings_are_acknowledged() {
        let mut windows = ServerWindows::new();
        assert_eq!(windows.settings(&[0, 4, 0, 16, 0, 0]), Ok(()));
        assert_eq!((windows.initial(), windows.most_initial()), (65_535, 1 << 20));
        windows.acknowledged();
        assert_eq!(windows.initial(), 1 << 20);
        assert_eq!(windows.settings(&[0, 4, 0, 0, 0, 100]), Ok(()));
        assert_eq!((windows.initial(), windows.most_initial()), (100, 1 << 20));
        windows.acknowledged();
        assert_eq!((windows.initial(), windows.most_initial()), (100, 100));
    }

    proptest! {
        /// The equation at the head of this file; what is held is never more than the client was let send.
        #[test]
        fn the_client_never_thinks_less_than_it_may(steps in vec((0u8..7, 1u32..5000), 0..60)) {
            let mut windows = ServerWindows::new();
            let (mut client, mut held) = (i64::from(DEFAULT_WINDOW), 0usize);
            for (step, octets) in steps {
                let some = held.min(octets as usize);
                match step {
                    0 if i64::from(octets) <= client && !windows.must_hold(octets) => {
                        windows.passed(octets);
                        client -= i64::from(octets);
                    }
                    1 if i64::from(octets) <= client => {
                        windows.hold(octets as usize);
                        (client, held) = (client - i64::from(octets), held + octets as usize);
                    }
                    2 if windows.advanced + some as u64 <= held as u64 => {
                        windows.advance(some as u32);
                        client += some as i64;
                    }
                    3 if windows.available() >= some => {
                        windows.released(some);
                        held -= some;
                    }
                    4 => {
                        client += i64::from(windows.discarded(some));
                        held -= some;
                    }
                    5 => client += i64::from(windows.credited(octets)),
                    6 if i64::from(octets) <= client && !windows.must_hold(octets) => {
                        windows.passed(octets);
                        client += i64::from(windows.taken_back(octets)) - i64::from(octets);
                    }
                    _ => {}
                }
                prop_assert_eq!(client, windows.of_client());
                prop_assert!(windows.server >= 0 && windows.held == held as u64);
            }
        }
    }
}
