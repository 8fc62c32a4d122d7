//! Servers by how they speak TLS.

use std::error::Error;

use rustls::NamedGroup;
use rustls::version::{TLS12, TLS13};

use super::server_hello::ServerHello;
use super::{Internet, Play, Server};

type Made = Result<Play, Box<dyn Error>>;

const SSL3: u16 = 0x0300;
const TLS1_0: u16 = 0x0301;
const TLS1_1: u16 = 0x0302;
const TLS1_2: u16 = 0x0303;

/// TLS_RSA_WITH_AES_128_CBC_SHA: what the oldest servers have.
const RSA_AES_CBC: u16 = 0x002f;
/// TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
const ECDHE_AES_GCM: u16 = 0xc02f;

/// TLS 1.3 alone, and all is well.
pub fn tls13(net: &Internet) -> Made {
    let mut play = super::certificates::good(net)?;
    if let Server::Tls(options) = &mut play.server {
        options.versions = vec![&TLS13];
    }
    Ok(play)
}

/// TLS 1.2 alone, with ECDHE and an AEAD.
pub fn tls12(net: &Internet) -> Made {
    let mut play = super::certificates::good(net)?;
    if let Server::Tls(options) = &mut play.server {
        options.versions = vec![&TLS12];
    }
    Ok(twice(play))
}

/// SSL 3.0 at most.
pub fn ssl3(net: &Internet) -> Made {
    Ok(answers(net, ServerHello::new(SSL3, RSA_AES_CBC)))
}

/// TLS 1.0 at most.
pub fn tls10(net: &Internet) -> Made {
    Ok(answers(net, ServerHello::new(TLS1_0, RSA_AES_CBC)))
}

/// TLS 1.1 at most.
pub fn tls11(net: &Internet) -> Made {
    Ok(answers(net, ServerHello::new(TLS1_1, RSA_AES_CBC)))
}

/// A version that the client has not offered, says its alert.
pub fn no_version(net: &Internet) -> Made {
    Ok(alerts(net, 70))
}

/// No cipher suite that the client has offered, says its alert.
pub fn no_cipher(net: &Internet) -> Made {
    Ok(alerts(net, 40))
}

/// No group that the client offers: rustls on both sides.
pub fn no_group(net: &Internet) -> Made {
    let mut play = super::certificates::good(net)?;
    play.client.groups = vec![NamedGroup::X25519];
    if let Server::Tls(options) = &mut play.server {
        options.groups = vec![NamedGroup::secp384r1];
    }
    Ok(twice(play))
}

/// RSA key transport: who gets the server's key later reads what was said before.
pub fn static_rsa(net: &Internet) -> Made {
    Ok(answers(net, ServerHello::new(TLS1_2, 0x009c)))
}

/// Finite-field DHE, whose groups the server chooses as weak as it likes.
pub fn dhe(net: &Internet) -> Made {
    Ok(answers(net, ServerHello::new(TLS1_2, 0x009e)))
}

/// CBC with MAC-then-encrypt.
pub fn cbc(net: &Internet) -> Made {
    Ok(answers(net, ServerHello::new(TLS1_2, 0xc013)))
}

/// 3DES.
pub fn triple_des(net: &Internet) -> Made {
    Ok(answers(net, ServerHello::new(TLS1_2, 0xc012)))
}

/// RC4.
pub fn rc4(net: &Internet) -> Made {
    Ok(answers(net, ServerHello::new(TLS1_2, 0xc011)))
}

/// No encryption at all.
pub fn null(net: &Internet) -> Made {
    Ok(answers(net, ServerHello::new(TLS1_2, 0xc010)))
}

/// No certificate at all.
pub fn anonymous(net: &Internet) -> Made {
    Ok(answers(net, ServerHello::new(TLS1_2, 0xc018)))
}

/// Compression, which the client has not offered.
pub fn compression(net: &Internet) -> Made {
    Ok(answers(net, ServerHello { compression: 1, ..ServerHello::new(TLS1_2, ECDHE_AES_GCM) }))
}

/// TLS 1.2, and its random says that it would speak TLS 1.3: somebody has changed the client's hello (RFC 8446 §4.1.3).
pub fn downgrade(net: &Internet) -> Made {
    Ok(answers(net, ServerHello { tail: *b"DOWNGRD\x01", ..ServerHello::new(TLS1_2, ECDHE_AES_GCM) }))
}

/// Half a handshake, and the end.
pub fn truncated(net: &Internet) -> Made {
    let mut record = ServerHello::new(TLS1_2, ECDHE_AES_GCM).record();
    record.truncate(record.len() / 2);
    Ok(Play::new(net, Server::Says(record)))
}

/// Not TLS.
pub fn not_tls(net: &Internet) -> Made {
    Ok(Play::new(net, Server::Says(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec())))
}

/// A record longer than any may be (RFC 8446 §5.2).
pub fn long_record(net: &Internet) -> Made {
    Ok(Play::new(net, Server::Says([&[22, 3, 3, 0xff, 0xff][..], &[0; 2000]].concat())))
}

/// A good handshake, and then a record that was not sealed with its keys.
pub fn forged_record(net: &Internet) -> Made {
    let play = super::certificates::good(net)?;
    let record = [&[23, 3, 3, 0, 64][..], &[0x5e; 64]].concat();
    let server = match play.server {
        Server::Tls(options) | Server::Breaks(options, _) => Server::Breaks(options, record),
        says @ Server::Says(_) => says,
    };
    Ok(Play { server, ..play })
}

fn answers(net: &Internet, hello: ServerHello) -> Play {
    twice(Play::new(net, Server::Says(hello.record())))
}

/// A fatal alert.
fn alerts(net: &Internet, description: u8) -> Play {
    twice(Play::new(net, Server::Says(vec![21, 3, 3, 0, 2, 2, description])))
}

/// Once more, for those who learn from the first time.
fn twice(play: Play) -> Play {
    Play { hosts: vec![1, 1], ..play }
}
