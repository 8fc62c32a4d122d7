//! IANA names of what the two providers can negotiate.

/// Cipher suite (IANA "TLS Cipher Suites").
pub(super) fn cipher_suite(id: u16) -> Option<&'static str> {
    Some(match id {
        0x1301 => "TLS_AES_128_GCM_SHA256",
        0x1302 => "TLS_AES_256_GCM_SHA384",
        0x1303 => "TLS_CHACHA20_POLY1305_SHA256",
        0xc02b => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        0xc02c => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        0xc02f => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        0xc030 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        0xcca8 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        0xcca9 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        _ => return None,
    })
}

/// Key exchange group (IANA "TLS Supported Groups").
pub(super) fn group(id: u16) -> Option<&'static str> {
    Some(match id {
        0x0017 => "secp256r1",
        0x0018 => "secp384r1",
        0x0019 => "secp521r1",
        0x001d => "x25519",
        0x0202 => "MLKEM1024",
        0x0201 => "MLKEM768",
        0x11eb => "SecP256r1MLKEM768",
        0x11ec => "X25519MLKEM768",
        _ => return None,
    })
}
