//! The two ends of a flow.

use std::ops::{Index, IndexMut};

/// Which end of a flow: where a packet comes from, or a leg leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Sent the SYN.
    Client,
    /// Was addressed.
    Server,
}

impl End {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Client, Self::Server];

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// One of each for both ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerEnd<T> {
    /// The client's.
    pub client: T,
    /// The server's.
    pub server: T,
}

impl<T> PerEnd<T> {
    /// Makes each from its end, the client's first.
    pub fn from_fn(mut make: impl FnMut(End) -> T) -> Self {
        Self { client: make(End::Client), server: make(End::Server) }
    }

    /// One and the same for both.
    pub const fn both(value: T) -> Self
    where
        T: Copy,
    {
        Self { client: value, server: value }
    }

    /// The client's, then the server's.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        [&self.client, &self.server].into_iter()
    }

    /// Likewise, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        [&mut self.client, &mut self.server].into_iter()
    }

    /// An end's and, beside it, the other end's.
    pub(crate) fn split_mut(&mut self, end: End) -> (&mut T, &mut T) {
        match end {
            End::Client => (&mut self.client, &mut self.server),
            End::Server => (&mut self.server, &mut self.client),
        }
    }
}

impl<T> Index<End> for PerEnd<T> {
    type Output = T;

    fn index(&self, end: End) -> &T {
        match end {
            End::Client => &self.client,
            End::Server => &self.server,
        }
    }
}

impl<T> IndexMut<End> for PerEnd<T> {
    fn index_mut(&mut self, end: End) -> &mut T {
        match end {
            End::Client => &mut self.client,
            End::Server => &mut self.server,
        }
    }
}
