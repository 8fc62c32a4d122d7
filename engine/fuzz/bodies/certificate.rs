//! A server's certificate in words.

use wireglass_core::x509::describe_certificate;

pub fn run(data: &[u8]) {
    let Some(info) = describe_certificate(data) else { return };
    assert!(info.alt_names.len() <= 100);
    assert_eq!(info.fingerprint.len(), 59, "SHA-1 in hexadecimal with colons");
}
