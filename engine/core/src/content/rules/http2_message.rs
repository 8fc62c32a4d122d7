//! What a message of HTTP/2 must look like (RFC 9113, 8.1 to 8.3). Servers that pass requests on, to HTTP/1 above all, read what does not in
//! many ways.

use crate::content::http1_strict::{is_host, is_scheme};
use crate::fields::{Fields, is_token};

/// The message breaks these rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What the relay needs to know of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// CONNECT, also the extended one (RFC 8441): what follows is a tunnel.
    pub(super) is_connect: bool,
    /// Its response has no content.
    pub(super) is_head: bool,
    pub(super) is_grpc: bool,
    /// Content-Length.
    pub(super) declared: Option<u64>,
}

impl Request {
    /// As far as it can be told also of a malformed one.
    pub(super) fn of(fields: &Fields) -> Self {
        let is_method = |name: &[u8]| fields.value(":method") == Some(name);
        Self {
            is_connect: is_method(b"CONNECT"),
            is_head: is_method(b"HEAD"),
            is_grpc: fields.value("content-type").is_some_and(|kind| kind.starts_with(b"application/grpc")),
            declared: declared_length(fields),
        }
    }
}

/// Content-Length (RFC 9110, 8.6).
pub(super) fn declared_length(fields: &Fields) -> Option<u64> {
    fields.value("content-length").and_then(number)
}

/// RFC 9113, 8.3.1 and 8.5; RFC 8441, 4.
pub(super) fn check_request(fields: &Fields) -> Result<(), Malformed> {
    check_fields(fields, &[":method", ":scheme", ":authority", ":path", ":protocol"])?;
    let method = fields.value(":method").ok_or(Malformed)?;
    ensure(!method.is_empty() && method.iter().all(|&byte| is_token(byte)))?;
    let authority = fields.value(":authority");
    let is_tunnel = method == b"CONNECT" && fields.value(":protocol").is_none();
    ensure(method == b"CONNECT" || fields.value(":protocol").is_none())?;
    if is_tunnel {
        ensure(fields.value(":scheme").is_none() && fields.value(":path").is_none() && authority.is_some())?;
    } else {
        let path = fields.value(":path").ok_or(Malformed)?;
        ensure(path.starts_with(b"/") || path == b"*" && method == b"OPTIONS")?;
        ensure(path.iter().all(|byte| !matches!(byte, 0..=b' ' | b'#' | 0x7f)))?;
        ensure(fields.value(":scheme").is_some_and(is_scheme))?;
    }
    let mut hosts = fields.values("host");
    let host = hosts.next();
    ensure(hosts.next().is_none())?;
    ensure(authority.or(host).is_some_and(is_host))?;
    ensure(authority.zip(host).is_none_or(|(one, other)| one.eq_ignore_ascii_case(other)))
}

/// RFC 9113, 8.3.2.
pub(super) fn check_response(fields: &Fields) -> Result<(), Malformed> {
    check_fields(fields, &[":status"])?;
    let status = fields.value(":status").ok_or(Malformed)?;
    ensure(status.len() == 3 && status.iter().all(u8::is_ascii_digit))
}

/// RFC 9113, 8.1.
pub(super) fn check_trailers(fields: &Fields) -> Result<(), Malformed> {
    check_fields(fields, &[])
}

