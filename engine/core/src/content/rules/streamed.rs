//! Content that is never held: whoever asked for it waits for each piece.

const STREAMED: [&str; 3] = ["text/event-stream", "application/grpc", "multipart/x-mixed-replace"];
const MEDIA: [&str; 2] = ["audio/", "video/"];

/// A value of Content-Type says that pieces are of use as they come.
pub(super) fn is_streamed(value: &[u8]) -> bool {
    begins_with(value, &STREAMED)
}

/// The content of a request is an open stream: calls of gRPC, which are HTTP/2 alone. The one whose content is looked at has written the
/// Content-Type: it may not get around that with a word.
pub(super) fn is_streamed_request(value: &[u8], is_http2: bool) -> bool {
    is_http2 && begins_with(value, &["application/grpc"])
}

/// A value of Content-Type says that it is played while it comes.
pub(super) fn is_media(value: &[u8]) -> bool {
    begins_with(value, &MEDIA)
}

fn begins_with(value: &[u8], kinds: &[&str]) -> bool {
    let value = value.trim_ascii_start();
    kinds
        .iter()
        .any(|kind| value.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_told_from_files() {
        for kind in ["text/event-stream", " Text/Event-Stream; charset=utf-8", "application/grpc+proto"] {
            assert!(is_streamed(kind.as_bytes()) && !is_media(kind.as_bytes()), "{kind}");
        }
        assert!(is_media(b"video/mp4") && is_media(b"Audio/ogg"));
        for kind in ["", "text/plain", "text/event", "application/octet-stream", "xvideo/mp4"] {
            assert!(!is_streamed(kind.as_bytes()) && !is_media(kind.as_bytes()), "{kind}");
        }
    }
}
