//! Who may ask for what, by the request's own words. There is no authentication: where the server listens decides who reaches it.
//!
//! A browser is a way around that: a page from elsewhere can have its own name point to this address (DNS rebinding) and would read the
//! answers as if they were its own. Its requests say that name in `Host`. So the server answers to addresses, to `localhost`, and to the
//! names that the configuration lists.

use std::net::IpAddr;

/// What is served beside `/metrics` and `/health`, and under which names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The status page.
    pub page: bool,
    /// Names under which the server is asked, beside addresses and `localhost`.
    pub hosts: Vec<String>,
}

impl Access {
    /// Whether a request may be for this server, by its `Host`.
    pub(super) fn knows(&self, host: &str) -> bool {
        let Some(name) = without_port(host) else { return false };
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        bare.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// The host of `host:port`, `[address]:port`, or of either without a port. None: it is neither.
fn without_port(host: &str) -> Option<&str> {
    let end = if host.starts_with('[') { host.find(']')? + 1 } else { host.find(':').unwrap_or(host.len()) };
    let (name, port) = host.split_at(end);
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|digit| digit.is_ascii_digit()));
    is_port.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_elsewhere_is_not_ours() {
        let access = Access { page: true, hosts: vec!["wire.example".into()] };
        for host in ["127.0.0.1", "127.0.0.1:9464", "[::1]:9464", "[::1]", "LocalHost:1", "wire.EXAMPLE:80"] {
            assert!(access.knows(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9464",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "wire.example.",
            "127.0.0.1:9464@evil.example",
            "[::1",
            "[::1]x",
            "127.0.0.1 evil.example",
        ] {
            assert!(!access.knows(host), "{host}");
        }
        assert!(!Access::default().knows("wire.example"));
    }
}
