//! One entry of a list, from the text that a file has for it.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;

use super::domains::Reach;
use super::urls;
use crate::policy::names::check_name;
use crate::policy::path;

/// Why a text is no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is nothing that a list can have: what would have been right.
    Expected(&'static str),
    /// It is an entry of another kind of list, which the format may hold as well.
    OtherKind,
}

/// A host name in lower case and what it stands for: `*.name` is all below it, `.name` that and the name, and for a bare name the format
/// says it.
pub(super) fn domain(text: &str, bare: Reach) -> Result<(String, Reach), Wrong> {
    let (name, reach) = match (text.strip_prefix("*."), text.strip_prefix('.')) {
        (Some(name), _) => (name, Reach::Below),
        (None, Some(name)) => (name, Reach::Tree),
        (None, None) => (text, bare),
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    check_name(&name).map_err(|error| Wrong::Expected(error.expected()))?;
    Ok((name, reach))
}

/// A URL's host in lower case, what it stands for, and the path with what follows, in the form that requests are brought into. Scheme and port
/// are not compared.
pub(super) fn url(text: &str, bare: Reach) -> Result<(String, Reach, Cow<'_, str>), Wrong> {
    let (authority, path) = authority_and_path(text);
    let path = path::whole(path);
    if authority.contains('@') || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Wrong::Expected("a URL without user and blanks"));
    }
    if !urls::can_be_found(&path) {
        return Err(Wrong::Expected("a path of at most 64 pieces"));
    }
    let bracketed = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = bracketed.unwrap_or_else(|| {
        let port_at = authority.rfind(':').unwrap_or(authority.len());
        authority.split_at(port_at)
    });
    let is_port = port.strip_prefix(':').is_none_or(|port| port.parse::<u16>().is_ok());
    if !is_port || (bracketed.is_some() && !port.is_empty() && !port.starts_with(':')) {
        return Err(Wrong::Expected("a port from 0 to 65535 after the host"));
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok((address.to_string(), Reach::Exact, path));
    }
    let (host, reach) = domain(host, bare)?;
    Ok((host, reach, path))
}

/// The pieces of a URL, with or without a scheme: host and port, and the path with what follows, but for a fragment.
pub(super) fn authority_and_path(text: &str) -> (&str, &str) {
    let rest = text.split_once("://").map_or(text, |(scheme, rest)| {
        // A URL may have another one in its query.
        if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) { rest } else { text }
    });
    let rest = rest.split('#').next().unwrap_or_default();
    rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()))
}

/// An address, or a network in CIDR notation.
pub(super) fn network(text: &str) -> Result<IpNet, Wrong> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match network {
        Ok(network) if network.addr() == network.network() => Ok(network),
        Ok(_) => Err(Wrong::Expected("a network without host bits")),
        Err(_) => Err(Wrong::Expected("an address or a network")),
    }
}
