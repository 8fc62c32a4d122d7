//! Responses of our own in HTTP/1 (RFC 9112).

use super::judge::Answer;

/// The bytes of a response that ends its connection. `to_head`: it answers HEAD, so its body is left out (RFC 9110, 9.3.2).
pub(super) fn encode(answer: &Answer, to_head: bool) -> Vec<u8> {
    let Answer { status, fields, body } = answer;
    let mut text = format!("HTTP/1.1 {status} {}\r\n", phrase(*status));
    for (name, value) in fields {
        // A field is one line, whatever it was made of.
        let value: String = value.chars().filter(|letter| !letter.is_control()).collect();
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    // RFC 9110, 8.6: these have none.
    let has_body = !matches!(status, 100..=199 | 204 | 304);
    if has_body {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("connection: close\r\n\r\n");
    let mut bytes = text.into_bytes();
    if has_body && !to_head {
        bytes.extend_from_slice(body);
    }
    bytes
}

/// Reason phrases (RFC 9110, 15) of what rules answer most; clients do not read them.
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        302 => "Found",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        410 => "Gone",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        451 => "Unavailable For Legal Reasons",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Answer {
        Answer { status, fields: vec![("location", "https://a/\r\nx: y".into())], body: body.into() }
    }

    #[test]
    fn responses_end_their_connection() {
        let text = |answer: &Answer, to_head| String::from_utf8(encode(answer, to_head)).unwrap();
        assert_eq!(
            text(&answer(403, "no\n"), false),
            "HTTP/1.1 403 Forbidden\r\nlocation: https://a/x: y\r\ncontent-length: 3\r\nconnection: close\r\n\r\nno\n"
        );
        assert!(text(&answer(403, "no\n"), true).ends_with("content-length: 3\r\nconnection: close\r\n\r\n"));
        assert!(text(&answer(204, ""), false).ends_with("https://a/x: y\r\nconnection: close\r\n\r\n"));
    }
}
