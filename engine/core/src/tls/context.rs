//! What all handshakes share: provider, trust store, authorities, and the cache of minted leaves.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls_pki_types::CertificateDer;

use super::ClientHello;
use super::cache_key::CacheKey;
use super::clock::Clock;
use super::costly_servers::CostlyServers;
use super::fetch::Fetcher;
use super::offer::{offer_to_server, tls_version};
use super::record::RecordLibraries;
use super::server_leg::ServerVerifier;
use super::server_sessions::Sessions;
use super::shared_chains::SharedChains;
use super::tickets::{TicketKeys, TicketSharing};
use super::trust::{NoRoot, TrustStore};
use super::verify::crl::Crls;
use super::verify::intermediates::Intermediates;
use super::verify::root_signatures::RootSignatures;
use super::verify::sct::{CtLog, CtLogs};
use super::verify::{OwnCa, Verifier};
use super::verify_cache::VerifyCache;
use crate::caches::TlsCaches;
use crate::event::MintedBy;
use crate::mint::{Authority, CaSigner, CaVault, LeafRequest, Mint, SignedFor};
use crate::policy::Profile;
use crate::reason::Reason;
use crate::x509::{CaFiles, CrlFile, KeyType, Provider, RootFile, SetupError};

/// What a [`TlsContext`] is made of.
#[derive(Debug)]
pub struct TlsSettings {
    /// Which library does the cryptography: of handshakes, and of records unless [others](TlsContext::with_record_libraries) are to.
    pub provider: Provider,
    /// The CA that the clients trust.
    pub trusted: CaFiles,
    /// The CA that nobody trusts.
    pub untrusted: CaFiles,
    /// The roots of the operating system, if they are to be trusted; none of them: Mozilla's.
    pub system_roots: Option<Vec<CertificateDer<'static>>>,
    /// Further roots.
    pub roots: Vec<RootFile>,
    /// Where clients find the trusted CA's CRL, as the copies say; none: they say nothing.
    pub crl_url: Option<String>,
    /// What else is known of certificates.
    pub knowledge: Knowledge,
    /// Now, in seconds since the Unix epoch: an expired CA is refused.
    pub now: u64,
}

impl TlsSettings {
    /// Both CAs, and who signs for them; nobody else: this process.
    fn signed_for(&self, signer: Option<Arc<dyn CaSigner>>) -> Result<SignedFor, SetupError> {
        let crl_url = self.crl_url.as_deref();
        if let Some(signer) = signer {
            let trusted = Authority::load(&self.trusted, self.now)?.with_crl_url(crl_url);
            let untrusted = Authority::load(&self.untrusted, self.now)?;
            return Ok(SignedFor { trusted, untrusted, signer });
        }
        let vault = CaVault::load(self.provider, (&self.trusted, &self.untrusted), crl_url, self.now)?;
        let [trusted, untrusted] = vault.authorities().map(Authority::clone);
        Ok(SignedFor { trusted, untrusted, signer: Arc::new(vault) })
    }
}

/// What is known of certificates beside the roots.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// Certificates between leaves and roots, which servers may forget to send.
    pub intermediates: Vec<RootFile>,
    /// Lists of revoked certificates.
    pub crls: Vec<CrlFile>,
    /// Logs of Certificate Transparency; none: nobody asks for their timestamps.
    pub ct_logs: Option<Vec<CtLog>>,
    /// What fetches more of it; none: nothing is fetched.
    pub fetcher: Option<Arc<Fetcher>>,
}

/// Origins whose sessions are kept, unless asked otherwise: some 20 KB each at most in ordinary use.
pub const DEFAULT_SERVER_SESSIONS: usize = 4096;