/// RFC 9113, 8.2 and 8.3: pseudo-fields come first, each once, and are of these.
fn check_fields(fields: &Fields, pseudo: &[&str]) -> Result<(), Malformed> {
    let (mut seen, mut regular, mut length) = (0u8, false, None);
    for field in fields.iter() {
        let (name, value) = (field.name, field.value);
        ensure(!value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')))?;
        ensure(value.trim_ascii().len() == value.len())?;
        if name.starts_with(b":") {
            let place = pseudo.iter().position(|known| known.as_bytes() == name).ok_or(Malformed)?;
            ensure(!regular && seen & 1 << place == 0)?;
            seen |= 1 << place;
            continue;
        }
        regular = true;
        ensure(!name.is_empty() && name.iter().all(|&byte| is_token(byte) && !byte.is_ascii_uppercase()))?;
        match name {
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => {
                return Err(Malformed);
            }
            b"te" => ensure(value.eq_ignore_ascii_case(b"trailers"))?,
            b"content-length" => {
                let said = Some(number(value).ok_or(Malformed)?);
                ensure(length.is_none() || length == said)?;
                length = said;
            }
            _ => {}
        }
    }
    Ok(())
}

fn ensure(holds: bool) -> Result<(), Malformed> {
    if holds { Ok(()) } else { Err(Malformed) }
}

/// RFC 9110, 8.6: digits, and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Field;

    fn fields(text: &str) -> Fields {
        let mut fields = Fields::default();
        for line in text.split('|') {
            let (name, value) = line.rsplit_once('=').unwrap();
            fields.push(Field { name: name.as_bytes(), value: value.as_bytes(), never_indexed: false });
        }
        fields
    }

    const GOOD: &str = ":method=GET|:scheme=https|:path=/|:authority=a";

    #[test]
    fn requests_that_are_well_formed() {
        for text in [
            GOOD,
            ":method=GET|:scheme=https|:path=/|host=a",
            ":method=OPTIONS|:scheme=https|:path=*|:authority=a:8443|host=A:8443",
            ":method=CONNECT|:authority=a:443",
            ":method=CONNECT|:protocol=websocket|:scheme=https|:path=/|:authority=a",
            ":method=POST|:scheme=https|:path=/|:authority=[::1]|te=trailers|content-length=5|content-length=5",
        ] {
            assert_eq!(check_request(&fields(text)), Ok(()), "{text}");
        }
    }

    #[test]
    fn requests_that_are_not() {
        for text in [
            ":method=GET|:scheme=https|:path=/",
            ":scheme=https|:path=/|:authority=a",
            ":method=GET|:path=/|:authority=a",
            ":method=GET|:scheme=https|:authority=a",
            ":method=GET|:scheme=https|:path=|:authority=a",
            ":method=GET|:scheme=https|:path=a|:authority=a",
            ":method=GET|:scheme=https|:path=/ x|:authority=a",
            ":method=GE T|:scheme=https|:path=/|:authority=a",
            ":method=GET|:scheme=https|:path=/|:authority=u@a",
            ":method=GET|:scheme=https|:path=/|:authority=a/b",
            ":method=GET|:scheme=https|:path=/|:authority=a:x",
            ":method=GET|:scheme=https|:path=/|:authority=a..",
            ":method=GET|:scheme=https|:path=/|:authority=",
            ":method=CONNECT|:scheme=https|:path=/|:authority=a",
            ":method=GET|:protocol=websocket|:scheme=https|:path=/|:authority=a",
            ":method=GET|:scheme=https://b/?|:path=/|:authority=a",
            ":method=GET|:scheme=1s|:path=/|:authority=a",
            ":method=GET|:scheme=https|:path=/x#/../y|:authority=a",
        ] {
            assert_eq!(check_request(&fields(text)), Err(Malformed), "{text}");
        }
        for more in [
            ":method=GET",
            ":path=/x",
            ":status=200",
            ":future=1",
            "x=1|:authority=a",
            "Host=a",
            "host=b",
            "host=a|host=a",
            "x y=1",
            "=1",
            "x:y=1",
            "x=a\0",
            "x=a\rb",
            "x=a\nb",
            "x= a",
            "connection=close",
            "transfer-encoding=chunked",
            "upgrade=h2c",
            "keep-alive=1",
            "proxy-connection=close",
            "te=gzip",
            "content-length=5|content-length=6",
            "content-length=+5",
            "content-length=",
            "content-length=99999999999999999999",
        ] {
            assert_eq!(check_request(&fields(&format!("{GOOD}|{more}"))), Err(Malformed), "{more}");
        }
    }

    #[test]
    fn responses_and_trailers() {
        assert_eq!(check_response(&fields(":status=200|x=1")), Ok(()));
        for text in [
            ":status=20",
            ":status=2xx",
            "x=1",
            ":status=200|:status=200",
            ":status=200|:path=/",
            "x=1|:status=200",
        ] {
            assert_eq!(check_response(&fields(text)), Err(Malformed), "{text}");
        }
        assert_eq!(check_trailers(&fields("x=1")), Ok(()));
        assert_eq!(check_trailers(&fields(":method=GET")), Err(Malformed));
    }

    #[test]
    fn what_the_relay_needs_to_know() {
        let request =
            Request::of(&fields(":method=HEAD|content-type=application/grpc+proto|content-length=7"));
        assert_eq!(request, Request { is_connect: false, is_head: true, is_grpc: true, declared: Some(7) });
        assert!(Request::of(&fields(":method=CONNECT|:authority=a")).is_connect);
    }
}
