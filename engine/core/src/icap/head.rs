//! Heads: a status line and fields, of bounded length.

use super::IcapError;

/// Most bytes of a head of ICAP, and of each head of HTTP in an answer.
pub const MAX_HEAD: usize = 64 * 1024;
/// Most bytes of a line outside heads.
pub const MAX_LINE: usize = 1024;

/// A head of ICAP.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    fields: Vec<(String, String)>,
}

impl Head {
    /// Reads `ICAP/1.0 200 OK` and the fields behind it, without the empty line.
    pub(super) fn parse(text: &[u8]) -> Result<Self, IcapError> {
        let text = String::from_utf8_lossy(text);
        let mut lines = text.split("\r\n").flat_map(|line| line.split('\n'));
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("ICAP/1.").and_then(|rest| rest.split_ascii_whitespace().nth(1));
        let status = status.filter(|status| status.len() == 3).and_then(|status| status.parse().ok());
        let status = status.ok_or(IcapError::Protocol("no status line of ICAP"))?;
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            // c-icap folds its X-Violations-Found (RFC 9112, 5.2).
            if line.starts_with([' ', '\t'])
                && let Some((_, value)) = fields.last_mut()
            {
                value.push(' ');
                value.push_str(line.trim());
                continue;
            }
            let (name, value) = line.split_once(':').ok_or(IcapError::Protocol("a field without a colon"))?;
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Self { status, fields })
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// The connection ends with this answer.
    pub(super) fn closes(&self) -> bool {
        self.value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// What the server calls what it has found, in the fields that servers use for it.
    pub(super) fn threat(&self) -> Option<String> {
        let found = self.value("x-infection-found").and_then(|value| {
            let threat = value.split(';').find_map(|part| part.trim().strip_prefix("Threat="))?;
            Some(threat.to_owned())
        });
        let named =
            || self.value("x-virus-id").or_else(|| self.value("x-violations-found")).map(str::to_owned);
        let text = found.or_else(named)?;
        Some(text.chars().filter(|c| !c.is_control()).take(64).collect())
    }
}

/// The first line of a head of HTTP: its status; none: it is a request.
pub(super) fn http_status(head: &[u8]) -> Option<u16> {
    let text = head.strip_prefix(b"HTTP/")?;
    let line = text.split(|byte| *byte == b'\n').next()?;
    let status = line.split(|byte| *byte == b' ').nth(1)?.trim_ascii();
    std::str::from_utf8(status).ok().filter(|status| status.len() == 3)?.parse().ok()
}

/// What a head of HTTP says of the length of its content.
pub(super) fn http_length(head: &[u8]) -> Option<u64> {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.find_map(|line| {
        let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
        let is_length = name.eq_ignore_ascii_case(b"content-length");
        std::str::from_utf8(&value[1..]).ok().filter(|_| is_length)?.trim().parse().ok()
    })
}
