//! A ServerHello (RFC 8446 §4.1.3, RFC 5246 §7.4.1.3) of a server that rustls cannot play.

/// Its fields, in the versions up to TLS 1.2.
pub(super) struct ServerHello {
    pub(super) version: u16,
    /// The last bytes of the random.
    pub(super) tail: [u8; 8],
    pub(super) cipher: u16,
    pub(super) compression: u8,
}

impl ServerHello {
    pub(super) fn new(version: u16, cipher: u16) -> Self {
        Self { version, tail: [0x5e; 8], cipher, compression: 0 }
    }

    /// In a record of its own.
    pub(super) fn record(&self) -> Vec<u8> {
        let Self { version, tail, cipher, compression } = self;
        let body: [&[u8]; 6] =
            [&version.to_be_bytes(), &[0x5e; 24], tail, &[0], &cipher.to_be_bytes(), &[*compression]];
        let body = body.concat();
        // 22: handshake; 2: server_hello. No length here needs more than one byte.
        let message = [&[2, 0, 0, body.len() as u8][..], &body].concat();
        [&[22][..], &version.to_be_bytes(), &[0, message.len() as u8], &message].concat()
    }
}
