//! What verifications lack and others have: CRLs, OCSP responses, and certificates of issuers, under the addresses in certificates.
//!
//! ```text
//! verification ──► look: what the cache has         Fetcher::next ──► threads of the shell ──► Fetcher::done
//!              └─► order: bounded queue ────────────┘ at this pace     (sockets, DNS)           └ judged, then in the cache
//! ```
//! No verification waits. It finds what is [in the cache](store), and what it lacks is there for a later one: a verdict notes which
//! entries it has seen ([`Consulted`]), and holds no longer than they stay as they were. A fetched certificate is trusted no more than
//! one that a server sends; CRLs and OCSP responses are [judged](judge) before they are kept.
//!
//! Whose certificate is shown decides what is asked for. So CRLs and OCSP responses are fetched only for chains that lead to a root, which
//! has vouched for the addresses; issuers, for chains that do not, have at most half of the queue, half of the threads, and a quarter of the
//! cache. How often is [bounded](pace), for each host and in all.

mod address;
mod judge;
mod pace;
mod store;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ipnet::IpNet;
use rustls_pki_types::SignatureVerificationAlgorithm;
use tcp_stack::Instant;

pub use self::address::{HttpUrl, is_public};
use self::judge::Subject;
pub(in crate::tls) use self::store::{Consulted, Need};
use self::store::{Content, Look, Store};
use super::verify::crl::Crl;
use super::verify::ocsp::OUT_OF_DATE;
use super::verify::revocation::{Answer, Asked, Issuer};
use crate::lock::Lock;
use crate::tls::cache_key::CacheKey;
use crate::x509::{Certificate, Provider, oid};

/// What is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchKind {
    /// Certificate revocation lists (RFC 5280 §4.2.1.13).
    Crl,
    /// An OCSP response (RFC 6960).
    Ocsp,
    /// The certificate of an issuer (RFC 5280 §4.2.2.1).
    Issuer,
}

impl FetchKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Crl, Self::Ocsp, Self::Issuer];

    /// As metrics and messages have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crl => "crl",
            Self::Ocsp => "ocsp",
            Self::Issuer => "issuer",
        }
    }
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchOutcome {
    /// It is in the cache.
    Stored,
    /// Another address is to be asked.
    Redirected,
    /// The address is private, or its port is not among those that may be asked: nothing was sent.
    Forbidden,
    /// The name has no address.
    Unresolved,
    /// No connection.
    Unreachable,
    /// The answer was not there in time.
    Timeout,
    /// The answer is longer than may be.
    TooLong,
    /// Another status than 200, or more redirections than are followed.
    Status,
    /// No HTTP.
    Protocol,
    /// It is not what was asked for: malformed, of somebody else, or out of date.
    Rejected,
    /// The queue was full: not asked.
    QueueFull,
}

impl FetchOutcome {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Stored,
        Self::Redirected,
        Self::Forbidden,
        Self::Unresolved,
        Self::Unreachable,
        Self::Timeout,
        Self::TooLong,
        Self::Status,
        Self::Protocol,
        Self::Rejected,
        Self::QueueFull,
    ];

    /// As metrics and messages have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Redirected => "redirected",
            Self::Forbidden => "forbidden",
            Self::Unresolved => "unresolved",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::TooLong => "too_long",
            Self::Status => "status",
            Self::Protocol => "protocol",
            Self::Rejected => "rejected",
            Self::QueueFull => "queue_full",
        }
    }
}

/// What may be fetched, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchSettings {
    /// Fetch CRLs.
    pub crls: bool,
    /// Fetch OCSP responses.
    pub ocsp: bool,
    /// Fetch certificates of issuers.
    pub issuers: bool,
    /// Private networks that may be asked all the same.
    pub allow: Vec<IpNet>,
    /// TCP ports that may be asked.
    pub ports: Vec<u16>,
    /// Redirections that are followed for one answer.
    pub redirects: u8,
    /// Requests that may wait.
    pub queue: usize,
    /// Requests that may be on the way at a time.
    pub parallel: usize,
    /// Requests a second, in all.
    pub per_second: u32,
    /// Requests a second to one host.
    pub host_per_second: u32,
    /// The longest CRL, in bytes. Other answers are far shorter.
    pub answer_bytes: usize,
    /// Answers that are kept.
    pub entries: usize,
    /// Bytes of them.
    pub bytes: usize,
    /// How long nothing is asked for again after it could not be had, in seconds.
    pub retry: i64,
    /// After how long an answer is asked for anew, though it still holds, in seconds.
    pub refresh: i64,
}

impl Default for FetchSettings {
    /// Nothing is fetched.
    fn default() -> Self {
        Self {
            crls: false,
            ocsp: false,
            issuers: false,
            allow: Vec::new(),
            ports: vec![80],
            redirects: 2,
            queue: 256,
            parallel: 4,
            per_second: 20,
            host_per_second: 5,
            answer_bytes: 16_777_216,
            entries: 8192,
            bytes: 268_435_456,
            retry: 300,
            refresh: 21_600,
        }
    }
}

