//! HTTP/2 with HPACK, behind the preface.

pub fn run(data: &[u8]) {
    super::http::read(b"h2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", data);
}
