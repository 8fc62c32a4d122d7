//! What a mirror is to show, and how.

use std::sync::Arc;

use crate::end::End;

/// Most mirrors of an engine.
pub const MAX_MIRRORS: usize = 4;

/// Which plaintext a mirror shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// What the ends have sent, before rules are asked.
    #[default]
    Seen,
    /// What goes on to the other end: without what was blocked, and with the block page.
    Forwarded,
}

/// Which mirrors show a flow, by the rule that has decided on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// Those that want its profile.
    #[default]
    ByProfile,
    /// None.
    Nowhere,
    /// The one of this name.
    At(Arc<str>),
}

/// One mirror. Its place in the list of all is that of its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// What logs and metrics call it.
    pub name: Arc<str>,
    /// Which plaintext it shows.
    pub when: When,
    /// Destination MAC address of all frames; none: the flow's own.
    pub destination_mac: Option<[u8; 6]>,
    /// Source MAC address, likewise.
    pub source_mac: Option<[u8; 6]>,
    /// An outermost VLAN tag of all frames, before those of the flow.
    pub vlan: Option<u16>,
    /// Ports of servers, and what they are called in the mirror of a decrypted flow.
    pub ports: Vec<(u16, u16)>,
    /// Names of the profiles whose flows it shows; empty: all.
    pub profiles: Vec<String>,
    /// Frames of bypassed flows are copied to it as well.
    pub bypassed: bool,
    /// Largest IP packet of the frames that are made for it, in bytes.
    pub mtu: u16,
}

impl Mirror {
    /// Shows all flows, with frames of at most 1500 bytes.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            when: When::default(),
            destination_mac: None,
            source_mac: None,
            vlan: None,
            ports: Vec::new(),
            profiles: Vec::new(),
            bypassed: false,
            mtu: 1500,
        }
    }

    /// It shows flows that are decrypted with this profile.
    pub fn wants(&self, profile: &str) -> bool {
        self.profiles.is_empty() || self.profiles.iter().any(|wanted| wanted == profile)
    }

    /// It shows a flow that is decrypted with this profile, and of which a rule says this.
    pub fn shows(&self, profile: &str, shown: &Shown) -> bool {
        match shown {
            Shown::ByProfile => self.wants(profile),
            Shown::Nowhere => false,
            Shown::At(name) => *name == self.name,
        }
    }

    /// Source and destination port of a frame of this end, which were these.
    pub(super) fn ports(&self, from: End, (source, destination): (u16, u16)) -> (u16, u16) {
        let called =
            |port| self.ports.iter().find(|(server, _)| *server == port).map_or(port, |(_, called)| *called);
        match from {
            End::Client => (source, called(destination)),
            End::Server => (called(source), destination),
        }
    }
}
