//! One request over HTTP, to a host that may be asked.
//!
//! The host's name is looked up here, each address is judged, and the client is given the address itself: what was judged is what it
//! connects to, whatever the name leads to a moment later.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use ureq::Agent;
use ureq::http::{Request, StatusCode, header};
use wireglass_core::tls::{Fetch, FetchAnswer, FetchOutcome, Fetcher, HttpUrl};

/// Addresses of one name that are tried.
const TRIED: usize = 3;
/// The longest head of an answer, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;

/// What a host answers.
pub(super) fn ask(fetcher: &Fetcher, fetch: &Fetch, timeout: Duration) -> FetchAnswer {
    let Some(found) = resolve(&fetch.url) else { return FetchAnswer::Failed(FetchOutcome::Unresolved) };
    let own = own_addresses();
    let allowed: Vec<_> =
        found.into_iter().filter(|address| fetcher.may_connect(address.ip(), &own)).take(TRIED).collect();
    let deadline = Instant::now() + timeout;
    let mut answer = FetchAnswer::Failed(FetchOutcome::Forbidden);
    for (tried, address) in allowed.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        // So that one that is silent does not take the time of the others.
        let share = left / u32::try_from(allowed.len() - tried).unwrap_or(1);
        answer =
            ask_at(*address, fetch, left, share).unwrap_or_else(|error| FetchAnswer::Failed(outcome(&error)));
        if !matches!(answer, FetchAnswer::Failed(FetchOutcome::Unreachable)) {
            break;
        }
    }
    answer
}

/// None: the name has no address.
fn resolve(url: &HttpUrl) -> Option<Vec<SocketAddr>> {
    let host = url.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&url.host);
    let found: Vec<_> = (host, url.port).to_socket_addrs().ok()?.collect();
    (!found.is_empty()).then_some(found)
}

/// Addresses of this host.
fn own_addresses() -> Vec<IpAddr> {
    let interfaces = getifaddrs().into_iter().flatten();
    interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
        })
        .collect()
}

fn ask_at(
    address: SocketAddr,
    fetch: &Fetch,
    timeout: Duration,
    connect: Duration,
) -> Result<FetchAnswer, ureq::Error> {
    let config = Agent::config_builder()
        // Else the environment could name a proxy, which would be asked to connect to what is not to be connected to.
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .max_response_header_size(LONGEST_HEAD)
        .user_agent("wireglass")
        .timeout_global(Some(timeout))
        .timeout_connect(Some(connect))
        .build();
    let agent = Agent::new_with_config(config);
    let request = Request::builder()
        .uri(format!("http://{address}{}", fetch.url.target))
        .header(header::HOST, fetch.url.host_and_port());
    let mut response = match &fetch.body {
        None => agent.run(request.method("GET").body(())?)?,
        Some(body) => {
            let request = request.header(header::CONTENT_TYPE, "application/ocsp-request");
            agent.run(request.method("POST").body(&body[..])?)?
        }
    };
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    Ok(match (response.status(), location) {
        (StatusCode::OK, _) => {
            let most = u64::try_from(fetch.max_bytes).unwrap_or(u64::MAX);
            FetchAnswer::Body(response.body_mut().with_config().limit(most).read_to_vec()?)
        }
        // RFC 9110 §15.4. What was posted is not sent to another host.
        (status, Some(location)) if fetch.body.is_none() && status.is_redirection() => {
            FetchAnswer::Redirect(location.to_owned())
        }
        _ => FetchAnswer::Failed(FetchOutcome::Status),
    })
}

fn outcome(error: &ureq::Error) -> FetchOutcome {
    match error {
        ureq::Error::Timeout(ureq::Timeout::Connect) | ureq::Error::ConnectionFailed => {
            FetchOutcome::Unreachable
        }
        ureq::Error::Io(error) => match error.kind() {
            std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => FetchOutcome::Timeout,
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData => FetchOutcome::Protocol,
            _ => FetchOutcome::Unreachable,
        },
        ureq::Error::Timeout(_) => FetchOutcome::Timeout,
        ureq::Error::BodyExceedsLimit(_) => FetchOutcome::TooLong,
        _ => FetchOutcome::Protocol,
    }
}
