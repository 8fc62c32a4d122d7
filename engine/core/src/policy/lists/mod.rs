//! Lists of names, URLs and addresses that others keep, by the hundred thousand: which of them something is on.
//!
//! All lists of a kind are one set, shared by all workers, so one look-up answers all of them.

mod digests;
mod domains;
mod entry;
mod format;
mod lines;
mod mask;
mod table;
mod urls;
mod zone;

use std::net::{IpAddr, Ipv6Addr};

use digests::DigestSet;
use domains::DomainSet;
use ipnet::IpNet;
use urls::UrlSet;

pub use self::digests::HashLists;
pub use self::format::Format;
pub use self::lines::{BadLine, MAX_LINE, Report};
pub use self::mask::{ListId, ListMask, MAX_LISTS};
use super::names::HostName;
use super::networks::Networks;
use table::Key;

/// Entries of all lists together.
pub const MAX_ENTRIES: usize = 1 << 24;

/// What a list's entries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// Host names.
    Domain,
    /// Hosts, each with the beginning of a path.
    Url,
    /// Addresses and networks.
    Ip,
    /// SHA-256 hashes of files.
    Sha256,
    /// MD5 hashes of files.
    Md5,
}

impl ListKind {
    /// As the configuration writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Url => "url",
            Self::Ip => "ip",
            Self::Sha256 => "sha256",
            Self::Md5 => "md5",
        }
    }

    /// What its entries are called.
    pub fn entries(self) -> &'static str {
        match self {
            Self::Domain => "names",
            Self::Url => "URLs",
            Self::Ip => "networks",
            Self::Sha256 | Self::Md5 => "hashes",
        }
    }

    /// Its entries are hashes of files.
    pub const fn is_of_hashes(self) -> bool {
        matches!(self, Self::Sha256 | Self::Md5)
    }
}

/// One list, without its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Unique; what rules call it.
    pub name: String,
    /// What its entries are.
    pub kind: ListKind,
    /// How many it has, without repetitions.
    pub entries: usize,
}

/// All lists, ready for use.
#[derive(Debug)]
pub struct Lists {
    lists: Vec<List>,
    domains: DomainSet,
    urls: UrlSet,
    digests: DigestSet,
    /// By the numbers of the lists; empty for those of other kinds.
    addresses: Vec<Networks>,
}

impl Default for Lists {
    fn default() -> Self {
        ListsBuilder::new([0; 16]).build()
    }
}

impl Lists {
    /// A list.
    pub fn get(&self, id: ListId) -> Option<&List> {
        self.lists.get(id.index())
    }

    /// The list of a name.
    pub fn id(&self, name: &str) -> Option<ListId> {
        self.lists.iter().position(|list| list.name == name).and_then(ListId::new)
    }

    /// All lists, in the order in which they were declared.
    pub fn iter(&self) -> impl Iterator<Item = &List> {
        self.lists.iter()
    }

    /// The domain lists that a host name is on.
    pub fn of_domain(&self, name: &str) -> ListMask {
        self.of_host(&HostName::new(name))
    }

    pub(super) fn of_host(&self, name: &HostName) -> ListMask {
        self.domains.find(name)
    }

    /// There is something on URL lists.
    pub(super) fn have_urls(&self) -> bool {
        self.urls.len() > 0
    }

    /// The URL lists that a URL is on, by its host, as a request names it, and by its path in the form that nginx compares and its query.
    pub fn of_url(&self, host: &str, target: &str) -> ListMask {
        let address =
            host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok());
        match address {
            // Entries have one form of it, without brackets.
            Some(address) => self.urls.find(&HostName::new(&address.to_string()), target),
            None => self.urls.find(&HostName::new(host), target),
        }
    }

    /// Whether an address is on a list.
    pub fn has_address(&self, list: ListId, address: IpAddr) -> bool {
        self.addresses.get(list.index()).is_some_and(|networks| networks.contain(address))
    }

    /// A hash of texts, with the key of the lists: nobody outside can look for others of the same hash.
    pub(in crate::policy) fn keyed_hash<'a>(&self, texts: impl Iterator<Item = &'a [u8]>) -> u64 {
        self.digests.keyed_hash(texts)
    }

    /// The first of the asked lists that a file is on, by those hashes of it that are known.
    pub fn of_hashes(
        &self,
        asked: &HashLists,
        sha256: Option<&[u8; 32]>,
        md5: Option<&[u8; 16]>,
    ) -> Option<&str> {
        let by_sha256 = sha256.map(|sha256| self.digests.find(sha256) & asked.sha256()).unwrap_or_default();
        let by_md5 = md5.map(|md5| self.digests.find(md5) & asked.md5()).unwrap_or_default();
        let on = by_sha256 | by_md5;
        on.iter().next().and_then(|id| self.get(id)).map(|list| list.name.as_str())
    }

    /// Memory of the domain lists, in bytes.
    pub fn domain_bytes(&self) -> usize {
        self.domains.bytes()
    }
}

/// Lists on their way to be [`Lists`].
pub struct ListsBuilder {
    lists: Vec<List>,
    domains: DomainSet,
    urls: UrlSet,
    digests: DigestSet,
    addresses: Vec<Vec<IpNet>>,
    networks: usize,
}

impl ListsBuilder {
    /// The key of the hashes must be one that nobody outside can guess.
    pub fn new(key: [u8; 16]) -> Self {
        let key = Key::new(key);
        Self {
            lists: Vec::new(),
            domains: DomainSet::new(key),
            urls: UrlSet::new(key),
            digests: DigestSet::new(key),
            addresses: Vec::new(),
            networks: 0,
        }
    }

    /// A new, empty list; none if there are [`MAX_LISTS`] already.
    pub fn declare(&mut self, name: &str, kind: ListKind) -> Option<ListId> {
        let id = ListId::new(self.lists.len())?;
        self.lists.push(List { name: name.to_owned(), kind, entries: 0 });
        self.addresses.push(Vec::new());
        Some(id)
    }

    /// Adds what a file says to a list.
    pub fn read(&mut self, list: ListId, format: Format, contents: &[u8]) -> Report {
        lines::read(self, list, format, contents)
    }

    fn kind(&self, list: ListId) -> ListKind {
        self.lists[list.index()].kind
    }

    fn is_full(&self) -> bool {
        self.domains.len() + self.urls.len() + self.digests.len() + self.networks >= MAX_ENTRIES
    }

    /// All that was read.
    pub fn build(mut self) -> Lists {
        self.domains.shrink();
        self.digests.shrink();
        let addresses: Vec<_> = self.addresses.iter().map(|networks| Networks::new(networks)).collect();
        let Self { lists, domains, urls, digests, .. } = self;
        Lists { lists, domains, urls, digests, addresses }
    }
}
