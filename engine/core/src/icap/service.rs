//! A service of a server, as configurations name it.

use std::fmt;
use std::str::FromStr;

/// RFC 3507, 4.1.
const DEFAULT_PORT: u16 = 1344;

/// What is asked about (RFC 3507, 4.8 and 4.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A request of a client.
    Reqmod,
    /// A response of a server.
    Respmod,
}

impl Method {
    /// As it is sent.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reqmod => "REQMOD",
            Self::Respmod => "RESPMOD",
        }
    }
}

/// `icap://host:port/path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// A name or an address; IPv6 in brackets.
    pub host: String,
    /// 1344 where none is named.
    pub port: u16,
    /// With its slash, and with its query if there is one.
    pub path: String,
}

/// It is no URL of ICAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceError;

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL of a service (\"icap://127.0.0.1:1344/avscan\")")
    }
}

impl std::error::Error for ServiceError {}

impl FromStr for Service {
    type Err = ServiceError;

    fn from_str(text: &str) -> Result<Self, ServiceError> {
        let rest = text.strip_prefix("icap://").ok_or(ServiceError)?;
        let (authority, path) = rest.split_once('/').ok_or(ServiceError)?;
        if text.len() > 1024 || !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
            return Err(ServiceError);
        }
        let colon = authority.rfind(':').filter(|colon| !authority[*colon..].contains(']'));
        let (host, port) = match colon {
            Some(colon) => (&authority[..colon], authority[colon + 1..].parse().map_err(|_| ServiceError)?),
            None => (authority, DEFAULT_PORT),
        };
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let inner = if is_bracketed { &host[1..host.len() - 1] } else { host };
        let is_host = match is_bracketed {
            true => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            false => !inner.is_empty() && inner.bytes().all(is_name),
        };
        if !is_host || port == 0 {
            return Err(ServiceError);
        }
        Ok(Self { host: host.to_owned(), port, path: format!("/{path}") })
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "icap://{}:{}{}", self.host, self.port, self.path)
    }
}
