//! Where a chain comes from: files, or a server.

use std::io::{self, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use wireglass_core::tls::ChainProbe;
use wireglass_core::x509::Provider;

/// Bytes of a file, and certificates of a chain, that are looked at.
const MAX_FILE: u64 = 1024 * 1024;
const MAX_CHAIN: usize = 256;
/// Time for a connection, and for its handshake.
const PATIENCE: Duration = Duration::from_secs(10);

type Chain = Vec<CertificateDer<'static>>;

/// What a server presents: its name, its chain, and the OCSP response that it staples; empty: none.
pub(super) type ByServer = (ServerName<'static>, Chain, Vec<u8>);

/// The certificates of files in PEM or DER.
pub(super) fn in_files(files: &[PathBuf]) -> Result<Chain, String> {
    let mut chain = Chain::new();
    for file in files {
        chain.extend(in_file(file).map_err(|why| format!("wireglass: {}: {why}", file.display()))?);
    }
    if chain.len() > MAX_CHAIN {
        return Err(format!("wireglass: expected at most {MAX_CHAIN} certificates, found {}", chain.len()));
    }
    Ok(chain)
}

/// An OCSP response in a file.
pub(super) fn staple(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
    opened.map(|_| bytes).map_err(|error| format!("wireglass: {}: {error}", file.display()))
}

fn in_file(file: &Path) -> Result<Chain, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(file).map_err(|error| error.to_string())?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("expected at most {MAX_FILE} bytes"));
    }
    let pem: Chain = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| "expected PEM certificates, found damaged PEM")?;
    match (pem.is_empty(), bytes.first()) {
        (false, _) => Ok(pem),
        // A SEQUENCE.
        (true, Some(0x30)) => Ok(vec![bytes.into()]),
        (true, _) => Err("expected certificates in PEM, or one in DER".into()),
    }
}

/// What a server presents to a client that asks for `name`, or else for the host itself.
pub(super) fn by_server(
    server: &str,
    name: Option<ServerName<'static>>,
    provider: Provider,
) -> Result<ByServer, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("wireglass: {server}: {why}");
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = match name {
        Some(name) => name,
        None => ServerName::try_from(host.to_owned()).map_err(|_| wrong(&"expected HOST:PORT"))?,
    };
    let addresses = server.to_socket_addrs().map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => wrong(&"expected HOST:PORT"),
        _ => wrong(&error),
    })?;
    let mut failure = wrong(&"no address");
    for address in addresses.take(4) {
        match handshake(&address, name.clone(), provider) {
            Ok((chain, staple)) => return Ok((name, chain, staple)),
            Err(why) => failure = wrong(&why),
        }
    }
    Err(failure)
}

fn handshake(
    address: &std::net::SocketAddr,
    name: ServerName<'static>,
    provider: Provider,
) -> Result<(Chain, Vec<u8>), String> {
    let mut probe = ChainProbe::new(provider, name).map_err(|error| error.to_string())?;
    let mut stream = TcpStream::connect_timeout(address, PATIENCE).map_err(|error| error.to_string())?;
    let until = Instant::now() + PATIENCE;
    while probe.connection().is_handshaking() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let moved = stream
            .set_read_timeout(Some(left))
            .and_then(|()| stream.set_write_timeout(Some(left)))
            .and_then(|()| step(&mut probe, &mut stream));
        match moved {
            Ok(()) => {}
            // Who does not want a client without a certificate has shown its own by then.
            Err(_) if !probe.chain().is_empty() => break,
            Err(error) => return Err(format!("no TLS handshake: {error}")),
        }
    }
    match probe.chain() {
        chain if chain.is_empty() => Err("the TLS handshake took too long".into()),
        chain => Ok((chain, probe.staple())),
    }
}

/// Sends what is to be sent, and reads once.
fn step(probe: &mut ChainProbe, stream: &mut TcpStream) -> io::Result<()> {
    let connection = probe.connection();
    while connection.wants_write() {
        connection.write_tls(stream)?;
    }
    if connection.is_handshaking() && connection.read_tls(stream)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let processed = connection.process_new_packets().map(drop);
    processed.map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}
