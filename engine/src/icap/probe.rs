//! Whether a server finds what every scanner finds.

use std::sync::Arc;
use std::{io, thread};

use wireglass_core::icap::{Method, Outcome, ServiceOptions};

use super::counters::Probed;
use super::server::{Failure, Server};
use crate::confine::{self, Kind};

/// What came of looking at a server.
#[derive(Debug)]
pub struct Probe {
    /// What it says of itself.
    pub options: ServiceOptions,
    /// What it made of the test file; none: it let it pass.
    pub found: Option<String>,
}

/// The test file of EICAR. In two pieces, so that no scanner takes this program for it.
fn eicar() -> Vec<u8> {
    let pieces = [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EI", "CAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"];
    pieces.concat().into_bytes()
}

/// Asks a server what it can do, and what it makes of the test file of EICAR. c-icap as it is packaged lets that pass, and so does one
/// whose scanner is gone.
///
/// # Errors
/// It does not answer.
pub fn probe(server: &Arc<Server>) -> Result<Probe, Failure> {
    let options = server.options()?;
    let file = eicar();
    let length = file.len();
    let get = "GET http://eicar.test/eicar.com HTTP/1.1\r\nHost: eicar.test\r\n\r\n";
    let post = format!(
        "POST http://eicar.test/ HTTP/1.1\r\nHost: eicar.test\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
    );
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
    );
    let heads = match server.settings().method {
        Method::Respmod => [get.as_bytes(), response.as_bytes()],
        Method::Reqmod => [post.as_bytes(), &[]],
    };
    let mut asking = server.ask(heads)?;
    let outcome = match asking.push(&file)? {
        Some(outcome) => outcome,
        None => asking.end()?,
    };
    let found = match outcome {
        Outcome::Unmodified => None,
        Outcome::Modified(modified) => Some(modified.threat.unwrap_or_else(|| "changed".into())),
    };
    Ok(Probe { options, found })
}

/// Looks at servers on a thread of its own, and says in messages what came of it: nobody waits for that.
///
/// # Errors
/// There is no thread.
pub fn probe_beside(servers: Vec<(Arc<str>, Arc<Server>)>) -> io::Result<()> {
    if servers.is_empty() {
        return Ok(());
    }
    let look = move || {
        confine::enter(Kind::Content);
        for (name, server) in servers {
            let service = &server.settings().service;
            let probed = probe(&server);
            server.counters().count_probe(match &probed {
                Ok(Probe { found: Some(_), .. }) => Probed::Found,
                Ok(Probe { found: None, .. }) => Probed::Passed,
                Err(_) => Probed::Failed,
            });
            match probed {
                Ok(Probe { found: Some(found), .. }) => {
                    tracing::info!("{name} ({service}) finds the test file of EICAR: {found}");
                }
                Ok(Probe { found: None, .. }) => {
                    tracing::warn!("{name} ({service}) lets the test file of EICAR pass: it finds nothing");
                }
                Err(failure) => tracing::warn!("{name} ({service}): {failure}"),
            }
        }
    };
    thread::Builder::new().name("icap-probe".into()).spawn(look).map(drop)
}
