//! HTTP/1.

pub fn run(data: &[u8]) {
    super::http::read(b"http/1.1", b"", data);
}
