//! With how many clients a server has failed.

/// Most that any cause asks for.
pub(super) const MOST_WITNESSES: usize = 3;

/// Clients that have had the same failure, as hashes of their networks, until there are enough of them.
#[derive(Default)]
pub(super) struct Witnesses {
    /// One less than is ever asked for: the last one need not be kept. 0: free.
    clients: [u64; MOST_WITNESSES - 1],
    enough: bool,
}

/// What one more failure adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Testimony {
    /// Nothing: the client has been heard.
    Known,
    /// A client, and more of them are needed.
    New,
    /// The last client that was needed.
    Enough,
    /// There were enough before.
    Unneeded,
}

impl Witnesses {
    /// As many as anything asks for.
    pub(super) const fn enough() -> Self {
        Self { clients: [0; MOST_WITNESSES - 1], enough: true }
    }

    /// There are.
    pub(super) const fn are_enough(&self) -> bool {
        self.enough
    }

    /// Hears a client, where `quorum` of them are enough.
    pub(super) fn hear(&mut self, client: u64, quorum: usize) -> Testimony {
        if self.enough {
            return Testimony::Unneeded;
        }
        let client = client.max(1);
        if self.clients.contains(&client) {
            return Testimony::Known;
        }
        let needed = quorum.saturating_sub(1);
        match self.clients.iter_mut().take(needed).find(|place| **place == 0) {
            Some(place) => {
                *place = client;
                Testimony::New
            }
            None => {
                self.enough = true;
                Testimony::Enough
            }
        }
    }
}
