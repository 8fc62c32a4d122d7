//! What is asked of the servers that are not decrypted.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use wireglass_core::exclusions::{Cause, Exclusion, Server};

use super::protocol::envelope;

/// Longest time for which a server can be excluded by hand, in hours: 30 days. What is to last belongs into the configuration.
pub const MAX_HOURS: u32 = 720;
/// A server that is not to be decrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExcludeRequest {
    /// Its name; none: any, at this address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its address; none: any, with this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Its TCP port.
    pub port: u16,
    /// For how long.
    pub hours: u32,
}

impl ExcludeRequest {
    /// The line to send, its end included.
    pub fn line(&self) -> String {
        envelope("exclusions.add", serde_json::to_value(self).unwrap_or_default())
    }

    /// The server.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn server(&self) -> Result<Server, String> {
        if !(1..=MAX_HOURS).contains(&self.hours) {
            return Err(format!("hours: expected 1 to {MAX_HOURS}"));
        }
        if self.name.as_deref().is_some_and(|name| name.contains('*')) {
            return Err("name: expected one name; for many write a rule".into());
        }
        Server::named(self.name.as_deref(), self.address, self.port)
            .ok_or_else(|| "expected a name of 1 to 253 bytes, an address, or both".into())
    }
}

/// Servers that are to be forgotten: those for which all holds that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IncludeRequest {
    /// With this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// At this address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// With this port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// For this cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// All, whatever they are.
    pub all: bool,
}

impl IncludeRequest {
    /// The line to send, its end included.
    pub fn line(&self) -> String {
        envelope("exclusions.remove", serde_json::to_value(self).unwrap_or_default())
    }

    /// Decides over exclusions.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn matcher(&self) -> Result<impl Fn(&Exclusion) -> bool, String> {
        let Self { name, address, port, cause, all } = self.clone();
        if all == (name.is_some() || address.is_some() || port.is_some() || cause.is_some()) {
            return Err("expected name, address, port or cause, or else \"all\"".into());
        }
        let cause = match cause {
            Some(name) => Some(Cause::named(&name).ok_or_else(|| format!("cause: no cause {name:?}"))?),
            None => None,
        };
        let name = name.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        Ok(move |exclusion: &Exclusion| {
            let Server { name: own, address: at, port: of, .. } = &exclusion.server;
            name.as_deref().is_none_or(|name| own.as_deref() == Some(name))
                && address.is_none_or(|address| *at == Some(address))
                && port.is_none_or(|port| *of == port)
                && cause.is_none_or(|cause| exclusion.cause == cause)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exclusions::ExclusionRecord;

    #[test]
    fn what_cannot_be_excluded_is_said() {
        let request = |name: Option<&str>, address: Option<&str>, hours| ExcludeRequest {
            name: name.map(Into::into),
            address: address.map(|address| address.parse().unwrap()),
            port: 443,
            hours,
        };
        assert!(request(Some("A.example."), None, 12).server().unwrap().name.as_deref() == Some("a.example"));
        assert!(request(None, Some("192.0.2.1"), MAX_HOURS).server().is_ok());
        let long = "a".repeat(254);
        for (wrong, hint) in [
            (request(None, None, 12), "1 to 253"),
            (request(Some(&long), None, 12), "1 to 253"),
            (request(Some("*.example"), None, 12), "rule"),
            (request(Some("a.example"), None, 0), "hours"),
            (request(Some("a.example"), None, MAX_HOURS + 1), "hours"),
        ] {
            let message = wrong.server().unwrap_err();
            assert!(message.contains(hint), "{message}");
        }
    }

    #[test]
    fn all_that_is_given_has_to_hold() {
        let exclusion =
            |json: &str| serde_json::from_str::<ExclusionRecord>(json).unwrap().exclusion().unwrap();
        let known = exclusion(
            r#"{"cause":"pinned","wire":"lan","name":"a.example","address":"192.0.2.1","port":443,"ja4":"t13","until":9}"#,
        );
        let meant =
            |json: &str| serde_json::from_str::<IncludeRequest>(json).unwrap().matcher().map(|is| is(&known));
        for yes in [
            r#"{"all":true}"#,
            r#"{"name":"A.EXAMPLE."}"#,
            r#"{"address":"192.0.2.1"}"#,
            r#"{"port":443}"#,
            r#"{"cause":"pinned"}"#,
            r#"{"name":"a.example","address":"192.0.2.1","port":443,"cause":"pinned"}"#,
        ] {
            assert_eq!(meant(yes), Ok(true), "{yes}");
        }
        for no in [
            r#"{"name":"b.example"}"#,
            r#"{"address":"192.0.2.2"}"#,
            r#"{"port":8443}"#,
            r#"{"cause":"manual"}"#,
            r#"{"name":"a.example","port":8443}"#,
        ] {
            assert_eq!(meant(no), Ok(false), "{no}");
        }
        for wrong in ["{}", r#"{"all":true,"port":443}"#, r#"{"cause":"boredom"}"#] {
            assert!(meant(wrong).is_err(), "{wrong}");
        }
    }
}
