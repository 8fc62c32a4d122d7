//! What an exclusion is about: which server, for which clients, and why.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use super::witnesses::MOST_WITNESSES;
use crate::fairness::ClientPrefix;
use crate::reason::Reason;

/// Longest server name that is remembered (RFC 1035 2.3.4, less the root's length and label).
pub const MAX_NAME: usize = 253;

/// Why connections to a server cannot be decrypted, or are not to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Cause {
    /// It insists on a client certificate; where the profile bypasses such servers, it has asked for one.
    ClientCertificate,
    /// It speaks no version, cipher suite or group of those that were offered.
    Unsupported,
    /// Clients that accept our CA elsewhere do not accept it for this server.
    Pinned,
    /// Clients have said that their encrypted hello (ECH) was real.
    Ech,
    /// An operator says so.
    Manual,
}

impl Cause {
    /// All of them, in declaration order.
    pub const ALL: [Self; 5] =
        [Self::ClientCertificate, Self::Unsupported, Self::Pinned, Self::Ech, Self::Manual];

    /// As events, metrics and commands have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientCertificate => "client_certificate",
            Self::Unsupported => "unsupported",
            Self::Pinned => "pinned",
            Self::Ech => "ech",
            Self::Manual => "manual",
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }

    /// Why a flow is bypassed for it.
    pub const fn reason(self) -> Reason {
        match self {
            Self::ClientCertificate => Reason::ExcludedClientCertificate,
            Self::Unsupported => Reason::ExcludedUnsupported,
            Self::Pinned => Reason::ExcludedPinned,
            Self::Ech => Reason::ExcludedEch,
            Self::Manual => Reason::ExcludedManual,
        }
    }

    /// Clients with which it must have failed until it counts. A server's word is final; a client may have had another reason, and one
    /// client alone must not end the inspection of others.
    pub(super) const fn quorum(self) -> usize {
        match self {
            Self::ClientCertificate | Self::Unsupported | Self::Manual => 1,
            Self::Pinned | Self::Ech => MOST_WITNESSES,
        }
    }
}

/// Where a server was met: networks on other wires and in other VLANs may have the same addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the wire.
    pub wire: Arc<str>,
    /// VLAN ids, outermost first.
    pub vlan: [Option<u16>; 2],
}

/// A server, as far as an exclusion names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it was met; none: anywhere.
    pub place: Option<Place>,
    /// The name that clients ask for, in lower case and without a trailing dot; none: they ask for none, or, of one that an operator has
    /// named, for any.
    pub name: Option<Box<str>>,
    /// None: any.
    pub address: Option<IpAddr>,
    /// TCP port.
    pub port: u16,
}

impl Server {
    /// An operator's. None: neither name nor address, or a name that is too long.
    pub fn named(name: Option<&str>, address: Option<IpAddr>, port: u16) -> Option<Self> {
        let name = name.map(normal).map(|name| name.to_ascii_lowercase().into_boxed_str());
        let is_right = name.as_ref().is_none_or(|name| (1..=MAX_NAME).contains(&name.len()));
        (is_right && (name.is_some() || address.is_some())).then_some(Self {
            place: None,
            name,
            address,
            port,
        })
    }

    pub(super) fn parts(&self) -> Parts<'_> {
        Parts {
            place: self.place.as_ref().map(|place| (&*place.wire, place.vlan)),
            name: self.name.as_deref(),
            address: self.address,
            port: self.port,
        }
    }
}

/// The name without a dot at the end.
fn normal(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// A server without a heap, to be hashed: equal to another if their hashes are, whatever the case of their names.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) place: Option<(&'a str, [Option<u16>; 2])>,
    pub(super) name: Option<&'a str>,
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
}

impl Hash for Parts<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.place, self.address, self.port, self.name.map(str::len)).hash(state);
        for byte in self.name.unwrap_or_default().bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}

/// A digest of what the engine offers to a server for a client: versions, suites, groups, signature schemes, and the profile's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Offer(pub [u8; 10]);

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for Offer {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut offer = [0; 10];
        if text.len() != 2 * offer.len() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(());
        }
        for (byte, digits) in offer.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| ())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| ())?;
        }
        Ok(Self(offer))
    }
}

/// For which clients an exclusion is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Clients {
    /// All.
    Any,
    /// Those for whom the engine would offer the same. One that offers little must not talk the server out of the inspection of others.
    Offering(Offer),
    /// Those with this JA4 fingerprint.
    Ja4(Box<str>),
}

/// A server that is known, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// Why.
    pub cause: Cause,
    /// Which server.
    pub server: Server,
    /// For whom.
    pub clients: Clients,
    /// When it was learned or named, in seconds since the Unix epoch.
    pub since: u64,
    /// When it is forgotten.
    pub until: u64,
    /// The engine of the fleet that has learned it; none: this one, or its operator.
    pub engine: Option<Arc<str>>,
}

/// A flow that asks.
#[derive(Clone, Copy, Debug)]
pub struct Contact<'a> {
    /// Name of the wire.
    pub wire: &'a Arc<str>,
    /// VLAN ids, outermost first.
    pub vlan: [Option<u16>; 2],
    /// Server name, as the client wrote it.
    pub name: Option<&'a str>,
    /// The server's address.
    pub address: IpAddr,
    /// The server's port.
    pub port: u16,
}

impl Contact<'_> {
    /// As an exclusion that was learned names it. None: its name is too long to be one.
    pub(super) fn server(&self) -> Option<Server> {
        let name = self.name.map(normal);
        name.is_none_or(|name| name.len() <= MAX_NAME).then(|| Server {
            place: Some(Place { wire: Arc::clone(self.wire), vlan: self.vlan }),
            name: name.map(|name| name.to_ascii_lowercase().into_boxed_str()),
            address: Some(self.address),
            port: self.port,
        })
    }

    pub(super) fn parts(&self) -> Parts<'_> {
        Parts {
            place: Some((self.wire, self.vlan)),
            name: self.name.map(normal),
            address: Some(self.address),
            port: self.port,
        }
    }

    /// As an operator may have named it.
    pub(super) fn named(&self) -> impl Iterator<Item = Parts<'_>> {
        let own = Parts { place: None, ..self.parts() };
        let by_name = own.name.map(|_| Parts { address: None, ..own });
        let by_address = own.name.map(|_| Parts { name: None, ..own });
        [Some(own), by_name, by_address].into_iter().flatten()
    }
}

/// What a flow's client is like.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Its address.
    pub address: IpAddr,
    /// Its JA4 fingerprint.
    pub ja4: &'a str,
    /// What the engine would offer for it.
    pub offer: Offer,
}

impl Client<'_> {
    /// What tells it from other clients. Whoever has one IPv6 address has a network of them.
    pub(super) fn network(&self) -> IpAddr {
        ClientPrefix::default().of(self.address)
    }
}
