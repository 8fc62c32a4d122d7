//! What lines say of an HTTP transaction.

use serde::Serialize;
use wireglass_core::event::{ContentVerdict, HttpEvent};
use wireglass_core::reason::Ambiguity;

/// Suricata's `http`.
#[derive(Serialize)]
pub(super) struct Http<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_refer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_method: Option<&'a str>,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect: Option<&'a str>,
    length: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    http2: Option<Http2>,
}

#[derive(Serialize)]
struct Http2 {
    stream_id: u32,
}

impl Http2 {
    /// None in HTTP/1.
    fn new(stream_id: u32) -> Option<Self> {
        (stream_id != 0).then_some(Self { stream_id })
    }
}

impl<'a> Http<'a> {
    pub(super) fn new(event: &'a HttpEvent) -> Self {
        Self {
            hostname: event.hostname.as_deref(),
            url: event.url.as_deref(),
            http_user_agent: event.user_agent.as_deref(),
            http_content_type: event.content_type.as_deref(),
            http_refer: event.referer.as_deref(),
            http_method: event.method.as_deref(),
            protocol: event.protocol,
            status: event.status,
            redirect: event.redirect.as_deref(),
            length: event.length,
            http2: None,
        }
    }

    /// Likewise, of a message on this stream; 0: in HTTP/1.
    pub(super) fn on_stream(event: &'a HttpEvent, stream: u32) -> Self {
        Self { http2: Http2::new(stream), ..Self::new(event) }
    }
}

/// What we say beside it.
#[derive(Serialize)]
pub(super) struct OwnHttp<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ambiguous: Vec<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    shortened: bool,
}

impl<'a> OwnHttp<'a> {
    /// None: there is nothing to say.
    pub(super) fn new(event: &'a HttpEvent) -> Option<Self> {
        let HttpEvent { ambiguous, shortened, verdict, ref rule, .. } = *event;
        let says = shortened || !ambiguous.is_empty() || verdict.is_some();
        says.then(|| Self {
            verdict: verdict.map(ContentVerdict::name),
            rule: rule.as_deref(),
            ambiguous: ambiguous.iter().map(Ambiguity::code).collect(),
            shortened,
        })
    }
}