/// A request that is to be made now.
#[derive(Debug)]
pub struct Fetch {
    /// What for.
    pub kind: FetchKind,
    /// Whom to ask.
    pub url: HttpUrl,
    /// What to send, as an `application/ocsp-request` by POST (RFC 6960 §A.1). None: a GET.
    pub body: Option<Vec<u8>>,
    /// The longest answer that is taken, in bytes.
    pub max_bytes: usize,
    /// Where to ask if this fails.
    others: Vec<HttpUrl>,
    redirects: u8,
    key: [u8; 32],
    subject: Arc<Subject>,
}

/// What has come.
#[derive(Debug)]
pub enum FetchAnswer {
    /// Status 200, with this body.
    Body(Vec<u8>),
    /// A redirection to this `Location`.
    Redirect(String),
    /// Nothing.
    Failed(FetchOutcome),
}

/// What the cache has to say of a certificate.
pub(in crate::tls) enum Told {
    Says(Answer),
    /// Nothing; why.
    Nothing(&'static str),
    /// Nothing yet; likewise.
    Pending(&'static str),
}

/// The longest OCSP response, and the longest file with certificates, in bytes.
const LONGEST_SMALL: usize = 64 * 1024;

/// Cache, queue and pace. All threads that verify look into it; threads of the shell fetch.
pub struct Fetcher {
    settings: FetchSettings,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    store: Lock<Store>,
    outcomes: [[AtomicU64; FetchOutcome::ALL.len()]; FetchKind::ALL.len()],
}

impl Fetcher {
    /// An empty one. The provider's algorithms check what is fetched.
    pub fn new(settings: FetchSettings, provider: Provider) -> Self {
        let algorithms = provider.load().signature_verification_algorithms.all;
        let store = Lock::new(Store::new(&settings));
        Self { settings, algorithms, store, outcomes: Default::default() }
    }

    /// What it goes by.
    pub fn settings(&self) -> &FetchSettings {
        &self.settings
    }

    /// Whether a host may be connected to: a public one that is none of these, or one that the settings name. To be asked of the address
    /// that is connected to, as names may lead anywhere.
    pub fn may_connect(&self, address: IpAddr, own: &[IpAddr]) -> bool {
        let address = address.to_canonical();
        self.settings.allow.iter().any(|network| network.contains(&address))
            || is_public(address) && own.iter().all(|own| own.to_canonical() != address)
    }

    /// The next request that the pace allows. Whoever takes it says what [came of it](Self::done).
    ///
    /// `seconds` are those since the Unix epoch.
    pub fn next(&self, now: Instant, seconds: u64) -> Option<Fetch> {
        loop {
            let fetch = self.store.lock().next(now)?;
            if self.settings.ports.contains(&fetch.url.port) {
                return Some(fetch);
            }
            self.done(fetch, FetchAnswer::Failed(FetchOutcome::Forbidden), seconds);
        }
    }

    /// What came of a request, at `now` in seconds since the Unix epoch.
    pub fn done(&self, fetch: Fetch, answer: FetchAnswer, now: u64) -> FetchOutcome {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let kind = fetch.kind;
        let (outcome, content) = match answer {
            FetchAnswer::Failed(outcome) => (outcome, None),
            FetchAnswer::Redirect(location) => {
                let next = fetch.url.redirected(&location).filter(|_| fetch.redirects > 0);
                if let Some(url) = next {
                    self.store.lock().again(Fetch { url, redirects: fetch.redirects - 1, ..fetch });
                    self.count(kind, FetchOutcome::Redirected);
                    return FetchOutcome::Redirected;
                }
                (FetchOutcome::Status, None)
            }
            FetchAnswer::Body(body) if body.len() > fetch.max_bytes => (FetchOutcome::TooLong, None),
            FetchAnswer::Body(body) => match fetch.subject.judge(body, self.algorithms, now) {
                Some(content) => (FetchOutcome::Stored, Some(content)),
                None => (FetchOutcome::Rejected, None),
            },
        };
        let mut store = self.store.lock();
        match content {
            Some(content) => store.put(fetch, content, now),
            None => store.failed(fetch, now),
        }
        drop(store);
        self.count(kind, outcome);
        outcome
    }

    fn count(&self, kind: FetchKind, outcome: FetchOutcome) {
        self.outcomes[kind as usize][outcome as usize].fetch_add(1, Relaxed);
    }

    /// How many requests ended so since the start.
    pub fn counted(&self, kind: FetchKind, outcome: FetchOutcome) -> u64 {
        self.outcomes[kind as usize][outcome as usize].load(Relaxed)
    }

    /// Requests that wait, entries of the cache, and bytes of them.
    pub fn sizes(&self) -> [usize; 3] {
        self.store.lock().sizes()
    }

    /// What the CRL of a certificate says of it; or why nothing. None: it has none that is to be had.
    pub(in crate::tls) fn ask_crl(
        &self,
        asked: Asked<'_>,
        need: Need,
        now: i64,
        consulted: &mut Consulted,
    ) -> Option<Told> {
        if !self.settings.crls {
            return None;
        }
        let addresses = asked.certificate.crl_addresses();
        let key = key_below("crl", asked.issuer).list(addresses.iter()).finish();
        let want = || self.want(FetchKind::Crl, &addresses, key, || Some(Subject::crl(asked)));
        Some(match self.look(key, need, now, consulted, want)? {
            Look::Known(Content::Crl(crl)) => {
                crl.answer(asked, self.algorithms, now).map_or_else(Told::Nothing, Told::Says)
            }
            Look::Pending => Told::Pending("its CRL is being fetched"),
            _ => Told::Nothing("its CRL could not be fetched"),
        })
    }

    /// What the OCSP responder of a certificate says of it; likewise.
    pub(in crate::tls) fn ask_ocsp(
        &self,
        asked: Asked<'_>,
        need: Need,
        now: i64,
        consulted: &mut Consulted,
    ) -> Option<Told> {
        if !self.settings.ocsp {
            return None;
        }
        let addresses = asked.certificate.access(oid::OCSP);
        let key = key_below("ocsp", asked.issuer).bytes(asked.certificate.tbs.serial.value()).finish();
        let want = || self.want(FetchKind::Ocsp, &addresses, key, || Subject::ocsp(asked));
        Some(match self.look(key, need, now, consulted, want)? {
            Look::Known(Content::Ocsp(answer)) if now >= answer.until => Told::Nothing(OUT_OF_DATE),
            Look::Known(Content::Ocsp(answer)) => Told::Says(answer),
            Look::Pending => Told::Pending("an OCSP response about it is being fetched"),
            _ => Told::Nothing("no OCSP response about it could be fetched"),
        })
    }

    /// Certificates with the name of a certificate's issuer, from where that says.
    pub(in crate::tls) fn issuers(
        &self,
        of: &Certificate<'_>,
        need: Need,
        now: i64,
        consulted: &mut Consulted,
    ) -> Vec<Arc<[u8]>> {
        let addresses = if self.settings.issuers { of.access(oid::CA_ISSUERS) } else { Vec::new() };
        if addresses.is_empty() {
            return Vec::new();
        }
        let name = of.tbs.issuer.value();
        let key = CacheKey::new("issuer").bytes(name).list(addresses.iter()).finish();
        let want = || self.want(FetchKind::Issuer, &addresses, key, || Some(Subject::issuer(name)));
        match self.look(key, need, now, consulted, want) {
            Some(Look::Known(Content::Issuers(certificates))) => certificates.to_vec(),
            _ => Vec::new(),
        }
    }

    /// None: it is not there, and is not to be had.
    fn look(
        &self,
        key: [u8; 32],
        need: Need,
        now: i64,
        consulted: &mut Consulted,
        want: impl FnOnce() -> Option<Fetch>,
    ) -> Option<Look> {
        let (found, is_due) = self.store.lock().look(&key, now, consulted);
        let is_absent = matches!(found, Look::Absent);
        if need == Need::Wanted
            && is_due
            && let Some(fetch) = want()
        {
            consulted.want(fetch);
            return Some(if is_absent { Look::Pending } else { found });
        }
        (!is_absent).then_some(found)
    }

    fn want(
        &self,
        kind: FetchKind,
        addresses: &[&str],
        key: [u8; 32],
        subject: impl FnOnce() -> Option<Subject>,
    ) -> Option<Fetch> {
        let mut urls = addresses.iter().filter_map(|address| HttpUrl::parse(address));
        let url = urls.next()?;
        let subject = subject()?;
        Some(Fetch {
            kind,
            url,
            body: subject.request(),
            max_bytes: if kind == FetchKind::Crl { self.settings.answer_bytes } else { LONGEST_SMALL },
            others: urls.collect(),
            redirects: self.settings.redirects,
            key,
            subject: Arc::new(subject),
        })
    }

    /// Queues what a verification lacked, now that it is over.
    pub(in crate::tls) fn order(&self, consulted: &mut Consulted, now: i64) {
        for fetch in consulted.take_wants() {
            let kind = fetch.kind;
            if self.store.lock().order(fetch, now, consulted).is_err() {
                self.count(kind, FetchOutcome::QueueFull);
            }
        }
    }
}

/// Of what is known of certificates that this issuer has signed.
fn key_below(what: &str, issuer: Issuer<'_>) -> CacheKey {
    CacheKey::new(what).bytes(issuer.name.value()).bytes(issuer.public_key.value())
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