/// Shared by all handshakes of a process.
pub struct TlsContext {
    pub(super) kind: Provider,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) records: RecordLibraries,
    pub(super) mint: Mint,
    pub(super) verify_cache: Arc<VerifyCache>,
    pub(super) server_verifier: Arc<ServerVerifier>,
    pub(super) costly_servers: Arc<CostlyServers>,
    /// None: what is fetched has a say.
    shared_chains: Option<Arc<SharedChains>>,
    pub(super) clock: Arc<Clock>,
    /// None: servers are not resumed.
    pub(super) sessions: Option<Arc<Sessions>>,
    /// None: clients get no tickets.
    pub(super) tickets: Option<Arc<TicketKeys>>,
    /// Hash over trust store and authorities: what was decided under others does not count.
    pub(super) generation: [u8; 32],
    counters: Arc<TlsCaches>,
}

impl TlsContext {
    /// Loads authorities and trust store. Servers' sessions are kept; tickets for clients need
    /// [a secret](Self::with_ticket_secret).
    ///
    /// # Errors
    /// The file at fault, and what was expected of it.
    pub fn new(settings: TlsSettings) -> Result<Self, SetupError> {
        Self::build(settings, None, None)
    }

    /// Likewise, with keys of the CAs that somebody else has: those of the settings are not looked at.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn signed_by(settings: TlsSettings, signer: Arc<dyn CaSigner>) -> Result<Self, SetupError> {
        Self::build(settings, Some(signer), None)
    }

    /// Loads them anew, and goes on with what `before` has kept, as far as that still holds: verdicts and servers' sessions only under
    /// the same roots and CAs, leaves only of the same CA. What was fetched, and what fetches, stays. The keys of tickets go on in any
    /// case: a ticket is bound to roots, CA, leaf and profile.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn succeeding(settings: TlsSettings, before: &Self) -> Result<Self, SetupError> {
        Self::build(settings, None, Some(before))
    }

    /// Likewise, with keys that [somebody else](Self::signed_by) has.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn succeeding_signed_by(
        settings: TlsSettings,
        signer: Arc<dyn CaSigner>,
        before: &Self,
    ) -> Result<Self, SetupError> {
        Self::build(settings, Some(signer), Some(before))
    }

    fn build(
        settings: TlsSettings,
        signer: Option<Arc<dyn CaSigner>>,
        before: Option<&Self>,
    ) -> Result<Self, SetupError> {
        let provider = settings.provider.load();
        let SignedFor { trusted, untrusted, signer } = settings.signed_for(signer)?;
        if trusted.public_key() == untrusted.public_key() {
            return Err(SetupError::new(&settings.untrusted.cert_name, "another key than the trusted CA's"));
        }
        let own = [&trusted, &untrusted].map(|a| OwnCa {
            subject: a.subject().to_vec(),
            public_key: a.public_key().to_vec(),
            key_id: a.key_id().map(<[u8]>::to_vec),
        });
        let trust = TrustStore::load(settings.system_roots.as_deref(), &settings.roots)?;
        let intermediates = Intermediates::load(&settings.knowledge.intermediates)?;
        let crls = Crls::load(&settings.knowledge.crls)?;
        let ct_logs = settings.knowledge.ct_logs.as_deref().map(CtLogs::new);
        let known = CacheKey::new("generation")
            .bytes(&trust.digest())
            .bytes(&intermediates.digest())
            .bytes(&crls.digest())
            .option(ct_logs.as_ref().map(CtLogs::digest).as_ref().map(|digest| &digest[..]));
        let generation =
            [&trusted, &untrusted].iter().fold(known, |b, ca| b.list(ca.chain().iter())).finish();
        let algorithms = provider.signature_verification_algorithms;
        let counters = before.map(|before| Arc::clone(&before.counters)).unwrap_or_default();
        let fetched_before = before.and_then(|before| before.verify_cache.verifier().fetcher.clone());
        let fetcher = fetched_before.or(settings.knowledge.fetcher);
        let shared_chains = match before {
            Some(before) => before.shared_chains.clone(),
            None => fetcher.is_none().then(Arc::default),
        };
        let of_same_provider = before.filter(|before| before.kind == settings.provider);
        // rustls resumes a session only with the very verifier that it began with: both are kept, or neither.
        let (verify_cache, server_verifier, sessions) =
            match of_same_provider.filter(|before| before.generation == generation) {
                Some(same) => {
                    (Arc::clone(&same.verify_cache), Arc::clone(&same.server_verifier), same.sessions.clone())
                }
                None => {
                    let verifier = Verifier {
                        trust,
                        intermediates,
                        crls,
                        ct_logs,
                        fetcher,
                        algorithms: algorithms.all,
                        own: own.into(),
                        root_signatures: RootSignatures::none(),
                    };
                    // Another library may take other algorithms, and another version may judge otherwise.
                    let judges = CacheKey::new("trust")
                        .bytes(&generation)
                        .bytes(settings.provider.name().as_bytes())
                        .bytes(env!("CARGO_PKG_VERSION").as_bytes())
                        .finish();
                    let shared = shared_chains.clone().map(|chains| (chains, judges));
                    let verify_cache = Arc::new(VerifyCache::new(verifier, Arc::clone(&counters), shared));
                    let server_verifier = ServerVerifier::new(Arc::clone(&verify_cache), algorithms);
                    (verify_cache, Arc::new(server_verifier), None)
                }
            };
        let mint = match of_same_provider {
            Some(before) => before.mint.succeeded_by(SignedFor { trusted, untrusted, signer }),
            None => {
                let cas = SignedFor { trusted, untrusted, signer };
                Mint::new(settings.provider, cas, Arc::clone(&counters))
            }
        };
        let context = Self {
            kind: settings.provider,
            provider: Arc::new(provider),
            records: RecordLibraries::all(settings.provider),
            mint,
            server_verifier,
            verify_cache,
            costly_servers: before.map(|before| Arc::clone(&before.costly_servers)).unwrap_or_else(|| {
                let (key, _) = generation.as_chunks();
                Arc::new(CostlyServers::new(key[0]))
            }),
            shared_chains,
            clock: before.map(|before| Arc::clone(&before.clock)).unwrap_or_default(),
            sessions,
            tickets: before.and_then(|before| before.tickets.clone()),
            generation,
            counters,
        };
        Ok(if context.sessions.is_some() {
            context
        } else {
            context.with_server_sessions(DEFAULT_SERVER_SESSIONS)
        })
    }

    /// Keeps the sessions of so many servers; 0: of none. Those that are kept already stay, if it is the same number.
    pub fn with_server_sessions(mut self, capacity: usize) -> Self {
        if self.sessions.as_ref().is_some_and(|sessions| sessions.capacity() == capacity) {
            return self;
        }
        let sessions = || Sessions::new(capacity, Arc::clone(&self.clock), Arc::clone(&self.counters));
        self.sessions = (capacity > 0).then(|| Arc::new(sessions()));
        self
    }

    /// Gives clients tickets, with keys that are made from `secret`, and so the table of costly servers its key.
    pub fn with_ticket_secret(mut self, secret: [u8; 32]) -> Self {
        let key = CacheKey::new("costly servers").bytes(&secret).finish();
        let (key, _) = key.as_chunks();
        self.costly_servers = Arc::new(CostlyServers::new(key[0]));
        let (clock, counters) = (Arc::clone(&self.clock), Arc::clone(&self.counters));
        self.tickets = Some(Arc::new(TicketKeys::new(secret, clock, self.provider.secure_random, counters)));
        self
    }

    /// Where the keys of tickets are, to share them with other engines. Contexts that [succeed](Self::succeeding) this one have the same. None:
    /// clients get no tickets.
    pub fn ticket_sharing(&self) -> Option<TicketSharing> {
        self.tickets.clone().map(TicketSharing)
    }

    /// Servers that were costly to verify, to share them with other engines. Contexts that [succeed](Self::succeeding) this one have the same.
    pub fn costly_servers(&self) -> &Arc<CostlyServers> {
        &self.costly_servers
    }

    /// Chains that were verified, likewise. None: none may be shared, as what this engine fetches has a say.
    pub fn shared_chains(&self) -> Option<&Arc<SharedChains>> {
        self.shared_chains.as_ref()
    }

    /// Has these libraries protect the records of the handshakes that end from now on.
    pub fn with_record_libraries(mut self, records: RecordLibraries) -> Self {
        self.records = records;
        self
    }

    /// Which libraries protect the records.
    pub fn record_libraries(&self) -> RecordLibraries {
        self.records
    }

    /// What its caches count.
    pub fn caches(&self) -> &Arc<TlsCaches> {
        &self.counters
    }

    /// Whether this client can be served within the profile, to be asked before its flow is adopted.
    ///
    /// # Errors
    /// [`Reason::VersionUnsupportedClient`], [`Reason::CipherNoneClient`] or [`Reason::HelloName`].
    pub(crate) fn can_serve(&self, hello: &ClientHello, profile: &Profile) -> Result<(), Reason> {
        // rustls speaks with no client that asks for one.
        if hello.names_no_host() {
            return Err(Reason::HelloName);
        }
        let offer = offer_to_server(&self.provider, hello, profile)?;
        let best = offer.versions.iter().map(|version| tls_version(version)).max();
        let key = best.and_then(|version| hello.leaf_key(version, self.mint.provider()));
        key.map(drop).ok_or(Reason::CipherNoneClient)
    }

    /// Mints a copy of a certificate in DER by the trusted CA, as a handshake would: to see what that costs. The copy's
    /// fingerprint; `now` is in seconds since the Unix epoch.
    #[doc(hidden)]
    pub fn mint_copy(&self, original: &[u8], now: i64) -> Option<[u8; 32]> {
        let order =
            LeafRequest { by: MintedBy::Trusted, defect: None, key_type: KeyType::P256, max_days: 90, now };
        self.mint.copy(original, &[], &[], order).ok().map(|leaf| *leaf.fingerprint())
    }

    /// Whether a verdict or a session of `other` may be one of this one's: both have the same memory of them.
    #[doc(hidden)]
    pub fn shares_verdicts(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.verify_cache, &other.verify_cache)
    }

    /// Both CAs as orders to a signer call them, the trusted one first.
    pub fn ca_fingerprints(&self) -> [[u8; 32]; 2] {
        self.mint.ca_fingerprints()
    }

    /// Leaves minted so far; those out of the cache do not count again.
    pub fn minted(&self) -> u64 {
        self.mint.minted()
    }

    /// When the certificates of the engine's CAs end, in seconds since the Unix epoch.
    pub fn authorities_end(&self) -> [(MintedBy, i64); 2] {
        self.mint.authorities_end()
    }

    /// Trusted roots that are not valid yet at `now`, in seconds since the Unix epoch. Nobody trusts a root before its time:
    /// the clock is behind.
    pub fn roots_not_yet_valid(&self, now: i64) -> usize {
        self.verify_cache.verifier().trust.not_yet_valid(now)
    }

    /// Certificates of the files of roots that are none.
    pub fn no_roots(&self) -> &[NoRoot] {
        self.verify_cache.verifier().trust.no_roots()
    }

    /// Intermediates of the configuration.
    pub fn intermediates(&self) -> usize {
        self.verify_cache.verifier().intermediates.configured()
    }

    /// Lists of revoked certificates, and certificates in them.
    pub fn revoked(&self) -> (usize, usize) {
        self.verify_cache.verifier().crls.count()
    }

    /// Trusted roots.
    pub fn roots(&self) -> usize {
        self.verify_cache.verifier().trust.anchors().len()
    }
}

impl fmt::Debug for TlsContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsContext").field("roots", &self.roots()).finish_non_exhaustive()
    }
}
