//! OPTIONS: what a service can do (RFC 3507, 4.10).

use super::IcapError;
use super::answer::{AnswerReader, Event};
use super::service::Service;

/// What a service says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceOptions {
    /// It takes responses.
    pub respmod: bool,
    /// It takes requests.
    pub reqmod: bool,
    /// Most octets of a preview; none: it wants none.
    pub preview: Option<usize>,
    /// It may answer that nothing is to be changed.
    pub allows_204: bool,
    /// Connections that it takes.
    pub max_connections: Option<u32>,
    /// Who it is, for people.
    pub name: Option<String>,
}

/// A query for them.
#[derive(Debug)]
pub struct OptionsQuery {
    reader: AnswerReader,
    options: ServiceOptions,
}

impl OptionsQuery {
    /// With the bytes for the server.
    pub fn new(service: &Service) -> (Self, Vec<u8>) {
        let Service { host, port, .. } = service;
        let request = format!(
            "OPTIONS {service} ICAP/1.0\r\nHost: {host}:{port}\r\nUser-Agent: wireglass\r\nEncapsulated: null-body=0\r\n\r\n"
        );
        (Self { reader: AnswerReader::new(), options: ServiceOptions::default() }, request.into_bytes())
    }

    /// The server has sent this. Returns what it says of itself, as soon as all of it has come.
    ///
    /// # Errors
    /// It broke the protocol, or refuses.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Result<Option<ServiceOptions>, IcapError> {
        while let Some(event) = self.reader.next(&mut bytes)? {
            match event {
                Event::Head(head) if head.status == 200 => {
                    let methods = head.value("methods").unwrap_or_default().to_ascii_uppercase();
                    let number = |name| head.value(name).and_then(|value| value.parse().ok());
                    let allow = head.value("allow").unwrap_or_default();
                    self.options = ServiceOptions {
                        respmod: methods.contains("RESPMOD"),
                        reqmod: methods.contains("REQMOD"),
                        preview: head.value("preview").and_then(|value| value.parse().ok()),
                        allows_204: allow.split(',').any(|value| value.trim() == "204"),
                        max_connections: number("max-connections"),
                        name: head
                            .value("service")
                            .map(|name| name.chars().filter(|c| !c.is_control()).take(80).collect()),
                    };
                }
                Event::Head(head) => return Err(IcapError::Status(head.status)),
                Event::End => return Ok(Some(std::mem::take(&mut self.options))),
                Event::HttpHead(_) | Event::Body(_) => {}
            }
        }
        Ok(None)
    }
}
