//! An exclusion in JSON.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use wireglass_core::exclusions::{Cause, Clients, Exclusion, Place, Server};

/// A server that is not decrypted, and why: a line of the control channel and of the file. Of what was learned, all fields of the server are
/// there but a name that no client asked for; of what an operator has named, what is left out stands for any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExclusionRecord {
    /// `client_certificate`, `unsupported`, `pinned` or `manual`.
    pub cause: String,
    /// Name of the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire: Option<String>,
    /// VLAN ids, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vlan: Vec<u16>,
    /// Server name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Address of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// TCP port of the server.
    pub port: u16,
    /// Only for clients with this fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ja4: Option<String>,
    /// Only for clients for which the engine would offer the same: a digest of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<String>,
    /// When it was learned or named, in seconds since the Unix epoch.
    #[serde(default)]
    pub since: u64,
    /// When it is forgotten.
    pub until: u64,
    /// Name of the engine of the fleet that has learned it; left out: this one, or its operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

impl From<&Exclusion> for ExclusionRecord {
    fn from(exclusion: &Exclusion) -> Self {
        let Exclusion { cause, server, clients, since, until, engine } = exclusion;
        let Server { place, name, address, port } = server;
        let (ja4, offer) = match clients {
            Clients::Any => (None, None),
            Clients::Ja4(ja4) => (Some(ja4.to_string()), None),
            Clients::Offering(offer) => (None, Some(offer.to_string())),
        };
        Self {
            cause: cause.name().into(),
            wire: place.as_ref().map(|place| place.wire.to_string()),
            vlan: place.as_ref().map_or_else(Vec::new, |place| place.vlan.into_iter().flatten().collect()),
            name: name.as_ref().map(ToString::to_string),
            address: *address,
            port: *port,
            ja4,
            offer,
            since: *since,
            until: *until,
            engine: engine.as_ref().map(ToString::to_string),
        }
    }
}

impl ExclusionRecord {
    /// As the core has it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn exclusion(&self) -> Result<Exclusion, String> {
        if self.engine.is_some() {
            return Err("engine: what another engine has learned is not taken from here".into());
        }
        let cause = Cause::named(&self.cause).ok_or("cause: no such cause")?;
        let server = Server::named(self.name.as_deref(), self.address, self.port)
            .ok_or("expected a server name of 1 to 253 bytes, an address, or both")?;
        let place = match (&self.wire, &*self.vlan) {
            (None, []) => None,
            (None, _) => return Err("vlan: expected a wire with it".into()),
            (Some(wire), vlan) if vlan.len() <= 2 => Some(Place {
                wire: wire.as_str().into(),
                vlan: [vlan.first().copied(), vlan.get(1).copied()],
            }),
            (Some(_), _) => return Err("vlan: expected two ids at most".into()),
        };
        let clients = match (&self.ja4, &self.offer, cause) {
            (Some(ja4), None, Cause::Pinned) if ja4.len() <= 64 => Clients::Ja4(ja4.as_str().into()),
            (None, Some(offer), Cause::Unsupported) => {
                Clients::Offering(offer.parse().map_err(|()| "offer: expected 20 hexadecimal digits")?)
            }
            (None, None, Cause::ClientCertificate | Cause::Ech | Cause::Manual) => Clients::Any,
            _ => {
                return Err(
                    "expected ja4 with cause \"pinned\", offer with \"unsupported\", else neither".into()
                );
            }
        };
        // Learned ones are asked for by all that they have; an operator's by what was given.
        if (cause == Cause::Manual) != place.is_none() {
            return Err("wire: expected one with what was learned, none with cause \"manual\"".into());
        }
        let (since, until) = (self.since, self.until);
        Ok(Exclusion { cause, server: Server { place, ..server }, clients, since, until, engine: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(json: &str) -> Result<Exclusion, String> {
        serde_json::from_str::<ExclusionRecord>(json).map_err(|error| error.to_string())?.exclusion()
    }

    #[test]
    fn what_is_written_is_read_again() {
        for json in [
            r#"{"cause":"client_certificate","wire":"lan","vlan":[7,9],"name":"a.example","address":"192.0.2.1","port":443,"since":1,"until":2}"#,
            r#"{"cause":"unsupported","wire":"lan","address":"2001:db8::1","port":8443,"offer":"00112233445566778899","since":1,"until":2}"#,
            r#"{"cause":"pinned","wire":"lan","vlan":[7],"name":"a.example","address":"192.0.2.1","port":443,"ja4":"t13d1516h2_8daaf6152771_b186095e22b6","since":1,"until":2}"#,
            r#"{"cause":"manual","name":"a.example","port":443,"since":1,"until":2}"#,
            r#"{"cause":"manual","address":"192.0.2.1","port":443,"since":1,"until":2}"#,
        ] {
            let exclusion = record(json).unwrap();
            assert_eq!(serde_json::to_string(&ExclusionRecord::from(&exclusion)).unwrap(), json);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (json, hint) in [
            (r#"{"cause":"boredom","name":"a","port":443,"until":2}"#, "cause"),
            (r#"{"cause":"manual","port":443,"until":2}"#, "a server name"),
            (r#"{"cause":"manual","name":"","port":443,"until":2}"#, "1 to 253"),
            (r#"{"cause":"manual","name":"a","wire":"lan","port":443,"until":2}"#, "wire"),
            (r#"{"cause":"pinned","name":"a","port":443,"ja4":"t","until":2}"#, "wire"),
            (r#"{"cause":"manual","name":"a","vlan":[1],"port":443,"until":2}"#, "wire"),
            (
                r#"{"cause":"pinned","wire":"l","vlan":[1,2,3],"name":"a","port":443,"ja4":"t","until":2}"#,
                "two",
            ),
            (r#"{"cause":"pinned","wire":"l","name":"a","port":443,"until":2}"#, "ja4"),
            (
                r#"{"cause":"unsupported","wire":"l","name":"a","port":443,"offer":"é0112233445566778899","until":2}"#,
                "20",
            ),
            (r#"{"cause":"manual","name":"a","port":70000,"until":2}"#, "70000"),
            (r#"{"cause":"manual","name":"a","port":443,"until":2,"colour":1}"#, "colour"),
            (r#"{"cause":"manual","name":"a","port":443,"until":2,"engine":"edge-2"}"#, "engine"),
        ] {
            let message = record(json).unwrap_err();
            assert!(message.contains(hint), "{json}: {message}");
        }
    }
}
