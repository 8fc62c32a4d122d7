//! What a QUIC client says first, made by hand around rustls' hello.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::quic::{ClientConnection, Keys, Version};
use rustls::{CipherSuite, ClientConfig, RootCertStore, Side, SupportedCipherSuite};

/// The connection ID that most packets are for.
pub(crate) const ID: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8];
/// The one that a server gives.
pub(crate) const SERVER_ID: &[u8] = b"server";

/// Whichever library is built in.
fn library() -> CryptoProvider {
    #[cfg(feature = "aws-lc-rs")]
    return rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    rustls::crypto::ring::default_provider()
}

/// The hello that rustls says to a server of this name.
pub(crate) fn hello(name: &str) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(library()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client =
        ClientConnection::new_with_alpn(Arc::new(config), Version::V1, name, vec![], vec![b"h3".to_vec()])
            .unwrap();
    let mut hello = Vec::new();
    assert!(client.write_hs(&mut hello).is_none());
    hello
}

fn varint(value: usize) -> [u8; 4] {
    (value as u32 | 0x8000_0000).to_be_bytes()
}

pub(crate) fn crypto(at: usize, piece: &[u8]) -> Vec<u8> {
    [&[6][..], &varint(at), &varint(piece.len()), piece].concat()
}

/// An Initial packet of a client's, as QUIC has it.
pub(crate) fn initial(version: Version, id: &[u8], number: u64, frames: &[u8]) -> Vec<u8> {
    initial_to(version, (id, id), number, frames)
}

/// Likewise, of a connection that was begun with the first ID, to the one that its server has given since.
pub(crate) fn initial_to(
    version: Version,
    (first_id, id): (&[u8], &[u8]),
    number: u64,
    frames: &[u8],
) -> Vec<u8> {
    let (wire_version, kind) = match version {
        Version::V2 => (0x6b33_43cfu32, 1),
        _ => (1, 0),
    };
    let is_wanted = |suite: &SupportedCipherSuite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256;
    let suite = library().cipher_suites.into_iter().find(is_wanted);
    let Some(SupportedCipherSuite::Tls13(suite)) = suite else { panic!("{suite:?}") };
    let quic = suite.quic_suite().unwrap();
    let keys = Keys::initial(version, quic.suite, quic.quic, first_id, Side::Client).local;
    let number_bytes = &number.to_be_bytes()[7..];
    let mut header = vec![0xc0 | kind << 4];
    header.extend(wire_version.to_be_bytes());
    header.push(id.len() as u8);
    header.extend(id);
    header.extend([3, 7, 7, 7, 0]);
    header.extend(varint(1 + frames.len() + 16));
    let at = header.len();
    header.extend(number_bytes);
    let mut payload = frames.to_vec();
    let tag = keys.packet.encrypt_in_place(number, &header, &mut payload).unwrap();
    let mut packet = [&header[..], &payload, tag.as_ref()].concat();
    let sample = packet[at + 4..at + 20].to_vec();
    let (head, rest) = packet.split_at_mut(at);
    keys.header.encrypt_in_place(&sample, &mut head[0], &mut rest[..1]).unwrap();
    packet
}

pub(crate) fn v1(number: u64, frames: &[u8]) -> Vec<u8> {
    initial(Version::V1, ID, number, frames)
}

/// A packet with a long header that nobody can open.
pub(crate) fn long(kind: u8, destination: &[u8], source: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xc0 | kind << 4, 0, 0, 0, 1, destination.len() as u8];
    packet.extend(destination);
    packet.push(source.len() as u8);
    packet.extend(source);
    if kind == 0 {
        packet.push(0);
    }
    packet.extend(varint(40));
    packet.extend([9; 40]);
    packet
}

/// A packet of a connection that stands.
pub(crate) const SHORT: &[u8] = &[0x41, 1, 2, 3, 4, 5, 6, 7, 8, 9];
