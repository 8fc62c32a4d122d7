//! How the generator's clients and servers speak TLS: versions, certificates, sessions.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, NamedGroup, ProtocolVersion, ServerConfig, SupportedProtocolVersion,
};
use wireglass_testbed::{ClientOptions, Pki, ServerOptions};

use crate::load::{Names, Protocol};
use crate::scenario::NAME;
use crate::tickets::Tickets;

/// Connections whose server has a name of its own, at most; after that names come again, which a scenario says.
pub(crate) const DISTINCT: usize = 24_576;
/// Servers whose sessions are resumed.
const RESUMED: usize = 32;

/// Keys of the servers' chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    Ecdsa,
    Rsa,
}

impl Leaf {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
        }
    }

    /// A public-key infrastructure of such keys.
    pub(crate) fn pki(self, name: &str) -> Result<Pki, rcgen::Error> {
        let algorithm = match self {
            Self::Ecdsa => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::Rsa => &rcgen::PKCS_RSA_SHA256,
        };
        Pki::with_algorithm(name, algorithm)
    }
}

/// What connections have to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sessions {
    /// All go to one name, and none is resumed: its certificate has been seen.
    OneName,
    /// Each goes to another name, whose certificate nobody has seen.
    EachAnotherName,
    /// All go to some names, and go on where an earlier one ended. The engine keeps four sessions of each server, which is less
    /// than the connections that begin at a time.
    Resumed,
}

/// How the endpoints speak TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tls {
    pub(crate) version: &'static SupportedProtocolVersion,
    /// None: as the provider prefers, X25519MLKEM768.
    pub(crate) group: Option<NamedGroup>,
    pub(crate) leaf: Leaf,
    /// Payload of the servers' records; none: 16 KB.
    pub(crate) record: Option<usize>,
    pub(crate) sessions: Sessions,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            version: &rustls::version::TLS13,
            group: None,
            leaf: Leaf::Ecdsa,
            record: None,
            sessions: Sessions::OneName,
        }
    }
}

/// Whom the clients trust, and what the servers show.
pub(crate) struct Certificates {
    pub(crate) internet: Pki,
    /// The CA that the engine's copies end at; none: there is no engine.
    pub(crate) trusted: Option<CertificateDer<'static>>,
}

impl Tls {
    /// As a scenario's name has it.
    pub(crate) fn name(&self) -> String {
        let version = if self.version.version == ProtocolVersion::TLSv1_2 { "12" } else { "13" };
        let group = if self.group.is_some() { "x25519" } else { "x25519mlkem768" };
        let sessions = match self.sessions {
            Sessions::OneName => "",
            Sessions::EachAnotherName => "-cold",
            Sessions::Resumed => "-resumed",
        };
        format!("{version}-{group}-{}{sessions}", self.leaf.name())
    }

    /// TLS at both ends.
    pub(crate) fn protocol(&self, certificates: &Certificates) -> Result<Protocol, Box<dyn Error>> {
        let some = |count| (0..count).map(|n| format!("h{n}.{NAME}")).collect();
        let names: Vec<String> = match self.sessions {
            Sessions::OneName => vec![NAME.into()],
            Sessions::EachAnotherName => some(DISTINCT),
            Sessions::Resumed => some(RESUMED),
        };
        let (client, server) = (self.client(certificates)?, self.server(certificates, &names)?);
        let names: Vec<_> = names.into_iter().map(ServerName::try_from).collect::<Result<_, _>>()?;
        Ok(Protocol::Tls(client, server, Names(names.into())))
    }

    /// A ClientHello for `name`, and plain bytes.
    pub(crate) fn hello(
        &self,
        certificates: &Certificates,
        name: ServerName<'static>,
    ) -> Result<Protocol, Box<dyn Error>> {
        let mut hello = Vec::new();
        ClientConnection::new(self.client(certificates)?, name)?.write_tls(&mut hello)?;
        Ok(Protocol::Hello(hello.into()))
    }

    /// Trusts the engine's CA alone where there is an engine: what it does not decrypt, fails.
    fn client(&self, certificates: &Certificates) -> Result<Arc<ClientConfig>, Box<dyn Error>> {
        let root = certificates.trusted.clone().unwrap_or_else(|| certificates.internet.root());
        let mut client = ClientOptions::new(provider(), vec![root]);
        client.versions = vec![self.version];
        // In TLS 1.2 the groups are also the curves of certificates (RFC 8422 5.1.1): without P-256, which every real client has,
        // the engine would have to sign with RSA. The server chooses the one group that it has.
        let curve = (self.version.version == ProtocolVersion::TLSv1_2).then_some(NamedGroup::secp256r1);
        client.groups = self.group.into_iter().chain(self.group.and(curve)).collect();
        client.alpn = vec![b"http/1.1".to_vec()];
        let mut client = Arc::unwrap_or_clone(client.build()?);
        client.resumption = match self.sessions {
            Sessions::Resumed => Resumption::store(Arc::new(Tickets::default())),
            _ => Resumption::disabled(),
        };
        Ok(Arc::new(client))
    }

    fn server(
        &self,
        certificates: &Certificates,
        names: &[String],
    ) -> Result<Arc<ServerConfig>, Box<dyn Error>> {
        let identity = certificates.internet.identity(&[&names[0]])?;
        let mut server = ServerOptions::new(provider(), identity.chain, identity.key);
        server.versions = vec![self.version];
        server.groups = self.group.into_iter().collect();
        server.alpn = vec![b"http/1.1".to_vec()];
        let mut server = Arc::unwrap_or_clone(server.build()?);
        if self.sessions == Sessions::Resumed {
            server.ticketer = aws_lc_rs::Ticketer::new()?;
        } else {
            server.send_tls13_tickets = 0;
            // No session ids either: the engine would resume in TLS 1.2.
            server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        }
        if names.len() > 1 {
            server.cert_resolver = Arc::new(ByName::new(&certificates.internet, names)?);
        }
        // rustls counts a record's header, and in TLS 1.3 its content type, but not the tag.
        server.max_fragment_size = self.record.map(|payload| payload + 5);
        Ok(Arc::new(server))
    }
}

/// A certificate for each name.
#[derive(Debug)]
struct ByName(HashMap<String, Arc<CertifiedKey>>);

impl ByName {
    fn new(pki: &Pki, names: &[String]) -> Result<Self, Box<dyn Error>> {
        let provider = provider();
        let certified = |name: &String| -> Result<_, Box<dyn Error>> {
            let identity = pki.identity(&[name])?;
            let certified = CertifiedKey::from_der(identity.chain, identity.key, &provider)?;
            Ok((name.clone(), Arc::new(certified)))
        };
        names.iter().map(certified).collect::<Result<_, _>>().map(Self)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.get(hello.server_name()?).cloned()
    }
}

fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}
