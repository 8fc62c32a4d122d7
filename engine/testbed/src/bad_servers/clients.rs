//! Servers that want to know their clients, and clients that do not want to be looked at.

use std::error::Error;

use super::{Internet, Play, Server};

type Made = Result<Play, Box<dyn Error>>;

/// Hosts whose clients say the same: as many as anybody wants to hear, and one who comes after them.
const SEVERAL: [u8; 4] = [1, 3, 4, 5];

/// The server asks for a client certificate, and does without.
pub fn asks_for_certificate(net: &Internet) -> Made {
    with_client_certificate(net, false)
}

/// The server insists on a client certificate.
pub fn insists_on_certificate(net: &Internet) -> Made {
    with_client_certificate(net, true)
}

fn with_client_certificate(net: &Internet, insists: bool) -> Made {
    let mut play = super::certificates::good(net)?;
    if let Server::Tls(options) = &mut play.server {
        (options.client_root, options.insists) = (Some(net.root.certificate()), insists);
    }
    play.hosts = vec![1, 1];
    Ok(play)
}

/// Clients that take the server's own certificate only.
pub fn pinned(net: &Internet) -> Made {
    let mut play = super::certificates::good(net)?;
    (play.is_pinned, play.hosts) = (true, SEVERAL.to_vec());
    Ok(play)
}

/// Clients that hide the name which they ask for, in earnest.
#[cfg(feature = "aws-lc-rs")]
pub fn ech(net: &Internet) -> Made {
    let mut play = super::certificates::good(net)?;
    play.client.ech = Some(crate::ech::real(super::HOST)?);
    play.hosts = SEVERAL.to_vec();
    Ok(play.asked_for("hidden.example.net"))
}

/// Clients that pretend to, so that those who do do not stand out.
#[cfg(feature = "aws-lc-rs")]
pub fn ech_grease(net: &Internet) -> Made {
    let mut play = super::certificates::good(net)?;
    play.client.ech = Some(crate::ech::grease()?);
    Ok(play)
}
